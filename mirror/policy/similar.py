"""How alike two names are: words that agree, words that nearly do, and what is left over on either side."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from rapidfuzz.distance import OSA

from mirror.policy.form_ends import form_parts
from mirror.policy.name_words import COMMON, PLACES, VARIANTS
from mirror.policy.names import PERSON
from mirror.policy.remembered import Remembered
from mirror.policy.sounds import sound
from mirror.policy.words_alike import (
    FORM_STUMPS,
    MEANINGS,
    SLIPS,
    TRAITS,
    alike,
    is_of_form,
    may_sound_like,
    near_a_form,
)

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
#: A person's name and that of a body with a legal form, at most.
A_PERSON: Final = 7_500


def similarity(one: Name, other: Name) -> int:
    """How alike two names are, in 1/10,000; symmetric. Other readings of either count, at most `NEARLY`."""
    best = _compared(one, other)
    if best < NEARLY and (one.bare or other.bare or one.others or other.others):
        best = _beside(one, other, best)
    if PERSON in one.forms or PERSON in other.forms:
        return min(best, _of_a_person(one.forms, other.forms))
    return best


def _beside(one: Name, other: Name, best: int) -> int:
    """`best`, or what names without their brackets, in brackets and beside strokes are worth."""
    for bracketed, plain in ((one, other), (other, one)):
        if best < NEARLY and bracketed.bare and bracketed.bare == plain.solid:
            best = max(best, NEARLY if len(plain.tokens) > 1 else READ_ALIKE)
    if best < READ_ALIKE and (one.solid in other.asides or other.solid in one.asides):
        best = READ_ALIKE
    if best < NEARLY and (one.others or other.others):
        best = max(best, *(min(_compared(held, other), NEARLY) for held in one.others), *(min(_compared(one, held), NEARLY) for held in other.others))
    return best


def _of_a_person(one: frozenset[str], other: frozenset[str]) -> int:
    """What names can be worth of which one says to be a person's: a body with a legal form is none, whatever it is called."""
    if PERSON in one and PERSON in other:
        return CERTAIN
    return A_PERSON if one - {PERSON} or other - {PERSON} else READ_ALIKE


def _compared(one: Name, other: Name) -> int:
    _tokens, solid, forms, whole, native, _bare, _others, _asides, _formal = one  # at half of what fetching them one by one costs
    _tokens, their_solid, their_forms, their_whole, their_native, _bare, _others, _asides, _formal = other
    if native != their_native:
        return _across_scripts(one, other)
    if solid == their_solid or whole == their_whole:
        contradict = forms and their_forms and not forms & their_forms and "CORP" not in forms | their_forms
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
    score = _aligned(one, other)
    if score < _BARELY:
        mine, yours = one.solid, other.solid
        if mine[:2] == yours[:2] and (mine.startswith(yours) or yours.startswith(mine)):
            score = max(score, _cut_short(one, other))
        size, their_size = len(mine), len(yours)
        if size >= 0.8 * their_size and their_size >= 0.8 * size and len(one.tokens) != len(other.tokens) and _run_together(one, other):
            # Letters run together forgive a misplaced space; they must not forgive another number.
            score = max(score, 0.95 * _letters(mine, yours))
    return min(round(score * CERTAIN), CERTAIN - 1) if score else 0


def _cut_short(one: Name, other: Name) -> float:
    """A name that breaks off in the middle of a word of the other (a field too narrow, a title with dots): by its length.

    A field is as wide for a legal form: one that stands before both names counts with what is there of them.
    """
    few, many = (one, other) if len(one.solid) < len(other.solid) else (other, one)
    last = len(few.tokens) - 1
    if few.tokens[:last] != many.tokens[:last] or few.tokens[last] == many.tokens[last]:
        return 0.0
    before = sum(map(len, few.formal)) if few.formal == many.formal else 0
    share = (len(few.solid) + before) / (len(many.solid) + before)
    if share < _SHARE or len(few.solid) < 2 * _STUMP - (before > 2 * _STUMP):
        return 0.0
    return 0.75 + 0.25 * share if any(weight(word) == 1.0 for word in few.tokens) else 0.0


#: Half of the letters that a name cut short has at least, and the share of it that must be there.
_STUMP: Final = 4
_SHARE: Final = 0.55


#: Beyond this a misplaced space could not better the score.
_BARELY: Final = 0.95


def _run_together(one: Name, other: Name) -> bool:
    """Whether two names of about as many letters could be the same with spaces elsewhere."""
    return (one.solid.isalpha() and other.solid.isalpha()) or _numbers(one.tokens) == _numbers(other.tokens)


def _numbers(tokens: Sequence[str]) -> list[str]:
    return sorted(token for token in tokens if token.isdigit())


def _letters(one: str, other: str) -> float:
    return OSA.normalized_similarity(one, other, score_cutoff=0.9)


def weight(word: str) -> float:
    """How much agreeing on `word` says: legal forms least, then places, then what many organisations are called."""
    return _WORTHS[word]


@cache
def _weights() -> dict[str, float]:
    return {**dict.fromkeys(form_parts(), 0.2), **dict.fromkeys(COMMON, 0.7), **dict.fromkeys(PLACES, 0.5)}


#: Word -> its weight.
_WORTHS: Final = Remembered(lambda word: _weights().get(word, 1.0))


def _formal(word: str) -> bool:
    return word in form_parts() or word in FORM_STUMPS or (len(word) > 4 and near_a_form(word))


#: Word -> whether, without a counterpart, it is a legal form's, however misspelt.
_FORMAL: Final = Remembered(_formal)


# --- words ------------------------------------------------------------------------------------------------------------


def _aligned(one: Name, other: Name) -> float:
    """The weighted share of words that have a counterpart, times how alike these are; from 0 to 1."""
    ours, theirs = one.tokens, other.tokens
    mine, yours = list(ours), list(theirs)
    agreed, telling, same = 0.0, False, 0
    for word in ours:
        if word in yours:
            yours.remove(word)
            mine.remove(word)
            worth = _WORTHS[word]
            agreed += 2 * worth
            same += 1
            telling = telling or (worth == 1.0 and len(word) > 4)
    paired = worth_paired = 0.0
    if mine and yours:
        paired, worth_paired, mine, yours = _paired(mine, yours, anchored=same > 0)
        if not (agreed or worth_paired):
            return 0.0
    elif not (mine or yours):
        return 1.0
    if mine:
        mine = [word for word in mine if not (_FORMAL[word] or (other.formal and is_of_form(word, other.formal)))]
    if yours:
        yours = [word for word in yours if not (_FORMAL[word] or (one.formal and is_of_form(word, one.formal)))]
    left = _left_over(ours, theirs, mine, yours, telling=telling) if mine or yours else 0.0
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
    return left * 0.85 if telling and len(extra) == 1 and len(shorter) > 1 and extra[0].isalpha() else left


def _missing(word: str, *, telling: bool) -> float:
    """What a word of one name says that the other has not. A number says most: Brigade 44 is not the Brigade."""
    if word.isdigit():
        return 1.5
    worth = weight(word)
    return 0.5 if telling and worth < 1.0 else worth


def _paired(mine: list[str], yours: list[str], *, anchored: bool) -> tuple[float, float, list[str], list[str]]:
    """Words paired best first, each once: (what they gain, what they weigh, what is left of either)."""
    if len(mine) > _PAIRED or len(yours) > _PAIRED:
        del mine[_PAIRED:], yours[_PAIRED:]
    likely, joined = possible_pairs(mine, yours, anchored)
    pairs = [(-value, abs(i - j), i, j) for i, j in likely if (value := alike(mine[i], yours[j], anchored))] if likely else []
    if pairs or joined or anchored or len(mine) == 1 or len(yours) == 1:  # alone, what everybody has stays far below what is reported
        pairs += [(-value, abs(i - j), i, j) for i, j in meant_pairs(mine, yours) if (value := alike(mine[i], yours[j], anchored))]
    if not (pairs or joined):
        return 0.0, 0.0, mine, yours
    gained = weighed = 0.0
    used_mine, used_yours = set[int](), set[int]()
    for i, j, span_mine, span_yours in joined:
        used_mine.update(range(i, i + span_mine))
        used_yours.update(range(j, j + span_yours))
        gained += 2
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


def possible_pairs(mine: list[str], yours: list[str], anchored: bool) -> tuple[list[tuple[int, int]], list[tuple[int, int, int, int]]]:
    """Pairs of words that may be alike, by the bounds of `traits`; and where two of one name are one in the other: (at, at, words, words)."""
    pairs, joined = [], []
    theirs = [*map(TRAITS.__getitem__, yours)]
    for i, one in enumerate(mine):
        first, begins, letters, stable, size, room = TRAITS[one]
        for j, (their_first, their_begins, their_letters, their_stable, their_size, their_room) in enumerate(theirs):
            near = (letters ^ their_letters).bit_count() <= (room if size > their_size else their_room)
            if begins != their_begins:  # as most: then only slips are left, or another language
                if near and _slipped(one, yours[j]):
                    pairs.append((i, j))
                continue
            if stable == their_stable or (anchored and (near or first == their_first)) or (near and _slipped(one, yours[j])):
                pairs.append((i, j))
            if first == their_first and size != their_size and (spans := _as_one(mine, yours, i, j)):
                joined.append((i, j, *spans))
    return pairs, joined


def meant_pairs(mine: list[str], yours: list[str]) -> list[tuple[int, int]]:
    """Pairs of words of which one stands for the other, misspelt in another language."""
    pairs = []
    if not _MEANT.isdisjoint(mine):
        pairs += [(i, j) for i, one in enumerate(mine) if one in VARIANTS for j, other in enumerate(yours) if one in MEANINGS[other]]
    if not _MEANT.isdisjoint(yours):
        pairs += [(i, j) for j, other in enumerate(yours) if other in VARIANTS for i, one in enumerate(mine) if other in MEANINGS[one]]
    return pairs


_MEANT: Final = frozenset(VARIANTS)


def _slipped(one: str, other: str) -> bool:
    """Whether `alike` can say anything of two words that do not sound alike: asked first, for it remembers every pair."""
    return OSA.normalized_similarity(one, other, score_cutoff=SLIPS) > 0.0 or one in _MEANT or other in _MEANT


def _as_one(mine: Sequence[str], yours: Sequence[str], i: int, j: int) -> tuple[int, int] | None:
    """How many words of either begin at `i` and `j` and are one in the other name: (1, 2), (2, 1) or None."""
    word, other = mine[i], yours[j]
    if len(word) > len(other):
        return (1, 2) if j + 1 < len(yours) and _same_letters(word, other, yours[j + 1]) else None
    return (2, 1) if len(other) > len(word) and i + 1 < len(mine) and _same_letters(other, word, mine[i + 1]) else None


def _same_letters(whole: str, first: str, second: str) -> bool:
    return whole == first + second or (len(whole) > 7 and may_sound_like(whole, first, second) and sound(whole) == sound(first + second))
