"""Identifiers that sort by time: ULIDs (https://github.com/ulid/spec)."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = tuple(first + second for first in _CROCKFORD for second in _CROCKFORD)


def ulid(now: datetime, entropy: bytes) -> str:
    """26 characters: 48 bits of milliseconds since 1970, 80 bits of `entropy` (exactly 10 bytes)."""
    if len(entropy) != 10:
        raise ValueError("a ULID takes 10 bytes of entropy")
    chance = int.from_bytes(entropy, "big")
    return (
        _time(max(0, min(int(now.timestamp() * 1000), 2**48 - 1)))
        + _PAIRS[chance >> 70] + _PAIRS[chance >> 60 & 1023] + _PAIRS[chance >> 50 & 1023] + _PAIRS[chance >> 40 & 1023]
        + _PAIRS[chance >> 30 & 1023] + _PAIRS[chance >> 20 & 1023] + _PAIRS[chance >> 10 & 1023] + _PAIRS[chance & 1023]
    )  # fmt: skip


@lru_cache(64)  # many requests share a millisecond
def _time(milliseconds: int) -> str:
    return "".join(_PAIRS[milliseconds >> shift & 1023] for shift in range(40, -1, -10))


def is_ulid(text: str) -> bool:
    """Whether `text` has the form of a ULID in upper case."""
    return len(text) == 26 and text[0] in "01234567" and all(character in _CROCKFORD for character in text)


def made_at(identity: str) -> datetime:
    """The time in a ULID, to the millisecond. Raises `ValueError` for what is none."""
    if not is_ulid(identity):
        raise ValueError(f"{identity!r} is not a ULID")
    milliseconds = 0
    for character in identity[:10]:
        milliseconds = milliseconds << 5 | _CROCKFORD.index(character)
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
