"""Time as bundles tell it: where no network sets a clock, it is at least as late as the newest bundle says that was signed and taken.

The ages of lists and of the catalogue's pack are reckoned from the later of both. A clock that is behind a bundle is told of: what
hangs on dates - rules, exceptions, tokens - goes by the clock, and is as wrong as that is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from mirror.core.canonical import instant
from mirror.core.errors import Problem
from mirror.durable import write_whole

#: How far a clock may be behind its sender's without anybody being told.
_SKEW: Final = timedelta(minutes=5)


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


@dataclass(frozen=True, slots=True)
class ClockAlarm:
    """`proxy.rulebook.Broken`: whether the machine's clock can be right."""

    data: Path
    now: Callable[[], datetime]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """One where the clock is behind a bundle that was imported."""
        newest, now = newest_signed(self.data), self.now()
        if newest is None or newest - now <= _SKEW:
            return ()
        said = (
            f"says {now:%Y-%m-%d %H:%M} UTC, and a bundle was imported that was signed at {newest:%Y-%m-%d %H:%M}: it is behind. "
            "Ages of lists are reckoned from the bundle; rules, exceptions and tokens with dates go by the clock. Set it."
        )
        return (Problem("clock", "", said),)


def _file(data: Path) -> Path:
    return data / "bundles" / "newest"
