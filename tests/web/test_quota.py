"""What the hub says of its quota is said to the mirror: no client sees it, and all who share it obey it together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.routes import tables
from tests.support.mirror import MirrorProcess, Reply, running_mirror
from tests.support.standin import StandInHub, StandInIndex, running_hub, running_index
from tests.support.standin.defaults import ALICE

MODEL, REPO = "/api/models/acme/tiny-bert", "/acme/tiny-bert"
DATASET = "/api/datasets/acme/reviews"
#: What may never come through: quota, wait, cookie and warning of upstream, each with a mark of its own.
CANARIES = {
    "RateLimit": '"hubs";r=7;t=4141', "RateLimit-Policy": '"fixed window";"hubs";q=500;w=4242', "Retry-After": "4343",
    "X-RateLimit-Remaining": "4545", "Set-Cookie": "canary=1; Path=/", "X-HF-Warning": "canary; You are sending unauthenticated requests",
}  # fmt: skip
_MARK = re.compile(r"canary|hubs|41414|4141|4242|4343|4545", re.IGNORECASE)


@dataclass(frozen=True)
class Asked:
    target: str
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


def calls(hub: StandInHub, index: StandInIndex) -> list[Asked]:
    """At least one request for each row of both tables."""
    repo = hub.repo("acme/tiny-bert")
    sha = repo.commits[repo.head].files["model.safetensors"].sha256
    dist = index.project("acme-lib").release("1.0")[0]
    token = {"Authorization": f"Bearer {ALICE}"}
    plain = [
        "/api/agent-harnesses", "/api/users/acme/overview", "/api/collections", "/api/daily_papers", "/api/tasks", "/api/telemetry/x",
        "/api/buckets/acme/b", f"{REPO}/info/refs?service=git-upload-pack", f"{REPO}/info/lfs/locks", "/v2/", "/v2/acme/tiny-bert/manifests/latest",
        f"/v2/acme/tiny-bert/blobs/sha256:{sha}", f"/api/resolve-cache/models/acme/tiny-bert/{repo.head}/config.json",
        f"{MODEL}/xet-read-token/main", f"{MODEL}/xet-write-token/main", f"/api/xet/v2/reconstructions/{sha}", f"/api/xet/xorbs/{sha}/0", f"{MODEL}/tree/main", f"{MODEL}/refs", f"{MODEL}/commits/main", f"{MODEL}/auth-check",
        f"{MODEL}/safetensors-metadata/model.safetensors", f"{DATASET}/parquet/default/train/0.parquet", f"{DATASET}/parquet",
        "/api/spaces/acme/demo/runtime", f"{MODEL}/revision/main", MODEL, "/api/models?limit=2", f"{REPO}/resolve/main/config.json",
        f"{REPO}/resolve/main/model.safetensors", f"{REPO}/resolve/main/absent.json", f"{REPO}/raw/main/config.json", f"{REPO}/blob/main/config.json",
        "/api/models/acme/nothing-here", "/acme/gated-manual/resolve/main/config.json", "/api/no/such/route/at/all",
        "/pypi/simple/", "/pypi/simple/acme-lib/", "/pypi/simple/acme-absent/", dist.path, f"/pypi/packages/py3/a/acme-lib/{dist.filename}",
        f"/pypi/packages/-/{40 * 'a'}/x-1.0.tar.gz", "/papers/2401.00001.md", "/api/spaces/acme/nothing/events", f"/pypi/integrity/acme-lib/1.0/{dist.filename}/provenance",
        "/pypi/pypi/acme-lib/json", "/pypi/pypi/acme-lib/1.0/json",
    ]  # fmt: skip
    json = {"Content-Type": "application/json"}
    return [
        *(Asked(target, "HEAD") for target in plain if "/resolve" in target or "/packages/" in target), *map(Asked, plain),
        Asked("/api/whoami-v2", headers=token), Asked("/acme/gated-manual/resolve/main/config.json", "HEAD", token),
        Asked(f"{MODEL}/paths-info/main", "POST", json, b'{"paths": ["config.json"]}'),
        Asked(f"{REPO}.git/info/lfs/objects/batch", "POST", json, b'{"operation": "download", "objects": [{"oid": "%s", "size": 1}]}' % sha.encode()),
        Asked("/api/validate-yaml", "POST", json, b"{}"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def standins() -> Iterator[tuple[StandInHub, StandInIndex]]:
    with running_hub() as hub, running_index() as index:
        yield hub, index


def asked(mirror: MirrorProcess, row: Asked) -> Reply:
    return mirror.get(row.target, method=row.method, headers=row.headers, body=row.body)


FAULTS: dict[str, dict[str, Any]] = {
    "success": {"kind": "headers", "headers": CANARIES},
    "429": {"kind": "rate_limited", "rate_limit_header": False, "headers": {**CANARIES, "RateLimit": '"hubs";r=0;t=4141'}},
    "503": {"kind": "status", "status": 503, "headers": CANARIES},
    "403": {"kind": "status", "status": 403, "headers": CANARIES},
}


@pytest.mark.parametrize("case", FAULTS)
async def test_no_route_passes_the_hubs_quota_on(standins: tuple[StandInHub, StandInIndex], tmp_path: Path, case: str) -> None:
    """On every row of both tables, in success, refusal, outage and with the quota spent: no RateLimit, cookie or warning of upstream."""
    hub, index = standins
    rows = calls(hub, index)
    with running_mirror(tmp_path / "m", hub, index) as mirror:
        try:
            for standin in (hub, index):
                standin.faults.add(**FAULTS[case])
            answers = [(row, asked(mirror, row)) for row in rows]
        finally:
            hub.faults.clear()
            index.faults.clear()
        leaks = [
            (row.method, row.target, name, value)
            for row, answer in answers
            for name, value in answer.headers.items()
            if name.lower() in ("ratelimit", "ratelimit-policy", "set-cookie", "x-ratelimit-remaining") or _MARK.search(value)
        ]
        assert leaks == []
        waits = [answer.headers["Retry-After"] for _, answer in answers if "Retry-After" in answer.headers]
        assert all(1 <= int(wait) <= 30 for wait in waits)
        assert bool(waits) == (case in ("429", "503"))
        assert 429 not in {answer.status for _, answer in answers}
        seen = set(re.findall(r'"route":"([^"]+)"', mirror.log.read_text()))
    known = {row.name for _, table in await tables(tmp_path / "t") for row in table}
    assert known <= seen


def test_a_spent_quota_is_asked_for_once(standins: tuple[StandInHub, StandInIndex], tmp_path: Path) -> None:
    """After one 429 nothing more goes to that origin: what is known is served, what is not is 503 at once; the CDN's quota is its own."""
    hub, index = standins
    with running_mirror(tmp_path / "m", hub, index, hubs={"huggingface": {"grants": {"online": "1ms"}}}) as mirror:
        assert mirror.get(f"{REPO}/resolve/main/config.json").status == 200
        hub.faults.add("rate_limited", origin="hub", seconds=300)
        try:
            before = len(hub.requests)
            answers = [mirror.get(f"/api/models/acme/nothing-{number}").status for number in range(3)]
            answers += [mirror.get(f"{REPO}/resolve/main/config.json", method=method).status for method in ("HEAD", "GET", "GET")]
            assert answers == [503, 503, 503, 200, 200, 200]
            assert [call.status for call in hub.requests[before:]] == [429]
        finally:
            hub.faults.clear()
