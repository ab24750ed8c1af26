"""`mirror backup` and `mirror restore`: a verified copy of what cannot be had again, and its way back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirror import __version__

if TYPE_CHECKING:
    from mirror.bundle.backup import Place


@click.command("backup")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--without-keys", is_flag=True, help="Leave out the mirror's own keys: who has the copy can sign nothing with it.")
@click.option("--json", "as_json", is_flag=True, help="The manifest.")
@click.pass_context
def backup(ctx: click.Context, folder: Path, without_keys: bool, as_json: bool) -> None:
    """Copy ledger, evidence, signed statements, index and keys to FOLDER, with the mirror running or not. The cache is left out.

    Keep the configuration and the policy files yourself; policies that were in force are in the evidence.
    """
    from mirror.bundle.backup import back_up
    from mirror.cli.owner import configured
    from mirror.ledger_wiring import machine_key_of

    key = machine_key_of(configured(ctx.find_object(Path))).current()
    _say(back_up(_place(ctx), folder, datetime.now(UTC), __version__, keys=not without_keys, key=key), as_json=as_json)


@click.command("restore")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--check", is_flag=True, help="Only verify the backup.")
@click.option("--key", "key", help="A verifier key of the ledger (name+id+base64), or a file that holds it: the backup must be signed by it, or by one that it was handed over to.")
@click.option("--json", "as_json", is_flag=True, help="The manifest, and who signed for it.")
@click.pass_context
def restore(ctx: click.Context, folder: Path, check: bool, key: str | None, as_json: bool) -> None:
    """Verify the backup in FOLDER and put it where the configuration says; nothing is written over.

    Where checkpoints of later records are known, `mirror serve` refuses to go on until `mirror ledger recover` has told of the gap.
    """
    from mirror.bundle import backup as copies
    from mirror.cli.ledger_proof import verifier_of

    trusted = verifier_of(key)
    _say(copies.verify_backup(folder, trusted) if check else copies.restore(folder, _place(ctx), trusted), as_json=as_json)


def _place(ctx: click.Context) -> Place:
    from mirror.bundle.backup import Place
    from mirror.cli.owner import configured
    from mirror.ledger_wiring import ledger_folder, machine_key_of, pseudonym_keys_of

    config = configured(ctx.find_object(Path))
    keys = {"secret.key": config.data / "secret.key", "signing.key": machine_key_of(config).path}
    keys["signing.key.next"] = keys["signing.key"].with_name(keys["signing.key"].name + ".next")
    apart = pseudonym_keys_of(config).folder
    keys |= {f"pseudonyms-{number:04d}": apart / f"key-{number:04d}" for number in range(1, 1000)}
    return Place(config.data, ledger_folder(config), keys, config.database is None)


def _say(manifest: dict[str, Any], *, as_json: bool) -> None:
    from mirror.bundle.backup import written

    if as_json:
        click.echo(json.dumps(manifest, ensure_ascii=False))
        return
    for line in written(manifest):
        click.echo(line)
