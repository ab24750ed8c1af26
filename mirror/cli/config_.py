"""`mirror config`: is the configuration sound, what is in force, which keys are there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from mirror import config as configuration
from mirror.config import Config
from mirror.config_checks import remarks
from mirror.config_mended import UnsoundConfig
from mirror.core.errors import InputError, Problem
from mirror.hubs.pypi.osv_files import load as load_osv

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(name="config")
def command() -> None:
    """Check, show or describe the configuration."""


@command.command()
@_JSON
@click.pass_obj
def check(config_path: Path | None, as_json: bool) -> None:
    """Read the configuration; exit 2 with every problem and its place, one a line, when it is unusable."""
    problems: list[Problem] = []
    config, notes = _read(config_path, problems), list[str]()
    if config is not None:
        notes = [*remarks(config), *_advisories(config, problems)]
    if problems or config is None:
        if not as_json:
            raise InputError(problems)
        for problem in problems:
            row = {"level": "error", "source": problem.source, "place": problem.place, "message": problem.message}
            click.echo(json.dumps(row, ensure_ascii=False))
        sys.exit(2)
    if as_json:
        click.echo(json.dumps({"file": str(config.file) if config.file else None, "sound": True, "notes": notes}))
        return
    click.echo(f"{config.file or 'defaults (no configuration file)'}: sound")
    for note in notes:
        click.echo(f"note: {note}")


def _read(config_path: Path | None, problems: list[Problem]) -> Config | None:
    """The configuration, or what is left of it beside `problems`."""
    try:
        return configuration.load(config_path, os.environ)
    except InputError as error:
        problems += error.problems
        return error.rest if isinstance(error, UnsoundConfig) else None


def _advisories(config: Config, problems: list[Problem]) -> Iterator[str]:
    """Reads every OSV database through that is there; what is wrong in one is put into `problems`."""
    told = {problem.place.partition("[")[0] for problem in problems}
    for name, row in config.hubs.items():
        if not row.osv or f"hubs.{name}.osv" in told:
            continue
        try:
            loaded = load_osv(row.osv)
        except InputError as error:
            problems += error.problems
            continue
        yield f"hubs.{name}.osv: {loaded.edition.entries} entries, {len(loaded.edition)} projects of PyPI"
        yield from map(str, loaded.doubts[:20])


@command.command()
@_JSON
@click.pass_obj
def show(config_path: Path | None, as_json: bool) -> None:
    """Print the effective values, defaults included, secrets as asterisks."""
    import yaml

    config = configuration.load(config_path, os.environ)
    values = configuration.effective(config)
    if as_json:
        click.echo(json.dumps(values, ensure_ascii=False, indent=2))
    else:
        click.echo(f"# {config.file or 'defaults (no configuration file)'}")
        click.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120), nl=False)


@command.command()
@_JSON
def schema(as_json: bool) -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    click.echo(json.dumps(configuration.schema(), ensure_ascii=False, indent=2))
