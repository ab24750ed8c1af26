"""Part of `verify_pack`, which runs without the product: whether records that are gone might go. Standard library only."""

from __future__ import annotations

from array import array
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from mirror.audit.verify_decision import Wrong
from mirror.audit.verify_keys import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# --- what was removed -------------------------------------------------------------------------------------------------

GONE, LONG, UNSURE, PERMITTED = range(4)
#: Decisions of which is remembered what they were, for their repeats; at most twice as many.
REMEMBERED = 100000


class Classes:
    """What a `classes` record says: when, of which records, and which of them are short-lived. Raises `Wrong`."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        detail = record["detail"]
        self.at, self.home = record["at"], detail["home"]
        self.since, self.until, self.short = detail["since"], detail["until"], bytes.fromhex(detail["short"])
        if not 0 <= self.since < self.until <= record["seq"] or len(self.short) != (self.until - self.since + 7) // 8:
            raise Wrong("classes of records that it cannot know")

    def named(self, bits: bytes) -> Iterator[int]:
        """The records whose bit is set."""
        return (one for one in range(self.since, self.until) if bits[(one - self.since) // 8] >> (one - self.since) % 8 & 1)


class Removed:
    """The records of a range, from `first` on, in order; and what those about retention, in it or outside, say of them."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.grades = array("H")
        self.clients: list[tuple[str, tuple[str, ...]]] = []
        self.decided: dict[str, int] = {}
        self.older: dict[str, int] = {}
        self.told: dict[int, Mapping[str, Any]] = {}

    def take(self, record: Mapping[str, Any]) -> None:
        """The next of the range; of one that is gone, what is left."""
        self.grades.append(self._grade(record) if "kind" in record else GONE)
        self.tell(record)

    def tell(self, record: Mapping[str, Any]) -> None:
        """One that could be about retention."""
        if record.get("kind") in ("classes", "counts", "hold"):
            self.told[record["seq"]] = record

    def _grade(self, record: Mapping[str, Any]) -> int:
        if record["kind"] == "repeated":
            return self.decided.get(record["subject"], self.older.get(record["subject"], UNSURE))
        decision, found = record.get("decision"), LONG
        if decision is None:
            return LONG
        plain = record["kind"] == "allowed" and "detail" not in record and decision["would"] in ("allow", "warn") and not decision["matches"]
        if plain and record["actor"]["country"] and not any("exception" in rule for rule in decision["rules"]):
            client = record["actor"]["country"], tuple(record["actor"].get("jurisdictions", ()))
            if client not in self.clients:
                self.clients.append(client)
            found = self.clients.index(client) + PERMITTED + 1
        if len(self.decided) >= REMEMBERED:
            self.older, self.decided = self.decided, {}
        self.decided[decision["id"]] = found
        return found

    def faults(self) -> Iterator[str]:
        """What does not agree: with what is still there, or with what is gone."""
        known: dict[int, Classes] = {}
        holds: dict[str, Mapping[str, Any]] = {}
        for sequence, record in sorted(self.told.items()):
            try:
                if record["kind"] == "classes":
                    known[sequence] = self._classes(record, known)
                elif record["kind"] == "counts":
                    self._counts(record, known, holds)
                elif record["detail"]["outcome"] == "added":
                    holds[record["detail"]["id"]] = record["detail"]
                else:
                    holds.pop(record["detail"]["id"], None)
            except Wrong as error:
                yield f"record {sequence}: {error}"
            except UNREADABLE as error:
                yield f"record {sequence}: cannot be read: {error!r}"
        for sequence, grade in enumerate(self.grades, self.first):
            if grade == GONE:
                yield f"record {sequence}: is gone, and no record permits that"

    def _classes(self, record: Mapping[str, Any], known: Mapping[int, Classes]) -> Classes:
        one = Classes(record)
        if any(one.since < other.until for other in known.values()):
            raise Wrong("calls records short-lived or not of which that was said before")
        for number in one.named(one.short):
            grade = self.grades[number - self.first] if 0 <= number - self.first < len(self.grades) else UNSURE
            country, jurisdictions = self.clients[grade - PERMITTED - 1] if grade > PERMITTED else ("", ())
            if grade == LONG or (grade > PERMITTED and country not in (one.home or jurisdictions)):
                raise Wrong(f"calls record {number} short-lived, which it is not")
        return one

    def _counts(self, record: Mapping[str, Any], known: Mapping[int, Classes], holds: Mapping[str, Any]) -> None:
        now, detail = record["at"], record["detail"]
        for part in detail["removed"]:
            one, bits = known.get(part["classes"]), bytes.fromhex(part["removed"])
            if one is None:
                continue  # of records that are not in the pack
            if len(bits) != len(one.short) or any(bit & ~short for bit, short in zip(bits, one.short)):  # noqa: B905 - Python 3.8; the lengths are equal
                raise Wrong(f"removes what record {part['classes']} does not call short-lived")
            past = [other.at for number, other in known.items() if number <= part["classes"] and other.at <= now]
            sealed = one.at if one.at > now else max(past)
            if moment(sealed) + timedelta(seconds=detail["allows"]) > moment(now):
                raise Wrong(f"removes records of {one.since} to {one.until} before their time")
            for number in one.named(bits):
                if 0 <= number - self.first < len(self.grades) and self.grades[number - self.first] == GONE:
                    self.grades[number - self.first] = PERMITTED
        for identity, hold in holds.items():
            if any(keeps(hold, row) for row in detail["rows"]):
                raise Wrong(f"removes what the hold {identity} keeps")


def moment(text: str) -> datetime:
    """An instant as records write it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))  # noqa: FURB162 - Python 3.8


def keeps(hold: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Whether a row of counts certainly has records that must have stayed."""
    begins, ends = (hold.get("since") or "")[:10], (hold.get("until") or "")[:10]
    inside = (not begins or begins < row["day"]) and (not ends or row["day"] < ends)
    named = not hold.get("artifact") or row["artifact"].startswith(tuple(hold["artifact"]))
    return bool(inside and named and (not hold.get("publisher") or row["publisher"] in hold["publisher"]) and not hold.get("actor"))
