"""Streams that may be silent: what `Ask.idle` promises (`core.ports.Ask`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from mirror.core.errors import UpstreamDown
from mirror.core.ports import Ask
from mirror.upstream.client import HttpUpstream, Limits

HEAD = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n"
MEAN = Limits(connect=1.0, read=0.2, connections=1, backoff=0.01)


@asynccontextmanager
async def slow(pause: float, gone: asyncio.Event | None = None) -> AsyncIterator[str]:
    """A server that sends two chunks with a pause between them, on each connection; `gone` is set when a client leaves."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"3\r\none\r\n")
        done, _ = await asyncio.wait({left := asyncio.ensure_future(reader.read())}, timeout=pause)
        if done and gone is not None:
            gone.set()
        left.cancel()
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def test_silence_within_the_limit(upstream: Callable[..., HttpUpstream]) -> None:
    """With `idle` a pause longer than upstream's usual time is no fault; without it, and past it, the stream is down."""
    async with slow(0.6) as url:
        client = upstream(url, limits=MEAN)
        async with client.stream(Ask("/a", idle=20.0)) as stream:
            assert [chunk async for chunk in stream.chunks()] == [b"one", b"two"]
        for idle in (None, 0.2):
            with pytest.raises(UpstreamDown):
                async with client.stream(Ask("/a", idle=idle)) as stream:
                    [chunk async for chunk in stream.chunks()]


async def test_silent_streams_keep_nobody_waiting(upstream: Callable[..., HttpUpstream]) -> None:
    """A silent stream takes no connection that a download could have, and is closed when its reader leaves."""
    gone = asyncio.Event()
    async with slow(20, gone) as url:
        client = upstream(url, limits=MEAN)
        async with client.stream(Ask("/a", idle=20.0)) as silent:
            assert await anext(silent.chunks()) == b"one"
            async with client.stream(Ask("/b")) as download:
                assert await anext(download.chunks()) == b"one"
        await asyncio.wait_for(gone.wait(), 10)
