"""What the hub makes of files, tells beside repositories, and how clients in other languages ask for files."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mirror.core.nouns import Kind
from mirror.hubs.huggingface.derived import converted_path, links_turned, numbered
from mirror.hubs.huggingface.paths import Repo
from tests.support.standin.defaults import ALICE, BOB
from tests.support.standin.hub import StandInHub

from .conftest import Mirror, mirror_of

WEIGHTS = "/acme/tiny-bert/resolve/main/model.safetensors"
PARQUET = "/api/datasets/acme/reviews/parquet"
DENY = """version: 1
rules:
  - {id: weights, when: {file: ["*.safetensors", "*.parquet"]}, effect: deny}
  - {id: whole, when: {artifact: ["umbrella/*", "pkg:huggingface/acme/demo?repo_type=space"]}, effect: deny, legal: true}
"""


@pytest.fixture
async def strict(standin: StandInHub, tmp_path: Path) -> AsyncIterator[Mirror]:
    async with mirror_of(standin, tmp_path / "strict", DENY) as mirror:
        yield mirror


# --- other languages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("warm", [False, True])
async def test_the_first_byte_as_rust_and_javascript_ask_for_it(standin: StandInHub, mirror: Mirror, path: str, warm: bool) -> None:
    """`Range: bytes=0-0` instead of HEAD is 206 with the whole size, the commit and the hub's entity tag, and no redirect."""
    repo = standin.repo("acme/tiny-bert")
    file, target = repo.commits[repo.head].files[path], f"/acme/tiny-bert/resolve/main/{path}"
    if warm:
        await mirror.get(target)
    for accept in ("*/*", "application/vnd.xet-fileinfo+json, */*"):
        part = await mirror.get(target, Range="bytes=0-0", Accept=accept)
        assert (part.status, part.body) == (206, file.data[:1])
        assert part.headers["Content-Range"] == f"bytes 0-0/{len(file.data)}"
        assert part.headers["X-Repo-Commit"] == repo.head
        assert part.headers["ETag"] == f'"{file.sha256 if file.lfs else file.oid}"'
        assert "json" not in part.headers["Content-Type"]
        assert "Location" not in part.headers


async def test_the_calls_of_llama_cpp(standin: StandInHub, mirror: Mirror) -> None:
    """Refs, the tree of the commit, HEAD and a resumed GET by commit: the four calls of `llama -hf` end in the file."""
    repo, agent = standin.repo("quantbarn/solid-7b-merge-GGUF"), {"User_Agent": "llama-cpp/b7000"}
    refs = (await mirror.get(f"/api/models/{repo.name}/refs", **agent)).json()
    commit = next(branch["targetCommit"] for branch in refs["branches"] if branch["name"] == "main")
    rows = (await mirror.get(f"/api/models/{repo.name}/tree/{commit}?recursive=true", **agent)).json()
    path = next(row["path"] for row in rows if row["path"].endswith("Q4_K_M.gguf"))
    data = repo.commits[repo.head].files[path].data
    head = await mirror.get(f"/{repo.name}/resolve/{commit}/{path}", method="HEAD", **agent)
    assert (head.status, head.headers["Content-Length"], head.headers["Accept-Ranges"]) == (200, str(len(data)), "bytes")
    rest = await mirror.get(f"/{repo.name}/resolve/{commit}/{path}", Range="bytes=1000-", If_Range=head.headers["ETag"], **agent)
    assert (rest.status, rest.body) == (206, data[1000:])


# --- made of files --------------------------------------------------------------------------------------------------------


async def test_the_head_of_a_safetensors_file(standin: StandInHub, mirror: Mirror, strict: Mirror) -> None:
    """The tensor list is given where the file would be, and refused with the file, by rule and by the hub."""
    target = "/api/models/acme/tiny-bert/safetensors-metadata/model.safetensors"
    assert (await mirror.get(target)).json()["weight"]["dtype"] == "F32"
    refused = await strict.get(target)
    assert refused.status == 403
    assert "weights" in refused.headers["X-Error-Message"]
    gated = "/api/models/acme/gated-auto/safetensors-metadata/model.safetensors"
    assert (await mirror.get(gated)).status == 401
    assert (await mirror.get(gated, ALICE)).status == 200
    assert (await mirror.get(gated)).status == 401
    assert len(mirror.events("hub_refused")) >= 1


async def test_parquet_links_lead_here(standin: StandInHub, mirror: Mirror) -> None:
    """Every link of the conversion's list names the mirror, at each depth, and the file behind it comes from here, whole."""
    repo = standin.repo("acme/reviews", "datasets")
    data = repo.commits[repo.converts["parquet"]].files["default/train/0000.parquet"].data
    link = f"{mirror.url}{PARQUET}/default/train/0.parquet"
    assert (await mirror.get(PARQUET)).json() == {"default": {"train": [link]}}
    assert (await mirror.get(f"{PARQUET}/default")).json() == {"train": [link]}
    assert (await mirror.get(f"{PARQUET}/default/train")).json() == [link]
    for method in ("HEAD", "GET"):
        got = await mirror.get(f"{PARQUET}/default/train/0.parquet", method=method)
        assert (got.status, got.headers["X-Repo-Commit"]) == (200, repo.converts["parquet"])
    assert got.body == data
    assert (await mirror.get(f"{PARQUET}/default/train/0.parquet", Range="bytes=-4")).body == b"PAR1"
    assert [event for event in mirror.events("allowed") if "0000.parquet" in json.dumps(event)]


async def test_parquet_links_of_denied_files_are_left_out(standin: StandInHub, strict: Mirror, tmp_path: Path) -> None:
    """A list of the conversion names no file that a rule denies, at each depth; what is left out is on the record."""
    for target, empty in ((PARQUET, {"default": {"train": []}}), (f"{PARQUET}/default", {"train": []}), (f"{PARQUET}/default/train", [])):
        answer = await strict.get(target)
        assert answer.json() == empty
        assert "0000.parquet" in answer.headers["X-HF-Warning"]
    (event, *_) = strict.events("steered")
    assert "default/train/0000.parquet" in json.dumps(event)
    revision = "version: 1\nrules: [{id: r, when: {file: [elsewhere/*]}, effect: deny}]\n"
    async with mirror_of(standin, tmp_path / "other", revision) as other:
        assert len((await other.get(f"{PARQUET}/default/train")).json()) == 1
        assert not other.events("steered")


def test_which_file_a_number_means() -> None:
    """A numbered link is the file of that number in the split's folder, or in that of the part which was converted."""
    assert numbered("a%20b/train/7.parquet") == ("a b/train/0007.parquet", "a b/partial-train/0007.parquet")
    for other in ("a/b", "a/b/x.parquet", "a/../0.parquet", "a%2F..%2Fb/c/0.parquet", "a/b/c/0.parquet"):
        assert numbered(other) == ()


async def test_a_parquet_file_is_judged_as_the_file_it_is(strict: Mirror) -> None:
    """A rule on files reaches the conversion although its route does not name the file."""
    for method, headers in (("GET", {}), ("HEAD", {}), ("GET", {"Range": "bytes=-8"})):
        assert (await strict.get(f"{PARQUET}/default/train/0.parquet", method=method, **headers)).status == 403


def test_a_redirect_abroad_names_no_file() -> None:
    """Only a redirect to a conversion of the very dataset names a file; links elsewhere are dropped from lists."""
    repo = Repo(Kind.DATASET, "acme/reviews")
    start = "/datasets/acme/reviews/resolve/refs%2Fconvert%2Fparquet"
    assert converted_path(f"https://hub.example{start}/a/b%20c/0000.parquet", repo) == "a/b c/0000.parquet"
    for other in ("", f"{start}/", "/datasets/acme/other/resolve/refs%2Fconvert%2Fparquet/x", "/datasets/acme/reviews/resolve/main/x"):
        assert converted_path(other, repo) is None
    links = {"c": {"s": ["https://hub.example/api/datasets/acme/reviews/parquet/c/s/0.parquet", "https://evil.example/x", 7]}, "x": "y"}
    turned = links_turned(links, "/api/datasets/acme/reviews/parquet/", "http://m")
    assert turned == {"c": {"s": ["http://m/api/datasets/acme/reviews/parquet/c/s/0.parquet"]}, "x": None}


async def test_the_page_of_a_file_leads_to_the_file(mirror: Mirror, strict: Mirror) -> None:
    """`/blob/` redirects, within the house, to the file; where that is denied it is refused itself."""
    answer = await mirror.get("/acme/tiny-bert/blob/refs%2Fpr%2F1/model.safetensors?download=true")
    assert answer.status == 307
    assert answer.headers["Location"] == "/acme/tiny-bert/resolve/refs%2Fpr%2F1/model.safetensors?download=true"
    assert (await mirror.get(answer.headers["Location"])).status == 200
    assert (await strict.get("/acme/tiny-bert/blob/main/model.safetensors")).status == 403


async def test_the_state_of_a_space(mirror: Mirror, strict: Mirror) -> None:
    """The runtime of a space is told as the hub tells it, and refused where the space is."""
    assert (await mirror.get("/api/spaces/acme/demo/runtime")).json()["stage"] == "RUNNING"
    assert (await strict.get("/api/spaces/acme/demo/runtime")).status == 451


# --- beside repositories --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    ["/api/organizations/acme/overview", "/api/users/acme/overview", "/api/daily_papers?limit=2", "/api/collections", "/api/collections/acme/best-0", "/api/models-tags-by-type", "/api/datasets-tags-by-type", "/api/tasks"],
)  # fmt: skip
async def test_what_is_told_beside_repositories(standin: StandInHub, mirror: Mirror, target: str) -> None:
    """People, organisations, collections, papers and tags come through as JSON, query and all, once a minute."""
    for _ in range(2):
        answer = await mirror.get(target)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json; charset=utf-8")
        answer.json()
    assert [call.raw_path for call in standin.requests] == [target]


async def test_such_pages_are_kept_per_caller(standin: StandInHub, mirror: Mirror) -> None:
    """What one token was told is not told to another, nor to nobody; the vocabulary is one for all, asked for by nobody."""
    for token in (ALICE, BOB, None, ALICE, BOB, None):
        await mirror.get("/api/organizations/acme/overview", token)
        await mirror.get("/api/tasks", token)
    assert [call.token for call in standin.requests if call.path.endswith("/overview")] == [ALICE, BOB, None]
    assert [call.token for call in standin.requests if call.path == "/api/tasks"] == [None]


async def test_an_owner_nobody_knows(mirror: Mirror) -> None:
    """The hub's own 404 is replayed; a name without a meaning is 400."""
    assert (await mirror.get("/api/users/nobody/overview")).status == 404
    assert (await mirror.get("/api/users/%ff/overview")).status == 400


# --- listings of repositories -----------------------------------------------------------------------------------------------


async def test_a_list_leaves_out_what_is_denied_whole(standin: StandInHub, strict: Mirror) -> None:
    """Denied projects are in no page of a list, which says so, has one event, and still leads to its next page."""
    standin.list_page = 4
    seen: list[str] = []
    target: str | None = "/api/models?limit=4"
    while target:
        answer = await strict.get(target)
        seen += [row["id"] for row in answer.json()]
        link = answer.headers.get("Link")
        target = link.split(">")[0].removeprefix(f"<{strict.url}") if link else None
    listed = {repo.name for (kind, _), repo in standin.world.repos.items() if kind == "models" and not repo.private and repo.disabled is not True}
    assert set(seen) == {name for name in listed if not name.startswith("umbrella/")}
    assert any(name.startswith("umbrella/") for name in listed)
    assert strict.events("steered")
    alone = await strict.get("/api/models?author=umbrella")
    assert alone.json() == []
    assert alone.headers["X-HF-Warning"].startswith("policy-whole-umbrella-")
    assert (await strict.get("/api/spaces")).json() == []


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ("{license: [mit]}", False),
        ("{ancestor: {any: ['globex/*']}}", True),
        ("{license: [mit], ancestor: {any: ['globex/*']}}", True),
    ],
)
async def test_a_list_hides_nothing_that_it_cannot_judge(standin: StandInHub, tmp_path: Path, rule: str, kept: bool) -> None:
    """Where a rule wants to know what rows do not tell, nothing is left out of lists; the pages themselves are refused or not."""
    policy = f"version: 1\nrules:\n  - {{id: one, when: {rule}, effect: deny, on_unknown: deny}}\n"
    async with mirror_of(standin, tmp_path / "m", policy) as mirror:
        names = {row["id"] for row in (await mirror.get("/api/models?limit=1000")).json()}
        assert ("globex/solid-7b" in names) == kept
        assert "initech/solid-7b-chat" in names
