"""Verifying a whole ledger on disk: every byte of segments, personal files and head. Reads only."""

from __future__ import annotations

import re
import sys
from binascii import hexlify, unhexlify
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from mirror.audit.chain import NOTHING, Fault, Head, follow_link, plain_link, read_link
from mirror.audit.record import commitment
from mirror.audit.segments import Segment, is_written, lines, read_head, segments

if TYPE_CHECKING:
    from pathlib import Path

#: A line of a personal file, byte for byte as it is written: what the commitment covers is the part as it stands.
_PART: Final = re.compile(rb'\{"part":(\{.*\}),"salt":"([0-9a-f]{32})","seq":(0|[1-9][0-9]{0,15})\}\n\Z')
_OPENS: Final = b'{"part":{'
#: Stands after the last part of a file.
_END: Final = (sys.maxsize, b"")


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


Seen = Callable[[bytes, bytes], None]


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
        walk.run(claims)
        if walk.claimed is not None:
            passed = walk.claimed == claimed
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
        self.claimed: Head | None = None
        self.fault: Fault | None = None
        self.erased = 0
        self.unfinished = ""
        self._parts = lines(current.personal)
        self._kept: bytes | None = None
        self._part: tuple[int, bytes] | None = None
        self._from = head.count if self._skip else -1

    def run(self, claims: int) -> None:
        """Walk to the end, or to the first fault; `claimed` is the head after `claims` records where it was passed."""
        count, leaf = self.head.count, self.head.leaf.encode()
        left, seen = self._current.path.stat().st_size, self._seen
        for line in lines(self._current.path):
            left -= len(line)
            if left < 0 and self._live:
                break  # written since we began, and so are the parts
            if self._skip:
                self._skip -= 1
                continue
            place = b'","seq":%d' % count
            link = plain_link(line, leaf, place) or self._link(line, left, Head(count, leaf.decode()))
            if link is None or not (self._has_part(link[1], place + b"}\n") or self._matches(link[1], count)):
                break
            leaf = link[0]
            count += 1
            if count == claims:
                self.claimed = Head(count, leaf.decode())
            if seen is not None:
                seen(line, leaf)
        else:
            self._check_rest(count)
        self.head = Head(count, leaf.decode())

    def _link(self, line: bytes, left: int, head: Head) -> tuple[bytes, bytes] | None:
        """The leaf and the commitment of a record of any shape; None where it cannot follow."""
        if not line.endswith(b"\n") and not left:
            if not self._live:
                self.unfinished = f"torn: {len(line)} bytes of an incomplete record at the end"
            return None
        link = read_link(line)
        after = follow_link(head, link)
        if isinstance(link, str) or isinstance(after, Fault):
            self.fault = Fault(head.count, after.what if isinstance(after, Fault) else "", self._current.path.name)
            return None
        return link.leaf.encode(), str(link.personal).encode()

    def _has_part(self, expected: bytes, end: bytes) -> bool:
        """Whether the next part is what `expected` was made of and ends with `end`; any other is left for `_matches`."""
        if self._part is not None or self._kept is not None:
            return False
        line = next(self._parts, b"")
        stop = len(line) - len(end)
        try:
            salt = unhexlify(line[stop - 32 : stop])
        except ValueError:
            salt = b""
        if (
            line.startswith(_OPENS)
            and line.endswith(b'},"salt":"' + hexlify(salt) + end)
            and b"sha256:" + sha256(salt + line[8 : stop - 41]).hexdigest().encode() == expected
        ):
            return True
        self._kept = line
        return False

    def _matches(self, expected: bytes, sequence: int) -> bool:
        """Whether the record's personal part is the one it was sealed with, or was erased."""
        if not self._advance(sequence):
            return False
        if self._part is None or self._part[0] > sequence:
            self.erased += 1
            return True
        if self._part[1] != expected:
            self._fault_in_personal(sequence, "the personal part is not the one that was sealed")
            return False
        self._part = None
        return True

    def _advance(self, sequence: int) -> bool:
        """Read on to the first part at or after `sequence`; at the end of them stands one of no record."""
        while self._part is None or self._part[0] < sequence:
            line, self._kept = self._kept or next(self._parts, b""), None
            found = _PART.match(line)
            if found is None:
                if not line or (self._live and not line.endswith(b"\n")):  # no more, or one that is being written
                    self._part = _END
                    return True
                self._fault_in_personal(sequence, "a damaged line")
                return False
            owner = int(found[3])
            if owner < self._from:
                continue
            if owner < sequence:
                self._fault_in_personal(owner, "a part out of order or of no record")
                return False
            self._part = (owner, commitment(bytes.fromhex(found[2].decode()), found[1]).encode())
        return True

    def _check_rest(self, count: int) -> None:
        """Parts are written first: some without a record are what a crash, or a running mirror, leaves."""
        if self._from >= 0 and not self._advance(count):
            return
        is_left = self._part not in (None, _END) or next(self._parts, None) is not None
        if is_left and not self._live:
            self.unfinished = f"{self._current.personal.name}: personal parts of records that were never written"

    def _fault_in_personal(self, sequence: int, what: str) -> None:
        self.fault = Fault(sequence, what, self._current.personal.name)
