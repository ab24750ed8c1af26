"""What people have signed, as the rules in force need it: activations, waivers, emergency denies, and what was accepted before."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import structlog

from mirror.core import dsse
from mirror.core.actor import Actor
from mirror.core.canonical import instant
from mirror.core.decision import Event, EventKind
from mirror.core.errors import InputError, LedgerDown, Problem
from mirror.core.ports import Ledger
from mirror.durable import read_small, write_whole
from mirror.policy import statements
from mirror.policy.amend import activation_problems, amended, has_legal, in_force, releases_in_force
from mirror.policy.approval import Demand, Roll, approvals
from mirror.policy.catalogue import Catalogue
from mirror.policy.lineage import Lineage
from mirror.policy.rules import Policy
from mirror.policy.screening import ScreeningList
from mirror.policy.statements import Activation, FileDigest
from mirror.proxy import recalls
from mirror.trust.drawer import Drawer, Found, found_in
from mirror.trust.enrolment import SIGNED, cards, load_roll
from mirror.trust.register import Register
from mirror.trust.standing import Assessment, Case, assess

_LOG = structlog.get_logger("mirror.approvals")
Keep = Callable[[str, bytes], Awaitable[str]]
_SELF: Final = Actor(name="mirror")
#: What holds although its file was taken away: whatever only forbids.
_KEPT: Final = frozenset({"deny", "rejection", "refusal", "withdrawal"})


_EVENTS: Final = {"W": EventKind.WAIVER, "D": EventKind.EMERGENCY, "R": EventKind.REVIEW}
_ENDS: Final = {"lift": "lifted", "rejection": "rejected", "withdrawal": "withdrawn"}


@dataclass(frozen=True, slots=True)
class TrustSources:
    """Where keys and statements lie. `data` None: no statements at all (a policy looked at by itself)."""

    verify: tuple[Path, ...] = ()
    data: Path | None = None
    policy: Path | None = None
    signed: bool = False
    requests_signed: bool = False


@dataclass(frozen=True, slots=True)
class _Activated:
    """An activation that is in order, to be put on the record once it is in force. `base` is the policy's digest."""

    base: str
    row: Mapping[str, Any]
    texts: tuple[tuple[str, str], ...]
    raw: bytes
    people: tuple[str, ...]


def signature_of(policy: Path) -> Path:
    """Where the signatures over a policy file or folder lie: beside it."""
    return policy.with_name(policy.name + SIGNED)


def digests(texts: Iterable[tuple[str, str]]) -> tuple[FileDigest, ...]:
    """The files of a policy as an activation names them."""
    return tuple(FileDigest(name, sha256(text.encode()).hexdigest()) for name, text in texts)


class Approvals:
    """One a process. Only the process to which `attach` gave a ledger writes anything."""

    def __init__(self, sources: TrustSources, now: Callable[[], datetime]) -> None:
        """Reads the enrolled keys. Raises `InputError` with every problem of every card."""
        self.sources, self._now = sources, now
        self.roll: Roll = load_roll(sources.verify)
        self.drawer = Drawer(sources.data) if sources.data else None
        self.register = Register(sources.data / "approvals" / "register.jsonl") if sources.data else None
        self.problems: tuple[Problem, ...] = ()
        self.waiting = False  # a changed policy lies there without the signatures it needs
        self._assessment = Assessment()
        self._activated: _Activated | None = None
        self._unsettled = True
        self._ledger: Ledger | None = None
        self._keep: Keep | None = None

    def attach(self, ledger: Ledger, keep: Keep) -> None:
        """From now on this process puts on the record what is accepted; `keep` archives evidence by kind."""
        self._ledger, self._keep = ledger, keep

    # --- files --------------------------------------------------------------------------------------------------------

    def files(self) -> Iterator[Path]:
        """What must be looked at anew with the policy: enrolled keys and the signatures over the policy."""
        for path in cards(self.sources.verify):
            yield path
            yield path.with_name(path.name + SIGNED)
        if self.sources.signed and self.sources.policy is not None:
            yield signature_of(self.sources.policy)

    def statements(self) -> Iterator[Path]:
        """The signed statements, which change the rules in force without anything else being read."""
        if self.drawer is not None:
            yield from self.drawer.paths()
        if self.sources.data is not None:
            yield from recalls.files(self.sources.data)

    # --- the policy's own activation ----------------------------------------------------------------------------------

    def demand(self, policy: Policy) -> None:
        """See that `policy`, just read, may be in force; with `policy.activation: signed` that takes signatures.

        Reads the enrolled keys anew. Raises `InputError` that says what is missing, and then `policy` must not judge.
        """
        self.roll = load_roll(self.sources.verify)
        if not self.sources.signed or self.sources.policy is None:
            return
        self.waiting = True
        try:
            self._activated = self._activation(policy, self.sources.policy)
        except OSError as error:
            raise InputError([Problem(str(error.filename or self.sources.policy), "", error.strerror or "cannot be read")]) from None
        self.waiting, self._unsettled = False, True

    def _activation(self, policy: Policy, path: Path) -> _Activated:
        beside = signature_of(path)
        if not beside.exists() and not beside.is_symlink():
            raise InputError([Problem(str(path), "", f"is not in force: nobody has signed it (no {beside.name}); see `mirror policy activate`")])
        raw = read_small(beside, dsse.LARGEST)
        source = f"signatures of {path}"  # `….sig: word` would look like a secret to the ledger
        envelope = dsse.read(raw, source)
        stated: Activation = statements.read(envelope, statements.ACTIVATION, source)
        newest = self.newest()
        digest = sha256(raw).hexdigest()
        accepted = newest is not None and newest["envelope"] == digest
        problems = list(_other_files(stated, policy, source))
        if newest is not None and newest["payload"] != envelope.digest and stated.number <= newest["number"]:
            said = f"is {stated.number}, and {newest['number']} is in force: what was in force before comes back by a new activation only"
            problems.append(Problem(source, "payload.number", said))
        if problems:
            raise InputError(problems)
        need = 2 if has_legal(policy) or (newest is not None and newest["legal"]) else 1
        demand = Demand(stated.requested_by, stated.at, need, accepted=accepted, requester_signs=self.sources.requests_signed)
        people = approvals(envelope, self.roll, demand, self._now(), source)
        problems = [] if accepted else activation_problems(policy, people)
        if len(people) < need and not accepted:
            why = " (a legal rule is in it, or in the one in force)" if need == 2 else ""
            by = f" ({', '.join(people)})" if people else ""
            problems.insert(0, Problem(str(path), "", f"is not in force: it needs {need} approvals{why} and has {len(people)}{by}"))
        if problems:
            raise InputError(problems)
        row = {
            "kind": "activation", "at": instant(self._now()), "number": stated.number, "envelope": digest, "payload": envelope.digest,
            "policy": policy.digest, "legal": has_legal(policy), "requested_by": stated.requested_by, "approved_by": list(people),
        }  # fmt: skip
        return _Activated(policy.digest, {} if accepted else row, policy.texts, raw, people)

    def newest(self) -> Mapping[str, Any] | None:
        """The row of the last activation that was accepted here."""
        rows = list(self.register.rows("activation")) if self.register else []
        return max(rows, key=lambda row: int(row["number"]), default=None)

    def last_good(self) -> Path | None:
        """A copy of the policy that was activated last, at a path that gives it the same name; None where there is none."""
        newest, data, policy = self.newest(), self.sources.data, self.sources.policy
        if newest is None or data is None or policy is None or not self.sources.signed:
            return None
        path = data / "approvals" / f"policy-{newest['number']}" / policy.name
        return path if path.exists() else None

    # --- statements ---------------------------------------------------------------------------------------------------

    def look(self) -> Assessment:
        """Every statement, weighed now. A damaged register is one problem more; what was read of it before still counts."""
        if self.drawer is None or self.register is None:
            return Assessment()
        found, problems = self.drawer.all()
        try:
            rows = list(self.register.rows("statement"))
        except InputError as error:
            problems += error.problems
            rows = list(self.register.known("statement"))
        there = {(one.id, one.word): one for one in found}
        for row in rows:
            if row["word"] not in _KEPT:
                continue
            name, file = f"{row['id']}.{row['word']}.json", there.get((row["id"], row["word"]))
            if file is None or file.digest != row["envelope"]:
                problems.append(Problem(str(self.drawer.path(row["id"], row["word"])), "", "is gone or was changed; what was accepted holds"))
                found = [one for one in found if one is not file]
                found.append(found_in(base64.b64decode(row["raw"]), name, name))
        accepted = {str(row["envelope"]) for row in rows if row["complete"]}
        weighed = assess(found, self.roll, self._now(), accepted=accepted, requests_signed=self.sources.requests_signed)
        weighed.problems[:0] = problems
        return weighed

    def amended(self, policy: Policy, catalogue: Catalogue, lineage: Lineage, lists: Mapping[str, ScreeningList] | None = None) -> Policy:
        """`policy` with what was signed beside it and is in order now; what is wrong with the rest is in `problems`."""
        self._assessment = self.look()
        standing = self._assessment.standing
        recalled, damaged = ((), ()) if self.sources.data is None else recalls.in_force(self.sources.data)
        standing = replace(standing, recalled=recalled)
        made, unfit = amended(policy, standing, catalogue, lineage, lists)
        self.problems = (*self._assessment.problems, *damaged, *unfit)
        self._unsettled = True
        return made

    # --- the record ---------------------------------------------------------------------------------------------------

    async def settle(self, policy: Policy) -> None:
        """Put on the record what was accepted since the last call; `policy` is in force. Tried again where it fails."""
        if self._ledger is None or self._keep is None or self.register is None or not self._unsettled:
            return
        try:
            for raw, event, row in await asyncio.to_thread(lambda: list(self._fresh(policy))):
                await self._keep("statement", raw)
                await self._ledger.record(event).durable()
                await asyncio.to_thread(self.register.add, [row])
        except (InputError, LedgerDown, OSError) as error:
            _LOG.error("statements_not_recorded", fault=str(error))
            return
        self._unsettled = False

    def _fresh(self, policy: Policy) -> Iterator[tuple[bytes, Event, Mapping[str, Any]]]:
        if self.register is None:
            return
        done = self._activated
        if done is not None and done.row and _begins(policy, done.texts):
            self._copy(done)
            yield done.raw, self._event(EventKind.POLICY, done.base, "approved", done.row), done.row
            self._activated = None
        known = {str(row["envelope"]) for row in self.register.rows("statement")}
        standing = self._assessment.standing
        complete = {one.waiver.id for one in in_force(policy, standing)} | {one.release.id for one, _ in releases_in_force(policy, standing, None)}
        for case in self._assessment.cases.values():
            for one in (case.request, case.grant, case.rejection, case.deny, case.lift, case.release, case.refusal, case.withdrawal):
                if one is not None and one.digest not in known:
                    whole = one.word not in ("waiver", "release") or one.id in complete
                    yield one.raw, self._statement(case, one, whole=whole), self._row(one, whole=whole)

    def _statement(self, case: Case, one: Found, *, whole: bool) -> Event:
        people = self._assessment.people.get(one.digest, ())
        stated = one.statement
        detail: dict[str, Any] = {"envelope": one.digest, "reason": stated.reason}
        if people:
            detail["approved_by"] = list(people)
        match one.word:
            case "request" | "waiver":
                detail |= {
                    "rule": stated.rule, "artifacts": list(stated.scope.artifact), "groups": list(stated.scope.groups),
                    "expires": str(stated.expires), "requested_by": stated.requested_by,
                }  # fmt: skip
                detail |= {"decision": stated.decision} if stated.decision else {}
                if stated.licence is not None:
                    detail |= {"licence": stated.licence.number, "item": stated.licence.item, "parties": list(stated.licence.parties)}
                outcome = "requested" if one.word == "request" else "approved" if whole else "signed"
            case "release" | "refusal":
                ends = stated.expires if one.word == "release" else stated.until
                detail |= {"rule": stated.rule, "artifacts": list(stated.scope.artifact), "groups": list(stated.scope.groups), "until": str(ends) if ends else None}
                detail |= {"decision": stated.decision} if stated.decision else {}
                detail |= {"lifts": stated.lifts} if one.word == "release" else {}
                outcome = "refused" if one.word == "refusal" else "released" if whole else "signed"
            case "deny":
                detail |= {"artifacts": list(stated.artifacts), "legal": stated.legal, "until": str(stated.until) if stated.until else None}
                outcome = "denied"
            case _:
                outcome = _ENDS[one.word]
        return self._event(_EVENTS[one.id[0]], case.id, outcome, detail)

    def _event(self, kind: EventKind, subject: str, outcome: str, detail: Mapping[str, Any]) -> Event:
        kept = sorted((key, value) for key, value in detail.items() if key not in ("kind", "at"))
        return Event(kind, self._now(), _SELF, subject=subject, detail=(("outcome", outcome), *kept))

    def _row(self, one: Found, *, whole: bool) -> Mapping[str, Any]:
        row = {"kind": "statement", "at": instant(self._now()), "id": one.id, "word": one.word, "envelope": one.digest, "complete": whole}
        return row | {"raw": base64.b64encode(one.raw).decode()} if one.word in _KEPT else row

    def _copy(self, done: _Activated) -> None:
        """Keep the policy where a restart finds it although the files were changed meanwhile."""
        if self.sources.data is None or self.sources.policy is None:
            return
        folder = self.sources.data / "approvals" / f"policy-{done.row['number']}"
        for name, text in done.texts:
            write_whole(folder / name, text.encode())
        write_whole(signature_of(folder / self.sources.policy.name), done.raw)


def _other_files(stated: Activation, policy: Policy, source: str) -> Iterator[Problem]:
    signed, there = {one.name: one.sha256 for one in stated.files}, {one.name: one.sha256 for one in digests(policy.texts)}
    for name in sorted(signed.keys() | there.keys()):
        if name not in there:
            yield Problem(source, "", f"{name} was signed, and is not there")
        elif name not in signed:
            yield Problem(source, "", f"{name} is there, and was not signed")
        elif signed[name] != there[name]:
            yield Problem(source, "", f"{name} was changed after it was signed")


def _begins(policy: Policy, texts: tuple[tuple[str, str], ...]) -> bool:
    return policy.texts[: len(texts)] == texts
