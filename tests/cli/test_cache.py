"""`mirror cache` as people run it, with the mirror running and without."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.mirror import MirrorProcess, running_mirror
from tests.support.standin import running_hub

MODEL = "/acme/tiny-bert/resolve/main"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with running_hub() as hub, running_mirror(tmp_path_factory.mktemp("m"), hub) as mirror:
        yield hub, mirror


def rows(mirror: MirrorProcess, *arguments: str) -> list[dict]:
    return [json.loads(line) for line in mirror.command("cache", *arguments, "--json", check=False).stdout.splitlines()]


def test_pinned_evicted_and_fetched_again(world):
    """With the mirror running: a pin protects from eviction, what is evicted is fetched anew, and the counts follow."""
    hub, mirror = world
    for name in ("config.json", "vocab.txt", "model.safetensors"):
        assert mirror.get(f"{MODEL}/{name}").status == 200
    before = rows(mirror, "stats")[0]
    assert before["files"] == 3
    assert before["pinned_bytes"] == 0
    assert before["stored"] > 300_000
    mirror.command("cache", "pin", "pkg:huggingface/acme/tiny-bert#model.safetensors", "--reason", "ticket 7")
    assert [(row["pattern"], row["reason"]) for row in rows(mirror, "pin")] == [("pkg:huggingface/acme/tiny-bert#model.safetensors", "ticket 7")]
    would = rows(mirror, "evict", "acme/*", "--dry-run")
    gone = rows(mirror, "evict", "acme/*")
    assert sorted(row["names"][0].rpartition("#")[2] for row in gone) == ["config.json", "vocab.txt"]
    assert would == gone
    after = rows(mirror, "stats")[0]
    assert (after["files"], after["pins"]) == (1, 1)
    assert after["pinned_bytes"] == after["stored"] > 300_000
    again = mirror.get(f"{MODEL}/config.json")
    assert again.status == 200
    assert "fwd=miss" in again.headers["Cache-Status"]
    assert "hit" in mirror.get(f"{MODEL}/model.safetensors").headers["Cache-Status"]
    assert mirror.command("cache", "unpin", "pkg:huggingface/acme/tiny-bert#model.safetensors").returncode == 0
    assert mirror.command("cache", "unpin", "acme/none", check=False).returncode == 1


def test_a_damaged_file_is_set_aside_and_heals(world):
    """`cache scrub` beside a running mirror finds a flipped byte; the next request gets the right bytes from upstream."""
    _, mirror = world
    good = mirror.get(f"{MODEL}/vocab.txt").body
    sound = mirror.command("cache", "scrub")
    assert "0 damaged" in sound.stdout
    [path] = [path for path in (mirror.folder / "data" / "blobs" / "sha256").rglob("*") if path.is_file() and path.read_bytes() == good]
    os.chmod(path, 0o640)
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    found = mirror.command("cache", "scrub", check=False)
    assert found.returncode == 1
    assert path.name in found.stdout
    healed = mirror.get(f"{MODEL}/vocab.txt")
    assert healed.body == good
    assert "fwd=miss" in healed.headers["Cache-Status"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("pin", "acme/x?y"), "a star is the only wildcard"),
        (("pin", "pkg:huggingface/acme/tiny-bert@main"), "would hold nothing"),
        (("evict",), "PATTERNS or --free"),
        (("evict", "--free", "much"), "much"),
        (("scrub", "--rate", "1 parsec"), "parsec"),
    ],
)
def test_bad_input(world, arguments, said):
    """What makes no sense is one clear error, exit 2, and nothing changes."""
    _, mirror = world
    done = mirror.command("cache", *arguments, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_data(tmp_path: Path):
    """Before the first start there is nothing to look at: said so, exit 2, and no folder is made."""
    (tmp_path / "mirror.yaml").write_text("data: data\n")
    mirror = MirrorProcess(tmp_path, {})
    (tmp_path / "mirror.yaml").write_text("data: data\n")
    done = mirror.command("cache", "stats", check=False)
    assert done.returncode == 2
    assert "no data here yet" in done.stderr
    assert not (tmp_path / "data").exists()
