"""A keeper and a worker's ports in one process, with the real socket between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mirror.audit.ledger import SegmentLedger
from mirror.core.ports import Upstream
from mirror.keeper.remote import connected, hear
from mirror.keeper.remote_flights import RemoteFlights
from mirror.keeper.rules import Standing
from mirror.keeper.service import Hello, Keeper
from mirror.proxy.flights import Flights, Tuning
from mirror.store.reading import DiskBlobs
from tests.audit.samples import SteppingClock
from tests.proxy.flight_fixture import FAST, Field, surroundings

CONFIG = "digest of the configuration"
RULES = Standing("rules one", "policy one", 1, 0)


class NoFlights(Flights):
    """For a keeper of which nobody wants a file."""

    def __init__(self) -> None:
        super().__init__(None, None, None)  # type: ignore[arg-type]


@asynccontextmanager
async def keeping(
    folder: Path, flights: Flights | None = None, upstreams: Mapping[str, Upstream] | None = None, faults: list[Any] | None = None
) -> AsyncIterator[tuple[Keeper, SegmentLedger]]:
    """A keeper that listens in `folder`, with a ledger in `folder/ledger`."""
    async def fault(*what: object) -> None:
        if faults is not None:
            faults.append(what)

    async def levelled() -> None:
        pass

    ledger = SegmentLedger(folder / "ledger", SteppingClock(), reserve=1 << 20)
    await ledger.start()
    keeper = Keeper(
        ledger=ledger, flights=flights or NoFlights(), upstreams=upstreams or {}, config=CONFIG, measure=lambda: "keeper",
        levelled=levelled, fault=fault, rules=RULES,
    )  # fmt: skip
    keeper.open(folder)
    try:
        yield keeper, ledger
    finally:
        await keeper.close()
        await ledger.close()


@asynccontextmanager
async def remote_surroundings(
    root: Path, data: bytes, tuning: Tuning = FAST, quota: int | None = None, patience: float = 1.0
) -> AsyncIterator[Field]:
    """As `flight_fixture.surroundings`, with the flights of a worker in place of the keeper's."""
    async with surroundings(root, data, tuning, quota, patience) as there:
        here = Field(there.store, there.flights, there.liar, there.upstream)
        async with keeping(root, there.flights, {"hub": there.upstream}, here.faults), worker(root, there, tuning) as flights:
            async def landed(*what: object) -> None:
                here.landed.append(what)

            flights.on_landed = landed
            here.flights = flights  # type: ignore[assignment]
            yield here


@asynccontextmanager
async def worker(root: Path, there: Field, tuning: Tuning = FAST, slot: int = 0) -> AsyncIterator[RemoteFlights]:
    """One worker's flights."""
    link, told = await connected(root, Hello("worker", slot, CONFIG), lambda: None)
    blobs = DiskBlobs(root)
    flights = RemoteFlights(link, blobs, lambda _: there.upstream, tuning, {})
    flights.learn(told["doubts"])
    hear(link, flights.calls, flights.notices)
    try:
        yield flights
    finally:
        link.close()
        await blobs.close()
        await asyncio.sleep(0)
