"""The evidence archive: whatever a decision was judged on, by SHA-256, for as long as any event cites it.

A file is one header line - format, coding, kind, length - and the content, compressed where that is smaller.
"""

from __future__ import annotations

import asyncio
import re
from hashlib import sha256
from pathlib import Path
from typing import Final

import structlog
import zstandard

from mirror.durable import sync_folder, write_whole

_LOG = structlog.get_logger("mirror.store")
_HEADER: Final = re.compile(rb"entrepot-evidence 1 (plain|zstd) ([a-z0-9-]{1,40}) ([0-9]{1,15})\n")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z")
_KIND: Final = re.compile(r"[a-z0-9-]{1,40}\Z")


class EvidenceArchive:
    """core.ports.Archive in the folder `root` (`<data>/evidence`): `<aa>/<sha256>`, never evicted."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, digest: str) -> Path:
        """Where the evidence of this digest is kept."""
        return self._root / digest[:2] / digest

    async def keep(self, kind: str, data: bytes) -> str:
        """Store `data`, durable on return; gives its SHA-256 (hex). What is there already keeps its first `kind`.

        A damaged copy is replaced. `kind` is a word of lower-case letters, digits and hyphens, else `ValueError`.
        Raises `OSError` when it cannot be written.
        """
        if not _KIND.match(kind):
            raise ValueError(f"not a kind of evidence: {kind!r}")
        return await asyncio.to_thread(self._keep, kind, data)

    async def fetch(self, digest: str) -> bytes | None:
        """The bytes, or None: never kept, or damaged (which is logged, once each time)."""
        found = await asyncio.to_thread(self._read, digest)
        return None if found is None else found[1]

    async def kind(self, digest: str) -> str | None:
        """What sort of evidence it is, or None."""
        found = await asyncio.to_thread(self._read, digest)
        return None if found is None else found[0]

    def read(self, digest: str) -> tuple[str, bytes] | str:
        """Kind and bytes, or a phrase that says what is wrong: it is gone, it is not what it was."""
        if not _DIGEST.match(digest):
            return "is no digest"
        try:
            raw = self.path(digest).read_bytes()
        except FileNotFoundError:
            return "is gone"
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        found = _decoded(raw)
        return found if found is not None and sha256(found[1]).hexdigest() == digest else "is not what it was"

    def _keep(self, kind: str, data: bytes) -> str:
        digest = sha256(data).hexdigest()
        if self._read(digest) is not None:
            return digest
        packed = zstandard.ZstdCompressor(level=9).compress(data)
        coding, content = ("zstd", packed) if len(packed) < len(data) else ("plain", data)
        target = self.path(digest)
        self._make_folder(target.parent)
        write_whole(target, f"entrepot-evidence 1 {coding} {kind} {len(data)}\n".encode() + content, mode=0o600)
        return digest

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            sync_folder(self._root)
            sync_folder(self._root.parent)

    def _read(self, digest: str) -> tuple[str, bytes] | None:
        found = self.read(digest)
        if isinstance(found, str):
            if _DIGEST.match(digest) and found != "is gone":
                _LOG.error("evidence_damaged" if found == "is not what it was" else "evidence_unreadable", digest=digest, fault=found)
            return None
        return found


def _decoded(raw: bytes) -> tuple[str, bytes] | None:
    header = _HEADER.match(raw)
    if header is None:
        return None
    coding, kind, size = header[1], header[2].decode(), int(header[3])
    content = raw[header.end() :]
    if coding == b"zstd":
        try:
            if zstandard.get_frame_parameters(content).content_size != size:
                return None
            content = zstandard.ZstdDecompressor().decompress(content)
        except zstandard.ZstdError:
            return None
    return (kind, content) if len(content) == size else None
