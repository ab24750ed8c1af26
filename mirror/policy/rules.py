"""A rule, an exception and a policy in force: what compiling makes, and the three-valued judgement of one rule."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any

from mirror.core.decision import Effect, Match, Mode, RuleHit
from mirror.policy.subject import ON_UNKNOWN, Outcome, Subject, Truth, View, grade_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence
    from datetime import datetime

    from mirror.core.actor import Actor
    from mirror.core.errors import Problem
    from mirror.core.facts import Ancestor
    from mirror.policy.conditions import Condition
    from mirror.policy.given import PolicyTest
    from mirror.policy.patterns import PatternSet

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a rule or an exception concerns. Empty parts concern everyone."""

    groups: frozenset[str] = frozenset()
    not_groups: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    def covers(self, actor: Actor) -> bool:
        """Whether `actor` is concerned: in one of the groups, in none of the excluded, in one of the networks."""
        if self.groups and self.groups.isdisjoint(actor.groups):
            return False
        if self.not_groups and not self.not_groups.isdisjoint(actor.groups):
            return False
        return not self.networks or _within(actor.address, self.networks)


def _within(address: str, networks: Sequence[Network]) -> bool:
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)  # ::ffff:10.0.0.1 is 10.0.0.1 on a dual-stack socket
    return any((mapped or ip) in network for network in networks)


@dataclass(frozen=True, slots=True)
class Waived:
    """An exception: lifts one rule for a scope from `since` (inclusive) until `expires` (exclusive)."""

    id: str
    rule: str
    scope: Scope
    artifacts: PatternSet | None
    since: datetime | None
    expires: datetime
    reason: str
    requested_by: str
    approved_by: tuple[str, ...]

    def covers(self, view: View, actor: Actor, now: datetime) -> bool:
        """Whether it lifts its rule for this artifact, this actor, now."""
        if now >= self.expires or (self.since is not None and now < self.since) or not self.scope.covers(actor):
            return False
        if self.artifacts is None:
            return True
        return self.artifacts.find(view.ecosystem, view.kind, view.name, view.revision, view.path) is not None


@dataclass(slots=True)
class Held:
    """How a rule holds: for certain, or for want of a fact (`unknown`, keys of `ON_UNKNOWN`)."""

    truth: Truth
    unknown: tuple[str, ...] = ()
    grade: str = "A"
    review: bool = False
    causes: tuple[tuple[int, str], ...] = ()
    path: tuple[Ancestor, ...] = ()
    view: View | None = None
    matches: tuple[Match, ...] = ()
    free_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, compiled. `until` is exclusive; `on_unknown` None leaves it to the policy's defaults."""

    id: str
    effect: Effect
    conditions: tuple[Condition, ...]
    scope: Scope
    mode: Mode = Mode.ENFORCE
    legal: bool = False
    recall: bool = False
    basis: str = ""
    source: str = ""
    reason: str = ""
    suggest: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    inherit: bool = False
    on_unknown: Effect | None = None
    min_confidence: str = "B"
    release: str = "auto"
    waiver: str = "manual"
    applies_to: frozenset[str] = frozenset()
    #: The conditions that are asked of ancestors too, where `inherit`.
    identity: tuple[Condition, ...] = ()
    when: Mapping[str, Any] = field(default_factory=dict, compare=False)
    #: Hits for want of a fact, remembered: they depend on the rule and the fact alone.
    doubts: dict[str, RuleHit] = field(default_factory=dict, compare=False, repr=False)

    def active(self, now: datetime) -> bool:
        """Whether `now` is within its dates."""
        return (self.since is None or now >= self.since) and (self.until is None or now < self.until)

    def binds(self, actor: Actor) -> bool:
        """Whether it concerns `actor`. Jurisdictions that are not known are taken to be concerned, except by a permission."""
        if not self.scope.covers(actor):
            return False
        if not self.applies_to:
            return True
        if not actor.jurisdictions:
            return self.effect is not Effect.ALLOW
        return not self.applies_to.isdisjoint(actor.jurisdictions)

    def judge(self, subject: Subject) -> Held | None:
        """How it holds for the artifact, or with `lineage: inherit` for one of its ancestors; None where it does not."""
        if not self.inherit:
            return _all(self.conditions, subject, subject.own)
        found = self._inherited(subject, self.identity)
        if found is None:
            return None
        rest = tuple(c for c in self.conditions if not c.identity)
        held = _all(rest, subject, subject.own) if rest else _CERTAIN
        return None if held is None else found if held is _CERTAIN else _both(found, held)

    def _inherited(self, subject: Subject, identity: tuple[Condition, ...]) -> Held | None:
        best = _all(identity, subject, subject.own)
        if best is not None and best.truth is Truth.YES and best.grade <= self.min_confidence:
            return best
        for view in subject.ancestors():
            held = _all(identity, subject, view)
            if held is None:
                continue
            if held.truth is Truth.YES and view.ancestor is not None:
                path = subject.path_to(view.ancestor)
                grade = max(held.grade, grade_of(min(edge.confidence for edge in path)))
                causes = tuple((weight, cause) for weight, cause in held.causes)
                held = Held(held.truth, (), grade, held.review, causes, path, view, held.matches, held.free_at)
            if best is None or (held.truth, -ord(held.grade)) > (best.truth, -ord(best.grade)):
                best = held
        if (best is None or best.truth is not Truth.YES) and not subject.complete:
            return Held(Truth.UNKNOWN, (*(best.unknown if best else ()), "lineage"))
        return best


def _all(conditions: tuple[Condition, ...], subject: Subject, view: View) -> Held | None:
    """The conjunction. None as soon as one does not hold; dated ones come last, so that only they set boundaries."""
    if len(conditions) == 1:
        return _single(conditions[0], subject, view)
    doubts: tuple[str, ...] = ()
    grade, review, free_at = "A", False, None
    causes: list[tuple[int, str]] = []
    path: tuple[Ancestor, ...] = ()
    matches: tuple[Match, ...] = ()
    for condition in conditions:
        outcome: Outcome = condition.judge(subject, view)
        if outcome.matches:
            subject.seen += outcome.matches
            matches = outcome.matches
        if outcome.truth is Truth.NO:
            return None
        if outcome.truth is Truth.UNKNOWN:
            doubts += (outcome.unknown,)
            continue
        grade = max(grade, outcome.grade)
        review = review or outcome.review
        path = outcome.path or path
        free_at = outcome.free_at or free_at
        if outcome.cause:
            causes.append((condition.salience, outcome.cause))
    truth = Truth.UNKNOWN if doubts else Truth.YES
    return Held(truth, doubts, grade, review, tuple(causes), path, None, matches, free_at)


#: What holds only for want of one fact, by fact.
_CERTAIN = Held(Truth.YES)
_DOUBT: dict[str, Held] = {fact: Held(Truth.UNKNOWN, (fact,)) for fact in ON_UNKNOWN}


def _single(condition: Condition, subject: Subject, view: View) -> Held | None:
    """`_all` of one condition: the commonest rule."""
    outcome = condition.judge(subject, view)
    if outcome.matches:
        subject.seen += outcome.matches
    if outcome.truth is Truth.NO:
        return None
    if outcome.truth is Truth.UNKNOWN:
        return _DOUBT[outcome.unknown]
    causes = ((condition.salience, outcome.cause),) if outcome.cause else ()
    return Held(outcome.truth, (), outcome.grade, outcome.review, causes, outcome.path, None, outcome.matches, outcome.free_at)


def _both(one: Held, other: Held) -> Held:
    return Held(
        min(one.truth, other.truth), (*one.unknown, *other.unknown), max(one.grade, other.grade),
        one.review or other.review, (*one.causes, *other.causes), one.path or other.path, one.view or other.view,
        one.matches or other.matches, one.free_at or other.free_at,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rulings:
    """The index of rules: which can hold at all, by the keys that a subject has."""

    always: tuple[int, ...]
    keyed: Mapping[tuple[str, Hashable], tuple[int, ...]]
    names: Mapping[str, tuple[int, ...]]
    globs: Mapping[str, tuple[tuple[Callable[[str], object], int], ...]]
    ancestor_names: Mapping[str, tuple[int, ...]]
    ancestor_globs: Mapping[str, tuple[tuple[Callable[[str], object], int], ...]]


@dataclass(frozen=True, slots=True)
class Policy:
    """The house's law, immutable.

    `digest` is the SHA-256 (hex) over the texts; `needs` the facts that rules read (fields of `core.facts.Facts`, and
    `client_country`, `lineage`); `boundaries` every date at which a rule or an exception begins or ends, sorted.
    """

    version: int
    digest: str
    texts: tuple[tuple[str, str], ...]
    rules: tuple[Rule, ...]
    exceptions: Mapping[str, tuple[Waived, ...]]
    tests: tuple[PolicyTest, ...]
    permits_by_default: bool
    on_unknown: Mapping[str, Effect]
    needs: frozenset[str]
    sets: Mapping[str, frozenset[str]]
    boundaries: tuple[datetime, ...]
    index: Rulings = field(repr=False)
    #: What is permitted but probably not meant; `policy check` shows it.
    warnings: tuple[Problem, ...] = ()

    def next_boundary(self, now: datetime) -> datetime | None:
        """The first date after `now` at which a rule or an exception begins or ends."""
        at = bisect_right(self.boundaries, now)
        return self.boundaries[at] if at < len(self.boundaries) else None

    def rule(self, rule_id: str) -> Rule | None:
        """The rule with this id."""
        return next((rule for rule in self.rules if rule.id == rule_id), None)
