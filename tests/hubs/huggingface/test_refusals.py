"""How this dialect says no: by policy, to writes, to git, to routes that no rule can judge."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.standin.defaults import CANARY
from tests.support.standin.hub import StandInHub

from .conftest import Mirror, mirror_of

DENY = """version: 1
rules:
  - {id: no-acme, when: {artifact: ["acme/*"]}, effect: deny, legal: true, reason: "is published by Acme"}
  - {id: recalled, when: {artifact: ["umbrella/handed-on"]}, effect: deny, recall: true}
  - {id: old, when: {artifact: ["globex-community/*"]}, effect: deny}
  - {id: bins, when: {file: ["*.bin"]}, effect: deny}
  - {id: careful, when: {artifact: ["tinybert"]}, effect: warn, reason: "is old"}
"""
LINEAGE = """version: 1
rules:
  - {id: line, when: {ancestor: {any: ["globex/*"]}}, effect: deny, on_unknown: allow}
"""


@pytest.fixture
async def strict(standin: StandInHub, tmp_path: Path):
    async with mirror_of(standin, tmp_path / "strict", DENY) as mirror:
        yield mirror


SPELLINGS = [
    "/acme/tiny-bert/resolve/main/config.json", "/ACME/Tiny-Bert/resolve/main/config.json", "/%61cme/tiny-bert/resolve/main/config.json",
    "//acme//tiny-bert/resolve/main/config.json", "/acme/old-name/resolve/main/config.json", "/oldcorp/old-name/resolve/main/config.json",
    "/acme/tiny-bert/resolve/v1.0/config.json", "/acme/tiny-bert/resolve/refs%2Fpr%2F1/config.json", "/acme/tiny-bert/raw/main/config.json",
    "/acme/tiny-bert/raw/main/pytorch_model.bin", "/acme/tiny-bert/resolve/main/config.json?download=true", "/datasets/acme/reviews/resolve/main/data/train.csv",
    "/spaces/acme/demo/resolve/main/app.py", "/kernels/acme/fast-kernel/resolve/main/README.md", "/api/models/acme/tiny-bert", "/api/models/oldcorp/old-name",
    "/api/models/acme/tiny-bert/tree/main", "/api/models/ACME/tiny-bert/refs", "/api/models/acme/tiny-bert/commits/main", "/api/models/acme/tiny-bert/auth-check",
    "/acme/tiny-bert/resolve/main/no-such-file", "/solid2/resolve/main/config.json", "/api/models/acme/tiny-bert/revision/main?expand=sha",
    "/acme/tiny-bert/resolve/main/pytorch%5Fmodel%2Ebin", "/acme/tiny-bert/resolve/main/pytorch_model.bin",
]  # fmt: skip


@pytest.mark.parametrize("target", SPELLINGS)
async def test_no_spelling_gets_round_a_rule(strict: Mirror, target: str) -> None:
    """Case, escapes, slashes, old names, revisions and routes all meet the rule, by GET, HEAD and range, before any byte (P2)."""
    for method, headers in (("GET", {}), ("HEAD", {}), ("GET", {"Range": "bytes=0-9"})):
        answer = await strict.get(target, method=method, **headers)
        assert answer.status in (403, 451), (method, answer.status)
        assert answer.headers["X-Error-Code"] == "GatedRepo"
        assert CANARY not in answer.body


async def test_the_whole_of_a_refusal(strict: Mirror) -> None:
    """451 for a legal rule, the sentence in every place a client looks, a problem body, and an event before the answer."""
    answer = await strict.get("/acme/tiny-bert/resolve/main/config.json")
    assert answer.status == 451
    sentence = answer.headers["X-Error-Message"]
    assert "no-acme" in sentence
    assert "is published by Acme" in sentence
    assert answer.headers["X-HF-Warning"] == f"policy-no-acme-acme-tiny-bert; {sentence}"
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert 'rel="blocked-by"' in answer.headers["Link"]
    assert answer.json()["error"] == sentence
    assert [event["decision"]["id"] for event in strict.events("refused")] == [answer.headers["X-Mirror-Decision"]]


async def test_a_recall_stops_the_silent_fall_back(strict: Mirror) -> None:
    """A rule with `recall` answers `RevisionNotFound`, which alone keeps clients from their old copy (facts 5)."""
    answer = await strict.get("/umbrella/handed-on/resolve/main/config.json", method="HEAD")
    assert (answer.status, answer.headers["X-Error-Code"]) == (403, "RevisionNotFound")


async def test_a_warning_serves(strict: Mirror) -> None:
    """`warn` serves file and page and says so in `X-HF-Warning`."""
    for target in ("/tinybert/resolve/main/config.json", "/api/models/tinybert"):
        answer = await strict.get(target)
        assert answer.status == 200
        assert answer.headers["X-HF-Warning"].startswith("policy-careful-tinybert; ")


async def test_lineage_is_followed_at_every_hop(standin: StandInHub, tmp_path: Path) -> None:
    """A quantised merge of a chat model of a denied base is refused, and its sentence shows the way; loops and orphans end."""
    async with mirror_of(standin, tmp_path / "m", LINEAGE) as mirror:
        for repo in ("globex/solid-7b", "acme/tiny-bert", "umbrella/loop-a", "umbrella/orphan"):
            expected = 200
            assert (await mirror.get(f"/{repo}/resolve/main/config.json")).status == expected, repo
        for repo in ("initech/solid-7b-chat", "hooli/solid-7b-merge", "quantbarn/solid-7b-merge-GGUF", "quantbarn/solid-7b-adapter"):
            answer = await mirror.get(f"/{repo}/resolve/main/README.md")
            assert answer.status == 403, repo
            assert "globex/solid-7b" in answer.headers["X-Error-Message"]


async def test_lineage_that_takes_too_long_is_pending(standin: StandInHub, tmp_path: Path) -> None:
    """Past the patience a request is answered 503 with Retry-After, never served unjudged; the search goes on."""
    standin.faults.add("latency", "/api/models/globex/solid-7b*", seconds=1.0)
    async with mirror_of(standin, tmp_path / "m", LINEAGE, lineage_patience=0.3) as mirror:
        answer = await mirror.get("/initech/solid-7b-chat/resolve/main/README.md")
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) >= 1
        for _ in range(40):
            await asyncio.sleep(0.1)
            answer = await mirror.get("/initech/solid-7b-chat/resolve/main/README.md")
            if answer.status != 503:
                break
        assert answer.status == 403


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/api/repos/create"), ("DELETE", "/api/repos/delete"), ("POST", "/api/repos/move"), ("POST", "/api/models/acme/x/commit/main"),
        ("POST", "/api/models/acme/x/preupload/main"), ("POST", "/api/models/acme/x/branch/b"), ("POST", "/api/models/acme/x/tag/main"),
        ("PUT", "/api/models/acme/x/settings"), ("PATCH", "/api/collections/x"), ("POST", "/acme/x.git/git-receive-pack"), ("POST", "/api/buckets/acme/b/batch"),
        ("DELETE", "/acme/tiny-bert/resolve/main/config.json"), ("POST", "/api/models/acme/tiny-bert"), ("POST", "/api/models/acme/x/super-squash/main"),
    ],
)  # fmt: skip
async def test_writes_are_refused_and_recorded(standin: StandInHub, mirror: Mirror, method: str, target: str) -> None:
    """Every write is a 403 with a sentence and one event, and nothing of it reaches the hub."""
    async with mirror.session.request(method, mirror.url + target, data=b"x") as answer:
        assert answer.status == 403
        assert await answer.read()
    assert [event["subject"] for event in mirror.events("write_refused")] == [f"huggingface:{target}"]
    assert len(standin.requests) == 0


@pytest.mark.parametrize(
    "target",
    ["/api/buckets/acme/b", "/buckets/acme/b/resolve/x", "/v2/acme/x/tags/list", "/api/models/acme/tiny-bert/scan", "/api/collections/x/y/z", "/api/jobs", "/acme/tiny-bert", "/acme/tiny-bert/commit/main", "/settings/tokens", "/api/models/acme/tiny-bert/parquet"],
)  # fmt: skip
async def test_routes_that_no_rule_can_judge(standin: StandInHub, mirror: Mirror, target: str) -> None:
    """What is not in the table is a 403 with a sentence and an event; the hub is not asked."""
    answer = await mirror.get(target)
    assert answer.status == 403
    assert answer.json()["error"] == answer.headers["X-Error-Message"]
    assert [event["subject"] for event in mirror.events("route_refused")] == [f"huggingface:{target}"]
    assert len(standin.requests) == 0


async def test_unknown_routes_may_be_forwarded(standin: StandInHub, tmp_path: Path) -> None:
    """Where the operator says `forward`, JSON of at most a megabyte is passed on, in the caller's name, without Xet."""
    async with mirror_of(standin, tmp_path / "m", unknown_routes="forward") as mirror:
        answer = await mirror.get("/api/models/acme/tiny-bert/treesize/main")
        assert (answer.status, answer.json()["path"]) == (200, "/")
        html = await mirror.get("/acme/tiny-bert/commit/main")
        assert html.status == 403  # not an API route: no rule could judge it


async def test_xet_tokens_are_not_given(standin: StandInHub, mirror: Mirror) -> None:
    """Of a repository without large files the token routes answer 404, and they are never passed on (trap 2)."""
    for verb in ("read", "write"):
        assert (await mirror.get(f"/api/models/acme/tiny-bert/xet-{verb}-token/main")).status == 404
    assert not [call for call in standin.requests if "xet" in call.path]


async def test_telemetry_is_swallowed(standin: StandInHub, mirror: Mirror) -> None:
    """What clients report stays in the house."""
    assert (await mirror.get("/api/telemetry/gradio/x", method="HEAD")).status == 200
    assert (await mirror.post("/v1/telemetry", data=b"{}")).status == 204
    assert len(standin.requests) == 0


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
async def test_git_prints_why(standin: StandInHub, mirror: Mirror, tmp_path: Path) -> None:
    """`git clone` fails with our sentence and the command to use instead on its own terminal."""
    process = await asyncio.create_subprocess_exec(
        "git", "clone", f"{mirror.url}/acme/tiny-bert", str(tmp_path / "c"), stderr=asyncio.subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "GIT_TERMINAL_PROMPT": "0"},
    )  # fmt: skip
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode != 0
    assert b"remote: git access is not served by this mirror" in err
    assert b"hf download acme/tiny-bert" in err


CLIENT = """
import sys
from huggingface_hub import hf_hub_download, snapshot_download, model_info
for call in (lambda: hf_hub_download("acme/tiny-bert", "config.json"), lambda: snapshot_download("acme/tiny-bert"), lambda: model_info("acme/tiny-bert")):
    try:
        call()
    except Exception as error:
        print("SAID", type(error).__name__, str(error).replace(chr(10), " "))
    else:
        print("SERVED")
"""


async def test_a_real_client_shows_the_sentence(strict: Mirror, tmp_path: Path) -> None:
    """huggingface_hub shows rule and cause for a file, a snapshot and a page, and none of them is served."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", "HF_ENDPOINT": strict.url, "HF_HOME": str(tmp_path / "hf"), "HOME": str(tmp_path)},
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 100)
    lines = out.decode().splitlines()
    assert len(lines) == 3
    for line in lines:
        assert line.startswith("SAID")
        assert "no-acme" in line
        assert "is published by Acme" in line


DEFAULT_DENY = """version: 1
defaults: {action: deny}
rules:
  - {id: read, when: {artifact: ["pkg:huggingface/acme/*"], file: ["*.json"]}, effect: allow}
  - {id: bins, when: {file: ["*.bin"]}, effect: deny}
"""


async def test_a_default_refuses_what_there_is(standin: StandInHub, tmp_path: Path) -> None:
    """Where no rule speaks of a file and the default is deny, a repository that is served says that it has it not; what a rule denies, what is there, and all of a repository that is not served is refused."""
    async with mirror_of(standin, tmp_path / "m", DEFAULT_DENY) as mirror:
        for file, status, code in (
            ("acme/tiny-bert/resolve/main/config.json", 200, None), ("acme/tiny-bert/resolve/main/tiny-bert.py", 404, "EntryNotFound"),
            ("acme/tiny-bert/resolve/main/vocab.txt", 403, "GatedRepo"), ("acme/tiny-bert/resolve/main/nothing.bin", 403, "GatedRepo"),
            ("hooli/solid-7b-merge/resolve/main/nothing.txt", 403, "GatedRepo"),
        ):  # fmt: skip
            for method in ("HEAD", "GET"):
                answer = await mirror.get(f"/{file}", method=method)
                assert (answer.status, answer.headers.get("X-Error-Code")) == (status, code), file
