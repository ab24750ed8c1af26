"""What every core.ports.Archive owes its callers."""

from __future__ import annotations

import asyncio
from hashlib import sha256

import pytest


class ArchiveContract:
    """Subclasses give an empty `archive`, and `reopened(archive)`: another object on the same place."""

    def reopened(self, archive):
        raise NotImplementedError

    @pytest.mark.parametrize("data", [b"", b"x", b"page " * 50_000, bytes(range(256)) * 999, sha256(b"").digest()])
    async def test_kept_under_its_digest(self, archive, data):
        """Bytes come back as they were under their SHA-256, also from another process."""
        digest = await archive.keep("page", data)
        assert digest == sha256(data).hexdigest()
        assert await archive.fetch(digest) == data
        assert await self.reopened(archive).fetch(digest) == data

    async def test_unknown_is_none(self, archive):
        """What was never kept, or cannot be a digest, is None."""
        for digest in ("a" * 64, "", "../../etc/passwd", "A" * 64, "a" * 63 + "\n"):
            assert await archive.fetch(digest) is None

    async def test_idempotent_in_a_crowd(self, archive):
        """The same bytes kept by many at once are one piece of evidence."""
        digests = await asyncio.gather(*(archive.keep("policy", b"version: 1\n") for _ in range(20)))
        assert len(set(digests)) == 1
        assert await archive.fetch(digests[0]) == b"version: 1\n"
