"""The mirror as a process, in front of whatever upstreams a test has started."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support import preloaded

ALLOW_ALL = "version: 1\nrules: []\n"


def until(holds: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait for something to become true; the wait is a limit, not a measurement."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)
    return found



@dataclass(frozen=True)
class Reply:
    """An HTTP answer, whatever its status."""

    status: int
    reason: str
    headers: Any
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class MirrorProcess:
    """One `mirror serve`. `folder` holds its configuration, policy and data, and outlives restarts."""

    def __init__(self, folder: Path, config: Mapping[str, Any], policy: str = ALLOW_ALL, port: int = 0) -> None:
        self.folder = folder
        self.port = port
        folder.mkdir(parents=True, exist_ok=True)
        self.policy_path = folder / "policy.yaml"
        self.policy_path.write_text(policy, encoding="utf-8")
        self.config: dict[str, Any] = {
            "data": "data",
            "policy": {"path": "policy.yaml"},
            "store": {"min_free": "1MiB"},
            **config,
            # Tests read who asked by the product's own commands; that nobody else does is for tests/cli/test_views.py.
            "ledger": {"reserve": "1MiB", "views": {"people": "open"}, **config.get("ledger", {})},
        }
        self.url = ""
        self.log = folder / "mirror.log"
        self._process: preloaded.Command | subprocess.Popen[str] | None = None

    def start(self, **environ: str) -> MirrorProcess:
        config = {**self.config, "listen": {"host": "127.0.0.1", "port": self.port, **self.config.get("listen", {})}}
        (self.folder / "mirror.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        with self.log.open("a", encoding="utf-8") as log:
            self._process = preloaded.start(
                ["-c", str(self.folder / "mirror.yaml"), "serve"], stderr=log, cwd=self.folder, env={**clean_environment(), **environ}
            )
        deadline = time.monotonic() + 30
        assert self._process.stdout is not None
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self._process.stdout], [], [], 0.2)
            line = self._process.stdout.readline() if ready else ""
            if " ready on " in line:
                self.url = line.split(" ready on ")[1].split()[0]
                self.port = int(self.url.rsplit(":", 1)[1])
                return self
            if self._process.poll() is not None:
                break
        self.kill()
        raise AssertionError(f"the mirror did not start:\n{self.log.read_text()[-4000:]}")

    def stop(self) -> int:
        """SIGTERM, and wait for the drain."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """SIGKILL: no chance to write anything more."""
        return self._end(signal.SIGKILL)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            return process.wait(45)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError("the mirror did not stop within 45 s") from None
        finally:
            if process.stdout is not None:
                process.stdout.close()

    def get(self, target: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes | None = None) -> Reply:
        """One request, redirects not followed, errors not raised."""
        request = urllib.request.Request(self.url + target, method=method, data=body, headers=dict(headers or {}))
        try:
            with _OPENER.open(request, timeout=30) as answer:
                return Reply(answer.status, answer.reason, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.reason, error.headers, error.read())

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Another `mirror` command on the same configuration."""
        done = preloaded.run(["-c", str(self.folder / "mirror.yaml"), *arguments], cwd=self.folder, env=clean_environment())
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def events(self) -> list[dict[str, Any]]:
        """Every event of the ledger, oldest first, read by the product's own command."""
        lines = self.command("ledger", "tail", "--json", "-n", "100000").stdout.splitlines()
        return sorted((json.loads(line) for line in lines), key=lambda event: event["seq"])

    def has_blocks(self) -> bool:
        """Whether the block map of an unfinished file claims something: one bit a block, behind a head of 24 bytes and before a CRC."""
        return any(any(path.read_bytes()[24:-4]) for path in (self.folder / "data" / "spool").glob("*.map"))

    def set_policy(self, text: str) -> None:
        """Change the file, and wait until the change is in force."""
        before = self.get("/-/health/ready").json()["policy"]
        partial = self.policy_path.with_suffix(".new")
        partial.write_text(text, encoding="utf-8")
        partial.replace(self.policy_path)
        for _ in range(200):
            if self.get("/-/health/ready").json()["policy"] != before:
                return
            time.sleep(0.05)
        raise AssertionError("the changed policy did not come into force within 10 s")

    def log_lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))


def clean_environment() -> dict[str, str]:
    """The environment without anything that would point a client or the mirror elsewhere."""
    # Without compiled modules on disk every process that a test starts compiles all of them anew.
    dropped = ("PYTHONDONTWRITEBYTECODE", "MIRROR_", "HF_", "PIP_", "UV_", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    return {**kept, "COLUMNS": "500"}  # clients that know a width break lines in the middle of what tests look for


def upstream_config(hub: Any = None, index: Any = None) -> dict[str, Any]:
    """`hubs:` for stand-ins that are running."""
    hubs: dict[str, Any] = {}
    if hub is not None:
        hubs["huggingface"] = {"upstreams": [hub.url], "origins": [hub.url, hub.cdn_url]}
    if index is not None:
        hubs["pypi"] = {"upstreams": [index.url], "origins": [index.files_url]}
    return {"hubs": hubs}


@contextmanager
def running_mirror(folder: Path, hub: Any = None, index: Any = None, policy: str = ALLOW_ALL, **config: Any) -> Iterator[MirrorProcess]:
    """A mirror in front of stand-ins, stopped at the end."""
    base = upstream_config(hub, index)
    for name, row in config.pop("hubs", {}).items():
        base["hubs"].setdefault(name, {}).update(row)
    mirror = MirrorProcess(folder, {**base, **config}, policy).start()
    try:
        yield mirror
    finally:
        mirror.stop()
