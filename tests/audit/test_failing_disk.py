"""A mirror whose ledger's disk is full, breaks or becomes read-only, and a clock that jumps: what clients, health and metrics are told."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mirror.audit.check import check
from mirror.audit.examine import examine
from mirror.audit.ledger import SegmentLedger
from mirror.audit.segments import Reader
from mirror.core.errors import LedgerDown
from tests.audit.samples import SteppingClock, refused
from tests.support.mirror import MirrorProcess, until

PUSH = "/api/models/acme/m/commit/main"  # refused by itself, and each time an event


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A disk of 24 MiB with a file system of its own."""
    image, where = tmp_path / "disk.img", tmp_path / "disk"
    where.mkdir()
    with image.open("wb") as file:
        file.truncate(24 << 20)
    if run("mkfs.ext4", "-q", "-F", "-m", "0", image).returncode or run("mount", "-o", "loop", image, where).returncode:
        pytest.skip("making and mounting a file system needs root: the rows below without a disk are proved without it")
    yield where
    run("umount", "-l", where)


def told(mirror: MirrorProcess) -> tuple[int, str, str, str, bool, bool]:
    """(status of an answer, ledger.state, why, readiness, the two metrics)."""
    answer = mirror.get(PUSH, method="POST", body=b"{}")
    health = mirror.get("/-/health/ready")
    metrics = mirror.get("/-/metrics").body.decode()
    assert (health.status == 200) is (health.json()["status"] == "ready")
    state = health.json()["ledger"]
    return answer.status, state["state"], state["why"], health.json()["status"], "mirror_ledger_up 1.0" in metrics, "mirror_ledger_on_reserve 1.0" in metrics


def filled(path: Path) -> int:
    """Take every byte that is left; gives how many."""
    taken = 0
    with path.open("ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    taken += file.write(b"x" * size)
            except OSError as error:
                assert error.errno == errno.ENOSPC
    return taken


def test_a_full_disk(tmp_path, disk):
    """Full: refusals go on from the reserve, health is ready and says so. Reserve spent: 503, not ready. Room again: as before, outage recorded."""
    ledger = {"reserve": "2MiB", "path": str(disk / "ledger")}
    mirror = MirrorProcess(tmp_path / "m", {"network": "offline", "ledger": ledger}).start()
    try:
        assert told(mirror) == (403, "ok", "", "ready", True, False)
        filled(disk / "cache")
        status, state, why, ready, up, reserve = until(lambda: found if (found := told(mirror))[1] != "ok" else None)
        assert (status, state, ready, up, reserve) == (403, "reserve", "ready", True, True)
        assert why.startswith("the disk is full; ")
        filled(disk / "cache")
        status, state, why, ready, up, reserve = until(lambda: found if (found := told(mirror))[1] == "down" else None)
        assert (status, ready, up, reserve) == (503, "not ready", False, False)
        assert why.endswith("No space left on device")
        (disk / "cache").unlink()
        assert until(lambda: found if (found := told(mirror))[:2] == (403, "ok") else None)[3:] == ("ready", True, False)
    finally:
        mirror.stop()
    assert examine(disk / "ledger").fault is None
    kinds = [(record["kind"], record.get("detail", {}).get("outage")) for record in Reader(disk / "ledger").read(100_000)]
    assert ("recovered", "nothing could be recorded") in kinds


def test_a_disk_that_becomes_read_only(tmp_path, disk):
    """As the kernel makes it after an I/O error: 503, not ready, and no healing by itself; a start names it; repaired, all that was answered is there."""
    ledger = {"reserve": "2MiB", "path": str(disk / "ledger")}
    mirror = MirrorProcess(tmp_path / "m", {"network": "offline", "ledger": ledger}).start()
    try:
        assert told(mirror) == (403, "ok", "", "ready", True, False)
        assert run("mount", "-o", "remount,abort", disk).returncode == 0
        status, state, why, ready, up, reserve = told(mirror)
        assert (status, state, ready, up, reserve) == (503, "down", "not ready", False, False)
        assert why.endswith(("Read-only file system", "Input/output error")), why
        assert told(mirror)[:2] == (503, "down")
    finally:
        mirror.kill()
    started = mirror.command("serve", check=False)
    assert started.returncode == 2
    assert f"{disk / 'ledger'}" in started.stderr and "Read-only file system" in started.stderr, started.stderr
    assert run("umount", disk).returncode == 0
    assert run("e2fsck", "-fy", tmp_path / "disk.img").returncode <= 1
    assert run("mount", "-o", "loop", tmp_path / "disk.img", disk).returncode == 0
    mirror.start()
    assert told(mirror)[:2] == (403, "ok")
    mirror.stop()
    assert examine(disk / "ledger").fault is None
    assert [record["kind"] for record in Reader(disk / "ledger").read(100)].count("write_refused") == 2


async def test_an_error_of_the_disk_is_not_healed(tmp_path):
    """After EIO nobody knows what is on the disk: every ticket fails, the ledger stays down with room enough, and a restart finds a sound chain."""
    ledger = SegmentLedger(tmp_path, SteppingClock(), reserve=1 << 20)
    await ledger.start()
    await ledger.record(refused(1)).durable()
    descriptor = os.open("/proc/self/mem", os.O_RDWR)  # the kernel answers EIO to a write at an address where nothing is
    os.dup2(descriptor, ledger._segments._records)
    os.close(descriptor)
    with pytest.raises(LedgerDown, match="Input/output error"):
        await ledger.record(refused(2)).durable()
    ledger._segments._next_try = 0.0
    assert not ledger._segments.heal()
    with pytest.raises(LedgerDown, match="Input/output error"):
        ledger.record(refused(3))
    await ledger.close()
    again = SegmentLedger(tmp_path, SteppingClock(), reserve=1 << 20)
    await again.start()
    await again.record(refused(4)).durable()
    await again.close()
    assert check(tmp_path).fault is None
    assert [record["decision"]["id"][-1] for record in Reader(tmp_path).read(100) if "decision" in record] == ["1", "4"]


class _Jumping(SteppingClock):
    """Goes on from wherever it is put."""

    def put(self, year: int) -> None:
        self.moment = datetime(year, 6, 1, tzinfo=UTC)


async def test_a_clock_that_jumps(tmp_path):
    """To 1970, to 2100 and back: every event has its place and the time that the clock had; order, chain and tree do not rest on it."""
    clock = _Jumping()
    ledger = SegmentLedger(tmp_path, clock, reserve=1 << 20)
    await ledger.start()
    for year in (1970, 2100, 2026):
        clock.put(year)
        event = refused(year, at=clock.now())
        await ledger.record(event).durable()
        await ledger.repeat(event.decision, must_be_durable=True).durable()
    await ledger.close()
    again = SegmentLedger(tmp_path, clock, reserve=1 << 20)
    await again.start()
    await again.close()
    assert examine(tmp_path).fault is None
    years = [(record["seq"], record["at"][:4]) for record in Reader(tmp_path).read(100) if record["kind"] in ("refused", "repeated")]
    assert years == [(1, "1970"), (2, "1970"), (3, "2100"), (4, "2100"), (5, "2026"), (6, "2026")]


def test_where_copies_go_is_not_for_everybody(tmp_path):
    """The public address tells of places by kind and state alone; the one for operators tells folders and errors."""
    place = tmp_path / "not-mounted" / "notes"
    ledger = {"reserve": "1MiB", "checkpoints": {"to": [{"file": str(place)}]}, "sinks": [{"name": "copy", "to": f"file:{tmp_path}/gone/events", "format": "native"}]}
    mirror = MirrorProcess(tmp_path / "m", {"network": "offline", "ledger": ledger}).start()
    try:
        public = until(lambda: found if _failing(found := mirror.get("/-/health/ready").json()) == 2 else None)
        assert str(tmp_path) not in str(public)
        assert [one["to"] for one in (*public["checkpoints"]["to"], *public["sinks"])] == ["file", "file"]
        assert public["sinks"][0]["name"] == "copy"
    finally:
        mirror.stop()
    mirror.config["listen"] = {"admin": f"127.0.0.1:{free_port()}"}
    mirror.start()
    try:
        assert mirror.get("/-/health/ready").status == 404
        mirror.url = "http://" + mirror.config["listen"]["admin"]
        whole = until(lambda: found if _failing(found := mirror.get("/-/health/ready").json()) == 2 else None)
        assert [one["to"] for one in (*whole["checkpoints"]["to"], *whole["sinks"])] == [f"file:{place}", f"file:{tmp_path}/gone/events"]
        assert all("No such file" in one["why"] for one in (*whole["checkpoints"]["to"], *whole["sinks"]))
    finally:
        mirror.stop()


def _failing(report) -> int:
    return sum(one["state"] == "failing" for one in (*report["checkpoints"]["to"], *report["sinks"]))
