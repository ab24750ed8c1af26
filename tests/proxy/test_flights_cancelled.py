"""A flight that is given up, and then ended with the process before it has let go."""

from __future__ import annotations

import asyncio
import os
import threading

from mirror.core.nouns import Span
from tests.proxy.flight_fixture import MIB, all_of, noise, source_of, surroundings
from tests.proxy.test_flights_machine import held_below
from tests.support.liar import Lie

DATA = noise(3 * MIB + 7, seed=41)


async def test_cancelled_while_it_lets_go_it_still_lets_go(tmp_path, monkeypatch):
    """A second cancellation during the last sync, which a slow disk draws out, leaves no descriptor and no lock behind."""
    entered, go_on, real = threading.Event(), threading.Event(), os.fdatasync

    def slow(descriptor: int) -> None:
        entered.set()
        go_on.wait(20)
        real(descriptor)

    async with surroundings(tmp_path, DATA) as here:
        here.liar.lies.append(Lie(gate=(2 * MIB, asyncio.Event())))
        body = await here.join(source_of(DATA))
        async for _ in body.read(Span(0, MIB)):
            pass
        await body.close()
        monkeypatch.setattr(os, "fdatasync", slow)
        (task,) = here.flights._tasks.values()
        task.cancel()
        while not entered.is_set():
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait({task})
        go_on.set()
        for _ in range(500):  # the thread that is at work keeps the descriptor until it is done
            if not held_below(tmp_path / "spool"):
                break
            await asyncio.sleep(0.01)
        assert held_below(tmp_path / "spool") == []
        assert await all_of(await here.join(source_of(DATA))) == DATA
        assert list((tmp_path / "spool").glob("*.part")) == []
