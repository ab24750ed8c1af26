"""`mirror ledger` as people run it."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mirror.audit.ledger import SegmentLedger
from mirror.cli.ledger_report import Report, page
from mirror.core.questions import BY, Summed
from tests.audit.samples import SteppingClock, allowed, decision, refused
from tests.audit.test_record import validator
from tests.support import preloaded


class Tags(HTMLParser):
    """Which elements and attributes a page has."""

    def __init__(self) -> None:
        super().__init__()
        self.tags, self.attributes = set(), set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def mirror(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return preloaded.run(["-c", str(home / "mirror.yaml"), "ledger", *arguments], cwd=home, env={**os.environ, "NO_COLOR": "1"})


async def start(home: Path) -> SegmentLedger:
    ledger = SegmentLedger(home / "data" / "ledger", SteppingClock(), reserve=0)
    await ledger.start({"version": "0"})
    return ledger


async def _filled(home: Path) -> None:
    ledger = await start(home)
    for number in range(20):
        await ledger.record(refused(number) if number % 2 else allowed(number)).durable()
    ledger.repeat(decision(1), must_be_durable=True)
    await ledger.close()


@pytest.fixture
def home(tmp_path) -> Path:
    (tmp_path / "mirror.yaml").write_text(f"data: {tmp_path / 'data'}\nledger: {{views: {{people: open}}}}\n")
    asyncio.run(_filled(tmp_path))
    return tmp_path


def test_verify(home):
    """A sound ledger: count and head, exit 0. A changed one: sequence and fault, exit 1. None: exit 2."""
    sound = mirror(home, "verify", "--no-evidence")
    assert (sound.returncode, sound.stdout.startswith("23 records, head ")) == (0, True), sound.stderr
    said = json.loads(mirror(home, "verify", "--no-evidence", "--json").stdout)
    assert (said["ok"], said["records"], said["fault"]) == (True, 23, None)
    segment = home / "data" / "ledger" / "segment-000000000000.jsonl"
    segment.write_bytes(segment.read_bytes().replace(b'"status":451', b'"status":200', 3))
    broken = mirror(home, "verify", "--no-evidence")
    assert (broken.returncode, broken.stdout) == (1, "")
    assert "segment-000000000000.jsonl: seq 2: the record is not the one its leaf was made from" in broken.stderr
    assert json.loads(mirror(home, "verify", "--no-evidence", "--json").stdout)["fault"]["seq"] == 2
    (home / "mirror.yaml").write_text(f"data: {home / 'elsewhere'}\n")
    assert mirror(home, "verify", "--no-evidence").returncode == 2


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
    few = mirror(home, "query", "--actor", "u:9f2c", "--limit", "2", "--artifact", "pkg:huggingface/umbrella", "--ancestor", "acme/*", "--since", "5y").stdout
    assert len(few.splitlines()) == 3
    assert few.startswith("seq")
    assert "origin-cn" in mirror(home, "query", "--rule", "origin-cn").stdout
    made = list(csv.DictReader(io.StringIO(mirror(home, "query", "--kind", "repeated", "--kind", "refused", "--csv", "--limit", "1").stdout)))
    assert [(row["seq"], row["rules"], row["ancestors"], row["groups"]) for row in made] == [("20", "origin-cn", "pkg:huggingface/acme/solid-7b", "dod-contract")]
    bad = mirror(home, "query", "--since", "yesterday", "--until", "1")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "since" in bad.stderr
    assert "until" in bad.stderr


def test_query_sums(home):
    """`--by` gives events and requests, refusals with their repeats apart from allows, in all three shapes; paging has no meaning there."""
    line = json.loads(mirror(home, "query", "--by", "rule", "--rule", "origin-cn", "--json").stdout)
    assert (line["rule"], line["requests"], line["refused"], line["allowed"], line["events"], line["refused_events"]) == ("origin-cn", 11, 11, 0, 11, 11)
    rows = list(csv.DictReader(io.StringIO(mirror(home, "query", "--by", "day", "--csv").stdout)))
    assert [(row["day"], row["requests"], row["allowed"], row["refused"]) for row in rows] == [("2026-11-22", "21", "10", "11")]
    assert mirror(home, "query", "--by", "country").stdout.splitlines()[1].split()[:4] == ["US", "21", "10", "11"]
    assert mirror(home, "query", "--by", "day", "--before", "4").returncode == 2
    assert mirror(home, "query", "--csv", "--json").returncode == 2


def test_query_report(home):
    """`--report` writes a page that says what it was made from; where it cannot be written, it says so and exits 2."""
    done = mirror(home, "query", "--report", str(home / "r.html"), "--group", "dod-contract", "--since", "2026-01-01")
    assert done.returncode == 0, done.stderr
    head = (home / "data" / "ledger" / "head").read_text()
    made = (home / "r.html").read_text()
    for text in ("By rule", "By publisher", "only <b>group dod-contract</b>", "2026-01-01 to ", "23 records", "origin-cn"):
        assert text in made, text
    assert next(word for word in made.replace("<", " ").split() if len(word) == 64 and word in head)
    assert mirror(home, "query", "--report", str(home / "none" / "r.html")).returncode == 2


def test_a_report_runs_and_fetches_nothing():
    """Texts that others chose are escaped wherever they stand; no script, no address, nothing to be fetched; a year becomes weeks, ten years months."""
    evil = '"><script>alert(1)</script><img src=//x>'
    for span, word in ((30, "day"), (400, "week"), (3650, "month")):
        days = [Summed((date(2026, 1, 1) + timedelta(days=n)).isoformat(), {"refused": 1}, {"allowed": 3, "refused": 2}) for n in (0, span)]
        rest = [Summed(evil, {"refused": 1}, {"refused": 2}), *(Summed(f"r{n}", {"held": 1}, {"held": 1}) for n in range(30)), Summed("", {}, {"allowed": 5})]
        sums = {"day": days, **dict.fromkeys(BY[1:], rest)}
        made = page(Report(sums, {"rule": evil, "since": "2026-01-01"}, datetime(2026, 11, 22, tzinfo=UTC), 9, "ab" * 32, 8, evil, "0"))
        assert f"<h2>By {word}</h2>" in made
        assert "and 6 more with 6 requests" in made
        assert "1 came while this was made" in made
        seen = Tags()
        seen.feed(made)
        assert not seen.tags & {"script", "img", "link", "iframe", "object", "a", "image", "use", "base", "form"}
        assert not seen.attributes & {"src", "href", "xlink:href", "onload", "onclick", "action"}
        assert "url(" not in made
        assert "default-src 'none'" in made


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
    assert (await asyncio.to_thread(mirror, home, "verify", "--no-evidence")).returncode == 0
    found = await asyncio.to_thread(mirror, home, "query", "--limit", "1", "--kind", "refused", "--json")
    assert json.loads(found.stdout)["decision"]["id"] == decision(500).id
    await ledger.close()


@pytest.mark.parametrize("bad", [["--effect", "bogus"], ["--kind", "bogus"], ["--since", "yesterday"]], ids=" ".join)
def test_a_condition_that_no_event_can_meet_is_refused(home, bad):
    """A misspelt word or moment is unusable input (exit 2), not a search that finds nothing."""
    done = mirror(home, "query", *bad)
    assert (done.returncode, done.stdout) == (2, "")
    assert bad[1] in done.stderr
