"""`mirror policy upcoming`: what the dates of rules, exceptions and waivers are going to change, and for whom."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from mirror.cli.signing import Place, as_json, place, table

if TYPE_CHECKING:
    from mirror.policy.epoch import Epoch
    from mirror.policy.recorded import Judged


@click.command()
@click.option("--within", "days", type=click.IntRange(1, 3660), default=30, show_default=True, metavar="DAYS", help="How far to look ahead.")
@as_json
@click.pass_context
def upcoming(ctx: click.Context, days: int, as_json: bool) -> None:
    """List the dates that come near, with what changes then for whoever asked within the last 30 days.

    Their requests are judged again: on the facts of the record, under the rules in force, before and after the date.
    """
    from dataclasses import replace

    from mirror.policy.horizon import touched, turns

    here, now = place(ctx), datetime.now(UTC)
    base = here.rules()
    epoch = replace(base, policy=here.approvals.amended(base.policy, base.catalogue, base.lineage, base.lists))
    shown = here.config.ledger.views.people == "open"
    near = turns(epoch.policy, now, timedelta(days=days))
    cases = asyncio.run(_recent(here, epoch, now)) if near else []
    rows: list[dict[str, Any]] = []
    for turn in near:
        changes = touched(epoch.policy, turn, cases)
        rows.append({
            "date": f"{turn.at:%Y-%m-%d}", "of": turn.kind, "id": turn.id, "edge": turn.edge, "in_days": (turn.at - now).days,
            "clients": sorted({one.actor.name for one in changes if one.actor.name}) if shown else len({one.actor.name for one in changes}), "groups": sorted({group for one in changes for group in one.actor.groups}),
            "changes": [_change(one, shown=shown) for one in changes],
        })  # fmt: skip
    if as_json:
        table(rows, (), as_json=True)
        return
    for row in rows:
        click.echo(f"{row['date']}  {row['of']} {row['id']} {row['edge']}: {_counted(row['changes'], 'change')} for {_counted(row['clients'], 'client')}")
        for line in row["changes"]:
            click.echo(f"    {line['artifact']}: {line['before']} -> {line['after']}  ({', '.join([line['client'], *line['groups']])})")


def _counted(things: list[Any] | int, word: str) -> str:
    number = things if isinstance(things, int) else len(things)
    return f"{number} {word}{'' if number == 1 else 's'}"


def _change(one: Any, *, shown: bool) -> dict[str, Any]:
    return {
        "artifact": str(one.artifact), "client": one.actor.name if shown else "(not shown)", "groups": list(one.actor.groups), "before": one.before.word, "after": one.after.word,
    }  # fmt: skip


async def _recent(here: Place, epoch: Epoch, now: datetime) -> list[Judged]:
    from mirror.cli.record_index import record_index
    from mirror.watch.notices import recent

    async with record_index(here.config) as index:
        return await recent(index, epoch, now)
