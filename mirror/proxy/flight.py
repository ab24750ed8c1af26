"""One download in the air: upstream's bytes into a sparse spool, hashed along, many readers behind it.

Three things run beside one another. The *lead* fetches from the first gap on, in order, and goes on where it was after
a cut. An *extra* fetches ahead of it for a reader who waits far behind the lead's place. The *hash* follows the unbroken
front, reading what is on disk, so blocks that an earlier process left are hashed at once. When nothing is missing and
the digest is right, the store adopts the file and what was held back (`withhold`) leaves. When it is wrong, everything
is dropped, readers who have been given bytes end short, and one fresh fetch is tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from mirror.core.errors import HubSaysNo, IntegrityError, MirrorError, StoreFull, UpstreamDown, UpstreamGarbage
from mirror.core.nouns import Blob, Span
from mirror.core.ports import BLOCK, BlobStore, Source, Spool, Upstream
from mirror.core.spans import SpanSet
from mirror.proxy.pump import Pump
from mirror.proxy.sums import Sums
from mirror.proxy.transfer import Transfer, transfer
from mirror.proxy.withhold import Withholding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mirror.proxy.tuning import Tuning

_ENDLESS: Final = 2**63 - 1
#: The lead leaves an answer only where at least so much of it is not needed.
_READ_PAST: Final = 4 * BLOCK


class Landing(Protocol):
    """What a flight tells its owner."""

    async def landed(self, flight: Flight, blob: Blob) -> None:
        """The blob is in the store; what is held back leaves when this returns."""

    async def faulty(self, flight: Flight, error: IntegrityError, held: Withholding) -> None:
        """What upstream sent was not what was declared; `held` says what of it has left."""


@dataclass(slots=True, eq=False)
class Reader:
    """One reader's place: which generation of the bytes it has been given, if any."""

    generation: int
    started: bool = False


class Flight:
    """Made and owned by `Flights`. `size` is None until it is known; `blob` is set once landed, `error` once failed."""

    def __init__(
        self, key: str, source: Source, upstream: Upstream, store: BlobStore, *, landing: Landing, tuning: Tuning
    ) -> None:
        self.key, self.source, self.size = key, source, source.size
        self.blob: Blob | None = None
        self.error: BaseException | None = None
        self.generation = 0
        self.readers, self.idle_since = 0, 0.0
        self._upstream, self._store, self._landing, self._tuning = upstream, store, landing, tuning
        self.holding = Withholding(source.size, tuning.tail, tuning.unverified_ranges)
        self._faults: list[IntegrityError] = []
        self._spool: Spool | None = None
        self._here = SpanSet()
        self._taken = SpanSet()
        self._lead = 0
        self._extras: dict[asyncio.Task[None], Span] = {}
        self._ranges, self._extra_failures = True, 0
        self._etag = ""
        self._waiters: dict[asyncio.Future[None], int] = {}
        self._dirty = False
        self._syncing: asyncio.Future[None] | None = None
        self._final: Blob | None = None
        self._fatal: BaseException | None = None

    # --- readers --------------------------------------------------------------------------------------------------

    @property
    def arrived(self) -> int:
        """How many bytes are on disk."""
        return self._here.total

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
        while self.error is None and self.blob is None and (self._spool is None or not (self._etag or self._here)):
            await self._turn(-1)
        if self.error is not None:
            raise self.error

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

        `request` is what is being read in all. Raises `IntegrityError` for a reader of dropped bytes, else the
        flight's error.
        """
        while True:
            self._check(reader)
            if self.size is not None and wanted.start >= min(wanted.stop, self.size):
                return Span(wanted.start, wanted.start)
            stop = min(self._here.run(wanted.start), wanted.stop)
            here = stop > wanted.start
            if here and self.blob is None:
                stop = self.holding.allowed(wanted, request, self._here.run(wanted.start))
            if stop > wanted.start:
                reader.started = True
                return Span(wanted.start, stop)
            if not here:
                self._want(wanted)
            await self._turn(wanted.start)

    def _check(self, reader: Reader) -> None:
        if reader.generation != self.generation:
            if reader.started:
                raise self._faults[reader.generation]
            reader.generation = self.generation
        if self.error is not None:
            raise self.error

    async def _turn(self, offset: int) -> None:
        """Sleep until the byte at `offset` arrives or the flight's state changes."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = offset
        try:
            await waiter
        finally:
            self._waiters.pop(waiter, None)

    def _wake(self, span: Span | None = None) -> None:
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
            await self._settle(checkpoints, *self._extras)
            await self._leave()

    async def _leave(self) -> None:
        """Let go of the spool; what can be of use to a later flight stays on disk."""
        try:
            if self._spool is not None:
                useless = self.size is None or isinstance(self.error, (IntegrityError, ValueError))
                if self.blob is None and not useless:
                    with contextlib.suppress(OSError, StoreFull):
                        await self._spool.sync()
                self._spool.close(discard=self.blob is None and useless)
        finally:
            self._wake()  # whatever became of the file, the readers hear how it ended

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
            self._here.add(span)
            self._taken.add(span)
        if self._here:
            self._wake()

    async def _attempt(self) -> Blob | None:
        """Fetch and hash everything once; None when the digest is wrong (then `_faults` has one more)."""
        declared = self.source.declared
        sums = Sums(git=declared is not None and declared.algorithm == "git-sha1")
        tasks = [asyncio.create_task(self._fetch_all()), asyncio.create_task(self._hash_along(sums))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            await self._settle(*tasks)
        found = sums.digest(declared)
        if declared is not None and found != declared:
            self._faults.append(IntegrityError(self.key, str(declared), str(found)))
            return None
        return Blob(sums.digest(None), sums.position)

    async def _hash_along(self, sums: Sums) -> None:
        """Follow the unbroken front on disk to the end of the file."""
        while self.size is None or sums.position < self.size:
            run = self._here.run(sums.position)
            if run == sums.position or (sums.git and self.size is None):  # a git header begins with the length
                await self._turn(sums.position)
                continue
            sums.begin(self.size)
            await sums.update(await self._disk.read(Span(sums.position, min(run, sums.position + BLOCK))))
        sums.begin(self.size)

    async def _land(self, blob: Blob) -> None:
        self._final = blob
        await self._store.adopt(self._disk, blob)
        await self._landing.landed(self, blob)
        self.blob = blob
        self._wake()

    async def _drop_all(self, *, last: bool) -> None:
        """Begin again with nothing. From here on no reader gets another byte of what proved wrong."""
        error, held = self._faults[-1], self.holding
        self.generation += 1
        self.holding = Withholding(self.size, self._tuning.tail, self._tuning.unverified_ranges)
        self._here = SpanSet()
        self._wake()
        await self._settle(*self._extras)
        await self._landing.faulty(self, error, held)
        await self._disk.drop(Span(0, self.size or _ENDLESS))
        self._here, self._taken, self._lead, self._etag = SpanSet(), SpanSet(), 0, ""
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

    # --- fetching -------------------------------------------------------------------------------------------------

    async def _fetch_all(self) -> None:
        """Until nothing is missing. Goes on after cuts; gives up after `tries` attempts that brought nothing."""
        failures, ranged = 0, True
        while (gap := self._gap()) is not None:
            if not len(gap):
                await asyncio.wait(self._extras, return_when=asyncio.FIRST_COMPLETED)
                self._raise_fatal()
                continue
            before = self.arrived
            try:
                await self._fetch_gap(gap, ranged=ranged)
                ranged = True
            except (UpstreamDown, UpstreamGarbage, HubSaysNo) as error:
                failures = 0 if self.arrived > before else failures + 1
                # A hub's refusal may be a signed URL that expired: the next attempt gets a new one, once.
                limit = 2 if isinstance(error, HubSaysNo) and error.status == 403 else self._tuning.tries
                if failures >= limit or (isinstance(error, HubSaysNo) and error.status != 403):
                    raise
                ranged = not isinstance(error, UpstreamGarbage) or not ranged
                await self._pause(failures, error)
        self._raise_fatal()

    def _raise_fatal(self) -> None:
        if self._fatal is not None:
            raise self._fatal

    async def _pause(self, failures: int, error: MirrorError) -> None:
        after = getattr(error, "retry_after", None) or 0.0
        await asyncio.sleep(min(8.0, max(after, self._tuning.backoff * 2 ** max(0, failures - 1))))

    def _gap(self) -> Span | None:
        """What the lead fetches next: empty when extras are at work on all that is missing, None when nothing is."""
        if self.size is None:
            return Span(self._here.run(0), _ENDLESS)
        gap = self._taken.gap(0, self.size)
        if gap is None and self._here.gap(0, self.size) is not None:
            if not self._extras:
                self._taken = self._here.copy()
                return self._taken.gap(0, self.size)
            return Span(0, 0)
        if gap is None and self._spool is None:
            return Span(0, 0)
        return gap

    async def _fetch_gap(self, gap: Span, *, ranged: bool) -> None:
        """One request of the lead's. Ends early where an extra's bytes begin."""
        start = gap.start if ranged else 0
        stop = None if self.size is None else (gap.stop if ranged else self.size)
        self._lead = gap.start
        async with transfer(self._upstream, self.source.ask, start, stop, size=self.size) as answer:
            await self._learn(answer)
            if not answer.ranged and (start, stop) != (0, self.size):
                self._ranges = False
            async with contextlib.aclosing(answer.chunks()) as chunks:
                await self._take(answer, chunks)
        if self.size is None:
            self._sized(self._here.run(0))

    async def _take(self, answer: Transfer, chunks: AsyncIterator[bytes]) -> None:
        position = answer.start
        async with Pump(self._write) as pump:
            async for chunk in chunks:
                end = position + len(chunk)
                while (missing := self._taken.gap(position, end)) is not None:
                    part = chunk[missing.start - end + len(chunk) : missing.stop - end + len(chunk)]
                    self._taken.add(missing)
                    await pump.put(missing.start, part)
                    position = missing.stop
                    self._lead = position
                position = end
                if self.size is not None and self._done(answer, position):
                    return

    def _done(self, answer: Transfer, position: int) -> bool:
        """Whether what follows at `position` is here or on its way by other means: then this answer is not needed."""
        if not self._ranges and not answer.ranged:
            return False  # what is missing further on could not be asked for by itself
        # A short stretch is cheaper read past than asked round.
        size = self.size or 0
        return position < size and self._taken.run(position) >= min(size, position + _READ_PAST)

    async def _learn(self, answer: Transfer) -> None:
        """Take over what the first answer tells, and see that later ones are of the same file."""
        if self._spool is None:
            await self._open(answer.size)
            if answer.size is not None:
                self._sized(answer.size)
        elif self.size is None and answer.size is not None:
            self._sized(answer.size)
        elif None not in (self.size, answer.size) and answer.size != self.size:
            raise UpstreamGarbage(answer.stream.upstream, f"a file of {answer.size} bytes, was {self.size}")
        if self.source.declared is None and self._etag not in ("", "-", answer.etag) and self._here:
            # No digest would notice a splice of two versions: begin again with this one.
            raise UpstreamGarbage(answer.stream.upstream, "another ETag in the middle of a file")
        self._etag = answer.etag or self._etag or "-"
        self._wake()

    def _sized(self, size: int) -> None:
        self.size = size
        self.holding.sized(size)
        self._wake()

    async def _write(self, offset: int, data: bytes) -> None:
        await self._disk.write(offset, data)
        span = Span(offset, offset + len(data))
        self._here.add(span)
        self._dirty = True
        self._wake(span)

    # --- ahead of the lead ----------------------------------------------------------------------------------------

    def _want(self, wanted: Span) -> None:
        """A reader waits for `wanted`: if the lead is far from it, fetch it beside."""
        if self.size is None or not self._ranges or len(self._extras) >= self._tuning.extras or self._spool is None:
            return
        if (
            self._lead <= wanted.start < self._lead + self._tuning.window
            or self._taken.run(wanted.start) > wanted.start
        ):
            return
        start = wanted.start // BLOCK * BLOCK
        while start < wanted.start and self._taken.run(start) > start:
            start = min(wanted.start, self._taken.run(start))
        stop = min(self.size, -(-min(wanted.stop, self.size) // BLOCK) * BLOCK)
        gap = self._taken.gap(start, stop)
        if gap is not None and gap.stop <= wanted.start:
            gap = self._taken.gap(wanted.start, stop)
        if gap is None:
            return
        self._taken.add(gap)
        task = asyncio.create_task(self._fetch_ahead(gap))
        self._extras[task] = gap
        task.add_done_callback(self._extra_ended)

    async def _fetch_ahead(self, gap: Span) -> None:
        async with transfer(self._upstream, self.source.ask, gap.start, gap.stop, size=self.size) as answer:
            if not answer.ranged:
                self._ranges = False  # the lead will come to it
                return
            await self._learn(answer)
            position = answer.start
            async with contextlib.aclosing(answer.chunks()) as chunks, Pump(self._write) as pump:
                async for chunk in chunks:
                    await pump.put(position, chunk)
                    position += len(chunk)

    def _extra_ended(self, task: asyncio.Task[None]) -> None:
        gap = self._extras.pop(task, None)
        if gap is None or task.cancelled():
            return
        position = gap.start
        while (missing := self._here.gap(position, gap.stop)) is not None:
            self._taken.remove(missing)
            position = missing.stop
        error = task.exception()
        if isinstance(error, (UpstreamGarbage, HubSaysNo)):
            self._ranges = False
        elif isinstance(error, UpstreamDown):
            self._extra_failures += 1
            self._ranges = self._ranges and self._extra_failures < self._tuning.tries
        elif error is not None:
            self._fatal = error
        self._wake()
