"""A file in the making: a sparse file beside a map of the blocks that are certainly in it.

    <name>.part    the bytes, each at its final place
    <name>.map     magic, version, block size, file size, one bit a block, CRC-32 of all that

A block is claimed in the map only after an fdatasync that came later than its last byte, and the map is replaced by
rename: whatever moment a process or a machine dies at, the map tells the truth or is not believed at all. Without
its lock (`flock`) nobody writes to a `.part`, so two processes never share one by accident.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import struct
import threading
import zlib
from typing import TYPE_CHECKING, Final

from mirror.core.errors import StoreFull
from mirror.core.nouns import Span
from mirror.core.ports import BLOCK
from mirror.core.spans import SpanSet
from mirror.store.handle import Handle, write_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

_HEAD: Final = struct.Struct(">8sIIq")  # magic, version, block size, file size
_MAGIC: Final = b"entspool"
_VERSION: Final = 1
_CRC: Final = struct.Struct(">I")
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskSpool:
    """`core.ports.Spool` on a local disk. Made by `open_spool_file`; methods are for one event loop.

    The store sets two callbacks: `on_grow(n)` is told before `n` bytes beyond what was reserved are written (only
    without a known size) and may raise `StoreFull`; `on_close(discarded)` is told once.
    """

    def __init__(self, path: Path, size: int | None, descriptor: int, executor: Executor) -> None:
        self.path, self.size = path, size
        self._handle = Handle(descriptor, executor)
        self.on_grow: Callable[[int], None] = _ignore
        self.on_close: Callable[[bool], None] = _ignore
        self._present = SpanSet()
        self._claimed = SpanSet()
        self._reach = 0
        self._syncing = asyncio.Lock()
        self._mapping = threading.Lock()
        self._claims = self._mapped = 0
        self._adopted = False

    @property
    def map_path(self) -> Path:
        """Where the block map is."""
        return self.path.with_suffix(".map")

    async def write(self, offset: int, data: bytes) -> None:
        """Put bytes at `offset`. Raises `StoreFull`, `OSError`, `ValueError` beyond a known size."""
        stop = offset + len(data)
        if self.size is None:
            if stop > self._reach:
                self.on_grow(stop - self._reach)
                self._reach = stop
        elif stop > self.size:
            raise ValueError(f"bytes up to {stop} in a file of {self.size}")
        try:
            await self._handle.run(write_all, data, offset)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise StoreFull(len(data)) from error
            raise
        self._present.add(Span(offset, stop))

    def present(self) -> Sequence[Span]:
        """What is on disk, sorted and disjoint, at byte granularity."""
        return tuple(self._present)

    async def read(self, span: Span) -> bytes:
        """Bytes of `span`, which must be present (`ValueError` otherwise)."""
        if not self._present.covers(span):
            raise ValueError(f"not here yet: [{span.start}, {span.stop})")
        return await self._handle.read(span)

    async def drop(self, span: Span) -> None:
        """Forget a span, durably: no later process believes in it."""
        async with self._syncing:
            self._present.remove(span)
            self._claimed = _whole_blocks(self._present, self.size, within=self._claimed)
            await self._claim(self._claimed)

    async def sync(self) -> None:
        """Make what has arrived durable, then claim its whole blocks. Nothing to do for an adopted file."""
        async with self._syncing:
            if self._adopted:
                return
            blocks = _whole_blocks(self._present, self.size)
            await self._handle.run(os.fdatasync)
            if self.size is not None:
                await self._claim(blocks)
            self._claimed = blocks

    async def _claim(self, blocks: SpanSet) -> None:
        """Put these blocks into the map. A caller who is cancelled leaves a thread behind, which must not undo what came later."""
        self._claims += 1
        await self._handle.run(self._replace_map, self._claims, self._encoded(blocks))

    def _replace_map(self, _: int, claim: int, content: bytes) -> None:
        with self._mapping:
            if claim > self._mapped:
                _replace(self.map_path, content)
                self._mapped = claim

    def close(self, *, discard: bool) -> None:
        """Let go of the file, and of the disk's copy too if `discard` (an adopted file stays where it is)."""
        if self._handle.closed:
            return
        if discard and not self._adopted:
            # Map first: a map without its file is harmless, a file without its map is empty.
            self.map_path.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
        self._handle.close()
        self.on_close(discard)

    def moved(self) -> None:
        """The store has adopted the file: its old name is free for another spool."""
        self._adopted = True

    def recover(self) -> None:
        """Believe the map that an earlier process left, if it is whole and speaks of a file of this size."""
        claimed = _decoded(self.map_path, self.size)
        reach = os.fstat(self._handle.fileno()).st_size
        for span in claimed:
            if span.stop <= reach:
                self._claimed.add(span)
                self._present.add(span)

    def _encoded(self, blocks: SpanSet) -> bytes:
        size = self.size or 0
        bits = bytearray(-(-size // BLOCK) // 8 + 1)
        for span in blocks:
            for number in range(span.start // BLOCK, -(-span.stop // BLOCK)):
                bits[number // 8] |= 1 << number % 8
        plain = _HEAD.pack(_MAGIC, _VERSION, BLOCK, size) + bytes(bits)
        return plain + _CRC.pack(zlib.crc32(plain))


def _ignore(_: object) -> None:
    pass


def open_spool_file(path: Path, size: int | None, executor: Executor) -> DiskSpool | None:
    """The spool at `path` (`….part`), locked, with the blocks that its map vouches for; None if another holds it. Blocks.

    A spool of another size, or of unknown size, starts empty: nothing tells where its bytes belong.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    spool = DiskSpool(path, size, descriptor, executor)
    if size is not None:
        spool.recover()
    if not spool.present():
        spool.map_path.unlink(missing_ok=True)
        os.ftruncate(descriptor, 0)
    if size is not None:
        os.ftruncate(descriptor, size)
    return spool


def is_held(path: Path) -> bool:
    """Whether some process holds the spool at `path`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _whole_blocks(present: SpanSet, size: int | None, within: SpanSet | None = None) -> SpanSet:
    """The blocks of which every byte is in `present` (and, if given, in `within`). The last block may be short."""
    blocks = SpanSet()
    for span in present:
        start = -(-span.start // BLOCK) * BLOCK
        stop = span.stop if span.stop == size else span.stop // BLOCK * BLOCK
        if start < stop:
            blocks.add(Span(start, stop))
    if within is not None:
        for span in blocks.copy():
            position = span.start
            while (gap := within.gap(position, span.stop)) is not None:
                blocks.remove(gap)
                position = gap.stop
    return blocks


def _decoded(path: Path, size: int | None) -> list[Span]:
    """The spans that a map claims; none if it is absent, torn, or of another file."""
    try:
        raw = path.read_bytes()
    except OSError:
        return []
    if len(raw) < _HEAD.size + _CRC.size or _CRC.pack(zlib.crc32(raw[: -_CRC.size])) != raw[-_CRC.size :]:
        return []
    if _HEAD.unpack_from(raw) != (_MAGIC, _VERSION, BLOCK, size) or size is None:
        return []
    bits = raw[_HEAD.size : -_CRC.size]
    numbers = (number for number in range(-(-size // BLOCK)) if bits[number // 8] >> number % 8 & 1)
    return [Span(number * BLOCK, min(size, (number + 1) * BLOCK)) for number in numbers]


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_suffix(".map-new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        write_all(descriptor, content, 0)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    fresh.replace(path)
