"""`mirror hold add|list|lift`: while a matter stands, nothing that it covers is deleted - no record, no personal part, no key of pseudonyms."""

from __future__ import annotations

import asyncio
import getpass
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirror.cli.ledger_proof import asked as asked_ledger
from mirror.cli.signing import as_json, enrolled, key_options, place, say, signer, table
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from mirror.cli.signing import Place


@click.group("hold")
def command() -> None:
    """Keep what a matter needs from being deleted."""


@command.command()
@click.argument("matter")
@click.option("--reason", required=True, help="Why: a case number, a sentence.")
@click.option("--publisher", "publishers", multiple=True, help="Only what this publisher made, or what was made from it; its id in the catalogue (repeatable).")
@click.option("--artifact", "artifacts", multiple=True, help="Only what begins with this package URL (repeatable).")
@click.option("--actor", "actors", multiple=True, help="Only what this pseudonym asked for (repeatable).")
@click.option("--since", help="Only what was recorded from then on: a date or moment (UTC).")
@click.option("--until", help="Only what was recorded before then.")
@click.option("--by", help="Who adds it; else the user of this machine.")
@as_json
@click.pass_context
def add(
    ctx: click.Context, matter: str, reason: str, publishers: tuple[str, ...], artifacts: tuple[str, ...], actors: tuple[str, ...],
    since: str | None, until: str | None, by: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Add a hold for MATTER. Without a scope it covers everything; what cannot be known of a record counts as covered."""
    from mirror.core.ids import ulid

    _stated(matter, reason, artifacts, actors)
    here = place(ctx)
    identity = f"H-{ulid(datetime.now(UTC), os.urandom(10))}"
    detail: dict[str, Any] = {"outcome": "added", "id": identity, "matter": matter, "by": _person(by), "reason": reason}
    scope: dict[str, Any] = {"publisher": list(publishers), "artifact": list(artifacts), "actor": list(actors)}
    times = {"since": _moment(since, "--since"), "until": _moment(until, "--until")}
    if times["since"] and times["until"] and times["since"] >= times["until"]:
        raise InputError([Problem("", "--until", "is not after --since")])
    detail |= {key: value for key, value in (scope | times).items() if value}
    done = asyncio.run(asked_ledger(here.config, "hold", detail))
    say(done, as_json=as_json, text=f"{identity} stands: what it covers is not deleted until another person lifts it")


@command.command("list")
@as_json
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List every hold that stands."""
    rows = [one.row() for one in _standing(place(ctx)).values()]
    table(rows, ("id", "matter", "by", "at", "publisher", "artifact", "actor", "since", "until"), as_json=as_json)


@command.command()
@click.argument("hold")
@click.option("--reason", required=True, help="Why it is not needed any more.")
@click.option("--by", help="Who lifts it, where no approver is enrolled; else the signature says.")
@key_options(required=False)
@as_json
@click.pass_context
def lift(ctx: click.Context, hold: str, reason: str, by: str | None, key_path: Path | None, passphrase_file: Path | None, as_json: bool) -> None:
    """Lift a HOLD that another person has added. Where approvers are enrolled (`trust.verify`) one of them signs with --key."""
    here, now, identity = place(ctx), datetime.now(UTC), hold.upper()
    standing = _standing(here).get(identity)
    if standing is None:
        raise InputError([Problem("", "HOLD", f"no hold {identity} stands")])
    detail: dict[str, Any] = {"outcome": "lifted", "id": identity, "reason": reason}
    if key_path is None:
        if here.approvals.roll.people("approver", now):
            raise InputError([Problem("", "--key", "is required: approvers are enrolled, and one of them who did not add the hold signs")])
        detail["by"] = _person(by)
    else:
        detail |= _signed(here, identity, standing.by, reason, key_path, passphrase_file)
    done = asyncio.run(asked_ledger(here.config, "hold", detail))
    say(done, as_json=as_json, text=f"{identity} was lifted by {detail['by']}")


def _signed(here: Place, identity: str, added_by: str, reason: str, key_path: Path, passphrase_file: Path | None) -> dict[str, Any]:
    from mirror.core import dsse
    from mirror.policy import statements
    from mirror.policy.approval import Demand, approvals

    now = datetime.now(UTC)
    key = signer(key_path, passphrase_file)
    enrolled(here, key)
    envelope = dsse.signed(statements.drafted(statements.HOLD_LIFT, statements.HoldLift(identity, now, added_by, reason)), key)
    people = approvals(envelope, here.approvals.roll, Demand(added_by, now), now, identity)
    return {"by": people[0], "raw": dsse.written(envelope).decode()}


def _standing(here: Place) -> Any:
    from mirror.audit.holds import Holds
    from mirror.audit.segments import read_head
    from mirror.audit.survey import Notebook, survey
    from mirror.ledger_wiring import ledger_folder

    directory = ledger_folder(here.config)
    head = read_head(directory)
    if head is None:
        raise InputError([Problem(str(directory), "", "there is no ledger here")])
    records = survey(directory, Notebook.read(directory), head.count)
    return Holds().whole([one for one in records if one["kind"] == "hold"]).standing


def _stated(matter: str, reason: str, artifacts: tuple[str, ...], actors: tuple[str, ...]) -> None:
    """Raises `InputError` for what nothing on the record could ever match: a hold that covers nothing is worse than none."""
    texts = (("MATTER", matter), ("--reason", reason))
    faults = [Problem("", name, "is empty") for name, text in texts if not text.strip()]
    faults += [Problem("", name, "has a character that cannot be printed") for name, text in texts if not text.isprintable()]
    faults += [
        Problem("", "--artifact", f"{one!r} is not how a package URL begins, such as pkg:huggingface/acme/ (no patterns)")
        for one in artifacts
        if not one.startswith("pkg:") or "*" in one
    ]
    faults += [Problem("", "--actor", f"{one!r} is no pseudonym, such as a:0123456789abcdef") for one in actors if not re.fullmatch(r"[a-z]:\S+", one)]
    if faults:
        raise InputError(faults)


def _person(by: str | None) -> str:
    return (by or getpass.getuser()).casefold()


def _moment(text: str | None, option: str) -> str:
    from mirror.core.canonical import instant

    if text is None:
        return ""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InputError([Problem("", option, f"{text!r} is neither a date nor a moment such as 2026-01-31T12:00Z")]) from None
    return instant(found if found.tzinfo else found.replace(tzinfo=UTC))
