"""What every `BlobStore` keeps to: subclass, and give a fixture `store`."""

from __future__ import annotations

from hashlib import sha256

import pytest

from mirror.core.errors import IntegrityError
from mirror.core.nouns import Blob, Digest, Span
from mirror.core.ports import BLOCK


def blob_of(data: bytes) -> Blob:
    return Blob(Digest("sha256", sha256(data).hexdigest()), len(data))


async def put(store, data: bytes, key: str = "k") -> Blob:
    spool = await store.open_spool(key, len(data))
    if data:
        await spool.write(0, data)
    blob = await store.adopt(spool, blob_of(data))
    spool.close(discard=True)
    return blob


class BlobStoreContract:
    """The promises of `core.ports.BlobStore` and of the spools that it opens."""

    @pytest.mark.parametrize("size", [0, 1, BLOCK, BLOCK + 1])
    async def test_adopted_bytes_are_found_and_read(self, store, size):
        """What was adopted is found under its digest, with its length and its bytes."""
        data = bytes(range(256)) * (size // 256 + 1)
        data = data[:size]
        blob = await put(store, data)
        assert await store.find(blob.digest) == blob
        assert await store.read(blob, Span(0, size)) == data

    async def test_absent_is_a_miss(self, store):
        """What is not there is None, whatever the algorithm or the form of the name."""
        for digest in (Digest("sha256", "0" * 64), Digest("git-sha1", "0" * 40), Digest("sha256", "../../etc/passwd")):
            assert await store.find(digest) is None

    async def test_removed_is_a_miss(self, store):
        """A removed blob is gone, and removing it again is fine."""
        blob = await put(store, b"abc")
        await store.remove(blob.digest)
        await store.remove(blob.digest)
        assert await store.find(blob.digest) is None
        with pytest.raises(IntegrityError):
            await store.read(blob, Span(0, 3))

    async def test_adopting_twice_keeps_one(self, store):
        """The same bytes under two keys are one blob."""
        assert await put(store, b"abc", "one") == await put(store, b"abc", "two")

    async def test_unfinished_spool_is_not_adopted(self, store):
        """A spool with a hole never becomes a blob."""
        data = b"x" * (BLOCK + 5)
        spool = await store.open_spool("k", len(data))
        await spool.write(0, data[:10])
        await spool.write(20, data[20:])
        with pytest.raises(ValueError, match="complete"):
            await store.adopt(spool, blob_of(data))
        assert await store.find(blob_of(data).digest) is None

    async def test_spool_out_of_order(self, store):
        """Bytes written in any order are read in theirs; a hole cannot be read; a dropped span is a hole."""
        spool = await store.open_spool("k", 3 * BLOCK)
        await spool.write(2 * BLOCK, b"c" * BLOCK)
        await spool.write(0, b"a" * 10)
        assert list(spool.present()) == [Span(0, 10), Span(2 * BLOCK, 3 * BLOCK)]
        assert await spool.read(Span(2 * BLOCK, 2 * BLOCK + 3)) == b"ccc"
        with pytest.raises(ValueError):
            await spool.read(Span(5, 15))
        await spool.drop(Span(4, 10))
        assert list(spool.present()) == [Span(0, 4), Span(2 * BLOCK, 3 * BLOCK)]

    async def test_closed_spool_is_taken_up_where_it_was_durable(self, store):
        """Synced whole blocks are there when the spool is opened again; a discarded spool begins empty."""
        spool = await store.open_spool("k", 3 * BLOCK + 7)
        await spool.write(0, b"a" * (BLOCK + 100))
        await spool.write(3 * BLOCK, b"e" * 7)
        await spool.sync()
        spool.close(discard=False)
        again = await store.open_spool("k", 3 * BLOCK + 7)
        assert list(again.present()) == [Span(0, BLOCK), Span(3 * BLOCK, 3 * BLOCK + 7)]
        assert await again.read(Span(0, 5)) == b"aaaaa"
        again.close(discard=True)
        assert not (await store.open_spool("k", 3 * BLOCK + 7)).present()

    async def test_spool_of_another_size_begins_empty(self, store):
        """Blocks of a file of another length are not taken for this one's."""
        spool = await store.open_spool("k", 2 * BLOCK)
        await spool.write(0, b"a" * BLOCK)
        await spool.sync()
        spool.close(discard=False)
        assert not (await store.open_spool("k", 2 * BLOCK + 1)).present()
