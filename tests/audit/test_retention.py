"""Plain permissions go when their time is over, provably; a refusal that is gone is never taken for one of them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.audit.chain import Link, read_link, stub_of
from mirror.audit.checkpointer import Checkpointer
from mirror.audit.cursors import Cursor
from mirror.audit.examine import examine
from mirror.audit.feed import catch_up
from mirror.audit.keeping import Retention
from mirror.audit.ledger import SegmentLedger
from mirror.audit.notes import Checkpoint
from mirror.audit.passage import Choice, Passage
from mirror.audit.proof import proof_of
from mirror.audit.record import prepare, seal
from mirror.audit.retention import Grades, Terms
from mirror.audit.segments import Reader, segments
from mirror.core.decision import Effect, Event, EventKind, Match, Mode, RuleHit
from mirror.trust.machine_key import MachineKey
from tests.audit.samples import ACTOR, ALLOW, NOW, RULE, SteppingClock, decision
from tests.support.database import index_in

PLAIN = replace(ALLOW, would=Effect.ALLOW)
HOME = frozenset({"US"})
TERMS = Terms(home=HOME)


class MovingClock(SteppingClock):
    """A clock that a test sets forward."""

    def __init__(self, days: float = 0) -> None:
        super().__init__()
        self.moment += timedelta(days=days)


def permitted(number: int, *, verdict=PLAIN, **changes) -> Event:
    made = decision(number, verdict=verdict, **changes)
    return Event(EventKind.ALLOWED, made.at, made.actor, made)


class House:
    """A ledger with retention and checkpoints, opened anew for each step as a start of the mirror does."""

    def __init__(self, folder: Path, terms: Terms = TERMS) -> None:
        self.ledger, self.folder, self.terms = folder / "ledger", folder, terms

    async def open(self, days: float):
        clock = MovingClock(days)
        ledger = SegmentLedger(self.ledger, clock, reserve=0, segment_size=60_000)
        checkpointer = Checkpointer(ledger, MachineKey(self.folder / "signing.key"), clock)
        retention = Retention(ledger, clock, self.terms)
        checkpointer.before = retention.classify
        await ledger.start(None, checkpointer.admit)
        ledger.at_end = checkpointer.last
        await checkpointer.begin()
        return ledger, checkpointer, retention

    async def write(self, events, days: float = 0) -> None:
        ledger, checkpointer, _ = await self.open(days)
        for event in events:
            await ledger.record(event).durable()
        await checkpointer.make()
        await ledger.close()
        await checkpointer.close()

    async def expire(self, days: float, **how):
        ledger, checkpointer, retention = await self.open(days)
        try:
            return await retention.expire(**({"sure": True} | how))
        finally:
            await ledger.close()
            await checkpointer.close()

    def records(self, **how):
        return Reader(self.ledger, **how).read(1_000_000)

    def fault(self) -> str:
        return str(examine(self.ledger).fault or "")


#: Numbers below 20 are plain permissions, 20 to 29 are refusals and permissions that are kept.
def _mixed():
    for number in range(20):
        yield permitted(number)
        if number % 5 == 0:
            yield Event(EventKind.REPEATED, NOW, ACTOR, subject=decision(number).id, count=7)
    made = decision(20)
    yield Event(EventKind.REFUSED, made.at, made.actor, made)
    yield Event(EventKind.REPEATED, NOW, ACTOR, subject=made.id, count=3)
    yield permitted(21, actor=replace(ACTOR, country="DE"))
    yield permitted(22, actor=replace(ACTOR, country=None))
    yield permitted(23, verdict=replace(PLAIN, would=Effect.DENY))
    yield permitted(24, verdict=replace(PLAIN, matches=(Match("house", "2026-11-01", "Acme Labs", "Acme Labs Ltd", 1),)))
    yield permitted(25, verdict=replace(PLAIN, rules=(replace(RULE, exception="EX-17"),)))


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    asyncio.run(House(folder).write(_mixed()))
    return folder


@pytest.fixture(scope="module")
def expired(written, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("expired") / "house"
    shutil.copytree(written, folder)
    outcome = asyncio.run(House(folder).expire(91))
    assert (outcome.records, outcome.requests) == (24, 48)
    return folder


@pytest.fixture
def house(written, tmp_path) -> House:
    shutil.copytree(written, tmp_path / "house")
    return House(tmp_path / "house")


@pytest.fixture
def gone(expired, tmp_path) -> House:
    shutil.copytree(expired, tmp_path / "house")
    return House(tmp_path / "house")


_EFFECTS = st.sampled_from([Effect.ALLOW, Effect.WARN, Effect.DENY])


@settings(max_examples=150, deadline=None)
@given(
    would=_EFFECTS, score=st.one_of(st.none(), st.integers(0, 10_000)), excused=st.booleans(), country=st.sampled_from([None, "US", "DE"]),
    jurisdictions=st.sampled_from([(), ("US",), ("DE", "US")]), home=st.sampled_from([frozenset(), frozenset({"US"})]),
    text=st.text(max_size=20), kind=st.sampled_from([EventKind.ALLOWED, EventKind.REFUSED, EventKind.HELD]),
)  # fmt: skip
def test_what_is_short_lived(would, score, excused, country, jurisdictions, home, text, kind):
    """Only a permission that nobody would have refused, without match or exception, of a client on the home side of the border, whatever texts say."""
    hit = RuleHit("r", Effect.WARN, Mode.ENFORCE, False, False, text, '},"matches":[],"' + text, exception="EX-1" if excused else "")
    matches = () if score is None else (Match("house", "e", text, '"would":"allow"},"kind":"allowed"', score),)
    actor = replace(ACTOR, country=country, jurisdictions=jurisdictions, groups=(text, '"],"jurisdictions":["US"]'))
    made = decision(1, verdict=replace(PLAIN, would=would, rules=(hit,), matches=matches), actor=actor)
    line = seal(prepare(Event(kind, NOW, actor, made), bytes(16)), 5, "0" * 64).line
    grades = Grades()
    expected = (
        kind is EventKind.ALLOWED and would.serves and score is None and not excused and country is not None and country in (home or jurisdictions)
    )
    assert grades.is_short(grades.grade(line), home) is expected
    again = seal(prepare(Event(EventKind.REPEATED, NOW, actor, subject=made.id), bytes(16)), 6, "0" * 64).line
    assert grades.is_short(grades.grade(again), home) is expected


def test_goes_when_its_time_is_over(house):
    """Before 90 days nothing goes; then every plain permission with its repeats, and nothing else; a further run finds nothing."""
    assert asyncio.run(house.expire(89)).records == 0
    before = house.records()
    size = sum(one.path.stat().st_size + one.personal.stat().st_size for one in segments(house.ledger))
    dry = asyncio.run(house.expire(91, dry=True))
    assert (dry.records, dry.requests, dry.freed) == (24, 48, 0)
    outcome = asyncio.run(house.expire(91))
    assert (outcome.records, outcome.requests) == (24, 48) and outcome.freed > 0.5 * size
    found = examine(house.ledger)
    assert (found.fault, found.removed, found.erased) == (None, 24, 24)
    after = {record["seq"]: record for record in house.records()}
    kept = {record["seq"] for record in before if record["kind"] not in ("allowed", "repeated")}
    assert kept <= after.keys()
    ids = {one["decision"]["id"] for one in after.values() if one["kind"] == "allowed"}
    assert ids == {decision(number).id for number in range(21, 26)}
    assert [one["count"] for one in after.values() if one["kind"] == "repeated"] == [3]
    assert asyncio.run(house.expire(92)).records == 0
    assert not house.fault()


def test_counts_say_what_went(gone):
    """What is removed stands in a sealed record: by artifact, publisher, group, country and day, repeats with their decision's artifact."""
    told = [record for record in gone.records() if record["kind"] == "counts"]
    assert len(told) == 1
    assert told[0]["detail"]["rows"] == [
        {
            "artifact": str(decision(0).artifact), "publisher": "acme", "groups": ["dod-contract"], "country": "US", "day": "2026-11-22",
            "events": 24, "requests": 48,
        }
    ]  # fmt: skip


def test_proofs_of_others_hold(gone, written):
    """A record that stays is proven as before, under the checkpoints of then; one that went has no proof."""
    from mirror.audit import book

    one, _ = book.read(written / "ledger" / book.FILE).checkpoints[-1]
    assert isinstance(one, Checkpoint)
    custody = book.Book(gone.ledger)
    custody.open(len(gone.records(stubs=True)))
    refused = next(record["seq"] for record in gone.records() if record["kind"] == "refused")
    proof = proof_of(gone.ledger, refused, one, custody.custody.eras[0].verifier)
    assert json.loads(proof["record"])["kind"] == "refused"
    stub = next(record["seq"] for record in gone.records(stubs=True) if "kind" not in record)
    with pytest.raises(ValueError, match="removed after its retention"):
        proof_of(gone.ledger, stub, one, custody.custody.eras[0].verifier)


def _stub_out(house: House, chosen) -> None:
    """What somebody with the disk would do: leave stubs, and no personal parts, of records of their choice."""
    for one in segments(house.ledger):
        lines = one.path.read_bytes().splitlines(keepends=True)
        links = [read_link(line) for line in lines]
        made = [stub_of(link) if isinstance(link, Link) and link.personal and chosen(json.loads(line)) else line for link, line in zip(links, lines, strict=True)]
        gone = {link.sequence for link, line, new in zip(links, lines, made, strict=True) if isinstance(link, Link) and line != new}
        one.path.write_bytes(b"".join(made))
        parts = one.personal.read_bytes().splitlines(keepends=True)
        one.personal.write_bytes(b"".join(part for part in parts if json.loads(part)["seq"] not in gone))


@pytest.mark.parametrize("kind", ["refused", "allowed", "repeated", "started", "counts", "classes"])
def test_a_record_that_is_gone_without_leave(gone, kind):
    """Whatever is removed beyond what the record permits is a named fault: a refusal, a kept permission, its repeats, the leave itself."""
    sequences = [record["seq"] for record in gone.records() if record["kind"] == kind]
    _stub_out(gone, lambda record: record["seq"] == sequences[-1])
    fault = examine(gone.ledger).fault
    assert fault is not None
    if kind not in ("counts", "classes"):
        assert (fault.sequence, "is gone, and no record permits that" in fault.what) == (sequences[-1], True)


async def _recorded(house: House, kind: EventKind, days: float, detail) -> None:
    ledger, checkpointer, _ = await house.open(days)
    await ledger.record_own(kind, detail(house.records())).durable()
    await ledger.close()
    await checkpointer.close()


def _classes_of(records, kind: str) -> dict[str, object]:
    chosen = next(record["seq"] for record in records if record["kind"] == kind)
    return {"since": chosen, "until": chosen + 1, "short": "01", "home": ["US"]}


def _counts_of(records) -> dict[str, object]:
    window = [record for record in records if record["kind"] == "classes"][-1]
    removed = [{"classes": window["seq"], "removed": window["detail"]["short"]}]
    return {"allows": 90 * 86400, "removed": removed, "rows": [], "records": 1, "requests": 1}


def test_a_refusal_is_not_passed_off_as_an_expired_permission(tmp_path):
    """Classes that call a refusal short-lived are a fault while it is there, and so is a second opinion on what was classed."""
    house = House(tmp_path)
    asyncio.run(house.write([Event(EventKind.REFUSED, NOW, ACTOR, decision(1))]))
    asyncio.run(_recorded(house, EventKind.CLASSES, 1, lambda records: _classes_of(records, "refused")))
    assert "calls record 2 short-lived, which it is not" in house.fault()


@pytest.mark.parametrize("kind", [EventKind.REFUSED, EventKind.HELD, EventKind.STEERED])
def test_a_repeat_of_a_refusal_is_no_expired_permission(tmp_path, kind):
    """Classes that call a further answer to a refusal, a hold or a filtered page short-lived are a fault, as the decision itself would be."""
    house, made = House(tmp_path), decision(1)
    events = [Event(kind, NOW, ACTOR, made), Event(EventKind.REPEATED, NOW, ACTOR, subject=made.id, count=3)]
    asyncio.run(house.write(events))
    assert house.fault() == ""
    asyncio.run(_recorded(house, EventKind.CLASSES, 1, lambda records: _classes_of(records, "repeated")))
    assert "short-lived, which it is not" in house.fault()


def test_classes_are_said_once(house):
    """Classes of records of which that was said before are a fault: nobody makes a refusal short-lived afterwards."""
    asyncio.run(_recorded(house, EventKind.CLASSES, 1, lambda records: _classes_of(records, "refused")))
    assert "of which that was said before" in house.fault()


def test_too_soon(house):
    """Counts of records whose time was not over are a fault, and so is to count what was not called short-lived."""
    asyncio.run(_recorded(house, EventKind.COUNTS, 10, _counts_of))
    assert "before their time" in house.fault()


def test_counts_of_something_else(house):
    """Counts that remove what no classes call short-lived are a fault."""
    def detail(records):
        found = _counts_of(records)
        found["removed"] = [{**found["removed"][0], "removed": "ff" * (len(found["removed"][0]["removed"]) // 2)}]
        return found

    asyncio.run(_recorded(house, EventKind.COUNTS, 100, detail))
    assert "does not call short-lived" in house.fault()


def test_every_byte_of_what_is_left(gone):
    """Each byte of each segment with stubs: flipped, it is a fault, of that record or of the one that follows it."""
    for segment in segments(gone.ledger)[:1]:
        data = segment.path.read_bytes()
        with segment.path.open("r+b", buffering=0) as file:
            for offset in range(0, len(data), 7):
                os.pwrite(file.fileno(), bytes([data[offset] ^ 1 << offset % 8]), offset)
                fault = examine(gone.ledger).fault
                at = segment.first + data.count(b"\n", 0, offset)
                assert fault is not None and fault.sequence in (at, at + 1), (offset, fault)
                os.pwrite(file.fileno(), data[offset : offset + 1], offset)


def _killed_at(house: House, step: int) -> bool:
    """Run the removal in a child that dies at its `step`-th durable write or renaming; whether it came that far."""
    child = os.fork()
    if child == 0:
        counted = [0]

        def dying(call):
            def called(*arguments, **named):
                counted[0] += 1
                if counted[0] == step:
                    os.kill(os.getpid(), 9)
                return call(*arguments, **named)

            return called

        try:
            asyncio.run(_removal(house, dying))
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1] == 9


async def _removal(house: House, dying) -> None:
    ledger, _, retention = await house.open(91)
    os.fsync, os.fdatasync, os.replace, Path.replace = map(dying, (os.fsync, os.fdatasync, os.replace, Path.replace))
    await retention.expire(sure=True)
    await ledger.close()


def test_kill_nine_at_each_step(written, tmp_path):
    """Killed at any durable step of a removal, the ledger verifies, and the next run finishes with the same counts, once."""
    step, killed = 1, True
    while killed:
        folder = tmp_path / str(step)
        shutil.copytree(written, folder)
        house = House(folder)
        killed = _killed_at(house, step)
        assert not house.fault(), step
        asyncio.run(house.expire(92))
        told = [record["detail"]["requests"] for record in house.records() if record["kind"] == "counts"]
        found = examine(house.ledger)
        assert (found.fault, found.removed, told) == (None, 24, [48]), step
        assert not list(house.ledger.glob(".*.replacing"))
        shutil.rmtree(folder)
        step += 1
    assert step > 8


async def test_index_never_counts_twice(house, tmp_path):
    """Sums are the same before and after: rows of what went are gone from the index, their counts stand in; filled anew it is the same."""
    index = await index_in(tmp_path / "data")
    await catch_up(house.ledger, index)

    async def told():
        asked = [(by, where) for by in ("day", "publisher", "group", "country") for where in ({}, {"artifact": "pkg:huggingface/umbrella/"})]
        return [{one.term: (one.events.get("allowed"), one.requests.get("allowed")) for one in await index.summed(*one)} for one in asked]

    before = await told()
    assert len(await index.query({"kind": "allowed"}, 100, None)) == 25
    await house.expire(91)
    for _ in range(2):
        await catch_up(house.ledger, index)
        assert await told() == before
        assert len(await index.query({"kind": "allowed"}, 100, None)) == 5
        assert len(await index.query({"actor": ACTOR.name}, 100, None)) == 7
        assert await index.summed("country", {"country": "US", "rule": "origin-cn"})
        assert {one.term: one.requests for one in await index.summed("publisher", {"group": "dod-contract", "since": "2026-11-22", "until": "2026-11-23"})}["acme"]["allowed"] == 53
        await index.forget_events()
    await index.close()


def test_a_clock_that_jumps(house):
    """After a jump nothing goes until the clock has gone on for two days; a clock that stood in 1970 makes nothing old."""
    assert asyncio.run(house.expire(0.5, sure=False)).why
    outcome = asyncio.run(house.expire(91, sure=False))
    assert outcome.records == 0 and "clock" in outcome.why
    assert asyncio.run(house.expire(91.9, sure=False)).records == 0
    assert asyncio.run(house.expire(92.8, sure=False)).records == 0
    assert asyncio.run(house.expire(93.5, sure=False)).records == 24


def test_a_clock_that_was_slow(tmp_path):
    """What was recorded while the clock stood in 1970 is as old as what came before it, and no older."""
    house = House(tmp_path)
    asyncio.run(house.write([permitted(1)]))
    asyncio.run(house.write([permitted(2)], days=-20_000))
    assert asyncio.run(house.expire(30)).records == 0
    assert asyncio.run(house.expire(91)).records == 2
    assert not house.fault()


def test_no_home_no_border(tmp_path):
    """Without a home, a permission crosses no border where its client's country is a jurisdiction of its group; without either it is kept."""
    house = House(tmp_path, Terms())
    asyncio.run(house.write([permitted(1), permitted(2, actor=replace(ACTOR, jurisdictions=("DE",))), permitted(3, actor=replace(ACTOR, jurisdictions=()))]))
    assert asyncio.run(house.expire(91)).records == 1


async def test_erasure(house, tmp_path):
    """A pseudonym's parts go from files and index, the chain stays; what is asked for is recorded without the pseudonym."""
    index = await index_in(tmp_path / "data")
    await catch_up(house.ledger, index)
    ledger, checkpointer, retention = await house.open(1)
    done = await retention.erase(by="dpo", reason="ticket 7", actor=ACTOR.name)
    assert done["records"] == 31
    assert (await retention.erase(by="dpo", reason="ticket 7", actor=ACTOR.name))["records"] == 0
    await ledger.close()
    await checkpointer.close()
    found = examine(house.ledger)
    assert (found.fault, found.erased) == (None, 31)
    text = b"".join(path.read_bytes() for path in house.ledger.iterdir() if path.is_file())
    assert ACTOR.name.encode() not in text and ACTOR.address.encode() not in text
    await catch_up(house.ledger, index)
    assert not await index.query({"actor": ACTOR.name}, 10, None)
    assert all(record["actor"]["name"] is None for record in await index.query({"kind": "refused"}, 10, None))
    await index.close()


def test_old_personal_parts(tmp_path):
    """After the long term the personal parts of what is kept go by themselves; the records stay."""
    house = House(tmp_path, Terms(others=timedelta(days=400), home=HOME))
    asyncio.run(house.write([*_mixed()]))
    assert asyncio.run(house.expire(300)).personal == 0
    outcome = asyncio.run(house.expire(402))
    assert outcome.personal == 7
    assert asyncio.run(house.expire(403)).personal == 0
    found = examine(house.ledger)
    assert found.fault is None
    refused = next(record for record in house.records() if record["kind"] == "refused")
    assert refused["actor"]["name"] is None


def test_a_sink_passes_over_what_went(gone, written):
    """What was removed is no gap to a sink: it gets the rest, counts among it, and goes on from a cursor at a removed record."""
    def read(directory: Path, cursor: Cursor) -> list[dict]:
        durable = len(Reader(directory, stubs=True).read(1_000_000))
        passage = Passage(directory, lambda record: json.dumps(record).encode(), Choice(), lambda: NOW)
        passage.seek(cursor, durable)
        pieces = []
        while found := passage.read(durable):
            pieces += found
        assert [piece.next for piece in pieces] == list(range(cursor.next + 1, durable + 1))
        return [json.loads(piece.data) for piece in pieces if piece.data]

    whole = read(gone.ledger, Cursor())
    assert [record["seq"] for record in whole] == [record["seq"] for record in gone.records()]
    assert "counts" in {record["kind"] for record in whole} and "gap" not in {record["kind"] for record in whole}
    removed = next(record for record in Reader(written / "ledger").read(1000) if record["kind"] == "allowed")
    later = read(gone.ledger, Cursor(removed["seq"] + 1, removed["leaf"]))
    assert later == [record for record in whole if record["seq"] > removed["seq"]]


def test_a_reader_goes_on_when_files_are_replaced(house):
    """A reader in the middle of a segment that is replaced meanwhile gives every record that is left, once, with its personal part."""
    reader = Reader(house.ledger)
    before = reader.read(7)
    asyncio.run(house.expire(91))
    rest = reader.read(1_000_000)
    assert [record["seq"] for record in rest] == [record["seq"] for record in house.records() if record["seq"] > before[-1]["seq"]]
    assert all(record["actor"]["name"] == ACTOR.name for record in rest if "decision" in record)
