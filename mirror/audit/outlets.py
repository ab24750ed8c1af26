"""Checkpoints on their way out: each place that gets them is tried until it has the newest, and never waited for."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from mirror.core.canonical import instant
from mirror.core.errors import MirrorError

if TYPE_CHECKING:
    from datetime import datetime

    from mirror.audit.notes import Checkpoint
    from mirror.core.ports import Clock

_LOG = structlog.get_logger("mirror.audit")
#: Seconds that one attempt may take, and between attempts: the first and the longest.
PATIENCE: Final = 30.0
_SOON, _LATE = 1.0, 300.0


class ExportFailed(MirrorError):
    """A place did not take a checkpoint; says why."""


class Exporter(Protocol):
    """One place outside. `name` tells it in health and metrics, without secrets."""

    name: str

    async def send(self, one: Checkpoint, at: datetime) -> None:
        """Put a checkpoint there; the same one twice is one. Raises `ExportFailed` or `OSError`."""

    def newest(self) -> Checkpoint | None:
        """The checkpoint that it got last, where it can be asked. Blocks. Raises `ExportFailed` or `OSError`."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a place stands. `size` records are covered by what it has got; `since` is when it first failed since."""

    name: str
    size: int
    why: str
    since: datetime | None

    @property
    def failing(self) -> bool:
        """Whether the last attempt failed."""
        return bool(self.why)

    def record(self) -> dict[str, Any]:
        """For health."""
        state = "failing" if self.why else "ok"
        return {"to": self.name, "state": state, "records": self.size, "why": self.why, "since": instant(self.since) if self.since else None}


class Outlet:
    """What brings the newest checkpoint to one place: older ones that it missed are covered by it."""

    def __init__(self, exporter: Exporter, clock: Clock) -> None:
        self.exporter, self._clock = exporter, clock
        self._wanted: tuple[Checkpoint, datetime] | None = None
        self._wake, self._alone, self._closing = asyncio.Event(), asyncio.Lock(), False
        self._size, self._why = 0, ""
        self._since: datetime | None = None

    @property
    def standing(self) -> Standing:
        """How it stands now."""
        return Standing(self.exporter.name, self._size, self._why, self._since)

    def offer(self, one: Checkpoint, at: datetime) -> None:
        """Here is what is newest now."""
        self._wanted = one, at
        self._wake.set()

    def unreadable(self, why: str) -> None:
        """It could not be asked what it has."""
        self._why, self._since = why, self._since or self._clock.now()

    async def run(self) -> None:
        """Deliver what is offered, until `finish`."""
        pause = _SOON
        while True:
            await self._wake.wait()
            self._wake.clear()
            done = await self.deliver()
            if self._closing:
                if self._wanted is not None and not self._why:  # newer than the one that was on its way
                    await self.deliver()
                return
            if done:
                pause = _SOON
                continue
            with suppress(TimeoutError):  # something newer comes first, or the pause is over
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            pause = min(2 * pause, _LATE)
            self._wake.set()

    def finish(self) -> None:
        """One more attempt, and `run` ends."""
        self._closing = True
        self._wake.set()

    async def deliver(self, patience: float = PATIENCE) -> bool:
        """One attempt with what was offered last; whether it has it now."""
        async with self._alone:
            return await self._deliver(patience)

    async def _deliver(self, patience: float) -> bool:
        if self._wanted is None:
            return True
        wanted = one, at = self._wanted
        try:
            async with asyncio.timeout(patience):
                await self.exporter.send(one, at)
        except TimeoutError:
            self._failed("took too long")
            return False
        except (ExportFailed, OSError) as error:
            self._failed(str(error))
            return False
        if self._why:
            _LOG.info("checkpoint_exported", to=self.exporter.name, records=one.size)
        self._size, self._why, self._since = one.size, "", None
        if self._wanted is wanted:
            self._wanted = None
        return self._wanted is None

    def _failed(self, why: str) -> None:
        if not self._why:
            _LOG.warning("checkpoint_not_exported", to=self.exporter.name, why=why)
        self._why, self._since = why, self._since or self._clock.now()
