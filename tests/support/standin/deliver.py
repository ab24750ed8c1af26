"""Putting an answer on the wire: conditionals, ranges, and the faults that no HTTP library will commit for us."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .faults import Plan
    from .wire import Call, Reply

_RANGE = re.compile(r"^bytes=(\d*)-(\d*)$")
_STEP = 16384  # bytes between two pauses of a throttled body, at most


def conditional(call: Call, reply: Reply) -> Reply:
    """304 for a matching If-None-Match on GET and HEAD (RFC 9110, 13.1.2: weak comparison)."""
    tag = reply.headers.get("ETag")
    asked = call.headers.get("If-None-Match")
    if reply.status != 200 or not tag or not asked or call.method not in {"GET", "HEAD"}:
        return reply
    held = {part.strip().removeprefix("W/") for part in asked.split(",")}
    if asked.strip() == "*" or tag.removeprefix("W/") in held:
        reply.status, reply.body, reply.chunked, reply.ranged = 304, b"", False, False
        for name in ("Content-Type", "Content-Encoding", "Content-Length"):
            reply.headers.pop(name, None)
    return reply


def ranged(call: Call, reply: Reply, off_by: int = 0) -> Reply:
    """206 or 416 for a single byte range (RFC 9110, 14); several ranges and a failed If-Range give the whole body."""
    if not reply.ranged or reply.status != 200:
        return reply
    reply.headers["Accept-Ranges"] = "bytes"
    asked = _RANGE.match(call.headers.get("Range", "").strip())
    guard = call.headers.get("If-Range")
    if call.method not in {"GET", "HEAD"} or asked is None or asked.group(0) == "bytes=-":
        return reply
    if guard is not None and guard not in {reply.headers.get("ETag"), reply.headers.get("Last-Modified")}:
        return reply
    size = len(reply.body)
    first, last = asked.groups()
    start = int(first) if first else max(size - int(last), 0)
    stop = min(int(last) + 1, size) if first and last else size
    if start >= size or stop <= start:
        reply.status, reply.body = 416, b""
        reply.headers["Content-Range"] = f"bytes */{size}"
        return reply
    reply.status, reply.body = 206, reply.body[start:stop]
    reply.headers["Content-Range"] = f"bytes {start + off_by}-{stop - 1 + off_by}/{size}"
    return reply


async def send(request: web.BaseRequest, reply: Reply, plan: Plan, gone: asyncio.Event) -> web.StreamResponse:
    """Send the reply by the plan; `gone` ends hangs when the stand-in stops."""
    if plan.latency:
        await _pause(plan.latency, gone)
    if plan.by_hand:
        await _by_hand(request, reply, plan, gone)
        return web.Response()
    if reply.live is not None and reply.status == 200 and not reply.body:
        return await _live(request, reply, reply.live, gone)
    response = web.Response(status=reply.status, reason=reply.reason, headers=reply.headers, body=reply.body)
    if reply.chunked:
        response.enable_chunked_encoding()
    elif request.method == "HEAD" and not reply.body:
        response.headers["Content-Length"] = "0"  # the framework leaves it out where there is nothing to send
    return response


async def _live(
    request: web.BaseRequest, reply: Reply, chunks: AsyncIterator[bytes], gone: asyncio.Event
) -> web.StreamResponse:
    """Each chunk as it comes, until there are no more, the client has left, or the stand-in stops (which cuts it off)."""
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    response.enable_chunked_encoding()
    await response.prepare(request)
    following = asyncio.ensure_future(anext(chunks, b""))
    try:
        while True:
            await asyncio.wait({following}, timeout=0.05)
            if request.transport is None or gone.is_set():
                if request.transport is not None:
                    request.transport.close()
                return response
            if following.done():
                if not (chunk := following.result()):
                    break
                await response.write(chunk)
                following = asyncio.ensure_future(anext(chunks, b""))
    except ConnectionError:
        return response
    finally:
        if not following.done():
            following.cancel()
            await asyncio.wait({following})
    await response.write_eof()
    return response


async def _pause(seconds: float, gone: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(gone.wait(), seconds)
    except TimeoutError:
        return


async def _by_hand(request: web.BaseRequest, reply: Reply, plan: Plan, gone: asyncio.Event) -> None:
    if request.transport is None:  # the client has gone already
        return
    transport = request.transport
    if plan.raw is not None:
        transport.write(plan.raw)
    elif not plan.silent:
        await _write_head(transport, head(reply), plan.header_seconds, gone)
        body = b"" if request.method == "HEAD" else reply.body
        whole = plan.cut_at is None or plan.cut_at > len(body)
        await _write_body(transport, body if whole else body[: plan.cut_at], plan.rate, gone)
    if plan.hang:
        await _pause(plan.hang, gone)
    _cut(transport, reset=plan.reset)


def head(reply: Reply) -> bytes:
    """The status line and header fields, with the length of the whole body and no promise to keep the connection."""
    reason = reply.reason or HTTPStatus(reply.status).phrase
    lines = [f"HTTP/1.1 {reply.status} {reason}"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    lines += [f"Content-Length: {len(reply.body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1")


async def _write_head(transport: asyncio.Transport, data: bytes, seconds: float, gone: asyncio.Event) -> None:
    if not seconds:
        transport.write(data)
        return
    for at in range(len(data)):
        transport.write(data[at : at + 1])
        await _pause(seconds / len(data), gone)


async def _write_body(transport: asyncio.Transport, body: bytes, rate: int | None, gone: asyncio.Event) -> None:
    if rate is None:
        transport.write(body)
        return
    step = max(1, min(_STEP, rate // 10))
    for at in range(0, len(body), step):
        if transport.is_closing():
            return
        transport.write(body[at : at + step])
        await _pause(step / rate, gone)


def _cut(transport: asyncio.Transport, *, reset: bool) -> None:
    """End the connection: FIN after what was written has left, or RST (SO_LINGER with zero seconds)."""
    if not reset:
        transport.close()
        return
    peer: socket.socket | None = transport.get_extra_info("socket")
    if peer is not None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
