"""`mirror list`: official lists fetched, how they stand, and what changed between two editions; with the server running or not."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirror.core.canonical import day
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.config import Config
    from mirror.lists.editions import EditionStore, Kept
    from mirror.lists.standing import Condition
    from mirror.policy.entries import ListEntry
    from mirror.watch.lists import Outcome

_JSON = click.option("--json", "as_json", is_flag=True, help="JSON Lines.")
_CONFIG = click.option(
    "-c", "--config", "config_path", type=click.Path(path_type=Path, dir_okay=False), help="The configuration file."
)
#: Fields of an entry that a difference tells.
_FIELDS = ("name", "aliases", "weak_aliases", "country", "programme", "listed_on", "until", "web", "identifiers", "type", "source")


class _Clock:
    """The machine's; a server's would wait out small steps back, which no list minds."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@click.group("list")
def command() -> None:
    """Fetch official lists, see how they stand and what changed. Lists are brought by you; matches are no legal advice."""


@command.command()
@click.argument("names", nargs=-1)
@click.option("--accept", is_flag=True, help="Let an edition in against its guards, never one that cannot be read. Needs NAME.")
@_CONFIG
@_JSON
def refresh(names: tuple[str, ...], accept: bool, config_path: Path | None, as_json: bool) -> None:
    """Look at the sources of NAMES (all lists without any) and put in force what is new. A running server follows in seconds.

    Exit 1 where the newest edition of a list is not in force afterwards: held by a guard, unreadable, unreachable, offline.
    """
    from mirror.list_wiring import list_watch_of

    if accept and not names:
        raise InputError([Problem("--accept", "", "say of which list you have looked at the edition: `mirror list refresh NAME --accept`")])
    config = _configured(config_path)
    chosen = _chosen(config, names)
    watch = list_watch_of(config, _Clock())

    async def all_of_them() -> list[Outcome]:
        return [await watch.refresh(name, accept=accept) for name in chosen]

    try:
        found = asyncio.run(all_of_them())
    except OSError as error:
        raise InputError([Problem("data", "", f"{error.filename or config.data}: {error.strerror}")]) from error
    for one in found:
        if as_json:
            row = {"name": one.name, "result": one.result, "edition": one.edition, "entries": one.entries, "problems": list(one.problems)}
            click.echo(json.dumps(row, ensure_ascii=False))
            continue
        standing = f"edition {one.edition}, {one.entries} entries" if one.edition else "no edition in force"
        click.echo(f"{one.name}: {one.result}; {standing}")
        for problem in one.problems:
            click.echo(f"  {problem}", err=True)
    sys.exit(0 if all(one.fine for one in found) else 1)


@command.command()
@click.argument("names", nargs=-1)
@_CONFIG
@_JSON
def status(names: tuple[str, ...], config_path: Path | None, as_json: bool) -> None:
    """Show the edition in force of each list, how fresh it is, and what is kept out and why. Exit 1 where somebody should look."""
    from mirror.bundle.signed_time import at_least
    from mirror.lists.editions import store_of
    from mirror.lists.standing import condition

    config = _configured(config_path)
    now, store = at_least(config.data, _Clock().now()), store_of(config.data)
    found = [condition(name, config.lists[name], store, now) for name in _chosen(config, names)]
    for one in found:
        row = config.lists[one.name]
        if as_json:
            about = {
                "loader": row.loader, "meaning": row.meaning, "direction": row.direction, "basis": row.basis,
                "jurisdictions": list(row.jurisdictions), "from": day(row.since), "until": day(row.until),
            }  # fmt: skip
            click.echo(json.dumps({**one.record(), **about}, ensure_ascii=False))
        else:
            click.echo("\n".join(_page(one)))
    if not found and not as_json:
        click.echo("no lists are configured")
    sys.exit(1 if any(one.alarming for one in found) else 0)


def _page(one: Condition) -> list[str]:
    lines = [f"{one.name}: {one.state}"]
    if one.edition:
        accepted = ", accepted against its guards" if one.accepted else ""
        lines.append(f"  edition {one.edition}, {one.entries} entries, since {one.adopted_at:%Y-%m-%d %H:%M} UTC{accepted}")
        lines.append(f"  confirmed {_ago(one.age)} ago" + (f"; asked again {one.next_at:%Y-%m-%d %H:%M} UTC" if one.next_at else ""))
    return [*lines, *(f"  {problem}" for problem in one.problems)]


def _ago(age: timedelta | None) -> str:
    seconds = int(age.total_seconds()) if age is not None else 0
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


@command.command()
@click.argument("name")
@click.argument("before", required=False)
@click.argument("after", required=False)
@_CONFIG
@_JSON
def diff(name: str, before: str | None, after: str | None, config_path: Path | None, as_json: bool) -> None:
    """Show which entries of list NAME came, went and changed between two editions: the last two, or BEFORE and AFTER.

    An edition is named by the beginning of its id. Without AFTER: the one in force. Exit 0 also where nothing changed.
    """
    from mirror.lists.editions import changes, store_of

    config = _configured(config_path)
    _chosen(config, (name,))
    store = store_of(config.data)
    known = store.editions(name)
    current = store.current(name, config.lists[name])
    newer = _edition(name, known, after) if after else current
    older = _edition(name, known, before) if before else next((one for one in known if newer is not None and one.edition != newer.edition), None)
    if newer is None or older is None:
        raise InputError([Problem(f"lists.{name}", "", "has had fewer than two editions: there is nothing to compare")])
    added, removed, changed = changes(_entries(config, store, name, older), _entries(config, store, name, newer))
    rows: list[dict[str, Any]] = [{"change": "added", "id": one.id, "name": one.name} for one in added]
    rows += [{"change": "removed", "id": one.id, "name": one.name} for one in removed]
    rows += [{"change": "changed", "id": one.id, "name": one.name, "fields": _fields(was, one)} for was, one in changed]
    if as_json:
        for row in rows:
            click.echo(json.dumps({"list": name, "before": older.edition, "after": newer.edition, **row}, ensure_ascii=False))
        return
    click.echo(f"{name}: {older.edition} to {newer.edition}: {len(added)} added, {len(removed)} removed, {len(changed)} changed")
    marks = {"added": "+", "removed": "-", "changed": "~"}
    for row in rows:
        told = "".join(f"\n    {key}: {was} -> {now}" for key, (was, now) in row.get("fields", {}).items())
        click.echo(f"  {marks[row['change']]} {row['id']}  {row['name']}{told}")


def _fields(before: ListEntry, after: ListEntry) -> dict[str, tuple[Any, Any]]:
    """Field -> (before, after) of those that differ, as JSON."""

    def plain(value: Any) -> Any:
        return list(value) if isinstance(value, tuple) else value if isinstance(value, str) or value is None else str(value)

    pairs = ((key, getattr(before, key), getattr(after, key)) for key in _FIELDS)
    return {key: (plain(was), plain(now)) for key, was, now in pairs if was != now}


def _edition(name: str, known: Sequence[Kept], asked: str) -> Kept:
    found = [one for one in known if one.edition.startswith(asked)]
    if len(found) != 1:
        there = ", ".join(one.edition for one in known) or "none"
        raise InputError([Problem(f"lists.{name}", "", f"{asked!r} names {'no' if not found else 'more than one'} edition; there are: {there}")])
    return found[0]


def _entries(config: Config, store: EditionStore, name: str, kept: Kept) -> Sequence[ListEntry]:
    """The entries of an edition: from its files here, else from the evidence archive."""
    from mirror.lists.material import Part
    from mirror.lists.official import edition_of
    from mirror.store.archive import EvidenceArchive

    try:
        parts = store.parts(name, kept)
    except InputError:
        archive = EvidenceArchive(config.data / "evidence")

        async def fetched() -> list[Part]:
            return [Part(file.name, await archive.fetch(file.sha256) or b"") for file in kept.files]

        parts = tuple(asyncio.run(fetched()))
        if not all(part.data for part in parts):
            raise
    return edition_of(name, config.lists[name], parts).entries


def _configured(path: Path | None) -> Config:
    from mirror.config import load

    return load(path or click.get_current_context().find_object(Path), os.environ)


def _chosen(config: Config, names: Sequence[str]) -> list[str]:
    """`names`, or all lists. Raises `InputError` for one that is not configured."""
    unknown = [name for name in names if name not in config.lists]
    if unknown:
        there = ", ".join(config.lists) or "none"
        raise InputError([Problem("lists", "", f"there is no list {name!r}; there are: {there}") for name in unknown])
    return list(dict.fromkeys(names)) or list(config.lists)
