"""What was sent: of each bundle by name and number the statement, and every row that its receiver then has.

`<data>/bundles/sent/<name>/<number>.statement` and `.rows`. From these the next bundle knows what is new, whatever became of
the carrier. What a receiver refused, by its receipt, it lacks. `<number>.unnamed` says where a bundle is about to get its name:
a number is written down before anybody can have the bundle, so that it is never given twice, and given again where nobody can.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Final

from mirror.bundle.contents import (
    AcquisitionRow,
    EntryRow,
    EvidenceRow,
    GrantRow,
    HubRow,
    ListRow,
    PageRow,
    Row,
    artifact_of,
    line,
    lines,
    read,
    spoken_of,
)
from mirror.bundle.statement import Statement, digest_of, parse
from mirror.bundle.volumes import draft_of
from mirror.core.errors import InputError, Problem
from mirror.durable import alone, sync_folder, write_whole

if TYPE_CHECKING:
    from datetime import datetime

    from mirror.core.nouns import Artifact

#: What a row is about, whatever it says of that.
About = tuple[object, ...]

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")
_LONGEST: Final = 80
#: The first year in which a bundle can have been made.
_EARLIEST: Final = 2026


@dataclass(frozen=True, slots=True)
class Sent:
    """A bundle that was sent: what its statement says, the digest of that, and the rows of its receiver."""

    statement: Statement
    digest: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Delta:
    """What a receiver lacks. `fresh` are SHA-256 (hex) of parts to carry, `required` those that it has and will need."""

    rows: tuple[Row, ...]
    fresh: frozenset[str]
    required: tuple[str, ...]


def bundle_name(text: str) -> str:
    """The name of a series of bundles, from that of wants. Raises `InputError`."""
    name = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:_LONGEST]
    if not _NAME.match(name):
        raise InputError([Problem("--name", "", "takes up to 80 of a-z, 0-9, '.', '_' and '-', a letter or digit first")])
    return name


class SentBook:
    """The bundles of one name."""

    def __init__(self, data: Path, name: str) -> None:
        self._folder = data / "bundles" / "sent" / name

    @property
    def last(self) -> int:
        """The highest number, 0 before the first."""
        return max(self.numbers(), default=0)

    def get(self, number: int) -> Sent | None:
        """What was sent under this number, or None. Raises `InputError` for damage."""
        stated, rows = self._paths(number)
        try:
            payload, told = stated.read_bytes(), rows.read_bytes()
        except OSError:
            return None
        return Sent(parse(payload, str(stated)), digest_of(payload), read(told, str(rows)))

    def find(self, digest: str) -> Sent | None:
        """The bundle whose statement has this SHA-256 (hex), or None."""
        for number in sorted(self.numbers(), reverse=True):
            stated, _ = self._paths(number)
            if digest_of(stated.read_bytes()) == digest:
                return self.get(number)
        return None

    def demand_later(self, created: datetime) -> None:
        """Raises `InputError` where `created` is before any bundle, or the last one was made after it: then a time is wrong, and receivers reckon by them."""
        last = self.get(self.last)
        if created.year < _EARLIEST:
            raise InputError([Problem("clock", "", f"says {created:%Y-%m-%d %H:%M} UTC: no bundle is made then, and nobody would take it. Set it")])
        if last is not None and created < last.statement.created:
            said = f"says {created:%Y-%m-%d %H:%M} UTC, and bundle {last.statement.name} {last.statement.number} was signed at {last.statement.created:%Y-%m-%d %H:%M}: receivers reckon by these times. Set it; if that bundle's time was wrong, go on under another --name"
            raise InputError([Problem("clock", "", said)])

    @contextmanager
    def turn(self) -> Iterator[None]:
        """While this lasts nobody else gives numbers of this name."""
        with alone(self._folder / "lock"):
            yield

    def take_back(self) -> None:
        """Free the number of a bundle that never got its name: its writer was killed, and the draft lies where it was. Raises `OSError`.

        To be called before a new draft is begun. Without a draft the bundle may be anywhere, and its number stays given.
        """
        with self.turn():
            marker = self._marker(self.last)
            try:
                place = Path(os.fsdecode(marker.read_bytes()))
            except OSError:
                return
            if not os.path.lexists(place) and os.path.lexists(draft_of(place)):
                self.forget(self.last)
            marker.unlink(missing_ok=True)

    @contextmanager
    def naming(self, statement: Statement, payload: bytes, rows: Iterable[Row], place: Path) -> Iterator[None]:
        """Remember a bundle, durable, while it gets its name, `place`; forget it where that fails. To be called in its `turn`. Raises `OSError`."""
        write_whole(self._marker(statement.number), os.fsencode(place.resolve()))
        try:
            self.put(statement, payload, rows)
            yield
        except BaseException:
            if not os.path.lexists(place):
                self.forget(statement.number)
            raise
        self._marker(statement.number).unlink(missing_ok=True)

    def forget(self, number: int) -> None:
        """A bundle that nobody has. Raises `OSError`."""
        for path in (*self._paths(number), self._marker(number)):
            path.unlink(missing_ok=True)
        sync_folder(self._folder)

    def put(self, statement: Statement, payload: bytes, rows: Iterable[Row]) -> None:
        """Remember a bundle, durable on return. Raises `OSError`."""
        stated, told = self._paths(statement.number)
        write_whole(told, lines(rows))
        write_whole(stated, payload)

    def turned(self, number: int, rows: Iterable[Row]) -> frozenset[About]:
        """What was told otherwise after bundle `number`, whose receiver has `rows`: who took those later bundles in has it so."""
        had = {_about(row): _lasting(row) for row in rows}
        later = (self.get(one) for one in self.numbers() if one > number)
        told = (row for sent in later if sent is not None for row in sent.rows)
        return frozenset(about for row in told if (about := _about(row)) in had and had[about] != _lasting(row))

    def _paths(self, number: int) -> tuple[Path, Path]:
        return self._folder / f"{number:06}.statement", self._folder / f"{number:06}.rows"

    def _marker(self, number: int) -> Path:
        return self._folder / f"{number:06}.unnamed"

    def numbers(self) -> list[int]:
        """Every number that was given, in no order."""
        return [int(path.stem) for path in self._folder.glob("*.statement") if path.stem.isdecimal()]


def ever_sent(data: Path) -> Iterator[Artifact]:
    """Every file that any bundle from here told of, some more than once. Raises `InputError` for damage."""
    for folder in sorted((data / "bundles" / "sent").glob("*/")):
        book = SentBook(data, folder.name)
        for number in sorted(book.numbers()):
            sent = book.get(number)
            yield from (_artifact(row) for row in (sent.rows if sent is not None else ()) if isinstance(row, EntryRow))


def without_refused(rows: Iterable[Row], refused: Iterable[str]) -> tuple[Row, ...]:
    """The rows that a receiver surely kept that refused these artifacts (package URLs).

    Pages of a project of which it took nothing are told again: it has them only where it has the hub.
    """
    gone, every = frozenset(refused), tuple(rows)
    kept = tuple(row for row in every if not isinstance(row, EntryRow | AcquisitionRow) or str(_artifact(row)) not in gone)
    lost = {str(_artifact(row).project) for row in every if isinstance(row, EntryRow)} - {str(_artifact(row).project) for row in kept if isinstance(row, EntryRow)}
    return tuple(row for row in kept if not isinstance(row, PageRow) or row.about not in lost)


def _artifact(row: EntryRow | AcquisitionRow) -> Artifact:
    return artifact_of(row.artifact, {row.artifact.hub: row.artifact.hub})


def delta(now: Iterable[Row], before: Iterable[Row], turned: Collection[About] = frozenset()) -> Delta:
    """What is new in `now`. When a page was last vouched for, or a right last stated, is nothing new by itself.

    What is `turned` is told again although it is as it was `before`: a receiver that went on meanwhile has it otherwise.
    """
    had = list(before)
    known = {_lasting(row) for row in had}
    rows = tuple(row for row in now if isinstance(row, HubRow) or _lasting(row) not in known or (turned and _about(row) in turned))
    # Files lie in a receiver's store, pages in its index and licence texts in its archive, where each is looked for by its digest, a page
    # in the store as well. Of lists and evidence it keeps no such thing.
    stored, shown, archived = _spoken(had, EntryRow), _spoken(had, EntryRow | PageRow), _spoken(had, AcquisitionRow)
    fresh = (_spoken(rows, EntryRow) - stored) | (_spoken(rows, PageRow) - shown) | (_spoken(rows, AcquisitionRow) - archived)
    fresh |= _spoken(rows, ListRow | EvidenceRow)
    return Delta(rows, frozenset(fresh), tuple(sorted(_spoken(rows, object) - fresh)))


def _spoken(rows: Iterable[Row], kind: type | UnionType) -> set[str]:
    return {digest for row in rows if isinstance(row, kind) for digest in spoken_of(row)}


def rights_ended(before: Iterable[Row], now: Iterable[Row], withheld: Iterable[str], at: int) -> tuple[GrantRow, ...]:
    """Rights that were stated to a receiver, and that the hub does not give any more: `withheld` names what it kept back this time.

    Each as the refusal that the receiver then holds to.
    """
    kept, names = {row.project for row in now if isinstance(row, GrantRow) and row.allowed}, tuple(withheld)
    had = [row for row in before if isinstance(row, GrantRow) and row.allowed and row.project not in kept]
    gone = [row for row in had if any(_names(name, row.project.name) for name in names)]
    said = "The hub no longer lets this organisation read it."
    return tuple(replace(row, allowed=False, at=at, status=403, code="GatedRepo", message=said, cause="gated") for row in gone)


def _names(outcome: str, project: str) -> bool:
    """Whether an outcome - `model@revision`, `dataset name@revision` or a package URL - is about a repository."""
    bare = outcome.partition("?")[0].removeprefix("pkg:huggingface/").partition("@")[0]
    return bare.rpartition(" ")[2].casefold() == project.casefold()


def merged(before: Iterable[Row], new: Iterable[Row]) -> tuple[Row, ...]:
    """The rows of a receiver that had `before` and is given `new`: a row takes the place of the one about the same thing."""
    found = {_about(row): row for row in before}
    found.update((_about(row), row) for row in new)
    return tuple(found.values())


def _lasting(row: Row) -> bytes:
    match row:
        case PageRow():
            return line(replace(row, fetched_at=0))
        case EntryRow():
            return line(replace(row, stored_at=0))
        case GrantRow():
            return line(replace(row, at=0))
        case ListRow():
            return line(row)  # that a source was asked again is what a receiver's ages rest on
        case _:
            return line(row)


def _about(row: Row) -> About:
    match row:
        case PageRow():
            return "page", row.hub, row.target, row.scope, row.variant
        case EntryRow():
            return "entry", row.artifact
        case GrantRow():
            return "grant", row.project, row.credential
        case ListRow():
            return "list", row.name
        case AcquisitionRow():
            return "acquisition", row.artifact, row.digest, row.sender
        case _:
            return (line(row),)
