"""The gate before the network, over real sockets: what it lets through, to whom, and what it refuses."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from mirror.core.errors import HostNotAllowed
from mirror.upstream.destinations import Destinations
from mirror.upstream.xet_gate import Gate


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """A server that says back what it hears first."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"heard " + await reader.read(4096))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def through(gate: str, line: str, more: bytes = b"", permit: str | None = None) -> bytes:
    """What comes back for one request through a gate, to its end."""
    parts = urlsplit(gate)
    reader, writer = await asyncio.open_connection("127.0.0.1", parts.port)
    secret = base64.b64encode(f"{parts.username}:{parts.password if permit is None else permit}".encode()).decode()
    writer.write(f"{line} HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nProxy-Authorization: Basic {secret}\r\n\r\n".encode() + more)
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


@pytest.mark.parametrize("chained", [False, True])
async def test_what_is_on_the_list_gets_through(chained: bool) -> None:
    """A tunnel and a plain request reach a host that was named, also through an operator's proxy; the secret of the gate goes no further."""
    async with echo() as port:
        rows = Destinations([], [f"http://127.0.0.1:{port}", f"https://127.0.0.1:{port}"])
        gate = Gate(rows, None, lambda _: None).open()
        if chained:
            gate = Gate(rows, gate, lambda _: None).open()
        tunnel = await through(gate, f"CONNECT 127.0.0.1:{port}", b"opaque")
        assert tunnel == b"HTTP/1.1 200 Connection established\r\n\r\nheard opaque"
        plain = await through(gate, f"GET http://127.0.0.1:{port}/a?b")
        assert plain == b"heard GET /a?b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def test_what_is_not_is_refused_and_reported() -> None:
    """A host that nobody named, and one whose name leads inward, are not connected to, and whoever runs the gate is told which."""
    async with echo() as port:
        told: list[HostNotAllowed] = []
        gate = Gate(Destinations([], ["https://other.example", f"loc*:{port}"]), None, told.append).open()
        assert await through(gate, f"CONNECT 127.0.0.1:{port}") == b""
        assert await through(gate, f"GET http://127.0.0.1:{port}/") == b""
        assert await through(gate, f"CONNECT localhost:{port}") == b""
        assert [error.upstream for error in told[:2]] == [f"https://127.0.0.1:{port}", f"http://127.0.0.1:{port}"]
        assert len(told) == 3
        assert "loopback" in str(told[2])


async def test_nobody_else_gets_through() -> None:
    """Another process of the machine, which does not know the secret, is not served."""
    async with echo() as port:
        gate = Gate(Destinations([], [f"https://127.0.0.1:{port}"]), None, lambda _: None).open()
        assert (await through(gate, f"CONNECT 127.0.0.1:{port}", permit="guess")).startswith(b"HTTP/1.1 407")
        assert (await through(gate, "nonsense")).startswith(b"HTTP/1.1 502")
