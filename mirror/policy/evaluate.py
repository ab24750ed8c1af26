"""The judgement: every rule that could hold is asked, the strongest enforced effect wins (SURFACE 4). Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirror.core.decision import Effect, Match, Mode, RuleHit, Verdict
from mirror.core.nouns import HUGGINGFACE, PYPI, Artifact
from mirror.policy import licences, sentences
from mirror.policy.given import Failure, run_one
from mirror.policy.subject import Subject, Truth

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence
    from datetime import datetime

    from mirror.core.actor import Actor
    from mirror.core.facts import Ancestor, Facts
    from mirror.policy.catalogue import Catalogue
    from mirror.policy.lineage import Lineage
    from mirror.policy.rules import Held, Policy, Rule, Rulings

_STARTS = (2, 1, 0)


@dataclass(slots=True)
class Ruling:
    """A rule that took part, with how it held. (Not frozen: hundreds are made in one judgement, and none leaves it.)"""

    rule: Rule
    held: Held
    hit: RuleHit
    #: Whether it answers `defaults.action: deny`.
    permits: bool


def evaluate(policy: Policy, artifact: Artifact, facts: Facts, actor: Actor, now: datetime) -> Verdict:
    """What `policy` says of `artifact` to `actor` at `now` (timezone-aware), given `facts` after `derive`.

    Pure: same arguments, same verdict; until `valid_until` (exclusive) a later `now` gives the same effect.
    """
    subject = Subject(artifact, facts, actor, now)
    rulings = rule_on(policy, subject)
    effect, would = _outcomes(policy, rulings)
    decisive = [r for r in rulings if _enforced(r) and r.hit.effect is effect and (effect is not Effect.ALLOW or r.permits)]
    chosen = set(map(id, decisive))
    decisive.sort(key=_certainty)
    ordered = [*decisive, *sorted((ruling for ruling in rulings if id(ruling) not in chosen), key=_certainty)]
    boundary = policy.next_boundary(now)
    until = min((moment for moment in (boundary, subject.until) if moment is not None), default=None)
    available = _available(decisive) if effect is Effect.QUARANTINE else None
    return Verdict(
        effect=effect,
        would=would,
        rules=tuple(ruling.hit for ruling in ordered),
        sentence=sentences.sentence(artifact, effect, decisive, rulings, available),
        matches=_matches(subject),
        lineage=_lineage(ordered, facts),
        suggestions=tuple(dict.fromkeys(one for ruling in decisive for one in ruling.rule.suggest)) if not effect.serves else (),
        valid_until=until,
        available_from=available,
    )


def rule_on(policy: Policy, subject: Subject) -> list[Ruling]:
    """Every rule that holds, for certain or for want of a fact, in the order of the file."""
    found = []
    for number in sorted(candidates(policy.index, subject)):
        rule = policy.rules[number]
        if rule.active(subject.now) and rule.binds(subject.actor):
            held = rule.judge(subject)
            if held is not None and (ruling := ruled(policy, rule, held, subject)) is not None:
                found.append(ruling)
    return found


def ruled(policy: Policy, rule: Rule, held: Held, subject: Subject) -> Ruling | None:
    """What a rule that holds does here: softened by a weak match, decided by an unknown fact, lifted by an exception."""
    effect, missing = rule.effect, ""
    if held.truth is Truth.UNKNOWN:
        effect, missing = _on_unknown(policy, rule, held)
        if (effect is Effect.ALLOW or rule.effect is Effect.ALLOW) and rule.on_unknown is None:
            return None  # a default never lets an unknown pass as permitted, and never refuses what is permitted anyway
    elif held.review or held.grade > rule.min_confidence:
        effect = Effect.REVIEW if effect is Effect.ALLOW else min(effect, Effect.REVIEW)
    permits = rule.effect is Effect.ALLOW and effect.serves
    if missing and not permits and effect is Effect.ALLOW:
        return None
    lifted = ""
    if not permits and rule.id in policy.exceptions:
        lifted = next((one.id for one in policy.exceptions[rule.id] if one.covers(subject.own, subject.actor, subject.now)), "")
    if missing and not lifted:  # depends on the rule and the missing fact alone
        hit = rule.doubts.get(missing)
        if hit is None:
            hit = rule.doubts[missing] = _hit(rule, effect, sentences.cause(held, missing), "", missing)
    else:
        hit = _hit(rule, effect, sentences.cause(held, missing), lifted, missing)
    return Ruling(rule, held, hit, permits)


def _hit(rule: Rule, effect: Effect, cause: str, lifted: str, missing: str) -> RuleHit:
    return RuleHit(
        rule.id, effect, rule.mode, rule.legal, rule.recall, rule.basis, rule.reason or cause, lifted, missing, rule.waiver
    )


def _on_unknown(policy: Policy, rule: Rule, held: Held) -> tuple[Effect, str]:
    if rule.on_unknown is not None:
        return rule.on_unknown, held.unknown[0]
    if len(held.unknown) == 1:
        return policy.on_unknown[held.unknown[0]], held.unknown[0]
    fact = max(held.unknown, key=lambda name: policy.on_unknown[name])
    return policy.on_unknown[fact], fact


def _enforced(ruling: Ruling) -> bool:
    return ruling.hit.mode is Mode.ENFORCE and not ruling.hit.exception


def _certainty(ruling: Ruling) -> tuple[int, bool]:
    return -ruling.hit.effect, bool(ruling.hit.unknown)


def _outcomes(policy: Policy, rulings: Sequence[Ruling]) -> tuple[Effect, Effect]:
    """The enforced effect, and the one if audit rules were enforced too."""
    effects = []
    for audit in (False, True):
        taking = [r for r in rulings if not r.hit.exception and (audit or r.hit.mode is Mode.ENFORCE)]
        permitted = policy.permits_by_default or any(ruling.permits for ruling in taking)
        effects.append(max((r.hit.effect for r in taking), default=Effect.ALLOW) if permitted else Effect.DENY)
    return effects[0], effects[1]


def _available(decisive: Sequence[Ruling]) -> datetime | None:
    """When every quarantine has run out, or None where one of them waits for a person."""
    moments = [None if r.hit.unknown or r.rule.release == "manual" else r.held.free_at for r in decisive]
    known = [moment for moment in moments if moment is not None]
    return max(known) if known and len(known) == len(moments) else None


def _matches(subject: Subject) -> tuple[Match, ...]:
    return tuple(sorted(dict.fromkeys(subject.seen), key=lambda match: -match.score)) if subject.seen else ()


def _lineage(rulings: Sequence[Ruling], facts: Facts) -> tuple[Ancestor, ...]:
    """The path that decided, else everything that is known."""
    return next((ruling.held.path for ruling in rulings if ruling.held.path), None) or (
        (facts.ancestors.value if facts.ancestors else None) or ()
    )


# --- which rules can hold -----------------------------------------------------------------------------------------


def candidates(index: Rulings, subject: Subject) -> set[int]:
    """A superset of the rules that hold: those that are always asked, and those of which the subject has a key."""
    found = set(index.always)
    keyed = index.keyed
    for key in _keys(subject):
        if (numbers := keyed.get(key)) is not None:
            found.update(numbers)
    _named(index.names, index.globs, subject.own.name, found)
    if index.ancestor_names or index.ancestor_globs:
        for view in subject.ancestors():
            _named(index.ancestor_names, index.ancestor_globs, view.name, found)
    return found


def _named(names: Mapping[str, tuple[int, ...]], globs: Mapping[str, Sequence[tuple[object, int]]], name: str, found: set[int]) -> None:
    if (numbers := names.get(name)) is not None:
        found.update(numbers)
    if globs:
        for length in _STARTS:
            for matches, number in globs.get(name[:length], ()):
                if number not in found and matches(name):  # type: ignore[operator]
                    found.add(number)


def _keys(subject: Subject) -> Iterator[tuple[str, Hashable]]:
    own, facts = subject.own, subject.facts
    yield "ecosystem", own.ecosystem
    yield "type", own.kind
    yield from _whose(own, "")
    if not subject.origin_complete:
        yield "origin", None
    for code, _ in subject.origin:
        yield "origin", code
    yield "client", (subject.actor.country or "").upper() or None
    for group in subject.actor.groups:
        yield "group", group
    yield "kind", facts.file_kind.value if facts.file_kind else None
    yield "ext", own.path.rpartition(".")[2]
    yield "status", facts.status.value if facts.status else None
    yield "gated", (facts.gated.value if facts.gated else None) or (None if own.ecosystem == HUGGINGFACE else "false")
    yanked = facts.yanked.value if facts.yanked else None
    yield "yanked", False if yanked is None and own.ecosystem != PYPI else yanked
    yield from _licence_keys(facts)
    yield from _inherited_keys(subject)


def _licence_keys(facts: Facts) -> Iterator[tuple[str, Hashable]]:
    stated = False
    for expression in (facts.license.value if facts.license else None) or ():
        if not licences.is_unstated(expression):
            stated = True
            for name in licences.identifiers(expression):
                yield "license", name
    if not stated:
        yield "license", None


def _inherited_keys(subject: Subject) -> Iterator[tuple[str, Hashable]]:
    """The same for rules that hold for whatever is derived: an incomplete lineage could hide any key."""
    if not subject.complete:
        yield "lineage", None
    yield from _whose(subject.own, "+")
    if subject.edges:
        for view in subject.ancestors():
            yield from _whose(view, "+")


_FEATURES = {mark: (f"{mark}handle", f"{mark}entity", f"{mark}country") for mark in ("", "+")}


def _whose(view: object, mark: str) -> Iterator[tuple[str, Hashable]]:
    handle, entity, country = _FEATURES[mark]
    publisher = view.publisher  # type: ignore[attr-defined]
    if view.owner:  # type: ignore[attr-defined]
        yield handle, view.owner  # type: ignore[attr-defined]
    if publisher is None:
        yield entity, None
    else:
        yield entity, publisher.id
        for _, name in publisher.handles:
            yield handle, name
    if view.countries is None:  # type: ignore[attr-defined]
        yield country, None
    else:
        for code in view.countries:  # type: ignore[attr-defined]
            yield country, code


# --- the policy's own tests ---------------------------------------------------------------------------------------


def run_tests(policy: Policy, catalogue: Catalogue, lineage: Lineage, now: datetime) -> list[Failure]:
    """The policy's own tests that do not hold, with what came instead. `now` stands where a test gives no time."""
    return [failure for test in policy.tests for failure in run_one(test, policy, catalogue, lineage, now, evaluate)]


def without_actor(actor: Actor) -> Actor:
    """The actor as far as a verdict depends on it: for caches that must not tell people apart."""
    return replace(actor, name="", user_agent="", credential=None)
