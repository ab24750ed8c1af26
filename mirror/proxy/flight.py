"""One download in the air: upstream's bytes into a sparse spool, hashed along, many readers behind it.

Three things run beside one another. A *fetch* (`fetch`) brings what is missing, over one connection or several. The
*hash* follows the unbroken front, reading what is on disk, so blocks that an earlier process left are hashed at once. A
*watch* gives up an upstream that brings next to nothing. When nothing is missing and the digest is right, the store
adopts the file and what was held back (`withhold`) leaves. When it is wrong, everything is dropped, readers who have
been given bytes end short, and one fresh fetch is tried, of another upstream where there is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mirror.core.errors import IntegrityError, StoreFull, UpstreamDown
from mirror.core.nouns import Blob, Span
from mirror.core.ports import BLOCK, BlobStore, Source, Spool, Upstream
from mirror.core.spans import SpanSet
from mirror.proxy.fetch import ENDLESS, Fetch
from mirror.proxy.route import Route
from mirror.proxy.sums import Sums
from mirror.proxy.withhold import Withholding

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mirror.proxy.landing import Landing
    from mirror.proxy.tuning import Tuning

#: How much is read and hashed at once.
_PIECE: Final = 4 * BLOCK


@dataclass(slots=True, eq=False)
class Reader:
    """One reader's place: which generation of the bytes it has been given, if any."""

    generation: int
    started: bool = False


class Flight:
    """Made and owned by `Flights`. `size` is None until it is known; `blob` is set once landed, `error` once failed."""

    def __init__(
        self,
        key: str,
        source: Source,
        upstream: Upstream,
        store: BlobStore,
        *,
        landing: Landing,
        tuning: Tuning,
        now: Callable[[], datetime],
    ) -> None:
        self.key, self.source, self.size = key, source, source.size
        self.blob: Blob | None = None
        self.error: BaseException | None = None
        self.generation = 0
        self.readers, self.idle_since = 0, 0.0
        self.patience, self._heard = tuning.patience, 0.0
        self._upstream, self._store, self._landing, self._tuning, self._now = upstream, store, landing, tuning, now
        self.holding = Withholding(source.size, tuning.tail, tuning.unverified_ranges)
        self._faults: list[IntegrityError] = []
        self._spool: Spool | None = None
        self.here = SpanSet()
        self._fetch: Fetch | None = None
        self._avoid = ""
        self._hashed, self._dripped = 0, 0.0
        self._waiters: dict[asyncio.Future[None], int] = {}
        self._dirty = False
        self._syncing: asyncio.Future[None] | None = None
        self._final: Blob | None = None
        self._fatal: BaseException | None = None

    # --- readers --------------------------------------------------------------------------------------------------

    @property
    def arrived(self) -> int:
        """How many bytes are on disk."""
        return self.here.total

    @property
    def _disk(self) -> Spool:
        if self._spool is None:
            raise ValueError("nothing has been opened yet")
        return self._spool

    @property
    def has_spool(self) -> bool:
        """Whether there is a file to open yet."""
        return self._spool is not None

    async def opened(self) -> None:
        """Wait until there is something to say: an upstream that answered, or blocks on disk. Raises the flight's error."""
        while self.error is None and self.blob is None and (self._spool is None or not (self._has_answer() or self.here)):
            await self._turn(-1)
        if self.error is not None:
            raise self.error

    def _has_answer(self) -> bool:
        return self._fetch is not None and bool(self._fetch.etag)

    def descriptor(self) -> int:
        """A descriptor of its own for a reader, good whatever becomes of the flight. Only after `opened`."""
        try:
            return os.open(self._disk.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            path = None if self._final is None else self._store.path(self._final)
            if path is None:
                raise
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    async def available(self, reader: Reader, wanted: Span, request: Span) -> Span:
        """The longest span from `wanted.start` on that is here and may leave; empty at the end of the file. Waits.

        `request` is what is being read in all. Raises `IntegrityError` for a reader of dropped bytes, `UpstreamDown`
        where upstream is silent past the reader's patience - the flight goes on - else the flight's error.
        """
        since = asyncio.get_running_loop().time()
        while True:
            self._check(reader)
            if self.size is not None and wanted.start >= min(wanted.stop, self.size):
                return Span(wanted.start, wanted.start)
            stop = min(self.here.run(wanted.start), wanted.stop)
            here = stop > wanted.start
            if here and self.blob is None:
                stop = self.holding.allowed(wanted, request, self.here.run(wanted.start), self._hashed)
            if stop > wanted.start:
                reader.started = True
                return Span(wanted.start, stop)
            if not here and self._fetch is not None:
                late = asyncio.get_running_loop().time() >= since + self._tuning.hurry
                self._fetch.want(wanted, late=late)
            await self._turn_in_time(wanted.start, since)

    def _check(self, reader: Reader) -> None:
        if reader.generation != self.generation:
            if reader.started:
                raise self._faults[reader.generation]
            reader.generation = self.generation
        if self.error is not None:
            raise self.error

    async def _turn_in_time(self, offset: int, since: float) -> None:
        """`_turn`, for a reader who waits since `since`. What is all here and being verified is waited for without limit."""
        complete = self.size is not None and self.here.gap(0, self.size) is None
        until, hurry = max(since, self._heard) + self.patience, since + self._tuning.hurry
        if asyncio.get_running_loop().time() < hurry:
            until = min(until, hurry)  # to look again whether anybody brings it soon
        try:
            async with asyncio.timeout_at(None if complete else until):
                await self._turn(offset)
        except TimeoutError:
            if max(since, self._heard) + self.patience <= asyncio.get_running_loop().time():
                raise UpstreamDown("", "sends nothing; the transfer goes on") from None

    async def _turn(self, offset: int) -> None:
        """Sleep until the byte at `offset` arrives or the flight's state changes."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = offset
        try:
            await waiter
        finally:
            self._waiters.pop(waiter, None)

    def stir(self, span: Span | None = None) -> None:
        """Let those who wait look again: all, or those whose byte is in `span`."""
        for waiter, offset in list(self._waiters.items()):
            if not waiter.done() and (span is None or self.size is None or span.start <= offset < span.stop):
                waiter.set_result(None)

    # --- the whole of it ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Fly. Never raises but for cancellation; the outcome is in `blob` or `error`."""
        checkpoints = asyncio.create_task(self._checkpoints())
        try:
            if self.source.size is not None:
                await self._open(self.source.size)
            for last in (False, True):
                blob = await self._attempt()
                if blob is not None:
                    await self._settle(checkpoints)
                    await self._land(blob)
                    break
                await self._drop_all(last=last)
        except asyncio.CancelledError:
            self.error = UpstreamDown("", "the transfer was given up")
            raise
        except Exception as error:  # a task has no caller: whatever it is, the readers must hear of it
            self.error = error
        finally:
            try:
                await self._settle(checkpoints)
            finally:  # given up first, and then ended with the process: cancelled twice
                await self._leave()

    async def _leave(self) -> None:
        """Let go of the spool; what can be of use to a later flight stays on disk."""
        try:
            if self._spool is not None:
                useless = self.size is None or isinstance(self.error, (IntegrityError, ValueError))
                try:
                    if self.blob is None and not useless:
                        with contextlib.suppress(OSError, StoreFull):
                            await self._spool.sync()
                finally:
                    self._spool.close(discard=self.blob is None and useless)
        finally:
            self.stir()  # whatever became of the file, the readers hear how it ended

    async def _settle(self, *tasks: asyncio.Task[None]) -> None:
        """Cancel and wait, also for a sync that a cancelled checkpoint left running."""
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._syncing is not None:
            await asyncio.wait({self._syncing})

    async def _open(self, size: int | None) -> None:
        spool = await self._store.open_spool(self.key, size)
        if self.source.declared is None and spool.present():
            # Nothing would tell whether an earlier process's blocks are of the same file.
            await spool.drop(Span(0, size or 0))
        self._spool = spool
        for span in spool.present():
            self.here.add(span)
        if self.here:
            self.stir()

    async def _attempt(self) -> Blob | None:
        """Fetch and hash everything once; None when the digest is wrong (then `_faults` has one more)."""
        declared = self.source.declared
        sums = Sums(git=declared is not None and declared.algorithm == "git-sha1")
        ask = replace(self.source.ask, avoid=self._avoid)
        route = Route(self._upstream, replace(ask, led_to="") if self._faults else ask, self._now)
        fetch = self._fetch = Fetch(self, route, self._tuning)
        working = {asyncio.create_task(fetch.run()), asyncio.create_task(self._hash_along(sums))}
        watch = asyncio.create_task(self._watch())
        try:
            while working:
                done, _ = await asyncio.wait({*working, watch}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                working -= done
        finally:
            await self._settle(*working, watch)
            await fetch.halt()
        found = sums.digest(declared)
        if declared is not None and found != declared:
            self._avoid = route.upstream
            self._faults.append(IntegrityError(self.key, str(declared), str(found)))
            return None
        self.source = replace(self.source, came_from=route.upstream)
        return Blob(sums.digest(None), sums.position)

    async def _watch(self) -> None:
        """Give up when too little arrives, whatever keeps connections and readers alive. Ends with an error only."""
        least = self._tuning.lanes.minimum * self._tuning.span
        while True:
            before = self.arrived
            await asyncio.sleep(self._tuning.span)
            if self.arrived < min(before + least, ENDLESS if self.size is None else self.size):
                raise UpstreamDown("", f"brings less than {self._tuning.lanes.minimum} bytes a second")

    async def _hash_along(self, sums: Sums) -> None:
        """Follow the unbroken front on disk to the end of the file."""
        self._hashed = 0
        while self.size is None or sums.position < self.size:
            run = self.here.run(sums.position)
            if run == sums.position or (sums.git and self.size is None):  # a git header begins with the length
                await self._turn(sums.position)
                continue
            sums.begin(self.size)
            await sums.update(await self._disk.read(Span(sums.position, min(run, sums.position + _PIECE))))
            self._hashed = sums.position
            if (now := asyncio.get_running_loop().time()) >= self._dripped + self._tuning.drip:
                self._dripped = now
                self.stir(self.holding.reserve)
        sums.begin(self.size)

    async def _land(self, blob: Blob) -> None:
        self._final = blob
        await self._store.adopt(self._disk, blob)
        await self._landing.landed(self, blob)
        self.blob = blob
        self.stir()

    async def _drop_all(self, *, last: bool) -> None:
        """Begin again with nothing. From here on no reader gets another byte of what proved wrong."""
        error, held = self._faults[-1], self.holding
        self.generation += 1
        self.holding = Withholding(self.size, self._tuning.tail, self._tuning.unverified_ranges)
        self.here = SpanSet()
        self.stir()
        await self._landing.faulty(self, error, held)
        await self._disk.drop(Span(0, self.size or ENDLESS))
        self.here = SpanSet()
        if last:
            raise error

    async def _checkpoints(self) -> None:
        while True:
            await asyncio.sleep(self._tuning.checkpoint)
            if self._dirty and self._spool is not None and self.size is not None and self.blob is None:
                self._dirty = False
                self._syncing = asyncio.ensure_future(self._spool.sync())
                with contextlib.suppress(OSError, StoreFull):
                    await asyncio.shield(self._syncing)

    # --- what a fetch fills ---------------------------------------------------------------------------------------

    async def begin(self, size: int | None) -> None:
        """Upstream has answered, and said that the file has `size` bytes."""
        if self._spool is None:
            await self._open(size)

    def sized(self, size: int) -> None:
        """The length became known."""
        self.size = size
        self.holding.sized(size)
        self.stir()

    async def write(self, offset: int, data: bytes) -> None:
        """Put bytes on disk and let those who wait for them go on."""
        self._heard = asyncio.get_running_loop().time()
        await self._disk.write(offset, data)
        span = Span(offset, offset + len(data))
        self.here.add(span)
        self._dirty = True
        self.stir(span)
