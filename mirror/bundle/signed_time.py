"""Time as bundles tell it: where no network sets a clock, it is at least as late as the newest bundle says that was signed and taken.

Everything that hangs on dates - rules, exceptions, releases, grants, tokens, ages of lists and of the catalogue's pack - is reckoned
from the later of both: a clock that is behind lets nothing come back that has ended, and nothing wait that has begun. A clock
that cannot be right is told of.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from mirror.core.canonical import instant
from mirror.core.errors import Problem
from mirror.durable import write_whole

#: How far a clock may be behind its sender's without anybody being told.
_SKEW: Final = timedelta(minutes=5)
#: By how much a clock may be set forward under a running mirror, and be ahead of the newest bundle, without anybody being told.
_JUMP: Final = timedelta(days=1)
_YEARS: Final = timedelta(days=730)
#: Seconds between two looks at what bundles have told.
_LOOK: Final = 1.0
#: What problems and events of it are about.
CLOCK: Final = "clock"
State = Literal["", "behind", "jumped", "alone"]


def newest_signed(data: Path) -> datetime | None:
    """The latest time that an imported bundle was signed with; None where none was imported."""
    with suppress(OSError, ValueError):
        return datetime.fromisoformat(_file(data).read_text(encoding="ascii").strip())
    return None


def note(data: Path, created: datetime) -> None:
    """A bundle that was signed at `created` was imported. Durable on return. Raises `OSError`."""
    known = newest_signed(data)
    if known is None or created > known:
        write_whole(_file(data), f"{instant(created)}\n".encode())


def at_least(data: Path, now: datetime) -> datetime:
    """`now`, or the newest bundle's time where that is later: what ages are reckoned from."""
    newest = newest_signed(data)
    return now if newest is None else max(now, newest)


class Reckoned:
    """The machine's clock, but never before what is known to have been: the newest signed time, and what has passed since it was seen.

    What passes is told by the monotonic clock, which nobody sets. A bundle that comes in meanwhile counts about a second later. What the
    machine's clock itself said before binds nothing: who corrects one that ran ahead must get the right time back.
    """

    def __init__(
        self, data: Path, wall: Callable[[], datetime] = lambda: datetime.now(UTC), passed: Callable[[], float] = time.monotonic
    ) -> None:
        self.wall, self._data, self._passed = wall, data, passed
        self._base: datetime | None = None
        self._since = self._looked = passed()
        self._began = wall() - timedelta(seconds=self._since)
        self._look(self._since)

    def now(self) -> datetime:
        """The current instant, as far as it can be known."""
        found, least = self.wall(), self.least()
        return found if least is None else max(found, least)

    def least(self) -> datetime | None:
        """Before which it cannot be; None where nothing is known."""
        passed = self._passed()
        if passed - self._looked >= _LOOK:
            self._look(passed)
        return None if self._base is None else self._base + timedelta(seconds=passed - self._since)

    def learn(self, moment: datetime) -> None:
        """It is known to be later than `moment`."""
        passed = self._passed()
        if self._base is None or moment > self._base + timedelta(seconds=passed - self._since):
            self._base, self._since = moment, passed

    def ahead(self) -> timedelta:
        """How much further the machine's clock has gone since this was made than time has passed, or than is known: the less of both."""
        found, least = self.wall(), self.least()
        jumped = found - self._began - timedelta(seconds=self._passed())
        return jumped if least is None else min(jumped, found - least)

    def _look(self, passed: float) -> None:
        newest, self._looked = newest_signed(self._data), passed
        if newest is not None:
            self.learn(newest)


@dataclass(frozen=True, slots=True)
class ClockAlarm:
    """`proxy.rulebook.Broken`: whether the machine's clock can be right."""

    data: Path
    time: Reckoned

    @property
    def problems(self) -> tuple[Problem, ...]:
        """One where the clock is behind what is known to have been, ran away, or is years ahead of the newest bundle."""
        _, said = self.told()
        return (Problem(CLOCK, "", said),) if said else ()

    def told(self) -> tuple[State, str]:
        """What is wrong with it, in a word and in a sentence; both empty for nothing."""
        now, least, newest, ahead = self.time.wall(), self.time.least(), newest_signed(self.data), self.time.ahead()
        shown = f"says {now:%Y-%m-%d %H:%M} UTC, and "
        if least is not None and least - now > _SKEW:
            known = "it had come further than that before"
            if newest is not None and newest > now:
                known = f"a bundle was imported that was signed at {newest:%Y-%m-%d %H:%M}"
            return "behind", f"{shown}{known}: it is behind. Until it is set, everything with a date is reckoned as if it were {least:%Y-%m-%d %H:%M}."
        if ahead > _JUMP:
            return "jumped", f"{shown}has gone ahead by {ahead.days} days under this mirror: what has ended by it may not have ended yet. If it was wrong before and is right now, start the mirror anew; else set it."
        if newest is not None and now - newest > _YEARS:
            return "alone", f"{shown}the newest bundle was signed at {newest:%Y-%m-%d %H:%M}: if that clock is right, nothing here is newer; if not, rules end and lists are old before their time. Set it, or bring a bundle."
        return "", ""


def _file(data: Path) -> Path:
    return data / "bundles" / "newest"
