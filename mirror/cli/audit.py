"""`mirror audit pack`: what is handed to an auditor who has neither the mirror nor the network."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirror.cli.views import closed, people_shown, view_option
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.audit.pack import Sources, Wish
    from mirror.config import Config


@click.group("audit")
def command() -> None:
    """Put together what an auditor needs."""


@command.command()
@click.option("--from", "start", required=True, metavar="WHEN", help="From when on: a date (its midnight UTC), a moment, or a span back from now such as 30d.")
@click.option("--to", "end", required=True, metavar="WHEN", help="Before when; as --from. The last day of October is before 2026-11-01.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="A new folder, or a new file that ends in .tar; else ./audit-pack-<from>-<to>.tar.")
@click.option("--personal", is_flag=True, help="With who asked, as far as that was not erased.")
@view_option
@click.option("--json", "as_json", is_flag=True, help="The manifest, without the table of files.")
@click.pass_context
def pack(ctx: click.Context, start: str, end: str, out: Path | None, personal: bool, view: str | None, as_json: bool) -> None:
    """Write records, checkpoints, the policies in force and who activated them, ages of lists, outages, keys and evidence of a span of
    time, signed, with the program that checks it all by Python alone.

    Works with the mirror running and without. Exit 1 where evidence that the records cite is not there any more: the pack names it.
    """  # noqa: D205 - one sentence
    from mirror.cli.owner import configured

    config = configured(ctx.find_object(Path))
    wish = _wish(start, end, personal=personal)
    if personal and not people_shown(config, view, "audit pack", {"from": start, "to": end}):
        raise closed("--personal")
    target = out if out is not None else Path(f"audit-pack-{wish.since:%Y%m%d}-{wish.until:%Y%m%d}.tar")
    manifest = _made(config, target, wish)
    records, lost = manifest["records"], manifest["lost"]
    if as_json:
        shown = {**{key: value for key, value in manifest.items() if key != "files"}, "files": len(manifest["files"]), "pack": str(target)}
        click.echo(json.dumps(shown, ensure_ascii=False))
    else:
        last = records["first"] + records["count"] - 1
        click.echo(f"{target}: {records['count']} records, {records['first']} to {last}, {len(manifest['files'])} files")
        click.echo(f"check it with: python3 -I verify_pack.py {target.name} --key '{manifest['key']}'")
    for row in lost:
        click.echo(f"evidence/{row['sha256'][:2]}/{row['sha256']}: cited by record {row['seq']} ({row['cited_as']}): {row['why']}", err=True)
    sys.exit(1 if lost else 0)


def _wish(start: str, end: str, *, personal: bool) -> Wish:
    from mirror.audit.pack import Wish
    from mirror.cli.policy_inputs import since

    now, found, problems = datetime.now(UTC), [], []
    for option, text in (("--from", start), ("--to", end)):
        try:
            moment = since(text, now)
        except InputError:
            moment = None
        if moment is None:
            problems.append(Problem("", option, f"{text!r} is neither a date or time nor a span such as 30d"))
        else:
            found.append(moment)
    if not problems and found[0] >= found[1]:
        problems.append(Problem("", "--to", "is not after --from"))
    if problems:
        raise InputError(problems)
    return Wish(found[0], found[1], personal)


def _made(config: Config, target: Path, wish: Wish) -> dict[str, Any]:
    """The pack; where no checkpoint covers its records yet, one is made first, by the mirror if it runs."""
    from mirror.audit.pack import NotCovered, make_pack
    from mirror.cli.ledger_proof import asked
    from mirror.ledger_wiring import ledger_folder

    ledger, sources = ledger_folder(config), sources_of(config)
    try:
        return make_pack(ledger, target, wish, sources, datetime.now(UTC))
    except NotCovered:
        asyncio.run(asked(config, "checkpoint"))
        return make_pack(ledger, target, wish, sources, datetime.now(UTC))


def sources_of(config: Config) -> Sources:
    """What a pack of this mirror is made from. Raises `InputError` where there is no ledger, or no key to sign with."""
    from mirror import __version__
    from mirror.audit.pack import Sources
    from mirror.ledger_wiring import ledger_folder, machine_key_of
    from mirror.lists.editions import store_of
    from mirror.store.archive import EvidenceArchive

    ledger, key = ledger_folder(config), machine_key_of(config).current()
    if not ledger.is_dir():
        raise InputError([Problem(str(ledger), "", "there is no ledger here")])
    if key is None:
        raise InputError([Problem("trust.signing_key", "", "the mirror's own key is not here, and a pack is signed with it")])
    editions = store_of(config.data)

    def noted(name: str, edition: str) -> Mapping[str, Any] | None:
        kept = editions.kept(name, edition)
        if kept is None:
            return None
        stated = kept.stated.isoformat() if kept.stated is not None else None
        sources = [one.name if "://" in one.name else Path(one.name).name for one in kept.files]  # no path of this machine
        return {"stated": stated, "entries": kept.entries, "sources": sources}

    return Sources(EvidenceArchive(config.data / "evidence").read, noted, key, __version__)
