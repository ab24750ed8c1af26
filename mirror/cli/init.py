"""`mirror init`: a commented mirror.yaml and policy.yaml to start from."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from mirror.core.errors import InputError, Problem
from mirror.durable import write_whole
from mirror.lists.loading import shipped

PROFILES = {
    "observe": "serve and record everything, refuse nothing; rules in audit mode",
    "enterprise": "pickles, yesterday's packages, direct URLs, licences",
    "contractor": "origin and ownership under a contract; unknown is held",
    "outbound": "weights only to the countries that you name",
    "lab": "air-gapped, default deny",
}
FILES = ("mirror.yaml", "policy.yaml")
#: Empty folders that a profile's configuration names, beside it.
FOLDERS = {"lab": ("senders",)}


@click.command(name="init", epilog="Profiles: " + "; ".join(f"{name} ({text})" for name, text in PROFILES.items()) + ".")
@click.option("--profile", type=click.Choice(list(PROFILES)), default="observe", show_default=True)
@click.option("--dir", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Where to; else here.")
@click.option("--force", is_flag=True, help="Overwrite what is there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(profile: str, folder: Path, force: bool, as_json: bool) -> None:
    """Write a commented mirror.yaml and policy.yaml to start from. Nothing that is there is overwritten."""
    source = shipped("profiles") / profile
    there = [name for name in FILES if os.path.lexists(folder / name)]
    if there and not force:
        raise InputError([Problem(str(folder / name), "", "is there already; --force overwrites it") for name in there])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            write_whole(folder / name, (source / name).read_bytes())
        for name in FOLDERS.get(profile, ()):
            (folder / name).mkdir(exist_ok=True)
    except OSError as error:
        raise InputError([Problem(str(error.filename or folder), "", error.strerror or "cannot be written")]) from None
    if as_json:
        click.echo(json.dumps({"profile": profile, "written": [str(folder / name) for name in FILES]}))
        return
    for name in FILES:
        click.echo(f"wrote {folder / name}")
    for name in FOLDERS.get(profile, ()):
        click.echo(f"made {folder / name}: put the card of whoever sends bundles into it")
    option = "" if folder == Path() else f" -c {folder / FILES[0]}"
    click.echo(f"profile {profile}: {PROFILES[profile]}")
    click.echo(f"next: mirror{option} config check && mirror{option} serve")
