"""Stored files without a name: found in the background, given time to be asked for again, then removed.

A process that is killed between the adoption of a file and the entry of its name leaves one, and so does a name whose
bytes changed where the hub declares no digest. Nothing else would ever remove it: eviction goes by names. Most are joined
to a name again by themselves, for whoever declares the digest of what is asked for finds the bytes (`Shelf.find`): that is
what the time is for, which is counted from when a file was first found to be a stray, so that an index which was lost and
is being filled again costs no byte of what people use. The evidence of decisions lies elsewhere and is never looked at.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Final, Protocol

import structlog

from mirror.core.errors import MirrorError
from mirror.core.nouns import Digest
from mirror.core.ports import BlobStore, Clock
from mirror.store.scrub import ScrubbedFolder

_LOG = structlog.get_logger("mirror.proxy")
#: How long a file may be without a name.
GRACE: Final = timedelta(days=7)
#: Seconds from the start to the first look at everything, between two, and between two batches of one: a start is not slower for it.
FIRST: Final = 300.0
REST: Final = 24 * 3600.0
_PAUSE: Final = 0.05
#: Strays that are remembered at once; more are found when these have gone.
_MOST: Final = 100_000


class NameIndex(Protocol):
    """Which blobs have a name at all."""

    async def named(self, digests: Sequence[Digest]) -> frozenset[Digest]:
        """Those of `digests` that an entry names. Raises `IndexDown`: what has a name is kept."""


class Strays:
    """The one that removes strays. `in_use` tells whether a blob is being read, `on_removed` is told of each that went."""

    def __init__(
        self, data: Path, index: NameIndex, store: BlobStore, clock: Clock, in_use: Callable[[Digest], bool],
        on_removed: Callable[[Digest, int], None] = lambda *_: None, *, grace: timedelta = GRACE,
    ) -> None:  # fmt: skip
        self._folder, self._sheet = ScrubbedFolder(data), data / "blobs" / "strays.json"
        self._index, self._store, self._clock, self._in_use = index, store, clock, in_use
        self._on_removed, self._grace = on_removed, grace.total_seconds()

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.sleep(FIRST)
        while True:
            try:
                await self.round()
            except (MirrorError, OSError) as error:  # who has a name cannot be told: nobody goes
                _LOG.error("strays", fault=str(error))
            await asyncio.sleep(REST)

    async def round(self) -> int:
        """Look at every blob once; gives how many were removed. Raises `IndexDown`, `OSError`, and then remembers nothing new."""
        known, now = await asyncio.to_thread(self._load), self._clock.now().timestamp()
        since: dict[str, float] = {}
        removed, after = 0, ""
        while batch := await asyncio.to_thread(self._folder.following, after):
            after = batch[-1].hex
            for digest in await self._nameless(batch):
                first = min(known.get(digest.hex, now), now)
                if now - first >= self._grace and await self._removed(digest):
                    removed += 1
                elif len(since) < _MOST:
                    since[digest.hex] = first
            await asyncio.sleep(_PAUSE)
        await asyncio.to_thread(self._save, since)
        return removed

    async def _nameless(self, batch: Sequence[Digest]) -> list[Digest]:
        named = await self._index.named(batch)
        return [digest for digest in batch if digest not in named]

    async def _removed(self, digest: Digest) -> bool:
        """Remove it, unless somebody has come to it meanwhile."""
        if self._in_use(digest) or not await self._nameless([digest]):
            return False
        blob = await self._store.find(digest)
        await self._store.remove(digest)
        _LOG.warning("stray_removed", digest=str(digest), bytes=0 if blob is None else blob.size)
        self._on_removed(digest, 0 if blob is None else blob.size)
        return True

    def _load(self) -> dict[str, float]:
        """When each stray was first found, in seconds since 1970. A sheet that cannot be read gives everybody their time anew."""
        with suppress(OSError, ValueError, TypeError, AttributeError):
            return {str(name): float(first) for name, first in json.loads(self._sheet.read_bytes()).items()}
        return {}

    def _save(self, since: dict[str, float]) -> None:
        fresh = self._sheet.with_suffix(".new")
        fresh.write_text(json.dumps(since), encoding="ascii")
        fresh.replace(self._sheet)
