"""Borders of holds and of what is erased, and in which order the files of a ledger and the keys of pseudonyms change."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mirror.audit.keeping import Retention
from mirror.audit.ledger import SegmentLedger
from mirror.audit.retention import Terms
from mirror.audit.rewriting import remove_records
from mirror.audit.segments import segments
from mirror.core.canonical import instant
from mirror.core.decision import Event, EventKind
from mirror.core.errors import InputError
from mirror.core.facts import Fact, Publisher
from mirror.trust.pseudonyms import PseudonymKeys
from tests.audit.samples import ACTOR, FACTS, NOW, aged, refused
from tests.audit.test_holds import OTHER, held
from tests.audit.test_retention import HOME, House, MovingClock, permitted
from tests.support.diskwatch import durable_before_named, watched

INITECH = Fact(Publisher("initech", "Initech Ltd", "company"), "catalogue", "B")


async def erased(house: House, days: float = 1, **what) -> dict:
    ledger, checkpointer, retention = await house.open(days)
    try:
        return await retention.erase(by="dpo", reason="ticket 7", **what)
    finally:
        await ledger.close()
        await checkpointer.close()


def test_a_hold_of_somebody_keeps_what_is_nobodys_any_more(tmp_path):
    """A record whose personal part is erased may be of whom the hold is of: it stays, and so does that person's; another's goes."""
    house = House(tmp_path)
    asyncio.run(house.write([permitted(1), permitted(2, actor=OTHER), permitted(3, actor=replace(ACTOR, name="u:third"))]))
    assert asyncio.run(erased(house, actor=OTHER.name))["records"] == 1
    asyncio.run(held(house, actor=[ACTOR.name]))
    outcome = asyncio.run(house.expire(91))
    assert (outcome.records, outcome.held) == (1, 2)


@pytest.mark.parametrize(("scope", "kept"), [
    ({"publisher": ["acme"]}, 1), ({"publisher": ["initech"]}, 1), ({"publisher": ["globex"]}, 0),
    ({"since": instant(NOW)}, 1), ({"since": instant(NOW + timedelta(microseconds=1))}, 0), ({"until": instant(NOW)}, 0), ({"until": instant(NOW + timedelta(microseconds=1))}, 1),
])  # fmt: skip
def test_the_borders_of_a_hold(tmp_path, scope, kept):
    """A hold is of a publisher also where the model was only made from theirs, of its first moment and not of its last."""
    house = House(tmp_path)
    asyncio.run(house.write([permitted(1, facts=replace(FACTS, publisher=INITECH))]))
    asyncio.run(held(house, **scope))
    assert asyncio.run(house.expire(91)).held == kept


def test_personal_parts_go_one_by_one(tmp_path):
    """Of a segment in which records are old and new only the old ones' personal parts go; who is to be forgotten goes from all of it and nobody else."""
    house = House(tmp_path, Terms(others=timedelta(days=400), home=HOME))
    asyncio.run(house.write([refused(1), aged(refused(2), 300), aged(refused(3, actor=OTHER), 300)]))
    assert asyncio.run(house.expire(402)).personal == 1
    names = [record["actor"]["name"] for record in house.records() if record["kind"] == "refused"]
    assert names == [None, ACTOR.name, OTHER.name]
    assert asyncio.run(erased(house, 403, actor=OTHER.name))["records"] == 1
    assert [record["actor"]["name"] for record in house.records() if record["kind"] == "refused"] == [None, ACTOR.name, None]
    assert not house.fault()


def test_files_are_replaced_by_durable_ones(tmp_path):
    """A removal replaces personal file and segment, in this order, by files that are on the disk first and that as many may read as before."""
    house = House(tmp_path)
    asyncio.run(house.write([permitted(number) for number in range(3)]))
    first = segments(house.ledger)[0]
    for path in (first.path, first.personal):
        path.chmod(0o600)
    with watched() as steps:
        assert remove_records(first, {record["seq"] for record in house.records() if record["kind"] == "allowed"}) > 0
    assert durable_before_named(steps) == []
    assert [about.partition(" -> ")[2] for step, about in steps if step == "named"] == [str(first.personal), str(first.path)]
    assert steps[-1] == ("synced", str(house.ledger))
    assert {path.stat().st_mode & 0o777 for path in (first.path, first.personal)} == {0o600}


def test_what_is_removed_is_the_record_that_stands_there(tmp_path):
    """Where another line stands in a record's place nothing of it is made into what is left of one: the file stays, and the place is told."""
    house = House(tmp_path)
    asyncio.run(house.write([permitted(1), Event(EventKind.REFUSED, NOW, ACTOR, refused(2).decision)]))
    first = segments(house.ledger)[0]
    lines = first.path.read_bytes().splitlines(keepends=True)
    lines[2], lines[3] = lines[3], lines[2]
    first.path.write_bytes(b"".join(lines))
    with pytest.raises(InputError, match="seq 2: is not the record that stands there"):
        remove_records(replace(first), {2})
    assert first.path.read_bytes() == b"".join(lines)
    assert not list(house.ledger.glob(".*.replacing"))


def test_a_key_that_is_destroyed_leaves_nothing(tmp_path):
    """A key is overwritten before it is removed, and its removal is durable; a second process that makes the same key takes the first one's."""
    keys = PseudonymKeys(tmp_path / "apart", timedelta(days=365))
    first = keys.current(NOW)
    keys._make(1, NOW)
    assert keys.periods() == [first]
    os.link(tmp_path / "apart" / "key-0001", tmp_path / "seen")
    with watched() as steps:
        keys.destroy(1)
    assert not any((tmp_path / "seen").read_bytes())
    assert [step for step, about in steps if about.endswith(("key-0001", "apart"))] == ["synced", "gone", "synced"]


def test_a_key_is_destroyed_on_the_record(tmp_path):
    """That a key goes is on the record before it goes; one that is overwritten and not yet removed when the power fails is no key, and stops nobody."""
    unlink = Path.unlink

    def killed(path: Path, *more: object, **named: object) -> None:
        if path.name == "key-0001":
            raise KeyboardInterrupt
        unlink(path, *more, **named)

    async def run(days: float, *, stuck: bool) -> None:
        clock = MovingClock(days)
        ledger = SegmentLedger(tmp_path / "ledger", clock, reserve=0)
        keys = PseudonymKeys(tmp_path / "apart", timedelta(days=100))
        retention = Retention(ledger, clock, Terms(others=timedelta(days=400), home=HOME), keys=keys)
        await ledger.start()
        keys.current(clock.now())
        try:
            with pytest.MonkeyPatch.context() as patch:
                if stuck:
                    patch.setattr(Path, "unlink", killed)
                await retention.expire(sure=True)
        finally:
            await ledger.close()

    asyncio.run(run(0, stuck=False))
    asyncio.run(run(101, stuck=False))
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(run(502, stuck=True))

    def told() -> list[int]:
        return [record["detail"]["number"] for record in House(tmp_path).records() if record["kind"] == "erased"]

    for _ in range(2):
        assert told() == [1]
        assert [one.number for one in PseudonymKeys(tmp_path / "apart", timedelta(days=100)).periods()] == [2, 3]
        asyncio.run(run(502, stuck=False))
