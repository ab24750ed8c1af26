"""Wanted lists that the server runs by itself: when they are due, and a server that does it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time as clock
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.bundle.scheduled import Ran, Row, Scheduled, due
from tests.support.mirror import MirrorProcess, running_mirror, until, upstream_config
from tests.support.standin import running_hub

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def test_when_a_list_is_due():
    """Without a time of day a list is due a period after it began last; with one at that time, and a late run moves none that follow."""
    daily, often = Row("w", DAY, time(2, 30)), Row("w", 6 * HOUR)
    assert due(often, None, NOON) == NOON
    assert due(often, NOON - HOUR, NOON) == NOON + 5 * HOUR
    assert due(daily, None, NOON) == datetime(2026, 11, 23, 2, 30, tzinfo=UTC)
    assert due(daily, datetime(2026, 11, 22, 2, 34, tzinfo=UTC), NOON) == datetime(2026, 11, 23, 2, 30, tzinfo=UTC)
    assert due(daily, datetime(2026, 11, 22, 9, 0, tzinfo=UTC), NOON) == datetime(2026, 11, 23, 2, 30, tzinfo=UTC)
    assert due(daily, datetime(2026, 11, 20, 2, 30, tzinfo=UTC), NOON) == datetime(2026, 11, 21, 2, 30, tzinfo=UTC) < NOON
    assert due(often, NOON + 1000 * DAY, NOON) == NOON


@given(st.integers(0, 2 * 86400), st.integers(1, 7), st.integers(0, 1439))
def test_every_day_has_its_run(late, days, minute):
    """Whenever a run began, the next one comes at its time of day, after half a day and within a period and a half."""
    row = Row("w", days * DAY, time(*divmod(minute, 60)))
    began = NOON + timedelta(seconds=late)
    found = due(row, began, NOON + 10 * DAY)
    assert found.time() == row.at
    assert timedelta(hours=12) <= found - began <= row.every + timedelta(hours=12)


async def test_one_at_a_time_and_not_again_after_a_restart(tmp_path):
    """Lists run one after another, never two at once; what ran is kept, so that a restart does not run it again before it is due."""
    running, most, ran = 0, 0, []

    async def launch(row: Row) -> Ran:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        now = datetime.now(UTC)
        return Ran(now, now, "complete", {"fetched": {"count": 1, "bytes": 2}})

    rows = [Row("a", DAY), Row("b", DAY)]
    for expected in (["a", "b"], ["a", "b"]):
        made = Scheduled(rows, launch, tmp_path, lambda: datetime.now(UTC), lambda: 0.0, lambda row, _: ran.append(row.name))
        made.start()
        async with asyncio.timeout(20):
            while len(ran) < len(expected):
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert (sorted(ran), most) == (expected, 1)
        assert [row["last"]["outcome"] for row in made.standing()] == ["complete", "complete"]
        await made.close()
    (tmp_path / "a.json").write_text("{")
    assert Scheduled(rows, launch, tmp_path, lambda: NOON, lambda: 0.0, lambda *_: None).last()["a"] is None


@pytest.mark.parametrize("workers", [1, 2])
def test_the_server_runs_it(tmp_path, workers):
    """A server with a schedule fetches and pins what is wanted by itself, and says in health and metrics how it went."""
    with running_hub() as hub:
        hub.add_repo("model", "acme/wanted", {"config.json": b"{}"}, lfs={"w.safetensors": os.urandom(20_000), "w.bin": os.urandom(10)})
        folder = tmp_path / "m"
        folder.mkdir()
        (folder / "nightly.yaml").write_text("version: 1\nmodels: [{id: acme/wanted}]\n")
        policy = 'version: 1\nrules: [{id: pickle, when: {file: ["*.bin"]}, effect: deny}]\n'
        schedule = [{"wants": "nightly.yaml", "every": "1m"}]  # a jitter of at most three seconds
        with running_mirror(folder, hub, None, policy, sync=schedule, listen={"workers": workers}) as mirror:
            until = clock.monotonic() + 40
            while (row := mirror.get("/-/health/ready").json()["sync"][0])["last"] is None and clock.monotonic() < until:
                clock.sleep(0.1)
            assert (row["wants"], row["last"]["outcome"]) == ("nightly", "incomplete")
            assert {state: part["count"] for state, part in row["last"]["counts"].items()} == {"fetched": 2, "refused": 1}
            assert "w.bin" in row["last"]["why"]
            metrics = mirror.get("/-/metrics").body.decode()
            assert 'mirror_sync_runs_total{outcome="incomplete",wants="nightly"} 1.0' in metrics
            assert re.search(r'mirror_sync_alarm\{wants="nightly"\} 1.0', metrics)
            pins = json.loads(mirror.command("cache", "pin", "--json").stdout.splitlines()[0])
            assert pins["reason"] == "sync nightly"
            assert mirror.get("/acme/wanted/resolve/main/w.safetensors", method="HEAD").headers["Cache-Status"] == "entrepot; hit"


@pytest.mark.torture
@pytest.mark.timeout(300)
def test_a_hub_that_fails_and_servers_that_end(tmp_path):
    """What a hub kept from a run is told and comes with the next; a server that is killed in the middle of a run leaves no process behind, and its successor runs the list again, from what came."""
    quick = {"huggingface": {"timeouts": {"read": "1s", "patience": "1s"}}}
    schedule = [{"wants": f"{name}.yaml", "every": "1m", "jobs": 1} for name in ("first", "second")]
    with running_hub() as hub:
        for name in ("first", "second"):
            hub.add_repo("model", f"acme/{name}", {"config.json": b"{}"}, lfs={"w.safetensors": os.urandom(3_000_000)})
        large = hub.repo("acme/first").commits[hub.repo("acme/first").head].files["w.safetensors"].xet
        base = upstream_config(hub)
        base["hubs"]["huggingface"] |= quick["huggingface"]
        mirror = MirrorProcess(tmp_path / "m", {**base, "sync": schedule})
        for name in ("first", "second"):
            (mirror.folder / f"{name}.yaml").write_text(f"version: 1\nmodels: [{{id: acme/{name}}}]\n")

        def last(*names: str) -> dict[str, dict]:
            rows = {row["wants"]: row for row in mirror.get("/-/health/ready").json()["sync"]}
            assert sum(row["running"] for row in rows.values()) <= 1
            return {name: rows[name]["last"] for name in names if rows[name]["last"] is not None and not rows[name]["running"]}

        def due_again(name: str) -> None:
            record = mirror.folder / "data" / "sync" / f"{name}.json"
            ran = json.loads(record.read_text())
            record.write_text(json.dumps(ran | {"began": (datetime.fromisoformat(ran["began"]) - HOUR).isoformat()}))

        down = hub.faults.add("status", "*", status=503)
        mirror.start()
        try:
            told = until(lambda: len(rows := last("first", "second")) == 2 and rows, 60)
            assert {row["outcome"] for row in told.values()} == {"incomplete"}
            assert all("acme/" in row["why"] for row in told.values()), told
            spans = sorted((row["began"], row["ended"]) for row in told.values())
            assert spans[0][1] <= spans[1][0]
        finally:
            mirror.stop()
        hub.faults.remove(down)
        due_again("first")
        stuck = hub.faults.add("throttle", "*", origin="cdn", rate=300_000)
        mirror.start()
        until(mirror.has_blocks, 60)
        mirror.kill()
        until(lambda: not syncing(mirror), 60)
        hub.faults.remove(stuck)
        asked = len(hub.requests.where(origin="cdn"))
        mirror.start()
        try:
            told = until(lambda: (rows := last("first")) and rows["first"]["outcome"] == "complete" and rows, 60)
            assert told["first"]["counts"]["fetched"]["count"] >= 1
            later = [call for call in hub.requests.where(origin="cdn")[asked:] if large in call.path]
            assert later
            assert all(call.headers.get("Range", "bytes=0-") != "bytes=0-" for call in later)
        finally:
            mirror.stop()


def syncing(mirror: MirrorProcess) -> list[str]:
    """Processes that sync for this mirror."""
    named = f"-c\0{mirror.folder / 'mirror.yaml'}\0sync\0".encode()
    return [path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if named in read(path)]


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_schedule_that_cannot_be_meant(tmp_path):
    """Every mistake in `sync:` is told with its place."""
    from mirror.config import load
    from mirror.core.errors import InputError

    (tmp_path / "a.yaml").write_text("version: 1\n")
    (tmp_path / "mirror.yaml").write_text(
        "sync: [{wants: none.yaml}, {wants: a.yaml, every: 1s}, {wants: a.yaml, at: '25:00'}, {wants: ./x/a.yaml, every: 36h, at: '02:30', jobs: 0}]\n"
    )
    with pytest.raises(InputError) as caught:
        load(tmp_path / "mirror.yaml", {})
    places = [problem.place for problem in caught.value.problems]
    assert places == ["sync[0].wants", "sync[1].every", "sync[2].wants", "sync[2].at", "sync[3].wants", "sync[3].wants", "sync[3].every", "sync[3].jobs"]
    (tmp_path / "mirror.yaml").write_text("sync: [{wants: a.yaml, often: true}]\n")
    with pytest.raises(InputError, match=r"sync\[0\].*often"):
        load(tmp_path / "mirror.yaml", {})
