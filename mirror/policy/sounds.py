"""How words sound: spellings that transliterations (Russian, Arabic, Persian, Chinese) mix up, written one way."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

#: Spelling -> what stands for its sound; capitals are sounds of several letters.
_SPELLINGS: Final = {
    "shch": "S", "tsch": "C", "tkh": "t", "pkh": "f", "gkh": "g", "sch": "S", "tch": "C", "dzh": "j", "zh": "j", "kh": "h", "gh": "g",
    "ts": "T", "tz": "T", "cz": "C", "ch": "C", "sh": "S", "th": "t", "ph": "f", "ck": "k", "dj": "j", "ks": "x", "iy": "i", "ii": "i",
    "yy": "i", "ij": "i", "yi": "i", "ee": "i", "ie": "i", "ye": "e", "yo": "o", "yu": "u", "iu": "u", "ya": "a",
    "ia": "a", "oo": "u", "ou": "u", "ey": "ei", "y": "i", "q": "k", "c": "k", "w": "v",
}  # fmt: skip
_SOUNDS: Final = re.compile("|".join(sorted(_SPELLINGS, key=len, reverse=True)))
_TWICE: Final = re.compile(r"(.)\1+")


@lru_cache(maxsize=32_768)
def sound(word: str) -> str:
    """`word` with the spellings of one sound written one way: `khizballah` and `hizbalah` are the same."""
    return _TWICE.sub(r"\1", _SOUNDS.sub(lambda found: _SPELLINGS[found[0]], word))


@lru_cache(maxsize=32_768)
def bones(word: str) -> str:
    """The first letter of `word` as it sounds, and the consonants after it."""
    heard = sound(word)
    return heard[:1] + "".join(letter for letter in heard[1:] if letter not in "aeiou")
