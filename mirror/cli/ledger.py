"""`mirror ledger`: the record of decisions, with the mirror running or not."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from mirror.cli.holders import holders
from mirror.cli.ledger_proof import checkpoint, prove, recover, rotate, verify
from mirror.core.decision import Effect, EventKind
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from mirror.config import Config

F = TypeVar("F", bound=Callable[..., Any])
#: Seconds between looks at a ledger that is being followed.
_POLL: Final = 0.2
_FILTERS: Final = {
    "actor": "who asked, by pseudonym",
    "group": "a group of the asking side",
    "publisher": "the publisher's id in the catalogue",
    "country": "the client's country (ISO 3166-1 alpha-2)",
    "rule": "a rule that took part",
    "list": "a list that matched",
    "artifact": "how the package URL begins",
    "effect": "allow, warn, review, quarantine or deny",
    "kind": "allowed, refused, held, steered, repeated, write_refused, …",
    "since": "from this date or moment on (UTC)",
    "until": "before this date or moment (UTC)",
}
#: A word that no event has would find nothing, and read like an answer.
_WORDS: Final = {"effect": [effect.word for effect in Effect], "kind": [kind.value for kind in EventKind]}
_CONFIG: Final = click.option(
    "-c", "--config", "path", type=click.Path(path_type=Path, dir_okay=False), help="The configuration file."
)
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="JSON Lines (docs/schema/event.json).")


def _filters(command: F) -> F:
    for name, text in reversed(_FILTERS.items()):
        words = _WORDS.get(name)
        kind = click.Choice(words, case_sensitive=False) if words else click.STRING
        command = click.option(f"--{name}", name, type=kind, metavar="WORD" if words else "TEXT", help=text)(command)
    return command


@click.group("ledger")
def command() -> None:
    """Read, verify and prove the record of decisions."""


@command.command()
@click.option("-n", "--lines", "count", type=click.IntRange(min=0), default=10, show_default=True, help="How many.")
@click.option("-f", "--follow", is_flag=True, help="Go on as events are recorded.")
@_JSON
@_CONFIG
@click.pass_context
def tail(ctx: click.Context, count: int, follow: bool, as_json: bool, path: Path | None) -> None:
    """Print the last events, oldest first."""
    from mirror.audit.segments import Reader, read_head

    directory = _directory(_load(ctx, path))
    head = read_head(directory)
    if head is None and not follow:
        raise InputError([Problem(str(directory), "", "there is no ledger here")])
    reader = Reader(directory, max(0, (head.count if head else 0) - count))
    try:
        while True:
            while records := reader.read(1000):
                _print(records, as_json=as_json)
            if not follow:
                return
            time.sleep(_POLL)
    except KeyboardInterrupt:
        return


@command.command()
@_filters
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many.")
@click.option("--before", type=click.IntRange(0), help="Only events below this sequence (the next page).")
@_JSON
@_CONFIG
@click.pass_context
def query(
    ctx: click.Context, /, limit: int, before: int | None, as_json: bool, path: Path | None, **where: str | None
) -> None:
    """Print the events for which every given condition holds, newest first."""
    config = _load(ctx, path)
    asked = {key: value for key, value in where.items() if value is not None}
    _print(asyncio.run(_query(config, asked, limit, before)), as_json=as_json)


def _load(ctx: click.Context, path: Path | None) -> Config:
    from mirror.config import load

    return load(path or ctx.obj, os.environ)


def _directory(config: Config) -> Path:
    return config.ledger.path or config.data / "ledger"


async def _query(config: Config, where: Mapping[str, str], limit: int, before: int | None) -> Sequence[Mapping[str, Any]]:
    from mirror.audit.feed import catch_up
    from mirror.index.sql import SqlIndex

    index = await SqlIndex.open(config.database.reveal() if config.database else None, config.data)
    try:
        # The index may lag behind a running mirror by a moment, and by much when none runs.
        await catch_up(_directory(config), index)
        return await index.query(where, limit, before)
    finally:
        await index.close()


def _print(records: Iterable[Mapping[str, Any]], *, as_json: bool) -> None:
    for record in records:
        click.echo(json.dumps(record, ensure_ascii=False, sort_keys=True) if as_json else _line(record))


def _line(record: Mapping[str, Any]) -> str:
    decision = record.get("decision") or {}
    actor = record["actor"]
    who = "/".join([actor.get("name") or "(erased)", *actor["groups"]]) + (f" {actor['country']}" if actor["country"] else "")
    rules = ",".join(rule["id"] for rule in decision.get("rules", ()))
    what = decision.get("artifact") or record.get("subject", "")
    times = f"x{record['count']}" if record["count"] > 1 else ""
    parts = (f"{record['seq']:>8}", record["at"], f"{record['kind']:<13}", decision.get("effect", ""), what, times, who, rules)
    return "  ".join(part for part in parts if part)


for one in (verify, prove, checkpoint, rotate, recover, holders):
    command.add_command(one)
