"""`mirror cache`: what is stored, with the mirror running or not.

What a command changes is changed by the process that owns the cache (`keeper.desk`): by a mirror that runs, asked over its
socket, else by this one, which holds the ledger's lock meanwhile.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from mirror.cli.owner import asked, configured
from mirror.cli.sizes import readable as _size
from mirror.core.errors import InputError, Problem

_JSON: Final = click.option("--json", "as_json", is_flag=True, help="JSON; a list becomes JSON Lines.")


@click.group("cache")
def command() -> None:
    """Look at what is stored; keep it, remove it, hash it again."""


@command.command()
@_JSON
@click.pass_obj
def stats(path: Path | None, as_json: bool) -> None:
    """Say how much is stored, how much may be, what is pinned, and how old the least used file is."""
    facts = asked(path, "stats")
    if as_json:
        click.echo(json.dumps(facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        shown = "none" if value is None else _size(value) if name in _BYTES and isinstance(value, int) else value
        click.echo(f"{name.replace('_', ' '):<{width}}  {shown}")


@command.command()
@click.argument("artifact")
@_JSON
@click.pass_obj
def show(path: Path | None, artifact: str, as_json: bool) -> None:
    """Say how ARTIFACT (a package URL, `acme/x`, `acme/*`) came here: when, from where, whether it was public then, under what licence.

    As the ledger has it from the first transfer on; of what a bundle brought, as its sender had it. Exit 1 where nothing is on record.
    """
    from mirror.core.acquisitions import Acquisition
    from mirror.keeper.nouns import decoded
    from mirror.policy.patterns import PatternSet, parse_pattern

    named = PatternSet([parse_pattern(_pattern(artifact))])
    rows = [decoded(Acquisition, row) for row in asked(path, "acquired", _beginning(artifact))]
    rows = [row for row in rows if _matches(named, row.artifact)]
    for row in rows:
        if as_json:
            click.echo(
                json.dumps(
                    {"artifact": str(row.artifact), "at": f"{row.at:%Y-%m-%dT%H:%M:%SZ}", **dict(row.detail())},
                    ensure_ascii=False,
                )
            )
            continue
        stood = "public" if row.public else row.restriction or "not public"
        licence = ", ".join(row.licenses or ()) or "no licence stated"
        click.echo(
            f"{row.at:%Y-%m-%d %H:%M}  {_size(row.size):>10}  {stood}  {licence}  {row.artifact}  from {row.upstream or 'the hub'}  {row.digest}"
        )
        if row.sender:
            click.echo(f"{'':18}as {row.sender} has it; told by bundle {row.bundle}")
        for text in row.texts:
            click.echo(f"{'':18}{text.path}: evidence {text.sha256}")
    sys.exit(0 if rows else 1)


def _matches(named: Any, artifact: Any) -> bool:
    project = artifact.project
    return named.find(project.ecosystem, project.kind, project.name, artifact.revision, artifact.path) is not None


def _beginning(pattern: str) -> str:
    """The part of a pattern before its first wildcard, as a package URL begins: in the hub's own case."""
    text = pattern if pattern.startswith("pkg:") else f"pkg:huggingface/{pattern}"
    return text.partition("*")[0].partition("@")[0].partition("?")[0].partition("#")[0]


@command.command()
@click.argument("pattern", required=False)
@click.option("--reason", default="", help="Why; shown with the list.")
@_JSON
@click.pass_obj
def pin(path: Path | None, pattern: str | None, reason: str, as_json: bool) -> None:
    """Never evict what PATTERN names (`acme/*`, `pkg:pypi/name@1.0`), now or later. Without PATTERN, list the pins."""
    if pattern is None:
        for row in asked(path, "pins"):
            day = row["at"][:10]
            click.echo(json.dumps({"pattern": row["pattern"], "reason": row["reason"], "at": day}) if as_json else f"{row['pattern']}  {day}  {row['reason']}".rstrip())
        return
    asked(path, "put_pin", {"pattern": _holding(pattern), "reason": reason, "at": datetime.now(UTC).isoformat()})
    click.echo(f"{pattern}: pinned")


@command.command()
@click.argument("pattern")
@click.pass_obj
def unpin(path: Path | None, pattern: str) -> None:
    """Let PATTERN be evicted again. Exit 1 when it is not pinned."""
    gone = asked(path, "drop_pin", _pattern(pattern))
    click.echo(f"{pattern}: {'no longer pinned' if gone else 'is not pinned'}", err=not gone)
    sys.exit(0 if gone else 1)


@command.command()
@click.argument("patterns", nargs=-1)
@click.option("--free", default=None, metavar="SIZE", help="Remove what was used longest ago until so much is free (20GiB).")
@click.option("--pinned", is_flag=True, help="Also what is pinned, where PATTERNS name it.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@_JSON
@click.pass_obj
def evict(path: Path | None, patterns: tuple[str, ...], free: str | None, pinned: bool, dry_run: bool, as_json: bool) -> None:
    """Remove what PATTERNS name, or what was used longest ago (--free). What is pinned or being read stays. Exit 1 when nothing went."""
    if bool(patterns) == (free is not None):
        raise click.UsageError("say what is to go: PATTERNS or --free SIZE")
    gone = asked(path, "evict", list(map(_pattern, patterns)), None if free is None else _bytes(free), pinned, dry_run)
    for row in gone:
        named = row["names"][0] if row["names"] else row["digest"]
        click.echo(json.dumps(row) if as_json else f"{_size(row['size']):>10}  {row['last_used']}  {named}")
    if not as_json:
        size = sum(row["size"] for row in gone)
        click.echo(f"{len(gone)} files, {_size(size)} {'would go' if dry_run else 'removed'}")
    sys.exit(0 if gone else 1)


@command.command()
@click.option("--rate", default="0", metavar="SIZE", help="At most so much a second (50MiB); 0 as fast as the disk gives.")
@_JSON
@click.pass_obj
def scrub(path: Path | None, rate: str, as_json: bool) -> None:
    """Hash every stored file again. What is damaged is set aside, and is fetched anew when it is asked for. Exit 1 if any was."""
    from mirror.store.scrub import ScrubbedFolder

    folder, limit = ScrubbedFolder(configured(path).data), _bytes(rate)
    blobs, size, damaged, begun = 0, 0, 0, time.monotonic()
    for name, length, wrong in _hashed(folder, limit):
        blobs, size = blobs + 1, size + length
        if wrong is not None:
            damaged += 1
            asked(path, "damaged", name.removeprefix("sha256:"), wrong)
            said = "unreadable" if not wrong else f"is sha256:{wrong}"
            click.echo(json.dumps({"digest": name, "computed": wrong or None}) if as_json else f"{name}: {said}; set aside")
    seconds = max(0.001, time.monotonic() - begun)
    if not as_json:
        click.echo(f"{blobs} files, {_size(size)} hashed at {_size(int(size / seconds))}/s, {damaged} damaged")
    sys.exit(1 if damaged else 0)


def _hashed(folder: Any, limit: int) -> Iterator[tuple[str, int, str | None]]:
    """(digest, bytes, what is wrong) of every blob, slowed down to `limit` bytes a second."""
    from mirror.store.scrub import checked

    after = ""
    while batch := folder.following(after):
        for digest in batch:
            length, step = 0, None
            for step in checked(folder, digest):
                if isinstance(step, int):
                    length += step
                    if limit:
                        time.sleep(step / limit)
            yield str(digest), length, step if isinstance(step, str) else None
        after = batch[-1].hex


_BYTES: Final = frozenset({"stored", "quota", "free_on_disk", "pinned_bytes", "unfinished_bytes"})


def _holding(text: str) -> str:
    """A pattern that can hold something. Raises `InputError`: files of a hub are kept by commit, so a branch's name holds none."""
    from mirror.core.nouns import HUGGINGFACE
    from mirror.policy.patterns import parse_pattern

    version = parse_pattern(_pattern(text)).version
    exact = version.exact if version is not None else None
    if exact is not None and parse_pattern(text).ecosystem == HUGGINGFACE and not re.fullmatch(r"[0-9a-f]{40}", exact):
        raise InputError([Problem("", "", f"{text!r} would hold nothing: files are kept by commit (40 hex digits), not by the name of a branch or tag")])
    return text


def _pattern(text: str) -> str:
    """A pattern that can be parsed, as it was written. Raises `InputError`."""
    from mirror.policy.patterns import parse_pattern

    try:
        parse_pattern(text)
    except ValueError as error:
        raise InputError([Problem("", "", str(error))]) from error
    return text


def _bytes(text: str) -> int:
    """A size as the configuration takes it: `20GiB`. Raises `InputError`."""
    from mirror.config_values import Size
    from mirror.decode import decode

    return decode(Size, text, "SIZE")
