"""Copies of the ledger on their way to receivers: at least once, in order, however long one is away, and never waited for.

A sink reads the segments from its own cursor, so that what it has not delivered takes room on disk only. One that does not get on says so
once in the log, and in health, metrics and `mirror ledger sinks` for as long as it lasts.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

from mirror.audit.cursors import Cursor, cursor_path, read_cursor, write_cursor
from mirror.audit.formats.times import moment
from mirror.audit.passage import PAGE, Choice, Passage, Piece
from mirror.audit.receivers import TooLarge
from mirror.core.canonical import instant
from mirror.core.errors import MirrorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from mirror.audit.receivers import Receiver
    from mirror.core.ports import Clock

T = TypeVar("T")
_LOG = structlog.get_logger("mirror.audit")
#: Seconds that one batch may take, and for which a stop waits for the last ones.
_PATIENCE: Final = 30.0
LAST: Final = 3.0


@dataclass(frozen=True, slots=True)
class Pace:
    """In seconds: how long events are gathered for one batch; the first and the longest pause after failures."""

    gather: float = 1.0
    first: float = 1.0
    longest: float = 60.0


PACE: Final = Pace()
EVERYTHING: Final = Choice()


class Sink:
    """One receiver and how far it has got. `whole`: a new sink begins with the first record there is, else with the next one."""

    def __init__(
        self, name: str, ledger: Path, receiver: Receiver, clock: Clock, choice: Choice = EVERYTHING, *, whole: bool = True, pace: Pace = PACE
    ) -> None:
        self.name, self._receiver, self._clock, self._whole, self._pace = name, receiver, clock, whole, pace
        self._path = cursor_path(ledger, name)
        self._passage = Passage(ledger, receiver.encode, choice, clock.now)
        self._cursor: Cursor | None = None
        self._durable = 0
        self._pending: deque[Piece] = deque()
        self._most = PAGE
        self._why, self._astray = "", False
        self._own = 0.0
        self._wake, self._stop = asyncio.Event(), asyncio.Event()
        # Of its own: a sink must not take the threads that serve.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"sink {name}")

    # --- how it stands --------------------------------------------------------------------------------------------

    @property
    def failing(self) -> bool:
        """Whether the last attempt failed."""
        return bool(self._why)

    @property
    def lag(self) -> int:
        """Durable records that it has not got past."""
        return max(0, self._durable - self._cursor.next) if self._cursor is not None else self._durable

    @property
    def age(self) -> float:
        """Seconds since the oldest event on its way was recorded; 0 where none is."""
        return max(0.0, (self._clock.now() - moment(self._pending[0].at)).total_seconds()) if self._pending else 0.0

    def record(self) -> dict[str, Any]:
        """For health."""
        cursor = self._cursor or Cursor()
        return {
            "name": self.name, "to": self._receiver.place, "state": "failing" if self.failing else "ok", "lag": self.lag,
            "next": cursor.next, "delivered": cursor.delivered or None, "why": self._why, "since": cursor.since or None,
        }  # fmt: skip

    # --- what drives it -------------------------------------------------------------------------------------------

    def advance(self, count: int) -> None:
        """`count` records are durable now."""
        self._durable = count
        self._wake.set()

    def finish(self) -> None:
        """Deliver what is left, if the receiver takes it, and let `run` end."""
        self._stop.set()
        self._wake.set()

    async def run(self) -> None:
        """Deliver until `finish`."""
        pause = self._pace.first
        try:
            while True:
                self._wake.clear()
                began, others = time.monotonic(), self._others()
                outcome = await self._attempt()
                if self._stop.is_set() and outcome is not True:
                    return
                if outcome is None:
                    # Jitter: many mirrors must not come back to one receiver in the same second.
                    await self._rest(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                    pause = min(2 * pause, self._pace.longest)
                    continue
                pause = self._pace.first
                if outcome:  # far behind: half of the time is left to those who are served
                    await self._rest(left_to_others(time.monotonic() - began, self._others() - others))
                    continue
                await self._wake.wait()
                await self._rest(self._pace.gather)
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    async def _attempt(self) -> bool | None:
        """One batch: True where more is there, False where it is level, None where it failed."""
        try:
            if not self._pending:
                self._pending.extend(await self._apart(self._read))
            if not self._pending:
                await self._keep_well()
                return False
            batch = [self._pending[at] for at in range(min(self._most, len(self._pending)))]
            if data := b"".join(piece.data for piece in batch):
                async with asyncio.timeout(_PATIENCE):
                    await self._receiver.send(data)
        except TooLarge as error:
            if self._most > 1:
                self._most //= 2
                return True
            await self._failed(str(error))
            return None
        except TimeoutError:
            await self._failed("took too long")
            return None
        except Exception as error:  # whatever it is ends neither this sink nor anything else: it is tried again
            if not isinstance(error, (MirrorError, OSError)) and not self._why:
                _LOG.exception("sink_fault", sink=self.name)
            await self._failed(str(error) or type(error).__name__)
            return None
        return await self._delivered(batch, sent=bool(data))

    def _read(self) -> list[Piece]:
        if self._cursor is None:
            self._cursor = self._opened()
        elif self._astray:
            self._passage.seek(self._cursor, self._durable)
        self._astray = True  # until all that was read is encoded
        found = self._passage.read(self._durable)
        self._astray = False
        return found

    def _opened(self) -> Cursor:
        try:
            found = read_cursor(self._path)
        except ValueError:
            _LOG.warning("sink_cursor_damaged", sink=self.name, file=str(self._path))
            found = Cursor()
        if found is None:
            found = Cursor(0 if self._whole else self._durable)
            write_cursor(self._path, found)
        return self._passage.seek(found, self._durable)

    async def _delivered(self, batch: list[Piece], *, sent: bool) -> bool:
        for _ in batch:
            self._pending.popleft()
        before = self._cursor or Cursor()
        last = batch[-1]
        await self._keep(Cursor(last.next, last.leaf, instant(self._clock.now()) if sent else before.delivered))
        self._well()
        self._most = min(PAGE, self._most + max(1, self._most // 4))
        return bool(self._pending) or last.next < self._durable

    async def _keep(self, cursor: Cursor) -> None:
        self._cursor = cursor
        # A full disk: the receiver has it all the same, and after a restart it may get it again.
        with suppress(OSError):
            await self._apart(write_cursor, self._path, cursor)

    async def _keep_well(self) -> None:
        """What the last process left as failing, or what was only unreadable for a moment, is over."""
        if self._cursor is not None and self._cursor.why:
            await self._keep(replace(self._cursor, why="", since=""))
            self._well()

    def _well(self) -> None:
        if self._why:
            _LOG.info("sink_delivers_again", sink=self.name)
        self._why = ""

    async def _failed(self, why: str) -> None:
        if not self._why:
            _LOG.warning("sink_not_delivered", sink=self.name, to=self._receiver.place, why=why)
        changed, self._why = why != self._why, why
        if changed and self._cursor is not None:
            await self._keep(replace(self._cursor, why=why, since=self._cursor.since or instant(self._clock.now())))

    async def _apart(self, call: Callable[..., T], *arguments: Any) -> T:
        def counted() -> T:
            before = time.thread_time()
            try:
                return call(*arguments)
            finally:
                self._own += time.thread_time() - before

        return await asyncio.get_running_loop().run_in_executor(self._thread, counted)

    def _others(self) -> float:
        """Seconds of processor time that everybody else in this process has taken so far."""
        return time.process_time() - self._own


def left_to_others(took: float, others: float) -> float:
    """Seconds to rest after a batch of `took` seconds, in which others took `others` seconds of processor time.

    As long again where they had a quarter of a core or more, at most a second; where nobody was served, hardly at all.
    """
    return max(0.0, min(1.0, took, 4 * others))


class Sinks:
    """All sinks of a ledger."""

    def __init__(self, sinks: Iterable[Sink]) -> None:
        self.all = tuple(sinks)
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, durable: int) -> None:
        """Deliver from now on; so many records are durable."""
        self.advance(durable)
        self._tasks = {asyncio.create_task(one.run(), name=f"sink {one.name}") for one in self.all}

    def advance(self, count: int) -> None:
        """`count` records are durable now."""
        for one in self.all:
            one.advance(count)

    def records(self) -> list[dict[str, Any]]:
        """How each stands, for health."""
        return [one.record() for one in self.all]

    async def close(self, patience: float = LAST) -> None:
        """Let the last events out, for so many seconds at most; what is left is delivered after the next start. Safe to call twice."""
        tasks, self._tasks = self._tasks, set()
        for one in self.all:
            one.finish()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=patience)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
