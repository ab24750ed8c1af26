"""`mirror bundle recalls` and `mirror bundle lift`: what senders took back and is refused here, and how that ends on the record."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from mirror.config import Config
    from mirror.proxy.recalls import Recalled


@click.command("recalls")
@click.option("--json", "as_json", is_flag=True, help="JSON.")
@click.pass_context
def recalls(ctx: click.Context, as_json: bool) -> None:
    """List what senders of bundles took back and is refused here for it. Exit 1 where one of the files cannot be read."""
    from mirror import config as configuration

    found, problems = _found(configuration.load(ctx.find_object(Path), os.environ))
    if as_json:
        click.echo(json.dumps({"recalls": [_row(name, one) for name, (_, one) in found.items()], "problems": [str(one) for one in problems]}, ensure_ascii=False))
    else:
        for name, (_, one) in found.items():
            for deny in one.denies:
                click.echo(f"{name}  {', '.join(deny.artifacts)}  {deny.reason} ({one.told})")
        for problem in problems:
            click.echo(str(problem), err=True)
    ctx.exit(1 if problems else 0)


@click.command("lift")
@click.argument("recall", metavar="RECALL")
@click.option("--reason", required=True, help="Why: it goes on the record.")
@click.option("--json", "as_json", is_flag=True, help="JSON.")
@click.pass_context
def lift(ctx: click.Context, recall: str, reason: str, as_json: bool) -> None:
    """End a RECALL, by the name that refusals and `mirror bundle recalls` give it: here only, and on the record.

    What it refused is judged by this mirror's own policy again, within about a second. Exit 2 where there is none of that name.
    """
    from mirror import config as configuration
    from mirror import log

    config = configuration.load(ctx.find_object(Path), os.environ)
    log.configure("error", config.log.format)
    if not reason.strip():
        raise InputError([Problem("--reason", "", "is empty: it is what the record says")])
    found, _ = _found(config)
    if recall not in found:
        raise InputError([Problem("RECALL", recall, "no recall of this name is in force: `mirror bundle recalls`")])
    path, one = found[recall]
    asyncio.run(_lift(config, path, one, reason.strip()))
    told = json.dumps(_row(recall, one) | {"lifted": reason.strip()}, ensure_ascii=False) if as_json else f"{recall}: lifted; what it named is judged by this mirror's policy again"
    click.echo(told)


def _found(config: Config) -> tuple[dict[str, tuple[Path, Recalled]], list[Problem]]:
    """Those in force by name, each with its file; and what is wrong with the rest."""
    from mirror.proxy.recalls import files, read

    found: dict[str, tuple[Path, Recalled]] = {}
    problems: list[Problem] = []
    for path in files(config.data):
        try:
            one = read(path)
        except InputError as error:
            problems += error.problems
            continue
        name = one.rule if one.rule and one.rule not in found else path.stem
        found[name] = path, one
    return found, problems


def _row(name: str, one: Recalled) -> dict[str, object]:
    artifacts = [artifact for deny in one.denies for artifact in deny.artifacts]
    return {
        "recall": name, "sender": one.sender, "by": one.by, "bundle": f"{one.name} {one.number}" if one.name else "", "signed": one.day, "statement": one.statement,
        "artifacts": artifacts, "reasons": [deny.reason for deny in one.denies], "legal": any(deny.legal for deny in one.denies),
    }  # fmt: skip


async def _lift(config: Config, path: Path, one: Recalled, reason: str) -> None:
    """On the record first: what is lifted without a trace is not lifted."""
    from mirror.cli.bundle_import import owner_desk
    from mirror.clock_wiring import clock_of
    from mirror.core.actor import Actor
    from mirror.core.decision import Event, EventKind

    artifacts = [artifact for deny in one.denies for artifact in deny.artifacts]
    detail = {"outcome": "lifted", "statement": one.statement, "sender": one.sender, "recalled": artifacts[:100], "reason": reason, "purpose": "recall"}
    async with owner_desk(config) as desk:
        await desk.record([Event(EventKind.BUNDLE, clock_of(config).now(), Actor("mirror"), subject=f"{one.name} {one.number}".strip(), detail=tuple(sorted(detail.items())))])
        await asyncio.to_thread(_put_aside, path)


def _put_aside(path: Path) -> None:
    from mirror.proxy.recalls import lifted_file

    kept = lifted_file(path)
    kept.parent.mkdir(parents=True, exist_ok=True)
    path.replace(kept)
