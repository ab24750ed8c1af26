"""What reviewers found, as the rules in force need it: on the record first, then it counts."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Final

import structlog

from mirror.core.actor import Actor
from mirror.core.canonical import instant
from mirror.core.decision import Event, EventKind
from mirror.core.errors import MirrorError
from mirror.policy.reviewed import Reviewed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.core.findings import Finding, FindingIndex
    from mirror.core.ports import Clock, Ledger

_LOG = structlog.get_logger("mirror.findings")
_SELF: Final = Actor(name="mirror")


class FindingBook:
    """One a process. Only the one to which `attach` gave a ledger puts new findings on the record."""

    def __init__(self) -> None:
        self.reviewed: Reviewed | None = None
        #: Rises with everything that counts anew: a part of what the rules are made of.
        self.stamp = 0
        self._index: FindingIndex | None = None
        self._ledger: Ledger | None = None
        self._clock: Clock | None = None
        self._state = (0, 0)

    def attach(self, index: FindingIndex, ledger: Ledger | None, clock: Clock) -> None:
        """From now on `look` reads from `index`, and writes to `ledger` if there is one."""
        self._index, self._ledger, self._clock = index, ledger, clock

    async def look(self) -> None:
        """See whether something was found since. A database or a ledger that does not answer leaves things as they are."""
        if self._index is None:
            return
        try:
            state = await self._index.findings_state()
            if state == self._state:
                return
            if self._ledger is not None and state[0] != state[1]:
                await self._record(self._index, self._ledger)
                state = await self._index.findings_state()
            if state[1] != self._state[1]:
                self.reviewed = Reviewed(await self._index.findings(recorded=True))
                self.stamp = state[1]
            self._state = state
        except (MirrorError, OSError) as error:
            _LOG.warning("findings_not_read", fault=str(error))

    async def _record(self, index: FindingIndex, ledger: Ledger) -> None:
        """Whatever the ledger does not have yet; until then it decides nothing."""
        for finding in await index.findings(recorded=False):
            now = self._clock.now() if self._clock is not None else finding.at
            event = Event(EventKind.FINDING, now, _SELF, subject=finding.subject, detail=tuple(sorted(detail_of(finding).items())))
            await ledger.record(event).durable()
            await index.mark_recorded(finding.id)
            _LOG.info("finding", id=finding.id, subject=finding.subject, list=finding.list, entry=finding.entry, finding=finding.finding)


def detail_of(finding: Finding) -> Mapping[str, str]:
    """A finding as the ledger has it: all of its fields, times in RFC 3339."""
    values = {field.name: getattr(finding, field.name) for field in fields(finding)}
    return {**values, "at": instant(finding.at)}
