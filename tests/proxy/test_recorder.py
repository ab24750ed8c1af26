"""What is said, on the record: over real segments and a real archive."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from mirror.audit.ledger import SegmentLedger
from mirror.audit.segments import Reader
from mirror.core.actor import Actor
from mirror.core.decision import EventKind, RequestInfo
from mirror.core.errors import LedgerDown
from mirror.core.facts import Facts
from mirror.core.nouns import HUGGINGFACE, Artifact, Kind, Project
from mirror.policy.evaluate import evaluate
from mirror.proxy.recorder import Recorder
from mirror.proxy.rulebook import load_epoch
from mirror.store.archive import EvidenceArchive

ARTIFACT = Artifact(Project(HUGGINGFACE, Kind.MODEL, "acme/tiny"), "a" * 40, "config.json")
ACTOR = Actor("a:1", address="192.0.2.1")
DENY = "version: 1\nrules: [{id: no-acme, when: {artifact: ['acme/*']}, effect: deny}]\n"


class WallClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


@asynccontextmanager
async def recording(folder):
    """A recorder over a ledger and an archive in `folder`, and what asks it to record one answer."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.yaml").write_text(DENY)
    epoch = load_epoch(folder / "policy.yaml", [], {}, number=1)
    ledger = SegmentLedger(folder / "ledger", WallClock(), reserve=0)
    await ledger.start()
    recorder = Recorder(WallClock(), os.urandom, ledger, EvidenceArchive(folder / "evidence"), None)

    async def decide(kind=EventKind.REFUSED, facts=Facts(), artifact=ARTIFACT):
        verdict = evaluate(epoch.policy, artifact, facts, ACTOR, WallClock().now())
        info = RequestInfo("r", "GET", "/acme/tiny/resolve/main/config.json", "test")
        return await recorder.decision(kind, ACTOR, artifact, facts, verdict, epoch, info)

    try:
        yield recorder, ledger, decide
    finally:
        await ledger.close()


FULL = """
import asyncio, resource, sys
from pathlib import Path
from mirror.core.errors import LedgerDown
from tests.proxy.test_recorder import recording

async def main():
    async with recording(Path(sys.argv[1])) as (_, ledger, decide):
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
        try:
            await (await decide()).ticket.durable()
        except LedgerDown:
            print("down")
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        while ledger.state == "down":
            await asyncio.sleep(0.05)
        recorded = await decide()
        await recorded.ticket.durable()
        print(recorded.decision.id)

asyncio.run(main())
"""


def test_what_was_never_written_is_not_repeated(tmp_path):
    """A decision that a full disk kept out of the ledger is recorded whole when it is asked for again, not as a count of nothing."""
    run = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    down, identity = run.stdout.split()

    records = Reader(tmp_path / "ledger").read(100)
    assert down == "down"
    assert [record["decision"]["id"] for record in records if record["kind"] == "refused"] == [identity]


async def test_answers_at_the_same_moment_are_one_event_with_a_count(tmp_path):
    """Equal answers that come up while the first one's evidence is being archived are repeats of it (P6)."""
    page = b"{}" * 1000
    async with recording(tmp_path) as (recorder, _, decide):
        recorder.at_hand(sha256(page).hexdigest(), page)
        facts = Facts(evidence=(sha256(page).hexdigest(),))
        found = await asyncio.gather(*(decide(facts=facts) for _ in range(8)))
        await asyncio.gather(*(one.ticket.durable() for one in found))

    records = Reader(tmp_path / "ledger").read(100)
    assert len({one.decision.id for one in found}) == 1
    assert sum(record["kind"] == "refused" for record in records) == 1
    assert sum(record["count"] for record in records if record["kind"] in ("refused", "repeated")) == 8


async def test_pages_at_hand_are_bounded_in_bytes(tmp_path):
    """However large pages are, those that wait to be cited take a bounded part of the memory."""
    async with recording(tmp_path) as (recorder, _, _decide):
        for number in range(200):
            page = number.to_bytes(4, "big") * (256 * 1024)
            recorder.at_hand(f"{number:064x}", page)

        assert recorder.held <= 128 * 1024 * 1024


async def test_evidence_that_cannot_be_archived_is_no_bug(tmp_path):
    """Where a cited page cannot be kept nothing is decided on it: `LedgerDown`, which clients are told as 503 with Retry-After."""
    page = b"{}" * 1000
    async with recording(tmp_path) as (recorder, _, decide):
        (tmp_path / "evidence").write_text("a file where the folder should be")
        recorder.at_hand(sha256(page).hexdigest(), page)
        with pytest.raises(LedgerDown, match="evidence"):
            await decide(facts=Facts(evidence=(sha256(page).hexdigest(),)))
