"""The records of which retention is made, found once a segment: they are never removed, so what was found of a closed one stays true.

`retained` keeps it, with when the clock was last looked at. It is a function of the segments and of this machine's clock, never of the
truth: without it every segment is read again, and nothing is removed until the clock has been seen to go on for a while.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mirror.audit.retention import is_about_retention, numbers, removal_of, window_of
from mirror.audit.segments import lines, segments
from mirror.durable import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mirror.audit.segments import Segment

FILE: Final = "retained"


@dataclass(slots=True)
class Notebook:
    """What `retained` holds.

    `segments` has the lines found in each closed segment by its first sequence; `done` is the last `counts` or `erased` record
    that was carried out; `decided` the artifact and publisher of decisions that were removed last.

    `looked` is when the clock was looked at, `settled` since when it has gone on without a jump, `expired` when something was last
    removed: instants, empty for never.
    """

    segments: dict[str, list[str]] = field(default_factory=dict)
    done: int = -1
    decided: dict[str, tuple[str, str]] = field(default_factory=dict)
    looked: str = ""
    settled: str = ""
    expired: str = ""
    personal: int = 0  # sequence before which no personal part is left whose time is over

    @classmethod
    def read(cls, directory: Path) -> Notebook:
        """As it was kept; an empty one where there is none, or one that cannot be read."""
        try:
            stated = json.loads((directory / FILE).read_bytes())
            stated["decided"] = {str(key): (str(one), str(two)) for key, (one, two) in stated["decided"].items()}
            return cls(**stated)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return cls()

    def keep(self, directory: Path) -> None:
        """Raises `OSError`."""
        write_whole(directory / FILE, json.dumps(asdict(self), ensure_ascii=False).encode(), mode=0o640)


def survey(directory: Path, notebook: Notebook, count: int) -> list[dict[str, Any]]:
    """Every record before sequence `count` of which retention is made, in order. What is found of closed segments goes into `notebook`."""
    found: list[str] = []
    known = segments(directory)
    for number, current in enumerate(known):
        is_closed = number + 1 < len(known)
        place = str(current.first)
        if is_closed and place in notebook.segments:
            found += notebook.segments[place]
            continue
        here = _about(current)
        if is_closed:
            notebook.segments[place] = here
        found += here
    return [record for record in map(json.loads, found) if record["seq"] < count]


def removed(directory: Path) -> tuple[list[Mapping[str, Any]], frozenset[int]]:
    """The rows of all counts, and the sequences of records that they count and that may still be there. Reads only."""
    notebook = Notebook.read(directory)
    records = survey(directory, notebook, 1 << 62)
    windows = {one["seq"]: window_of(one) for one in records if one["kind"] == "classes"}
    told = [removal_of(one) for one in records if one["kind"] == "counts"]
    parts = [part for one in told if one.sequence > notebook.done for part in one.parts if part[0] in windows]
    gone = frozenset(at for number, data in parts for at in numbers(windows[number].since, windows[number].until, data))
    return [row for one in told for row in one.rows], gone


def _about(current: Segment) -> list[str]:
    return [line.decode() for line in lines(current.path) if line.endswith(b"\n") and is_about_retention(line)]
