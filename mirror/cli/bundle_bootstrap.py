"""`mirror bundle bootstrap`: how the mirror itself arrives."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from mirror.config import Config


@click.command("bootstrap")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The folder to make.")
@click.option("--python", "pythons", multiple=True, metavar="VERSION", help="A Python for the wheels, such as 3.12 (repeatable).")
@click.option("--platform", "platforms", multiple=True, help="A platform as uv names it, such as x86_64-manylinux_2_28 (repeatable).")
@click.option("--extra", "extras", multiple=True, type=click.Choice(["postgresql", "xet"]), help="An optional part (repeatable).")
@click.option("--index", help="Where wheels come from; else this mirror where it runs, else what pip is configured for.")
@click.option("--url", help="The mirror that runs, where it is not at its listen address.")
@click.option("--name", default="sender", show_default=True, help="Whose key it is, for the card that the laboratory enrols.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> None:
    """Make a folder with all that a place without a network needs to run this mirror.

    Wheels, documentation, the public key of this mirror, and a program that verifies bundles with Python alone. README.md in it
    says what to do, step by step. The fingerprint that is printed is to be read out by telephone; it is not in the folder.
    """
    from mirror.bundle.bootstrap import Sender, Target, build
    from mirror.cli.owner import configured
    from mirror.core.dsse import fingerprint, key_id
    from mirror.ledger_wiring import machine_key_of

    out: Path = given["out"]
    config = configured(ctx.find_object(Path))
    machine = machine_key_of(config)
    key = machine.current()
    if key is None:
        raise InputError([Problem(str(machine.path), "", "there is no key yet; `mirror serve` makes it")])
    targets = [Target(python, platform) for python in given["pythons"] or (None,) for platform in given["platforms"] or (None,)]
    index = given["index"] or asyncio.run(_index(config, given["url"]))
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        sizes = build(out.absolute(), Sender(key, given["name"]), targets, index=index, extras=given["extras"], now=datetime.now(UTC))
    except OSError as error:
        raise InputError([Problem(str(error.filename or out), "", error.strerror or "cannot be written")]) from None
    row = {
        "folder": str(out), "files": len(sizes), "bytes": sum(sizes.values()), "wheels": sum(file.startswith("wheels/") for file in sizes),
        "index": index, "key": key_id(key.public_key()), "fingerprint": fingerprint(key.public_key()),
    }  # fmt: skip
    if given["as_json"]:
        click.echo(json.dumps(row, ensure_ascii=False))
        return
    click.echo(f"wrote {out}: {row['files']} files, {row['wheels']} of them wheels, {row['bytes']} bytes; from {index or 'where pip is configured for'}")
    click.echo(f"key {row['key']}\nfingerprint, to be compared by telephone: {row['fingerprint']}")


async def _index(config: Config, url: str | None) -> str | None:
    """The index of the mirror at `url`, else of this configuration's, if it runs. Raises `InputError`."""
    from mirror.audit.segments import is_written
    from mirror.cli.owner import ledger_of
    from mirror.cli.sync_mirror import reached

    if url is None and not is_written(ledger_of(config)):
        return None
    async with reached(config, url, pin=False) as there:
        return there.index
