"""`mirror key show`: a public key and its fingerprint, to be compared by telephone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


@click.command("show")
@click.argument("key", required=False)
@click.option(
    "--card", metavar="NAME", help="Print a card that enrols the key as a sender of bundles, under this name."
)
@click.option("--pem", is_flag=True, help="Print the public key (PEM).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def show(ctx: click.Context, key: str | None, card: str | None, pem: bool, as_json: bool) -> None:
    """Show the id and the fingerprint of this mirror's own signing key, or of KEY: a PEM file, a card or a verifier key.

    With --card or --pem only that is printed, to be written into a file.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from mirror.bundle.statement import ROLE
    from mirror.core.dsse import fingerprint, key_id
    from mirror.policy.approval import Enrolled
    from mirror.trust.enrolment import card_text, read_card

    public = _given(key) if key is not None else _own(ctx)
    text = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    if card is not None:
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        made = card_text(Enrolled(key_id(public), public, card, "", frozenset({ROLE}), today))
        read_card(made.encode(), "--card")  # a name that no card can have is found here
        click.echo(made, nl=False)
    elif pem:
        click.echo(text, nl=False)
    elif as_json:
        click.echo(json.dumps({"id": key_id(public), "fingerprint": fingerprint(public), "pem": text}))
    else:
        click.echo(f"key {key_id(public)}\nfingerprint {fingerprint(public)}")


def _given(text: str) -> Ed25519PublicKey:
    from mirror.bundle.senders import public_key

    return public_key(text)


def _own(ctx: click.Context) -> Ed25519PublicKey:
    from mirror.cli.owner import configured
    from mirror.ledger_wiring import machine_key_of

    machine = machine_key_of(configured(ctx.find_object(Path)))
    key = machine.current()
    if key is None:
        raise InputError([Problem(str(machine.path), "", "there is no key yet; `mirror serve` makes it")])
    return key.public_key()
