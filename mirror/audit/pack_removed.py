"""By which records' leave others of a range are gone: what has to be in an audit pack so that it can be checked. Reads only."""

from __future__ import annotations

import json
from bisect import bisect_left
from contextlib import suppress
from typing import TYPE_CHECKING

from mirror.audit.pack_range import numbered
from mirror.audit.retention import is_about_retention, is_stub, removal_of, window_of

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.audit.pack_range import Range


def leave_of(ledger: Path, span: Range, count: int) -> set[int]:
    """Records among the first `count` that permit what is gone from the range; none where nothing is.

    These are the `counts` that name its classes, all `classes` up to those (the age is counted by them), and the holds before the counts.
    """
    gone = [sequence for sequence, line in numbered(ledger, span.first, span.stop) if is_stub(line)]
    if not gone:
        return set()
    classes: list[int] = []
    holds: list[int] = []
    covering: set[int] = set()
    counts: set[int] = set()
    for sequence, line in numbered(ledger, 0, count):
        if not is_about_retention(line):
            continue
        record = json.loads(line)
        with suppress(ValueError):  # `mirror ledger verify` tells of it, and the pack will not hold
            if record["kind"] == "hold":
                holds.append(sequence)
            elif record["kind"] == "classes":
                window = window_of(record)
                classes.append(sequence)
                at = bisect_left(gone, window.since)
                if at < len(gone) and gone[at] < window.until:
                    covering.add(sequence)
            elif record["kind"] == "counts" and any(number in covering for number, _ in removal_of(record).parts):
                counts.add(sequence)
    last = max(counts, default=-1)
    return counts | {one for one in classes if one <= max(covering, default=-1)} | {one for one in holds if one < last}
