"""A flight's surroundings: a real store in a temporary folder, a real server that lies, and what was reported."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha1, sha256
from pathlib import Path

from mirror.core.nouns import Digest, Span
from mirror.core.ports import Ask, Body, Source
from mirror.proxy.flights import Flights, Tuning
from mirror.store.disk import DiskStore
from tests.support.liar import Liar
from tests.support.plain_upstream import PlainUpstream

FAST = Tuning(backoff=0.01, checkpoint=0.05)
MIB = 1024 * 1024


class WallClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def declared(data: bytes) -> Digest:
    return Digest("sha256", sha256(data).hexdigest())


def git_digest(data: bytes) -> Digest:
    return Digest("git-sha1", sha1(b"blob %d\0" % len(data) + data).hexdigest())


def flipped(data: bytes, at: int) -> bytes:
    """One wrong bit."""
    wrong = bytearray(data)
    wrong[at] ^= 1
    return bytes(wrong)


def source_of(data: bytes, **changes: object) -> Source:
    ask = Ask(target="/file", follow=True, patience=changes.pop("patience", 2.0))
    return replace(Source(ask=ask, declared=declared(data), size=len(data)), **changes)


async def all_of(body: Body, start: int = 0, stop: int | None = None) -> bytes:
    size = body.size if stop is None else stop
    span = Span(start, 2**63 - 1 if size is None else size)
    return b"".join([chunk async for chunk in body.read(span)])


async def some_of(body: Body, start: int = 0, stop: int | None = None) -> tuple[bytes, BaseException | None]:
    """What came, and what ended it."""
    got = bytearray()
    try:
        async for chunk in body.read(Span(start, body.size if stop is None else stop)):
            got += chunk
    except Exception as error:
        return bytes(got), error
    return bytes(got), None


@dataclass
class Field:
    store: DiskStore
    flights: Flights
    liar: Liar
    upstream: PlainUpstream
    landed: list = field(default_factory=list)
    faults: list = field(default_factory=list)

    async def join(self, source: Source, key: str = "k") -> Body:
        return await self.flights.join(key, "hub", source)

    async def quiet(self, key: str = "k") -> None:
        """Wait for the flight to end."""
        while self.flights.in_flight(key) is not None:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def surroundings(
    root: Path, data: bytes, tuning: Tuning = FAST, quota: int | None = None, patience: float = 1.0
) -> AsyncIterator[Field]:
    async with Liar(data) as liar:
        upstream = PlainUpstream(liar.url, patience)
        store = DiskStore(root, quota=quota)
        flights = Flights(store, lambda _: upstream, WallClock(), tuning=tuning)
        here = Field(store, flights, liar, upstream)

        async def landed(*what: object) -> None:
            here.landed.append(what)

        async def fault(*what: object) -> None:
            here.faults.append(what)

        flights.on_landed, flights.on_fault = landed, fault
        try:
            yield here
        finally:
            await flights.close()
            await upstream.close()
            await store.close()


def known_source(digest: str, size: int) -> Source:
    return Source(ask=Ask(target="/file", follow=True), declared=Digest("sha256", digest), size=size)
