"""`python -m tests.fuzz`: coverage-guided fuzzing of every target, one process each, then many requests to a whole mirror.

    python -m tests.fuzz                         three minutes a target, then the server
    python -m tests.fuzz --seconds 20 routing    one target, shortly
    python -m tests.fuzz --list

A finding is written to `var/fuzz/<target>/`; made small, it belongs into `tests/fuzz/corpus/<target>/found-<what>.bin`,
which `make test` replays. New inputs that reach new code are kept under `var/fuzz/<target>/corpus`.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]
KEPT = HOME / "var" / "fuzz"
SEEDS = Path(__file__).parent / "corpus"  # not from `targets`: what is imported before the fuzzer is set up is not guided


def one(name: str, arguments: list[str]) -> None:
    """In a process of its own: the fuzzer ends it, and instruments every module that is imported here."""
    import atheris

    with atheris.instrument_imports(include=["mirror", "html.parser", "_markupbase", "packaging", "email._parseaddr"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name].check)
    atheris.Fuzz()


def run(name: str, seconds: int, seed: int, words: tuple[str, ...]) -> tuple[int, int, str]:
    """(exit status, executions, last line) of one target."""
    folder = KEPT / name
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    dictionary = folder / "words.dict"
    quoted = ('"' + "".join(f"\\x{byte:02x}" for byte in word.encode()) + '"' for word in words)
    dictionary.write_text("\n".join(quoted) + "\n", encoding="ascii")
    options = [f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=4096", "-timeout=20", "-rss_limit_mb=2048", f"-dict={dictionary}"]
    command = [sys.executable, "-m", "tests.fuzz", "--one", name, *options, f"-artifact_prefix={folder}/", str(folder / "corpus"), str(SEEDS / name)]
    with (folder / "log.txt").open("w", encoding="utf-8", errors="replace") as log:
        status = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, cwd=HOME, check=False).returncode
    said = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
    counts = [int(found) for found in re.findall(r"^#(\d+)|Done (\d+) runs", said, re.MULTILINE) for found in found if found]
    return status, max(counts, default=0), f"{folder}/log.txt"


def main() -> int:
    """0 where nothing was found, 1 otherwise."""
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], sys.argv[3:])
        return 0
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("targets", nargs="*", help="all, where none is named; `server` is the whole mirror")
    parser.add_argument("--seconds", type=int, default=180, help="a target (default 180)")
    parser.add_argument("--seed", type=int, default=0, help="0 takes another one each time")
    parser.add_argument("--list", action="store_true", help="the names")
    options = parser.parse_args()
    names = options.targets or [*TARGETS, "server"]
    if options.list or (unknown := set(names) - {*TARGETS, "server"}):
        print(*TARGETS, "server", sep="\n")
        return 0 if options.list else print(f"unknown: {', '.join(sorted(unknown))}", file=sys.stderr) or 2
    failed = []
    for name in names:
        if name == "server":
            from tests.fuzz.siege import besiege

            count, faults = besiege(options.seconds, options.seed)
            print(f"{name:<14} {count:>9} requests    {'ok' if not faults else faults[:5]}", flush=True)
            failed += [name] if faults else []
            continue
        status, count, log = run(name, options.seconds, options.seed, TARGETS[name].words)
        print(f"{name:<14} {count:>9} executions  {'ok' if status == 0 else f'FOUND (status {status}), see {log}'}", flush=True)
        failed += [name] if status else []
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
