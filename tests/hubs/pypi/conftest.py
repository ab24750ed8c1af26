"""The mirror as a process in front of a stand-in index, with a policy of its own for each test."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import preloaded
from tests.support.standin.index import StandInIndex, running_index

NO_RULES: dict[str, Any] = {"version": 1, "defaults": {"action": "allow"}, "rules": []}


@dataclass
class Reply:
    """An answer as it came: redirects are not followed, errors are not raised."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args, **_kwargs):
        return None


@dataclass
class Mirror:
    """A running mirror: its origin, its folder, its policy."""

    folder: Path
    config: dict[str, Any]
    url: str = ""
    process: preloaded.Command | subprocess.Popen[str] | None = None
    said: list[str] = field(default_factory=list)

    @property
    def index_url(self) -> str:
        return f"{self.url}/pypi/simple/"

    def policy(self, **members: Any) -> None:
        (self.folder / "policy.yaml").write_text(yaml.safe_dump(NO_RULES | members))

    def start(self) -> Mirror:
        (self.folder / "mirror.yaml").write_text(yaml.safe_dump(self.config))
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MIRROR_")}
        self.process = preloaded.start(["-c", str(self.folder / "mirror.yaml"), "serve", "--port", "0"], cwd=Path(__file__).parents[3], env=environment)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            found = re.search(r"http://127\.0\.0\.1:[1-9][0-9]*", line)
            if found:
                self.url = found.group(0)
                break
        else:
            raise AssertionError("the mirror did not start:\n" + "".join(self.said))
        threading.Thread(target=lambda: self.said.extend(self.process.stdout), daemon=True).start()
        return self

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def ask(self, path: str, method: str = "GET", data: bytes | None = None, **headers: str) -> Reply:
        url = path if path.startswith("http") else self.url + path
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(url, data=data, method=method, headers=names)
        try:
            with urllib.request.build_opener(_Stay).open(request, timeout=30) as reply:
                return Reply(reply.status, reply.reason, {k.lower(): v for k, v in reply.headers.items()}, reply.read())
        except urllib.error.HTTPError as reply:
            return Reply(reply.code, reply.reason, {k.lower(): v for k, v in reply.headers.items()}, reply.read())

    def page(self, project: str, **headers: str) -> dict[str, Any]:
        reply = self.ask(f"/pypi/simple/{project}/", Accept="application/vnd.pypi.simple.v1+json", **headers)
        assert reply.status == 200, (reply, "".join(self.said[-20:]))
        return reply.json

    def events(self) -> list[dict[str, Any]]:
        """Every record in the ledger's segments."""
        found = []
        for path in sorted((self.folder / "var" / "ledger").rglob("segment-*.jsonl")):
            found += [json.loads(line) for line in path.read_text().splitlines()]
        return found


@contextlib.contextmanager
def mirror_of(index: StandInIndex, folder: Path, rules: list[dict[str, Any]], /, **hub: Any) -> Iterator[Mirror]:
    """A mirror with `rules` in front of `index`; `hub` are further keys of `hubs.pypi`."""
    row = {"dialect": "pypi", "mount": "/pypi", "upstreams": [index.url], "origins": [index.files_url]} | hub
    config = {"data": "var", "policy": {"path": "policy.yaml"}, "hubs": {"pypi": row}, "catalogue": [], "ledger": {"reserve": "1MiB"}}
    mirror = Mirror(folder, config)
    mirror.policy(rules=rules)
    try:
        yield mirror.start()
    finally:
        mirror.stop()


@pytest.fixture(scope="module")
def index() -> Iterator[StandInIndex]:
    """One stand-in index for a module; tests that change it make projects of their own."""
    with running_index() as running:
        yield running


RULES = [
    {"id": "evil", "when": {"artifact": ["pkg:pypi/evil-*"]}, "effect": "deny", "legal": True, "basis": "house policy 1"},
    {"id": "no-old", "when": {"artifact": ["pkg:pypi/acme-lib@1.1"]}, "effect": "deny"},
    {"id": "wheels", "when": {"artifact": ["pkg:pypi/acme-old-style"], "kind": "wheel"}, "effect": "deny"},
    {"id": "direct", "when": {"direct_url": True}, "effect": "deny"},
    {"id": "bsd", "when": {"license": ["*nc*"]}, "effect": "deny"},
]


@pytest.fixture(scope="module")
def mirror(index: StandInIndex, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    """A mirror with a few refusing rules, shared by the tests of a module."""
    with mirror_of(index, tmp_path_factory.mktemp("mirror"), RULES) as running:
        yield running
