"""A whole mirror, in front of stand-ins and of an upstream that babbles, under raw requests from a seeded generator."""

from __future__ import annotations

import json
import random
import re
import socket
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.fuzz.babel import Canary, babel
from tests.fuzz.inert import header_faults, html_faults, sealed
from tests.fuzz.requests import request
from tests.support.mirror import MirrorProcess, upstream_config
from tests.support.standin.hub import running_hub
from tests.support.standin.index import running_index

#: Runs in the mirror's interpreter before anything of the mirror: every address that a socket is told to connect to.
WATCH = """
import os, sys
_out = os.open(os.environ["CONNECTIONS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def _note(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        os.write(_out, "{}:{}\\n".format(*arguments[1][:2]).encode())
sys.addaudithook(_note)
"""
POLICY = """
version: 1
rules:
  - {id: no-pickle, when: {file: ["*.bin"]}, effect: deny, reason: "</script><script>alert(1)</script>"}
  - {id: names, when: {artifact: ["pkg:pypi/acme-app", "pkg:huggingface/globex/*"]}, effect: deny, legal: true, basis: "<base href=//evil.example>"}
  - {id: warned, when: {artifact: ["pkg:huggingface/acme/*"]}, effect: warn}
"""


@dataclass
class Answer:
    """An answer as it came; `status` 0 where none did."""

    status: int = 0
    reason: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


def ask(port: int, raw: bytes, patience: float = 40.0) -> Answer:
    """Send bytes, and read until the mirror closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as connection:
        try:
            connection.sendall(raw)
        except OSError:
            pass  # refused before it was read to its end: the answer is there all the same
        data = bytearray()
        try:
            while more := connection.recv(1 << 18):
                data += more
        except ConnectionError:
            pass
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    found = re.fullmatch(r"HTTP/1\.[01] (\d{3}) ?(.*)", lines[0])
    if found is None:
        return Answer(body=bytes(data))
    fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
    return Answer(int(found[1]), found[2], fields, body)


def faults_of(raw: bytes, answer: Answer, own: str, canary: str) -> list[str]:
    """What is wrong with an answer, whatever was asked."""
    wrong = []
    if answer.status == 0:
        wrong.append(f"no answer: {answer.body[:80]!r}")
    if answer.status >= 500 and answer.status not in (502, 503, 504):
        wrong.append(f"status {answer.status}")
    if answer.status in (502, 503, 504) and not raw.startswith(b"HEAD"):
        try:
            told = json.loads(answer.body)
            if answer.header("Content-Type") != "application/problem+json" and "lfs" not in answer.header("Content-Type"):
                wrong.append(f"{answer.status} as {answer.header('Content-Type')!r}")
            if "internal fault" in told.get("detail", "") or told.get("status") != answer.status:
                wrong.append(f"an internal fault: {told}")
        except ValueError:
            wrong.append(f"{answer.status} without a problem body: {answer.body[:80]!r}")
    if b"Traceback (most recent" in answer.body:
        wrong.append("a traceback in the body")
    wrong += header_faults(answer.headers)
    for name in ("Location", "Link"):
        parts = urlsplit(answer.header(name).strip("<").partition(">")[0])
        if parts.netloc in (canary, "evil.example", "169.254.169.254") or parts.scheme not in ("", "http"):
            wrong.append(f"{name}: {answer.header(name)}")
    if answer.header("Content-Type").startswith("text/html") and not raw.startswith(b"HEAD"):
        wrong += sealed({name: answer.header(name) for name in ("Content-Security-Policy", "X-Content-Type-Options")})
        plain = answer.header("Content-Encoding") in ("", "identity") and answer.header("Transfer-Encoding") == ""
        wrong += html_faults(answer.body, own) if plain else []
    return wrong


@dataclass
class Siege:
    """A running mirror, what it may talk to, and the canary that it may not."""

    mirror: MirrorProcess
    canary: Canary
    allowed: set[str]
    connections: Path

    def shoot(self, count: int, seed: int, until: float | None = None) -> tuple[int, list[str]]:
        """So many requests (or until a moment of `time.monotonic`) in four threads: (how many, what was wrong)."""
        faults: list[str] = []
        done = [0] * 4

        def volley(number: int) -> None:
            rng = random.Random(seed * 4 + number)
            while (done[number] < count // 4 if until is None else time.monotonic() < until) and len(faults) < 20:
                host = "liars.localhost" if rng.random() < 0.3 else f"127.0.0.1:{self.mirror.port}"
                raw = request(rng, host, self.canary.address)
                done[number] += 1
                try:
                    answer = ask(self.mirror.port, raw)
                    named = re.search(rb"\r\nHost: ([^\r]*)", raw)
                    wrong = faults_of(raw, answer, "http://" + (named[1].decode("latin-1") if named else host), self.canary.address)
                except (OSError, AssertionError) as error:
                    wrong = [repr(error)]
                faults.extend(f"{one}\n    for {raw[:400]!r}" for one in wrong)

        threads = [threading.Thread(target=volley, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(done), faults

    def aftermath(self) -> list[str]:
        """What the process, its log, its ledger, the canary and the list of connections tell afterwards."""
        wrong = [f"the canary was asked {hit!r}" for hit in self.canary.hits[:3]]
        wrong += [line[-600:] for line in self.mirror.log_lines() if "Traceback" in line or '"bug' in line or "bug:" in line][:3]
        talked = {line for line in self.connections.read_text(encoding="utf-8").splitlines() if line}
        wrong += [f"a connection to {address}" for address in sorted(talked - self.allowed)]
        wrong += [] if talked & self.allowed else ["no connection was noted at all: the watch does not work"]
        if self.mirror.get("/-/health/ready").status != 200:
            wrong.append("not ready any more")
        verified: Any = self.mirror.command("ledger", "verify", check=False)
        return wrong if verified.returncode == 0 else [*wrong, f"ledger verify: {verified.stdout}{verified.stderr}"]


class Field:
    """`with Field(folder, seed) as siege`: everything started, everything stopped."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed

    def __enter__(self) -> Siege:
        from contextlib import ExitStack

        self._stack = ExitStack()
        canary = Canary()
        self._stack.callback(canary.close)
        hub, index = self._stack.enter_context(running_hub()), self._stack.enter_context(running_index())
        babbler = self._stack.enter_context(babel(canary.address, self.seed))
        config = upstream_config(hub, index)
        lies = {"upstreams": [babbler.url], "origins": [babbler.url]}
        config["hubs"]["liars"] = {"dialect": "huggingface", "mount": "/", "hosts": ["liars.localhost"], **lies}
        config["hubs"]["lies"] = {"dialect": "pypi", "mount": "/lies", **lies}
        mirror = MirrorProcess(self.folder / "mirror", config, POLICY)
        watch = self.folder / "watch"
        watch.mkdir(parents=True)
        (watch / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
        connections = self.folder / "connections.txt"
        mirror.start(PYTHONPATH=str(watch), CONNECTIONS=str(connections))
        self._stack.callback(mirror.stop)
        origins = (*hub.urls().values(), *index.urls().values(), babbler.url)
        return Siege(mirror, canary, {origin.partition("://")[2] for origin in origins}, connections)

    def __exit__(self, *exc: object) -> None:
        self._stack.close()


def besiege(seconds: int, seed: int) -> tuple[int, list[str]]:
    """`make fuzz`: requests for so many seconds; (how many, what was wrong)."""
    seed = seed or random.SystemRandom().randrange(1 << 30)
    with tempfile.TemporaryDirectory(prefix="siege-") as folder, Field(Path(folder), seed) as siege:
        count, faults = siege.shoot(0, seed, time.monotonic() + seconds)
        return count, [f"seed {seed}: {fault}" for fault in [*faults, *siege.aftermath()]]
