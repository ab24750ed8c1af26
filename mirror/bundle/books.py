"""Everything that a mirror remembers of bundles: what was sent from it, and what it took in.

Read from `<data>/bundles`: `sent/` (`bundle.sent`), `received/` (`bundle.receipt`) and `recalled/` (`bundle.recall`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from mirror.bundle.contents import EntryRow
from mirror.bundle.receipt import receipt_in
from mirror.bundle.sent import SentBook
from mirror.core.errors import InputError, Problem
from mirror.proxy.recalls import lifted_file, recall_file


@dataclass(frozen=True, slots=True)
class Remembered:
    """One bundle. `direction`: `sent` or `received`.

    `at`: when it was made (sent), or taken in (received). `sender`: the origin of the sender's ledger. `files` and `size` (bytes): of a
    received one what was taken, of a sent one all that its receiver then has, earlier bundles included. `refused`: what we did not
    take; of a sent one 0. `recalls`: patterns that it withdraws; `in_force`: of a received one, whether they are refused here.
    """

    direction: str
    name: str
    number: int
    at: datetime
    sender: str
    statement: str
    since: int | None
    files: int
    size: int
    refused: int
    recalls: tuple[str, ...]
    in_force: bool


def remembered(data: Path) -> list[Remembered]:
    """All of them, newest first. Raises `InputError` for damage."""
    return sorted([*_sent(data), *_received(data)], key=lambda one: (one.at, one.number), reverse=True)


def _sent(data: Path) -> Iterator[Remembered]:
    for folder in sorted((data / "bundles" / "sent").glob("*/")):
        book = SentBook(data, folder.name)
        for number in book.numbers():
            found = book.get(number)
            if found is None:
                continue
            sizes = {row.digest: row.size for row in found.rows if isinstance(row, EntryRow)}
            one, recalls = found.statement, tuple(row.artifact for row in found.statement.withdrawn)
            files = sum(isinstance(row, EntryRow) for row in found.rows)
            yield Remembered("sent", one.name, one.number, one.created, one.sender, found.digest, one.since, files, sum(sizes.values()), 0, recalls, False)


def _received(data: Path) -> Iterator[Remembered]:
    for path in sorted((data / "bundles" / "received").glob("*/*/*.json")):
        try:
            one = receipt_in(path.read_bytes(), str(path))
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise InputError([Problem(str(path), "", f"is no receipt of ours ({error})")]) from None
        place = recall_file(data, f"{sha256(one.sender.encode()).hexdigest()[:16]}-{one.name}-{one.number:06}")
        standing = _recalled(place)
        recalls = standing or _recalled(lifted_file(place))
        yield Remembered("received", one.name, one.number, one.at, one.sender, one.statement, None, one.files, one.size, len(one.refused), recalls, bool(standing))


def _recalled(path: Path) -> tuple[str, ...]:
    """What a recall's file names; nothing where it was taken away."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return tuple(str(artifact) for deny in json.loads(path.read_bytes())["denies"] for artifact in deny["artifacts"])
    return ()
