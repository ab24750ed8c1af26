"""Making room in a full store, and hashing again what lies in it."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.core.errors import LedgerDown, StoreFull
from mirror.core.nouns import Artifact, Blob, Digest, Entry, Kind, Project
from mirror.core.ports import Ask, Holding, Pin, Source
from mirror.index.sql import SqlIndex
from mirror.proxy.eviction import Eviction, by_worth
from mirror.proxy.scrub import Scrub
from mirror.proxy.shelf import Shelf
from mirror.store.disk import DiskStore
from mirror.store.scrub import ScrubbedFolder
from tests.contracts.blobstore import blob_of, put
from tests.support.database import index_in

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PROJECT = Project("huggingface", Kind.MODEL, "acme/tiny", "huggingface", "6f00")
KIB = 1024


class At:
    def now(self) -> datetime:
        return NOW


class Cache:
    """A store and an index that fill each other, and what reads at this moment."""

    def __init__(self, folder: Path, index: SqlIndex, quota: int) -> None:
        self.folder, self.index, self.reading = folder, index, set()
        self.store = DiskStore(folder, quota)
        self.removed: list[Blob] = []
        self.store.on_pressure = Eviction(index, self.store, At(), self.reading.__contains__, quota, self.removed.append).make_room

    async def add(self, name: str, data: bytes, days_ago: float, *also: str) -> Blob:
        blob = await put(self.store, data, name)
        for path in (name, *also):
            await self.index.put_entry(Entry(Artifact(PROJECT, "a" * 40, path), blob, (), NOW - timedelta(days=days_ago)))
        return blob

    async def has(self, *blobs: Blob) -> list[bool]:
        return [await self.store.find(blob.digest) is not None for blob in blobs]


@pytest.fixture
async def cache(tmp_path):
    index = await index_in(tmp_path)
    made = Cache(tmp_path, index, 100 * KIB)
    yield made
    await made.store.close()
    await index.close()


async def test_what_was_not_used_for_longest_goes(cache):
    """A full store frees what the next file needs, oldest use first, and its names with it."""
    old, older, new = [await cache.add(name, name.encode() * 30 * KIB, days) for name, days in (("a", 20), ("b", 30), ("c", 1))]
    await put(cache.store, b"d" * 30 * KIB, "d")
    assert await cache.has(old, older, new) == [True, False, True]
    assert await cache.index.get_entry(Artifact(PROJECT, "a" * 40, "b").identity) is None
    assert cache.removed == [older]


async def test_never_what_is_pinned_or_read(cache):
    """Pinned under any of its names, or being read: it stays, whatever its age, and the next in line goes."""
    pinned = await cache.add("keep.bin", b"k" * 30 * KIB, 90, "other.bin")
    reading = await cache.add("b", b"b" * 30 * KIB, 80)
    other = await cache.add("c", b"c" * 30 * KIB, 1)
    await cache.index.put_pin(Pin("pkg:huggingface/ACME/*#Keep.*", "audit", NOW))
    cache.reading.add(reading.digest)
    await put(cache.store, b"d" * 30 * KIB, "d")
    assert await cache.has(pinned, reading, other) == [True, True, False]


async def test_when_all_is_pinned_the_store_is_full(cache):
    """No room can be made: the spool is refused before anything is written, and nothing was lost for it."""
    blobs = [await cache.add(name, name.encode() * 30 * KIB, 9) for name in "abc"]
    await cache.index.put_pin(Pin("acme/*", "", NOW))
    with pytest.raises(StoreFull):
        await cache.store.open_spool("d", 30 * KIB)
    assert await cache.has(*blobs) == [True, True, True]
    await cache.index.drop_pin("acme/*")
    (await cache.store.open_spool("d", 30 * KIB)).close(discard=True)
    assert False in await cache.has(*blobs)


async def test_nothing_goes_for_what_never_fits(cache):
    """A file larger than the whole quota is refused without emptying the cache for it."""
    blob = await cache.add("a", b"a" * 30 * KIB, 300)
    with pytest.raises(StoreFull):
        await cache.store.open_spool("giant", 101 * KIB)
    assert await cache.has(blob) == [True]


async def test_a_sick_index_evicts_nothing(cache):
    """Where it cannot be told what is pinned nothing is removed: the store is full, and that is all."""
    blobs = [await cache.add(name, name.encode() * 30 * KIB, 9) for name in "abc"]
    async with cache.index._database.write() as connection:
        await connection.exec_driver_sql("DROP TABLE pins")
    with pytest.raises(StoreFull):
        await cache.store.open_spool("d", 30 * KIB)
    assert await cache.has(*blobs) == [True, True, True]


async def test_what_another_process_removed_is_room(cache):
    """After `mirror cache evict` beside it, a running mirror fills the room that was made and evicts nothing more for it."""
    stays, *gone = [await cache.add(name, name.encode() * 30 * KIB, days) for name, days in (("a", 30), ("b", 20), ("c", 9))]
    other = DiskStore(cache.folder, 100 * KIB)
    for blob in gone:
        await other.remove(blob.digest)
        await cache.index.forget_blob(blob.digest)
    await other.close()
    blob = await put(cache.store, b"d" * 50 * KIB, "d")
    assert await cache.has(stays, blob) == [True, True]
    assert cache.removed == []
    assert cache.store.used == DiskStore(cache.folder).used == 80 * KIB


async def test_a_use_is_written_down_before_long(cache):
    """A file that is asked for now and then is not taken for one that nobody used since it was fetched."""
    clock = At()
    often, never = [await cache.add(name, name.encode() * 40 * KIB, days) for name, days in (("a", 30), ("b", 20))]
    shelf = Shelf(cache.index, cache.store, clock)
    for _ in range(3):
        clock.now = lambda moment=clock.now(): moment + timedelta(minutes=2)
        await shelf.used(Artifact(PROJECT, "a" * 40, "a"))
    await put(cache.store, b"d" * 40 * KIB, "d")
    assert await cache.has(often, never) == [True, False]


async def test_with_the_bytes_the_names_in_memory_go(cache):
    """A name of evicted bytes is a miss, and is written down anew when they came back under another one: a pin on it holds them."""
    shelf, data = Shelf(cache.index, cache.store, At()), b"a" * 40 * KIB
    source = Source(Ask("/a"), Digest("sha256", sha256(data).hexdigest()), len(data))
    first, second = (Artifact(PROJECT, "a" * 40, path) for path in ("a", "b"))
    eviction = Eviction(cache.index, cache.store, At(), lambda _: False, on_removed=lambda blob: shelf.forget(blob.digest))
    for told in (True, False):
        blob = await put(cache.store, data, "a")
        await shelf.put(first, blob, source)
        holding = Holding(blob, NOW, (first,))
        if told:
            await eviction.remove(holding)
        else:  # by another hand: the shelf learns of it when the name is asked for
            await Eviction(cache.index, cache.store, At(), lambda _: False).remove(holding)
            assert await shelf.find(first, source) is None
        await shelf.put(second, await put(cache.store, data, "a"), source)
        assert await shelf.find(first, source) == blob
        assert await cache.index.get_entry(first.identity) is not None
        await eviction.remove(holding)


async def test_what_the_disk_does_not_let_go_of(cache):
    """A blob that cannot be removed is passed over: room is made with the next one."""
    stuck, other = [await cache.add(name, name.encode() * 40 * KIB, days) for name, days in (("a", 30), ("b", 20))]
    path = cache.store.path(stuck)
    path.unlink()
    path.mkdir()
    await put(cache.store, b"d" * 40 * KIB, "d")
    assert await cache.has(other) == [False]


async def test_what_lands_while_it_is_evicted_does_not_stay_without_a_name(cache):
    """Bytes that come again between the removal of the old ones and that of their names would fill the disk for ever."""
    blob = await cache.add("a", b"a" * 40 * KIB, 30)
    forget = cache.index.forget_blob

    async def landing_first(digest: Digest) -> None:
        await cache.add("a", b"a" * 40 * KIB, 0)
        await forget(digest)

    cache.index.forget_blob = landing_first
    holding = Holding(blob, NOW, ())
    assert await Eviction(cache.index, cache.store, At(), lambda _: False).remove(holding) == 40 * KIB
    assert await cache.has(blob) == [False]
    assert cache.store.used == 0


async def test_many_misses_evict_in_turn(cache):
    """Sixteen files that come at once into a full store all find room, and the quota is kept."""
    for number in range(3):
        await cache.add(f"old{number}", bytes([number]) * 33 * KIB, 9)
    spools = await asyncio.gather(*(cache.store.open_spool(f"n{number}", 6 * KIB) for number in range(16)))
    assert cache.store.used + cache.store.reserved <= 100 * KIB
    for spool in spools:
        spool.close(discard=True)


@given(st.lists(st.tuples(st.floats(0, 1e8), st.integers(0, 2**40)), min_size=2, max_size=30))
def test_worth_follows_age_and_size(rows):
    """Of two files of one size the one idle for longer goes first; of two of one age, the larger; twice the age wins over any size."""
    holdings = [Holding(Blob(Digest("sha256", f"{n:064x}"), size), NOW - timedelta(seconds=idle), ()) for n, (idle, size) in enumerate(rows)]
    ordered = by_worth(holdings, NOW)
    for first, second in zip(ordered, ordered[1:], strict=False):
        assert first.last_used <= second.last_used or first.blob.size > second.blob.size
        idle = [(NOW - one.last_used).total_seconds() + 1 for one in (first, second)]
        assert idle[1] <= 4 * idle[0]


# --- scrubbing --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def scrubbing(cache, *, broken: bool = False):
    said: list[tuple[str, str, str, str]] = []

    async def report(*row: str) -> None:
        if broken:
            raise LedgerDown("no")
        said.append(row)

    yield Scrub(ScrubbedFolder(cache.folder), cache.store, report, 0), said


def spoil(cache, blob: Blob, at: int = 5) -> None:
    path = cache.store.path(blob)
    os.chmod(path, 0o640)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


async def test_a_flipped_byte_is_found_recorded_and_missed(cache):
    """One flipped bit on the disk: the blob is a miss from then on, on the record with both digests, and counted out."""
    blobs = [await cache.add(name, name.encode() * 20 * KIB, 1) for name in "abc"]
    spoil(cache, blobs[1], 19 * KIB)
    async with scrubbing(cache) as (scrub, said):
        await scrub.round()
    assert await cache.has(*blobs) == [True, False, True]
    wrong = bytearray(b"b" * 20 * KIB)
    wrong[19 * KIB] ^= 1
    assert said == [(str(blobs[1].digest), str(blobs[1].digest), f"sha256:{sha256(wrong).hexdigest()}", "store")]
    assert cache.store.used == 40 * KIB
    assert (await put(cache.store, b"b" * 20 * KIB, "again")) == blobs[1]


async def test_a_walk_keeps_to_its_rate(cache):
    """What is hashed in the background takes at least as long as its bytes at the rate that was set."""
    await cache.add("a", b"a" * 60 * KIB, 1)
    clock = asyncio.get_running_loop().time
    began = clock()
    await Scrub(ScrubbedFolder(cache.folder), cache.store, None, 200 * KIB).round()
    assert clock() - began >= 0.3


async def test_what_cannot_be_recorded_is_kept_aside(cache):
    """While the ledger is down a damaged blob is out of the way but not forgotten: the next look records it."""
    blob = await cache.add("a", b"a" * 20 * KIB, 1)
    spoil(cache, blob)
    async with scrubbing(cache, broken=True) as (scrub, _):
        await scrub.round()
    assert await cache.has(blob) == [False]
    async with scrubbing(cache) as (scrub, said):
        await scrub.record()
    assert len(said) == 1
    assert ScrubbedFolder(cache.folder).damaged() == []


async def test_only_what_was_set_aside_is_put_on_the_record(cache):
    """Other names in the folder of damaged blobs are no faults of anybody's, and do not stop the scrub."""
    blob = await cache.add("a", b"a" * 20 * KIB, 1)
    folder = ScrubbedFolder(cache.folder)
    folder.set_aside(blob.digest, "0" * 64)
    (cache.folder / "blobs" / "damaged" / "lost+found").mkdir()
    (cache.folder / "blobs" / "damaged" / "notes.txt").write_text("look into this")
    async with scrubbing(cache) as (scrub, said):
        await scrub.record()
    assert [row[0] for row in said] == [str(blob.digest)]


async def test_walk_and_look_record_one_damage_once(cache):
    """What the walk finds while the look for other processes' finds is under way is one event, and counted out once."""
    blobs = [await cache.add(name, name.encode() * 20 * KIB, 1) for name in "ab"]
    spoil(cache, blobs[0])
    async with scrubbing(cache) as (scrub, said):
        folder = ScrubbedFolder(cache.folder)
        folder.set_aside(blobs[0].digest, "0" * 64)
        await asyncio.gather(scrub.record(), scrub.record())
    assert len(said) == 1
    assert cache.store.used == 20 * KIB


async def test_a_walk_goes_on_where_it_was(cache):
    """A new process begins behind the last digest that was looked at, and every blob is looked at in a round."""
    blobs = sorted([await cache.add(str(n), bytes([n]) * 100, 1) for n in range(40)], key=lambda blob: blob.digest.hex)
    folder = ScrubbedFolder(cache.folder)
    assert [digest for digest in folder.following("", 1000)] == [blob.digest for blob in blobs]
    assert folder.following(blobs[9].digest.hex, 5) == [blob.digest for blob in blobs[10:15]]
    assert folder.following(blobs[-1].digest.hex) == []
    async with scrubbing(cache) as (scrub, _):
        scrub.progress.after = blobs[29].digest.hex
        folder.save(scrub.progress)
    async with scrubbing(cache) as (scrub, said):
        spoil(cache, blobs[3])
        spoil(cache, blobs[33])
        scrub.progress = folder.load()
        await scrub.round()
        assert [row[0] for row in said] == [str(blobs[33].digest)]
        await scrub.round()
        assert {row[0] for row in said} == {str(blobs[33].digest), str(blobs[3].digest)}
        assert blob_of(bytes([0]) * 100) is not None
