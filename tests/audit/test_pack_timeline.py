"""The timeline of a pack: what follows from a ledger's lines, told by hand."""

from __future__ import annotations

from mirror.audit.pack_timeline import Timeline, list_days, list_rows, outage_rows, policy_rows
from mirror.core.canonical import canonical

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def moment(hour: float, day: int = 1) -> str:
    return f"2026-11-{day:02d}T{int(hour):02d}:{round(hour % 1 * 60):02d}:00.000000Z"


def told(*rows, start=0):
    """A timeline of these records; those from number `start` on are in the range."""
    timeline = Timeline()
    for sequence, (at, row) in enumerate(rows):
        record = {"actor": {"groups": []}, "at": at, "count": 1, "leaf": "0" * 64, "personal": "sha256:" + "0" * 64, "prev": "0" * 64, "seq": sequence, **row}
        timeline.feed(sequence, canonical(record) + b"\n", at, within=sequence >= start)
    return timeline


def decided(policy, **lists):
    return {"decision": {"catalogue": C, "lists": lists, "matches": [], "policy": policy, "project": "p"}, "kind": "allowed"}


def event(kind, subject="ledger", **detail):
    return {"kind": kind, "subject": subject, "detail": detail}


def spans(timeline):
    return [(row["policy"][:1], row["from"], row["until"], row["seq"], row["how"]) for row in policy_rows(timeline, lambda _: None)]


def test_a_request_of_before_brings_nothing_back():
    """A decision under the policy before, taken while the new one came in, does not put that in force again; a rollback does."""
    timeline = told(
        (moment(1), event("started", policy=A, lists={"x": "1"}, adopted={"x": moment(0)})), (moment(2), decided(A, x="1")), (moment(3), event("policy", B, outcome="activated", lists={"x": "2"})),
        (moment(3.5), decided(A, x="1")), (moment(4), decided(B, x="2")), (moment(5), event("policy", A, outcome="activated", lists={"x": "1"})), (moment(6), decided(B, x="2")),
    )
    assert spans(timeline) == [
        ("a", moment(1), moment(3), 0, "the mirror was started with it"), ("b", moment(3), moment(5), 2, "activated"), ("a", moment(5), None, 5, "activated"),
    ]  # fmt: skip
    assert [(row["edition"], row["from"], row["until"]) for row in list_rows(timeline, lambda *_: None, moment(7))] == [("1", moment(1), moment(3)), ("2", moment(3), moment(5)), ("1", moment(5), None)]


def test_a_policy_that_no_event_tells_of_is_found_by_its_decisions():
    """Where the event is lost, the first decision that cites another policy begins its time, and says so."""
    timeline = told((moment(1), event("started", policy=A)), (moment(2), decided(A, x="1")), (moment(3), decided(B, x="1")))
    assert spans(timeline)[1] == ("b", moment(3), None, 2, "a decision cites it")
    assert [(row["edition"], row["from"]) for row in list_rows(timeline, lambda *_: None, moment(4))] == [("1", moment(2))]


def test_only_what_still_holds_is_told_of_the_time_before():
    """Of the time before the range its last policy and lists stand in it, with the records that say so; what had ended does not."""
    timeline = told(
        (moment(1), event("started", policy=A, lists={"x": "1", "y": "1"}, adopted={"x": moment(0), "y": moment(0)})), (moment(2), event("stopped")),
        (moment(3), event("started", policy=B, lists={"x": "2"}, adopted={"x": moment(2.5)})), (moment(4), decided(B, x="2")), start=3,
    )
    assert spans(timeline) == [("b", moment(3), None, 2, "the mirror was started with it")]
    rows = list_rows(timeline, lambda *_: {"stated": "2026-10-30", "entries": 7}, moment(5))
    assert [(row["list"], row["edition"], row["fetched_at"], row["fetched_by_record"], row["stated_age_at_end_days"], row["entries"]) for row in rows] == [("x", "2", moment(2.5), 2, 2, 7)]
    assert timeline.outages == []
    assert timeline.grounds == {"policy": 2, "list x": 2}


def test_who_activated_a_policy():
    """An approval is found by the policy's digest, or by that of its own files where waivers were signed beside them."""
    detail = {"outcome": "approved", "number": 3, "requested_by": "rita", "approved_by": ["alice", "carol"], "envelope": "e" * 64}
    rows = [(moment(1), event("policy", A, **detail)), (moment(2), event("policy", A, outcome="activated", lists={})), (moment(3), event("policy", B, outcome="activated", lists={}))]
    found = policy_rows(told(*rows), lambda digest: (A, ["policy.yaml", "waivers/W.yaml"]) if digest == B else (A, ["policy.yaml"]))
    assert [(row["policy"][:1], row["activation"]["approved_by"], row["activation"]["seq"]) for row in found] == [("a", ["alice", "carol"], 0), ("b", ["alice", "carol"], 0)]
    assert policy_rows(told(*rows[1:]), lambda _: None)[0]["activation"] is None


def test_what_was_turned_away_and_signed():
    """Policies and lists that were turned away are told with why; waivers, denies and releases of the range with who signed; nothing of advisories."""
    timeline = told(
        (moment(1), event("waiver", "W-0", outcome="approved")), (moment(2), event("started", policy=A)), (moment(3), event("policy", A, outcome="rejected", problems=["bad"])),
        (moment(4), event("policy", "7", outcome="rejected", list="x", problems=["shrank"])), (moment(5), event("emergency", "D-1", outcome="denied", approved_by=["alice"], reason="r")),
        (moment(6), event("policy", C, outcome="activated", osv="pypi")), start=1,
    )
    assert [(row["at"], row["problems"], row.get("list")) for row in timeline.rejected] == [(moment(3), ["bad"], None), (moment(4), ["shrank"], "x")]
    assert timeline.statements == [{"seq": 4, "at": moment(5), "kind": "emergency", "id": "D-1", "outcome": "denied", "approved_by": ["alice"]}]
    assert len(spans(timeline)) == 1


def test_outages_of_mirror_and_ledger():
    """A stop lasts until the next start; a start without one tells of an end without a word; outages, torn writes and gaps are told."""
    gap = {"since": 5, "published": 9, "source": "git:/srv/witness"}
    rows = outage_rows(told(
        (moment(1), event("started", policy=A)), (moment(2), event("stopped")), (moment(3), event("started", policy=A)), (moment(4), decided(A)), (moment(6), event("recovered", file="torn-1", bytes=7)),
        (moment(6), event("started", policy=A)), (moment(8), event("recovered", outage="nothing could be recorded", since=moment(7))), (moment(9), event("recovered", gap=gap)), (moment(10), event("stopped")),
    ))  # fmt: skip
    assert [(row["what"].split(";")[0], row["from"], row["until"]) for row in rows] == [
        ("the mirror was stopped", moment(2), moment(3)), ("the mirror ended without a word", moment(4), moment(6)), ("an incomplete write was cut off", moment(6), moment(6)),
        ("nothing could be recorded", moment(7), moment(8)), ("the ledger was set back: records after 5, up to 9, are lost", moment(9), moment(9)), ("the mirror was stopped", moment(10), None),
    ]  # fmt: skip


def test_a_list_day_by_day():
    """Each day has the edition that judged at its midnight, and how old it was then; days without the list have no row."""
    timeline = told((moment(9, 1), event("started", policy=A, lists={"x": "1"}, adopted={"x": moment(8, 1)})), (moment(9, 3), event("policy", A, outcome="activated", lists={})))
    days = list(list_days(list_rows(timeline, lambda *_: None, moment(0, 5)), moment(9, 1), moment(0, 5)))
    assert [(row["day"], row["age_days"]) for row in days] == [("2026-11-01", 0), ("2026-11-02", 0), ("2026-11-03", 1)]
