"""`mirror sync` as people run it, against stand-ins on loopback: with the mirror running and without."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest

from tests.support.mirror import MirrorProcess, clean_environment, running_mirror, upstream_config
from tests.support.standin import ALICE, running_hub, running_index

POLICY = """
version: 1
rules:
  - {id: evil, when: {artifact: ["pkg:pypi/evil-*"]}, effect: deny, legal: true}
  - {id: pickle, when: {file: ["*.bin"]}, effect: deny}
"""
WANTS = """
version: 1
models:
  - {id: acme/tiny-bert, allow: ["*.safetensors", "config.json", "onnx/"]}
datasets:
  - {id: acme/reviews}
packages:
  - {requirements: requirements.txt, python: ["3.11", "3.12"], platforms: [linux, windows]}
"""
TINY = "pkg:huggingface/acme/tiny-bert@"


#: One process runs many command lines: most of the time of each would be its start.
DRIVER = """
import contextlib, io, json, os, sys, traceback
from mirror.cli.main import main
for line in sys.stdin:
    folder, arguments, environ = json.loads(line)
    os.chdir(folder)
    os.environ.update(environ)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(["-c", "mirror.yaml", *arguments])
        except SystemExit as ended:
            code = ended.code
        except BaseException:
            code = -1
            traceback.print_exc()
    for name in environ:
        del os.environ[name]
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""


@pytest.fixture(scope="module", autouse=True)
def driver():
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean_environment()
    )
    DRIVEN.append(process)
    yield
    DRIVEN.remove(process)
    process.communicate(timeout=30)


DRIVEN: list[subprocess.Popen[str]] = []


def run(mirror: MirrorProcess, *arguments: str, **environ: str) -> tuple[int, str, str]:
    process = DRIVEN[-1]
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps([str(mirror.folder), arguments, environ]) + "\n")
    process.stdin.flush()
    code, out, err = json.loads(process.stdout.readline())
    assert "Traceback" not in err, err
    return code, out, err


def sync(mirror: MirrorProcess, *arguments: str, **environ: str) -> tuple[int, list[dict[str, Any]], dict[str, Any], str]:
    """Exit code, outcomes, summary, standard error. `--url` is not needed: `found` has put the port into the configuration."""
    code, out, err = run(mirror, "sync", *arguments, "--json", **environ)
    rows = [json.loads(line) for line in out.splitlines()]
    summary = rows.pop()["summary"] if rows else {}
    return code, rows, summary, err


def found(mirror: MirrorProcess) -> MirrorProcess:
    """The running mirror's configuration names the port on which it came to listen."""
    path = mirror.folder / "mirror.yaml"
    path.write_text(path.read_text().replace("port: 0", f"port: {mirror.port}"))
    return mirror


def states(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    kept: dict[str, list[str]] = {}
    for row in rows:
        name = row["name"]
        kept.setdefault(row["state"], []).append(name.rpartition("#")[2].rpartition("file_name=")[2])
    return {state: sorted(names) for state, names in kept.items()}


def pins(mirror: MirrorProcess) -> dict[str, str]:
    rows = map(json.loads, run(mirror, "cache", "pin", "--json")[1].splitlines())
    return {row["pattern"]: row["reason"] for row in rows}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    quick = {"huggingface": {"timeouts": {"read": "3s", "patience": "4s"}}}
    folder = tmp_path_factory.mktemp("m")
    with running_hub() as hub, running_index() as index, running_mirror(folder, hub, index, POLICY, hubs=quick) as mirror:
        yield hub, index, found(mirror)


def test_a_first_sync_and_a_second(world):
    """A dry run fetches and pins nothing; the sync fetches each file once and pins it; a second one asks upstream for none."""
    hub, index, mirror = world
    (mirror.folder / "wants.yaml").write_text(WANTS)
    (mirror.folder / "requirements.txt").write_text("acme-app\n")
    files = {
        "acme_app-2.0-py3-none-any.whl", "acme_lib-2.1-py3-none-any.whl", "foo_bar_baz-0.1-py3-none-any.whl",
        "config.json", "model.safetensors", "README.md", "data/train.csv", "extra/reviews.parquet",
    }  # fmt: skip
    code, rows, summary, _ = sync(mirror, "wants.yaml", "--dry-run")
    assert (code, states(rows)) == (0, {"absent": sorted(files)})
    assert summary["counts"]["absent"]["bytes"] == sum(row["size"] for row in rows) > 300_000
    assert not hub.requests.where(origin="cdn")
    assert not index.requests.where(origin="files", path="*.whl")

    code, rows, summary, _ = sync(mirror, "wants.yaml")
    assert (code, states(rows)) == (0, {"fetched": sorted(files)})
    assert summary["pinned"] == 6  # five files and the whole dataset
    asked = len(hub.requests.where(origin="cdn")), len(index.requests.where(origin="files", path="*.whl"))
    assert asked[1] == 3
    kept = pins(mirror)
    assert set(kept.values()) == {"sync wants"}
    assert sorted(pattern.partition("@")[0] for pattern in kept) == [
        "pkg:huggingface/acme/reviews", "pkg:huggingface/acme/tiny-bert", "pkg:huggingface/acme/tiny-bert",
        "pkg:pypi/acme-app", "pkg:pypi/acme-lib", "pkg:pypi/foo-bar-baz",
    ]  # fmt: skip

    code, rows, summary, _ = sync(mirror, "wants.yaml")
    assert (code, states(rows), summary["pinned"]) == (0, {"here": sorted(files)}, 0)
    assert asked == (len(hub.requests.where(origin="cdn")), len(index.requests.where(origin="files", path="*.whl")))


def test_what_policy_denies_is_named_with_rule_and_sentence(world):
    """Refused files and closures are told by rule, decision and sentence; absent ones are missing; the rest comes; exit 1."""
    _, _, mirror = world
    code, rows, _, errors = sync(
        mirror, "--model", "acme/tiny-bert", "--allow", "*.txt", "--allow", "*.bin", "--allow", "never.json",
        "--requirement", "acme-needs-evil", "--requirement", "acme-none-such>=3",
    )  # fmt: skip
    assert code == 1
    told = states(rows)
    assert told == {"refused": ["acme-needs-evil", "pytorch_model.bin"], "missing": ["acme-none-such>=3", "never.json"], "fetched": ["vocab.txt"]}
    by = {row["name"].rpartition("#")[2]: row for row in rows}
    assert by["pytorch_model.bin"]["rule"] == "pickle"
    assert by["acme-needs-evil"]["rule"] == "evil"
    assert "evil-thing 1.0 matches" in by["acme-needs-evil"]["sentence"]
    assert "acme-none-such was not found" in by["acme-none-such>=3"]["sentence"]
    decision = mirror.get(f"/-/blocked/{by['pytorch_model.bin']['decision']}").json()
    assert decision["artifact"].endswith("#pytorch_model.bin")
    assert "left out by policy (pytorch_model.bin)" in errors


def test_a_file_that_policy_denies_and_nobody_wants_is_no_failure(world):
    """Where patterns leave out what policy leaves out too, the sync is whole: exit 0."""
    _, _, mirror = world
    code, rows, _, _ = sync(mirror, "--model", "acme/tiny-bert", "--ignore", "*.bin", "--no-pin")
    assert code == 0
    assert {row["state"] for row in rows} == {"here", "fetched"}


def test_what_the_hub_withholds_comes_with_a_token(world):
    """Without a token a gated repository's files are withheld in the hub's words and not pinned; with HF_TOKEN they come."""
    _, _, mirror = world
    wanted = ("--dataset", "acme/gated-data", "--name", "gated")
    code, rows, summary, _ = sync(mirror, *wanted)
    assert (code, list(states(rows)), summary["pinned"]) == (1, ["withheld"], 0)
    assert "restricted" in rows[0]["sentence"]
    code, rows, summary, _ = sync(mirror, *wanted, HF_TOKEN=ALICE)
    assert (code, list(states(rows)), summary["pinned"]) == (0, ["fetched"], 1)


def test_pins_that_nobody_wants_any_more_go(world):
    """`--prune-pins` removes this list's pins alone, and none at all where something wanted could not be found out."""
    _, _, mirror = world
    sync(mirror, "--model", "acme/tiny-bert", "--allow", "[cm]*.[js]*", "--name", "old")
    shared = f"{TINY}{sync(mirror, '--model', 'acme/tiny-bert', '--allow', 'config.json', '--name', 'other')[1][0]['name'].rpartition('@')[2]}"
    before = pins(mirror)
    assert "sync old" in before[shared]
    code, _, summary, errors = sync(mirror, "--model", "acme/tiny-bert", "--allow", "*.safetensors", "--model", "acme/none", "--name", "old", "--prune-pins")
    assert (code, summary["unpinned"], pins(mirror)) == (1, 0, before)
    assert "no pin was removed" in errors
    code, _, summary, _ = sync(mirror, "--model", "acme/tiny-bert", "--allow", "*.safetensors", "--name", "old", "--prune-pins")
    after = pins(mirror)
    assert (code, summary["unpinned"]) == (0, 1)
    assert "sync old" not in after[shared]
    assert "sync other" in after[shared]
    assert set(after) == set(before)


def test_unusable_input(world):
    """Every fault of list, requirements and options is told with its place, exit 2, and nothing is asked of anybody."""
    hub, _, mirror = world
    (mirror.folder / "bad.yaml").write_text("version: 1\nmodels: [{id: 'a b'}, {id: acme/x, revision: ''}]\npackages: [{}]\n")
    (mirror.folder / "past.txt").write_text("--extra-index-url https://umbrella.example/simple\nx @ https://umbrella.example/x.whl\n")
    (mirror.folder / "files.yaml").write_text("version: 1\nmodels: [{id: 'a b'}]\npackages: [{lock: no.lock}, {requirements: no.txt}, {requirement: x, platforms: [amiga]}, {requirements: past.txt}]\n")
    asked = len(hub.requests)
    there = ("models[0].id", "packages[0].lock: no.lock: No such file", "packages[1].requirements: no.txt: No such", "packages[2].platforms[0]: 'amiga'", "past.txt: line 2")
    for arguments, said in (
        (("files.yaml",), there),
        (("--requirement", "x", "--platform", "amiga"), ("packages[0].platforms[0]: 'amiga'",)),
        (("bad.yaml",), ("models[0].id", "models[1].revision", "packages[0]")),
        (("--requirements", "past.txt"), ("line 1", "line 2")),
        (("none.yaml",), ("none.yaml: No such file",)),
        (("--url", "http://127.0.0.1:1", "--model", "acme/x"), ("no mirror answers",)),
    ):
        code, rows, _, errors = sync(mirror, *arguments)
        assert (code, rows) == (2, [])
        assert all(part in errors for part in said), errors
    assert len(hub.requests) == asked


def test_upstream_dies_in_the_middle_and_a_second_run_ends_it(world):
    """What could not be fetched is a failure beside what came; when upstream is back only that is fetched, from where it stood."""
    hub, _, mirror = world
    hub.add_repo("model", "acme/cut", {"config.json": b"{}"}, lfs={"a.safetensors": os.urandom(200_000), "b.safetensors": os.urandom(3_000_000)})
    large = hub.repo("acme/cut").commits[hub.repo("acme/cut").head].files["b.safetensors"]
    hub.faults.add("drop_fin", f"*{large.xet}*", origin="cdn", at=2_500_000, times=1)
    hub.faults.add("drop_before_headers", f"*{large.xet}*", origin="cdn", skip=1)
    try:
        code, rows, _, _ = sync(mirror, "--model", "acme/cut", "--retries", "0", "--jobs", "1")
    finally:
        hub.faults.clear()
    assert code == 1
    assert states(rows)["failed"] == ["b.safetensors"]
    assert "config.json" in states(rows)["fetched"]
    sent = len(hub.requests.where(origin="cdn"))
    code, rows, _, _ = sync(mirror, "--model", "acme/cut")
    assert (code, states(rows)) == (0, {"here": ["a.safetensors", "config.json"], "fetched": ["b.safetensors"]})
    asked = hub.requests.where(origin="cdn")[sent:]
    assert asked
    assert all(large.xet in call.path and call.headers.get("Range", "bytes=0-") != "bytes=0-" for call in asked), [call.headers for call in asked]
    assert mirror.get("/acme/cut/resolve/main/b.safetensors").body == large.data


def test_an_interrupt_keeps_what_came(world):
    """SIGINT ends the run within its summary, exit 130; the next run finds what came and fetches the rest."""
    hub, _, mirror = world
    hub.add_repo("model", "acme/slow", {"config.json": b"{}"}, lfs={"w.safetensors": os.urandom(2_000_000)})
    fault = hub.faults.add("hang_body", "*", origin="cdn", at=100_000)
    running = subprocess.Popen(
        [sys.executable, "-m", "mirror.cli.main", "-c", "mirror.yaml", "sync", "--model", "acme/slow", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=mirror.folder, env=clean_environment(),
    )  # fmt: skip
    try:
        assert running.stdout is not None
        first = json.loads(running.stdout.readline())
        running.send_signal(signal.SIGINT)
        rest, errors = running.communicate(timeout=30)
    finally:
        running.kill()
        hub.faults.remove(fault)
    assert (first["state"], running.returncode) == ("fetched", 130)
    assert json.loads(rest.splitlines()[-1])["summary"]["interrupted"]
    assert "Traceback" not in errors
    code, rows, _, _ = sync(mirror, "--model", "acme/slow")
    assert code == 0
    assert "config.json" in states(rows)["here"]
    assert states(rows)["fetched"] == ["w.safetensors"]


def test_a_hub_at_a_port_of_its_own_and_a_limit(world, tmp_path):
    """In a mirror started for it a hub with its own port is found too, without that port; who is told to wait (429) waits and gets everything."""
    hub, _, _ = world
    base = upstream_config(hub)
    taken = socket.create_server(("127.0.0.1", 0))
    base["hubs"]["huggingface"]["port"] = taken.getsockname()[1]
    limits = {"limits": {"anonymous": {"requests": 12, "per": "1s"}}}
    mirror = MirrorProcess(tmp_path / "m", {**base, "clients": limits}, POLICY)
    (mirror.folder / "mirror.yaml").write_text(json.dumps(mirror.config))
    with taken:
        code, rows, summary, _ = sync(mirror, "--model", "acme/tiny-bert", "--ignore", "*.bin", "--retries", "0", "--jobs", "8")
    assert (code, set(states(rows))) == (0, {"fetched"})
    assert len(rows) > 5
    assert summary["mirror"] == "a mirror started for this"


def test_without_a_running_mirror_and_under_pressure(tmp_path):
    """One is started for the time it takes, under the same rules and ledger; later pressure evicts others, never the pinned.

    What the cache has no room for beside its pins is told as not kept.
    """
    with running_hub() as hub:
        hub.add_repo("model", "acme/wide", {}, lfs={f"{n}.safetensors": os.urandom(200_000) for n in range(6)})
        hub.add_repo("model", "acme/keep", {}, lfs={"w.safetensors": os.urandom(400_000)})
        mirror = MirrorProcess(tmp_path / "m", {**upstream_config(hub), "store": {"quota": "1000KiB", "min_free": "1MiB"}}, POLICY)
        (mirror.folder / "mirror.yaml").write_text(json.dumps(mirror.config))
        code, rows, summary, _ = sync(mirror, "--model", "acme/keep", "--model", "acme/tiny-bert", "--allow", "w.*", "--allow", "pytorch_model.bin")
        assert (code, states(rows)) == (1, {"fetched": ["w.safetensors"], "refused": ["pytorch_model.bin", "pytorch_model.bin"]})
        assert summary["mirror"] == "a mirror started for this"
        found(mirror.start())
        try:
            events = [json.loads(line) for line in run(mirror, "ledger", "tail", "--json", "-n", "1000")[1].splitlines()]
            kinds = {(event["kind"], event.get("decision", {}).get("artifact", "").rpartition("#")[2]) for event in events}
            assert {("allowed", "w.safetensors"), ("refused", "pytorch_model.bin")} <= kinds
            assert run(mirror, "ledger", "verify")[0] == 0
            elsewhere = sync(mirror, "--model", "acme/keep", MIRROR_LISTEN__PORT="1")
            assert elsewhere[0] == 2
            assert "name it with --url" in elsewhere[3]
            for n in range(6):
                assert mirror.get(f"/acme/wide/resolve/main/{n}.safetensors").status == 200
            assert mirror.get("/acme/keep/resolve/main/w.safetensors", method="HEAD").headers["Cache-Status"] == "entrepot; hit"
            code, rows, _, _ = sync(mirror, "--model", "acme/wide", "--retries", "0")
            told = states(rows)
            assert (code, len(rows), len(told["unkept"]) > 0) == (1, 6, True)
            assert mirror.get("/acme/keep/resolve/main/w.safetensors", method="HEAD").headers["Cache-Status"] == "entrepot; hit"
        finally:
            mirror.stop()
