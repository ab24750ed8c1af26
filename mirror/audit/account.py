"""What was removed of a ledger, against what its records say of that: done once the chain is followed. Pure.

A refusal that somebody deletes must not be passed off as a permission whose time was over. So each stub needs a `counts`
record that names it, which needs a `classes` record, sealed before the removal, that calls the record short-lived; its age
must have passed by then, and no hold may have stood that certainly covers it. What is still there is compared with its class.
"""

from __future__ import annotations

import json
from array import array
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from mirror.audit.chain import Fault
from mirror.audit.holds import Holds
from mirror.audit.retention import (
    ABOUT,
    REMOVED,
    UNSURE,
    Ages,
    Grades,
    Removal,
    Window,
    is_due,
    numbers,
    removal_of,
    window_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

#: In the place of `REMOVED` once it is accounted for.
_PERMITTED: Final = 0xFFFF


class Account:
    """Records from sequence `start` on, in order. What lies before is not asked after."""

    def __init__(self, start: int = 0) -> None:
        self._start = start
        self._grades = Grades()
        self._of = array("H")
        self._windows: dict[int, Window] = {}
        self._latest = 0
        self._holds = Holds()
        self.removed = 0
        self._wrong: Fault | None = None

    def add(self, line: bytes) -> None:
        """One sound line more."""
        grade = self._grades.grade(line)
        self._of.append(grade)
        if grade == ABOUT:
            self._told(json.loads(line))

    def fault(self) -> Fault | None:
        """The first thing that does not agree."""
        if self._wrong is not None or REMOVED not in self._of:
            return self._wrong
        return Fault(self._start + self._of.index(REMOVED), "the record is gone, and no record permits that")

    def _told(self, record: Mapping[str, Any]) -> None:
        said = ""
        try:
            if record["kind"] == "classes":
                said = self._classes(window_of(record))
            elif record["kind"] == "counts":
                said = self._counts(removal_of(record))
            elif record["kind"] == "hold":
                said = "" if self._start else self._holds.add(record)  # what was added before is not known
        except ValueError as error:
            said = str(error)
        if said and self._wrong is None:
            self._wrong = Fault(record["seq"], said)

    def _classes(self, window: Window) -> str:
        if window.since < self._latest:
            return "calls records short-lived or not of which that was said before"
        self._windows[window.sequence], self._latest = window, window.until
        for number in window.numbers():
            grade = self._grade(number)
            if grade not in (REMOVED, UNSURE, _PERMITTED) and not self._grades.is_short(grade, window.home):
                return f"calls record {number} short-lived, which it is not"
        return ""

    def _grade(self, number: int) -> int:
        return self._of[number - self._start] if number >= self._start else UNSURE

    def _counts(self, removal: Removal) -> str:
        moment = datetime.fromisoformat(removal.at)
        ages = Ages(removal.at)
        sealed = {number: ages.sealed(window) for number, window in self._windows.items()}
        for number, removed in removal.parts:
            window = self._windows.get(number)
            if window is None:
                if number >= self._start:
                    return f"removes by the classes of record {number}, which are none"
                continue
            if len(removed) != len(window.short) or any(one & ~short for one, short in zip(removed, window.short, strict=True)):
                return f"removes what record {number} does not call short-lived"
            if not is_due(sealed[number], moment, removal.allows):
                return f"removes records of {window.since} to {window.until} before their time"
            for one in numbers(window.since, window.until, removed):
                if self._grade(one) == REMOVED:
                    self._of[one - self._start] = _PERMITTED
                    self.removed += 1
        held = next((hold for hold in self._holds.standing.values() if any(map(hold.covers_row, removal.rows))), None)
        return f"removes what the hold {held.id} keeps ({held.matter})" if held is not None else ""
