"""Blobs on a local disk.

    <root>/blobs/sha256/ab/cd/<64 hex>     a verified blob, read-only, complete from the moment it has this name
    <root>/blobs/usage                     the bytes of all blobs together, CRC'd; lost or torn, it is counted again.
                                           Every process that adds or removes blobs reckons here what it did
    <root>/spool/<sha256 of key>.part      a file in the making, with its block map in .map (see `spool`)
    <root>/spool/<…>.<random>.part         the same for a key whose spool another process holds; never resumed

The order of every write is: reserve, spool, verify, fsync, rename, fsync the folder. A name under `blobs` therefore
never stands for half a file; what rots afterwards shows as a wrong length (a miss) or to the scrub.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import secrets
import struct
import zlib
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.core.errors import StoreFull
from mirror.core.nouns import Blob, Digest, Span
from mirror.durable import sync_folder
from mirror.store.reading import LENGTH, DiskBlobs
from mirror.store.spool import DiskSpool, is_held, open_spool_file

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mirror.core.ports import Spool

    Pressure = Callable[[int], Awaitable[int]]

_USAGE: Final = struct.Struct(">QI")


class DiskStore(DiskBlobs):
    """`core.ports.BlobStore` on a local disk; one event loop.

    `quota` is the most that blobs and spools may take together, in bytes (None: no limit). `min_free` bytes of the
    file system stay free. Both are checked, with what running spools have yet to write, before a spool is opened.
    """

    on_pressure: Pressure
    """Awaited with the bytes that are lacking before a spool is refused; frees some and gives how many. Set by the owner."""

    def __init__(self, root: Path, quota: int | None = None, min_free: int = 0, *, threads: int = 8) -> None:
        super().__init__(root, threads=threads)
        self.on_pressure = _nothing_to_free
        self._blobs = root / "blobs" / "sha256"
        self._spools = root / "spool"
        self._usage_path = root / "blobs" / "usage"
        self._quota, self._min_free = quota, min_free
        self._open: dict[DiskSpool, int] = {}
        self._idle: dict[Path, int] = {}
        self._used: int | None = None
        self._reckoned: int | None = None  # what the file said when we last wrote or read it
        self._reckoning = asyncio.Lock()
        self._opening = asyncio.Lock()
        self._counting: asyncio.Task[None] | None = None
        self._freeing: asyncio.Task[None] | None = None
        self._blobs.mkdir(parents=True, exist_ok=True)
        self._spools.mkdir(parents=True, exist_ok=True)
        self._start()

    @property
    def used(self) -> int:
        """Bytes of blobs on disk, as far as they are counted."""
        return self._used or 0

    @property
    def reserved(self) -> int:
        """Bytes promised to running spools, or lying in those that an earlier flight left."""
        return sum(self._open.values()) + sum(self._idle.values())

    # --- the port -------------------------------------------------------------------------------------------------

    async def adopt(self, spool: Spool, blob: Blob) -> Blob:
        """Take a finished, verified spool of this store: fsync, rename, fsync the folder.

        Its file stays readable through the spool until that is closed. Raises `ValueError` for an unfinished one.
        """
        whole = Span(0, blob.size)
        if not isinstance(spool, DiskSpool) or spool not in self._open:
            raise TypeError("a store adopts the spools that it opened")
        if [part for part in spool.present() if len(part)] != [whole] * bool(blob.size):
            raise ValueError("the spool is not complete")
        before = await self._run(_adopt, spool.path, spool.map_path, self._place(blob.digest), blob.size)
        spool.moved()
        self._open.pop(spool, None)
        await self._count(blob.size - before)
        return blob

    async def remove(self, digest: Digest) -> None:
        """Forget a blob. Absent is fine. Whoever reads it at this moment reads on."""
        gone = await self._run(_unlink, self._place(digest))
        await self._count(-gone)

    async def open_spool(self, key: str, size: int | None) -> Spool:
        """The spool of a flight, with the blocks an earlier process left. Raises `StoreFull` before anything is written."""
        path = self._spools / f"{sha256(key.encode()).hexdigest()}.part"
        async with self._opening:
            left = self._idle.pop(path, 0)
            try:
                await self._make_room(size or 0, left)
                spool = await self._open_file(path, size)
            except (StoreFull, OSError) as error:
                if left:
                    self._idle[path] = left
                if isinstance(error, OSError) and error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise StoreFull(size or 0) from error
            self._open[spool] = size or 0
        spool.on_grow = partial(self._grow, spool)
        spool.on_close = partial(self._closed, spool)
        return spool

    # --- beyond the port ------------------------------------------------------------------------------------------

    async def taken_away(self, size: int) -> None:
        """Another hand removed `size` bytes of blobs."""
        await self._count(-size)

    async def recount(self) -> int:
        """Count the bytes of all blobs again (seconds per million files); gives and keeps the result."""
        total = await self._run(_walk, self._blobs)
        async with self._reckoning:
            self._used = self._reckoned = total
            await self._run(_reckon, self._usage_path, None, total)
        return total

    async def close(self) -> None:
        """Let the threads finish."""
        for task in (self._counting, self._freeing):
            if task is not None:
                task.cancel()
        await super().close()

    # --- room -----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Cheap whatever the number of blobs: one small file and the folder of unfinished spools."""
        self._used = self._reckoned = _load_usage(self._usage_path)
        if self._used is None and not any(self._blobs.iterdir()):
            self._used = 0
        for path in self._spools.iterdir():
            if path.suffix == ".part" and not _private(path):
                self._idle[path] = path.stat().st_blocks * 512
            elif path.suffix == ".part" and not is_held(path):
                path.unlink(missing_ok=True)

    async def _make_room(self, size: int, left: int) -> None:
        """Raise `StoreFull` unless `size` more bytes fit, `left` of which are on disk; old unfinished spools give way."""
        if self._used is None and self._counting is None:
            self._counting = asyncio.create_task(self._count_behind())
        asked = False
        while (lacking := self._lacking(size, left, await self._run(os.statvfs, self._spools))) > 0:
            if not asked:  # before anything goes for it: another process may have made room
                asked = True
                await self._count(0)
                continue
            if not self._idle:
                never = self._quota is not None and size > self._quota
                if never or not await self.on_pressure(lacking):
                    raise StoreFull(size)
                continue
            path = min(self._idle, key=_age)
            self._idle.pop(path)
            path.with_suffix(".map").unlink(missing_ok=True)
            path.unlink(missing_ok=True)

    async def _count_behind(self) -> None:
        await self.recount()

    async def _free_behind(self, lacking: int) -> None:
        """For whoever comes next: a spool whose size nobody knew could not wait."""
        try:
            await self.on_pressure(lacking)
        finally:
            self._freeing = None

    def _lacking(self, size: int, left: int, system: os.statvfs_result) -> int:
        """How many bytes more must be free for `size` to fit; at most 0 where it does."""
        unwritten = sum(max(0, room - sum(map(len, spool.present()))) for spool, room in self._open.items())
        on_disk = self._min_free + unwritten + max(0, size - left) - system.f_bavail * system.f_frsize
        return on_disk if self._quota is None else max(on_disk, self.used + self.reserved + size - self._quota)

    def _grow(self, spool: DiskSpool, more: int) -> None:
        """Room for a spool whose size nobody knows, as it comes."""
        lacking = self._lacking(more, 0, os.statvfs(self._spools))
        if lacking > 0:
            self._freeing = self._freeing or asyncio.create_task(self._free_behind(lacking))
            raise StoreFull(more)
        self._open[spool] = self._open.get(spool, 0) + more

    def _closed(self, spool: DiskSpool, discarded: bool) -> None:
        if self._open.pop(spool, None) is None or discarded:
            return
        if _private(spool.path) or spool.size is None:
            spool.path.unlink(missing_ok=True)  # nobody would find it again, or could go on with it
            spool.map_path.unlink(missing_ok=True)
        else:
            self._idle[spool.path] = sum(map(len, spool.present()))

    async def _open_file(self, path: Path, size: int | None) -> DiskSpool:
        spool = await self._run(open_spool_file, path, size, self._executor)
        while spool is None:
            private = path.with_name(f"{path.stem}.{secrets.token_hex(4)}.part")
            spool = await self._run(open_spool_file, private, size, self._executor)
        return spool

    async def _count(self, change: int) -> None:
        """Take a change of ours into account, and what other processes changed since we last looked."""
        self._used = max(0, self.used + change)
        async with self._reckoning:
            before, after = await self._run(_reckon, self._usage_path, change, self.used)
            if before is not None:
                self._used = after if self._reckoned is None else max(0, self.used + before - self._reckoned)
            self._reckoned = after


async def _nothing_to_free(_: int) -> int:
    return 0


def _private(path: Path) -> bool:
    return path.name.count(".") > 1


def blob_path(root: Path, digest: Digest) -> Path:
    """Where the blob of this SHA-256 lies below a store's root."""
    return root / "blobs" / "sha256" / digest.hex[:2] / digest.hex[2:4] / digest.hex


def reckoned(root: Path, change: int) -> None:
    """Tell every process of the store that its blobs take `change` bytes more; where nobody has counted, who comes next does."""
    path = root / "blobs" / "usage"
    if _load_usage(path) is not None:
        _reckon(path, change, 0)


def _adopt(source: Path, block_map: Path, target: Path, size: int) -> int:
    """Move a finished spool to its blob's name, durably; gives the length of what stood there before."""
    descriptor = os.open(source, os.O_RDWR | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_size != size:
            os.ftruncate(descriptor, size)
        os.fchmod(descriptor, 0o440)
        with contextlib.suppress(OSError):  # no extended attributes here: the index is the only witness of the length
            os.setxattr(descriptor, LENGTH, str(size).encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _make_folder(target.parent)
    before = _size_of(target)
    source.replace(target)
    sync_folder(target.parent)
    block_map.unlink(missing_ok=True)
    return before


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _unlink(path: Path) -> int:
    size = _size_of(path)
    path.unlink(missing_ok=True)
    return size


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _walk(folder: Path) -> int:
    total = 0
    for base, _, names in os.walk(folder):
        total += sum(_size_of(Path(base, name)) for name in names)
    return total


def _load_usage(path: Path) -> int | None:
    try:
        return _usage_in(path.read_bytes())
    except OSError:
        return None


def _usage_in(data: bytes) -> int | None:
    try:
        used, check = _USAGE.unpack(data)
    except struct.error:
        return None
    return used if zlib.crc32(_USAGE.pack(used, 0)) == check else None


def _reckon(path: Path, change: int | None, ours: int) -> tuple[int | None, int]:
    """What the file said, and what it says now: `change` more, or `ours` where it said nothing or `change` is None.

    Written in place: torn by a crash it fails its CRC and is counted again.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # until it is closed
        before = _usage_in(os.pread(descriptor, _USAGE.size + 1, 0))
        after = ours if before is None or change is None else max(0, before + change)
        os.pwrite(descriptor, _USAGE.pack(after, zlib.crc32(_USAGE.pack(after, 0))), 0)
        return before, after
    finally:
        os.close(descriptor)
