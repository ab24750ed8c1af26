"""`mirror policy activate|deny|lift|denies`: a policy brought into force by signatures, and the emergency brake."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirror.cli.signing import Place, as_json, confirm, day, enrolled, key_options, place, say, signer, table, yes
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from mirror.core.dsse import Envelope
    from mirror.policy.rules import Policy
    from mirror.policy.statements import Activation

# --- activation ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _State:
    """The policy as it lies there, and the signatures beside it that are over it (None: none are)."""

    policy: Policy
    path: Path
    beside: Path
    pending: tuple[Activation, Envelope] | None
    number: int  # of the next activation


@click.command()
@click.option("--requested-by", "person", help="Who wants this policy in force; an id such as `bob`, and not an approver of it.")
@click.option("--reason", default="", help="Why; it is signed too.")
@click.option("--rollback", is_flag=True, help="Yes, this text was in force before.")
@key_options(required=False)
@yes
@as_json
@click.pass_context
def activate(
    ctx: click.Context, person: str | None, reason: str, rollback: bool, key_path: Path | None, passphrase_file: Path | None,
    yes: bool, as_json: bool,
) -> None:
    """Sign the configured policy as it lies there, into the file beside it; without --key: say what is missing.

    The first signature opens the activation and needs --requested-by. Exit 1 while signatures are missing.
    """
    from mirror.core import dsse
    from mirror.durable import write_whole
    from mirror.policy.approval import Demand, approvals

    here, now = place(ctx), datetime.now(UTC)
    found = _state(here)
    if key_path is None:
        ctx.exit(_told(here, as_json=as_json))
    key = signer(key_path, passphrase_file)
    who = enrolled(here, key)
    stated, envelope = found.pending or _opened(here, found, person, reason, now, rollback=rollback)
    if person is not None and person.casefold() != stated.requested_by:
        raise InputError([Problem("", "--requested-by", f"this activation was requested by {stated.requested_by!r}")])
    done = dsse.signed(envelope, key)
    signs = here.approvals.sources.requests_signed
    approvals(done, here.approvals.roll, Demand(stated.requested_by, stated.at, requester_signs=signs, partial=True), now, found.beside.name)
    shown = {f"file {one.name}": one.sha256 for one in stated.files}
    confirm({"activation": stated.number, **shown, "requested by": stated.requested_by, "reason": stated.reason, "signing": who.person}, agreed=yes)
    try:
        write_whole(found.beside, dsse.written(done))
    except OSError as error:
        raise InputError([Problem(str(found.beside), "", error.strerror or "cannot be written")]) from None
    ctx.exit(_told(here, as_json=as_json))


def _state(here: Place) -> _State:
    from mirror.core import dsse
    from mirror.durable import read_small
    from mirror.lists.editions import previews
    from mirror.policy import statements
    from mirror.proxy.approvals import digests, signature_of
    from mirror.proxy.rulebook import load_epoch

    config, approvals = here.config, here.approvals
    path = config.policy.path
    if not approvals.sources.signed or path is None:
        raise InputError([Problem("policy.activation", "", "is 'immediate': a sound policy is in force without signatures")])
    policy = load_epoch(path, config.catalogue, config.lists, load_one=previews(config.data, offline=config.network == "offline")).policy
    beside, newest = signature_of(path), approvals.newest()
    pending, number = None, newest["number"] if newest else 0
    if beside.exists() or beside.is_symlink():
        raw = read_small(beside, dsse.LARGEST)
        try:
            envelope = dsse.read(raw, str(beside))
            stated = statements.read(envelope, statements.ACTIVATION, str(beside))
        except InputError:
            return _State(policy, path, beside, None, number + 1)  # what lies there is void; a new activation takes its place
        if stated.files == digests(policy.texts) and (newest is None or stated.number > newest["number"] or _same(newest, raw)):
            pending = stated, envelope
        number = max(number, stated.number) if stated.number < number + 1000 else number
    return _State(policy, path, beside, pending, number + 1)


def _same(newest: Any, raw: bytes) -> bool:
    from hashlib import sha256

    return bool(newest["envelope"] == sha256(raw).hexdigest())


def _opened(
    here: Place, found: _State, person: str | None, reason: str, now: datetime, *, rollback: bool
) -> tuple[Activation, Envelope]:
    from mirror.policy import statements
    from mirror.proxy.approvals import digests

    if person is None:
        raise InputError([Problem("", "--requested-by", "is required by the first signature: who wants this policy in force?")])
    rows = list(here.approvals.register.rows("activation")) if here.approvals.register else []
    before = [row["number"] for row in rows if row["policy"] == found.policy.digest]
    if before and before[-1] != rows[-1]["number"] and not rollback:
        raise InputError([Problem(str(found.path), "", f"was in force before, as activation {before[-1]}: --rollback says that you mean it")])
    stated = statements.Activation(found.number, now, person.casefold(), digests(found.policy.texts), reason)
    envelope = statements.drafted(statements.ACTIVATION, stated)
    statements.read(envelope, statements.ACTIVATION, found.beside.name)
    return stated, envelope


def _told(here: Place, *, as_json: bool) -> int:
    """Print where the activation stands; gives the exit code."""
    found = _state(here)
    row: dict[str, Any] = {"policy": found.policy.digest, "file": str(found.path), "signatures": str(found.beside), "in_order": True, "problems": []}
    try:
        here.approvals.demand(found.policy)
    except InputError as error:
        row |= {"in_order": False, "problems": [str(problem) for problem in error.problems]}
    if found.pending is not None:
        row |= {"number": found.pending[0].number, "requested_by": found.pending[0].requested_by}
    said = "in order: in force on the running mirror within seconds" if row["in_order"] else "\n".join(row["problems"])
    say(row, as_json=as_json, text=f"{found.path} ({found.policy.digest[:12]}): {said}")
    return 0 if row["in_order"] else 1


# --- emergency -------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("artifacts", nargs=-1, required=True, metavar="ARTIFACT...")
@click.option("--reason", required=True, help="What everybody who is refused will read.")
@click.option("--legal", is_flag=True, help="The law demands it: 451, and two approvers to lift it. Needs --basis.")
@click.option("--basis", default="", help="The law or order.")
@click.option("--until", help="The first day on which it does not hold any more; else until it is lifted.")
@key_options()
@yes
@as_json
@click.pass_context
def deny(
    ctx: click.Context, artifacts: tuple[str, ...], reason: str, legal: bool, basis: str, until: str | None, key_path: Path,
    passphrase_file: Path | None, yes: bool, as_json: bool,
) -> None:
    """Refuse ARTIFACT (a package URL or pattern) to everybody, now: one approver's signature, in force within seconds.

    Copies in the cache are refused too, and no waiver lifts it.
    """
    from mirror.core import ids
    from mirror.policy import statements

    here, now = place(ctx), datetime.now(UTC)
    key = signer(key_path, passphrase_file)
    who = enrolled(here, key)
    stated = statements.Deny(f"D-{ids.ulid(now, os.urandom(10))}", now, artifacts, reason, legal, basis, day(until, "--until"))
    confirm({"deny": ", ".join(artifacts), "reason": reason, "until": until or "lifted", "signing": who.person}, agreed=yes)
    people = _signed_into(here, stated.id, "deny", statements.drafted(statements.DENY, stated), key, now)
    row = {"id": stated.id, "artifacts": list(artifacts), "approved_by": list(people)}
    say(row, as_json=as_json, text=f"{stated.id}: {', '.join(artifacts)} denied by {', '.join(people)}; in force within seconds")


def _signed_into(here: Place, identity: str, word: str, envelope: Envelope, key: Ed25519PrivateKey, now: datetime) -> tuple[str, ...]:
    from mirror.core import dsse
    from mirror.policy import statements
    from mirror.policy.approval import Demand, approvals
    from mirror.trust.drawer import KINDS, Drawer

    statements.read(envelope, KINDS[word], identity)
    done = dsse.signed(envelope, key)
    people = approvals(done, here.approvals.roll, Demand("", now), now, identity)
    Drawer(here.data).put(identity, word, done)
    return people


@click.command()
@click.argument("identity", metavar="DENY")
@click.option("--reason", default="", help="Why it is over. Needed by the first signature.")
@click.option("--requested-by", "person", help="Who asks for it, and is not an approver of it. Needed by the first signature.")
@key_options()
@yes
@as_json
@click.pass_context
def lift(
    ctx: click.Context, identity: str, reason: str, person: str | None, key_path: Path, passphrase_file: Path | None, yes: bool, as_json: bool
) -> None:
    """End an emergency DENY. One approver who did not ask for it; two for a legal one."""
    from mirror.core import dsse
    from mirror.policy import statements
    from mirror.policy.approval import Demand, approvals
    from mirror.trust.drawer import Drawer

    here, now, identity = place(ctx), datetime.now(UTC), identity.upper()
    assessed, drawer = here.approvals.look(), Drawer(here.data)
    case = assessed.cases.get(identity)
    if case is None or case.deny is None or case.lift is not None:
        raise InputError([Problem("", "DENY", f"{identity} is lifted already" if case is not None and case.lift else f"there is no emergency deny {identity}")])
    before = drawer.get(identity, "lift")
    if before is None:
        missing = [Problem("", option, "is required by the first signature") for option, given in (("--reason", reason), ("--requested-by", person)) if not given]
        if missing or person is None:
            raise InputError(missing)
        stated = statements.Lift(identity, now, person.casefold(), reason, case.deny.envelope.digest)
        envelope = statements.drafted(statements.LIFT, stated)
        statements.read(envelope, statements.LIFT, identity)
    else:
        stated, envelope = before.statement, before.envelope
    key = signer(key_path, passphrase_file)
    who = enrolled(here, key)
    need = 2 if case.deny.statement.legal else 1
    done = dsse.signed(envelope, key)
    people = approvals(done, here.approvals.roll, Demand(stated.requested_by, stated.at, need), now, identity)
    confirm({"lift": identity, "of": ", ".join(case.deny.statement.artifacts), "reason": stated.reason, "signing": who.person}, agreed=yes)
    if before is None:
        drawer.put(identity, "lift", done)
    else:
        drawer.sign(before, done)
    said = "lifted within seconds" if len(people) >= need else f"{need - len(people)} more approver must sign"
    row = {"id": identity, "approved_by": list(people), "need": need, "lifted": len(people) >= need}
    say(row, as_json=as_json, text=f"{identity} signed by {', '.join(people)}: {said}")


@click.command()
@as_json
@click.pass_context
def denies(ctx: click.Context, as_json: bool) -> None:
    """List the emergency denies and whether they are in force. Exit 1 where a file of one is void."""
    found, now = place(ctx).approvals.look(), datetime.now(UTC)
    rows = []
    for case in found.cases.values():
        if not case.id.startswith("D-") or case.deny is None:
            continue
        stated = case.deny.statement
        state = "lifted" if case.lift else "expired" if stated.until is not None and now.date() >= stated.until else "in force"
        rows.append({
            "id": case.id, "state": state, "artifacts": list(stated.artifacts), "at": stated.at.isoformat(), "reason": stated.reason, "legal": stated.legal,
            "basis": stated.basis, "until": str(stated.until) if stated.until else None, "approved_by": list(found.people.get(case.deny.digest, ())),
        })  # fmt: skip
    table(rows, ("id", "state", "artifacts", "approved_by", "until", "reason"), as_json=as_json)
    problems = [problem for problem in found.problems if "D-" in problem.source]
    for problem in problems:
        click.echo(str(problem), err=True)
    ctx.exit(1 if problems else 0)


COMMANDS = (activate, deny, lift, denies)
