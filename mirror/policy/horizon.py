"""What is going to change by itself: the dates of rules, exceptions and waivers, and whom each turn will touch. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from mirror.policy.evaluate import evaluate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mirror.core.actor import Actor
    from mirror.core.decision import Effect
    from mirror.core.nouns import Artifact
    from mirror.policy.recorded import Judged
    from mirror.policy.rules import Policy

#: How many days before a turn people are told of it.
STAGES: Final = (30, 14, 1)
#: The instant before a turn.
_JUST: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Turn:
    """A date at which `id` (of a rule or an exception, a waiver's too) begins (`from`) or ends (`until`, `expires`)."""

    kind: str
    id: str
    edge: str
    at: datetime

    def stage(self, now: datetime) -> int | None:
        """Which of the notices is due at `now`: the latest of them, or None before the first and after the turn."""
        left = self.at - now
        return min((days for days in STAGES if timedelta(0) < left <= timedelta(days=days)), default=None)


def turns(policy: Policy, now: datetime, within: timedelta = timedelta(days=STAGES[0])) -> list[Turn]:
    """Every turn after `now` and at most `within` from it, the nearest first."""
    last = now + within
    return sorted((turn for turn in _all(policy) if now < turn.at <= last), key=lambda turn: (turn.at, turn.kind, turn.id))


def _all(policy: Policy) -> Iterator[Turn]:
    for rule in policy.rules:
        if rule.since is not None:
            yield Turn("rule", rule.id, "from", rule.since)
        if rule.until is not None:
            yield Turn("rule", rule.id, "until", rule.until)
    for group in policy.exceptions.values():
        for waived in group:
            if waived.since is not None:
                yield Turn("exception", waived.id, "from", waived.since)
            yield Turn("exception", waived.id, "expires", waived.expires)


@dataclass(frozen=True, slots=True)
class Difference:
    """One who asked for one thing, and what the answer is and would be."""

    artifact: Artifact
    actor: Actor
    before: Effect
    after: Effect


def touched(policy: Policy, turn: Turn, cases: Iterable[Judged]) -> list[Difference]:
    """What a turn changes for those of `cases` that ask again: the instant before it, and at it.

    Of several turns at one instant each has what its own rule or exception takes part in.
    """
    found = []
    for case in cases:
        before = evaluate(policy, case.artifact, case.facts, case.actor, turn.at - _JUST)
        after = evaluate(policy, case.artifact, case.facts, case.actor, turn.at)
        if before.effect is not after.effect and any(turn.id in (hit.id, hit.exception) for hit in (*before.rules, *after.rules)):
            found.append(Difference(case.artifact, case.actor, before.effect, after.effect))
    return found
