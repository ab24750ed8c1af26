"""Pages that change: how long each is believed, how it is asked for again, and what an upstream that fails leaves of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from mirror.core.errors import NotHere, UpstreamDown
from mirror.core.nouns import Document, DocumentKey
from mirror.core.ports import Ask
from mirror.proxy.documents import Documents
from mirror.upstream.client import HttpUpstream, Limits
from tests.support.database import index_in

MINUTE = timedelta(minutes=1)
FIRST = {"ETag": '"one"', "Last-Modified": "Sat, 01 Mar 2025 12:00:00 GMT"}


@dataclass
class Place:
    """A hub with one page, and a mirror's view of it."""

    status: int = 200
    body: bytes = b"page one"
    headers: dict[str, str] = field(default_factory=lambda: dict(FIRST))
    asked: list[dict[str, str]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    later: timedelta = timedelta()
    documents: Documents = None  # type: ignore[assignment]

    def now(self) -> datetime:
        return datetime(2026, 11, 1, tzinfo=UTC) + self.later

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append({name: value for name, value in request.headers.items() if name.startswith("If-")})
        await self.gate.wait()
        same = request.headers.get("If-None-Match") == self.headers.get("ETag", "-")
        same = same or request.headers.get("If-Modified-Since") == self.headers.get("Last-Modified", "-")
        if self.status == 200 and same:
            return web.Response(status=304, headers=self.headers)
        return web.Response(status=self.status, body=self.body, headers=self.headers)

    async def get(self, max_age: timedelta | None = MINUTE) -> Document:
        key = DocumentKey("hub", "/page", "", "json")
        return await self.documents.get(
            "hub", key, Ask("/page", patience=1.0), max_age=max_age, negative_age=timedelta(seconds=10), shared=lambda _: True
        )


@asynccontextmanager
async def place(folder, *, offline: bool = False) -> AsyncIterator[Place]:
    found = Place()
    found.gate.set()
    runner = web.ServerRunner(web.Server(found.answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    upstream = HttpUpstream("hub", [url], [], limits=Limits(connect=1.0, read=1.0, backoff=0.01))
    index = await index_in(folder)
    found.documents = Documents(index, {"hub": upstream}, found, offline=offline, patience={"hub": 0.9})
    try:
        yield found
    finally:
        found.gate.set()
        await upstream.close()
        await index.close()
        await runner.cleanup()


@pytest.mark.parametrize(("dropped", "sent"), [("Last-Modified", {"If-None-Match": '"one"'}), ("ETag", {"If-Modified-Since": FIRST["Last-Modified"]})])
async def test_an_old_page_is_revalidated_by_what_upstream_gave(tmp_path, dropped, sent):
    """After its life a page is asked for on a condition; 304 renews it as it is, and another page takes its place."""
    async with place(tmp_path) as here:
        del here.headers[dropped]
        first = await here.get()
        here.later = 2 * MINUTE
        again = await here.get()
        assert (again.body, again.fetched_at - first.fetched_at) == (b"page one", 2 * MINUTE)
        assert (await here.get()).body == b"page one"
        assert here.asked == [{}, sent]
        here.body, here.headers = b"page two", {"ETag": '"two"'}
        here.later = 4 * MINUTE
        assert (await here.get()).body == b"page two"


async def test_nobody_waits_for_a_page_that_is_asked_for_all_the_time(tmp_path):
    """Just past its life a page is given at once and renewed behind its readers; one long past it is not, nor one of a brief life."""
    async with place(tmp_path) as here:
        await here.get(10 * MINUTE)
        here.gate.clear()  # from here on upstream answers nobody
        here.later, here.body, here.headers = timedelta(minutes=10, seconds=29), b"page two", {"ETag": '"two"'}
        assert {page.body for page in await asyncio.gather(*(here.get(10 * MINUTE) for _ in range(8)))} == {b"page one"}
        assert not here.documents.held_off("hub")  # nobody has waited for it
        here.gate.set()
        async with asyncio.timeout(10):
            while (await here.get(10 * MINUTE)).body != b"page two":
                await asyncio.sleep(0.02)
        assert len(here.asked) == 2
        here.later += timedelta(minutes=10, seconds=31)
        here.body, here.headers = b"page three", {"ETag": '"three"'}
        assert (await here.get()).body == b"page three"
        here.later += timedelta(seconds=61)
        here.body, here.headers = b"page four", {"ETag": '"four"'}
        assert (await here.get()).body == b"page four"


async def test_lives(tmp_path):
    """A page without an end is never asked for again, a refusal to know is believed for its own short life, a failure not at all."""
    async with place(tmp_path) as here:
        here.status = 404
        assert [(await here.get()).status for _ in range(3)] == [404] * 3
        assert len(here.asked) == 1
        here.later, here.status = timedelta(seconds=11), 200
        assert (await here.get(None)).body == b"page one"
        here.later = timedelta(days=9999)
        assert (await here.get(None)).body == b"page one"
        assert len(here.asked) == 2
    async with place(tmp_path / "other") as here:
        for status in (403, 401):
            here.status = status
            assert (await here.get()).status == status
        assert len(here.asked) == 2


async def test_what_failed_leaves_what_was_known(tmp_path):
    """5xx, 404 and silence leave the page that was good; nothing known and no answer is an error, and offline is said to be that."""
    async with place(tmp_path) as here:
        await here.get()
        here.later, here.status = 2 * MINUTE, 500
        assert (await here.get()).body == b"page one"
        async with place(tmp_path / "empty") as empty:
            empty.status = 500
            with pytest.raises(UpstreamDown):
                await empty.get()
    async with place(tmp_path) as here:  # after a restart
        here.later, here.status = 3 * MINUTE, 404
        assert (await here.get()).status == 404  # as the hub says it now; the dialect decides what that means
        here.status = 503
        assert (await here.get()).body == b"page one"
    async with place(tmp_path, offline=True) as here:
        here.later = timedelta(days=99)
        assert (await here.get()).body == b"page one"
        assert here.asked == []
    async with place(tmp_path / "nothing", offline=True) as here:
        with pytest.raises(NotHere):
            await here.get()


async def test_while_upstream_thinks_the_known_page_is_given_and_the_new_one_kept(tmp_path):
    """Many who ask at once cost one request; where it takes long they get the page as known, and what then comes is there for the next."""
    async with place(tmp_path) as here:
        first = await asyncio.gather(*(here.get() for _ in range(8)))
        assert len(here.asked) == 1
        assert {page.body for page in first} == {b"page one"}
        here.gate.clear()
        here.later, here.body, here.headers = 2 * MINUTE, b"page two", {"ETag": '"two"'}
        assert {page.body for page in await asyncio.gather(*(here.get() for _ in range(8)))} == {b"page one"}
        assert len(here.asked) == 2
        here.gate.set()
        async with asyncio.timeout(10):
            while (await here.get()).body != b"page two":
                await asyncio.sleep(0.02)
        assert len(here.asked) == 2
