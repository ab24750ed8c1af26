"""`mirror ledger lookback`: who was given what of a publisher, for as long as the ledger goes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mirror.core.canonical import day, instant
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from mirror.core.facts import Publisher
    from mirror.policy.epoch import Epoch
    from mirror.watch.lookback import Found, Received

_COLUMNS: Final = ("group", "country", "how", "project", "clients", "files", "requests", "first", "last")
_CSV: Final = ("group", "country", "country_source", "how", "publisher", "project", "via", "known_then", "revisions", "clients", "unnamed", "files", "requests", "first", "last")


@click.command()
@click.option("--publisher", "name", required=True, metavar="X", help="An id, a handle (hub:handle or handle), an entity's name.")
@click.option("--since", "start", default="5y", show_default=True, metavar="WHEN", help="From when on: 30d, 5y, a date (UTC) or all.")
@click.option("--of", "of", metavar="NAME", help="In an adopted ledger (`mirror ledger adopted`), by our own catalogue.")
@click.option("--minority", is_flag=True, help="Also through shares below a half, and unstated ones.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV (RFC 4180); what cannot be known goes to standard error.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines; the last one tells of the search and of what cannot be known.")
@click.option("-c", "--config", "path", type=click.Path(path_type=Path, dir_okay=False), help="The configuration file.")
@click.pass_context
def lookback(ctx: click.Context, name: str, start: str, of: str | None, minority: bool, as_csv: bool, as_json: bool, path: Path | None) -> None:
    """Say which groups in which countries were given what of publisher X: its own, what was made from it, and of companies it owns.

    Owners, lineage and accounts count as they are today and as they were recorded; clients are counted, `mirror ledger holders` names
    them. A finding is no legal advice. Exit 1 where nobody was given anything.
    """
    from mirror.cli.holders import epoch_in_force
    from mirror.cli.ledger_proof import folder_of
    from mirror.cli.ledger_query import print_csv, print_table
    from mirror.cli.policy_inputs import configured, ledger_of, since
    from mirror.watch.lookback import look_back

    if as_csv and as_json:
        raise InputError([Problem("", "--csv", "say one of --csv and --json")])
    here, now = path or ctx.find_object(Path), datetime.now(UTC)
    config = configured(here)
    moment, directory = since(start, now), ledger_of(config) if of is None else folder_of(config, of)
    epoch = epoch_in_force(here)
    top = _publisher(epoch, name)
    found = look_back(directory, top, epoch.catalogue, epoch.lineage, since=moment, now=now, minority=minority)
    told = about(found, top, asyncio.run(_listed(here, top)), moment, now)
    rows = [_row(row) for row in found.rows]
    if as_json:
        for row in [*rows, told]:
            click.echo(json.dumps(row, ensure_ascii=False))
    elif as_csv:
        print_csv(_CSV, [{**row, "via": "; ".join(row["via"]), "country_source": " ".join(row["country_source"])} for row in rows])
        click.echo("\n".join(_closing(told)), err=True)
    else:
        click.echo("\n".join(_heading(told)))
        if rows:
            print_table(_COLUMNS, [_plain(row) for row in rows])
            click.echo("\n".join(_ways(found.rows)))
        click.echo("\n".join(_closing(told)))
    ctx.exit(0 if rows else 1)


def _publisher(epoch: Epoch, name: str) -> Publisher:
    """Raises `InputError` where the catalogue knows nobody or several by `name`."""
    from mirror.cli.publisher import find

    known = find(epoch.catalogue, name)
    if len(known) == 1:
        return known[0]
    if known:
        raise InputError([Problem("", "--publisher", f"{name!r} is {', '.join(one.id for one in known)}: name one by its id")])
    near = ", ".join(one.id for one in epoch.catalogue.search(name.rpartition(":")[2], 5))
    said = f"{name!r} is not in the catalogue" + (f"; near: {near}" if near else "") + "; add who it is, or ask `mirror ledger holders` by name"
    raise InputError([Problem("", "--publisher", said)])


async def _listed(path: Path | None, top: Publisher) -> list[dict[str, Any]]:
    """On which lists a publisher is today: what the catalogue states, and what the configured lists have from the review band up."""
    from mirror.cli.policy_inputs import configured
    from mirror.cli.screen import against
    from mirror.policy.rescreening import screen_one
    from mirror.policy.reviewed import stands
    from mirror.policy.screening import REVIEW

    today = datetime.now(UTC).date()
    rows: list[dict[str, Any]] = [
        {"list": one.list, "since": day(one.since), "source": one.source}
        for one in top.listings if (one.since is None or one.since <= today) and (one.until is None or today < one.until)
    ]  # fmt: skip
    if configured(path).lists:
        here = await against(path, ())
        matches = screen_one(top, (), here.lists.values(), here.catalogue, here.day)
        rows += [
            {"list": one.list, "edition": one.edition, "entry": one.entry, "name": one.name, "score": one.score}
            for one in matches if one.score >= REVIEW and stands(one)
        ]  # fmt: skip
    return rows


def _row(row: Received) -> dict[str, Any]:
    return {
        "group": row.group or None, "country": row.country or None, "country_source": sorted(row.country_sources - {""}), "how": row.how,
        "publisher": row.publisher, "project": row.project, "via": list(row.via), "known_then": row.known_then, "revisions": len(row.revisions),
        "clients": len(row.clients), "unnamed": row.unnamed, "files": len(row.files), "requests": row.requests, "first": row.first, "last": row.last,
    }  # fmt: skip


def about(found: Found, top: Publisher, listed: Sequence[dict[str, Any]], since: datetime | None, now: datetime) -> dict[str, Any]:
    """What was looked for, the totals, and what a look back cannot know."""
    limits = [
        "that a file was permitted and asked for is recorded (HEAD included), not whether its last byte arrived, nor who passed it on",
        "what was fetched past this mirror is not in the ledger; of permissions whose retention has ended it has counts alone: no clients, and no lineage as it was recorded",
    ]
    if since is None or instant(since) < found.begins:
        limits.append(f"the ledger begins at {found.begins[:10]}: nothing before that is known")
    if found.unnamed:
        limits.append(f"decisions of clients who were erased: {found.unnamed}; counted, but not told apart")
    if found.unread:
        limits.append(f"{found.unread} records cannot be read by this release")
    if found.no_lineage:
        limits.append(f"of {found.received} projects that anybody was given in that time, {found.no_lineage} are models of nobody known that do not say what they were made from")
    if found.no_publisher:
        limits.append(f"of {found.received} projects that anybody was given in that time, {found.no_publisher} are of publishers whom the catalogue does not know")
    if found.left_out:
        limits.append(f"not looked at, as less than half or an unstated share is held: {', '.join(found.left_out)} (--minority)")
    return {
        "about": "lookback", "publisher": top.id, "entity": top.entity, "listed": list(listed), "since": instant(since) if since else None, "made": instant(now),
        "records": found.records, "begins": found.begins or None, "rows": len(found.rows), "projects": len({row.project for row in found.rows}),
        "groups": sorted({row.group for row in found.rows} - {""}), "countries": sorted({row.country for row in found.rows} - {""}), "clients": len(found.clients),
        "unnamed": found.unnamed, "requests": found.requests, "limits": limits, "note": "no legal advice",
    }  # fmt: skip


def _heading(told: dict[str, Any]) -> Iterator[str]:
    yield f"{told['publisher']}: {told['entity']}, since {(told['since'] or 'the beginning')[:10]}"
    for one in told["listed"]:
        if "entry" in one:
            yield f"  on {one['list']} (edition {one['edition']}): entry {one['entry']}, {one['name']}, {one['score'] / 10_000:.2f}"
        else:
            yield f"  on {one['list']}" + (f" since {one['since']}" if one["since"] else "") + f" (catalogue: {one['source']})"
    if not told["listed"]:
        yield "  on no list that is configured or that the catalogue names"
    yield ""


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    shown = {**row, "group": row["group"] or "(none)", "country": row["country"] or "(unknown)", "first": row["first"][:10], "last": row["last"][:10]}
    return {**shown, "clients": f"{row['clients']}+?" if row["unnamed"] else row["clients"], "how": row["how"] if row["known_then"] else f"{row['how']}*"}


def _ways(rows: Sequence[Received]) -> Iterator[str]:
    ways = dict.fromkeys((row.project, row.via) for row in rows if row.via)
    if ways:
        yield ""
    for project, via in ways:
        yield f"{project}: {'; '.join(via)}"
    if any(not row.known_then for row in rows):
        yield "* not known when it was decided: by what was recorded elsewhere, or by today's catalogue and lineage"


def _closing(told: dict[str, Any]) -> Iterator[str]:
    yield ""
    yield (
        f"{told['projects']} projects, {len(told['groups'])} groups, {len(told['countries'])} countries, {told['clients']} clients"
        f"{' and erased ones' if told['unnamed'] else ''}, {told['requests']} requests"
    )
    yield "what this cannot know:"
    yield from (f"  - {limit}" for limit in told["limits"])
    yield "this is no legal advice"
