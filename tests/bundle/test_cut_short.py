"""An import that is killed: nothing of the bundle can be seen, and the next run completes it."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from tests.bundle.test_carried import enrolled, here, until
from tests.support import preloaded
from tests.support.mirror import ALLOW_ALL, MirrorProcess, clean_environment, running_mirror
from tests.support.standin import running_hub, running_index

FILES = 40
SIZE = 300_000


@pytest.fixture(scope="module")
def sender(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sender")
    rng = random.Random(7)
    with running_hub() as hub, running_index() as index:
        hub.add_repo("model", "acme/heavy", {"config.json": b"{}"}, lfs={f"part-{number:02}.bin": rng.randbytes(SIZE) for number in range(FILES)})
        with running_mirror(folder, hub, index, ALLOW_ALL) as mirror:
            here(mirror)
            (folder / "wants.yaml").write_text("version: 1\nname: heavy\nmodels: [{id: acme/heavy}]\n")
            mirror.command("bundle", "export", "wants.yaml", "-o", str(folder / "heavy.tar"))
            yield mirror


def stored(lab: MirrorProcess) -> list[Path]:
    return list((lab.folder / "data" / "blobs" / "sha256").glob("*/*/*"))


def copied(lab: MirrorProcess) -> int:
    """Files that have come, with a name or not yet."""
    return len(stored(lab)) + sum(1 for _ in (lab.folder / "data" / "incoming").glob("*"))


def names(lab: MirrorProcess) -> int:
    path = lab.folder / "data" / "index.sqlite"
    if not path.exists():
        return 0
    with sqlite3.connect(path) as database:
        try:
            return int(database.execute("SELECT count(*) FROM entries").fetchone()[0])
        except sqlite3.OperationalError:  # killed before there was a table
            return 0


def killed(lab: MirrorProcess, bundle: Path, holds) -> bool:
    """Begin to import, and kill as soon as `holds`; False where it ended first."""
    process = preloaded.start(
        ["-c", str(lab.folder / "mirror.yaml"), "bundle", "import", str(bundle)], cwd=lab.folder, env=clean_environment(), stderr=(lab.folder / "log").open("a")
    )
    while process.poll() is None:
        if holds():
            process.send_signal(signal.SIGKILL)
            process.wait(20)
            return True
        time.sleep(0.0005)
    return False


@pytest.mark.parametrize("serving", [False, True], ids=["nobody serves", "while serving"])
def test_an_import_killed_anywhere_leaves_nothing_or_goes_on(sender, tmp_path, serving):
    """Killed while files are copied, again and again, nothing can be seen; then all of it can, byte for byte, and what was copied was not copied again."""
    cards = enrolled(sender, tmp_path / "cards")
    config = {"listen": {"host": "127.0.0.1", "port": 0}, "network": "offline", "trust": {"verify": [str(cards)]}}
    lab = MirrorProcess(tmp_path / "lab", config, ALLOW_ALL)
    here(lab.start())
    if not serving:
        lab.stop()
    bundle = sender.folder / "heavy.tar"
    target = "/acme/heavy/resolve/main/part-07.bin"
    try:
        for step in (1, 9, 23, FILES):
            assert killed(lab, bundle, lambda step=step: (len(stored(lab)) if step == FILES else copied(lab)) >= step)
            assert names(lab) in (0, FILES + 1)  # the last kill may come after the one transaction
            if serving and names(lab) == 0:
                assert lab.get(target).status == 404
        kept = {path: path.stat().st_ino for path in stored(lab)}
        assert len(kept) >= FILES
        told = json.loads(lab.command("bundle", "import", str(bundle), "--json", "--allow-rollback").stdout)
        assert (told["files"], told["refused"]) == (FILES + 1, [])
        assert all(path.stat().st_ino == inode for path, inode in kept.items())
        assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in stored(lab))
        assert list((lab.folder / "data" / "incoming").iterdir()) == []
        if not serving:
            here(lab.start())
        until(lambda: lab.get(target).status == 200)
        assert len(lab.get(target).body) == SIZE
        assert lab.command("ledger", "verify").returncode == 0
    finally:
        lab.stop()
