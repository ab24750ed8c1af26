"""The dates of rules, exceptions and tests as instants."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from mirror.policy.operators import Building


def span(
    building: Building, place: str, since: date | None, until: date | None, zone: str | None, last: str
) -> tuple[datetime | None, datetime | None]:
    """Both ends as instants. A date begins at midnight in `zone` (an IANA name; UTC without one)."""
    timezone: Any = UTC
    if zone is not None:
        try:
            timezone = ZoneInfo(zone)
        except (KeyError, ValueError, OSError):
            building.wrong(f"{place}.timezone", f"{zone!r} is not a time zone")
    start, end = instant(since, timezone), instant(until, timezone)
    if start is not None and end is not None and start >= end:
        building.wrong(f"{place}.from", f"{since} is not before {last} {until}")
    return start, end


def instant(value: date | None, timezone: Any) -> datetime | None:
    """A date is its midnight in `timezone`, a time without offset is in `timezone`."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=timezone)).astimezone(UTC)
    try:
        return datetime(value.year, value.month, value.day, tzinfo=timezone).astimezone(UTC)
    except OverflowError:
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
