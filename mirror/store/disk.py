"""Blobs on a local disk.

    <root>/blobs/sha256/ab/cd/<64 hex>     a verified blob, read-only, complete from the moment it has this name
    <root>/blobs/usage                     the bytes of all blobs together, CRC'd; lost or torn, it is counted again
    <root>/spool/<sha256 of key>.part      a file in the making, with its block map in .map (see `spool`)
    <root>/spool/<…>.<random>.part         the same for a key whose spool another process holds; never resumed

The order of every write is: reserve, spool, verify, fsync, rename, fsync the folder. A name under `blobs` therefore
never stands for half a file; what rots afterwards shows as a wrong length (a miss) or to the scrub.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from mirror.core.errors import IntegrityError, StoreFull
from mirror.core.nouns import Blob, Digest, Span
from mirror.store.spool import DiskSpool, is_held, open_spool_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.core.ports import Spool

_T = TypeVar("_T")
_USAGE: Final = struct.Struct(">QI")
#: Where the file system keeps extended attributes, a blob's length is written beside it, and checked on each find.
_LENGTH: Final = "user.entrepot.length"
_HEX: Final = frozenset("0123456789abcdef")


class DiskStore:
    """`core.ports.BlobStore` on a local disk; one event loop.

    `quota` is the most that blobs and spools may take together, in bytes (None: no limit). `min_free` bytes of the
    file system stay free. Both are checked, with what running spools have yet to write, before a spool is opened.
    """

    def __init__(self, root: Path, quota: int | None = None, min_free: int = 0, *, threads: int = 8) -> None:
        self._blobs = root / "blobs" / "sha256"
        self._spools = root / "spool"
        self._usage_path = root / "blobs" / "usage"
        self._quota, self._min_free = quota, min_free
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="store")
        self._open: dict[DiskSpool, int] = {}
        self._idle: dict[Path, int] = {}
        self._used: int | None = None
        self._opening = asyncio.Lock()
        self._counting: asyncio.Task[None] | None = None
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

    async def find(self, digest: Digest) -> Blob | None:
        """The blob, if it is here and has its recorded length; anything unreadable is a miss."""
        if digest.algorithm != "sha256" or len(digest.hex) != 64 or not _HEX.issuperset(digest.hex):
            return None
        size = await self._run(_length, self._place(digest))
        return None if size is None else Blob(digest, size)

    def path(self, blob: Blob) -> Path | None:
        """The file to send from."""
        return self._place(blob.digest)

    async def read(self, blob: Blob, span: Span) -> bytes:
        """A part of a blob. Raises `IntegrityError` when the file is gone or shorter than it was."""
        try:
            return await self._run(_read_part, self._place(blob.digest), span)
        except OSError as error:
            raise IntegrityError(str(blob.digest), f"{blob.size} bytes", error.strerror or "unreadable") from error

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

    async def recount(self) -> int:
        """Count the bytes of all blobs again (seconds per million files); gives and keeps the result."""
        total = await self._run(_walk, self._blobs)
        self._used = 0
        await self._count(total)
        return total

    async def close(self) -> None:
        """Let the threads finish."""
        if self._counting is not None:
            self._counting.cancel()
        await asyncio.get_running_loop().run_in_executor(None, partial(self._executor.shutdown, wait=True))

    # --- room -----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Cheap whatever the number of blobs: one small file and the folder of unfinished spools."""
        self._used = _load_usage(self._usage_path)
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
        while not self._fits(size, left, await self._run(os.statvfs, self._spools)):
            if not self._idle:
                raise StoreFull(size)
            path = min(self._idle, key=_age)
            self._idle.pop(path)
            path.with_suffix(".map").unlink(missing_ok=True)
            path.unlink(missing_ok=True)

    async def _count_behind(self) -> None:
        await self.recount()

    def _fits(self, size: int, left: int, system: os.statvfs_result) -> bool:
        if self._quota is not None and self.used + self.reserved + size > self._quota:
            return False
        unwritten = sum(max(0, room - sum(map(len, spool.present()))) for spool, room in self._open.items())
        return system.f_bavail * system.f_frsize - unwritten - max(0, size - left) >= self._min_free

    def _grow(self, spool: DiskSpool, more: int) -> None:
        """Room for a spool whose size nobody knows, as it comes."""
        if not self._fits(more, 0, os.statvfs(self._spools)):
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
        self._used = max(0, self.used + change)
        await self._run(_save_usage, self._usage_path, self._used)

    def _place(self, digest: Digest) -> Path:
        return self._blobs / digest.hex[:2] / digest.hex[2:4] / digest.hex

    async def _run(self, function: Callable[..., _T], *arguments: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, partial(function, *arguments))


def _private(path: Path) -> bool:
    return path.name.count(".") > 1


def _length(path: Path) -> int | None:
    """The length of a blob's file; None if it is absent, unreadable or not as long as was recorded."""
    try:
        size = path.stat().st_size
    except OSError:
        return None
    try:
        recorded = int(os.getxattr(path, _LENGTH))
    except (OSError, ValueError):
        return size if os.access(path, os.R_OK) else None
    return size if size == recorded and os.access(path, os.R_OK) else None


def _read_part(path: Path, span: Span) -> bytes:
    with path.open("rb", buffering=0) as file:
        data = os.pread(file.fileno(), len(span), span.start)
        while len(data) < len(span):
            more = os.pread(file.fileno(), len(span) - len(data), span.start + len(data))
            if not more:
                raise OSError(errno.EIO, "shorter than it was")
            data += more
        return data


def _adopt(source: Path, block_map: Path, target: Path, size: int) -> int:
    """Move a finished spool to its blob's name, durably; gives the length of what stood there before."""
    descriptor = os.open(source, os.O_RDWR | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_size != size:
            os.ftruncate(descriptor, size)
        os.fchmod(descriptor, 0o440)
        with contextlib.suppress(OSError):  # no extended attributes here: the index is the only witness of the length
            os.setxattr(descriptor, _LENGTH, str(size).encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _make_folder(target.parent)
    before = _size_of(target)
    source.replace(target)
    _sync_folder(target.parent)
    block_map.unlink(missing_ok=True)
    return before


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
        used, check = _USAGE.unpack(path.read_bytes())
    except (OSError, struct.error):
        return None
    return used if zlib.crc32(_USAGE.pack(used, 0)) == check else None


def _save_usage(path: Path, used: int) -> None:
    """Written in place: torn by a crash it fails its CRC and is counted again."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        os.pwrite(descriptor, _USAGE.pack(used, zlib.crc32(_USAGE.pack(used, 0))), 0)
    finally:
        os.close(descriptor)
