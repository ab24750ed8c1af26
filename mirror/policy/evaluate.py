"""The judgement: every rule that could hold is asked, the strongest enforced effect wins (SURFACE 4). Pure."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from mirror.core.decision import Effect, Match, Mode, RuleHit, Verdict
from mirror.core.nouns import HUGGINGFACE, PYPI, Artifact
from mirror.policy import licences, sentences
from mirror.policy.given import Failure, run_one
from mirror.policy.rules import Held, Ruling, certain
from mirror.policy.subject import FAILS, HOLDS, OPEN, Subject, View

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
    from datetime import datetime

    from mirror.core.actor import Actor
    from mirror.core.facts import Ancestor, Facts
    from mirror.policy.catalogue import Catalogue
    from mirror.policy.lineage import Lineage
    from mirror.policy.rules import Policy, Rule, Rulings

_STARTS = (2, 1, 0)


def evaluate(policy: Policy, artifact: Artifact, facts: Facts, actor: Actor, now: datetime) -> Verdict:
    """What `policy` says of `artifact` to `actor` at `now` (timezone-aware), given `facts` after `derive`.

    Pure: same arguments, same verdict; until `valid_until` (exclusive) a later `now` gives the same effect.
    """
    subject = Subject(artifact, facts, actor, now)
    rulings = rule_on(policy, subject)
    effect, would = _outcomes(policy, rulings)
    decisive, others = _parted(rulings, effect)
    ordered = [*decisive, *others]
    boundary = policy.next_boundary(now)
    until = min((moment for moment in (boundary, subject.until) if moment is not None), default=None)
    available = _available(decisive) if effect is Effect.QUARANTINE else None
    instead = () if effect.serves else _instead(decisive, facts)
    return Verdict(
        effect=effect,
        would=would,
        rules=tuple([ruling.hit for ruling in ordered]),
        sentence=sentences.sentence(artifact, effect, decisive, rulings, available, instead),
        matches=_matches(subject),
        lineage=_lineage(ordered, facts),
        suggestions=instead,
        valid_until=until,
        available_from=available,
    )


def rule_on(policy: Policy, subject: Subject) -> list[Ruling]:
    """Every rule that holds, for certain or for want of a fact, in the order of the file."""
    found = []
    table, now, actor, own = policy.table, subject.now, subject.actor, subject.own
    asked, lacking = candidates(policy.index, subject)
    bound: dict[int, bool] = {}
    for number in sorted(asked.union(lacking)):
        rule, dated, bounds, sole = table[number]
        if dated and not rule.active(now):
            continue
        if bounds is not None:
            if bounds not in bound:
                bound[bounds] = rule.binds(actor)
            if not bound[bounds]:
                continue
        if number not in asked:
            ruling = _open(policy, rule, lacking[number])
        elif sole is None:
            held = rule.judge(subject)
            ruling = None if held is None else ruled(policy, rule, held, subject)
        else:
            outcome = sole(subject, own)
            truth = outcome.truth
            if truth is FAILS:
                continue
            if truth is HOLDS:
                ruling = _certain(policy, rule, certain(rule.conditions[0], outcome), subject)
            else:
                ruling = _open(policy, rule, outcome.unknown)
        if ruling is not None:
            found.append(ruling)
    return found


def _open(policy: Policy, rule: Rule, fact: str) -> Ruling | None:
    """What a rule without exceptions does where its one condition lacks `fact`; worked out once."""
    doubts = rule.doubts
    if fact not in doubts:
        doubts[fact] = _doubted(policy, rule, Held(OPEN, (fact,)), None)
    return doubts[fact]


def ruled(policy: Policy, rule: Rule, held: Held, subject: Subject) -> Ruling | None:
    """What a rule that holds does here: softened by a weak match, decided by an unknown fact, lifted by an exception."""
    if held.truth is not OPEN:
        return _certain(policy, rule, held, subject)
    if rule.id in policy.exceptions:
        return _doubted(policy, rule, held, subject)
    try:
        return rule.doubts[held.unknown]
    except KeyError:
        ruling = rule.doubts[held.unknown] = _doubted(policy, rule, Held(OPEN, held.unknown), None)
        return ruling


def _certain(policy: Policy, rule: Rule, held: Held, subject: Subject) -> Ruling:
    effect = rule.effect
    if held.review or held.grade > rule.min_confidence:
        effect = Effect.REVIEW if effect is Effect.ALLOW else min(effect, Effect.REVIEW)
    permits = rule.effect is Effect.ALLOW and effect is Effect.ALLOW
    lifted = _lifted(policy, rule, effect, subject) if not permits and rule.id in policy.exceptions else ""
    return _ruling(rule, held, _hit(rule, effect, sentences.cause(held, ""), lifted, ""), permits=permits)


def _doubted(policy: Policy, rule: Rule, held: Held, subject: Subject | None) -> Ruling | None:
    """What a rule does for want of a fact; `subject` is given where it has exceptions."""
    effect, missing = _on_unknown(policy, rule, held)
    if (effect is Effect.ALLOW or rule.effect is Effect.ALLOW) and rule.on_unknown is None:
        return None  # a default never lets an unknown pass as permitted, and never refuses what is permitted anyway
    permits = rule.effect is Effect.ALLOW and effect.serves
    if effect is Effect.ALLOW and not permits:
        return None
    lifted = "" if permits or subject is None else _lifted(policy, rule, effect, subject)
    return _ruling(rule, held, _hit(rule, effect, sentences.cause(held, missing), lifted, missing), permits=permits)


def _lifted(policy: Policy, rule: Rule, effect: Effect, subject: Subject) -> str:
    """The id of an exception or release that lifts the rule here, where it would do `effect`; else empty."""
    return next((one.id for one in policy.exceptions[rule.id] if one.lifting(rule, effect, subject)), "")


def _ruling(rule: Rule, held: Held, hit: RuleHit, *, permits: bool) -> Ruling:
    enforced = rule.mode is Mode.ENFORCE and not hit.exception
    return Ruling(rule, held, hit, permits, enforced, 2 * -hit.effect + bool(hit.unknown))


def _hit(rule: Rule, effect: Effect, cause: str, lifted: str, missing: str) -> RuleHit:
    return RuleHit(
        rule.id, effect, rule.mode, rule.legal, rule.recall, rule.basis, rule.reason or cause, lifted, missing, rule.waiver,
        rule.forbidden,
    )


def _on_unknown(policy: Policy, rule: Rule, held: Held) -> tuple[Effect, str]:
    if rule.on_unknown is not None:
        return rule.on_unknown, held.unknown[0]
    if len(held.unknown) == 1:
        return policy.on_unknown[held.unknown[0]], held.unknown[0]
    fact = max(held.unknown, key=lambda name: policy.on_unknown[name])
    return policy.on_unknown[fact], fact


_RANK = attrgetter("rank")


def _parted(rulings: Sequence[Ruling], effect: Effect) -> tuple[list[Ruling], list[Ruling]]:
    """Those that decided on `effect`, and all others; each the strongest first."""
    permitting = effect is Effect.ALLOW
    decisive: list[Ruling] = []
    others: list[Ruling] = []
    for ruling in rulings:
        decides = ruling.enforced and ruling.hit.effect is effect and (ruling.permits or not permitting)
        (decisive if decides else others).append(ruling)
    decisive.sort(key=_RANK)
    others.sort(key=_RANK)
    return decisive, others


def _outcomes(policy: Policy, rulings: Sequence[Ruling]) -> tuple[Effect, Effect]:
    """The enforced effect, and the one if audit rules were enforced too."""
    enforced = min([ruling.rank for ruling in rulings if ruling.enforced], default=0)
    judged = min([ruling.rank for ruling in rulings if not ruling.hit.exception], default=0)
    permitted = policy.permits_by_default or any(ruling.permits and ruling.enforced for ruling in rulings)
    would_be = policy.permits_by_default or any(ruling.permits for ruling in rulings)
    return _EFFECTS[enforced] if permitted else Effect.DENY, _EFFECTS[judged] if would_be else Effect.DENY


#: What a rank (`Ruling.rank`) says of the effect.
_EFFECTS = {2 * -effect + doubt: effect for effect in Effect for doubt in (0, 1)}


def _available(decisive: Sequence[Ruling]) -> datetime | None:
    """When every quarantine has run out, or None where one of them waits for a person."""
    moments = [None if r.hit.unknown or r.rule.release == "manual" else r.held.free_at for r in decisive]
    known = [moment for moment in moments if moment is not None]
    return max(known) if known and len(known) == len(moments) else None


def _instead(decisive: Sequence[Ruling], facts: Facts) -> tuple[str, ...]:
    """What to take: as it was found out and judged (`policy.substitutes`), else what the deciding rules name."""
    if facts.alternatives is not None:
        return tuple([text.partition(": ")[0] for text in facts.alternatives.value or ()])
    return tuple(dict.fromkeys(one for ruling in decisive for one in ruling.rule.suggest))


def _matches(subject: Subject) -> tuple[Match, ...]:
    return tuple(sorted(dict.fromkeys(subject.seen), key=lambda match: -match.score)) if subject.seen else ()


def _lineage(rulings: Sequence[Ruling], facts: Facts) -> tuple[Ancestor, ...]:
    """The path that decided, else everything that is known."""
    return next((ruling.held.path for ruling in rulings if ruling.held.path), None) or (
        (facts.ancestors.value if facts.ancestors else None) or ()
    )


# --- which rules can hold -----------------------------------------------------------------------------------------


def candidates(index: Rulings, subject: Subject) -> tuple[set[int], dict[int, str]]:
    """The rules that must be asked, and those that, unless they are among these, lack a fact (by number).

    Every other rule does not hold: it needs a key that the subject has not.
    """
    found, lacking = set(index.always), dict[int, str]()
    keyed, open_ = index.keyed, index.open
    for key in _keys(subject):
        if (numbers := keyed.get(key)) is not None:
            found.update(numbers)
        if key[1] is None and key in open_:
            lacking.update(open_[key])
    _named(index.names, index.globs, subject.own.name, found)
    if index.ancestor_names or index.ancestor_globs:
        for view in subject.ancestors():
            _named(index.ancestor_names, index.ancestor_globs, view.name, found)
    return found, lacking


def _named(names: Mapping[str, tuple[int, ...]], globs: Mapping[str, Sequence[tuple[Callable[[str], object], int]]], name: str, found: set[int]) -> None:
    if (numbers := names.get(name)) is not None:
        found.update(numbers)
    if globs:
        for length in _STARTS:
            for matches, number in globs.get(name[:length], ()):
                if number not in found and matches(name):
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


def _whose(view: View, mark: str) -> Iterator[tuple[str, Hashable]]:
    handle, entity, country = _FEATURES[mark]
    publisher = view.publisher
    if view.owner:
        yield handle, view.owner
    if publisher is None:
        yield entity, None
    else:
        yield entity, publisher.id
        if view.partial:
            yield entity, None
        for _, name in publisher.handles:
            yield handle, name
    if view.countries is None or view.partial:
        yield country, None
    if view.countries is not None:
        for code in view.countries:
            yield country, code


# --- the policy's own tests ---------------------------------------------------------------------------------------


def run_tests(policy: Policy, catalogue: Catalogue, lineage: Lineage, now: datetime) -> list[Failure]:
    """The policy's own tests that do not hold, with what came instead. `now` stands where a test gives no time."""
    return [failure for test in policy.tests for failure in run_one(test, policy, catalogue, lineage, now, evaluate)]
