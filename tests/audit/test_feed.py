"""The index follows the ledger, through lag, restart and another ledger's leavings."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from mirror.audit.feed import Feed, catch_up
from mirror.audit.ledger import SegmentLedger
from mirror.core.errors import MirrorError
from tests.audit.samples import SteppingClock, decision, refused
from tests.support.database import index_in


@pytest.fixture
async def index(tmp_path):
    index = await index_in(tmp_path / "data")
    yield index
    await index.close()


async def written(directory, first: int, count: int) -> None:
    ledger = SegmentLedger(directory, SteppingClock(), reserve=0, segment_size=50_000)
    await ledger.start()
    for number in range(first, first + count):
        ticket = ledger.record(refused(number))
    await ticket.durable()
    await ledger.close()


async def test_follows_while_running(tmp_path, index):
    """Events reach the index in the background, in order, and all of them by the time the feed has ended."""
    feed = Feed(tmp_path / "ledger", index)
    ledger = SegmentLedger(tmp_path / "ledger", SteppingClock(), reserve=0, segment_size=50_000, on_durable=feed.advance)
    following = asyncio.create_task(feed.run())
    await ledger.start()
    await ledger.record(refused(1)).durable()
    while await index.find_decision(decision(1).id) is None:
        await asyncio.sleep(0.01)
    for number in range(2, 1500):
        ledger.record(refused(number))
    await ledger.close()
    feed.close()
    await following
    assert await index.last_sequence() == ledger.head.count - 1 == 1500
    found = await index.query({"rule": "origin-cn"}, 2000, None)
    assert [record["seq"] for record in found] == list(range(1499, 0, -1))


async def test_catches_up(tmp_path, index):
    """What was written without an index is copied, once; a second time there is nothing to do."""
    await written(tmp_path / "ledger", 0, 1200)
    assert await catch_up(tmp_path / "ledger", index) == 1202
    assert await catch_up(tmp_path / "ledger", index) == 0
    await written(tmp_path / "ledger", 2000, 5)
    assert await catch_up(tmp_path / "ledger", index) == 7


async def test_another_ledger_fills_it_anew(tmp_path, index):
    """An index that was filled from another ledger holds only this one's events afterwards."""
    await written(tmp_path / "other", 0, 30)
    await catch_up(tmp_path / "other", index)
    await written(tmp_path / "ledger", 100, 3)
    assert await catch_up(tmp_path / "ledger", index) == 5
    assert await index.last_sequence() == 4
    assert await index.find_decision(decision(7).id) is None
    shutil.rmtree(tmp_path / "ledger")
    assert await catch_up(tmp_path / "ledger", index) == 0
    assert await index.last_sequence() == -1


class Failing:
    """An index whose database is away for the first attempts."""

    def __init__(self, index, times: int) -> None:
        self._index, self.times = index, times

    async def last_sequence(self):
        return await self._index.last_sequence()

    async def query(self, *arguments):
        return await self._index.query(*arguments)

    async def add_events(self, records):
        self.times -= 1
        if self.times >= 0:
            raise MirrorError("away")
        await self._index.add_events(records)


async def test_database_away_loses_nothing(tmp_path, index, monkeypatch):
    """While the database is away events wait in the segments; when it is back they are all copied."""
    monkeypatch.setattr("mirror.audit.feed._RETRY", 0.01)
    await written(tmp_path / "ledger", 0, 20)
    failing = Failing(index, 3)
    feed = Feed(tmp_path / "ledger", failing)
    feed.advance(22)
    following = asyncio.create_task(feed.run())
    while await index.last_sequence() < 21:
        await asyncio.sleep(0.01)
    feed.close()
    await following
    assert failing.times < 0


async def test_group_commits_are_gathered(tmp_path, index, monkeypatch):
    """The first record is copied at once; those of the commits that follow are copied together, the last of them before the end."""
    monkeypatch.setattr("mirror.audit.feed._GATHER", 3600.0)
    given: list[int] = []
    add = index.add_events

    async def counted(records):
        given.append(len(records))
        await add(records)

    monkeypatch.setattr(index, "add_events", counted)
    feed = Feed(tmp_path / "ledger", index)
    ledger = SegmentLedger(tmp_path / "ledger", SteppingClock(), reserve=0, on_durable=feed.advance)
    following = asyncio.create_task(feed.run())
    await ledger.start()
    while await index.last_sequence() < 0:
        await asyncio.sleep(0.01)
    for number in range(20):
        await ledger.record(refused(number)).durable()
    await ledger.close()
    feed.close()
    await following
    assert (given[0], sum(given)) == (1, 22)
    assert len(given) <= 3  # the first attempt may find some more already
