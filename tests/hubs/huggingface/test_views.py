"""Pages about repositories: whole, filtered where something is denied, free of Xet, their links turned round."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest

from tests.support.standin.defaults import ALICE, BOB
from tests.support.standin.hub import StandInHub

from .conftest import Mirror, mirror_of

PICKLES = 'version: 1\nrules:\n  - {id: pickle, when: {file: ["*.bin", "shard-03/*"]}, effect: deny, reason: "pickles run code"}\n'


@pytest.mark.parametrize(
    "target",
    [
        "/api/models/acme/tiny-bert", "/api/models/acme/tiny-bert?blobs=true", "/api/models/acme/tiny-bert/revision/main?securityStatus=true",
        "/api/models/acme/tiny-bert?expand=siblings&expand=xetEnabled&expand=sha", "/api/models/acme/tiny-bert/tree/main?recursive=true",
        "/api/models/acme/tiny-bert/tree/main?recursive=true&expand=true", "/api/datasets/acme/reviews/tree/main/data", "/api/models/acme/tiny-bert/refs?include_prs=1",
        "/api/models/acme/tiny-bert/commits/main", "/api/spaces/acme/demo", "/api/kernels/acme/fast-kernel", "/api/models/tinybert", "/api/models/tinybert/refs",
        "/api/models?author=acme&full=true", "/api/datasets", "/api/spaces", "/api/kernels", "/api/models/acme/gated-auto", "/api/models/acme/tiny-bert/auth-check",
    ],
)  # fmt: skip
async def test_pages_arrive_without_xet(standin: StandInHub, mirror: Mirror, target: str) -> None:
    """Every page answers 200, with an entity tag that revalidates, and the word Xet occurs nowhere in it (trap 2)."""
    answer = await mirror.get(target)
    assert answer.status == 200, answer.body
    assert b"xet" not in answer.body.lower()
    assert not [name for name, value in answer.headers.items() if "xet" in (name + value).lower()]
    if "ETag" in answer.headers:
        assert (await mirror.get(target, If_None_Match=answer.headers["ETag"])).status == 304


async def test_information_without_a_query_has_names_only(standin: StandInHub, mirror: Mirror) -> None:
    """`siblings` has sizes and digests only where `blobs=true` asks for them, as at the hub."""
    plain = (await mirror.get("/api/models/acme/tiny-bert")).json()["siblings"]
    blobs = (await mirror.get("/api/models/acme/tiny-bert?blobs=true")).json()["siblings"]
    assert {tuple(row) for row in plain} == {("rfilename",)}
    assert all("blobId" in row and "size" in row for row in blobs)


async def test_a_listing_is_paged_through_the_mirror(standin: StandInHub, mirror: Mirror) -> None:
    """Following `rel=next` gives every file once, each link names the mirror, and pages are of one commit (traps 7, 23)."""
    seen: list[str] = []
    target: str | None = "/api/models/acme/many-files/tree/main?recursive=true"
    while target:
        answer = await mirror.get(target)
        seen += [row["path"] for row in answer.json() if row["type"] == "file"]
        link = answer.headers.get("Link")
        assert link is None or link.startswith(f"<{mirror.url}/")
        assert link is None or standin.repo("acme/many-files").head in link
        target = re.match(r"<http://[^/]+([^>]*)>", link)[1] if link else None
    repo = standin.repo("acme/many-files")
    assert sorted(seen) == sorted(repo.commits[repo.head].files)


async def test_models_are_listed_through_the_mirror(standin: StandInHub, mirror: Mirror) -> None:
    """The list of models keeps its query and its next page leads here."""
    answer = await mirror.get("/api/models?limit=2&sort=downloads")
    assert len(answer.json()) == 2
    assert answer.headers["Link"].startswith(f"<{mirror.url}/api/models?")


@pytest.mark.parametrize(
    "options", [{"data": {"paths": ["config.json", "absent.txt", "model.safetensors"]}}, {"json": {"paths": ["config.json", "model.safetensors"], "expand": True}}]
)
async def test_paths_info(standin: StandInHub, mirror: Mirror, options: dict) -> None:
    """A form and JSON are both read; unknown paths are left out; no Xet (traps 2, 28)."""
    answer = await mirror.post("/api/models/acme/tiny-bert/paths-info/main", **options)
    assert answer.status == 200
    assert {row["path"] for row in answer.json()} == {"config.json", "model.safetensors"}
    assert b"xet" not in answer.body.lower()
    for bad in ({"data": b"\xff", "headers": {"Content-Type": "application/json"}}, {"json": [1]}, {"json": {"paths": [1]}}):
        assert (await mirror.post("/api/models/acme/tiny-bert/paths-info/main", **bad)).status == 400


async def test_denied_files_are_left_out_and_announced(standin: StandInHub, tmp_path) -> None:
    """Files that a rule denies are in no page, a warning names them, one `steered` event says so, and their URL is refused."""
    async with mirror_of(standin, tmp_path / "m", PICKLES) as mirror:
        tree = "/api/models/acme/tiny-bert/tree/main?recursive=true"
        info = "/api/models/acme/tiny-bert"
        for answer in (await mirror.get(tree), await mirror.get(info), await mirror.get(f"{info}?blobs=true")):
            assert answer.status == 200
            assert '"pytorch_model.bin"' not in answer.body.decode()
            assert '"model.safetensors"' in answer.body.decode()
            topic, _, text = answer.headers["X-HF-Warning"].partition("; ")
            assert topic == "policy-pickle-acme-tiny-bert"
            assert "pytorch_model.bin" in text
        asked = await mirror.post("/api/models/acme/tiny-bert/paths-info/main", json={"paths": ["pytorch_model.bin", "config.json"]})
        assert [row["path"] for row in asked.json()] == ["config.json"]
        assert (await mirror.get("/acme/tiny-bert/resolve/main/config.json")).status == 200
        for method in ("GET", "HEAD"):
            refused = await mirror.get("/acme/tiny-bert/resolve/main/pytorch_model.bin", method=method)
            assert (refused.status, refused.headers["X-Error-Code"]) == (403, "GatedRepo")
        assert mirror.events("steered")


async def test_paging_stays_right_where_files_are_left_out(standin: StandInHub, tmp_path) -> None:
    """A page of a listing with denied files still leads to the next one, and nothing denied is in any."""
    async with mirror_of(standin, tmp_path / "m", PICKLES) as mirror:
        first = await mirror.get("/api/models/acme/many-files/tree/main?recursive=true")
        second = await mirror.get(re.match(r"<http://[^/]+([^>]*)>", first.headers["Link"])[1])
        files = [row["path"] for answer in (first, second) for row in answer.json() if row["type"] == "file"]
        repo = standin.repo("acme/many-files")
        assert sorted(files) == sorted(path for path in repo.commits[repo.head].files if not path.startswith("shard-03/"))


async def test_identity_is_never_stored_or_shared(standin: StandInHub, mirror: Mirror) -> None:
    """The identity route goes to the hub each time, in the caller's name, and says no without one."""
    for token, name in ((ALICE, "alice"), (BOB, "bob"), (ALICE, "alice")):
        answer = await mirror.get("/api/whoami-v2", token)
        assert (answer.json()["name"], answer.headers["Cache-Control"]) == (name, "no-store")
    assert (await mirror.get("/api/whoami-v2")).status == 401
    assert len([call for call in standin.requests if call.path == "/api/whoami-v2"]) == 4


async def test_a_private_page_stays_with_its_token(standin: StandInHub, mirror: Mirror) -> None:
    """Information, tree and listing that Alice may see never reach another caller."""
    for target in ("/api/models/acme/secret", "/api/models/acme/secret/tree/main", "/api/models/acme/secret/commits/main"):
        assert (await mirror.get(target, ALICE)).status == 200
        for token in (None, BOB):
            assert (await mirror.get(target, token)).status in (401, 404)
    assert "acme/secret" in {row["id"] for row in (await mirror.get("/api/models?author=acme", ALICE)).json()}
    for token in (None, BOB):
        assert "acme/secret" not in {row["id"] for row in (await mirror.get("/api/models?author=acme", token)).json()}


async def test_commits_of_a_gated_repository(standin: StandInHub, mirror: Mirror) -> None:
    """Commits are refused where the contents are, although information and tree are public (trap 18)."""
    assert (await mirror.get("/api/models/acme/gated-auto/tree/main")).status == 200
    answer = await mirror.get("/api/models/acme/gated-auto/commits/main")
    assert (answer.status, answer.headers["X-Error-Code"]) == (401, "GatedRepo")
    assert (await mirror.get("/api/models/acme/gated-auto/commits/main", ALICE)).status == 200
    assert (await mirror.get("/api/models/acme/gated-auto/commits/main")).status == 401


async def test_the_registry_of_harnesses_is_quick_or_absent(standin: StandInHub, mirror: Mirror) -> None:
    """A hub that hangs on it costs a client process about two seconds, not three and a failure (facts 1)."""
    standin.faults.add("hang_headers", "/api/agent-harnesses", seconds=30)
    answer = await asyncio.wait_for(mirror.get("/api/agent-harnesses"), 2.9)
    assert answer.status == 404
    standin.faults.clear()


@pytest.mark.parametrize("fault", ["garbage_http", "garbage_json", "wrong_json"])
async def test_garbage_from_the_hub(standin: StandInHub, mirror: Mirror, fault: str) -> None:
    """What makes no sense is a 502 with a problem body that names the upstream and the fault (bad input of the issue)."""
    standin.faults.add(fault, "/api/models/acme/tiny-bert*")
    answer = await mirror.get("/api/models/acme/tiny-bert")
    assert answer.status == 502
    assert standin.url in answer.json()["detail"]
    assert answer.headers["Content-Type"] == "application/problem+json"


CLIENT = """
import json, sys
from huggingface_hub import HfApi, hf_hub_download, snapshot_download, HfFileSystem, list_models
endpoint = sys.argv[1]
folder = snapshot_download("acme/tiny-bert")
api = HfApi()
info = api.model_info("acme/tiny-bert", files_metadata=True)
paths = api.get_paths_info("acme/tiny-bert", ["model.safetensors"])
tree = [f.path for f in api.list_repo_tree("acme/many-files", recursive=True)]
data = hf_hub_download("acme/reviews", "extra/reviews.parquet", repo_type="dataset")
fs = HfFileSystem()
part = fs.open("acme/tiny-bert/model.safetensors").read(100)
print(json.dumps({"folder": folder, "sizes": {s.rfilename: s.size for s in info.siblings}, "path": paths[0].size, "tree": len(tree),
  "data": data, "part": part.hex(), "models": sorted(m.id for m in list_models(author="acme"))}))
"""


async def test_a_real_client_with_xet_on(standin: StandInHub, mirror: Mirror, tmp_path: Path) -> None:
    """huggingface_hub with hf_xet downloads, lists, reads parts and searches through the mirror, and never goes to the store."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, mirror.url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", "HF_ENDPOINT": mirror.url, "HF_HOME": str(tmp_path / "hf"), "HOME": str(tmp_path)},
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 100)
    assert process.returncode == 0, err.decode()[-3000:]
    said = json.loads(out)
    repo = standin.repo("acme/tiny-bert")
    files = repo.commits[repo.head].files
    assert {p: (Path(said["folder"]) / p).read_bytes() for p in files} == {p: file.data for p, file in files.items()}
    assert said["sizes"] == {p: len(file.data) for p, file in files.items()}
    assert said["part"] == files["model.safetensors"].data[:100].hex()
    assert said["tree"] >= 1205
    assert "acme/tiny-bert" in said["models"]
    assert not [call for call in standin.requests if call.origin == "cas" or "xet" in call.path.split("/")[-2]]


async def test_pages_are_compressed_for_who_takes_it(mirror: Mirror) -> None:
    """A listing is gzip for a client that accepts it and plain for one that does not; each has its own entity tag, and both their 304."""
    target = "/api/models/acme/many-files/tree/main?recursive=true"
    plain = await mirror.get(target, Accept_Encoding="identity")
    packed = await mirror.get(target, Accept_Encoding="gzip, deflate")
    assert (plain.headers.get("Content-Encoding"), packed.headers["Content-Encoding"]) == (None, "gzip")
    assert packed.json() == plain.json()
    assert int(packed.headers["Content-Length"]) < len(plain.body) / 3
    assert packed.headers["ETag"] != plain.headers["ETag"]
    assert "Accept-Encoding" in packed.headers["Vary"]
    for answer, taken in ((plain, "identity"), (packed, "gzip")):
        assert (await mirror.get(target, Accept_Encoding=taken, If_None_Match=answer.headers["ETag"])).status == 304


async def test_offline_answers_come_from_what_is_known(standin: StandInHub, tmp_path: Path) -> None:
    """Without a network a folder that is none, some fields of a page and whose token it is are answered in the hub's way, and nobody is asked."""
    about = "/api/models/acme/tiny-bert"
    async with mirror_of(standin, tmp_path / "m") as mirror:
        for target in (f"{about}/tree/main?recursive=true&expand=false", about, f"{about}/revision/main"):
            assert (await mirror.get(target)).status == 200
    async with mirror_of(standin, tmp_path / "m", offline=True) as mirror:
        standin.requests.clear()
        folder = await mirror.get(f"{about}/tree/main/additional_chat_templates?recursive=false&expand=false")
        assert (folder.status, folder.headers["X-Error-Code"]) == (404, "EntryNotFound")
        assert (await mirror.get(f"{about}?expand=likes")).json().keys() == {"_id", "id", "likes"}
        nobody, somebody = await mirror.get("/api/whoami-v2"), await mirror.get("/api/whoami-v2", ALICE)
        assert (nobody.status, somebody.status) == (401, 403)
        assert standin.requests.lines() == []
