"""Files of a size that the hub gives through Xet only: what clients get of them from a mirror that runs as a process."""

from __future__ import annotations

import hashlib
import random
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import HubClient
from tests.support.mirror import MirrorProcess, running_mirror
from tests.support.standin import running_hub
from tests.support.standin.hub import StandInHub
from tests.upstream.test_xet import workers_of

MIB = 1024 * 1024
SIZE = 12 * MIB + 77
DATA = random.Random(11).randbytes(SIZE)
FROM = 4 * MIB
HEADERS = {"hf": "unknown/None; hf_hub/2.4.0; python/3.11.7", "old": "unknown/None; hf_hub/0.23.5; python/3.11.7", "curl": "curl/8.5.0"}
DENY = 'version: 1\nrules:\n  - {id: no-big, when: {artifact: ["pkg:huggingface/acme/denied*"]}, effect: deny}\n'

CLIENT = """
import json
from huggingface_hub import hf_hub_download
try:
    hf_hub_download("acme/big", "model.bin")
except Exception as error:
    print(json.dumps({"one": f"{type(error).__name__}: {error} {error.__cause__}"}))
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[StandInHub]:
    hub = StandInHub()
    for name in ("big", "denied", "slow", "whole"):
        hub.add_repo("model", f"acme/{name}", {"config.json": b"{}"}, {"model.bin": DATA + name.encode(), "small.bin": b"s" * 1000})
    with running_hub(hub):
        yield hub


def settings(hub: StandInHub, **more: Any) -> dict[str, Any]:
    return {"huggingface": {"origins": [hub.url, hub.cdn_url, hub.cas_url], "large_from": FROM, **more}}


@pytest.fixture(scope="module")
def mirror(hub: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MirrorProcess]:
    with running_mirror(tmp_path_factory.mktemp("large"), hub, policy=DENY, hubs=settings(hub)) as running:
        yield running


def target(name: str, file: str = "model.bin") -> str:
    return f"/acme/{name}/resolve/main/{file}"


def until(what: Any) -> None:
    while not what():
        time.sleep(0.02)


def test_clients_are_told_the_size_unless_they_would_refuse(mirror: MirrorProcess) -> None:
    """HEAD on a large file has no length for huggingface_hub from 1.0 on, and the length for every other client; small files and GET have it for all."""
    sized = {name: mirror.get(target("big"), method="HEAD", headers={"User-Agent": agent}).headers for name, agent in HEADERS.items()}
    told = {name: (headers["Content-Length"], headers["X-Linked-Size"]) for name, headers in sized.items()}
    full = (str(SIZE + 3), str(SIZE + 3))
    assert told == {"hf": (None, None), "old": full, "curl": full}
    assert all("User-Agent" in headers["Vary"] and headers["ETag"] for headers in sized.values())
    small = mirror.get(target("big", "small.bin"), method="HEAD", headers={"User-Agent": HEADERS["hf"]}).headers
    assert (small["Content-Length"], small["X-Linked-Size"]) == ("1000", "1000")
    part = mirror.get(target("big"), headers={"User-Agent": HEADERS["hf"], "Range": "bytes=5-9"})
    assert (part.status, part.headers["Content-Range"], part.body) == (206, f"bytes 5-9/{SIZE + 3}", DATA[5:10])


def test_a_denied_file_never_reaches_the_store(hub: StandInHub, mirror: MirrorProcess) -> None:
    """What policy refuses is refused before its store, its token or its bytes are asked for."""
    before = len(hub.requests)
    answer = mirror.get(target("denied"))
    assert answer.status == 403
    assert "no-big" in answer.headers["X-Error-Message"]
    later = hub.requests[before:]
    assert not [call for call in later if call.origin in ("cas", "cdn") or "xet" in call.path]


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_no_worker_outlives_its_mirror(hub: StandInHub, tmp_path: Path, how: str) -> None:
    """A mirror that is stopped, and one that is killed with -9, leave no worker behind; a token of the store is in no argument and no environment."""
    silent = hub.faults.add("hang_body", "/xorbs/*", origin="cas", at=1000)  # so that no write tells a worker that nobody is there
    mirror = MirrorProcess(tmp_path, {"hubs": {"huggingface": {"upstreams": [hub.url], **settings(hub, timeouts={"patience": "2s"})["huggingface"]}}}).start()
    try:
        with urllib.request.urlopen(mirror.url + target("slow"), timeout=30) as answer:  # which flies on without us
            assert answer.status == 200
        until(lambda: workers_of(mirror.pid) and hub.faults.hits(silent))
        found = workers_of(mirror.pid)
        spoken = b"".join(Path(f"/proc/{one}/{what}").read_bytes() for one in found for what in ("cmdline", "environ"))
        assert b"xet_worker" in spoken
        assert b"xet_" not in spoken.replace(b"xet_worker", b"")  # as the stand-in's tokens begin
        if how == "stop":
            assert mirror.stop() == 0
        else:
            mirror.kill()
        until(lambda: not any(_alive(one) for one in found))
    finally:
        hub.faults.remove(silent)
        mirror.kill()


def _alive(process: int) -> bool:
    try:
        return b"xet_worker" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def test_a_mirror_without_xet_says_why_and_what_to_do(hub: StandInHub, tmp_path: Path) -> None:
    """With `large_files: refuse` a large file is refused on HEAD and GET by a sentence that a real client shows; others come, and so does one that is in the store already."""
    with running_mirror(tmp_path / "m", hub, hubs=settings(hub)) as mirror:
        assert hashlib.sha256(mirror.get(target("whole")).body).hexdigest() == hashlib.sha256(DATA + b"whole").hexdigest()
    before = len(hub.requests)
    with running_mirror(tmp_path / "m", hub, hubs=settings(hub, large_files="refuse")) as mirror:
        for method in ("HEAD", "GET"):
            answer = mirror.get(target("big"), method=method)
            assert answer.status == 501
            assert "hubs.huggingface.large_files" in answer.headers["X-Error-Message"]
        said = HubClient(Path(sys.executable), mirror.url, tmp_path / "c").python_says(CLIENT).json()
        assert "large_files: refuse" in said["one"]
        assert mirror.get(target("big", "small.bin")).status == 200
        assert mirror.get(target("whole"), method="HEAD").status == 200
        assert mirror.get(target("whole")).body == DATA + b"whole"
    assert not [call for call in hub.requests[before:] if call.origin == "cas"]
