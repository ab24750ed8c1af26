"""Answers that are passed on as they come, kept nowhere: events, and what only whole protocols understand."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http import HttpVersion11

from mirror.core.errors import UpstreamError
from mirror.proxy.underway import CutShort
from mirror.reply.body import while_connected
from mirror.reply.ending import end

if TYPE_CHECKING:
    from mirror.proxy.underway import Running


async def pass_on(
    request: web.Request, chunks: AsyncIterator[bytes], headers: Mapping[str, str], running: Running, *, open_ended: bool = False
) -> web.StreamResponse:
    """A 200 whose body is `chunks` (none empty), each sent at once. Returns when they end, and soon after the client left.

    Where upstream breaks off, an `open_ended` body ends there; any other is cut off before its end (RFC 9112 section 8),
    so that nobody takes the part for the whole. So is each where rules that come into force meanwhile refuse it: `running`
    is what it was permitted on (`Gateway.relayed`).
    """
    response = web.StreamResponse(headers=dict(headers))
    if request.version >= HttpVersion11:
        response.enable_chunked_encoding()
    else:
        response.force_close()
    try:
        with running:
            await _passed(request, response, chunks, running, open_ended=open_ended)
    except ConnectionError:
        response.force_close()  # the client left
    except UpstreamError:
        response.force_close()
        if request.transport is not None:
            request.transport.close()
    except CutShort as cut:
        if not response.prepared:
            raise cut.answer() from None
        response.force_close()
        end(request.transport)
    finally:
        closing = getattr(chunks, "aclose", None)
        if closing is not None:
            with contextlib.suppress(UpstreamError):
                await closing()
    return response


async def _passed(
    request: web.Request, response: web.StreamResponse, chunks: AsyncIterator[bytes], running: Running, *, open_ended: bool
) -> None:
    await response.prepare(request)
    try:
        while chunk := await while_connected(request, anext(chunks, b"")):
            running.sent += len(chunk)
            await response.write(chunk)
    except UpstreamError:
        if not open_ended:
            raise
    await response.write_eof()
