"""`list_match` in a policy: who is asked for, from when and until when."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from mirror.core.actor import Actor
from mirror.core.decision import Effect
from mirror.core.facts import Fact, Facts, Owner
from mirror.core.purl import parse_loose
from mirror.policy.catalogue import Catalogue, Stated
from mirror.policy.compile import compile_policy
from mirror.policy.derive import derive
from mirror.policy.evaluate import evaluate
from mirror.policy.screening import ListEntry, ScreeningList
from tests.policy.builders import LINEAGE, NOW, WORLD, edges, judge, policy, publisher

FAMILY = (
    publisher("top", "Zenith Holdings", "IR"),
    publisher("middle", "Middle Works", "DE", parent="top"),
    publisher("child", "Quiet Child", "GB", parent="middle"),
    publisher("halved", "Halved", "GB", owners=(Owner("top", 5000, "test", None),)),
    publisher("minor", "Minor", "GB", owners=(Owner("top", 4999, "test", None),)),
)
CATALOGUE = Catalogue.build([Stated(one, confidence="A") for one in (*WORLD, *FAMILY)])


def screened(*entries, condition=None, direction="both", name="house"):
    """A policy that denies by one list."""
    lists = {name: ScreeningList(name, "1", entries, "house", direction)}
    text = json.dumps({"version": 1, "rules": [{"id": "r", "when": {"list_match": condition or [name]}, "effect": "deny"}]})
    return compile_policy([("policy.yaml", text)], CATALOGUE, LINEAGE, lists)


def ask(the_policy, name, now=NOW, actor=Actor("a")):
    artifact = parse_loose(name)
    return evaluate(the_policy, artifact, derive(Facts(ancestors=edges(name)), artifact, CATALOGUE, LINEAGE), actor, now)


@pytest.mark.parametrize(("name", "effect"), [
    ("top/x#m", Effect.DENY), ("middle/x#m", Effect.DENY), ("child/x#m", Effect.DENY),
    ("halved/x#m", Effect.DENY), ("minor/x#m", Effect.ALLOW), ("acme/x#m", Effect.ALLOW),
])
def test_who_belongs_to_a_listed_parent_is_matched_by_it(name, effect):
    """The parent's name on a list refuses its children, however deep, and what it owns by half; less does not."""
    assert ask(screened(ListEntry("e", "Zenith Holdings")), name).effect is effect


def test_a_match_by_a_parent_says_so():
    """The sentence and the record name the parent whose name is listed."""
    verdict = ask(screened(ListEntry("e", "Zenith Holdings")), "child/x#m")
    assert "is published by Quiet Child, on list house as 'Zenith Holdings (parent top)'" in verdict.sentence
    assert [(match.entry, match.name) for match in verdict.matches] == [("e", "Zenith Holdings (parent top)")]


@pytest.mark.parametrize(("least", "effect"), [(0.5, Effect.DENY), (0.75, Effect.ALLOW)])
def test_a_rule_that_asks_for_more_than_half_is_not_met_by_half(least, effect):
    """`aggregate_min` above a half leaves out a bare majority, and still knows a child by its parent."""
    the_policy = screened(ListEntry("e", "Zenith Holdings"), condition={"lists": ["house"], "ownership": {"aggregate_min": least}})
    assert ask(the_policy, "halved/x#m").effect is effect
    assert ask(the_policy, "child/x#m").effect is Effect.DENY


def test_an_entry_counts_from_its_day_until_its_last_and_verdicts_know_it():
    """One policy, nothing edited: allowed before `listed_on`, refused from midnight UTC, allowed again from `until`."""
    the_policy = screened(ListEntry("e", "Initech", listed_on=date(2026, 12, 1), until=date(2027, 2, 1)))
    start, end, tick = datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC), timedelta(microseconds=1)
    told = [(found.effect, found.valid_until) for found in (ask(the_policy, "initech/x#m", now) for now in (NOW, start - tick, start, end - tick, end, NOW))]
    assert told == [
        (Effect.ALLOW, start), (Effect.ALLOW, start), (Effect.DENY, end), (Effect.DENY, end), (Effect.ALLOW, None), (Effect.ALLOW, start),
    ]


def test_the_day_is_utc_wherever_the_clock_is():
    """Late in the evening in New York it is tomorrow in UTC: the entry is in force."""
    from zoneinfo import ZoneInfo

    the_policy = screened(ListEntry("e", "Initech", listed_on=date(2026, 12, 1)))
    assert ask(the_policy, "initech/x#m", datetime(2026, 11, 30, 20, tzinfo=ZoneInfo("America/New_York"))).effect is Effect.DENY


def test_dates_of_a_stranger_count_too():
    """A name that only the hub knows is asked about anew when the list's day has come."""
    the_policy = screened(ListEntry("e", "Initrode", listed_on=date(2026, 12, 1)))
    assert ask(the_policy, "initrode/x#m").effect is Effect.REVIEW  # nobody knows who that is
    assert ask(the_policy, "initrode/x#m", datetime(2026, 12, 1, tzinfo=UTC)).effect is Effect.DENY


@pytest.mark.parametrize(("name", "effect"), [("quick/x#m", Effect.ALLOW), ("initrode/x#m", Effect.DENY)])
def test_the_handle_of_somebody_whom_the_catalogue_knows_is_no_name(name, effect):
    """The hub declares the owner's handle as a name: it accuses a stranger, and nobody who is screened as the entity that he is."""
    quick = publisher("quiet", "Quiet Works Ltd", "GB", handles=(("huggingface", "Quick"),))
    named = Catalogue.build([Stated(one, confidence="A") for one in (*WORLD, quick)])
    house = ScreeningList("house", "1", [ListEntry("e", "Initrode"), ListEntry("f", "QUICK")], "house", "both")
    text = json.dumps({"version": 1, "rules": [{"id": "r", "when": {"list_match": ["house"]}, "effect": "deny"}]})
    artifact = parse_loose(name)
    stated = Facts(ancestors=edges(name), names=Fact((name.partition("/")[0],), "hub", "D"))
    found = derive(stated, artifact, named, LINEAGE)
    assert evaluate(compile_policy([("policy.yaml", text)], named, LINEAGE, {"house": house}), artifact, found, Actor("a"), NOW).effect is effect


def test_a_list_about_publishers_does_not_judge_who_asks():
    """The asking entity is compared with outbound lists only."""
    acme = Actor("a", entity="Acme Labs")
    assert ask(screened(ListEntry("e", "Acme Labs"), direction="inbound"), "initech/x#m", actor=acme).effect is Effect.ALLOW
    assert ask(screened(ListEntry("e", "Acme Labs"), direction="outbound"), "initech/x#m", actor=acme).effect is Effect.DENY


def test_a_rule_of_several_lists_asks_each_by_its_direction():
    """One outbound list in a rule does not turn an inbound one on the client."""
    lists = {
        "in": ScreeningList("in", "1", [ListEntry("e", "Acme Labs")], "house", "inbound"),
        "out": ScreeningList("out", "1", [ListEntry("e", "Umbrella")], "house", "outbound"),
    }
    the_policy = policy(json.dumps({"version": 1, "rules": [{"id": "r", "when": {"list_match": ["in", "out"]}, "effect": "deny"}]}), lists=lists)
    assert judge(the_policy, "initech/x#m", actor=Actor("a", entity="Acme Labs")).effect is Effect.ALLOW
    assert judge(the_policy, "initech/x#m", actor=Actor("a", entity="Umbrella")).effect is Effect.DENY
