"""Identifiers that sort by time: ULIDs (https://github.com/ulid/spec)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = tuple(first + second for first in _CROCKFORD for second in _CROCKFORD)


def ulid(now: datetime, entropy: bytes) -> str:
    """26 characters: 48 bits of milliseconds since 1970, 80 bits of `entropy` (exactly 10 bytes)."""
    if len(entropy) != 10:
        raise ValueError("a ULID takes 10 bytes of entropy")
    milliseconds = max(0, min(int(now.timestamp() * 1000), 2**48 - 1))
    number = (milliseconds << 80) | int.from_bytes(entropy, "big")
    return "".join(_PAIRS[(number >> shift) & 1023] for shift in range(120, -1, -10))


def is_ulid(text: str) -> bool:
    """Whether `text` has the form of a ULID in upper case."""
    return len(text) == 26 and text[0] in "01234567" and all(character in _CROCKFORD for character in text)
