"""With the upstreams gone, hanging or failing, and with the mirror told to stay offline, everybody keeps what was cached."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.clients import HUB_0_36, HubClient, Said, environment, pip, uv
from tests.support.mirror import MirrorProcess, running_mirror
from tests.support.standin import StandInHub, StandInIndex

pytestmark = pytest.mark.acceptance

# What people do with a hub, in one process: a snapshot, a file by its branch, the API, a ranged read.
EVERYTHING = """
import json, os, sys, hashlib
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download
folder = snapshot_download('acme/tiny-bert', cache_dir='snapshot')
paths = [os.path.join(where, name) for where, _, names in os.walk(folder) for name in names]
sha256 = lambda path: hashlib.sha256(open(path, 'rb').read()).hexdigest()
print(json.dumps({
    'snapshot': {os.path.relpath(path, folder): sha256(path) for path in paths},
    'file': sha256(hf_hub_download('acme/tiny-bert', 'model.safetensors')),
    'info': HfApi().model_info('acme/tiny-bert').sha,
    'read': HfFileSystem().read_bytes('acme/tiny-bert/model.safetensors', start=1000, end=3000).hex(),
}))
"""
FILE_AND_INFO = """
import json, hashlib
from huggingface_hub import HfApi, hf_hub_download
found = hashlib.sha256(open(hf_hub_download('acme/tiny-bert', 'model.safetensors'), 'rb').read()).hexdigest()
print(json.dumps([found, HfApi().model_info('acme/tiny-bert').sha]))
"""
NEVER = "from huggingface_hub import snapshot_download; snapshot_download('globex/solid-7b')"


@dataclass
class House:
    """A mirror in front of both stand-ins, with everything below cached, and the clients."""

    hub: StandInHub
    index: StandInIndex
    mirror: MirrorProcess
    pythons: list[Path]  # huggingface_hub 2.x and 0.36
    home: Path
    count: int = 0

    def folder(self) -> Path:
        """A new folder for one client."""
        self.count += 1
        folder = self.home / f"client-{self.count}"
        folder.mkdir()
        return folder

    def client(self, python: Path | None = None) -> HubClient:
        """A client that has never downloaded anything."""
        return HubClient(python or self.pythons[0], self.mirror.url, self.folder())

    def pip(self, requirement: str) -> Said:
        folder = self.folder()
        return pip(f"{self.mirror.url}/pypi/simple/", folder, "install", "--target", str(folder / "site"), requirement)

    def uv(self, requirement: str, **extra: str) -> Said:
        folder = self.folder()
        return uv(f"{self.mirror.url}/pypi/simple/", folder, "pip", "install", "--python", sys.executable, "--target", str(folder / "site"), requirement, **extra)

    def grow_old(self) -> None:
        """Restart with every stored page a day older, so that each would be asked for again."""
        self.mirror.stop()
        with sqlite3.connect(self.mirror.folder / "data" / "index.sqlite") as database:
            changed = database.execute("UPDATE documents SET fetched_at = fetched_at - ?", (86_400_000_000,)).rowcount
        assert changed > 0
        self.mirror.start()

    def everything_works(self) -> None:
        """huggingface_hub and `hf download` of both generations, pip and uv, each with an empty cache of its own."""
        tiny = self.hub.repo("acme/tiny-bert")
        files = tiny.commits[tiny.head].files
        weights = files["model.safetensors"]
        for python in self.pythons:
            assert self.client(python).python_says(EVERYTHING).json() == {
                "snapshot": {path: file.sha256 for path, file in files.items()}, "file": weights.sha256, "info": tiny.head,
                "read": weights.data[1000:3000].hex(),
            }  # fmt: skip
            done = self.client(python).hf("download", "acme/tiny-bert")
            assert done.code == 0, done.text
        installed = self.pip("acme-app")
        assert installed.code == 0, installed.text
        assert "Successfully installed" in installed.out
        installed = self.uv("acme-app==1.0")
        assert installed.code == 0, installed.text
        assert "acme-app==1.0" in installed.text


@pytest.fixture(scope="module")
def house(hub: StandInHub, index: StandInIndex, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house in which the same commands worked once while the upstreams were up."""
    folder = tmp_path_factory.mktemp("house")
    pythons = [Path(sys.executable), environment("hub-0.36", HUB_0_36)]
    with running_mirror(folder / "mirror", hub, index) as mirror:
        house = House(hub, index, mirror, pythons, folder)
        house.everything_works()
        yield house


@pytest.fixture(autouse=True)
def upstreams_recover(hub: StandInHub, index: StandInIndex) -> Iterator[None]:
    """Each test begins and ends with upstreams that are up and without faults."""
    yield
    for one in (hub, index):
        one.faults.clear()


def went_down(*upstreams: StandInHub | StandInIndex) -> Callable[[], None]:
    for one in upstreams:
        one.go_down()

    def back() -> None:
        for one in upstreams:
            one.come_back()

    return back


def test_an_outage_is_not_noticed(house: House) -> None:
    """With hub, CDN, index and file host refusing connections and every page stale, the same commands work with empty client caches."""
    house.grow_old()
    back = went_down(house.hub, house.index)
    try:
        house.everything_works()
        assert house.mirror.get("/-/health/ready").status == 200
    finally:
        back()


def test_offline_asks_nobody(house: House) -> None:
    """With `network: offline` the same commands work, and although the upstreams are up not one request reaches them."""
    house.mirror.stop()
    house.mirror.config["network"] = "offline"
    house.mirror.start()
    house.hub.requests.clear()
    house.index.requests.clear()
    try:
        house.everything_works()
        assert house.mirror.get("/-/health/ready").json()["network"] == "offline"
        said = house.client().python_says(NEVER)
        assert said.code != 0
        assert "was never fetched by this mirror, and it is offline" in said.text
        said = house.uv("acme-lib==1.1", UV_HTTP_RETRIES="0")
        assert said.code != 0
        assert "offline" in said.text, said.text
        assert house.hub.requests.lines() == []
        assert house.index.requests.lines() == []
    finally:
        house.mirror.stop()
        del house.mirror.config["network"]
        house.mirror.start()


@pytest.mark.parametrize(
    ("fault", "options"),
    [("status", {"status": 500}), ("status", {"status": 503}), ("rate_limited", {"seconds": 55}), ("hang_headers", {"seconds": 60})],
    ids=["500", "503", "429", "hangs"],
)
def test_a_sick_upstream_is_not_noticed(house: House, fault: str, options: dict[str, int]) -> None:
    """Where the upstreams answer 500, 503, 429 or nothing at all, and every page is stale, cached files still come."""
    house.grow_old()
    for one in (house.hub, house.index):
        one.faults.add(fault, **options)
    tiny = house.hub.repo("acme/tiny-bert")
    said = house.client().python_says(FILE_AND_INFO)
    assert said.json() == [tiny.commits[tiny.head].files["model.safetensors"].sha256, tiny.head]
    assert "Retrying" not in said.text  # the first request was answered within the client's own limit
    installed = house.pip("acme-app")
    assert installed.code == 0, installed.text


def test_what_was_never_cached_gets_a_clear_answer(house: House) -> None:
    """In an outage what is not cached is 503 with Retry-After and a problem body that names the upstream, never 404; pip and uv show it."""
    house.grow_old()
    back = went_down(house.hub, house.index)
    try:
        for target in ("/api/models/globex/solid-7b", "/globex/solid-7b/resolve/main/config.json", "/pypi/simple/acme-never-asked/"):
            answer = house.mirror.get(target, headers={"Accept": "application/json"})
            assert answer.status == 503, target
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert "127.0.0.1" in answer.json()["detail"], answer.body
        said = house.client().python_says(NEVER)
        assert said.code != 0
        assert "cannot be reached" in said.text or house.hub.url.removeprefix("http://") in said.text, said.text
        said = house.uv("acme-never-asked", UV_HTTP_RETRIES="0")
        assert said.code != 0
        assert house.index.url.removeprefix("http://") in said.text, said.text
    finally:
        back()
    assert house.mirror.get("/api/models/globex/solid-7b").status == 200


@pytest.mark.parametrize(
    ("fault", "repo"), [("garbage_json", "hooli/solid-7b-merge"), ("garbage_http", "quantbarn/solid-7b-adapter"), ("wrong_json", "umbrella/loop-a")]
)
def test_a_bad_answer_is_named(house: House, fault: str, repo: str) -> None:
    """What is no JSON, no HTTP or no object gives 502 with a problem body naming the upstream, and is forgotten when the hub recovers."""
    number = house.hub.faults.add(fault, f"/api/models/{repo}*")
    target = f"/api/models/{repo}"
    answer = house.mirror.get(target)
    assert answer.status == 502
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert house.hub.url in answer.json()["detail"]
    house.hub.faults.remove(number)
    assert house.mirror.get(target).status == 200


def test_the_record_of_an_outage_is_whole(house: House) -> None:
    """Everything that was served meanwhile is in the ledger, which verifies."""
    assert house.mirror.command("ledger", "verify").returncode == 0
    allowed = {event["decision"]["artifact"] for event in house.mirror.events() if event.get("decision")}
    assert any("acme/tiny-bert" in artifact for artifact in allowed)
    assert any("pkg:pypi/acme-app" in artifact for artifact in allowed)
