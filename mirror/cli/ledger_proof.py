"""`mirror ledger verify|prove|checkpoint|rotate|recover`: that the record is the one that was signed for."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mirror.cli.views import closed, people_shown, view_option
from mirror.core.errors import InputError, LedgerDown, MirrorError, Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mirror.audit.adoption import Replica
    from mirror.audit.evidence import Lost
    from mirror.audit.examine import Examined
    from mirror.audit.notes import Checkpoint, Verifier
    from mirror.config import Config
    from mirror.keeper.ledger_desk import LedgerDesk

_CONFIG: Final = click.option("-c", "--config", "path", type=click.Path(path_type=Path, dir_okay=False), help="The configuration file.")
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="One JSON object.")
#: How many lost pieces of evidence are spelt out in the text form.
_MOST_LOST: Final = 100
_KEY: Final = click.option("--key", "key", help="A verifier key (name+id+base64), or a file that holds it.")


@click.command()
@click.option("--since-checkpoint", is_flag=True, help="Only what came after the newest checkpoint; before it, that the tree has its root.")
@click.option("--checkpoint", "foreign", multiple=True, type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A file of checkpoints that was kept elsewhere (repeatable).")
@_KEY
@click.option("--no-evidence", is_flag=True, help="Do not look whether what the records cite is still in the evidence archive.")
@click.option("--of", "of", metavar="NAME", help="Of an adopted ledger alone (`mirror ledger adopted`).")
@_JSON
@_CONFIG
@click.pass_context
def verify(
    ctx: click.Context, since_checkpoint: bool, foreign: tuple[Path, ...], key: str | None, no_evidence: bool, of: str | None, as_json: bool, path: Path | None
) -> None:
    """Verify every byte of the ledger, its tree, its checkpoints and the evidence that its records cite; exit 1 and name what is wrong.

    --checkpoint also finds a history that was rewritten as a whole. --key must be among the keys that the ledger's records name.
    Ledgers that were adopted from laboratories are verified too, against what our own record says of them.
    """
    from mirror.audit.adoption import replicas
    from mirror.audit.evidence import Citations, lost
    from mirror.audit.examine import examine
    from mirror.store.archive import EvidenceArchive

    config = _config(ctx, path)
    known = [(str(file), one) for file in foreign for one in _notes(file)]
    citations = None if no_evidence else Citations()
    read = EvidenceArchive(config.data / "evidence").read
    found = examine(folder_of(config, of), incremental=since_checkpoint, foreign=known, key=verifier_of(key), citations=citations)
    gone = lost(citations, read) if citations is not None and found.fault is None else []
    beside = replicas(_folder(config), config.data, None if no_evidence else read, only=of) if found.fault is None else []
    gone = [] if of else gone  # of a replica, `beside` has it, without what the laboratory had lost itself
    if as_json:
        evidence = None if citations is None else {"cited": len(citations), "lost": [_lost_row(one) for one in gone]}
        told = {**_told(found), "ok": found.fault is None and not gone and all(one.sound for one in beside), "evidence": evidence}
        click.echo(json.dumps({**told, "adopted": list(map(_replica_row, beside))}, ensure_ascii=False))
    else:
        _say(found, len(known))
        _say_lost(gone, len(citations) if citations is not None and found.fault is None else None)
        _say_beside(beside)
    sys.exit(0 if found.fault is None and not gone and all(one.sound for one in beside) else 1)


@click.command()
@click.argument("decision")
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="Where to write the proof; else standard output.")
@click.option("--personal", is_flag=True, help="With who asked, if that was not erased.")
@view_option
@click.option("--verifier", type=click.Path(path_type=Path, dir_okay=False), help="Write the program there that checks it anywhere.")
@_CONFIG
@click.pass_context
def prove(ctx: click.Context, decision: str, out: Path | None, personal: bool, view: str | None, verifier: Path | None, path: Path | None) -> None:
    """Prove that DECISION (its id, or the sequence of a record) stands in the ledger: record, path to the root, signed checkpoint.

    The proof is JSON that `verify_decision.py` checks with Python alone. Where no checkpoint covers the record yet, one is made.
    """
    from mirror.audit import verify_decision

    config = _config(ctx, path)
    if personal and not people_shown(config, view, "ledger prove", {"decision": decision}):
        raise closed("--personal")
    proof = asyncio.run(_proof(config, decision, personal=personal))
    text = json.dumps(proof, ensure_ascii=False, indent=1) + "\n"
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
    if verifier is not None:
        verifier.write_bytes(Path(verify_decision.__file__).read_bytes())


@click.command()
@_JSON
@_CONFIG
@click.pass_context
def checkpoint(ctx: click.Context, as_json: bool, path: Path | None) -> None:
    """Sign for everything that is recorded now, send it where checkpoints go, and print it. Exit 1 if some place did not take it."""
    made = asyncio.run(asked(_config(ctx, path), "checkpoint"))
    failing = [row for row in made["to"] if row["state"] != "ok"]
    click.echo(json.dumps(made, ensure_ascii=False) if as_json else made["note"], nl=as_json)
    for row in failing:
        click.echo(f"{row['to']}: {row['why']}", err=True)
    sys.exit(1 if failing else 0)


@click.command()
@click.option("--to", "file", type=click.Path(path_type=Path), help="A private key (Ed25519, PKCS #8) to sign from now on; else a new one is made.")
@_JSON
@_CONFIG
@click.pass_context
def rotate(ctx: click.Context, file: Path | None, as_json: bool, path: Path | None) -> None:
    """Let another key sign for the ledger from now on. The one in use says so on the record, and is deleted."""
    pem = None if file is None else _private(file)
    told = asyncio.run(asked(_config(ctx, path), "rotate", pem))
    click.echo(json.dumps(told) if as_json else told["key"])


@click.command()
@click.option("--new-key", is_flag=True, help="The signing key is lost: let a new one take its place, which `verify` will always tell.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@_JSON
@_CONFIG
@click.pass_context
def recover(ctx: click.Context, new_key: bool, yes: bool, as_json: bool, path: Path | None) -> None:
    """Record that this ledger was set back behind what had been signed for, so that `serve` goes on with it.

    Nothing is made up for: the gap stays on the record for good, with the checkpoint that showed it.
    """
    config = _config(ctx, path)
    _folder(config)
    if not yes and sys.stdin.isatty():
        click.confirm("Record the gap and go on with this copy of the ledger?", abort=True, err=True)
    told = asyncio.run(_recovered(config, new_key=new_key))
    if as_json:
        click.echo(json.dumps({"recorded": told}, ensure_ascii=False))
        return
    for row in told:
        click.echo(_recorded(row))
    if not told:
        click.echo("nothing to recover from: the ledger is the one that was signed for")


def _recorded(row: Mapping[str, Any]) -> str:
    if "published" in row:
        return f"gap: records after {row['since']}, up to {row['published']}, are not those that were signed ({row['source']}); the ledger had {row['records']}"
    return f"key: {row['key']}" if "key" in row else f"set aside: {', '.join(row['set_aside'])}"


async def _recovered(config: Config, *, new_key: bool) -> Sequence[Mapping[str, Any]]:
    from mirror.clock_wiring import clock_of
    from mirror.ledger_wiring import ledger_of

    ledger, checkpointer = ledger_of(config, clock_of(config))
    try:
        return await checkpointer.recover(new_key=new_key)
    finally:
        await ledger.close()
        await checkpointer.close()


async def asked(config: Config, method: str, *arguments: Any) -> dict[str, Any]:
    """What the ledger's owner answers: the mirror that runs, else this process for as long as it takes."""
    from mirror.keeper.ledger_desk import AskedLedger

    there = await AskedLedger.at(config.data) if config.data.is_dir() else None
    if there is None:
        async with _owned(config) as desk:
            found: dict[str, Any] = await getattr(desk, method)(*arguments)
            return found
    try:
        return await there.call(method, *arguments)
    except LedgerDown as error:
        raise InputError([Problem(str(config.data), "", f"the mirror ended while it was asked: {error}")]) from error
    finally:
        there.close()


@asynccontextmanager
async def _owned(config: Config) -> AsyncIterator[LedgerDesk]:
    from mirror import log
    from mirror.clock_wiring import clock_of
    from mirror.keeper.ledger_desk import LedgerDesk
    from mirror.ledger_wiring import ledger_of, retention_of

    _folder(config)
    log.configure("error", config.log.format)  # what is done is printed; only what went wrong is logged
    clock = clock_of(config)
    ledger, checkpointer = ledger_of(config, clock)
    retention = retention_of(config, ledger, clock)
    checkpointer.before = retention.classify
    await ledger.open(checkpointer.admit)
    try:
        await checkpointer.begin()
        yield LedgerDesk(checkpointer, retention)
    finally:
        await ledger.close()
        await checkpointer.close()


async def _proof(config: Config, decision: str, *, personal: bool) -> dict[str, Any]:
    from mirror.audit import book
    from mirror.audit.notes import Checkpoint
    from mirror.audit.proof import proof_of

    directory = _folder(config)
    sequence = await _sequence(config, decision)
    one = book.read(directory / book.FILE).newest
    if one is None or one.size <= sequence:
        one = Checkpoint.read((await asked(config, "checkpoint"))["note"].encode())
    pages, custody = book.read(directory / book.FILE), _custody()
    for line in pages.records:
        custody.add(line)
    key = custody.in_force(one.size)
    if key is None:
        raise InputError([Problem(str(directory), "", "no record names the key that signs: `mirror ledger verify` tells more")])
    try:
        return proof_of(directory, sequence, one, key, personal=personal)
    except ValueError as error:
        raise NotProven(str(error)) from None


class NotProven(MirrorError):
    """There is no proof; says why."""


def _custody() -> Any:
    from mirror.audit.custody import Custody

    return Custody()


async def _sequence(config: Config, decision: str) -> int:
    """The record in which a decision was made. Raises `InputError`."""
    from mirror.cli.record_index import record_index
    from mirror.core.ids import is_ulid

    if decision.isascii() and decision.isdecimal() and len(decision) < 16:
        return int(decision)
    if not is_ulid(decision.upper()):
        raise InputError([Problem("", "DECISION", f"{decision!r} is neither a decision's id nor a record's sequence")])
    async with record_index(config) as index:
        record = await index.find_decision(decision.upper())
    if record is None:
        raise InputError([Problem("", "DECISION", f"the ledger has no decision {decision.upper()}")])
    return int(record["seq"])


def _config(ctx: click.Context, path: Path | None) -> Config:
    from mirror.cli.owner import configured

    return configured(path or ctx.find_object(Path))


def _folder(config: Config) -> Path:
    from mirror.ledger_wiring import ledger_folder

    directory = ledger_folder(config)
    if not directory.is_dir():
        raise InputError([Problem(str(directory), "", "there is no ledger here")])
    return directory


def folder_of(config: Config, name: str | None) -> Path:
    """Our own ledger, or that of a laboratory which was adopted. Raises `InputError`."""
    from mirror.audit.adoption import replica_of

    own = _folder(config)
    return own if name is None else replica_of(own, config.data, name)


def _notes(file: Path) -> list[Checkpoint]:
    from mirror.audit.book import read_notes

    try:
        return read_notes(file)
    except (OSError, ValueError) as error:
        raise InputError([Problem(str(file), "", str(error) or "is no checkpoint")]) from None


def verifier_of(text: str | None) -> Verifier | None:
    """The verifier key of an option `--key`, or of the file that it names. Raises `InputError`."""
    from mirror.audit.notes import Verifier

    if text is None:
        return None
    try:
        return Verifier.read(Path(text).read_text(encoding="utf-8") if Path(text).is_file() else text)
    except (OSError, ValueError) as error:
        raise InputError([Problem("--key", "", str(error))]) from None


def _private(file: Path) -> str:
    from mirror.trust.keyfiles import read_key

    read_key(file, lambda: "")
    return file.read_text(encoding="ascii")


def _told(found: Examined) -> dict[str, Any]:
    fault = None if found.fault is None else {"seq": found.fault.sequence, "file": found.fault.file, "what": found.fault.what}
    return {
        "ok": fault is None, "records": found.head.count, "head": found.head.leaf, "root": found.root.hex(), "erased": found.erased,
        "unfinished": found.unfinished, "checkpoints": found.checkpoints, "signed": found.signed, "since": found.since,
        "removed": found.removed, "remarks": found.remarks, "fault": fault,
    }  # fmt: skip


def _lost_row(one: Lost) -> dict[str, Any]:
    return {"sha256": one.digest, "file": f"evidence/{one.digest[:2]}/{one.digest}", "seq": one.citation.sequence, "cited_as": one.citation.what, "what": one.why}


def _say_lost(gone: Sequence[Lost], cited: int | None) -> None:
    for one in gone[:_MOST_LOST]:
        click.echo(str(one), err=True)
    if len(gone) > _MOST_LOST:
        click.echo(f"and {len(gone) - _MOST_LOST} more (--json has all)", err=True)
    if cited is not None and not gone:
        click.echo(f"evidence: all that is cited is in the archive ({cited} pieces named by records)")


def _replica_row(one: Replica) -> dict[str, Any]:
    found = None if one.found is None else _told(one.found)
    row = {"name": one.name, "origin": one.origin, "adopted": one.last.stop, "records": one.records, "ok": one.sound, "wrong": list(one.wrong)}
    return {**row, "lost": [_lost_row(piece) for piece in one.gone], "found": found}


def _say_beside(beside: Sequence[Replica]) -> None:
    for one in beside:
        for said in [*one.wrong, *(f"{one.name}: {piece}" for piece in one.gone[:_MOST_LOST])]:
            click.echo(said, err=True)
        if one.sound:
            more = f"; {one.records - one.last.stop} more by an adoption that was cut short: run it again" if one.records > one.last.stop else ""
            click.echo(f"adopted {one.name}: {one.last.stop} records of {one.origin}, as record {one.last.sequence} has them{more}")


def _say(found: Examined, foreign: int) -> None:
    if found.fault is None:
        removed = f"; of {found.removed} a stub and counts, their time was over" if found.removed else ""
        click.echo(f"{found.head.count} records, head {found.head.leaf}{removed}")
        before = f"; the first {found.since} by their checkpoint alone" if found.since else ""
        elsewhere = f", and {foreign} from elsewhere" if foreign else ""
        click.echo(f"root {found.root.hex()}{before}; {found.checkpoints} checkpoint{'' if found.checkpoints == 1 else 's'}{elsewhere}, the newest of {found.signed} records")
    else:
        click.echo(f"{found.head.count} records are sound; then {found.fault}", err=True)
    for remark in found.remarks:
        click.echo(remark, err=True)
    if found.unfinished:
        click.echo(f"after them, left by a crash and never answered: {found.unfinished}", err=True)
