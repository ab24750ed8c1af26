"""`scan`: the hub's verdicts on files are judged on every route, asked for in batches, and only where a rule reads them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mirror.hubs.huggingface.scans import BATCH, scan_of
from mirror.store.archive import EvidenceArchive
from tests.support.standin.defaults import ALICE, BOB
from tests.support.standin.hub import StandInHub
from tests.support.standin.hub_api import scan_status

from .conftest import Mirror, mirror_of

HOLD = """version: 1
rules:
  - id: until-scanned
    when: {ecosystem: huggingface, scan: {none: [safe]}}
    effect: quarantine
    release: auto
    on_unknown: review
"""
TINY, WEIGHTS = "acme/tiny-bert", "model.safetensors"
QUEUED = {**scan_status(WEIGHTS), "status": "queued", "jFrogScan": {"status": "queued", "message": ""}}
QUANT, GGUF = "quantbarn/solid-7b-merge-GGUF", "solid-7b-merge-Q4_K_M.gguf"


@pytest.fixture
async def holding(standin: StandInHub, tmp_path: Path) -> AsyncIterator[Mirror]:
    async with mirror_of(standin, tmp_path / "holding", HOLD) as mirror:
        yield mirror


def asked(standin: StandInHub) -> list[list[str]]:
    """The paths of every request for verdicts."""
    return [json.loads(call.body)["paths"] for call in standin.requests if "/paths-info/" in call.path]


def row(**status: Any) -> dict[str, Any]:
    return {"type": "file", "path": "a.bin", "securityFileStatus": status}


IMPORTS = [{"module": "torch", "name": "FloatStorage", "safety": "innocuous"}, {"module": "os", "name": "system", "safety": "dangerous"}]


@pytest.mark.parametrize(
    ("told", "value", "said"),
    [
        (row(status="safe", avScan={"status": "safe", "message": "No security issues detected"}, jFrogScan={"status": "unscanned"}), "safe", "the hub's scan"),
        (row(status="queued", avScan={"status": "safe"}, jFrogScan={"status": "queued", "message": ""}), "queued", "JFrog"),
        (row(status="unscanned", avScan={"status": "unscanned"}, pickleImportScan={"status": "unscanned"}), "unscanned", "virus scanner; pickle scanner"),
        (row(status="error", avScan={"status": "error", "message": "timed out"}), "error", "virus scanner: timed out"),
        (row(status="caution", virusTotalScan={"status": "caution", "message": "1/76 engines"}), "caution", "VirusTotal: 1/76 engines"),
        (row(status="suspicious", protectAiScan={"status": "suspicious", "message": "odd\nlayer"}), "suspicious", "Protect AI: odd layer"),
        (row(status="unsafe", pickleImportScan={"status": "unsafe", "pickleImports": IMPORTS}), "unsafe", "pickle scanner: imports os.system"),
        # A finding outweighs the summary: other scans may be under way.
        (row(status="queued", avScan={"status": "unsafe", "message": "Eicar"}), "unsafe", "virus scanner: Eicar"),
        (row(status="safe", newScan={"status": "unsafe", "message": "m" * 500}), "unsafe", "new: " + "m" * 120),
        # As the hub told it until October 2024, and as it told it in between.
        (row(status="safe", avScan={"virusFound": False}, pickleImportScan=None), "safe", "the hub's scan"),
        ({"security": {"safe": False, "avScan": {"virusFound": True, "virusNames": ["Eicar"]}}}, "unsafe", "virus scanner: Eicar"),
        ({"security": {"safe": True, "pickleImportScan": {"highestSafetyLevel": "suspicious", "imports": IMPORTS}}}, "suspicious", "pickle scanner: imports os.system"),
        ({"security": {"avScan": {"virusFound": False}}}, "safe", "the hub's scan"),
        # Words that nobody knows are not good ones.
        (row(status="superb"), "error", "the hub's scan"), (row(status=7), "error", "the hub's scan"),
        (row(status="safe", avScan={"status": "splendid"}), "safe", "the hub's scan"),
    ],
)  # fmt: skip
def test_verdicts_in_every_form(told: dict[str, Any], value: str, said: str) -> None:
    """Each form of the hub's answer has one verdict of the closed vocabulary, and names the scanner that gave it."""
    fact = scan_of(told)
    assert fact is not None
    assert (fact.value, fact.source) == (value, said)


@pytest.mark.parametrize("told", [{}, {"securityFileStatus": None}, row(), {"security": None}, row(avScan=None), {"securityFileStatus": "safe"}])
def test_what_the_hub_does_not_tell_is_unknown(told: dict[str, Any]) -> None:
    """A row without a verdict says nothing, and never that all is well."""
    assert scan_of(told) is None


def digest(standin: StandInHub, repo: str, path: str) -> str:
    found = standin.repo(repo)
    return str(found.commits[found.head].files[path].sha256)


async def everywhere(standin: StandInHub, mirror: Mirror) -> dict[str, Any]:
    """What each route says of `WEIGHTS` and `GGUF`: a status, or whether a listing has it."""
    head = standin.repo(TINY).head
    file = f"resolve/main/{WEIGHTS}"
    found: dict[str, Any] = {}
    for target in (f"/{TINY}/{file}", f"/api/resolve-cache/models/{TINY}/{head}/{WEIGHTS}", f"/{TINY}/raw/main/{WEIGHTS}"):
        for method in ("GET", "HEAD"):
            found[f"{method} {target}"] = (await mirror.get(target, method=method)).status
    found["range"] = (await mirror.get(f"/{TINY}/{file}", Range="bytes=0-9")).status // 100
    for target in (f"/api/models/{TINY}/safetensors-metadata/{WEIGHTS}", f"/{TINY}/blob/main/{WEIGHTS}", f"/v2/{QUANT}/manifests/Q4_K_M"):
        found[target] = (await mirror.get(target)).status
    oid = digest(standin, TINY, WEIGHTS)
    objects = {"operation": "download", "transfers": ["basic"], "objects": [{"oid": oid, "size": 1}]}
    answer = await mirror.post(f"/{TINY}.git/info/lfs/objects/batch", json=objects)
    found["lfs"] = answer.json()["objects"][0].get("error", {}).get("code", 200)
    for target in (f"/api/models/{TINY}", f"/api/models/{TINY}/tree/main?recursive=true", f"/api/models/{TINY}/tree/main?expand=true"):
        page = (await mirror.get(target)).json()
        found[target] = WEIGHTS in [entry.get("path", entry.get("rfilename")) for entry in (page if isinstance(page, list) else page["siblings"])]
    answer = await mirror.post(f"/api/models/{TINY}/paths-info/main", json={"paths": [WEIGHTS]})
    found["paths-info"] = bool(answer.json())
    return found


async def test_held_until_scanned_and_then_released(standin: StandInHub, holding: Mirror) -> None:
    """While the hub scans, no route gives the file or lists it; once the hub calls it safe, all do, and nobody released it."""
    standin.scans |= {WEIGHTS: QUEUED, GGUF: QUEUED}
    held = await everywhere(standin, holding)
    assert set(held.values()) == {403, False, 4}, held
    answer = await holding.get(f"/{TINY}/resolve/main/{WEIGHTS}")
    sentence = answer.headers["X-Error-Message"]
    assert sentence.startswith(f"Held by policy rule 'until-scanned': {WEIGHTS} of {TINY} is still being scanned by its hub")
    assert "; held until the hub has scanned it." in sentence
    assert (await holding.get(f"/{TINY}/resolve/main/config.json")).status == 200  # its neighbour is safe
    standin.scans.clear()
    assert (await holding.get(f"/{TINY}/resolve/main/{WEIGHTS}")).status == 403  # as it was half a minute ago
    holding.pass_time(seconds=31)
    released = await everywhere(standin, holding)
    assert set(released.values()) == {200, 307, True, 2}, released


async def test_what_was_served_is_held_when_the_verdict_turns(standin: StandInHub, holding: Mirror) -> None:
    """A cached file that the hub comes to call unsafe is held within the hour, in words that name file, scanner and finding."""
    target = f"/{TINY}/resolve/main/pytorch_model.bin"
    assert (await holding.get(target)).status == 200
    scanner = {"status": "unsafe", "message": "Payload.Generic found"}
    standin.scans["pytorch_model.bin"] = {**scan_status("x"), "status": "unsafe", "protectAiScan": scanner}
    holding.pass_time(minutes=61)
    answer = await holding.get(target)
    assert answer.status == 403
    assert "pytorch_model.bin of acme/tiny-bert was found unsafe by its hub's scan (Protect AI: Payload.Generic found); " in answer.headers["X-Error-Message"]
    assert "held until the hub's scan says otherwise" in answer.headers["X-Error-Message"]
    event = next(event for event in holding.events("held") if event["decision"]["facts"]["scan"]["value"] == "unsafe")
    assert event["decision"]["facts"]["scan"]["source"] == "Protect AI: Payload.Generic found"
    archive = EvidenceArchive(holding.folder / "evidence")
    pages = [await archive.fetch(one) for one in event["decision"]["evidence"]]
    assert any(b"Payload.Generic" in page for page in pages if page is not None)


async def test_nobody_asks_what_no_rule_reads(standin: StandInHub, mirror: Mirror) -> None:
    """Without a rule on `scan` the hub is never asked for verdicts."""
    await everywhere(standin, mirror)
    assert asked(standin) == [[WEIGHTS]]  # the client's own question


async def test_a_listing_asks_in_batches_and_once(standin: StandInHub, holding: Mirror) -> None:
    """A listing of 1,000 rows takes a handful of requests of many paths, the files after it none, and callers share them."""
    target = "/api/models/acme/many-files/tree/main?recursive=true"
    assert len((await holding.get(target)).json()) > 900
    batches = asked(standin)
    assert 1 < len(batches) <= 1 + 1205 // BATCH + 1
    assert max(map(len, batches)) <= BATCH
    assert (await asyncio.gather(*(holding.get(target) for _ in range(3))))[0].status == 200
    assert (await holding.get("/acme/many-files/resolve/main/shard-00/part-00007.txt")).status == 200
    assert asked(standin) == batches


async def test_one_file_is_one_request(standin: StandInHub, holding: Mirror) -> None:
    """Eight callers of one file, HEAD and GET, cost one request for verdicts; a settled one is good for an hour."""
    target = f"/{TINY}/resolve/main/{WEIGHTS}"
    await asyncio.gather(*(holding.get(target, method=method) for method in ("GET", "HEAD") for _ in range(4)))
    holding.pass_time(minutes=50)
    assert (await holding.get(target)).status == 200
    assert len(asked(standin)) == 1


async def test_the_last_verdict_stands(standin: StandInHub, tmp_path: Path) -> None:
    """In an outage, offline after a restart, and where the hub refuses the question, the last known verdict decides."""
    standin.scans[WEIGHTS] = QUEUED
    fine, held = (f"/{TINY}/resolve/main/{name}" for name in ("config.json", WEIGHTS))
    async with mirror_of(standin, tmp_path, HOLD) as mirror:
        assert [(await mirror.get(target)).status for target in (fine, held)] == [200, 403]
        for status in (400, 403, 500):
            fault = standin.faults.add("status", "*/paths-info/*", status=status)
            mirror.pass_time(hours=2)
            answers = [await mirror.get(target) for target in (fine, held)]
            assert [answer.status for answer in answers] == [200, 403], status
            assert "still being scanned" in answers[1].headers["X-Error-Message"]
            standin.faults.remove(fault)
    async with mirror_of(standin, tmp_path, HOLD, offline=True) as mirror:
        answers = [await mirror.get(target) for target in (fine, held)]
        assert [answer.status for answer in answers] == [200, 403]
        assert "still being scanned" in answers[1].headers["X-Error-Message"]


@pytest.mark.parametrize("trouble", ["refused", "down", "garbage", "silent", "untold"])
async def test_no_verdict_is_unknown(standin: StandInHub, holding: Mirror, trouble: str) -> None:
    """Where the hub gives no verdict and none is known, `on_unknown` decides, and never the hope that all is well."""
    target = f"/{TINY}/resolve/main/{WEIGHTS}"
    kinds = {"refused": ("status", {"status": 413}), "down": ("status", {"status": 503}), "garbage": ("garbage_json", {}), "silent": ("wrong_json", {})}
    if trouble == "untold":
        standin.scans[WEIGHTS] = None
    else:
        kind, options = kinds[trouble]
        standin.faults.add(kind, "*/paths-info/*", **options)
    answer = await holding.get(target)
    assert answer.status == 403
    assert "has a file of which its hub tells no scan; held until it has been reviewed" in answer.headers["X-Error-Message"]


async def test_a_slow_hub_is_waited_for_within_bounds(standin: StandInHub, tmp_path: Path) -> None:
    """Past the patience the caller is told to come back; the search goes on and answers the next one."""
    slow = standin.faults.add("latency", "*/paths-info/*", seconds=1.0)
    async with mirror_of(standin, tmp_path, HOLD, lineage_patience=0.2) as mirror:
        answer = await mirror.get(f"/{TINY}/resolve/main/{WEIGHTS}")
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) >= 1
        standin.faults.remove(slow)
        while (answer := await mirror.get(f"/{TINY}/resolve/main/{WEIGHTS}")).status == 503:
            await asyncio.sleep(0.1)
        assert answer.status == 200
        assert len(asked(standin)) == 1


async def test_verdicts_of_a_private_repository_are_its_readers(standin: StandInHub, holding: Mirror) -> None:
    """A private repository's verdicts are asked for in its reader's name and tell nothing to anybody else (P5)."""
    target = "/acme/secret/resolve/main/weights.bin"
    standin.scans["weights.bin"] = {**scan_status("x"), "status": "unsafe"}
    assert (await holding.get(target, ALICE)).status == 403
    assert {call.token for call in standin.requests if "/paths-info/" in call.path} == {ALICE}
    for token in (None, BOB):
        answer = await holding.get(target, token)
        assert (answer.status, b"scan" in answer.body) in {(401, False), (404, False)}


async def test_a_file_that_is_not_there_is_not_held(standin: StandInHub, holding: Mirror) -> None:
    """Clients look for optional files: one that does not exist is the hub's 404, costs no question, and one that no list shows is held."""
    answer = await holding.get(f"/{TINY}/resolve/main/adapter_config.json", method="HEAD")
    assert (answer.status, answer.headers["X-Error-Code"]) == (404, "EntryNotFound")
    assert asked(standin) == []
    standin.repo("globex/solid-7b").extra["siblings"] = []
    standin.scans["config.json"] = QUEUED
    answer = await holding.get("/globex/solid-7b/resolve/main/config.json")
    assert answer.status == 403
    assert "still being scanned" in answer.headers["X-Error-Message"]
    standin.scans.clear()
    holding.pass_time(seconds=31)
    assert (await holding.get("/globex/solid-7b/resolve/main/config.json")).status == 200


async def test_a_list_of_repositories_is_filtered_as_before(standin: StandInHub, tmp_path: Path) -> None:
    """A rule on `scan` speaks of files: denied projects are left out of `/api/models` beside it, and no others."""
    async with mirror_of(standin, tmp_path, HOLD + "  - {id: names, when: {artifact: ['umbrella/*']}, effect: deny}\n") as mirror:
        names = [one["id"] for one in (await mirror.get("/api/models")).json()]
    assert TINY in names
    assert not [name for name in names if name.startswith("umbrella/")]
