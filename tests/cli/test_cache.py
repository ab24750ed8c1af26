"""`mirror cache` as people run it, with the mirror running and without."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mirror.audit.segments import lock
from mirror.cli import owner
from mirror.cli.main import main
from mirror.core.errors import InputError
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
    (event,) = [event for event in mirror.events() if event["kind"] == "integrity"]  # by the mirror, which owns the record
    assert event["subject"] == f"sha256:{path.name}"


def test_what_is_being_read_stays(world):
    """With the mirror running its own knowledge of who reads decides: a file on its way to a slow client is not removed."""
    hub, mirror = world
    hub.add_repo("model", "globex/slow", {}, {"model.safetensors": b"slow" * 4_000_000})
    target = "/globex/slow/resolve/main/model.safetensors"
    assert mirror.get(target).status == 200
    where = urlsplit(mirror.url)
    with closing(http.client.HTTPConnection(where.hostname, where.port, timeout=20)) as connection:
        connection.request("GET", target)
        answer = connection.getresponse()
        assert answer.read(4) == b"slow"
        assert rows(mirror, "evict", "globex/slow") == []
        assert len(answer.read()) == 16_000_000 - 4
    for _ in range(100):
        if gone := rows(mirror, "evict", "globex/slow"):
            break
    assert [row["size"] for row in gone] == [16_000_000]


def test_a_command_alone_is_the_owner(tmp_path: Path):
    """While a command works on the data of a mirror that does not run, nobody else can become its owner."""
    (tmp_path / "mirror.yaml").write_text("data: data\n")
    (tmp_path / "data").mkdir()
    config = owner.configured(tmp_path / "mirror.yaml")

    async def within() -> None:
        async with owner._own(config):
            with pytest.raises(InputError, match=f"written by process {os.getpid()}"):
                lock(owner.ledger_of(config))
        os.close(lock(owner.ledger_of(config)))

    asyncio.run(within())


def test_with_the_mirror_stopped(world, monkeypatch, capsys):
    """Without a mirror a command owns the data itself, meanwhile nobody else can; the mirror then starts with what it did."""
    _, mirror = world
    data = mirror.folder / "data"
    assert (data / "keeper.sock").stat().st_mode & 0o777 == 0o600
    assert mirror.stop() == 0
    assert not (data / "keeper.sock").exists()
    mirror.command("cache", "pin", "acme/tiny-bert")
    assert rows(mirror, "evict", "acme/*") == []
    assert mirror.command("cache", "unpin", "acme/tiny-bert").returncode == 0
    held = lock(data / "ledger")
    try:
        monkeypatch.setattr(owner, "_WAIT", 0.3)
        with pytest.raises(SystemExit) as done:
            main(["-c", str(mirror.folder / "mirror.yaml"), "cache", "pin", "acme/*"])
        assert done.value.code == 2
        assert f"written by process {os.getpid()}" in capsys.readouterr().err
    finally:
        os.close(held)
    assert len(rows(mirror, "evict", "pkg:huggingface/acme/tiny-bert#vocab.txt")) == 1
    mirror.start()
    assert "fwd=miss" in mirror.get(f"{MODEL}/vocab.txt").headers["Cache-Status"]


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
