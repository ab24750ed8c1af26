"""Durable appends: whole batches, in order, personal parts first, with a reserve for the day the disk is full."""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from mirror.audit.chain import Head
from mirror.audit.record import Prepared, Record, seal
from mirror.audit.segments import Segment, Torn, find_end, lock, segment, write_head
from mirror.audit.tiles import TreeFiles
from mirror.audit.tree import WIDTH
from mirror.core.errors import InputError, LedgerDown, Problem
from mirror.durable import sync_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SEGMENT_SIZE: Final = 64 * 1024 * 1024
#: How much of the reserve is given up at a time, so that nobody else takes what the ledger frees.
_STEP: Final = 8 * 1024 * 1024
#: Seconds between attempts to get a spent reserve back.
_RETRY: Final = 10.0
#: "No room" in all its forms; after any other error a file's state is unknown and only a restart helps.
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Reserve:
    """A file of `size` allocated bytes that is given up piece by piece when the disk is full."""

    def __init__(self, path: Path, size: int) -> None:
        self.size = size
        self.held = 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self.restore()

    def restore(self) -> bool:
        """Allocate all of it if there is room now; says whether it is whole."""
        try:
            if self.size > 0:
                os.posix_fallocate(self._descriptor, 0, self.size)
            os.ftruncate(self._descriptor, self.size)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            os.ftruncate(self._descriptor, self.held)
            return False
        self.held = self.size
        return True

    def give_up(self) -> bool:
        """Free one step. False when there is nothing left."""
        if not self.held:
            return False
        self.held = max(0, self.held - _STEP)
        os.ftruncate(self._descriptor, self.held)
        return True

    def close(self) -> None:
        """Keep the file, release the descriptor."""
        os.close(self._descriptor)


class Writer:
    """The one writer of a ledger's files. Not thread-safe: one thread calls `append`.

    `state` is `ok`, `reserve` (the disk was full: living on the reserve) or `down`; `why` says why in one phrase.
    """

    def __init__(self, directory: Path, *, reserve: int = 0, segment_size: int = SEGMENT_SIZE) -> None:
        self._directory, self._segment_size = directory, segment_size
        self._lock = self._records = self._personal = self._head_file = -1
        self._size = self._personal_size = 0
        self._reserve_size = reserve
        self._reserve: Reserve | None = None  # set while open
        self._next_try = 0.0
        self._curable = True
        self.tree = TreeFiles(directory)
        self.head = Head()
        #: Set: the next batch begins a new segment, so that what is written until now may be replaced.
        self.turn = False
        self.state = "down"
        self.why = "not open"

    def open(self) -> Torn | None:
        """Take the lock, find the end, cut an incomplete last write (told as the result). Raises `InputError`."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o750)
            self._lock = lock(self._directory)
        except OSError as error:
            raise InputError([Problem(str(self._directory), "", f"cannot be written: {error.strerror}")]) from error
        try:
            return self._open_files()
        except OSError as error:
            self.close()
            raise InputError([Problem(str(self._directory), "", f"cannot be written: {error.strerror}")]) from error
        except InputError:
            self.close()
            raise

    def _open_files(self) -> Torn | None:
        end = find_end(self._directory)
        if end.torn is not None and end.segment is not None:
            self._keep_torn(end.torn, end.segment, end.size)
        self._head_file = os.open(self._directory / "head", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self.head = end.head
        if end.segment is None:
            write_head(self._head_file, end.head)
            os.fsync(self._head_file)
            self._start_segment()
        else:
            self._open_segment(end.segment, end.size, end.personal_size)
        self.tree.open(end.head.count - len(end.leaves) // WIDTH, end.leaves)
        self._reserve = Reserve(self._directory / "reserve", self._reserve_size)
        self._settle_state()
        return end.torn

    def _keep_torn(self, torn: Torn, current: Segment, size: int) -> None:
        """The cut bytes stay as evidence: copied and synced before they are cut."""
        with current.path.open("rb") as file:
            file.seek(size)
            data = file.read()
        with (self._directory / torn.file).open("wb") as kept:
            kept.write(data)
            kept.flush()
            os.fsync(kept.fileno())
        sync_folder(self._directory)

    def _open_segment(self, current: Segment, size: int, personal_size: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        records, personal = os.open(current.path, flags, 0o640), os.open(current.personal, flags, 0o600)
        for descriptor in (self._records, self._personal):
            if descriptor >= 0:
                os.close(descriptor)
        self._records, self._personal = records, personal
        self._size, self._personal_size = size, personal_size
        os.ftruncate(records, size)
        os.ftruncate(personal, personal_size)
        os.fsync(records)
        os.fsync(personal)
        sync_folder(self._directory)

    def _start_segment(self) -> None:
        self._open_segment(segment(self._directory, self.head.count), 0, 0)

    def append(self, batch: Sequence[Prepared]) -> list[Record]:
        """Seal and write `batch`; durable on return. Raises `LedgerDown`, and then nothing of it counts as written."""
        if self.state == "down" and not self.heal():
            raise LedgerDown(self.why)
        records, head = [], self.head
        for prepared in batch:
            record = seal(prepared, head.count, head.leaf)
            records.append(record)
            head = Head(head.count + 1, record.leaf)
        lines = b"".join(record.line for record in records)
        parts = b"".join(record.personal for record in records)
        while True:
            try:
                self._write(lines, parts)
                break
            except OSError as error:
                self._failed(error)
        self._size += len(lines)
        self._personal_size += len(parts)
        self.head = head
        self.tree.extend([bytes.fromhex(record.leaf) for record in records])
        with suppress(OSError):  # the head may lag; it is written again with the next batch
            write_head(self._head_file, head)
        return records

    def _write(self, lines: bytes, parts: bytes) -> None:
        if self._size >= self._segment_size or (self.turn and self._size):
            os.fsync(self._head_file)
            self.tree.sync()
            self._start_segment()
        self.turn = False
        _write_at(self._personal, parts, self._personal_size)
        os.fdatasync(self._personal)
        _write_at(self._records, lines, self._size)
        os.fdatasync(self._records)

    def _failed(self, error: OSError) -> None:
        """Make room for another attempt, or take what was half written back and go down."""
        reserve = self._reserve
        if error.errno in _NO_ROOM and reserve is not None and reserve.give_up():
            self.state, self.why = "reserve", f"the disk is full; {reserve.held} bytes of reserve left"
            self._next_try = time.monotonic() + _RETRY
            return
        self.state, self.why = "down", f"{self._directory}: {error.strerror}"
        self._next_try = time.monotonic() + 1.0
        self._curable = error.errno in _NO_ROOM
        try:
            os.ftruncate(self._records, self._size)
            os.ftruncate(self._personal, self._personal_size)
        except OSError:
            self._curable = False
        raise LedgerDown(self.why) from error

    def heal(self) -> bool:
        """Get the reserve back if the disk has room again; says whether appending may go on."""
        if self.state == "ok":
            return True
        if self._curable and self._reserve is not None and time.monotonic() >= self._next_try:
            self._next_try = time.monotonic() + (1.0 if self.state == "down" else _RETRY)
            if self.state == "down" and not self._has_room():
                return False
            with suppress(OSError):
                self._reserve.restore()
            self._settle_state()
        return self.state != "down"

    def _has_room(self) -> bool:
        room = os.statvfs(self._directory)
        return room.f_bavail * room.f_frsize >= min(_STEP, max(self._reserve_size, 1024 * 1024))

    def _settle_state(self) -> None:
        whole = self._reserve is not None and self._reserve.held >= self._reserve.size
        self.state = "ok" if whole else "reserve"
        self.why = "" if whole else "the disk has no room for the whole reserve"

    def close(self) -> None:
        """Sync the head and the tree, release files and lock."""
        if self._head_file >= 0:
            with suppress(OSError):
                os.fsync(self._head_file)
            self.tree.sync()
        for descriptor in (self._records, self._personal, self._head_file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._records = self._personal = self._head_file = self._lock = -1
        self.tree.close()
        if self._reserve is not None:
            self._reserve.close()
            self._reserve = None
        self.state, self.why, self._curable = "down", "closed", False


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
