"""The Git LFS batch: per object, judged as the file that holds it, with links that lead to us; and git-lfs itself."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.standin.defaults import ALICE, CANARY
from tests.support.standin.hub import StandInHub

from .conftest import Mirror, Reply, mirror_of

BINS = """version: 1
rules:
  - {id: bins, when: {file: ["*.bin"]}, effect: deny, reason: "may hold code"}
  - {id: whole, when: {artifact: ["umbrella/*"]}, effect: deny, legal: true}
"""
LFS = "application/vnd.git-lfs+json"
GIT_LFS = shutil.which("git") and shutil.which("git-lfs")


@pytest.fixture
async def strict(standin: StandInHub, tmp_path: Path) -> AsyncIterator[Mirror]:
    async with mirror_of(standin, tmp_path / "strict", BINS) as mirror:
        yield mirror


def digest(standin: StandInHub, repo: str, path: str, kind: str = "models") -> str:
    found = standin.repo(repo, kind)
    return str(found.commits[found.head].files[path].sha256)


async def batch(mirror: Mirror, repo: str, *oids: str, token: str | None = None, **more: Any) -> Reply:
    asked = {"operation": "download", "transfers": ["basic"], "objects": [{"oid": oid, "size": 1} for oid in oids], **more}
    headers = {"Accept": LFS, "Content-Type": LFS} | ({"Authorization": f"Bearer {token}"} if token else {})
    return await mirror.post(f"/{repo}/info/lfs/objects/batch", json=asked, headers=headers)


@pytest.mark.parametrize("end", [".git", ""])
async def test_an_object_is_a_link_to_its_file_here(standin: StandInHub, mirror: Mirror, end: str) -> None:
    """An object that may be had comes with its true size and a link to us, by commit, behind which are the right bytes."""
    oid = digest(standin, "acme/tiny-bert", "model.safetensors")
    answer = await batch(mirror, f"ACME/tiny-bert{end}", oid)
    assert (answer.status, answer.headers["Content-Type"]) == (200, LFS)
    (row,) = answer.json()["objects"]
    href = row["actions"]["download"]["href"]
    assert href == f"{mirror.url}/acme/tiny-bert/resolve/{standin.repo('acme/tiny-bert').head}/model.safetensors"
    got = await mirror.get(href.removeprefix(mirror.url))
    assert hashlib.sha256(got.body).hexdigest() == oid
    assert row["size"] == len(got.body)
    assert not [call for call in standin.requests if call.path.endswith("/batch")]


async def test_every_object_is_judged_by_itself(standin: StandInHub, strict: Mirror) -> None:
    """A denied object carries 403, the sentence and a decision on the record; its neighbour is served, a stranger is 404."""
    fine, bad = (digest(standin, "acme/tiny-bert", name) for name in ("model.safetensors", "pytorch_model.bin"))
    elsewhere = digest(standin, "quantbarn/solid-7b-merge-GGUF", "solid-7b-merge-Q8_0.gguf")
    rows = (await batch(strict, "acme/tiny-bert.git", fine, bad, elsewhere)).json()["objects"]
    assert "actions" in rows[0]
    assert rows[1]["error"]["code"] == 403
    assert "may hold code" in rows[1]["error"]["message"]
    assert rows[2]["error"]["code"] == 404
    assert not [row for row in rows[1:] if "actions" in row]
    (event,) = strict.events("refused")
    assert "pytorch_model.bin" in json.dumps(event)
    assert event["decision"]["id"] in rows[1]["error"]["message"] or "bins" in rows[1]["error"]["message"]


async def test_a_project_that_is_denied_whole(standin: StandInHub, strict: Mirror) -> None:
    """The batch of a denied project is refused as its pages are, in the words that git-lfs prints."""
    answer = await batch(strict, "umbrella/orphan.git", digest(standin, "umbrella/orphan", "model.safetensors"))
    assert (answer.status, answer.headers["Content-Type"]) == (451, LFS)
    assert answer.json()["message"] == answer.headers["X-Error-Message"]
    assert answer.headers["X-Mirror-Decision"]


async def test_the_hub_has_its_say(standin: StandInHub, mirror: Mirror) -> None:
    """Of a gated repository objects are named to those whom the hub lets in, and its refusal of others is on the record."""
    oid = digest(standin, "acme/gated-auto", "model.safetensors")
    refused = await batch(mirror, "acme/gated-auto.git", oid)
    assert refused.status == 401
    assert "restricted" in refused.json()["message"]
    assert len(mirror.events("hub_refused")) == 1
    (row,) = (await batch(mirror, "acme/gated-auto.git", oid, token=ALICE)).json()["objects"]
    assert "authenticated" not in row
    assert (await mirror.get(row["actions"]["download"]["href"].removeprefix(mirror.url))).status == 401


async def test_an_object_of_another_branch(standin: StandInHub, mirror: Mirror) -> None:
    """An object that only the named ref has is found there; a ref that the hub has not is no hindrance."""
    repo = standin.repo("acme/reviews", "datasets")
    path, commit = "default/train/0000.parquet", repo.converts["parquet"]
    oid = repo.commits[commit].files[path].sha256
    missing = await batch(mirror, "datasets/acme/reviews.git", oid, ref={"name": "refs/heads/mine"})
    assert missing.json()["objects"][0]["error"]["code"] == 404
    found = await batch(mirror, "datasets/acme/reviews.git", oid, ref={"name": "refs/convert/parquet"})
    assert found.json()["objects"][0]["actions"]["download"]["href"].endswith(f"/datasets/acme/reviews/resolve/{commit}/{path}")


async def test_an_object_that_was_just_pushed(standin: StandInHub, mirror: Mirror) -> None:
    """An object newer than the list that is known is found at once; one that is nowhere costs a look every few seconds at most."""
    known = digest(standin, "acme/tiny-bert", "model.safetensors")
    await batch(mirror, "acme/tiny-bert.git", known)
    standin.repo("acme/tiny-bert").push(lfs={"new.safetensors": b"new" * 40_000})
    fresh = digest(standin, "acme/tiny-bert", "new.safetensors")
    mirror.pass_time(seconds=4)
    first, second = (await batch(mirror, "acme/tiny-bert.git", known, fresh)).json()["objects"]
    assert first["actions"]["download"]["href"]
    assert second["actions"]["download"]["href"].endswith(f"/{standin.repo('acme/tiny-bert').head}/new.safetensors")
    standin.requests.clear()
    for _ in range(3):
        (row,) = (await batch(mirror, "acme/tiny-bert.git", "0" * 64)).json()["objects"]
        assert row["error"]["code"] == 404
    assert not standin.requests
    mirror.pass_time(seconds=4)
    await batch(mirror, "acme/tiny-bert.git", "0" * 64)
    assert len(standin.requests.where(path="/api/models/acme/tiny-bert")) == 1


async def test_uploads_are_refused(standin: StandInHub, mirror: Mirror) -> None:
    """A batch that means to upload is a write: refused, recorded, and the hub hears nothing of it."""
    answer = await batch(mirror, "acme/tiny-bert.git", "0" * 64, operation="upload")
    assert (answer.status, answer.headers["Content-Type"]) == (403, LFS)
    assert "takes nothing in" in answer.json()["message"]
    assert len(mirror.events("write_refused")) == 1
    assert len(standin.requests) == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"[]", 400), (b"{", 400), (b'{"operation": "download"}', 422), (b'{"operation": "delete", "objects": []}', 422),
        (b'{"operation": "download", "objects": [{"oid": "../x", "size": 1}]}', 422), (b'{"operation": "download", "objects": [7]}', 422),
        (b'{"operation": "download", "ref": 3, "objects": []}', 400), (b'{"operation": "download", "hash_algo": "md5", "objects": []}', 409),
        (b'{"operation": "download", "transfers": ["ssh"], "objects": []}', 422),
        (b'{"operation": "download", "objects": [' + b",".join([b'{"oid": "' + b"0" * 64 + b'", "size": 1}'] * 1001) + b"]}", 413),
    ],
)  # fmt: skip
async def test_what_is_no_batch(standin: StandInHub, mirror: Mirror, body: bytes, status: int) -> None:
    """A body without a meaning is a 4xx that git-lfs can print, before anything is asked upstream."""
    answer = await mirror.post("/acme/tiny-bert.git/info/lfs/objects/batch", data=body, headers={"Content-Type": LFS})
    assert answer.status == status
    assert answer.json()["message"]
    assert len(standin.requests) == 0


async def run(folder: Path, *command: str) -> tuple[int, str]:
    """(return code, all output) of a command in a folder, with nothing of the user's own settings."""
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode()


@pytest.mark.skipif(not GIT_LFS, reason="git and git-lfs are not both installed")
async def test_git_lfs_itself(standin: StandInHub, strict: Mirror, tmp_path: Path) -> None:
    """git-lfs fetches what is allowed, with the right bytes, and prints the sentence for what is not."""
    repo, folder = standin.repo("acme/tiny-bert"), tmp_path / "work"
    folder.mkdir()
    files = repo.commits[repo.head].files
    await run(folder, "git", "init", "-q", "-b", "main", ".")
    await run(folder, "git", "remote", "add", "origin", f"{strict.url}/acme/tiny-bert")
    for key, value in {"user.name": "a", "user.email": "a@acme.example", "lfs.url": f"{strict.url}/acme/tiny-bert.git/info/lfs"}.items():
        await run(folder, "git", "config", key, value)
    for path in (".gitattributes", "model.safetensors", "pytorch_model.bin"):
        (folder / path).write_bytes(files[path].in_git)
    code, said = await run(folder, "git", "add", "-A")
    assert code == 0, said
    await run(folder, "git", "commit", "-q", "-m", "pointers")
    code, said = await run(folder, "git", "lfs", "fetch", "origin", "main")
    kept = {path.name: path.read_bytes() for path in (folder / ".git/lfs/objects").rglob("*") if path.is_file()}
    assert list(kept) == [files["model.safetensors"].sha256], said
    assert kept[files["model.safetensors"].sha256] == files["model.safetensors"].data
    assert code != 0
    assert "may hold code" in said
    assert not [data for data in kept.values() if CANARY in data]
