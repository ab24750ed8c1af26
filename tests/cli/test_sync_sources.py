"""`mirror sync` of lock files, of ancestors, and of what was used: real uv, a mirror that runs, stand-ins on loopback."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import pytest

from mirror.bundle.resolve import find_uv
from tests.cli.test_sync import driver, found, pins, run, states, sync
from tests.support.clients import pip
from tests.support.mirror import MirrorProcess, clean_environment, running_mirror, until, upstream_config
from tests.support.standin import running_hub, running_index

__all__ = ["driver"]  # a fixture of this module too

POLICY = """
version: 1
rules:
  - {id: pickle, when: {file: ["*.bin"]}, effect: deny}
  - {id: initech, when: {artifact: ["initech/*"]}, effect: deny}
  - {id: origins-are-read, when: {origin: [KP]}, effect: deny, on_unknown: allow}
"""
CATALOGUE = """
version: 1
publishers:
  - {id: globex, entity: Globex Ltd, kind: company, handles: {huggingface: [globex], pypi: [globex]}, countries: [{code: US, role: headquarters, source: "https://globex.example", as_of: 2026-01-31, confidence: A}]}
  - {id: acme, entity: Acme Labs Ltd, kind: company, handles: {huggingface: [acme]}, projects: {pypi: [acme-lib, acme-app]}, countries: [{code: GB, role: headquarters, source: "https://acme.example", as_of: 2026-01-31, confidence: A}]}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("m")
    (folder / "house.yaml").write_text(CATALOGUE)
    with running_hub() as hub, running_index() as index:
        hub.add_repo("model", "globex/other", {"config.json": b"{}", "LICENSE": b"Globex licence"}, lfs={"w.safetensors": os.urandom(5000), "w.bin": os.urandom(50)})
        with running_mirror(folder, hub, index, POLICY, catalogue=["house.yaml"]) as mirror:
            yield hub, index, found(mirror)


def locked(folder: Path, index) -> tuple[Path, Path]:
    """A uv.lock, and the pylock.toml that uv makes of it, against the stand-in itself: as a developer's machine outside has them."""
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text('[project]\nname = "ours"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = ["acme-app", "acme-sdist"]\n')
    environ = {**clean_environment(), "UV_DEFAULT_INDEX": index.simple_url, "UV_CACHE_DIR": str(folder / "cache")}
    for line in (["lock"], ["export", "--frozen", "--format", "pylock.toml", "-o", "pylock.toml"]):
        subprocess.run([find_uv(), *line, "--python", sys.executable, "-q"], cwd=folder, env=environ, check=True, timeout=120)
    return folder / "uv.lock", folder / "pylock.toml"


def test_lock_files_made_elsewhere(world, tmp_path):
    """The files that uv locked are fetched with the hashes of the lock, no others; one whose digest differs here is an error."""
    _, index, mirror = world
    uv, pylock = locked(tmp_path / "p", index)
    wheels = ["acme_app-2.0-py3-none-any.whl", "acme_lib-2.1-py3-none-any.whl", "acme_sdist-1.0.tar.gz", "foo_bar_baz-0.1-py3-none-any.whl"]
    code, rows, _, errors = sync(mirror, "--lock", str(uv), "--dry-run")
    assert (code, states(rows)) == (0, {"absent": wheels}), errors
    assert sum(row["size"] for row in rows) > 2000
    code, rows, summary, _ = sync(mirror, "--lock", str(pylock), "--python", "3.11", "--platform", "linux")
    assert (code, states(rows), summary["pinned"]) == (0, {"fetched": wheels}, 4)
    assert states(sync(mirror, "--lock", str(uv))[1]) == {"here": wheels}
    apart = {"git": "https://umbrella.example/x?rev=1#" + "d" * 40, "url": "https://umbrella.example/x-1.0-py3-none-any.whl", "path": "../x-1.0-py3-none-any.whl"}
    aside = tmp_path / "aside.lock"
    aside.write_text(uv.read_text() + "".join(f'[[package]]\nname = "umbrella-{kind}"\nversion = "1.0"\nsource = {{ {kind} = "{where}" }}\n' for kind, where in apart.items()))
    code, rows, _, _ = sync(mirror, "--lock", str(aside), "--dry-run")
    assert (code, states(rows)["here"]) == (1, wheels)
    told = {row["name"]: row["sentence"] for row in rows if row["state"] == "failed"}
    assert told == {f"pkg:pypi/umbrella-{kind}@1.0": f"the lock takes it from elsewhere ({kind}), and a mirror of an index has no such thing" for kind in apart}
    digest = next(file.sha256 for file in index.project("acme-lib").files if file.filename == "acme_lib-2.1-py3-none-any.whl")
    uv.write_text(uv.read_text().replace(digest, "0" * 64))
    code, rows, _, _ = sync(mirror, "--lock", str(uv), "--no-pin")
    assert (code, states(rows)["failed"]) == (1, ["acme_lib-2.1-py3-none-any.whl"])
    assert f"its SHA-256 is {digest} at the mirror and {'0' * 64} in the lock" in next(row for row in rows if row["state"] == "failed")["sentence"]
    (mirror.folder / "w.yaml").write_text("version: 1\npackages: [{lock: none.lock}, {lock: bad.lock}]\n")
    (mirror.folder / "bad.lock").write_text("x = 1\n")
    code, _, _, errors = sync(mirror, "w.yaml")
    assert code == 2
    assert "none.lock: No such file" in errors
    assert "bad.lock: is neither" in errors


def test_requirements_with_hashes(world, tmp_path):
    """What a compiled requirements file pins comes with its extras, includes and constraints, and pip takes it by its hashes; a file with another hash is not taken, and told."""
    _, index, mirror = world
    index.add_release("globex-kit", "1.0", requires=["acme-lib>=1", "acme-big; extra == 'big'", "evil-thing; python_version < '3'"])
    (tmp_path / "in.txt").write_text("-r more.txt\n-c narrow.txt\n")
    (tmp_path / "more.txt").write_text('globex-kit[big]\nfoo-bar-baz; python_version < "3"\n')
    (tmp_path / "narrow.txt").write_text("acme-lib<2\nnever-asked==1\n")
    environ = {**clean_environment(), "UV_DEFAULT_INDEX": index.simple_url, "UV_CACHE_DIR": str(tmp_path / "cache")}
    line = [find_uv(), "pip", "compile", "-q", "--generate-hashes", "--python", sys.executable, "in.txt", "-o", "compiled.txt"]
    subprocess.run(line, cwd=tmp_path, env=environ, check=True, timeout=60)
    for file in ("in.txt", "compiled.txt"):
        code, rows, _, errors = sync(mirror, "--requirements", str(tmp_path / file), "--no-pin")
        assert (code, errors) == (0, errors)
        wheels = {row["name"].rpartition("file_name=")[2] for row in rows}
        assert wheels == {f"{name}-py3-none-any.whl" for name in ("globex_kit-1.0", "acme_big-1.0", "acme_lib-1.1")}
    done = pip(f"{mirror.url}/pypi/simple/", tmp_path, "download", "-q", "--require-hashes", "-r", "compiled.txt", "-d", "got")
    assert done.code == 0, done.text
    assert {path.name for path in (tmp_path / "got").iterdir()} == wheels
    compiled = tmp_path / "compiled.txt"
    lib = next(file.sha256 for file in index.project("acme-lib").files if file.filename in wheels)
    compiled.write_text(compiled.read_text().replace(lib, "0" * 64))
    code, rows, _, _ = sync(mirror, "--requirements", str(compiled), "--dry-run")
    assert (code, [row["name"].partition("@")[0] for row in rows if row["state"] == "failed"]) == (1, ["pkg:pypi/acme-lib"])
    assert "has a SHA-256 that the requirements name" in next(row["sentence"] for row in rows if row["state"] == "failed")


def test_ancestors(world):
    """A model with its ancestors brings every base model up to the root, each as policy has it: what is denied is told, the rest comes whole."""
    _, _, mirror = world
    code, rows, _, errors = sync(mirror, "--model", "hooli/solid-7b-merge", "--ancestors", "--allow", "*.json", "--ignore", "*.bin", "--name", "above")
    whose = {row["name"].partition("@")[0].removeprefix("pkg:huggingface/"): row["state"] for row in rows}
    assert whose == {
        "hooli/solid-7b-merge": "fetched", "initech/solid-7b-chat": "refused", "acme/tiny-bert": "fetched", "globex/solid-7b": "fetched",
    }  # fmt: skip
    assert code == 1
    assert "initech/solid-7b-chat: wanted as an ancestor (merge, declared)" in errors
    assert next(row for row in rows if row["state"] == "refused")["rule"] == "initech"
    names = [row["name"].rpartition("#")[2] for row in rows if "globex/solid-7b@" in row["name"]]
    assert "model.safetensors" in names
    assert code == sync(mirror, "--model", "globex/solid-7b", "--ancestors", "--allow", "*.json")[0] + 1


def test_what_was_used(world):
    """What clients were given is fetched again, narrowed by country or publisher; `--preserve` keeps whole revisions, of what policy permits."""
    _, index, mirror = world
    for path in ("/globex/other/resolve/main/config.json", "/acme/new-name/resolve/main/vocab.txt", "/acme/reviews/resolve/main/none"):
        mirror.get(path)
    page = json.loads(mirror.get("/pypi/simple/acme-lib/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}).body)
    mirror.get("/pypi" + page["files"][0]["url"].partition("/pypi")[2])
    code, rows, summary, errors = sync(mirror, "--used", "90d", "--dry-run", "--publisher", "globex", "--publisher", "acme")
    assert code == 0, errors
    assert {"config.json", "vocab.txt", page["files"][0]["filename"]} <= set(states(rows)["here"])
    code, rows, _, _ = sync(mirror, "--used", "90d", "--origin", "US", "--dry-run")
    assert {row["name"].partition("@")[0].removeprefix("pkg:huggingface/") for row in rows} >= {"globex/other"}
    assert not any("acme/new-name" in row["name"] or "pypi" in row["name"] for row in rows)
    code, rows, summary, _ = sync(mirror, "--used", "1d", "--publisher", "hf:none", "--publisher", "globex/none")
    assert (code, rows) == (0, [])
    for _ in range(100):  # its licence was fetched for the record of the file that was used, moments after it
        if mirror.get("/globex/other/resolve/main/LICENSE", method="HEAD", headers={"Range": "bytes=0-"}).headers["Cache-Status"] == "entrepot; hit":
            break
        time.sleep(0.05)
    code, rows, summary, _ = sync(mirror, "--used", "12w", "--publisher", "huggingface:globex", "--preserve")
    mine = {row["name"].rpartition("#")[2]: row["state"] for row in rows if "globex/other" in row["name"]}
    assert (code, mine) == (0, {"config.json": "here", "LICENSE": "here", "w.safetensors": "fetched"})
    assert any(pattern.startswith("pkg:huggingface/globex/other@") and "#" not in pattern and reason == "sync used 12w" for pattern, reason in pins(mirror).items())
    before = len([name for name in pins(mirror) if "acme-lib" in name])
    code, rows, _, _ = sync(mirror, "--used", "90d", "--publisher", "acme", "--preserve")
    same = {file["filename"] for file in page["files"] if "-1.0" in file["filename"]}
    assert same <= {row["name"].rpartition("file_name=")[2] for row in rows if row["state"] in ("here", "fetched")}
    assert len([name for name in pins(mirror) if "acme-lib" in name]) > before
    for wrong in (("--used", "soon"), ("--used", "90d", "--origin", "XX"), ("--origin", "US")):
        assert run(mirror, "sync", *wrong)[0] == 2


def test_killed_and_run_again(world):
    """A sync that is killed leaves what came; the next run fetches the rest, and nothing that came is fetched from upstream again."""
    hub, _, mirror = world
    hub.add_repo("model", "acme/killed", {"config.json": b"{}"}, lfs={f"{n}.safetensors": os.urandom(300_000) for n in range(6)})
    fault = hub.faults.add("hang_body", "*", origin="cdn", at=100_000, skip=3)
    running = subprocess.Popen(
        [sys.executable, "-m", "mirror.cli.main", "-c", "mirror.yaml", "sync", "--model", "acme/killed", "--json", "--jobs", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=mirror.folder, env=clean_environment(),
    )  # fmt: skip
    try:
        assert running.stdout is not None
        first = [json.loads(running.stdout.readline())["name"] for _ in range(3)]
        os.kill(running.pid, signal.SIGKILL)
        assert running.wait(30) == -signal.SIGKILL
    finally:
        running.kill()
        hub.faults.remove(fault)
    whole = [call.path for call in hub.requests.where(origin="cdn")][:3]
    code, rows, _, _ = sync(mirror, "--model", "acme/killed")
    assert code == 0
    assert {row["name"] for row in rows if row["state"] == "here"} >= set(first)
    assert len(rows) == 7
    again = [call.path for call in hub.requests.where(origin="cdn")]
    assert all(again.count(path) == 1 for path in whole)


def test_killed_with_its_own_mirror(tmp_path):
    """A sync that had started the mirror itself and is killed: the next one asks upstream for nothing that had come whole, and of the cut file only from where it is certain."""
    with running_hub() as hub:
        size = 5 * 1024 * 1024
        hub.add_repo("model", "acme/own", {"config.json": b"{}"}, lfs={"a.safetensors": os.urandom(30_000), "b.safetensors": os.urandom(size)})
        mirror = MirrorProcess(tmp_path / "m", upstream_config(hub), POLICY)
        (mirror.folder / "mirror.yaml").write_text(json.dumps(mirror.config))
        head = hub.repo("acme/own").commits[hub.repo("acme/own").head].files
        fault = hub.faults.add("hang_body", f"*{head['b.safetensors'].xet}*", origin="cdn", at=size - 100_000)
        line = [sys.executable, "-m", "mirror.cli.main", "-c", "mirror.yaml", "sync", "--model", "acme/own", "--json"]
        running = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=mirror.folder, env=clean_environment())
        try:
            assert running.stdout is not None
            came = {json.loads(running.stdout.readline())["name"].rpartition("#")[2] for _ in range(2)}
            until(mirror.has_blocks)
            os.kill(running.pid, signal.SIGKILL)
            assert running.wait(30) == -signal.SIGKILL
        finally:
            running.kill()
            hub.faults.remove(fault)
        assert came == {"a.safetensors", "config.json"}
        before = len(hub.requests)
        code, rows, summary, errors = sync(mirror, "--model", "acme/own")
        assert (code, summary["mirror"]) == (0, "a mirror started for this"), errors
        assert states(rows) == {"here": sorted(came), "fetched": ["b.safetensors"]}
        later = [call for call in list(hub.requests)[before:] if call.method == "GET" and (call.origin == "cdn" or "/resolve/" in call.path)]
        assert [call.headers["Range"] for call in later if call.origin == "cdn"]
        for call in later:
            assert head["b.safetensors"].xet in call.path or "b.safetensors" in call.path, call.path
            if call.origin == "cdn":
                assert int(call.headers["Range"].removeprefix("bytes=").partition("-")[0]) >= 1024 * 1024


def test_progress_on_a_terminal_and_in_plain_lines_elsewhere(world):
    """On a terminal a bar shows count, size, rate and time left, and lines of what came stand above it; into a pipe it says how many files and bytes, and a sum."""
    hub, _, mirror = world
    hub.add_repo("model", "acme/shown", {"config.json": b"{}"}, lfs={"w.safetensors": os.urandom(3_000_000)})
    fault = hub.faults.add("throttle", origin="cdn", rate=2_000_000)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 150, 0, 0))
    line = [sys.executable, "-m", "mirror.cli.main", "-c", "mirror.yaml", "sync", "--model", "acme/shown"]
    environ = {**clean_environment(), "COLUMNS": "150", "TERM": "xterm"}
    running = subprocess.Popen(line, stdin=theirs, stdout=theirs, stderr=theirs, cwd=mirror.folder, env=environ)
    os.close(theirs)
    said = b""
    with suppress(OSError):  # EIO: everybody has closed the other end
        while data := os.read(ours, 65536):
            said += data
    os.close(ours)
    hub.faults.remove(fault)
    assert running.wait(30) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode()).replace("\r", "\n")
    assert re.search(r"2 files .*/2\.9 MiB .*[kM]B/s .*0:0", text), text[-2000:]
    assert re.search(r"(?m)^fetched +2\.9 MiB +pkg:huggingface/acme/shown@[0-9a-f]{40}#w\.safetensors", text), text[-2000:]
    assert "2 fetched (2.9 MiB), 1 pinned" in text
    code, out, err = run(mirror, "sync", "--model", "acme/shown")
    assert code == 0
    assert "\x1b" not in out + err
    assert err.startswith("2 files wanted, 2.9 MiB")
    assert out.splitlines()[-1].startswith("2 here (2.9 MiB)")


def test_progress_in_plain_lines(monkeypatch, capsys):
    """Where standard error is no terminal, a long transfer says now and then how much came of how much, how fast, and what time is left."""
    from mirror.cli import sync_display

    clock = iter(range(0, 10_000, 20))
    monkeypatch.setattr(sync_display.time, "monotonic", lambda: float(next(clock)))
    display = sync_display.Display(as_json=False)
    display.planned(2, 100 * 1024 * 1024)
    for _ in range(4):
        display.came(10 * 1024 * 1024)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "2 files wanted, 100.0 MiB"
    assert len(said) > 1
    assert "of 100.0 MiB" in said[1]
    assert "/s" in said[1]
    assert "left" in said[1]
