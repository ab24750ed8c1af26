"""Ratios of interleaved pairs, and how they are shown."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field


@dataclass
class Row:
    """One rival beside this mirror: what each gave in each round, in the order of the rounds."""

    rival: str
    theirs: list = field(default_factory=list)
    ours: list = field(default_factory=list)
    wrong: str = ""

    def ratios(self, *, higher):
        """This mirror's speed as a multiple of the rival's, round by round."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return sorted((our / their) if higher else (their / our) for our, their in pairs if our and their)


@dataclass
class Result:
    """A case: its rows, what we were to reach, and whatever else is worth a line."""

    title: str
    unit: str
    higher: bool = True
    rows: list = field(default_factory=list)
    lines: list = field(default_factory=list)
    targets: list = field(default_factory=list)

    def target(self, rival, least):
        """State that the mirror was to be at least `least` times as fast as `rival`."""
        found = next((row for row in self.rows if row.rival == rival and not row.wrong), None)
        if found is not None and (ratios := found.ratios(higher=self.higher)):
            median = statistics.median(ratios)
            self.targets.append(
                f"  wanted: at least {least:g} x {rival}: {'met' if median >= least else 'NOT met'} ({median:.3g})"
            )

    def text(self):
        """The lines to print."""
        lines = [*(f"  {line}" for line in self.lines), *self.targets]
        if not self.rows:
            return "\n".join([self.title, *lines])
        out = [
            self.title,
            f"  {'beside':16} {self.unit:>12} {'this mirror':>13}   so many times as fast: median (least - most)",
        ]
        for row in self.rows:
            if row.wrong:
                out.append(f"  {row.rival:16} wrong: {row.wrong[:120]}")
            elif ratios := row.ratios(higher=self.higher):
                shown = f"{statistics.median(ratios):.3g} ({ratios[0]:.3g} - {ratios[-1]:.3g})"
                out.append(
                    f"  {row.rival:16} {number(statistics.median(row.theirs)):>12} {number(statistics.median(row.ours)):>13}   {shown}"
                )
            else:
                out.append(f"  {row.rival:16} gave no answer in the time")
        return "\n".join([*out, *lines])


def number(value):
    """Three digits that matter."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def spread(values, unit=""):
    """`median (least - most) unit`."""
    return f"{number(statistics.median(values))} ({number(min(values))} - {number(max(values))}){unit and ' ' + unit}"


#: Seconds after which a rival that takes very long is not measured beyond ...
LONG = 45.0
#: ... so many pairs.
ENOUGH = 3


def paired(result, rivals, rounds, measure, say):
    """Measure this mirror and each rival in adjacent pairs, the order turned each round. `measure(name)` gives a number.

    A rival that fails is shown as wrong; this mirror failing is an error.
    """
    for row in rivals:
        result.rows.append(row)
        if row.wrong:
            continue
        began = time.monotonic()
        for turn in range(rounds):
            if turn >= ENOUGH and time.monotonic() - began > LONG:
                break
            try:
                if turn % 2:
                    row.ours.append(measure("this mirror"))
                    row.theirs.append(measure(row.rival))
                else:
                    theirs = measure(row.rival)
                    row.ours.append(measure("this mirror"))
                    row.theirs.append(theirs)
            except Failed as error:
                if error.name == "this mirror":
                    raise
                row.wrong = str(error)
                break
        say(f"    {row.rival}: {[number(value) for value in row.theirs]} | {[number(value) for value in row.ours]}")
    return result


class Failed(Exception):
    """A server gave no or a wrong answer."""

    def __init__(self, name, why):
        super().__init__(why)
        self.name = name
