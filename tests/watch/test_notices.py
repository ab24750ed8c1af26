"""Notices of dates that come near, over a real ledger and its index."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import timedelta

from mirror.audit.feed import catch_up
from mirror.audit.ledger import SegmentLedger
from mirror.core.actor import Actor
from mirror.core.decision import Decision, Event, EventKind, RequestInfo
from mirror.core.facts import Facts
from mirror.core.ids import ulid
from mirror.core.purl import parse_loose
from mirror.policy.derive import derive
from mirror.policy.epoch import Epoch
from mirror.policy.evaluate import evaluate
from mirror.trust.register import Register
from mirror.watch.notices import Notices
from tests.policy.builders import CATALOGUE, LINEAGE, NOW, policy
from tests.support.database import index_in

SOON = policy('rules: [{id: soon, when: {artifact: "acme/*"}, effect: deny, from: 2026-12-10}]')


class Clock:
    moment = NOW

    def now(self):
        return self.moment


@asynccontextmanager
async def home(folder, the_policy=SOON):
    """A ledger with requests of the last days, and what gives notice over it."""
    clock = Clock()
    clock.moment = NOW
    index = await index_in(folder)
    ledger = SegmentLedger(folder / "ledger", clock, reserve=0)
    await ledger.start({})
    epoch = Epoch(1, the_policy, CATALOGUE, LINEAGE, {})
    for number, (name, who, groups, days) in enumerate([
        ("acme/model", "u:1", ("research",), 1), ("acme/model", "u:1", ("research",), 2), ("acme/other", "u:2", ("ci",), 3),
        ("globex/x", "u:3", ("sales",), 1), ("acme/model", "u:4", ("old",), 40),
    ]):  # fmt: skip
        thing, actor, at = parse_loose(name), Actor(who, groups), NOW - timedelta(days=days)
        facts = derive(Facts(), thing, CATALOGUE, LINEAGE)
        verdict = evaluate(the_policy, thing, facts, actor, at)
        made = Decision(ulid(at, number.to_bytes(10, "big")), at, verdict, "", thing, actor, facts, "", "", (), RequestInfo("r", "GET", "/x", "ua"), 200)
        await ledger.record(Event(EventKind.ALLOWED, at, actor, made)).durable()
    await catch_up(folder / "ledger", index)
    try:
        yield clock, lambda: Notices(lambda: epoch, index, ledger, Register(folder / "approvals" / "register.jsonl"), clock)
    finally:
        await ledger.close()
        await index.close()


def recorded(folder):
    lines = [json.loads(line) for path in sorted((folder / "ledger").glob("segment-*.jsonl")) for line in path.read_text().splitlines()]
    return [(one["subject"], one["detail"]) for one in lines if one["kind"] == "notice"]


async def test_a_notice_says_who_and_what_will_change(tmp_path):
    """Before a rule begins, those who asked for what it will refuse are counted by replay: artifacts, groups, clients; nobody else."""
    async with home(tmp_path) as (_, notices):
        await notices().look()
    assert recorded(tmp_path) == [("soon", {
        "of": "rule", "edge": "from", "date": "2026-12-10T00:00:00.000000Z", "days": 30, "clients": 2, "artifacts": 2, "groups": ["ci", "research"],
        "changes": ["pkg:huggingface/acme/model: allow -> deny", "pkg:huggingface/acme/other: allow -> deny"],
    })]  # fmt: skip


async def test_each_notice_is_given_once(tmp_path):
    """However often one looks, and over restarts, there is one notice at 30, one at 14 and one at 1 day, and none after the date."""
    async with home(tmp_path) as (clock, notices):
        for days in (0, 0.1, 3, 3.5, 4, 10, 16.6, 17, 17.2, 18, 30):
            clock.moment = NOW + timedelta(days=days)
            await notices().look()
    assert [(subject, detail["days"]) for subject, detail in recorded(tmp_path)] == [("soon", 30), ("soon", 14), ("soon", 1)]


async def test_a_clock_that_jumps_gives_no_notice_twice(tmp_path):
    """A clock set forward and back again repeats nothing that was given."""
    async with home(tmp_path) as (clock, notices):
        for days in (0, 17, 0, 17, 5):
            clock.moment = NOW + timedelta(days=days)
            await notices().look()
    assert [detail["days"] for _, detail in recorded(tmp_path)] == [30, 1, 14]


async def test_without_dates_there_is_no_notice(tmp_path):
    """A policy whose rules have no dates gives none."""
    async with home(tmp_path, policy("rules: []")) as (_, notices):
        assert await notices().look() == []
    assert recorded(tmp_path) == []
