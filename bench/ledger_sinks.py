"""How fast a receiver that was away for days gets what it has missed: `python -m bench.ledger_sinks [EVENTS]`.

A ledger of refusals (2.4 KB each) is delivered to a file, synced after each batch, with nothing else going on in the process and with
a thread beside it that always has work to do, as those who are served have.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
import time
from pathlib import Path

from bench.contest.machine import moment
from mirror.audit.ledger import SegmentLedger
from mirror.audit.receivers import FileReceiver, Writing
from mirror.audit.sinks import Sink
from tests.audit.samples import SteppingClock, refused

WANTED = {"native": 10_000, "ocsf": 5_000}


async def filled(directory: Path, count: int) -> None:
    """A ledger of so many records, and two of its own."""
    ledger = SegmentLedger(directory, SteppingClock(), reserve=0)
    await ledger.start()
    for number in range(count - 2):
        ticket = ledger.record(refused(number))
        if number % 500 == 0:
            await asyncio.sleep(0)
    await ticket.durable()
    await ledger.close()


async def delivered(folder: Path, form: str, count: int, name: str) -> tuple[float, float]:
    """Events a second until the sink is level, and a second of processor time: what a machine that others use too would do alone."""
    sink = Sink(name, folder / "ledger", FileReceiver(folder / name, Writing(form, "1.0", "mirror")), SteppingClock())
    sink.advance(count)
    begun, spent = time.perf_counter(), time.process_time()
    running = asyncio.create_task(sink.run())
    while sink.lag:
        await asyncio.sleep(0.01)
    took, spent = time.perf_counter() - begun, time.process_time() - spent
    sink.finish()
    await running
    return count / took, count / spent


async def beside_work(folder: Path, form: str, count: int) -> tuple[float, float]:
    """(events a second, the share of the time that the other thread got)."""
    over, spent = threading.Event(), [0.0]

    def work() -> None:
        while not over.is_set():
            sum(range(1000))
        spent[0] = time.thread_time()

    other = threading.Thread(target=work)
    begun = time.perf_counter()
    other.start()
    try:
        rate, _ = await delivered(folder, form, count, f"{form}-beside")
    finally:
        over.set()
        other.join()
    return rate, spent[0] / (time.perf_counter() - begun)


async def main(count: int) -> None:
    """Print a line a format."""
    print(f"# python -m bench.ledger_sinks: {moment()}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        await filled(folder / "ledger", count)
        for form in ("native", "ocsf", "ecs", "cef", "rfc5424"):
            alone, busy = await delivered(folder, form, count, form)
            wanted = WANTED.get(form)
            verdict = f"; wanted {wanted:,}: {'met' if alone >= wanted else 'NOT met'}" if wanted else ""
            rate, share = await beside_work(folder, form, count)
            print(f"{form:8} {alone:8,.0f} events/s alone ({busy:,.0f} a second of processor time){verdict}; {rate:8,.0f} beside a busy thread, which had {share:.0%} of the time", flush=True)


if __name__ == "__main__":
    given = [word for word in sys.argv[1:] if word != "--quick"]
    asyncio.run(main(int(given[0]) if given else 4_000 if "--quick" in sys.argv else 40_000))
