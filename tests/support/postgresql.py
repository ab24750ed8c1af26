"""A real PostgreSQL of the tests' own, from the distribution's binaries, on a free port of loopback.

Debian and Ubuntu: `apt-get install postgresql`. Without it the tests that need it fail, unless
`ENTREPOT_WITHOUT_POSTGRESQL=1` says that this machine is not to have one.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _binaries() -> Path:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if versions:
        return versions[-1].parent
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    if os.environ.get("ENTREPOT_WITHOUT_POSTGRESQL") == "1":
        pytest.skip("ENTREPOT_WITHOUT_POSTGRESQL=1")
    pytest.fail("no PostgreSQL here: apt-get install postgresql (or set ENTREPOT_WITHOUT_POSTGRESQL=1)")


def _user() -> str | None:
    """PostgreSQL refuses to run as root: whom to run it as, or None to run it as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    pytest.fail("PostgreSQL cannot run as root, and there is neither a user postgres nor nobody")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running_postgresql() -> Iterator[str]:
    """Give the URL of its empty database `postgres` until the block ends."""
    binaries, user = _binaries(), _user()
    home = Path(tempfile.mkdtemp(prefix="entrepot-pg-"))
    if user is not None:
        shutil.chown(home, user)
    port = _free_port()
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}

    def run(*command: str) -> None:
        done = subprocess.run(
            [str(binaries / command[0]), *command[1:]], user=user, cwd=home, env=environment, capture_output=True,
            text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        run("initdb", "-D", str(home / "data"), "-U", "entrepot", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C.UTF-8")
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {home} -c fsync=off"
        # The server keeps what it inherits: its output goes to a file, or waiting for pg_ctl's would never end.
        run("pg_ctl", "-D", str(home / "data"), "-l", str(home / "log"), "-w", "-o", options, "start")
        try:
            yield f"postgresql://entrepot@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", str(home / "data"), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)
