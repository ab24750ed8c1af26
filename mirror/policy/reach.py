"""Whether a rule could treat files or revisions of one project differently, so that a whole of them cannot be given. Pure.

A git pack holds every revision that a client asks for, and cannot be filtered. It may be handed out only where the
verdict on the project as a whole is the verdict on each of its files in each revision, whatever they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mirror.core.decision import Effect, Mode
from mirror.core.nouns import Kind
from mirror.policy.patterns import Pattern, PatternSet, parse_pattern
from mirror.policy.subject import FAILS, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from mirror.core.actor import Actor
    from mirror.core.facts import Facts
    from mirror.core.nouns import Artifact
    from mirror.policy.conditions import Condition
    from mirror.policy.rules import Policy, Rule, Waived

#: Conditions on what is the same for all files and revisions of a project. `list_match` reads publisher and owner.
OF_PROJECT: Final = frozenset(
    ["publisher", "publisher.country", "list_match", "type", "ecosystem", "gated", "status", "client.country", "upstream.blocks_client"]
)
#: Conditions on the lineage, which each revision's card states anew. Only models have one.
OF_LINEAGE: Final = frozenset(["origin", "ancestor"])
#: Conditions on single files, on cards, and on what somebody may come to say of either, with the facts they may lack.
#: A condition that is in none of these tables is taken to be on single files.
OF_FILES: Final = {
    "file": (), "kind": ("kind",), "size": ("size",), "license": ("license",), "age_days": ("age_days",), "yanked": ("yanked",),
    "attested": ("attested",), "scan": ("scan",), "vulnerability": ("vulnerability",), "direct_url": ("direct_url",),
}  # fmt: skip


def reaching(policy: Policy, whole: Artifact, facts: Facts, actor: Actor, now: datetime) -> Rule | None:
    """A rule in force for `actor` at `now` that could refuse a file of a revision although `whole` is served; None: no rule.

    `whole` is a project (an artifact without a path), `facts` are its own after `derive`. Where this gives None and
    `evaluate` serves `whole`, it serves every file of every revision, as long as the facts that are the project's stay.
    """
    subject = Subject(whole, facts, actor, now)
    for rule in policy.rules:
        in_force = rule.mode is Mode.ENFORCE and rule.active(now) and rule.binds(actor)
        if in_force and _may_differ(policy, rule, subject):
            return rule
    return None


def _may_differ(policy: Policy, rule: Rule, subject: Subject) -> bool:
    if any(_fixed(condition, rule, subject) and condition.judge(subject, subject.own).truth is FAILS for condition in rule.conditions):
        return False  # nothing of this project can meet it
    fixed = all(_fixed(condition, rule, subject) for condition in rule.conditions)
    lifted = policy.exceptions.get(rule.id, ())
    if fixed and not any(_selects(one, subject) for one in lifted):
        return False
    return not _harmless(policy, rule)


def _fixed(condition: Condition, rule: Rule, subject: Subject) -> bool:
    """Whether a condition has the same outcome for every file of every revision."""
    model = subject.own.kind is Kind.MODEL
    if rule.inherit and condition.identity and model:
        return False  # it is asked of ancestors too
    if condition.key == "artifact":
        return not any(_within(pattern, subject) for pattern in _patterns(rule.when.get("artifact")))
    return condition.key in OF_PROJECT or (condition.key in OF_LINEAGE and not model)


def _harmless(policy: Policy, rule: Rule) -> bool:
    """Whether a rule serves whatever it meets, also for want of facts. A permission may be what serves the whole."""
    if rule.effect is Effect.ALLOW or not rule.effect.serves:
        return False
    if rule.on_unknown is not None:
        return rule.on_unknown.serves
    return all(effect.serves for effect in _lacking(policy, rule))


def _lacking(policy: Policy, rule: Rule) -> Iterator[Effect]:
    """What the policy does for want of any fact that the rule may lack; of all facts, where it is not known which."""
    for condition in rule.conditions:
        known = OF_FILES.get(condition.key)
        names = policy.on_unknown if known is None and condition.key != "artifact" else known or ()
        yield from (policy.on_unknown[name] for name in names)
    if rule.inherit:
        yield policy.on_unknown["lineage"]


# --- patterns ----------------------------------------------------------------------------------------------------


def _patterns(raw: Any) -> Iterator[Pattern]:
    """The patterns of an `artifact` condition, as far as they say more than a name."""
    for text in _texts(raw):
        if any(mark in text for mark in "@#?"):
            yield parse_pattern(text)


def _texts(raw: Any) -> Iterable[str]:
    if isinstance(raw, str):
        return (raw,)
    inner = raw.values() if isinstance(raw, dict) else raw if isinstance(raw, (list, tuple)) else ()
    return tuple(text for one in inner for text in _texts(one))


def _selects(one: Waived, subject: Subject) -> bool:
    """Whether an exception could lift a rule for some files or revisions of this project and not for others."""
    if one.artifacts is None or not one.scope.covers(subject.actor):
        return False
    return any(_within(pattern, subject) for pattern in one.artifacts.by_name(subject.own.name))


def _within(pattern: Pattern, subject: Subject) -> bool:
    """Whether a pattern that may name this project names a part of it only."""
    project = subject.own
    if pattern.ecosystem not in (None, project.ecosystem) or pattern.kind not in (None, project.kind):
        return False
    parts = [part for part in (pattern.version, pattern.path) if part is not None]
    if all(part.exact is None and not any(part.pieces) for part in parts):
        return False  # there is none, or a star
    return bool(PatternSet([pattern]).by_name(project.name))
