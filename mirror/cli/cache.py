"""`mirror cache`: what is stored, with the mirror running or not.

The bytes are removed before their names, and a blob that is gone is a miss: a running mirror notices by itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from mirror.cli.sizes import readable as _size
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mirror.config import Config
    from mirror.core.ports import Holding
    from mirror.index.sql import SqlIndex
    from mirror.proxy.eviction import Eviction
    from mirror.store.disk import DiskStore

T = TypeVar("T")
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="JSON; a list becomes JSON Lines.")


@click.group("cache")
def command() -> None:
    """Look at what is stored; keep it, remove it, hash it again."""


@dataclass(frozen=True)
class _Cache:
    """The parts of a mirror that know what is stored."""

    config: Config
    index: SqlIndex
    store: DiskStore
    eviction: Eviction


@command.command()
@_JSON
@click.pass_obj
def stats(path: Path | None, as_json: bool) -> None:
    """Say how much is stored, how much may be, what is pinned, and how old the least used file is."""
    facts = _run(path, _facts)
    if as_json:
        click.echo(json.dumps(facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        shown = "none" if value is None else _size(value) if name in _BYTES and isinstance(value, int) else value
        click.echo(f"{name.replace('_', ' '):<{width}}  {shown}")


@command.command()
@click.argument("pattern", required=False)
@click.option("--reason", default="", help="Why; shown with the list.")
@_JSON
@click.pass_obj
def pin(path: Path | None, pattern: str | None, reason: str, as_json: bool) -> None:
    """Never evict what PATTERN names (`acme/*`, `pkg:pypi/name@1.0`), now or later. Without PATTERN, list the pins."""
    if pattern is None:
        for row in _run(path, lambda cache: cache.index.pins()):
            day = f"{row.at:%Y-%m-%d}"
            click.echo(json.dumps({"pattern": row.pattern, "reason": row.reason, "at": day}) if as_json else f"{row.pattern}  {day}  {row.reason}".rstrip())
        return
    from mirror.core.ports import Pin

    wanted = Pin(_holding(pattern), reason, datetime.now(UTC))
    _run(path, lambda cache: cache.index.put_pin(wanted))
    click.echo(f"{pattern}: pinned")


@command.command()
@click.argument("pattern")
@click.pass_obj
def unpin(path: Path | None, pattern: str) -> None:
    """Let PATTERN be evicted again. Exit 1 when it is not pinned."""
    gone = _run(path, lambda cache: cache.index.drop_pin(_pattern(pattern)))
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
    """Remove what PATTERNS name, or what was used longest ago (--free). What is pinned stays. Exit 1 when nothing went."""
    if bool(patterns) == (free is not None):
        raise click.UsageError("say what is to go: PATTERNS or --free SIZE")
    wanted = None if free is None else _bytes(free)

    async def go(cache: _Cache) -> list[Holding]:
        chosen = await _chosen(cache, tuple(map(_pattern, patterns)), wanted, pinned=pinned)
        for holding in () if dry_run else chosen:
            await cache.eviction.remove(holding)
        return chosen

    gone = _run(path, go)
    for holding in gone:
        names = sorted(map(str, holding.artifacts))
        row = {"digest": str(holding.blob.digest), "size": holding.blob.size, "last_used": f"{holding.last_used:%Y-%m-%dT%H:%M:%SZ}", "names": names}
        click.echo(json.dumps(row) if as_json else f"{_size(holding.blob.size):>10}  {row['last_used']}  {names[0] if names else row['digest']}")
    if not as_json:
        click.echo(f"{len(gone)} files, {_size(sum(one.blob.size for one in gone))} {'would go' if dry_run else 'removed'}")
    sys.exit(0 if gone else 1)


@command.command()
@click.option("--rate", default="0", metavar="SIZE", help="At most so much a second (50MiB); 0 as fast as the disk gives.")
@_JSON
@click.pass_obj
def scrub(path: Path | None, rate: str, as_json: bool) -> None:
    """Hash every stored file again. What is damaged is set aside, and is fetched anew when it is asked for. Exit 1 if any was."""
    from mirror.store.scrub import ScrubbedFolder

    folder, limit = ScrubbedFolder(_config(path).data), _bytes(rate)
    blobs, size, damaged, begun = 0, 0, 0, time.monotonic()
    for name, length, wrong in _hashed(folder, limit):
        blobs, size = blobs + 1, size + length
        if wrong is not None:
            damaged += 1
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
            wrong = step if isinstance(step, str) else None
            if wrong is not None:
                folder.set_aside(digest, wrong)
            yield str(digest), length, wrong
        after = batch[-1].hex


_BYTES: Final = frozenset({"stored", "quota", "free_on_disk", "pinned_bytes", "unfinished_bytes"})


async def _facts(cache: _Cache) -> dict[str, Any]:
    from mirror.proxy.eviction import BATCH, Pinned

    totals, pins = await cache.index.totals(), await cache.index.pins()
    pinned, kept, oldest = Pinned(pins), 0, None
    async for batch in cache.index.idle_holdings(BATCH):
        for holding in batch:
            oldest = oldest or holding.last_used
            kept += holding.blob.size if pins and pinned.holds(holding) else 0
    system = os.statvfs(cache.config.data)
    return {
        "stored": await cache.store.recount(), "quota": cache.config.store.quota, "free_on_disk": system.f_bavail * system.f_frsize,
        "files": totals.blobs, "names": totals.entries, "pages": totals.documents, "unfinished_bytes": cache.store.reserved,
        "pins": len(pins), "pinned_bytes": kept, "least_used": None if oldest is None else f"{oldest:%Y-%m-%dT%H:%M:%SZ}",
    }  # fmt: skip


async def _chosen(cache: _Cache, patterns: tuple[str, ...], free: int | None, *, pinned: bool) -> list[Holding]:
    """What is to go: every blob with a name among `patterns`, or the least worth keeping until `free` bytes are gathered."""
    from mirror.core.ports import Pin
    from mirror.proxy.eviction import BATCH, Pinned, by_worth

    now, chosen, gathered = datetime.now(UTC), list[Any](), 0
    kept = Pinned(() if pinned and patterns else await cache.index.pins())
    named = Pinned([Pin(pattern, "", now) for pattern in patterns])
    async for batch in cache.index.idle_holdings(BATCH):
        for holding in by_worth(batch, now):
            if (free is not None and gathered >= free) or kept.holds(holding) or (patterns and not named.holds(holding)):
                continue
            chosen.append(holding)
            gathered += holding.blob.size
    return chosen


def _config(path: Path | None) -> Config:
    from mirror import config as configuration

    return configuration.load(path, os.environ)


def _run(path: Path | None, work: Callable[[_Cache], Awaitable[T]]) -> T:
    """`work` with the cache of the configured mirror."""
    from mirror import log

    config = _config(path)
    log.configure("error", config.log.format)  # what is done is printed; only what went wrong is logged
    if not config.data.is_dir():
        raise InputError([Problem(str(config.data), "", "there is no data here yet; `mirror serve` makes it")])

    async def within() -> T:
        async with _opened(config) as cache:
            return await work(cache)

    return asyncio.run(within())


@asynccontextmanager
async def _opened(config: Config) -> AsyncIterator[_Cache]:
    from mirror.index.sql import SqlIndex
    from mirror.proxy.eviction import Eviction
    from mirror.store.disk import DiskStore
    from mirror.wiring import SystemClock

    index = await SqlIndex.open(config.database.reveal() if config.database else None, config.data)
    store = DiskStore(config.data, config.store.quota, config.store.min_free)
    try:
        yield _Cache(config, index, store, Eviction(index, store, SystemClock(), lambda _: False))
    finally:
        await store.close()
        await index.close()


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
