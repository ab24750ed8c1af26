"""The ledger read for one sink: what comes next, encoded, and what cannot be read any more told as a gap. Blocks; one thread uses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mirror.audit.cursors import Cursor
from mirror.audit.segments import Reader, segments
from mirror.core.canonical import instant
from mirror.core.errors import MirrorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

#: Records that are read at a time.
PAGE: Final = 500
#: Records that are held as they were parsed: a page of them at a time keeps the garbage collector busy for a fifth of the time.
_AT_ONCE: Final = 50
_REMOVED: Final = "not in the ledger any more"
_ANOTHER: Final = "the ledger was set back or is another one: what it has now follows from its beginning"


class Unreadable(MirrorError):
    """The ledger has records that cannot be read; says which."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which records a sink wants: all kinds or some, of those with a decision all effects or some."""

    kinds: frozenset[str] = frozenset()
    effects: frozenset[str] = frozenset()

    def wants(self, record: Mapping[str, Any]) -> bool:
        """Whether it wants this one."""
        if self.kinds and record["kind"] not in self.kinds:
            return False
        decision = record.get("decision")
        return decision is None or not self.effects or decision["effect"] in self.effects


@dataclass(frozen=True, slots=True)
class Piece:
    """An event on its way. `data` is empty where the sink does not want it; after it the cursor is `next`, and `leaf` its record's."""

    next: int
    leaf: str
    at: str
    data: bytes


class Passage:
    """Pieces in order from a cursor on."""

    def __init__(self, directory: Path, encode: Callable[[Mapping[str, Any]], bytes], choice: Choice, now: Callable[[], datetime]) -> None:
        self._directory, self._encode, self._choice, self._now = directory, encode, choice, now
        self._reader = Reader(directory, stubs=True)
        self._position = 0
        self._said = ""

    def seek(self, cursor: Cursor, durable: int) -> Cursor:
        """Go on from a cursor; gives it, or the beginning where this is not the ledger that it was of."""
        if cursor.next and not self._agrees(cursor, durable):
            cursor, self._said = Cursor(0, "", cursor.delivered), _ANOTHER
        self._reader, self._position = Reader(self._directory, cursor.next, stubs=True), cursor.next
        return cursor

    def _agrees(self, cursor: Cursor, durable: int) -> bool:
        if cursor.next > durable:
            return False
        last = Reader(self._directory, cursor.next - 1, stubs=True).read(1)
        known = bool(cursor.leaf) and bool(last) and last[0]["seq"] == cursor.next - 1
        return not known or last[0]["leaf"] == cursor.leaf

    def read(self, durable: int) -> list[Piece]:
        """What comes next, up to (not including) sequence `durable`; none where that is reached. Raises `Unreadable` and `OSError`."""
        records = self._reader.read(_AT_ONCE, durable)
        if not records and self._position < durable:
            records = self._beyond(durable)
        found = list(self._pieces(records))
        while records and len(found) < PAGE:
            records = self._reader.read(_AT_ONCE, durable)
            found += self._pieces(records)
        return found

    def _beyond(self, durable: int) -> list[dict[str, Any]]:
        """The records after what cannot be read: of a segment that is gone, or of which a line is damaged."""
        later = next((one.first for one in segments(self._directory) if one.first > self._position), None)
        if later is None:
            raise Unreadable(f"record {self._position} of the ledger cannot be read")
        # That segment may have begun since: then the one before it is complete by now.
        if not (records := self._reader.read(PAGE, durable)):
            self._reader = Reader(self._directory, later, stubs=True)
            records = self._reader.read(PAGE, durable)
        return records

    def _pieces(self, records: list[dict[str, Any]]) -> Iterator[Piece]:
        if self._said:
            gap = self._gap(0, 0, self._said)
            self._said = ""
            yield Piece(self._position, "", gap["at"], self._encode(gap))
        for record in records:
            sequence = record["seq"]
            if sequence > self._position:
                gap = self._gap(self._position, sequence, _REMOVED)
                yield Piece(sequence, "", gap["at"], self._encode(gap))
            self._position = sequence + 1
            if "kind" not in record:  # removed after its time, as a `counts` record tells that is delivered: no gap
                yield Piece(self._position, record["leaf"], instant(self._now()), b"")
                continue
            yield Piece(self._position, record["leaf"], record["at"], self._encode(record) if self._choice.wants(record) else b"")

    def _gap(self, since: int, until: int, why: str) -> dict[str, Any]:
        """An event that is in no ledger: records `since` to before `until` cannot be delivered."""
        detail = {"since": since, "until": until, "records": until - since, "why": why}
        actor: dict[str, Any] = {"name": "mirror", "address": "", "groups": [], "country": None, "country_source": ""}
        return {"kind": "gap", "seq": max(0, since), "at": instant(self._now()), "actor": actor, "count": 1, "subject": "ledger", "detail": detail}
