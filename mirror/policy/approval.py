"""Who may approve, and what counts as their approval: enrolled keys, four eyes, dates. Pure.

Every signature in an envelope must hold: one that is by an unknown or expired key, by the requester, by the same person
again, or over other bytes makes the whole envelope void. Whoever leaves a signature out has one approval less.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from mirror.core.dsse import verifies
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from mirror.core.dsse import Envelope, Signature

REQUESTER: Final = "requester"
APPROVER: Final = "approver"
#: May release and refuse what is held for review, and nothing else.
REVIEWER: Final = "reviewer"
REVIEWERS: Final = frozenset({APPROVER, REVIEWER})
#: How far a signer's clock may be ahead of ours.
SKEW: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A public key and the person who holds it. `until` and `revoked` are exclusive: from that instant it signs nothing."""

    id: str
    public: Ed25519PublicKey
    person: str
    name: str
    roles: frozenset[str]
    since: datetime
    until: datetime | None = None
    revoked: datetime | None = None
    replaces: str = ""

    def valid(self, moment: datetime) -> bool:
        """Whether what it signs at `moment` counts."""
        ends = [end for end in (self.until, self.revoked) if end is not None]
        return self.since <= moment and all(moment < end for end in ends)


@dataclass(frozen=True, slots=True)
class Roll:
    """Every enrolled key, by its id."""

    keys: Mapping[str, Enrolled]

    def people(self, role: str, now: datetime) -> tuple[str, ...]:
        """The persons who have a valid key with this role."""
        return tuple(sorted({key.person for key in self.keys.values() if role in key.roles and key.valid(now)}))


@dataclass(frozen=True, slots=True)
class Demand:
    """What an envelope must show. `at` is when the statement says that it was made, within what is signed.

    `accepted`: this envelope, byte for byte, was in order before and was put on the record; keys may have expired since.
    `requester_signs`: the requester's own signature must be there as well; it is no approval. `partial`: it may yet come.
    `roles`: whose signature counts.
    """

    requested_by: str
    at: datetime
    need: int = 1
    accepted: bool = False
    requester_signs: bool = False
    partial: bool = False
    roles: frozenset[str] = frozenset({APPROVER})


def same_person(one: str, other: str) -> bool:
    """Whether two names are of one person."""
    return one.strip().casefold() == other.strip().casefold()


def approvals(envelope: Envelope, roll: Roll, demand: Demand, now: datetime, source: str) -> tuple[str, ...]:
    """The persons who approved, in the order of their signatures; fewer than `demand.need` where some are missing.

    Raises `InputError` with one problem a signature that must not be there, and where the statement is from the future.
    """
    problems = [Problem(source, "", f"is dated {_shown(demand.at)}, and it is {_shown(now)} here")] if demand.at > now + SKEW else []
    seen: dict[str, str] = {}
    people: list[str] = []
    asked = False
    for number, one in enumerate(envelope.signatures):
        place = f"signatures[{number}]"
        key = roll.keys.get(one.key)
        fault = _fault(envelope, one, key, demand, now)
        if not fault and key is not None:
            if key.person in seen:
                fault = f"{key.person!r} has signed already" + ("" if seen[key.person] == key.id else ", with another key")
            seen[key.person] = key.id
            if same_person(key.person, demand.requested_by):
                asked = True
                if not (demand.requester_signs and REQUESTER in key.roles):
                    fault = fault or f"{key.person!r} requested this and cannot approve it"
            elif demand.roles.isdisjoint(key.roles):
                fault = fault or f"{key.person!r} is no {' or '.join(sorted(demand.roles))}"
            else:
                people.append(key.person)
        if fault:
            problems.append(Problem(source, place, fault))
    if demand.requester_signs and not asked and not problems and not demand.partial:
        problems.append(Problem(source, "signatures", f"{demand.requested_by!r}, who requested this, has not signed it"))
    if problems:
        raise InputError(problems)
    return tuple(people)


def requested(envelope: Envelope, roll: Roll, demand: Demand, now: datetime, source: str) -> None:
    """See that a request is signed by whom it names, where it is signed or `demand.requester_signs`. Raises `InputError`."""
    problems = []
    for number, one in enumerate(envelope.signatures):
        key = roll.keys.get(one.key)
        fault = _fault(envelope, one, key, demand, now)
        if not fault and key is not None:
            if not same_person(key.person, demand.requested_by):
                fault = f"signed by {key.person!r}, requested by {demand.requested_by!r}"
            elif REQUESTER not in key.roles:
                fault = f"{key.person!r} is no requester"
        if fault:
            problems.append(Problem(source, f"signatures[{number}]", fault))
    if demand.requester_signs and not envelope.signatures:
        problems.append(Problem(source, "signatures", f"{demand.requested_by!r} has not signed this request"))
    if problems:
        raise InputError(problems)


def _fault(envelope: Envelope, one: Signature, key: Enrolled | None, demand: Demand, now: datetime) -> str:
    if key is None:
        return f"no enrolled key has the id {one.key[:16]}"
    if not verifies(envelope, one, key.public):
        return f"is not by {key.person!r} over these bytes"
    if not key.valid(demand.at):
        return f"the key of {key.person!r} was not valid at {_shown(demand.at)} ({_validity(key)})"
    if not demand.accepted and not key.valid(now):
        return f"the key of {key.person!r} is not valid now ({_validity(key)})"
    return ""


def _validity(key: Enrolled) -> str:
    if key.revoked is not None:
        return f"revoked {_shown(key.revoked)}"
    return f"valid from {_shown(key.since)}" + (f" until {_shown(key.until)}" if key.until else "")


def _shown(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")  # moments of statements are far from either end of time


def unendorsed(keys: Sequence[tuple[str, Enrolled]], endorsements: Mapping[str, tuple[Envelope, Enrolled]]) -> Iterator[Problem]:
    """What is wrong with keys that replace others: (source, key), and by key id the endorsement with the key it speaks of.

    The old key must have signed for the new one - same public key, person and beginning, no more roles, no longer life - while
    it was valid itself.
    """
    by_id = {key.id: key for _, key in keys}
    for source, key in keys:
        if not key.replaces:
            continue
        old, found = by_id.get(key.replaces), endorsements.get(key.id)
        if old is None:
            yield Problem(source, "replaces", f"no enrolled key has the id {key.replaces[:16]}")
        elif found is None:
            yield Problem(source, "replaces", f"the endorsement by the old key is missing: {source}.sig")
        elif not _endorsed(key, old, *found):
            yield Problem(f"{source}.sig", "", f"is no endorsement of this key by the key {old.id[:16]} of {old.person!r}")


def _endorsed(key: Enrolled, old: Enrolled, envelope: Envelope, stated: Enrolled) -> bool:
    return (
        key.person == old.person
        and len(envelope.signatures) == 1
        and envelope.signatures[0].key == old.id
        and verifies(envelope, envelope.signatures[0], old.public)
        and old.valid(key.since)
        and (stated.id, stated.person, stated.since, stated.replaces) == (key.id, key.person, key.since, key.replaces)
        and key.roles <= stated.roles <= old.roles
        and (stated.until is None or (key.until is not None and key.until <= stated.until))
    )
