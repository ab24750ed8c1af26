"""Hashing again what is stored, in the background at a set rate, and putting on the record what proved damaged.

A damaged blob is set aside, so that it is a miss and heals with the next request. What another process set aside
(`mirror cache scrub`) is put on the record here as well: the ledger has one owner.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol

import structlog

from mirror.core.errors import LedgerDown
from mirror.core.nouns import Digest
from mirror.store.scrub import Progress, ScrubbedFolder, checked

_LOG = structlog.get_logger("mirror.proxy")
#: Seconds between looks for what other processes set aside.
LOOK: Final = 30.0
#: Seconds between counts of all that is stored.
RECOUNT: Final = 3600.0
#: Seconds of rest after a round over everything.
REST: Final = 24 * 3600.0

Report = Callable[[str, str, str, str], Awaitable[None]]


class Counting(Protocol):
    """The store's own idea of how full it is."""

    async def taken_away(self, size: int) -> None:
        """Another hand removed `size` bytes."""

    async def recount(self) -> int:
        """Count everything anew."""


class Scrub:
    """Walks over all blobs for ever, `rate` bytes a second (0: only records what others find).

    `report(what, declared, computed, hub)` is awaited for each damaged blob, which is removed from the disk after it.
    """

    def __init__(self, folder: ScrubbedFolder, store: Counting, report: Report, rate: int, *, first: float = 600.0) -> None:
        self._folder, self._store, self._report, self._rate, self._first = folder, store, report, rate, first
        self._recording = asyncio.Lock()
        self.progress = Progress()

    async def run(self) -> None:
        """Until cancelled."""
        self.progress = await asyncio.to_thread(self._folder.load)
        walking = asyncio.create_task(self._walk()) if self._rate else None
        counted = time.monotonic()
        try:
            while True:
                await self.record()
                await asyncio.sleep(LOOK)
                if time.monotonic() - counted > RECOUNT:  # what other processes removed
                    await self._store.recount()
                    counted = time.monotonic()
        finally:
            if walking is not None:
                walking.cancel()
                with suppress(asyncio.CancelledError):
                    await walking

    async def record(self) -> None:
        """Put on the record what was set aside, and only then let go of it. Walk and look may come here together: each once."""
        async with self._recording:
            await self._record()

    async def _record(self) -> None:
        for found in await asyncio.to_thread(self._folder.damaged):
            computed = f"sha256:{found.computed}" if found.computed else "unreadable"
            _LOG.error("damaged", digest=str(found.digest), computed=computed)
            try:
                await self._report(str(found.digest), str(found.digest), computed, "store")
            except LedgerDown:
                return
            await self._store.taken_away(found.size)
            await asyncio.to_thread(found.path.unlink, missing_ok=True)

    async def _walk(self) -> None:
        await asyncio.sleep(self._first)
        while True:
            try:
                await self.round()
            except OSError as error:
                _LOG.error("scrub", fault=str(error))
            await asyncio.sleep(REST)

    async def round(self) -> None:
        """From where the walk is to the end of the store."""
        while batch := await asyncio.to_thread(self._folder.following, self.progress.after):
            for digest in batch:
                try:
                    await self._check(digest)
                except OSError as error:  # one that the disk will neither read nor move must not end the walk
                    _LOG.error("scrub", digest=str(digest), fault=str(error))
                self.progress.after = digest.hex
                self.progress.blobs += 1
            await asyncio.to_thread(self._folder.save, self.progress)
        self.progress = Progress(rounds=self.progress.rounds + 1)
        await asyncio.to_thread(self._folder.save, self.progress)

    async def _check(self, digest: Digest) -> None:
        steps = checked(self._folder, digest)
        while isinstance(step := await asyncio.to_thread(next, steps), int):
            self.progress.bytes += step
            if self._rate:
                await asyncio.sleep(step / self._rate)
        if step is not None:
            self.progress.damaged += 1
            await asyncio.to_thread(self._folder.set_aside, digest, step)
            await self.record()
