"""`mirror waiver`: exceptions from a rule, asked for by whoever was refused, signed by whoever may approve them."""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mirror.cli.signing import Place, as_json, confirm, day, enrolled, key_options, place, say, signer, table, yes
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from mirror.policy.statements import Licence, Waiver
    from mirror.trust.drawer import Found
    from mirror.trust.standing import Case

_STATES: Final = ("requested", "signed", "approved", "rejected", "expired", "void")
_LICENCE: Final = {
    "--licence-number": "The number of the government licence that is the reason.",
    "--licence-item": "What it licenses.",
    "--licence-authority": "Who issued it.",
    "--licence-from": "Its first day.",
    "--licence-until": "The first day on which it is no longer valid.",
}


@click.group("waiver")
def command() -> None:
    """Ask for exceptions from a rule, and approve or reject them."""


def _licence_options(function: Any) -> Any:
    function = click.option("--licence-party", "licence_parties", multiple=True, help="Who may receive under it (repeatable).")(function)
    for option, text in reversed(_LICENCE.items()):
        function = click.option(option, help=text)(function)
    return function


# --- asking ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a waiver is asked for."""

    artifact: str
    rule: str
    groups: tuple[str, ...]
    others: tuple[str, ...] = ()


@command.command()
@click.argument("decision", required=False)
@click.option("--reason", required=True, help="Why it is needed: a ticket, a sentence.")
@click.option("--by", "person", help="Who asks, as an id such as `bob`; else the user of this machine.")
@click.option("--rule", help="The rule to be lifted; else the one that decided.")
@click.option("--artifact", help="What for, where there is no decision: a package URL or pattern.")
@click.option("--scope", type=click.Choice(["file", "revision", "project"]), default="revision", show_default=True, help="How much of it.")
@click.option("--group", "groups", multiple=True, help="For whom (repeatable); else the groups of whoever was refused.")
@click.option("--from", "since", help="The first day on which it holds; else at once.")
@click.option("--until", help="The first day on which it does not hold any more; else 30 days from now.")
@_licence_options
@key_options(required=False)
@as_json
@click.pass_context
def request(
    ctx: click.Context, /, decision: str | None, reason: str, person: str | None, rule: str | None, artifact: str | None, scope: str,
    groups: tuple[str, ...], since: str | None, until: str | None, key_path: Path | None, passphrase_file: Path | None, as_json: bool,
    **licence: Any,
) -> None:
    """Ask for an exception, by the DECISION that a refusal named, or with --artifact and --rule."""
    from mirror.core import dsse, ids
    from mirror.policy import amend, statements
    from mirror.policy.grammar import ExceptionScope

    here, now = place(ctx), datetime.now(UTC)
    asked = _decided(here, decision, scope, rule) if decision else _named(artifact, rule)
    waiver = statements.Waiver(
        id=f"W-{ids.ulid(now, os.urandom(10))}", at=now, requested_by=(person or getpass.getuser()).casefold(), rule=asked.rule,
        scope=ExceptionScope(artifact=(artifact or asked.artifact,), groups=groups or asked.groups), reason=reason,
        since=day(since, "--from"), expires=day(until, "--until") or now.date() + timedelta(days=30), decision=(decision or "").upper(), licence=_licence(**licence),
    )  # fmt: skip
    envelope = statements.drafted(statements.REQUEST, waiver)
    statements.read(envelope, statements.REQUEST, "the request")
    policy = here.rules().policy
    if fault := amend.unfit(policy, waiver):
        raise InputError([Problem("", "--rule", fault)])
    if key_path is not None:
        envelope = dsse.signed(envelope, signer(key_path, passphrase_file))
    _requested_in_order(here, envelope, waiver, now)
    file = _drawer(here).put(waiver.id, "request", envelope)
    granted = amend.automatic(policy, waiver)
    need = amend.need_of(policy, waiver.rule)
    said = "granted by the rule itself" if granted else f"{need} approval{'s' if need > 1 else ''} needed: `mirror waiver approve {waiver.id} --key FILE`"
    row = {"id": waiver.id, "rule": waiver.rule, "artifact": list(waiver.scope.artifact), "expires": str(waiver.expires), "granted": granted, "need": need, "file": str(file)}
    text = [f"requested {waiver.id}: {waiver.rule} for {', '.join(waiver.scope.artifact)} until {waiver.expires}", said]
    text += [f"the rule {other} refuses it too: it needs a waiver of its own" for other in asked.others]
    say(row | {"also": list(asked.others)}, as_json=as_json, text="\n".join(text))


def _requested_in_order(here: Place, envelope: Any, waiver: Waiver, now: datetime) -> None:
    from mirror.policy.approval import Demand, requested

    demand = Demand(waiver.requested_by, waiver.at, requester_signs=here.approvals.sources.requests_signed)
    requested(envelope, here.approvals.roll, demand, now, "the request")


def _named(artifact: str | None, rule: str | None) -> _Asked:
    missing = [Problem("", option, "is required without a decision") for option, given in (("--artifact", artifact), ("--rule", rule)) if not given]
    if missing or artifact is None or rule is None:
        raise InputError(missing)
    return _Asked(artifact, rule, ())


def _decided(here: Place, identity: str, scope: str, rule: str | None) -> _Asked:
    """What a recorded refusal was about. Raises `InputError`."""
    from mirror.core.purl import parse_artifact

    found = asyncio.run(_recorded(here, identity.upper()))
    decision = (found or {}).get("decision")
    if not isinstance(decision, Mapping):
        raise InputError([Problem("", "DECISION", f"this mirror's ledger holds no decision {identity}")])
    if decision["effect"] in ("allow", "warn"):
        raise InputError([Problem("", "DECISION", f"{identity} was no refusal")])
    deciding = [one["id"] for one in decision["rules"] if one["mode"] == "enforce" and not one.get("exception") and one["effect"] not in ("allow", "warn")]
    if not deciding:
        raise InputError([Problem("", "DECISION", "no rule decided: the policy's default is to deny; a rule with effect allow permits")])
    chosen = rule or deciding[0]
    artifact = parse_artifact(decision["artifact"])
    artifact = artifact if scope == "file" else replace(artifact, path="")
    artifact = artifact if scope != "project" else replace(artifact, revision="")
    return _Asked(str(artifact), chosen, tuple(decision["actor"]["groups"]), tuple(one for one in deciding if one != chosen))


async def _recorded(here: Place, identity: str) -> Mapping[str, Any] | None:
    from mirror.cli.record_index import record_index

    async with record_index(here.config) as index:
        return await index.find_decision(identity)


def _licence(**given: Any) -> Licence | None:
    from mirror.policy.statements import Licence

    if not any(given.values()):
        return None
    return Licence(
        number=given["licence_number"] or "", item=given["licence_item"] or "", parties=tuple(given["licence_parties"]),
        since=day(given["licence_from"], "--licence-from"), until=day(given["licence_until"], "--licence-until"),
        authority=given["licence_authority"] or "",
    )  # fmt: skip


# --- answering -------------------------------------------------------------------------------------------------------


@command.command()
@click.argument("waiver")
@click.option("--until", help="End it earlier than was asked for: the first day on which it does not hold any more.")
@key_options()
@yes
@as_json
@click.pass_context
def approve(ctx: click.Context, waiver: str, until: str | None, key_path: Path, passphrase_file: Path | None, yes: bool, as_json: bool) -> None:
    """Sign a WAIVER. It is in force on the running mirror within seconds of its last signature; a legal rule takes two."""
    from mirror.core import dsse
    from mirror.policy import amend, statements
    from mirror.policy.approval import Demand, approvals

    here, now, identity = place(ctx), datetime.now(UTC), waiver.upper()
    case = _case(here, identity)
    policy = here.rules().policy
    asked = case.request
    if asked is None or case.rejection is not None:
        raise InputError([Problem("", "WAIVER", f"{identity} was rejected" if case.rejection else f"{identity} has no request in order")])
    if fault := amend.unfit(policy, asked.statement):
        raise InputError([Problem(identity, "", fault)])
    if case.grant is None:
        if _drawer(here).get(identity, "waiver") is not None:
            raise InputError([Problem(identity, "", "the signatures that lie there are void; see `mirror waiver list`")])
        if until is not None and until > str(asked.statement.expires):
            raise InputError([Problem("", "--until", f"is later than what was asked for ({asked.statement.expires})")])
        terms = replace(asked.statement, at=now, request=asked.envelope.digest, expires=day(until, "--until") or asked.statement.expires)
        envelope = statements.drafted(statements.GRANT, terms)
    elif until is not None:
        raise InputError([Problem("", "--until", "another approver has signed already, for " + str(case.grant.statement.expires))])
    else:
        terms, envelope = case.grant.statement, case.grant.envelope
    key = signer(key_path, passphrase_file)
    who = enrolled(here, key)
    need = amend.need_of(policy, terms.rule)
    done = dsse.signed(envelope, key)
    people = approvals(done, here.approvals.roll, Demand(terms.requested_by, terms.at, need), now, identity)
    confirm(_summary(terms, who.person), agreed=yes)
    if case.grant is None:
        _drawer(here).put(identity, "waiver", done)
    else:
        _drawer(here).sign(case.grant, done)
    said = "in force within seconds" if len(people) >= need else f"{need - len(people)} more approver must sign"
    row = {"id": identity, "approved_by": list(people), "need": need, "in_force": len(people) >= need}
    say(row, as_json=as_json, text=f"{identity} signed by {', '.join(people)}: {said}")


@command.command()
@click.argument("waiver")
@click.option("--reason", required=True, help="Why not.")
@key_options()
@as_json
@click.pass_context
def reject(ctx: click.Context, waiver: str, reason: str, key_path: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Refuse a WAIVER, or take an approved one back, for good. One approver's signature; in force within seconds."""
    from mirror.core import dsse
    from mirror.policy import statements
    from mirror.policy.approval import Demand, approvals

    here, now, identity = place(ctx), datetime.now(UTC), waiver.upper()
    if _case(here, identity).rejection is not None:
        raise InputError([Problem("", "WAIVER", f"{identity} was rejected already")])
    key = signer(key_path, passphrase_file)
    enrolled(here, key)
    envelope = dsse.signed(statements.drafted(statements.REJECTION, statements.Rejection(identity, now, reason)), key)
    people = approvals(envelope, here.approvals.roll, Demand("", now), now, identity)
    _drawer(here).put(identity, "rejection", envelope)
    say({"id": identity, "rejected_by": list(people)}, as_json=as_json, text=f"{identity} rejected by {', '.join(people)}")


# --- looking ---------------------------------------------------------------------------------------------------------


@command.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice(_STATES), help="Only these (repeatable).")
@as_json
@click.pass_context
def list_(ctx: click.Context, states: tuple[str, ...], as_json: bool) -> None:
    """List every waiver with its state; what is wrong with files that are void goes to standard error.

    Exit 1 where a file is void.
    """
    here = place(ctx)
    found = here.approvals.look()
    policy, now = here.rules().policy, datetime.now(UTC)
    rows = [_row(case, policy, now) for case in found.cases.values() if case.id.startswith("W-")]
    table([row for row in rows if not states or row["state"] in states], ("id", "state", "rule", "artifact", "requested_by", "approved_by", "expires"), as_json=as_json)
    for problem in found.problems:
        click.echo(str(problem), err=True)
    ctx.exit(1 if found.problems else 0)


def _row(case: Case, policy: Any, now: datetime) -> dict[str, Any]:
    from mirror.policy import amend

    one: Found | None = case.grant or case.request
    if one is None:
        return {"id": case.id, "state": "rejected" if case.rejection else "void", "rule": None, "artifact": [], "requested_by": None, "approved_by": [], "expires": None}
    stated: Waiver = one.statement
    need = 0 if case.grant is None and amend.automatic(policy, stated) else amend.need_of(policy, stated.rule)
    if case.rejection is not None:
        state = "rejected"
    elif stated.expires is not None and now.date() >= stated.expires:
        state = "expired"
    elif len(case.approved_by) >= need:
        state = "approved"
    else:
        state = "signed" if case.approved_by else "requested"
    row = {
        "id": case.id, "state": state, "rule": stated.rule, "artifact": list(stated.scope.artifact), "requested_by": stated.requested_by,
        "approved_by": list(case.approved_by), "expires": str(stated.expires), "need": need, "groups": list(stated.scope.groups),
        "reason": stated.reason, "decision": stated.decision, "fault": amend.unfit(policy, stated), "at": stated.at.isoformat(),
    }  # fmt: skip
    licence = stated.licence
    return row if licence is None else row | {"licence": {
        "number": licence.number, "item": licence.item, "parties": list(licence.parties), "authority": licence.authority,
        "from": str(licence.since) if licence.since else None, "until": str(licence.until) if licence.until else None,
    }}  # fmt: skip


def _case(here: Place, identity: str) -> Case:
    """Everything in order about one waiver. Raises `InputError`, naming what is void."""
    found = here.approvals.look()
    case = found.cases.get(identity)
    if case is None or case.request is None:
        problems = [problem for problem in found.problems if identity in problem.source]
        raise InputError(problems or [Problem("", "WAIVER", f"there is no waiver {identity}")])
    return case


def _summary(terms: Waiver, person: str) -> Mapping[str, object]:
    shown: dict[str, object] = {
        "waiver": terms.id, "lifts rule": terms.rule, "for": ", ".join(terms.scope.artifact), "groups": ", ".join(terms.scope.groups) or "everyone",
        "until": terms.expires, "reason": terms.reason, "requested by": terms.requested_by, "signing": person,
    }  # fmt: skip
    if terms.licence is not None:
        shown["licence"] = f"{terms.licence.number}: {terms.licence.item}, for {', '.join(terms.licence.parties)}"
    return shown


def _drawer(here: Place) -> Any:
    from mirror.trust.drawer import Drawer

    return Drawer(here.data)
