"""`mirror ledger holders`: to whom something was given, by what it is or by a rule that refuses it now."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mirror.cli.views import people_shown, view_option
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from mirror.policy.epoch import Epoch
    from mirror.policy.recorded import Judged

_COLUMNS: Final = ("artifact", "client", "groups", "country", "files", "requests", "first", "last")


@click.command()
@click.argument("artifact", required=False)
@click.option("--rule", "rule_id", help="Everything that this rule holds for now: of whoever asked, on the facts of then.")
@click.option("--since", default=0, type=click.IntRange(0, 36500), help="Look back so many days only; 0 is all.")
@click.option("-c", "--config", "path", type=click.Path(path_type=Path, dir_okay=False), help="The configuration file.")
@view_option
@click.option("--json", "as_json", is_flag=True, help="JSON Lines.")
@click.pass_context
def holders(ctx: click.Context, artifact: str | None, rule_id: str | None, since: int, view: str | None, path: Path | None, as_json: bool) -> None:
    """Say who was given ARTIFACT (a package URL or pattern), or what a rule refuses now: one line for each client and revision, the latest first.

    Unless a view is open, one line for each revision, groups and country instead, with the number of clients.

    What counts is that a file was permitted and asked for, HEAD included; not whether its last byte arrived, nor who passed it on. Erased
    clients have no name. Exit 1 where there is nobody.
    """
    from mirror import config as configuration

    if (artifact is None) is (rule_id is None):
        raise InputError([Problem("", "ARTIFACT", "name an artifact or --rule, and one of them only")])
    here = path or ctx.find_object(Path)
    config = configuration.load(here, os.environ)
    people = people_shown(config, view, "ledger holders", {key: value for key, value in (("artifact", artifact), ("rule", rule_id)) if value})
    epoch = epoch_in_force(here)
    chosen = _named(artifact) if artifact is not None else _ruled(epoch, rule_id or "")
    start = datetime.now(UTC) - timedelta(days=since) if since else None
    rows = sorted(_given(config.ledger.path or config.data / "ledger", epoch, chosen, start, people=people), key=lambda row: (row["last"], row["artifact"]), reverse=True)
    for row in rows:
        click.echo(json.dumps(row, ensure_ascii=False) if as_json else "  ".join(_cell(row[name]) for name in _COLUMNS))
    if not as_json:
        clients = f"{len({row['client'] for row in rows if row['client']})} clients" if people else "clients not shown"
        click.echo(f"{len(rows)} rows, {clients}, {sum(row['requests'] for row in rows)} requests")
    ctx.exit(0 if rows else 1)


def _cell(value: object) -> str:
    return ", ".join(map(str, value)) or "-" if isinstance(value, (list, tuple)) else "-" if value in (None, "") else str(value)


def epoch_in_force(path: Path | None) -> Epoch:
    """The rules in force, with what was signed beside them."""
    from mirror import config as configuration
    from mirror.cli.signing import in_force
    from mirror.lists.editions import previews
    from mirror.proxy.rulebook import load_epoch

    config = configuration.load(path, os.environ)
    return in_force(path, load_epoch(config.policy.path, config.catalogue, config.lists, load_one=previews(config.data, offline=config.network == "offline")))


def _named(text: str) -> Callable[[Judged], bool]:
    """Raises `InputError`."""
    from mirror.policy.patterns import PatternSet, parse_pattern
    from mirror.policy.subject import Subject

    try:
        patterns = PatternSet([parse_pattern(text)])
    except ValueError as error:
        raise InputError([Problem("", "ARTIFACT", str(error))]) from None

    def chosen(case: Judged) -> bool:
        own = Subject(case.artifact, case.facts, case.actor, case.at).own
        return patterns.find(own.ecosystem, own.kind, own.name, own.revision, own.path) is not None

    return chosen


def _ruled(epoch: Epoch, rule_id: str) -> Callable[[Judged], bool]:
    """Whether a rule holds for certain and binds the client, whatever its dates, mode and exceptions. Raises `InputError`."""
    from mirror.policy.replay import rederived
    from mirror.policy.subject import HOLDS, Subject

    rule, now = epoch.policy.rule(rule_id), datetime.now(UTC)
    if rule is None:
        raise InputError([Problem("", "--rule", f"no rule in force has the id {rule_id!r}")])

    def chosen(case: Judged) -> bool:
        held = rule.judge(Subject(case.artifact, rederived(case, epoch.catalogue, epoch.lineage), case.actor, now))
        return rule.binds(case.actor) and held is not None and held.truth is HOLDS

    return chosen


def _given(directory: Path, epoch: Epoch, chosen: Callable[[Judged], bool], since: datetime | None, *, people: bool) -> Iterator[dict[str, Any]]:
    from mirror.watch.past import case_of, records

    rows: dict[tuple[str, str], dict[str, Any]] = {}
    of: dict[str, dict[str, Any]] = {}
    for record in records(directory, since):
        if record["kind"] == "repeated" and (row := of.get(record["subject"])) is not None:
            row["requests"] += record["count"]
            row["last"] = max(row["last"], record["at"])
        if record["kind"] != "allowed":
            continue
        try:
            case = case_of(record, epoch.catalogue)
        except (ValueError, TypeError, KeyError):
            continue  # of a release with other facts
        if case.artifact.path and chosen(case):
            row = of[case.decision] = _row(rows, case, record, people=people)
            row["requests"] += record["count"]
    for row in rows.values():
        yield {**row, "files": len(row["files"]), "clients": len(row["clients"])}


def _row(rows: dict[tuple[str, str], dict[str, Any]], case: Judged, record: Mapping[str, Any], *, people: bool) -> dict[str, Any]:
    artifact, actor = str(replace(case.artifact, path="")), case.actor
    client = who = actor.name or f"erased {case.decision}"
    if not people:
        who, actor = repr((actor.groups, actor.country)), replace(actor, name="", address="", networks=())
    row = rows.setdefault((artifact, who), {
        "artifact": artifact, "client": actor.name or None, "address": actor.address or None, "groups": list(actor.groups), "country": actor.country,
        "files": set(), "requests": 0, "first": record["at"], "last": record["at"], "decision": case.decision,
        "clients": set(),
    })  # fmt: skip
    row["files"].add(case.artifact.path)
    row["clients"].add(client)
    row["last"], row["decision"] = max(row["last"], record["at"]), case.decision
    return row
