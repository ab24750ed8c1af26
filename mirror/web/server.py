"""The HTTP server proper: aiohttp's, with what a public port needs and it lacks.

A connection that does not finish sending a request head within `HEAD_PATIENCE` seconds is answered 408 and closed
(slow-loris), one whose client takes nothing of its answer for `send_timeout` is cut; a request that is not HTTP gets a plain 400 without a word about our insides.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import Payload, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest

from mirror.core.timing import server_timing
from mirror.reply.patience import begun
from mirror.web.repeat import ASKED, FINISHED, MAX_HEAD, Asked, Place, Repeats
from mirror.web.stalls import Room, StallWatch

#: Seconds for a complete request head, from the first byte (or from the connection).
HEAD_PATIENCE: Final = 15.0
#: Longer than the 5 s after which httpx drops an idle connection of its own accord.
KEEP_ALIVE: Final = 75.0
#: Seconds for which a reader may take nothing of what waits for it.
SEND_TIMEOUT: Final = 120.0
MAX_BODY: Final = 4 * 1024 * 1024
#: How much of a body the transport is given at a time.
PIECE: Final = 256 * 1024

#: Where a request keeps the id that its answer and its log line carry.
REQUEST_ID: Final = web.RequestKey("id", str)
#: Header fields that go on a request's answer whoever makes it.
ADDED: Final = web.RequestKey("added", tuple)
#: The request's account of time (`core.timing`), and when it began by the loop's clock.
TIMING: Final = web.RequestKey("timing", tuple)
#: Set once an answer's head is on its way.
_BEGUN: Final = web.RequestKey("begun", bool)

#: The end of a request's head (RFC 9112 section 2.1).
_END: Final = b"\r\n\r\n"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Request(web.Request):
    """A request whose answer, streamed or not, carries its id and our name instead of the libraries' versions.

    It takes one answer: a second one - an error that came up after the first had begun - would be read as bytes of the
    body (P3), so the connection ends instead.
    """

    async def _prepare_hook(self, resp: web.StreamResponse) -> None:
        if self.get(_BEGUN):
            raise ConnectionResetError("an answer has begun already")
        self[_BEGUN] = True
        begun(self)
        resp.headers["Server"] = "entrepot"
        for name, value in self.get(ADDED, ()):
            resp.headers[name] = value
        if REQUEST_ID in self:
            resp.headers["X-Request-Id"] = self[REQUEST_ID]
        if TIMING in self:
            account, began = self[TIMING]
            resp.headers["Server-Timing"] = server_timing(account, self._loop.time() - began)
        if FINISHED in self:
            self[FINISHED](resp)


class Pieces(Payload):
    """A large body that leaves piece by piece, as its reader takes it.

    The library gives a body to the transport whole, and the transport copies what the socket does not take: a thousand slow
    readers of one index page would hold a thousand copies of it.
    """

    def __init__(self, body: bytes | bytearray) -> None:
        super().__init__(body, content_type="application/octet-stream")
        self._size = len(body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The body as text."""
        return bytes(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write all of it, waiting for the reader after each piece."""
        view = memoryview(self._value)
        for start in range(0, len(view), PIECE):
            await writer.write(bytes(view[start : start + PIECE]))
            await writer.drain()


def in_pieces(response: web.StreamResponse) -> web.StreamResponse:
    """`response`, its body as `Pieces` where it is large and has not begun to leave."""
    if isinstance(response, web.Response) and not response.prepared:
        body = response.body
        if isinstance(body, (bytes, bytearray)) and len(body) > PIECE:
            response.body = Pieces(body)
    return response


class GuardedHandler(RequestHandler):
    """One connection, with a deadline on every request head and on a reader that stands still."""

    __slots__ = ("_asked", "_deadline", "_entered", "_free", "_given", "_place", "_plain", "_stalls", "repeats", "room", "send_timeout")

    repeats: Repeats | None
    room: Room
    send_timeout: float

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clocks, or turn the client away where there is no room."""
        super().connection_made(transport)
        self._deadline: asyncio.TimerHandle | None = self._loop.call_later(HEAD_PATIENCE, self._too_slow)
        self._stalls: StallWatch | None = None
        peer = transport.get_extra_info("peername")
        self._place: Place = (str(peer[0]) if isinstance(peer, tuple) else "", transport.get_extra_info("sockname"))
        self._plain, self._free = self.repeats is not None, True
        self._asked: Asked | None = None
        self._given = 0
        self._entered = self.room.enter()
        if not self._entered:
            self._away(b"503 Service Unavailable", "The mirror has as many connections as it may", b"Retry-After: 5\r\n")
        elif isinstance(transport, asyncio.Transport):
            self._stalls = StallWatch(transport, self.send_timeout, self._written)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the clocks."""
        self._stop_clock()
        if self._stalls is not None:
            self._stalls.stop()
        if self._entered:
            self._entered = False
            self.room.leave()
        super().connection_lost(exc)

    def _written(self) -> int:
        """Grows with every byte of an answer, and changes with every answer."""
        request = self._current_request
        return -1 - self._given if request is None else id(request) + request.writer.output_size

    def data_received(self, data: bytes) -> None:
        """Answer at once what was answered just now, or feed the parser; a head that is still incomplete runs against the clock."""
        if self._plain and data:
            self._look_back(data)
        else:
            super().data_received(data)
        if self._messages or self._current_request is not None or self._payload_parser is not None:
            self._stop_clock()
        elif self._deadline is None and not self._plain:
            self._deadline = self._loop.call_later(HEAD_PATIENCE, self._too_slow)

    def _look_back(self, data: bytes) -> None:
        """As `data_received`, where every piece so far was one whole head without a body, so that this one begins a request.

        The parser holds nothing then, and equal bytes are an equal request. Anything else ends that for this connection.
        """
        asked = (data, self._place) if self._free and not self._messages and len(data) <= MAX_HEAD else None
        if asked is not None and self._give_again(asked):
            return
        self._asked, before = asked, self._request_count
        super().data_received(data)
        self._plain = (
            self._request_count == before + 1
            and not self._upgraded
            and self._messages[-1][1] is EMPTY_PAYLOAD
            and data.find(_END) == len(data) - len(_END)
            and data.count(b"\n") == data.count(b"\r\n")
        )
        if not self._plain:
            self._asked = None

    def _give_again(self, asked: Asked) -> bool:
        """Write the answer that was given to these bytes just now, if it may be; not to a reader who has not taken the last."""
        transport = self.transport
        if transport is None or self.repeats is None or self._force_close or self._close:
            return False
        if transport.is_closing() or transport.get_write_buffer_size():
            return False
        pieces = self.repeats.give(asked)
        if pieces is None:
            return False
        self._stop_clock()
        for piece in pieces:
            transport.write(piece)
        self._given += 1
        self._next_keepalive_close_time = close_time = self._loop.time() + KEEP_ALIVE
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(close_time, self._process_keepalive)
        return True

    def asked(self) -> Asked | None:
        """A request is made out of the first message: what it was asked with, None where that is not known."""
        self._free = False
        asked, self._asked = self._asked, None
        return asked

    async def _handle_request(self, *args: Any) -> tuple[web.StreamResponse, bool]:
        """As the library's; the connection is free again from the moment when the whole answer was written."""
        response, reset = await super()._handle_request(*args)
        self._free = bool(response.keep_alive) and not reset
        return response, reset

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 - the library's own signature
        """Let the request under way finish within `timeout` seconds, then end it.

        The library waits that long twice, for the handler and again for its task: a reader that stands still would hold
        up the end of the ledger until whoever stops the process has lost patience.
        """
        await super().shutdown(None if timeout is None else timeout / 2)

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What aiohttp itself answers to broken HTTP: our problem body, no traceback, connection closed."""
        status = status if 400 <= status < 500 else 503
        title = "This is not a request that HTTP allows" if status < 500 else "The mirror could not answer"
        response = web.Response(
            status=status,
            body=json.dumps({"type": "about:blank", "title": title, "status": status, "error": title}).encode(),
            headers={"Content-Type": "application/problem+json", "Cache-Control": "no-store"},
        )
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Keep quiet about a body that broke after its request was answered: that is the client's fault, not a bug."""
        if not isinstance(kw.get("exc_info"), (web.RequestPayloadError, HttpProcessingError)):
            super().log_exception(*args, **kw)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self._current_request is None and not self._messages:
            self._away(b"408 Request Timeout", "The request head took too long")

    def _away(self, status: bytes, title: str, fields: bytes = b"") -> None:
        """A last answer on this connection, which no handler gives."""
        if self.transport is None:
            return
        body = json.dumps({"type": "about:blank", "title": title, "status": int(status[:3]), "error": title}).encode()
        self.transport.write(
            b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Type: application/problem+json\r\n" + fields
            + b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
        )  # fmt: skip
        self.transport.close()


class Server(web.Server):
    """aiohttp's low-level server: no router of its own, so the raw path reaches ours untouched."""

    def __init__(
        self, handler: Handler, *, send_timeout: float = SEND_TIMEOUT, room: Room | None = None, repeats: Repeats | None = None
    ) -> None:
        """`send_timeout` in seconds; several servers may share one `room`. `repeats` are those of `handler`."""
        self._send_timeout, self._room, self._repeats = send_timeout, room or Room(), repeats
        loop = asyncio.get_running_loop()

        def request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.Request:
            made = Request(message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY)
            if (asked := protocol.asked()) is not None:
                made[ASKED] = asked
            return made

        async def answer(asked: Any) -> web.StreamResponse:
            return in_pieces(await handler(asked))

        super().__init__(answer, request_factory=request)

    def __call__(self) -> RequestHandler:
        """A handler for one new connection."""
        connection = GuardedHandler(
            self,
            loop=self._loop,
            keepalive_timeout=KEEP_ALIVE,
            access_log=None,  # type: ignore[arg-type]  # one canonical line a request is ours
            max_line_size=16384,
            max_field_size=16384,
            lingering_time=3.0,
            auto_decompress=False,  # whoever reads a body undoes its coding within a bound, and what nobody reads stays as it is
        )
        connection.room, connection.send_timeout, connection.repeats = self._room, self._send_timeout, self._repeats
        return connection
