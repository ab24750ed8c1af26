"""`mirror publisher`: who stands behind a handle, and whether a pack of publishers is sound."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from mirror.cli.unknown import unknown
from mirror.core.canonical import day
from mirror.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mirror.config import Config
    from mirror.core.facts import Publisher
    from mirror.policy.catalogue import Catalogue

_CONFIG = click.option(
    "-c", "--config", "config_path", type=click.Path(path_type=Path), help="Configuration file (else $MIRROR_CONFIG)."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="JSON; a list becomes JSON Lines.")


@click.group("publisher")
def command() -> None:
    """Look into the publishers' catalogue, or check a pack of publishers."""


@command.command()
@click.argument("name")
@_CONFIG
@_JSON
def show(name: str, config_path: Path | None, as_json: bool) -> None:
    """Show who NAME is: an id, a handle (`hub:handle` or `handle`), an entity's name, a PyPI project.

    Exit 1 when the catalogue does not know.
    """
    catalogue = _catalogue(config_path)
    found = find(catalogue, name)
    if not found:
        near = ", ".join(one.id for one in catalogue.search(name.rpartition(":")[2], 5))
        click.echo(f"{name}: not in the catalogue" + (f"; near: {near}" if near else ""), err=True)
        sys.exit(1)
    for number, one in enumerate(found):
        if as_json:
            click.echo(json.dumps(record(one, catalogue), ensure_ascii=False))
        else:
            click.echo(("\n" if number else "") + "\n".join(_page(one, catalogue)))


@command.command()
@click.argument("text")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000))
@_CONFIG
@_JSON
def search(text: str, limit: int, config_path: Path | None, as_json: bool) -> None:
    """List publishers with TEXT in id, entity, alias, handle or project. Exit 1 when there is none."""
    catalogue = _catalogue(config_path)
    found = catalogue.search(text, limit)
    width = max((len(one.id) for one in found), default=0)
    for one in found:
        if as_json:
            click.echo(json.dumps(record(one, catalogue), ensure_ascii=False))
        else:
            codes = ",".join(dict.fromkeys(country.code for country in catalogue.countries_of(one))) or "-"
            click.echo(f"{one.id:<{width}}  {codes:<8}  {one.entity}")
    sys.exit(0 if found else 1)


@command.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
@_CONFIG
@_JSON
def check(files: tuple[Path, ...], config_path: Path | None, as_json: bool) -> None:
    """Check the configured catalogue, with FILES (packs or folders of packs) laid over it.

    Exit 0 when it is sound, 1 with every problem and its place when it is not, 2 when the configuration is unusable.
    """
    from mirror.lists.loading import load_catalogue

    names, base = _configured(config_path)
    try:
        catalogue = load_catalogue((*names, *(str(file.resolve()) for file in files)), base)
        if catalogue.doubts:
            raise InputError(list(catalogue.doubts))
    except InputError as error:
        for problem in (*error.problems, *error.remarks):
            row = {"source": problem.source, "place": problem.place, "message": problem.message}
            click.echo(json.dumps(row, ensure_ascii=False) if as_json else str(problem), err=not as_json)
        sys.exit(1)
    count = len(catalogue.publishers)
    if as_json:
        click.echo(json.dumps({"publishers": count, "digest": catalogue.digest}))
    else:
        click.echo(f"sound: {count} publishers, sha256 {catalogue.digest}")


def configured(path: Path | None) -> Config:
    """The configuration, from `path`, the group's option or $MIRROR_CONFIG. Unusable: exit 2."""
    from mirror.config import load as read

    try:
        return read(path or click.get_current_context().find_object(Path), os.environ)
    except InputError as error:
        _unusable(error)


def load(config: Config) -> Catalogue:
    """The catalogue of a configuration. Unusable: exit 2."""
    from mirror.lists.loading import load_catalogue

    try:
        return load_catalogue(config.catalogue)
    except InputError as error:
        _unusable(error)


def find(catalogue: Catalogue, name: str) -> tuple[Publisher, ...]:
    """Everybody whom `name` may mean: the exact id or entity, else the handle on any hub, else the PyPI project."""
    from mirror.core.nouns import PYPI, Kind, Project
    from mirror.lists.packs import HUBS

    hub, colon, handle = name.partition(":")
    if colon and hub in HUBS:
        one = catalogue.by_handle(hub, handle)
        return () if one is None else (one,)
    owner = name.partition("/")[0]
    handles = (catalogue.by_handle(hub, owner) for hub in HUBS)
    found = {one.id: one for one in (*catalogue.entities(name), *handles) if one is not None}
    project = catalogue.publisher_of(Project(PYPI, Kind.PACKAGE, name)) if "/" not in name else None
    if project is not None and project[1] != "D":
        found.setdefault(project[0].id, project[0])
    return tuple(found.values())


def record(one: Publisher, catalogue: Catalogue) -> dict[str, Any]:
    """A publisher as JSON: the keys of a pack (SURFACE 5), with all countries, inherited ones too."""
    handles: dict[str, list[str]] = {}
    for hub, handle in one.handles:
        handles.setdefault(hub, []).append(handle)
    return {
        "id": one.id, "entity": one.entity, "kind": one.kind, "role": one.role, "parent": one.parent,
        "confidence": catalogue.grade_of(one), "aliases": list(one.aliases), "former": list(one.former), "native": list(one.native), "handles": handles,
        "projects": {"pypi": list(one.projects)}, "packages": list(one.packages),
        "countries": [
            {"code": c.code, "role": c.role, "source": c.source, "as_of": day(c.as_of), "confidence": c.confidence}
            for c in catalogue.countries_of(one)
        ],
        "owners": [
            {"id": o.id, "share": None if o.share is None else o.share / 10_000, "source": o.source, "as_of": day(o.as_of), "from": day(o.since), "until": day(o.until)}
            for o in one.owners
        ],
        "listings": [
            {"list": x.list, "from": day(x.since), "until": day(x.until), "source": x.source} for x in one.listings
        ],
        "web": list(one.web), "identifiers": list(one.identifiers), "note": one.note,
    }  # fmt: skip


def _page(one: Publisher, catalogue: Catalogue) -> Iterator[str]:
    yield f"{one.id}: {one.entity} ({one.kind}, {one.role})"
    yield f"  grade       {catalogue.grade_of(one)} (A official, B documented, C general knowledge, D a hint)"
    for title, values in _rows(one, catalogue):
        for number, value in enumerate(values):
            yield f"  {'' if number else title:<11} {value}"
    if not catalogue.countries_of(one):
        yield "  countries   unknown"


def _rows(one: Publisher, catalogue: Catalogue) -> Iterator[tuple[str, Sequence[str]]]:
    yield "parents", [f"{parent.id}: {parent.entity}" for parent in catalogue.parents_of(one)]
    below = [one.id for one in catalogue.below(one)]
    yield "below", [", ".join(below)] if below else []
    yield "aliases", [", ".join(one.aliases)] if one.aliases else []
    yield "former", [", ".join(one.former)] if one.former else []
    yield "native", [", ".join(one.native)] if one.native else []
    yield "handles", [f"{hub}:{handle}" for hub, handle in one.handles]
    yield "projects", [", ".join(one.projects)] if one.projects else []
    yield "hints", [", ".join(one.packages)] if one.packages else []
    yield "countries", [
        f"{c.code} {c.role}, {c.confidence}{f', {day(c.as_of)}' if c.as_of else ''}{f', {c.source}' if c.source else ''}"
        for c in catalogue.countries_of(one)
    ]
    yield "owners", [f"{o.id} {'share unknown' if o.share is None else f'{o.share / 100:g} %'}" for o in one.owners]
    yield "listings", [f"{x.list}, {day(x.since) or '?'} to {day(x.until) or 'today'}, {x.source}" for x in one.listings]
    yield "web", [", ".join(one.web)] if one.web else []
    yield "identifiers", [", ".join(one.identifiers)] if one.identifiers else []
    yield "note", [one.note] if one.note else []


def _configured(path: Path | None) -> tuple[tuple[str, ...], Path]:
    """The `catalogue:` of the configuration and the folder its paths are relative to. Unusable: exit 2."""
    config = configured(path)
    return config.catalogue, config.file.resolve().parent if config.file else Path.cwd()


def _catalogue(path: Path | None) -> Catalogue:
    from mirror.lists.loading import load_catalogue

    names, base = _configured(path)
    try:
        return load_catalogue(names, base)
    except InputError as error:
        _unusable(error)


command.add_command(unknown)


def _unusable(error: InputError) -> NoReturn:
    click.echo(str(error), err=True)
    sys.exit(2)
