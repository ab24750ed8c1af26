"""What the server fetches by itself: wanted lists, and when."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import time, timedelta
from pathlib import Path
from typing import Final

from mirror.config_values import Duration, Hidden, Located, Whole
from mirror.core.errors import Problem

_AT: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_DAY: Final = timedelta(days=1)
_LEAST: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class SyncConfig:
    """One wanted list, run every `every` - on whole days at the time of day `at` (UTC). `token` is sent as `mirror sync --token` is."""

    wants: Located
    every: Duration = _DAY
    at: str | None = None
    token: Hidden | None = None
    jobs: Whole = 8

    @property
    def name(self) -> str:
        """What its runs are called: the file's name without its ending."""
        return self.wants.stem

    @property
    def time(self) -> time | None:
        """`at` as a time of day."""
        found = _AT.fullmatch(self.at or "")
        return None if found is None else time(int(found[1]), int(found[2]))


def sync_located(rows: tuple[SyncConfig, ...], at: Callable[[Path | None], Path | None]) -> tuple[SyncConfig, ...]:
    """The rows with absolute paths."""
    return tuple(replace(row, wants=at(row.wants) or row.wants) for row in rows)


def sync_checked(rows: tuple[SyncConfig, ...], fault: Callable[[str, str], Problem]) -> Iterator[Problem]:
    """Everything in `sync:` that cannot be meant."""
    seen: set[str] = set()
    for number, row in enumerate(rows):
        place = f"sync[{number}]"
        if not row.wants.is_file():
            yield fault(f"{place}.wants", f"there is no file {str(row.wants)!r}")
        if row.name in seen:
            yield fault(f"{place}.wants", f"another list is called {row.name!r} already: they are told apart by their files' names")
        seen.add(row.name)
        if row.every < _LEAST:
            yield fault(f"{place}.every", "expected at least 1m")
        if row.at is not None and row.time is None:
            yield fault(f"{place}.at", f"{row.at!r} is not a time of day such as '02:30' (UTC)")
        elif row.at is not None and row.every % _DAY:
            yield fault(f"{place}.every", "with `at` expected whole days: 24h, 7d")
        if not 1 <= row.jobs <= 64:
            yield fault(f"{place}.jobs", f"expected 1 to 64, found {row.jobs}")
