"""What a process that was killed leaves behind is taken up by the next one."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from tests.proxy.flight_fixture import MIB, all_of, declared, noise, source_of, surroundings
from tests.support.liar import Lie

DATA = noise(12 * MIB + 99, seed=5)

CHILD = """
import asyncio, sys
from pathlib import Path
from mirror.core.nouns import Span
from mirror.proxy.flights import Flights, Tuning
from mirror.proxy.tuning import Lanes
from mirror.store.disk import DiskStore
from tests.proxy.flight_fixture import known_source, WallClock
from tests.support.plain_upstream import PlainUpstream

async def main():
    upstream = PlainUpstream(sys.argv[1], 30)
    tuning = Tuning(checkpoint=0.02, lanes=Lanes(parallel=int(sys.argv[5]), part=1 << 20, above=0))
    flights = Flights(DiskStore(Path(sys.argv[2])), lambda _: upstream, WallClock(), tuning=tuning)
    body = await flights.join("k", "hub", known_source(sys.argv[3], int(sys.argv[4])))
    async for chunk in body.read(Span(0, int(sys.argv[4]))):
        print(len(chunk), flush=True)

asyncio.run(main())
"""


async def child(here, root: Path, parallel: int = 1) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, here.liar.url, str(root), declared(DATA).hex, str(len(DATA)), str(parallel),
        stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONPATH": "."},
    )  # fmt: skip


async def kill(process: asyncio.subprocess.Process) -> None:
    process.send_signal(signal.SIGKILL)
    await process.wait()


async def test_killed_in_the_middle_it_goes_on_from_disk(tmp_path):
    """After `kill -9` in mid-transfer the next process asks upstream only for what is missing."""
    async with surroundings(tmp_path / "unused", DATA) as here:
        gate = asyncio.Event()
        here.liar.lies.append(Lie(gate=(9 * MIB, gate)))
        process = await child(here, tmp_path / "data")
        taken = 0
        while taken < 8 * MIB:
            taken += int(await process.stdout.readline())
        await asyncio.sleep(0.5)  # several checkpoints
        await kill(process)
        async with surroundings(tmp_path / "data", DATA) as after:
            assert await all_of(await after.join(source_of(DATA))) == DATA
            (asked,) = after.liar.ranges
            assert int(asked.removeprefix("bytes=").split("-")[0]) >= 8 * MIB
            assert after.liar.sent <= 4 * MIB + 99


async def test_parts_ahead_survive_a_kill(tmp_path):
    """After `kill -9` with the front standing still, the parts ahead of it are not fetched again, and the digest is right."""
    async with surroundings(tmp_path / "unused", DATA) as here:
        here.liar.lies.append(Lie(gate=(MIB // 2, asyncio.Event())))
        process = await child(here, tmp_path / "data", parallel=3)
        await process.stdout.readline()
        while here.liar.sent < len(DATA) - MIB // 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)  # several checkpoints
        await kill(process)
        async with surroundings(tmp_path / "data", DATA) as after:
            assert await all_of(await after.join(source_of(DATA))) == DATA
            assert (after.liar.ranges, after.faults) == ([f"bytes=0-{MIB - 1}"], [])


@pytest.mark.parametrize("parallel", [1, 4])
async def test_killed_anywhere_nothing_wrong_is_kept(tmp_path, parallel):
    """Killed at random moments again and again, the file in the end is right, whatever was on disk."""
    moments = random.Random(7)
    async with surroundings(tmp_path / "unused", DATA) as here:
        here.liar.rate = 24 * MIB // parallel
        for _ in range(4):
            process = await child(here, tmp_path / "data", parallel)
            await process.stdout.readline()
            await asyncio.sleep(moments.random() * 0.25)
            await kill(process)
        async with surroundings(tmp_path / "data", DATA) as after:
            assert await all_of(await after.join(source_of(DATA))) == DATA
            assert (await after.store.find(declared(DATA))).size == len(DATA)
            assert after.faults == []


@pytest.mark.parametrize("harm", ["torn map", "flipped block", "no map", "map of another size"])
async def test_damage_to_what_was_left(tmp_path, harm):
    """A torn map is not believed, and a claimed block that rotted is found by its digest and fetched again."""
    async with surroundings(tmp_path, DATA) as here:
        here.liar.lies.append(Lie(cut=6 * MIB))
        here.liar.always = Lie(status=404)
        with pytest.raises(Exception, match="404"):
            await all_of(await here.join(source_of(DATA)))
        await here.quiet()
        (part,) = (tmp_path / "spool").glob("*.part")
        block_map = part.with_suffix(".map")
        raw = bytearray(block_map.read_bytes())
        assert len(raw) > 20
        match harm:
            case "torn map":
                block_map.write_bytes(raw[: len(raw) // 2])
            case "no map":
                block_map.unlink()
            case "map of another size":
                raw[16] ^= 1
                block_map.write_bytes(raw)
            case "flipped block":
                with part.open("r+b") as file:
                    file.seek(2 * MIB)
                    file.write(b"\xff\x00\xff")
        here.liar.always = Lie()
        again = await here.join(source_of(DATA))
        try:
            assert await all_of(again) == DATA
        except Exception as error:
            assert harm == "flipped block", error
        await here.quiet()
        assert await all_of(await here.join(source_of(DATA))) == DATA
        assert len(here.faults) == (harm == "flipped block")
