"""`mirror bundle import`: take in a bundle under this mirror's own policy, and answer with a signed receipt."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mirror.cli.bundle import BundlePath
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from mirror.bundle.faults import BundleFault
    from mirror.bundle.receipt import Receipt, ReceivedBook, Refusal
    from mirror.cli.bundle_incoming import Judged, Opened
    from mirror.clock_wiring import SystemClock
    from mirror.config import Config
    from mirror.core.nouns import Blob
    from mirror.index.sql import SqlIndex
    from mirror.keeper.bundle_desk import AskedBundles
    from mirror.lists.editions import EditionStore
    from mirror.policy.epoch import Epoch

#: Events that the record is given at once.
_AT_ONCE: Final = 500


@click.command("import")
@click.argument("path", type=BundlePath())
@click.option("--dry-run", is_flag=True, help="Verify signature and contents, judge, look for room; take nothing in.")
@click.option("--allow-rollback", is_flag=True, help="Take in an older bundle than the last of its name.")
@click.option("--receipt", "receipt_path", type=click.Path(path_type=Path, dir_okay=False), default=None, help="Where the receipt goes; else beside the bundle, where that can be written.")
@click.option("--json", "as_json", is_flag=True, help="JSON.")
@click.pass_context
def command(ctx: click.Context, path: Path, dry_run: bool, allow_rollback: bool, receipt_path: Path | None, as_json: bool) -> None:
    """Import a bundle: a folder, a tar, or any volume of a complete set.

    Its sender must be enrolled (`trust.verify`, role sender). What this mirror's policy denies is not taken in. Nothing of it is
    seen before all of it is there; a run that was cut short is run again. Exit 0 when all was taken in, 1 when something was
    refused, 2 when nothing was or it could not be finished.
    """
    if receipt_path is not None and not receipt_path.parent.is_dir():
        raise click.BadParameter(f"there is no folder {receipt_path.parent}", param_hint="--receipt")
    from mirror import config as configuration
    from mirror import log
    from mirror.bundle.faults import BundleFault

    config = configuration.load(ctx.find_object(Path), os.environ)
    log.configure("error", config.log.format)
    try:
        ctx.exit(asyncio.run(_import(config, path, receipt_path, dry_run=dry_run, allow_rollback=allow_rollback, as_json=as_json)))
    except (BundleFault, InputError, OSError) as error:
        found = _problems(error, path, config.data)
        if as_json:
            rows = [{"source": one.source, "place": one.place, "fault": one.message} for one in found]
            click.echo(json.dumps({"ok": False, "problems": rows}, ensure_ascii=False))
        raise InputError(found) from None


def _problems(error: BundleFault | InputError | OSError, path: Path, data: Path) -> Sequence[Problem]:
    if isinstance(error, InputError):
        return error.problems
    if isinstance(error, OSError):  # a disk that is full or fails: what was copied is found by the next run
        return (Problem(str(error.filename or data), "", error.strerror or str(error)),)
    return (Problem(str(path), "" if error.place in (path.name, str(path)) else error.place, error.message),)


async def _import(config: Config, path: Path, receipt_path: Path | None, *, dry_run: bool, allow_rollback: bool, as_json: bool) -> int:
    from mirror.cli.bundle_incoming import demand, judged, learn_bodies, lists_received, opened
    from mirror.clock_wiring import clock_of

    clock = clock_of(config)
    bundle = await asyncio.to_thread(opened, config, path, allow_rollback=allow_rollback)
    clock.learn(bundle.statement.created)
    try:
        if bundle.owed is not None and not dry_run:
            return await _given(config, bundle, bundle.owed, receipt_path or _beside(path), as_json=as_json)
        if not dry_run:
            await lists_received(config, bundle, clock, lacking=True)  # no mirror starts without an edition of each of its lists
        elif _first(config):
            return await _rehearsed(config, bundle, clock, as_json=as_json)
        async with owner_desk(config) as desk, _ground(config, clock) as (index, epoch):
            await _recalled(config, bundle, clock, dry_run=dry_run)
            await learn_bodies(config, bundle, index)
            found = await judged(config, bundle, index, epoch, clock)
            wanted = await asyncio.to_thread(demand, config, bundle, found.taken)
            if dry_run:
                return _would(bundle, found, wanted, as_json=as_json)
            receipt, where = await _taken(config, bundle, found, wanted, index, clock, desk, receipt_path or _beside(path))
    finally:
        await asyncio.to_thread(bundle.reader.close)
    return _done(config, bundle, receipt, where, as_json=as_json)


def _first(config: Config) -> bool:
    """Whether no mirror can be started here yet, because a list that is fetched has no edition."""
    from mirror.lists.editions import store_of
    from mirror.lists.official import fetched

    store = store_of(config.data)
    return any(fetched(row) and store.current(name, row) is None for name, row in config.lists.items())


async def _rehearsed(config: Config, bundle: Opened, clock: SystemClock, *, as_json: bool) -> int:
    """The dry run of an import whose bundle brings the first editions of lists: judged by these, which lie aside as long as it takes."""
    from mirror.cli.bundle_incoming import demand, judged, learn_bodies, lists_received
    from mirror.lists.editions import store_of

    config.data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rehearsal-", dir=config.data) as aside:
        editions = store_of(Path(aside))
        if (config.data / "lists").is_dir():
            shutil.copytree(config.data / "lists", Path(aside) / "lists")
        await lists_received(config, bundle, clock, lacking=True, editions=editions)
        async with _ground(config, clock, editions) as (index, epoch):
            await learn_bodies(config, bundle, index)
            found = await judged(config, bundle, index, epoch, clock)
            return _would(bundle, found, await asyncio.to_thread(demand, config, bundle, found.taken), as_json=as_json)


def _would(bundle: Opened, found: Judged, wanted: list[Blob], *, as_json: bool) -> int:
    """The last step of a dry run."""
    _say(bundle, _Came(len(found.taken), sum(blob.size for blob in wanted), found.refused), None, as_json=as_json)
    return 1 if found.refused else 0


async def _given(config: Config, bundle: Opened, signed: bytes, where: Path, *, as_json: bool) -> int:
    """What is left of an import that was interrupted when all of it was here: those who answer look anew, and its receipt is given."""
    from mirror.bundle.receipt import ReceivedBook, receipt_in

    book, number = ReceivedBook(config.data, bundle.statement), bundle.statement.number
    receipt = receipt_in(signed, str(book.path(number)))
    async with owner_desk(config) as desk:
        await desk.renew()
        where = await asyncio.to_thread(_put, book, number, signed, where)
    return _done(config, bundle, receipt, where, as_json=as_json)


def _done(config: Config, bundle: Opened, receipt: Receipt, where: Path, *, as_json: bool) -> int:
    """The last step, with nothing left to write: before it the same command gives the receipt again, after it it says that there is nothing to do."""
    from mirror.bundle.receipt import ReceivedBook

    ReceivedBook(config.data, bundle.statement).settled(bundle.statement.number)
    _say(bundle, _Came.of(receipt), where, as_json=as_json)
    return 1 if receipt.refused else 0


def _put(book: ReceivedBook, number: int, signed: bytes, where: Path) -> Path:
    """Give the receipt; where it is then: at `where`, or with our data where that cannot be written."""
    from mirror.bundle.receipt import delivered

    try:
        delivered(where, signed)
    except OSError:
        return book.path(number)
    return where


async def _taken(
    config: Config, bundle: Opened, found: Judged, wanted: list[Blob], index: SqlIndex, clock: SystemClock, desk: AskedBundles, where: Path
) -> tuple[Receipt, Path]:
    """Files, then refusals on the record, then all rows at once, then what is answered. Each step can be taken again."""
    from mirror.bundle.receipt import ReceivedBook
    from mirror.cli.bundle_incoming import (
        arrivals,
        copied,
        imported_event,
        lists_received,
        pack_received,
        receipt_of,
        things,
    )
    from mirror.ledger_wiring import machine_key_of

    key = machine_key_of(config).current()
    if key is None:
        raise InputError([Problem("trust.signing_key", "", "there is no key to sign the receipt with")])
    size = await asyncio.to_thread(copied, config, bundle, wanted, lambda _: None)
    now = clock.now()
    head = await desk.record(found.events)
    lists, pack = await lists_received(config, bundle, clock), await pack_received(config, bundle, clock)
    rows = await index.take_in(things(config, bundle, found.taken, now))
    events = await arrivals(config, bundle, index, now)
    for start in range(0, len(events), _AT_ONCE):
        await desk.record(events[start : start + _AT_ONCE])
    draft = receipt_of(bundle, found, size, rows, head, now)
    head = await desk.record([imported_event(bundle, draft, lists, pack)])
    receipt = receipt_of(bundle, found, size, rows, head, now)
    signed = receipt.signed(key)
    book, number = ReceivedBook(config.data, bundle.statement), bundle.statement.number
    await asyncio.to_thread(book.put, number, signed, bundle.statement.created)
    await desk.renew()
    return receipt, await asyncio.to_thread(_put, book, number, signed, where)


async def _recalled(config: Config, bundle: Opened, clock: SystemClock, *, dry_run: bool) -> None:
    """What a recall takes back is refused before anything else is done; who runs here sees it within about a second."""
    from mirror.bundle.recall import applied

    if bundle.statement.withdrawn and not dry_run:
        await asyncio.to_thread(applied, config.data, bundle.statement, bundle.digest, _signer(bundle), clock.now())


def _signer(bundle: Opened) -> str:
    """Whose card it was signed with."""
    return next((one.name for one in bundle.signers if one.name), "")


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.receipt.json")


@asynccontextmanager
async def owner_desk(config: Config) -> AsyncIterator[AskedBundles]:
    """The desk of the mirror that runs on this data, else of one that is started for as long as this takes. Raises `InputError`."""
    from mirror.cli.owner import at_work
    from mirror.cli.sync_mirror import reached

    there = await at_work(config)
    if there is not None:
        there.close()
        async with _desk(config) as desk:
            yield desk
        return
    async with reached(config, None, pin=True), _desk(config) as desk:
        yield desk


@asynccontextmanager
async def _desk(config: Config) -> AsyncIterator[AskedBundles]:
    from mirror.keeper.bundle_desk import AskedBundles

    desk = await AskedBundles.at(config.data)
    if desk is None:
        raise InputError([Problem(str(config.data), "", "nobody owns these data who could take a bundle in")])
    try:
        yield desk
    finally:
        desk.close()


@asynccontextmanager
async def _ground(config: Config, clock: SystemClock, editions: EditionStore | None = None) -> AsyncIterator[tuple[SqlIndex, Epoch]]:
    """The index, and the rules in force (with lists from `editions`, where these are given)."""
    from mirror.index.sql import SqlIndex
    from mirror.screen_wiring import findings_ready
    from mirror.wiring import rulebook_of

    index = await SqlIndex.open(config.database.reveal() if config.database else None, config.data)
    try:
        rulebook = rulebook_of(config, clock, editions)
        await findings_ready(rulebook, index, None, clock)
        yield index, rulebook.current
    finally:
        await index.close()


@dataclass(frozen=True, slots=True)
class _Came:
    """What is told of an import, or of one that only would be (`rows` None). `size` in bytes."""

    files: int
    size: int
    refused: Sequence[Refusal]
    rows: int | None = None

    @classmethod
    def of(cls, receipt: Receipt) -> _Came:
        """As the receipt says."""
        return cls(receipt.files, receipt.size, receipt.refused, receipt.rows)


def _say(bundle: Opened, came: _Came, where: Path | None, *, as_json: bool) -> None:
    from mirror.bundle.statement import called
    from mirror.cli.refusals import Left, told_shortly
    from mirror.cli.sizes import readable
    from mirror.core.dsse import fingerprint

    stated = bundle.statement
    if as_json:
        rows = [{"artifact": one.artifact, "rule": one.rule, "decision": one.decision, "sentence": one.sentence} for one in came.refused]
        told: dict[str, Any] = {
            "name": stated.name, "number": stated.number, "since": stated.since, "sender": stated.sender, "statement": bundle.digest, "bundle": bundle.reader.digest,
            "signed_by": [{"key": one.id, "name": one.name, "fingerprint": fingerprint(one.public)} for one in bundle.signers],
            "ok": True, "purpose": stated.purpose, "parts": len(bundle.reader.parts), "files": came.files, "bytes": came.size, "refused": rows, "dry_run": came.rows is None,
            "recalled": [row.artifact for row in stated.withdrawn], "receipt": None if where is None else str(where), "rows": came.rows,
        }  # fmt: skip
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    for row in stated.withdrawn:
        click.echo(f"recalled  {row.artifact}  {row.reason}", err=True)
    for text in told_shortly([Left("refused", one.artifact, one.rule, one.sentence) for one in came.refused]):
        click.echo(text, err=True)
    done, copied = ("would take in", "to copy") if came.rows is None else ("took in", "copied")
    click.echo(f"bundle {stated.name} {stated.number} of {stated.sender}: {done} {came.files} files, {readable(came.size)} {copied}; {len(came.refused)} refused")
    click.echo(called(bundle.digest, bundle.reader.digest))
    for signer in bundle.signers:
        click.echo(f"signed by {signer.name or signer.id[:16]}, fingerprint {fingerprint(signer.public)}")
    if where is not None:
        click.echo(f"receipt {where}")
