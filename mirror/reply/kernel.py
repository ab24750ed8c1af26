"""Sending from a file by the kernel (sendfile(2)), on a duplicate of the connection's socket."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from mirror.core.errors import IntegrityError
from mirror.core.nouns import Span

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from mirror.store.handle import Handle

#: Most bytes of one `sendfile` call.
STRETCH: Final = 1024 * 1024


async def send_some(request: web.Request, out: int, handle: Handle, span: Span, left: Callable[[int], None]) -> None:
    """Send some of `span` to the socket `out`, and tell `left` how many bytes, also where this is cancelled at that moment.

    Yields to others even when the client is fast. Raises `ConnectionResetError` for one that left, `IntegrityError` where
    the file ends before `span`, else `OSError`.
    """
    if request.transport is None or request.transport.is_closing():
        raise ConnectionResetError("the client left")
    try:
        if _in_memory(handle.fileno(), span):
            sent = _some(os.sendfile(out, handle.fileno(), span.start, len(span)), span)
            left(sent)
            await (asyncio.sleep(0) if sent == len(span) else _writable(out))
        else:
            await _by_thread(out, handle, span, left)
    except BlockingIOError:
        await _writable(out)


async def flushed(request: web.Request) -> None:
    """Until what the transport buffers has left: the kernel must not overtake it."""
    turns = 0
    while True:
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client left")
        if not transport.get_write_buffer_size():
            return
        turns += 1
        await asyncio.sleep(0 if turns < 8 else 0.005)


def _sendfile(descriptor: int, out: int, span: Span) -> int:
    return os.sendfile(out, descriptor, span.start, len(span))


def _in_memory(descriptor: int, span: Span) -> bool:
    """Whether sending `span` would probably not wait for the disk (preadv2(2), RWF_NOWAIT)."""
    probe = bytearray(1)
    try:
        for offset in (span.start, span.stop - 1):
            os.preadv(descriptor, [probe], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True  # not every file system can tell
    return True


async def _by_thread(out: int, handle: Handle, span: Span, left: Callable[[int], None]) -> None:
    """Wait for the disk in a thread, to its end even when cancelled: it uses a descriptor that is about to be closed."""
    task = asyncio.ensure_future(handle.run(_sendfile, out, span))
    try:
        left(_some(await asyncio.shield(task), span))
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):  # told once more
                await asyncio.wait({task})
        if not task.cancelled() and task.exception() is None:
            left(task.result())
        raise


def _some(count: int, span: Span) -> int:
    if not count:
        raise IntegrityError("body", f"{span.stop} bytes", f"{span.start} bytes")
    return count


async def _writable(out: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(out, tell)
    try:
        await ready
    finally:
        loop.remove_writer(out)
