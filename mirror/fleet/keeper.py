"""The keeper process: ledger, flights, store and rules of a node, and the workers that answer its clients."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import structlog

from mirror.audit.ledger import SegmentLedger
from mirror.backends import OwnBackends, own_backends
from mirror.clock_wiring import SystemClock, clock_of, watch_clock
from mirror.config import Config
from mirror.core.errors import InputError, IntegrityError, Problem
from mirror.fleet import sockets
from mirror.fleet.pulse import Pulse
from mirror.fleet.supervisor import Supervisor
from mirror.index.sql import SqlIndex
from mirror.keeper.door import NAME, removed
from mirror.keeper.rules import Standing
from mirror.keeper.service import Keeper
from mirror.list_wiring import lists_ready, pack_watch_of, told
from mirror.lists.editions import store_of
from mirror.policy.epoch import Epoch
from mirror.proxy.rulebook import Rulebook
from mirror.sync_wiring import scheduled_of
from mirror.watch.lists import ListWatch, Outcome
from mirror.watch.notices import watch_dates
from mirror.web import ports
from mirror.web.metrics import Metrics
from mirror.wiring import (
    DRAIN,
    addresses,
    greeting,
    installation_key,
    keep_rules,
    note_rules,
    rulebook_of,
    url_of,
)

_LOG = structlog.get_logger("mirror.keeper")
#: What workers may take beyond their own drain before they are killed, in seconds: the ledger is closed behind them.
_SLACK: Final = 3.0


def digest_of(config: Config) -> str:
    """Names a configuration, so that keeper and workers know that they have read the same. No secret goes into it."""
    return hashlib.sha256(repr(config).encode()).hexdigest()


def standing_of(epoch: Epoch, problems: int) -> Standing:
    """The rules of a process, for the keeper to compare."""
    parts = [epoch.policy.digest, epoch.catalogue.digest, epoch.lineage.digest, *(f"{name}={edition}" for name, edition in epoch.editions)]
    return Standing(hashlib.sha256("\n".join(parts).encode()).hexdigest(), epoch.policy.digest, epoch.number, problems)


async def run(config: Config, named: Path | None, say: Callable[[Sequence[str]], None]) -> int:
    """Serve with `listen.workers` workers until SIGTERM or SIGINT. `named` is the configuration file as it was given."""
    ports.demand(addresses(config))
    holding = sockets.held(addresses(config))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    metrics = Metrics()
    try:
        async with AsyncExitStack() as opened:
            try:
                keeper = await _opened(config, metrics, opened)
            except OSError as error:
                raise InputError([Problem("data", "", f"{error.filename or config.data}: {error.strerror}")]) from error
            config_file = None if named is None else str(named)
            supervisor = Supervisor(config_file, config.listen.workers, lambda: sockets.another(holding))
            opened.push_async_callback(supervisor.stop, DRAIN + _SLACK)
            starting = asyncio.create_task(supervisor.start(lambda: keeper.serving() >= config.listen.workers, keeper.changed))
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                await asyncio.wait({starting})
                return 0
            starting.result()
            _feel(keeper, supervisor, metrics, config, opened)
            url = url_of(holding[0].getsockname(), secure=config.listen.tls.cert is not None)
            _schedule(keeper, config, metrics, url, opened)
            say(greeting(config, url))
            await stopped
    finally:
        sockets.close(holding)
    return 0


async def _opened(config: Config, metrics: Metrics, opened: AsyncExitStack) -> Keeper:
    """A keeper that listens. What it stands on is closed behind it, the ledger last."""
    clock = clock_of(config)
    lists = await lists_ready(config, clock)
    rulebook = rulebook_of(config, clock)
    config.data.mkdir(parents=True, exist_ok=True)
    installation_key(config.data / "secret.key")  # made once, before several look for it
    base = await own_backends(config, clock, rulebook.current, metrics, opened)
    await keep_rules(base.recorder, rulebook.current, store_of(config.data))
    await watch_clock(clock, base.ledger, opened)
    if rulebook.approvals is not None:
        rulebook.approvals.attach(base.ledger, base.recorder.keep)
        watch_dates(lambda: rulebook.current, base.index, base.ledger, rulebook.approvals.register, clock, opened)
    keeper = _keeper(config, base, metrics, rulebook)
    base.bundles.on_import = keeper.imported
    _watch(config, clock, rulebook, base, keeper, lists, opened)
    keeper.open(config.data)
    opened.callback(removed, config.data / NAME)
    opened.push_async_callback(keeper.close)
    return keeper


def _schedule(keeper: Keeper, config: Config, metrics: Metrics, url: str, opened: AsyncExitStack) -> None:
    """Fetch what is wanted when it is due, once a node."""
    syncs = scheduled_of(config, clock_of(config), metrics, url)
    if syncs is not None:
        keeper.syncs = syncs.standing
        syncs.start()
        opened.push_async_callback(syncs.close)


def _feel(keeper: Keeper, supervisor: Supervisor, metrics: Metrics, config: Config, opened: AsyncExitStack) -> None:
    """Replace workers that stand still, from now until the end."""
    def replace(slot: int) -> None:
        metrics.faults.labels("worker_stuck").inc()
        supervisor.replace(slot)

    pulse = Pulse(keeper.workers, supervisor.processes, replace, config.listen.worker_timeout.total_seconds())
    beating = asyncio.create_task(pulse.run(), name="pulse")
    opened.callback(beating.cancel)


def _keeper(config: Config, base: OwnBackends, metrics: Metrics, rulebook: Rulebook) -> Keeper:
    async def fault(error: IntegrityError, hub: str) -> None:
        await base.recorder.fault(error.what, error.declared, error.computed, hub)

    async def levelled() -> None:
        await _level(base.index, base.ledger)

    def measure() -> None:
        metrics.ledger_up.set(0 if base.ledger.state == "down" else 1)
        metrics.ledger_reserve.set(int(base.ledger.state == "reserve"))
        metrics.epoch.set(rulebook.current.number)
        metrics.policy_problems.set(len(rulebook.problems))
        metrics.policy_waiting.set(int(rulebook.waiting))
        metrics.lists(rulebook.lists)
        metrics.catalogue(rulebook.pack)
        metrics.index_up.set(0 if base.index.fault else 1)

    metrics.before_reading(measure)
    return Keeper(
        ledger=base.ledger, flights=base.flights, upstreams=base.upstreams, config=digest_of(config), measure=metrics.parts,
        levelled=levelled, fault=fault, rules=standing_of(rulebook.current, len(rulebook.problems)),
        commands=base.calls, standing=base.checkpointer.condition,
    )  # fmt: skip


async def _level(index: SqlIndex, ledger: SegmentLedger) -> None:
    """Wait until the index holds every record that is durable now."""
    last = ledger.head.count - 1
    while await index.last_sequence() < last:  # noqa: ASYNC110 - the feed tells nobody, and this is rare
        await asyncio.sleep(0.02)


def _watch(
    config: Config, clock: SystemClock, rulebook: Rulebook, base: OwnBackends, keeper: Keeper, lists: ListWatch, opened: AsyncExitStack
) -> None:
    """Follow the rule files beside the workers: what came into force is recorded once a node, here."""
    def note(outcome: str, subject: str, detail: Mapping[str, object]) -> None:
        note_rules(base.ledger, clock.now(), outcome, subject, detail)

    async def changed(epoch: Epoch) -> None:
        await keep_rules(base.recorder, epoch, store_of(config.data))
        keeper.rules.reported(keeper, standing_of(epoch, len(rulebook.problems)))
        note("activated", epoch.policy.digest, {"epoch": epoch.number, "catalogue": epoch.catalogue.digest, "lists": dict(epoch.editions)})

    async def failed(error: InputError) -> None:
        keeper.rules.reported(keeper, standing_of(rulebook.current, len(error.problems)))
        note("rejected", rulebook.current.policy.digest, {"problems": [str(problem) for problem in error.problems][:50]})

    async def heard(outcome: Outcome) -> None:
        await record(outcome)
        await rulebook.look_at_lists()
        keeper.rules.reported(keeper, standing_of(rulebook.current, len(rulebook.problems)))

    record = told(note)
    lists.watch(heard)
    opened.push_async_callback(lists.close)
    if (pack := pack_watch_of(config, clock)) is not None:
        pack.watch()
        opened.push_async_callback(pack.close)
    rulebook.watch(changed, failed)
    opened.push_async_callback(rulebook.close)
    _LOG.info("keeper", pid=os.getpid(), workers=config.listen.workers)
