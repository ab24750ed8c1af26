"""How the bytes that a file lacks are asked for, in one attempt at the whole of it.

The *lead* must succeed: it takes the first bytes that nobody else has claimed, goes on where it was after a cut, and its
failure is the flight's. *Parts* run beside it where ranges work: ahead of it in order, so that a large file comes over
several connections (`Lanes`), and wherever a reader waits far from all of them. A part claims its bytes, so each byte
crosses once; what a failed part leaves is nobody's again. Nothing here knows what the bytes are worth: `Flight` does.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, Protocol

from mirror.core.errors import HubSaysNo, MirrorError, UpstreamDown, UpstreamGarbage
from mirror.core.nouns import Span
from mirror.core.ports import BLOCK
from mirror.core.spans import SpanSet
from mirror.proxy.pump import Pump

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mirror.core.ports import Source
    from mirror.proxy.route import Route
    from mirror.proxy.transfer import Transfer
    from mirror.proxy.tuning import Tuning

ENDLESS: Final = 2**63 - 1
#: An answer is left early only where at least so much of it is not needed.
_READ_PAST: Final = 4 * BLOCK
#: `Tuning.window` for a file out of a Xet store, whose readers may be Xet clients that ask for many ranges ahead of where they are.
_AHEAD: Final = 1024 * BLOCK


class Sink(Protocol):
    """What is filled: a flight's file. `size` None until it is known, `here` what is on disk."""

    source: Source
    size: int | None
    here: SpanSet

    async def begin(self, size: int | None) -> None:
        """Upstream has answered; called with each answer."""

    def sized(self, size: int) -> None:
        """The length became known."""

    async def write(self, offset: int, data: bytes) -> None:
        """Put bytes on disk."""

    def stir(self) -> None:
        """Let those who wait look again."""


class _Part:
    """A claimed run of bytes on its way, of which `at` comes next. `stop` moves nearer when the rest goes elsewhere."""

    __slots__ = ("asked", "at", "start", "stop")

    def __init__(self, span: Span) -> None:
        self.start, self.at, self.stop = span.start, span.start, span.stop
        self.asked = span.stop


class _Pace:
    """Leaves a connection that trickles: another may do better."""

    def __init__(self, tuning: Tuning) -> None:
        self._least, self._every = tuning.lanes.minimum * tuning.span / 4, tuning.span / 4
        self._since, self._count = asyncio.get_running_loop().time(), 0

    def check(self, more: int, upstream: str) -> None:
        self._count += more
        now = asyncio.get_running_loop().time()
        if now - self._since < self._every:
            return
        if self._count < self._least:
            raise UpstreamDown(upstream, "brings next to nothing")
        self._since, self._count = now, 0


class Fetch:
    """One attempt at all that `sink` lacks, by `route`. `etag` is that of the first answer, "-" where it had none, "" before."""

    def __init__(self, sink: Sink, route: Route, tuning: Tuning) -> None:
        self.etag = ""
        self._sink, self._route, self._tuning, self._lanes = sink, route, tuning, tuning.lanes
        self._taken = sink.here.copy()
        self._lead = 0
        self._lead_stop: int | None = 0  # None: to the end, of which what follows the part it is in is not its own
        self._width = tuning.lanes.parallel - 1
        self._parts: dict[asyncio.Task[None], _Part] = {}
        self._asked_for: set[_Part] = set()
        self._ranges, self._failures, self._not_before = True, 0, 0.0
        self._fatal: BaseException | None = None

    async def halt(self) -> None:
        """Stop all parts, for good."""
        self._ranges = False
        for task in self._parts:
            task.cancel()
        await asyncio.gather(*self._parts, return_exceptions=True)

    # --- the lead -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until nothing is missing. Goes on after cuts; gives up after `tries` attempts that brought nothing."""
        failures, ranged = 0, True
        while (gap := self._gap()) is not None:
            if not len(gap):
                await asyncio.wait(self._parts, return_when=asyncio.FIRST_COMPLETED)
                self._raise_fatal()
                continue
            before = self._sink.here.total
            try:
                await self._fetch_gap(gap, ranged=ranged)
                ranged = True
            except (UpstreamDown, UpstreamGarbage, HubSaysNo) as error:
                failures = 0 if self._sink.here.total > before else failures + 1
                # A hub's refusal may be a signed URL that expired: the next attempt gets a new one, once.
                limit = 2 if isinstance(error, HubSaysNo) and error.status == 403 else self._tuning.tries
                if failures >= limit or (isinstance(error, HubSaysNo) and error.status != 403):
                    raise
                if isinstance(error, UpstreamGarbage):
                    self._width, ranged = 0, not ranged  # whatever it has against ranges: one connection
                else:
                    ranged = True
                await self._pause(failures, error)
        self._raise_fatal()

    def _raise_fatal(self) -> None:
        if self._fatal is not None:
            raise self._fatal

    async def _pause(self, failures: int, error: MirrorError) -> None:
        after = getattr(error, "retry_after", None) or 0.0
        await asyncio.sleep(min(8.0, max(after, self._tuning.backoff * 2 ** max(0, failures - 1))))

    def _gap(self) -> Span | None:
        """What the lead fetches next: empty when parts are at work on all that is missing, None when nothing is."""
        here, size = self._sink.here, self._sink.size
        if size is None:
            return Span(here.run(0), ENDLESS)
        gap = self._taken.gap(0, size)
        if gap is None and here.gap(0, size) is not None:
            if self._parts:
                return Span(0, 0)
            self._taken = here.copy()
            return self._taken.gap(0, size)
        return gap

    def _wide(self) -> bool:
        """Whether this file comes in parts. Without a digest only where an entity tag tells versions apart.

        Out of a Xet store it comes whole: what fetches it there is a process for each request, and parallel by itself.
        """
        size, source = self._sink.size, self._sink.source
        known = source.declared is not None or self.etag.startswith('"')
        return not source.ask.xet and self._ranges and self._width > 0 and known and size is not None and size >= self._lanes.above

    def _boundary(self, offset: int) -> int:
        return (offset // self._lanes.part + 1) * self._lanes.part

    async def _fetch_gap(self, gap: Span, *, ranged: bool) -> None:
        """One request of the lead's. Ends early where a part's bytes begin."""
        size = self._sink.size
        start, stop = (gap.start if ranged else 0), size
        if ranged and size is not None:
            stop = min(gap.stop, self._boundary(gap.start)) if self._wide() else gap.stop
        self._lead, self._lead_stop = gap.start, stop
        async with self._route.open(start, stop, size=size) as answer:
            await self._learn(answer)
            size = self._sink.size
            if not answer.ranged and (start, stop) != (0, size):
                # A plain request without a known length says nothing, but for what the answer says of itself.
                self._ranges = stop is None and start == 0 and answer.stream.header("accept-ranges") == "bytes"
            self._lead_stop = stop if answer.ranged else None
            self._spread()
            async with contextlib.aclosing(answer.chunks()) as chunks:
                await self._take(answer, chunks)
        if self._sink.size is None:
            self._sink.sized(self._sink.here.run(0))

    async def _take(self, answer: Transfer, chunks: AsyncIterator[bytes]) -> None:
        position, pace = answer.start, _Pace(self._tuning)
        async with Pump(self._sink.write) as pump:
            async for chunk in chunks:
                pace.check(len(chunk), answer.stream.upstream)
                end = position + len(chunk)
                while (missing := self._taken.gap(position, end)) is not None:
                    part = chunk[missing.start - end + len(chunk) : missing.stop - end + len(chunk)]
                    self._taken.add(missing)
                    await pump.put(missing.start, part)
                    position = missing.stop
                    self._lead = position
                position = end
                if self._done(answer, position):
                    return
                self._spread()

    def _done(self, answer: Transfer, position: int) -> bool:
        """Whether what follows at `position` is here or on its way by other means: then this answer is not needed."""
        size = self._sink.size
        if size is None or (not self._ranges and not answer.ranged):
            return False  # what is missing further on could not be asked for by itself
        # A short stretch is cheaper read past than asked round.
        return position < size and self._taken.run(position) >= min(size, position + _READ_PAST) and position != answer.stop

    async def _learn(self, answer: Transfer) -> None:
        """Take over what an answer tells, and see that it is of the same file as those before."""
        sink, fresh = self._sink, not self.etag
        if None not in (sink.size, answer.size) and answer.size != sink.size:
            raise UpstreamGarbage(answer.stream.upstream, f"a file of {answer.size} bytes, was {sink.size}")
        if sink.source.declared is None and self.etag not in ("", "-", answer.etag) and self._taken:
            # No digest would notice a splice of two versions: begin again with this one.
            raise UpstreamGarbage(answer.stream.upstream, "another ETag in the middle of a file")
        unsized = sink.size is None
        await sink.begin(answer.size)
        if fresh and unsized:
            self._taken = sink.here.copy()  # what an earlier process left
        if unsized and answer.size is not None:
            sink.sized(answer.size)
        self.etag = answer.etag or self.etag or "-"
        sink.stir()

    # --- parts ----------------------------------------------------------------------------------------------------

    def _spread(self) -> None:
        """Put as many parts ahead of the lead as there are connections for."""
        if not self._wide() or asyncio.get_running_loop().time() < self._not_before:
            return
        while len(self._parts) - len(self._asked_for) < self._width:
            gap = self._ahead()
            if gap is None:
                return
            self._start(gap)

    def _ahead(self) -> Span | None:
        """The first bytes that nobody has claimed and that are not the lead's own next ones, to the end of a part."""
        size = self._sink.size or 0
        reach = self._boundary(self._lead) if self._lead_stop is None else self._lead_stop
        gap = self._taken.gap(0, size)
        if gap is not None and self._lead <= gap.start < reach:
            gap = self._taken.gap(reach, size)
        return None if gap is None else Span(gap.start, min(gap.stop, self._boundary(gap.start)))

    def want(self, wanted: Span, *, late: bool) -> None:
        """A reader waits for `wanted`, for a while already if `late`: if nobody is near it, fetch it beside."""
        size, window = self._sink.size, _AHEAD if self._sink.source.ask.xet else self._tuning.window
        if size is None or not self._ranges or not self.etag or len(self._asked_for) >= self._tuning.extras:
            return
        if self._lead <= wanted.start < self._lead + window:
            return
        if self._taken.run(wanted.start) > wanted.start and not (late and self._cut(wanted.start)):
            return
        start = wanted.start // BLOCK * BLOCK
        while start < wanted.start and self._taken.run(start) > start:
            start = min(wanted.start, self._taken.run(start))
        stop = min(size, -(-min(wanted.stop, size) // BLOCK) * BLOCK)
        gap = self._taken.gap(start, stop)
        if gap is not None and gap.stop <= wanted.start:
            gap = self._taken.gap(wanted.start, stop)
        if gap is not None:
            self._asked_for.add(self._start(gap))

    def _cut(self, offset: int) -> bool:
        """Take `offset` and what follows away from a part that will not come to it soon. False where there is none such."""
        at = offset // BLOCK * BLOCK
        for part in self._parts.values():
            if part.at + self._tuning.window < offset < part.stop and part.at < at:
                self._taken.remove(Span(at, part.stop))
                part.stop = at
                return True
        return False

    def _start(self, gap: Span) -> _Part:
        self._taken.add(gap)
        part = _Part(gap)
        task = asyncio.create_task(self._fetch_part(part))
        self._parts[task] = part
        task.add_done_callback(self._ended)
        return part

    async def _fetch_part(self, part: _Part) -> None:
        async with self._route.open(part.start, part.stop, size=self._sink.size) as answer:
            if not answer.ranged:
                self._ranges = False  # the lead will come to it
                return
            await self._learn(answer)
            pace = _Pace(self._tuning)
            async with contextlib.aclosing(answer.chunks()) as chunks, Pump(self._sink.write) as pump:
                async for chunk in chunks:
                    pace.check(len(chunk), answer.stream.upstream)
                    mine = chunk[: part.stop - part.at]
                    offset, part.at = part.at, part.at + len(mine)
                    await pump.put(offset, mine)
                    if part.at >= part.stop < part.asked:
                        return

    def _ended(self, task: asyncio.Task[None]) -> None:
        part = self._parts.pop(task)
        self._asked_for.discard(part)
        position = part.start
        while (missing := self._sink.here.gap(position, part.stop)) is not None:
            self._taken.remove(missing)
            position = missing.stop
        if not task.cancelled():
            self._judge(task.exception(), part)
            self._spread()
        self._sink.stir()

    def _judge(self, error: BaseException | None, part: _Part) -> None:
        """What a part's end says about ranges, and about how many of them this upstream bears."""
        if error is None:
            self._failures = 0
        elif isinstance(error, (UpstreamGarbage, HubSaysNo)):
            self._ranges = False
        elif isinstance(error, UpstreamDown):
            self._failures += 1
            self._ranges = self._ranges and self._failures < self._tuning.tries
            if part.at == part.start:
                # It did not even begin: a limit of connections or requests (429, 503), so fewer of them, and not at once.
                self._width //= 2
            pause = max(error.retry_after or 0.0, self._tuning.backoff * 2**self._failures)
            self._not_before = asyncio.get_running_loop().time() + pause
        else:
            self._fatal, self._ranges = error, False
