"""`mirror key`: keys with which people sign. Private keys stay with them; the mirror has their cards only."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mirror.cli.key_show import show
from mirror.cli.signing import as_json, day, passphrase, place, say, signer, table
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from mirror.policy.approval import Enrolled

_OUT: Final = click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Where to write; else here.")
_UNENCRYPTED: Final = click.option("--unencrypted", is_flag=True, help="Write the key without a passphrase (for a machine's key).")


@click.group("key")
def command() -> None:
    """Make, rotate and list the keys with which people sign."""


@command.command()
@click.argument("person")
@click.option("--role", "roles", multiple=True, type=click.Choice(["approver", "requester", "reviewer", "catalogue", "sender"]), help="What it may sign (repeatable); else approver.")
@click.option("--name", default="", help="The person's name, for people.")
@click.option("--until", help="The first day on which it signs nothing more; else two years from now.")
@click.option("--passphrase-file", type=click.Path(path_type=Path), help="Reads the passphrase; without it you are asked.")
@_UNENCRYPTED
@_OUT
@as_json
def new(person: str, roles: tuple[str, ...], name: str, until: str | None, passphrase_file: Path | None, unencrypted: bool, out: Path, as_json: bool) -> None:
    """Make a key for PERSON (an id such as `alice`): PERSON-….key, which is secret, and PERSON-….yaml, its card.

    The card is what an administrator puts into `trust.verify`.
    """
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    end = _midnight(day(until, "--until")) or today + timedelta(days=730)
    secret = None if unencrypted else passphrase(passphrase_file, "Passphrase for the new key", confirm=True)
    made = _made(person, frozenset(roles or ("approver",)), name, today, end)
    _write(made, secret, out, as_json=as_json)


@command.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.option("--until", help="The first day on which the new key signs nothing more; else two years from now.")
@click.option("--passphrase-file", type=click.Path(path_type=Path), help="Reads the old key's passphrase.")
@click.option("--new-passphrase-file", type=click.Path(path_type=Path), help="Reads the new key's passphrase.")
@_UNENCRYPTED
@_OUT
@as_json
@click.pass_context
def rotate(
    ctx: click.Context, old: Path, until: str | None, passphrase_file: Path | None, new_passphrase_file: Path | None,
    unencrypted: bool, out: Path, as_json: bool,
) -> None:
    """Make a key in the place of the private key OLD, and endorse it with OLD: a key, its card, and the card's .sig.

    Put card and .sig into `trust.verify` beside the old card, and set `until` there when the old key shall sign no more.
    """
    from mirror.core.dsse import key_id

    key = signer(old, passphrase_file)
    known = place(ctx).approvals.roll.keys.get(key_id(key.public_key()))
    if known is None:
        raise InputError([Problem(str(old), "", "is not enrolled in trust.verify: only an enrolled key can endorse another")])
    now = datetime.now(UTC)
    if not known.valid(now):
        raise InputError([Problem(str(old), "", "is not valid any more, and can endorse nothing; enrol a new key by hand")])
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    secret = None if unencrypted else passphrase(new_passphrase_file, "Passphrase for the new key", confirm=True)
    end = _midnight(day(until, "--until")) or today + timedelta(days=730)
    made, private = _made(known.person, known.roles, known.name, max(today, known.since), end)
    _write((replace(made, replaces=known.id), private), secret, out, as_json=as_json, endorser=key)


@command.command("list")
@as_json
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List the enrolled keys: whose they are, what they may sign, until when."""
    now = datetime.now(UTC)
    keys = sorted(place(ctx).approvals.roll.keys.values(), key=lambda key: (key.person, key.since, key.id))
    rows = [
        {
            "id": key.id, "person": key.person, "name": key.name, "roles": sorted(key.roles), "state": _state(key, now),
            "from": _date(key.since), "until": _date(key.until), "revoked": _date(key.revoked), "replaces": key.replaces or None,
        }
        for key in keys
    ]  # fmt: skip
    shown = rows if as_json else [row | {"id": str(row["id"])[:16], "replaces": str(row["replaces"] or "")[:16]} for row in rows]
    table(shown, ("person", "id", "roles", "state", "from", "until", "replaces"), as_json=as_json)


def _made(person: str, roles: frozenset[str], name: str, since: datetime, until: datetime) -> tuple[Enrolled, Ed25519PrivateKey]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from mirror.core.dsse import key_id
    from mirror.policy.approval import Enrolled

    private = Ed25519PrivateKey.generate()
    public = private.public_key()
    return Enrolled(key_id(public), public, person, name, roles, since, until), private


def _write(
    made: tuple[Enrolled, Ed25519PrivateKey], secret: str | None, out: Path, *, as_json: bool, endorser: Ed25519PrivateKey | None = None
) -> None:
    from mirror.core import dsse
    from mirror.durable import write_whole
    from mirror.policy.statements import KEY
    from mirror.trust.enrolment import SIGNED, card_text, read_card
    from mirror.trust.keyfiles import write_key

    key, private = made
    card = card_text(key).encode()
    read_card(card, "the new key")  # a person's id, name or date that no card can have is found here
    stem = f"{key.person}-{key.id[:8]}"
    files = [out / f"{stem}.key", out / f"{stem}.yaml"]
    write_key(files[0], private, secret)
    try:
        write_whole(files[1], card, replace=False)
        if endorser is not None:
            files.append(files[1].with_name(files[1].name + SIGNED))
            write_whole(files[2], dsse.written(dsse.signed(dsse.Envelope(KEY, card), endorser)), replace=False)
    except OSError as error:
        raise InputError([Problem(str(error.filename or out), "", error.strerror or "cannot be written")]) from None
    row = {"id": key.id, "person": key.person, "written": [str(file) for file in files]}
    text = [f"key {key.id}", f"wrote {files[0]}  (secret: keep it where only {key.person} reads it)", *(f"wrote {file}" for file in files[1:])]
    say(row, as_json=as_json, text="\n".join([*text, "next: put the card" + (" and its .sig" if endorser else "") + " into trust.verify"]))


def _midnight(value: date | None) -> datetime | None:
    return None if value is None else datetime(value.year, value.month, value.day, tzinfo=UTC)


def _state(key: Enrolled, now: datetime) -> str:
    if key.revoked is not None and now >= key.revoked:
        return "revoked"
    if key.until is not None and now >= key.until:
        return "expired"
    return "valid" if now >= key.since else "not yet"


def _date(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%d}"


command.add_command(show)
