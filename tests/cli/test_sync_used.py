"""`mirror sync --used 90d --origin US --preserve`, the day before a cut-off: a mirror with a past, its catalogue, and what is left when the hub has let go."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.test_sync import driver, found, pins, run, states, sync
from tests.cli.test_sync_sources import CATALOGUE
from tests.support.mirror import ALLOW_ALL, MirrorProcess, clean_environment, running_mirror, until
from tests.support.past import past
from tests.support.standin import StandInHub, StandInIndex, running_hub, running_index

__all__ = ["driver"]  # a fixture of this module too

POLICY = 'version: 1\nrules:\n  - {id: pickle, when: {file: ["*.bin"]}, effect: deny}\n'
FILES = {"config.json": b"{}", "README.md": b"---\nlicense: mit\n---\n", "w.bin": b"pickle"}
MADE_FROM = {"acme/chat": ["base_model:globex/lately", "base_model:finetune:globex/lately"]}
ARGUMENTS = ("--used", "90d", "--origin", "US", "--preserve")


async def lived(folder: Path, hub: StandInHub) -> None:
    """Uses of 10 and of 100 days ago; pickles were permitted then."""

    def name_of(name: str, path: str, kind: str = "models") -> str:
        query = "?repo_type=dataset" if kind == "datasets" else ""
        return f"pkg:huggingface/{name}@{hub.repo(name, kind).head}{query}#{path}"

    async with past(folder, ALLOW_ALL, begin=datetime.now(UTC) - timedelta(days=100)) as before:
        await before.ask(name_of("globex/long-ago", "config.json"))
        before.clock.moment = datetime.now(UTC) - timedelta(days=10)
        for name in ("globex/lately", "acme/lately", "acme/chat", "umbrella/unknown"):
            await before.ask(name_of(name, "config.json"))
        await before.ask(name_of("globex/lately", "w.bin"))
        await before.ask(name_of("globex/rows", "a.csv", "datasets"))
        await before.ask("pkg:pypi/globex-lib@1.0?file_name=globex_lib-1.0-py3-none-any.whl")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StandInHub, StandInIndex, MirrorProcess]]:
    """A mirror that was used for publishers from the US, from GB and of nobody that the catalogue knows, and has an empty cache."""
    folder = tmp_path_factory.mktemp("m")
    with running_hub() as hub, running_index() as index:
        for name in ("globex/lately", "globex/long-ago", "acme/lately", "acme/chat", "umbrella/unknown"):
            hub.add_repo("model", name, FILES, lfs={"w.safetensors": os.urandom(30_000)}, tags=MADE_FROM.get(name, []))
        hub.add_repo("dataset", "globex/rows", {"a.csv": b"a,b\n1,2\n", "b.csv": os.urandom(2000)})
        index.add_release("globex-lib", "1.0", sdist=True)
        index.add_release("globex-lib", "1.1")
        asyncio.run(lived(folder, hub))
        (folder / "house.yaml").write_text(CATALOGUE.replace("{huggingface: [globex], pypi: [globex]}", "{huggingface: [globex]}, projects: {pypi: [globex-lib]}"))
        gone = {"huggingface": {"gone": "serve"}}
        with running_mirror(folder, hub, index, POLICY, catalogue=["house.yaml"], hubs=gone, ledger={"origin": "ledger.acme.example"}) as mirror:
            yield hub, index, found(mirror)


def test_the_day_before_a_cut_off(world):
    """What was used in that time from that country, or was made from it, is taken whole as policy has it today, sized beforehand to the byte, and stays when room is made and when the hub has it no more.

    No rule in force reads lineage, now or then: what a model was made from is found out for the question.
    """
    hub, index, mirror = world
    wanted = {
        f"{name.rpartition('/')[2]}/{path}": len(file.data)
        for name, kind in (("globex/lately", "models"), ("acme/chat", "models"), ("globex/rows", "datasets"))
        for path, file in hub.repo(name, kind).commits[hub.repo(name, kind).head].files.items()
        if not path.endswith(".bin")
    } | {f"globex-lib/{file.filename}": len(file.data) for file in index.project("globex-lib").files if "-1.0" in file.filename}

    def named(rows: list[dict]) -> dict[str, int]:
        return {f"{row['name'].partition('@')[0].rpartition('/')[2]}/{row['name'].rpartition('#')[2].rpartition('file_name=')[2]}": row["size"] for row in rows}

    code, rows, summary, errors = sync(mirror, *ARGUMENTS, "--dry-run")
    assert (code, set(states(rows))) == (0, {"absent"}), errors
    assert named(rows) == wanted
    assert summary["counts"] == {"absent": {"count": len(wanted), "bytes": sum(wanted.values())}}
    assert (summary["unknown_origin"], summary["origin_in_part"]) == (1, 0)
    assert "of 6 revisions that were used, 1 were left out because nobody knows their country: `mirror publisher unknown`" in errors
    assert not pins(mirror)
    assert not hub.requests.where(origin="cdn")
    code, rows, summary, _ = sync(mirror, *ARGUMENTS)
    assert (code, named(rows), set(states(rows))) == (0, wanted, {"fetched"})
    # A whole repository has one pin, each file of a package its own.
    assert summary["pinned"] == len(pins(mirror)) == 5
    # Everything else goes, and the hub has it no more.
    mirror.get("/acme/lately/resolve/main/w.safetensors")
    assert "lately" in run(mirror, "cache", "evict", "--free", "1GiB")[1]
    head = hub.repo("globex/lately").head
    hub.world.remove("models", "globex/lately")
    code, rows, _, _ = sync(mirror, *ARGUMENTS, "--no-pin")
    assert (code, named(rows), set(states(rows))) == (0, wanted, {"here"})
    asked = len(hub.requests.where(origin="cdn"))
    for revision in ("main", head):
        assert len(mirror.get(f"/globex/lately/resolve/{revision}/w.safetensors").body) == wanted["lately/w.safetensors"]
    assert len(hub.requests.where(origin="cdn")) == asked


def test_what_is_narrowed_in_and_out(world):
    """Without `--preserve` the files themselves; what only the unknown published is in no country; what policy refuses by now is told, exit 1."""
    _, _, mirror = world
    code, rows, _, _ = sync(mirror, "--used", "90d", "--dry-run")
    told = states(rows)
    assert (code, told["refused"]) == (1, ["w.bin"])
    whose = {row["name"].partition("@")[0].removeprefix("pkg:huggingface/") for row in rows}
    assert {"globex/lately", "acme/lately", "umbrella/unknown", "globex/rows", "pkg:pypi/globex-lib"} <= whose
    assert "globex/long-ago" not in whose
    longer = {row["name"].partition("@")[0].removeprefix("pkg:huggingface/") for row in sync(mirror, "--used", "101d", "--origin", "US", "--dry-run")[1]}
    assert longer >= {"globex/long-ago", "globex/lately"}
    assert not longer & {"acme/lately", "umbrella/unknown"}


def test_what_a_sync_looked_at_is_not_used(world):
    """However often the mirror's own commands ask for a file, it is used once a client is given it, and only that file is."""
    hub, _, mirror = world
    head = hub.add_repo("model", "acme/looked-at", {"config.json": b"{}", "README.md": b"x"}).head
    for _ in range(3):
        assert sync(mirror, "--model", "acme/looked-at", "--dry-run")[0] == 0

    def used() -> list[str]:
        return [row["name"].partition("#")[2] for row in sync(mirror, "--used", "90d", "--dry-run")[1] if "/looked-at@" in row["name"]]

    assert used() == []
    mirror.get(f"/acme/looked-at/resolve/{head}/config.json")
    until(lambda: used() == ["config.json"], 5)


def test_nobody_reads_on(world):
    """A dry run counts nothing that it does not fetch; with `| head` behind it, it ends without a word, exit 1."""
    hub, _, mirror = world
    hub.add_repo("model", "acme/many", {f"{number}.json": b"{}" for number in range(30)})
    code, out, _ = run(mirror, "sync", "--model", "acme/many", "--dry-run")
    assert (code, len(out.splitlines()), "[" in out) == (0, 31, False)
    line = [sys.executable, "-m", "mirror.cli.main", "-c", "mirror.yaml", "sync", "--model", "acme/many", "--dry-run"]
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(line, stdout=write, stderr=subprocess.PIPE, text=True, cwd=mirror.folder, env=clean_environment(), timeout=60, check=False)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (1, "")
