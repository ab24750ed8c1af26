"""Answers that are passed on as they come, kept nowhere: events, and what only whole protocols understand."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping

from aiohttp import web
from aiohttp.http import HttpVersion11

from mirror.core.errors import UpstreamError
from mirror.reply.body import while_connected


async def pass_on(
    request: web.Request, chunks: AsyncIterator[bytes], headers: Mapping[str, str], *, open_ended: bool = False
) -> web.StreamResponse:
    """A 200 whose body is `chunks` (none empty), each sent at once. Returns when they end, and soon after the client left.

    Where upstream breaks off, an `open_ended` body ends there; any other is cut off before its end (RFC 9112 section 8),
    so that nobody takes the part for the whole.
    """
    response = web.StreamResponse(headers=dict(headers))
    if request.version >= HttpVersion11:
        response.enable_chunked_encoding()
    else:
        response.force_close()
    try:
        await response.prepare(request)
        try:
            while chunk := await while_connected(request, anext(chunks, b"")):
                await response.write(chunk)
        except UpstreamError:
            if not open_ended:
                raise
        await response.write_eof()
    except ConnectionError:
        response.force_close()  # the client left
    except UpstreamError:
        response.force_close()
        if request.transport is not None:
            request.transport.close()
    finally:
        closing = getattr(chunks, "aclose", None)
        if closing is not None:
            with contextlib.suppress(UpstreamError):
                await closing()
    return response
