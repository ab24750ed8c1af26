"""A body on the wire: 200, 206, 304, 412 or 416, by the kernel where it can be, and never ended as if whole when it is not.

The framework's own file response is not used: it replaces our ETag by one of its own, knows one range only, and lets
an old `If-Range` continue a newer file. Before the headers leave, the first bytes are waited for (at most `FIRST`
seconds), so that what goes wrong before them is still an honest error answer. What goes wrong after them ends the
connection with FIN short of the announced length, which clients resume; a reset they would not.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11

from mirror.core.errors import IntegrityError, MirrorError
from mirror.core.http import (
    Conditions,
    Full,
    NotModified,
    Partial,
    PreconditionFailed,
    Unsatisfiable,
    cache_status,
    content_range,
    http_date,
    select,
)
from mirror.core.nouns import Span
from mirror.proxy.bodies import ENDLESS, Restarting, Sendable
from mirror.proxy.underway import Attended, CutShort
from mirror.reply.ending import end
from mirror.reply.kernel import STRETCH, flushed, send_some
from mirror.reply.patience import left

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Sequence
    from datetime import datetime

    from aiohttp.abc import AbstractStreamWriter

    from mirror.core.http import Outcome
    from mirror.core.ports import Body
    from mirror.proxy.underway import Running

T = TypeVar("T")

#: How long the first bytes may keep the headers waiting, in seconds: half of what clients wait for them.
FIRST: Final = 5.0
#: What this module says itself, or what belongs to a connection.
_OURS: Final = frozenset(
    [
        "etag",
        "last-modified",
        "accept-ranges",
        "cache-status",
        "content-length",
        "content-range",
        "transfer-encoding",
        "connection",
    ]
)


class BlobResponse(web.StreamResponse):
    """What `respond` gives. `failure` is what ended it short of its announced length, for the log line; else None."""

    failure: BaseException | None = None


async def respond(
    request: web.Request,
    body: Body,
    *,
    headers: Sequence[tuple[str, str]],
    etag: str,
    last_modified: datetime | None,
    send_body: bool,
) -> BlobResponse:
    """Answer `request` with `body` and close it.

    `headers` are sent as they are (but for those that frame the message); `etag` verbatim, "" for none. `send_body`
    False answers as to HEAD. Raises the body's error only while nothing has been sent; afterwards the connection ends
    short and `BlobResponse.failure` holds the error, and so it is where rules that come into force meanwhile refuse the
    rest (`proxy.underway`). A client that leaves is no error.
    """
    try:
        outcome = select(
            request.method if send_body else "HEAD",
            _conditions(request),
            etag=etag,
            last_modified=last_modified,
            size=body.size,
        )
        if isinstance(outcome, Partial) and isinstance(body, Restarting) and body.must_restart(outcome.spans):
            outcome = Full()
        running = body.running if isinstance(body, Attended) else None
        answer = _Answer(request, body, list(headers), etag, last_modified, running)
        if running is None:
            return await answer.outcome(outcome, send_body=send_body)
        running.size = body.size
        try:
            with running:
                return await answer.outcome(outcome, send_body=send_body)
        except CutShort as cut:
            return answer.cut(cut)
    finally:
        await body.close()


def _conditions(request: web.Request) -> Conditions:
    fields = request.headers
    return Conditions(
        range=fields.get(hdrs.RANGE),
        if_range=fields.get(hdrs.IF_RANGE),
        if_match=_combined(request, hdrs.IF_MATCH),
        if_none_match=_combined(request, hdrs.IF_NONE_MATCH),
        if_modified_since=fields.get(hdrs.IF_MODIFIED_SINCE),
        if_unmodified_since=fields.get(hdrs.IF_UNMODIFIED_SINCE),
    )


def _combined(request: web.Request, name: str) -> str | None:
    """A list field that came in several lines is one list (RFC 9110 section 5.3)."""
    lines = request.headers.getall(name, [])
    return ", ".join(lines) if lines else None


@dataclass(slots=True)
class _Answer:
    """One answer in the making."""

    request: web.Request
    body: Body
    headers: list[tuple[str, str]]
    etag: str
    last_modified: datetime | None
    running: Running | None
    begun: BlobResponse | None = None

    async def outcome(self, outcome: Outcome, *, send_body: bool) -> BlobResponse:
        match outcome:
            case Full() if send_body:
                return await self.whole()
            case Partial(spans) if len(spans) == 1:
                return await self.part(spans[0])
            case Partial(spans):
                return await self.parts(spans)
            case Full():
                return await self.only_head()
            case NotModified():
                return await self.bare(304)
            case PreconditionFailed():
                return await self.bare(412)
            case Unsatisfiable():
                return await self.bare(416)

    def cut(self, cut: CutShort) -> BlobResponse:
        """End it where it is. Raises what the client is told to whom nothing was said yet."""
        response = self.begun
        if response is None:
            raise cut.answer() from None
        response.failure = cut
        response.force_close()
        end(self.request.transport)
        return response

    async def whole(self) -> BlobResponse:
        size = self.body.size
        span = ENDLESS if size is None else Span(0, size)
        source = _Source(self.request, self.body, span, self.running)
        await source.first()
        response = self._response(200)
        if size is not None:
            response.content_length = size
        elif self.request.version >= HttpVersion11:
            response.enable_chunked_encoding()
        else:
            response.force_close()  # HTTP/1.0: the end of the connection is the end of the body
        return await self._send(response, [(b"", source)], b"")

    async def part(self, span: Span) -> BlobResponse:
        source = _Source(self.request, self.body, span, self.running)
        await source.first()
        response = self._response(206)
        response.headers[hdrs.CONTENT_RANGE] = content_range(span, self.body.size or 0)
        response.content_length = len(span)
        return await self._send(response, [(b"", source)], b"")

    async def parts(self, spans: Sequence[Span]) -> BlobResponse:
        """multipart/byteranges (RFC 9110 section 14.6)."""
        boundary = secrets.token_hex(16)
        kind = next(
            (value for name, value in self.headers if name.lower() == "content-type"), "application/octet-stream"
        )
        sections = [
            (
                f"\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: {content_range(span, self.body.size or 0)}\r\n\r\n".encode(
                    "latin-1", "replace"
                ),
                _Source(self.request, self.body, span, self.running),
            )
            for span in spans
        ]
        closing = f"\r\n--{boundary}--\r\n".encode()
        await sections[0][1].first()
        response = self._response(206)
        response.headers[hdrs.CONTENT_TYPE] = f"multipart/byteranges; boundary={boundary}"
        response.content_length = sum(len(head) + len(source.span) for head, source in sections) + len(closing)
        return await self._send(response, sections, closing)

    async def only_head(self) -> BlobResponse:
        response = self._response(200)
        if self.body.size is not None:
            response.content_length = self.body.size
        return await self._quietly(response)

    async def bare(self, status: int) -> BlobResponse:
        response = self._response(status, content=False)
        if status == 416:
            response.headers[hdrs.CONTENT_RANGE] = f"bytes */{self.body.size}"
        if status != 304:
            response.content_length = 0
        return await self._quietly(response)

    def _response(self, status: int, *, content: bool = True) -> BlobResponse:
        response = BlobResponse(status=status)
        for name, value in self.headers:
            if name.lower() not in _OURS and (content or not name.lower().startswith("content-")):
                response.headers.add(name, value)
        if self.etag:
            response.headers[hdrs.ETAG] = self.etag
        if self.last_modified is not None:
            response.headers[hdrs.LAST_MODIFIED] = http_date(self.last_modified)
        response.headers[hdrs.ACCEPT_RANGES] = "bytes" if self.body.size is not None else "none"
        response.headers["Cache-Status"] = cache_status(self.body.origin, verified=self.body.verified)
        return response

    async def _quietly(self, response: BlobResponse) -> BlobResponse:
        with contextlib.suppress(ConnectionError):
            await response.prepare(self.request)
            await response.write_eof()
        return response

    async def _send(
        self, response: BlobResponse, sections: Sequence[tuple[bytes, _Source]], closing: bytes
    ) -> BlobResponse:
        self.begun = response
        try:
            writer = await response.prepare(self.request)
            if writer is None:
                return response
            for head, source in sections:
                if head:
                    await writer.write(head)
                await source.send(writer)
            if closing:
                await writer.write(closing)
            await response.write_eof()
        except ConnectionError:
            response.force_close()  # the client left
        except (MirrorError, OSError, ValueError) as error:
            response.failure = error
            response.force_close()
            if self.request.transport is not None:
                self.request.transport.close()  # FIN after what is buffered; never `abort`, which resets
        finally:
            for _, source in sections:
                await source.close()
        return response


class _Source:
    """One span of a body on its way out."""

    def __init__(self, request: web.Request, body: Body, span: Span, running: Running | None) -> None:
        self.span = span
        self._request, self._body = request, body
        self._running, self.sent = running, 0
        self._chunks: AsyncIterator[bytes] | None = None
        self._next: asyncio.Future[bytes] | None = None
        self._sendable = body if isinstance(body, Sendable) and body.handle is not None else None

    async def first(self) -> None:
        """Wait for the first bytes, not longer than `FIRST` or the client's patience. Raises what the body says instead."""
        if not len(self.span):
            return
        if self._sendable is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left(self._request, FIRST)):
                    await self._sendable.available(self.span, self.span)
            return
        following = self._pull()
        await asyncio.wait({following}, timeout=left(self._request, FIRST))
        if following.done():
            following.result()

    async def send(self, writer: AbstractStreamWriter) -> None:
        """Send the whole span, or raise."""
        transport = self._request.transport
        plain = transport is not None and transport.get_extra_info("sslcontext") is None
        if self._sendable is not None and plain and self.span != ENDLESS and len(self.span):
            await self._by_kernel(self._sendable, writer)
        else:
            await self._by_hand(writer)

    async def close(self) -> None:
        """Stop reading."""
        if self._next is not None and not self._next.done():
            self._next.cancel()
            await asyncio.wait({self._next})
        if self._next is not None and self._next.done() and not self._next.cancelled():
            self._next.exception()
        closing = getattr(self._chunks, "aclose", None)
        if closing is not None:
            await closing()

    def _left(self, count: int) -> None:
        self.sent += count
        if self._running is not None:
            self._running.sent += count

    def _pull(self) -> asyncio.Future[bytes]:
        if self._chunks is None:
            self._chunks = self._body.read(self.span)
        self._next = asyncio.ensure_future(_following(self._chunks))
        return self._next

    async def _by_hand(self, writer: AbstractStreamWriter) -> None:
        following = self._next or self._pull()
        while chunk := await while_connected(self._request, following):
            # Read ahead by one piece: the disk and the network at the same time.
            following = self._pull()
            self._left(len(chunk))
            await writer.write(chunk)
            await writer.drain()
        if self.span != ENDLESS and self.sent != len(self.span):
            raise IntegrityError("body", f"{len(self.span)} bytes", f"{self.sent} bytes")

    async def _by_kernel(self, body: Sendable, writer: AbstractStreamWriter) -> None:
        writer.send_headers()
        peer = self._request.get_extra_info("socket")
        handle = body.handle
        if handle is None:
            raise ValueError("nothing to send from")
        await flushed(self._request)
        out = os.dup(peer.fileno())
        try:
            position = self.span.start
            while position < self.span.stop:
                wanted = Span(position, self.span.stop)
                if self._body.path is not None:
                    some = await body.available(wanted, self.span)
                else:
                    some = await while_connected(self._request, body.available(wanted, self.span))
                if not len(some):
                    raise IntegrityError("body", f"{self.span.stop} bytes", f"{position} bytes")
                await send_some(self._request, out, handle, Span(position, min(some.stop, position + STRETCH)), self._left)
                writer.output_size += self.span.start + self.sent - position
                position = self.span.start + self.sent
        finally:
            os.close(out)


async def _following(chunks: AsyncIterator[bytes]) -> bytes:
    """The next chunk that is not empty; empty at the end."""
    async for chunk in chunks:
        if chunk:
            return chunk
    return b""


async def while_connected(request: web.Request, work: Awaitable[T]) -> T:
    """Await `work`, but not for a client that has left (nothing is written meanwhile that would tell)."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=1.0)
            if request.transport is None:
                raise ConnectionResetError("the client left")
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
