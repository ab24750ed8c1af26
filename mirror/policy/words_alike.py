"""How alike two words are, and bounds that tell without a comparison that they are not at all."""

from __future__ import annotations

from collections import defaultdict
from functools import cache, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from rapidfuzz.distance import OSA

from mirror.policy.name_words import COMMON, PLACES, VARIANTS
from mirror.policy.remembered import Remembered
from mirror.policy.sounds import bones, sound

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Of two different words this share of the longer one's letters must stay in place, or they are other words.
SLIPS: Final = 0.65
#: What two spellings of one sound are worth.
HEARD: Final = 0.9


def _bits(word: str) -> int:
    """Which letters a word has, a bit each (some share one)."""
    found = 0
    if word.isascii():
        for byte in word.encode():
            found |= _BIT[byte]
        return found
    for letter in word:
        found |= 1 << (ord(letter) & 31)
    return found


_BIT: Final = tuple(1 << (code & 31) for code in range(128))


#: Letters that no spelling of a sound brings or takes away: words that sound alike have the same of them.
_STABLE: Final = _bits("blmnr")
#: First letters between which two spellings of one beginning may differ: the rest only stand for themselves.
_BEGINNINGS: Final = {letter: group[0] for group in ("aeiouy", "kcqhxt", "djz", "pf", "vw") for letter in group}

#: What is known of a word before it is compared: its first letter, how that may sound, which letters it has and which of
#: these are stable, how many letters, and twice the slips that it may have.
Traits = tuple[str, str, int, int, int, int]


def _traits(word: str) -> Traits:
    """See `Traits`: bounds on what `alike` can find, for a tenth of its work.

    A slip brings at most one letter and takes one away (their difference is at most twice the slips); words of one sound
    have the same stable letters, words cut short and abbreviations the same first one.
    """
    size, letters, first = len(word), _bits(word), word[0]
    return first, _BEGINNINGS.get(first, first), letters, letters & _STABLE, size, 2 * int((1 - SLIPS) * size + 1e-9)


#: Word -> its traits.
TRAITS: Final = Remembered(_traits)
_LONG: Final = 4


def may_sound_like(whole: str, first: str, second: str) -> bool:
    """Whether `whole` could sound like the other two run together: the same bound."""
    return not (TRAITS[whole][2] ^ (TRAITS[first][2] | TRAITS[second][2])) & _STABLE


@lru_cache(maxsize=16_384)
def alike(one: str, other: str, anchored: bool) -> float:
    """How alike two different words are, 0 where they are other words.

    Slips of the pen, spellings of one sound, words cut short and abbreviations (these only `anchored`, in names that
    agree elsewhere). A number is right or wrong: Brigade 44 is not Brigade 45.
    """
    if one.isdigit() or other.isdigit():
        return 0.0
    few, many = (one, other) if len(one) <= len(other) else (other, one)
    if len(few) == 1:
        return 0.6 if anchored and few == many[0] else 0.0
    value: float = OSA.normalized_similarity(one, other, score_cutoff=SLIPS)
    if value < 0.8 and (one in VARIANTS or other in VARIANTS):
        value = max(value, MEANINGS[one].get(other, 0.0), MEANINGS[other].get(one, 0.0))
    if value >= HEARD or len(few) == 2:
        return value or (0.6 if anchored and many.startswith(few) else 0.0)
    if value == 0.0:
        _first, begins, _letters, stable, _size, _room = TRAITS[one]
        _first, their_begins, _letters, their_stable, _size, _room = TRAITS[other]
        if begins != their_begins or not (anchored or stable == their_stable):  # of one sound, or the same consonants, they cannot be
            return 0.0
    heard, also = sound(one), sound(other)
    if heard == also:
        return max(value, HEARD)
    if value == 0.0 and heard[:1] != also[:1]:
        return value
    skeleton = bones(one)
    akin = skeleton == bones(other)
    if akin and len(skeleton) > 3:
        value = max(value, 0.85)
    if value < 0.75 or (len(many) < 6 and not akin):
        value -= 0.15 if value < 0.75 else 0.05  # another word that resembles it, more likely than two slips
    if anchored and few[0] == many[0] and len(many) > 4:
        if whole := next((spelt for spelt in (many, *VARIANTS.get(many, ())) if spelt.startswith(few)), ""):
            value = max(value, 0.5 + 0.5 * len(few) / len(whole))
        elif value < 0.75 and few[-1] == many[-1] and len(few) < 6 and (akin or _VOWELS.isdisjoint(few[1:])) and _within(few, many):
            value = 0.75  # `mfg`; with vowels it is rather another word
    return max(value, 0.0)


_VOWELS: Final = frozenset("aeiou")


def _within(few: str, many: str) -> bool:
    rest = iter(many)
    return all(letter in rest for letter in few)


# --- words that everybody has, in other languages and misspelt --------------------------------------------------------------


def _meanings(word: str) -> dict[str, float]:
    """Words that everybody has -> how alike `word`, of five letters or more and none of them, is to what stands for them elsewhere."""
    size = len(word)
    by_ends, by_sound, sounds = _variants()
    if size <= _LONG or size >= len(by_ends) or word in VARIANTS or word in COMMON:
        return _NONE
    near = _kept_by_slips(size)
    ends = by_ends[size]
    found: dict[str, float] = {}
    _first, begins, letters, stable, _size, room = TRAITS[word]
    for variant, meant, theirs in (*ends.get(word[:near], ()), *ends.get("$" + word[-near:], ())):
        if (letters ^ theirs).bit_count() <= room:
            value = OSA.normalized_similarity(word, variant, score_cutoff=0.75)
            if value > found.get(meant, 0.0):
                found[meant] = value
    if (sounds.get((begins, stable), 0) >> size) & 1:
        for meant in by_sound.get(sound(word), ()):
            found[meant] = HEARD
    return found or _NONE


def _kept_by_slips(size: int) -> int:
    """Letters of which slips leave those at one end as they are."""
    return 3 if size > 6 else 2


_NONE: Final[dict[str, float]] = {}
#: Word -> its meanings.
MEANINGS: Final = Remembered(_meanings)


@cache
def _variants() -> tuple[list[dict[str, list[tuple[str, str, int]]]], dict[str, list[str]], dict[tuple[str, int], int]]:
    """By numbers of letters and how they begin and end ($); by sound; and what sounds there are, with numbers of letters, a bit each."""
    by_ends: list[dict[str, list[tuple[str, str, int]]]] = [{} for _ in range(max(len(variant) for spelt in VARIANTS.values() for variant in spelt) + 3)]
    by_sound: defaultdict[str, list[str]] = defaultdict(list)
    sounds: defaultdict[tuple[str, int], int] = defaultdict(int)
    for meant, spelt in VARIANTS.items():
        for variant in spelt:
            for size in range(len(variant) - 2, len(variant) + 3):
                near = _kept_by_slips(size)
                for end in (variant[:near], "$" + variant[-near:]):
                    by_ends[size].setdefault(end, []).append((variant, meant, _bits(variant)))
                sounds[_traits(variant)[1], _bits(variant) & _STABLE] |= 1 << size
            by_sound[sound(variant)].append(meant)
    return by_ends, dict(by_sound), dict(sounds)


# --- legal forms -------------------------------------------------------------------------------------------------------


def near_a_form(word: str) -> bool:
    """Whether a word of five letters or more is one of the long words of legal forms, misspelt."""
    ends, letters = _FORM_ENDS, TRAITS[word][2]
    if word[:2] not in ends and "$" + word[-2:] not in ends:
        return False
    for part, theirs in _FORM_PARTS:
        room = _slips_of(part)
        if (letters ^ theirs).bit_count() <= 2 * room and OSA.distance(word, part, score_cutoff=room) <= room:
            return True
    return False


LONG_PARTS: Final = (
    "limited", "liability", "company", "corporation", "joint", "stock", "incorporated", "gesellschaft", "obshchestvo", "ogranichennoi",
    "otvetstvennostyu", "aktsionernoe",
)  # fmt: skip
_FORM_PARTS: Final = tuple((part, _bits(part)) for part in LONG_PARTS)
_FORM_ENDS: Final = frozenset(end for part in LONG_PARTS for end in (part[:2], "$" + part[-2:]))
#: What a word without a counterpart may be that broke off: `corp`, `limi`.
FORM_STUMPS: Final = frozenset(part[:size] for part in LONG_PARTS for size in range(3, len(part) + 1))


def is_of_form(word: str, formal: Sequence[str]) -> bool:
    """Whether a word is one of the words `formal` of a legal form, or two of them, misspelt or broken off."""
    if len(word) < 3 or word in COMMON or word in PLACES:
        return word in formal
    two = [first + second for first, second in pairwise(formal)] if len(formal) > 1 else []
    _first, begins, letters, stable, _size, _room = TRAITS[word]
    for part in (*formal, *two):
        _their_first, their_begins, theirs, their_stable, _their_size, _their_room = TRAITS[part]
        near = (letters ^ theirs).bit_count() <= 2 * _MOST_SLIPS or (begins == their_begins and stable == their_stable)
        if (near and _of_form(word, part)) or part.startswith(word):
            return True
    return False


@lru_cache(maxsize=4_096)
def _of_form(word: str, part: str) -> bool:
    if word == part or len(part) < 3:
        return word == part
    if sound(word) == sound(part):
        return True
    room = _slips_of(part)
    return OSA.distance(word, part, score_cutoff=room) <= room


def _slips_of(part: str) -> int:
    """Slips that leave a word of a legal form recognisable: `compass` is no company."""
    return 1 if len(part) < 8 else 2 if len(part) < 12 else _MOST_SLIPS


_MOST_SLIPS: Final = 3
