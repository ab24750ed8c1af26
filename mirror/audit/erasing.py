"""Which personal parts are to go: those whose time is over, and those of somebody who is to be forgotten. Reads only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from mirror.audit.retention import is_stub
from mirror.audit.segments import Reader, lines, segments
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from mirror.audit.holds import Holds
    from mirror.audit.survey import Notebook

_PAGE: Final = 500
#: Whom the ledger's own events name: nobody.
SELF: Final = "mirror"


def old_parts(directory: Path, notebook: Notebook, holds: Holds, last: str, count: int) -> list[int]:
    """Records among the first `count` with a personal part that were made before the instant `last`, less what a hold keeps."""
    found: list[int] = []
    known = segments(directory)
    for current, following in zip(known, [*(one.first for one in known[1:]), count], strict=True):
        if following <= notebook.personal:
            continue
        if (begins := _begins(current.path)) is not None and begins >= last:
            break
        chosen, left = [], False
        for record in _read(directory, current.first, following):
            if _name(record) not in (None, SELF):
                keep = record["at"] >= last or holds.of(record) is not None
                left = left or keep
                chosen += [] if keep else [record["seq"]]
        found += chosen
        if not left and not found and following != count:
            notebook.personal = following
    return found


def parts_of(directory: Path, holds: Holds, actor: str, sequences: Collection[int], count: int) -> list[int]:
    """Records with the personal part of this pseudonym, and those of these sequences. Raises `InputError` where a hold covers one."""
    found: list[int] = []
    for record in _read(directory, 0 if actor else min(sequences, default=count), count):
        name = _name(record)
        if name is None or not (name == actor or record["seq"] in sequences):
            continue
        if (hold := holds.of(record)) is not None:
            raise InputError([Problem("", f"seq {record['seq']}", f"the hold {hold.id} keeps it ({hold.matter}): nothing was erased")])
        found.append(record["seq"])
    return found


def ranges_of(found: Sequence[int]) -> Iterator[list[int]]:
    """Pairs of the first sequence and the one after the last, of sequences in order."""
    start = before = -2
    for one in sorted(found):
        if one != before + 1:
            if start >= 0:
                yield [start, before + 1]
            start = one
        before = one
    if start >= 0:
        yield [start, before + 1]


def _read(directory: Path, start: int, stop: int) -> Iterator[dict[str, Any]]:
    reader = Reader(directory, start)
    while page := reader.read(_PAGE, stop):
        yield from page


def _name(record: dict[str, Any]) -> str | None:
    name = record["actor"].get("name")
    return None if name is None else str(name)


def _begins(path: Path) -> str | None:
    line = next((line for line in lines(path) if not is_stub(line)), b"")
    return str(json.loads(line)["at"]) if line else None
