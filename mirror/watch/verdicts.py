"""Verdicts that are others now: what was handed out and would be refused since a card, the catalogue or an inference changed.

Looked for after each change of catalogue or shipped lineage and every hour, over what was handed out of late. Only what follows
from lineage and catalogue is found out anew, so that a difference has no other cause; changed rules are `policy diff`'s. Each
is one log line that names who has the file, one `changed` event with the decisions by which they got it - a ledger that cannot
be erased holds no names - and one count of `mirror_changed_verdicts_total`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import structlog

from mirror.core.actor import Actor
from mirror.core.canonical import instant
from mirror.core.decision import Event, EventKind
from mirror.core.errors import MirrorError
from mirror.core.nouns import HUGGINGFACE, Artifact, Kind
from mirror.policy.derive import CATALOGUE
from mirror.policy.evaluate import evaluate
from mirror.policy.recorded import Judged, judged
from mirror.policy.replay import rederived
from mirror.watch.notices import MOST, RECENT, Decisions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AsyncExitStack
    from datetime import datetime

    from mirror.core.decision import Verdict
    from mirror.core.facts import Facts
    from mirror.core.ports import Clock, Ledger
    from mirror.policy.epoch import Epoch

    Describe = Callable[[Artifact, frozenset[str]], Awaitable[Facts]]

_LOG = structlog.get_logger("mirror.watch")
_SELF: Final = Actor(name="mirror")
_LINEAGE: Final = frozenset({"ancestors", "ancestor", "origin", "lineage"})
_PAGE: Final = 500
#: How many holders a log line names, and how many of their decisions an event.
_NAMED: Final = 50
_CITED: Final = 200
_TICK: Final = 2.0
_HOUR: Final = 1800


@dataclass(frozen=True, slots=True)
class Changed:
    """What was handed out to `cases` and would be refused now, by `verdict`."""

    artifact: Artifact
    verdict: Verdict
    cases: tuple[Judged, ...]

    @property
    def rules(self) -> list[str]:
        """The rules that would refuse it, by id."""
        return [hit.id for hit in self.verdict.rules if hit.effect == self.verdict.effect and not hit.exception]

    def detail(self) -> dict[str, Any]:
        """What is recorded of it."""
        return {
            "effect": self.verdict.effect.word, "rules": self.rules, "reason": self.verdict.sentence, "clients": len({case.actor.name for case in self.cases}),
            "groups": sorted({group for case in self.cases for group in case.actor.groups}),
            "decisions": sorted({case.decision for case in self.cases})[:_CITED],
        }  # fmt: skip


class Verdicts:
    """One a node. `describe` asks one of `hubs`, instances of the model hub, as anybody may; `counted` is told of each change."""

    def __init__(
        self, describe: Describe, hubs: Sequence[str], epoch: Callable[[], Epoch], index: Decisions, ledger: Ledger, clock: Clock,
        counted: Callable[[], None],
    ) -> None:  # fmt: skip
        self._describe, self._hubs, self._epoch = describe, hubs, epoch
        self._index, self._ledger, self._clock = index, ledger, clock
        self._counted = counted
        self._told: set[tuple[str, str]] | None = None

    async def look(self) -> list[Changed]:
        """Find and tell what changed and was not told before. Raises `MirrorError`; then the rest waits for the next look."""
        epoch, now = self._epoch(), self._clock.now()
        if self._told is None:
            events = await self._index.query({"kind": EventKind.CHANGED, "since": instant(now - RECENT)}, MOST, None)
            self._told = {(str(one["subject"]), str(one["detail"]["effect"])) for one in events}
        by_artifact: defaultdict[Artifact, list[Judged]] = defaultdict(list)
        for case in await self._handed_out(epoch, now):
            by_artifact[case.artifact].append(case)
        found = []
        fresh: dict[str, Facts | None] = {}
        for artifact, cases in by_artifact.items():
            name = artifact.project.identity
            if name not in fresh:
                fresh[name] = await self._lineage(artifact, epoch)
            refused = [(verdict, case) for case in cases if not (verdict := _anew(case, fresh[name], epoch, now)).effect.serves]
            if refused:
                worst = max((verdict for verdict, _ in refused), key=lambda verdict: verdict.effect)
                found.append(Changed(artifact, worst, tuple(case for _, case in refused)))
            await asyncio.sleep(0)
        new = [one for one in found if (str(one.artifact), one.verdict.effect.word) not in self._told]
        for one in new:
            await self._tell(one, now)
            self._told.add((str(one.artifact), one.verdict.effect.word))
        return new

    async def run(self) -> None:
        """Look after each change of catalogue or lineage, and every hour."""
        seen, ticks = ("", ""), 0
        while True:
            epoch = self._epoch()
            if (epoch.catalogue.digest, epoch.lineage.digest) != seen or ticks >= _HOUR:
                try:
                    await self.look()
                    seen, ticks = (epoch.catalogue.digest, epoch.lineage.digest), 0
                except (MirrorError, OSError) as error:
                    _LOG.warning("verdicts_wait", fault=str(error))
            await asyncio.sleep(_TICK)
            ticks += 1

    async def _handed_out(self, epoch: Epoch, now: datetime) -> list[Judged]:
        """What was allowed of late and the rules in force allow on the facts of then, once for each artifact and client."""
        found: dict[tuple[Artifact, Actor], Judged] = {}
        before: int | None = None
        for _ in range(MOST // _PAGE):
            page = await self._index.query({"kind": EventKind.ALLOWED, "since": instant(now - RECENT)}, _PAGE, before)
            for record in page:
                try:
                    case = judged(record["decision"], epoch.catalogue)
                except (ValueError, TypeError, KeyError):  # recorded by a release with other facts
                    continue
                same = record["decision"]["policy"] == epoch.policy.digest
                if same or evaluate(epoch.policy, case.artifact, case.facts, case.actor, now).effect.serves:
                    found.setdefault((case.artifact, case.actor), case)
            if len(page) < _PAGE:
                break
            before = int(page[-1]["seq"])
            await asyncio.sleep(0)
        return list(found.values())

    async def _lineage(self, artifact: Artifact, epoch: Epoch) -> Facts | None:
        """What the hub says of a model's lineage today, on its default branch; None where it says nothing or nobody asks."""
        needs = epoch.policy.needs_by_ecosystem[artifact.project.ecosystem] & _LINEAGE
        if artifact.project.ecosystem != HUGGINGFACE or artifact.project.kind is not Kind.MODEL or not needs:
            return None
        for hub in self._hubs:  # a record does not say from which of them it was
            with suppress(MirrorError, KeyError):  # out of reach, hidden, or still being found out
                return await self._describe(Artifact(replace(artifact.project, hub=hub), "", ""), needs)
        return None

    async def _tell(self, one: Changed, now: datetime) -> None:
        detail = one.detail()
        event = Event(EventKind.CHANGED, now, _SELF, subject=str(one.artifact), detail=tuple(sorted(detail.items())))
        await self._ledger.record(event).durable()
        self._counted()
        holders = sorted({case.actor.name for case in one.cases})[:_NAMED]
        _LOG.warning("verdict_changed", artifact=str(one.artifact), holders=holders, **detail)


def _anew(case: Judged, told: Facts | None, epoch: Epoch, now: datetime) -> Verdict:
    """The verdict on a case of the past with its lineage as of today, and who is behind each name as the catalogue has it."""
    ancestors = case.facts.ancestors
    if told is not None and told.ancestors is not None:
        ancestors = told.ancestors
    elif ancestors is not None and ancestors.value is not None:
        bare = tuple(
            replace(edge, publisher=None, countries=None, publisher_grade="A") for edge in ancestors.value if edge.evidence != "catalogue"
        )
        ancestors = replace(ancestors, value=bare) if ancestors.source != CATALOGUE else None
    facts = rederived(replace(case, facts=replace(case.facts, ancestors=ancestors)), epoch.catalogue, epoch.lineage)
    return evaluate(epoch.policy, case.artifact, facts, case.actor, now)


def watch_verdicts(verdicts: Verdicts, opened: AsyncExitStack) -> None:
    """Look in the background until `opened` is closed."""
    watching = asyncio.create_task(verdicts.run(), name="verdicts")

    async def halt() -> None:
        watching.cancel()
        await asyncio.wait({watching})

    opened.push_async_callback(halt)
