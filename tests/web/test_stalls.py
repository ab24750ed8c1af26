"""Readers that stand still: what they can hold, and for how long."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from mirror.reply.body import respond
from mirror.web.server import Handler, Server
from mirror.web.stalls import Room

SIZE = 64 * 1024 * 1024


@asynccontextmanager
async def serving(handler: Handler, **options: object) -> AsyncIterator[int]:
    runner = web.ServerRunner(Server(handler, **options), shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def reader(port: int) -> socket.socket:
    """A client that has asked and has a small window; it reads only what the test reads."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    peer.connect(("127.0.0.1", port))
    peer.sendall(b"GET /file HTTP/1.1\r\nHost: localhost\r\n\r\n")
    peer.setblocking(False)
    return peer


class LargeFile:
    """A body that lies in a sparse file; `sendable` False is one that must be read and written by hand."""

    def __init__(self, path: Path, *, sendable: bool) -> None:
        self.path = path
        self.size, self.etag, self.verified, self.headers, self.origin = SIZE, '"x"', True, (), "hit"
        self.read_so_far = 0
        self.closed = asyncio.Event()
        if sendable:
            from mirror.store.handle import Handle

            self.handle = Handle(os.open(path, os.O_RDONLY))

            async def available(wanted, request):
                return wanted

            self.available = available

    async def read(self, span):
        for _ in range(span.start, span.stop, 1 << 18):
            self.read_so_far += 1 << 18
            yield bytes(1 << 18)

    async def close(self) -> None:
        self.closed.set()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "large"
    with file.open("wb") as stream:
        stream.truncate(SIZE)
    return file


@pytest.mark.parametrize("sendable", [True, False], ids=["by the kernel", "by hand"])
async def test_a_reader_that_takes_nothing_is_cut_off(path: Path, sendable: bool) -> None:
    """After `send_timeout` without a byte taken the connection ends, the body is let go, and little of it was held."""
    bodies: list[LargeFile] = []
    held: list[int] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        body = LargeFile(path, sendable=sendable)
        bodies.append(body)
        try:
            return await respond(request, body, headers=(), etag='"x"', last_modified=None, send_body=True)
        finally:
            held.append(body.read_so_far)

    async with serving(answer, send_timeout=0.4) as port:
        with reader(port) as peer:
            while not bodies:
                await asyncio.sleep(0.01)
            await asyncio.wait_for(bodies[0].closed.wait(), 20)
            assert held[0] < SIZE / 2  # by hand: what the kernel took and a few pieces; by the kernel: nothing at all
            loop = asyncio.get_running_loop()
            with pytest.raises((ConnectionError, EOFError)):
                while True:
                    if not await loop.sock_recv(peer, 1 << 20):
                        raise EOFError


async def test_a_slow_reader_is_left_alone(path: Path) -> None:
    """A reader that takes a little within every limit keeps its connection for many times the limit."""
    body = LargeFile(path, sendable=True)

    async def answer(request: web.Request) -> web.StreamResponse:
        return await respond(request, body, headers=(), etag='"x"', last_modified=None, send_body=True)

    async with serving(answer, send_timeout=0.8) as port:
        with reader(port) as peer:
            loop, taken = asyncio.get_running_loop(), 0
            for _ in range(20):
                await asyncio.sleep(0.1)
                taken += len(await loop.sock_recv(peer, 256 * 1024))
            assert taken > 0
            assert not body.closed.is_set()


async def test_an_upstream_that_is_slow_is_not_the_readers_fault() -> None:
    """A connection on which nothing waits is not a stalled one, however long its answer pauses."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one ")
        await asyncio.sleep(1.5)
        await response.write(b"two")
        await response.write_eof()
        return response

    async with serving(answer, send_timeout=0.2) as port:
        streams = await asyncio.open_connection("127.0.0.1", port)
        streams[1].write(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert (await streams[0].read()).endswith(b"one two")
        streams[1].close()


async def test_there_is_room_for_so_many_connections() -> None:
    """One connection too many is told 503 and closed; when another leaves, there is room again."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(text="here")

    async def ask(streams) -> bytes:
        streams[1].write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return await streams[0].readuntil(b"\r\n\r\n")

    room = Room(2)
    async with serving(answer, room=room) as port:
        two = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        assert [(await ask(one))[:12] for one in two] == [b"HTTP/1.1 200"] * 2
        third = await asyncio.open_connection("127.0.0.1", port)
        refusal = await third[0].read()
        assert refusal.startswith(b"HTTP/1.1 503 Service Unavailable")
        assert b"Retry-After: 5" in refusal
        two[0][1].close()
        while room.taken > 1:
            await asyncio.sleep(0.01)
        fourth = await asyncio.open_connection("127.0.0.1", port)
        assert (await ask(fourth)).startswith(b"HTTP/1.1 200")
        for one in (two[1], third, fourth):
            one[1].close()
