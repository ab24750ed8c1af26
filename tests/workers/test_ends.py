"""How processes of a node end, and what of it nobody may notice (P4, P6)."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mirror.audit.check import check
from tests.support.mirror import MirrorProcess, until
from tests.support.standin import StandInHub, running_hub
from tests.workers.node_fixture import DENY, MIB, Got, alive, fetch, kill, node, noise, ready, workers

LONG = noise(16 * MIB, seed=5)
REFUSED = "/umbrella/no/resolve/main/model.safetensors"
MODEL = "/acme/long/resolve/main/model.safetensors"


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    with running_hub() as hub:
        hub.add_repo("model", "acme/long", {"config.json": b"{}"}, {"model.safetensors": LONG})
        hub.add_repo("model", "umbrella/no", {"config.json": b"{}"}, {"model.safetensors": b"x" * 1000})
        yield hub


class Load:
    """Clients that ask for what is refused, over and over, and keep what they were told."""

    def __init__(self, url: str, count: int = 8) -> None:
        self.url, self.got, self.broken = url, [], 0
        self.statuses: list[int] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def decisions(self) -> dict[str, int]:
        """How often each decision was answered."""
        found: dict[str, int] = {}
        for identity in self.got:
            found[identity] = found.get(identity, 0) + 1
        return found

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                answer: Got = fetch(self.url, REFUSED, seconds=20)
            except (OSError, http.client.HTTPException):
                self.broken += 1
                time.sleep(0.02)
                continue
            self.statuses.append(answer.status)
            if answer.status == 403:
                self.got.append(answer.headers["x-mirror-decision"])


def recorded(mirror: MirrorProcess, decisions: dict[str, int]) -> dict[str, int]:
    """What the ledger counts of the same decisions."""
    found = dict.fromkeys(decisions, 0)
    for event in mirror.events():
        identity = (event.get("decision") or {}).get("id", event.get("subject"))
        if identity in found:
            found[identity] += event["count"]
    return found


def test_a_killed_worker_takes_nothing_with_it(hub: StandInHub, tmp_path: Path) -> None:
    """kill -9 of a worker under load: whoever was answered is in the ledger, a transfer goes on, and a new worker serves."""
    hub.faults.add("throttle", origin="cdn", rate=4 * MIB)
    with node(tmp_path, hub) as mirror:
        with Load(mirror.url) as load, ThreadPoolExecutor(4) as pool:
            until(lambda: len(load.got) > 50)
            downloads = [pool.submit(fetch, mirror.url, MODEL) for _ in range(4)]
            time.sleep(0.5)
            first, second = workers(mirror)
            for victim in (first, second):
                kill(victim)
                until(lambda: len(workers(mirror)) == 2 and victim not in workers(mirror) and ready(mirror))
                count = len(load.got)
                until(lambda: len(load.got) > count + 50)
            for download in downloads:
                download.exception()
            assert fetch(mirror.url, MODEL).body == LONG
        answered, counted = load.decisions, recorded(mirror, load.decisions)
        assert len(answered) >= 4  # both workers, and both that came after them
        # A worker may have recorded an answer that it did not live to send; never the other way round.
        assert all(counted[identity] >= count for identity, count in answered.items())
        assert sum(counted.values()) - sum(answered.values()) <= load.broken
        assert hub.requests.where(origin="cdn", method="GET") != []
        asked = [call.headers.get("Range") for call in hub.requests.where(origin="cdn", method="GET")]
        assert asked == [None]
    assert check(tmp_path / "data" / "ledger").fault is None


def test_without_a_keeper_nothing_is_answered(hub: StandInHub, tmp_path: Path) -> None:
    """kill -9 of the keeper: workers say 503 and then are gone; a new start goes on from the blocks that are on disk."""
    throttle = hub.faults.add("throttle", origin="cdn", rate=3 * MIB)
    mirror = MirrorProcess(tmp_path, _config(hub), DENY).start()
    connection = http.client.HTTPConnection(mirror.url.removeprefix("http://"), timeout=20)
    connection.request("GET", REFUSED)
    assert connection.getresponse().read()
    with Load(mirror.url) as load, ThreadPoolExecutor(1) as pool:
        until(lambda: len(load.got) > 50)
        download = pool.submit(fetch, mirror.url, MODEL)
        until(mirror.has_blocks)
        running = workers(mirror)
        mirror.kill()
        connection.request("GET", REFUSED)
        assert connection.getresponse().status == 503
        until(lambda: not any(alive(pid) for pid in running), 15)
        answered = load.decisions
    assert set(load.statuses) <= {403, 503}
    assert not download.result().whole
    hub.faults.remove(throttle)
    had = hub.requests.where(origin="cdn", method="GET")
    again = MirrorProcess(tmp_path, _config(hub), DENY, port=mirror.port).start()
    try:
        counted = recorded(again, answered)
        assert all(counted[identity] >= count for identity, count in answered.items())
        assert fetch(again.url, MODEL).body == LONG
        asked = hub.requests.where(origin="cdn", method="GET")[len(had) :]
        assert [call.headers.get("Range") is not None for call in asked] == [True] * len(asked)
        assert asked
    finally:
        again.stop()
    assert check(tmp_path / "data" / "ledger").fault is None


def _config(hub: StandInHub) -> dict[str, object]:
    return {"hubs": {"huggingface": {"upstreams": [hub.url], "origins": [hub.url, hub.cdn_url]}}, "listen": {"workers": 2}}


def test_a_stop_waits_for_the_downloads_of_every_worker(hub: StandInHub, tmp_path: Path) -> None:
    """SIGTERM: what is under way comes to its end, the ledger's last event is `stopped`, and nobody is left."""
    hub.faults.add("throttle", origin="cdn", rate=5 * MIB)
    with ThreadPoolExecutor(8) as pool:
        with node(tmp_path, hub) as mirror:
            for _ in range(10):
                assert fetch(mirror.url, "/acme/long/resolve/main/config.json").status == 200
            downloads = [pool.submit(fetch, mirror.url, MODEL) for _ in range(6)]
            until(mirror.has_blocks)
            running = workers(mirror)
            assert mirror.stop() == 0
            assert not any(alive(pid) for pid in running)
        assert [download.result().body == LONG for download in downloads] == [True] * 6
    events = mirror.events()
    assert (events[0]["kind"], events[-1]["kind"]) == ("started", "stopped")
    assert [event["kind"] for event in events].count("stopped") == 1
    configs = [event for event in events if event["kind"] in ("allowed", "repeated")]
    assert sum(event["count"] for event in configs) == 16  # what was in no hurry is written before the end
    assert check(tmp_path / "data" / "ledger").fault is None


def test_a_worker_that_cannot_start_ends_the_start(hub: StandInHub, tmp_path: Path) -> None:
    """A mirror whose workers die at once says so and ends, instead of trying for ever behind a closed door."""
    mirror = MirrorProcess(tmp_path, _config(hub), DENY)
    with pytest.raises(AssertionError, match="a worker did not start"):
        mirror.start(PYTHONPATH=str(_broken(tmp_path)))


def _broken(folder: Path) -> Path:
    """A folder that breaks only what workers import."""
    (folder / "broken").mkdir()
    (folder / "broken" / "sitecustomize.py").write_text("import sys\nif '--worker' in sys.argv: sys.exit(9)\n", encoding="utf-8")
    return folder / "broken"
