"""Where everything meets: the only module that names concrete backends.

How a request travels: `web.server` (HTTP, deadlines) -> `web.front` (path, host, who asks, route) -> a dialect in
`hubs` -> `proxy.gateway` (documents, judgement, record, bytes) -> `reply` (the answer).
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from aiohttp import web

from mirror import __version__
from mirror.audit.ledger import GroupLedger
from mirror.backends import Backends, OwnBackends, hear_commands, own_backends, patience_of
from mirror.bundle.scheduled import Scheduled
from mirror.bundle.signed_time import CLOCK
from mirror.client_wiring import identification_of
from mirror.clock_wiring import SystemClock, clock_of, watch_clock
from mirror.config import Config
from mirror.core.actor import Actor
from mirror.core.canonical import canonical
from mirror.core.decision import Event, EventKind
from mirror.core.errors import InputError, LedgerDown, Problem
from mirror.core.meter import Meter
from mirror.core.nouns import HUGGINGFACE
from mirror.core.ports import Clock, Ledger, Upstream
from mirror.durable import write_whole
from mirror.hub_wiring import dialect_for
from mirror.hubs.pypi.osv_files import Loaded, OsvBook
from mirror.index.sql import SqlIndex
from mirror.keeper.remote import Node
from mirror.list_wiring import keep_lists, lists_ready, pack_condition, pack_watch_of, told
from mirror.lists.editions import EditionStore, store_of
from mirror.policy.epoch import Epoch
from mirror.proxy.approvals import Approvals, TrustSources
from mirror.proxy.documents import Documents
from mirror.proxy.findings import FindingBook
from mirror.proxy.gateway import Gateway
from mirror.proxy.recorder import Recorder
from mirror.proxy.rulebook import Rulebook, RuleSources
from mirror.proxy.shelf import Shelf
from mirror.proxy.turned_away import TurnedAway
from mirror.reply.limits import limits_from
from mirror.screen_wiring import findings_ready, rescreening
from mirror.sync_wiring import scheduled_of
from mirror.watch.catalogue import PackWatch
from mirror.watch.lists import ListWatch
from mirror.watch.notices import watch_dates
from mirror.watch.rescreen import Rescreening
from mirror.watch.verdicts import Verdicts, watch_verdicts
from mirror.web import ports
from mirror.web.front import Front, Hosts
from mirror.web.metrics import Metrics
from mirror.web.own import Own, Status
from mirror.web.server import Server
from mirror.web.stalls import Room

log = structlog.get_logger("mirror")

#: How long requests under way may take to finish after a signal, in seconds: less than the 30 s after which container
#: runtimes kill, for the ledger is closed behind them.
DRAIN: Final = 20.0
SELF: Final = Actor(name="mirror")


Ground = Callable[[Config, SystemClock, Epoch, Metrics, AsyncExitStack], Awaitable[Backends]]


@dataclass(frozen=True, slots=True)
class Share:
    """A worker's share of a node (`fleet.worker`). `sockets` listen already, in the order of `addresses`.

    `announce` is told of each change of the rules in this process and of each failure to change them; what the ledger
    holds of it is written by the keeper. `first` is the worker that records what only workers see.
    """

    ground: Ground
    sockets: Sequence[socket.socket]
    node: Node
    meter: Meter
    announce: Callable[[Epoch, int], None]
    first: bool


@dataclass(slots=True)
class Services:
    """A whole mirror, built and not yet listening."""

    config: Config
    front: Front
    own: Own
    gateway: Gateway
    rulebook: Rulebook
    ledger: GroupLedger
    index: SqlIndex
    shelf: Shelf
    upstreams: Mapping[str, Upstream]
    metrics: Metrics
    status: Status
    closing: AsyncExitStack
    advisories: Mapping[str, OsvBook] = field(default_factory=dict)
    runners: list[web.ServerRunner] = field(default_factory=list)
    share: Share | None = None
    lists: ListWatch | None = None
    pack: PackWatch | None = None
    screening: Rescreening | None = None
    syncs: Scheduled | None = None

    async def start(self) -> list[str]:
        """Listen; gives the URLs. The rules are watched from here on."""
        listen = self.config.listen
        context = ports.tls(listen.tls.cert, listen.tls.key, listen.tls.client_ca)
        room, stalled = Room(listen.max_connections), listen.send_timeout.total_seconds()

        def server() -> Server:
            return Server(self.front, send_timeout=stalled, room=room, repeats=self.front.repeats)

        urls = [await self._listen(server(), listen.host, listen.port, context)]
        for own in sorted(row.port for row in self.config.hubs.values() if row.port is not None):
            await self._listen(server(), listen.host, own, context)
        if listen.admin is not None:
            host, _, port = listen.admin.rpartition(":")
            admin = Server(self.own.admin, send_timeout=stalled)
            await self._listen(admin, host.strip("[]"), int(port), context)
        if problems := [problem for problem in self.rulebook.problems if problem.source != CLOCK]:
            await self._failed(InputError(problems))  # started all the same: with the policy that was activated last
        if self.lists is not None:
            self.lists.watch(told(self._note))
        if self.pack is not None:
            self.pack.watch()
        if self.share is None or self.share.first:
            self.screening = rescreening(self.rulebook, self.index, self.ledger, self.gateway.clock, self.config.data, self.closing)
            hubs = [name for name, row in self.config.hubs.items() if row.dialect == HUGGINGFACE]
            now, count = self.gateway.clock, self.metrics.changed.inc
            looking = Verdicts(self.gateway.describe, hubs, lambda: self.rulebook.current, self.index, self.ledger, now, count)
            watch_verdicts(looking, self.closing)
        self.rulebook.watch(self._changed, self._failed)
        for name, book in self.advisories.items():
            book.watch(partial(self._advised, name), partial(self._misadvised, name))
        self.status.serving = True
        if self.share is None:
            self._schedule(urls[0])
        return urls

    def _schedule(self, url: str) -> None:
        self.syncs = scheduled_of(self.config, self.gateway.clock, self.metrics, url)
        if self.syncs is not None:
            self.own.syncs = self.syncs.standing
            self.syncs.start()

    async def _listen(self, server: Server, host: str, port: int, context: ssl.SSLContext | None) -> str:
        runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=DRAIN)
        await runner.setup()
        self.runners.append(runner)
        site: web.BaseSite = web.TCPSite(runner, host, port, ssl_context=context, backlog=1024)
        if self.share is not None:
            listening = self.share.sockets[len(self.runners) - 1]
            site = web.SockSite(runner, listening, ssl_context=context, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            raise InputError([Problem("listen", "", f"cannot listen on {host}:{port}: {error.strerror}")]) from error
        return url_of(runner.addresses[0], secure=context is not None)

    def greeting(self, urls: list[str]) -> list[str]:
        """What standard output says when the mirror is ready."""
        return greeting(self.config, urls[0])

    async def stop(self) -> None:
        """Stop accepting, let requests under way finish, then close the ledger last.

        Whatever fails on the way, every later step is still taken: the counts that wait for the ledger's end above all.
        """
        self.status.serving = False
        self.ledger.flush()
        self.closing.push_async_callback(self._drain)
        self.closing.push_async_callback(self.rulebook.close)
        if self.syncs is not None:
            self.closing.push_async_callback(self.syncs.close)
        if self.lists is not None:
            self.closing.push_async_callback(self.lists.close)
        if self.pack is not None:
            self.closing.push_async_callback(self.pack.close)
        for book in self.advisories.values():
            self.closing.push_async_callback(book.close)
        await self.closing.aclose()

    async def _drain(self) -> None:
        """`listen.admin` answers to the end: who asks it for readiness is told that this mirror is draining."""
        last = self.runners[-1:] if self.config.listen.admin is not None else []
        await asyncio.gather(*(runner.cleanup() for runner in self.runners if runner not in last))
        await asyncio.gather(*(runner.cleanup() for runner in last))

    async def _changed(self, epoch: Epoch) -> None:
        await keep_rules(self.gateway.recorder, epoch, store_of(self.config.data))
        log.info("policy", number=epoch.number, digest=epoch.policy.digest)
        if self.screening is not None:
            self.screening.changed(self.rulebook.current, epoch)
        if self.share is not None:
            self.share.announce(epoch, len(self.rulebook.problems))
            return
        self._note("activated", epoch.policy.digest, {"epoch": epoch.number, "catalogue": epoch.catalogue.digest, "lists": dict(epoch.editions)})

    async def _failed(self, error: InputError) -> None:
        log.error("policy not activated", problems=[str(problem) for problem in error.problems])
        if self.share is not None:
            self.share.announce(self.rulebook.current, len(self.rulebook.problems) or len(error.problems))
            return
        current = self.rulebook.current.policy.digest
        self._note("rejected", current, {"problems": [str(problem) for problem in error.problems][:50]})

    async def _advised(self, hub: str, loaded: Loaded) -> None:
        await keep_advisories(self.gateway.recorder, hub, loaded)
        edition = loaded.edition
        self._note("activated", edition.digest, {"osv": hub, "entries": edition.entries, "projects": len(edition)})

    async def _misadvised(self, hub: str, error: InputError) -> None:
        problems = [str(problem) for problem in error.problems]
        log.error("advisories not in force", hub=hub, problems=problems)
        self._note("rejected", self.advisories[hub].current.digest, {"osv": hub, "problems": problems})

    def _note(self, outcome: str, subject: str, detail: Mapping[str, object]) -> None:
        if self.share is None or self.share.first:
            note_rules(self.ledger, self.gateway.clock.now(), outcome, subject, detail)


def url_of(bound: tuple[Any, ...], *, secure: bool) -> str:
    """The URL of a listening socket's name."""
    shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
    return f"{'https' if secure else 'http'}://{shown}:{bound[1]}"


def greeting(config: Config, found: str) -> list[str]:
    """What standard output says when a mirror is ready at the URL `found`."""
    url = config.listen.public_url or found
    policy = config.policy.path or "built-in (refuses nothing)"
    return [
        f"mirror {__version__} ready on {found} (network {config.network}, policy {policy})",
        f"  export HF_ENDPOINT={url}",
        f"  export PIP_INDEX_URL={url}/pypi/simple/ UV_DEFAULT_INDEX={url}/pypi/simple/",
    ]


def note_rules(ledger: Ledger, now: datetime, outcome: str, subject: str, detail: Mapping[str, object]) -> None:
    """Record that rules came into force, or failed to."""
    extra = (("outcome", outcome), *sorted(detail.items()))
    try:
        ledger.record(Event(EventKind.POLICY, now, SELF, subject=subject, detail=extra))
    except LedgerDown:
        log.error("policy change not recorded", outcome=outcome)


def addresses(config: Config) -> Iterator[tuple[str, int]]:
    """Where the mirror is going to listen: its own address, those of single hubs by their port, the administrator's last."""
    listen = config.listen
    yield listen.host, listen.port
    yield from ((listen.host, port) for port in sorted(row.port for row in config.hubs.values() if row.port is not None))
    if listen.admin is not None:
        host, _, port = listen.admin.rpartition(":")
        yield host.strip("[]"), int(port)


def rulebook_of(config: Config, clock: SystemClock, editions: EditionStore | None = None) -> Rulebook:
    """The rules in force, with lists from `editions` (None: the installation's). Raises `InputError` with every problem of every file."""
    groups, approvals = config.clients.groups, approvals_of(config, clock)
    sources = RuleSources(config.policy.path, config.catalogue, config.lists, groups, approvals, editions or store_of(config.data), FindingBook(), pack_condition(config))
    found = Rulebook(sources, clock.now)
    found.beside = clock.alarms
    return found


def approvals_of(config: Config, clock: Clock) -> Approvals:
    """What people have signed. Raises `InputError` with every problem of every enrolled key."""
    policy, trust = config.policy, config.trust
    sources = TrustSources(trust.verify, config.data, policy.path, policy.activation == "signed", trust.requests == "signed")
    return Approvals(sources, clock.now)


async def build(config: Config, share: Share | None = None) -> Services:
    """A mirror from its configuration. Raises `InputError` before anything but lists was created on disk when rules are bad.

    Where it fails later - a data folder that cannot be used is an `InputError` too - what was opened is closed again.
    """
    if share is None:
        ports.demand(addresses(config))
    clock = clock_of(config)
    lists = await lists_ready(config, clock) if share is None else None
    rulebook = rulebook_of(config, clock)
    advisories = {name: OsvBook(row.osv) for name, row in config.hubs.items() if row.osv}
    rulebook.beside = (*rulebook.beside, *advisories.values())
    async with AsyncExitStack() as opened:
        try:
            made = await _build(config, clock, rulebook, advisories, share, opened)
        except OSError as error:
            raise InputError([Problem("data", "", f"{error.filename or config.data}: {error.strerror}")]) from error
    made.lists = lists
    made.pack = pack_watch_of(config, clock) if share is None else None
    return made


async def _build(
    config: Config, clock: SystemClock, rulebook: Rulebook, advisories: Mapping[str, OsvBook], share: Share | None,
    opened: AsyncExitStack,
) -> Services:
    config.data.mkdir(parents=True, exist_ok=True)
    key = installation_key(config.data / "secret.key")
    metrics = Metrics()
    base = await (share.ground if share else own_backends)(config, clock, rulebook.current, metrics, opened)
    hear_commands(base, config.data, opened)
    index, ledger, upstreams, recorder = base.index, base.ledger, base.upstreams, base.recorder
    shelf = Shelf(index, base.store, clock)
    opened.push_async_callback(shelf.flush)
    offline, patience = config.network == "offline", patience_of(config)
    gateway = Gateway(
        clock=clock,
        epoch=lambda: rulebook.judging,
        recorder=recorder,
        documents=Documents(index, upstreams, clock, offline=offline, patience=patience),
        flights=base.flights,
        shelf=shelf,
        grants=index,
        places=index,
        offline=offline,
    )
    if isinstance(base, OwnBackends):
        base.bundles.on_import = gateway.renew
    gateway.turned_away = TurnedAway(config.data) if offline else None
    opened.push_async_callback(gateway.written)
    opened.push_async_callback(gateway.offer_substitutes(index).close)
    opened.push_async_callback(gateway.keep_acquisitions(index, base.store).close)
    await findings_ready(rulebook, index, ledger if share is None or share.first else None, clock)
    await keep_rules(recorder, rulebook.current, store_of(config.data))
    if share is None:
        await watch_clock(clock, ledger, opened)
    if share is None and rulebook.approvals is not None:
        rulebook.approvals.attach(ledger, recorder.keep)
        watch_dates(lambda: rulebook.current, index, ledger, rulebook.approvals.register, clock, opened)
    for name, book in advisories.items():
        await keep_advisories(recorder, name, book.loaded)
    status = Status(started=time.time())
    url, scheme = config.listen.public_url, "https" if config.listen.tls.cert else "http"
    admin = Hosts(url, (config.listen.admin or "").rpartition(":")[0].strip("[]"), scheme)
    own = Own(config.listen.admin is None, gateway, index, ledger, rulebook, metrics, status, url, admin.names_us, share.node if share else None)
    front = Front(
        dialects=[
            dialect_for(name, row, gateway, upstreams[name], config, advisories.get(name), key) for name, row in config.hubs.items()
        ],
        identification=await identification_of(config, key, index, clock, opened),
        own=own.handlers,
        hosts=Hosts(url, config.listen.host, scheme),
        limits=limits_from(config.clients.limits) if share is None else replace(limits_from(config.clients.limits), meter=share.meter),
        patience=patience,
        clock=clock,
        entropy=os.urandom,
        metrics=metrics,
        begin=rulebook.begin,
        once_more=gateway.once_more,
        ports={name: row.port for name, row in config.hubs.items() if row.port is not None},
    )
    return Services(
        config, front, own, gateway, rulebook, ledger, index, shelf, upstreams, metrics, status, opened.pop_all(),
        advisories, share=share,
    )  # fmt: skip


async def keep_rules(recorder: Recorder, epoch: Epoch, editions: EditionStore) -> None:
    """Archive everything that decisions under `epoch` will cite: policy, catalogue, lineage, lists. Says what is doubtful in it."""
    for problem in (*epoch.policy.warnings, *epoch.catalogue.doubts):
        log.warning("doubtful", problem=str(problem))
    await recorder.keep("policy", canonical([list(pair) for pair in epoch.policy.texts]))
    await recorder.keep("catalogue", epoch.catalogue.content)
    await recorder.keep("lineage", epoch.lineage.content)
    await keep_lists(recorder, epoch, editions)
    if epoch.findings:
        await recorder.keep("findings", epoch.findings)
    await recorder.keep("rulebook", epoch.manifest)


async def keep_advisories(recorder: Recorder, hub: str, loaded: Loaded) -> None:
    """Archive the edition that decisions on `hub` will cite. Says how much it is, and what is doubtful in it."""
    edition = loaded.edition
    for problem in loaded.doubts[:20]:
        log.warning("doubtful", problem=str(problem))
    await recorder.keep("osv", edition.manifest)
    log.info("advisories", hub=hub, digest=edition.digest, entries=edition.entries, projects=len(edition))


def installation_key(path: Path) -> bytes:
    """The installation's own secret (32 bytes), made at first start, readable by its owner only.

    Raises `InputError` for a file that holds anything else: under a part of a key, fingerprints could be guessed.
    """
    if not path.exists():
        with suppress(FileExistsError):  # another process was first: its key is the installation's
            write_whole(path, secrets.token_bytes(32), mode=0o600, replace=False)
    key = path.read_bytes()
    if len(key) != 32:
        raise InputError([Problem(str(path), "", f"holds {len(key)} bytes where an installation's key has 32")])
    return key
