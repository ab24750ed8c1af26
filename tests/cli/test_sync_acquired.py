"""How each file came, whichever way it came: one record each, by a client's download and by sync, and at a bundle's receiver as its sender's word."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.bundle.test_carried import enrolled
from tests.cli.test_sync import driver, found, run, sync
from tests.support.mirror import ALLOW_ALL, MirrorProcess, running_mirror, until
from tests.support.standin import ALICE, running_hub, running_index

__all__ = ["driver"]  # a fixture of this module too

WANTS = """
version: 1
name: ways
models: [{id: globex/model}, {id: acme/gated-auto}]
datasets: [{id: globex/rows}]
spaces: [{id: globex/demo}]
packages: [{requirement: globex-lib, python: ["3.11"], platforms: [linux]}]
"""
SECRET = {"Authorization": f"Bearer {ALICE}"}


def acquired(mirror: MirrorProcess) -> list[dict[str, Any]]:
    """The ledger's events, each with what it is of."""
    return [{"artifact": event["subject"], **event["detail"]} for event in mirror.events() if event["kind"] == "acquired"]


def shown(mirror: MirrorProcess, *names: str) -> dict[str, dict[str, Any]]:
    """What `mirror cache show` tells a reviewer."""
    rows = [json.loads(line) for name in names for line in run(mirror, "cache", "show", name, "--json")[1].splitlines()]
    assert len({row["artifact"] for row in rows}) == len(rows)
    return {row["artifact"]: row for row in rows}


def test_every_way_leaves_one_record(tmp_path):
    """Models, datasets, spaces, gated ones and packages: whoever fetches first, many at once, a sync after them, or again after eviction, there is one record of each file, and a bundle carries it."""
    names = ("globex/*", "acme/gated-auto", "pkg:pypi/globex-lib")
    with running_hub() as hub, running_index() as index:
        hub.add_repo("model", "globex/model", {"config.json": b"{}", "LICENSE": b"for all"}, {"w.safetensors": os.urandom(90_000)}, card={"license": "mit"})
        hub.add_repo("dataset", "globex/rows", {"a.csv": b"a,b\n"}, {"b.bin": os.urandom(5000)})
        hub.add_repo("space", "globex/demo", {"app.py": b"print()\n"}, {"c.bin": os.urandom(5000)})
        index.add_release("globex-lib", "1.0", license_expression="MIT")
        service = {"huggingface": {"token": ALICE, "credentials": "service"}}
        with running_mirror(tmp_path / "hq", hub, index, ALLOW_ALL, hubs=service) as mirror:
            found(mirror)
            page = json.loads(mirror.get("/pypi/simple/globex-lib/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}).body)
            targets = [
                "/globex/model/resolve/main/w.safetensors", "/datasets/globex/rows/resolve/main/b.bin", "/spaces/globex/demo/resolve/main/app.py",
                "/acme/gated-auto/resolve/main/config.json", "/pypi" + page["files"][0]["url"].partition("/pypi")[2],
            ]  # fmt: skip
            with ThreadPoolExecutor(8) as pool:
                assert {reply.status for reply in pool.map(lambda target: mirror.get(target, headers=SECRET), targets * 4)} == {200}
            first = until(lambda: len(rows := acquired(mirror)) >= 6 and rows)  # the model's licence too
            assert {row["artifact"].partition("@")[0] for row in first} >= {"pkg:huggingface/globex/model", "pkg:huggingface/acme/gated-auto", "pkg:pypi/globex-lib"}
            (mirror.folder / "wants.yaml").write_text(WANTS)
            code, rows, _, errors = sync(mirror, "wants.yaml")
            assert code == 0, errors
            every = {row["name"] for row in rows} | {f"{row['name']}.metadata" for row in rows if row["name"].endswith(".whl")}
            ours = until(lambda: len(told := shown(mirror, *names)) == len(every) and told)
            assert every == ours.keys()
            for name, row in ours.items():
                gated = "gated-auto" in name
                assert (row["public"], row["restriction"], row["gated"] not in ("", "false")) == (not gated, "gated" if gated else "", gated), row
                assert row["upstream"] in (hub.url, index.files_url), row
                assert row["declared"] is not None or "pypi" in name, row
                assert row["declared"] in (row["digest"], None) or row["declared"].startswith("git-sha1:")
                assert row["licenses"] or any(part in name for part in ("globex/rows", "globex/demo", ".metadata")), row
            assert run(mirror, "cache", "evict", "globex/*", "--pinned")[0] == 0
            assert mirror.get(targets[0], headers=SECRET).status == 200
            assert {row["name"] for row in sync(mirror, "wants.yaml")[1]} < every
            done = run(mirror, "bundle", "export", "wants.yaml", "-o", str(tmp_path / "ways.tar"))
            assert done[0] == 0, done
            events = acquired(mirror)
            assert sorted(row["artifact"] for row in events) == sorted(ours), "one record each"
            assert not any("sender" in row for row in events)

            cards = enrolled(mirror, tmp_path / "cards")
        with running_mirror(tmp_path / "lab", policy=ALLOW_ALL, network="offline", trust={"verify": [str(cards)]}) as lab:
            found(lab)
            done = run(lab, "bundle", "import", str(tmp_path / "ways.tar"))
            assert done[0] == 0, done
            theirs = until(lambda: len(told := shown(lab, *names)) == len(ours) and told)
            for name, row in theirs.items():
                assert row.pop("sender"), name
                assert row.pop("bundle").startswith("ways 1 of ")
                row.pop("acquired_at")
                assert row == ours[name]
            for target in targets[:3]:  # what is given out here was not acquired here
                assert lab.get(target).status == 200
            events = acquired(lab)
            assert sorted(row["artifact"] for row in events) == sorted(ours)
            assert all(row["sender"] for row in events)
