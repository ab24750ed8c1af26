"""What the signed statements of a drawer come to: which are in order, and what is wrong with the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mirror.core.errors import InputError, Problem
from mirror.policy.approval import REVIEWERS, Demand, approvals, requested
from mirror.policy.statements import Granted, Released, Standing

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from mirror.policy.approval import Roll
    from mirror.trust.drawer import Found


@dataclass(frozen=True, slots=True)
class Case:
    """Everything about one waiver, emergency deny or release that is in order. `approved_by` are those who signed waiver or release."""

    id: str
    request: Found | None = None
    grant: Found | None = None
    rejection: Found | None = None
    deny: Found | None = None
    lift: Found | None = None
    release: Found | None = None
    refusal: Found | None = None
    withdrawal: Found | None = None
    approved_by: tuple[str, ...] = ()


@dataclass(slots=True)
class Assessment:
    """`people` are those who signed each statement that is in order, by the digest of its envelope."""

    cases: dict[str, Case] = field(default_factory=dict)
    people: dict[str, tuple[str, ...]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def standing(self) -> Standing:
        """What may be in force, subject to the rules."""
        cases = self.cases.values()
        open_ = [case for case in cases if case.request is not None and case.rejection is None]
        return Standing(
            tuple(Granted(case.grant.statement, case.approved_by) for case in open_ if case.grant is not None),
            tuple(case.request.statement for case in open_ if case.grant is None and case.request is not None),
            tuple(case.deny.statement for case in cases if case.deny is not None and case.lift is None),
            tuple(Released(case.release.statement, case.approved_by) for case in cases if case.release is not None and case.withdrawal is None),
            tuple(case.refusal.statement for case in cases if case.refusal is not None and case.withdrawal is None),
        )


def assess(found: Sequence[Found], roll: Roll, now: datetime, *, accepted: Collection[str], requests_signed: bool) -> Assessment:
    """Every statement of `found` weighed. `accepted` are digests of envelopes that were in order once and are on the record."""
    weighing = _Weighing(roll, now, accepted, requests_signed)
    by_id: dict[str, dict[str, Found]] = {}
    for one in found:
        by_id.setdefault(one.id, {})[one.word] = one
    for identity, files in sorted(by_id.items()):
        weighing.case(identity, files)
    return weighing.done


class _Weighing:
    def __init__(self, roll: Roll, now: datetime, accepted: Collection[str], requests_signed: bool) -> None:
        self._roll, self._now, self._accepted, self._requests_signed = roll, now, accepted, requests_signed
        self.done = Assessment()

    def case(self, identity: str, files: dict[str, Found]) -> None:
        request, rejection, deny = (self._kept(files.get(word)) for word in ("request", "rejection", "deny"))
        grant = lift = None
        approved_by: tuple[str, ...] = ()
        if (given := files.get("waiver")) is not None:
            people = self._grant(given, request)
            if people is not None:
                grant, approved_by = given, people
        if (lifting := files.get("lift")) is not None and self._lift(lifting, deny):
            lift = lifting
        release, refusal, withdrawal = (self._reviewed(files.get(word)) for word in ("release", "refusal", "withdrawal"))
        if release is not None:
            approved_by = self.done.people[release.digest]
        self.done.cases[identity] = Case(identity, request, grant, rejection, deny, lift, release, refusal, withdrawal, approved_by)

    def _reviewed(self, one: Found | None) -> Found | None:
        """`one` where a reviewer or an approver has signed it."""
        if one is None:
            return None
        # What only takes away is not put off by a clock that is ahead of ours.
        at = one.statement.at if one.word == "release" else min(one.statement.at, self._now)
        demand = Demand("", at, accepted=one.digest in self._accepted, roles=REVIEWERS)
        return one if self._weighed(one, demand) is not None else None

    def _kept(self, one: Found | None) -> Found | None:
        """`one` where it is in order by itself: a request, or what one approver says alone."""
        if one is None:
            return None
        if one.word != "request":
            # What only takes away is not put off by a clock that is ahead of ours.
            at = min(one.statement.at, self._now)
            return one if self._weighed(one, Demand("", at, accepted=one.digest in self._accepted)) is not None else None
        stated = one.statement
        demand = Demand(stated.requested_by, stated.at, accepted=one.digest in self._accepted, requester_signs=self._requests_signed)
        try:
            requested(one.envelope, self._roll, demand, self._now, one.source)
        except InputError as error:
            self.done.problems += error.problems
            return None
        self.done.people[one.digest] = ()
        return one

    def _grant(self, one: Found, request: Found | None) -> tuple[str, ...] | None:
        stated = one.statement
        if request is None:
            self._wrong(one, "there is no request in order that this would grant")
            return None
        if stated.request != request.envelope.digest or stated.requested_by != request.statement.requested_by:
            self._wrong(one, "grants another request than the one that lies here")
            return None
        if stated.rule != request.statement.rule:
            self._wrong(one, "grants an exception from another rule than was asked for")
            return None
        return self._weighed(one, Demand(stated.requested_by, stated.at, accepted=one.digest in self._accepted), least=0)

    def _lift(self, one: Found, deny: Found | None) -> bool:
        stated = one.statement
        if deny is None or stated.deny != deny.envelope.digest:
            self._wrong(one, "lifts another deny than the one that lies here")
            return False
        need = 2 if deny.statement.legal else 1
        people = self._weighed(one, Demand(stated.requested_by, stated.at, need, accepted=one.digest in self._accepted), least=0)
        return people is not None and len(people) >= need

    def _weighed(self, one: Found, demand: Demand, least: int = 1) -> tuple[str, ...] | None:
        """Who approved, or None where the envelope is void or has fewer than `least` signatures."""
        try:
            people = approvals(one.envelope, self._roll, demand, self._now, one.source)
        except InputError as error:
            self.done.problems += error.problems
            return None
        if len(people) < least:
            self._wrong(one, "is not signed by an approver")
            return None
        self.done.people[one.digest] = people
        return people

    def _wrong(self, one: Found, said: str) -> None:
        """Note what is wrong with a statement as a whole."""
        self.done.problems.append(Problem(one.source, "", said))
