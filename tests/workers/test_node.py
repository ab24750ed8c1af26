"""Two workers are one mirror: one transfer, one ledger, one set of rules, one set of numbers."""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from mirror.audit.check import check
from tests.support.mirror import ALLOW_ALL, MirrorProcess, until
from tests.support.standin import StandInHub, running_hub
from tests.workers.node_fixture import DENY, MIB, fetch, node, noise, ready, same, workers

BIG = noise(16 * MIB)
SLOW = noise(12 * MIB, seed=2)
WRONG = noise(8 * MIB, seed=3)
TOKEN = "hf_crossesTheSocketOnly"


@pytest.fixture(scope="module")
def hub() -> Iterator[StandInHub]:
    with running_hub() as hub:
        hub.add_token(TOKEN, "somebody")
        for name, data in {"big": BIG, "slow": SLOW, "wrong": WRONG}.items():
            hub.add_repo("model", f"acme/{name}", {"config.json": b"{}"}, {"model.safetensors": data})
        hub.add_repo("model", "acme/private", {"config.json": b"{}"}, {"model.safetensors": b"p" * 9000}, private=True, tokens_allowed={TOKEN})
        hub.add_repo("model", "umbrella/no", {"config.json": b"{}"}, {"model.safetensors": b"x" * 1000})
        yield hub


@pytest.fixture(scope="module")
def mirror(hub: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MirrorProcess]:
    with node(tmp_path_factory.mktemp("node"), hub) as mirror:
        yield mirror


def model(name: str) -> str:
    return f"/acme/{name}/resolve/main/model.safetensors"


def transferred(hub: StandInHub, data: bytes) -> int:
    """Bytes of a file that were asked of the stand-in's CDN. What was cut, and went on from where it was to the same end, was asked once."""
    spans: list[tuple[int, int]] = []
    for call in hub.requests.where(origin="cdn", method="GET"):
        if (file := hub.cdn_files.get(call.path)) is not None and file.data == data:
            start, _, stop = call.headers.get("Range", "").removeprefix("bytes=").partition("-")
            spans.append((int(start or 0), int(stop) + 1 if stop else len(data)))
    total = 0
    for number, (start, stop) in enumerate(spans):
        resumed = [later for later, end in spans[number + 1 :] if end == stop and later > start]
        total += (resumed[0] if resumed else stop) - start
    return total


def test_sixty_four_clients_of_two_workers_cost_one_transfer(hub: StandInHub, mirror: MirrorProcess) -> None:
    """64 clients on one cold 16 MiB file over two workers: each byte crosses from upstream once, and all get the right ones."""
    until(lambda: ready(mirror))
    with ThreadPoolExecutor(64) as pool:
        assert list(pool.map(lambda _: same(mirror.url, model("big"), BIG), range(64))) == [True] * 64
    assert transferred(hub, BIG) == len(BIG)
    # One `allowed` a worker, for what it was the first time there: both of them took part.
    allowed = [event for event in mirror.events() if event["kind"] == "allowed" and "/big@" in event["decision"]["artifact"]]
    assert len(allowed) == 2


def test_a_range_near_the_end_does_not_wait(hub: StandInHub, mirror: MirrorProcess) -> None:
    """While the beginning of a file crawls in for one client, another one, of any worker, gets a part near the end."""
    throttle = hub.faults.add("throttle", origin="cdn", rate=3 * MIB)
    try:
        with ThreadPoolExecutor(8) as pool:
            whole = pool.submit(fetch, mirror.url, model("slow"))
            start = 11 * MIB
            parts = [pool.submit(fetch, mirror.url, model("slow"), {"Range": f"bytes={start}-{start + 99_999}"}) for _ in range(6)]
            found = [part.result() for part in parts]
            assert not whole.done()
            assert [(part.status, part.body == SLOW[start : start + 100_000]) for part in found] == [(206, True)] * 6
            assert whole.result().body == SLOW
    finally:
        hub.faults.remove(throttle)


def test_a_flipped_byte_completes_for_nobody(hub: StandInHub, mirror: MirrorProcess) -> None:
    """One wrong bit upstream: no client of either worker completes the file, in one piece or in many, and it heals after."""
    hub.faults.add("flip", origin="cdn", at=3 * MIB)
    with ThreadPoolExecutor(12) as pool:
        wholes = [pool.submit(fetch, mirror.url, model("wrong")) for _ in range(8)]
        pieces = [pool.submit(_in_pieces, mirror.url, model("wrong"), len(WRONG)) for _ in range(4)]
        assert not any(one.result().whole and one.result().status == 200 for one in wholes)
        assert not any(one.result() for one in pieces)
    hub.faults.clear()
    got = until(lambda: (found := fetch(mirror.url, model("wrong"))).whole and found.status == 200 and found)
    assert got.body == WRONG
    assert any(event["kind"] == "integrity" for event in mirror.events())


def _in_pieces(url: str, target: str, size: int) -> bool:
    """Whether a client that asks for sixteen closed ranges has all of the file in the end."""
    step = size // 16
    had = [fetch(url, target, {"Range": f"bytes={start}-{min(size, start + step) - 1}"}) for start in range(0, size, step)]
    return all(one.status == 206 and one.whole for one in had)


def test_refusals_of_both_workers_stand_in_one_ledger(mirror: MirrorProcess) -> None:
    """Every refusal that a client saw is in the one ledger, which verifies; each can be looked up at any worker at once."""
    target = "/umbrella/no/resolve/main/model.safetensors"
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: fetch(mirror.url, target), range(60)))
        assert {one.status for one in got} == {403}
        decisions = {one.headers["x-mirror-decision"] for one in got}
        pages = list(pool.map(lambda identity: fetch(mirror.url, f"/-/blocked/{identity}").status, sorted(decisions) * 10))
        assert set(pages) == {200}
    assert len(decisions) == 2  # one a worker; what it said again is a count
    events = [event for event in mirror.events() if (event.get("decision") or {}).get("id", event.get("subject")) in decisions]
    assert sum(event["count"] for event in events) == 60
    assert check(mirror.folder / "data" / "ledger").fault is None


def test_numbers_are_those_of_all_workers(mirror: MirrorProcess) -> None:
    """Any worker's metrics are the sum of all: they never go down, and count every request."""
    def answered() -> float:
        text = fetch(mirror.url, "/-/metrics").body.decode()
        rows = [line for line in text.splitlines() if line.startswith('mirror_requests_total{hub="huggingface"')]
        assert "mirror_ledger_up 1.0" in text
        assert 'mirror_store_bytes{what="files"}' in text
        return sum(float(line.rsplit(" ", 1)[1]) for line in rows)

    before = answered()
    with ThreadPoolExecutor(4) as pool:
        assert {one.status for one in pool.map(lambda _: fetch(mirror.url, "/acme/big/resolve/main/config.json"), range(40))} == {200}
    assert [answered() for _ in range(6)] == [before + 40] * 6


def test_a_change_of_policy_is_said_when_all_workers_have_it(mirror: MirrorProcess) -> None:
    """Once health names a new policy, from whichever worker, no worker judges by the old one; it is recorded once."""
    target = "/umbrella/no/resolve/main/model.safetensors"
    for text, status in ((ALLOW_ALL, 200), (DENY, 403)):
        mirror.set_policy(text)
        with ThreadPoolExecutor(8) as pool:
            assert {one.status for one in pool.map(lambda _: fetch(mirror.url, target), range(40))} == {status}
    activated = [event for event in mirror.events() if event["kind"] == "policy"]
    assert [event["detail"]["outcome"] for event in activated] == ["activated", "activated"]


def test_a_broken_policy_is_a_problem_of_the_whole_node(mirror: MirrorProcess) -> None:
    """What cannot be understood changes nothing in any worker, shows in health and metrics, and is recorded once."""
    good = mirror.policy_path.read_text(encoding="utf-8")
    mirror.set_policy("version: 1\nrules: [{id: x}]\n")
    health = json.loads(fetch(mirror.url, "/-/health/ready").body)
    assert health["policy"]["problems"] > 0
    assert "mirror_policy_problems 0.0" not in fetch(mirror.url, "/-/metrics").body.decode()
    assert fetch(mirror.url, "/umbrella/no/resolve/main/model.safetensors").status == 403
    until(lambda: "rejected" in outcomes(mirror))  # a worker may have looked at the file before the keeper, which records
    mirror.set_policy(good)
    assert outcomes(mirror).count("rejected") == 1


def outcomes(mirror: MirrorProcess) -> list[str]:
    """What became of each policy, as the ledger has it."""
    return [event["detail"]["outcome"] for event in mirror.events() if event["kind"] == "policy"]


def test_the_keepers_socket_is_nobody_elses(mirror: MirrorProcess) -> None:
    """The socket is the owner's alone, and what speaks another language is shown the door without harm."""
    path = mirror.folder / "data" / "keeper.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", random.Random(7).randbytes(4096), b"\0" * 64):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(str(path) if len(str(path)) < 100 else _short(path))
            stranger.sendall(garbage)
            stranger.settimeout(20)
            if not garbage.startswith(b"\0"):
                assert stranger.recv(100) == b""
    assert len(workers(mirror)) == 2
    assert fetch(mirror.url, "/acme/big/resolve/main/config.json").status == 200


def test_a_callers_credential_crosses_and_stays_nowhere(hub: StandInHub, mirror: MirrorProcess) -> None:
    """A hub token goes from a worker by way of the keeper to the hub, and into no log and no file of either."""
    for path in ("/acme/big/resolve/main/config.json", model("private")):
        assert fetch(mirror.url, path, {"Authorization": f"Bearer {TOKEN}"}).status == 200
    assert any(TOKEN in call.headers.get("Authorization", "") for call in hub.requests.where(path="*acme/private*"))
    found = [path for path in mirror.folder.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert found == []


def _short(path: Path) -> str:
    return f"/proc/self/fd/{os.open(path.parent, os.O_PATH)}/{path.name}"


def test_what_a_command_removes_is_gone_for_every_worker(hub: StandInHub, mirror: MirrorProcess) -> None:
    """`mirror cache evict` asks the keeper, who tells all workers: the file is a miss at each, and comes again whole."""
    hub.add_repo("model", "acme/evicted", {}, {"model.safetensors": b"e" * 100_000})
    target = "/acme/evicted/resolve/main/model.safetensors"
    assert {fetch(mirror.url, target).body for _ in range(8)} == {b"e" * 100_000}
    asked = len(hub.requests.where(origin="cdn", method="GET"))
    mirror.command("cache", "pin", "acme/evicted")
    assert mirror.command("cache", "evict", "acme/evicted", check=False).returncode == 1
    mirror.command("cache", "unpin", "acme/evicted")
    assert "1 files" in mirror.command("cache", "evict", "acme/evicted").stdout
    assert {fetch(mirror.url, target, {"Range": "bytes=1-"}).body for _ in range(8)} == {b"e" * 99_999}
    assert len(hub.requests.where(origin="cdn", method="GET")) == asked + 1


def test_every_worker_ends_what_new_rules_refuse(hub: StandInHub, mirror: MirrorProcess) -> None:
    """Readers of both workers, of a file in the keeper's flight: ended short with FIN, each on the one record; nobody may resume."""
    data, target = noise(24 * MIB, seed=4), "/globex/long/resolve/main/model.safetensors"
    hub.add_repo("model", "globex/long", {}, {"model.safetensors": data})
    throttle = hub.faults.add("throttle", origin="cdn", rate=4 * MIB)
    answers = []
    with ExitStack() as stack:
        for _ in range(8):
            connection = stack.enter_context(closing(http.client.HTTPConnection(mirror.url.removeprefix("http://"), timeout=20)))
            connection.request("GET", target)
            answers.append(connection.getresponse())
            assert len(answers[-1].read(1000)) == 1000
        mirror.set_policy(DENY.replace("umbrella", "globex"))
        ledger = mirror.folder / "data" / "ledger"
        until(lambda: sum(path.read_text().count('"kind":"ended"') for path in ledger.glob("segment-*.jsonl")) == 8, 5)
        for answer in answers:
            with pytest.raises(http.client.IncompleteRead):  # a reset would be another error, and the whole file none
                answer.read()
    hub.faults.remove(throttle)
    assert fetch(mirror.url, target, {"Range": "bytes=1000-"}).status == 403
    mirror.set_policy(DENY)
    ended = [row for row in mirror.events() if row["kind"] == "ended"]
    assert len({row["subject"] for row in ended}) == 8
    assert all(1000 <= row["detail"]["sent"] < row["detail"]["of"] == len(data) for row in ended)
