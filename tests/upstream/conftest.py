"""Small servers on loopback that answer exactly what a test says."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from mirror.upstream.client import HttpUpstream, Limits

Answer = Callable[["Seen"], bytes] | bytes


@dataclass
class Seen:
    """One request as it came over the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """An HTTP/1.1 server that writes the bytes it is given, and remembers what it was asked."""

    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


def http(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    """A whole response; header names with underscores."""
    rows = {"Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in rows.items() if value)
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode("latin-1") + body


@asynccontextmanager
async def serve(answer: Callable[[Seen], bytes | Awaitable[bytes] | None], host: str = "127.0.0.1") -> AsyncIterator[Server]:
    """Run a server. `answer` gives the raw response, or None to close the connection without one."""
    server = Server(host=host)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                first, *rows = head.decode("latin-1").split("\r\n")[:-2]
                headers = dict(row.split(": ", 1) for row in rows)
                size = int(headers.get("Content-Length", "0"))
                method, target, _ = first.split(" ", 2)
                seen = Seen(method, target, headers, await reader.readexactly(size))
                server.seen.append(seen)
                given = answer(seen)
                if given is not None and not isinstance(given, bytes):
                    given = await given
                if given is None:
                    break
                writer.write(given)
                await writer.drain()
                if b"Connection: close" in given:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(talk, host, 0, family=socket.AF_INET)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


class Names(AbstractResolver):
    """A resolver that knows a few names, as a hostile or split DNS would."""

    def __init__(self, table: dict[str, list[str]]) -> None:
        self.table = table

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[ResolveResult]:
        if host not in self.table:
            raise OSError(f"no such name {host}")
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST)
            for address in self.table[host]
        ]

    async def close(self) -> None:
        pass


@pytest.fixture
async def upstream() -> AsyncIterator[Callable[..., HttpUpstream]]:
    """A maker of upstreams with short pauses, all closed at the end."""
    made: list[HttpUpstream] = []

    def make(*bases: str, origins: tuple[str, ...] = (), names: dict[str, list[str]] | None = None, **options: object) -> HttpUpstream:
        options.setdefault("limits", Limits(connect=1.0, backoff=0.01))
        if names is not None:
            options["resolver"] = lambda: Names(names)
        made.append(HttpUpstream("hf", bases, origins, **options))
        return made[-1]

    yield make
    for one in made:
        await one.close()
