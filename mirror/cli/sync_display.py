"""How `mirror sync` shows what it does: a bar on a terminal, plain lines elsewhere, JSON Lines for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from mirror.bundle.plan import Outcome
from mirror.bundle.sync import Report
from mirror.cli.sizes import readable

#: Seconds between two plain lines on how far a long transfer is.
_PERIOD: Final = 30.0


class Display:
    """bundle.sync.Audience. Outcomes go to standard output, progress and notes to standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._began = self._said = time.monotonic()
        self._total = self._came = self._files = self._settled = 0
        self._bar: Progress | None = None
        #: How many revisions `--origin` left out for want of knowledge, by what is not known (`sync_origin.descended`).
        self.left_out: Mapping[str, int] = {}
        self._shared = sys.stdout.isatty()  # with the bar, which then has to let lines through above itself
        if sys.stderr.isatty() and not as_json:
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def planned(self, files: int, size: int) -> None:
        """See `bundle.sync.Audience`."""
        self._files, self._total, self._settled = files, size, 0
        self._began = self._said = time.monotonic()
        if self._bar is not None and files:
            self._bar.add_task(f"{files} files", total=size)
            self._bar.start()
        elif files:
            self.note(f"{files} files wanted, {readable(size)}")

    def spared(self, size: int) -> None:
        """See `bundle.sync.Audience`."""
        self._files, self._total, self._settled = self._files - 1, self._total - size, self._settled - 1
        if self._bar is not None and self._bar.tasks:
            self._bar.update(self._bar.tasks[0].id, total=self._total)

    def came(self, count: int) -> None:
        """See `bundle.sync.Audience`."""
        self._came += count
        if self._bar is not None and self._bar.tasks:
            self._bar.update(self._bar.tasks[0].id, completed=self._came)
        elif time.monotonic() - self._said >= _PERIOD:
            self._said = time.monotonic()
            rate = self._came / max(0.001, self._said - self._began)
            left = max(0, self._total - self._came) / max(1.0, rate)
            self.note(f"{readable(self._came)} of {readable(self._total)}, {readable(int(rate))}/s, {left / 60:.0f} min left")

    def outcome(self, outcome: Outcome) -> None:
        """See `bundle.sync.Audience`."""
        self._settled += 1
        if self._as_json:
            row = {"name": outcome.name, "state": str(outcome.state), "size": outcome.size}
            more = {"sentence": outcome.sentence, "rule": outcome.rule, "decision": outcome.decision}
            self._print(json.dumps(row | {key: value for key, value in more.items() if value}, ensure_ascii=False))
            return
        size = "" if outcome.size is None else readable(outcome.size)
        place = f"  [{self._settled}/{self._files}]" if self._files else ""
        self._print(f"{outcome.state:<9}{size:>10}  {outcome.name}{place}")
        if outcome.sentence:
            rule = f" (rule {outcome.rule})" if outcome.rule and f"'{outcome.rule}'" not in outcome.sentence else ""
            self._print(f"{'':21}{outcome.sentence}{rule}")

    def note(self, text: str) -> None:
        """See `bundle.sync.Audience`."""
        if self._bar is not None:
            self._above(self._bar, text)
        else:
            click.echo(text, err=True)

    def finished(self, report: Report, *, interrupted: bool, where: str) -> None:
        """The last line: how much of what, and how fast."""
        self.__exit__(None, None, None)
        counts = report.counts()
        if self._as_json:
            last = {"counts": counts, "pinned": report.pinned, "unpinned": report.unpinned, "interrupted": interrupted, "mirror": where, **self.left_out}
            self._print(json.dumps({"summary": last}))
            return
        said = [f"{row['count']} {state}" + (f" ({readable(row['bytes'])})" if row["bytes"] else "") for state, row in counts.items()]
        said += [f"{report.pinned} pinned"] if report.pinned else []
        said += [f"{report.unpinned} unpinned"] if report.unpinned else []
        seconds = max(0.001, time.monotonic() - self._began)
        rate = f"; {readable(int(self._came / seconds))}/s" if self._came else ""
        self._print(("interrupted: " if interrupted else "") + (", ".join(said) or "nothing") + rate)

    def _print(self, line: str) -> None:
        if self._bar is not None and self._shared and self._bar.live.is_started:
            self._above(self._bar, line)
        else:
            click.echo(line)

    @staticmethod
    def _above(bar: Progress, line: str) -> None:
        """A line as it is, whatever the terminal's width and whatever it could mean to rich."""
        bar.console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)
