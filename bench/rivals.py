"""This mirror beside nginx, proxpi, devpi and olah, in front of the same local upstreams: `python -m bench.rivals`.

Every server has one worker on one core; load comes from another core. This mirror runs with its ledger, its log in a file
and a policy of twenty rules. Each rival is measured in pairs with it - A B, B A, ... - and what counts is the median of the
pairs' ratios, shown with its least and its most. Before a server is timed its answer is compared with what upstream has:
one that gives something else is shown as wrong.

    python -m bench.rivals                      everything, to bench/results/rivals.txt
    python -m bench.rivals --only small-page    one case (repeatable)
    python -m bench.rivals --quick              small amounts and one short round: does it all run?

nginx and wrk are Debian's packages, installed where they are missing and the user is root; the other mirrors are installed
from PyPI into environments of their own. What cannot run here is left out, and the result says so.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.contest import content, far_cases, limits, machine, running, warm
from bench.contest.field import Field
from bench.contest.house import RULES
from bench.contest.load import Wrong
from bench.contest.table import Failed

CASES = {
    "small-page": warm.small_page,
    "large-page": warm.large_page,
    "wheel": warm.wheel,
    "large-file": warm.large_file,
    "small-get": warm.small_get,
    "small-head": warm.small_head,
    "cold-stream": far_cases.cold_stream,
    "cold-ranges": far_cases.cold_ranges,
    "first-byte": far_cases.first_byte,
    "snapshot": far_cases.snapshot,
    "crowd": limits.crowd,
    "slow-readers": limits.slow_readers,
    "start": limits.start,
}
RESULTS = Path(__file__).parent / "results" / "rivals.txt"


@dataclass
class Run:
    """How long and how often is measured, and where progress is told."""

    rounds: int
    seconds: float
    quick: bool

    def say(self, text):
        """Progress, for who waits."""
        print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.rivals", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, help="pairs with each rival (default 5)")
    parser.add_argument("--seconds", type=float, help="length of one measurement (default 4)")
    parser.add_argument(
        "--only", action="append", choices=CASES, metavar="CASE", help=f"one of {', '.join(CASES)}; repeatable"
    )
    parser.add_argument("--quick", action="store_true", help="small amounts, one round of a second")
    parser.add_argument(
        "--out", type=Path, help=f"where the result goes (default {RESULTS.name} for a whole run, else nowhere)"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers are stopped and files removed on the way out
    run = Run(
        options.rounds or (1 if options.quick else 5), options.seconds or (1.0 if options.quick else 4.0), options.quick
    )
    amounts = content.QUICK if options.quick else content.Amounts()
    machine.debian("nginx", "wrk")
    head = [f"# python -m bench.rivals {shlex.join(sys.argv[1:])}".rstrip(), *machine.described()]
    head += [
        f"{run.rounds} pairs with each rival, {run.seconds:g} s each; this mirror with a policy of {RULES} rules, ledger and log on; one worker each"
    ]
    texts, started = [], time.monotonic()
    with Field(amounts, run.say) as field:
        for name in options.only or CASES:
            run.say(f"{time.monotonic() - started:6.0f} s  {name}")
            try:
                shown = [result.text() for result in CASES[name](field, run)]
            except (
                Failed,
                Wrong,
                running.NotHere,
                OSError,
                RuntimeError,
            ) as error:  # the other cases are still worth having
                shown = [
                    f"{name}\n  {getattr(error, 'name', 'not measured')}: {type(error).__name__}: {str(error).strip().splitlines()[-1]}"
                ]
            texts += shown
            print("", *shown, sep="\n", flush=True)
        head += ["beside " + ", ".join(running.versions())]
        head += [f"left out: {name}: {why}" for name, why in field.left_out.items()]
    text = "\n\n".join(["\n".join(head), *texts]) + "\n"
    out = options.out or (RESULTS if not options.only and not options.quick else None)
    if out is not None:
        out.parent.mkdir(exist_ok=True)
        out.write_text(text, encoding="utf-8")
    print(f"\n{head[0]}", *head[1:], sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
