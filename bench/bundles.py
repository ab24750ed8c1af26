"""Writing a bundle and taking it in, hashing included, against `cp` and fsync of the same files: `python -m bench.bundles`.

    carrying   8 files of 128 MiB and 10,000 of 64 KiB: writing the bundle once it is known what goes along, and taking it in
               up to its rows, in turns with `cp -r` of the store's files and `sync -f`
    commands   `mirror bundle export` and `mirror bundle import` as people run them, start, judging and index included, of
               four files of 128 MiB and of sixteen, with the most memory that each took
    rows       the same of 500 and of 2,000 small files: what each file costs beside its bytes

Everything is read from the page cache and each turn finds as much free memory as the others: pages that a virtual machine
must first get from its host would be counted to whoever comes first. Results go to bench/results/bundles.txt; `--quick`
takes small amounts and writes nothing.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.contest.machine import ROOT, moment
from mirror.bundle.gather import Collection
from mirror.bundle.layout import BundleReader, Form
from mirror.bundle.outgoing import Carrier, Sender, written
from mirror.bundle.statement import Signer
from mirror.cli.bundle_incoming import Opened, copied
from mirror.config import Config
from mirror.core.nouns import Artifact, Blob, Digest, Entry, Kind, Project
from mirror.store.disk import blob_path
from tests.bundle.test_carried import enrolled, here
from tests.support.mirror import ALLOW_ALL, MirrorProcess, clean_environment, running_mirror

MIB = 1024 * 1024
CREATED = datetime(2026, 11, 22, tzinfo=UTC)
RESULTS = ROOT / "bench" / "results" / "bundles.txt"
WANTED = 0.8
ROUNDS = 5


# --- how long ---------------------------------------------------------------------------------------------------------


def seconds(folder: Path, size: int, work: Callable[[], object]) -> float:
    """How long it takes to handle `size` bytes, with memory at hand and nothing left to be written from before."""
    with (folder / "pages").open("wb") as file:
        for _ in range(size // MIB + 1):
            file.write(bytes(MIB))
    (folder / "pages").unlink()
    os.sync()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def plain(source: Path, target: Path) -> None:
    """Copy, and wait until it is on the disk."""
    subprocess.run(["cp", "-r", str(source), str(target)], check=True)
    subprocess.run(["sync", "-f", str(target)], check=True)


def told(name: str, size: int, times: dict[str, list[float]]) -> str:
    """A line: rates of copying, exporting and importing, and how the latter two compare with the first."""
    rates = {work: size / MIB / statistics.median(taken) for work, taken in times.items()}
    lines = f"{name}: cp {rates['cp']:,.0f} MiB/s"
    for work in ("export", "import"):
        ratios = [there / one for there, one in zip(times["cp"], times[work], strict=True)]
        lines += f"; {work} {rates[work]:,.0f} MiB/s, {rates[work] / rates['cp']:.2f} of cp ({min(ratios):.2f} - {max(ratios):.2f})"
    return lines


# --- the carrying alone -----------------------------------------------------------------------------------------------


def filled(data: Path, count: int, size: int) -> Collection:
    """A store with `count` files of `size` bytes, and what a bundle of all of them holds."""
    found, seed = Collection(data), os.urandom(size)
    project = Project("huggingface", Kind.MODEL, "acme/heavy", "huggingface", "0")
    for number in range(count):
        head = number.to_bytes(8, "big")
        hashed = sha256(head)
        hashed.update(memoryview(seed)[8:])
        digest = Digest("sha256", hashed.hexdigest())
        path = blob_path(data, digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(head)
            file.write(memoryview(seed)[8:])
        found.entry(Entry(Artifact(project, "c" * 40, f"part-{number}"), Blob(digest, size), (), CREATED, digest))
    os.sync()
    return found


def carrying(folder: Path, count: int, size: int, rounds: int) -> str:
    """The same files copied, exported and imported in turns."""
    hq, lab, whole = folder / "hq", folder / "lab", count * size
    found, key = filled(hq, count, size), Ed25519PrivateKey.generate()
    signer = Signer(key.public_key(), "hq")
    times: dict[str, list[float]] = {"cp": [], "export": [], "import": []}
    for turn in range(rounds):
        times["cp"].append(seconds(folder, whole, lambda: plain(hq / "blobs", folder / "copy")))
        shutil.rmtree(folder / "copy")
        sender = Sender(hq, key, f"turn-{turn}", CREATED, "bench", "")
        carrier = Carrier(folder / "bundle", Form.DIRECTORY, None)
        times["export"].append(seconds(folder, whole, lambda sender=sender, carrier=carrier: written(sender, found, None, carrier)))  # type: ignore[misc]
        config = replace(Config(), data=lab)
        with BundleReader(folder / "bundle") as reader:
            opened = Opened(reader, reader.signed({signer.id: signer}), "", (), {}, (signer,))
            blobs = [Blob(part.digest, part.size) for part, _ in found.parts.values()]
            times["import"].append(seconds(folder, whole, lambda opened=opened, config=config, blobs=blobs: copied(config, opened, blobs, lambda _: None)))  # type: ignore[misc]
        shutil.rmtree(lab)
        shutil.rmtree(folder / "bundle")
    shutil.rmtree(hq)
    return told(f"carrying {count:,} files of {size / MIB:g} MiB", whole, times)


# --- the commands -----------------------------------------------------------------------------------------------------


@dataclass
class Ran:
    """Seconds and bytes of memory of a command."""

    seconds: float = 0.0
    memory: int = 0


def resident(pid: int) -> int:
    """The most bytes that a process had in memory so far, since it became what it is (its parent's do not count)."""
    with suppress(OSError):
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0
    return 0


def command(mirror: MirrorProcess, *words: str) -> Ran:
    """Run a command of the mirror at `mirror`. Exits where it fails."""
    line = [sys.executable, "-m", "mirror.cli.main", "-c", str(mirror.folder / "mirror.yaml"), *words]
    started = time.perf_counter()
    with (mirror.folder / "said").open("w") as said:
        process = subprocess.Popen(line, env={**clean_environment(), "PYTHONPATH": str(ROOT)}, cwd=mirror.folder, stdout=said, stderr=said)
        memory = 0
        while process.poll() is None:
            memory = max(memory, resident(process.pid))
            time.sleep(0.01)
    ran = Ran(time.perf_counter() - started, memory)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}: {(mirror.folder / 'said').read_text()[-1000:]}")
    return ran


@contextmanager
def sending(folder: Path, count: int, size: int, large: bool) -> Iterator[MirrorProcess]:
    """A mirror that has these files of a data set in its store."""
    amounts = json.dumps([count, size, 10**12, large])
    upstream = subprocess.Popen([sys.executable, "-m", "bench.sync", "--upstream", amounts], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert upstream.stdout is not None
        urls = json.loads(upstream.stdout.readline())
        stand = type("Urls", (), {"url": urls["hub"], "cdn_url": urls["cdn"]})
        with running_mirror(folder, stand, None, ALLOW_ALL) as mirror:
            command(here(mirror), "sync", "--dataset", "acme/wanted", "--json")
            yield mirror
    finally:
        upstream.terminate()
        upstream.wait(30)


def commands(folder: Path, count: int, size: int, rounds: int, large: bool) -> tuple[str, int]:
    """The two commands and a copy in turns, and the most memory that either took."""
    whole, most = count * size, {"export": 0, "import": 0}
    times: dict[str, list[float]] = {"cp": [], "export": [], "import": []}
    with sending(folder / "hq", count, size, large) as hq:
        for turn in range(rounds):
            times["cp"].append(seconds(folder, whole, lambda: plain(hq.folder / "data" / "blobs", folder / "copy")))
            shutil.rmtree(folder / "copy")
            config = {"listen": {"host": "127.0.0.1", "port": 0}, "network": "offline", "trust": {"verify": [str(enrolled(hq, folder / "cards"))]}}
            lab = MirrorProcess(folder / "lab", config, ALLOW_ALL)
            lab.start().stop()
            for work, mirror, words in (
                ("export", hq, ("export", "--dataset", "acme/wanted", "-o", str(folder / "bundle"), "--form", "dir", "--name", f"turn-{turn}")),
                ("import", lab, ("import", str(folder / "bundle"))),
            ):
                ran = Ran()
                seconds(folder, whole, lambda mirror=mirror, words=words, ran=ran: ran.__dict__.update(vars(command(mirror, "bundle", *words))))  # type: ignore[misc]
                times[work].append(ran.seconds)
                most[work] = max(most[work], ran.memory)
            shutil.rmtree(folder / "lab")
            shutil.rmtree(folder / "bundle")
    memory = ", ".join(f"{work} {most[work] / MIB:,.0f} MiB of memory" for work in most)
    return f"{told(f'commands, {count:,} files of {size / MIB:g} MiB', whole, times)}; {memory}", max(most.values())


def main() -> int:
    """Print when and on what, and a line for each; 1 where less than what is wanted came out."""
    quick = "--quick" in sys.argv
    lines = [f"# python -m bench.bundles: {moment()}"]  # type: ignore[no-untyped-call]
    rounds = 1 if quick else ROUNDS

    def line(text: str) -> None:
        lines.append(text)
        print(text, flush=True)

    print(lines[0], flush=True)
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR"), prefix="bench-bundles-") as folder:
        for count, size in ((2, 128 * MIB), (500, 64 * 1024)) if quick else ((8, 128 * MIB), (10_000, 64 * 1024)):
            line(carrying(Path(folder), count, size, rounds))
        line(f"carrying took {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB * 1024:,.0f} MiB of memory at most, the files' making included")
        for amounts in (((1, 32 * MIB), (4, 32 * MIB)) if quick else ((4, 128 * MIB), (16, 128 * MIB)), ((50, 20_000), (400, 20_000)) if quick else ((500, 20_000), (2_000, 20_000))):
            memory = []
            for count, size in amounts:
                text, most = commands(Path(folder) / f"{count}-{size}", count, size, min(rounds, 3), size > MIB)
                memory.append(most)
                line(text)
            line(f"  memory with {amounts[1][0]:,} files for that with {amounts[0][0]:,}: {memory[1] / memory[0]:.2f}")
    if not quick:
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
