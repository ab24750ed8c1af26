"""Who may look at the mirror's own pages by which name, what they say of the index, and a port that is taken."""

from __future__ import annotations

import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.mirror import MirrorProcess, running_mirror
from tests.support.standin import running_hub


@pytest.fixture(scope="module")
def admin() -> str:
    """An address that was free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture(scope="module")
def mirror(admin: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MirrorProcess]:
    with running_hub() as hub, running_mirror(
        tmp_path_factory.mktemp("doors"), hub, listen={"admin": admin, "public_url": "http://mirror.corp:8080"}
    ) as running:
        running.url = f"http://{admin}"
        yield running


@pytest.mark.parametrize("path", ["/-/metrics", "/", "/-/api/v1/decisions/01J8ZQ4Y3S5T6V7W8X9YABCDEF"])
def test_a_strange_name_does_not_open_the_admin_port(mirror: MirrorProcess, admin: str, path: str) -> None:
    """A browser led to `listen.admin` by somebody else's name is told 421; address, loopback and public name are let in."""
    for name in ("rebound.example:9090", "127.0.0.1.rebound.example", ""):
        assert mirror.get(path, headers={"Host": name}).status == 421
    for name in (admin, "localhost:9090", "mirror.corp:9090"):
        assert mirror.get(path, headers={"Host": name}).status != 421


def test_probes_need_no_name(mirror: MirrorProcess) -> None:
    """Health answers under any name: a container's probe knows none."""
    assert mirror.get("/-/health/ready", headers={"Host": "10.1.2.3"}).status == 200


def test_an_index_that_does_not_answer_is_seen(mirror: MirrorProcess, admin: str) -> None:
    """While the database takes no writes, readiness (still 200) and metrics say so, and no longer once it does again."""
    clients = f"http://127.0.0.1:{mirror.port}"

    def state() -> str:
        return str(mirror.get("/-/health/ready").json()["index"]["state"])

    def cold(name: str) -> int:
        mirror.url = clients
        try:
            return mirror.get(f"/api/models?limit=1&search={name}").status
        finally:
            mirror.url = f"http://{admin}"

    def becomes(wanted: str) -> None:
        for number in range(200):  # each page that is kept is a write, which may wait for seconds
            assert cold(f"{wanted}-{number}") == 200
            if state() == wanted:
                return
            time.sleep(0.1)
        raise AssertionError(f"never {wanted}")

    assert state() == "ok"
    with closing(sqlite3.connect(mirror.folder / "data" / "index.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert cold("tiny-bert") == 200
        becomes("down")
        assert "mirror_index_up 0.0" in mirror.get("/-/metrics").body.decode()
        other.execute("ROLLBACK")
    becomes("ok")
    assert "mirror_index_up 1.0" in mirror.get("/-/metrics").body.decode()


def test_a_port_that_is_taken_leaves_nothing_behind(tmp_path: Path) -> None:
    """`mirror serve` on a port in use fails with one clear line and makes no data folder."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        mirror = MirrorProcess(tmp_path, {}, port=taken.getsockname()[1])
        with pytest.raises(AssertionError, match=f"cannot listen on 127.0.0.1:{mirror.port}"):
            mirror.start()
    assert not (tmp_path / "data").exists()
