"""Verifying a whole ledger on disk: every byte of segments, personal files and head. Reads only."""

from __future__ import annotations

import re
import sys
from binascii import hexlify, unhexlify
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING, Final

from mirror.audit.chain import NOTHING, Fault, Head, follow_link, plain_link, read_link
from mirror.audit.record import commitment
from mirror.audit.segments import Segment, is_written, lines, read_head, segment, segments

if TYPE_CHECKING:
    from pathlib import Path

_PERSONAL: Final = re.compile(r"personal-([0-9]{12,})\.jsonl\Z")
#: A line of a personal file, byte for byte as it is written: what the commitment covers is the part as it stands.
_PART: Final = re.compile(rb'\{"part":(\{.*\}),"salt":"([0-9a-f]{32})","seq":(0|[1-9][0-9]{0,15})\}\n\Z')
_OPENS: Final = b'{"part":{'
_ASTRAY: Final = "a part out of order or of no record"
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
        return _with_strays(directory, Checked(Head()), live=live)
    head, erased, unfinished = since, 0, ""
    claims = -1 if claimed is None else claimed.count
    passed = claimed == head or 0 <= claims < since.count
    later = [one for one in known if one.first > since.count]
    known = [*[one for one in known if one.first <= since.count][-1:], *later]
    if not known and since.count:
        return Checked(Head(), Fault(0, "missing: there is no segment"))
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
    found = Checked(head, None if passed else _head_fault(claimed, head), erased, unfinished)
    return _with_strays(directory, found, live=live) if passed else found


def _with_strays(directory: Path, found: Checked, *, live: bool) -> Checked:
    """What was found, or a personal file to which no segment belongs; that of the next segment may be there before it."""
    if not directory.is_dir():
        return found
    count, firsts = found.head.count, {one.first for one in segments(directory)}
    names = (_PERSONAL.match(path.name) for path in directory.iterdir())
    for first in sorted({int(match[1]) for match in names if match} - firsts):
        stray = segment(directory, first)
        if first == count:
            walk = _Walk(stray, found.head, live=live, seen=None)
            walk.check_rest(count)
            found = replace(found, fault=walk.fault, unfinished=found.unfinished or walk.unfinished)
        elif first < count or not live:
            found = replace(found, fault=Fault(first, "no segment begins with this record", stray.personal.name))
        if found.fault is not None:
            break
    return found


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
        self._lacks: int | None = None  # the record whose part was last found erased

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
            if self._skip:
                self.fault = Fault(count - self._skip, "the ledger ends here, and its checkpoint does not", self._current.path.name)
            else:
                self.check_rest(count)
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
            self.erased, self._lacks = self.erased + 1, sequence
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
                self._fault_in_personal(owner, _ASTRAY)
                return False
            self._part = (owner, commitment(bytes.fromhex(found[2].decode()), found[1]).encode())
        return True

    def check_rest(self, count: int) -> None:
        """Parts are written first: those of the next records, as far as they got, are what a crash or a running mirror leaves.

        So they begin with record `count` and go up by one, until bytes that are no line of a part; none is of a record that was
        written. Where the last record has no part, such bytes could be that part, damaged: then they are a fault.
        """
        read = () if self._part is None or self._part == _END else (self._part[0],)
        owners = chain(read, map(_owner, self._parts))
        following, has_last, torn = count, self._lacks != count - 1, False
        for owner in owners:
            if 0 <= owner < self._from == following == count and not torn:
                has_last = owner == count - 1  # of a record that is taken for verified
            elif owner == following:
                following += 1
            elif 0 <= owner < count or not (torn or self._live or (owner < 0 and (has_last or following > count))):
                self._fault_in_personal(*((owner, _ASTRAY) if owner >= 0 else (count, "a damaged line")))
                return
            else:
                torn = True
        if (torn or following > count) and not self._live:
            self.unfinished = f"{self._current.personal.name}: personal parts of records that were never written"

    def _fault_in_personal(self, sequence: int, what: str) -> None:
        self.fault = Fault(sequence, what, self._current.personal.name)


def _owner(line: bytes) -> int:
    """The record of which a line of a personal file is; -1 of what is no such line."""
    found = _PART.match(line)
    return -1 if found is None else int(found[3])
