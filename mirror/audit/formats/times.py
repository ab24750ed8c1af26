"""Instants of records as others write them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def moment(text: str) -> datetime:
    """A record's instant (RFC 3339, UTC)."""
    return datetime.fromisoformat(text)


def milliseconds(text: str) -> int:
    """The same in milliseconds since 1970, rounded down."""
    return (moment(text) - _EPOCH) // timedelta(milliseconds=1)
