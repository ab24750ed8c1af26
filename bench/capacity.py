"""Many clients, slow clients, many entries: memory, bytes from upstream, time to start. `python -m bench.capacity`.

    crowd          64 clients want one cold file of 1 GiB at once, over two workers
    slow-readers   1,000 clients read hardly anything of a warm file of 1 GiB, beside one that reads quickly; nginx for comparison
    start          from the command to the line that says `ready`, with a thousand and with a million entries: rows and files

Memory is PSS of all processes, sampled four times a second, beyond what they took when idle and warmed up. Results go to
bench/results/capacity.txt; `--rows crowd` measures one, `--quick` takes small amounts and writes nothing.
"""

from __future__ import annotations

import sys

from bench.contest import limits
from bench.contest.command import Command, policy_note

ROWS = {"crowd": limits.crowd, "slow-readers": limits.slow_readers, "start": limits.start}


COMMAND = Command("bench.capacity", __doc__.splitlines()[0], ROWS, ("nginx",), lambda: [policy_note()])

if __name__ == "__main__":
    sys.exit(COMMAND.main(sys.argv[1:]))
