"""A file server on loopback that can go wrong in every way a file can arrive wrong. One file, any path, raw HTTP/1.1."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Lie:
    """What is wrong with one answer; each field alone or with others."""

    cut: int | None = None  # FIN after so many body bytes, the announced length whole
    hang: int | None = None  # silence after so many body bytes
    status: int | None = None
    ignore_range: bool = False
    shift: int = 0  # added to both ends of Content-Range, over the bytes asked for
    headers: dict[str, str] = field(default_factory=dict)
    short: int | None = None  # a body of so many bytes with a length that agrees
    extra: bytes = b""  # after the body; counted in the length if `counted`
    counted: bool = True
    chunked: bool = False
    data: bytes | None = None  # another file's bytes
    gate: tuple[int, asyncio.Event] | None = None  # from this byte of the file on, only once the event is set


HONEST = Lie()


@dataclass
class Request:
    headers: dict[str, str]
    sent: int = 0

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


class Liar:
    """`async with Liar(data) as liar`: `liar.lies` are used up one a request, then `liar.choose` or `liar.always` applies.

    `busy` counts the requests that are being answered, `most` how many there were at once, `rate` is bytes a second each.
    """

    def __init__(self, data: bytes, etag: str = '"x"') -> None:
        self.data, self.etag = data, etag
        self.lies: deque[Lie] = deque()
        self.always = HONEST
        self.requests: list[Request] = []
        self.rate: int | None = None
        self.choose: Callable[[Request], Lie] | None = None
        self.busy = self.most = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task] = set()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def ranges(self) -> list[str | None]:
        return [request.range for request in self.requests]

    @property
    def sent(self) -> int:
        return sum(request.sent for request in self.requests)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            request = Request(headers)
            self.requests.append(request)
            self.busy += 1
            self.most = max(self.most, self.busy)
            try:
                await self._answer(request, self._lie(request), writer)
            finally:
                self.busy -= 1
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side has left, or the test is over
        finally:
            writer.close()

    def _lie(self, request: Request) -> Lie:
        if self.lies:
            return self.lies.popleft()
        return self.always if self.choose is None else self.choose(request)

    async def _answer(self, request: Request, lie: Lie, writer: asyncio.StreamWriter) -> None:
        data = self.data if lie.data is None else lie.data
        start, stop, status = 0, len(data), 200
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.range or "")
        fields = {"ETag": self.etag, "Connection": "close"}
        if asked and not lie.ignore_range:
            start, stop = int(asked[1]), min(stop, int(asked[2]) + 1) if asked[2] else stop
            fields["Content-Range"] = f"bytes {start + lie.shift}-{stop - 1 + lie.shift}/{len(data)}"
            status = 206
        body = data[start:stop]
        if lie.short is not None:
            body = body[: lie.short]
        if lie.status is not None:
            status, body = lie.status, b"no"
        counted = len(body) + (len(lie.extra) if lie.counted else 0)
        fields |= {"Transfer-Encoding": "chunked"} if lie.chunked else {"Content-Length": str(counted)}
        fields |= lie.headers
        lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        writer.write("\r\n".join(lines).encode())
        await self._body(request, lie, body + lie.extra, start, writer)

    async def _body(self, request: Request, lie: Lie, body: bytes, start: int, writer: asyncio.StreamWriter) -> None:
        position = 0
        limits = [limit for limit in (lie.cut, lie.hang) if limit is not None]
        end = min([len(body), *limits])
        while position < end:
            if lie.gate is not None and start + position >= lie.gate[0]:
                await lie.gate[1].wait()
            step = min(end, position + 65536)
            if lie.gate is not None and start + position < lie.gate[0] < start + step:
                step = lie.gate[0] - start
            piece = body[position:step]
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if lie.chunked else piece)
            await writer.drain()
            request.sent += len(piece)
            position = step
            if self.rate:
                await asyncio.sleep(len(piece) / self.rate)
        if lie.hang is not None:
            await asyncio.sleep(3600)
        if lie.chunked and lie.cut is None:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
