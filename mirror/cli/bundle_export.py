"""`mirror bundle export`: what is wanted, with all that a mirror without a network needs to answer as this one does, signed."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mirror.cli.sync_wants import KEYS, named, past_of, wanted_of, wanting, with_past
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from mirror.bundle.contents import Row
    from mirror.bundle.outgoing import Made, Sender
    from mirror.bundle.plan import Outcome
    from mirror.bundle.statement import Withdrawn
    from mirror.cli.bundle_outgoing import Heard
    from mirror.cli.sync_wants import Wanted
    from mirror.config import Config

_UNITS: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_SIZE: Final = re.compile(r"([0-9]{1,9})\s*([kmgt]?)i?b?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    pins: str | None
    everything: bool
    out: Path
    form: str
    volume: int | None
    since: str | None
    name: str | None
    url: str | None
    token: str | None
    jobs: int
    as_json: bool


def _bytes(_ctx: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    from mirror.bundle.volumes import SMALLEST

    match = None if value is None else _SIZE.fullmatch(value.strip())
    if value is not None and match is None:
        raise click.BadParameter("is no size such as 4GiB")
    size = None if match is None else int(match[1]) * _UNITS[match[2].lower()]
    if size is not None and size < SMALLEST:
        raise click.BadParameter(f"a volume has at least {SMALLEST} bytes")
    return size


@click.command("export")
@click.argument("wants_path", metavar="[WANTS.YAML]", required=False, type=click.Path(path_type=Path, dir_okay=False))
@wanting
@click.option("--pins", metavar="NAME", default=None, help="What the pins of this wanted list keep (`mirror sync`).")
@click.option("--all", "everything", is_flag=True, help="Everything that is in the store.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Where the bundle goes.")
@click.option("--form", type=click.Choice(["dir", "tar"]), default="tar", show_default=True, help="A folder, or one tar file.")
@click.option("--volume", callback=_bytes, default=None, metavar="SIZE", help="Cut the tar into numbered volumes of this size: 4GiB.")
@click.option("--since", default=None, metavar="BUNDLE", help="Only what is new since this bundle: its number, the bundle, or its receiver's receipt.")
@click.option("--name", default=None, help="Of the series of bundles; else that of the wants.")
@click.option("--recall", "recalled", multiple=True, metavar="ARTIFACT", help="Instead: a signed withdrawal of what this pattern names (repeatable).")
@click.option("--publisher", "publishers", multiple=True, metavar="NAME", help="Of --used only what this publisher published; without it, instead, a withdrawal of all that its handles publish (repeatable).")
@click.option("--reason", default="", help="Of a recall: why, for those who are refused.")
@click.option("--basis", default="", help="Of a recall: the law or order that it rests on.")
@click.option("--legal", is_flag=True, help="Of a recall: answered with 451.")
@click.option("--yes", "wide", is_flag=True, help="Of a recall: also a pattern that names no owner.")
@click.option("--url", default=None, help="The mirror that runs, where it is not at its listen address.")
@click.option("--token", envvar="HF_TOKEN", default=None, help="The organisation's hub token for what is gated; else $HF_TOKEN.")
@click.option("--jobs", type=click.IntRange(1, 64), default=4, show_default=True, help="Requests at once.")
@click.option("--json", "as_json", is_flag=True, help="JSON.")
@click.pass_context
def command(ctx: click.Context, /, wants_path: Path | None, **given: Any) -> None:
    """Export what is wanted as a signed bundle for a mirror without a network: what a wanted list or options name, as for `mirror sync`.

    Everything is asked for at this mirror first: what its policy or the hub refuses stays out, is told and is on the record.
    Exit 0 when all is in the bundle, 1 when something is not, 2 when no bundle was made.
    """
    if not given["out"].absolute().parent.is_dir():  # a medium that is not there: nothing is made in its stead
        raise click.BadParameter(f"there is no folder {given['out'].absolute().parent}", param_hint="--out")
    from mirror import config as configuration
    from mirror import log
    from mirror.cli.sync_mirror import credential

    asked = {key: given.pop(key) for key in KEYS} | {"publishers": given.pop("publishers"), "name": given["name"]}
    recalled = given.pop("recalled")
    told = {key: given.pop(key) for key in ("reason", "basis", "legal", "wide")}
    config_path = ctx.find_object(Path)
    config = configuration.load(config_path, os.environ)
    log.configure("error", config.log.format)
    given["token"] = credential(given["token"])
    options = Options(**given)
    ways = [wants_path is not None or named(asked), options.pins is not None, options.everything]
    if recalled or (asked["publishers"] and not asked["span"]):
        if any(ways) or options.since:
            raise click.UsageError("a recall carries no content: leave out what is wanted, --pins, --all and --since")
        if not told["reason"]:
            raise click.UsageError("--recall needs --reason: it is what people are told")
        rows = _withdrawn(config, recalled, asked["publishers"], told)
        ctx.exit(_written(options, lambda: _recall(config, options, rows)))
    if any(told.values()):
        raise click.UsageError("--reason, --basis, --legal and --yes are of a recall")
    if sum(ways) != 1 or (not ways[0] and any(asked[key] for key in KEYS)):
        raise click.UsageError("name one of: what is wanted (a list, options as of `mirror sync`), --pins NAME, --all")
    wanted = _wanted(config_path, config, wants_path, asked) if ways[0] else None
    ctx.exit(_written(options, lambda: _export(config, options, wanted)))


def _written(options: Options, work: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """The exit status of `work`. A disk that is full or fails is one sentence: nothing is under the bundle's name then."""
    try:
        return asyncio.run(work())
    except OSError as error:
        raise InputError([Problem(str(error.filename or options.out), "", error.strerror or str(error))]) from None


def _wanted(config_path: Path | None, config: Config, wants_path: Path | None, asked: dict[str, Any]) -> Wanted:
    """Everything that is named. Raises `InputError`."""
    past, wanted = past_of(asked), wanted_of(wants_path, asked)
    return wanted if past is None else with_past(wanted, config_path, config, past, whole=asked["preserve"])


async def _export(config: Config, options: Options, wanted: Wanted | None) -> int:
    from mirror.bundle.contents import micros
    from mirror.bundle.layout import Form
    from mirror.bundle.outgoing import Carrier, written
    from mirror.bundle.plan import State, reason_of
    from mirror.bundle.sent import SentBook, bundle_name, rights_ended
    from mirror.cli.bundle_outgoing import Heard, collected, ground, put_by, refused_in, stored, wanted_by

    name = bundle_name(options.name or (wanted.wants.name if wanted is not None else options.pins or "all"))
    before = _before(config, name, options.since)
    heard, created = Heard(), datetime.now(UTC).replace(microsecond=0)
    carrier = Carrier(options.out, Form(options.form), options.volume)
    async with ground(config, options.url, options.token, options.jobs) as here, put_by(config.data) as folder:
        revisions = {}
        if wanted is not None:
            revisions = dict(await wanted_by(here, wanted, heard))
        elif options.pins is not None:
            pins = [pin.pattern for pin in await here.index.pins() if reason_of(options.pins) in pin.reason.split("; ")]
            if not pins:
                raise InputError([Problem("--pins", "", f"nothing is pinned for {options.pins!r}")])
            await stored(here, pins, heard)
        else:
            await stored(here, None, heard)
        found = await collected(here, revisions, created, heard, folder)
        last = SentBook(config.data, name)
        sent = await asyncio.to_thread(last.get, last.last)
        withheld = [one.name for one in heard.outcomes if one.state is State.WITHHELD]
        found.rows |= set(rights_ended(sent.rows if sent is not None else (), found.rows, withheld, micros(created)))
        if not here.client.here:
            _say(options, None, heard, refused_in(heard.outcomes), name)
            return 2
        sender = replace(
            await _sender(config, name, created), policy=here.epoch.policy.digest, catalogue=here.epoch.catalogue.digest, lists=dict(here.epoch.editions),
        )  # fmt: skip
        made = await asyncio.to_thread(written, sender, found, before, carrier)
        left_out = refused_in(heard.outcomes)
        await _record(config, name, made, left_out)
    _say(options, made, heard, left_out, name)
    return 1 if left_out else 0


def _before(config: Config, name: str, since: str | None) -> tuple[int, Sequence[Row]] | None:
    """The bundle that a receiver has: its number, and the rows that the receiver has with it. Raises `InputError`."""
    if since is None:
        return None
    from mirror.bundle.receipt import before_of

    return before_of(config.data, name, since)


async def _sender(config: Config, name: str, created: datetime) -> Sender:
    """In whose name, with a checkpoint of the ledger as it is now. Raises `InputError`."""
    from mirror.bundle.outgoing import Sender
    from mirror.keeper.ledger_desk import AskedLedger
    from mirror.ledger_wiring import machine_key_of

    key, note = machine_key_of(config).current(), ""
    if key is None:
        raise InputError([Problem("trust.signing_key", "", "there is no key to sign with")])
    desk = await AskedLedger.at(config.data)
    if desk is not None:
        try:
            note = str((await desk.call("checkpoint"))["note"])
        finally:
            desk.close()
    return Sender(config.data, key, name, created, note.partition("\n")[0] or "unnamed", note)


async def _record(config: Config, name: str, made: Made, left_out: Sequence[Outcome]) -> None:
    from mirror.core.actor import Actor
    from mirror.core.decision import Event, EventKind
    from mirror.keeper.bundle_desk import AskedBundles

    desk = await AskedBundles.at(config.data)
    if desk is None:
        return
    stated = made.statement
    detail = {
        "outcome": "exported", "sender": stated.sender, "statement": made.digest, "purpose": stated.purpose, "files": made.files, "bytes": made.size,
        "since": stated.since, "left_out": [one.name for one in left_out[:100]],
    }  # fmt: skip
    try:
        await desk.record([Event(EventKind.BUNDLE, datetime.now(UTC), Actor("mirror"), subject=f"{name} {stated.number}", detail=tuple(sorted(detail.items())))])
    finally:
        desk.close()


def _say(options: Options, made: Made | None, heard: Heard, left_out: Sequence[Outcome], name: str, *, unknown: Sequence[str] = ()) -> None:
    from mirror.bundle.statement import called
    from mirror.cli.refusals import Left, told_shortly
    from mirror.cli.sizes import readable

    rows = [{"name": one.name, "state": str(one.state), "sentence": one.sentence, "rule": one.rule, "decision": one.decision} for one in left_out]
    if options.as_json:
        told: dict[str, Any] = {"name": name, "left_out": rows, "notes": heard.notes}
        if made is not None:
            stated = made.statement
            told |= {
                "number": stated.number, "since": stated.since, "statement": made.digest, "bundle": made.bundle, "path": str(made.places[0]), "volumes": list(map(str, made.places)), "files": made.files,
                "parts": made.parts, "bytes": made.size, "whole": made.whole, "requires": len(stated.requires), "purpose": stated.purpose, "unknown": list(unknown),
            }  # fmt: skip
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    for text in told_shortly([Left(str(one.state), one.name, one.rule, one.sentence) for one in left_out]):
        click.echo(text, err=True)
    for note in heard.notes:
        click.echo(note, err=True)
    if made is None:
        click.echo("nothing of what is wanted is here: no bundle was made", err=True)
        return
    stated = made.statement
    since = "" if stated.since is None else f", of {readable(made.whole)} what is new since {stated.since}"
    click.echo(f"{_places(made)}: bundle {name} {stated.number}, {made.files} files; {made.parts} parts, {readable(made.size)}{since}")
    click.echo(called(made.digest, made.bundle))


def _places(made: Made) -> str:
    """Where it lies, as a person finds it: the first and the last of several volumes."""
    first, count = made.places[0], len(made.places)
    return str(first) if count == 1 else f"{first} ... {made.places[-1].name} ({count} volumes)"


# --- recall -------------------------------------------------------------------------------------------------------


def _withdrawn(config: Config, recalled: Sequence[str], publishers: Sequence[str], told: dict[str, Any]) -> tuple[Withdrawn, ...]:
    """What is to be withdrawn. Raises `InputError` for what is no pattern, and a publisher whom the catalogue does not know."""
    from mirror.bundle.recall import withdrawn

    return withdrawn(config.catalogue, recalled, publishers, told["reason"], told["basis"], legal=told["legal"], wide=told["wide"])


async def _recall(config: Config, options: Options, rows: Sequence[Withdrawn]) -> int:
    from mirror.bundle.layout import Form
    from mirror.bundle.outgoing import Carrier
    from mirror.bundle.recall import written_recall
    from mirror.bundle.sent import bundle_name
    from mirror.cli.bundle_outgoing import Heard, never_here
    from mirror.cli.sync_mirror import reached

    name = bundle_name(options.name or "recall")
    async with reached(config, options.url, pin=False):
        sender = await _sender(config, name, datetime.now(UTC).replace(microsecond=0))
        unknown = await never_here(config, [row.artifact for row in rows])
        made = await asyncio.to_thread(written_recall, sender, rows, Carrier(options.out, Form(options.form), options.volume))
        await _record(config, name, made, ())
    heard = Heard()
    heard.notes += [f"{pattern}: names nothing that is here or that was sent from here; it is withdrawn all the same" for pattern in unknown]
    _say(options, made, heard, (), name, unknown=unknown)
    return 0
