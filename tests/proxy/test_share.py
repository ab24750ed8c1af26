"""What takes a connection for one client alone takes a bounded share of them."""

from __future__ import annotations

import asyncio

import pytest

from mirror.core.errors import Limited, UpstreamDown
from mirror.proxy import flights
from mirror.proxy.share import Share
from tests.proxy.flight_fixture import MIB, noise, source_of, surroundings


def test_a_place_is_given_back_however_it_is_left():
    """One caller has its own bound and all have one; both are free again when a block ends, by an error too."""
    share = Share("https://hub", "clones", 3, 2)
    for _ in range(4):
        with share.place("a"), share.place("a"):
            with pytest.raises(Limited), share.place("a"):
                pass
            with share.place("b"), pytest.raises(UpstreamDown) as full, share.place("c"):
                pass
            assert (full.value.upstream, full.value.retry_after) == ("https://hub", 30.0)
        with pytest.raises(KeyError), share.place("a"):
            raise KeyError


async def test_a_full_cache_does_not_take_every_connection(tmp_path, monkeypatch):
    """Readers of a full cache's pass-through beyond their share are told when to come back, before a byte was sent; who leaves makes room."""
    monkeypatch.setattr(flights, "PASSING", 2)
    data = noise(4 * MIB)
    async with surroundings(tmp_path, data, quota=1000) as here:
        bodies = [await here.join(source_of(data)) for _ in range(3)]
        reads = [body.read(flights.ENDLESS) for body in bodies]
        first, second = await asyncio.gather(anext(reads[0]), anext(reads[1]))
        assert min(len(first), len(second)) > 0
        assert data.startswith(first)
        assert data.startswith(second)
        with pytest.raises(UpstreamDown) as full:
            await anext(reads[2])
        assert full.value.retry_after == 30.0
        await reads[0].aclose()
        assert b"".join([piece async for piece in bodies[2].read(flights.ENDLESS)]) == data
        await reads[1].aclose()
