"""Editions on disk: which there are of each list, which one is in force, and how its source stood when it was last asked.

`<data>/lists/<name>/<edition>/` holds the files as they came and `manifest.json`; `current` names the edition in force and is
replaced in one step; `standing.json` is what the last look at the source gave. Whatever is damaged counts as not there.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeVar

from mirror.core.errors import InputError, Problem
from mirror.decode import decode, parse_json
from mirror.durable import write_whole
from mirror.lists.guards import read_guards, trips
from mirror.lists.material import Part
from mirror.lists.official import (
    NONE_OFFLINE,
    ConfiguredList,
    Edition,
    ListSettings,
    configured,
    edition_of,
    fetched,
    load_list,
    read_edition,
    settings_of,
)
from mirror.policy.screening import ScreeningList

T = TypeVar("T")
#: Hears that the newest edition of a list is kept out, and why.
KeptOut = Callable[[str, Sequence[Problem]], None]
#: Editions whose files stay here, that in force among them; of older ones the manifest stays, and the evidence archive has
#: the files of each that ever judged.
KEPT: Final = 8


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file of an edition: what it was called where it came from (a URL without its query), and how it is called here."""

    name: str
    file: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Kept:
    """The manifest of an edition. `accepted` says that a person let it in against its guards."""

    edition: str
    stated: date | None
    entries: int
    digest: str
    content: str
    settings: str
    loader: str
    files: tuple[KeptFile, ...]
    adopted_at: datetime
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class Validator:
    """What a server said of the file that is in force, for asking it whether there is another (RFC 9110 section 13)."""

    url: str
    sha256: str
    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """The last look at a source. `confirmed_at` is when it last had nothing newer than what is in force.

    `problems` are why its newest edition is kept out, `fault` why it could not be had at all; `failures` counts in a row.
    """

    checked_at: datetime | None = None
    confirmed_at: datetime | None = None
    next_at: datetime | None = None
    problems: tuple[str, ...] = ()
    fault: str = ""
    failures: int = 0
    validators: tuple[Validator, ...] = ()


class EditionStore:
    """All of the above under one folder. Safe for several processes: each change is a rename, changes of one list are locked."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def pointer(self, name: str) -> Path:
        """The file whose change is a change of the edition in force."""
        return self._root / name / "current"

    def standing_file(self, name: str) -> Path:
        """The file that a look at the source rewrites."""
        return self._root / name / "standing.json"

    def current(self, name: str, row: ListSettings) -> Kept | None:
        """The edition in force; None where there is none, or only one that was made under other settings."""
        try:
            edition = self.pointer(name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None
        kept = self.kept(name, edition)
        return kept if kept is not None and kept.settings == settings_of(row) else None

    def kept(self, name: str, edition: str) -> Kept | None:
        """The manifest of an edition, or None."""
        if not edition or "/" in edition or edition.startswith("."):
            return None
        return _read(Kept, self._root / name / edition / "manifest.json")

    def editions(self, name: str) -> tuple[Kept, ...]:
        """Every edition that was ever in force, the one that was adopted last first."""
        with suppress(OSError):
            names = [one.name for one in (self._root / name).iterdir() if one.is_dir()]
            found = [kept for kept in (self.kept(name, one) for one in names) if kept is not None]
            return tuple(sorted(found, key=lambda kept: kept.adopted_at, reverse=True))
        return ()

    def parts(self, name: str, kept: Kept) -> tuple[Part, ...]:
        """The files of an edition. Raises `InputError` where one is gone or is not what it was."""
        found = []
        for file in kept.files:
            path = self._root / name / kept.edition / Path(file.file).name
            try:
                data = path.read_bytes()
            except OSError as error:
                raise InputError([Problem(str(path), "", error.strerror or str(error))]) from None
            if sha256(data).hexdigest() != file.sha256:
                raise InputError([Problem(str(path), "", "is damaged: its digest is not that of its manifest")])
            found.append(Part(file.name, data))
        return tuple(found)

    def adopt(self, name: str, row: ListSettings, edition: Edition, now: datetime, *, accepted: bool = False) -> Kept:
        """Keep an edition and put it in force: durable, and for every reader in one step. Raises `OSError`."""
        folder = self._root / name / edition.id
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for at, part in enumerate(edition.parts):
            name_here = f"{at}-{_tame(part.name)}"
            write_whole(folder / name_here, part.data)
            files.append(KeptFile(part.name, name_here, sha256(part.data).hexdigest(), len(part.data)))
        kept = Kept(
            edition.id, edition.parsed.stated, len(edition.entries), edition.digest, edition.content, settings_of(row), row.loader,
            tuple(files), now.astimezone(UTC), accepted,
        )  # fmt: skip
        write_whole(folder / "manifest.json", _json(kept))
        write_whole(self.pointer(name), f"{edition.id}\n".encode())
        for old in self.editions(name)[KEPT:]:
            for file in old.files:
                with suppress(OSError):
                    (self._root / name / old.edition / Path(file.file).name).unlink()
        return kept

    def forget(self, name: str) -> None:
        """Have no edition in force: the one that was cannot be read any more."""
        with suppress(OSError):
            self.pointer(name).unlink()

    def standing(self, name: str) -> Standing:
        """What the last look at the source gave; an empty one before the first."""
        return _read(Standing, self.standing_file(name)) or Standing()

    def note(self, name: str, standing: Standing) -> None:
        """Keep what a look gave. Raises `OSError`."""
        self.standing_file(name).parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.standing_file(name), _json(standing))

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """One change of a list at a time, whichever process makes it. Waits; raises `OSError` where nothing can be written."""
        folder = self._root / name
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def store_of(data: Path) -> EditionStore:
    """That of the installation whose data folder is `data`."""
    return EditionStore(data / "lists")


def in_force(store: EditionStore, name: str, row: ListSettings, previous: ScreeningList | None = None) -> ScreeningList:
    """The list as a server judges by it, nothing reviewed; `previous` itself where nothing of it has changed.

    Raises `InputError`: no edition is in force and the files give none, or its files are damaged.
    """
    kept = store.current(name, row)
    if kept is None:
        return load_list(name, row)
    if isinstance(previous, ConfiguredList) and (previous.edition, previous.digest) == (kept.edition, kept.digest) and previous.settings == kept.settings:
        return previous if previous.reviewed is None else previous.under(None)
    return configured(name, row, replace(edition_of(name, row, store.parts(name, kept)), id=kept.edition))


def previews(data: Path, kept_out: KeptOut = lambda _name, _problems: None, *, offline: bool = False) -> Callable[[str, ListSettings, ScreeningList | None], ScreeningList]:
    """Lists for a command that judges without a server, as one would judge by them.

    From their files as they are now; where these are kept out by a guard or cannot be read, the edition in force, and
    `kept_out` is told why. A list that is fetched is as it is in force. Raises `InputError` where there is no edition at all; `offline`
    says that none can be fetched.
    """

    def load_one(name: str, row: ListSettings, _previous: ScreeningList | None) -> ScreeningList:
        store = store_of(data)
        kept = store.current(name, row)
        if kept is None and fetched(row) and offline:
            raise InputError([Problem(f"lists.{name}", "source", NONE_OFFLINE)])
        if kept is None or fetched(row):
            return in_force(store, name, row)
        try:
            return configured(name, row, _next(name, row, kept))
        except InputError as error:
            found = in_force(store, name, row)
            kept_out(name, error.problems)
            return found

    return load_one


def _next(name: str, row: ListSettings, kept: Kept) -> Edition:
    """The edition that lies in the files, weighed against the one in force. Raises `InputError` for what keeps it out."""
    edition = read_edition(name, row)
    if edition.digest == kept.digest:
        return replace(edition, id=kept.edition)
    guards, stated = read_guards(row.guards, name), edition.parsed.stated
    problems = list(trips(guards, edition.entries, stated, row.source[0], before=kept.entries, before_stated=kept.stated))
    if problems:
        raise InputError(problems)
    return edition


def _tame(name: str) -> str:
    """The last segment of a path or URL as a file name of ours."""
    last = name.rstrip("/").rpartition("/")[2]
    return "".join(one if one.isascii() and (one.isalnum() or one in "._-") else "_" for one in last)[-80:] or "list"


def _json(value: Any) -> bytes:
    def plain(one: object) -> str:
        if isinstance(one, (date, datetime)):
            return one.isoformat()
        raise TypeError(type(one).__name__)

    return json.dumps(asdict(value), ensure_ascii=False, indent=1, default=plain).encode()


def _read(kind: type[T], path: Path) -> T | None:
    try:
        return decode(kind, parse_json(path.read_bytes()), str(path))
    except (OSError, ValueError, InputError):
        return None


def changes(before: Sequence[Any], after: Sequence[Any]) -> tuple[list[Any], list[Any], list[tuple[Any, Any]]]:
    """(added, removed, changed as pairs) between the entries of two editions, by id."""
    old, new = ({entry.id: entry for entry in entries} for entries in (before, after))
    added = [entry for key, entry in new.items() if key not in old]
    removed = [entry for key, entry in old.items() if key not in new]
    changed = [(old[key], entry) for key, entry in new.items() if key in old and old[key] != entry]
    return added, removed, changed
