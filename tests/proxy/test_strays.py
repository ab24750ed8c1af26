"""Bytes that no name leads to: what a kill leaves behind is found, kept for a while, joined again or removed."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mirror.core.nouns import Artifact, Digest, Kind, Project
from mirror.index.engine import IndexDown
from mirror.index.sql import SqlIndex
from mirror.proxy.shelf import Shelf
from mirror.proxy.strays import Strays
from mirror.store.disk import DiskStore
from tests.contracts.blobstore import put
from tests.proxy.flight_fixture import declared, noise, source_of, surroundings
from tests.support.database import index_in

DATA = noise(300_000, seed=9)
ARTIFACT = Artifact(Project("huggingface", Kind.MODEL, "acme/tiny", "huggingface", "6f00"), "a" * 40, "model.bin")
DAY = timedelta(days=1)

CHILD = """
import asyncio, sys
from pathlib import Path
from mirror.proxy.flights import Flights, Tuning
from mirror.store.disk import DiskStore
from tests.proxy.flight_fixture import known_source, WallClock
from tests.support.plain_upstream import PlainUpstream

async def main():
    upstream = PlainUpstream(sys.argv[1], 30)
    flights = Flights(DiskStore(Path(sys.argv[2])), lambda _: upstream, WallClock(), tuning=Tuning())
    async def landed(key, blob, source):
        print("adopted", flush=True)
        await asyncio.sleep(3600)  # the name is about to be written down
    flights.on_landed = landed
    await flights.join("k", "hub", known_source(sys.argv[3], int(sys.argv[4])))
    await asyncio.sleep(3600)

asyncio.run(main())
"""


class At:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 11, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment


class Left:
    """What a killed process left, and the next one's view of it."""

    def __init__(self, folder: Path, index: SqlIndex) -> None:
        self.index, self.store, self.clock, self.reading, self.removed = index, DiskStore(folder), At(), set[Digest](), []
        self.strays = Strays(folder, index, self.store, self.clock, self.reading.__contains__, lambda *what: self.removed.append(what))

    async def has(self, data: bytes = DATA) -> bool:
        return await self.store.find(declared(data)) is not None

    async def later(self, days: float) -> int:
        """A round so much later."""
        self.clock.moment += days * DAY
        return await self.strays.round()


@pytest.fixture
async def left(tmp_path):
    async with surroundings(tmp_path / "unused", DATA) as here:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, here.liar.url, str(tmp_path / "data"), declared(DATA).hex, str(len(DATA)),
            stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONPATH": "."},
        )  # fmt: skip
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"adopted\n"
        process.kill()
        await process.wait()
    index = await index_in(tmp_path / "data")
    found = Left(tmp_path / "data", index)
    yield found
    await found.store.close()
    await index.close()


async def test_what_a_kill_left_without_a_name_goes_after_its_time(left):
    """Killed between adoption and entry: the bytes stay a week from when they were found, never while they are read, then go."""
    assert await left.has()
    assert [await left.later(days) for days in (0, 6.9)] == [0, 0]
    left.reading.add(declared(DATA))
    assert await left.later(1) == 0
    assert await left.has()
    left.reading.clear()
    assert await left.later(1) == 1
    assert not await left.has()
    assert left.removed == [(declared(DATA), len(DATA))]
    assert left.store.used == 0


async def test_what_is_asked_for_again_has_its_name_again(left):
    """Whoever asks for the digest finds the bytes, which cross from upstream once, and from then on they have a name."""
    await left.later(0)
    shelf = Shelf(left.index, left.store, left.clock)
    assert (await shelf.find(ARTIFACT, source_of(DATA))).digest == declared(DATA)
    assert await left.later(30) == 0
    assert await left.has()
    await left.index.forget_entry(ARTIFACT.identity)
    assert [await left.later(days) for days in (0, 6)] == [0, 0]  # its time began anew


async def test_who_has_a_name_must_be_known(left):
    """A database that does not answer removes nothing, and a sheet that cannot be read gives everybody their time anew."""
    await left.later(0)
    other = await put(left.store, b"named", "n")
    await Shelf(left.index, left.store, left.clock).put(ARTIFACT, other, source_of(b"named"))
    async with left.index._database.write() as connection:
        await connection.exec_driver_sql("ALTER TABLE entries RENAME TO gone")
    with pytest.raises(IndexDown):
        await left.later(30)
    assert await left.has()
    async with left.index._database.write() as connection:
        await connection.exec_driver_sql("ALTER TABLE gone RENAME TO entries")
    sheet = left.store.path(other).parents[3] / "strays.json"
    sheet.write_text("[7")
    assert [await left.later(days) for days in (30, 6, 2)] == [0, 0, 1]
    assert await left.has(b"named")
