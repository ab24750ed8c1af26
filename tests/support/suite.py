"""The whole suite in several processes: `python -m tests.support.suite [what pytest takes]`.

Real sockets, clients and clocks on a machine that others use as well: now and then a test is starved rather than right or
wrong. Up to five that failed in company are asked once more, alone, and both answers stay in what is printed. What is
broken fails twice; more than five are not asked again. A test that needs to be asked twice is itself to be mended.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FEW = 5
TESTS_FAILED = 1
EVERY = ["-m", "not torture and not conformance"]
#: More than two cores: much of a test is waiting. A file's tests stay together, for what they share.
TOGETHER = ["--numprocesses", "4", "--dist", "loadfile", "--no-loadscope-reorder", "--cache-clear"]


def pytest(root: Path, *arguments: str) -> int:
    """Run pytest in `root` and give its exit status."""
    return subprocess.run([sys.executable, "-m", "pytest", *EVERY, *arguments], cwd=root, check=False).returncode


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Run the tests of `root`; 0 when each of them passed, if need be alone."""
    status = pytest(root, *TOGETHER, *arguments)
    record = root / ".pytest_cache/v/cache/lastfailed"
    failed = sorted(json.loads(record.read_text())) if status == TESTS_FAILED and record.exists() else []
    if not 0 < len(failed) <= FEW:
        return status
    print(f"\nonce more, alone: {', '.join(failed)}", flush=True)
    return pytest(root, "--last-failed", "--last-failed-no-failures", "none")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
