"""What a new edition must satisfy before it replaces the one in force: formally right and wrong all the same is kept out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date

    from mirror.policy.entries import ListEntry

#: Fields that `fill` may name.
FIELDS: Final = ("aliases", "weak_aliases", "country", "programme", "listed_on", "until", "web", "identifiers", "type", "source")
_KEYS: Final = ("min", "max_shrink", "fill", "max_age")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class Guards:
    """None switches a guard off.

    `min` entries at least; `max_shrink` (0-1) of the entries in force may disappear; `fill` is the share (0-1) of entries that
    must have a field; `max_age` is how long an edition stays fresh after its source was last seen to have no newer one.
    """

    min: int | None = None
    max_shrink: float | None = None
    max_age: timedelta | None = None
    fill: tuple[tuple[str, float], ...] = ()


def read_guards(raw: Any, name: str) -> Guards:
    """`guards:` of list `name` as written (`{min: 7000, max_shrink: 5%, fill: {country: 50%}, max_age: 72h}`). Raises `InputError`."""
    problems: list[Problem] = []

    def fault(key: str, message: str) -> None:
        problems.append(Problem(f"lists.{name}", f"guards.{key}", message))

    written = raw if isinstance(raw, Mapping) else {}
    for key in written:
        if key not in _KEYS:
            fault(str(key), f"unknown guard; there are: {', '.join(_KEYS)}")
    least, age, fill = written.get("min"), written.get("max_age"), written.get("fill")
    if least is not None and (isinstance(least, bool) or not isinstance(least, int) or least < 0):
        fault("min", f"{least!r} is not a number of entries")
    if isinstance(age, str) and (span := re.fullmatch(r"(\d{1,6})\s*(s|m|h|d|w)", age, re.ASCII)):
        age = timedelta(seconds=int(span[1]) * _SECONDS[span[2]])
    if age is not None and not isinstance(age, timedelta):
        fault("max_age", f"{age!r} is not a duration such as 72h or 7d")
    shrink = _share(written.get("max_shrink"), "max_shrink", fault)
    filled: list[tuple[str, float]] = []
    if fill is not None and not isinstance(fill, Mapping):
        fault("fill", f"{fill!r} is not a mapping such as {{country: 50%}}")
    for key, share in (fill if isinstance(fill, Mapping) else {}).items():
        if key not in FIELDS:
            fault(f"fill.{key}", f"entries have no such field; there are: {', '.join(FIELDS)}")
        found = _share(share, f"fill.{key}", fault)
        if found is not None:
            filled.append((str(key), found))
    if problems:
        raise InputError(problems)
    return Guards(least, shrink, age, tuple(filled))


def _share(raw: Any, key: str, fault: Callable[[str, str], None]) -> float | None:
    value = raw
    if isinstance(raw, str) and (percent := re.fullmatch(r"(\d{1,3}(?:\.\d+)?)\s*%", raw, re.ASCII)):
        value = float(percent[1]) / 100
    if value is None:
        return None
    if isinstance(value, (bool, str)) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        fault(key, f"{raw!r} is not a share such as 5% or 0.05")
        return None
    return float(value)


def trips(
    guards: Guards, entries: Sequence[ListEntry], stated: date | None, source: str, *, before: int | None = None, before_stated: date | None = None
) -> Iterator[Problem]:
    """What keeps an edition out; nothing where it may replace one of `before` entries that was stated on `before_stated`.

    One that states an earlier date than the one in force is older, whoever sent it: replicas lag, and attackers replay.
    """
    count = len(entries)
    if guards.min is not None and count < guards.min:
        yield Problem(source, "", f"has {count} entries, fewer than guards.min {guards.min}")
    if guards.max_shrink is not None and before is not None and count < before * (1 - guards.max_shrink):
        yield Problem(source, "", f"has {count} entries after {before}: beyond guards.max_shrink {guards.max_shrink:.0%}")
    for name, share in guards.fill:
        filled = sum(bool(getattr(entry, name)) for entry in entries)
        if filled < share * count:
            yield Problem(source, "", f"{filled} of {count} entries have {name!r}, fewer than guards.fill.{name} {share:.0%}")
    if stated is not None and before_stated is not None and stated < before_stated:
        yield Problem(source, "", f"is of {stated}, older than the edition in force, which is of {before_stated}")
