"""`mirror ledger sinks`: how far each copy of the ledger has got."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from mirror.config import Config


@click.command()
@click.option("--json", "as_json", is_flag=True, help="JSON Lines, one object a sink.")
@click.option("-c", "--config", "path", type=click.Path(path_type=Path, dir_okay=False), help="The configuration file.")
@click.pass_context
def sinks(ctx: click.Context, as_json: bool, path: Path | None) -> None:
    """Print how far each sink of `ledger.sinks` has got, with the mirror running or not; exit 1 if one does not get on."""
    from mirror.config import load

    rows = _standing(load(path or ctx.obj, os.environ))
    for row in rows:
        click.echo(json.dumps(row, ensure_ascii=False, sort_keys=True) if as_json else _line(row))
    if not rows and not as_json:
        click.echo("no sinks are configured (ledger.sinks)", err=True)
    sys.exit(1 if any(row["state"] == "failing" for row in rows) else 0)


def _standing(config: Config) -> list[dict[str, Any]]:
    from mirror.audit.cursors import Cursor, cursor_path, read_cursor
    from mirror.audit.segments import read_head
    from mirror.ledger_wiring import ledger_folder, receiver_of

    folder = ledger_folder(config)
    head = read_head(folder)
    durable = head.count if head is not None else 0
    rows, problems = [], []
    for one in config.ledger.sinks:
        file = cursor_path(folder, one.name)
        try:
            cursor = read_cursor(file)
        except ValueError as error:
            problems.append(Problem(str(file), "", str(error)))
            continue
        found = cursor or Cursor()
        state = "failing" if found.why else "waiting" if cursor is None else "ok"
        rows.append({
            "name": one.name, "to": receiver_of(one, config).place, "state": state, "next": found.next, "lag": max(0, durable - found.next),
            "delivered": found.delivered or None, "why": found.why, "since": found.since or None,
        })  # fmt: skip
    if problems:
        raise InputError(problems)
    return rows


def _line(row: dict[str, Any]) -> str:
    parts = [f"{row['name']:<16}", f"{row['state']:<8}", f"{row['lag']:>8} behind", row["delivered"] or "nothing delivered yet", row["to"]]
    return "  ".join(parts) + (f"\n  {row['why']} (since {row['since']})" if row["why"] else "")
