"""Holds: what a matter keeps from being deleted, as the ledger's own records say. Pure.

A `hold` record adds one (`outcome` added) or lifts it (`lifted`). While it stands no record, no personal part, no pseudonym key
that it covers is deleted. What cannot be known of a record - who asked, after erasure; what a repeat is of; whose something is that the
catalogue did not know - counts as covered.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ADDED: Final = "added"
LIFTED: Final = "lifted"
#: What a hold may be narrowed by.
SCOPES: Final = ("publisher", "artifact", "actor")


@dataclass(frozen=True, slots=True)
class Hold:
    """A matter, and what it covers. Each scope that is not empty must apply.

    `publisher` is an id, of what was asked for or of anything that it was made from, `artifact` the beginning of a package URL,
    `actor` a pseudonym. `since` (inclusive) and `until` (exclusive) are instants, empty for open ends.
    """

    id: str
    sequence: int
    at: str
    matter: str
    by: str
    reason: str
    publisher: tuple[str, ...] = ()
    artifact: tuple[str, ...] = ()
    actor: tuple[str, ...] = ()
    since: str = ""
    until: str = ""

    def covers(self, record: Mapping[str, Any]) -> bool:
        """Whether a record, with its personal part joined, must stay."""
        if not self.in_time(record["at"]):
            return False
        name = record["actor"].get("name")
        if self.actor and name is not None and name not in self.actor:
            return False
        decision = record.get("decision")
        if decision is None:  # a repeat, or an event about the mirror itself
            return True
        if self.artifact and not decision["artifact"].startswith(self.artifact):
            return False
        own = str((decision["facts"].get("publisher") or {}).get("value") or "")
        named = {own, *(str(edge.get("publisher") or "") for edge in decision["lineage"])}
        # Whom the catalogue did not know then, it may know today: that publisher may be the one of the matter.
        return not self.publisher or "" in named or not named.isdisjoint(self.publisher)

    def covers_row(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of counts certainly has records that must have stayed."""
        inside = (not self.since or self.since[:10] < row["day"]) and (not self.until or row["day"] < self.until[:10])
        named = (not self.artifact or str(row["artifact"]).startswith(self.artifact)) and (not self.publisher or row["publisher"] in self.publisher)
        return inside and named and not self.actor

    def covers_time(self, since: str, until: str) -> bool:
        """Whether it covers anything between these instants; empty ones are open ends."""
        return (not self.until or not since or since < self.until) and (not self.since or not until or self.since <= until)

    def in_time(self, at: str) -> bool:
        """Whether something of that instant is in its time."""
        return (not self.since or self.since <= at) and (not self.until or at < self.until)

    def row(self) -> dict[str, Any]:
        """For a person."""
        scope = {name: list(getattr(self, name)) for name in SCOPES}
        return {"id": self.id, "matter": self.matter, "by": self.by, "at": self.at, "reason": self.reason, **scope, "since": self.since or None, "until": self.until or None}


@dataclass(slots=True)
class Holds:
    """Every hold that the records tell of, in their order."""

    standing: dict[str, Hold] = field(default_factory=dict)
    ended: list[tuple[Hold, Mapping[str, Any]]] = field(default_factory=list)

    def add(self, record: Mapping[str, Any]) -> str:
        """One `hold` record more. Gives what is wrong with it, or nothing."""
        detail = record.get("detail", {})
        identity = str(detail.get("id", ""))
        if detail.get("outcome") == ADDED and identity and identity not in self.standing:
            scope = {name: tuple(map(str, detail.get(name, ()))) for name in SCOPES}
            self.standing[identity] = Hold(
                identity, record["seq"], record["at"], str(detail.get("matter", "")), str(detail.get("by", "")), str(detail.get("reason", "")),
                since=str(detail.get("since") or ""), until=str(detail.get("until") or ""), **scope,
            )  # fmt: skip
            return ""
        if detail.get("outcome") == LIFTED and identity in self.standing:
            self.ended.append((self.standing.pop(identity), record))
            return ""
        return "tells of a hold that was not there"

    def of(self, record: Mapping[str, Any]) -> Hold | None:
        """The first that covers a record."""
        return next((one for one in self.standing.values() if one.covers(record)), None)

    def whole(self, records: Sequence[Mapping[str, Any]]) -> Holds:
        """With these `hold` records added."""
        for one in records:
            self.add(one)
        return self
