"""What a mirror stands on: ledger and index, store and flights, the ways upstream. One process of a node makes them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mirror import __version__
from mirror.audit.checkpointer import Checkpointer
from mirror.audit.keeping import Retention
from mirror.audit.ledger import GroupLedger, SegmentLedger
from mirror.config import Config
from mirror.core.nouns import Blob
from mirror.core.ports import Blobs, Clock, Ledger, Upstream
from mirror.hub_wiring import upstream_for
from mirror.index.sql import SqlIndex
from mirror.keeper.bundle_desk import BundleDesk
from mirror.keeper.desk import Desk, Wicket
from mirror.keeper.door import NAME, removed
from mirror.keeper.ledger_desk import LedgerDesk
from mirror.keeper.link import Answerer
from mirror.ledger_wiring import begin_record
from mirror.list_wiring import standing_lists
from mirror.lists.editions import store_of
from mirror.policy.epoch import Epoch
from mirror.proxy.eviction import Eviction
from mirror.proxy.flights import Flights, Transfers
from mirror.proxy.recorder import Recorder
from mirror.proxy.scrub import Scrub
from mirror.proxy.strays import Strays
from mirror.proxy.tuning import Lanes, Tuning
from mirror.store.archive import EvidenceArchive
from mirror.store.disk import DiskStore
from mirror.store.scrub import ScrubbedFolder
from mirror.web.metrics import Metrics


class Backends(Protocol):
    """What the use-cases are built on."""

    @property
    def index(self) -> SqlIndex:
        """Documents, entries, grants, places and events."""

    @property
    def ledger(self) -> GroupLedger:
        """Where events go."""

    @property
    def upstreams(self) -> Mapping[str, Upstream]:
        """The way out of each hub."""

    @property
    def store(self) -> Blobs:
        """Finished files."""

    @property
    def flights(self) -> Transfers:
        """Files on their way."""

    @property
    def recorder(self) -> Recorder:
        """What puts decisions on the record."""


@dataclass(frozen=True, slots=True)
class OwnBackends:
    """Those of the process that owns them."""

    index: SqlIndex
    ledger: SegmentLedger
    upstreams: Mapping[str, Upstream]
    store: DiskStore
    flights: Flights
    recorder: Recorder
    desk: Desk
    checkpointer: Checkpointer
    retention: Retention
    bundles: BundleDesk

    @property
    def calls(self) -> Mapping[str, Answerer]:
        """What commands may ask of the process that owns all this."""
        return {**self.desk.calls, **LedgerDesk(self.checkpointer, self.retention).calls, **self.bundles.calls}


def patience_of(config: Config) -> dict[str, float]:
    """How long clients of each hub wait for the head of an answer, in seconds."""
    return {name: row.timeouts.patience.total_seconds() for name, row in config.hubs.items()}


def lanes_of(config: Config) -> dict[str, Lanes]:
    """How large files come from each hub."""
    rows = {name: row.transfers for name, row in config.hubs.items()}
    return {name: Lanes(row.parallel, row.part, row.above, row.minimum) for name, row in rows.items()}


def recorder_of(config: Config, clock: Clock, ledger: Ledger) -> Recorder:
    """What puts decisions and their evidence on the record."""
    return Recorder(clock, os.urandom, ledger, EvidenceArchive(config.data / "evidence"), config.policy.contact)


async def own_backends(
    config: Config, clock: Clock, epoch: Epoch, metrics: Metrics, opened: AsyncExitStack
) -> OwnBackends:
    """Everything in this process: as a keeper has it, or a mirror of one process."""
    index = await SqlIndex.open(config.database.reveal() if config.database else None, config.data)
    opened.push_async_callback(index.close)
    lists = await asyncio.to_thread(standing_lists, epoch, store_of(config.data))
    detail = {"version": __version__, "policy": epoch.policy.digest, "catalogue": epoch.catalogue.digest, **lists}
    ledger, checkpointer, sinks, retention = await begin_record(config, clock, detail, index, opened)
    upstreams = {name: upstream_for(name, row, config) for name, row in config.hubs.items()}
    for upstream in upstreams.values():
        opened.push_async_callback(upstream.close)
    store = DiskStore(config.data, config.store.quota, config.store.min_free)
    opened.push_async_callback(store.close)
    tuning = Tuning(unverified_ranges=config.store.unverified_ranges)
    flights = Flights(
        store, upstreams.__getitem__, clock, tuning=tuning, patience=patience_of(config), lanes=lanes_of(config)
    )
    recorder = recorder_of(config, clock, ledger)
    desk = await _upkeep(config, clock, index, store, flights, recorder, metrics, opened)
    opened.push_async_callback(flights.close)
    metrics.before_reading(lambda: metrics.checkpoints(checkpointer.condition(), checkpointer.age))
    metrics.before_reading(lambda: metrics.sinks((one.name, one.lag, one.age, one.failing) for one in sinks.all))
    return OwnBackends(index, ledger, upstreams, store, flights, recorder, desk, checkpointer, retention, BundleDesk(ledger))


def hear_commands(base: Backends, data: Path, opened: AsyncExitStack) -> None:
    """Open `keeper.sock` for commands in a mirror of one process; where there are workers, their keeper hears them."""
    if isinstance(base, OwnBackends):
        wicket = Wicket(base.calls)
        wicket.open(data)
        opened.callback(removed, data / NAME)
        opened.push_async_callback(wicket.close)


async def _upkeep(
    config: Config, clock: Clock, index: SqlIndex, store: DiskStore, flights: Flights, recorder: Recorder,
    metrics: Metrics, opened: AsyncExitStack,
) -> Desk:
    """What keeps the store sound and within its room: eviction when it is full, scrubbing in the background, and commands."""
    async def damaged(what: str, declared: str, computed: str, hub: str) -> None:
        metrics.damaged.inc()
        await recorder.fault(what, declared, computed, hub)

    def removed(blob: Blob) -> None:
        metrics.evicted.inc()
        metrics.freed.inc(blob.size)
        flights.on_removed(blob.digest)

    def measure() -> None:
        metrics.stored.labels("files").set(store.used)
        metrics.stored.labels("promised").set(store.reserved)
        metrics.stored.labels("quota").set(config.store.quota)

    metrics.before_reading(measure)
    eviction = Eviction(index, store, clock, flights.in_use, config.store.quota, removed)
    store.on_pressure = eviction.make_room
    scrub = Scrub(ScrubbedFolder(config.data), store, damaged, config.store.scrub)
    strays = Strays(config.data, index, store, clock, flights.in_use, lambda digest, size: removed(Blob(digest, size)))
    walking = {asyncio.create_task(scrub.run(), name="scrub"), asyncio.create_task(strays.run(), name="strays")}

    async def halt() -> None:
        for task in walking:
            task.cancel()
        await asyncio.wait(walking)

    opened.push_async_callback(halt)
    return Desk(config.data, config.store.quota, index, store, eviction, clock, scrub.record)
