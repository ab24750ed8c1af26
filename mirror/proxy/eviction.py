"""Making room: what has not been used for longest goes first, and of that the large before the small.

A blob goes when no pin names any of its names, nothing reads it, and it is not being fetched. The evidence archive and
the ledger lie elsewhere and are never touched. Where the index cannot say what is pinned, nothing goes: a full disk is
a pass-through (P9), a lost pin may be a model that cannot be had again.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import structlog

from mirror.core.errors import MirrorError
from mirror.core.nouns import Artifact, Blob, Digest
from mirror.core.ports import BlobStore, Clock, Holding, HoldingIndex, Pin
from mirror.policy.patterns import PatternSet, parse_pattern

_LOG = structlog.get_logger("mirror.proxy")
#: Names that are looked at together; among them size counts beside age.
BATCH: Final = 512
#: What is freed beyond the need, so that a full cache does not evict at every miss: this share of what is asked for, ...
_BEYOND: Final = 0.25
#: ... and of what the cache may hold.
_OF_QUOTA: Final = 0.01

InUse = Callable[[Digest], bool]


class Eviction:
    """The one that removes blobs to make room. `on_removed` is told of each, after its names have gone."""

    def __init__(
        self, index: HoldingIndex, store: BlobStore, clock: Clock, in_use: InUse, quota: int | None = None,
        on_removed: Callable[[Blob], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._index, self._store, self._clock, self._in_use, self._quota = index, store, clock, in_use, quota
        self._turn, self._on_removed = asyncio.Lock(), on_removed

    async def make_room(self, size: int) -> int:
        """Free at least `size` bytes where that can be; gives how many were freed. Never raises for a sick index."""
        async with self._turn:
            try:
                return await self._free(size + int(max(size * _BEYOND, (self._quota or 0) * _OF_QUOTA)))
            except MirrorError as error:
                _LOG.error("nothing_evicted", fault=str(error))
                return 0

    async def _free(self, wanted: int) -> int:
        pinned = Pinned(await self._index.pins())
        freed = 0
        async for batch in self._index.idle_holdings(BATCH):
            for holding in by_worth(batch, self._clock.now()):
                if freed >= wanted:
                    return freed
                if not pinned.holds(holding) and not self._in_use(holding.blob.digest):
                    freed += await self._removed(holding)
        return freed

    async def _removed(self, holding: Holding) -> int:
        """As `remove`; what the disk does not let go of stays, and the next in line goes for it."""
        try:
            return await self.remove(holding)
        except OSError as error:
            _LOG.error("not_evicted", digest=str(holding.blob.digest), fault=error.strerror)
            return 0

    async def remove_idle(self, holding: Holding) -> int:
        """As `remove`, but 0 and nothing done where somebody reads the blob at this moment."""
        return 0 if self._in_use(holding.blob.digest) else await self.remove(holding)

    async def remove(self, holding: Holding) -> int:
        """Remove one blob and all its names; gives its bytes. The bytes go first: a name without bytes is a miss (P9)."""
        await self._store.remove(holding.blob.digest)
        await self._index.forget_blob(holding.blob.digest)
        if await self._store.find(holding.blob.digest) is not None:  # it landed anew between the two, and lost that name too
            await self._store.remove(holding.blob.digest)
        self._on_removed(holding.blob)
        _LOG.info("evicted", digest=str(holding.blob.digest), bytes=holding.blob.size, last_used=holding.last_used.isoformat())
        return holding.blob.size


class Pinned:
    """What pins name, asked many times."""

    def __init__(self, pins: Sequence[Pin]) -> None:
        self._patterns = PatternSet(parse_pattern(pin.pattern) for pin in pins)

    def holds(self, holding: Holding) -> bool:
        """Whether any name of a blob is pinned."""
        return any(self.names(artifact) for artifact in holding.artifacts)

    def names(self, artifact: Artifact) -> bool:
        """Whether an artifact is pinned."""
        project = artifact.project
        names = (project.name, artifact.revision, artifact.path)
        return self._patterns.find(project.ecosystem, project.kind, *(text.casefold() for text in names)) is not None


def by_worth(holdings: Sequence[Holding], now: datetime) -> list[Holding]:
    """The least worth keeping first: idle time weighs fully, size by its logarithm.

    A file a thousand times as large goes before one that has been idle for a quarter longer, never before one that was
    idle for twice as long.
    """

    def worth(holding: Holding) -> float:
        idle = max(0.0, (now - holding.last_used).total_seconds())
        return -(idle + 1.0) * (1.0 + math.log2(1 + holding.blob.size) / 20)

    return sorted(holdings, key=worth)
