"""Appends a second through the ledger alone, and records a second through `examine`: `python -m bench.ledger_appends`."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from bench.contest.machine import moment
from mirror.audit.examine import examine
from mirror.audit.ledger import SegmentLedger
from tests.audit.samples import SteppingClock, refused

CALLERS = 400


async def appends(directory: Path, count: int) -> tuple[float, float]:
    """Durable appends a second, with 400 callers that each wait for one before the next, and with one that never waits."""
    ledger = SegmentLedger(directory, SteppingClock(), reserve=1 << 20)
    await ledger.start()
    event = refused()

    async def caller() -> None:
        for _ in range(count // CALLERS):
            await ledger.record(event).durable()

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    waiting = count // CALLERS * CALLERS / (time.perf_counter() - started)
    started = time.perf_counter()
    for number in range(count):
        ticket = ledger.record(event)
        if number % 500 == 0:
            await asyncio.sleep(0)
    await ticket.durable()
    streaming = count / (time.perf_counter() - started)
    await ledger.close()
    return waiting, streaming


def verified(folder: Path) -> tuple[float, float]:
    """Records a second, and a second of processor time: what a machine that others use too would do alone."""
    started, spent = time.perf_counter(), time.process_time()
    found = examine(folder)
    assert found.fault is None, found.fault
    return found.head.count / (time.perf_counter() - started), found.head.count / (time.process_time() - spent)


def main() -> None:
    """Print when and on what, and three lines. Arguments: how many appends, or `--quick`."""
    count = 100_000 if len(sys.argv) < 2 else 4_000 if sys.argv[1] == "--quick" else int(sys.argv[1])
    print(f"# python -m bench.ledger_appends: {moment()}")
    with tempfile.TemporaryDirectory() as folder:
        waiting, streaming = asyncio.run(appends(Path(folder), count))
        print(f"{waiting:>10,.0f} durable appends/s, {CALLERS} callers waiting for each of theirs")
        print(f"{streaming:>10,.0f} durable appends/s, one caller that waits at the end")
        rates, busy = zip(*sorted(verified(Path(folder)) for _ in range(5)), strict=True)
        shown = f"{rates[2]:>10,.0f} records/s verified, with their personal parts and their tree (median of 5; {rates[0]:,.0f} to {rates[-1]:,.0f}; {busy[2]:,.0f} a second of processor time)"
        print(f"{shown}; wanted 100,000: {'met' if rates[2] >= 100_000 else 'NOT met'}")


if __name__ == "__main__":
    main()
