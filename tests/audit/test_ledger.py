"""The ledger on a real disk: order, restart, rotation, damage, a full disk, two writers."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mirror.audit.check import check
from mirror.audit.ledger import SegmentLedger
from mirror.audit.segments import Reader, find_end, segments
from mirror.core.decision import Event, EventKind
from mirror.core.errors import InputError, LedgerDown
from tests.audit.samples import ACTOR, NOW, SteppingClock, refused
from tests.contracts.ledger import LedgerContract


def opened(directory: Path, **options) -> SegmentLedger:
    return SegmentLedger(directory, SteppingClock(), **{"reserve": 1 << 20, **options})


def kinds(directory: Path) -> list[str]:
    return [record["kind"] for record in Reader(directory).read(100_000)]


class TestSegmentLedger(LedgerContract):
    @pytest.fixture
    async def ledger(self, tmp_path):
        ledger = opened(tmp_path)
        await ledger.start({"version": "0"})
        yield ledger
        await ledger.close()
        assert check(tmp_path).fault is None

    def stored(self, ledger):
        return Reader(ledger.directory).read(100_000)


async def test_life_is_recorded(tmp_path):
    """A run begins with `started` and what was passed in, ends with `stopped`, and the next goes on with the chain."""
    for run in range(3):
        ledger = opened(tmp_path)
        await ledger.start({"version": str(run)})
        await ledger.record(refused(run)).durable()
        await ledger.close()
    records = Reader(tmp_path).read(100)
    assert [record["kind"] for record in records] == ["started", "refused", "stopped"] * 3
    assert [record["detail"]["version"] for record in records[::3]] == ["0", "1", "2"]
    found = check(tmp_path)
    assert (found.head.count, found.fault, found.erased, found.unfinished) == (9, None, 0, "")


async def test_rotation(tmp_path):
    """Segments end at their size, are named by their first sequence, and chain across files and restarts."""
    for run in range(2):
        ledger = opened(tmp_path, segment_size=8000)
        await ledger.start()
        for number in range(12):
            await ledger.record(refused(number)).durable()
        await ledger.close()
        assert check(tmp_path).fault is None
    names = [segment.path.name for segment in segments(tmp_path)]
    firsts = [segment.first for segment in segments(tmp_path)]
    assert len(names) > 4
    assert [record["seq"] for record in Reader(tmp_path).read(1000)] == list(range(28))
    assert names == [f"segment-{first:012d}.jsonl" for first in firsts]
    assert Reader(tmp_path, firsts[2]).read(1)[0]["actor"]["name"] == ACTOR.name


async def test_one_writer(tmp_path):
    """A second writer is told which process has the ledger, and the first is not disturbed."""
    ledger = opened(tmp_path)
    await ledger.start()
    with pytest.raises(InputError, match=f"process {os.getpid()}"):
        await opened(tmp_path).start()
    await ledger.record(refused()).durable()
    await ledger.close()
    assert check(tmp_path).fault is None


async def test_torn_tail_is_named_cut_and_kept(tmp_path):
    """An incomplete last record is kept aside, named by a `recovered` event, and the chain goes on without it."""
    ledger = opened(tmp_path)
    await ledger.start()
    await ledger.record(refused()).durable()
    await ledger.close()
    last = segments(tmp_path)[-1]
    with last.path.open("ab") as file:
        file.write(b'{"actor":{"country":"US"')
    with last.personal.open("ab") as file:
        file.write(b'{"part":{"address":"","name":"n","query":"","user_agent":""},"salt":"00","seq":3}\n{"par')
    before = check(tmp_path)
    assert (before.head.count, before.fault) == (3, None)
    assert "torn: 24 bytes" in before.unfinished
    again = opened(tmp_path)
    torn = await again.start()
    await again.close()
    assert (tmp_path / torn.file).read_bytes() == b'{"actor":{"country":"US"'
    assert kinds(tmp_path) == ["started", "refused", "stopped", "recovered", "started", "stopped"]
    assert Reader(tmp_path, 3).read(1)[0]["detail"] == {
        "bytes": 24, "file": torn.file, "sequence": 3, "sha256": torn.digest,
    }  # fmt: skip
    after = check(tmp_path)
    assert (after.fault, after.unfinished, after.erased) == (None, "", 0)


async def test_fault_in_the_middle_stops_the_start(tmp_path):
    """A changed record with whole ones after it is no torn tail: the start fails and names file and sequence."""
    ledger = opened(tmp_path)
    await ledger.start()
    for number in range(5):
        await ledger.record(refused(number)).durable()
    await ledger.close()
    path = segments(tmp_path)[-1].path
    data = path.read_bytes().splitlines(keepends=True)
    data[2] = data[2].replace(b"deny", b"warn", 1)
    path.write_bytes(b"".join(data))
    with pytest.raises(InputError) as caught:
        await opened(tmp_path).start()
    assert "segment-000000000000.jsonl: seq 2: " in str(caught.value)


async def test_lost_records_stop_the_start(tmp_path):
    """A ledger that is shorter than its head says - whole last records gone - is not written on."""
    ledger = opened(tmp_path)
    await ledger.start()
    await ledger.record(refused()).durable()
    await ledger.close()
    path = segments(tmp_path)[-1].path
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(InputError, match="its head tells of 3 records"):
        await opened(tmp_path).start()
    assert check(tmp_path).fault.sequence == 2


async def test_erasure_leaves_the_chain_whole(tmp_path):
    """A personal line that is taken out is counted as erased, shown as nulls, and nothing else changes."""
    ledger = opened(tmp_path)
    await ledger.start()
    await ledger.record(refused()).durable()
    await ledger.close()
    personal = segments(tmp_path)[-1].personal
    data = personal.read_bytes().splitlines(keepends=True)
    personal.write_bytes(data[0] + data[2])
    found = check(tmp_path)
    assert (found.fault, found.erased) == (None, 1)
    assert [record["actor"]["name"] for record in Reader(tmp_path).read(9)] == ["mirror", None, "mirror"]
    again = opened(tmp_path)
    await again.start()
    await again.close()
    assert (check(tmp_path).fault, check(tmp_path).erased) == (None, 1)


async def test_bad_event_disturbs_nobody(tmp_path):
    """An event that cannot be sealed is its caller's error; those beside it in the same commit are written."""
    ledger = opened(tmp_path)
    await ledger.start()
    before, after = ledger.record(refused(1)), None
    with pytest.raises(ValueError, match="floats"):
        ledger.record(Event(EventKind.POLICY, NOW, ACTOR, subject="p", detail=(("share", 0.5),)))
    after = ledger.record(refused(2))
    assert (await after.durable()).sequence == (await before.durable()).sequence + 1
    await ledger.close()


async def test_unwritable_folder(tmp_path):
    """A path that cannot be a folder is unusable input, named."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        await opened(tmp_path / "file" / "ledger").start()


FULL = """
import asyncio, os, resource, signal, sys
from pathlib import Path
from mirror.audit.ledger import SegmentLedger
from mirror.core.errors import LedgerDown
from tests.audit.samples import SteppingClock, refused

async def main():
    directory = Path(sys.argv[1])
    ledger = SegmentLedger(directory, SteppingClock(), reserve=0)
    await ledger.start()
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, resource.RLIM_INFINITY))
    written, failed = 0, 0
    for number in range(200):
        try:
            await ledger.record(refused(number)).durable()
            written += 1
        except LedgerDown:
            failed += 1
            if failed > 3:
                break
    print(written, failed, ledger.state, ledger.why)
    try:
        ledger.record(refused())
    except LedgerDown as error:
        print("at once", error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    while ledger.state == "down":
        await asyncio.sleep(0.05)
    await ledger.record(refused(999)).durable()
    print(ledger.state)
    await ledger.close()

asyncio.run(main())
"""


def test_no_room_fails_closed_and_heals(tmp_path):
    """Where no byte more can be written every ticket fails, `record` raises at once; with room again the ledger heals.

    It goes on by itself, verifies, has every acknowledged event, and its outage is an event.
    """
    run = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "ledger")], capture_output=True, text=True, timeout=100, check=False
    )
    assert run.returncode == 0, run.stderr
    first, second, third = run.stdout.splitlines()
    written, failed, state, *why = first.split()
    assert int(written) > 10
    assert (state, second.startswith("at once"), third) == ("down", True, "ok")
    found = check(tmp_path / "ledger")
    assert (found.fault, found.unfinished) == (None, "")
    records = Reader(tmp_path / "ledger").read(1000)
    assert sum(record["kind"] == "refused" for record in records) == int(written) + 1
    assert [r["detail"]["outage"] for r in records if r["kind"] == "recovered"] == ["nothing could be recorded"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MiB of its own."""
    where = tmp_path / "disk"
    where.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(where)], capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip("mounting needs root: the same code runs under test_no_room_fails_closed_and_heals")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


async def test_reserve_carries_the_ledger_over_a_full_disk(small_disk):
    """On a disk that others filled, the ledger goes on from its reserve and says so; when that is spent it is down.

    With room again it heals, and nothing acknowledged is missing.
    """
    ledger = opened(small_disk / "ledger", reserve=10 << 20)
    await ledger.start()
    filler = (small_disk / "cache").open("wb", buffering=0)
    with pytest.raises(OSError) as caught:
        while True:
            filler.write(b"x" * 4096)
    assert caught.value.errno == errno.ENOSPC
    written = 0
    for number in range(40):
        written += await _refuse(ledger, 20, number)
    assert (ledger.state, written) == ("reserve", 800)
    with pytest.raises(OSError):
        while True:  # the cache takes what the ledger gave up and did not use
            filler.write(b"x" * 4096)
    with pytest.raises(LedgerDown):
        for number in range(100):
            await _refuse(ledger, 200, number)
            written += 200
    assert ledger.state == "down"
    os.ftruncate(filler.fileno(), 0)
    filler.close()
    while ledger.state == "down":
        await asyncio.sleep(0.05)
    await ledger.record(refused()).durable()
    await ledger.close()
    found = check(small_disk / "ledger")
    assert found.fault is None
    assert kinds(small_disk / "ledger").count("refused") >= written + 1


async def _refuse(ledger: SegmentLedger, count: int, number: int) -> int:
    tickets = [ledger.record(refused(number * 1000 + index)) for index in range(count)]
    for ticket in tickets:
        await ticket.durable()
    return count


async def test_reading_while_writing(tmp_path):
    """A reader and `check` beside a running writer see a sound prefix, never a fault."""
    ledger = opened(tmp_path, segment_size=50_000)
    await ledger.start()
    reader, seen = Reader(tmp_path), []
    for number in range(40):
        tickets = [ledger.record(refused(number * 100 + index)) for index in range(5)]
        seen += reader.read(1000)
        found = check(tmp_path)
        assert found.fault is None, found
        await tickets[-1].durable()
    await ledger.close()
    seen += reader.read(1000)
    assert [record["seq"] for record in seen] == list(range(202))
    assert find_end(tmp_path).head.count == 202
    assert seen[100]["decision"]["actor"]["name"] == ACTOR.name




class _BreakingClock(SteppingClock):
    broken = False

    def now(self):
        if self.broken:
            raise RuntimeError("unforeseen")
        return super().now()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_writer_that_died_is_down(tmp_path):
    """When the writing thread ends of something unforeseen, waiters hear it, nothing more is taken, and `state` says so."""
    clock = _BreakingClock()
    ledger = SegmentLedger(tmp_path, clock, reserve=1 << 20)
    await ledger.start()
    event = refused()
    await ledger.record(event).durable()
    clock.broken = True
    ticket = ledger.repeat(event.decision, must_be_durable=True)
    with pytest.raises(LedgerDown, match="has ended"):
        await ticket.durable()
    with pytest.raises(LedgerDown, match="has ended"):
        ledger.record(refused(1))
    assert ledger.state == "down"
    await ledger.close()
