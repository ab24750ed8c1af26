"""A whole mirror in this process - real sockets, files, index and ledger - in front of a stand-in hub."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from mirror.audit.ledger import SegmentLedger
from mirror.hubs.huggingface.hub import HuggingFaceHub
from mirror.hubs.huggingface.options import Options
from mirror.proxy.documents import Documents
from mirror.proxy.flights import Flights
from mirror.proxy.gateway import Gateway
from mirror.proxy.recorder import Recorder
from mirror.proxy.rulebook import Rulebook, RuleSources
from mirror.proxy.shelf import Shelf
from mirror.reply.identify import Identification
from mirror.store.archive import EvidenceArchive
from mirror.store.disk import DiskStore
from mirror.upstream.client import HttpUpstream, Limits
from mirror.web.front import Front, Hosts
from mirror.web.metrics import Metrics
from mirror.web.server import Server
from tests.support.database import index_in
from tests.support.standin.defaults import populate
from tests.support.standin.hub import StandInHub


class MovableClock:
    """The real time, and however much later a test wants it to be."""

    def __init__(self) -> None:
        self.later = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.later


@dataclass
class Reply:
    status: int
    headers: Any
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Mirror:
    """A mirror that listens, and what a test may want to reach inside for."""

    url: str
    folder: Path
    hub: HuggingFaceHub
    gateway: Gateway
    clock: MovableClock
    session: aiohttp.ClientSession
    book: Rulebook
    front: Front
    server: Server

    async def new_rules(self, text: str) -> None:
        """Change the policy file, and have it in force when this returns."""

        async def taken(_: object) -> None:
            pass

        (self.folder / "policy.yaml").write_text(text)
        await self.book.refresh(taken, taken)

    async def get(self, target: str, token: str | None = None, method: str = "GET", **headers: str) -> Reply:
        """One request; the target goes out byte for byte, redirects are not followed."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        async with self.session.request(
            method, URL(self.url + target, encoded=True), headers=sent, allow_redirects=False
        ) as answer:
            return Reply(answer.status, answer.headers.copy(), await answer.read())

    async def post(self, target: str, **options: Any) -> Reply:
        async with self.session.post(URL(self.url + target, encoded=True), allow_redirects=False, **options) as answer:
            return Reply(answer.status, answer.headers.copy(), await answer.read())

    def pass_time(self, **units: float) -> None:
        self.clock.later += timedelta(**units)

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """The ledger's records so far, read from its segments."""
        paths = sorted((self.folder / "ledger").glob("segment-*.jsonl"))
        rows = [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]
        return [row for row in rows if not kinds or row.get("kind") in kinds]


@asynccontextmanager
async def mirror_of(standin: StandInHub, folder: Path, policy: str = "", **options: Any) -> AsyncIterator[Mirror]:
    """A mirror in front of `standin`; a second one on the same folder finds what the first one left."""
    folder.mkdir(parents=True, exist_ok=True)
    rules = folder / "policy.yaml"
    rules.write_text(policy or "version: 1\nrules: []\n")
    offline, token = options.pop("offline", False), options.pop("token", None)
    public_url, who = options.pop("public_url", None), options.pop("identification", None)
    clock = MovableClock()
    book = Rulebook(RuleSources(rules, (), {}), clock.now)
    index = await index_in(folder)
    ledger = SegmentLedger(folder / "ledger", clock, reserve=1 << 16)
    await ledger.start({})
    upstream = HttpUpstream(
        "huggingface", [standin.url, *options.pop("replicas", ())], [standin.cdn_url, standin.viewer_url], token=token, limits=options.pop("limits", Limits(connect=1.0, backoff=0.01))
    )
    upstreams = {"huggingface": upstream}
    store = DiskStore(folder / "store", quota=options.pop("quota", None))
    flights = Flights(store, upstreams.__getitem__, clock, tuning=options.pop("tuning", None))
    gateway = Gateway(
        clock=clock,
        epoch=lambda: book.current,
        recorder=Recorder(clock, os.urandom, ledger, EvidenceArchive(folder / "evidence"), "https://ask.example"),
        documents=Documents(index, upstreams, clock, offline=offline),
        flights=flights,
        shelf=Shelf(index, store, clock),
        grants=index,
        places=index,
        offline=offline,
    )
    hub = HuggingFaceHub(
        Options("huggingface", (standin.url,), token=token is not None, **options), upstream, gateway
    )
    gateway.register(hub)
    front = Front(
        dialects=[hub], identification=who or Identification((), (), None, b"k" * 32), own={},
        hosts=Hosts(public_url, "127.0.0.1", "http"), clock=clock, entropy=os.urandom, metrics=Metrics(), once_more=gateway.once_more,
    )  # fmt: skip
    server = Server(front, repeats=front.repeats)
    runner = web.ServerRunner(server, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(auto_decompress=True) as session:
        yield Mirror(f"http://127.0.0.1:{runner.addresses[0][1]}", folder, hub, gateway, clock, session, book, front, server)
    await runner.cleanup()
    await flights.close()
    await upstream.close()
    await ledger.close()
    await gateway.written()
    await index.close()


@pytest.fixture
async def standin() -> AsyncIterator[StandInHub]:
    async with populate(StandInHub()) as hub:
        yield hub


@pytest.fixture
async def mirror(standin: StandInHub, tmp_path: Path) -> AsyncIterator[Mirror]:
    async with mirror_of(standin, tmp_path / "m") as running:
        yield running
