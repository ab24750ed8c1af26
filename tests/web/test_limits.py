"""`clients.limits` on the wire, and what real clients make of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import clients
from tests.support.mirror import MirrorProcess, running_mirror
from tests.support.standin import StandInHub, running_hub, running_index

CONFIG = "/acme/tiny-bert/resolve/main/config.json"


@pytest.fixture(scope="module")
def hub() -> Iterator[StandInHub]:
    with running_hub() as running:
        yield running


@pytest.fixture(scope="module")
def strict(hub: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MirrorProcess]:
    """Two requests an hour for anybody, and one a second for those without a credential."""
    limits = {"default": {"requests": 2, "per": "1h"}, "anonymous": {"requests": 1, "per": "1s"}}
    with running_index() as index, running_mirror(
        tmp_path_factory.mktemp("limits"), hub, index, clients={"limits": limits}
    ) as mirror:
        yield mirror


def decided(mirror: MirrorProcess) -> int:
    """Events that answer somebody. How a file came (`acquired`) is written a moment after it did, for whoever asked first."""
    return sum(event["kind"] != "acquired" for event in mirror.events())


@pytest.mark.parametrize(("target", "says"), [(CONFIG, "X-Error-Message"), ("/pypi/simple/acme-lib/", ""), ("/v2/acme/tiny-bert/manifests/latest", "")])
def test_one_too_many_is_429_before_anything_is_asked(strict: MirrorProcess, hub: StandInHub, target: str, says: str) -> None:
    """Over the limit a client is told by every field it may read how long to wait; upstream and the ledger see nothing."""
    mine = {"Authorization": f"Bearer hf_{'x' * 34}{len(target)}"}
    for _ in range(2):
        answer = strict.get(target, headers=mine)
        assert answer.headers["RateLimit"].startswith('"mirror";r='), answer.status
    before = len(hub.requests), decided(strict)
    answer = strict.get(target, headers=mine)
    assert (answer.status, answer.headers["Content-Type"]) == (429, "application/problem+json")
    assert answer.headers["RateLimit"] == '"mirror";r=0;t=' + answer.headers["Retry-After"]
    assert 1700 < int(answer.headers["Retry-After"]) <= 1800  # half of the hour
    assert "2 requests in 3600 s" in answer.json()["error"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert not says or "2 requests in 3600 s" in answer.headers[says]
    assert (len(hub.requests), decided(strict)) == before


def test_our_own_pages_are_not_counted(strict: MirrorProcess) -> None:
    """Health, metrics and the page of a decision are there for a client that has spent everything."""
    answers = [strict.get(path) for path in ("/-/health/live", "/-/metrics", "/-/health/ready", "/") for _ in range(3)]
    assert {answer.status for answer in answers} == {200}
    assert not any("RateLimit" in answer.headers for answer in answers)


DOWNLOAD = """
import json
from huggingface_hub import hf_hub_download
print(json.dumps(open(hf_hub_download("acme/tiny-bert", "config.json")).read()))
"""


def limited(mirror: MirrorProcess) -> int:
    return sum(json.loads(line).get("status") == 429 for line in mirror.log_lines() if line.startswith("{"))


def test_huggingface_hub_sleeps_as_told_and_goes_on(strict: MirrorProcess, tmp_path: Path) -> None:
    """A download whose second request is one too many waits for our `t` and completes."""
    before = limited(strict)
    client = clients.HubClient(Path(sys.executable), strict.url, tmp_path / "hf")
    said = client.python_says(DOWNLOAD)
    assert "model_type" in said.json()
    assert limited(strict) > before
    assert 'mirror_limited_total{hub="huggingface"} ' in strict.get("/-/metrics").body.decode()


@pytest.mark.parametrize("name", ["pip", "uv"])
def test_installers_wait_as_told_and_go_on(strict: MirrorProcess, tmp_path: Path, name: str) -> None:
    """pip goes by `Retry-After` although 429 is not among the statuses that it retries by itself; uv retries it too."""
    before = limited(strict)
    index = f"{strict.url}/pypi/simple/"
    if name == "pip":
        said = clients.pip(index, tmp_path, "download", "--no-deps", "-d", str(tmp_path / "got"), "acme-lib")
    else:
        said = clients.uv(index, tmp_path, "pip", "install", "--no-deps", "--target", str(tmp_path / "got"), "acme-lib")
    assert said.code == 0, said.text
    assert list((tmp_path / "got").iterdir())
    assert limited(strict) > before
