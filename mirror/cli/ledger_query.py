"""`mirror ledger query`: events by what they are about, and sums of them, as a table, CSV, JSON Lines or a page to be mailed."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from mirror.cli.views import closed, people_shown, view_option, without_people
from mirror.core.decision import Effect, EventKind
from mirror.core.errors import InputError, Problem
from mirror.core.questions import BY, OUTCOMES, Summed

if TYPE_CHECKING:
    from mirror.config import Config
    from mirror.index.sql import SqlIndex

F = TypeVar("F", bound=Callable[..., Any])
_FILTERS: Final = {
    "actor": "who asked, by pseudonym",
    "group": "a group of the asking side",
    "publisher": "the publisher's id in the catalogue",
    "country": "the client's country (ISO 3166-1 alpha-2)",
    "rule": "a rule that took part",
    "list": "a list that matched",
    "ancestor": "a project that it was made from, as known then: org/name, org/* or a package URL",
    "artifact": "how the package URL begins",
    "effect": "allow, warn, review, quarantine or deny",
    "kind": "allowed, refused, held, steered, repeated, write_refused, …",
    "since": "from then on: a date or moment (UTC), or a span back from now: 12h, 30d, 8w, 5y",
    "until": "before then; as --since",
}
#: A word that no event has would find nothing, and read like an answer.
_WORDS: Final = {"effect": [effect.word for effect in Effect], "kind": [kind.value for kind in EventKind]}
_COLUMNS: Final = ("seq", "at", "kind", "effect", "artifact", "requests", "actor", "groups", "country", "rules")
#: The columns of a record as one flat row (`row_of`).
CSV_COLUMNS: Final = (
    "seq", "at", "kind", "decision", "effect", "would", "artifact", "requests", "actor", "groups", "country", "country_source", "publisher", "rules",
    "lists", "ancestors", "sentence", "status", "policy",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Output:
    as_csv: bool
    as_json: bool
    report: Path | None
    people: bool = False
    of: str | None = None


def _filters(command: F) -> F:
    for name, text in reversed(_FILTERS.items()):
        words = _WORDS.get(name)
        kind = click.Choice(words, case_sensitive=False) if words else click.STRING
        command = click.option(f"--{name}", name, type=kind, metavar="WORD" if words else "TEXT", help=text)(command)
    return command


@click.command()
@_filters
@click.option("--by", type=click.Choice(BY), help="Sum up instead: events and requests of each day, rule, country, publisher or group.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many events.")
@click.option("--before", type=click.IntRange(0), help="Only events below this sequence (the next page).")
@click.option("--csv", "as_csv", is_flag=True, help="CSV (RFC 4180) with a line of names.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines (docs/schema/event.json).")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write a page with charts (HTML, nothing outside it): by day and --by, or by everything.")
@click.option("--of", "of", metavar="NAME", help="In an adopted ledger (`mirror ledger adopted`).")
@view_option
@click.option("-c", "--config", "path", type=click.Path(path_type=Path, dir_okay=False), help="The configuration file.")
@click.pass_context
def query(
    ctx: click.Context, /, by: str | None, limit: int, before: int | None, as_csv: bool, as_json: bool, report: Path | None, path: Path | None,
    of: str | None, view: str | None, **where: str | None,
) -> None:  # fmt: skip
    """Print the events for which every given condition holds, newest first; or sums of what was answered, with --by.

    An empty value of --group, --country, --publisher or --rule asks for answers that have none. Sums count answers: each
    event once, and the requests that it stands for; one of two groups or rules counts under both.
    """
    from mirror.config import load

    paged = [f"--{name}" for name in ("limit", "before") if ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT]
    if (by or report) and paged:
        raise InputError([Problem("", name, "has no meaning for sums") for name in paged])
    if of is not None and report is not None:
        raise InputError([Problem("", "--report", "is of our own ledger; --of answers as a table, CSV or JSON")])
    if as_csv + as_json + (report is not None) > 1:
        raise InputError([Problem("", "--csv", "say one of --csv, --json and --report")])
    config = load(path or ctx.obj, os.environ)
    asked = _asked(where, datetime.now(UTC))
    people = people_shown(config, view, "ledger query", asked) if view or not by else False
    if "actor" in asked and not people and config.ledger.views.people == "closed":
        raise closed("--actor")
    output = _Output(as_csv, as_json, report, people=people, of=of)
    asyncio.run(_answer(config, asked, (by, limit, before), output))


def _asked(where: Mapping[str, str | None], now: datetime) -> dict[str, str]:
    """The conditions that were given, spans made moments; what is neither is left to the index, which names every fault."""
    from mirror.cli.policy_inputs import since
    from mirror.core.canonical import instant

    found = {key: value for key, value in where.items() if value is not None}
    for key in ("since", "until"):
        if key in found:
            try:
                moment = since(found[key], now)
            except InputError:
                continue
            if moment is not None:
                found[key] = instant(moment)
            elif key == "since":
                del found[key]  # `all`
    return found


async def _answer(config: Config, asked: Mapping[str, str], what: tuple[str | None, int, int | None], output: _Output) -> None:
    from mirror.cli.record_index import record_index

    by, limit, before = what
    async with record_index(config, output.of) as index:
        if output.report is not None:
            await _report(config, index, asked, by, output.report)
        elif by is not None:
            _print_sums(by, await index.summed(by, asked), output)
        else:
            found = await index.query(asked, limit, before)
            _print_events(found if output.people else [without_people(one) for one in found], output)


# --- events ----------------------------------------------------------------------------------------------------------


def row_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as one flat row: lists joined by spaces, what is not there empty. `actor` is empty where it was erased."""
    decision = record.get("decision") or {}
    actor = record["actor"]
    fact = decision.get("facts", {}).get("publisher") or {}
    return {
        "seq": record["seq"], "at": record["at"], "kind": record["kind"], "decision": decision.get("id", ""), "effect": decision.get("effect", ""),
        "would": decision.get("would", ""), "artifact": decision.get("artifact") or _subject(record), "requests": record["count"],
        "actor": actor.get("name") or "", "groups": " ".join(actor["groups"]), "country": actor["country"] or "",
        "country_source": actor.get("country_source", ""), "publisher": fact.get("value") or "",
        "rules": " ".join(rule["id"] for rule in decision.get("rules", ())),
        "lists": " ".join(dict.fromkeys(match["list"] for match in decision.get("matches", ()))),
        "ancestors": " ".join(dict.fromkeys(edge["to"] for edge in decision.get("lineage", ()))),
        "sentence": decision.get("sentence", ""), "status": decision.get("status", ""), "policy": decision.get("policy", ""),
    }  # fmt: skip


def _subject(record: Mapping[str, Any]) -> str:
    """What an event without a decision is about; of a bundle also which way it went, as two senders' series may have one name."""
    subject, detail = str(record.get("subject", "")), record.get("detail") or {}
    way = {"exported": "sent", "imported": f"received from {detail.get('sender', '')}"}.get(detail.get("outcome", ""), "")
    return f"{subject}, {way}" if record["kind"] == "bundle" and way else subject


def _print_events(records: Sequence[Mapping[str, Any]], output: _Output) -> None:
    if output.as_json:
        for record in records:
            click.echo(json.dumps(record, ensure_ascii=False, sort_keys=True))
    elif output.as_csv:
        print_csv(CSV_COLUMNS, map(row_of, records))
    else:
        print_table(_COLUMNS, [{**row_of(record), "at": record["at"][:19] + "Z"} for record in records])


# --- sums ------------------------------------------------------------------------------------------------------------


def sums_row(by: str, one: Summed) -> dict[str, Any]:
    """A sum as one flat row: `allowed` and so on are requests, `allowed_events` the records that stand for them."""
    events = {f"{word}_events": one.events.get(word, 0) for word in OUTCOMES}
    requests = {word: one.requests.get(word, 0) for word in OUTCOMES}
    return {by: one.term or None, "requests": sum(requests.values()), **requests, "events": sum(events.values()), **events}


def _print_sums(by: str, found: Sequence[Summed], output: _Output) -> None:
    rows = [sums_row(by, one) for one in found]
    if output.as_json:
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False))
    elif output.as_csv:
        print_csv((by, "requests", *OUTCOMES, "events", *(f"{word}_events" for word in OUTCOMES)), rows)
    else:
        print_table((by, "requests", *OUTCOMES, "events"), [{**row, by: row[by] or "(none)"} for row in rows])


async def _report(config: Config, index: SqlIndex, asked: Mapping[str, str], by: str | None, path: Path) -> None:
    from mirror import __version__
    from mirror.audit.segments import read_head
    from mirror.cli.ledger_report import Report, page

    sums = {one: await index.summed(one, asked) for one in (BY if by is None else dict.fromkeys(("day", by)))}
    head = read_head(config.ledger.path or config.data / "ledger")
    made = Report(sums, asked, datetime.now(UTC), head.count if head else 0, head.leaf if head else "", await index.last_sequence() + 1, config.ledger.origin or "", __version__)
    try:
        path.write_text(page(made), encoding="utf-8")  # noqa: ASYNC240 - the last thing that this process does
    except OSError as error:
        raise InputError([Problem(str(path), "--report", error.strerror or str(error))]) from None
    click.echo(f"{path}: {path.stat().st_size} bytes, from {made.indexed} records")  # noqa: ASYNC240 - as above


# --- shapes ----------------------------------------------------------------------------------------------------------


def print_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Aligned columns under a line of names; numbers to the right. Control characters are shown, not sent to the terminal."""
    cells = [[_shown(row.get(name)) for name in columns] for row in rows]
    numeric = {name for name in columns if rows and all(isinstance(row.get(name), int) for row in rows)}
    widths = [max([len(name), *(len(line[place]) for line in cells)]) for place, name in enumerate(columns)]
    for line in [list(columns), *cells]:
        parts = (cell.rjust(width) if name in numeric else cell.ljust(width) for cell, width, name in zip(line, widths, columns, strict=True))
        click.echo("  ".join(parts).rstrip())


def _shown(value: object) -> str:
    text = "" if value is None else str(value)
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)


def print_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """RFC 4180. A text that a spreadsheet would take for a formula has an apostrophe before it."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([harmless(row.get(name)) for name in columns])
    click.echo(out.getvalue(), nl=False)


def harmless(value: object) -> object:
    """A cell that a spreadsheet does not take for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
