"""Verifying a whole ledger on disk: every byte of segments, personal files and head. Reads only."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.audit.chain import NOTHING, Fault, Head, Link, follow_link, read_link
from mirror.audit.record import commitment
from mirror.audit.segments import Segment, is_written, lines, read_head, segments

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: A line of a personal file, byte for byte as it is written: what the commitment covers is the part as it stands.
_PART: Final = re.compile(rb'\{"part":(\{.*\}),"salt":"([0-9a-f]{32})","seq":(0|[1-9][0-9]{0,15})\}\n\Z')


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found: the head reached, the first fault, and how many records have lost their personal part.

    `unfinished` tells of a write that a crash cut short, after the last record: nothing that was ever answered. The next
    start cuts it off and records that it did. Empty where there is none.
    """

    head: Head
    fault: Fault | None = None
    erased: int = 0
    unfinished: str = ""


Seen = Callable[[bytes, str], None]


def check(directory: Path, since: Head = NOTHING, seen: Seen | None = None) -> Checked:
    """Verify the ledger in `directory`. A write under way by a running mirror is no fault; without one it is.

    What lies before `since` is taken for verified. `seen` is told each sound record in order: its line and its leaf (hex).
    """
    live = is_written(directory)
    claimed = read_head(directory)
    known = segments(directory)
    if not known and not (directory / "head").exists():
        return Checked(Head())
    head, erased, unfinished = since, 0, ""
    claims = -1 if claimed is None else claimed.count
    passed = claimed == head or 0 <= claims < since.count
    later = [one for one in known if one.first > since.count]
    known = [*[one for one in known if one.first <= since.count][-1:], *later]
    for number, current in enumerate(known):
        is_last = number == len(known) - 1
        if current.first != head.count and (number or current.first > head.count):
            return Checked(head, Fault(head.count, f"missing: the next segment is {current.path.name}"), erased)
        walk = _Walk(current, head, live=live and is_last, seen=seen)
        for reached in walk:
            if reached.count == claims:
                passed = reached == claimed
        head, erased, unfinished = walk.head, erased + walk.erased, walk.unfinished
        if unfinished and not is_last:
            walk.fault = Fault(head.count, unfinished, current.path.name)
        if walk.fault is not None:
            return Checked(head, walk.fault, erased)
    return Checked(head, None if passed else _head_fault(claimed, head), erased, unfinished)


def _head_fault(claimed: Head | None, head: Head) -> Fault:
    if claimed is None:
        return Fault(head.count, "the head is missing or damaged", "head")
    if claimed.count > head.count:
        return Fault(head.count, f"the ledger ends here, but its head tells of {claimed.count} records", "head")
    return Fault(max(0, claimed.count - 1), "the head names another leaf than the record has", "head")


class _Walk:
    """One segment, record by record, each against its personal part."""

    def __init__(self, current: Segment, head: Head, *, live: bool, seen: Seen | None) -> None:
        self._current, self._live, self._seen = current, live, seen
        self._skip = head.count - current.first
        self.head = head
        self.fault: Fault | None = None
        self.erased = 0
        self.unfinished = ""
        self._parts = lines(current.personal)
        self._part: tuple[int, str] | None = None
        self._from = head.count if self._skip else -1

    def __iter__(self) -> Iterator[Head]:
        size, seen = self._current.path.stat().st_size, self._seen
        for line in lines(self._current.path):
            size -= len(line)
            if size < 0 and self._live:
                return  # written since we began
            if self._skip:
                self._skip -= 1
                continue
            if not line.endswith(b"\n") and not size:
                if not self._live:
                    self.unfinished = f"torn: {len(line)} bytes of an incomplete record at the end"
                return
            link = read_link(line)
            after = follow_link(self.head, link)
            if isinstance(after, Fault):
                self.fault = Fault(after.sequence, after.what, self._current.path.name)
                return
            if not self._matches(link, self.head.count):
                return
            self.head = after
            if seen is not None:
                seen(line, after.leaf)
            yield after
        self._check_rest()

    def _matches(self, link: Link | str, sequence: int) -> bool:
        """Whether the record's personal part is the one it was sealed with, or was erased."""
        if not self._advance(sequence):
            return False
        if self._part is None or self._part[0] > sequence:
            self.erased += 1
            return True
        if isinstance(link, str) or link.personal != self._part[1]:
            self._fault_in_personal(sequence, "the personal part is not the one that was sealed")
            return False
        return True

    def _advance(self, sequence: int) -> bool:
        """Read on to the first part at or after `sequence`."""
        while self._part is None or self._part[0] < sequence:
            line = next(self._parts, None)
            if line is None:
                self._part = None
                return True
            found = _PART.match(line)
            if found is None:
                self._fault_in_personal(sequence, "a damaged line")
                return False
            owner = int(found[3])
            if owner < self._from:
                continue
            if owner < sequence:
                self._fault_in_personal(owner, "a part out of order or of no record")
                return False
            self._part = (owner, commitment(bytes.fromhex(found[2].decode()), found[1]))
        return True

    def _check_rest(self) -> None:
        """Parts are written first: some without a record are what a crash, or a running mirror, leaves."""
        if self._from >= 0 and not self._advance(self.head.count):
            return
        if self._part is not None and self._part[0] < self.head.count:
            self._part = None
        if not self._live and (self._part is not None or next(self._parts, None) is not None):
            self.unfinished = f"{self._current.personal.name}: personal parts of records that were never written"

    def _fault_in_personal(self, sequence: int, what: str) -> None:
        self.fault = Fault(sequence, what, self._current.personal.name)
