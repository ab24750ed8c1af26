"""Large files through the Xet store: the real hf_xet in its worker, a flight, a store on disk, and a stand-in that goes wrong."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mirror.core.actor import Credential
from mirror.core.errors import HostNotAllowed, HubSaysNo, IntegrityError, UpstreamDown
from mirror.core.nouns import Digest
from mirror.core.ports import Ask, Source
from mirror.proxy.flights import Flights, Tuning
from mirror.proxy.tuning import Lanes
from mirror.store.disk import DiskStore
from mirror.upstream.client import HttpUpstream, Limits
from mirror.upstream.xet import LargeFileUpstream, XetLimits
from tests.proxy.flight_fixture import WallClock, all_of, some_of
from tests.support.standin.hub import StandInHub

MIB = 1024 * 1024
SIZE = 40 * MIB + 12_345
DATA = random.Random(7).randbytes(SIZE)
DIGEST = Digest("sha256", hashlib.sha256(DATA).hexdigest())
XORBS = "/xorbs/*"


@dataclass
class Site:
    hub: StandInHub
    upstream: LargeFileUpstream
    store: DiskStore
    flights: Flights
    faults: list

    def source(self, repo: str = "acme/big", credential: Credential | None = None) -> Source:
        head = self.hub.repo(repo).head
        ask = Ask(f"/{repo}/resolve/{head}/model.bin", follow=True, credential=credential, xet=f"/api/models/{repo}/xet-read-token/{head}")
        return Source(ask, DIGEST, SIZE)

    def fetched(self) -> int:
        """How many bytes of xorbs were asked for so far."""
        spans = [call.headers["Range"].removeprefix("bytes=").split("-") for call in self.hub.requests.where(origin="cas", path=XORBS)]
        return sum(int(last) - int(first) + 1 for first, last in spans)


def workers() -> list[int]:
    """The process ids of this process's Xet workers."""
    return workers_of(os.getpid())


def workers_of(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b"xet_worker" in (entry / "cmdline").read_bytes():
                row = (entry / "stat").read_text().rpartition(")")[2].split()
                found += [int(entry.name)] if int(row[1]) == parent and row[0] != "Z" else []
        except OSError:
            pass
    return found


async def until(what: Callable[[], object]) -> None:
    while not what():
        await asyncio.sleep(0.02)


@asynccontextmanager
async def site(folder: Path, *, origins: list[str] | None = None, tuning: Tuning | None = None, **limits: float) -> AsyncIterator[Site]:
    hub = StandInHub()
    hub.add_repo("model", "acme/big", {"config.json": b"{}"}, {"model.bin": DATA})
    hub.add_repo("model", "acme/gated", {"config.json": b"{}"}, {"model.bin": DATA}, gated="manual", tokens_allowed={"hf_in"})
    hub.add_token("hf_in", "in")
    hub.add_token("hf_out", "out")
    async with hub:
        permitted = [hub.cdn_url, hub.cas_url] if origins is None else origins
        plain = HttpUpstream("huggingface", [hub.url], permitted, limits=Limits(connect=1.0, backoff=0.01))
        upstream = LargeFileUpstream(plain, [hub.url], permitted, folder / "xet", limits=XetLimits(**limits))
        store = DiskStore(folder / "store")
        flights = Flights(store, lambda _: upstream, WallClock(), tuning=tuning or Tuning(backoff=0.01, checkpoint=0.05, patience=30.0))
        here = Site(hub, upstream, store, flights, [])

        async def fault(*what: object) -> None:
            here.faults.append(what)

        flights.on_fault = fault
        try:
            yield here
        finally:
            await flights.close()
            await upstream.close()
            await store.close()
            assert not workers()


async def test_a_file_comes_whole_and_each_byte_once(tmp_path: Path) -> None:
    """40 MiB arrive through worker, flight and store with the right digest; the store is asked for each byte once, the CDN for none."""
    lanes = Lanes(part=4 * MIB, above=8 * MIB)  # over HTTP a file of this size would come in parts
    async with site(tmp_path, tuning=Tuning(patience=30.0, lanes=lanes)) as here:
        body = await here.flights.join("k", "hub", here.source())
        assert await all_of(body) == DATA
        await body.close()
        assert len(here.hub.requests.where(path="*/xet-read-token/*")) == 1
        assert (await here.store.find(DIGEST)) is not None
        assert SIZE < here.fetched() < SIZE * 1.01
        assert not here.hub.requests.where(origin="cdn")
        assert not here.hub.requests.where(path="*/telemetry")


async def test_a_part_is_fetched_as_a_part(tmp_path: Path) -> None:
    """A range is answered as HTTP would, with the right bytes, for little more than was asked for; past the end it is 416."""
    async with site(tmp_path) as here:
        ask = here.source().ask
        part = Ask(ask.target, headers={"Range": f"bytes={30 * MIB}-{31 * MIB - 1}"}, xet=ask.xet)
        async with here.upstream.stream(part) as stream:
            assert (stream.status, stream.header("content-range")) == (206, f"bytes {30 * MIB}-{31 * MIB - 1}/{SIZE}")
            assert b"".join([chunk async for chunk in stream.chunks()]) == DATA[30 * MIB : 31 * MIB]
        assert here.fetched() < 6 * MIB
        async with here.upstream.stream(Ask(ask.target, headers={"Range": f"bytes={SIZE}-"}, xet=ask.xet)) as stream:
            assert (stream.status, [chunk async for chunk in stream.chunks()]) == (416, [])


async def test_a_flipped_byte_never_completes(tmp_path: Path) -> None:
    """hf_xet takes a flipped byte for good; the flight does not: no reader gets the end, nothing is stored, the fault is recorded."""
    async with site(tmp_path) as here:
        here.hub.faults.add("flip", XORBS, origin="cas", at=8 + 1000)
        body = await here.flights.join("k", "hub", here.source())
        got, error = await some_of(body)
        assert isinstance(error, IntegrityError)
        assert len(got) < SIZE
        assert await here.store.find(DIGEST) is None
        assert here.faults


async def test_a_killed_worker_is_followed_by_one_that_goes_on(tmp_path: Path) -> None:
    """After kill -9 of the worker in the middle the reader still gets every byte, and far less than the file is fetched again."""
    async with site(tmp_path) as here:
        slow = here.hub.faults.add("throttle", XORBS, origin="cas", rate=20 * MIB)
        body = await here.flights.join("k", "hub", here.source())
        reading = asyncio.create_task(all_of(body))
        await until(lambda: (here.flights.in_flight("k") or (0, 0))[0] > 16 * MIB)
        before = (here.flights.in_flight("k") or (0, 0))[0]
        fetched = here.fetched()
        (worker,) = workers()
        os.kill(worker, signal.SIGKILL)
        here.hub.faults.remove(slow)
        assert await reading == DATA
        again = here.fetched() - fetched
        assert again < SIZE - before + 5 * MIB  # what was missing, from the beginning of the term that holds its first byte


async def test_a_stalled_store_is_left_and_asked_again(tmp_path: Path) -> None:
    """When no byte comes for the limit the worker is killed, and a new one goes on from what is on disk."""
    async with site(tmp_path, stall=3.0) as here:
        stalled = here.hub.faults.add("hang_body", XORBS, origin="cas", skip=6, at=100_000)
        body = await here.flights.join("k", "hub", here.source())
        reading = asyncio.create_task(all_of(body))
        await until(lambda: workers() and here.hub.faults.hits(stalled) > 6)
        (first,) = workers()
        await until(lambda: first not in workers())
        arrived = (here.flights.in_flight("k") or (0, 0))[0]
        assert 0 < arrived < SIZE
        here.hub.faults.clear()
        assert await reading == DATA


async def test_what_expires_in_the_middle_is_asked_for_anew(tmp_path: Path) -> None:
    """Signed URLs of the store that expire, connections that it cuts, and a token that runs out cost no reader a byte."""
    async with site(tmp_path) as here:
        here.hub.faults.add("drop_fin", XORBS, origin="cas", times=2, at=70_000)
        here.hub.faults.add("status", XORBS, origin="cas", status=403, skip=4, times=1)
        body = await here.flights.join("k", "hub", here.source())
        assert await all_of(body) == DATA
    async with site(tmp_path / "token") as here:
        refused = here.hub.faults.add("status", "*/reconstructions/*", origin="cas", status=401, times=1)
        body = await here.flights.join("k", "hub", here.source())
        assert await all_of(body) == DATA
        assert here.hub.faults.hits(refused) > 1
        assert len(here.hub.requests.where(path="*/xet-read-token/*")) == 2


async def test_a_store_of_the_first_protocol_will_do(tmp_path: Path) -> None:
    """Where the store does not know the second form of reconstructions, the file comes by the first."""
    async with site(tmp_path) as here:
        here.hub.faults.add("status", "/v2/reconstructions/*", origin="cas", status=404)
        body = await here.flights.join("k", "hub", here.source())
        assert await all_of(body) == DATA
        assert here.hub.requests.where(origin="cas", path="/v1/reconstructions/*")


async def test_only_who_may_read_has_the_store_asked(tmp_path: Path) -> None:
    """For a gated file the hub's own no is passed on and the store never hears of it; its token travels to the hub alone."""
    async with site(tmp_path) as here:
        refused = here.source("acme/gated", Credential("Bearer hf_out", "out"))
        with pytest.raises(HubSaysNo) as no:
            await here.flights.join("out", "hub", refused)
        assert (no.value.status, no.value.code) == (403, "GatedRepo")
        assert not here.hub.requests.where(origin="cas")
        body = await here.flights.join("in", "hub", here.source("acme/gated", Credential("Bearer hf_in", "in")))
        assert await all_of(body) == DATA
        told = here.hub.requests.where(origin="cas")
        assert told
        assert not [call for call in told if "hf_in" in str(call.headers)]


async def test_a_store_that_is_not_on_the_list_is_not_asked(tmp_path: Path) -> None:
    """Where the hub sends us to a store that neither upstreams nor origins name, nothing is sent there, and the error names it."""
    async with site(tmp_path, origins=[]) as here:
        with pytest.raises(HostNotAllowed, match=here.hub.cas_url):
            await here.flights.join("k", "hub", here.source())
        assert not here.hub.requests.where(origin="cas")


async def test_hf_xet_is_not_sent_elsewhere_by_the_store(tmp_path: Path) -> None:
    """Where a permitted store says that its data lie on a host that is not on the list, hf_xet does not get there, and the error names it."""
    async with site(tmp_path) as here:
        here.hub.xorb_url = here.hub.viewer_url
        body = await here.flights.join("k", "hub", here.source())
        _, error = await some_of(body)
        assert isinstance(error, HostNotAllowed)
        assert here.hub.viewer_url in str(error)
        assert here.hub.requests.where(origin="cas")
        assert not here.hub.requests.where(origin="viewer")


async def test_what_the_hub_does_not_keep_in_the_store_comes_plainly(tmp_path: Path) -> None:
    """A large file without a Xet hash is fetched over HTTP as any other."""
    async with site(tmp_path) as here:
        here.hub.xet = False
        body = await here.flights.join("k", "hub", here.source())
        assert await all_of(body) == DATA
        assert not here.hub.requests.where(origin="cas")


async def test_a_worker_without_memory_ends_as_an_upstream_that_is_down(tmp_path: Path) -> None:
    """A worker that would need more than its limit ends in an error of the upstream, and takes nothing with it."""
    async with site(tmp_path, memory=24 * MIB, tuning=Tuning(backoff=0.01, tries=1, patience=30.0)) as here:
        with pytest.raises(UpstreamDown, match="hf_xet"):
            await all_of(await here.flights.join("k", "hub", here.source()))


async def test_what_nobody_takes_is_not_fetched(tmp_path: Path) -> None:
    """With a reader who waits, the worker's memory and what it has fetched stay bounded, by far less than the file."""
    large = DATA * 8  # 320 MiB
    async with site(tmp_path) as here:
        repo = here.hub.add_repo("model", "acme/larger", lfs={"model.bin": large})
        ask = Ask(f"/acme/larger/resolve/{repo.head}/model.bin", xet=f"/api/models/acme/larger/xet-read-token/{repo.head}")
        async with here.upstream.stream(ask) as stream:
            chunks = stream.chunks()
            await anext(chunks)
            seen = -1
            while seen != here.fetched():  # until it asks for no more
                seen = here.fetched()
                await asyncio.sleep(0.7)
            (worker,) = workers()
            rows = dict(line.split(":", 1) for line in Path(f"/proc/{worker}/status").read_text().splitlines())
            assert int(rows["VmHWM"].split()[0]) < 300 * 1024
            assert seen < 256 * MIB < len(large)


async def test_a_worker_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """When a read is given up the worker is gone at once; none is left when the upstream is closed."""
    async with site(tmp_path) as here:
        here.hub.faults.add("throttle", XORBS, origin="cas", rate=MIB)
        ask = here.source().ask
        streaming = asyncio.create_task(_drain(here, ask))
        await until(workers)
        streaming.cancel()
        await asyncio.gather(streaming, return_exceptions=True)
        assert not workers()


async def _drain(here: Site, ask: Ask) -> None:
    async with here.upstream.stream(ask) as stream:
        async for _ in stream.chunks():
            pass
