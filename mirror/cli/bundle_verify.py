"""`mirror bundle verify`: needs the sender's public key and nothing else - no configuration, no data."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirror.cli.bundle import BundlePath
from mirror.core.canonical import instant

if TYPE_CHECKING:
    from mirror.bundle.checked import Verified


@click.command("verify")
@click.argument("path", type=BundlePath())
@click.option(
    "--key",
    "keys",
    multiple=True,
    required=True,
    help="The sender's public key (PEM), card, folder of cards or verifier key (repeatable).",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(path: Path, keys: tuple[str, ...], as_json: bool) -> None:
    """Verify the bundle at PATH: a folder, a tar, or any one of its volumes. Exit 1 with one line if it does not hold.

    The signature is checked first, then every byte. Nothing is unpacked or written.
    """
    from mirror.bundle.checked import verify
    from mirror.bundle.faults import BundleFault, Unreadable
    from mirror.bundle.senders import senders

    known, revoked = senders(keys)
    try:
        found = verify(path, known, revoked)
    except BundleFault as fault:
        if as_json:
            click.echo(json.dumps({"ok": False, "place": fault.place, "fault": fault.message}, ensure_ascii=False))
        click.echo(str(fault) if fault.place == path.name else f"{path.name}: {fault}", err=True)
        sys.exit(2 if isinstance(fault, Unreadable) else 1)
    click.echo(json.dumps(told(found), ensure_ascii=False) if as_json else "\n".join(said(found)))


def told(found: Verified) -> dict[str, Any]:
    """What was found, as `--json` prints it."""
    from mirror.core.dsse import fingerprint

    one = found.statement
    return {
        "ok": True, "bundle": found.digest, "statement": found.stated, "name": one.name, "number": one.number, "created": instant(one.created), "sender": one.sender,
        "purpose": one.purpose, "since": one.since, "requires": len(one.requires), "parts": found.parts, "bytes": found.size,
        "withdrawn": [row.artifact for row in one.withdrawn], "policy": one.policy, "catalogue": one.catalogue, "lists": dict(one.lists),
        "signed_by": [{"key": signer.id, "name": signer.name, "fingerprint": fingerprint(signer.public)} for signer in found.signers],
    }  # fmt: skip


def said(found: Verified) -> Iterator[str]:
    """What was found, for people."""
    from mirror.bundle.statement import called
    from mirror.core.dsse import fingerprint

    one = found.statement
    delta = f", on top of number {one.since}" if one.since is not None else ""
    yield f"holds: {one.purpose} {one.name} number {one.number}{delta}, made {instant(one.created)[:19]}Z by {one.sender}"
    yield f"{found.parts} parts, {found.size} bytes"
    yield called(found.stated, found.digest)
    for row in one.withdrawn:
        yield f"withdraws {row.artifact}: {row.reason}"
    for signer in found.signers:
        yield f"signed by {signer.name or signer.id[:16]}, fingerprint {fingerprint(signer.public)}"
