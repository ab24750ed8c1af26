"""`kill -9` of a whole mirror at random moments, while clients download, resume and are refused.

The moments are counted from the start of the process, so that some fall into start-up itself. Clients go on through all of it as
real ones do: what they have of a file they keep, and ask for the rest when somebody answers again. In the end each has every
byte right, the store holds no wrong one, and the ledger has everything that was answered.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from mirror.audit.check import check
from mirror.audit.segments import Reader
from tests.support import preloaded
from tests.support.mirror import MirrorProcess, clean_environment, until, upstream_config
from tests.support.standin import StandInHub, running_hub
from tests.workers.node_fixture import MIB, alive, noise

SEED = 20261122
CLIENTS = 6
DENY = """version: 1
rules:
  - {id: no-umbrella, when: {artifact: ["pkg:huggingface/umbrella/*"]}, effect: deny}
"""
LARGE = {f"large-{n:02}.bin": noise(2 * MIB + n, seed=n) for n in range(8)}
SMALL = {f"small-{n:02}.bin": noise(150_000 + n, seed=100 + n) for n in range(8)}
FILES = LARGE | SMALL
#: Kills of one mirror before another begins with an empty folder: what is verified after each stays small.
A_LIFE = 30


@dataclass
class World:
    """What all clients of one mirror share."""

    port: int
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    refused: Counter[str] = field(default_factory=Counter)
    completed: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    requests: int = 0
    resumed: int = 0


class Client(threading.Thread):
    """Downloads, resumes, looks and is refused, again and again, whether anybody answers or not."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__(daemon=True)
        self.world, self.chance = world, random.Random(seed)
        self.partial: dict[str, bytearray] = {}
        self.resumed = 0
        self.connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        while not self.world.stop.is_set():
            self.step()

    def step(self) -> None:
        """One request; where nobody answers, a short rest."""
        try:
            draw = self.chance.random()
            if draw < 0.25:
                self.be_refused(f"secret-{self.chance.randrange(40):02}.bin", self.chance.choice(("GET", "HEAD")))
            elif draw < 0.35:
                self.look(self.chance.choice(sorted(FILES)))
            else:
                self.download(self.chance.choice(sorted(self.partial)) if self.partial and draw < 0.7 else self.chance.choice(sorted(FILES)))
        except (OSError, http.client.HTTPException):
            self.connection = None
            time.sleep(0.02)

    def ask(self, method: str, target: str, **headers: str) -> http.client.HTTPResponse:
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.world.port, timeout=30)
        self.connection.request(method, target, headers=headers)
        answer = self.connection.getresponse()
        with self.world.lock:
            self.world.requests += 1
        return answer

    def be_refused(self, name: str, method: str) -> None:
        answer = self.ask(method, f"/umbrella/secret/resolve/main/{name}")
        if answer.status == 403:  # the head is here: it must be on the record, whatever becomes of the body
            with self.world.lock:
                self.world.refused[answer.headers["X-Mirror-Decision"]] += 1
        elif answer.status not in (502, 503):
            self.world.wrong.append(f"{answer.status} where a refusal belongs: {name}")
        answer.read()

    def look(self, name: str) -> None:
        answer = self.ask("HEAD", f"/acme/files/resolve/main/{name}")
        answer.read()
        if answer.status == 200 and int(answer.headers["Content-Length"]) != len(FILES[name]):
            self.world.wrong.append(f"HEAD says {answer.headers['Content-Length']} for {name}")

    def download(self, name: str) -> bool:
        """Whether the file is whole now; what came of it is kept until then."""
        have, data = self.partial.pop(name, bytearray()), FILES[name]
        self.resumed += bool(have)
        answer = self.ask("GET", f"/acme/files/resolve/main/{name}", **({"Range": f"bytes={len(have)}-"} if have else {}))
        if answer.status not in (200, 206):
            if answer.status not in (502, 503) or answer.headers.get_content_type() != "application/problem+json":
                self.world.wrong.append(f"{answer.status} for {name}")
            answer.read()
            self.partial |= {name: have} if have else {}
            return False
        have = have if answer.status == 206 else bytearray()
        try:
            while piece := answer.read1(65536):
                have += piece
        finally:
            if have != data[: len(have)]:  # upstream is honest here, so not even a beginning may be wrong
                self.world.wrong.append(f"wrong bytes in {name}, {len(have)} of them")
            elif len(have) < len(data):
                self.partial[name] = have
        if len(have) < len(data):
            self.connection = None
            return False
        answer.read()  # `read1` leaves an answer that is over open
        with self.world.lock:
            self.world.completed[name] += 1
        return True

    def finish(self) -> None:
        """Everything that was begun, to its end, with a mirror that is up."""
        for name in sorted(FILES):
            until(lambda name=name: self.download(name), 60)


def config_of(hub: StandInHub, port: int, workers: int) -> dict[str, Any]:
    made = upstream_config(hub)
    made["hubs"]["huggingface"]["transfers"] = {"parallel": 3, "part": "1MiB", "above": "1MiB"}
    return {**made, "listen": {"host": "127.0.0.1", "port": port, "workers": workers}, "network": "online"}


class Victim:
    """A mirror that is started without waiting for it, and killed."""

    def __init__(self, folder: Path, hub: StandInHub, port: int, workers: int) -> None:
        self.mirror, self.workers = MirrorProcess(folder, config_of(hub, port, workers), DENY, port), workers
        (folder / "mirror.yaml").write_text(yaml.safe_dump(self.mirror.config), encoding="utf-8")
        self.ledger, self.blobs = folder / "data" / "ledger", folder / "data" / "blobs" / "sha256"
        self.hashed: set[tuple[str, int]] = set()

    def born(self, chance: random.Random) -> preloaded.Command:
        """A mirror that has lived for a moment: one time in four from the start of its process, else from when it was ready."""
        folder = self.mirror.folder
        with self.mirror.log.open("a", encoding="utf-8") as log:
            command = preloaded.start(["-c", str(folder / "mirror.yaml"), "serve"], stderr=log, cwd=folder, env=clean_environment())
        if chance.random() < 0.75:
            assert command.stdout is not None
            assert " ready on " in command.stdout.readline(), self.mirror.log.read_text(encoding="utf-8")[-3000:]
        time.sleep(chance.uniform(0.0, 0.8))
        return command

    def kill(self, command: preloaded.Command, chance: random.Random) -> None:
        """Kill the process - of several: the keeper, a worker and then the keeper, or all at once -, and wait until all of it is gone."""
        family = children(command.pid)
        how = chance.choice(("keeper", "worker first", "all")) if family else "keeper"
        if how == "worker first":
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(family), signal.SIGKILL)
            time.sleep(chance.random() * 0.3)
            family = sorted({*family, *children(command.pid)})
        command.kill()
        if how == "all":
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        assert command.wait(30) == -signal.SIGKILL, self.mirror.log.read_text(encoding="utf-8")[-3000:]
        command.stdout.close()
        until(lambda: not any(alive(pid) for pid in family), 60)

    def no_wrong_blob(self) -> None:
        for path in self.blobs.glob("*/*/*"):
            state = path.name, path.stat().st_ino
            if state not in self.hashed:
                assert sha256(path.read_bytes()).hexdigest() == path.name
                self.hashed.add(state)

    def forget_some(self, chance: random.Random) -> None:
        """As an eviction would: so that there is always something to fetch."""
        for path in sorted(self.blobs.glob("*/*/*")):
            if chance.random() < 0.5:
                path.unlink()

    def verified(self) -> None:
        if self.ledger.exists():
            found = check(self.ledger)
            assert found.fault is None, found.fault


def children(pid: int) -> list[int]:
    found = []
    for task in Path("/proc").iterdir():
        if task.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                if int((task / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(task.name))
    return sorted(found)


def counted(ledger: Path) -> tuple[Counter[str], set[str]]:
    """(answers by refusal, names of files that were given)."""
    refused: Counter[str] = Counter()
    given: set[str] = set()
    for record in Reader(ledger).read(10_000_000):
        if record["kind"] == "refused":
            refused[record["decision"]["id"]] += record["count"]
        elif record["kind"] == "repeated":
            refused[record["subject"]] += record["count"]
        elif record["kind"] == "allowed":
            given.add(record["decision"]["artifact"].rpartition("#")[2])
    return refused, given


@contextlib.contextmanager
def clients(world: World, seed: int) -> Iterator[list[Client]]:
    made = [Client(world, seed + number) for number in range(CLIENTS)]
    for one in made:
        one.start()
    try:
        yield made
    finally:
        world.stop.set()
        for one in made:
            one.join(60)
    assert not any(one.is_alive() for one in made)


def a_life(folder: Path, hub: StandInHub, port: int, workers: int, kills: int, seed: int) -> World:
    """One mirror, killed so many times; then everybody gets everything, and all of it is compared."""
    chance, world, victim = random.Random(seed), World(port), Victim(folder, hub, port, workers)
    slow = hub.faults.add("throttle", origin="cdn", rate=4_000_000)
    with clients(world, seed) as all_of_them:
        for _ in range(kills):
            victim.kill(victim.born(chance), chance)
            victim.verified()
            victim.no_wrong_blob()
            assert not world.wrong, world.wrong[:10]
            victim.forget_some(chance)
    hub.faults.remove(slow)
    mirror = victim.mirror.start()
    try:
        for one in all_of_them:
            one.finish()
    finally:
        mirror.stop()
    world.resumed = sum(one.resumed for one in all_of_them)
    refused, given = counted(victim.ledger)
    assert not world.wrong, world.wrong[:10]
    assert not {identity: count for identity, count in world.refused.items() if refused[identity] < count}
    assert set(world.completed) <= given
    assert set(world.completed) == set(FILES)
    mirror.command("ledger", "verify")
    victim.no_wrong_blob()
    return world


@pytest.fixture(scope="module")
def hub() -> Iterator[StandInHub]:
    """Two repositories: one that may be had, one that may not."""
    with running_hub() as made:
        made.add_repo("model", "acme/files", {"config.json": b"{}", **SMALL}, LARGE)
        made.add_repo("model", "umbrella/secret", {f"secret-{n:02}.bin": b"x" for n in range(40)})
        yield made


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("workers", "kills"),
    [(1, 4), pytest.param(1, 160, marks=pytest.mark.torture), pytest.param(2, 40, marks=pytest.mark.torture)],
)
def test_killed_at_any_moment(hub: StandInHub, tmp_path: Path, free_port: int, record_property, workers: int, kills: int) -> None:
    """After every kill the ledger verifies and the store is right; in the end every client has every file and no answer is unrecorded."""
    tried: Counter[str] = Counter(kills=kills)
    for life in range(-(-kills // A_LIFE)):
        world = a_life(tmp_path / str(life), hub, free_port, workers, min(A_LIFE, kills - life * A_LIFE), SEED + life)
        tried.update({
            "requests": world.requests, "whole files": world.completed.total(), "resumed files": world.resumed, "refusals": world.refused.total(),
        })  # fmt: skip
    assert tried["resumed files"]  # else nobody was in the middle of anything
    assert tried["refusals"]
    record_property("tried", dict(tried))


@pytest.fixture
def free_port() -> int:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
