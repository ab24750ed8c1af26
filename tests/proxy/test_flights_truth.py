"""P3: no client completes a file whose bytes are not what was declared."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.core.errors import IntegrityError
from mirror.core.nouns import Span
from mirror.core.ports import TAIL
from mirror.proxy.flights import Tuning
from mirror.proxy.withhold import Withholding
from tests.proxy.flight_fixture import (
    MIB,
    all_of,
    declared,
    flipped,
    git_digest,
    noise,
    some_of,
    source_of,
    surroundings,
)
from tests.support.liar import Lie

GOOD = noise(16 * MIB, seed=2)


@pytest.mark.parametrize("at", [0, 5 * MIB, 16 * MIB - TAIL, 16 * MIB - 1])
async def test_whole_reader_never_completes_a_flipped_byte(tmp_path, at):
    """One wrong bit anywhere: the reader ends short, nothing is stored, and the fault is reported."""
    async with surroundings(tmp_path, flipped(GOOD, at)) as here:
        got, error = await some_of(await here.join(source_of(GOOD)))
        assert isinstance(error, IntegrityError)
        assert len(got) <= len(GOOD) - TAIL
        await here.quiet()
        assert await here.store.find(declared(GOOD)) is None
        assert [str(fault.declared) for fault, hub in here.faults] == [str(declared(GOOD))] * 2


async def test_fresh_fetch_heals(tmp_path):
    """When only the first fetch was wrong, the second lands; a reader that had been given bytes still ends short."""
    async with surroundings(tmp_path, GOOD) as here:
        here.liar.lies.append(Lie(data=flipped(GOOD, MIB)))
        body = await here.join(source_of(GOOD))
        got, error = await some_of(body)
        assert isinstance(error, IntegrityError)
        assert len(got) <= len(GOOD) - TAIL
        again = await here.join(source_of(GOOD))
        assert await all_of(again) == GOOD
        assert len(here.faults) == 1


@pytest.mark.parametrize("mode", ["hold_tail", "wait"])
async def test_sixteen_closed_ranges_never_complete_a_flipped_byte(tmp_path, mode):
    """Parallel range readers over a wrong byte always lack at least 64 KiB, and no such range completes them later."""
    part = len(GOOD) // 16
    async with surroundings(tmp_path, flipped(GOOD, 3 * MIB), tuning=Tuning(mode, backoff=0.01)) as here:
        bodies = await asyncio.gather(*(here.join(source_of(GOOD)) for _ in range(16)))
        ended = await asyncio.gather(*(some_of(b, n * part, (n + 1) * part) for n, b in enumerate(bodies)))
        assert sum(len(got) for got, _ in ended) <= len(GOOD) - TAIL
        assert any(isinstance(error, IntegrityError) for _, error in ended)
        await here.quiet()
        here.liar.data = GOOD
        healed = await here.join(source_of(GOOD))
        missing = [Span(n * part + len(got), (n + 1) * part) for n, (got, _) in enumerate(ended) if len(got) < part]
        if mode == "hold_tail":
            assert healed.must_restart(missing)
        assert await all_of(healed) == GOOD


async def test_small_file_leaves_only_verified(tmp_path):
    """Of a file no longer than what is held back, not one wrong byte leaves."""
    small = GOOD[:TAIL]
    async with surroundings(tmp_path, flipped(small, 7)) as here:
        got, error = await some_of(await here.join(source_of(small, declared=git_digest(small))))
        assert (got, type(error)) == (b"", IntegrityError)


async def test_footer_read_of_a_file_in_flight_is_marked(tmp_path):
    """A small read of the end leaves before verification, marked, and something else stays back instead."""
    async with surroundings(tmp_path, GOOD, patience=30) as here:
        gate = asyncio.Event()
        here.liar.lies.append(Lie(gate=(MIB, gate)))
        body = await here.join(source_of(GOOD))
        footer = await here.join(source_of(GOOD))
        assert await all_of(footer, len(GOOD) - 8) == GOOD[-8:]
        assert not footer.verified
        assert body.verified
        gate.set()
        assert await all_of(body) == GOOD
        assert body.verified


async def test_wait_mode_gives_no_unverified_range(tmp_path):
    """With `wait` even a header read comes only from a verified file."""
    async with surroundings(tmp_path, GOOD, tuning=Tuning("wait"), patience=30) as here:
        gate = asyncio.Event()
        here.liar.lies.append(Lie(gate=(2 * MIB, gate)))
        body = await here.join(source_of(GOOD))
        header = asyncio.create_task(all_of(body, 0, 100))
        await asyncio.wait({header}, timeout=0.2)
        assert not header.done()
        gate.set()
        assert await header == GOOD[:100]
        assert body.verified


async def test_full_store_passes_through_with_its_end_verified(tmp_path):
    """Without room the bytes go straight through, nothing is stored, and a wrong file still ends short."""
    async with surroundings(tmp_path, GOOD, quota=MIB) as here:
        body = await here.join(source_of(GOOD))
        assert await all_of(body) == GOOD
        assert await here.store.find(declared(GOOD)) is None
        assert body.must_restart([Span(2 * MIB, len(GOOD))])
        here.liar.data = flipped(GOOD, 9)
        got, error = await some_of(await here.join(source_of(GOOD)))
        assert isinstance(error, IntegrityError)
        assert len(got) <= len(GOOD) - TAIL


@given(
    size=st.integers(1, 400),
    tail=st.integers(1, 64),
    reads=st.lists(st.tuples(st.integers(0, 400), st.integers(1, 400)), max_size=40),
)
def test_something_always_stays_back(size, tail, reads):
    """Whatever is asked in whatever pieces, at least min(tail, size) bytes of an unverified file have not left."""
    holding = Withholding(size, tail, "hold_tail")
    for start, length in reads:
        request = Span(min(start, size), min(start + length, size))
        position = request.start
        while position < request.stop:
            stop = holding.allowed(Span(position, request.stop), request, size)
            if stop == position:
                break
            position = stop
        assert holding.released.total <= size - min(tail, size)
