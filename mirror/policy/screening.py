"""Publishers against official and house lists: by identifier, by exact name, by similar name.

Pure. A match is not a verdict: rules say what a score means (`list_match.hit`, `.review`), reviewers whether it is true.
Scores are in 1/10,000. `MATCHER` names the algorithm: records that cite a score cite it too.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from mirror.core.decision import Match
from mirror.policy.entries import TYPES, ListEntry, domain, identifier
from mirror.policy.reviewed import stands

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from mirror.core.facts import Publisher
    from mirror.policy.blocking import CandidateIndex
    from mirror.policy.names import Name
    from mirror.policy.reviewed import Reviewed

__all__ = ["CERTAIN", "FLOOR", "MATCHER", "MAX_NAMES", "REVIEW", "TYPES", "ListEntry", "ScreeningList", "domain", "identifier", "similarity"]

#: The version of the scoring: of this module, `blocking`, `similar`, `words_alike`, `names`, `form_ends`, `name_words`,
#: `sounds`, `letters`, `legal_forms` and `hanzi`. Any change to a score is a new version (tests/policy/test_matcher_version.py).
MATCHER: Final = "tokens-4"
CERTAIN: Final = 10_000
#: Below this nothing is reported: the weakest band that a rule may ask for is far above.
FLOOR: Final = 7_000
#: What a contained name, or a weak alias that something else confirms, reaches: the review band, never a hit.
REVIEW: Final = 8_000
#: Publishers are organisations or persons: a list's ships and aircraft are neither.
_THINGS: Final = frozenset({"vessel", "aircraft"})
#: Names per question: what a package declares about its authors is text of strangers.
MAX_NAMES: Final = 32
#: What another country takes off a similarity.
_ABROAD: Final = 500


def similarity(one: Name, other: Name) -> int:
    """How alike two names are, in 1/10,000; symmetric. The same words with contradicting legal forms are 9,500."""
    return _comparison()(one, other)


@cache
def _comparison() -> Callable[[Name, Name], int]:
    from mirror.policy.similar import similarity as compared  # a mirror without lists compares no names

    return compared


class ScreeningList:
    """One edition of a list, indexed. Immutable once built; a question costs a few milliseconds at 40,000 names."""

    __slots__ = ("_domains", "_identifiers", "_index", "_numbers", "_rows", "_weak",
                 "boundaries", "digest", "direction", "edition", "entries", "issuers", "jurisdictions", "meaning", "name", "reviewed")  # fmt: skip

    def __init__(
        self, name: str, edition: str, entries: Sequence[ListEntry], meaning: str, direction: str, *, digest: str = "",
        jurisdictions: Iterable[str] = (), issuers: Iterable[str] = (),
    ) -> None:  # fmt: skip
        """`meaning` says what a place on it means (`blocked-party`, ...), `direction` inbound, outbound or both.

        `digest` is the SHA-256 of the file, for the record. `jurisdictions` are those that it binds (none: everybody),
        `issuers` the states whose law it is, where the loader tells.
        """
        self.name, self.edition, self.meaning, self.direction, self.digest = name, edition, meaning, direction, digest
        self.jurisdictions, self.issuers = frozenset(jurisdictions), frozenset(issuers)
        self.entries = tuple(entries)
        #: What reviewers said of matches on this list; None where nobody has.
        self.reviewed: Reviewed | None = None
        dates = {day for entry in self.entries for day in (entry.listed_on, entry.until) if day is not None}
        #: When an entry begins or ends to be listed: midnights UTC, sorted.
        self.boundaries = tuple(datetime(day.year, day.month, day.day, tzinfo=UTC) for day in sorted(dates))
        self._domains: defaultdict[str, list[int]] = defaultdict(list)
        self._identifiers: defaultdict[str, list[int]] = defaultdict(list)
        rows: list[Name] = []
        #: For each row the number of its entry, and whether it is a weak alias.
        self._numbers: list[int] = []
        self._weak: set[int] = set()
        for number, entry in enumerate(self.entries):
            if entry.type not in _THINGS:
                self._add(number, entry, rows)
        self._rows = tuple(rows)
        self._index: CandidateIndex | None = None
        if rows:
            from mirror.policy.blocking import CandidateIndex  # a mirror without lists compares no names

            self._index = CandidateIndex(rows)

    def _add(self, number: int, entry: ListEntry, rows: list[Name]) -> None:
        from mirror.policy.names import parse_to_keep  # a mirror without lists compares no names

        for site in dict.fromkeys(filter(None, map(domain, entry.web))):
            self._domains[site].append(number)
        for known in dict.fromkeys(filter(None, map(identifier, entry.identifiers))):
            self._identifiers[known].append(number)
        strong = dict.fromkeys((entry.name, *entry.aliases), False)
        for text, weak in {**dict.fromkeys(entry.weak_aliases, True), **strong}.items():
            name = parse_to_keep(text)
            if name.solid:
                if weak:
                    self._weak.add(len(rows))
                rows.append(name)
                self._numbers.append(number)

    @property
    def described(self) -> dict[str, Any]:
        """What it was made from and how it is used, in plain values, for `Epoch.manifest`."""
        return {
            "edition": self.edition, "sha256": self.digest, "meaning": self.meaning, "direction": self.direction,
            "jurisdictions": sorted(self.jurisdictions),
        }  # fmt: skip

    def under(self, reviewed: Reviewed | None) -> ScreeningList:
        """The same edition with what reviewers have said. Shares everything else."""
        twin = object.__new__(type(self))
        for kind in type(self).__mro__[:-1]:
            for slot in kind.__slots__:  # type: ignore[attr-defined]  # all of them have slots
                setattr(twin, slot, getattr(self, slot))
        twin.reviewed = reviewed
        return twin

    def screen(
        self,
        publisher: Publisher | None,
        names: Iterable[str],
        *,
        parents: Sequence[Publisher] = (),
        countries: Iterable[str] = (),
        on: date | None = None,
        identifiers: Iterable[str] = (),
    ) -> tuple[Match, ...]:
        """Every entry that may mean `publisher`, best first, none below `FLOOR`: one match an entry.

        Where a reviewer has ruled one out, that stands behind all others, beside what still stands of the same entry.

        `names` are further names (a declared organisation); `parents` those of `Catalogue.parents_of`, screened as
        well and named in the match; `countries` the publisher's, where known; `identifiers` further ones: `kind:value`,
        web and mail addresses. With `on`, entries not in force on that day are left out. The entity's name and aliases are
        tried first, `MAX_NAMES` in all. What reviewers said of a match stands in it.
        """
        given = tuple(identifiers)
        home = frozenset(countries)
        found: list[tuple[int, Match]] = []
        if publisher is not None or given:
            found += self._marked(self._ask(_Question.of(publisher, (), given, home), ""), publisher)
        if publisher is not None and not home:
            home = frozenset(country.code for country in publisher.countries)
        kind = "" if publisher is None else publisher.kind
        for name in list(dict.fromkeys(names))[:MAX_NAMES]:
            found += self._marked(self._ask(_Question((name,), (), (), home, kind), ""), None, name)
        for parent in parents:
            asked = self._ask(_Question.of(parent, (), (), frozenset()), f" (parent {parent.id})")
            found += self._marked(asked, parent)
        best: dict[tuple[int, bool], Match] = {}
        for number, match in found:
            key = (number, stands(match))
            if (on is None or self.entries[number].in_force(on)) and (key not in best or match.score > best[key].score):
                best[key] = match
        return tuple(sorted(best.values(), key=lambda match: (not stands(match), -match.score, match.entry)))

    def _marked(self, asked: Iterable[tuple[int, Match]], publisher: Publisher | None, name: str = "") -> Iterable[tuple[int, Match]]:
        if self.reviewed is None:
            return asked
        return [(number, self.reviewed.marked(match, self.entries[number], publisher, name)) for number, match in asked]

    def _ask(self, question: _Question, suffix: str) -> list[tuple[int, Match]]:
        """(number of the entry, match) of every entry that one subject may be, in no order."""
        scores, how = self._identified(question)
        weak: set[int] = set()
        named: set[int] = set()
        for name in question.read():
            for number, score, is_weak in self._similar(name):
                named.add(number)
                if is_weak:
                    weak.add(number)
                    continue
                placed = self._placed(number, score, question.countries)
                if placed > scores.get(number, 0):
                    scores[number], how[number] = placed, "name" if score == CERTAIN else "similar name"
        for number in weak:
            if scores.get(number, 0) >= FLOOR or self.entries[number].country in question.countries:
                how[number] = how[number] if scores.get(number, 0) >= REVIEW else "weak alias"
                scores[number] = max(scores.get(number, 0), REVIEW)
        for number in self._contradicted(question, how, named):
            scores[number] = REVIEW
        entries = ((number, score, self.entries[number]) for number, score in scores.items() if score >= FLOOR)
        return [
            (number, Match(self.name, self.edition, entry.id, entry.name + suffix, score, how[number], MATCHER))
            for number, score, entry in entries
            if _comparable(question.kind, entry.type)
        ]

    def _identified(self, question: _Question) -> tuple[dict[int, int], dict[int, str]]:
        """Entries with an address or a number of the one who is asked about: certain, but for `_contradicted`."""
        by_site = (number for site in filter(None, map(domain, question.sites)) for number in self._domains.get(site, ()))
        how = dict.fromkeys(by_site, "domain")
        for known in filter(None, map(identifier, question.identifiers)):
            how.update(dict.fromkeys(self._identifiers.get(known, ()), "identifier"))
        return dict.fromkeys(how, CERTAIN), how

    def _contradicted(self, question: _Question, how: Mapping[int, str], named: Collection[int]) -> list[int]:
        """Entries that only a domain speaks for, with name and country against it: sold, shared or lent, so a person looks.

        A question without names or countries contradicts nothing.
        """
        if not (question.names and question.countries):
            return []
        by_site = (number for number, by in how.items() if by == "domain" and number not in named)
        return [number for number in by_site if self.entries[number].country and self.entries[number].country not in question.countries]

    def _placed(self, number: int, score: int, countries: frozenset[str]) -> int:
        """A similar name in another country is less likely the same body; the same name is, wherever it sits."""
        country = self.entries[number].country
        return score - _ABROAD if score < CERTAIN and country and countries and country not in countries else score

    def _similar(self, name: Name) -> Iterator[tuple[int, int, bool]]:
        """(entry, score, weak) of every row that the index proposes; a weak alias counts only when it is equal."""
        if self._index is None or not name.solid:
            return
        from mirror.policy.similar import similarity as compared  # see above

        for row in self._index.propose(name):
            theirs = self._rows[row]
            if row not in self._weak:
                score = compared(name, theirs)
                if score >= FLOOR:
                    yield self._numbers[row], score, False
            elif theirs.solid == name.solid:
                yield self._numbers[row], CERTAIN, True


@dataclass(frozen=True, slots=True)
class _Question:
    """Who is asked about: names as text, addresses, numbers, countries and kind."""

    names: tuple[str, ...]
    sites: tuple[str, ...]
    identifiers: tuple[str, ...]
    countries: frozenset[str]
    kind: str

    @classmethod
    def of(cls, publisher: Publisher | None, names: Sequence[str], identifiers: Sequence[str], countries: frozenset[str]) -> _Question:
        """What is known of a publisher beside what is given; of nobody, what is given."""
        sites = tuple(text for text in identifiers if ":" not in text or "//" in text)
        if publisher is None:
            return cls(tuple(names), sites, tuple(identifiers), countries, "")
        keys = (f"publisher:{publisher.id}", *(f"{hub}:{handle}" for hub, handle in publisher.handles), *publisher.identifiers)
        return cls(
            tuple(dict.fromkeys((publisher.entity, *publisher.aliases, *names))), (*publisher.web, *sites), (*keys, *identifiers),
            countries or frozenset(country.code for country in publisher.countries), publisher.kind,
        )  # fmt: skip

    def read(self) -> Iterator[Name]:
        """The names ready to be compared, each once."""
        from mirror.policy.names import parse  # a mirror without lists compares no names

        return iter(dict.fromkeys(map(parse, self.names[:MAX_NAMES])))


def _comparable(kind: str, listed: str) -> bool:
    """Whether a publisher of `kind` can be an entry of type `listed`; either may be unknown (empty)."""
    return not kind or not listed or (kind == "individual") == (listed == "individual")
