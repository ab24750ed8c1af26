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
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
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

#: How long requests under way may take to finish after a signal.
DRAIN: Final = 30.0
SELF: Final = Actor(name="mirror")


class SystemClock:
    """The machine's clock, which never runs backwards within one process (`now` is monotonic)."""

    def __init__(self) -> None:
        self._wall = datetime.now(UTC)
        self._latest = self._wall

    def now(self) -> datetime:
        """The current instant, never earlier than one that was given before."""
        self._latest = max(self._latest, datetime.now(UTC))
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
    feed: Feed
    following: asyncio.Task[None]
    runners: list[web.ServerRunner] = field(default_factory=list)

    async def start(self) -> list[str]:
        """Listen; gives the URLs. The rules are watched from here on."""
        listen = self.config.listen
        context = _tls(self.config)
        urls = [await self._listen(Server(self.front), listen.host, listen.port, context)]
        for port in sorted(row.port for row in self.config.hubs.values() if row.port is not None):
            await self._listen(Server(self.front), listen.host, port, context)
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
        """Stop accepting, let requests under way finish, then close the ledger last."""
        self.status.serving = False
        await self.rulebook.close()
        # `listen.admin` answers to the end: who asks it for readiness is told that this mirror is draining.
        admin = self.runners[-1:] if self.config.listen.admin is not None else []
        await asyncio.gather(*(runner.cleanup() for runner in self.runners if runner not in admin))
        await asyncio.gather(*(runner.cleanup() for runner in admin))
        await self.flights.close()
        await self.shelf.flush()
        for upstream in self.upstreams.values():
            await upstream.close()
        await self.ledger.close()
        self.feed.close()
        await self.following
        await self.index.close()

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
    """A mirror from its configuration. Raises `InputError` before anything was created on disk when rules are bad."""
    clock = SystemClock()
    rulebook = Rulebook(RuleSources(config.policy.path, config.catalogue, config.lists), clock.now)
    config.data.mkdir(parents=True, exist_ok=True)
    metrics = Metrics()
    index = await SqlIndex.open(config.database.reveal() if config.database else None, config.data)
    directory = config.ledger.path or config.data / "ledger"
    feed = Feed(directory, index)
    ledger = SegmentLedger(directory, clock, reserve=config.ledger.reserve, on_durable=feed.advance)
    await ledger.start({"version": __version__, "policy": rulebook.current.policy.digest})
    following = asyncio.create_task(feed.run(), name="index follows ledger")
    upstreams = {name: _upstream(name, row, config) for name, row in config.hubs.items()}
    store = DiskStore(config.data, config.store.quota, config.store.min_free)
    offline = config.network == "offline"
    flights = Flights(
        store, upstreams.__getitem__, clock, tuning=Tuning(unverified_ranges=config.store.unverified_ranges)
    )
    recorder = Recorder(clock, os.urandom, ledger, EvidenceArchive(config.data / "evidence"), config.policy.contact)
    shelf = Shelf(index, store, clock)
    gateway = Gateway(
        clock=clock,
        epoch=lambda: rulebook.current,
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
        key=installation_key(config.data / "secret.key"),
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
        ports={name: row.port for name, row in config.hubs.items() if row.port is not None},
    )
    return Services(
        config, front, own, gateway, rulebook, ledger, index, flights, shelf, upstreams, metrics, status, feed, following
    )


async def keep_rules(recorder: Recorder, epoch: Epoch, lists: Mapping[str, ListConfig]) -> None:
    """Archive everything that decisions under `epoch` will cite: policy, catalogue, lineage, lists."""
    await recorder.keep("policy", canonical([list(pair) for pair in epoch.policy.texts]))
    await recorder.keep("catalogue", epoch.catalogue.content)
    await recorder.keep("lineage", epoch.lineage.content)
    for name, row in lists.items():
        data = await asyncio.to_thread(row.source.read_bytes)
        kept = await recorder.keep("list", data)
        if kept != epoch.lists[name].digest:
            log.warning("list changed while it was being archived", list=name)


def installation_key(path: Path) -> bytes:
    """The installation's own secret (32 bytes), made at first start, readable by its owner only."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        key = secrets.token_bytes(32)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
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
