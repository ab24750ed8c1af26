"""Conditions on who and what: names, publishers, countries, ancestry, lists. Each can be asked of an ancestor too."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mirror.policy import names
from mirror.policy.conditions import Condition
from mirror.policy.countries import resolve
from mirror.policy.operators import Building, Test, asking, gate, words
from mirror.policy.patterns import Glob, Pattern, PatternSet, glob, parse_pattern
from mirror.policy.subject import NO, Outcome, Subject, Truth, View, grade_of, unknown

if TYPE_CHECKING:
    from mirror.core.decision import Match
    from mirror.core.facts import Ancestor, Publisher
    from mirror.policy.catalogue import Catalogue
    from mirror.policy.screening import ScreeningList

RELATIONS: Final = ("finetune", "adapter", "merge", "quantized", "distill")


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
        return Outcome(Truth.YES, f"matches '{shown}'" if shown else "is not among the listed artifacts")

    return Condition("artifact", judge, frozenset(), None, _names(pairs), identity=True, salience=3)


def _names(pairs: list[tuple[str, tuple[Pattern, ...]]]) -> tuple[Glob, ...] | None:
    for word, operand in pairs:
        if word == "any":
            return tuple(spelling for pattern in operand for spelling in PatternSet.spellings(pattern))
    return None


def _ancestor(building: Building, place: str, raw: Any) -> Condition:
    options = raw if isinstance(raw, Mapping) else {}
    relations = _relations(building, place, options.get("relations"))
    floor = _fraction(building, f"{place}.min_confidence", options.get("min_confidence"), 0.0)
    explicit = "min_confidence" in options
    pairs = words(building, place, raw, lambda value: (parse_pattern(value),), extra=("relations", "min_confidence"))
    sets = _patterns(building, place, pairs)

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
                return unknown("lineage")
            chosen = chosen or found
        if chosen is None:
            return Outcome(Truth.YES, "descends from nothing that is listed")
        path = subject.path_to(chosen)
        grade = "A" if explicit else grade_of(min(edge.confidence for edge in path))
        return Outcome(Truth.YES, "", grade=grade, path=path)

    return Condition("ancestor", judge, frozenset({"ancestors", "lineage"}), None, _names(pairs), salience=9)


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


def _fraction(building: Building, place: str, raw: Any, default: float) -> int:
    value = default if raw is None else raw
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        building.wrong(place, f"expected a number from 0 to 1, found {value!r}")
        value = default
    return round(value * 10_000)


# --- publishers --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Who:
    """One entry of a `publisher` list: a handle (on `hub`, or on any), or entities by id."""

    hub: str = ""
    handle: Glob | None = None
    ids: frozenset[str] = frozenset()


def _who(catalogue: Catalogue) -> Callable[[Any], tuple[_Who, ...]]:
    def convert(value: Any) -> tuple[_Who, ...]:
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{value!r} is not a publisher")
        head, colon, tail = value.strip().partition(":")
        if colon and head.casefold() == "entity":
            found = catalogue.entities(tail.strip()) or _without_form(catalogue, tail.strip())
            if not found:
                raise ValueError(f"no publisher in the catalogue is called {tail.strip()!r}")
            return (_Who(ids=frozenset(publisher.id for publisher in found)),)
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
    pairs = words(building, place, raw, _who(building.catalogue))
    indexed = [(word in ("any", "all"), _Index(operand)) for word, operand in pairs]

    def judge(subject: Subject, view: View) -> Outcome:
        doubt, grade = False, "A"
        for positive, index in indexed:
            found = index.find(view)
            if found is None:
                doubt = True
            elif bool(found) is not positive:
                return NO
            else:
                grade = max(grade, found or "A")
        if doubt:
            return unknown("publisher")
        return Outcome(Truth.YES, _cause(view) if view.publisher else f"is published by {view.owner or 'nobody known'}", grade=grade)

    keys = {key for positive, index in indexed if positive for key in index.keys} if len(indexed) == 1 else set()
    gated = frozenset(keys) if len(indexed) == 1 and indexed[0][0] and indexed[0][1].plain else None
    return Condition("publisher", judge, frozenset({"publisher"}), gated, identity=True, salience=8)


class _Index:
    """The entries of one operand, by handle and by entity."""

    def __init__(self, entries: Sequence[_Who]) -> None:
        self.ids = frozenset(one for entry in entries for one in entry.ids)
        handles = [(entry.hub, entry.handle) for entry in entries if entry.handle is not None]
        self.exact = frozenset((hub, handle.exact) for hub, handle in handles if handle.exact is not None)
        self.globs = [(hub, handle.matcher()) for hub, handle in handles if handle.exact is None]
        self.plain = not self.globs
        self.keys: set[tuple[str, Hashable]] = {("handle", handle) for _, handle in self.exact}
        self.keys |= {("entity", one) for one in self.ids} | ({("entity", None)} if self.ids else set())

    def find(self, view: View) -> str | None:
        """The grade of a match, empty for none, None where only the catalogue could tell and it does not."""
        own = view.owner
        publisher = view.publisher
        if own and (("", own) in self.exact or (view.ecosystem, own) in self.exact or self._globbed(view.ecosystem, own)):
            return "A"
        if publisher is None:
            return None if self.ids else ""
        if publisher.id in self.ids:
            return view.grade
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

    def judge(subject: Subject, view: View) -> Outcome:
        values = view.graded()
        truth, grade, _ = asked(values or (), values is not None)
        if truth is Truth.UNKNOWN:
            return unknown("publisher")
        return NO if truth is Truth.NO else Outcome(truth, _cause(view), grade=grade)

    reads = frozenset({"publisher", "publisher_countries"})
    return Condition("publisher.country", judge, reads, gate("country", pairs), identity=True, salience=8)


def _origin(building: Building, place: str, raw: Any) -> Condition:
    pairs = words(building, place, raw, lambda word: resolve(word, building.sets))
    asked = asking([Test(word, frozenset(operand).__contains__) for word, operand in pairs])
    open_ = unknown("origin")

    def judge(subject: Subject, view: View) -> Outcome:
        truth, grade, at = asked(subject.origin, subject.origin_complete)
        if truth is not Truth.YES:
            return NO if truth is Truth.NO else open_
        whose = subject.origin_whose[at] if at >= 0 else subject.own
        if whose.ancestor is not None:
            return Outcome(truth, "", grade=grade, path=subject.path_to(whose.ancestor))
        stated = whose.publisher is None or whose.countries is None
        return Outcome(truth, f"is from {', '.join(code for code, _ in subject.origin)}" if stated else _cause(whose), grade=grade)

    reads = frozenset({"origin", "publisher", "publisher_countries", "ancestors", "lineage"})
    return Condition("origin", judge, reads, gate("origin", pairs), salience=9)


# --- official and house lists ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Bands:
    hit: int
    review: int
    aggregate: int | None
    unknown_share: bool


class Screener:
    """Screens a publisher, with its owners where the rule says so, against lists; remembers what it found."""

    def __init__(
        self, lists: Sequence[ScreeningList], bands: _Bands, catalogue: Catalogue, known: dict[Hashable, tuple[Match, ...]]
    ) -> None:
        self._lists, self._bands, self._catalogue, self._known = lists, bands, catalogue, known
        self._names = tuple(one.name for one in lists)

    def matches(self, publisher: Publisher | None, further: tuple[str, ...]) -> tuple[Match, ...]:
        """Every match on every list, best first. Pure: the lists never change under a policy."""
        key = (self._names, publisher.id if publisher else None, further)
        found = self._known.get(key)
        if found is None:
            found = tuple(sorted((m for one in self._lists for m in one.screen(publisher, further)), key=lambda m: -m.score))
            if len(self._known) >= 20_000:
                self._known.clear()
            self._known[key] = found
        return found

    def owned(self, publisher: Publisher) -> tuple[int, tuple[Match, ...], str]:
        """The summed share (1/10,000) of listed owners, their matches, and an owner with an unknown share (or "").

        A parent without a stated share owns the whole. Followed upwards, each owner once.
        """
        matches: list[Match] = []
        total, doubtful, seen = 0, "", {publisher.id}
        shares = {owner.id: owner.share for owner in publisher.owners}
        if publisher.parent:
            shares.setdefault(publisher.parent, 10_000)
        for owner_id, share in shares.items():
            owner = self._catalogue.by_id(owner_id)
            if owner is None or owner_id in seen:
                continue
            seen.add(owner_id)
            best = self.matches(owner, ())[:1]
            hit = bool(best) and best[0].score >= self._bands.hit
            if not hit and owner.id != publisher.id and _above(self, owner, seen):
                hit, best = True, _above(self, owner, seen)
            if hit:
                matches += best
                total += share or 0
                doubtful = doubtful or (owner.entity if share is None else "")
        return total, tuple(matches), doubtful


def _above(screener: Screener, owner: Publisher, seen: set[str]) -> tuple[Match, ...]:
    """Matches of an owner that is itself owned beyond the threshold by somebody listed (loops guarded)."""
    for parent in screener._catalogue.parents_of(owner):  # noqa: SLF001 - one module, one piece of work
        if parent.id in seen:
            continue
        best = screener.matches(parent, ())[:1]
        if best and best[0].score >= screener._bands.hit:  # noqa: SLF001
            return best
    return ()


def _list_match(building: Building, place: str, raw: Any) -> Condition:
    options = raw if isinstance(raw, Mapping) else {"lists": raw}
    for key in options:
        if key not in ("lists", "hit", "review", "ownership"):
            building.wrong(place, f"unknown key {key!r}; known: lists, hit, review, ownership")
    named = options.get("lists")
    lists = []
    for name in named if isinstance(named, list) else [named]:
        if not isinstance(name, str) or name not in building.lists:
            building.wrong(f"{place}.lists" if isinstance(raw, Mapping) else place, f"{name!r} is not a list of the configuration")
        else:
            lists.append(building.lists[name])
    bands = _bands(building, place, options)
    screener = Screener(lists, bands, building.catalogue, building.screened)

    def judge(subject: Subject, view: View) -> Outcome:
        return _screened(subject, view, screener, lists, bands)

    return Condition("list_match", judge, frozenset({"publisher", "names"}), None, identity=True, salience=10)


def _bands(building: Building, place: str, options: Mapping[str, Any]) -> _Bands:
    hit = _fraction(building, f"{place}.hit", options.get("hit"), 0.92)
    review = _fraction(building, f"{place}.review", options.get("review"), min(0.80, hit / 10_000))
    if review > hit:
        building.wrong(f"{place}.review", "must not be above hit")
    ownership = options.get("ownership")
    if ownership is None:
        return _Bands(hit, review, None, unknown_share=False)
    if not isinstance(ownership, Mapping):
        building.wrong(f"{place}.ownership", "expected a mapping with aggregate_min and unknown")
        ownership = {}
    for key in ownership:
        if key not in ("aggregate_min", "unknown"):
            building.wrong(f"{place}.ownership", f"unknown key {key!r}; known: aggregate_min, unknown")
    if ownership.get("unknown", "review") not in ("review", "allow"):
        building.wrong(f"{place}.ownership.unknown", "expected review or allow")
    least = _fraction(building, f"{place}.ownership.aggregate_min", ownership.get("aggregate_min"), 0.5)
    return _Bands(hit, review, least, unknown_share=ownership.get("unknown", "review") == "review")


def _screened(subject: Subject, view: View, screener: Screener, lists: Sequence[ScreeningList], bands: _Bands) -> Outcome:
    own = view.ancestor is None
    extra = subject.facts.names.value or () if own and subject.facts.names else ()
    handle = () if view.publisher or not view.owner else (view.owner,)
    found = screener.matches(view.publisher, (*handle, *extra))
    who = view.publisher.entity if view.publisher else view.owner or "somebody"
    if own and subject.actor.entity and any(one.direction in ("outbound", "both") for one in lists):
        client = screener.matches(None, (subject.actor.entity,))
        if client and (not found or client[0].score > found[0].score):
            found, who = client, ""
    if found and found[0].score >= bands.review:
        best = found[0]
        near = "" if best.score >= bands.hit else "possibly "
        listed = f"{near}on list {best.list} as '{best.name}'"
        cause = f"is published by {who}, {listed}" if who else f"is requested by an entity that is {listed}"
        grade = view.grade if who and view.publisher else "A"
        return Outcome(Truth.YES, cause, grade=grade, review=best.score < bands.hit, matches=found)
    if view.publisher is None:
        return Outcome(Truth.UNKNOWN, unknown="publisher", matches=found)
    if bands.aggregate is not None:
        share, owners, doubtful = screener.owned(view.publisher)
        if owners and (share >= bands.aggregate or (doubtful and bands.unknown_share)):
            cause = f"is published by {who}, owned by listed '{owners[0].name}' ({owners[0].list})"
            return Outcome(Truth.YES, cause, grade=view.grade, review=share < bands.aggregate, matches=owners)
    return Outcome(Truth.NO, matches=found) if found else NO


BUILDERS: Final[dict[str, Callable[[Building, str, Any], Condition]]] = {
    "artifact": _artifact,
    "ancestor": _ancestor,
    "publisher": _publisher,
    "publisher.country": _publisher_country,
    "origin": _origin,
    "list_match": _list_match,
}
