"""Who was asked for: publishers, and owners and projects of whom the catalogue knows nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Seen:
    """One publisher, by `publisher` (its id in the catalogue as of then) - or, where that is empty, one stranger.

    A stranger is `ecosystem` and `owner` (a hub's handle; empty where the hub shows none); `names` are what lists may know it
    by: the handle, and what its newest project declared. `projects` are a few of its projects. `decisions` counts those since
    the asked-for moment, `first` and `last` are the outermost.
    """

    publisher: str
    ecosystem: str
    owner: str
    names: tuple[str, ...]
    projects: tuple[str, ...]
    decisions: int
    first: datetime
    last: datetime


class TrafficIndex(Protocol):
    """The ledger's index, asked by publisher. Raises `IndexDown`."""

    async def seen(self, since: datetime | None = None) -> Sequence[Seen]:
        """Everybody who was asked for since then (None: ever), the latest first. Seconds for a million decisions."""
