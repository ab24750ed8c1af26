"""Which names of a list are worth comparing with a name: an index of words, of slips in them and of beginnings.

Recall is what counts here: what is not proposed is not found. The work of a question is bounded whatever is asked.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import defaultdict
from functools import cache
from heapq import nlargest
from itertools import pairwise
from math import log
from typing import TYPE_CHECKING, Final

from rapidfuzz.distance import OSA
from rapidfuzz.process import extract

from mirror.policy.name_words import VARIANTS
from mirror.policy.similar import weight
from mirror.policy.sounds import sound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mirror.policy.names import Name

#: Rows that a question compares at most, words of a name it asks by, rows of one word it looks at, and of all.
_CANDIDATES: Final = 40
_WORDS: Final = 10
_ROOM: Final = 2_400
#: Rows whose letters begin like the name's, looked at on either side of it.
_NEIGHBOURS: Final = 12
#: Rows that are compared whatever they share, and the share of the best one's votes that others must have.
_FEW: Final = 8
_SHARE: Final = 0.35
_NOTHING: Final = array("I")


class CandidateIndex:
    """Names by number, in the order given. Immutable once built."""

    __slots__ = ("_buckets", "_count", "_exact", "_postings", "_solids", "_sorted", "_sounds")

    def __init__(self, names: Sequence[Name]) -> None:
        self._count = len(names)
        postings: defaultdict[str, array[int]] = defaultdict(_ids)
        self._exact: dict[str, array[int]] = {}
        for row, name in enumerate(names):
            for key in {name.solid, name.whole, name.native, name.bare} - {""}:
                self._exact.setdefault(key, _ids()).append(row)
            for word in dict.fromkeys(word for reading in (name, *name.others) for word in reading.tokens):
                postings[word].append(row)
            for reading in name.others:
                self._exact.setdefault(reading.solid, _ids()).append(row)
        self._postings = dict(postings)
        ordered = sorted((name.solid, row) for row, name in enumerate(names))
        self._sorted, self._solids = [solid for solid, _ in ordered], array("I", (row for _, row in ordered))
        #: Words by their first two letters and by their last two: a slip leaves one of them as it was.
        self._buckets: defaultdict[str, list[str]] = defaultdict(list)
        self._sounds: defaultdict[str, list[str]] = defaultdict(list)
        for word in self._postings:
            if len(word) > 3 and not word.isdigit():
                self._buckets[word[:2]].append(word)
                self._buckets["$" + word[-2:]].append(word)
                self._sounds[sound(word)].append(word)

    def equal(self, name: Name) -> set[int]:
        """Rows with the same letters, native spelling or text outside of brackets."""
        keys = {name.solid, name.whole, name.native, name.bare, *(reading.solid for reading in name.others)} - {""}
        return {row for key in keys for row in self._exact.get(key, _NOTHING)}

    def propose(self, name: Name) -> set[int]:
        """Rows worth comparing with `name`."""
        found = self.equal(name)
        for reading in (name, *name.others)[:4]:
            found.update(self._by_words(reading.tokens))
            found.update(self._by_beginning(reading.solid))
        return found

    def _by_beginning(self, solid: str) -> Iterator[int]:
        """Rows around the place of `solid` in the order of letters: run together, cut short, or gone on."""
        if len(solid) < 5:
            return iter(())
        stem = solid[: max(5, len(solid) * 2 // 3)]
        at = bisect_left(self._sorted, solid)
        first = max(bisect_left(self._sorted, stem, hi=at), at - _NEIGHBOURS)
        last = min(len(self._sorted), at + _NEIGHBOURS)
        return (self._solids[place] for place in range(first, last) if self._sorted[place].startswith(stem))

    def _by_words(self, words: Sequence[str]) -> Iterable[int]:
        """Rows that share the rarest words, exactly or nearly."""
        near: dict[str, float] = {}
        words = words[:_WORDS]
        for word in dict.fromkeys(words):
            if word in self._postings:
                near[word] = 1.0
            if len(word) > 3 and not word.isdigit():
                for other, alike in self._near(word):
                    near[other] = max(near.get(other, 0.0), alike)
        for one, other in pairwise(words):
            if one + other in self._postings:
                near[one + other] = 1.0
        votes: defaultdict[int, float] = defaultdict(float)
        room = _ROOM
        for word in sorted(near, key=lambda one: len(self._postings[one])):
            rows = self._postings[word]
            if len(rows) > room and votes:
                break
            value = near[word] * weight(word) * log(2 + self._count / len(rows))
            for row in rows[:_ROOM]:
                votes[row] += value
            room -= len(rows)
        if len(votes) <= _FEW:
            return votes
        likely = nlargest(_CANDIDATES, votes, key=votes.__getitem__)
        least = votes[likely[0]] * _SHARE
        return [row for row in likely if votes[row] >= least]

    def _near(self, word: str) -> Iterator[tuple[str, float]]:
        """Words of the list that `word` could be a spelling of."""
        for key in (word[:2], "$" + word[-2:]):
            bucket = self._buckets.get(key)
            if bucket:
                for other, alike, _ in extract(word, bucket, scorer=OSA.normalized_similarity, processor=None, score_cutoff=0.65, limit=8):
                    yield other, alike
        heard = sound(word)
        for other in (*self._sounds.get(heard, ()), *_translations().get(heard, ())):
            if other in self._postings:
                yield other, 0.9


@cache
def _translations() -> dict[str, tuple[str, ...]]:
    """The sound of a word that others stand for -> those."""
    found: dict[str, tuple[str, ...]] = {}
    for meant, spelt in VARIANTS.items():
        for word in spelt:
            found[sound(word)] = (*found.get(sound(word), ()), meant)
    return found


def _ids() -> array[int]:
    return array("I")
