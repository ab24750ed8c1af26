"""The ledger's files: names, reading, and what a process that died left behind.

- `segment-<first seq, 12 digits>.jsonl`: sealed records, one canonical line each; never changed once written, but that retention
  leaves a stub of a record (`retention`): then the whole file is replaced by another, never one that is still written
- `personal-<first seq, 12 digits>.jsonl`: salts and personal parts of that segment's records; a line may be erased in the same way
- `head`: how many records there are, and the last leaf; may lag, is never ahead
- `lock`: held by the one writer, whose process id it names
- `reserve`: room on the disk that only the ledger gives up
- `torn-<seq>-<sha256, 16 digits>`: an incomplete write found after a crash, cut off and kept
- `tree-<n>`: the Merkle tree over the records' leaves (`tiles`)
- `sinks/`: how far each copy has got (`cursors`)
- `checkpoints`, `checkpoint`: what was signed of it, and the last of them as it is exported (`checkpoints`)
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from mirror.audit.chain import Fault, Head, follow, read_link
from mirror.audit.record import GENESIS, display
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_SEGMENT: Final = re.compile(r"segment-([0-9]{12})\.jsonl\Z")
_HEAD: Final = re.compile(rb"([0-9]{16}) ([0-9a-f]{64})\n\Z")
#: No record comes near this; a line beyond it is damage, not data.
LONGEST: Final = 16 * 1024 * 1024
#: Bytes read at a time; records have two thousand or so.
_BUFFER: Final = 256 * 1024
#: Removed records that a reader passes over at a time, before it looks again which files there are.
_PASSED: Final = 100_000


@dataclass(frozen=True, slots=True)
class Segment:
    """A pair of files: records from sequence `first` on, and their personal parts."""

    first: int
    path: Path
    personal: Path


@dataclass(frozen=True, slots=True)
class Torn:
    """An incomplete write at the end of the ledger. `file` is where its bytes are kept once they were cut."""

    sequence: int
    size: int
    digest: str
    file: str


@dataclass(frozen=True, slots=True)
class End:
    """Where the next record goes: the chain's head, the current segment (None: none yet), its sound lengths and its leaves."""

    head: Head
    segment: Segment | None
    size: int = 0
    personal_size: int = 0
    torn: Torn | None = None
    leaves: bytes = b""


def segment(directory: Path, first: int) -> Segment:
    """The pair of files that starts at sequence `first`."""
    return Segment(first, directory / f"segment-{first:012d}.jsonl", directory / f"personal-{first:012d}.jsonl")


def segments(directory: Path) -> list[Segment]:
    """Every segment in order. An absent folder has none."""
    if not directory.is_dir():
        return []
    found = (_SEGMENT.match(path.name) for path in directory.iterdir())
    return [segment(directory, first) for first in sorted(int(match[1]) for match in found if match)]


def lines(path: Path, start: int = 0) -> Iterator[bytes]:
    """Lines with their newline from byte `start`; the last may lack it. Absent files have none."""
    try:
        file = path.open("rb", buffering=_BUFFER)
    except FileNotFoundError:
        return
    with file:
        file.seek(start)
        yield from iter(partial(file.readline, LONGEST), b"")


def write_head(descriptor: int, head: Head) -> None:
    """Replace the head in place: one small write that a crash leaves whole."""
    os.pwrite(descriptor, f"{head.count:016d} {head.leaf}\n".encode(), 0)


def read_head(directory: Path) -> Head | None:
    """The head as last written, or None where there is none or it is damaged."""
    try:
        found = _HEAD.match((directory / "head").read_bytes())
    except FileNotFoundError:
        return None
    return Head(int(found[1]), found[2].decode()) if found else None


def find_end(directory: Path) -> End:
    """Find the end of the ledger by reading its last segment; changes nothing.

    Raises `InputError` naming file and sequence where anything but an incomplete last write is wrong.
    """
    known = segments(directory)
    if not known:
        if (directory / "head").exists() and (read_head(directory) or Head(1)).count:
            raise _broken(directory / "head", Fault(0, "the head tells of records, but there is no segment"))
        return End(Head(), None)
    last = known[-1]
    end = _scan(last, Head(last.first, _leaf_before(known)))
    claimed = read_head(directory)
    if claimed is None:
        raise _broken(directory / "head", Fault(end.head.count, "the head is missing or damaged"))
    if claimed.count > end.head.count:
        what = f"the ledger ends here, but its head tells of {claimed.count} records"
        raise _broken(last.path, Fault(end.head.count, what))
    return end


def _scan(last: Segment, head: Head) -> End:
    size, leaves = 0, bytearray()
    for line in lines(last.path):
        after = follow(head, line) if line.endswith(b"\n") else Fault(head.count, "an incomplete record")
        if isinstance(after, Fault):
            return replace(_torn(last, head, size, after), leaves=bytes(leaves))
        head, size = after, size + len(line)
        leaves += bytes.fromhex(after.leaf)
    return End(head, last, size, _personal_size(last, head), leaves=bytes(leaves))


def _torn(last: Segment, head: Head, size: int, fault: Fault) -> End:
    """A crash leaves part of one write at the end. A whole record after the fault means that it was something else."""
    with last.path.open("rb") as file:
        file.seek(size)
        rest = file.read()
    for line in rest.splitlines(keepends=True):
        if line.endswith(b"\n") and _is_object(line):
            raise _broken(last.path, fault)
    digest = sha256(rest).hexdigest()
    torn = Torn(head.count, len(rest), digest, f"torn-{head.count:012d}-{digest[:16]}")
    return End(head, last, size, _personal_size(last, head), torn)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _personal_size(last: Segment, head: Head) -> int:
    """Length up to the last part that belongs to a record; what follows was written for records that never came.

    A damaged line before that is kept as it is: it is `check`'s to report, and the parts after it are whole.
    """
    size = sound = 0
    for line in lines(last.personal):
        size += len(line)
        entry = read_personal(line)
        if entry is not None and entry["seq"] < head.count:
            sound = size
    return sound


def _leaf_before(known: list[Segment]) -> str:
    if len(known) == 1:
        if known[0].first:
            raise _broken(known[0].path, Fault(0, "the ledger's first segment is missing"))
        return GENESIS
    path = known[-2].path
    with path.open("rb") as file:
        last = _last_line(file)
    link = read_link(last)
    if isinstance(link, str) or link.sequence != known[-1].first - 1:
        raise _broken(path, Fault(known[-1].first - 1, link if isinstance(link, str) else "not the last record"))
    return link.leaf


def _last_line(file: BinaryIO) -> bytes:
    size = file.seek(0, os.SEEK_END)
    step = 65536
    while True:
        start = max(0, size - step)
        file.seek(start)
        tail = file.read(size - start)
        if start == 0 or tail.count(b"\n") > 1:
            return tail.splitlines(keepends=True)[-1] if tail else b""
        step *= 4


def _broken(path: Path, fault: Fault) -> InputError:
    return InputError([Problem(str(path), f"seq {fault.sequence}", fault.what)])


def read_personal(line: bytes) -> Mapping[str, Any] | None:
    """One line of a personal file: `seq`, `salt` (hex) and `part`; None if it is damaged."""
    try:
        entry = json.loads(line)
        if line.endswith(b"\n") and isinstance(entry, dict) and isinstance(entry["part"], dict):
            is_hex = bytes.fromhex(entry["salt"]).hex() == entry["salt"]
            return entry if is_hex and isinstance(entry["seq"], int) and len(entry) == 3 else None
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return None


class Reader:
    """Joined records in order, from a sequence on, for display and for the index; goes on where it stopped.

    Reads whole lines only and does not verify; a line that is no record ends what can be read. Records that were removed after
    their time are passed over; with `stubs` they are given as `leaf`, `prev` and `seq` alone.
    """

    def __init__(self, directory: Path, start: int = 0, *, stubs: bool = False) -> None:
        self._directory, self._next, self._stubs = directory, start, stubs
        self._segment: Segment | None = None
        self._offset = self._personal_offset = 0
        self._files = (0, 0)

    def read(self, limit: int, stop: int | None = None) -> list[dict[str, Any]]:
        """Up to `limit` further records, none at or above sequence `stop`."""
        found: list[dict[str, Any]] = []
        while len(found) < limit:
            current = self._seek()
            before = self._next
            if current is not None:
                found += self._take(current, limit - len(found), stop)
            if self._next == before:
                break
        return found

    def _seek(self) -> Segment | None:
        holding = [known for known in segments(self._directory) if known.first <= self._next]
        if holding and holding[-1] != self._segment:
            self._segment, self._offset, self._personal_offset = holding[-1], 0, 0
        if self._segment is not None:
            # A file that retention or erasure has replaced is another one, and is read from its beginning.
            files = _inode(self._segment.path), _inode(self._segment.personal)
            if files != self._files:
                self._offset = self._personal_offset = 0
            self._files = files
        return self._segment

    def _take(self, current: Segment, limit: int, stop: int | None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        passed = 0
        for line in lines(current.path, self._offset):
            if not line.endswith(b"\n") or len(found) >= limit or passed >= _PASSED:
                break
            link = read_link(line)
            if isinstance(link, str) or (stop is not None and link.sequence >= stop):
                break
            if link.sequence > self._next and not passed and not found and self._offset:
                self._files = (0, 0)  # replaced since it was looked at: what stands there is not what comes next
                break
            self._offset += len(line)
            passed += not link.personal
            if link.sequence >= self._next:
                self._next = link.sequence + 1
                if link.personal or self._stubs:
                    found.append(json.loads(line))
        return self._join(current, found)

    def _join(self, current: Segment, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not records:
            return []
        parts: dict[int, Mapping[str, str]] = {}
        for line in lines(current.personal, self._personal_offset):
            entry = read_personal(line)
            if entry is None or entry["seq"] > records[-1]["seq"]:
                break
            self._personal_offset += len(line)
            parts[entry["seq"]] = entry["part"]
        return [display(record, parts.get(record["seq"])) if "kind" in record else record for record in records]


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def lock(directory: Path) -> int:
    """Take the ledger for writing; gives the descriptor that holds the lock until it is closed.

    Raises `InputError` naming the process that has it.
    """
    path = directory / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise InputError([Problem(str(path), "", f"the ledger is being written by process {holder}")]) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def is_written(directory: Path) -> bool:
    """Whether a process has the ledger open for writing now."""
    try:
        descriptor = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
