"""Event streams of spaces: each event at once, in the caller's own name, until somebody leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
from huggingface_hub import HfApi

from tests.support.standin.defaults import ALICE, BOB
from tests.support.standin.hub import StandInHub

from .conftest import Mirror, mirror_of

LOG = "/api/spaces/acme/demo/logs/run"
DENY = 'version: 1\nrules: [{id: spaces, when: {type: [space]}, effect: deny, reason: "no spaces here"}]\n'


@asynccontextmanager
async def following(mirror: Mirror, target: str = LOG, token: str | None = ALICE) -> AsyncIterator[aiohttp.ClientResponse]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession() as session, session.get(mirror.url + target, headers=headers) as answer:
        yield answer


async def event(answer: aiohttp.ClientResponse) -> bytes:
    """One event, within the patience of a test."""
    return await asyncio.wait_for(answer.content.readuntil(b"\n\n"), 10)


async def alone(standin: StandInHub) -> None:
    """Until nobody follows the log."""
    async with asyncio.timeout(10):
        while standin.log.followers:
            await asyncio.sleep(0.02)


async def test_each_event_arrives_before_the_next_one_happens(standin: StandInHub, mirror: Mirror) -> None:
    """An event comes through while the stream is open, a later one after a pause, and the end is the end."""
    await standin.log.say("one")
    async with following(mirror) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert (answer.headers["Cache-Control"], answer.headers["X-Accel-Buffering"]) == ("no-store", "no")
        assert "Content-Length" not in answer.headers
        assert b'"one"' in await event(answer)
        await asyncio.sleep(0.2)
        await standin.log.say("two")
        assert b'"two"' in await event(answer)
        assert standin.log.followers == 1
        await standin.log.end()
        assert await asyncio.wait_for(answer.read(), 10) == b""
    for target in ("/api/spaces/acme/demo/logs/build", "/api/spaces/acme/demo/events", "/api/spaces/acme/demo/metrics"):
        async with following(mirror, target) as answer:
            assert b'"one"' in await event(answer)


async def test_when_the_client_leaves_the_hub_is_left_too(standin: StandInHub, mirror: Mirror) -> None:
    """The connection to the hub is closed although the hub says nothing more."""
    await standin.log.say("one")
    async with following(mirror) as answer:
        await event(answer)
        assert standin.log.followers == 1
    await alone(standin)


async def test_silence_is_no_fault(standin: StandInHub, tmp_path: Path) -> None:
    """A stream that is silent for longer than the hub may take for an answer goes on."""
    async with mirror_of(standin, tmp_path / "m") as mirror:
        mirror.hub.upstream._limits = type(mirror.hub.upstream._limits)(connect=1.0, read=0.3, backoff=0.01)
        await standin.log.say("one")
        async with following(mirror) as answer:
            await event(answer)
            await asyncio.sleep(0.9)
            await standin.log.say("two")
            assert b'"two"' in await event(answer)


async def test_a_dead_hub_ends_the_stream(standin: StandInHub, mirror: Mirror) -> None:
    """When the hub goes down the stream ends in good order, so that a client asks again."""
    await standin.log.say("one")
    async with following(mirror) as answer:
        await event(answer)
        await standin.origins["hub"].stop()
        assert await asyncio.wait_for(answer.read(), 10) == b""
    await standin.origins["hub"].start()


async def test_logs_are_asked_for_in_the_callers_own_name(standin: StandInHub, tmp_path: Path) -> None:
    """Without a token the hub's refusal comes through, whoever asked before; the organisation's token is never lent."""
    standin.add_token("hf_house", "house")
    await standin.log.say("one")
    async with mirror_of(standin, tmp_path / "m", credentials="both", token="hf_house") as mirror:
        async with following(mirror) as answer:
            await event(answer)
        async with following(mirror, token=None) as answer:
            assert answer.status == 401
            assert answer.headers["X-Error-Message"] == "Invalid username or password."
    asked = standin.requests.where(path=LOG)
    assert [call.token for call in asked] == [ALICE, None]


async def test_what_is_no_event_stream_does_not_pass(standin: StandInHub, mirror: Mirror) -> None:
    """An answer of another type is 502 and not a byte of it comes through; a redirect is not followed."""
    await standin.log.say("one")
    number = standin.faults.add("headers", LOG, headers={"Content-Type": "application/octet-stream"})
    async with following(mirror) as answer:
        assert answer.status == 502
    standin.faults.remove(number)
    standin.faults.add("redirect", LOG, location=f"{standin.url}/acme/tiny-bert/resolve/main/config.json")
    async with following(mirror) as answer:
        assert answer.status == 502


async def test_a_denied_space_has_no_log(standin: StandInHub, tmp_path: Path) -> None:
    """The log of a denied space is refused with the sentence, on the record, and never asked for."""
    async with mirror_of(standin, tmp_path / "m", DENY) as mirror:
        for method in ("GET", "HEAD"):
            answer = await mirror.get(LOG, ALICE, method=method)
            assert answer.status == (403 if method == "GET" else 405)
        assert len(mirror.events("refused")) == 1
    assert not standin.requests.where(path=LOG)


async def test_offline_there_are_no_events(standin: StandInHub, tmp_path: Path) -> None:
    """Offline a log is 404 with a sentence, and nobody is asked."""
    async with mirror_of(standin, tmp_path / "m") as mirror:
        await mirror.get("/api/spaces/acme/demo")
    standin.requests.clear()
    async with mirror_of(standin, tmp_path / "m", offline=True) as mirror:
        answer = await mirror.get(LOG, ALICE)
        assert (answer.status, "offline" in answer.headers["X-Error-Message"]) == (404, True)
    assert not standin.requests


async def test_the_client_itself_reads_logs(standin: StandInHub, mirror: Mirror) -> None:
    """`HfApi.fetch_space_logs` gives the lines of the log, in order, and ends with it."""
    for text in ("one\n", "two\n"):
        await standin.log.say(text)
    await standin.log.end()
    lines = await asyncio.to_thread(lambda: list(HfApi(mirror.url, ALICE).fetch_space_logs("acme/demo", follow=True)))
    assert lines == ["one\n", "two\n"]


async def test_one_caller_cannot_take_every_connection(standin: StandInHub, mirror: Mirror) -> None:
    """The seventeenth stream of one caller is told to wait, others are not, and who leaves makes room."""
    await standin.log.say("one")
    async with AsyncExitStack() as others:
        for _ in range(15):
            assert (await others.enter_async_context(following(mirror))).status == 200
        async with following(mirror) as last:
            assert last.status == 200
            refused = await asyncio.wait_for(mirror.get(LOG, ALICE), 10)
            assert (refused.status, refused.headers["Retry-After"]) == (429, "30")
            async with following(mirror, token=BOB) as answer:
                assert answer.status == 200
        async with asyncio.timeout(10):
            while standin.log.followers > 15:
                await asyncio.sleep(0.02)
        async with following(mirror) as answer:
            assert answer.status == 200
    await alone(standin)
