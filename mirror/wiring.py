"""Where everything meets: the only module that names concrete backends.

How a request travels: `web.server` (HTTP, deadlines) -> `web.front` (path, host, who asks, route) -> a dialect in
`hubs` -> `proxy.gateway` (documents, judgement, record, bytes) -> `reply` (the answer).
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import secrets
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from mirror import __version__
from mirror.audit.feed import Feed
from mirror.audit.ledger import SegmentLedger
from mirror.config import Config, HubConfig, ListConfig
from mirror.core.actor import Actor
from mirror.core.canonical import canonical
from mirror.core.decision import Event, EventKind
from mirror.core.errors import InputError, LedgerDown, Problem
from mirror.core.ports import Upstream
from mirror.hubs.huggingface.hub import HuggingFaceHub
from mirror.hubs.huggingface.options import Options
from mirror.hubs.pypi.hub import PypiHub, Settings
from mirror.hubs.pypi.routes import PypiDialect
from mirror.index.sql import SqlIndex
from mirror.policy.epoch import Epoch
from mirror.proxy.documents import Documents
from mirror.proxy.flights import Flights
from mirror.proxy.gateway import Gateway
from mirror.proxy.recorder import Recorder
from mirror.proxy.rulebook import Rulebook, RuleSources
from mirror.proxy.shelf import Shelf
from mirror.proxy.tuning import Tuning
from mirror.reply.identify import Identification, groups_from
from mirror.reply.routing import Dialect
from mirror.store.archive import EvidenceArchive
from mirror.store.disk import DiskStore
from mirror.upstream.client import HttpUpstream, Limits
from mirror.web.front import Front, Hosts
from mirror.web.metrics import Metrics
from mirror.web.own import Own, Status
from mirror.web.server import Server

log = structlog.get_logger("mirror")

#: How long requests under way may take to finish after a signal, in seconds: less than the 30 s after which container
#: runtimes kill, for the ledger is closed behind them.
DRAIN: Final = 20.0
_CORRECTION: Final = timedelta(minutes=1)
SELF: Final = Actor(name="mirror")


class SystemClock:
    """The machine's clock without its small steps back, which are waited out: an event is not older than what led to it.

    A step of `_CORRECTION` or more is followed. Somebody has set a clock that was wrong; to wait for the wrong time to come
    would leave every page fresh, every age unchanged and every record misdated until then.
    """

    def __init__(self, wall: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._wall = wall
        self._latest = wall()

    def now(self) -> datetime:
        """The current instant."""
        found = self._wall()
        self._latest = self._latest if timedelta(0) < self._latest - found < _CORRECTION else found
        return self._latest


@dataclass(slots=True)
class Services:
    """A whole mirror, built and not yet listening."""

    config: Config
    front: Front
    own: Own
    gateway: Gateway
    rulebook: Rulebook
    ledger: SegmentLedger
    index: SqlIndex
    flights: Flights
    shelf: Shelf
    upstreams: Mapping[str, Upstream]
    metrics: Metrics
    status: Status
    closing: AsyncExitStack
    runners: list[web.ServerRunner] = field(default_factory=list)

    async def start(self) -> list[str]:
        """Listen; gives the URLs. The rules are watched from here on."""
        listen = self.config.listen
        context = _tls(self.config)
        urls = [await self._listen(Server(self.front), listen.host, listen.port, context)]
        for own in sorted(row.port for row in self.config.hubs.values() if row.port is not None):
            await self._listen(Server(self.front), listen.host, own, context)
        if listen.admin is not None:
            host, _, port = listen.admin.rpartition(":")
            await self._listen(Server(self.own.admin), host.strip("[]"), int(port), context)
        self.rulebook.watch(self._changed, self._failed)
        self.status.serving = True
        return urls

    async def _listen(self, server: Server, host: str, port: int, context: ssl.SSLContext | None) -> str:
        runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=DRAIN)
        await runner.setup()
        self.runners.append(runner)
        site = web.TCPSite(runner, host, port, ssl_context=context, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            raise InputError([Problem("listen", "", f"cannot listen on {host}:{port}: {error.strerror}")]) from error
        bound = runner.addresses[0]
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        return f"{'https' if context else 'http'}://{shown}:{bound[1]}"

    def greeting(self, urls: list[str]) -> list[str]:
        """What standard output says when the mirror is ready."""
        url = self.config.listen.public_url or urls[0]
        policy = self.config.policy.path or "built-in (refuses nothing)"
        return [
            f"mirror {__version__} ready on {urls[0]} (network {self.config.network}, policy {policy})",
            f"  export HF_ENDPOINT={url}",
            f"  export PIP_INDEX_URL={url}/pypi/simple/ UV_DEFAULT_INDEX={url}/pypi/simple/",
        ]

    async def stop(self) -> None:
        """Stop accepting, let requests under way finish, then close the ledger last.

        Whatever fails on the way, every later step is still taken: the counts that wait for the ledger's end above all.
        """
        self.status.serving = False
        self.ledger.flush()
        self.closing.push_async_callback(self._drain)
        self.closing.push_async_callback(self.rulebook.close)
        await self.closing.aclose()

    async def _drain(self) -> None:
        """`listen.admin` answers to the end: who asks it for readiness is told that this mirror is draining."""
        last = self.runners[-1:] if self.config.listen.admin is not None else []
        await asyncio.gather(*(runner.cleanup() for runner in self.runners if runner not in last))
        await asyncio.gather(*(runner.cleanup() for runner in last))

    async def _changed(self, epoch: Epoch) -> None:
        await keep_rules(self.gateway.recorder, epoch, self.config.lists)
        log.info("policy", number=epoch.number, digest=epoch.policy.digest)
        self._note("activated", epoch.policy.digest, {"epoch": epoch.number, "catalogue": epoch.catalogue.digest})

    async def _failed(self, error: InputError) -> None:
        log.error("policy not activated", problems=[str(problem) for problem in error.problems])
        current = self.rulebook.current.policy.digest
        self._note("rejected", current, {"problems": [str(problem) for problem in error.problems][:50]})

    def _note(self, outcome: str, subject: str, detail: Mapping[str, object]) -> None:
        extra = (("outcome", outcome), *sorted(detail.items()))
        try:
            self.ledger.record(Event(EventKind.POLICY, self.gateway.clock.now(), SELF, subject=subject, detail=extra))
        except LedgerDown:
            log.error("policy change not recorded", outcome=outcome)


async def build(config: Config) -> Services:
    """A mirror from its configuration. Raises `InputError` before anything was created on disk when rules are bad.

    Where it fails later - a data folder that cannot be used is an `InputError` too - what was opened is closed again.
    """
    clock = SystemClock()
    rulebook = Rulebook(RuleSources(config.policy.path, config.catalogue, config.lists), clock.now)
    async with AsyncExitStack() as opened:
        try:
            return await _build(config, clock, rulebook, opened)
        except OSError as error:
            raise InputError([Problem("data", "", f"{error.filename or config.data}: {error.strerror}")]) from error


async def _build(config: Config, clock: SystemClock, rulebook: Rulebook, opened: AsyncExitStack) -> Services:
    config.data.mkdir(parents=True, exist_ok=True)
    key = installation_key(config.data / "secret.key")
    metrics = Metrics()
    index, ledger = await _record(config, clock, rulebook.current, opened)
    upstreams = {name: _upstream(name, row, config) for name, row in config.hubs.items()}
    for upstream in upstreams.values():
        opened.push_async_callback(upstream.close)
    store = DiskStore(config.data, config.store.quota, config.store.min_free)
    offline = config.network == "offline"
    flights = Flights(
        store, upstreams.__getitem__, clock, tuning=Tuning(unverified_ranges=config.store.unverified_ranges)
    )
    recorder = Recorder(clock, os.urandom, ledger, EvidenceArchive(config.data / "evidence"), config.policy.contact)
    shelf = Shelf(index, store, clock)
    opened.push_async_callback(shelf.flush)
    opened.push_async_callback(flights.close)
    gateway = Gateway(
        clock=clock,
        epoch=lambda: rulebook.judging,
        recorder=recorder,
        documents=Documents(index, upstreams, clock, offline=offline),
        flights=flights,
        shelf=shelf,
        grants=index,
        places=index,
        offline=offline,
    )
    await keep_rules(recorder, rulebook.current, config.lists)
    identification = Identification(
        groups=groups_from(config.clients.groups),
        trusted_proxies=tuple(ipaddress.ip_network(text, strict=False) for text in config.listen.trusted_proxies),
        group_header=config.clients.header,
        key=key,
    )
    status = Status(started=time.time())
    own = Own(config.listen.admin is None, gateway, index, ledger, rulebook, metrics, status, config.listen.public_url)
    front = Front(
        dialects=[_dialect(name, row, gateway, upstreams[name], config) for name, row in config.hubs.items()],
        identification=identification,
        own=own.handlers,
        hosts=Hosts(config.listen.public_url, config.listen.host, "https" if config.listen.tls.cert else "http"),
        clock=clock,
        entropy=os.urandom,
        metrics=metrics,
        begin=rulebook.begin,
        ports={name: row.port for name, row in config.hubs.items() if row.port is not None},
    )
    return Services(
        config, front, own, gateway, rulebook, ledger, index, flights, shelf, upstreams, metrics, status, opened.pop_all()
    )


async def _record(
    config: Config, clock: SystemClock, epoch: Epoch, opened: AsyncExitStack
) -> tuple[SqlIndex, SegmentLedger]:
    """The ledger, and the index that follows it; closed in the order in which the last event still reaches both."""
    index = await SqlIndex.open(config.database.reveal() if config.database else None, config.data)
    opened.push_async_callback(index.close)
    directory = config.ledger.path or config.data / "ledger"
    feed = Feed(directory, index)
    ledger = SegmentLedger(directory, clock, reserve=config.ledger.reserve, on_durable=feed.advance)
    await ledger.start({"version": __version__, "policy": epoch.policy.digest})
    following = asyncio.create_task(feed.run(), name="index follows ledger")

    async def level() -> None:
        feed.close()
        await following

    opened.push_async_callback(level)
    opened.push_async_callback(ledger.close)
    return index, ledger


async def keep_rules(recorder: Recorder, epoch: Epoch, lists: Mapping[str, ListConfig]) -> None:
    """Archive everything that decisions under `epoch` will cite: policy, catalogue, lineage, lists. Says what is doubtful in it."""
    for problem in (*epoch.policy.warnings, *epoch.catalogue.doubts):
        log.warning("doubtful", problem=str(problem))
    await recorder.keep("policy", canonical([list(pair) for pair in epoch.policy.texts]))
    await recorder.keep("catalogue", epoch.catalogue.content)
    await recorder.keep("lineage", epoch.lineage.content)
    for name, row in lists.items():
        data = await asyncio.to_thread(row.source.read_bytes)
        kept = await recorder.keep("list", data)
        if kept != epoch.lists[name].digest:
            raise InputError([Problem(str(row.source), "", "was written while it was being archived")])


def installation_key(path: Path) -> bytes:
    """The installation's own secret (32 bytes), made at first start, readable by its owner only.

    Raises `InputError` for a file that holds anything else: under a part of a key, fingerprints could be guessed.
    """
    if not path.exists():
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was first: its key is the installation's
            os.link(fresh, path)
        fresh.unlink()
    key = path.read_bytes()
    if len(key) != 32:
        raise InputError([Problem(str(path), "", f"holds {len(key)} bytes where an installation's key has 32")])
    return key


def _upstream(name: str, row: HubConfig, config: Config) -> HttpUpstream:
    # A private index is a place that files and pages come from, like any other origin.
    private = ("{0.scheme}://{0.netloc}".format(urlsplit(row.private.upstream)),) if row.private.upstream else ()
    return HttpUpstream(
        name,
        row.upstreams,
        (*(row.origins or ()), *private),
        token=row.token.reveal() if row.token else None,
        proxy=config.outbound.proxy,
        ca=config.outbound.ca,
        limits=Limits(
            connect=row.timeouts.connect.total_seconds(),
            read=row.timeouts.read.total_seconds(),
            user_agent=f"entrepot/{__version__}",
        ),
    )


def _dialect(name: str, row: HubConfig, gateway: Gateway, upstream: Upstream, config: Config) -> Dialect:
    """One configured hub, registered with the gateway."""
    if row.dialect == "pypi":
        index = PypiHub(
            Settings(
                name=name,
                mount=row.mount,
                hosts=row.hosts,
                upstreams=row.upstreams,
                index=row.index,
                private_names=row.private.names,
                private_upstream=row.private.upstream,
                denied_project=row.denied_project,
            ),
            gateway,
        )
        gateway.register(index)
        return PypiDialect(index, gateway)
    options = Options(
        name=name,
        upstream_origins=tuple("{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in row.upstreams),
        mount=row.mount,
        hosts=row.hosts,
        token=row.token is not None,
        credentials=row.credentials,
        online=row.grants.online,
        outage=row.grants.outage,
        unknown_routes=row.unknown_routes,
        gone=row.gone,
        lineage_patience=config.lineage.patience.total_seconds(),
    )
    hub = HuggingFaceHub(options, upstream, gateway)
    gateway.register(hub)
    return hub


def _tls(config: Config) -> ssl.SSLContext | None:
    tls = config.listen.tls
    if tls.cert is None or tls.key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.cert, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise InputError([Problem("listen.tls", "", f"cannot load certificate and key: {error}")]) from error
    context.set_alpn_protocols(["http/1.1"])
    return context
