"""The rules in force with what was signed beside them: waivers as exceptions, emergency denies as rules. Pure.

Each becomes a text of the policy, so that its digest, the evidence archive and every replay have it.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

from mirror.core.canonical import canonical
from mirror.core.decision import Effect
from mirror.core.errors import InputError, Problem
from mirror.policy.assembly import joined
from mirror.policy.compile import compile_policy
from mirror.policy.releases import refusal_rule, release_text, reopened, unreleasable
from mirror.policy.statements import Granted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mirror.policy.catalogue import Catalogue
    from mirror.policy.lineage import Lineage
    from mirror.policy.rules import Policy
    from mirror.policy.screening import ScreeningList
    from mirror.policy.statements import Deny, Licence, Released, Standing, Waiver

#: How the id of an emergency deny's rule begins.
EMERGENCY: Final = "emergency-"
#: How that of a recall's begins, which a bundle brought.
RECALLED: Final = "recall-"
#: The longest life of a waiver that nobody approved.
AUTOMATIC_MOST: Final = timedelta(days=90)


def need_of(policy: Policy, rule_id: str) -> int:
    """How many persons must approve an exception from a rule: two for a legal one."""
    rule = policy.rule(rule_id)
    return 2 if rule is not None and rule.legal else 1


def automatic(policy: Policy, waiver: Waiver) -> bool:
    """Whether a request is granted by the rule itself: never of a legal rule, for no pattern with a star, for a while only."""
    rule = policy.rule(waiver.rule)
    if rule is None or rule.waiver != "automatic" or rule.legal or not isinstance(waiver.expires, date):
        return False
    short = waiver.expires <= waiver.at.date() + AUTOMATIC_MOST
    return short and bool(waiver.scope.artifact) and not any("*" in text for text in waiver.scope.artifact)


def unfit(policy: Policy, waiver: Waiver) -> str:
    """Why a waiver can lift nothing under `policy`, however well it is signed; empty where it can."""
    rule = policy.rule(waiver.rule)
    if rule is None:
        return f"no rule in force has the id {waiver.rule!r}"
    if rule.waiver == "none":
        return f"the rule {waiver.rule!r} admits no waiver"
    if rule.effect is Effect.ALLOW:
        return f"{waiver.rule!r} permits: there is nothing to lift"
    return ""


def in_force(policy: Policy, standing: Standing) -> Iterator[Granted]:
    """The waivers that are approved by as many as their rule demands, or that it grants by itself."""
    for one in standing.granted:
        if not unfit(policy, one.waiver) and len(one.approved_by) >= need_of(policy, one.waiver.rule):
            yield one
    for asked in standing.asked:
        if not unfit(policy, asked) and automatic(policy, asked):
            yield Granted(asked)


def releases_in_force(policy: Policy, standing: Standing, lists: Mapping[str, ScreeningList] | None) -> Iterator[tuple[Released, str]]:
    """Every release that as many have signed as its rule demands, and why it is not in force all the same: empty where it is."""
    for one in standing.released:
        if len(one.by) >= need_of(policy, one.release.rule):
            fault = unreleasable(policy, one.release.rule, one.release.lifts)
            again = "" if fault else reopened(policy, one.release, lists)
            yield one, fault or (f"open again: {again}" if again else "")


def amended(
    policy: Policy, standing: Standing, catalogue: Catalogue, lineage: Lineage, lists: Mapping[str, ScreeningList] | None = None
) -> tuple[Policy, tuple[Problem, ...]]:
    """`policy` with everything in `standing` that is in order under it, and what of it was approved to no effect.

    `lists` are those in force, to see which releases rest on entries that have changed; None leaves those alone.
    """
    problems = [
        Problem(f"waiver {one.waiver.id}", "", f"not in force: {fault}")
        for one in standing.granted
        if (fault := unfit(policy, one.waiver))
    ]
    texts = [(f"waivers/{one.waiver.id}", _text({"exceptions": [_exception(one)]})) for one in in_force(policy, standing)]
    texts += [(f"denies/{one.id}", _text({"rules": [_rule(one)]})) for one in standing.denies]
    taken = {rule.id for rule in policy.rules}  # a policy's own rule of that name must not keep a recall out
    texts += [(f"denies/{one.deny.id}", _text({"rules": [_rule(one.deny, "" if one.rule in taken else one.rule)]})) for one in standing.recalled]
    texts += [(f"refusals/{one.id}", _text({"rules": [refusal_rule(one)]})) for one in standing.refused]
    for one, fault in releases_in_force(policy, standing, lists):
        if fault:
            problems.append(Problem(f"release {one.release.id}", "", f"not in force: {fault}"))
        else:
            texts.append((f"releases/{one.release.id}", _text({"releases": [release_text(one.release, one.by)]})))
    known, more = [rule.id for rule in policy.rules], []
    for text in texts:  # one by one, so that none of them can keep another out
        try:
            more.append(compile_policy([text], catalogue, lineage, {}, run=False, known=known))
        except InputError as error:
            problems += error.problems
    return (joined(policy, more) if more else policy), tuple(problems)


def _text(sections: Mapping[str, Sequence[Any]]) -> str:
    return canonical({"version": 1, **sections}).decode()


def _exception(one: Granted) -> dict[str, Any]:
    waiver, scope = one.waiver, one.waiver.scope
    stated: dict[str, Any] = {
        "id": waiver.id,
        "rule": waiver.rule,
        "scope": {
            "artifact": list(scope.artifact), "groups": list(scope.groups), "not_groups": list(scope.not_groups),
            "networks": list(scope.networks),
        },
        "reason": waiver.reason + (f" ({_licensed(waiver.licence)})" if waiver.licence else ""),
        "requested_by": waiver.requested_by,
        "approved_by": list(one.approved_by),
        "expires": str(waiver.expires),
    }  # fmt: skip
    return stated if waiver.since is None else stated | {"from": str(waiver.since)}


def _licensed(licence: Licence) -> str:
    dates = "".join(f" {word} {day}" for word, day in (("from", licence.since), ("until", licence.until)) if day is not None)
    by = f" of {licence.authority}" if licence.authority else ""
    return f"licence {licence.number}{by}{dates}: {licence.item}, for {', '.join(licence.parties)}"


def _rule(one: Deny, name: str = "") -> dict[str, Any]:
    stated: dict[str, Any] = {
        "id": name or EMERGENCY + one.id.removeprefix("D-").lower(), "when": {"artifact": list(one.artifacts)}, "effect": "deny",
        "legal": one.legal, "recall": True, "basis": one.basis, "reason": one.reason, "waiver": "none",
    }  # fmt: skip
    return stated if one.until is None else stated | {"until": str(one.until)}


def has_legal(policy: Policy) -> bool:
    """Whether a policy has a legal rule: then two persons must approve it, and whatever takes its place.

    A change beside a legal rule can change what it does (a set, a default, an exception), and so can leaving it out.
    """
    return any(rule.legal for rule in policy.rules)


def activation_problems(policy: Policy, people: Sequence[str]) -> list[Problem]:
    """What keeps a policy whose activation `people` approved from being in force, beyond the number of them.

    An exception needs as many approvals of others than whoever requested it as its rule does.
    """
    problems = []
    for waived in (one for group in policy.exceptions.values() for one in group):
        place = f"exceptions.{waived.id}"
        if not waived.requested_by.strip():
            problems.append(Problem("policy", place, "names nobody in requested_by"))
            continue
        others = [one for one in people if one.casefold() != waived.requested_by.strip().casefold()]
        if len(others) < (need := need_of(policy, waived.rule)):
            problems.append(Problem("policy", place, f"needs {need} approvals by others than {waived.requested_by!r}, who requested it, and has {len(others)}"))
    return problems
