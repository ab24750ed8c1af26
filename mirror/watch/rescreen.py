"""Whenever a list changes, everybody who was ever asked for here is screened anew: what that changed is logged and recorded.

The last outcome lies in `screened.json` of the data folder: what lists changed while no server ran is noticed at its start, and
`mirror screen --traffic` shows it.
"""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

import structlog

from mirror.core.actor import Actor
from mirror.core.canonical import instant
from mirror.core.decision import Event, EventKind
from mirror.core.errors import MirrorError
from mirror.policy.rescreening import Standing, changes, replaced, standing
from mirror.policy.screening import MATCHER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mirror.core.ports import Clock, Ledger
    from mirror.core.traffic import TrafficIndex
    from mirror.policy.epoch import Epoch
    from mirror.policy.rescreening import Change
    from mirror.policy.screening import ScreeningList

_LOG = structlog.get_logger("mirror.watch")
_SELF: Final = Actor(name="mirror")
FILE: Final = "screened.json"
#: How many changes the log line and the ledger event spell out; the file has all.
_SPOKEN: Final = 20
_RECORDED: Final = 200
_KEYS: Final = ("subject", "list", "entry")


class Rescreening:
    """One a node. `start` and `changed` return at once; the work goes on in the background, one change after another."""

    def __init__(self, index: TrafficIndex, ledger: Ledger, clock: Clock, data: Path) -> None:
        self._index, self._ledger, self._clock, self._file = index, ledger, clock, data / FILE
        self._queue: asyncio.Queue[tuple[Epoch | None, Epoch]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def start(self, epoch: Epoch) -> None:
        """Begin, with whatever changed while no server ran."""
        self._queue.put_nowait((None, epoch))
        self._task = asyncio.create_task(self._run(), name="rescreen")

    def changed(self, before: Epoch, after: Epoch) -> None:
        """Other rules are about to come into force."""
        if replaced(before.lists, after.lists):
            self._queue.put_nowait((before, after))

    async def close(self) -> None:
        """Stop, also in the middle."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        while True:
            before, after = await self._queue.get()
            try:
                await self.look(before, after)
            except (MirrorError, OSError) as error:
                _LOG.warning("screening_late", fault=str(error))

    async def look(self, before: Epoch | None, after: Epoch) -> list[Change] | None:
        """What differs from `before` - or, where that is None, from the last outcome on disk. None: no list changed."""
        last = read_outcome(self._file)
        if before is None and (last["lists"] == _editions(after.lists) if last is not None else not after.lists):
            return None
        seen = await self._index.seen()
        now = self._clock.now()
        day = now.astimezone(UTC).date()
        current = await asyncio.to_thread(standing, seen, after.lists, after.catalogue, day)
        old: Mapping[tuple[str, str, str], int] = {}
        names: dict[tuple[str, str, str], str] = {}
        if before is not None:
            was = await asyncio.to_thread(standing, seen, before.lists, before.catalogue, day)
            old, names = {key: match.score for key, match in was.items()}, {key: match.name for key, match in was.items()}
        elif last is not None:
            rows = {tuple(str(row[key]) for key in _KEYS): row for row in last["standing"]}
            old = {(one, two, three): int(row["score"]) for (one, two, three), row in rows.items()}
            names = {(one, two, three): str(row["name"]) for (one, two, three), row in rows.items()}
        first = before is None and last is None
        found = [] if first else changes(old, current, seen, names)
        outcome = {
            "at": instant(now), "matcher": MATCHER, "lists": _editions(after.lists), "standing": _rows(current),
            "changes": [change.row() for change in found],
        }  # fmt: skip
        if not first:
            await self._tell(outcome, found, len(seen))
        await asyncio.to_thread(_write, self._file, outcome)
        return found

    async def _tell(self, outcome: Mapping[str, Any], found: list[Change], seen: int) -> None:
        detail = {
            "lists": {name: edition for name, (edition, _) in outcome["lists"].items()}, "matcher": MATCHER, "seen": seen,
            "changed": len(found), "changes": outcome["changes"][:_RECORDED],
        }  # fmt: skip
        event = Event(EventKind.SCREENED, self._clock.now(), _SELF, subject="lists", detail=tuple(sorted(detail.items())))
        await self._ledger.record(event).durable()
        spoken = [f"{one.subject} {one.word} on {one.list} as '{one.name}'" for one in found[:_SPOKEN]]
        (_LOG.warning if found else _LOG.info)("screened", seen=seen, changed=len(found), changes=spoken)


def read_outcome(file: Path) -> dict[str, Any] | None:
    """The last outcome (`at`, `matcher`, `lists`, `standing`, `changes`); None where there is none that can be read."""
    try:
        found = json.loads(file.read_bytes())
        return found if isinstance(found, dict) and {"at", "lists", "standing", "changes"} <= set(found) else None
    except (OSError, ValueError):
        return None


def _editions(lists: Mapping[str, ScreeningList]) -> dict[str, list[str]]:
    return {name: [one.edition, one.digest] for name, one in sorted(lists.items())}


def _rows(current: Standing) -> list[dict[str, Any]]:
    return [dict(zip(_KEYS, key, strict=True)) | {"score": match.score, "name": match.name} for key, match in sorted(current.items())]


def _write(file: Path, outcome: Mapping[str, Any]) -> None:
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    fresh.write_text(json.dumps(outcome, ensure_ascii=False, indent=1), encoding="utf-8")
    fresh.replace(file)
