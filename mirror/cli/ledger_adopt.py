"""`mirror ledger adopt|adopted`: what a laboratory did, beside our own record."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from mirror.audit.adoption import Adopted
    from mirror.audit.adoption_parcel import Parcel
    from mirror.config import Config

#: Refused artifacts that are spelt out.
_SHOWN: Final = 20
_CONFIG: Final = click.option("-c", "--config", "path", type=click.Path(path_type=Path, dir_okay=False), help="The configuration file.")


@dataclass(frozen=True, slots=True)
class _Wish:
    """What was given: keys of the laboratory, what to call it, and where the acknowledgement goes."""

    keys: tuple[str, ...]
    name: str | None
    acknowledgement: Path


@click.command()
@click.argument("carry", type=click.Path(path_type=Path, exists=True))
@click.option("--key", "keys", multiple=True, metavar="KEY", help="The laboratory's verifier key (name+id+base64) or a file that holds it: needed the first time, and after its key was replaced.")
@click.option("--name", help="What to call the laboratory here; else as before, or after its ledger.")
@click.option("-o", "--acknowledgement", type=click.Path(path_type=Path, dir_okay=False), help="Where the signed acknowledgement goes; else beside CARRY, where that can be written.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@_CONFIG
@click.pass_context
def adopt(ctx: click.Context, carry: Path, keys: tuple[str, ...], name: str | None, acknowledgement: Path | None, as_json: bool, path: Path | None) -> None:
    """Take in what a laboratory wrote with `mirror ledger export --carry`: its records and receipts, verified, beside our own record.

    It is copied and verified as its own program does; it has to go on with what was adopted before, and to have the same history.
    Works with the mirror running and without. A run that was cut short is run again. Exit 1 where the carry does not hold.
    """
    from mirror.audit.adoption_parcel import NotAdopted
    from mirror.cli.owner import configured

    config = configured(path or ctx.find_object(Path))
    wish = _Wish(tuple(map(_key, keys)), name, acknowledgement or carry.with_name(f"{carry.name}.adopted.json"))
    try:
        told = _adopted(config, carry, wish)
    except NotAdopted as error:
        click.echo(str(error), err=True)
        ctx.exit(1)
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False))
    else:
        _say(told)


def _key(text: str) -> str:
    from mirror.cli.ledger_proof import verifier_of

    found = verifier_of(text)
    return found.text if found is not None else ""


def _adopted(config: Config, carry: Path, wish: _Wish) -> dict[str, Any]:
    """Everything in order: copied, verified, compared, written, recorded, acknowledged."""
    from mirror.audit.adoption import FOLDER, adopted, checked_name, detail_of, follows, name_of, take_in
    from mirror.audit.adoption_parcel import unpacked, verified
    from mirror.audit.carry import acknowledged
    from mirror.cli.ledger_proof import asked
    from mirror.ledger_wiring import ledger_folder, machine_key_of

    ledger, home = ledger_folder(config), config.data / FOLDER
    if not ledger.is_dir():
        raise InputError([Problem(str(ledger), "", "there is no ledger here")])
    signing = machine_key_of(config).current()
    if signing is None:
        raise InputError([Problem("trust.signing_key", "", "the mirror's own key is not here, and the acknowledgement is signed with it")])
    with _stage(home) as stage:
        unpacked(carry, stage)
        known = adopted(ledger)
        origin, name = _of(stage, known, wish)
        before = [one for one in known if one.name == checked_name(name or name_of(origin))]
        name = checked_name(name or name_of(origin))
        keys = _trusted(before, wish)
        parcel = verified(carry, stage, keys)
        replica = home / name
        count = follows(replica, parcel, before)
        last = max(before, key=lambda one: one.stop, default=None)
        fresh = last is None or parcel.stop > last.stop
        receipts = _receipts(config, parcel)
        if fresh:
            asyncio.run(_kept(config, parcel))
            take_in(replica, parcel, count)
        detail = detail_of(parcel, keys[-1])
        told = asyncio.run(asked(config, "passed", "adopted", name, detail)) if fresh else {}
    sequence = int(told["seq"]) if last is None or fresh else last.sequence
    signed = acknowledged(detail, name, sequence, datetime.now(UTC), signing)
    return {
        "name": name, "origin": detail["origin"], "key": keys[-1], "fingerprint": _fingerprint(keys[-1]), "first": detail["first"], "stop": detail["stop"],
        "new": max(0, detail["stop"] - (last.stop if last is not None else 0)), "root": detail["root"], "record": sequence, "lost": detail["lost"], "receipts": receipts,
        "acknowledgement": str(_acknowledge(signed, wish.acknowledgement, replica)),
    }  # fmt: skip


@contextmanager
def _stage(home: Path) -> Iterator[Path]:
    """A place for the copy, of one adoption at a time; what an earlier one left is swept away."""
    from mirror.durable import alone

    with alone(home / ".lock"):
        stage = home / ".stage"
        shutil.rmtree(stage, ignore_errors=True)
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def _of(stage: Path, known: Sequence[Adopted], wish: _Wish) -> tuple[str, str | None]:
    """The ledger that the copy says it is of, which is verified later, and what it is called here."""
    try:
        origin = str(json.loads((stage / "manifest.json").read_bytes())["ledger"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InputError([Problem("", "manifest.json", "is missing or no manifest: this is no carry")]) from None
    return origin, wish.name or next((one.name for one in reversed(known) if one.origin == origin), None)


def _trusted(before: Sequence[Adopted], wish: _Wish) -> list[str]:
    """The keys under which it is verified, the one that is recorded last. Raises `InputError` where none is known."""
    keys = list(dict.fromkeys([*(one.key for one in before), *wish.keys]))
    if not keys:
        said = "nothing of this laboratory was adopted yet: give its verifier key, as it was read to you (`mirror ledger export --carry` there prints it)"
        raise InputError([Problem("", "--key", said)])
    return keys


async def _kept(config: Config, parcel: Parcel) -> None:
    """What the laboratory judged on goes into our archive of evidence, where it lies by its digest."""
    from mirror.store.archive import EvidenceArchive

    archive = EvidenceArchive(config.data / "evidence")
    for kind, data in parcel.evidence():
        try:
            await archive.keep(kind, data)
        except ValueError:
            await archive.keep("evidence", data)


def _receipts(config: Config, parcel: Parcel) -> list[dict[str, Any]]:
    """What the laboratory answered to bundles; `known` says whether they were sent from here."""
    from mirror.audit.carry import RECEIPTS
    from mirror.bundle.receipt import RECEIPT
    from mirror.bundle.sent import SentBook
    from mirror.core import dsse

    sent, rows = config.data / "bundles" / "sent", []
    for digest in parcel.receipts:
        place = f"{RECEIPTS}/{digest}.json"
        data = (parcel.folder / place).read_bytes()
        envelope = dsse.read(data, place, len(data))
        try:
            told = json.loads(envelope.payload)
            known = any(SentBook(config.data, book.name).find(told["statement"]) is not None for book in sorted(sent.glob("*")))
            refused = [{key: str(one[key]) for key in ("artifact", "rule", "sentence")} for one in told["refused"]]
            row = {"receipt": digest, "name": str(told["name"]), "number": int(told["number"]), "statement": str(told["statement"]), "at": str(told["at"]), "known": known}
            rows.append({**row, "files": int(told["taken"]["files"]), "bytes": int(told["taken"]["bytes"]), "refused": refused})
        except (ValueError, KeyError, TypeError) as error:
            raise InputError([Problem(place, "", f"is no receipt: {error!r}")]) from None
        if envelope.kind != RECEIPT:
            raise InputError([Problem(place, "payloadType", f"is {envelope.kind}, and not {RECEIPT}")])
    return sorted(rows, key=lambda row: row["at"])


def _fingerprint(key: str) -> str:
    from mirror.audit.notes import Verifier
    from mirror.core.dsse import fingerprint

    return fingerprint(Verifier.read(key).public)


def _acknowledge(signed: bytes, wanted: Path, replica: Path) -> Path:
    from mirror.durable import write_whole

    kept = replica / "acknowledgement.json"
    write_whole(kept, signed)
    try:
        write_whole(wanted, signed)
    except OSError:  # a medium that cannot be written: it lies with our data
        return kept
    return wanted


def _say(told: dict[str, Any]) -> None:
    from mirror.cli.ledger_query import print_table
    from mirror.cli.sizes import readable

    if told["new"]:
        click.echo(f"{told['name']}: records {told['first']} to {told['stop'] - 1} of {told['origin']}, {told['new']} of them new; record {told['record']} here")
    else:
        click.echo(f"{told['name']}: nothing new; {told['stop']} records of {told['origin']} in this carry, all adopted before")
    click.echo(f"key {told['key']}\nfingerprint {told['fingerprint']}")
    if told["receipts"]:
        shown = [{"bundle": f"{row['name']} {row['number']}", "at": row["at"][:19] + "Z", "took": row["files"], "size": readable(row["bytes"]), "refused": len(row["refused"])} for row in told["receipts"]]
        print_table(("bundle", "at", "took", "size", "refused"), shown)
    refused = [(row, one) for row in told["receipts"] for one in row["refused"]]
    for row, one in refused[:_SHOWN]:
        click.echo(f"{row['name']} {row['number']}: refused  {one['artifact']}  {one['sentence']}")
    if len(refused) > _SHOWN:
        click.echo(f"and {len(refused) - _SHOWN} more refused (--json has all)")
    for row in told["receipts"]:
        if not row["known"]:
            click.echo(f"receipt of {row['name']} {row['number']}: no bundle with the statement {row['statement'][:16]} was sent from here", err=True)
    if told["lost"]:
        click.echo(f"{len(told['lost'])} pieces of evidence are lost at the laboratory", err=True)
    click.echo(f"acknowledgement {told['acknowledgement']}")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="JSON Lines.")
@_CONFIG
@click.pass_context
def adopted(ctx: click.Context, as_json: bool, path: Path | None) -> None:
    """List the laboratories whose records were adopted: how far, when, and under which key."""
    from mirror.audit.adoption import adopted as known
    from mirror.cli.ledger_query import print_table
    from mirror.cli.owner import configured, ledger_of

    found: dict[str, dict[str, Any]] = {}
    for one in known(ledger_of(configured(path or ctx.find_object(Path)))):
        carries = found.get(one.name, {}).get("carries", 0) + 1
        receipts = found.get(one.name, {}).get("receipts", 0) + len(one.receipts)
        found[one.name] = {
            "name": one.name, "origin": one.origin, "records": one.stop, "carries": carries, "receipts": receipts, "at": one.at, "record": one.sequence,
            "personal": one.personal, "key": one.key, "fingerprint": _fingerprint(one.key), "root": one.root,
        }  # fmt: skip
    if as_json:
        for row in found.values():
            click.echo(json.dumps(row, ensure_ascii=False))
    else:
        print_table(("name", "origin", "records", "carries", "receipts", "at", "fingerprint"), list(found.values()))
