"""The evidence archive on disk."""

from __future__ import annotations

import os

import pytest

from mirror.store.archive import EvidenceArchive
from tests.contracts.archive import ArchiveContract


class TestEvidenceArchive(ArchiveContract):
    @pytest.fixture
    def archive(self, tmp_path):
        return EvidenceArchive(tmp_path / "evidence")

    def reopened(self, archive):
        return EvidenceArchive(archive._root)


async def test_kind_and_compression(tmp_path):
    """A file says what sort of evidence it is, and takes less room where that is possible, never more than its header."""
    archive = EvidenceArchive(tmp_path)
    page = await archive.keep("page", b"word " * 10_000)
    noise = await archive.keep("list", os.urandom(10_000))
    assert (await archive.kind(page), await archive.kind(noise)) == ("page", "list")
    assert archive.path(page).stat().st_size < 1000
    assert archive.path(noise).stat().st_size < 10_000 + 80
    assert archive.path(page).parent.name == page[:2]
    with pytest.raises(ValueError, match="kind"):
        await archive.keep("No Kind\n", b"")


async def test_every_damage_is_told_and_mended(tmp_path):
    """Whatever byte of a file is changed or missing, the evidence is None rather than wrong, and keeping it again mends it."""
    archive = EvidenceArchive(tmp_path)
    data = b"the policy as it was " * 20
    digest = await archive.keep("policy", data)
    path = archive.path(digest)
    whole = path.read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 0xFF
        for broken in (bytes(changed), whole[:position]):
            path.write_bytes(broken)
            assert await archive.fetch(digest) in (None, data)
            if position > whole.index(b"\n"):
                assert await archive.fetch(digest) is None
    path.write_bytes(b"")
    assert await archive.keep("policy", data) == digest
    assert await archive.fetch(digest) == data
    assert sorted(item.name for item in path.parent.iterdir()) == [digest]
