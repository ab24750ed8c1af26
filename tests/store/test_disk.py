"""The local disk store beyond the contract: room, damage, restarts."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mirror.core.errors import StoreFull
from mirror.core.nouns import Span
from mirror.core.ports import BLOCK
from mirror.core.spans import SpanSet
from mirror.store.disk import DiskStore
from tests.contracts.blobstore import BlobStoreContract, blob_of, put


class TestDiskStore(BlobStoreContract):
    @pytest.fixture
    async def store(self, tmp_path):
        store = DiskStore(tmp_path)
        yield store
        await store.close()


async def test_quota_is_reserved_before_writing(tmp_path):
    """Two spools cannot promise themselves the same room; a closed one gives it back."""
    store = DiskStore(tmp_path, quota=10 * BLOCK)
    first = await store.open_spool("one", 6 * BLOCK)
    with pytest.raises(StoreFull):
        await store.open_spool("two", 6 * BLOCK)
    first.close(discard=True)
    assert (await store.open_spool("two", 6 * BLOCK)).size == 6 * BLOCK


async def test_free_space_floor(tmp_path):
    """No spool is opened that would leave less than `min_free` on the file system."""
    system = os.statvfs(tmp_path)
    store = DiskStore(tmp_path, min_free=system.f_bavail * system.f_frsize - 100 * BLOCK)
    with pytest.raises(StoreFull):
        await store.open_spool("k", 300 * BLOCK)


async def test_unknown_size_is_counted_as_it_comes(tmp_path):
    """A spool of unknown length hits the quota when it gets there."""
    store = DiskStore(tmp_path, quota=2 * BLOCK)
    spool = await store.open_spool("k", None)
    await spool.write(0, b"x" * BLOCK)
    with pytest.raises(StoreFull):
        await spool.write(BLOCK, b"x" * (BLOCK + 1))


async def test_old_unfinished_spools_give_way(tmp_path):
    """Room that an abandoned download takes is given to one that is wanted."""
    store = DiskStore(tmp_path, quota=4 * BLOCK)
    spool = await store.open_spool("old", 3 * BLOCK)
    await spool.write(0, b"x" * 3 * BLOCK)
    await spool.sync()
    spool.close(discard=False)
    assert store.reserved == 3 * BLOCK
    await put(store, b"y" * 3 * BLOCK, "new")
    assert store.used == 3 * BLOCK
    assert list((tmp_path / "spool").iterdir()) == []


async def test_usage_survives_a_restart(tmp_path):
    """Used room is known after a restart without counting, and counted when the counter is lost."""
    store = DiskStore(tmp_path)
    blob = await put(store, b"x" * 1000, "a")
    await put(store, b"y" * 500, "b")
    assert DiskStore(tmp_path).used == 1500
    (tmp_path / "blobs" / "usage").write_bytes(b"torn")
    fresh = DiskStore(tmp_path)
    assert await fresh.recount() == 1500
    await fresh.remove(blob.digest)
    assert DiskStore(tmp_path).used == 500


async def test_truncated_blob_is_a_miss_and_heals(tmp_path):
    """A blob whose file is no longer as long as it was is not found, and adopting its bytes again heals it."""
    store = DiskStore(tmp_path)
    data = b"x" * 5000
    blob = await put(store, data)
    path = store.path(blob)
    path.chmod(0o640)
    os.truncate(path, 4000)
    found = await store.find(blob.digest)
    assert found is None or found.size != blob.size  # without extended attributes the length alone tells
    await put(store, data)
    assert await store.find(blob.digest) == blob


async def test_spool_held_elsewhere_is_left_alone(tmp_path):
    """A second store on the same folder spools apart instead of writing into a file that is being written."""
    one, two = DiskStore(tmp_path), DiskStore(tmp_path)
    first, second = await one.open_spool("k", BLOCK), await two.open_spool("k", BLOCK)
    await first.write(0, b"1" * BLOCK)
    await second.write(0, b"2" * BLOCK)
    assert first.path != second.path
    assert await first.read(Span(0, 3)) == b"111"
    second.close(discard=False)
    assert not second.path.exists()


async def test_blob_appears_complete_or_not_at_all(tmp_path):
    """The blob's path is named by its digest in two levels, and read-only."""
    store = DiskStore(tmp_path)
    blob = await put(store, b"abc")
    path = store.path(blob)
    digest = blob_of(b"abc").digest.hex
    assert path == tmp_path / "blobs" / "sha256" / digest[:2] / digest[2:4] / digest
    assert path.stat().st_mode & 0o222 == 0


class SpanSetMachine(RuleBasedStateMachine):
    """`SpanSet` against a set of integers."""

    def __init__(self) -> None:
        super().__init__()
        self.spans, self.model = SpanSet(), set()

    @rule(start=st.integers(0, 60), length=st.integers(0, 20), put=st.booleans())
    def change(self, start, length, put):
        span = Span(start, start + length)
        (self.spans.add if put else self.spans.remove)(span)
        (self.model.update if put else self.model.difference_update)(range(start, start + length))

    @rule(offset=st.integers(0, 80), limit=st.integers(0, 90))
    def ask(self, offset, limit):
        run = offset
        while run in self.model:
            run += 1
        assert self.spans.run(offset) == run
        missing = [n for n in range(offset, limit) if n not in self.model]
        gap = self.spans.gap(offset, limit)
        assert (gap is None) == (not missing)
        if gap is not None:
            stop = missing[0]
            while stop < limit and stop not in self.model:
                stop += 1
            assert gap == Span(missing[0], stop)

    @invariant()
    def same(self):
        assert [n for span in self.spans for n in range(span.start, span.stop)] == sorted(self.model)
        assert self.spans.total == len(self.model)


TestSpanSet = SpanSetMachine.TestCase
TestSpanSet.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
