"""What was changed between two policies, in the words of the file: rules, exceptions, defaults, sets. Pure."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from mirror.policy.explain import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.policy.rules import Policy, Rule, Scope, Waived

#: Fields of a compiled rule that are not written by anybody, or stand under another key.
_MADE: Final = frozenset({"conditions", "identity", "rest", "doubts", "scope", "inherit", "since"})


def edits(before: Policy, after: Policy) -> list[dict[str, Any]]:
    """Each `{what, id, change: added|removed|changed, from, to}` of rules, exceptions, defaults, sets, in the file's order.

    `from` and `to` hold the keys that differ; of what was added or removed, all that were stated.
    """
    rows = _compared("rule", {one.id: _rule(one) for one in before.rules}, {one.id: _rule(one) for one in after.rules})
    rows += _compared("exception", _exceptions(before), _exceptions(after))
    rows += _compared("default", _defaults(before), _defaults(after))
    return rows + _compared("set", _sets(before), _sets(after))


def _compared(what: str, before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        change = "added" if old is None else "removed" if new is None else "changed"
        keys = [key for key in dict.fromkeys((*(old or ()), *(new or ()))) if old is None or new is None or old.get(key) != new.get(key)]
        rows.append({
            "what": what, "id": name, "change": change, "from": None if old is None else {key: old[key] for key in keys if key in old},
            "to": None if new is None else {key: new[key] for key in keys if key in new},
        })  # fmt: skip
    return rows


def _rule(rule: Rule) -> dict[str, Any]:
    stated = {field.name: _said(getattr(rule, field.name)) for field in fields(rule) if field.name not in _MADE}
    stated |= {"effect": rule.effect.word, "for": _scope(rule.scope), "from": _said(rule.since), "lineage": "inherit" if rule.inherit else "none"}
    return {key: value for key, value in stated.items() if key != "id" and value not in (None, "", [], {}, False)}


def _exceptions(policy: Policy) -> dict[str, dict[str, Any]]:
    return {one.id: _waived(one) for group in policy.exceptions.values() for one in group}


def _waived(one: Waived) -> dict[str, Any]:
    scope = _scope(one.scope) | ({"artifact": [str(pattern) for pattern in one.artifacts.patterns]} if one.artifacts is not None else {})
    return {
        "rule": one.rule, "scope": scope, "from": _said(one.since), "expires": _said(one.expires), "reason": one.reason,
        "requested_by": one.requested_by, "approved_by": list(one.approved_by), "lifts": one.lifts.word if one.lifts is not None else None,
    }  # fmt: skip


def _defaults(policy: Policy) -> dict[str, dict[str, Any]]:
    rows = {f"on_unknown.{fact}": {"effect": effect.word} for fact, effect in policy.on_unknown.items()}
    return {"action": {"effect": "allow" if policy.permits_by_default else "deny"}, **rows}


def _sets(policy: Policy) -> dict[str, dict[str, Any]]:
    return {name: {"countries": sorted(members)} for name, members in policy.sets.items()}


def _scope(scope: Scope) -> dict[str, Any]:
    parts = {"groups": sorted(scope.groups), "not_groups": sorted(scope.not_groups), "networks": [str(one) for one in scope.networks]}
    return {key: value for key, value in parts.items() if value}


def _said(value: Any) -> Any:
    if isinstance(value, (frozenset, set)):
        return sorted(value)
    word = getattr(value, "word", None)
    return word if isinstance(word, str) else plain(value)
