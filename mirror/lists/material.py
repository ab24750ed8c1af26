"""What a list came as: files with names, their bytes bounded; and how a loader refuses them, with file and line.

Lists come from the internet and by mail. Nothing here trusts a length, a name or a coding that a file states of itself.
"""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date
    from pathlib import Path

    from mirror.policy.entries import ListEntry

#: The largest file of the formats we load is below 130 MB; what is beyond this is a mistake or an attack.
MAX_BYTES: Final = 256 * 1024 * 1024
#: XML shrinks to a twentieth; what grows a hundredfold was made to.
MAX_GROWTH: Final = 100
#: One line of a CSV. The longest cell of a published list has some thousand characters.
MAX_LINE: Final = 1024 * 1024
_ZIP: Final = b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a list as it came. `name` is what errors call it."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a loader found. `stated` is the date that the list gives itself, where it does."""

    entries: tuple[ListEntry, ...]
    stated: date | None = None


def refuse(source: str, line: int, message: str) -> NoReturn:
    """Raise `InputError` with one problem. `line` 0 means the file as a whole."""
    raise InputError([Problem(source, f"line {line}" if line else "", message)])


def read_file(path: Path) -> Part:
    """A file, whole. Raises `InputError`: unreadable, or larger than `MAX_BYTES`."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError([Problem(str(path), "", error.strerror or str(error))]) from None
    if len(data) > MAX_BYTES:
        refuse(str(path), 0, f"is larger than {MAX_BYTES} bytes")
    return Part(str(path), data)


def unpacked(part: Part) -> Part:
    """The one file inside a ZIP archive, or `part` itself where it is none.

    Raises `InputError`: not exactly one file inside, encrypted, damaged, or more than `MAX_GROWTH` times the archive's size.
    """
    if not part.data.startswith(_ZIP):
        return part
    room = min(MAX_BYTES, MAX_GROWTH * len(part.data))
    try:
        with zipfile.ZipFile(io.BytesIO(part.data)) as archive:
            inside = [one for one in archive.infolist() if not one.is_dir()]
            if len(inside) != 1:
                refuse(part.name, 0, f"is a ZIP archive of {len(inside)} files where one list is expected")
            with archive.open(inside[0]) as stream:
                data = stream.read(room + 1)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError, OSError) as error:
        refuse(part.name, 0, f"is no readable ZIP archive: {error}")
    if len(data) > room:
        refuse(part.name, 0, f"is a ZIP archive that unpacks to more than {room} bytes")
    return Part(f"{part.name}!{inside[0].filename[:100]}", data)


def rows(part: Part) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of every row of a CSV (RFC 4180), empty rows left out, with or without a byte order mark.

    A control-Z at the end, which OFAC still writes, is its end. Raises `InputError` at the first fault: not UTF-8, a NUL,
    a line beyond `MAX_LINE`, an open quote.
    """
    reader = csv.reader(_lines(part), strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        refuse(part.name, reader.line_num, f"not readable as CSV: {error}")
    except UnicodeDecodeError:
        _refuse_coding(part)


def _lines(part: Part) -> Iterator[str]:
    text = io.TextIOWrapper(io.BytesIO(part.data), encoding="utf-8-sig", newline="")
    number = 0
    while line := text.readline(MAX_LINE):
        number += 1
        if len(line) >= MAX_LINE:
            refuse(part.name, number, f"is longer than {MAX_LINE} characters")
        if "\x1a" in line and not line.strip("\x1a\r\n") and not text.read(1):
            return
        if "\0" in line:
            refuse(part.name, number, "holds a NUL character: this is not a text file")
        yield line


def _refuse_coding(part: Part) -> NoReturn:
    """The line of the first byte that is not UTF-8 (the error itself counts from the last block that was read)."""
    try:
        part.data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = part.data.count(b"\n", 0, error.start) + 1
        refuse(part.name, line, f"is not UTF-8 (byte {error.start}: 0x{part.data[error.start]:02x})")
    raise AssertionError("it was not UTF-8 a moment ago")


def table(part: Part, needed: frozenset[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, cells by column) of a CSV with a header row; columns beyond `needed` may come and go, in any order.

    Raises `InputError` as `rows`, and: a column of `needed` that is missing, one that stands twice, a row with another number
    of cells than the header (a truncated or badly quoted row).
    """
    found = rows(part)
    line, header = next(found, (0, []))
    names = [cell.strip().casefold() for cell in header]
    if missing := sorted(needed - set(names)):
        refuse(part.name, line, f"is not this format: the header lacks {', '.join(missing)}" if line else "is empty")
    if doubled := sorted({name for name in names if name and names.count(name) > 1}):
        refuse(part.name, line, f"column {doubled[0][:60]!r} appears twice")
    for line, cells in found:
        if len(cells) != len(names):
            refuse(part.name, line, f"has {len(cells)} cells where the header has {len(names)}: a truncated or badly quoted row")
        yield line, dict(zip(names, map(str.strip, cells), strict=True))
