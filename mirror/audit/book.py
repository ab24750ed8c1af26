"""`checkpoints`: every checkpoint that was signed, and copies of the records that say by whom, one canonical line each.

A line is `{"at":…,"digest":…,"note":…,"prev":…}` (a signed checkpoint) or `{"digest":…,"prev":…,"record":…}` (a sealed `key` or
`recovered` record). `digest` is the SHA-256 of the line without it, `prev` the digest of the line before. `checkpoint` beside it is the newest note alone, as it is exported. Like everything
that is not a segment it can lag behind them, and it is never ahead.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from mirror.audit.custody import Custody, is_anchor
from mirror.audit.notes import Checkpoint, notes_in
from mirror.audit.record import GENESIS
from mirror.audit.segments import lines, segments
from mirror.core.canonical import canonical
from mirror.durable import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FILE: Final = "checkpoints"
NEWEST: Final = "checkpoint"
#: Bytes of the largest file that is read as one of checkpoints.
_LARGEST: Final = 1 << 28


@dataclass(slots=True)
class Pages:
    """What the file holds. `fault` names its first damaged line; `unfinished` tells of one that a crash cut short."""

    checkpoints: list[tuple[Checkpoint, str]] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    copied: list[int] = field(default_factory=list)  # of each checkpoint, how many records stand before it
    previous: str = GENESIS
    size: int = 0
    lines: int = 0
    fault: str = ""
    unfinished: str = ""

    @property
    def newest(self) -> Checkpoint | None:
        """The checkpoint that was made last."""
        return self.checkpoints[-1][0] if self.checkpoints else None

    def after(self, number: int) -> int:
        """The sequence of the record that was copied last before this checkpoint was kept; -1 if there is none."""
        count = self.copied[number]
        return int(json.loads(self.records[count - 1])["seq"]) if count else -1


def read(path: Path) -> Pages:
    """The whole file, each line against the one before. An absent file is an empty one."""
    pages = Pages()
    for line in lines(path):
        if not line.endswith(b"\n"):
            pages.unfinished = f"{path.name}: line {pages.lines + 1} is incomplete"
            break
        if not _take(pages, line):
            pages.fault = f"line {pages.lines + 1} is damaged, or does not follow the one before"
            break
        pages.lines += 1
        pages.size += len(line)
    return pages


def _take(pages: Pages, line: bytes) -> bool:
    try:
        row = json.loads(line)
        digest = row.pop("digest")
        if _written({**row, "digest": digest}) != line or row["prev"] != pages.previous or _digest(row) != digest:
            return False
        pages.previous = digest
        if row.keys() == {"at", "note", "prev"}:
            pages.checkpoints.append((Checkpoint.read(row["note"].encode()), str(row["at"])))
            pages.copied.append(len(pages.records))
        elif row.keys() == {"prev", "record"}:
            pages.records.append(row["record"].encode() + b"\n")
        else:
            return False
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False
    return True


def _digest(row: Mapping[str, str]) -> str:
    return sha256(canonical(row)).hexdigest()


def _written(row: Mapping[str, str]) -> bytes:
    return canonical(row) + b"\n"


def shown(directory: Path) -> bytes:
    """The copy of the newest checkpoint; nothing where there is none."""
    try:
        return (directory / NEWEST).read_bytes()
    except FileNotFoundError:
        return b""


def lost(data: bytes, pages: Pages) -> Checkpoint | None:
    """The checkpoint of `shown` if it is none of the file's, which then has lost it: a copy may lag, and is never ahead."""
    if any(one.note.data == data for one, _ in pages.checkpoints):
        return None
    try:
        return Checkpoint.read(data)
    except ValueError:
        return None


def anchors(directory: Path, start: int) -> Iterator[bytes]:
    """The lines of records from sequence `start` on of which custody is made."""
    known = segments(directory)
    holding = [one for one in known if one.first <= start][-1:]
    for current in [*holding, *(one for one in known if one.first > start)]:
        for at, line in enumerate(lines(current.path), current.first):
            if at >= start and is_anchor(line) and line.endswith(b"\n"):
                yield line


class Book:
    """The file of the process that owns the ledger."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.pages = Pages()
        self.custody = Custody()

    def open(self, count: int) -> str:
        """Read it, and bring it level with the segments, which have `count` records. Gives what is wrong with it.

        A line that a crash cut is cut off. Raises `OSError`.
        """
        self.pages, self.custody = read(self._directory / FILE), Custody()
        wrong = self.pages.fault
        if (missing := lost(shown(self._directory), self.pages)) is not None:
            wrong = wrong or f"lacks the checkpoint of {missing.size} records that lies beside it in {NEWEST!r}"
        for line in self.pages.records:
            wrong = wrong or self.custody.add(line)
        if not wrong and self.custody.last >= count:
            wrong = f"has a copy of record {self.custody.last}, and the ledger has {count} records: it was set back"
        if wrong:
            return wrong
        if self.pages.unfinished:
            os.truncate(self._directory / FILE, self.pages.size)
            self.pages.unfinished = ""
        newest = self.pages.newest
        signed = newest.size if newest is not None and newest.size <= count else 0
        for line in anchors(self._directory, max(self.custody.last + 1, signed)):
            self.copy(line)
        if newest is not None and shown(self._directory) != newest.note.data:
            self._show(newest)
        return ""

    def set_aside(self) -> list[str]:
        """Rename file and copy, so that both can be begun anew; gives the new names. Raises `OSError`."""
        kept = []
        for name in (FILE, NEWEST):
            path = self._directory / name
            if path.exists():
                kept.append(f"{name}-{sha256(path.read_bytes()).hexdigest()[:16]}")
                path.rename(self._directory / kept[-1])
        return kept

    def copy(self, line: bytes) -> None:
        """Keep a copy of a sealed record that custody is made of. Raises `OSError`."""
        before = self.custody.last
        self.custody.add(line)
        if self.custody.last != before:
            self._append({"record": line.decode().rstrip("\n")})
            self.pages.records.append(line)

    def put(self, one: Checkpoint, at: str) -> None:
        """Keep a checkpoint, durable on return. Raises `OSError`."""
        self._append({"at": at, "note": one.note.data.decode()})
        self.pages.checkpoints.append((one, at))
        self.pages.copied.append(len(self.pages.records))
        self._show(one)

    def _append(self, row: dict[str, str]) -> None:
        row = {**row, "prev": self.pages.previous}
        digest = _digest(row)
        line = _written({**row, "digest": digest})
        descriptor = os.open(self._directory / FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            if os.write(descriptor, line) != len(line):
                os.ftruncate(descriptor, self.pages.size)
                raise OSError(28, "the disk is full")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self.pages.previous = digest
        self.pages.size += len(line)
        self.pages.lines += 1

    def _show(self, one: Checkpoint) -> None:
        write_whole(self._directory / NEWEST, one.note.data)


def read_notes(path: Path) -> list[Checkpoint]:
    """The checkpoints of an exported file: notes, our own file of lines, or what `ledger prove` wrote. Raises `ValueError`, `OSError`."""
    if path.stat().st_size > _LARGEST:
        raise ValueError("is larger than any file of checkpoints")
    data = path.read_bytes()
    if not data.startswith(b"{"):
        return [Checkpoint.read(note) for note in notes_in(data)]
    pages = read(path)
    if pages.fault and not pages.lines:
        row = json.loads(data)
        if not isinstance(row, dict) or not isinstance(row.get("checkpoint"), str):
            raise ValueError("holds no checkpoint")
        return [Checkpoint.read(row["checkpoint"].encode())]
    return [one for one, _ in pages.checkpoints]
