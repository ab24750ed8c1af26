"""The plainest possible `core.ports.Upstream`: one aiohttp session, no retries, no policy. For tests of what stands on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from mirror.core.errors import UpstreamDown, UpstreamGarbage
from mirror.core.ports import Answer, Ask


class PlainStream:
    def __init__(self, response: aiohttp.ClientResponse, origin: str) -> None:
        self.status = response.status
        self.headers = tuple((name.lower(), value) for name, value in response.headers.items())
        self.upstream = origin
        self._response = response

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise UpstreamDown(self.upstream, f"{type(error).__name__}: {error}") from error


class PlainUpstream:
    def __init__(self, base: str, patience: float = 1.0) -> None:
        self._base, self._patience = base, patience
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def stream(self, ask: Ask) -> AsyncIterator[PlainStream]:
        if self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=False, connector=aiohttp.TCPConnector(limit=0))
        limits = aiohttp.ClientTimeout(total=None, sock_connect=self._patience, sock_read=self._patience)
        url = URL(self._base + ask.target, encoded=True)
        try:
            response = await self._session.request(
                ask.method, url, headers=ask.headers, allow_redirects=ask.follow, timeout=limits
            )
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientConnectionError, TimeoutError) as error:
            raise UpstreamDown(self._base, type(error).__name__) from error
        except aiohttp.ClientError as error:
            raise UpstreamGarbage(self._base, type(error).__name__) from error
        async with response:
            yield PlainStream(response, self._base)

    async def ask(self, ask: Ask) -> Answer:
        async with self.stream(ask) as stream:
            body = b"".join([chunk async for chunk in stream.chunks()])
            return Answer(stream.status, stream.headers, body, self._base + ask.target, self._base)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
