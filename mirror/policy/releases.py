"""Releases: a person has looked, and what a rule holds for review or in a manual quarantine may go. Pure.

A release lifts nothing but the hold that it names, and only while what it rested on is unchanged: the rule, what is known of
the publisher, the lineage where the rule reads it, and the entries of lists that were met. Otherwise it is open again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from mirror.core.canonical import canonical
from mirror.core.decision import Effect
from mirror.policy.grammar import Texts
from mirror.policy.reviewed import stands, subject_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mirror.policy.rules import Policy, Rule
    from mirror.policy.screening import ScreeningList
    from mirror.policy.statements import Refusal, Release
    from mirror.policy.subject import Subject

#: How the id of a rule begins that a reviewer's refusal makes.
REFUSED: Final = "refused-"
#: What can be released. A denial is never: an exception lifts that (`mirror.policy.amend`).
LIFTED: Final = {"review": Effect.REVIEW, "quarantine": Effect.QUARANTINE}
_REVIEW_BAND: Final = 0.80
_LINEAGE: Final = frozenset({"ancestors", "lineage", "origin"})


@dataclass(frozen=True, slots=True)
class Rests:
    """What a release rested on, as SHA-256 (hex); empty where it did not. `entries` are `list#entry#digest`."""

    rule: str = ""
    publisher: str = ""
    lineage: str = ""
    entries: Texts = ()

    def changed(self, rule: Rule, subject: Subject) -> str:
        """What of publisher, lineage and met entries is not as it was; empty where all of it is."""
        if self.publisher and self.publisher != publisher_digest(subject):
            return "what is known of the publisher has changed"
        if self.lineage and self.lineage != lineage_digest(subject):
            return "the lineage has changed"
        known = {text.rpartition("#")[0] for text in self.entries}
        met = {f"{name}#{entry}" for name, entry in met_entries(rule, subject)}
        return "another entry of a list is met" if self.publisher and not met <= known else ""


def resting(policy: Policy, rule: Rule, subject: Subject, lists: Mapping[str, ScreeningList]) -> Rests:
    """What a release of `subject` from `rule` would rest on now; the rule has been judged for `subject`."""
    entries = entry_digests(lists)
    return Rests(
        rule_digest(rule, policy.sets),
        publisher_digest(subject),
        lineage_digest(subject) if reads_lineage(rule) else "",
        tuple(sorted(f"{name}#{entry}#{entries.get((name, entry), '')}" for name, entry in met_entries(rule, subject))),
    )


def rule_digest(rule: Rule, sets: Mapping[str, frozenset[str]]) -> str:
    """SHA-256 (hex) of what a rule means: its conditions, whom it binds and what it does, with the sets that it names.

    Not of its words (reason, source, suggest), nor of its mode.
    """
    scope = rule.scope
    said = {
        "id": rule.id, "effect": rule.effect.word, "when": rule.when, "legal": rule.legal, "basis": rule.basis,
        "for": [sorted(scope.groups), sorted(scope.not_groups), sorted(map(str, scope.networks))],
        "inherit": rule.inherit, "on_unknown": rule.on_unknown.word if rule.on_unknown is not None else None,
        "min_confidence": rule.min_confidence, "release": rule.release, "applies_to": sorted(rule.applies_to),
        "from": str(rule.since), "until": str(rule.until),
        "sets": {name: sorted(sets[name]) for name in sorted(set(_texts(rule.when)) & sets.keys())},
    }  # fmt: skip
    return sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def publisher_digest(subject: Subject) -> str:
    """SHA-256 (hex) of what is known of who published it."""
    facts = subject.facts
    known, countries = facts.publisher, facts.publisher_countries
    publisher = known.value if known else None
    said = [
        subject_digest(publisher) if publisher else "", publisher.role if publisher else "", known.confidence if publisher and known else "",
        list(countries.value) if countries and countries.value is not None else None,
        sorted([owner.id, owner.share] for owner in publisher.owners) if publisher else [],
    ]  # fmt: skip
    return sha256(canonical(said)).hexdigest()


def lineage_digest(subject: Subject) -> str:
    """SHA-256 (hex) of every edge of its lineage, with who published what it leads to."""
    edges = [
        [str(edge.child), str(edge.project), edge.relation, edge.missing, subject_digest(edge.publisher) if edge.publisher else "",
         list(edge.countries) if edge.countries is not None else None]
        for edge in subject.edges
    ]  # fmt: skip
    return sha256(canonical(sorted(edges, key=str))).hexdigest()


def reads_lineage(rule: Rule) -> bool:
    """Whether what a rule does depends on a lineage."""
    return rule.inherit or any(not _LINEAGE.isdisjoint(condition.reads) for condition in rule.conditions)


def met_entries(rule: Rule, subject: Subject) -> Iterator[tuple[str, str]]:
    """(list, entry) of each match that counts for a rule: on one of its lists, in its review band or above."""
    stated = rule.when.get("list_match")
    if not isinstance(stated, dict):
        return
    lists = stated.get("lists") or ()
    named = {lists} if isinstance(lists, str) else set(lists)
    least = float(stated.get("review", _REVIEW_BAND)) * 10_000
    for match in subject.seen:
        if match.score >= least and stands(match) and (match.list in named or not named):
            yield match.list, match.entry


def entry_digests(lists: Mapping[str, ScreeningList]) -> Mapping[tuple[str, str], str]:
    """Of every entry of `lists` its digest, as far as anybody asks."""
    return _Digests(lists)


class _Digests(dict[tuple[str, str], str]):
    """Entries by list and id, hashed when they are asked for."""

    def __init__(self, lists: Mapping[str, ScreeningList]) -> None:
        super().__init__()
        self._lists = lists

    def get(self, key: tuple[str, str], default: Any = None) -> Any:
        name, entry = key
        rows = self._lists[name].entries if name in self._lists else ()
        return next((one.digest for one in rows if one.id == entry), default)


# --- what was signed ---------------------------------------------------------------------------------------------------


def unreleasable(policy: Policy, rule_id: str, lifts: str) -> str:
    """Why nothing can be released from a rule, however well it is signed; empty where it can."""
    rule = policy.rule(rule_id)
    if rule is None:
        return f"no rule in force has the id {rule_id!r}"
    if rule.effect is Effect.ALLOW:
        return f"{rule_id!r} permits: there is nothing to release"
    if lifts == "quarantine" and rule.release != "manual":
        return f"the quarantine of {rule_id!r} ends by itself; for an earlier end ask for a waiver"
    return ""


def reopened(policy: Policy, release: Release, lists: Mapping[str, ScreeningList] | None) -> str:
    """Why a release is open again under these rules and lists; empty where it is not."""
    rule, rests = policy.rule(release.rule), release.rests
    if rule is not None and rests.rule and rests.rule != rule_digest(rule, policy.sets):
        return "the rule has changed since"
    if lists is not None:
        digests = entry_digests(lists)
        for text in rests.entries:
            name, entry, digest = text.rsplit("#", 2)
            if digests.get((name, entry), "") != digest:
                return f"entry {entry} of {name} has changed since"
    return ""


def release_text(release: Release, by: Iterable[str]) -> dict[str, Any]:
    """A release as it stands in a policy's text."""
    scope, rests = release.scope, release.rests
    return {
        "id": release.id, "rule": release.rule, "lifts": release.lifts,
        "scope": {"artifact": list(scope.artifact), "groups": list(scope.groups)},
        "reason": release.reason, "by": list(by), "expires": str(release.expires),
        "rests_on": {"rule": rests.rule, "publisher": rests.publisher, "lineage": rests.lineage, "entries": list(rests.entries)},
    }  # fmt: skip


def refusal_rule(refusal: Refusal) -> dict[str, Any]:
    """A refusal as the rule that it makes: what was held is denied, to those for whom it was asked."""
    stated: dict[str, Any] = {
        "id": REFUSED + refusal.id.removeprefix("R-").lower(), "when": {"artifact": list(refusal.scope.artifact)}, "effect": "deny",
        "for": {"groups": list(refusal.scope.groups)}, "reason": f"reviewed and refused: {refusal.reason}",
    }  # fmt: skip
    return stated if refusal.until is None else stated | {"until": str(refusal.until)}


def _texts(raw: Any) -> Iterator[str]:
    if isinstance(raw, str):
        yield raw
    elif isinstance(raw, dict):
        for key, value in raw.items():
            yield from (str(key), *_texts(value))
    elif isinstance(raw, (list, tuple)):
        for value in raw:
            yield from _texts(value)
