"""Keeping the index level with the ledger: the segments are the truth, the index a copy that may lag."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import structlog

from mirror.audit.segments import Reader
from mirror.core.errors import MirrorError

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.core.ports import EventIndex

_LOG = structlog.get_logger("mirror.audit")
#: Records handed to the index at a time, and seconds before a failed attempt is repeated.
_PAGE = 1000
_RETRY = 5.0
#: Seconds for which records are gathered while more keep coming: a transaction for each group commit costs those who
#: download five times as much. The first after a quiet while is copied at once.
_GATHER = 0.5


@runtime_checkable
class ForgettingIndex(Protocol):
    """An index that can drop its copy, to be filled again."""

    async def forget_events(self) -> None:
        """Forget every event."""


async def catch_up(directory: Path, index: EventIndex, stop: int | None = None) -> int:
    """Copy what the index lacks, up to (not including) sequence `stop`; gives the number of records added.

    An index whose last record is not the ledger's own (a restored ledger, another ledger's index) is filled anew.
    """
    last = await index.last_sequence()
    if last >= 0 and not await _agrees(directory, index, last) and isinstance(index, ForgettingIndex):
        _LOG.warning("index_rebuilt", reason="its last event is not the ledger's", last_sequence=last)
        await index.forget_events()
        last = -1
    reader = Reader(directory, last + 1)
    return await _copy(reader, index, stop)


async def _agrees(directory: Path, index: EventIndex, last: int) -> bool:
    held = await index.query({}, 1, None)
    true = await asyncio.to_thread(Reader(directory, last, stubs=True).read, 1)
    return bool(held and true) and held[0]["leaf"] == true[0]["leaf"]


async def _copy(reader: Reader, index: EventIndex, stop: int | None) -> int:
    added = 0
    while records := await asyncio.to_thread(reader.read, _PAGE, stop):
        await index.add_events(records)
        added += len(records)
    return added


class Feed:
    """The background copy of one process: `advance` after each group commit, `run` as a task, `close` to finish."""

    def __init__(self, directory: Path, index: EventIndex) -> None:
        self._directory, self._index = directory, index
        self._durable: int | None = None
        self._wake, self._stop = asyncio.Event(), asyncio.Event()

    def advance(self, count: int) -> None:
        """`count` records are durable now."""
        self._durable = count
        self._wake.set()

    def close(self) -> None:
        """Let `run` end once it is level."""
        self._stop.set()
        self._wake.set()

    async def run(self) -> None:
        """Follow the ledger until `close`. An index that fails is tried again; nothing is lost meanwhile."""
        reader: Reader | None = None
        while True:
            await self._wake.wait()
            self._wake.clear()
            began = time.monotonic()
            try:
                if reader is None:
                    await catch_up(self._directory, self._index, self._durable)
                    reader = Reader(self._directory, await self._index.last_sequence() + 1)
                await _copy(reader, self._index, self._durable)
            except Exception as error:  # a copy that cannot be made must not end the copying: it may be one bad moment
                reader = None
                if isinstance(error, (MirrorError, OSError)):
                    _LOG.warning("index_behind", fault=str(error))
                else:
                    _LOG.exception("index_behind")
                if not self._stop.is_set():
                    await self._rest(_RETRY)
                    self._wake.set()
            else:
                await self._rest(max(_GATHER, time.monotonic() - began))
            if self._stop.is_set() and not self._wake.is_set():
                return

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
