"""How alike two names are: words that agree, words that nearly do, and what is left over on either side."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from rapidfuzz.distance import OSA

from mirror.policy.name_words import COMMON, PLACES, VARIANTS
from mirror.policy.names import form_parts
from mirror.policy.sounds import bones, sound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.policy.names import Name

#: Scores are in 1/10,000: the same name.
CERTAIN: Final = 10_000
#: The review band begins here: what a name contained in another, or cut short, reaches at least.
REVIEW: Final = 8_000
#: The same words where something contradicts that they mean one body, or where a reading left something out.
NEARLY: Final = 9_500
#: One spelling in two scripts: several Chinese or Arabic names are read alike, so a person should look.
READ_ALIKE: Final = 9_000


def similarity(one: Name, other: Name) -> int:
    """How alike two names are, in 1/10,000; symmetric. Other readings of either count, at most `NEARLY`."""
    best = _compared(one, other)
    for bracketed, plain in ((one, other), (other, one)):
        if best < NEARLY and bracketed.bare and bracketed.bare == plain.solid:
            best = max(best, NEARLY if len(plain.tokens) > 1 else READ_ALIKE)
    if best < READ_ALIKE and (one.solid in other.asides or other.solid in one.asides):
        best = READ_ALIKE
    if best < NEARLY and (one.others or other.others):
        best = max(best, *(min(_compared(held, other), NEARLY) for held in one.others), *(min(_compared(one, held), NEARLY) for held in other.others))
    return best


def _compared(one: Name, other: Name) -> int:
    if one.native != other.native and (one.native or other.native):
        return _across_scripts(one, other)
    if one.solid == other.solid or one.whole == other.whole:
        contradict = one.forms and other.forms and not one.forms & other.forms and "CORP" not in one.forms | other.forms
        return NEARLY if contradict else CERTAIN
    return _in_one_script(one, other)


def _across_scripts(one: Name, other: Name) -> int:
    """Two names of which at least one is only read: by their reading, and where both are native by their characters."""
    read = CERTAIN if one.solid == other.solid else _in_one_script(one, other)
    if not (one.native and other.native):
        return min(read, READ_ALIKE)
    # Many characters share a reading: only the whole of it, the same, is worth a look.
    alike = REVIEW if read == CERTAIN else min(read, REVIEW - 1)
    return min(max(round(OSA.normalized_similarity(one.native, other.native) * CERTAIN), alike), NEARLY)


def _in_one_script(one: Name, other: Name) -> int:
    score = _aligned(one.tokens, other.tokens)
    if score < _BARELY:
        if one.solid[:_STUMP] == other.solid[:_STUMP]:
            score = max(score, _cut_short(one, other))
        if _run_together(one, other):
            # Letters run together forgive a misplaced space; they must not forgive another number.
            score = max(score, 0.95 * _letters(one.solid, other.solid))
    return min(round(score * CERTAIN), CERTAIN - 1)


def _cut_short(one: Name, other: Name) -> float:
    """A name that breaks off in the middle of a word of the other (a field too narrow, a title with dots): by its length."""
    few, many = (one, other) if len(one.solid) < len(other.solid) else (other, one)
    share = len(few.solid) / len(many.solid)
    if share < _SHARE or len(few.solid) < 2 * _STUMP or not many.solid.startswith(few.solid):
        return 0.0
    last = len(few.tokens) - 1
    if few.tokens[:last] != many.tokens[:last] or few.tokens[last] == many.tokens[last] or not (last or len(few.solid) > 7):
        return 0.0
    return 0.75 + 0.25 * share if any(weight(word) == 1.0 for word in few.tokens) else 0.0


#: Letters at the beginning that must agree before a name is taken for one cut short, and the share of it that must be there.
_STUMP: Final = 4
_SHARE: Final = 0.55


#: Beyond this a misplaced space could not better the score.
_BARELY: Final = 0.95


def _run_together(one: Name, other: Name) -> bool:
    """Whether two names could be the same letters with spaces elsewhere."""
    if len(one.tokens) == len(other.tokens):
        return False
    shorter, longer = sorted((len(one.solid), len(other.solid)))
    return shorter >= 0.8 * longer and _numbers(one.tokens) == _numbers(other.tokens)


def _numbers(tokens: Sequence[str]) -> list[str]:
    return sorted(token for token in tokens if token.isdigit())


def _letters(one: str, other: str) -> float:
    return OSA.normalized_similarity(one, other, score_cutoff=0.9)


def weight(word: str) -> float:
    """How much agreeing on `word` says: legal forms least, then places, then what many organisations are called."""
    return 0.5 if word in PLACES else 0.7 if word in COMMON else 0.2 if word in form_parts() else 1.0


@lru_cache(maxsize=32_768)
def _formal(word: str) -> bool:
    """Whether a word without a counterpart is a legal form's, however misspelt."""
    if word in form_parts() or (len(word) > 2 and any(part.startswith(word) for part in _LONG_PARTS)):
        return True
    return len(word) > 4 and any(OSA.normalized_similarity(word, part, score_cutoff=0.7) for part in _LONG_PARTS)


_LONG_PARTS: Final = (
    "limited", "liability", "company", "corporation", "joint", "stock", "incorporated", "gesellschaft", "obshchestvo", "ogranichennoi",
    "otvetstvennostyu", "aktsionernoe",
)  # fmt: skip


# --- words ------------------------------------------------------------------------------------------------------------


def _aligned(ours: Sequence[str], theirs: Sequence[str]) -> float:
    """The weighted share of words that have a counterpart, times how alike these are; from 0 to 1."""
    mine, yours = list(ours), list(theirs)
    agreed, telling, same = 0.0, False, 0
    for word in ours:
        if word in yours:
            yours.remove(word)
            mine.remove(word)
            worth = weight(word)
            agreed += 2 * worth
            same += 1
            telling = telling or (worth == 1.0 and len(word) > 4)
    paired = worth_paired = 0.0
    if mine and yours:
        paired, worth_paired, mine, yours = _paired(mine, yours, anchored=same > 0)
    left = _left_over(ours, theirs, mine, yours, telling=telling)
    whole = agreed + worth_paired + left
    score = (agreed + paired) / whole if whole else 0.0
    if score < _CONTAINED and not (mine and yours) and _contained(ours if yours else theirs, agreed, same):
        return _CONTAINED
    return score


_CONTAINED: Final = REVIEW / CERTAIN


def _contained(fewer: Sequence[str], agreed: float, same: int) -> bool:
    """Whether the shorter name, of four words or more with two of its own, stands word for word in the longer.

    Registers spell out what everybody leaves away: `Federal State Institution ... Umbrella Institute of ...`.
    """
    return same == len(fewer) >= 4 and sum(weight(word) == 1.0 for word in fewer) >= 2


def _left_over(ours: Sequence[str], theirs: Sequence[str], mine: Sequence[str], yours: Sequence[str], *, telling: bool) -> float:
    """What words without a counterpart weigh: whole where both sides have some, for then they contradict.

    Where only one has, it says more than the other. That is least telling where it goes on behind the other's end.
    """
    mine, yours = [word for word in mine if not _formal(word)], [word for word in yours if not _formal(word)]
    if mine and yours:
        # Funds and series are counted: the next number is another body of one family, which is worth a look.
        counted = all(map(str.isdigit, (*mine, *yours)))
        return sum(0.5 if counted else 1.0 for word in (*mine, *yours))
    extra, longer, shorter = (mine, ours, theirs) if mine else (yours, theirs, ours)
    behind = telling and len(shorter) >= 3 and longer[: len(shorter) - 1] == shorter[:-1]
    left = 0.0
    for word in extra:
        worth = _missing(word, telling=telling)
        left += 0.3 if len(word) < 3 and word == longer[-1] and word.isalpha() else worth * 0.7 if behind and worth <= 1.0 else worth
    return left


def _missing(word: str, *, telling: bool) -> float:
    """What a word of one name says that the other has not. A number says most: Brigade 44 is not the Brigade."""
    if word.isdigit():
        return 1.5
    worth = weight(word)
    return 0.5 if telling and worth < 1.0 else worth


def _paired(mine: list[str], yours: list[str], *, anchored: bool) -> tuple[float, float, list[str], list[str]]:
    """Words paired best first, each once: (what they gain, what they weigh, what is left of either)."""
    del mine[_PAIRED:], yours[_PAIRED:]
    pairs = []
    for i, one in enumerate(mine):
        for j, other in enumerate(yours):
            value = alike(one, other, anchored=anchored)
            if value:
                pairs.append((-value, abs(i - j), i, j))
    gained = weighed = 0.0
    used_mine, used_yours = set[int](), set[int]()
    for i, j, span_mine, span_yours, value in _joined(mine, yours):
        used_mine.update(range(i, i + span_mine))
        used_yours.update(range(j, j + span_yours))
        gained += 2 * value
        weighed += 2
    for negative, _distance, i, j in sorted(pairs):
        if i not in used_mine and j not in used_yours:
            used_mine.add(i)
            used_yours.add(j)
            worth = 2 * min(weight(mine[i]), weight(yours[j]))
            gained += worth * -negative
            weighed += worth
    rest = [word for i, word in enumerate(mine) if i not in used_mine], [word for j, word in enumerate(yours) if j not in used_yours]
    return gained, weighed, *rest


#: Words without an exact counterpart that are paired: names that differ in more are others.
_PAIRED: Final = 8


def _joined(mine: Sequence[str], yours: Sequence[str]) -> list[tuple[int, int, int, int, float]]:
    """Two neighbouring words that the other name writes as one: (at, at, words, words, how alike)."""
    found = []
    for few, many, turned in ((mine, yours, False), (yours, mine, True)):
        for at, (first, second) in enumerate(pairwise(many)):
            for i, word in enumerate(few):
                if len(word) > len(first) and word[0] == first[0] and (word == first + second or (len(word) > 7 and sound(word) == sound(first + second))):
                    found.append((at, i, 2, 1, 1.0) if turned else (i, at, 1, 2, 1.0))
    return found


@lru_cache(maxsize=16_384)
def alike(one: str, other: str, *, anchored: bool) -> float:
    """How alike two different words are, 0 where they are other words.

    Slips of the pen, spellings of one sound, words cut short and abbreviations (these only `anchored`, in names that
    agree elsewhere). A number is right or wrong: Brigade 44 is not Brigade 45.
    """
    if one.isdigit() or other.isdigit():
        return 0.0
    few, many = (one, other) if len(one) <= len(other) else (other, one)
    if len(few) == 1:
        return 0.6 if anchored and few == many[0] else 0.0
    value = OSA.normalized_similarity(one, other, score_cutoff=0.65)
    if value < 0.8 and len(few) > 4 and (one in VARIANTS or other in VARIANTS):
        value = max(value, _translated(one, other), _translated(other, one))
    if value >= 0.9 or len(few) == 2:
        return value
    heard, also = sound(one), sound(other)
    if heard == also:
        return max(value, 0.9)
    if value == 0.0 and heard[:1] != also[:1]:
        return value
    skeleton = bones(one)
    akin = skeleton == bones(other)
    if akin and len(skeleton) > 3:
        value = max(value, 0.85)
    if value < 0.75 or (len(many) < 6 and not akin):
        value -= 0.15 if value < 0.75 else 0.05  # another word that resembles it, more likely than two slips
    if anchored and few[0] == many[0] and len(many) > 4:
        if many.startswith(few):
            value = max(value, 0.5 + 0.5 * len(few) / len(many))
        elif value < 0.75 and few[-1] == many[-1] and len(few) < 6 and _within(few, many):
            value = 0.75
    return max(value, 0.0)


def _translated(word: str, meant: str) -> float:
    """How alike `word` is to some word for which `meant` stands."""
    spelt = VARIANTS.get(meant)
    if not spelt:
        return 0.0
    if sound(word) in map(sound, spelt):
        return 0.9
    return max((OSA.normalized_similarity(word, variant, score_cutoff=0.75) for variant in spelt), default=0.0)


def _within(few: str, many: str) -> bool:
    rest = iter(many)
    return all(letter in rest for letter in few)
