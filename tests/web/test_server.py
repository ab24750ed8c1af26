"""What the HTTP server guarantees whatever a handler does."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from mirror.reply.refusal import problem
from mirror.web.server import Handler, Server


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    """The port of a server that runs `handler`."""
    runner = web.ServerRunner(Server(handler), shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def conversation(port: int, request: bytes) -> bytes:
    """Everything that comes back on one connection until the server ends it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


async def test_an_error_answer_is_never_written_into_a_body_that_has_begun() -> None:
    """A failure after the headers ends the connection short: a second answer would become bytes of the file (P3)."""

    async def handler(request: web.Request) -> web.StreamResponse:
        begun = web.StreamResponse()
        begun.content_length = 100_000
        await begun.prepare(request)
        await begun.write(b"x" * 1000)
        return problem(503, "The mirror could not answer", "an internal fault " * 5000)

    async with serving(handler) as port:
        got = await conversation(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")

    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert body == b"x" * 1000


async def test_a_request_that_never_ends_holds_up_a_stop_once() -> None:
    """Stopping waits for what is under way for the time it was given, not for twice that."""
    begun, loop = asyncio.Event(), asyncio.get_running_loop()

    async def handler(_: web.Request) -> web.StreamResponse:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError("nothing sets it")

    runner = web.ServerRunner(Server(handler), shutdown_timeout=4.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    asking = asyncio.create_task(conversation(runner.addresses[0][1], b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    await begun.wait()
    start = loop.time()
    await runner.cleanup()

    assert loop.time() - start < 7.0
    assert await asking == b""


async def test_a_slow_reader_of_a_large_page_holds_no_copy_of_it() -> None:
    """What waits in the transport for a reader that stands still is a piece of the page, and a quick reader gets all of it."""
    page, transports = b"0123456789abcdef" * (1024 * 1024), []

    async def handler(request: web.Request) -> web.StreamResponse:
        transports.append(request.transport)
        return web.Response(body=page)

    async with serving(handler) as port:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.setblocking(False)
        await asyncio.get_running_loop().sock_connect(slow, ("127.0.0.1", port))
        await asyncio.get_running_loop().sock_sendall(slow, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        got = await conversation(port, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        waiting = [transport.get_write_buffer_size() for transport in transports]
        slow.close()

    head, _, body = got.partition(b"\r\n\r\n")
    assert (body, b"Content-Length: %d" % len(page) in head) == (page, True)
    assert max(waiting) <= 1024 * 1024


async def test_head_of_a_large_page_has_its_length_and_no_body() -> None:
    """HEAD is answered with GET's Content-Length and not a byte more."""

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * 1_000_000)

    async with serving(handler) as port:
        got = await conversation(port, b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    assert b"Content-Length: 1000000" in got
    assert got.endswith(b"\r\n\r\n")


async def test_a_body_comes_as_it_was_sent() -> None:
    """The server undoes no content coding: what nobody reads would be unpacked in the one thread that serves everybody."""
    sent = gzip.compress(bytes(100_000))

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=await request.read())

    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(sent)
    async with serving(handler) as port:
        got = await conversation(port, head + sent)

    assert got.partition(b"\r\n\r\n")[2] == sent
