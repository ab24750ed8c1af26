"""Wanted lists that the server runs by itself, one at a time; when each is due survives a restart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

import structlog

from mirror.core.canonical import instant
from mirror.core.errors import InputError
from mirror.durable import read_small, write_whole

_LOG = structlog.get_logger("mirror.sync")
#: Nobody is asked by all mirrors of the world at the same moment: up to so much later, and never more than this part of the period.
_JITTER: Final = timedelta(minutes=5)
_PART: Final = 20
#: Longest sleep, in seconds: a machine that was suspended, or a clock that was set, is noticed within it.
_NAP: Final = 60.0
_MOST: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Row:
    """One list: `name` for people and metrics, how often it runs, and the time of day (UTC) at which it does, if any."""

    name: str
    every: timedelta
    at: time | None = None


@dataclass(frozen=True, slots=True)
class Ran:
    """A run. `outcome` is `complete`, `incomplete` (something was refused, missing or failed), `unusable` or `broken`.

    `counts` are those of the summary: number and bytes of what was wanted, by state.
    """

    began: datetime
    ended: datetime
    outcome: str
    counts: Mapping[str, Any]
    why: str = ""

    def record(self) -> dict[str, Any]:
        """As it is kept and shown."""
        return {"began": instant(self.began), "ended": instant(self.ended), "outcome": self.outcome, "counts": dict(self.counts), "why": self.why}


def due(row: Row, began: datetime | None, now: datetime) -> datetime:
    """When `row`, last begun at `began` (None: never), is to run; a moment that has passed is now. Pure.

    With a time of day: the first such time that comes when all but half a day of the period has passed, so that a run which
    began late moves none that follow. A last run that lies in the future is none: the clock was wrong.
    """
    began = None if began is not None and began > now else began
    if row.at is None:
        return now if began is None else began + row.every
    earliest = now if began is None else began + row.every - timedelta(hours=12)
    first = datetime.combine(earliest.date(), row.at, earliest.tzinfo)
    return first if first >= earliest else first + timedelta(days=1)


class Scheduled:
    """Runs `rows` for as long as it is not closed. `launch` does one and tells how it went, without raising but for cancellation."""

    def __init__(
        self, rows: Sequence[Row], launch: Callable[[Row], Awaitable[Ran]], folder: Path, now: Callable[[], datetime],
        later: Callable[[], float], told: Callable[[Row, Ran], None],
    ) -> None:  # fmt: skip
        """`folder` keeps the last run of each; `later` gives from 0 to 1 how much of the jitter is taken; `told` hears of each run."""
        self._rows, self._launch, self._folder, self._now, self._told = rows, launch, folder, now, told
        self._last = {row.name: _read(folder / f"{row.name}.json") for row in rows}
        self._jitter = {row.name: later() * min(_JITTER, row.every / _PART) for row in rows}
        self._running = ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="sync")

    async def close(self) -> None:
        """Stop; a run under way is ended, and what it fetched stays."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def standing(self) -> list[dict[str, Any]]:
        """How each stands, for health: `wants`, `running`, `next`, and of the last run what `Ran.record` has."""
        return [
            {
                "wants": row.name, "running": row.name == self._running,
                "next": instant(max(self._now(), self._due(row))), "last": None if (last := self._last[row.name]) is None else last.record(),
            }
            for row in self._rows
        ]  # fmt: skip

    def last(self) -> Mapping[str, Ran | None]:
        """The last run of each, by name."""
        return dict(self._last)

    def _due(self, row: Row) -> datetime:
        last = self._last[row.name]
        return due(row, None if last is None else last.began, self._now()) + self._jitter[row.name]

    async def _run(self) -> None:
        # A first run without a time of day waits for its jitter only; the moment at which this began counts for it.
        begun = self._now()
        while True:
            row = min(self._rows, key=self._due)
            until = self._due(row) if self._last[row.name] is not None or row.at is not None else begun + self._jitter[row.name]
            wait = (until - self._now()).total_seconds()
            if wait > 0:
                await asyncio.sleep(min(wait, _NAP))
                continue
            self._running = row.name
            try:
                ran = await self._launch(row)
            finally:
                self._running = ""
            self._keep(row, ran)

    def _keep(self, row: Row, ran: Ran) -> None:
        self._last[row.name] = ran
        with suppress(OSError):  # then it runs again after a restart
            write_whole(self._folder / f"{row.name}.json", json.dumps(ran.record()).encode())
        say = _LOG.info if ran.outcome == "complete" else _LOG.warning
        seconds = round((ran.ended - ran.began).total_seconds())
        say("sync", wants=row.name, outcome=ran.outcome, seconds=seconds, **{state: part["count"] for state, part in ran.counts.items()}, why=ran.why)
        self._told(row, ran)


def _read(path: Path) -> Ran | None:
    """The last run that is on disk; None where there is none that can be read."""
    try:
        raw = json.loads(read_small(path, _MOST))
        began, ended = datetime.fromisoformat(raw["began"]), datetime.fromisoformat(raw["ended"])
        return Ran(began, ended, str(raw["outcome"]), dict(raw["counts"]), str(raw["why"]))
    except (InputError, ValueError, KeyError, TypeError):
        return None
