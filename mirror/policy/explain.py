"""How a verdict came about: every rule, every condition, whether it held and why. For people, not for the hot path."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import date, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from mirror.core.canonical import instant
from mirror.core.facts import Fact, Facts, Publisher
from mirror.core.nouns import Artifact, Project
from mirror.policy.evaluate import evaluate, ruled
from mirror.policy.subject import Subject, Truth

if TYPE_CHECKING:
    from mirror.core.actor import Actor
    from mirror.policy.rules import Policy, Rule


def explain(policy: Policy, artifact: Artifact, facts: Facts, actor: Actor, now: datetime) -> dict[str, Any]:
    """The derivation of `evaluate(policy, artifact, facts, actor, now)` as plain JSON values.

    `{artifact, whole (no file is named), at, effect, would, sentence, determining, valid_until, available_from, suggestions, default, facts,
    lineage, matches, rules}`; each rule is `{id, effect, mode, outcome, gives, why, exception, unknown, conditions}`
    with `outcome` one of held, not_held, unknown, out_of_scope, not_yet, over; each condition is
    `{condition, wants, held: yes|no|unknown, why, confidence}`. Nothing in it says who asked.
    """
    verdict = evaluate(policy, artifact, facts, actor, now)
    return {
        "artifact": str(artifact),
        "whole": not artifact.path,
        "at": instant(now),
        "effect": verdict.effect.word,
        "would": verdict.would.word,
        "sentence": verdict.sentence,
        "determining": [hit.id for hit in verdict.deciding],
        "default": "allow" if policy.permits_by_default else "deny",
        "valid_until": instant(verdict.valid_until) if verdict.valid_until else None,
        "available_from": instant(verdict.available_from) if verdict.available_from else None,
        "suggestions": list(verdict.suggestions),
        "facts": shown_facts(facts),
        "lineage": [
            {"from": str(edge.child), "to": str(edge.project), "relation": edge.relation, "evidence": edge.evidence,
             "confidence": edge.confidence, "publisher": edge.publisher.entity if edge.publisher else None,
             "countries": None if edge.countries is None else list(edge.countries), "missing": edge.missing}
            for edge in (facts.ancestors.value if facts.ancestors else None) or ()
        ],
        "matches": [dataclasses.asdict(match) for match in verdict.matches],
        "rules": [_rule(policy, rule, artifact, facts, actor, now) for rule in policy.rules],
    }  # fmt: skip


def _rule(policy: Policy, rule: Rule, artifact: Artifact, facts: Facts, actor: Actor, now: datetime) -> dict[str, Any]:
    subject = Subject(artifact, facts, actor, now)
    row: dict[str, Any] = {
        "id": rule.id, "effect": rule.effect.word, "mode": rule.mode.value, "outcome": "", "gives": None, "why": "",
        "exception": "", "unknown": "", "conditions": [_condition(rule, number, subject) for number in range(len(rule.conditions))],
    }  # fmt: skip
    if rule.since is not None and now < rule.since:
        return {**row, "outcome": "not_yet", "why": f"from {instant(rule.since)}"}
    if rule.until is not None and now >= rule.until:
        return {**row, "outcome": "over", "why": f"until {instant(rule.until)}"}
    if not rule.binds(actor):
        return {**row, "outcome": "out_of_scope", "why": "is not for this client"}
    held = rule.judge(subject)
    if held is None:
        return {**row, "outcome": "not_held", "why": "a condition does not hold"}
    unknown = held.truth is Truth.UNKNOWN
    row = {**row, "outcome": "unknown" if unknown else "held", "unknown": ", ".join(dict.fromkeys(held.unknown))}
    ruling = ruled(policy, rule, held, subject)
    if ruling is None:
        return {**row, "why": "is not known, and that is allowed"}
    soft = ruling.hit.effect is not rule.effect and not unknown
    why = ruling.hit.cause + (" (evidence too weak for more than review)" if soft else "")
    return {**row, "gives": ruling.hit.effect.word, "why": why, "exception": ruling.hit.exception}


def _condition(rule: Rule, number: int, subject: Subject) -> dict[str, Any]:
    condition = rule.conditions[number]
    outcome = condition.judge(subject, subject.own)
    held, why = outcome.truth, outcome.cause
    if rule.inherit and condition.identity and held is not Truth.YES:
        for view in subject.ancestors():
            other = condition.judge(subject, view)
            if other.truth > held and view.ancestor is not None:
                held, why, outcome = other.truth, f"ancestor {view.ancestor.project.name} {other.cause}", other
    if outcome.path:
        why = " <- ".join([subject.artifact.project.name, *(f"{edge.project.name} ({edge.relation})" for edge in outcome.path)])
    if held is Truth.UNKNOWN:
        why = f"{outcome.unknown} is not known"
    return {
        "condition": condition.key, "wants": plain(rule.when.get(condition.key)), "held": held.name.lower(), "why": why,
        "confidence": outcome.grade if held is Truth.YES else None,
    }  # fmt: skip


def shown_facts(facts: Facts) -> dict[str, Any]:
    """`{name: {value, source, confidence}}` of every fact that was asked for."""
    shown = {}
    for field in dataclasses.fields(facts):
        fact = getattr(facts, field.name)
        if isinstance(fact, Fact) and field.name != "ancestors":
            shown[field.name] = {"value": plain(fact.value), "source": fact.source, "confidence": fact.confidence}
    return shown


def plain(value: Any) -> Any:
    """`value` as JSON has it: dates in text, nouns by name."""
    if isinstance(value, Publisher):
        return {"id": value.id, "entity": value.entity, "role": value.role}
    if isinstance(value, (Project, Artifact)):
        return str(value)
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, frozenset)):
        return [plain(item) for item in value]
    return value
