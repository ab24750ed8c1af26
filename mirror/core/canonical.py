"""Canonical JSON (RFC 8785) for records that are hashed.

Sealed records hold no floats, so JCS is plain: keys sorted by UTF-16 code units, no white space, minimal escapes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any


def canonical(value: Any) -> bytes:
    """The one byte form of `value`.

    Accepts None, bool, int within 2**53 - 1 either way, str, and sequences and mappings (string keys) of these.
    Raises `ValueError` for floats and larger integers (RFC 8785 section 3.2.2.3 would round them), `TypeError` for
    anything else.
    """
    return json.dumps(_checked(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")


def _checked(value: Any) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        if abs(value) > 2**53 - 1:
            raise ValueError(f"integer too large for a canonical record: {value}")
        return int(value)
    if isinstance(value, float):
        raise ValueError(f"no floats in canonical records: {value!r}")  # noqa: TRY004 - a value that RFC 8785 could round
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("keys of canonical records are strings")
        return {key: _checked(value[key]) for key in sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [_checked(item) for item in value]
    raise TypeError(f"not a canonical value: {type(value).__name__}")


def instant(moment: datetime) -> str:
    """A moment as records write it: RFC 3339, UTC, microseconds, `Z`."""
    if moment.utcoffset() is None:
        raise ValueError("a record's time must be timezone-aware")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def day(value: date | None) -> str | None:
    """A date as records write it, or None."""
    return None if value is None else value.isoformat()
