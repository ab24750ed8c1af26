"""The plain list: a CSV that an organisation writes itself, or makes from a PDF (docs/lists.md).

One header row, then one row an entry; only `name` is required. RFC 4180 quoting, UTF-8 with or without a byte order
mark. A file with a single fault is refused whole: half a list screens half the world.
"""

from __future__ import annotations

import csv
import io
import re
from datetime import date
from typing import TYPE_CHECKING, Final

from mirror.core.errors import InputError, Problem
from mirror.lists.draft import identifier
from mirror.policy.countries import CODES
from mirror.policy.entries import TYPES, ListEntry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

COLUMNS: Final = (
    "name", "aliases", "weak_aliases", "country", "programme", "listed_on", "until", "id", "web", "type", "source",
    "identifiers",
)  # fmt: skip
#: Kinds of numbers that name a body: a register's or a tax office's, ISO 17442, D-U-N-S, IMO, BIC.
IDENTIFIERS: Final = ("reg", "lei", "duns", "imo", "bic")
#: The largest official list is below 200 MB; a file beyond this is a mistake or an attack.
MAX_BYTES: Final = 256 * 1024 * 1024
MAX_ROWS: Final = 2_000_000
#: After so many faults the file is simply not this format.
MAX_PROBLEMS: Final = 100


def read(data: bytes, source: str) -> tuple[ListEntry, ...]:
    """The entries of a plain CSV. `source` names the file in errors.

    Raises `InputError` with every fault and its line: encoding, missing or unknown columns, cells too many or too few
    (a truncated row), open quotes, empty names, bad countries, dates and types, duplicate ids, no rows at all.
    """
    text = _text(data, source)
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    problems: list[Problem] = []
    entries: list[ListEntry] = []
    ids: dict[str, int] = {}
    header: tuple[str, ...] = ()
    try:
        header = _header(next(rows, []), source)
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            cells = _cells(header, row, rows.line_num, source, problems)
            if cells is not None:
                faults = [*_faults(cells), *_repeated(cells, rows.line_num, ids)]
                problems += [Problem(source, f"line {rows.line_num}: {name}", message) for name, message in faults]
                if not faults:
                    entries.append(_entry(cells, rows.line_num))
            if len(problems) >= MAX_PROBLEMS or len(entries) > MAX_ROWS:
                problems.append(Problem(source, f"line {rows.line_num}", "too many faults or rows; not read further"))
                break
    except csv.Error as error:
        problems.append(Problem(source, f"line {rows.line_num}", f"not readable as CSV: {error}"))
    if not entries and not problems:
        problems.append(Problem(source, "", "has a header but no entries"))
    if problems:
        raise InputError(problems)
    return tuple(entries)


def _text(data: bytes, source: str) -> str:
    if len(data) > MAX_BYTES:
        raise InputError([Problem(source, "", f"is larger than {MAX_BYTES} bytes")])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"is not UTF-8 (byte {error.start}: 0x{data[error.start]:02x}); save it as UTF-8"
        raise InputError([Problem(source, f"line {line}", message)]) from None
    if not text.strip():
        raise InputError([Problem(source, "", "is empty")])
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError([Problem(source, f"line {line}", "holds a NUL character: this is not a text file")])
    return text


def _header(row: list[str], source: str) -> tuple[str, ...]:
    header = tuple(cell.strip().casefold() for cell in row)
    known = ", ".join(COLUMNS)
    problems = [
        Problem(source, "line 1", f"unknown column {name!r}; known are {known}") for name in header if name not in COLUMNS
    ]
    doubled = sorted({name for name in header if header.count(name) > 1})
    problems += [Problem(source, "line 1", f"column {name!r} appears twice") for name in doubled]
    if "name" not in header:
        problems.append(Problem(source, "line 1", f"the column 'name' is missing; known are {known}"))
    if problems:
        raise InputError(problems)
    return header


def _cells(
    header: tuple[str, ...], row: list[str], line: int, source: str, problems: list[Problem]
) -> dict[str, str] | None:
    if len(row) != len(header):
        message = f"has {len(row)} cells where the header has {len(header)}: a truncated or badly quoted row"
        problems.append(Problem(source, f"line {line}", message))
        return None
    return {name: cell.strip() for name, cell in zip(header, row, strict=True)}


def _repeated(cells: Mapping[str, str], line: int, ids: dict[str, int]) -> Iterator[tuple[str, str]]:
    name = cells.get("id", "")
    if name and ids.setdefault(name, line) != line:
        yield "id", f"{name!r} is also the id of line {ids[name]}"


def _entry(cells: Mapping[str, str], line: int) -> ListEntry:
    return ListEntry(
        id=cells.get("id") or f"line-{line}",
        name=cells["name"],
        aliases=_several(cells.get("aliases")),
        weak_aliases=_several(cells.get("weak_aliases")),
        country=cells.get("country", "").upper(),
        programme=cells.get("programme", ""),
        listed_on=_day(cells.get("listed_on")),
        until=_day(cells.get("until")),
        web=_several(cells.get("web")),
        type=cells.get("type", "").casefold(),
        source=cells.get("source", ""),
        identifiers=tuple(identifier(*_kind_and_number(one), cells.get("country", "")) for one in _several(cells.get("identifiers"))),
    )


def _faults(cells: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if not cells["name"]:
        yield "name", "is empty"
    country = cells.get("country", "")
    if country and country.upper() not in CODES:
        yield "country", f"{country!r} is not an ISO 3166-1 alpha-2 code"
    for name in ("listed_on", "until"):
        if cells.get(name) and _day(cells[name]) is None:
            yield name, f"{cells[name]!r} is not a date (YYYY-MM-DD)"
    since, until = _day(cells.get("listed_on")), _day(cells.get("until"))
    if since and until and until <= since:
        yield "until", f"{until} is not after 'listed_on' {since}"
    if cells.get("type", "").casefold() not in TYPES:
        yield "type", f"{cells['type']!r} is none of {', '.join(filter(None, TYPES))}"
    for one in _several(cells.get("identifiers")):
        kind, number = _kind_and_number(one)
        if kind not in IDENTIFIERS or not identifier(kind, number, country):
            yield "identifiers", f"{one!r} is not kind:number with one of {', '.join(IDENTIFIERS)} and a telling number (below 8 characters with its country)"


def _kind_and_number(text: str) -> tuple[str, str]:
    kind, _, number = text.partition(":")
    return kind.strip().casefold(), number


def _several(cell: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (cell or "").split(";") if part.strip())


def _day(cell: str | None) -> date | None:
    # fromisoformat of 3.11 also takes 20260131 and 2026-W05; lists are read by people, so one form only.
    if not cell or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", cell):
        return None
    try:
        return date.fromisoformat(cell)
    except ValueError:
        return None
