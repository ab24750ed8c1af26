"""What clients send with a request: read within bounds of size and time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import web
from aiohttp.http import HttpProcessingError

from mirror.core.errors import Malformed
from mirror.upstream.codings import CodingError, coded, decode

if TYPE_CHECKING:
    from mirror.reply.routing import Call

_MAX_BODY: Final = 4 * 1024 * 1024
#: Seconds for the whole of it: a list is sent at once, or by somebody who means to hold on to us.
_BODY_PATIENCE: Final = 15.0


async def read_body(call: Call, too_long: str) -> bytes:
    """What was sent with a request, without its content coding: git compresses. No larger than 4 MiB in either form.

    Raises `Malformed` where it is too long, too slow, or not what its head says.
    """
    body = b""
    try:
        async with asyncio.timeout(_BODY_PATIENCE):
            while len(body) <= _MAX_BODY and (more := await call.request.content.read(_MAX_BODY + 1 - len(body))):
                body += more
    except TimeoutError as error:
        raise Malformed("the body did not come in time", status=408) from error
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise Malformed("the body is not in the form that the request's head says") from error
    if len(body) > _MAX_BODY:
        raise Malformed(too_long, status=413)
    if not (codings := coded(call.request.headers.get("Content-Encoding"))):
        return body
    try:
        return await asyncio.to_thread(decode, body, codings, _MAX_BODY)
    except CodingError as error:
        raise Malformed(f"the body cannot be read: {error}", status=413 if "beyond" in str(error) else 415) from error
