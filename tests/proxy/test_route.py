"""The signed URL to which the hub sends us is used until it is refused or over, and the hub is asked no more than that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from mirror.core.actor import Credential
from mirror.core.errors import HostNotAllowed, HubSaysNo
from mirror.core.ports import Ask, Source
from mirror.proxy.flights import Flights
from mirror.proxy.route import expiry
from mirror.proxy.tuning import Lanes
from mirror.store.disk import DiskStore
from mirror.upstream.client import HttpUpstream, Limits
from tests.proxy.flight_fixture import FAST, MIB, Field, WallClock, all_of, declared, noise, some_of
from tests.support.standin.hub import StandInHub

DATA = noise(20 * MIB + 77, seed=21)
PARTS = replace(FAST, lanes=Lanes(parallel=4, part=MIB, above=4 * MIB))
RESOLVE = "/acme/large/resolve/main/model.bin"


class LaterClock(WallClock):
    later = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.later


@asynccontextmanager
async def behind(root: Path, gated: bool = False) -> AsyncIterator[tuple[Field, StandInHub, LaterClock]]:
    """Flights in front of a stand-in hub with one large file."""
    async with StandInHub() as hub:
        hub.add_repo("model", "acme/large", {"config.json": b"{}"}, {"model.bin": DATA}, gated="manual" if gated else False)
        upstream = HttpUpstream("hub", [hub.url], [hub.cdn_url], limits=Limits(connect=1.0, read=2.0, backoff=0.01))
        clock = LaterClock()
        store = DiskStore(root)
        flights = Flights(store, lambda _: upstream, clock, tuning=PARTS)
        try:
            yield Field(store, flights, None, upstream), hub, clock
        finally:
            await flights.close()
            await upstream.close()
            await store.close()


def source(**changes: object) -> Source:
    return Source(Ask(RESOLVE, follow=True, **changes), declared(DATA), len(DATA))


def asked(hub: StandInHub) -> tuple[int, int]:
    """How often the hub was asked for the file, and how often the CDN."""
    return len(hub.requests.where(origin="hub", path=RESOLVE)), len(hub.requests.where(origin="cdn"))


async def test_many_parts_cost_one_request_to_the_hub(tmp_path):
    """A file in twenty-one parts is resolved once, by a request that counts as a download once."""
    async with behind(tmp_path) as (here, hub, _):
        body = await here.join(source(headers={"X-HF-Download-Counter": "1"}))
        assert await all_of(body) == DATA
        assert asked(hub) == (1, 21)
        assert [call.headers.get("X-HF-Download-Counter") for call in hub.requests.where(origin="cdn")] == [None] * 21


async def test_cuts_are_resumed_at_the_same_url(tmp_path):
    """After cuts the rest is asked of the CDN at once, not of the hub again."""
    async with behind(tmp_path) as (here, hub, _):
        hub.faults.add("drop_fin", origin="cdn", skip=2, times=3, at=300_000)
        assert await all_of(await here.join(source())) == DATA
        assert asked(hub)[0] == 1


async def test_a_refused_url_is_renewed_once(tmp_path):
    """When signed URLs expire in mid-file, every part goes on by one new one, and no reader notices."""
    async with behind(tmp_path) as (here, hub, _):
        hub.faults.add("throttle", origin="cdn", rate=8 * MIB)
        body = await here.join(source())
        while here.flights.in_flight("k")[0] < 6 * MIB:
            await asyncio.sleep(0.005)
        hub.expire_signed_urls()
        assert await all_of(body) == DATA
        assert asked(hub)[0] == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
async def test_whatever_the_refusal_the_hub_is_asked_anew(tmp_path, status):
    """A refusal by the CDN is no word of the hub's: the hub is asked, and the file arrives."""
    async with behind(tmp_path) as (here, hub, _):
        hub.faults.add("status", origin="cdn", skip=3, times=1, status=status)
        assert await all_of(await here.join(source())) == DATA
        assert asked(hub)[0] == 2


async def test_after_its_visible_expiry_it_is_not_used(tmp_path):
    """A URL that says itself that it is over is not tried."""
    async with behind(tmp_path) as (here, hub, clock):
        hub.faults.add("throttle", origin="cdn", rate=8 * MIB)
        body = await here.join(source())
        while here.flights.in_flight("k")[0] < 4 * MIB:
            await asyncio.sleep(0.005)
        clock.later = timedelta(hours=2)  # ours alone: what the stand-in signs is good for one hour
        assert await all_of(body) == DATA
        assert asked(hub)[0] > 2


async def test_the_credential_stays_with_the_hub(tmp_path):
    """A gated file's parts come from the CDN without the caller's token, whose answer to one would be 400."""
    async with behind(tmp_path, gated=True) as (here, hub, _):
        hub.add_token("hf_alice", "alice")
        hub.repo("acme/large").tokens_allowed.add("hf_alice")
        credential = Credential("Bearer hf_alice", "f1")
        body = await here.join(source(credential=credential, first_only=True))
        assert await all_of(body) == DATA
        assert asked(hub) == (1, 21)
        assert all("Authorization" not in call.headers for call in hub.requests.where(origin="cdn"))


async def test_what_the_hub_refuses_in_mid_file_ends_it(tmp_path):
    """Renewal is the hub's to give: where it says no by then, the reader ends short with its word."""
    async with behind(tmp_path) as (here, hub, _):
        hub.faults.add("throttle", origin="cdn", rate=4 * MIB)
        body = await here.join(source())
        while here.flights.in_flight("k")[0] < 4 * MIB:
            await asyncio.sleep(0.005)
        hub.repo("acme/large").gated = "manual"
        hub.expire_signed_urls()
        got, error = await some_of(body)
        assert isinstance(error, HubSaysNo)
        assert DATA.startswith(got)


async def test_a_renewed_redirect_inward_is_not_followed(tmp_path):
    """A redirect to an address that no configuration names ends the transfer, at the first part and at a later one."""
    inside = []

    async def secret(request: web.BaseRequest) -> web.Response:
        inside.append(request)
        return web.Response(body=DATA)

    runner = web.ServerRunner(web.Server(secret))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with behind(tmp_path) as (here, hub, _):
            hub.faults.add("redirect", origin="hub", path=RESOLVE, skip=1, location=f"http://127.0.0.1:{runner.addresses[0][1]}/latest")
            hub.faults.add("status", origin="cdn", skip=3, status=403)
            got, error = await some_of(await here.join(source()))
            assert isinstance(error, HostNotAllowed)
            assert DATA.startswith(got)
            assert inside == []
    finally:
        await runner.cleanup()


async def test_the_url_is_not_on_disk(tmp_path):
    """Nothing that a flight writes holds the URL, nor does what an error says."""
    async with behind(tmp_path) as (here, hub, _):
        hub.faults.add("status", origin="cdn", skip=5, status=503)
        got, error = await some_of(await here.join(source()))
        assert error is not None
        assert "Signature" not in str(error) + repr(error)
        await here.quiet()
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert files
        assert not any(b"Signature" in path.read_bytes() for path in files)


@pytest.mark.parametrize(
    ("query", "until"),
    [
        ("Expires=1767225600&Signature=x", datetime(2026, 1, 1, tzinfo=UTC)),
        ("X-Amz-Date=20260101T000000Z&X-Amz-Expires=3600", datetime(2026, 1, 1, 1, tzinfo=UTC)),
        ("x-goog-date=20260101T000000Z&x-goog-expires=60", datetime(2026, 1, 1, 0, 1, tzinfo=UTC)),
        ("se=2026-01-01T00%3A00%3A00Z&sig=y", datetime(2026, 1, 1, tzinfo=UTC)),
        ("Expires=soon", None),
        ("Expires=99999999999999999999", None),
        ("X-Amz-Date=20261301T000000Z&X-Amz-Expires=5", None),
        ("download=true", None),
    ],
)
def test_visible_expiry(query, until):
    """The forms in which the common stores write a URL's end are read; anything else says nothing."""
    assert expiry(f"https://cdn.example/a?{query}") == until
