"""What every core.ports.Ledger owes its callers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from mirror.core.decision import EventKind
from mirror.core.errors import LedgerDown
from mirror.core.ports import Ledger
from tests.audit.samples import ACTOR, allowed, decision, refused


class LedgerContract:
    """Subclasses give a started `ledger` and `stored(ledger)`, the joined records on disk in order."""

    def stored(self, ledger: Ledger) -> Sequence[dict[str, Any]]:
        raise NotImplementedError

    def seen(self, ledger: Ledger) -> list[dict[str, Any]]:
        """Without the ledger's own events."""
        return [record for record in self.stored(ledger) if record.get("subject") != "ledger"]

    async def test_durable_means_stored(self, ledger):
        """When the wait for a ticket ends, the event is on disk under the place that the ticket names."""
        sealed = await ledger.record(refused(1)).durable()
        record = self.stored(ledger)[sealed.sequence]
        assert (record["leaf"], record["prev"]) == (sealed.leaf, sealed.previous)
        assert record["decision"]["id"] == decision(1).id
        assert record["actor"]["name"] == ACTOR.name

    async def test_call_order_is_record_order(self, ledger):
        """Events have the order of the calls, whoever makes them and however they are grouped."""
        tickets = [ledger.record(refused(number)) for number in range(500)]
        placed = [(await ticket.durable()).sequence for ticket in tickets]
        assert placed == list(range(placed[0], placed[0] + 500))
        assert [record["decision"]["id"] for record in self.seen(ledger)] == [decision(n).id for n in range(500)]

    async def test_many_wait_for_one_ticket(self, ledger):
        """Any number may wait, before and after; one that is cancelled takes nobody with it."""
        ticket = ledger.record(refused())
        waiters = [asyncio.ensure_future(self._wait(ticket)) for _ in range(20)]
        await asyncio.sleep(0)
        waiters[3].cancel()
        outcomes = await asyncio.gather(*waiters, return_exceptions=True)
        assert isinstance(outcomes[3], asyncio.CancelledError)
        others = {outcome.sequence for number, outcome in enumerate(outcomes) if number != 3}
        assert others == {(await ticket.durable()).sequence}
        assert ticket.is_durable

    async def test_prompt_repeats_are_counted_together(self, ledger):
        """Repeats of a refusal are durable when their wait ends, and their counts add up to the answers."""
        await ledger.record(refused(1)).durable()
        tickets = [ledger.repeat(decision(1), must_be_durable=True) for _ in range(300)]
        for ticket in tickets:
            await ticket.durable()
        repeats = [record for record in self.seen(ledger) if record["kind"] == EventKind.REPEATED]
        assert sum(record["count"] for record in repeats) == 300
        assert len(repeats) < 300
        assert {record["subject"] for record in repeats} == {decision(1).id}

    async def test_lazy_repeats_are_kept_until_close(self, ledger):
        """Repeats of an allow cost nothing now and are all there, as one record each decision, after close."""
        for number, _ in itertools.product(range(3), range(100)):
            ledger.repeat(decision(number), must_be_durable=False)
        await asyncio.sleep(0.05)
        assert self.seen(ledger) == []
        await ledger.close()
        assert [(record["subject"], record["count"]) for record in self.seen(ledger)] == [
            (decision(number).id, 100) for number in range(3)
        ]

    async def test_waiting_hastens_a_lazy_repeat(self, ledger):
        """Who waits for a repeat that was in no hurry gets it with the next group commit."""
        ledger.repeat(decision(1), must_be_durable=False)
        ticket = ledger.repeat(decision(1), must_be_durable=False)
        sealed = await asyncio.wait_for(ticket.durable(), 30)
        assert self.stored(ledger)[sealed.sequence]["count"] == 2

    async def test_a_flush_writes_what_was_in_no_hurry(self, ledger):
        """Before a stop that may yet be cut short, unhurried repeats are written without anybody waiting for them."""
        ticket = None
        for _ in range(5):
            ticket = ledger.repeat(decision(1), must_be_durable=False)
        ledger.flush()
        for _ in range(500):
            if ticket.is_durable:
                break
            await asyncio.sleep(0.01)
        assert [record["count"] for record in self.seen(ledger)] == [5]

    async def test_too_many_lazy_repeats_are_written(self, ledger):
        """More than ten thousand answers never wait in memory."""
        for _ in range(10_001):
            ticket = ledger.repeat(decision(1), must_be_durable=False)
        while not ticket.is_durable:
            await asyncio.sleep(0.01)
        assert sum(record["count"] for record in self.seen(ledger)) == 10_001

    async def test_closed_is_down(self, ledger):
        """After close nothing is taken, and closing again is harmless."""
        waiting = ledger.record(allowed())
        await ledger.close()
        assert waiting.is_durable
        await ledger.close()
        with pytest.raises(LedgerDown):
            ledger.record(refused())
        with pytest.raises(LedgerDown):
            ledger.repeat(decision(), must_be_durable=True)

    @staticmethod
    async def _wait(ticket):
        return await ticket.durable()
