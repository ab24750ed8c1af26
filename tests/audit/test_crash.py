"""`kill -9` under load: whatever was acknowledged is there, the chain holds, a torn tail is named."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mirror.audit.check import check
from mirror.audit.checkpointer import Checkpointer
from mirror.audit.examine import examine
from mirror.audit.ledger import SegmentLedger
from mirror.audit.segments import Reader
from mirror.trust.machine_key import MachineKey
from tests.audit.samples import SteppingClock

SEED = 20261122

#: Writes as fast as it can, signs for it every 20 ms, and tells each acknowledged refusal by its id on standard output, unbuffered.
LOAD = """
import asyncio, itertools, os, sys
from pathlib import Path
from mirror.audit.checkpointer import Checkpointer
from mirror.audit.ledger import SegmentLedger
from mirror.trust.machine_key import MachineKey
from tests.audit.samples import SteppingClock, allowed, decision, refused

async def main():
    ledger = SegmentLedger(Path(sys.argv[1]), SteppingClock(), reserve=1 << 20, segment_size=300_000)
    checkpointer = Checkpointer(ledger, MachineKey(Path(sys.argv[1]).with_suffix(".key")), SteppingClock())
    await ledger.start(admit=checkpointer.admit)
    await checkpointer.begin()
    signing = asyncio.create_task(checkpointer.run(0.02))
    numbers = itertools.count(int(sys.argv[2]))
    async def client(kind):
        for number in numbers:
            if kind == "repeat":
                await ledger.record(refused(number)).durable()
                await ledger.repeat(decision(number), must_be_durable=True).durable()
                line = f"{decision(number).id} 2"
            else:
                ledger.record(allowed(number + 10**9))
                await ledger.record(refused(number)).durable()
                line = f"{decision(number).id} 1"
            os.write(1, (line + "\\n").encode())
    await asyncio.gather(*(client("repeat" if k % 4 == 0 else "once") for k in range(32)))

asyncio.run(main())
"""


def _acknowledged(output: bytes) -> dict[str, int]:
    whole = output.decode().rpartition("\n")[0]
    return {identity: int(count) for identity, count in (line.split() for line in whole.splitlines())}


def _killed(directory: Path, first: int, wait: float) -> dict[str, int]:
    with (directory.parent / "acknowledged").open("w+b") as answers:
        process = subprocess.Popen(
            [sys.executable, "-c", LOAD, str(directory), str(first)], stdout=answers, stderr=subprocess.PIPE
        )
        head = directory / "head"
        while process.poll() is None and os.path.getsize(answers.name) == 0:
            time.sleep(0.005)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        assert process.returncode == -signal.SIGKILL, errors.decode()
        assert head.exists()
        answers.seek(0)
        return _acknowledged(answers.read())


async def _restart(directory: Path):
    ledger = SegmentLedger(directory, SteppingClock(), reserve=1 << 20)
    checkpointer = Checkpointer(ledger, MachineKey(directory.with_suffix(".key")), SteppingClock())
    torn = await ledger.start(admit=checkpointer.admit)
    await checkpointer.begin()
    await ledger.close()
    return torn


def _answers(directory: Path) -> dict[str, int]:
    counted: dict[str, int] = {}
    for record in Reader(directory).read(10_000_000):
        if record["kind"] == "refused":
            counted[record["decision"]["id"]] = counted.get(record["decision"]["id"], 0) + record["count"]
        elif record["kind"] == "repeated":
            counted[record["subject"]] = counted.get(record["subject"], 0) + record["count"]
    return counted


def _crashes(tmp_path: Path, rounds: int, seed: int = SEED) -> int:
    """How many answers were acknowledged; kills a ledger so often, and verifies it after each."""
    chance = random.Random(seed)
    directory = tmp_path / "ledger"
    promised: dict[str, int] = {}
    for round_ in range(rounds):
        promised |= _killed(directory, round_ * 1_000_000, chance.uniform(0.0, 0.5))
        left = examine(directory)
        assert left.fault is None, left.fault
        torn = asyncio.run(_restart(directory))
        assert (torn is not None) == left.unfinished.startswith("torn")
        after = examine(directory)
        assert (after.fault, after.unfinished, after.erased) == (None, "", 0), after
    counted = _answers(directory)
    missing = {identity: count for identity, count in promised.items() if counted.get(identity, 0) < count}
    assert not missing
    assert len(promised) > rounds
    return len(promised)


@pytest.mark.timeout(300)
def test_kill_nine(tmp_path):
    """After each of several kills at random moments no acknowledged refusal, and no acknowledged repeat, is missing."""
    _crashes(tmp_path, 5)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_kill_nine_many_times(tmp_path, record_property):
    """The same three hundred times: twenty ledgers, because each is verified whole after each kill."""
    answers = 0
    for number in range(20):
        (tmp_path / str(number)).mkdir()
        answers += _crashes(tmp_path / str(number), 15, SEED + number)
    record_property("tried", {"kills": 300, "acknowledged answers": answers})


def test_every_torn_length(tmp_path):
    """Cut anywhere inside its last, unacknowledged record, a ledger starts again, keeps the piece and tells of it."""

    async def write(directory: Path) -> None:
        ledger = SegmentLedger(directory, SteppingClock(), reserve=0)
        await ledger.start()
        await ledger.close()

    whole = tmp_path / "whole"
    asyncio.run(write(whole))
    segment = whole / "segment-000000000000.jsonl"
    lines = segment.read_bytes().splitlines(keepends=True)
    personal = (whole / "personal-000000000000.jsonl").read_bytes().splitlines(keepends=True)
    leaf = json.loads(lines[0])["leaf"]
    for size in range(1, len(lines[1])):
        copy = tmp_path / str(size)
        copy.mkdir()
        (copy / segment.name).write_bytes(lines[0] + lines[1][:size])
        (copy / "personal-000000000000.jsonl").write_bytes(b"".join(personal))
        (copy / "head").write_bytes(f"{1:016d} {leaf}\n".encode())
        if size == len(lines[1]) - 1 or size % 37 == 0:
            torn = asyncio.run(_restart(copy))
            assert torn is not None
            assert (copy / torn.file).read_bytes() == lines[1][:size]
            assert [record["kind"] for record in Reader(copy).read(9)] == ["started", "recovered", "started", "key", "stopped"]
            assert check(copy).fault is None
        else:
            assert check(copy).unfinished.startswith(f"torn: {size} bytes")
