"""What commands that sign share: the key and its passphrase, what is enrolled, which rules are in force."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from mirror.config import Config
    from mirror.policy.approval import Enrolled
    from mirror.policy.epoch import Epoch
    from mirror.proxy.approvals import Approvals

F = TypeVar("F", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="JSON; a list becomes JSON Lines.")
yes = click.option("-y", "--yes", is_flag=True, help="Do not ask whether this is what you mean to sign.")


def key_options(*, required: bool = True) -> Callable[[F], F]:
    """`--key` and `--passphrase-file`."""

    def decorated(command: F) -> F:
        command = click.option(
            "--passphrase-file", type=click.Path(path_type=Path), help="Reads the key's passphrase; without it you are asked."
        )(command)
        return click.option("--key", "key_path", required=required, type=click.Path(path_type=Path), help="Your private key.")(command)

    return decorated


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command works: the configuration, and what is signed there."""

    config: Config
    approvals: Approvals

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.config.data

    def rules(self) -> Epoch:
        """The rules in force by the files, without waivers and denies. Raises `InputError`."""
        from mirror.lists.editions import previews
        from mirror.proxy.rulebook import load_epoch

        config = self.config
        try:
            found = load_epoch(config.policy.path, config.catalogue, config.lists, load_one=previews(config.data, offline=config.network == "offline"))
            self.approvals.demand(found.policy)
        except InputError:
            kept = self.approvals.last_good()
            if kept is None:
                raise
            return load_epoch(kept, config.catalogue, config.lists, load_one=previews(config.data, offline=config.network == "offline"))
        return found


def place(ctx: click.Context) -> Place:
    """The configuration of this command line. Raises `InputError` with every problem."""
    return _place(ctx.find_object(Path))


def in_force(config: Path | None, epoch: Epoch) -> Epoch:
    """`epoch`, which the configured files say, with what was signed beside them; where they wait for signatures, what is in force."""
    here = _place(config)
    base = here.rules() if here.approvals.sources.signed else epoch
    return replace(base, policy=here.approvals.amended(base.policy, base.catalogue, base.lineage, base.lists))


def _place(path: Path | None) -> Place:
    from mirror import config as configuration

    return place_of(configuration.load(path, os.environ))


def place_of(config: Config) -> Place:
    """Where a command with this configuration works."""
    from mirror.proxy.approvals import Approvals, TrustSources

    policy, trust = config.policy, config.trust
    sources = TrustSources(trust.verify, config.data, policy.path, policy.activation == "signed", trust.requests == "signed")
    return Place(config, Approvals(sources, lambda: datetime.now(UTC)))


def signer(path: Path, passphrase_file: Path | None) -> Ed25519PrivateKey:
    """The private key. Raises `InputError`."""
    from mirror.trust.keyfiles import read_key

    return read_key(path, lambda: passphrase(passphrase_file, f"Passphrase of {path}"))


def passphrase(file: Path | None, prompt: str, *, confirm: bool = False) -> str:
    """The first line of a file, else what is typed. Raises `InputError`."""
    if file is None:
        return str(click.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True))
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError([Problem(str(file), "", getattr(error, "strerror", None) or "cannot be read")]) from None
    if not lines or not lines[0]:
        raise InputError([Problem(str(file), "", "holds no passphrase in its first line")])
    return lines[0]


def enrolled(place: Place, key: Ed25519PrivateKey) -> Enrolled:
    """Whose key this is. Raises `InputError` for one that is not enrolled."""
    from mirror.core.dsse import key_id

    identity = key_id(key.public_key())
    found = place.approvals.roll.keys.get(identity)
    if found is None:
        raise InputError([Problem("--key", "", f"no enrolled key has the id {identity[:16]}: put its card into trust.verify")])
    return found


def confirm(rows: Mapping[str, object], *, agreed: bool) -> None:
    """Show what is about to be signed; at a terminal, ask."""
    for name, value in rows.items():
        click.echo(f"  {name}: {value}", err=True)
    if not agreed and sys.stdin.isatty():
        click.confirm("Sign this?", abort=True, err=True)


def day(text: str | None, option: str) -> date | None:
    """A date from the command line. Raises `InputError`."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError([Problem("", option, f"{text!r} is not a date such as 2027-01-31")]) from None


def say(row: Mapping[str, Any], *, as_json: bool, text: str) -> None:
    """One outcome."""
    click.echo(json.dumps(row, ensure_ascii=False) if as_json else text)


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Rows as JSON Lines with everything, or `columns` of them in line."""
    if as_json:
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False))
        return
    shown = [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max(len(line[at]) for line in [columns, *shown]) for at in range(len(columns))]
    for line in [list(columns), *shown] if shown else []:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    return "-" if value in (None, "", [], ()) else ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
