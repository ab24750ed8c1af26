"""A place without a network: a namespace that has a loopback device and no route, and the mirror that was installed there."""

from __future__ import annotations

import ctypes
import os
import secrets
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.support.clients import Said, run
from tests.support.mirror import MirrorProcess, clean_environment

#: A Python that knows nothing of ours.
BARE = Path(sys._base_executable)
CLONE_NEWNET = 0x40000000
#: Documentation addresses (RFC 5737): nobody has them, and only a place without routes says so at once.
PROBE = "import socket; socket.create_connection(('203.0.113.1', 9), 3)"


def need_namespaces() -> None:
    """Network namespaces can be made. Fails, and never skips by itself, where not."""
    if os.environ.get("ENTREPOT_WITHOUT_NETNS") == "1":
        pytest.skip("ENTREPOT_WITHOUT_NETNS=1: this machine is said to have no network namespaces")
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.fail(
            "this test needs root and iproute2 to make a network namespace; set ENTREPOT_WITHOUT_NETNS=1 to go without",
            pytrace=False,
        )


def bare_environment() -> dict[str, str]:
    """Nothing of the tests' own environment: no packages, no home, no settings of pip."""
    kept = {name: value for name, value in clean_environment().items() if not name.startswith("PYTHON") and name != "VIRTUAL_ENV"}
    kept["PATH"] = os.pathsep.join(one for one in os.environ["PATH"].split(os.pathsep) if not one.startswith(sys.prefix))
    return {**kept, "HOME": "/nonexistent", "PIP_CONFIG_FILE": os.devnull}


@dataclass(frozen=True)
class Place:
    """A network namespace with a loopback device and nothing else."""

    name: str

    def run(self, *command: object, cwd: Path, environ: Mapping[str, str] | None = None, timeout: float = 110) -> Said:
        """Run something there."""
        return run(["ip", "netns", "exec", self.name, *map(str, command)], bare_environment() if environ is None else environ, cwd, timeout)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is there: so are the sockets that it opens, and the processes that it starts."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as outside, open(f"/run/netns/{self.name}") as there:
            assert libc.setns(there.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert libc.setns(outside.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


@contextmanager
def lonely_place() -> Iterator[Place]:
    """A new namespace, taken away at the end."""
    need_namespaces()
    place = Place(f"lab-{secrets.token_hex(3)}")
    try:
        for words in (["netns", "add", place.name], ["-n", place.name, "link", "set", "lo", "up"]):
            done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"no network namespace can be made here (root and iproute2 are needed): {done.stderr}"
        yield place
    finally:
        subprocess.run(["ip", "netns", "del", place.name], check=False, capture_output=True)


class Laboratory(MirrorProcess):
    """The mirror of a place: `mirror` is the command that was installed there, `folder` where `mirror init` wrote.

    `get` and `command` happen in the place too.
    """

    def __init__(self, place: Place, mirror: Path, folder: Path, port: int) -> None:
        self.place, self.program, self.folder, self.port = place, mirror, folder, port
        self.policy_path, self.log = folder / "policy.yaml", folder / "mirror.log"
        self.url = f"http://127.0.0.1:{port}"
        self._process: subprocess.Popen[str] | None = None

    def configure(self, **changed: object) -> None:
        """Change what `mirror init` wrote: mappings are merged, everything else is replaced."""
        path = self.folder / "mirror.yaml"
        written = yaml.safe_load(path.read_text())
        for key, value in changed.items():
            written[key] = {**written.get(key, {}), **value} if isinstance(value, dict) else value
        path.write_text(yaml.safe_dump(written, sort_keys=False))

    def start(self, **environ: str) -> Laboratory:
        with self.log.open("a", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                ["ip", "netns", "exec", self.place.name, str(self.program), "serve"], stdout=subprocess.PIPE, stderr=log, text=True,
                cwd=self.folder, env={**bare_environment(), **environ},
            )  # fmt: skip
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], 60)
        line = self._process.stdout.readline() if ready else ""
        if " ready on " not in line:
            self.kill()
            raise AssertionError(f"the mirror did not start: {line!r}\n{self.log.read_text()[-4000:]}")
        return self

    def get(self, target: str, **options):
        with self.place.entered():
            return super().get(target, **options)

    def says(self, *arguments: str) -> Said:
        """Another `mirror` command, beside its configuration."""
        return self.place.run(self.program, *arguments, cwd=self.folder)

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        said = self.says(*arguments)
        assert not check or said.code == 0, said.out + said.err
        return subprocess.CompletedProcess(arguments, said.code, said.out, said.err)
