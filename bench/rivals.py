"""This mirror beside nginx, proxpi, devpi and olah, in front of the same local upstreams: `python -m bench.rivals`.

Every server has one worker on one core; load comes from another core. This mirror runs with its ledger, its log in a file
and a policy of twenty rules. Each rival is measured in pairs with it - A B, B A, ... - and what counts is the median of the
pairs' ratios, shown with its least and its most. Before a server is timed its answer is compared with what upstream has:
one that gives something else is shown as wrong.

    python -m bench.rivals                           everything, to bench/results/rivals.txt
    python -m bench.rivals --rows small-page,wheel   these rows; the file keeps the others
    python -m bench.rivals --missing                 what the file does not have from this commit: goes on where a run was cut off
    python -m bench.rivals --quick                   small amounts and one short round: does it all run?

nginx and wrk are Debian's packages, installed where they are missing and the user is root; the other mirrors are installed
from PyPI into environments of their own. What cannot run here is left out, and the result says so.
"""

from __future__ import annotations

import sys

from bench.contest import far_cases, running, warm
from bench.contest.command import Command, policy_note

ROWS = {
    "small-page": warm.small_page, "large-page": warm.large_page, "wheel": warm.wheel, "large-file": warm.large_file,
    "small-get": warm.small_get, "small-head": warm.small_head, "cold-stream": far_cases.cold_stream,
    "cold-ranges": far_cases.cold_ranges, "first-byte": far_cases.first_byte, "snapshot": far_cases.snapshot,
    "eight-clients": far_cases.eight_clients,
}  # fmt: skip


def notes():
    """Who was measured, by version."""
    return [f"{policy_note()}; one worker each", "beside " + ", ".join(running.versions())]


COMMAND = Command("bench.rivals", __doc__.splitlines()[0], ROWS, ("nginx", "wrk"), notes)

if __name__ == "__main__":
    sys.exit(COMMAND.main(sys.argv[1:]))
