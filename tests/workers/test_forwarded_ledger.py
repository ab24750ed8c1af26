"""A worker's ledger keeps every promise of the port, and the keeper's end is the ledger's end."""

from __future__ import annotations

import asyncio

import pytest

from mirror.audit.check import check
from mirror.audit.segments import Reader
from mirror.core.errors import LedgerDown
from mirror.keeper.forwarding import ForwardedLedger, LedgerLine
from mirror.keeper.nouns import encoded
from mirror.keeper.service import Hello
from tests.audit.samples import SteppingClock, allowed, decision, refused
from tests.contracts.ledger import LedgerContract
from tests.workers.keeper_fixture import CONFIG, keeping


def forwarded(folder, config: str = CONFIG, **options) -> ForwardedLedger:
    return ForwardedLedger(LedgerLine(folder, encoded(Hello("ledger", 0, config))), SteppingClock(), **options)


class TestForwardedLedger(LedgerContract):
    @pytest.fixture
    async def ledger(self, tmp_path):
        async with keeping(tmp_path):
            ledger = forwarded(tmp_path)
            ledger.folder = tmp_path / "ledger"
            await ledger.start()
            yield ledger
            await ledger.close()
        assert check(tmp_path / "ledger").fault is None

    def stored(self, ledger):
        return Reader(ledger.folder).read(100_000)


async def test_two_workers_write_one_chain(tmp_path):
    """The events of two workers and of the keeper stand in one chain that verifies, each worker's in its own order."""
    async with keeping(tmp_path) as (_, own):
        one, two = forwarded(tmp_path), forwarded(tmp_path)
        await asyncio.gather(one.start(), two.start())
        tickets = []
        for number in range(300):
            tickets += [one.record(refused(number)), two.record(refused(1000 + number))]
            if number % 50 == 0:
                tickets.append(own.record(allowed()))
                await asyncio.sleep(0)
        sealed = [await ticket.durable() for ticket in tickets]
        await asyncio.gather(one.close(), two.close())
    assert len({one.sequence for one in sealed}) == len(sealed)
    records = Reader(tmp_path / "ledger").read(10_000)
    placed = [record["decision"]["id"] for record in records if record["kind"] == "refused"]
    for first in (0, 1000):
        mine = [decision(first + number).id for number in range(300)]
        assert [identity for identity in placed if identity in mine] == mine
    assert check(tmp_path / "ledger").fault is None


async def test_without_a_keeper_nothing_is_promised(tmp_path):
    """A keeper that goes leaves no ticket waiting and none that lies: what it did not confirm is `LedgerDown`, for ever."""
    async with keeping(tmp_path) as (keeper, _):
        ledger = forwarded(tmp_path)
        await ledger.start()
        await ledger.record(refused(1)).durable()
        await keeper.close()
        with pytest.raises(LedgerDown):
            await ledger.record(refused(2)).durable()
        for take in (lambda: ledger.record(refused(3)), lambda: ledger.repeat(decision(1), must_be_durable=False)):
            with pytest.raises(LedgerDown):
                take()
        await asyncio.wait_for(ledger.close(), 10)


async def test_a_worker_told_of_the_keepers_end_records_nothing(tmp_path):
    """`lost` holds from the same moment, without an attempt to write."""
    async with keeping(tmp_path):
        ledger = forwarded(tmp_path)
        await ledger.start()
        ledger.lost()
        with pytest.raises(LedgerDown):
            ledger.record(refused(2))
        await ledger.close()


async def test_a_full_disk_of_the_keeper_is_heard_and_its_end_too(tmp_path, monkeypatch):
    """While the keeper cannot record its workers cannot, and they go on by themselves when it can again."""
    async with keeping(tmp_path) as (_, own):
        ledger = forwarded(tmp_path)
        await ledger.start()
        own._writer.state, own._writer.why, own._writer._next_try = "down", "the disk is full", float("inf")
        own._rouse()
        with pytest.raises(LedgerDown):
            await ledger.record(refused(1)).durable()
        assert (ledger.state, ledger.why) == ("down", "the disk is full")
        own._writer._next_try = 0.0
        while ledger.state == "down":
            await asyncio.sleep(0.05)
        await ledger.record(refused(2)).durable()
        await ledger.close()


async def test_another_configuration_is_refused(tmp_path):
    """A worker that has read another configuration than its keeper is told so, and gets nothing."""
    async with keeping(tmp_path):
        with pytest.raises(LedgerDown, match="configuration was changed"):
            await forwarded(tmp_path, "another").start()
