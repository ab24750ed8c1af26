"""What a run tried, counted: a test says `record_property("tried", {"kills": 300})`, and the end of the run adds it all up.

`pytest -p tests.support.tally --tally FILE` keeps a row a test in FILE, with when and on what it ran last: a run of some of
them replaces theirs and leaves the others. The sums are those of all rows.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
_ROW = re.compile(r"(?P<outcome>[a-z]+) (?P<test>\S+)\n    (?P<stamp>.*), (?P<seconds>\d+) s\n    (?P<tried>.*)\n?")


@dataclass(frozen=True)
class Row:
    """How one test ended, when and on what it ran (a line), how long, and what it tried."""

    outcome: str
    stamp: str
    seconds: int
    tried: dict[str, int]

    def text(self, test: str) -> str:
        return f"{self.outcome} {test}\n    {self.stamp}, {self.seconds} s\n    {said(self.tried)}\n"


def said(tried: dict[str, int]) -> str:
    """`300 kills, 12,345 requests`."""
    return ", ".join(f"{count:,} {what}" for what, count in tried.items()) or "nothing counted"


def rows(text: str) -> dict[str, Row]:
    """The rows of a file, by test."""
    found = {}
    for row in _ROW.finditer(text):
        counts = (part.partition(" ") for part in row["tried"].split(", ") if part[:1].isdigit())
        tried = {what: int(count.replace(",", "")) for count, _, what in counts}
        found[row["test"]] = Row(row["outcome"], row["stamp"], int(row["seconds"]), tried)
    return found


def page(found: dict[str, Row]) -> str:
    """The whole file: sums, then the rows in the order of their names."""
    total: Counter[str] = Counter()
    for row in found.values():
        total.update(row.tried)
    failed = sorted(test for test, row in found.items() if row.outcome != "passed")
    head = [
        f"# make torture: {len(found)} tests, {sum(row.seconds for row in found.values()) / 60:.0f} min, {len(failed)} failed",
        f"# altogether {said(dict(total))}",
    ]
    return "\n".join([*head, "", *(found[test].text(test) for test in sorted(found))])


class Tally:
    """Gathers reports; `target` is the file to keep, if any."""

    def __init__(self, target: Path | None) -> None:
        self.target, self.stamp = target, f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, commit {commit()}, {os.cpu_count()} cores"
        self.found: dict[str, Row] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        tried: Counter[str] = Counter()
        for name, value in report.user_properties:
            tried.update(value if name == "tried" else {})
        if report.when == "call" or report.outcome == "failed":
            self.found[report.nodeid] = Row(report.outcome, self.stamp, round(report.duration), dict(tried))
        elif report.when == "teardown" and report.nodeid in self.found:  # a fixture may count too
            self.found[report.nodeid] = replace(self.found[report.nodeid], tried=dict(tried))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self.found:
            return
        terminalreporter.section("what was tried")
        terminalreporter.write_line(page(self.found))
        if self.target is not None:
            before = rows(self.target.read_text(encoding="utf-8")) if self.target.exists() else {}
            self.target.write_text(page(before | self.found), encoding="utf-8")


def commit() -> str:
    """The checked-out commit, with a + where the product differs from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "unknown") + "+" * bool(git("status", "--porcelain", "-uno", "--", "mirror"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--tally", metavar="FILE", type=Path, help="where the sums of what was tried are kept")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Tally(config.getoption("--tally")), "tally")
