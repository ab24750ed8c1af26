"""The mirror's clock: the machine's, without its small steps back, and never before what signed bundles say."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from mirror.bundle.signed_time import CLOCK, ClockAlarm, Reckoned, State
from mirror.config import Config
from mirror.core.actor import Actor
from mirror.core.canonical import instant
from mirror.core.decision import Event, EventKind
from mirror.core.errors import LedgerDown
from mirror.core.ports import Ledger

_LOG = structlog.get_logger("mirror")
#: Seconds between two looks at whether the clock can be right.
_TICK: Final = 2.0
_CORRECTION: Final = timedelta(minutes=1)


class SystemClock:
    """The machine's clock without its small steps back, which are waited out: an event is not older than what led to it.

    A step of `_CORRECTION` or more is followed. Somebody has set a clock that was wrong; to wait for the wrong time to come
    would leave every page fresh, every age unchanged and every record misdated until then.
    """

    def __init__(self, wall: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._wall = wall
        self._latest = wall()
        #: What tells whether the machine's clock can be right.
        self.alarms: tuple[ClockAlarm, ...] = ()

    def learn(self, moment: datetime) -> None:
        """It is known to be later than `moment`: somebody who counts has signed then."""
        for alarm in self.alarms:
            alarm.time.learn(moment)

    def now(self) -> datetime:
        """The current instant."""
        found = self._wall()
        self._latest = self._latest if timedelta(0) < self._latest - found < _CORRECTION else found
        return self._latest


async def watch_clock(clock: SystemClock, ledger: Ledger, opened: AsyncExitStack) -> None:
    """Say, in the log and on the record, what is wrong with the machine's clock, and when that changes, until `opened` is closed."""
    said: list[State] = [""]

    def look() -> None:
        for alarm in clock.alarms:
            state, why = alarm.told()
            if state != said[0]:
                said[0] = state
                _LOG.log(logging.WARNING if state else logging.INFO, "clock", state=state or "right", why=why)
                detail = {"state": state or "right", "why": why, "clock": instant(alarm.time.wall())}
                with suppress(LedgerDown):
                    ledger.record(Event(EventKind.NOTICE, clock.now(), Actor("mirror"), subject=CLOCK, detail=tuple(sorted(detail.items()))))

    async def run() -> None:
        while True:
            await asyncio.sleep(_TICK)
            look()

    look()
    watching = asyncio.create_task(run(), name="clock")

    async def halt() -> None:
        watching.cancel()
        await asyncio.wait({watching})

    opened.push_async_callback(halt)


def clock_of(config: Config) -> SystemClock:
    """The clock of a mirror on these data: everything that judges, records or tells ages goes by it."""
    reckoned = Reckoned(config.data)
    found = SystemClock(reckoned.now)
    found.alarms = (ClockAlarm(config.data, reckoned),)
    return found
