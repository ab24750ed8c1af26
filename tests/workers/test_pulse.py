"""Processes that stand still: a worker is noticed and replaced, a keeper makes the node unready, and nobody is accused for nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mirror import MirrorProcess, until
from tests.support.standin import running_hub
from tests.workers.node_fixture import DENY, fetch, node, ready, workers
from tests.workers.test_ends import Load


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MirrorProcess]:
    with running_hub() as hub:
        hub.add_repo("model", "umbrella/no", {"config.json": b"{}"}, {"model.safetensors": b"x" * 1000})
        with node(tmp_path_factory.mktemp("m"), hub, DENY, listen={"workers": 2, "worker_timeout": "3s"}) as running:
            yield running


def stuck(mirror: MirrorProcess) -> int:
    """How many workers the metrics say were replaced."""
    found = re.search(rb'^mirror_faults_total\{kind="worker_stuck"\} (\S+)$', fetch(mirror.url, "/-/metrics").body, re.M)
    return 0 if found is None else int(float(found[1]))


def test_a_worker_that_stands_still_is_replaced(mirror: MirrorProcess) -> None:
    """A stopped worker is logged, counted and killed, another takes its place, and under load no other worker is taken for one."""
    victim, other = workers(mirror)
    with Load(mirror.url, 4) as load:
        until(lambda: len(load.got) > 20)
        os.kill(victim, signal.SIGSTOP)
        until(lambda: victim not in workers(mirror) and len(workers(mirror)) == 2 and ready(mirror))
        count = len(load.got)
        until(lambda: len(load.got) > count + 20)
    assert other in workers(mirror)
    assert stuck(mirror) == 1
    (line,) = [line for line in mirror.log_lines() if "worker_stuck" in line]
    assert str(victim) in line


def test_a_keeper_that_hangs_makes_the_node_unready(mirror: MirrorProcess) -> None:
    """While the keeper stands still readiness fails and says why; when it goes on all is well, and no worker is blamed."""
    before, count = workers(mirror), stuck(mirror)
    os.kill(mirror.pid, signal.SIGSTOP)
    try:
        end = time.monotonic() + 4.5
        while time.monotonic() < end:
            said = fetch(mirror.url, "/-/health/ready", seconds=20)
            assert said.status == 503
        assert "does not answer" in json.loads(said.body)["ledger"]["why"]
        assert fetch(mirror.url, "/-/health/live").status == 200
    finally:
        os.kill(mirror.pid, signal.SIGCONT)
    until(lambda: ready(mirror))
    time.sleep(1.5)
    assert (workers(mirror), stuck(mirror)) == (before, count)


@pytest.mark.parametrize("value", ["1s", "soon"])
def test_a_limit_that_makes_no_sense(tmp_path: Path, value: str) -> None:
    """One clear error that names the key."""
    mirror = MirrorProcess(tmp_path, {"listen": {"workers": 2, "worker_timeout": value}})
    with pytest.raises(AssertionError, match=r"listen\.worker_timeout"):
        mirror.start()
