"""A rule, an exception and a policy in force: what compiling makes, and the three-valued judgement of one rule."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any, NamedTuple

from mirror.core.decision import Effect, Mode, RuleHit
from mirror.policy.subject import FAILS, HOLDS, ON_UNKNOWN, OPEN, Outcome, Subject, Truth, View, grade_of

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Hashable, Mapping, Sequence
    from datetime import datetime

    from mirror.core.actor import Actor
    from mirror.core.errors import Problem
    from mirror.core.facts import Ancestor
    from mirror.policy.conditions import Condition, Judge
    from mirror.policy.given import PolicyTest
    from mirror.policy.patterns import PatternSet
    from mirror.policy.releases import Rests

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
        if not self.networks:
            return True
        # A record whose address was erased, or cut to its network, still tells which networks it was in.
        return _within(actor.address, self.networks) if actor.address else any(_holds(one, text) for one in self.networks for text in actor.networks)


def _holds(network: Network, text: str) -> bool:
    """Whether everything in the network that `text` names is in `network`."""
    other = _network(text)
    return other is not None and other.version == network.version and other.subnet_of(network)  # type: ignore[arg-type]  # of one version


@lru_cache(maxsize=1024)
def _network(text: str) -> Network | None:
    try:
        return ip_network(text)
    except ValueError:
        return None


def _within(address: str, networks: Sequence[Network]) -> bool:
    ip = _address(address)
    return ip is not None and any(ip in network for network in networks)


def containing(networks: Sequence[Network], address: str) -> tuple[str, ...]:
    """Those of `networks` that `address` is in, in text."""
    ip = _address(address)
    return () if ip is None else tuple(str(one) for one in networks if ip in one)


def scoped_networks(policy: Policy) -> tuple[Network, ...]:
    """Every network that a rule or an exception is scoped to, once each."""
    scopes = [*(rule.scope for rule in policy.rules), *(one.scope for group in policy.exceptions.values() for one in group)]
    return tuple(sorted({network for scope in scopes for network in scope.networks}, key=str))


@lru_cache(maxsize=1024)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        ip = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip  # ::ffff:10.0.0.1 is 10.0.0.1 on a dual-stack socket


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
    #: Of a release the one hold that it lifts, and what it rested on; None for an exception, which lifts the whole rule.
    lifts: Effect | None = None
    rests: Rests | None = None

    def lifting(self, rule: Rule, effect: Effect, subject: Subject) -> bool:
        """Whether it lifts `effect` of its rule here: of a release only the hold that it names, while it stands."""
        if not self.covers(subject.own, subject.actor, subject.now):
            return False
        if self.lifts is None:
            return True
        if effect is not self.lifts or (effect is Effect.QUARANTINE and rule.release != "manual"):
            return False
        return self.rests is None or not self.rests.changed(rule, subject)

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
    free_at: datetime | None = None


@dataclass(slots=True)
class Ruling:
    """A rule that took part, with how it held.

    `permits`: whether it answers `defaults.action: deny`. `enforced`: neither audited nor lifted. `rank` sorts the
    strongest first, and what is certain before what is not. (Not frozen: hundreds are made, and none leaves here.)
    """

    rule: Rule
    held: Held
    hit: RuleHit
    permits: bool
    enforced: bool
    rank: int


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
    forbidden: bool = False  # `use: forbidden`
    #: The conditions that are asked of ancestors too, where `inherit`.
    identity: tuple[Condition, ...] = ()
    rest: tuple[Condition, ...] = ()
    when: Mapping[str, Any] = field(default_factory=dict, compare=False)
    #: What it does for want of facts, by fact: that depends on the policy alone, so it is worked out once.
    doubts: dict[str | tuple[str, ...], Ruling | None] = field(default_factory=dict, compare=False, repr=False)

    @property
    def bounds(self) -> Hashable:
        """What `binds` depends on; None where everybody is bound."""
        scope = self.scope
        if scope.groups or scope.not_groups or scope.networks or self.applies_to:
            return scope, self.applies_to, self.effect is Effect.ALLOW
        return None

    @property
    def sole(self) -> Judge | None:
        """The judge of its only condition, where the artifact alone is asked; else None."""
        return self.conditions[0].judge if len(self.conditions) == 1 and not self.inherit else None

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
        if found is None or not self.rest:
            return found
        held = _all(self.rest, subject, subject.own)
        return None if held is None else _both(found, held)

    def _inherited(self, subject: Subject, identity: tuple[Condition, ...]) -> Held | None:
        best = _all(identity, subject, subject.own)
        if best is not None and best.truth is HOLDS and best.grade <= self.min_confidence:
            return best
        for view in subject.ancestors():
            held = _all(identity, subject, view)
            if held is None:
                continue
            if held.truth is HOLDS and view.ancestor is not None:
                path = subject.path_to(view.ancestor)
                grade = max(held.grade, grade_of(min(edge.confidence for edge in path)))
                held = Held(held.truth, (), grade, held.review, held.causes, path, view, held.free_at)
            if best is None or (held.truth, -ord(held.grade)) > (best.truth, -ord(best.grade)):
                best = held
        if (best is None or best.truth is not HOLDS) and not subject.complete:
            return Held(OPEN, (*best.unknown, "lineage")) if best is not None else _DOUBT["lineage"]
        return best


def _all(conditions: tuple[Condition, ...], subject: Subject, view: View) -> Held | None:
    """The conjunction. None as soon as one does not hold; dated ones come last, so that only they set boundaries."""
    if len(conditions) == 1:
        return _single(conditions[0], subject, view)
    doubts: tuple[str, ...] = ()
    holding: list[tuple[Condition, Outcome]] = []
    for condition in conditions:
        outcome = condition.judge(subject, view)
        truth = outcome.truth
        if truth is FAILS:
            return None
        if truth is OPEN:
            doubts += (outcome.unknown,)
        else:
            holding.append((condition, outcome))
    if doubts:
        return _DOUBT[doubts[0]] if len(doubts) == 1 else Held(OPEN, doubts)
    return _joined(holding)


def _joined(holding: Sequence[tuple[Condition, Outcome]]) -> Held:
    """The conjunction of conditions that all hold: as sure as the weakest."""
    return Held(
        HOLDS, (),
        max(outcome.grade for _, outcome in holding),
        any(outcome.review for _, outcome in holding),
        tuple((condition.salience, outcome.cause) for condition, outcome in holding if outcome.cause),
        next((outcome.path for _, outcome in holding if outcome.path), ()),
        None,
        next((outcome.free_at for _, outcome in holding if outcome.free_at is not None), None),
    )  # fmt: skip


#: What holds only for want of one fact, by fact.
_DOUBT: dict[str, Held] = {fact: Held(OPEN, (fact,)) for fact in ON_UNKNOWN}


def _single(condition: Condition, subject: Subject, view: View) -> Held | None:
    """`_all` of one condition: the commonest rule."""
    outcome = condition.judge(subject, view)
    truth = outcome.truth
    return certain(condition, outcome) if truth is HOLDS else None if truth is FAILS else _DOUBT[outcome.unknown]


def certain(condition: Condition, outcome: Outcome) -> Held:
    """How a rule of this one condition holds, given that it does."""
    _, cause, _, grade, review, path, free_at = outcome
    return Held(HOLDS, (), grade, review, ((condition.salience, cause),) if cause else (), path, None, free_at)


def _both(one: Held, other: Held) -> Held:
    return Held(
        min(one.truth, other.truth), (*one.unknown, *other.unknown), max(one.grade, other.grade),
        one.review or other.review, (*one.causes, *other.causes), one.path or other.path, one.view or other.view,
        one.free_at or other.free_at,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rulings:
    """The index of rules: which can hold at all, by the keys that a subject has."""

    always: tuple[int, ...]
    keyed: Mapping[tuple[str, Hashable], tuple[int, ...]]
    #: By the key for "unknown": rules that are then open, unless another key brings them in, with the fact they lack.
    open: Mapping[tuple[str, Hashable], Mapping[int, str]]
    names: Mapping[str, tuple[int, ...]]
    globs: Mapping[str, tuple[tuple[Callable[[str], object], int], ...]]
    ancestor_names: Mapping[str, tuple[int, ...]]
    ancestor_globs: Mapping[str, tuple[tuple[Callable[[str], object], int], ...]]


class Row(NamedTuple):
    """A rule as the judgement goes through it.

    `dated`: whether it has dates. `bounds`: rules of one number bind the same clients; None binds everybody. `sole`: the
    judge of its one condition, or None where there is more to it (conditions, lineage, exceptions).
    """

    rule: Rule
    dated: bool
    bounds: int | None
    sole: Judge | None


def tabulate(rules: Sequence[Rule], lifted: Container[str]) -> tuple[Row, ...]:
    """The rows of `rules`; `lifted` are ids of rules with exceptions."""
    numbers: dict[Hashable, int | None] = {None: None}
    return tuple(
        Row(
            rule,
            rule.since is not None or rule.until is not None,
            numbers.setdefault(rule.bounds, len(numbers)),
            None if rule.id in lifted else rule.sole,
        )
        for rule in rules
    )


@dataclass(frozen=True, slots=True)
class Policy:
    """The house's law, immutable.

    `digest` is the SHA-256 (hex) over the texts; `needs` the facts that rules read (fields of `core.facts.Facts`, and
    `client_country`, `lineage`), `needs_by_ecosystem` those of rules that could hold there; `boundaries` every date at which a rule or an exception begins or ends, sorted.
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
    table: tuple[Row, ...] = field(default=(), repr=False)
    needs_by_ecosystem: Mapping[str, frozenset[str]] = field(default_factory=dict)
    #: What is permitted but probably not meant; `policy check` shows it.
    warnings: tuple[Problem, ...] = ()

    def next_boundary(self, now: datetime) -> datetime | None:
        """The first date after `now` at which a rule or an exception begins or ends."""
        at = bisect_right(self.boundaries, now)
        return self.boundaries[at] if at < len(self.boundaries) else None

    def rule(self, rule_id: str) -> Rule | None:
        """The rule with this id."""
        return next((rule for rule in self.rules if rule.id == rule_id), None)
