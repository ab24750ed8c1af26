"""What a policy may say and a reviewer would not sign: law without a source, one state's law over another's people. Pure.

Not legal advice. A list is the law of the state that keeps it; some states forbid whoever is theirs to follow another's
(Council Regulation (EC) No 2271/96 is one such statute), so to whom a list applies is for the organisation to say, by
`jurisdictions` of the list, `applies_to` or `for` of the rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mirror.core.errors import Problem
from mirror.policy.countries import resolve

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from mirror.policy.operators import Building
    from mirror.policy.rules import Rule

#: Whose law the lists of a loader are, by the first part of the loader's name; the United Nations' are nobody's in particular.
_ISSUERS: Final = {"ofac": "US", "csl": "US", "eu": "EU", "uk": "GB"}


@dataclass(frozen=True, slots=True)
class Unfounded(Problem):
    """A legal rule that names no law. It judges all the same, more strictly than not; `policy check` calls it an error."""

    __str__ = Problem.__str__


def issuers_of(loader: str) -> frozenset[str]:
    """The countries whose law a list is that `loader` reads; empty where the format does not tell."""
    name = _ISSUERS.get(loader.partition("_")[0], "")
    return frozenset(resolve(name, {})) if name else frozenset()


def founded(building: Building, place: str, *, legal: bool, basis: str) -> None:
    """Note a legal rule without a basis."""
    if legal and not basis.strip():
        building.warnings.append(Unfounded(building.source, f"{place}.legal", "a legal rule without a basis: state the law in 'basis'"))


def foreign_law(building: Building, place: str, rule: Rule) -> None:
    """Warn of each group that a rule holds to the list of a state which is not among the group's own jurisdictions."""
    groups: Mapping[str, Any] = building.groups if isinstance(building.groups, Mapping) else {}
    for name in _lists(rule.when.get("list_match")):
        listed = building.lists.get(name)
        if listed is None or not listed.issuers:
            continue
        for group, law, entity in _bound(rule, groups, listed.jurisdictions):
            if listed.issuers.isdisjoint(law):
                whose = f"{group!r}" + (f" ({entity})" if entity else "")
                building.warn(
                    f"{place}.when.list_match",
                    f"holds the group {whose}, whose jurisdictions are {', '.join(law)}, to {name!r}, which is law of {_shown(listed.issuers)}:"
                    f" say whom it binds by lists.{name}.jurisdictions, or by 'applies_to' or 'for'",
                )


def _lists(stated: Any) -> Iterable[str]:
    names = stated.get("lists") if isinstance(stated, Mapping) else stated
    return [name for name in (names if isinstance(names, (list, tuple)) else [names]) if isinstance(name, str)]


def _bound(rule: Rule, groups: Mapping[str, Any], binds: Collection[str]) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """(group, its jurisdictions, its entity) of those that a rule and a list bind. Of a group without jurisdictions nothing is known."""
    scope = rule.scope
    for name, row in groups.items():
        law = tuple(getattr(row, "jurisdiction", ()))
        covered = name not in scope.not_groups and (not scope.groups or name in scope.groups)
        ruled = not rule.applies_to or not rule.applies_to.isdisjoint(law)
        listed = not binds or not frozenset(binds).isdisjoint(law)
        if law and covered and ruled and listed:
            yield name, law, getattr(row, "entity", None) or ""


def _shown(countries: frozenset[str]) -> str:
    return "the EU" if len(countries) > 1 else next(iter(countries))
