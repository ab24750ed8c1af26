"""A mirror of several workers in front of a stand-in, and clients that open a connection for every request."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.mirror import MirrorProcess, running_mirror

MIB = 1024 * 1024
DENY = """version: 1
rules:
  - {id: no-umbrella, when: {artifact: ["pkg:huggingface/umbrella/*"]}, effect: deny}
"""


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@dataclass
class Got:
    """What a client got: `whole` says that it has as many bytes as it was promised."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool


def fetch(url: str, target: str, headers: dict[str, str] | None = None, seconds: float = 60.0) -> Got:
    """One GET on a connection of its own. Raises `OSError` or `HTTPException` where there is no answer at all."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=seconds)
    try:
        connection.request("GET", target, headers={**(headers or {}), "Connection": "close"})
        answer = connection.getresponse()
        said = {name.lower(): value for name, value in answer.getheaders()}
        try:
            return Got(answer.status, said, answer.read(), whole=True)
        except (http.client.IncompleteRead, OSError) as error:
            return Got(answer.status, said, error.partial if isinstance(error, http.client.IncompleteRead) else b"", whole=False)
    finally:
        connection.close()


def same(url: str, target: str, data: bytes) -> bool:
    """Whether a client gets exactly `data`, without holding all of it: many may run at once."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=120)
    try:
        connection.request("GET", target, headers={"Connection": "close"})
        answer, position, buffer = connection.getresponse(), 0, bytearray(MIB)
        while count := answer.readinto(buffer):
            if memoryview(buffer)[:count] != memoryview(data)[position : position + count]:
                return False
            position += count
        return answer.status == 200 and position == len(data)
    finally:
        connection.close()


def workers(mirror: MirrorProcess) -> list[int]:
    """The process ids of a mirror's workers."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _parent(entry) == mirror.pid:
            found.append(int(entry.name))
    return sorted(found)


def _parent(process: Path) -> int:
    try:
        return int(re.search(r"^PPid:\s*(\d+)", (process / "status").read_text(), re.M)[1])  # type: ignore[index]
    except (OSError, TypeError):
        return -1


def alive(pid: int) -> bool:
    """Whether a process runs (one that ended and was not waited for does not)."""
    try:
        return "\nState:\tZ" not in (Path("/proc") / str(pid) / "status").read_text()
    except OSError:
        return False


def ready(mirror: MirrorProcess, count: int = 2) -> bool:
    """Whether this many workers serve."""
    try:
        return json.loads(fetch(mirror.url, "/-/health/ready").body).get("workers") == count
    except (OSError, http.client.HTTPException, ValueError):
        return False


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@contextmanager
def node(folder: Path, hub: Any, policy: str = DENY, **config: Any) -> Iterator[MirrorProcess]:
    """A mirror with two workers."""
    with running_mirror(folder, hub, policy=policy, **{"listen": {"workers": 2}, **config}) as mirror:
        yield mirror


def answers(mirror: MirrorProcess) -> int:
    """How many answers the ledger counts, repeats included."""
    return sum(event["count"] for event in mirror.events() if event["kind"] in ("refused", "allowed", "repeated"))
