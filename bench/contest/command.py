"""The command of `bench.rivals` and of `bench.capacity`: rows one after the other, each on file as soon as it is measured."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.contest import content, machine, running
from bench.contest.field import Field
from bench.contest.house import RULES
from bench.contest.load import Wrong
from bench.contest.report import Report, Section
from bench.contest.table import Failed

RESULTS = machine.ROOT / "bench" / "results"


@dataclass
class Run:
    """How often and how long is measured: `rounds` of what is quick, `few` of what takes long, `seconds` each time."""

    rounds: int
    few: int
    seconds: float
    quick: bool

    def say(self, text):
        """Progress, for who waits."""
        print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Command:
    """What makes one of the two: its name, its rows (name to function of a `Field` and a `Run`), and notes for the head of its file."""

    name: str
    about: str
    rows: dict
    debian: tuple = ()
    notes: object = list

    def main(self, words):
        """Measure; 1 where a row could not be measured."""
        options = self._options(words)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers are stopped and files removed on the way out
        run = Run(options.rounds, min(3, options.rounds), options.seconds, options.quick)
        out = options.out or (None if options.quick else RESULTS / f"{self.name.rpartition('.')[2]}.txt")
        report = Report.read(out or RESULTS / "nowhere", f"python -m {self.name}", self.rows)
        chosen = [name for name in options.rows or self.rows if not options.missing or name in report.missing(machine.commit())]
        machine.debian(*self.debian)
        failed, began = [], time.monotonic()
        with Field(content.QUICK if options.quick else content.Amounts(), run.say) as field:
            for name in chosen:
                run.say(f"{time.monotonic() - began:6.0f} s  {name}")
                section = self._measured(name, field, run)
                failed += [] if section else [name]
                if section and out is not None:
                    report.notes = [machine.described(), *self.notes(), *(f"left out: {one}: {why}" for one, why in field.left_out.items())]
                    report.put(name, section)
        run.say(f"{time.monotonic() - began:6.0f} s  done" + (f"; not measured: {', '.join(failed)}" if failed else ""))
        return 1 if failed else 0

    def _measured(self, name, field, run):
        """A row's section, printed; None where it could not be measured: what stands in the file then stays."""
        stamp = f"{machine.moment()}, {run.rounds} rounds of {run.seconds:g} s" + (", small amounts" if run.quick else "")
        try:
            text = "\n".join(result.text() for result in self.rows[name](field, run))
        except (Failed, Wrong, running.NotHere, OSError, RuntimeError) as error:  # the other rows are still worth having
            why = (str(error).strip().splitlines() or [""])[-1]
            print(f"\n== {name}: not measured: {getattr(error, 'name', 'the measurement')}: {type(error).__name__}: {why}", flush=True)
            return None
        print(f"\n== {name}: {stamp}", text, sep="\n", flush=True)
        return Section(stamp, text)

    def _options(self, words):
        parser = argparse.ArgumentParser(prog=f"python -m {self.name}", description=self.about)
        parser.add_argument("--rows", type=self._chosen, metavar="A,B", help=f"some of {', '.join(self.rows)}")
        parser.add_argument("--missing", action="store_true", help="leave out rows that are on file from this commit")
        parser.add_argument("--rounds", type=int, help="pairs with each rival (5; of what takes long at most 3)")
        parser.add_argument("--seconds", type=float, help="length of one measurement (2)")
        parser.add_argument("--quick", action="store_true", help="small amounts, one round of a second, nothing on file")
        parser.add_argument("--out", type=Path, help="where the result goes, its other rows kept (bench/results/)")
        options = parser.parse_args(words)
        options.rounds = options.rounds or (1 if options.quick else 5)
        options.seconds = options.seconds or (1.0 if options.quick else 2.0)
        return options

    def _chosen(self, text):
        names = text.split(",")
        if unknown := [name for name in names if name not in self.rows]:
            raise argparse.ArgumentTypeError(f"no row {', '.join(unknown)}; there are {', '.join(self.rows)}")
        return names


def policy_note():
    """What this mirror carries while it is measured."""
    return f"this mirror with a policy of {RULES} rules, ledger and log on"
