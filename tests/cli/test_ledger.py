"""`mirror ledger` as people run it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mirror.audit.ledger import SegmentLedger
from tests.audit.samples import ALLOW, SteppingClock, decision, refused
from tests.audit.test_record import validator
from tests.support import preloaded


def mirror(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return preloaded.run(["-c", str(home / "mirror.yaml"), "ledger", *arguments], cwd=home, env={**os.environ, "NO_COLOR": "1"})


async def start(home: Path) -> SegmentLedger:
    ledger = SegmentLedger(home / "data" / "ledger", SteppingClock(), reserve=0)
    await ledger.start({"version": "0"})
    return ledger


async def _filled(home: Path) -> None:
    ledger = await start(home)
    for number in range(20):
        await ledger.record(refused(number) if number % 2 else refused(number, verdict=ALLOW)).durable()
    ledger.repeat(decision(1), must_be_durable=True)
    await ledger.close()


@pytest.fixture
def home(tmp_path) -> Path:
    (tmp_path / "mirror.yaml").write_text(f"data: {tmp_path / 'data'}\n")
    asyncio.run(_filled(tmp_path))
    return tmp_path


def test_verify(home):
    """A sound ledger: count and head, exit 0. A changed one: sequence and fault, exit 1. None: exit 2."""
    sound = mirror(home, "verify")
    assert (sound.returncode, sound.stdout.startswith("23 records, head ")) == (0, True), sound.stderr
    said = json.loads(mirror(home, "verify", "--json").stdout)
    assert (said["ok"], said["records"], said["fault"]) == (True, 23, None)
    segment = home / "data" / "ledger" / "segment-000000000000.jsonl"
    segment.write_bytes(segment.read_bytes().replace(b'"status":451', b'"status":200', 3))
    broken = mirror(home, "verify")
    assert (broken.returncode, broken.stdout) == (1, "")
    assert "segment-000000000000.jsonl: seq 2: the record is not the one its leaf was made from" in broken.stderr
    assert json.loads(mirror(home, "verify", "--json").stdout)["fault"]["seq"] == 2
    (home / "mirror.yaml").write_text(f"data: {home / 'elsewhere'}\n")
    assert mirror(home, "verify").returncode == 2


def test_tail(home):
    """The last events, oldest first, a line each; JSON Lines hold to the published schema."""
    plain = mirror(home, "tail", "-n", "3").stdout.splitlines()
    assert len(plain) == 3
    assert "stopped" in plain[-1]
    lines = [json.loads(line) for line in mirror(home, "tail", "-n", "100", "--json").stdout.splitlines()]
    assert [line["seq"] for line in lines] == list(range(23))
    for line in lines:
        validator("event.json").validate(line)


def test_query(home):
    """Conditions filter, newest first; the index is filled from the segments when nobody else did."""
    lines = [json.loads(line) for line in mirror(home, "query", "--effect", "deny", "--kind", "refused", "--json").stdout.splitlines()]
    assert [line["seq"] for line in lines] == list(range(20, 0, -2))
    few = mirror(home, "query", "--actor", "u:9f2c", "--limit", "2", "--artifact", "pkg:huggingface/umbrella").stdout
    assert len(few.splitlines()) == 2
    assert "origin-cn" in mirror(home, "query", "--rule", "origin-cn").stdout
    bad = mirror(home, "query", "--since", "yesterday", "--until", "1")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "since" in bad.stderr
    assert "until" in bad.stderr


async def test_beside_a_running_mirror(home):
    """With a process writing, all three work, and `tail -f` shows what comes."""
    ledger = await start(home)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mirror.cli.main", "-c", str(home / "mirror.yaml"), "ledger", "tail", "-f", "-n", "1", "--json",
        stdout=asyncio.subprocess.PIPE, limit=1 << 20,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite that runs in the background ignores it
    )  # fmt: skip
    assert json.loads(await process.stdout.readline())["kind"] == "started"
    sealed = await ledger.record(refused(500)).durable()
    assert json.loads(await process.stdout.readline())["leaf"] == sealed.leaf
    process.send_signal(signal.SIGINT)
    assert await process.wait() in (0, 130)
    assert (await asyncio.to_thread(mirror, home, "verify")).returncode == 0
    found = await asyncio.to_thread(mirror, home, "query", "--limit", "1", "--kind", "refused", "--json")
    assert json.loads(found.stdout)["decision"]["id"] == decision(500).id
    await ledger.close()


@pytest.mark.parametrize("bad", [["--effect", "bogus"], ["--kind", "bogus"], ["--since", "yesterday"]], ids=" ".join)
def test_a_condition_that_no_event_can_meet_is_refused(home, bad):
    """A misspelt word or moment is unusable input (exit 2), not a search that finds nothing."""
    done = mirror(home, "query", *bad)
    assert (done.returncode, done.stdout) == (2, "")
    assert bad[1] in done.stderr
