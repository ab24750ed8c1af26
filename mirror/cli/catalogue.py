"""`mirror catalogue`: the signed pack of publishers - fetched, how it stands, what changed; with the server running or not."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirror.core.canonical import day
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mirror.config import Config
    from mirror.core.facts import Publisher
    from mirror.core.traffic import Seen
    from mirror.lists.signed import Edition
    from mirror.policy.catalogue import Catalogue

_JSON = click.option("--json", "as_json", is_flag=True, help="JSON, one object a line.")
_CONFIG = click.option(
    "-c", "--config", "config_path", type=click.Path(path_type=Path, dir_okay=False), help="The configuration file."
)
#: Keys of a publisher that a difference tells.
_KEYS = (
    "entity", "kind", "role", "parent", "confidence", "aliases", "handles", "projects", "packages", "countries", "owners", "listings", "web", "note",
)  # fmt: skip


class _Clock:
    """The machine's."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@click.group("catalogue")
def command() -> None:
    """Refresh the signed pack of publishers, see how it stands and what changed. Its facts are no legal advice."""


@command.command()
@_CONFIG
@_JSON
def refresh(config_path: Path | None, as_json: bool) -> None:
    """Look at `catalogue_pack.source` and put in force what it has. A running server follows within seconds.

    Exit 1 where what the source has is not in force afterwards: signatures, a rollback, damage, unreachable; the old pack stays.
    """
    from mirror.list_wiring import pack_watch_of

    config = _configured(config_path)
    watch = pack_watch_of(config, _Clock())
    if watch is None:
        raise InputError([Problem("catalogue_pack.source", "", "names no pack: the shipped catalogue is in force")])
    try:
        found = asyncio.run(watch.refresh())
    except OSError as error:
        raise InputError([Problem("data", "", f"{error.filename or config.data}: {error.strerror}")]) from error
    if as_json:
        click.echo(json.dumps({"result": found.result, **_row(found.edition), "problems": list(found.problems)}, ensure_ascii=False))
    else:
        click.echo(f"{found.result}; {_named(found.edition)}")
        for problem in found.problems:
            click.echo(f"  {problem}", err=True)
    sys.exit(0 if found.fine else 1)


@command.command()
@_CONFIG
@_JSON
def status(config_path: Path | None, as_json: bool) -> None:
    """Show the pack in force, its date, age, counts and signatures, and the catalogue with what is laid over it.

    Exit 1 where somebody should look: no pack where one is configured, one too old, a newer one kept out, a key revoked.
    """
    from mirror.lists.loading import load_catalogue
    from mirror.watch.catalogue import condition_of, read_standing

    config = _configured(config_path)
    catalogue = load_catalogue(config.catalogue)
    row: dict[str, Any] = {"publishers": len(catalogue.publishers), "digest": catalogue.digest, "source": config.catalogue_pack.source}
    problems: list[str] = []
    if config.catalogue_pack.source is not None:
        now = _Clock().now()
        found, standing = condition_of(config.data, config.catalogue_pack.max_age, now), read_standing(config.data)
        signed, faults = _signed(config, now) if found.edition else ((), ())
        problems = [*found.problems, *faults]
        row |= {
            "pack": _row(found.edition)["pack"], "age_days": None if found.age is None else found.age.days, "signed_by": list(signed),
            "checked_at": None if standing.checked_at is None else f"{standing.checked_at:%Y-%m-%dT%H:%M:%SZ}",
        }  # fmt: skip
    if as_json:
        click.echo(json.dumps({**row, "problems": problems}, ensure_ascii=False))
    else:
        click.echo("\n".join(_page(row)))
        for problem in problems:
            click.echo(f"  {problem}", err=True)
    sys.exit(1 if problems else 0)


def _page(row: dict[str, Any]) -> Iterator[str]:
    pack = row.get("pack")
    if pack:
        yield f"pack {pack['number']} of {pack['name']}, {pack['date']} ({row['age_days']} days old), {pack['publishers']} publishers, sha256 {pack['sha256']}"
        yield f"  signed by {', '.join(row['signed_by']) or 'nobody whose signature holds now'}; from {row['source']}"
    else:
        yield "the shipped catalogue"
    yield f"in all {row['publishers']} publishers with what is laid over it, sha256 {row['digest']}"


def _signed(config: Config, now: datetime) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Who signed the pack in force, and what is wrong with that today."""
    from mirror.durable import read_small
    from mirror.lists.signed import LARGEST, current_file, read_pack, signers
    from mirror.trust.enrolment import load_roll

    file = current_file(config.data)
    try:
        pack = read_pack(read_small(file, LARGEST), str(file))
        keys = signers(pack, load_roll(config.trust.verify), now, str(file), accepted=True)
    except InputError as error:
        return (), tuple(map(str, error.problems))
    return tuple(f"{key.person} ({key.id[:16]})" for key in keys), ()


@command.command()
@click.argument("before", required=False)
@click.argument("after", required=False)
@click.option("--since", default="30d", show_default=True, metavar="WHEN", help="Whom to count as asked for here: since 12h, 30d, 8w or a date (UTC).")
@_CONFIG
@_JSON
def diff(before: str | None, after: str | None, since: str, config_path: Path | None, as_json: bool) -> None:
    """Show the publishers that came, went and changed from BEFORE to AFTER, and those asked for here whose answer changes.

    Each is the number of a pack that was in force, a file, `builtin`, or `current`. Without any: the pack before, and the one in
    force. With one: from the one in force to that. Exit 0 also where nothing changed.
    """
    from mirror.cli.traffic import seen_since

    config = _configured(config_path)
    old, new = _chosen(config, before, after)
    rows = list(_differences(old.alone, new.alone))
    answers = list(_answers(seen_since(config, since), old.whole, new.whole)) if old.whole.digest != new.whole.digest else []
    if as_json:
        for row in [*rows, *answers]:
            click.echo(json.dumps({"before": old.name, "after": new.name, **row}, ensure_ascii=False))
        return
    counts = {word: sum(row["change"] == word for row in rows) for word in ("added", "removed", "changed")}
    click.echo(f"{old.name} to {new.name}: " + ", ".join(f"{count} {word}" for word, count in counts.items()))
    marks = {"added": "+", "removed": "-", "changed": "~"}
    for row in rows:
        told = "".join(f"\n    {key}: {json.dumps(was, ensure_ascii=False)} -> {json.dumps(now, ensure_ascii=False)}" for key, (was, now) in row.get("fields", {}).items())
        click.echo(f"  {marks[row['change']]} {row['id']}  {row['entity']}{told}")
    click.echo(f"asked for here since {since}: {len(answers)} with another answer")
    for row in answers:
        click.echo(f"  {row['subject']} ({row['decisions']} decisions): {_answer(row['was'])} -> {_answer(row['now'])}")


def _answer(row: dict[str, Any] | None) -> str:
    return "unknown" if row is None else f"{row['publisher']} ({', '.join(row['countries']) or 'no country'}, {row['confidence']})"


@dataclass(frozen=True, slots=True)
class _Side:
    """One side of a comparison: the pack `alone`, and the `whole` catalogue with what is laid over it."""

    name: str
    alone: Catalogue
    whole: Catalogue


def _chosen(config: Config, before: str | None, after: str | None) -> tuple[_Side, _Side]:
    from mirror.watch.catalogue import current, editions

    if before is None:
        now = current(config.data)
        older = [one for one in editions(config.data) if now is not None and one.number < now.number]
        return _side(config, str(older[0].number) if older else "builtin"), _side(config, "current")
    return (_side(config, "current"), _side(config, before)) if after is None else (_side(config, before), _side(config, after))


def _side(config: Config, name: str) -> _Side:
    from mirror.lists.loading import load_catalogue
    from mirror.lists.signed import SUFFIX, current_file, kept_file

    here = str(current_file(config.data))
    layers = [one for one in config.catalogue if one != here]
    if name == "builtin" or (name == "current" and not Path(here).exists()):
        return _Side("builtin", load_catalogue(), load_catalogue(layers))
    file = current_file(config.data) if name == "current" else kept_file(config.data, int(name)) if name.isascii() and name.isdigit() else Path(name)
    if not file.is_file() or file.suffix != SUFFIX:
        raise InputError([Problem("catalogue diff", name, f"is no pack that is kept here, and no file {SUFFIX!r}")])
    at = layers.index("builtin") + 1 if "builtin" in layers else 0
    return _Side(name, load_catalogue([str(file.resolve())]), load_catalogue([*layers[:at], str(file.resolve()), *layers[at:]]))


def _differences(old: Catalogue, new: Catalogue) -> Iterator[dict[str, Any]]:
    """Publishers that came, went and changed, by id."""
    from mirror.cli.publisher import record

    was, now = ({one.id: one for one in side.publishers} for side in (old, new))
    for name in sorted({**was, **now}):
        if name not in was:
            yield {"change": "added", "id": name, "entity": now[name].entity}
        elif name not in now:
            yield {"change": "removed", "id": name, "entity": was[name].entity}
        else:
            one, other = record(was[name], old), record(now[name], new)
            fields = {key: (one[key], other[key]) for key in _KEYS if one[key] != other[key]}
            if fields:
                yield {"change": "changed", "id": name, "entity": now[name].entity, "fields": fields}


def _answers(seen: Sequence[Seen], old: Catalogue, new: Catalogue) -> Iterator[dict[str, Any]]:
    """Whoever was asked for here and is somebody else, from elsewhere or otherwise well known under `new`."""
    for one in seen:
        was, now = _known(one, old), _known(one, new)
        if was != now:
            yield {"change": "answer", "subject": _called(one), "decisions": one.decisions, "was": was, "now": now}


def _called(one: Seen) -> str:
    return one.publisher or f"{one.ecosystem}:{one.owner or (one.projects or ('?',))[0]}"


def _known(one: Seen, catalogue: Catalogue) -> dict[str, Any] | None:
    """What the catalogue answers for somebody in traffic."""
    from mirror.core.nouns import PYPI, Kind, Project
    from mirror.policy.derive import codes

    found: Publisher | None = catalogue.by_id(one.publisher) if one.publisher else None
    if found is None and one.owner:
        found = catalogue.by_handle(one.ecosystem, one.owner)
    if found is None and one.ecosystem == PYPI:
        project = catalogue.publisher_of(Project(PYPI, Kind.PACKAGE, one.projects[0])) if one.projects else None
        found = project[0] if project is not None and project[1] != "D" else None
    if found is None:
        return None
    return {
        "publisher": found.id, "entity": found.entity, "countries": list(codes(catalogue.countries_of(found))),
        "confidence": catalogue.grade_of(found), "role": found.role, "listings": [f"{x.list} {day(x.since)} {day(x.until)}" for x in found.listings],
    }  # fmt: skip


@command.command()
@click.argument("packs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--number", type=int, required=True, help="Greater than that of every pack before.")
@click.option("--name", default="publishers", show_default=True, help="The same for all packs of one line.")
@click.option("--key", "keys", multiple=True, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A private key whose card has the role `catalogue` (repeatable).")
@click.option("--passphrase-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The passphrase of the keys.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write, NAME.pack.")
def sign(packs: tuple[Path, ...], number: int, name: str, keys: tuple[Path, ...], passphrase_file: Path | None, out: Path) -> None:
    """Make one signed pack of PACKS (files or folders of publishers), dated today."""
    from dataclasses import replace

    from mirror.cli.signing import signer
    from mirror.core import dsse
    from mirror.durable import write_whole
    from mirror.lists.signed import SUFFIX, drafted

    if out.suffix != SUFFIX:
        raise InputError([Problem("--out", "", f"{out.name!r} does not end in {SUFFIX!r}")])
    pack = drafted(_joined(packs), name, number, _Clock().now().date())
    envelope = pack.envelope
    for key in keys:
        envelope = dsse.signed(envelope, signer(key, passphrase_file))
    pack = replace(pack, envelope=envelope)
    try:
        write_whole(out, pack.written, replace=False)
    except FileExistsError:
        raise InputError([Problem(str(out), "", "is there already; a pack is never overwritten")]) from None
    except OSError as error:
        raise InputError([Problem(str(out), "", error.strerror or "cannot be written")]) from None
    click.echo(f"{out}: {_named(pack.edition)}")


def _joined(paths: Sequence[Path]) -> bytes:
    """The publishers of several packs as one, each entry as it was written."""
    import yaml

    from mirror.decode import load_yaml
    from mirror.lists.material import read_file

    entries: list[Any] = []
    for path in paths:
        for file in sorted(path.glob("*.y*ml")) if path.is_dir() else (path,):
            raw = load_yaml(read_file(file).data.decode("utf-8", "replace"), str(file))
            if not isinstance(raw, dict) or raw.get("version") != 1 or not isinstance(raw.get("publishers"), list):
                raise InputError([Problem(str(file), "", "is no pack of publishers (version: 1, publishers: [...])")])
            entries += raw["publishers"]
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump({"version": 1, "publishers": entries}, Dumper=dumper, allow_unicode=True, sort_keys=False, width=160)).encode()


def _row(edition: Edition | None) -> dict[str, Any]:
    if edition is None:
        return {"pack": None}
    keys = ("name", "number", "sha256", "size", "publishers")
    return {"pack": {**{key: getattr(edition, key) for key in keys}, "date": edition.date.isoformat()}}


def _named(edition: Edition | None) -> str:
    return "no pack is in force" if edition is None else f"pack {edition.number} of {edition.name}, {edition.date}, {edition.publishers} publishers"


def _configured(path: Path | None) -> Config:
    from mirror.config import load

    return load(path or click.get_current_context().find_object(Path), os.environ)


