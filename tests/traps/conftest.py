"""A whole mirror in this process with both hubs - real sockets, files, index and ledger - in front of both stand-ins."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from mirror.audit.ledger import SegmentLedger
from mirror.hubs.huggingface.hub import HuggingFaceHub
from mirror.hubs.huggingface.options import Options
from mirror.hubs.pypi.hub import PypiHub, Settings
from mirror.hubs.pypi.routes import PypiDialect
from mirror.proxy.documents import Documents
from mirror.proxy.flights import Flights
from mirror.proxy.gateway import Gateway
from mirror.proxy.recorder import Recorder
from mirror.proxy.rulebook import Rulebook, RuleSources
from mirror.proxy.shelf import Shelf
from mirror.reply.identify import Identification
from mirror.reply.routing import Dialect
from mirror.store.archive import EvidenceArchive
from mirror.store.disk import DiskStore
from mirror.upstream.client import HttpUpstream, Limits
from mirror.web.front import Front, Hosts
from mirror.web.metrics import Metrics
from mirror.web.server import Server
from tests.hubs.huggingface.conftest import Mirror, MovableClock
from tests.support.database import index_in
from tests.support.standin.defaults import populate
from tests.support.standin.hub import StandInHub
from tests.support.standin.index import StandInIndex
from tests.support.standin.index_defaults import populate_index

ALLOW = "version: 1\nrules: []\n"


def front_of(dialects: Sequence[Dialect], clock: MovableClock, public_url: str | None = None) -> Front:
    """The front door for these dialects; without `public_url` it answers to loopback names only."""
    return Front(
        dialects=dialects, identification=Identification((), (), None, b"k" * 32), own={},
        hosts=Hosts(public_url, "127.0.0.1", "http"), clock=clock, entropy=os.urandom, metrics=Metrics(),
    )  # fmt: skip


@asynccontextmanager
async def listening(server: Server) -> AsyncIterator[str]:
    """The product's own server on a free port of loopback."""
    runner = web.ServerRunner(server, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def house(
    folder: Path, hub: StandInHub | None = None, index: StandInIndex | None = None, policy: str = ALLOW,
    public_url: str | None = None, denied_project: str = "list", unknown_routes: str = "refuse", read: float = 8.0,
) -> AsyncIterator[Mirror]:
    """A mirror in front of the stand-ins given; a second one on the same folder finds what the first one left."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.yaml").write_text(policy)
    clock = MovableClock()
    book = Rulebook(RuleSources(folder / "policy.yaml", (), {}), clock.now)
    sql = await index_in(folder)
    ledger = SegmentLedger(folder / "ledger", clock, reserve=1 << 16)
    await ledger.start({})
    limits = Limits(connect=1.0, read=read, backoff=0.01)
    upstreams: dict[str, HttpUpstream] = {}
    if hub is not None:
        upstreams["huggingface"] = HttpUpstream("huggingface", [hub.url], [hub.cdn_url], limits=limits)
    if index is not None:
        upstreams["pypi"] = HttpUpstream("pypi", [index.url], [index.files_url], limits=limits)
    store = DiskStore(folder / "store")
    flights = Flights(store, upstreams.__getitem__, clock)
    gateway = Gateway(
        clock=clock, epoch=lambda: book.current, documents=Documents(sql, upstreams, clock, offline=False),
        recorder=Recorder(clock, os.urandom, ledger, EvidenceArchive(folder / "evidence"), None),
        flights=flights, shelf=Shelf(sql, store, clock), grants=sql, places=sql, offline=False,
    )  # fmt: skip
    dialects: list[Dialect] = []
    faces = None
    if hub is not None:
        faces = HuggingFaceHub(Options("huggingface", (hub.url,), unknown_routes=unknown_routes), upstreams["huggingface"], gateway)
        gateway.register(faces)
        dialects.append(faces)
    if index is not None:
        wheels = PypiHub(Settings(upstreams=(index.url,), denied_project=denied_project), gateway)
        gateway.register(wheels)
        dialects.append(PypiDialect(wheels, gateway))
    try:
        # Bytes as they came: no coding is asked for unasked, none is undone.
        plain = aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=("Accept-Encoding",))
        front = front_of(dialects, clock, public_url)
        server = Server(front, repeats=front.repeats)
        async with listening(server) as url, plain as session:
            yield Mirror(url, folder, faces, gateway, clock, session, book, front, server)
    finally:
        await flights.close()
        for upstream in upstreams.values():
            await upstream.close()
        await ledger.close()
        await gateway.written()
        await sql.close()


@pytest.fixture
async def hub() -> AsyncIterator[StandInHub]:
    async with populate(StandInHub()) as running:
        yield running


@pytest.fixture
async def index() -> AsyncIterator[StandInIndex]:
    async with populate_index(StandInIndex()) as running:
        yield running
