"""`mirror ledger export --carry`: the laboratory's records and receipts, for the record of those who sent it bundles."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from mirror.config import Config


def check_options(start: str, end: str | None, *, form: str, proofs: bool, last: Path | None, out: Path | None, carry: bool) -> list[Problem]:
    """What does not go together."""
    if not carry:
        return [Problem("", "--last", "goes with --carry")] if last is not None else []
    problems = [Problem("", name, "has no meaning for a carry") for name, given in (("--until", end), ("--proofs", proofs), ("--format", form != "jsonl")) if given]
    if out is None:
        problems.append(Problem("", "--out", "a carry is a file that ends in .tar, or a folder"))
    if start != "all" and not (start.isascii() and start.isdecimal() and len(start) < 16):
        problems.append(Problem("", "--since", f"{start!r} is no record's number, from which a carry begins"))
    if start != "all" and last is not None:
        problems.append(Problem("", "--last", "say one of --since and --last"))
    return problems


def carried(config: Config, out: Path, start: str, last: Path | None, *, personal: bool, as_json: bool) -> None:
    """Make a checkpoint, write the carry, record that it was written; exit 1 where evidence is lost."""
    from mirror.audit import verify_pack
    from mirror.audit.carry import begins_after, carried_until, detail_of, make_carry, standing_of
    from mirror.audit.verify_pack import Pack
    from mirror.cli.audit import sources_of
    from mirror.cli.ledger_proof import asked
    from mirror.ledger_wiring import ledger_folder

    ledger = ledger_folder(config)
    sources = sources_of(config)
    if out.exists():
        raise InputError([Problem(str(out), "", "is there already; a carry is made anew")])
    asyncio.run(asked(config, "checkpoint"))
    first = begins_after(ledger, standing_of(last)) if last is not None else carried_until(ledger) if start == "all" else int(start)
    receipts = {str(path): path.read_bytes() for path in sorted((config.data / "bundles" / "received").rglob("*.json"))}
    manifest = make_carry(ledger, out, first, receipts, sources, datetime.now(UTC), personal=personal)
    detail = detail_of(manifest, sha256(Pack(out).read(verify_pack.MANIFEST)).hexdigest())
    told = asyncio.run(asked(config, "passed", "carried", manifest["ledger"], detail))
    if as_json:
        shown = {"carry": str(out), "ledger": manifest["ledger"], "key": manifest["key"], **detail, "record": told["seq"], "lost": manifest["lost"]}
        click.echo(json.dumps(shown, ensure_ascii=False))
    else:
        click.echo(f"{out}: records {detail['first']} to {detail['stop'] - 1} of {manifest['ledger']}, {len(detail['receipts'])} receipts{', with who asked' if personal else ''}")
        click.echo(f"at the sender: mirror ledger adopt {out.name} --key '{manifest['key']}'")
    for row in manifest["lost"]:
        click.echo(f"evidence/{row['sha256'][:2]}/{row['sha256']}: cited by record {row['seq']} ({row['cited_as']}): {row['why']}", err=True)
    sys.exit(1 if manifest["lost"] else 0)
