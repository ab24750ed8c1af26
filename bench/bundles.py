"""Writing and taking in a bundle against `cp` and fsync of the same files, hashing included: `python -m bench.bundles [--quick]`.

Export is what `mirror bundle export` does once it knows what goes along; import what `mirror bundle import` does with a bundle
that was judged, up to its rows. Both hash every byte; `cp -r` and `sync -f` of the same files do not.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.contest.machine import moment
from mirror.bundle.gather import Collection
from mirror.bundle.layout import BundleReader, Form
from mirror.bundle.outgoing import Carrier, Sender, written
from mirror.bundle.statement import Signer
from mirror.cli.bundle_incoming import Opened, copied
from mirror.config import Config
from mirror.core.nouns import Artifact, Blob, Digest, Entry, Kind, Project
from mirror.store.disk import blob_path

MIB = 1024 * 1024
CREATED = datetime(2026, 11, 22, tzinfo=UTC)


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


def seconds(work: object) -> float:
    """How long it takes, with nothing left to be written from before."""
    os.sync()
    started = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - started


def plain(source: Path, target: Path) -> None:
    """Copy, and wait until it is on the disk."""
    subprocess.run(["cp", "-r", str(source), str(target)], check=True)
    subprocess.run(["sync", "-f", str(target)], check=True)


def measured(folder: Path, count: int, size: int) -> None:
    """One line: the same files copied, exported and imported, each twice and the better one told."""
    hq, lab = folder / "hq", folder / "lab"
    found, key = filled(hq, count, size), Ed25519PrivateKey.generate()
    signer = Signer(key.public_key(), "hq")
    times: dict[str, list[float]] = {"cp": [], "export": [], "import": []}
    for turn in range(2):
        times["cp"].append(seconds(lambda: plain(hq / "blobs", folder / "copy")))
        shutil.rmtree(folder / "copy")
        sender = Sender(hq, key, f"turn-{turn}", CREATED, "bench", "")
        carrier = Carrier(folder / "bundle", Form.DIRECTORY, None)
        times["export"].append(seconds(lambda sender=sender, carrier=carrier: written(sender, found, None, carrier)))
        config = replace(Config(), data=lab)
        with BundleReader(folder / "bundle") as reader:
            opened = Opened(reader, reader.signed({signer.id: signer}), "", (), {}, (signer,))
            blobs = [Blob(part.digest, part.size) for part, _ in found.parts.values()]
            times["import"].append(seconds(lambda opened=opened, config=config, blobs=blobs: copied(config, opened, blobs, lambda _: None)))
        shutil.rmtree(lab)
        shutil.rmtree(folder / "bundle")
    best = {name: min(taken) for name, taken in times.items()}
    total = count * size / MIB
    ratios = "  ".join(f"{name} {total / best[name]:>6,.0f} MiB/s ({best['cp'] / best[name]:.2f} of cp)" for name in ("export", "import"))
    print(f"{count:>6,} files of {size / MIB:>8.3f} MiB: cp {total / best['cp']:>6,.0f} MiB/s  {ratios}")
    shutil.rmtree(hq)


def main() -> None:
    """Print when and on what, a line for few large and one for many small files, and the most memory that was used."""
    quick = "--quick" in sys.argv
    print(f"# python -m bench.bundles: {moment()}")
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        measured(Path(folder), 2 if quick else 8, 128 * MIB)
        measured(Path(folder), 500 if quick else 10_000, 64 * 1024)
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB of memory at most")


if __name__ == "__main__":
    main()
