"""A worker process: judges, serves what is stored, and asks its keeper for everything that has one owner a node."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog

from mirror.audit.ledger import GroupLedger
from mirror.backends import patience_of, recorder_of
from mirror.config import Config
from mirror.core.ports import Blobs, Clock, Upstream
from mirror.fleet.keeper import digest_of, standing_of
from mirror.hub_wiring import upstream_for
from mirror.index.sql import SqlIndex
from mirror.keeper.forwarding import ForwardedLedger, LedgerLine
from mirror.keeper.link import Link, Reply
from mirror.keeper.nouns import encoded
from mirror.keeper.remote import KeeperUpstream, Node, SharedMeter, connected, hear
from mirror.keeper.remote_flights import RemoteFlights
from mirror.keeper.service import Hello
from mirror.policy.epoch import Epoch
from mirror.proxy.flights import Transfers
from mirror.proxy.recorder import Recorder
from mirror.proxy.tuning import Tuning
from mirror.store.reading import DiskBlobs
from mirror.web.metrics import Metrics
from mirror.wiring import Services, Share, build

_LOG = structlog.get_logger("mirror.keeper")
#: For how long requests are still answered - that nothing can be recorded - after the keeper has gone, in seconds.
_LAST_WORDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class SharedBackends:
    """A worker's: the index and the finished files for itself, everything else by way of the keeper."""

    index: SqlIndex
    ledger: GroupLedger
    upstreams: Mapping[str, Upstream]
    store: Blobs
    flights: Transfers
    recorder: Recorder


@dataclass(slots=True)
class _Worker:
    config: Config
    slot: int
    gone: asyncio.Event
    link: Link
    doubts: Sequence[Any]
    ledger: ForwardedLedger | None = None
    services: Services | None = None

    async def watch(self) -> None:
        """When the keeper has gone nothing can be recorded, so from that moment nothing is served; then this process ends."""
        await self.gone.wait()
        if self.ledger is not None:
            self.ledger.lost()
        if self.services is not None:
            await _desert(self.services)

    def announce(self, epoch: Epoch, problems: int) -> None:
        """The rules that this worker judges by."""
        self.link.tell("rules", encoded(standing_of(epoch, problems)))

    async def ground(
        self, config: Config, clock: Clock, epoch: Epoch, metrics: Metrics, opened: AsyncExitStack
    ) -> SharedBackends:
        """`wiring.Ground` of a worker."""
        link = self.link
        opened.callback(link.close)
        index = await SqlIndex.open(config.database.reveal() if config.database else None, config.data)
        opened.push_async_callback(index.close)
        line = LedgerLine(config.data, encoded(Hello("ledger", self.slot, digest_of(config))))
        self.ledger = ledger = ForwardedLedger(line, clock)
        await ledger.start()
        opened.push_async_callback(ledger.close)
        upstreams = {name: KeeperUpstream(name, link, upstream_for(name, row, config)) for name, row in config.hubs.items()}
        for upstream in upstreams.values():
            opened.push_async_callback(upstream.close)
        store = DiskBlobs(config.data)
        opened.push_async_callback(store.close)
        tuning = Tuning(unverified_ranges=config.store.unverified_ranges)
        flights = RemoteFlights(link, store, upstreams.__getitem__, tuning, patience_of(config))
        flights.learn(self.doubts)

        async def measure(_: Any, __: bytes) -> Reply:
            return Reply(metrics.parts())

        hear(link, {**flights.calls, "measure": measure}, flights.notices)
        return SharedBackends(index, ledger, upstreams, store, flights, recorder_of(config, clock, ledger))


async def run(config: Config, slot: int, descriptors: Sequence[int]) -> int:
    """Serve on sockets that the keeper has bound until SIGTERM, or until the keeper has gone (exit code 1)."""
    loop, stop, gone = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C reaches the whole group; the keeper passes on what it means
    listening = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    link, told = await connected(config.data, Hello("worker", slot, digest_of(config)), gone.set)
    worker = _Worker(config, slot, gone, link, told["doubts"])
    meter = SharedMeter()
    share = Share(worker.ground, listening, Node(link), meter, worker.announce, first=slot == 0)
    worker.services = services = await build(config, share)
    watching = asyncio.create_task(worker.watch())
    worker.announce(services.rulebook.current, len(services.rulebook.problems))
    hear(link, {"imported": partial(_renew, services)}, {"spent": meter.spent})
    exchanging = asyncio.create_task(meter.exchange(link))
    await services.start()
    link.tell("serving", value=True)
    await stop.wait()
    link.tell("serving", value=False)
    exchanging.cancel()
    await services.stop()
    watching.cancel()
    return 0


async def _renew(services: Services, _: Any, __: bytes) -> Reply:
    """A bundle was imported."""
    await services.gateway.renew()
    return Reply()


async def _desert(services: Services) -> None:
    """End this process: nothing that is under way can be put on the record any more. Does not return."""
    _LOG.error("keeper_gone")
    services.status.serving = False
    for runner in services.runners:
        for site in list(runner.sites):
            await site.stop()  # the address is free at once, for the next keeper
    await asyncio.sleep(_LAST_WORDS)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
