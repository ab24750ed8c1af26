"""`mirror token`: credentials for the mirror itself, with the mirror running or not.

A token is printed once, when it is made; what is kept is a keyed hash. A running mirror looks every second whether one was
made or revoked.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from mirror.config import Config
    from mirror.core.tokens import MirrorToken
    from mirror.index.sql import SqlIndex

T = TypeVar("T")
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="JSON; a list becomes JSON Lines.")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LENGTH: Final = re.compile(r"\d+\s*[hdw]")
_MAX_NOTE: Final = 500


@click.group("token")
def command() -> None:
    """Make, list and revoke credentials for the mirror itself."""


@dataclass(frozen=True)
class _Mirror:
    """What these commands touch of a mirror."""

    config: Config
    index: SqlIndex
    now: datetime


@command.command()
@click.argument("name")
@click.option("--group", "groups", multiple=True, metavar="GROUP", help="A group of clients.groups that its holder belongs to (repeatable).")
@click.option("--expires", default="90d", metavar="WHEN", help="When it ends: 30d, 12h, a date (UTC), or never.  [default: 90d]")
@click.option("--note", default="", help="For whom and what for; shown with the list.")
@_JSON
@click.pass_obj
def create(path: Path | None, name: str, groups: tuple[str, ...], expires: str, note: str, as_json: bool) -> None:
    """Make a token called NAME and print it: this once, and nowhere else.

    Its holder sets it as HF_TOKEN, or as the password of the package index with any user name.
    """

    async def work(mirror: _Mirror) -> tuple[str, dict[str, Any]]:
        from mirror.core.tokens import MirrorToken, digest, make
        from mirror.wiring import installation_key

        problems = _unsound(mirror.config, name, groups, note, await mirror.index.tokens(), mirror.now)
        until = _until(expires, mirror.now, problems)
        if problems:
            raise InputError(problems)
        key = installation_key(mirror.config.data / "secret.key")
        text = make(key, os.urandom(32))
        token = MirrorToken(os.urandom(6).hex(), name, digest(key, text), tuple(dict.fromkeys(groups)), note, mirror.now, until)
        await mirror.index.put_token(token)
        return text, _row(token, mirror.now, _stated(mirror.config))

    text, row = _run(path, work)
    if as_json:
        click.echo(json.dumps({"token": text, **row}))
        return
    click.echo(text)
    ends = "never expires" if row["expires"] is None else f"expires {row['expires']}"
    click.echo(f"{row['id']} {row['name']}: {ends}; groups: {', '.join(row['groups']) or 'none'}. It is shown this once.", err=True)


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="Also what is revoked or expired.")
@_JSON
@click.pass_obj
def list_(path: Path | None, everything: bool, as_json: bool) -> None:
    """List tokens: who holds them, for which groups, until when. The tokens themselves are not known any more."""

    async def work(mirror: _Mirror) -> list[dict[str, Any]]:
        groups, stated = mirror.config.clients.groups, _stated(mirror.config)
        rows = [(token, _row(token, mirror.now, stated, known=groups)) for token in await mirror.index.tokens()]
        return [row for token, row in rows if everything or token.alive(mirror.now)]

    rows = _run(path, work)
    for row in rows:
        if as_json:
            click.echo(json.dumps(row))
        else:
            until = (row["expires"] or "never")[:10]
            click.echo(f"{row['id']}  {row['state']:<8}  until {until:<10}  {row['name']}  [{', '.join(row['groups'])}]  {row['note']}".rstrip())
    if not rows and not as_json:
        click.echo("no tokens")


@command.command()
@click.argument("token")
@_JSON
@click.pass_obj
def revoke(path: Path | None, token: str, as_json: bool) -> None:
    """Revoke TOKEN, by its id or its name. A running mirror refuses it within seconds. Exit 1 when there is no such token.

    The token itself is no way to name it: a command line is read by others.
    """

    async def work(mirror: _Mirror) -> list[MirrorToken]:
        alive = [one for one in await mirror.index.tokens() if one.revoked_at is None and token in (one.id, one.name)]
        named = [one for one in alive if one.id == token] or [one for one in alive if one.alive(mirror.now)] or alive
        return [one for one in named if await mirror.index.revoke_token(one.id, mirror.now)]

    if "hf_mir" in token.lower():
        raise InputError([Problem("", "TOKEN", "give the id or the name (`mirror token list`), not the token itself; it is in your shell's history now")])
    gone = _run(path, work)
    for one in gone:
        click.echo(json.dumps({"id": one.id, "name": one.name, "state": "revoked"}) if as_json else f"{one.id} {one.name}: revoked")
    if not gone:
        click.echo(f"{token}: no such token that is not revoked already", err=True)
    sys.exit(0 if gone else 1)


def _stated(config: Config) -> dict[str, list[str]]:
    """By the name of a token the groups that `clients.groups` gives it."""
    groups = config.clients.groups
    return {name: [group for group, row in groups.items() if name in row.tokens] for name in {n for row in groups.values() for n in row.tokens}}


def _row(token: MirrorToken, now: datetime, stated: dict[str, list[str]], known: Any = None) -> dict[str, Any]:
    groups = list(dict.fromkeys((*token.groups, *stated.get(token.name, ()))))
    orphaned = known is not None and any(name not in known for name in token.groups)
    state = "revoked" if token.revoked_at is not None else "expired" if not token.alive(now) else "orphaned" if orphaned else "valid"
    return {
        "id": token.id, "name": token.name, "groups": groups, "note": token.note, "state": state, "created": _moment(token.created_at),
        "expires": _moment(token.expires_at), "revoked": _moment(token.revoked_at),
    }  # fmt: skip


def _moment(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _unsound(config: Config, name: str, groups: Sequence[str], note: str, tokens: Sequence[MirrorToken], now: datetime) -> list[Problem]:
    """What is wrong with a wanted token."""
    problems = []
    if not _NAME.fullmatch(name) or "hf_mir" in name.lower():
        problems.append(Problem("", "NAME", f"{name!r} is no name: letters, digits, dots, dashes and underscores, at most 64"))
    if any(one.name == name and one.alive(now) for one in tokens):
        problems.append(Problem("", "NAME", f"there is a token {name!r} already; revoke it first, or choose another name"))
    known = ", ".join(config.clients.groups) or "none"
    problems += [Problem("", "--group", f"clients.groups has no group {one!r}; there are: {known}") for one in groups if one not in config.clients.groups]
    if len(note) > _MAX_NOTE or not note.isprintable():
        problems.append(Problem("", "--note", f"one line of at most {_MAX_NOTE} characters"))
    return problems


def _until(text: str, now: datetime, problems: list[Problem]) -> datetime | None:
    """When a token ends; what is wrong with `text` is put into `problems`."""
    if text.strip().lower() == "never":
        return None
    try:
        if _LENGTH.fullmatch(text.strip()):
            unit = {"h": "hours", "d": "days", "w": "weeks"}[text.strip()[-1]]
            until = now + timedelta(**{unit: int(text.strip()[:-1])})
        else:
            found = datetime.fromisoformat(text.strip())
            until = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        problems.append(Problem("", "--expires", f"expected 30d, 12h, a date or never, found {text!r}"))
        return None
    if until <= now:
        problems.append(Problem("", "--expires", f"{text!r} is past"))
    return until


def _run(path: Path | None, work: Callable[[_Mirror], Awaitable[T]]) -> T:
    from mirror import config as configuration
    from mirror import log
    from mirror.index.sql import SqlIndex

    config = configuration.load(path, os.environ)
    log.configure("error", config.log.format)

    async def within() -> T:
        config.data.mkdir(parents=True, exist_ok=True)  # tokens may be made before the first start
        index = await SqlIndex.open(config.database.reveal() if config.database else None, config.data)
        try:
            return await work(_Mirror(config, index, datetime.now(UTC)))
        finally:
            await index.close()

    return asyncio.run(within())
