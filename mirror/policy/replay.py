"""Decisions of the past, judged once more: by what they were judged by, or by other rules. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from mirror.policy.derive import CATALOGUE, PARTIAL, derive
from mirror.policy.evaluate import evaluate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from mirror.core.decision import Effect, Verdict
    from mirror.core.facts import Facts
    from mirror.policy.catalogue import Catalogue
    from mirror.policy.lineage import Lineage
    from mirror.policy.recorded import Judged
    from mirror.policy.rules import Policy

#: The parts of a decision that follow from facts, policy, catalogue, lists and time.
OUTCOME: Final = ("effect", "would", "rules", "matches", "lineage", "suggestions", "valid_until", "available_from")
#: Which effects a kind of event stands for.
KINDS: Final[Mapping[str, frozenset[str]]] = {
    "allowed": frozenset({"allow", "warn"}), "refused": frozenset({"deny"}), "held": frozenset({"review", "quarantine"}),
    "steered": frozenset({"deny", "quarantine", "review"}),
}  # fmt: skip


# --- the same rules: is what was recorded what follows? --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Deviation:
    """A part of a record that does not follow from its facts: what stands there, and what should. Both in JSON values."""

    part: str
    stated: Any
    found: Any


def rederived(case: Judged, catalogue: Catalogue, lineage: Lineage) -> Facts:
    """The facts of `case`, with those that the catalogue gave worked out anew. What a hub said stays as it was recorded."""
    facts = case.facts
    if facts.claims is not None:  # then who published it follows from them, under whatever source
        return derive(replace(facts, publisher=None, publisher_countries=None, origin=None), case.artifact, catalogue, lineage)
    given: dict[str, Any] = {
        name: None
        for name, sources in (("publisher", (CATALOGUE,)), ("publisher_countries", (CATALOGUE,)), ("origin", (CATALOGUE, PARTIAL)))
        if (fact := getattr(facts, name)) is not None and fact.source in sources
    }
    return derive(replace(facts, **given), case.artifact, catalogue, lineage)


def deviations(kind: str, stated: Mapping[str, Any], found: Mapping[str, Any]) -> list[Deviation]:
    """What differs between a decision of the ledger and what was worked out (docs/schema/decision.json, both sealed).

    `kind` is that of the ledger's event; the sentence of `found` is without decision and contact.
    """
    said = [Deviation(part, stated.get(part), found.get(part)) for part in OUTCOME if stated.get(part) != found.get(part)]
    if not _says(stated, found["sentence"]):
        said.append(Deviation("sentence", stated["sentence"], found["sentence"]))
    for name, fact in stated["facts"].items():
        if fact != (again := found["facts"].get(name)):
            said.append(Deviation(f"facts.{name}", fact, again))
    if stated["project"] != found["project"]:
        said.append(Deviation("project", stated["project"], found["project"]))
    if found["effect"] not in KINDS.get(kind, ()):
        said.append(Deviation("kind", kind, next(one for one, effects in KINDS.items() if found["effect"] in effects)))
    served = kind in ("allowed", "steered")
    if served is not (stated["status"] < 400):
        said.append(Deviation("status", stated["status"], 200 if served else found["status"]))
    return said


def _says(stated: Mapping[str, Any], sentence: str) -> bool:
    said: str = stated["sentence"]
    if said == sentence:
        return stated["effect"] in KINDS["allowed"]
    named = f"{sentence} Decision {stated['id']}"
    return said == f"{named}." or (said.startswith(f"{named}; ask at ") and said.endswith("."))


# --- other rules: what would have been different, and for whom? ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said to a request, and by which rules (those that decided)."""

    effect: Effect
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of the past: what it was given then, how many times (repeats counted), and whether it was for a page.

    Of a page that left something out it is the file or project that was refused most severely.
    """

    case: Judged
    given: Answer
    times: int = 1
    page: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """A request that would be answered otherwise. `anyway`: by the rules in force now too, so not because of the new ones."""

    asked: Asked
    after: Answer
    anyway: bool = False


def answer(verdict: Verdict) -> Answer:
    """The short form of a verdict."""
    return Answer(verdict.effect, tuple(hit.id for hit in verdict.deciding))


def changes(past: Iterable[Asked], policy: Policy, *, now: Policy | None = None, at: datetime | None = None) -> list[Change]:
    """Those of `past` whose effect would be another under `policy`: at their own time, or at `at`.

    `now` are the rules in force, to tell what would be different without `policy` too (the catalogue or a list has changed,
    a date has passed).
    """
    found = []
    for one in past:
        case = one.case
        moment = at or case.at
        after = answer(evaluate(policy, case.artifact, case.facts, case.actor, moment))
        if after.effect is one.given.effect:
            continue
        present = None if now is None else evaluate(now, case.artifact, case.facts, case.actor, moment).effect
        found.append(Change(one, after, present is after.effect))
    return found


def between(past: Iterable[Asked], before: Policy, after: Policy, *, at: datetime | None = None) -> list[Change]:
    """Those of `past` whose effect differs between two policies; what they were given is then what `before` says."""
    told = [
        replace(one, given=answer(evaluate(before, one.case.artifact, one.case.facts, one.case.actor, at or one.case.at))) for one in past
    ]
    return changes(told, after, at=at)


def summary(found: Sequence[Change], examples: int) -> dict[str, Any]:
    """Counts in plain values: by effect, by rule, by group, and the first `examples` of each kind (0: all), most asked for first.

    `decisions` counts recorded decisions, `requests` the answers that they stand for, `clients` pseudonyms. A rule is counted
    where it decides after the change (`by`) or decided before it (`no_longer`).
    """
    effects: Counter[tuple[str, str]] = Counter()
    asked: Counter[tuple[str, str]] = Counter()
    rules: dict[str, Counter[str]] = defaultdict(Counter)
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    clients: dict[str, set[str]] = defaultdict(set)
    for one in found:
        pair = one.asked.given.effect.word, one.after.effect.word
        effects[pair] += 1
        asked[pair] += one.asked.times
        for rule in one.after.rules:
            rules[rule]["by"] += 1
        for rule in one.asked.given.rules:
            rules[rule]["no_longer"] += 1
        for group in one.asked.case.actor.groups or ("",):
            groups[group]["decisions"] += 1
            groups[group]["requests"] += one.asked.times
            clients[group].add(one.asked.case.actor.name)
    shown = sorted(found, key=lambda one: (-one.after.effect, -one.asked.times, str(one.asked.case.artifact)))
    return {
        "decisions": len(found),
        "requests": sum(asked.values()),
        "pages": sum(one.asked.page for one in found),
        "effects": [
            {"before": pair[0], "after": pair[1], "decisions": count, "requests": asked[pair]} for pair, count in effects.most_common()
        ],
        "rules": [{"id": rule, "by": count["by"], "no_longer": count["no_longer"]} for rule, count in sorted(rules.items())],
        "groups": [
            {"group": group, **count, "clients": len(clients[group] - {""})} for group, count in sorted(groups.items())
        ],
        "examples": [_example(one) for one in (shown if not examples else shown[:examples])],
    }  # fmt: skip


def _example(one: Change) -> dict[str, Any]:
    asked, actor = one.asked, one.asked.case.actor
    return {
        "decision": asked.case.decision, "artifact": str(asked.case.artifact), "page": asked.page, "requests": asked.times,
        "client": actor.name or None, "groups": list(actor.groups), "country": actor.country,
        "before": {"effect": asked.given.effect.word, "rules": list(asked.given.rules)},
        "after": {"effect": one.after.effect.word, "rules": list(one.after.rules)},
    }  # fmt: skip
