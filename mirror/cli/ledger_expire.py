"""`mirror ledger expire|erase`: what had its time is counted and removed, and who is to be forgotten is."""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
from pathlib import Path
from typing import Any, Final

import click

from mirror.cli.ledger_proof import asked as asked_ledger
from mirror.core.errors import InputError, Problem

_CONFIG: Final = click.option("-c", "--config", "path", type=click.Path(path_type=Path, dir_okay=False), help="The configuration file.")
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="One JSON object.")


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would go, and change nothing.")
@click.option("--clock-is-right", "sure", is_flag=True, help="Do not wait until the clock has gone on for two days without a jump.")
@_JSON
@_CONFIG
@click.pass_context
def expire(ctx: click.Context, dry_run: bool, sure: bool, as_json: bool, path: Path | None) -> None:
    """Remove plain permissions whose time is over, and old personal parts; the mirror does so by itself. Exit 1 where the clock is in doubt.

    What goes is counted first, in a sealed record; of each removed record its place in chain and tree stays.
    """
    from mirror.cli.owner import configured

    found = asyncio.run(asked_ledger(configured(path or ctx.find_object(Path)), "expire", dry_run, sure))
    click.echo(json.dumps(found) if as_json else _said(found))
    ctx.exit(1 if found["why"] else 0)


def _said(found: dict[str, Any]) -> str:
    if found["why"]:
        return str(found["why"])
    verb = "would be removed" if found["dry"] else "removed"
    said = f"{found['records']} records of {found['requests']} answers, and the personal parts of {found['personal']} others {verb}"
    held = f"; {found['held']} are held" if found["held"] else ""
    keys = f"; {found['keys']} keys of pseudonyms destroyed" if found["keys"] and not found["dry"] else ""
    return said + held + keys + ("" if found["dry"] else f"; {found['freed']} bytes are free")


@click.command()
@click.option("--actor", default="", help="Everything that was recorded under this pseudonym.")
@click.option("--seq", "sequences", type=click.IntRange(0), multiple=True, help="The record with this sequence (repeatable).")
@click.option("--reason", required=True, help="Why: a ticket, a sentence. It is recorded; name nobody in it.")
@click.option("--by", help="Who erases; else the user of this machine.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@_JSON
@_CONFIG
@click.pass_context
def erase(
    ctx: click.Context, actor: str, sequences: tuple[int, ...], reason: str, by: str | None, yes: bool, as_json: bool, path: Path | None
) -> None:
    """Erase the personal part - pseudonym, address, user agent, query - of records, for good, in the ledger and in its index.

    Chain, tree and proofs stay as they are. Refused while a hold covers one of the records. Exit 1 where there is nothing to erase.
    """
    from mirror.cli.owner import configured

    if bool(actor) is bool(sequences) or actor == "mirror":
        raise InputError([Problem("", "--actor", "name a pseudonym or --seq, and one of them only; the mirror itself is nobody")])
    if not reason.strip():
        raise InputError([Problem("", "--reason", "is empty")])
    config = configured(path or ctx.find_object(Path))
    if not yes and sys.stdin.isatty():
        click.confirm("Erase for good?", abort=True, err=True)
    asked = {"actor": actor, "sequences": sequences, "reason": reason, "by": by or getpass.getuser()}
    found = asyncio.run(asked_ledger(config, "erase", asked))
    click.echo(json.dumps(found) if as_json else f"{found['records']} personal parts erased; {found['freed']} bytes are free")
    ctx.exit(0 if found["records"] else 1)
