"""A configured list: its files to one edition, its entries to a screening list that knows what the configuration says of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from mirror.core.canonical import canonical, day
from mirror.core.errors import InputError, Problem
from mirror.lists.formats import LOADERS, SEVERAL, SUBJECTS
from mirror.lists.guards import read_guards, trips
from mirror.lists.material import Part, read_file, unpacked
from mirror.policy.checks import issuers_of
from mirror.policy.entries import ListEntry
from mirror.policy.screening import ScreeningList

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mirror.core.decision import Match
    from mirror.lists.material import Parsed

_URL: Final = re.compile(r"https?://", re.IGNORECASE)
_DATED: Final = re.compile(r"(?<!\d)(20\d\d-[01]\d-[0-3]\d)(?!\d)")


class ListSettings(Protocol):
    """One row of `lists:`. `source` holds absolute paths and URLs; dates are UTC, `since` inclusive, `until` exclusive."""

    @property
    def loader(self) -> str:
        """The format, a key of `formats.LOADERS`."""

    @property
    def source(self) -> tuple[str, ...]:
        """Absolute paths and URLs, read together as one edition."""

    @property
    def direction(self) -> str:
        """`inbound` about publishers, `outbound` about who asks, or `both`."""

    @property
    def meaning(self) -> str:
        """What a place on the list means, for people."""

    @property
    def basis(self) -> str:
        """The law or policy it is used under."""

    @property
    def jurisdictions(self) -> tuple[str, ...]:
        """Whom it binds (alpha-2); none for everybody."""

    @property
    def since(self) -> date | None:
        """The first day on which it is in force here, UTC."""

    @property
    def until(self) -> date | None:
        """The first day on which it is not any more, UTC."""

    @property
    def subjects(self) -> tuple[str, ...] | None:
        """Kinds of entries to keep; None for the loader's own choice."""

    @property
    def only(self) -> tuple[str, ...]:
        """Names of the parts of a combined list to keep; none for all."""

    @property
    def guards(self) -> Mapping[str, Any] | None:
        """What a new edition must satisfy; None for nothing."""


class ConfiguredList(ScreeningList):
    """One edition of a list, and what the configuration says of it.

    `basis` is the law or policy it is used under, `since` and `until` when it is in force here, `stated` the date that the list
    gives itself, `content` the digest of its entries.
    """

    __slots__ = ("_row", "basis", "content", "settings", "since", "stated", "until")

    def __init__(self, name: str, edition: str, parsed: Parsed, row: ListSettings, *, digest: str, content: str) -> None:
        super().__init__(
            name, edition, parsed.entries, row.meaning, row.direction, digest=digest, jurisdictions=row.jurisdictions,
            issuers=issuers_of(row.loader),
        )  # fmt: skip
        self._row = row
        self.basis, self.since, self.until = row.basis, row.since, row.until
        self.stated, self.content, self.settings = parsed.stated, content, settings_of(row)
        ends = (datetime(one.year, one.month, one.day, tzinfo=UTC) for one in (row.since, row.until) if one is not None)
        self.boundaries = tuple(sorted({*self.boundaries, *ends}))

    @property
    def described(self) -> dict[str, Any]:
        """As `ScreeningList.described`, with what makes the same entries of the same files again."""
        row = self._row
        return super().described | {
            "loader": row.loader, "names": [Path(one).name for one in row.source], "only": list(row.only), "basis": row.basis,
            "subjects": None if row.subjects is None else list(row.subjects), "from": day(row.since), "until": day(row.until),
        }  # fmt: skip

    def screen(self, *arguments: Any, **options: Any) -> tuple[Match, ...]:
        """As `ScreeningList.screen`; nothing on a day on which the list is not in force here."""
        on = options.get("on")
        if on is not None and ((self.since is not None and on < self.since) or (self.until is not None and on >= self.until)):
            return ()
        return super().screen(*arguments, **options)


@dataclass(frozen=True, slots=True)
class Edition:
    """One edition as its files have it. `digest` names the bytes, `content` the entries, whatever their order."""

    id: str
    parts: tuple[Part, ...]
    parsed: Parsed
    digest: str
    content: str

    @property
    def entries(self) -> tuple[ListEntry, ...]:
        """What a publisher is compared with."""
        return self.parsed.entries


def is_url(source: str) -> bool:
    """Whether a source is fetched; otherwise it is a file."""
    return _URL.match(source) is not None


def fetched(row: ListSettings) -> bool:
    """Whether any file of the list is fetched."""
    return any(map(is_url, row.source))


def files_of(row: ListSettings) -> tuple[Path, ...]:
    """The files of the list that are on this machine."""
    return tuple(Path(source) for source in row.source if not is_url(source))


def settings_of(row: ListSettings) -> str:
    """Names what makes an edition out of files: under other settings an earlier edition is no measure for a new one."""
    return sha256(canonical([row.loader, list(row.source), sorted(row.subjects or ()), list(row.only)])).hexdigest()[:16]


def manifest_of(parts: Sequence[Part]) -> bytes:
    """What stands for several files: canonical JSON of their names and digests, in order."""
    return canonical([[part.name.rpartition("/")[2], sha256(part.data).hexdigest()] for part in parts])


def digest_of(parts: Sequence[Part]) -> str:
    """SHA-256 (hex) of one file, or of what stands for several."""
    return sha256(parts[0].data if len(parts) == 1 else manifest_of(parts)).hexdigest()


def edition_of(name: str, row: ListSettings, parts: Sequence[Part]) -> Edition:
    """The edition that `parts` are. Raises `InputError` for an unknown loader and whatever the loader cannot read.

    Its id is the date that the list states, else the one in a file's name, and the first twelve digits of its digest: two
    editions of one day are two.
    """
    if row.loader not in LOADERS:
        raise InputError([Problem(f"lists.{name}", "loader", f"unknown loader {row.loader!r}; there are: {', '.join(LOADERS)}")])
    parsed = _wanted(LOADERS[row.loader]([unpacked(part) for part in parts]), row, parts[0].name)
    digest = digest_of(parts)
    content = sha256("\n".join(sorted(entry.digest for entry in parsed.entries)).encode()).hexdigest()
    named = next((found[1] for part in parts if (found := _DATED.search(part.name.rpartition("/")[2]))), None)
    stated = day(parsed.stated) or named
    return Edition(f"{stated}.{digest[:12]}" if stated else digest[:12], tuple(parts), parsed, digest, content)


def _wanted(parsed: Parsed, row: ListSettings, source: str) -> Parsed:
    """Only the entries that `subjects` and `only` leave. What a list does not type is always kept."""
    subjects = row.subjects if row.subjects is not None else tuple(SUBJECTS) if row.loader == "csv" else ("organization",)
    types = {"", *(one for subject in subjects for one in SUBJECTS[subject])}
    patterns = [pattern.casefold() for pattern in row.only]

    def kept(entry: ListEntry) -> bool:
        programmes = [one.casefold() for one in entry.programme.split("; ")]
        return entry.type in types and (not patterns or any(fnmatchcase(one, pattern) for one in programmes for pattern in patterns))

    found = tuple(filter(kept, parsed.entries))
    if not found:
        rest = f": none of its {len(parsed.entries)} is left by `subjects` and `only`" if parsed.entries else ""
        raise InputError([Problem(source, "", f"has no entries{rest}")])
    return type(parsed)(found, parsed.stated)


def configured(name: str, row: ListSettings, edition: Edition) -> ConfiguredList:
    """The screening list of an edition: indexing it takes about a second for 20,000 names."""
    return ConfiguredList(name, edition.id, edition.parsed, row, digest=edition.digest, content=edition.content)


#: Why a list that is fetched has no edition where nothing is.
NONE_OFFLINE: Final = "no edition is here yet, and the network is offline (network: offline): the first comes with a bundle"


def read_edition(name: str, row: ListSettings) -> Edition:
    """The edition that lies in the list's files now. Raises `InputError`; a list that is fetched has none."""
    if fetched(row):
        raise InputError([Problem(f"lists.{name}", "source", f"no edition has been fetched yet: `mirror list refresh {name}`")])
    if len(row.source) > 1 and row.loader not in SEVERAL:
        raise InputError([Problem(f"lists.{name}", "source", f"{row.loader} takes one file, found {len(row.source)}")])
    return edition_of(name, row, [read_file(Path(source)) for source in row.source])


def load_list(name: str, row: ListSettings) -> ConfiguredList:
    """The list as its files are now, guards on size and fields included.

    Raises `InputError`: unknown loader, unreadable file, its first fault, the guards that trip.
    """
    edition = read_edition(name, row)
    problems = list(trips(read_guards(row.guards, name), edition.entries, edition.parsed.stated, row.source[0]))
    if problems:
        raise InputError(problems)
    return configured(name, row, edition)
