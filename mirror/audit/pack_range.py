"""Which records belong to a span of time, and what a tree needs so that their place in it can be shown. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.audit.segments import lines, segments

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mirror.audit.tree import Node

_AT: Final = b',"at":"'
_MOMENT: Final = 27  # bytes of an instant, as `core.canonical.instant` writes it


@dataclass(frozen=True, slots=True)
class Range:
    """The records from `first` to before `stop`: the first and the last of the span, and all between them.

    `outside` of those between are dated before or after it: the clock was set back.
    """

    first: int
    stop: int
    outside: int = 0


def at_of(line: bytes) -> str:
    """The moment of a sealed line; empty for what is left of a record whose retention has ended."""
    start = line.find(_AT)
    return line[start + len(_AT) : start + len(_AT) + _MOMENT].decode("ascii", "replace") if start >= 0 else ""


def numbered(directory: Path, start: int, stop: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Complete lines with their sequence from `start` to before `stop`."""
    known = segments(directory)
    holding = [one for one in known if one.first <= start][-1:]
    for current in [*holding, *(one for one in known if one.first > start)]:
        for sequence, line in enumerate(lines(current.path), current.first):
            if sequence == stop or not line.endswith(b"\n"):
                return
            if sequence >= start:
                yield sequence, line


def range_of(directory: Path, since: str, until: str, count: int) -> Range | None:
    """The range of the span from `since` (inclusive) to `until` (exclusive) in the first `count` records; None: there is none.

    Exact also where the clock was set back: every record is looked at.
    """
    first = last = -1
    inside = 0
    for sequence, line in numbered(directory, 0, count):
        if since <= at_of(line) < until:
            first, last, inside = sequence if first < 0 else first, sequence, inside + 1
    return None if first < 0 else Range(first, last + 1, last + 1 - first - inside)


def subtrees(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The largest complete subtrees that fill the leaves from `start` to before `stop`, in order: level and number in it."""
    while start < stop:
        level = (stop - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        yield level, start >> level
        start += 1 << level


def flanks(node: Node, span: Range, size: int) -> tuple[list[str], list[str]]:
    """The hashes (hex) left and right of a range with which its leaves make the root of `size` leaves."""
    left, right = ([node(*one).hex() for one in subtrees(*side)] for side in ((0, span.first), (span.stop, size)))
    return left, right
