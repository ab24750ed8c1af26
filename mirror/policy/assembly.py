"""Rules and exceptions put together: the index, the dates and the facts that follow from them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from mirror.core.canonical import canonical
from mirror.core.nouns import HUGGINGFACE, PYPI
from mirror.policy.indexing import index
from mirror.policy.releases import rule_digest
from mirror.policy.rules import Policy, Rule, Waived, tabulate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mirror.core.decision import Effect
    from mirror.core.errors import Problem
    from mirror.policy.given import PolicyTest


@dataclass(frozen=True, slots=True)
class Stated:
    """What texts state, compiled one by one: `texts` are (name, YAML), in the order in which their rules stand."""

    texts: tuple[tuple[str, str], ...]
    rules: tuple[Rule, ...]
    exceptions: tuple[Waived, ...]
    tests: tuple[PolicyTest, ...] = ()
    warnings: tuple[Problem, ...] = ()


def assembled(
    stated: Stated, *, permits_by_default: bool, on_unknown: Mapping[str, Effect], sets: Mapping[str, frozenset[str]]
) -> Policy:
    """The policy that is `stated`."""
    rules = stated.rules
    exceptions: dict[str, tuple[Waived, ...]] = {}
    meaning = {rule.id: rule_digest(rule, sets) for rule in rules if any(one.rests and one.rule == rule.id for one in stated.exceptions)}
    for one in stated.exceptions:
        if one.rests and one.rests.rule and meaning.get(one.rule, one.rests.rule) != one.rests.rule:
            continue  # a release from a rule that has changed since
        exceptions[one.rule] = (*exceptions.get(one.rule, ()), one)
    dated = [*((rule.since, rule.until) for rule in rules), *((one.since, one.expires) for one in stated.exceptions)]
    return Policy(
        version=1,
        digest=sha256(canonical([list(pair) for pair in stated.texts])).hexdigest(),
        texts=tuple((name, text) for name, text in stated.texts),
        rules=rules,
        exceptions=exceptions,
        tests=stated.tests,
        permits_by_default=permits_by_default,
        on_unknown=on_unknown,
        needs=frozenset(fact for rule in rules for fact in _reads(rule)),
        needs_by_ecosystem={one: _needs_in(rules, one) for one in (HUGGINGFACE, PYPI)},
        sets=sets,
        boundaries=tuple(sorted({moment for pair in dated for moment in pair if moment is not None})),
        index=index(rules, exceptions),
        table=tabulate(rules, exceptions),
        warnings=stated.warnings,
    )


def joined(base: Policy, more: Sequence[Policy]) -> Policy:
    """`base` with the rules and exceptions of others behind its own; defaults, sets and tests are those of `base`."""
    whole = (base, *more)
    stated = Stated(
        tuple(text for one in whole for text in one.texts),
        tuple(rule for one in whole for rule in one.rules),
        tuple(waived for one in whole for group in one.exceptions.values() for waived in group),
        base.tests,
        tuple(warning for one in whole for warning in one.warnings),
    )
    return assembled(stated, permits_by_default=base.permits_by_default, on_unknown=base.on_unknown, sets=base.sets)


def _needs_in(rules: Sequence[Rule], ecosystem: str) -> frozenset[str]:
    """The facts that rules read which could hold in one ecosystem."""

    def concerns(rule: Rule) -> bool:
        gates = [condition.gate for condition in rule.conditions if condition.key == "ecosystem"]
        return all(gate is None or ("ecosystem", ecosystem) in gate for gate in gates)

    return frozenset(fact for rule in rules if concerns(rule) for fact in _reads(rule))


def _reads(rule: Rule) -> frozenset[str]:
    found = frozenset(fact for condition in rule.conditions for fact in condition.reads)
    return found | {"ancestors", "lineage", "publisher", "publisher_countries"} if rule.inherit else found
