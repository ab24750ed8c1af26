"""`mirror bundle list`: what was sent from here, and what was received, by whom."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirror.core.canonical import instant

if TYPE_CHECKING:
    from mirror.bundle.books import Remembered


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Print every bundle that was sent from here or taken in here, newest first, and which recalls are in force.

    Times are when a bundle was made (sent) or taken in (received). Files and bytes of a received bundle are those that were taken; of a
    sent one all that its receiver then has.
    """
    from mirror import config as configuration
    from mirror.bundle.books import remembered
    from mirror.cli.ledger_query import print_table
    from mirror.cli.sizes import readable

    config = configuration.load(ctx.find_object(Path), os.environ)
    found = remembered(config.data)
    if as_json:
        for one in found:
            click.echo(json.dumps(told(one), ensure_ascii=False))
        return
    if not found:
        click.echo("no bundle was sent from here or received here", err=True)
        return
    rows = [
        {
            "direction": one.direction, "bundle": f"{one.name} {one.number}", "at": f"{instant(one.at)[:19]}Z", "sender": one.sender, "files": one.files,
            "bytes": readable(one.size), "refused": one.refused, "statement": one.statement[:12], "recalls": _recalls(one),
        }
        for one in found
    ]  # fmt: skip
    print_table(("direction", "bundle", "at", "sender", "files", "bytes", "refused", "statement", "recalls"), rows)


def told(one: Remembered) -> dict[str, Any]:
    """A bundle as `--json` prints it."""
    return {
        "direction": one.direction, "name": one.name, "number": one.number, "at": instant(one.at), "sender": one.sender, "statement": one.statement,
        "since": one.since, "files": one.files, "bytes": one.size, "refused": one.refused, "recalls": list(one.recalls), "in_force": one.in_force,
    }  # fmt: skip


def _recalls(one: Remembered) -> str:
    if not one.recalls:
        return ""
    names = ", ".join(one.recalls[:3]) + (f" and {len(one.recalls) - 3} more" if len(one.recalls) > 3 else "")
    return f"in force: {names}" if one.in_force else names
