"""Publishers against official and house lists: by identifier, by exact name, by similar name.

Pure. A match is not a verdict: rules say what a score means (`list_match.hit`, `.review`), reviewers whether it is true.
Scores are in 1/10,000. `MATCHER` names the algorithm: records that cite a score cite it too.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import nlargest
from itertools import chain, pairwise
from math import log
from typing import TYPE_CHECKING, Final

from rapidfuzz.distance import OSA

from mirror.core.decision import Match
from mirror.policy.names import Name, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date

    from mirror.core.facts import Publisher

#: The version of the scoring below. Any change to a score is a new version.
MATCHER: Final = "tokens-1"
CERTAIN: Final = 10_000
#: Below this nothing is reported: the weakest band that a rule may ask for is far above.
FLOOR: Final = 7_000
#: What a contained name, or a weak alias that something else confirms, reaches: the review band, never a hit.
REVIEW: Final = 8_000
TYPES: Final = ("", "organization", "company", "government", "entity", "individual", "vessel", "aircraft")
#: Publishers are organisations or persons: a list's ships and aircraft are neither.
_THINGS: Final = frozenset({"vessel", "aircraft"})
#: Names per question: what a package declares about its authors is text of strangers.
MAX_NAMES: Final = 32
MAX_LENGTH: Final = 300
_CANDIDATES: Final = 64
_ROOM: Final = 4_000

#: Sites on which anybody may have a page: an address there identifies nobody.
_SHARED_SITES: Final = frozenset(
    "github.com gitlab.com huggingface.co pypi.org linkedin.com facebook.com x.com twitter.com t.me youtube.com "
    "instagram.com weibo.com vk.com medium.com wikipedia.org sites.google.com gitee.com modelscope.cn".split()
)
#: Words that many organisations share, so that agreeing on them says less.
_COMMON: Final = frozenset(
    "group holdings international global systems system solutions technology industries industry enterprise enterprises "
    "services service bank company corporation trading investment investments development engineering construction "
    "business management partners capital fund trust national general industrial center research institute university "
    "foundation organization association department ministry state federal electronics motor motors energy".split()
)


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One entry of a list. Dates as on the list, `until` exclusive; `country` is alpha-2 or empty.

    `weak_aliases` are those that the list itself calls weak or of low quality: they confirm, they never accuse.
    """

    id: str
    name: str
    aliases: tuple[str, ...] = ()
    weak_aliases: tuple[str, ...] = ()
    country: str = ""
    programme: str = ""
    listed_on: date | None = None
    until: date | None = None
    web: tuple[str, ...] = ()
    type: str = ""
    source: str = ""

    def in_force(self, day: date) -> bool:
        """Whether the entry is listed on `day`; an entry without dates always is."""
        return (self.listed_on is None or self.listed_on <= day) and (self.until is None or day < self.until)


def similarity(one: Name, other: Name) -> int:
    """How alike two names are, in 1/10,000; symmetric. The same words with contradicting legal forms are 9,500."""
    if one.solid == other.solid:
        contradict = one.forms and other.forms and not one.forms & other.forms and "CORP" not in one.forms | other.forms
        return 9_500 if contradict else CERTAIN
    aligned = _aligned(one.tokens, other.tokens)
    # Letters run together forgive a misplaced space; they must not forgive another number.
    same_numbers = _numbers(one) == _numbers(other)
    solid = 0.9 * OSA.normalized_similarity(one.solid, other.solid) if same_numbers else 0.0
    contained = REVIEW / CERTAIN if _contained(one.tokens, other.tokens) else 0.0
    return min(round(max(aligned, solid, contained) * CERTAIN), CERTAIN - 1)


def _contained(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether the shorter name, of four words or more with two of its own, stands word for word in the longer.

    Registers spell out what everybody leaves away: `Federal State Institution ... Umbrella Institute of ...`.
    """
    fewer, more = sorted((frozenset(one), frozenset(other)), key=len)
    return len(fewer) >= 4 and fewer <= more and len(fewer - _COMMON) >= 2


def _aligned(ours: Sequence[str], theirs: Sequence[str]) -> float:
    """Words paired best first, each once; the weighted share of paired words times how alike the pairs are."""
    pairs = sorted(
        (
            (-_alike(mine, yours), abs(i - j), i, j)
            for i, mine in enumerate(ours)
            for j, yours in enumerate(theirs)
        ),
    )  # fmt: skip
    used_ours, used_theirs, gained = set[int](), set[int](), 0.0
    for negative, _distance, i, j in pairs:
        if -negative < 0.6:
            break
        if i not in used_ours and j not in used_theirs:
            used_ours.add(i)
            used_theirs.add(j)
            gained += (_weight(ours[i]) + _weight(theirs[j])) * -negative
    return gained / sum(map(_weight, chain(ours, theirs)))


def _numbers(name: Name) -> list[str]:
    return sorted(token for token in name.tokens if token.isdigit())


def _weight(word: str) -> float:
    return 0.7 if word in _COMMON else 1.0


def _alike(one: str, other: str) -> float:
    if one == other:
        return 1.0
    # A number is right or wrong: Brigade 44 is not Brigade 45.
    return 0.0 if one.isdigit() or other.isdigit() else OSA.normalized_similarity(one, other)


class ScreeningList:
    """One edition of a list, indexed. Immutable once built; a question costs a few milliseconds at 40,000 names."""

    __slots__ = ("_domains", "_grams", "_postings", "_rows", "_solid", "_vocabulary", "_words",
                 "boundaries", "digest", "direction", "edition", "entries", "meaning", "name")  # fmt: skip

    def __init__(
        self, name: str, edition: str, entries: Sequence[ListEntry], meaning: str, direction: str, *, digest: str = ""
    ) -> None:
        """`meaning` says what a place on it means (`blocked-party`, ...), `direction` inbound, outbound or both.

        `digest` is the SHA-256 of the file, for the record.
        """
        self.name, self.edition, self.meaning, self.direction, self.digest = name, edition, meaning, direction, digest
        self.entries = tuple(entries)
        dates = {day for entry in self.entries for day in (entry.listed_on, entry.until) if day is not None}
        #: When an entry begins or ends to be listed: midnights UTC, sorted.
        self.boundaries = tuple(datetime(day.year, day.month, day.day, tzinfo=UTC) for day in sorted(dates))
        #: (name, number of the entry, whether it is a weak alias)
        self._rows: list[tuple[Name, int, bool]] = []
        self._solid: defaultdict[str, array[int]] = defaultdict(_ids)
        self._domains: defaultdict[str, array[int]] = defaultdict(_ids)
        postings: defaultdict[str, array[int]] = defaultdict(_ids)
        for number, entry in enumerate(self.entries):
            if entry.type not in _THINGS:
                self._add(number, entry, postings)
        self._vocabulary = tuple(postings)
        self._words = {word: number for number, word in enumerate(self._vocabulary)}
        self._postings = tuple(postings.values())
        self._grams: defaultdict[str, array[int]] = defaultdict(_ids)
        for number, word in enumerate(self._vocabulary):
            for gram in _trigrams(word):
                self._grams[gram].append(number)

    def _add(self, number: int, entry: ListEntry, postings: defaultdict[str, array[int]]) -> None:
        for site in filter(None, map(domain, entry.web)):
            self._domains[site].append(number)
        strong = dict.fromkeys((entry.name, *entry.aliases), False)
        for text, weak in {**dict.fromkeys(entry.weak_aliases, True), **strong}.items():
            name = parse(text[:MAX_LENGTH])
            if not name.solid:
                continue
            row = len(self._rows)
            self._rows.append((name, number, weak))
            self._solid[name.solid].append(row)
            for word in dict.fromkeys(name.tokens):
                postings[word].append(row)

    def screen(
        self,
        publisher: Publisher | None,
        names: Iterable[str],
        *,
        parents: Sequence[Publisher] = (),
        countries: Iterable[str] = (),
        on: date | None = None,
    ) -> tuple[Match, ...]:
        """Every entry that may mean `publisher`, best first, at most one match an entry, none below `FLOOR`.

        `names` are further names (a declared organisation); `parents` those of `Catalogue.parents_of`, screened as
        well and named in the match; `countries` the publisher's, where known. With `on`, entries not in force on that
        day are left out. The entity's name and aliases are tried first, `MAX_NAMES` in all.
        """
        best: dict[int, Match] = {}
        own = () if publisher is None else (publisher.entity, *publisher.aliases)
        sites = () if publisher is None else publisher.web
        known = frozenset(countries) or frozenset(c.code for c in (publisher.countries if publisher else ()))
        kind = "" if publisher is None else publisher.kind
        self._ask(best, (*own, *names), sites, known, kind=kind, suffix="")
        for parent in parents:
            home = frozenset(country.code for country in parent.countries)
            self._ask(best, (parent.entity, *parent.aliases), parent.web, home, kind=parent.kind, suffix=f" (parent {parent.id})")
        found = ((number, match) for number, match in best.items() if on is None or self.entries[number].in_force(on))
        return tuple(match for _number, match in sorted(found, key=lambda pair: (-pair[1].score, pair[1].entry)))

    def _ask(
        self, best: dict[int, Match], names: Iterable[str], sites: Iterable[str], countries: frozenset[str],
        *, kind: str, suffix: str,
    ) -> None:  # fmt: skip
        """Put into `best` whatever is better than what is there."""
        scores: dict[int, int] = {}
        for site in filter(None, map(domain, sites)):
            scores.update(dict.fromkeys(self._domains.get(site, ()), CERTAIN))
        weak: set[int] = set()
        for text in list(dict.fromkeys(names))[:MAX_NAMES]:
            for variant in _variants(text[:MAX_LENGTH]):
                for number, score, is_weak in self._similar(variant):
                    if is_weak:
                        weak.add(number)
                    else:
                        scores[number] = max(scores.get(number, 0), self._placed(number, score, countries))
        for number in weak:
            if scores.get(number, 0) >= FLOOR or self.entries[number].country in countries:
                scores[number] = max(scores.get(number, 0), REVIEW)
        for number, score in scores.items():
            entry = self.entries[number]
            if score >= FLOOR and _comparable(kind, entry.type):
                known = best.get(number)
                if known is None or score > known.score:
                    best[number] = Match(self.name, self.edition, entry.id, entry.name + suffix, score)

    def _placed(self, number: int, score: int, countries: frozenset[str]) -> int:
        """A similar name in another country is less likely the same body; the same name is, wherever it sits."""
        country = self.entries[number].country
        return score - 500 if score < CERTAIN and country and countries and country not in countries else score

    def _similar(self, name: Name) -> Iterator[tuple[int, int, bool]]:
        """(entry, score, weak) of every row that the index proposes; a weak alias counts only when it is equal."""
        if not name.solid:
            return
        for row in {*self._solid.get(name.solid, ()), *self._proposed(name)}:
            theirs, number, weak = self._rows[row]
            if not weak:
                score = similarity(name, theirs)
                if score >= FLOOR:
                    yield number, score, False
            elif theirs.solid == name.solid:
                yield number, CERTAIN, True

    def _proposed(self, name: Name) -> list[int]:
        """The rows that share the rarest words with `name`, exactly or nearly; bounded work whatever the name."""
        near: dict[int, float] = {}
        words = name.tokens[:16]
        for word in dict.fromkeys((*words, *(one + other for one, other in pairwise(words)))):
            for number, alike in self._near(word):
                near[number] = max(near.get(number, 0.0), alike)
        votes: Counter[int] = Counter()
        room = _ROOM
        for number in sorted(near, key=lambda one: len(self._postings[one])):
            rows = self._postings[number]
            if len(rows) > room and votes:
                break
            value = near[number] * log(2 + len(self._rows) / len(rows))
            for row in rows[:_ROOM]:
                votes[row] += value  # type: ignore[assignment]  # Counter counts in any number
            room -= len(rows)
        return nlargest(_CANDIDATES, votes, key=votes.__getitem__)

    def _near(self, word: str) -> list[tuple[int, float]]:
        """Words of the list at most 40 % away from `word`, by shared trigrams; the word itself is always there."""
        own = self._words.get(word)
        found = [] if own is None else [(own, 1.0)]
        if len(word) < 4 or word.isdigit():
            return found
        lists = [self._grams[gram] for gram in _trigrams(word) if gram in self._grams]
        shared = Counter(chain.from_iterable(sorted(lists, key=len)[:6]))
        for number, count in shared.most_common(24):
            if number != own and count >= 2:
                alike = OSA.normalized_similarity(word, self._vocabulary[number], score_cutoff=0.6)
                if alike:
                    found.append((number, alike))
        return found


def _comparable(kind: str, listed: str) -> bool:
    """Whether a publisher of `kind` can be an entry of type `listed`; either may be unknown (empty)."""
    return not kind or not listed or (kind == "individual") == (listed == "individual")


def domain(address: str) -> str:
    """The host of a web address (`https://www.acme.example/x` is `acme.example`); empty for a site that many share."""
    host = address.strip().casefold().partition("://")[2] or address.strip().casefold()
    host = host.partition("/")[0].rpartition("@")[2].partition(":")[0].removeprefix("www.").rstrip(".")
    return "" if host in _SHARED_SITES or "." not in host else host


def _variants(text: str) -> Iterator[Name]:
    """A name as it stands, and without what is in brackets: `Acme Labs (Acme AI)`."""
    yield parse(text)
    head, bracket, _rest = text.partition("(")
    if bracket and head.strip():
        yield parse(head)


def _trigrams(word: str) -> Iterator[str]:
    padded = f"^{word}$"
    return (padded[at : at + 3] for at in range(len(padded) - 2))


def _ids() -> array[int]:
    return array("I")
