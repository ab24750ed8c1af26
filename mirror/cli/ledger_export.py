"""`mirror ledger export`: the records of a span of time as they were sealed, as a flat table, or each with its proof."""

from __future__ import annotations

import asyncio
import csv
import json
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

from mirror.cli.ledger_carry import carried, check_options
from mirror.cli.ledger_query import CSV_COLUMNS, harmless, row_of
from mirror.cli.views import closed, people_shown, view_option
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from mirror.config import Config

_COLUMNS: Final = (*CSV_COLUMNS, "prev", "leaf")


@dataclass(frozen=True, slots=True)
class _Span:
    """Moments as records write them: from the first (inclusive) to the second (exclusive); empty: without end."""

    since: str
    until: str

    def has(self, at: str) -> bool:
        return self.since <= at and (not self.until or at < self.until)


@click.command()
@click.option("--since", "start", default="all", metavar="WHEN", help="From then on: a date or moment (UTC), a span back from now such as 30d, or all.")
@click.option("--until", "end", metavar="WHEN", help="Before then; as --since. Else to the end.")
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True, help="Sealed lines byte for byte, or one flat row a record.")
@click.option("--proofs", is_flag=True, help="JSON Lines only: each record as `mirror ledger prove` writes it, with its path to a signed root.")
@click.option("--personal", is_flag=True, help="With who asked, as far as that was not erased.")
@view_option
@click.option("--carry", is_flag=True, help="Records and import receipts for the mirror that sends bundles here, to be taken in there by `mirror ledger adopt`.")
@click.option("--last", type=click.Path(path_type=Path, exists=True), help="With --carry: from where this acknowledgement, or this earlier carry, ends; else from the last carry that was made, or the record of --since.")
@click.option("--json", "as_json", is_flag=True, help="With --carry: what was written, as JSON.")
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="A file, which is replaced when all is written; else standard output.")
@click.option("-c", "--config", "path", type=click.Path(path_type=Path, dir_okay=False), help="The configuration file.")
@click.pass_context
def export(
    ctx: click.Context, start: str, end: str | None, form: str, proofs: bool, personal: bool, view: str | None, carry: bool, last: Path | None,
    as_json: bool, out: Path | None, path: Path | None,
) -> None:  # fmt: skip
    """Write the records of a span of time, oldest first, with the hashes by which they can be checked, with the mirror running or not.

    JSON Lines are the sealed records as they lie in the ledger: each has its leaf and that of the record before. Who asked is not in
    them; --personal joins it, and then a line is for reading, no longer the sealed one. A pack for an auditor: `mirror audit pack`.
    With --carry it is a pack by number, which continues the one before, for the ledger of whoever sends bundles here.
    """
    from mirror.cli.owner import configured, ledger_of

    problems = check_options(start, end, form=form, proofs=proofs, last=last, out=out, carry=carry)
    if as_json and not carry:
        problems.append(Problem("", "--json", "goes with --carry; JSON Lines are --format jsonl"))
    if proofs and form == "csv" and not carry:
        problems.append(Problem("", "--proofs", "goes with --format jsonl"))
    config, span = configured(path or ctx.find_object(Path)), _span("all" if carry else start, None if carry else end, problems)
    directory = ledger_of(config)
    if not (directory / "head").exists():
        raise InputError([Problem(str(directory), "", "there is no ledger here")])
    if personal and not people_shown(config, view, "ledger export", {"since": start, "until": end or ""}):
        raise closed("--personal")
    if carry and out is not None:
        carried(config, out, start, last, personal=personal, as_json=as_json)
        return
    with _written(out) as file:
        if form == "csv":
            count = _table(file, _joined(directory, span, personal=personal))
        elif proofs:
            count = _lines(file, _proven(config, directory, span, personal=personal))
        elif personal:
            count = _lines(file, (json.dumps(row, ensure_ascii=False, sort_keys=True) for row in _joined(directory, span, personal=True)))
        else:
            count = _lines(file, (line.decode().rstrip("\n") for _, line in _sealed(directory, span)))
    click.echo(f"{count} records", err=True)


def _span(start: str, end: str | None, problems: list[Problem]) -> _Span:
    from mirror.cli.policy_inputs import since
    from mirror.core.canonical import instant

    found, now = [], datetime.now(UTC)
    for option, text in (("--since", start), ("--until", end)):
        try:
            moment = since(text, now) if text is not None else None
            found.append(instant(moment) if moment is not None else "")
        except InputError:
            problems.append(Problem("", option, f"{text!r} is neither a span such as 30d or 12h, nor a date, nor 'all'"))
    if problems:
        raise InputError(problems)
    return _Span(found[0], found[1])


@contextmanager
def _written(out: Path | None) -> Iterator[IO[str]]:
    """Standard output, or a file that takes its place when it is whole."""
    if out is None:
        yield sys.stdout
        return
    draft = out.with_name(f".{out.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("w", encoding="utf-8", newline="") as file:
            yield file
        draft.replace(out)
    except OSError as error:
        raise InputError([Problem(str(out), "--out", error.strerror or str(error))]) from None
    finally:
        draft.unlink(missing_ok=True)


def _sealed(directory: Path, span: _Span) -> Iterator[tuple[int, bytes]]:
    from mirror.audit.pack_range import at_of, numbered

    return ((sequence, line) for sequence, line in numbered(directory, 0) if span.has(at_of(line)))


def _joined(directory: Path, span: _Span, *, personal: bool) -> Iterator[Mapping[str, Any]]:
    """Records for reading; without `personal` with nulls for who asked."""
    from mirror.audit.record import display
    from mirror.audit.segments import Reader

    if not personal:
        yield from (display(json.loads(line), None) for _, line in _sealed(directory, span) if b'"kind":' in line)
        return
    reader = Reader(directory)
    while page := reader.read(1000):
        yield from (record for record in page if span.has(record.get("at", "")) and "kind" in record)


def _lines(file: IO[str], lines: Iterable[str]) -> int:
    count = 0
    for line in lines:
        file.write(line + "\n")
        count += 1
    return count


def _table(file: IO[str], records: Iterable[Mapping[str, Any]]) -> int:
    """RFC 4180, a line of names first."""
    writer = csv.writer(file)
    writer.writerow(_COLUMNS)
    count = 0
    for record in records:
        row = {**row_of(record), "prev": record["prev"], "leaf": record["leaf"]}
        writer.writerow([harmless(row.get(name)) for name in _COLUMNS])
        count += 1
    return count


def _proven(config: Config, directory: Path, span: _Span, *, personal: bool) -> Iterator[str]:
    """Each record as a proof under the newest checkpoint; one is made first where that does not cover them all."""
    from mirror.audit import book
    from mirror.audit.custody import Custody
    from mirror.audit.pack_range import at_of
    from mirror.audit.proof import prover
    from mirror.cli.ledger_proof import NotProven, asked

    last = max((sequence for sequence, _ in _sealed(directory, span)), default=-1)
    newest = book.read(directory / book.FILE).newest
    if last >= 0 and (newest is None or newest.size <= last):
        asyncio.run(asked(config, "checkpoint"))
    pages, custody = book.read(directory / book.FILE), Custody()
    for line in pages.records:
        custody.add(line)
    one, key = pages.newest, custody.in_force(pages.newest.size) if pages.newest else None
    if one is None or key is None:
        raise InputError([Problem(str(directory), "", "no record names the key that signs: `mirror ledger verify` tells more")])
    try:
        proofs = prover(directory, one, key, personal=personal)
        yield from (json.dumps(proofs(sequence, line), ensure_ascii=False, sort_keys=True) for sequence, line in _sealed(directory, span) if sequence <= last and at_of(line))
    except ValueError as error:
        raise NotProven(str(error)) from None
