"""The blobs of a store, for reading: finding them needs nobody's leave, whichever process writes them."""

from __future__ import annotations

import asyncio
import errno
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from mirror.core.errors import IntegrityError
from mirror.core.nouns import Blob, Digest, Span

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
#: Where the file system keeps extended attributes, a blob's length is written beside it, and checked on each find.
LENGTH: Final = "user.entrepot.length"
_HEX: Final = frozenset("0123456789abcdef")


class DiskBlobs:
    """`core.ports.Blobs` below `<root>/blobs/sha256`; one event loop."""

    def __init__(self, root: Path, *, threads: int = 8) -> None:
        self._base = str(root / "blobs" / "sha256")
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="store")

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

    async def close(self) -> None:
        """Let the threads finish."""
        await asyncio.get_running_loop().run_in_executor(None, partial(self._executor.shutdown, wait=True))

    def _place(self, digest: Digest) -> Path:
        name = digest.hex
        return Path(f"{self._base}/{name[:2]}/{name[2:4]}/{name}")  # in one go: this is asked for several times a request

    async def _run(self, function: Callable[..., _T], *arguments: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, partial(function, *arguments))


def _length(path: Path) -> int | None:
    """The length of a blob's file; None if it is absent, unreadable or not as long as was recorded."""
    try:
        size = path.stat().st_size
    except OSError:
        return None
    try:
        recorded = int(os.getxattr(path, LENGTH))
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
