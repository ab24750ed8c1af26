"""The condition `list_match`: whether the publisher, or who stands above it, is on an official or house list."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from mirror.core.findings import TRUE_MATCH
from mirror.policy.catalogue import MAJORITY
from mirror.policy.conditions import Condition
from mirror.policy.operators import Building, fraction
from mirror.policy.ownership import WHOLE, Ownership
from mirror.policy.reviewed import stands
from mirror.policy.subject import HOLDS, NO, Outcome, Subject, View, unknown

if TYPE_CHECKING:
    from mirror.core.decision import Match
    from mirror.core.facts import Publisher
    from mirror.policy.catalogue import Catalogue
    from mirror.policy.screening import ScreeningList

#: How many answers are kept for one set of lists: names come from strangers.
_KEPT: Final = 20_000


@dataclass(frozen=True, slots=True)
class Bands:
    """Scores and shares in 1/10,000: from `hit` the rule's effect, from `review` review; `aggregate` None: no ownership."""

    hit: int
    review: int
    aggregate: int | None = None
    unknown_share: bool = False

    def hits(self, match: Match) -> bool:
        """Whether a match has the rule's own effect: by its score, or because a reviewer says that it is true."""
        return stands(match) and (match.score >= self.hit or match.finding == TRUE_MATCH)

    def concerns(self, match: Match) -> bool:
        """Whether a match has any effect: from `review` up, unless a reviewer says that it is false."""
        return stands(match) and (match.score >= self.review or match.finding == TRUE_MATCH)


class Screener:
    """Screens a publisher, with whoever stands above it, against lists; remembers what it found."""

    def __init__(
        self, lists: Sequence[ScreeningList], bands: Bands, catalogue: Catalogue, known: dict[Hashable, dict[Hashable, tuple[Match, ...]]]
    ) -> None:
        """`known` is shared by all rules of a policy, so that equal questions of several rules are one."""
        self._lists, self.bands, self._catalogue = tuple(lists), bands, catalogue
        # A rule that asks for more than half means it: a bare majority is then no parent, only a share among others.
        self._majority = bands.aggregate is None or bands.aggregate <= MAJORITY
        self._known = known.setdefault((tuple(one.name for one in lists), self._majority), {})
        self._ownership = Ownership(catalogue, majority=self._majority)
        self._dates = tuple(sorted({*self._ownership.dates, *(moment for one in lists for moment in one.boundaries)}))
        self._bounded = {one.name: one.jurisdictions for one in lists if one.jurisdictions}
        self._outbound = frozenset(one.name for one in lists if one.direction in ("outbound", "both"))

    def matches(self, publisher: Publisher | None, further: tuple[str, ...], subject: Subject) -> tuple[Match, ...]:
        """Every match on every list in force now, best first; the next date of the lists is noted as a boundary.

        Pure: the lists never change under a policy, and between two of their dates the answer is the same.
        """
        at = 0
        if self._dates:
            at = bisect_right(self._dates, subject.now)
            if at < len(self._dates):
                subject.note(self._dates[at])
        key = (publisher.id if publisher else None, further, at)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            found = self._known[key] = self._screened(publisher, further, subject.now)
        return self._binding(found, subject) if found and self._bounded else found

    def _binding(self, found: tuple[Match, ...], subject: Subject) -> tuple[Match, ...]:
        """Matches on lists that bind who asks. Jurisdictions that are not known are taken to be concerned, as by `Rule.binds`."""
        law = subject.actor.jurisdictions
        return tuple(match for match in found if not law or not self._bounded.get(match.list) or not self._bounded[match.list].isdisjoint(law))

    def client(self, subject: Subject) -> tuple[Match, ...]:
        """Who asks, on those of the lists that are about recipients."""
        if not self._outbound:
            return ()
        found = self.matches(None, (subject.actor.entity,), subject)
        return tuple(match for match in found if match.list in self._outbound)

    def _screened(self, publisher: Publisher | None, further: tuple[str, ...], now: datetime) -> tuple[Match, ...]:
        day = now.astimezone(UTC).date()
        parents: tuple[Publisher, ...] = ()
        countries: tuple[str, ...] = ()
        if publisher is not None:
            publisher = self._catalogue.by_id(publisher.id) or publisher
            parents = self._ownership.above(publisher, day)
            countries = tuple(country.code for country in self._catalogue.countries_of(publisher))
        found = [m for one in self._lists for m in one.screen(publisher, further, parents=parents, countries=countries, on=day)]
        return tuple(sorted(found, key=lambda match: (not stands(match), -match.score)))

    def owned(self, publisher: Publisher, subject: Subject, below: frozenset[str] = frozenset()) -> tuple[int, tuple[Match, ...], str]:
        """The summed share (1/10,000) of blocked owners, their matches, and an owner with an unknown share (or "").

        An owner is blocked if it, or somebody above it, is on a list - or if blocked owners together hold enough of it
        (OFAC's 50 percent rule counts them together and through any number of hands). Loops are guarded by `below`.
        """
        matches: list[Match] = []
        total, doubtful = 0, ""
        below |= {publisher.id}
        for owner, share in self._ownership.shares(publisher, subject.now.astimezone(UTC).date()):
            best, doubt = self._blocked(owner, subject, below) if owner.id not in below else (None, "")
            if best is not None:
                matches.append(best)
                total += 0 if share is None or doubt else share
                doubtful = doubtful or doubt or (owner.entity if share is None else "")
        return min(total, WHOLE), tuple(matches), doubtful

    def _blocked(self, owner: Publisher, subject: Subject, below: frozenset[str]) -> tuple[Match | None, str]:
        """The hit that blocks an owner, and who makes it doubtful by an unknown share (or "")."""
        for one in (owner, *self._ownership.above(owner, subject.now.astimezone(UTC).date())):
            best = self.matches(one, (), subject)[:1] if one.id not in below else ()
            if best and self.bands.hits(best[0]):
                return best[0], ""
        share, matches, doubtful = self.owned(owner, subject, below)
        enough = share >= (self.bands.aggregate or WHOLE)
        return (matches[0], "" if enough else doubtful) if matches and (enough or doubtful) else (None, "")


def _list_match(building: Building, place: str, raw: Any) -> Condition:
    options = raw if isinstance(raw, Mapping) else {"lists": raw}
    for key in options:
        if key not in ("lists", "hit", "review", "ownership"):
            building.wrong(place, f"unknown key {key!r}; known: lists, hit, review, ownership")
    named = options.get("lists")
    lists = []
    for name in named if isinstance(named, list) else [named]:
        if not isinstance(name, str) or name not in building.lists:
            known = f"; known: {', '.join(sorted(building.lists))}" if building.lists else "; it names none"
            building.wrong(f"{place}.lists" if isinstance(raw, Mapping) else place, f"{name!r} is not a list of the configuration{known}")
        else:
            lists.append(building.lists[name])
    screener = Screener(lists, _bands(building, place, options), building.catalogue, building.screened)

    def judge(subject: Subject, view: View) -> Outcome:
        return _screened(subject, view, screener)

    return Condition("list_match", judge, frozenset({"publisher", "names"}), None, identity=True, salience=10)


def _bands(building: Building, place: str, options: Mapping[str, Any]) -> Bands:
    hit = fraction(building, f"{place}.hit", options.get("hit"), 0.92)
    review = fraction(building, f"{place}.review", options.get("review"), min(0.80, hit / 10_000))
    if review > hit:
        building.wrong(f"{place}.review", "must not be above hit")
    ownership = options.get("ownership")
    if ownership is None:
        return Bands(hit, review)
    if not isinstance(ownership, Mapping):
        building.wrong(f"{place}.ownership", "expected a mapping with aggregate_min and unknown")
        ownership = {}
    for key in ownership:
        if key not in ("aggregate_min", "unknown"):
            building.wrong(f"{place}.ownership", f"unknown key {key!r}; known: aggregate_min, unknown")
    if ownership.get("unknown", "review") not in ("review", "allow"):
        building.wrong(f"{place}.ownership.unknown", "expected review or allow")
    least = fraction(building, f"{place}.ownership.aggregate_min", ownership.get("aggregate_min"), 0.5)
    return Bands(hit, review, least, unknown_share=ownership.get("unknown", "review") == "review")


_NOBODY: Final = unknown("publisher")


def _screened(subject: Subject, view: View, screener: Screener) -> Outcome:
    bands, publisher = screener.bands, view.publisher
    found = screener.matches(publisher, _further(subject, view), subject)
    # A client asks for the artifact, not for its ancestors.
    client = screener.client(subject) if view.ancestor is None and subject.actor.entity else ()
    if client and (not found or not stands(found[0]) or client[0].score > found[0].score):
        best = client[0]
        if bands.concerns(best):
            subject.seen += client
            return Outcome(HOLDS, f"is requested by an entity that is {_on(best, bands)}", review=not bands.hits(best))
    subject.seen += found
    if found and bands.concerns(found[0]):
        best, who = found[0], publisher.entity if publisher else view.owner or "somebody"
        grade = view.grade if publisher else "A"
        return Outcome(HOLDS, f"is published by {who}, {_on(best, bands)}", grade=grade, review=not bands.hits(best))
    if publisher is None:
        return _NOBODY
    if bands.aggregate is not None:
        share, owners, doubtful = screener.owned(publisher, subject)
        if owners and (share >= bands.aggregate or (doubtful and bands.unknown_share)):
            cause = f"is published by {publisher.entity}, owned by listed '{owners[0].name}' ({owners[0].list})"
            subject.seen += owners
            return Outcome(HOLDS, cause, grade=view.grade, review=share < bands.aggregate)
    return NO


def _further(subject: Subject, view: View) -> tuple[str, ...]:
    """Names beside the catalogue's: the handle of a stranger, and what the artifact's own page declares.

    A handle that the catalogue knows is an account of somebody who is screened as himself: as a name it accuses wrongly.
    """
    stated = subject.facts.names if view.ancestor is None else None
    declared = (stated.value or ()) if stated is not None else ()
    if view.publisher is None:
        return (view.owner, *declared) if view.owner else declared
    return tuple(name for name in declared if name.casefold() != view.owner.casefold())


def _on(match: Match, bands: Bands) -> str:
    return f"{'' if bands.hits(match) else 'possibly '}on list {match.list} as '{match.name}'"


BUILDERS: Final[dict[str, Callable[[Building, str, Any], Condition]]] = {"list_match": _list_match}
