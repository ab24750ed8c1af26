"""An open file whose descriptor outlives every thread that still works on it."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.core.nouns import Span

_T = TypeVar("_T")
_READERS = ThreadPoolExecutor(8, thread_name_prefix="read")
#: Up to so many bytes are read in the event loop, where that need not wait for a disk.
_FEW: Final = 64 * 1024


class Handle:
    """Owns `descriptor`. `close` is deferred while a thread is at work on it.

    Without that, a cancelled caller would close a number that its abandoned thread still writes to, and which may by
    then be another file.
    """

    def __init__(self, descriptor: int, executor: Executor | None = None) -> None:
        self._descriptor = descriptor
        self._executor = executor or _READERS
        self._guard = threading.Lock()
        self._busy = 0
        self.closed = False

    def fileno(self) -> int:
        """The descriptor; only for use inside `run` or where the caller sees to it that `close` comes later."""
        return self._descriptor

    async def run(self, function: Callable[..., _T], *arguments: object) -> _T:
        """`function(descriptor, *arguments)` in a thread. Raises `ValueError` once closed."""
        with self._guard:
            if self.closed:
                raise ValueError("the file is closed")
            self._busy += 1
        future = self._executor.submit(partial(function, self._descriptor, *arguments))
        future.add_done_callback(self._done)
        return await asyncio.wrap_future(future)

    async def read(self, span: Span) -> bytes:
        """Exactly the bytes of `span`. Raises `OSError` (EIO) when the file ends before."""
        data = self._at_once(span) if len(span) <= _FEW else None
        return await self.run(read_span, span) if data is None else data

    def _at_once(self, span: Span) -> bytes | None:
        """The bytes, if they are in memory: then a thread takes longer than they do (preadv2(2), RWF_NOWAIT). Else None."""
        data = bytearray(len(span))
        with self._guard:
            if self.closed:
                return None
            try:
                count = os.preadv(self._descriptor, [data], span.start, os.RWF_NOWAIT)
            except OSError:  # EAGAIN; EOPNOTSUPP where the file system knows no such thing
                return None
        return bytes(data) if count == len(data) else None

    def close(self) -> None:
        """Let go; fine to call twice."""
        with self._guard:
            if self.closed:
                return
            self.closed = True
            if not self._busy:
                os.close(self._descriptor)

    def __del__(self) -> None:
        self.close()

    def _done(self, _: object) -> None:
        with self._guard:
            self._busy -= 1
            if self.closed and not self._busy:
                os.close(self._descriptor)


def read_span(descriptor: int, span: Span) -> bytes:
    """Exactly the bytes of `span`. Blocks. Raises `OSError` (EIO) when the file ends before."""
    pieces: list[bytes] = []
    offset = span.start
    while offset < span.stop:
        piece = os.pread(descriptor, span.stop - offset, offset)
        if not piece:
            raise OSError(errno.EIO, f"the file ends at {offset}")
        pieces.append(piece)
        offset += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Put all of `data` at `offset`. Blocks."""
    rest = memoryview(data)
    while rest:
        done = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[done:], offset + done
