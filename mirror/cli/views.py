"""Who asked is shown to nobody until two approvers open a view for a matter, and every use of it is recorded."""

from __future__ import annotations

import asyncio
import getpass
import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from mirror.audit.formats.released import PERSON
from mirror.cli.signing import as_json, confirm, day, enrolled, key_options, place, place_of, say, signer, table, yes
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from mirror.cli.signing import Place
    from mirror.config import Config
    from mirror.trust.drawer import Found

F = TypeVar("F", bound=Callable[..., Any])
#: Signatures that a view takes.
NEED: Final = 2
_HOW: Final = "who asked is not shown: two approvers open a view with `mirror ledger views open`, and --view names it"


def view_option(command: F) -> F:
    """`--view`."""
    return click.option("--view", metavar="V-…", help="Show who asked, by a view that two approvers have opened; the use is recorded.")(command)


def closed(option: str) -> InputError:
    """What is said where a person is asked for."""
    return InputError([Problem("", option, _HOW)])


def people_shown(config: Config, view: str | None, command: str, asked: Mapping[str, Any]) -> bool:
    """Whether who asked is shown; by a view that is recorded first. Raises `InputError` for one that is not open."""
    if view is None:
        return config.ledger.views.people == "open"
    from mirror.cli.ledger_proof import asked as asked_ledger

    found, people = _open(place_of(config), view.upper(), datetime.now(UTC))
    detail = {
        "outcome": "used", "id": found.id, "matter": found.statement.matter, "by": getpass.getuser(), "command": command,
        "asked": {key: PERSON if key == "actor" else str(value) for key, value in asked.items()}, "opened_by": list(people),
    }  # fmt: skip
    asyncio.run(asked_ledger(config, "view", detail))
    return True


def without_people(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without its personal part, as it is sealed."""
    shown = {**record, "actor": _nameless(record["actor"])}
    if decision := record.get("decision"):
        request = {key: value for key, value in decision["request"].items() if key != "user_agent"}
        request["path"] = request["path"].partition("?")[0]
        shown["decision"] = {**decision, "actor": _nameless(decision["actor"]), "request": request}
    return shown


def _nameless(actor: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in actor.items() if key not in ("name", "address")}


@click.group("views")
def views() -> None:
    """Open questions about persons for a matter, by two approvers' signatures."""


@views.command("open")
@click.option("--matter", required=True, help="What for: a case number.")
@click.option("--reason", required=True, help="Why persons must be seen for it.")
@click.option("--requested-by", "person", required=True, help="Who asks; none of the two who sign.")
@click.option("--until", required=True, help="The first day on which it is closed again, such as 2027-01-31.")
@key_options()
@yes
@as_json
@click.pass_context
def open_(
    ctx: click.Context, matter: str, reason: str, person: str, until: str, key_path: Path, passphrase_file: Path | None, yes: bool, as_json: bool
) -> None:
    """Ask for a view and sign it first; it is open once another approver has signed it too."""
    from mirror.core import dsse
    from mirror.core.ids import ulid
    from mirror.policy import statements

    here, now = place(ctx), datetime.now(UTC)
    stated = statements.Opening(f"V-{ulid(now, os.urandom(10))}", now, person.casefold(), matter, reason, day(until, "--until"))
    if stated.expires is not None and stated.expires <= now.date():
        raise InputError([Problem("", "--until", "is past")])
    envelope = statements.drafted(statements.OPENING, stated)
    statements.read(envelope, statements.OPENING, "the view")
    key = signer(key_path, passphrase_file)
    who = enrolled(here, key)
    done = dsse.signed(envelope, key)
    people = _people(here, done, stated, now)
    confirm({"view": stated.id, "matter": matter, "until": until, "requested by": person, "signing": who.person}, agreed=yes)
    _drawer(here).put(stated.id, "view", done)
    say({"id": stated.id, "signed_by": list(people), "open": False}, as_json=as_json, text=f"{stated.id}: another approver signs with `mirror ledger views sign {stated.id} --key FILE`")


@views.command("sign")
@click.argument("view")
@key_options()
@yes
@as_json
@click.pass_context
def sign(ctx: click.Context, view: str, key_path: Path, passphrase_file: Path | None, yes: bool, as_json: bool) -> None:
    """Sign a VIEW that another approver has signed. From then on it is open, which is recorded."""
    from mirror.cli.ledger_proof import asked as asked_ledger
    from mirror.core import dsse

    here, now = place(ctx), datetime.now(UTC)
    found = _found(here, view.upper())
    key = signer(key_path, passphrase_file)
    who = enrolled(here, key)
    done = dsse.signed(found.envelope, key)
    people = _people(here, done, found.statement, now)
    stated = found.statement
    confirm({"view": stated.id, "matter": stated.matter, "reason": stated.reason, "until": stated.expires, "signing": who.person}, agreed=yes)
    raw = dsse.written(done).decode()
    detail = {
        "outcome": "opened", "id": stated.id, "matter": stated.matter, "reason": stated.reason, "requested_by": stated.requested_by,
        "approved_by": list(people), "expires": str(stated.expires), "raw": raw,
    }  # fmt: skip
    if len(people) >= NEED:
        asyncio.run(asked_ledger(here.config, "view", detail))
    _drawer(here).sign(found, done)
    say({"id": stated.id, "signed_by": list(people), "open": len(people) >= NEED}, as_json=as_json, text=f"{stated.id} signed by {', '.join(people)}: open until {stated.expires}")


@views.command("list")
@as_json
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List every view with its state."""
    here, now = place(ctx), datetime.now(UTC)
    rows = []
    for path in sorted((here.data / "views").glob("V-*.view.json")):
        found = _found(here, path.name.partition(".")[0])
        stated = found.statement
        try:
            people, fault = _people(here, found.envelope, stated, now), ""
        except InputError as error:
            people, fault = (), str(error.problems[0])
        state = "void" if fault else "closed" if now.date() >= stated.expires else "open" if len(people) >= NEED else "signed"
        rows.append({"id": stated.id, "state": state, "matter": stated.matter, "requested_by": stated.requested_by, "signed_by": list(people), "until": str(stated.expires), "fault": fault})
    table(rows, ("id", "state", "matter", "requested_by", "signed_by", "until"), as_json=as_json)


def _open(here: Place, identity: str, now: datetime) -> tuple[Found, tuple[str, ...]]:
    found = _found(here, identity)
    people = _people(here, found.envelope, found.statement, now)
    if len(people) < NEED:
        raise InputError([Problem("", "--view", f"{identity} is signed by {', '.join(people)} alone: another approver must sign it")])
    if now.date() >= found.statement.expires:
        raise InputError([Problem("", "--view", f"{identity} was open until {found.statement.expires}")])
    return found, people


def _found(here: Place, identity: str) -> Found:
    found: Found | None = _drawer(here).get(identity, "view") if re.fullmatch("V-[0-9A-HJKMNP-TV-Z]{26}", identity) else None
    if found is None:
        raise InputError([Problem("", "VIEW", f"there is no view {identity}")])
    return found


def _people(here: Place, envelope: Any, stated: Any, now: datetime) -> tuple[str, ...]:
    """Who has signed it. Raises `InputError` for a signature that must not be there."""
    from mirror.policy.approval import Demand, approvals

    return approvals(envelope, here.approvals.roll, Demand(stated.requested_by, stated.at, NEED), now, stated.id)


def _drawer(here: Place) -> Any:
    from mirror.trust.drawer import Drawer

    return Drawer(here.data)
