"""`mirror review`: what rules hold until a person has looked, and what that person says."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mirror.cli.signing import (
    Place,
    as_json,
    confirm,
    day,
    enrolled,
    in_force,
    key_options,
    place,
    say,
    signer,
    table,
    yes,
)
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from mirror.core.nouns import Artifact
    from mirror.policy.epoch import Epoch
    from mirror.policy.recorded import Judged
    from mirror.policy.rules import Rule
    from mirror.policy.statements import Refusal, Release, Released, Withdrawal
    from mirror.policy.subject import Subject
    from mirror.trust.drawer import Drawer, Found
    from mirror.trust.standing import Assessment, Case

    Ruling = Release | Refusal | Withdrawal

_STATES: Final = ("waiting", "reopened", "released", "refused", "passed")
#: How long a release holds where nobody says.
_LIFE: Final = timedelta(days=365)


@click.group("review")
def command() -> None:
    """See what is held until a person has looked, and release or reject it."""


# --- what is held ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Holding:
    """Something that a rule holds for a person, judged by the rules in force now."""

    rule: Rule
    lifts: str
    case: Judged
    subject: Subject
    released: str
    effect: str


def _holdings(epoch: Epoch, record: Mapping[str, Any]) -> Iterator[_Holding]:
    """Every rule that holds now, for a person, what a record is about; also those from which it has been released."""
    from mirror.core.decision import Effect
    from mirror.policy.evaluate import evaluate, rule_on
    from mirror.policy.releases import unreleasable
    from mirror.policy.replay import rederived
    from mirror.policy.subject import Subject
    from mirror.watch.past import case_of

    case = case_of(record, epoch.catalogue)
    facts, now = rederived(case, epoch.catalogue, epoch.lineage), datetime.now(UTC)
    subject = Subject(case.artifact, facts, case.actor, now)
    effect = evaluate(epoch.policy, case.artifact, facts, case.actor, now).effect.word
    for ruling in rule_on(epoch.policy, subject):
        hit = ruling.hit
        if hit.effect in (Effect.REVIEW, Effect.QUARANTINE) and not unreleasable(epoch.policy, hit.id, hit.effect.word):
            yield _Holding(ruling.rule, hit.effect.word, case, subject, hit.exception, effect)


async def _recorded(here: Place, identity: str = "", since: str = "", limit: int = 0) -> list[Mapping[str, Any]]:
    """The record of one decision, or of the newest `limit` that held something, pages that left it out included."""
    from mirror.cli.record_index import record_index

    async with record_index(here.config) as index:
        if identity:
            found = await index.find_decision(identity)
            return [found] if found is not None and "decision" in found else []
        asked = [
            await index.query({"kind": kind, "effect": effect, "since": since}, limit, None)
            for kind in ("held", "steered") for effect in ("review", "quarantine")
        ]  # fmt: skip
        return sorted((one for page in asked for one in page if "decision" in one), key=lambda one: -int(one["seq"]))


@command.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice(_STATES), help="Only these (repeatable); else all that is held or was.")
@click.option("--since", default=30, show_default=True, type=click.IntRange(1, 3650), help="Look at what was asked for in so many days.")
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(1, 100_000), help="Look at so many records of each kind.")
@as_json
@click.pass_context
def list_(ctx: click.Context, states: tuple[str, ...], since: int, limit: int, as_json: bool) -> None:
    """List what was asked for and is held for a person, by project or revision and rule, the most asked for first.

    `waiting`: nobody has decided; `reopened`: what a release rested on has changed; `released`, `refused`; `passed`: another rule decides, or the release is over.
    Exit 1 where a signed file is void.
    """
    here = place(ctx)
    found, epoch = here.approvals.look(), in_force(ctx.find_object(Path), here.rules())
    moment = (datetime.now(UTC) - timedelta(days=since)).strftime("%Y-%m-%dT%H:%M:%SZ")
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for record in asyncio.run(_recorded(here, since=moment, limit=limit)):
        try:
            held = list(_holdings(epoch, record))
        except (ValueError, TypeError, KeyError):
            continue  # of a release with other facts
        for one in held:
            artifact = str(replace(one.case.artifact, path=""))
            row = rows.setdefault((artifact, one.rule.id, one.lifts), _row(one, artifact, found, epoch))
            row["requests"] += record["count"]
            row["_who"].add(one.case.actor.name)
            row["clients"] = len(row["_who"])
            row["groups"] = sorted({*row["groups"], *one.case.actor.groups})
    shown = [{key: value for key, value in row.items() if key != "_who"} for row in rows.values() if not states or row["state"] in states]
    shown.sort(key=lambda row: (_STATES.index(row["state"]), -row["requests"], row["artifact"]))
    table(shown, ("state", "artifact", "rule", "requests", "groups", "decision", "why"), as_json=as_json)
    problems = [problem for problem in found.problems if "R-" in problem.source]
    for problem in problems:
        click.echo(str(problem), err=True)
    ctx.exit(1 if problems else 0)


def _row(one: _Holding, artifact: str, found: Assessment, epoch: Epoch) -> dict[str, Any]:
    state, why, release = _state(one, found, epoch)
    return {
        "state": state, "artifact": artifact, "rule": one.rule.id, "lifts": one.lifts, "release": release, "why": why, "requests": 0,
        "clients": 0, "groups": [], "decision": one.case.decision, "at": one.case.at.isoformat(), "effect": one.effect, "_who": set(),
    }  # fmt: skip


def _state(one: _Holding, found: Assessment, epoch: Epoch) -> tuple[str, str, str]:
    """What has become of it, why, and by which release or refusal."""
    from mirror.policy.releases import reopened

    if one.released:
        return ("released" if one.released.startswith("R-") else "passed"), f"lifted by {one.released}", one.released
    standing = found.standing
    for refusal in standing.refused:
        if one.effect == "deny" and _concerns(refusal, one):
            return "refused", refusal.reason, refusal.id
    if one.effect == "deny":
        return "passed", "denied by another rule", ""
    for given in standing.released:
        release = given.release
        if release.lifts == one.lifts and _concerns(release, one):
            if release.expires is not None and one.subject.now.date() >= release.expires:
                return "reopened", f"the release ended on {release.expires}", release.id
            why = reopened(epoch.policy, release, epoch.lists) or release.rests.changed(one.rule, one.subject)
            return ("reopened", why, release.id) if why else ("waiting", _missing(given, epoch), release.id)
    return "waiting", "", ""


def _missing(given: Released, epoch: Epoch) -> str:
    from mirror.policy.amend import need_of

    need = need_of(epoch.policy, given.release.rule)
    return f"signed by {', '.join(given.by)}; {need} must" if len(given.by) < need else "released to others"


def _concerns(statement: Any, one: _Holding) -> bool:
    from mirror.policy.patterns import PatternSet, parse_pattern

    own = one.subject.own
    patterns = PatternSet([parse_pattern(text) for text in statement.scope.artifact])
    if statement.rule != one.rule.id or patterns.find(own.ecosystem, own.kind, own.name, own.revision, own.path) is None:
        return False
    return not statement.scope.groups or not set(statement.scope.groups).isdisjoint(one.case.actor.groups)


# --- deciding ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _About:
    """What a reviewer decides on: which rule holds what, for whom, and which hold that is."""

    rule: str
    lifts: str
    artifact: str
    decision: str = ""
    holding: _Holding | None = None


def _about(here: Place, epoch: Epoch, decision: str | None, artifact: str | None, rule: str | None, scope: str) -> _About:
    """Raises `InputError`."""
    if decision is None:
        missing = [Problem("", option, "is required without a decision") for option, given in (("--artifact", artifact), ("--rule", rule)) if not given]
        if missing or artifact is None or rule is None:
            raise InputError(missing)
        known = epoch.policy.rule(rule)
        return _About(rule, "quarantine" if known is not None and known.effect.word == "quarantine" else "review", artifact)
    identity = decision.upper()
    found = asyncio.run(_recorded(here, identity))
    if not found:
        raise InputError([Problem("", "DECISION", f"this mirror's ledger holds no decision {identity}")])
    holding = [one for one in _holdings(epoch, found[0]) if not one.released and rule in (None, one.rule.id)]
    if not holding:
        raise InputError([Problem("", "DECISION", f"no rule in force holds for a person what {identity} was about")])
    if len(holding) > 1:
        names = ", ".join(one.rule.id for one in holding)
        raise InputError([Problem("", "--rule", f"several rules hold it, and each is released by itself: {names}")])
    one = holding[0]
    return _About(one.rule.id, one.lifts, artifact or _named(one.case.artifact, scope), identity, one)


def _named(artifact: Artifact, scope: str) -> str:
    artifact = artifact if scope == "file" else replace(artifact, path="")
    return str(artifact if scope != "project" else replace(artifact, revision=""))


def _subject_options(function: Any) -> Any:
    for option in (
        click.option("--group", "groups", multiple=True, help="For whom (repeatable); else for everybody."),
        click.option("--scope", type=click.Choice(["file", "revision", "project"]), default="revision", show_default=True, help="How much of it."),
        click.option("--artifact", help="What, where it is not what the decision was about: a package URL or pattern."),
        click.option("--rule", help="The rule that holds it; needed where several do."),
        click.option("--reason", required=True, help="What was looked at, and what came of it."),
        click.argument("decision", required=False),
    ):
        function = option(function)
    return function


@command.command()
@_subject_options
@click.option("--until", help="The first day on which it is held again; else a year from now.")
@key_options()
@yes
@as_json
@click.pass_context
def release(
    ctx: click.Context, decision: str | None, reason: str, rule: str | None, artifact: str | None, scope: str, groups: tuple[str, ...],
    until: str | None, key_path: Path, passphrase_file: Path | None, yes: bool, as_json: bool,
) -> None:
    """Release what a rule holds for review or in a manual quarantine, by the DECISION that the refusal named, or by --artifact and --rule.

    It lifts that one hold of that one rule, and is open again when the rule, the publisher, a lineage that the rule reads or an entry of a list that was met
    changes. A release by --artifact rests on the rule alone. One signature; two for a legal rule: the second with `mirror review sign`.
    """
    from mirror.core import ids
    from mirror.policy import statements
    from mirror.policy.grammar import ExceptionScope
    from mirror.policy.releases import Rests, resting, rule_digest, unreleasable

    here, now = place(ctx), datetime.now(UTC)
    epoch = in_force(ctx.find_object(Path), here.rules())
    about = _about(here, epoch, decision, artifact, rule, scope)
    held = epoch.policy.rule(about.rule)
    fault = unreleasable(epoch.policy, about.rule, about.lifts)
    if fault or held is None:
        raise InputError([Problem("", "--rule", fault)])
    narrow = about.holding is not None and artifact is None
    rests = resting(epoch.policy, held, about.holding.subject, epoch.lists) if narrow and about.holding else Rests(rule_digest(held, epoch.policy.sets))
    stated = statements.Release(
        id=f"R-{ids.ulid(now, os.urandom(10))}", at=now, rule=about.rule, lifts="quarantine" if about.lifts == "quarantine" else "review",
        scope=ExceptionScope(artifact=(about.artifact,), groups=groups), reason=reason, expires=day(until, "--until") or (now + _LIFE).date(),
        rests=rests, decision=about.decision,
    )  # fmt: skip
    by, need = _put(here, "release", stated, key_path, passphrase_file, yes=yes), _need(epoch, about.rule)
    said = "released within seconds" if len(by) >= need else f"{need - len(by)} more must sign: `mirror review sign {stated.id} --key FILE`"
    row = {"id": stated.id, "rule": about.rule, "lifts": about.lifts, "artifact": about.artifact, "until": str(stated.expires), "by": list(by), "need": need, "in_force": len(by) >= need}
    say(row, as_json=as_json, text=f"{stated.id}: {about.artifact} from {about.rule} until {stated.expires}: {said}")


@command.command()
@click.argument("release")
@key_options()
@yes
@as_json
@click.pass_context
def sign(ctx: click.Context, release: str, key_path: Path, passphrase_file: Path | None, yes: bool, as_json: bool) -> None:
    """Add a signature to a RELEASE from a legal rule."""
    from mirror.core import dsse
    from mirror.policy.approval import REVIEWERS, Demand, approvals

    here, now, identity = place(ctx), datetime.now(UTC), release.upper()
    one = _case(here, identity).release
    if one is None:
        raise InputError([Problem("", "RELEASE", f"{identity} is no release")])
    key = signer(key_path, passphrase_file)
    who, done = enrolled(here, key), dsse.signed(one.envelope, key)
    by = approvals(done, here.approvals.roll, Demand("", one.statement.at, roles=REVIEWERS), now, identity)
    confirm(_shown("release", one.statement, who.person), agreed=yes)
    _drawer(here).sign(one, done)
    need = _need(here.rules(), one.statement.rule)
    row = {"id": identity, "by": list(by), "need": need, "in_force": len(by) >= need}
    say(row, as_json=as_json, text=f"{identity} signed by {', '.join(by)}: {'released within seconds' if len(by) >= need else 'more must sign'}")


@command.command()
@_subject_options
@click.option("--until", help="The first day on which it is held again instead; else until it is withdrawn.")
@key_options()
@yes
@as_json
@click.pass_context
def reject(
    ctx: click.Context, decision: str | None, reason: str, rule: str | None, artifact: str | None, scope: str, groups: tuple[str, ...],
    until: str | None, key_path: Path, passphrase_file: Path | None, yes: bool, as_json: bool,
) -> None:
    """Refuse what a rule holds: it is denied from then on, for the reason given, until that is withdrawn. One signature."""
    from mirror.core import ids
    from mirror.policy import statements
    from mirror.policy.grammar import ExceptionScope

    here, now = place(ctx), datetime.now(UTC)
    about = _about(here, in_force(ctx.find_object(Path), here.rules()), decision, artifact, rule, scope)
    stated = statements.Refusal(
        id=f"R-{ids.ulid(now, os.urandom(10))}", at=now, rule=about.rule, scope=ExceptionScope(artifact=(about.artifact,), groups=groups),
        reason=reason, until=day(until, "--until"), decision=about.decision,
    )  # fmt: skip
    by = _put(here, "refusal", stated, key_path, passphrase_file, yes=yes)
    row = {"id": stated.id, "rule": about.rule, "artifact": about.artifact, "until": str(stated.until) if stated.until else None, "by": list(by)}
    say(row, as_json=as_json, text=f"{stated.id}: {about.artifact} refused by {', '.join(by)}; in force within seconds")


@command.command()
@click.argument("identity", metavar="RELEASE")
@click.option("--reason", required=True, help="Why.")
@key_options()
@yes
@as_json
@click.pass_context
def withdraw(ctx: click.Context, identity: str, reason: str, key_path: Path, passphrase_file: Path | None, yes: bool, as_json: bool) -> None:
    """Take a RELEASE or a refusal (`R-…`) back, for good: what it was about is held again. One signature."""
    from mirror.policy import statements

    here, now, identity = place(ctx), datetime.now(UTC), identity.upper()
    _case(here, identity)
    by = _put(here, "withdrawal", statements.Withdrawal(identity, now, reason), key_path, passphrase_file, yes=yes)
    say({"id": identity, "withdrawn_by": list(by)}, as_json=as_json, text=f"{identity} withdrawn by {', '.join(by)}; in force within seconds")


def _put(here: Place, word: str, stated: Ruling, key_path: Path, passphrase_file: Path | None, *, yes: bool) -> Sequence[str]:
    """Sign a new statement and lay it where the mirror finds it; who signed."""
    from mirror.core import dsse
    from mirror.policy import statements
    from mirror.policy.approval import REVIEWERS, Demand, approvals
    from mirror.trust.drawer import KINDS

    envelope = statements.drafted(KINDS[word], stated)
    statements.read(envelope, KINDS[word], stated.id)
    key = signer(key_path, passphrase_file)
    who, done = enrolled(here, key), dsse.signed(envelope, key)
    by = approvals(done, here.approvals.roll, Demand("", stated.at, roles=REVIEWERS), stated.at, stated.id)
    confirm(_shown(word, stated, who.person), agreed=yes)
    _drawer(here).put(stated.id, word, done)
    return by


def _shown(word: str, stated: Any, person: str) -> dict[str, object]:
    if word == "withdrawal":
        return {"withdraw": stated.id, "reason": stated.reason, "signing": person}
    ends = stated.expires if word == "release" else stated.until
    return {word: ", ".join(stated.scope.artifact), "rule": stated.rule, "for": ", ".join(stated.scope.groups) or "everybody",
            "reason": stated.reason, "until": ends or "withdrawn", "signing": person}  # fmt: skip


def _need(epoch: Epoch, rule: str) -> int:
    from mirror.policy.amend import need_of

    return need_of(epoch.policy, rule)


def _case(here: Place, identity: str) -> Case:
    """A release or refusal that stands. Raises `InputError`, naming what is void."""
    found = here.approvals.look()
    case = found.cases.get(identity)
    one: Found | None = (case.release or case.refusal) if case is not None else None
    if case is None or one is None:
        problems = [problem for problem in found.problems if identity in problem.source]
        raise InputError(problems or [Problem("", "RELEASE", f"there is no release {identity}")])
    if case.withdrawal is not None:
        raise InputError([Problem("", "RELEASE", f"{identity} was withdrawn already")])
    return case


def _drawer(here: Place) -> Drawer:
    from mirror.trust.drawer import Drawer

    return Drawer(here.data)
