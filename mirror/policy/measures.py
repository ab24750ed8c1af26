"""Conditions that compare: how old something is, and how large."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from mirror.policy.conditions import YES, Condition
from mirror.policy.operators import ORDERS, Building, numbers
from mirror.policy.subject import HOLDS, NO, Outcome, Subject, View, unknown


def days(value: Any) -> float:
    """A number of days, up to a century."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 36_500:
        raise ValueError(f"{value!r} is not a number of days")
    return value


_UNITS: Final = {"": 1, "b": 1, **{f"{p}b": 1000**n for n, p in enumerate("kmgt", 1)}, **{f"{p}ib": 1024**n for n, p in enumerate("kmgt", 1)}}


def size(value: Any) -> float:
    """Bytes: a whole number, or a text such as `5GiB`."""
    match = re.fullmatch(r"([0-9]{1,15})\s*([a-z]*)", str(value).strip().lower()) if not isinstance(value, bool) else None
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"{value!r} is not a size")
    return float(int(match[1]) * _UNITS[match[2]])


def _age(building: Building, place: str, raw: Any) -> Condition:
    bounds = numbers(building, place, raw, days)
    permits = building.permits
    tick = timedelta(microseconds=1)  # the first instant at which "at most" no longer holds
    edges = [(word in ("lt", "lte"), timedelta(days=bound) + (tick if word in ("lte", "gt") else timedelta())) for word, bound in bounds]

    def judge(subject: Subject, view: View) -> Outcome:
        fact = subject.facts.published_at
        if fact is None or fact.value is None:
            if subject.whole:
                return YES if permits else NO
            return unknown("age_days")
        holds, free_at = True, None
        for below, edge in edges:
            boundary = _plus(fact.value, edge)
            young = boundary is None or subject.now < boundary
            if young and boundary is not None:
                subject.note(boundary)
            holds = holds and young is below
            if below:
                free_at = boundary
        if not holds:
            return NO
        return Outcome(HOLDS, f"was published {fact.value.date().isoformat()}", grade=fact.confidence, free_at=free_at)

    return Condition("age_days", judge, frozenset({"published_at"}), None, salience=7, dated=True)


def _plus(moment: datetime, span: timedelta) -> datetime | None:
    try:
        return moment + span
    except OverflowError:
        return None


def _size(building: Building, place: str, raw: Any) -> Condition:
    bounds = [(ORDERS[word], bound) for word, bound in numbers(building, place, raw, size)]
    permits = building.permits

    def judge(subject: Subject, view: View) -> Outcome:
        fact = subject.facts.size
        if fact is None or fact.value is None:
            return (YES if permits else NO) if subject.whole else unknown("size")
        value = fact.value
        for holds, bound in bounds:
            if not holds(value, bound):
                return NO
        return Outcome(HOLDS, f"is {value} bytes", grade=fact.confidence)

    return Condition("size", judge, frozenset({"size"}), None, salience=4)


BUILDERS: Final[dict[str, Callable[[Building, str, Any], Condition]]] = {"age_days": _age, "size": _size}
