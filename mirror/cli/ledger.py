"""`mirror ledger`: the record of decisions, with the mirror running or not."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mirror.cli.holders import holders
from mirror.cli.ledger_adopt import adopt, adopted
from mirror.cli.ledger_expire import erase, expire
from mirror.cli.ledger_export import export
from mirror.cli.ledger_proof import checkpoint, folder_of, prove, recover, rotate, verify
from mirror.cli.ledger_query import query
from mirror.cli.ledger_sinks import sinks
from mirror.cli.ledger_who import who
from mirror.cli.lookback import lookback
from mirror.cli.views import people_shown, view_option, views, without_people
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from mirror.config import Config

#: Seconds between looks at a ledger that is being followed.
_POLL: Final = 0.2
_CONFIG: Final = click.option(
    "-c", "--config", "path", type=click.Path(path_type=Path, dir_okay=False), help="The configuration file."
)
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="JSON Lines (docs/schema/event.json).")


@click.group("ledger")
def command() -> None:
    """Read, verify and prove the record of decisions."""


@command.command()
@click.option("-n", "--lines", "count", type=click.IntRange(min=0), default=10, show_default=True, help="How many.")
@click.option("-f", "--follow", is_flag=True, help="Go on as events are recorded.")
@view_option
@click.option("--of", "of", metavar="NAME", help="Of an adopted ledger (`mirror ledger adopted`).")
@_JSON
@_CONFIG
@click.pass_context
def tail(ctx: click.Context, count: int, follow: bool, view: str | None, of: str | None, as_json: bool, path: Path | None) -> None:
    """Print the last events, oldest first; without who asked, unless a view is open."""
    from mirror.audit.segments import Reader, read_head

    config = _load(ctx, path)
    shown = people_shown(config, view, "ledger tail", {"lines": count})
    directory = _directory(config) if of is None else folder_of(config, of)
    head = read_head(directory)
    if head is None and not follow:
        raise InputError([Problem(str(directory), "", "there is no ledger here")])
    reader = Reader(directory, max(0, (head.count if head else 0) - count))
    try:
        while True:
            while records := reader.read(1000):
                _print(records if shown else map(without_people, records), as_json=as_json)
            if not follow:
                return
            time.sleep(_POLL)
    except KeyboardInterrupt:
        return


def _load(ctx: click.Context, path: Path | None) -> Config:
    from mirror.config import load

    return load(path or ctx.obj, os.environ)


def _directory(config: Config) -> Path:
    return config.ledger.path or config.data / "ledger"


def _print(records: Iterable[Mapping[str, Any]], *, as_json: bool) -> None:
    for record in records:
        click.echo(json.dumps(record, ensure_ascii=False, sort_keys=True) if as_json else _line(record))


def _line(record: Mapping[str, Any]) -> str:
    decision = record.get("decision") or {}
    actor = record["actor"]
    who = "/".join([actor.get("name", "(not shown)") or "(erased)", *actor["groups"]]) + (f" {actor['country']}" if actor["country"] else "")
    rules = ",".join(rule["id"] for rule in decision.get("rules", ()))
    what = decision.get("artifact") or record.get("subject", "")
    times = f"x{record['count']}" if record["count"] > 1 else ""
    parts = (f"{record['seq']:>8}", record["at"], f"{record['kind']:<13}", decision.get("effect", ""), what, times, who, rules)
    return "  ".join(part for part in parts if part)


for one in (query, export, verify, prove, checkpoint, rotate, recover, sinks, holders, lookback, expire, erase, views, who, adopt, adopted):
    command.add_command(one)
