"""Large files over several connections: each byte once, right whatever one of them does, and no more of them than are borne."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.core.errors import IntegrityError, UpstreamDown, UpstreamGarbage
from mirror.core.nouns import Span
from mirror.core.ports import TAIL
from mirror.proxy import sums
from mirror.proxy.flights import Flights
from mirror.proxy.tuning import Lanes
from mirror.store.disk import DiskStore
from mirror.upstream.client import HttpUpstream, Limits
from tests.proxy.flight_fixture import (
    FAST,
    MIB,
    Field,
    WallClock,
    all_of,
    declared,
    flipped,
    noise,
    some_of,
    source_of,
    surroundings,
)  # fmt: skip
from tests.support.liar import HONEST, Liar, Lie, Request

DATA = noise(24 * MIB + 4321, seed=11)
LANES = Lanes(parallel=4, part=2 * MIB, above=8 * MIB)
WIDE = replace(FAST, lanes=LANES)


def spans(liar: Liar) -> list[tuple[int, int]]:
    return [tuple(map(int, re.findall(r"\d+", asked or "0-0"))) for asked in liar.ranges]


async def test_parts_come_side_by_side_and_each_byte_once(tmp_path):
    """Four parts are asked for at once, those next to the front first; in the end every byte has crossed exactly once."""
    async with asyncio.timeout(20), surroundings(tmp_path, DATA, tuning=WIDE, patience=30) as here:
        gate = asyncio.Event()
        here.liar.always = Lie(gate=(MIB, gate))
        body = await here.join(source_of(DATA))
        while here.liar.busy < 4:
            await asyncio.sleep(0.01)
        gate.set()
        assert await all_of(body) == DATA
        asked = spans(here.liar)
        assert asked == sorted(asked)
        assert (here.liar.sent, len(asked), here.liar.most) == (len(DATA), 13, 4)


@pytest.mark.parametrize("lanes", [replace(LANES, parallel=1), replace(LANES, above=len(DATA) + 1)], ids=["one", "small"])
async def test_one_connection_asks_for_the_whole(tmp_path, lanes):
    """`parallel: 1`, and a file below `above`, cost one plain request without a range."""
    async with surroundings(tmp_path, DATA, tuning=replace(FAST, lanes=lanes)) as here:
        assert await all_of(await here.join(source_of(DATA))) == DATA
        assert here.liar.ranges == [None]


async def test_length_learned_from_the_answer(tmp_path):
    """A file of undeclared length comes in parts as well, once upstream has said its length and that it takes ranges."""
    async with surroundings(tmp_path, DATA, tuning=WIDE, patience=30) as here:
        gate = asyncio.Event()
        here.liar.lies.append(Lie(headers={"Accept-Ranges": "bytes"}, gate=(MIB, gate)))
        body = await here.join(source_of(DATA, size=None))
        while here.flights.in_flight("k")[0] < 7 * MIB:
            await asyncio.sleep(0.01)
        gate.set()
        assert await all_of(body) == DATA
        assert here.liar.ranges[0] is None


@pytest.mark.parametrize(
    ("first", "always", "most"),
    [
        (HONEST, Lie(ignore_range=True), 2.2),
        (Lie(ignore_range=True), Lie(ignore_range=True), 1.0),
        (Lie(shift=1), Lie(shift=1), 1.2),
        (HONEST, Lie(shift=7), 2.2),
        (HONEST, Lie(status=416), 2.2),
    ],
    ids=["later-200", "200", "shifted", "later-shifted", "416"],
)
async def test_an_upstream_that_mishandles_ranges_is_asked_over_one_connection(tmp_path, first, always, most):
    """Whatever it answers to a range, now or later, the file comes by plain requests, and what came is not lost."""
    async with surroundings(tmp_path, DATA, tuning=WIDE) as here:
        here.liar.lies.append(first)
        here.liar.choose = lambda request: always if request.range else HONEST
        assert await all_of(await here.join(source_of(DATA))) == DATA
        assert here.liar.sent <= most * len(DATA)
        assert here.faults == []


async def test_throttled_parts_become_fewer(tmp_path):
    """An upstream that bears two connections at once refuses a handful of requests, not every part's."""
    refused = []
    async with surroundings(tmp_path, DATA, tuning=WIDE) as here:

        def at_most_two(request: Request) -> Lie:
            if here.liar.busy <= 2:
                return HONEST
            refused.append(request)
            return Lie(status=503)

        here.liar.choose, here.liar.rate = at_most_two, 60 * MIB
        assert await all_of(await here.join(source_of(DATA))) == DATA
        assert 1 <= len(refused) <= 4


async def test_cuts_in_parts_cost_no_byte_twice(tmp_path):
    """Parts that are cut are gone on with where they stood, by whoever is free."""
    async with surroundings(tmp_path, DATA, tuning=replace(WIDE, backoff=0.001)) as here:
        here.liar.lies.extend([HONEST, Lie(cut=MIB), Lie(cut=MIB + 5), Lie(cut=17), HONEST, Lie(cut=MIB // 2)])
        assert await all_of(await here.join(source_of(DATA))) == DATA
        assert here.liar.sent == len(DATA)


async def test_a_part_far_away_gives_way_to_a_reader(tmp_path):
    """A range reader deep inside a part that stands still gets its bytes by a request of its own."""
    lanes = Lanes(parallel=2, part=8 * MIB, above=8 * MIB)
    async with surroundings(tmp_path, DATA, tuning=replace(FAST, lanes=lanes, window=MIB, hurry=0.05), patience=30) as here:
        gate = asyncio.Event()
        here.liar.choose = lambda request: Lie(gate=(9 * MIB, gate)) if request.range == f"bytes={8 * MIB}-{16 * MIB - 1}" else HONEST
        here.liar.lies.append(Lie(gate=(MIB, gate)))
        first, inside = await here.join(source_of(DATA)), await here.join(source_of(DATA))
        start = 14 * MIB + 5
        assert await asyncio.wait_for(all_of(inside, start, start + MIB), 10) == DATA[start : start + MIB]
        gate.set()
        assert await all_of(first) == DATA


@pytest.mark.parametrize("at", [0, 3 * MIB, 7 * MIB + 1, 13 * MIB, len(DATA) - 1])
async def test_a_wrong_byte_in_any_part_completes_nobody(tmp_path, at):
    """One wrong bit in whichever part: a whole reader and sixteen ranges together lack 64 KiB, and a fresh fetch heals."""
    async with surroundings(tmp_path, DATA, tuning=WIDE) as here:
        wrong, share, gate = flipped(DATA, at), len(DATA) // 16 + 1, asyncio.Event()
        here.liar.choose = lambda _: HONEST if here.faults else Lie(data=wrong, gate=(len(DATA) - MIB, gate))
        bodies = [await here.join(source_of(DATA)) for _ in range(17)]
        cuts = [(0, len(DATA)), *((n * share, min(len(DATA), (n + 1) * share)) for n in range(16))]
        reading = asyncio.gather(*(some_of(body, *cut) for body, cut in zip(bodies, cuts, strict=True)))
        while here.flights.in_flight("k")[0] < len(DATA) - MIB:
            await asyncio.sleep(0.01)
        gate.set()
        (whole, error), *parts = await reading
        assert (isinstance(error, IntegrityError), len(whole) <= len(DATA) - TAIL) == (True, True)
        pieces = [got for got, _ in parts]
        assert sum(map(len, pieces)) <= len(DATA) - TAIL or b"".join(pieces) == DATA
        await here.quiet()
        assert await all_of(await here.join(source_of(DATA))) == DATA
        assert len(here.faults) == 1


async def test_without_a_digest_versions_are_not_mixed(tmp_path):
    """Parts of two versions of an undeclared file are an error; without an entity tag there are no parts at all."""
    other = noise(len(DATA), seed=12)
    async with surroundings(tmp_path, DATA, tuning=WIDE) as here:
        here.liar.lies.extend([HONEST, HONEST])
        here.liar.always = Lie(data=other, headers={"ETag": '"y"'})
        got, error = await some_of(await here.join(source_of(DATA, declared=None)))
        assert isinstance(error, UpstreamGarbage)
        assert DATA.startswith(got)
        assert here.landed == []
    async with surroundings(tmp_path / "untagged", DATA, tuning=WIDE) as here:
        here.liar.always = Lie(headers={"ETag": ""})
        assert await all_of(await here.join(source_of(DATA, declared=None))) == DATA
        assert here.liar.ranges == [None]


@asynccontextmanager
async def two_upstreams(root: Path, first: Liar, second: Liar) -> AsyncIterator[Field]:
    upstream = HttpUpstream("hub", [first.url, second.url], [], limits=Limits(connect=1.0, backoff=0.01))
    store = DiskStore(root)
    flights = Flights(store, lambda _: upstream, WallClock(), tuning=WIDE)
    here = Field(store, flights, first, upstream)

    async def fault(*what: object) -> None:
        here.faults.append(what)

    flights.on_fault = fault
    try:
        yield here
    finally:
        await flights.close()
        await upstream.close()
        await store.close()


async def test_what_was_wrong_is_fetched_from_another_upstream(tmp_path):
    """After a mismatch the second attempt asks the upstream that has not sent it, and the file lands."""
    async with Liar(flipped(DATA, 5 * MIB)) as first, Liar(DATA) as second, two_upstreams(tmp_path, first, second) as here:
        _, error = await some_of(await here.join(source_of(DATA)))
        assert isinstance(error, IntegrityError)
        await here.quiet()
        asked = len(first.requests)
        assert await all_of(await here.join(source_of(DATA))) == DATA
        assert (len(here.faults), second.sent, len(first.requests)) == (1, len(DATA), asked)
        assert (await here.store.find(declared(DATA))).size == len(DATA)


async def test_a_trickle_is_given_up(tmp_path):
    """An upstream that sends a few bytes and hangs up, again and again, ends the readers short instead of holding them for ever."""
    tuning = replace(FAST, lanes=replace(LANES, minimum=4096), span=0.4)
    async with surroundings(tmp_path, DATA, tuning=tuning) as here:
        here.liar.always = Lie(cut=10)
        got, error = await asyncio.wait_for(some_of(await here.join(source_of(DATA))), 20)
        assert isinstance(error, UpstreamDown)
        assert DATA.startswith(got)
        await here.quiet()


async def test_a_connection_that_trickles_is_left_for_another(tmp_path):
    """A single connection that brings next to nothing is replaced, and the file arrives."""
    tuning = replace(FAST, lanes=replace(LANES, minimum=MIB), span=2.0)
    async with surroundings(tmp_path, DATA[: 4 * MIB], tuning=tuning, patience=30) as here:
        data = DATA[: 4 * MIB]

        def slow_once(_: Request) -> Lie:
            here.liar.rate = 300_000 if len(here.liar.requests) == 1 else None
            return HONEST

        here.liar.choose = slow_once
        body = await here.join(source_of(data))
        assert await asyncio.wait_for(all_of(body), 20) == data
        assert len(here.liar.requests) == 2


async def test_a_drip_while_what_is_here_is_verified(tmp_path, monkeypatch):
    """A reader at the end of a file whose verification takes long gets bytes as it advances, and the last 64 KiB only after it."""
    steps = asyncio.Semaphore(0)
    update = sums.Sums.update

    async def slowly(self: sums.Sums, data: bytes) -> None:
        await steps.acquire()
        await update(self, data)

    async with asyncio.timeout(20), surroundings(tmp_path, DATA, tuning=replace(FAST, drip=0.0)) as here:
        monkeypatch.setattr(sums.Sums, "update", slowly)
        reading, got, grown = await here.join(source_of(DATA)), bytearray(), []

        async def read() -> None:
            async for chunk in reading.read(Span(0, len(DATA))):
                got.extend(chunk)

        task = asyncio.create_task(read())
        while here.flights.in_flight("k")[0] < len(DATA) or not got or len(got) < len(DATA) - 2 * MIB:
            await asyncio.sleep(0.01)
        for _ in range(5):
            before = len(got)
            steps.release()
            while len(got) == before:
                await asyncio.sleep(0.01)
            grown.append(len(got))
        assert grown[-1] <= len(DATA) - TAIL
        for _ in range(100):
            steps.release()
        await task
        assert bytes(got) == DATA
