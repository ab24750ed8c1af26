"""`mirror screen`: names, the catalogue, or everybody who was asked for here, against the configured lists; and what reviewers find."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mirror.core.canonical import day as written
from mirror.core.canonical import instant
from mirror.core.errors import InputError, Problem
from mirror.core.findings import FALSE_MATCH, FINDINGS, REOPENED, TRUE_MATCH, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mirror.config import Config
    from mirror.core.decision import Match
    from mirror.core.facts import Publisher
    from mirror.core.traffic import Seen
    from mirror.policy.catalogue import Catalogue
    from mirror.policy.entries import ListEntry
    from mirror.policy.reviewed import Reviewed
    from mirror.policy.screening import ScreeningList

#: The bands that a rule has where it names none (SURFACE 4), in 1/10,000.
HIT: Final = 9_200
REVIEW: Final = 8_000
_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


@dataclass(frozen=True, slots=True)
class Here:
    """What is screened against: lists as they are in force, with the findings that count, the catalogue, and the day."""

    config: Config
    catalogue: Catalogue
    lists: Mapping[str, ScreeningList]
    day: date

    def entry(self, match: Match) -> ListEntry | None:
        """The list's own words."""
        return next((one for one in self.lists[match.list].entries if one.id == match.entry), None)


@dataclass(frozen=True, slots=True)
class Screened:
    """One subject with its matches, best first."""

    subject: str
    publisher: Publisher | None
    matches: tuple[Match, ...]
    seen: Seen | None = None


@click.command("screen")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--publishers", is_flag=True, help="Screen every publisher of the catalogue.")
@click.option("--traffic", is_flag=True, help="Screen everybody who was asked for here.")
@click.option("--since", default="30d", show_default=True, metavar="WHEN", help="With --traffic: from when on: 12h, 30d, 8w or a date (UTC).")
@click.option("--list", "chosen", multiple=True, metavar="LIST", help="Only this list (repeatable).")
@click.option("--country", "countries", multiple=True, metavar="CODE", help="The country of NAME, where known (repeatable).")
@click.option("--id", "identifiers", multiple=True, metavar="KIND:VALUE", help="A register's number, a web or a mail address of NAME (repeatable).")
@click.option("--all", "everything", is_flag=True, help="With --publishers or --traffic: also what is below 0.80, and subjects without a match.")
@click.option("--verdict", type=click.Choice(FINDINGS), help="Say what a reviewer found of the match of NAME with --entry on --list.")
@click.option("--entry", metavar="ID", help="With --verdict: the entry, by the list's own number.")
@click.option("--by", metavar="WHO", help="With --verdict: the reviewer.")
@click.option("--reason", metavar="TEXT", help="With --verdict: why.")
@click.option("--verdicts", is_flag=True, help="List what reviewers have found, and whether it still counts.")
@click.option("-c", "--config", "config_path", type=click.Path(path_type=Path, dir_okay=False), help="The configuration file.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines, one a match.")
@click.pass_context
def command(ctx: click.Context, /, config_path: Path | None, **given: Any) -> None:
    """Screen NAMEs (any text, or an id or handle of the catalogue) against the configured lists. A match is no legal advice.

    Exit 1 where anything from 0.80 up stands, 0 where nothing does, 2 for input that cannot be used.
    """
    asked = [bool(given["names"]) and not given["verdicts"], given["publishers"], given["traffic"], given["verdicts"]]
    if sum(asked) != 1:
        raise InputError([Problem("screen", "", "say what to screen: NAMEs, --publishers, --traffic, or --verdicts")])
    _checked(given["countries"], given["identifiers"])
    path = config_path or ctx.obj
    if given["verdicts"]:
        _verdicts(path, as_json=given["as_json"])
        return
    here = asyncio.run(against(path, given["chosen"]))
    if given["verdict"]:
        _find(here, **{key: given[key] for key in ("names", "chosen", "verdict", "entry", "by", "reason", "as_json")})
        return
    if given["traffic"]:
        found = _of_traffic(here, _since(given["since"]))
    elif given["publishers"]:
        found = [_of_publisher(here, one) for one in here.catalogue.publishers]
    else:
        found = [one for name in given["names"] for one in _of_name(here, name, given["countries"], given["identifiers"])]
    standing = sum([_shown(here, one, as_json=given["as_json"], everything=given["everything"] or bool(given["names"])) for one in found])
    if not given["as_json"]:
        _closing(here, found, standing, traffic=given["traffic"])
    sys.exit(1 if standing else 0)


# --- subjects ---------------------------------------------------------------------------------------------------------


def _of_publisher(here: Here, publisher: Publisher) -> Screened:
    from mirror.policy.rescreening import screen_one

    return Screened(publisher.id, publisher, screen_one(publisher, (), here.lists.values(), here.catalogue, here.day))


def _of_name(here: Here, name: str, countries: Sequence[str], identifiers: Sequence[str]) -> Iterator[Screened]:
    """Whoever the catalogue knows by `name`, and else the text itself."""
    from mirror.cli.publisher import find

    known = find(here.catalogue, name)
    for publisher in known:
        yield _of_publisher(here, publisher)
    if not known:
        codes = tuple(code.upper() for code in countries)
        further = (name, *identifiers) if _addresses(name) else identifiers
        found = [m for one in here.lists.values() for m in one.screen(None, (name,), countries=codes, on=here.day, identifiers=further)]
        yield Screened(name, None, tuple(sorted(found, key=lambda match: (match.finding == FALSE_MATCH, -match.score))))


def _addresses(name: str) -> bool:
    """Whether a text is an address or a number rather than a name."""
    return " " not in name and ("@" in name or "://" in name or bool(re.fullmatch(r"[\w-]+(\.[\w-]+)+|[a-z]{2,8}:\S+", name, re.IGNORECASE)))


def _of_traffic(here: Here, since: datetime) -> list[Screened]:
    from mirror.policy.rescreening import called, of_traffic, screen_one

    async def seen() -> Sequence[Seen]:
        from mirror.cli.record_index import record_index

        async with record_index(here.config) as index:
            return await index.seen(since)

    found = []
    for one in asyncio.run(seen()):
        publisher, names = of_traffic(one, here.catalogue)
        matches = screen_one(publisher, names, here.lists.values(), here.catalogue, here.day)
        found.append(Screened(called(one), publisher, matches, one))
    return found


def _checked(countries: Sequence[str], identifiers: Sequence[str]) -> None:
    """Raise `InputError` with every country that is none and everything given as an identifier that names nobody."""
    from mirror.policy.countries import CODES
    from mirror.policy.entries import domain, identifier

    problems = [Problem("", "--country", f"{code!r} is not an ISO 3166-1 code") for code in countries if code.upper() not in CODES]
    nobody = [text for text in identifiers if not identifier(text) and not domain(text)]
    problems += [Problem("", "--id", f"{text!r} is neither KIND:NUMBER nor a web or mail address that is one body's") for text in nobody]
    if problems:
        raise InputError(problems)


def _since(text: str) -> datetime:
    """`30d`, or a date. Raises `InputError`."""
    if span := re.fullmatch(r"(\d{1,4})\s*([hdw])", text.strip()):
        return datetime.now(UTC) - int(span[1]) * _UNITS[span[2]]
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InputError([Problem("--since", "", f"{text!r} is neither a span such as 30d nor a date")]) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


# --- what is printed ----------------------------------------------------------------------------------------------------


def _band(match: Match) -> str:
    if match.finding == FALSE_MATCH:
        return "false"
    return "hit" if match.score >= HIT or match.finding == TRUE_MATCH else "review" if match.score >= REVIEW else "below"


def _shown(here: Here, one: Screened, *, as_json: bool, everything: bool) -> int:
    """Print a subject; gives how many of its matches stand."""
    standing = [match for match in one.matches if _band(match) in ("hit", "review")]
    shown = [match for match in one.matches if everything or match.score >= REVIEW]
    if not shown and not everything:
        return 0
    if as_json:
        for match in shown:
            click.echo(json.dumps(_row(here, one, match), ensure_ascii=False))
        return len(standing)
    asked = f", {one.seen.decisions} decisions, last {one.seen.last:%Y-%m-%d %H:%M}" if one.seen else ""
    click.echo(f"{one.subject}{f': {one.publisher.entity}' if one.publisher else ''}{asked}")
    for match in shown:
        finding = f"  [{match.finding} {match.verdict}]" if match.finding else ""
        click.echo(f"  {match.score / 10_000:.4f} {_band(match):<6} {match.list} {match.edition}  {match.entry}  {match.name}  by {match.via}{finding}")
    if not shown:
        click.echo(f"  nothing on {len(here.lists)} list{'' if len(here.lists) == 1 else 's'}")
    return len(standing)


def _row(here: Here, one: Screened, match: Match) -> dict[str, Any]:
    entry = here.entry(match)
    row: dict[str, Any] = {
        "subject": one.subject, "entity": one.publisher.entity if one.publisher else None, "list": match.list, "edition": match.edition,
        "entry": match.entry, "name": match.name, "score": match.score, "band": _band(match), "via": match.via, "matcher": match.matcher,
        "finding": match.finding or None, "verdict": match.verdict or None,
        "meaning": here.lists[match.list].meaning, "country": entry.country if entry else "", "programme": entry.programme if entry else "",
        "listed_on": written(entry.listed_on) if entry else None,
    }  # fmt: skip
    if one.seen is not None:
        row |= {"decisions": one.seen.decisions, "first": instant(one.seen.first), "last": instant(one.seen.last)}
    return row


def _closing(here: Here, found: Sequence[Screened], standing: int, *, traffic: bool) -> None:
    editions = ", ".join(f"{name} {one.edition}" for name, one in sorted(here.lists.items()))
    click.echo(f"{len(found)} screened against {editions}: {standing} match{'' if standing == 1 else 'es'} from 0.80 up. Not legal advice.", err=True)
    if not traffic:
        return
    from mirror.watch.rescreen import FILE, read_outcome

    last = read_outcome(here.config.data / FILE)
    if last is not None and last["changes"]:
        click.echo(f"what the lists changed at {last['at']}:", err=True)
        for row in last["changes"]:
            click.echo(f"  {row['subject']} {row['change']} on {row['list']} as '{row['name']}'", err=True)


# --- reviewers ------------------------------------------------------------------------------------------------------------


def _find(
    here: Here, names: Sequence[str], chosen: Sequence[str], verdict: str, entry: str | None, by: str | None, reason: str | None, as_json: bool
) -> None:
    """Keep what a reviewer found. It counts as soon as a running mirror has it on the record, in a second or at its next start."""
    from mirror.core.ids import ulid
    from mirror.policy.reviewed import subject_digest, subject_of

    stated = {"--entry": entry, "--by": by, "--reason": reason}
    problems = [Problem(option, "", "goes with --verdict") for option, value in stated.items() if not (value or "").strip()]
    if len(names) != 1 or len(chosen) != 1:
        problems.append(Problem("--verdict", "", "is about one NAME and one --list"))
    if problems:
        raise InputError(problems)
    publisher, match = _matched(here, names[0], chosen[0], str(entry))
    listed = here.entry(match)
    now = datetime.now(UTC)
    finding = Finding(
        ulid(now, os.urandom(10)), subject_of(publisher, names[0]), subject_digest(publisher, names[0]), match.list, match.entry,
        listed.digest if listed else "", verdict, str(by), now, str(reason),
    )  # fmt: skip
    asyncio.run(_keep(here.config, finding))
    if as_json:
        click.echo(json.dumps(_finding_row(finding, "waiting"), ensure_ascii=False))
    else:
        click.echo(f"{finding.id}: {finding.subject} and {match.list} {match.entry} ({match.name}): {verdict}")


def _matched(here: Here, name: str, chosen: str, entry: str) -> tuple[Publisher | None, Match]:
    """The subject itself and its match with the entry. Raises `InputError`, which says what matches there are."""
    from mirror.cli.publisher import find

    known = find(here.catalogue, name)
    if len(known) > 1:
        raise InputError([Problem(name, "", f"may be {', '.join(one.id for one in known)}: give the id")])
    publisher = known[0] if known else None
    found = here.lists[chosen].screen(publisher, () if publisher else (name,), on=here.day)
    match = next((one for one in found if one.entry == entry), None)
    if match is None:
        above = () if publisher is None else here.catalogue.parents_of(publisher)
        through = [one.id for one in above if any(m.entry == entry for m in here.lists[chosen].screen(one, (), on=here.day))]
        said = f"; it is through {through[0]}: give the verdict on that" if through else ""
        there = ", ".join(one.entry for one in found) or "none"
        raise InputError([Problem("--entry", "", f"{entry!r} of {chosen} is no match of {name} (there are: {there}){said}")])
    return publisher, match


def _verdicts(path: Path | None, *, as_json: bool) -> None:
    """Print every finding, the latest last: `counts`, `waiting` for the ledger, `superseded`, or `reopened` because a side changed."""
    here = asyncio.run(against(path, ()))
    everything, recorded = asyncio.run(_findings(here.config))
    latest = {(one.list, one.entry, one.subject): one.id for one in everything}
    for one in everything:
        state = "waiting" if one.id not in recorded else _state(here, one)
        if latest[one.list, one.entry, one.subject] != one.id:
            state = "superseded"
        row = _finding_row(one, state)
        if as_json:
            click.echo(json.dumps(row, ensure_ascii=False))
        else:
            click.echo(f"{one.id}  {state:<10}  {one.finding:<11}  {one.subject}  {one.list} {one.entry}  {one.at:%Y-%m-%d} {one.by}: {one.reason}")


def _state(here: Here, finding: Finding) -> str:
    from mirror.policy.reviewed import subject_digest

    listed = here.lists.get(finding.list)
    entry = next((one for one in listed.entries if one.id == finding.entry), None) if listed else None
    if entry is None:
        return "unlisted"
    name = finding.subject.removeprefix("name:")
    publisher = None if finding.subject.startswith("name:") else here.catalogue.by_id(finding.subject)
    current = (entry.digest, subject_digest(publisher, name)) == (finding.entry_digest, finding.subject_digest)
    return "counts" if current else REOPENED


def _finding_row(finding: Finding, state: str) -> dict[str, Any]:
    return {
        "id": finding.id, "state": state, "finding": finding.finding, "subject": finding.subject, "list": finding.list, "entry": finding.entry,
        "entry_digest": finding.entry_digest, "subject_digest": finding.subject_digest, "by": finding.by, "at": instant(finding.at),
        "reason": finding.reason,
    }  # fmt: skip


# --- what there is ----------------------------------------------------------------------------------------------------------


async def against(path: Path | None, chosen: Sequence[str]) -> Here:
    """The configured lists (those that are `chosen`, else all), with what reviewers found. Raises `InputError`, also where there are none."""
    from mirror.cli.policy_inputs import kept_out
    from mirror.config import load
    from mirror.lists.editions import previews
    from mirror.lists.loading import load_catalogue
    from mirror.policy.reviewed import Reviewed

    config = load(path, os.environ)
    if not config.lists:
        raise InputError([Problem("lists", "", "there are none in the configuration: bring one (docs/lists.md)")])
    unknown = [Problem("--list", "", f"{name!r} is not among {', '.join(config.lists)}") for name in chosen if name not in config.lists]
    if unknown:
        raise InputError(unknown)
    load_one = previews(config.data, kept_out, offline=config.network == "offline")
    base = config.file.resolve().parent if config.file else Path.cwd()
    everything, recorded = await _findings(config)
    reviewed: Reviewed | None = Reviewed([one for one in everything if one.id in recorded]) or None
    lists = {name: load_one(name, row, None).under(reviewed) for name, row in config.lists.items() if not chosen or name in chosen}
    return Here(config, load_catalogue(config.catalogue, base), lists, datetime.now(UTC).date())


async def _findings(config: Config) -> tuple[Sequence[Finding], frozenset[str]]:
    """All findings, and the ids of those that the ledger has. None at all before there is any data."""
    from mirror.index.sql import SqlIndex

    if config.database is None and not (config.data / "index.sqlite").exists():
        return (), frozenset()
    index = await SqlIndex.open(config.database.reveal() if config.database else None, config.data)
    try:
        return await index.findings(), frozenset(one.id for one in await index.findings(recorded=True))
    finally:
        await index.close()


async def _keep(config: Config, finding: Finding) -> None:
    from mirror.index.sql import SqlIndex

    index = await SqlIndex.open(config.database.reveal() if config.database else None, config.data)
    try:
        await index.put_finding(finding)
    finally:
        await index.close()
