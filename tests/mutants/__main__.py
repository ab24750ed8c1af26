"""`make mutants`: the tests are green on the code as it is, and each goes red on its mutant.

Works on copies in a temporary folder and never touches the tree. Exit code 1 when a mutant survives, cannot be judged, or
no longer fits the code; 2 when the tests are not green to begin with or the arguments name nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import cache_from_source
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.listed import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
#: What a test needs of the tree.
COPIED = ("mirror", "config", "docs", "tests", "pyproject.toml", "README.md")
AT_ONCE = 2
SECONDS_A_TEST = 60
STALE, KILLED, SURVIVED, BROKEN = "STALE", "killed", "SURVIVED", "BROKEN"


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant."""

    mutant: Mutant
    state: str
    seconds: float
    said: str = ""


def copy(folder: Path) -> Path:
    """A copy of the tree, without what running it left behind."""
    folder.mkdir()
    left_out = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=left_out)
        elif source.exists():
            shutil.copy2(source, folder / name)
    return folder


def python(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python on a copy: its package comes first, here and in every process that a test starts."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("MIRROR_", "PYTEST_"))}
    return subprocess.run(
        [sys.executable, *arguments], cwd=tree, env={**environ, "PYTHONPATH": str(tree)}, capture_output=True, text=True, check=False, timeout=900
    )


def pytest(tree: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """These tests on a copy."""
    options = ["-m", "pytest", "-q", "-x", "--no-header", "--tb=no", "-p", "no:cacheprovider",
               f"--timeout={SECONDS_A_TEST}", f"--basetemp={tree}.tmp", *tests]  # fmt: skip
    return python(tree, *options)


def last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if re.search(r"\d+ (passed|failed|error)|no tests ran", line)), text[-300:])


@contextmanager
def applied(tree: Path, mutant: Mutant) -> Iterator[None]:
    """The mutant's edits, undone at the end. Raises `LookupError` where an old text does not stand exactly once."""
    before: dict[Path, str] = {}
    try:
        for name, old, new in mutant.edits:
            path = tree / name
            text = path.read_text(encoding="utf-8")
            before.setdefault(path, text)  # a file may have several edits: the first reading is the one to go back to
            if text.count(old) != 1:
                raise LookupError(f"{name} has the old text {text.count(old)} times")
            replace(path, text.replace(old, new))
        yield
    finally:
        for path, text in before.items():
            replace(path, text)


def replace(path: Path, text: str) -> None:
    """Write a module anew; a compiled one of the same second and size would be taken for it."""
    path.write_text(text, encoding="utf-8")
    Path(cache_from_source(str(path))).unlink(missing_ok=True)


def judge(tree: Path, mutant: Mutant) -> Outcome:
    """Red by a failed test is killed; red by anything else (nothing collected, a fixture) proves nothing."""
    start = time.monotonic()
    try:
        with applied(tree, mutant):
            done = pytest(tree, mutant.test)
    except LookupError as error:
        return Outcome(mutant, STALE, 0.0, str(error))
    said = last_line(done.stdout + done.stderr)
    failed = done.returncode == 1 and re.search(r"\b\d+ failed\b", said)
    state = KILLED if failed else SURVIVED if done.returncode == 0 else BROKEN
    return Outcome(mutant, state, time.monotonic() - start, said)


def green(trees: Sequence[Path], mutants: Sequence[Mutant]) -> list[str]:
    """Runs each test once without any mutant; gives the complaints."""
    tests = sorted({mutant.test for mutant in mutants})
    shares = [share for share in (tests[at :: len(trees)] for at in range(len(trees))) if share]
    with ThreadPoolExecutor(len(trees)) as pool:
        done = [future.result() for future in [pool.submit(pytest, tree, *share) for tree, share in zip(trees, shares, strict=False)]]
    return [last_line(one.stdout + one.stderr) + "\n" + one.stdout[-2000:] for one in done if one.returncode != 0]


def table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """`mutant | test | outcome`, aligned."""
    wide = max(len(one.mutant.name) for one in outcomes)
    rows = max(len(one.mutant.traps) for one in outcomes)
    for one in outcomes:
        more = "" if one.state == KILLED else f"   {one.said}"
        yield f"{one.mutant.name:{wide}} | {one.mutant.traps:{rows}} | {one.mutant.test} | {one.state}{more}"


def renewed(file: Path, outcomes: Sequence[Outcome]) -> str:
    """The last whole run's text with the rows of these mutants in place of theirs, and a line that says so."""
    old = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    names = {outcome.mutant.name for outcome in outcomes}
    kept = [line for line in old if line.partition(" | ")[0].strip() not in names]
    again = f"judged again by themselves on {datetime.now(UTC).date().isoformat()}: {', '.join(sorted(names))}"
    return "\n".join([*kept, again, *table(outcomes), ""])


def main() -> int:
    """Judge all mutants, or those named by --only; print the table."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--only", metavar="NAME", action="append", default=[], help="this mutant only (may be repeated)")
    parser.add_argument("--write", metavar="FILE", type=Path, help="write the table there too, with the date (with --only: those rows)")
    arguments = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if not arguments.only or mutant.name in arguments.only]
    unknown = set(arguments.only) - {mutant.name for mutant in chosen}
    if unknown or not chosen:
        print(f"no mutant is called {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        trees = [copy(Path(folder) / f"tree{number}") for number in range(AT_ONCE)]
        used = python(trees[0], "-c", "import mirror; print(mirror.__file__)").stdout.strip()
        if not used.startswith(str(trees[0])):
            print(f"the copy is not what Python imports, but {used}", file=sys.stderr)
            return 2
        complaints = green(trees, chosen)
        if complaints:
            print("the tests are not green without any mutant:", *complaints, sep="\n")
            return 2
        tests = len({mutant.test for mutant in chosen})
        first = f"without a mutant: {tests} tests, all green"
        print(first, flush=True)
        free: SimpleQueue[Path] = SimpleQueue()
        for tree in trees:
            free.put(tree)

        def one(mutant: Mutant) -> Outcome:
            tree = free.get()
            try:
                outcome = judge(tree, mutant)
            finally:
                free.put(tree)
            print(f"  {outcome.state:8} {mutant.name} ({outcome.seconds:.1f} s)", flush=True)
            return outcome

        with ThreadPoolExecutor(AT_ONCE) as pool:
            outcomes = list(pool.map(one, chosen))
    killed = sum(outcome.state == KILLED for outcome in outcomes)
    last = f"{killed} of {len(outcomes)} mutants killed in {time.monotonic() - start:.0f} s"
    lines = [first, *table(outcomes), last]
    print(*lines[1:], sep="\n")
    if arguments.write is not None:
        stamp = f"make mutants, {datetime.now(UTC).date().isoformat()}, Python {platform.python_version()}, {platform.system()}"
        text = renewed(arguments.write, outcomes) if arguments.only else "\n".join([stamp, *lines, ""])
        arguments.write.write_text(text, encoding="utf-8")
    return 0 if killed == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
