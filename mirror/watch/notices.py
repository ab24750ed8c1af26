"""Notices 30, 14 and 1 days before a date of the rules turns: who and what will be treated otherwise from then on.

Each is recorded (`notice`) and logged once; the register remembers which. Who: the groups and how many clients, for names
do not belong into records that cannot be erased. `mirror policy notices` prints them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import structlog

from mirror.core.actor import Actor
from mirror.core.canonical import instant
from mirror.core.decision import Event, EventKind
from mirror.core.errors import MirrorError
from mirror.core.ports import Clock, Ledger
from mirror.policy.epoch import Epoch
from mirror.policy.horizon import Difference, Turn, touched, turns
from mirror.policy.recorded import Judged, judged
from mirror.trust.register import Register

_LOG = structlog.get_logger("mirror.watch")
_SELF: Final = Actor(name="mirror")
#: How far back decisions are looked at, and how many of them at most.
RECENT: Final = timedelta(days=30)
MOST: Final = 20_000
_PAGE: Final = 500
#: How many artifacts a notice spells out.
LISTED: Final = 20
#: Seconds between looks at whether the rules have changed, and how many of those make up a look at the clock.
_TICK: Final = 2.0
_HOUR: Final = 1800


class Decisions(Protocol):
    """The ledger's index."""

    async def query(self, where: Mapping[str, str], limit: int, before: int | None) -> Sequence[Mapping[str, Any]]:
        """Records, newest first."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A turn that is near: `days` is the stage, `changes` what it will change for who asked recently."""

    turn: Turn
    days: int
    changes: tuple[Difference, ...]

    def detail(self) -> Mapping[str, Any]:
        """What is recorded of it."""
        effects = sorted({(str(one.artifact), one.before.word, one.after.word) for one in self.changes})
        return {
            "of": self.turn.kind, "edge": self.turn.edge, "date": instant(self.turn.at), "days": self.days,
            "clients": len({one.actor.name for one in self.changes}), "artifacts": len({name for name, _, _ in effects}),
            "groups": sorted({group for one in self.changes for group in one.actor.groups}),
            "changes": [f"{name}: {before} -> {after}" for name, before, after in effects[:LISTED]],
        }  # fmt: skip


async def recent(index: Decisions, epoch: Epoch, now: datetime) -> list[Judged]:
    """What was asked for within `RECENT`, once for each artifact and client. Raises `MirrorError` (the index is down)."""
    found: dict[Any, Judged] = {}
    before: int | None = None
    since = instant(now - RECENT)
    for _ in range(MOST // _PAGE):
        page = await index.query({"since": since}, _PAGE, before)
        for record in page:
            decision = record.get("decision")
            if decision is None or record["kind"] not in ("allowed", "refused", "held"):
                continue
            try:
                case = judged(decision, epoch.catalogue)
            except (ValueError, TypeError, KeyError):  # recorded by a release with other facts
                continue
            # Of an address a permission keeps the network only: it tells nobody apart whom the pseudonym does not.
            found.setdefault((case.artifact, replace(case.actor, address="")), case)
        if len(page) < _PAGE:
            break
        before = int(page[-1]["seq"])
        await asyncio.sleep(0)
    return list(found.values())


class Notices:
    """One a node."""

    def __init__(self, epoch: Callable[[], Epoch], index: Decisions, ledger: Ledger, register: Register, clock: Clock) -> None:
        self._epoch, self._index, self._ledger, self._register, self._clock = epoch, index, ledger, register, clock

    async def look(self) -> list[Notice]:
        """Give every notice that is due and was not given before. Raises `MirrorError` or `OSError`; then the rest waits."""
        epoch, now = self._epoch(), self._clock.now()
        told = {str(row["key"]) for row in await asyncio.to_thread(lambda: list(self._register.rows("notice")))}
        due = [(turn, days) for turn in turns(epoch.policy, now) if (days := turn.stage(now)) is not None and _key(turn, days) not in told]
        if not due:
            return []
        cases = await recent(self._index, epoch, now)
        given = []
        for turn, days in due:
            notice = Notice(turn, days, tuple(await asyncio.to_thread(touched, epoch.policy, turn, cases)))
            detail = tuple(sorted(notice.detail().items()))
            await self._ledger.record(Event(EventKind.NOTICE, now, _SELF, subject=turn.id, detail=detail)).durable()
            await asyncio.to_thread(self._register.add, [{"kind": "notice", "key": _key(turn, days), "at": instant(now)}])
            _LOG.warning("date_near", subject=turn.id, **dict(detail))
            given.append(notice)
        return given

    async def run(self) -> None:
        """Look after each change of the rules, and every hour."""
        seen, ticks = -1, 0
        while True:
            number = self._epoch().number
            if number != seen or ticks >= _HOUR:
                try:
                    await self.look()
                    seen, ticks = number, 0
                except (MirrorError, OSError) as error:
                    _LOG.warning("notices_wait", fault=str(error))
            await asyncio.sleep(_TICK)
            ticks += 1


def watch_dates(
    epoch: Callable[[], Epoch], index: Decisions, ledger: Ledger, register: Register | None, clock: Clock, opened: AsyncExitStack
) -> None:
    """Give notices in the background until `opened` is closed; none without a register to remember them by."""
    if register is None:
        return
    watching = asyncio.create_task(Notices(epoch, index, ledger, register, clock).run(), name="dates")

    async def halt() -> None:
        watching.cancel()
        await asyncio.wait({watching})

    opened.push_async_callback(halt)


def _key(turn: Turn, days: int) -> str:
    return f"{turn.kind}/{turn.id}/{turn.edge}/{instant(turn.at)}/{days}"
