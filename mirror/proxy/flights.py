"""One upstream transfer per artifact, however many ask (P4). It outlives the client that started it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from mirror.core.errors import IntegrityError, StoreFull, UpstreamDown
from mirror.core.nouns import Blob, Digest, Span
from mirror.core.ports import BlobStore, Body, Clock, Source, Upstream
from mirror.proxy.bodies import ENDLESS, BlobBody, FlightBody, PassBody, Restarting, Sendable
from mirror.proxy.flight import Flight
from mirror.proxy.share import Share
from mirror.proxy.transfer import transfer
from mirror.proxy.tuning import Lanes, Tuning

if TYPE_CHECKING:
    from mirror.proxy.withhold import Withholding

#: Of the 128 connections that a hub's pool for files has (`upstream.client.Limits`).
PASSING: Final = 64

OnLanded = Callable[[str, Blob, Source], Awaitable[None]]
OnFault = Callable[[IntegrityError, str], Awaitable[None]]
OnEnded = Callable[[str], None]
OnRemoved = Callable[[Digest], None]


class Transfers(Protocol):
    """Flights as the gateway uses them: `Flights` itself, or those of a keeper."""

    on_landed: OnLanded
    on_fault: OnFault
    on_ended: OnEnded
    on_removed: OnRemoved

    async def join(self, key: str, hub: str, source: Source) -> Body:
        """As `Flights.join`."""

    def hit(self, blob: Blob, source: Source) -> BlobBody:
        """As `Flights.hit`."""

    def in_flight(self, key: str) -> tuple[int, int | None] | None:
        """As `Flights.in_flight`."""


def passing(shares: dict[str, Share], hub: str) -> Share:
    """What of a hub's connections may go to clients of a full cache, which each take one for themselves: half of them."""
    if hub not in shares:
        shares[hub] = Share(hub, "transfers through a full cache", PASSING)
    return shares[hub]


async def _ignore(*_: object) -> None:
    pass


def _nothing(_: object) -> None:
    pass


class Flights:
    """The downloads in the air, by key.

    `on_landed(key, blob, source)` is awaited when a blob is in the store, before its last bytes leave. `on_fault(error,
    hub)` is awaited for each fetch whose bytes were not what was declared. `on_ended(key)` is called when the last flight
    under a key is over, landed or not. `on_removed(digest)` is called when a blob was removed from the store, by eviction or
    by hand. All may be set after construction.
    """

    def __init__(
        self,
        store: BlobStore,
        upstream_of: Callable[[str], Upstream],
        clock: Clock,
        on_landed: OnLanded = _ignore,
        on_fault: OnFault = _ignore,
        *,
        tuning: Tuning | None = None,
        patience: Mapping[str, float] | None = None,
        lanes: Mapping[str, Lanes] | None = None,
    ) -> None:
        """`patience` and `lanes` go before the tuning's, by the name of a hub."""
        self.on_landed: OnLanded = on_landed
        self.on_fault: OnFault = on_fault
        self.on_ended: OnEnded = _nothing
        self.on_removed: OnRemoved = _nothing
        self._store, self._upstream_of, self._clock = store, upstream_of, clock
        self._tuning, self._patience, self._lanes = tuning or Tuning(), patience or {}, lanes or {}
        self._flights: dict[str, Flight] = {}
        self._hubs: dict[Flight, str] = {}
        self._tasks: dict[Flight, asyncio.Task[None]] = {}
        self._doubted: dict[str, tuple[float, list[Span]]] = {}
        self._reading: Counter[Digest] = Counter()
        self._shares: dict[str, Share] = {}

    async def join(self, key: str, hub: str, source: Source) -> Body:
        """A body of the file that `key` names, from the flight in the air or a new one, which resumes what is on disk.

        Raises what upstream says before there is anything to read: `HubSaysNo`, `UpstreamError`, `IntegrityError`.
        A full store gives a pass-through body. The caller closes the body.
        """
        if source.declared is not None:
            blob = await self._store.find(source.declared)
            if blob is not None and source.size in (None, blob.size):
                await self.on_landed(key, blob, source)
                return self.hit(blob, source)
        flight = self._flights.get(key)
        collapsed = flight is not None
        if flight is None:
            flight = self._launch(key, hub, source)
        flight.readers += 1
        try:
            await self._opened(flight)
            return FlightBody(
                flight,
                self._store,
                collapsed=collapsed,
                leave=partial(self._left, flight),
                doubt=partial(self._doubts, source),
            )
        except StoreFull:
            self._left(flight)
            return await self._pass_through(key, hub, source)
        except FileNotFoundError:  # it landed, and its file was removed before it could be opened: a miss (P9)
            self._left(flight)
            if self._flights.get(key) is flight:
                del self._flights[key]
            return await self.join(key, hub, source)
        except BaseException:
            self._left(flight)
            raise

    def hit(self, blob: Blob, source: Source) -> BlobBody:
        """A finished blob under `source`'s headers, with what is remembered of wrong bytes that went out under its digest."""
        self._reading[blob.digest] += 1
        return BlobBody(
            self._store,
            blob,
            headers=source.headers,
            verified=source.declared is not None,
            doubt=partial(self._doubts, source),
            leave=partial(self._read, blob.digest),
        )

    def in_use(self, digest: Digest) -> bool:
        """Whether somebody reads a blob at this moment."""
        return digest in self._reading

    def in_flight(self, key: str) -> tuple[int, int | None] | None:
        """Bytes arrived and size of the flight for `key`, or None."""
        flight = self._flights.get(key)
        return None if flight is None else (flight.arrived, flight.size)

    def doubts(self) -> list[tuple[str, float, Sequence[Span]]]:
        """What is remembered of wrong bytes that went out: (declared digest, seconds left to remember it, spans)."""
        now = asyncio.get_running_loop().time()
        return [(name, until - now, tuple(spans)) for name, (until, spans) in self._doubted.items() if until > now]

    async def close(self) -> None:
        """Stop all flights; what has arrived stays on disk for the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- what a flight tells --------------------------------------------------------------------------------------

    async def landed(self, flight: Flight, blob: Blob) -> None:
        """A flight's blob is in the store."""
        await self.on_landed(flight.key, blob, flight.source)

    async def faulty(self, flight: Flight, error: IntegrityError, held: Withholding) -> None:
        """A flight's bytes were wrong: remember where a client that holds some would have to come back for the rest."""
        if held.released and flight.source.declared is not None:
            now = asyncio.get_running_loop().time()
            self._doubted = {name: doubt for name, doubt in self._doubted.items() if doubt[0] > now}
            _, spans = self._doubted.get(str(flight.source.declared), (0.0, []))
            self._doubted[str(flight.source.declared)] = (
                now + self._tuning.suspicion,
                [*spans, held.withheld],
            )
        await self.on_fault(error, self._hubs[flight])

    # --- inside ---------------------------------------------------------------------------------------------------

    def _read(self, digest: Digest) -> None:
        self._reading[digest] -= 1
        if not self._reading[digest]:
            del self._reading[digest]

    def _doubts(self, source: Source) -> Sequence[Span]:
        until, spans = self._doubted.get(str(source.declared), (0.0, []))
        return spans if until > asyncio.get_running_loop().time() else ()

    def _launch(self, key: str, hub: str, source: Source) -> Flight:
        flight = Flight(
            key, source, self._upstream_of(hub), self._store, landing=self, tuning=self._tuned(hub), now=self._clock.now
        )
        self._flights[key] = flight
        self._hubs[flight] = hub
        task = asyncio.create_task(flight.run(), name=f"flight {key}")
        self._tasks[flight] = task
        task.add_done_callback(partial(self._ended, flight))
        return flight

    def _ended(self, flight: Flight, task: asyncio.Task[None]) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
        self._tasks.pop(flight, None)
        self._hubs.pop(flight, None)
        if not task.cancelled():
            task.exception()
        if flight.key not in self._flights:
            self.on_ended(flight.key)

    async def _opened(self, flight: Flight) -> None:
        """Wait for the first answer, but not past a client's patience for headers.

        Where the size is known the answer's head needs no upstream: it leaves at most `reply.body.FIRST` after this.
        """
        try:
            async with asyncio.timeout(flight.patience * (0.9 if flight.source.size is None else 0.4)):
                await flight.opened()
        except TimeoutError:
            if flight.size is None or not flight.has_spool:
                raise UpstreamDown("", "no answer yet; the transfer goes on", retry_after=5.0) from None

    def _left(self, flight: Flight) -> None:
        flight.readers -= 1
        if not flight.readers and flight in self._tasks:
            loop = asyncio.get_running_loop()
            flight.idle_since = loop.time()
            loop.call_later(self._tuning.abandon_after, self._abandon, flight, flight.idle_since)

    def _abandon(self, flight: Flight, since: float) -> None:
        """Give up a flight that nobody has waited for since `since`, if little is done."""
        task = self._tasks.get(flight)
        if task is None or flight.readers or flight.idle_since != since or flight.blob is not None:
            return
        if flight.size is None or flight.arrived < flight.size * self._tuning.abandon_below:
            self._flights.pop(flight.key, None)
            task.cancel()

    async def _pass_through(self, key: str, hub: str, source: Source) -> PassBody:
        size = source.size
        if size is None:
            with contextlib.suppress(UpstreamDown):
                async with transfer(self._upstream_of(hub), source.ask, 0, None, size=None) as answer:
                    size = answer.size
        return PassBody(source, self._upstream_of(hub), self._tuned(hub), size, key, passing(self._shares, hub))

    def _tuned(self, hub: str) -> Tuning:
        patience, lanes = self._patience.get(hub, self._tuning.patience), self._lanes.get(hub, self._tuning.lanes)
        return replace(self._tuning, patience=patience, lanes=lanes)


__all__ = [
    "ENDLESS",
    "BlobBody",
    "FlightBody",
    "Flights",
    "OnFault",
    "OnLanded",
    "OnRemoved",
    "PassBody",
    "Restarting",
    "Sendable",
    "Transfers",
    "Tuning",
    "passing",
]
