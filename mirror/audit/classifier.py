"""Which records are short-lived, found as they come: what `classes` records are made of."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from mirror.audit.retention import WINDOW, Grades, Window, bits, window_of
from mirror.audit.segments import lines, segments
from mirror.audit.survey import Notebook, survey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Classifier:
    """Grades records in their order, from where the last classes end; what came before the newest two segments is kept long."""

    def __init__(self, directory: Path, home: frozenset[str]) -> None:
        self._directory, self._home = directory, home
        self._grades = Grades()
        self._next = -1
        self._place: tuple[int, int, int] = (-1, 0, 0)  # segment, offset, sequence there

    def next(self, count: int, *, whole: bool) -> Window | None:
        """The next window with anything short-lived in it among the first `count` records; with `whole` only one that is full."""
        if self._next < 0:
            self._next = self._start(count)
        while count - self._next >= (WINDOW if whole else 1):
            since, until = self._next, min(count, self._next + WINDOW)
            grades = [self._grades.grade(line) for line in self._lines(until)]
            self._next = until
            short = [since + at for at, grade in enumerate(grades) if self._grades.is_short(grade, self._home)]
            if short and len(grades) == until - since:
                return Window(-1, "", since, until, bits(since, until, short), self._home)
        return None

    def again(self, window: Window) -> None:
        """It was not recorded."""
        self._next = window.since

    def _start(self, count: int) -> int:
        known = segments(self._directory)[-2:]
        last = known[0].first if known else 0
        for record in survey(self._directory, Notebook(segments={str(one.first): [] for one in segments(self._directory)[:-2]}), count):
            if record["kind"] == "classes":
                with suppress(ValueError):
                    last = max(last, window_of(record).until)
        return last

    def _lines(self, until: int) -> Iterator[bytes]:
        for current in segments(self._directory):
            following = next((one.first for one in segments(self._directory) if one.first > current.first), until)
            if following <= self._next or current.first >= until:
                continue
            known = self._place[0] == current.first and self._place[2] <= self._next
            offset, at = self._place[1:] if known else (0, current.first)
            for line in lines(current.path, offset):
                if at >= until or not line.endswith(b"\n"):
                    break
                offset, at = offset + len(line), at + 1
                if at > self._next:
                    yield line
            self._place = current.first, offset, at
