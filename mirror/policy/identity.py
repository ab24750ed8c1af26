"""Conditions on who and what: names, publishers, countries, ancestry. Each can be asked of an ancestor too."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mirror.policy import names
from mirror.policy.conditions import Condition
from mirror.policy.countries import resolve
from mirror.policy.operators import Building, Test, asking, fraction, gate, only_any, words
from mirror.policy.patterns import Glob, Pattern, PatternSet, glob, parse_pattern
from mirror.policy.subject import FAILS, HOLDS, NO, OPEN, Outcome, Subject, View, grade_of, unknown

if TYPE_CHECKING:
    from mirror.core.facts import Ancestor, Publisher
    from mirror.policy.catalogue import Catalogue

RELATIONS: Final = ("finetune", "adapter", "merge", "quantized", "distill", "component")


def by_whom(publisher: Publisher | None, countries: Sequence[str] | None) -> str:
    """`published by Acme Labs (GB)` - or `from GB` where only the country is known."""
    where = f" ({', '.join(countries)})" if countries else ""
    return f"published by {publisher.entity}{where}" if publisher else f"from {', '.join(countries or ('nowhere known',))}"


def _cause(view: View) -> str:
    return "is " + by_whom(view.publisher, view.countries)


# --- names -------------------------------------------------------------------------------------------------------


def _patterns(building: Building, place: str, pairs: list[tuple[str, tuple[Pattern, ...]]]) -> list[tuple[bool, PatternSet]]:
    return [(word in ("any", "all"), PatternSet(operand)) for word, operand in pairs]


def _artifact(building: Building, place: str, raw: Any) -> Condition:
    pairs = words(building, place, raw, lambda value: (parse_pattern(value),))
    sets = _patterns(building, place, pairs)
    permits = building.permits

    def judge(subject: Subject, view: View) -> Outcome:
        shown = ""
        whole = view.ancestor is not None or permits
        for positive, patterns in sets:
            found = patterns.find(view.ecosystem, view.kind, view.name, view.revision, view.path, whole=whole)
            if (found is not None) is not positive:
                return NO
            shown = shown or (found.text if found else "")
        return Outcome(HOLDS, f"matches '{shown}'" if shown else "is not among the listed artifacts")

    return Condition("artifact", judge, frozenset(), None, _names(pairs), identity=True, salience=3, alone=only_any(pairs))


def _names(pairs: list[tuple[str, tuple[Pattern, ...]]]) -> tuple[Glob, ...] | None:
    for word, operand in pairs:
        if word == "any":
            return tuple(spelling for pattern in operand for spelling in PatternSet.spellings(pattern))
    return None


def _ancestor(building: Building, place: str, raw: Any) -> Condition:
    options = raw if isinstance(raw, Mapping) else {}
    relations = _relations(building, place, options.get("relations"))
    floor = fraction(building, f"{place}.min_confidence", options.get("min_confidence"), 0.0)
    explicit = "min_confidence" in options
    pairs = words(building, place, raw, lambda value: (parse_pattern(value),), extra=("relations", "min_confidence"))
    sets = _patterns(building, place, pairs)
    open_ = unknown("lineage")

    def judge(subject: Subject, view: View) -> Outcome:
        reached = _reach(subject, relations, floor)
        chosen: Ancestor | None = None
        for positive, patterns in sets:
            found = next((edge for edge in reached if _is(patterns, edge)), None)
            if found is not None and not positive:
                return NO
            if found is None and positive and subject.complete:
                return NO
            if found is None and not subject.complete:
                return open_
            chosen = chosen or found
        if chosen is None:
            return Outcome(HOLDS, "descends from nothing that is listed")
        path = subject.path_to(chosen)
        grade = "A" if explicit else grade_of(min(edge.confidence for edge in path))
        return Outcome(HOLDS, "", grade=grade, path=path)

    return Condition("ancestor", judge, frozenset({"ancestors", "lineage"}), None, _names(pairs), salience=9, alone=only_any(pairs))


def _is(patterns: PatternSet, edge: Ancestor) -> bool:
    project = edge.project
    return patterns.find(project.ecosystem, project.kind, project.name.casefold(), "", "", whole=True) is not None


def _reach(subject: Subject, relations: frozenset[str], floor: int) -> list[Ancestor]:
    """The edges that can be followed from the artifact through permitted relations, nearest first.

    An edge whose relation nobody states is followed: it could be any of them.
    """
    if not relations and not floor:
        return list(subject.edges)
    reached, made = [], {subject.own.name}
    for edge in subject.edges:  # nearest first, so a child is reached before its parents
        if edge.confidence < floor or (relations and edge.relation != "unknown" and edge.relation not in relations):
            continue
        if edge.child.name.casefold() in made:
            made.add(edge.project.name.casefold())
            reached.append(edge)
    return reached


def _relations(building: Building, place: str, raw: Any) -> frozenset[str]:
    items = raw if isinstance(raw, list) else [] if raw is None else [raw]
    for item in items:
        if item not in RELATIONS:
            building.wrong(f"{place}.relations", f"{item!r} is not a relation; known: {', '.join(RELATIONS)}")
    return frozenset(item for item in items if isinstance(item, str))


# --- publishers --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Who:
    """One entry of a `publisher` list: a handle (on `hub`, or on any), or by id entities with all that is below them."""

    hub: str = ""
    handle: Glob | None = None
    ids: frozenset[str] = frozenset()


def _who(building: Building, place: str) -> Callable[[Any], tuple[_Who, ...]]:
    catalogue = building.catalogue

    def convert(value: Any) -> tuple[_Who, ...]:
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{value!r} is not a publisher")
        head, colon, tail = value.strip().partition(":")
        if colon and head.casefold() == "entity":
            found = catalogue.entities(tail.strip()) or _without_form(catalogue, tail.strip())
            if not found:
                # Not an error: a policy may name an entity before its overlay does. It matches nobody until then.
                near = ", ".join(one.id for one in catalogue.search(tail.strip().partition(" ")[0], 3))
                hint = f"; near: {near}" if near else ""
                building.warn(place, f"no publisher in the catalogue is called {tail.strip()!r}, so this matches nobody{hint}")
            # What an entity owns is the entity's too; how surely, says the grade of the account that is met.
            group = [*found, *(below for one in found for below in catalogue.below(one))]
            return (_Who(ids=frozenset(publisher.id for publisher in group)),)
        hub, handle = (head.casefold(), tail) if colon else ("", head)
        if not handle or "/" in handle:
            raise ValueError(f"{value!r} is not a publisher: write a handle, hub:handle or entity:name")
        return (_Who(hub, glob(handle)),)

    return convert


def _without_form(catalogue: Catalogue, name: str) -> tuple[Publisher, ...]:
    """Entities that differ from `name` in their legal form only: a rule says `Acme Labs` and means `Acme Labs Ltd`."""
    wanted = names.parse(name).solid
    return tuple(one for one in catalogue.publishers if wanted and names.parse(one.entity).solid == wanted)


def _publisher(building: Building, place: str, raw: Any) -> Condition:
    pairs = words(building, place, raw, _who(building, place))
    indexed = [(word in ("any", "all"), _Index(operand)) for word, operand in pairs]
    permits = building.permits

    def judge(subject: Subject, view: View) -> Outcome:
        doubt, grade = False, "A"
        for positive, index in indexed:
            found = index.find(view)
            if found is None or (view.partial and (not found or permits) and (index.ids or found)):
                doubt = True
            elif bool(found) is not positive:
                return NO
            else:
                grade = max(grade, found or "A")
        if doubt:
            return unknown("publisher")
        return Outcome(HOLDS, _cause(view) if view.publisher else f"is published by {view.owner or 'nobody known'}", grade=grade)

    gated = frozenset(indexed[0][1].keys) if only_any(pairs) and indexed[0][1].plain else None
    return Condition("publisher", judge, frozenset({"publisher"}), gated, identity=True, salience=8, alone=gated is not None)


class _Index:
    """The entries of one operand, by handle and by entity."""

    def __init__(self, entries: Sequence[_Who]) -> None:
        self.ids = frozenset(one for entry in entries for one in entry.ids)
        handles = [(entry.hub, entry.handle) for entry in entries if entry.handle is not None]
        self.exact = frozenset((hub, handle.exact) for hub, handle in handles if handle.exact is not None)
        self.globs = [(hub, handle.matcher()) for hub, handle in handles if handle.exact is None]
        self.plain = not self.globs
        self.named = bool(handles)
        self.keys: set[tuple[str, Hashable]] = {("handle", handle) for _, handle in self.exact}
        self.keys |= {("entity", one) for one in self.ids} | ({("entity", None)} if self.ids else set())

    def find(self, view: View) -> str | None:
        """The grade of a match, empty for none, None where only the catalogue could tell and it does not."""
        own = view.owner
        publisher = view.publisher
        if own and self.named and (("", own) in self.exact or (view.ecosystem, own) in self.exact or self._globbed(view.ecosystem, own)):
            return "A"
        if publisher is None:
            return None if self.ids else ""
        if publisher.id in self.ids:
            return view.grade
        if not self.named:
            return ""
        for hub, handle in publisher.handles:
            # PyPI shows no handle: there a publisher's handles elsewhere stand for it.
            anywhere = not own and (("", handle) in self.exact or self._globbed("", handle))
            if anywhere or (hub, handle) in self.exact or self._globbed(hub, handle, named=True):
                return view.grade
        return ""

    def _globbed(self, hub: str, handle: str, *, named: bool = False) -> bool:
        return any((wanted == hub or (not wanted and not named)) and matches(handle) for wanted, matches in self.globs)


# --- countries ---------------------------------------------------------------------------------------------------


def _publisher_country(building: Building, place: str, raw: Any) -> Condition:
    pairs = words(building, place, raw, lambda word: resolve(word, building.sets))
    asked = asking([Test(word, frozenset(operand).__contains__) for word, operand in pairs])
    permits = building.permits

    def judge(subject: Subject, view: View) -> Outcome:
        values = view.graded()
        truth, grade, _ = asked(values or (), values is not None and not view.partial)
        if truth is OPEN or (permits and view.partial and truth is HOLDS):
            return unknown("publisher")
        return NO if truth is FAILS else Outcome(truth, _cause(view), grade=grade)

    reads = frozenset({"publisher", "publisher_countries"})
    return Condition("publisher.country", judge, reads, gate("country", pairs), identity=True, salience=8, alone=only_any(pairs))


def _origin(building: Building, place: str, raw: Any) -> Condition:
    pairs = words(building, place, raw, lambda word: resolve(word, building.sets))
    asked = asking([Test(word, frozenset(operand).__contains__) for word, operand in pairs])
    open_ = unknown("origin")
    permits = building.permits

    def judge(subject: Subject, view: View) -> Outcome:
        truth, grade, at = asked(subject.origin, subject.origin_complete)
        if permits and truth is HOLDS and subject.own.partial:
            return open_
        if truth is not HOLDS:
            return NO if truth is FAILS else open_
        whose = subject.origin_whose[at] if at >= 0 else subject.own
        if whose.ancestor is not None:
            return Outcome(truth, "", grade=grade, path=subject.path_to(whose.ancestor))
        stated = whose.publisher is None or whose.countries is None
        return Outcome(truth, f"is from {', '.join(code for code, _ in subject.origin)}" if stated else _cause(whose), grade=grade)

    reads = frozenset({"origin", "publisher", "publisher_countries", "ancestors", "lineage"})
    return Condition("origin", judge, reads, gate("origin", pairs), salience=9, alone=only_any(pairs))


BUILDERS: Final[dict[str, Callable[[Building, str, Any], Condition]]] = {
    "artifact": _artifact,
    "ancestor": _ancestor,
    "publisher": _publisher,
    "publisher.country": _publisher_country,
    "origin": _origin,
}
