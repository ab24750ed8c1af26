"""While a hold stands nothing that it covers is deleted, and `verify` tells where something was."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mirror.core.decision import EventKind
from mirror.core.errors import InputError
from mirror.core.facts import Fact
from tests.audit.samples import ACTOR, BASE, FACTS
from tests.audit.test_retention import House, _counts_of, _mixed, _recorded, permitted

OTHER = replace(ACTOR, name="u:other")


async def held(house: House, days: float = 1, **scope) -> str:
    """Add a hold; gives its id."""
    ledger, checkpointer, retention = await house.open(days)
    detail = {"outcome": "added", "id": "H-1", "matter": "case 7", "by": "alice", "reason": "court", **scope}
    await retention.hold(detail)
    await ledger.close()
    await checkpointer.close()
    return "H-1"


async def lifted(house: House, by: str, days: float = 100) -> None:
    ledger, checkpointer, retention = await house.open(days)
    try:
        await retention.hold({"outcome": "lifted", "id": "H-1", "by": by, "reason": "settled"})
    finally:
        await ledger.close()
        await checkpointer.close()


@pytest.mark.parametrize(
    ("scope", "gone"),
    [
        ({}, 0), ({"publisher": ["acme"]}, 0), ({"publisher": ["initech"]}, 3), ({"artifact": ["pkg:huggingface/acme/"]}, 2),
        ({"actor": ["u:other"]}, 2), ({"since": "2026-11-23T00:00:00Z"}, 3), ({"until": "2026-11-22T00:00:00Z"}, 3), ({"since": "2026-11-22T00:00:00Z"}, 0),
    ],
)  # fmt: skip
def test_what_a_hold_keeps(tmp_path, scope, gone):
    """A hold keeps what each of its scopes applies to, and nothing else; when another person lifts it, the rest goes."""
    house = House(tmp_path)
    asyncio.run(house.write([permitted(1), permitted(2, actor=OTHER), permitted(3, project=BASE)]))
    asyncio.run(held(house, **scope))
    outcome = asyncio.run(house.expire(91))
    assert (outcome.records, outcome.held) == (gone, 3 - gone)
    assert not house.fault()
    with pytest.raises(InputError, match="another person lifts it"):
        asyncio.run(lifted(house, "Alice"))
    asyncio.run(lifted(house, "carol"))
    assert asyncio.run(house.expire(101)).records == 3 - gone
    assert not house.fault()


def test_an_unknown_publisher_is_held(tmp_path):
    """A hold of a publisher keeps what is of nobody whom the catalogue knew: it may be that publisher's."""
    house = House(tmp_path)
    asyncio.run(house.write([permitted(1, facts=replace(FACTS, publisher=Fact(None, "catalogue", "A"))), permitted(2)]))
    asyncio.run(held(house, publisher=["initech"]))
    outcome = asyncio.run(house.expire(91))
    assert (outcome.records, outcome.held) == (1, 1)
    assert not house.fault()


def test_repeats_stay_with_their_decision(tmp_path):
    """A repeat is held where its decision is, and goes where that goes."""
    house = House(tmp_path)
    asyncio.run(house.write(_mixed()))
    asyncio.run(held(house, publisher=["acme"]))
    outcome = asyncio.run(house.expire(91))
    assert (outcome.records, outcome.held) == (0, 24)


def test_erasure_is_refused(tmp_path):
    """Personal parts that a hold covers are not erased: nothing is, and the hold is named. Nor do old ones go."""
    house = House(tmp_path)
    asyncio.run(house.write(_mixed()))
    asyncio.run(held(house, actor=[ACTOR.name]))

    async def erase() -> None:
        ledger, checkpointer, retention = await house.open(2)
        try:
            await retention.erase(by="dpo", reason="asked for", actor=ACTOR.name)
        finally:
            await ledger.close()
            await checkpointer.close()

    with pytest.raises(InputError, match="case 7"):
        asyncio.run(erase())
    assert asyncio.run(house.expire(5000)).personal == 0
    assert all(record["actor"]["name"] for record in house.records())


def test_removed_under_a_hold(tmp_path):
    """Counts by which something was removed that a hold kept are a fault that names the hold."""
    house = House(tmp_path)
    asyncio.run(house.write([permitted(1)]))
    asyncio.run(held(house, publisher=["acme"]))
    row = {"artifact": "pkg:huggingface/acme/x", "publisher": "acme", "groups": [], "country": "US", "day": "2026-11-22", "events": 1, "requests": 1}
    asyncio.run(_recorded(house, EventKind.COUNTS, 100, lambda records: {**_counts_of(records), "rows": [row]}))
    assert "what the hold H-1 keeps (case 7)" in house.fault()
