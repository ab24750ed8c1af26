"""Who owns a publisher on a day: parents and majority owners all the way up, and every stated share. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from mirror.policy.catalogue import MAJORITY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from mirror.core.facts import Owner, Publisher
    from mirror.policy.catalogue import Catalogue

#: The whole, in 1/10,000: what a parent owns for which no share is stated.
WHOLE: Final = 10_000


def owns(owner: Owner, day: date) -> bool:
    """Whether a share is held on `day`; `since` inclusive, `until` exclusive."""
    return (owner.since is None or owner.since <= day) and (owner.until is None or day < owner.until)


class Ownership:
    """The catalogue's shares by day. With `majority` an owner from half upward counts as a parent."""

    __slots__ = ("_catalogue", "_majority", "dates")

    def __init__(self, catalogue: Catalogue, *, majority: bool) -> None:
        self._catalogue, self._majority = catalogue, majority
        ends = {day for one in catalogue.publishers for owner in one.owners for day in (owner.since, owner.until) if day is not None}
        #: When a share begins or ends to be held: midnights UTC, sorted.
        self.dates = tuple(datetime(day.year, day.month, day.day, tzinfo=UTC) for day in sorted(ends))

    def above(self, publisher: Publisher, day: date) -> tuple[Publisher, ...]:
        """Every parent (and majority owner) on `day`, all the way up, nearest first. Loop-safe."""
        found: dict[str, Publisher] = {}
        queue = list(self._next(publisher, day))
        for name in queue:
            one = self._catalogue.by_id(name)
            if one is not None and name not in found and name != publisher.id:
                found[name] = one
                queue.extend(self._next(one, day))
        return tuple(found.values())

    def _next(self, publisher: Publisher, day: date) -> Iterator[str]:
        if publisher.parent is not None:
            yield publisher.parent
        if self._majority:
            yield from (one.id for one in publisher.owners if one.share is not None and one.share >= MAJORITY and owns(one, day))

    def shares(self, publisher: Publisher, day: date) -> tuple[tuple[Publisher, int | None], ...]:
        """(owner, share in 1/10,000 or None where unknown) on `day`. A parent without a stated share owns the whole."""
        held: dict[str, int | None] = {}
        for one in publisher.owners:
            if owns(one, day):
                before = held.get(one.id, 0)
                held[one.id] = None if one.share is None or before is None else min(before + one.share, WHOLE)
        stated = {one.id for one in publisher.owners}
        if publisher.parent is not None and publisher.parent not in stated:
            held[publisher.parent] = WHOLE
        found = ((self._catalogue.by_id(name), share) for name, share in held.items() if name != publisher.id)
        return tuple((owner, share) for owner, share in found if owner is not None)
