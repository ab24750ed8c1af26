"""Decisions read back from the record judge as they did."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.audit.record import decision_json
from mirror.core.actor import Actor
from mirror.core.decision import Decision, Effect, RequestInfo
from mirror.core.facts import Fact, Facts
from mirror.core.nouns import FileKind
from mirror.core.purl import parse_loose
from mirror.policy.derive import derive
from mirror.policy.evaluate import evaluate
from mirror.policy.horizon import Turn, touched, turns
from mirror.policy.recorded import judged
from tests.policy.builders import CATALOGUE, LINEAGE, NOW, edges, policy

WORDS = ("acme/model", "globex/base", "umbrella/x", "nobody/x", "packer/repack", "pkg:pypi/acme-lib@1.0?file_name=acme_lib-1.0.tar.gz")
RULES = """
defaults: {on_unknown: {origin: review, license: warn}}
rules:
  - {id: origin, when: {origin: [CN, RU]}, effect: deny}
  - {id: pub, when: {publisher: [globex]}, effect: deny, lineage: inherit}
  - {id: anc, when: {ancestor: ["umbrella/*"]}, effect: quarantine}
  - {id: lic, when: {license: [cc-by-nc-4.0, unknown]}, effect: warn}
  - {id: file, when: {kind: weights, size: {gt: 100}}, effect: review}
  - {id: young, when: {age_days: {lt: 7}}, effect: quarantine}
  - {id: gate, when: {gated: [auto, manual]}, for: {groups: [contract]}, effect: deny}
  - {id: yank, when: {yanked: true}, effect: warn}
  - {id: abroad, when: {client.country: {not_in: [GB]}}, effect: warn}
"""
POLICY = policy(RULES)

optional = lambda strategy: st.none() | st.builds(Fact, st.none() | strategy, st.sampled_from(["card", "catalogue"]), st.sampled_from("ABCD"))  # noqa: E731
FACTS = st.builds(
    Facts,
    license=optional(st.sampled_from([("mit",), ("cc-by-nc-4.0",), ("mit", "apache-2.0")])),
    file_kind=optional(st.sampled_from(list(FileKind))),
    size=optional(st.integers(0, 2**60)),
    published_at=optional(st.integers(0, 20).map(lambda days: NOW - timedelta(days=days, microseconds=7))),
    gated=optional(st.sampled_from(["false", "auto", "manual"])),
    yanked=optional(st.booleans()),
    status=optional(st.sampled_from(["active", "archived"])),
    blocked_countries=optional(st.sampled_from([("CN",), ("*",), ()])),
)
CHAINS = st.lists(st.tuples(st.sampled_from(["globex/base", "umbrella/x", "nobody/x", "packer/repack"]), st.sampled_from(["finetune", "quantized"])), max_size=3)
ACTORS = st.builds(Actor, st.just("u:1"), st.sampled_from([(), ("contract",)]), st.just("10.0.0.1"), st.sampled_from([None, "GB", "US"]))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(WORDS), FACTS, CHAINS, ACTORS)
def test_a_recorded_decision_judges_as_it_did(name, facts, chain, actor):
    """From its JSON alone, as the ledger has it, a decision's facts, artifact and actor give the same verdict again."""
    thing = parse_loose(name)
    if chain and thing.project.ecosystem == "huggingface":
        facts = replace(facts, ancestors=edges(name, *chain))
    complete = derive(facts, thing, CATALOGUE, LINEAGE)
    verdict = evaluate(POLICY, thing, complete, actor, NOW)
    made = Decision("01J8ZQ4Y3S5T6V7W8X9YABCDEF", NOW, verdict, verdict.sentence, thing, actor, complete, "", "", (), RequestInfo("r", "GET", "/x", "ua"), 200)
    found = judged(json.loads(json.dumps(decision_json(made))), CATALOGUE)
    # Of somebody permitted the record has the network alone (docs/privacy.md).
    known = replace(actor, address="") if verdict.effect.serves else actor
    assert (found.artifact, found.actor, found.at) == (thing, known, NOW)
    again = evaluate(POLICY, found.artifact, found.facts, found.actor, NOW)
    assert (again.effect, again.would, again.rules, again.lineage) == (verdict.effect, verdict.would, verdict.rules, verdict.lineage)


def case(name="acme/model", actor=None):
    thing = parse_loose(name)
    actor = actor or Actor("u:1", ("research",))
    complete = derive(Facts(), thing, CATALOGUE, LINEAGE)
    verdict = evaluate(POLICY, thing, complete, actor, NOW)
    made = Decision("01J8ZQ4Y3S5T6V7W8X9YABCDEF", NOW, verdict, "", thing, actor, complete, "", "", (), RequestInfo("r", "GET", "/x", "ua"), 200)
    return judged(decision_json(made), CATALOGUE)


DATED = policy("""
rules:
  - {id: soon, when: {artifact: "acme/*"}, effect: deny, from: 2026-12-01}
  - {id: ends, when: {artifact: "globex/*"}, effect: deny, until: 2026-11-30}
  - {id: far, when: {artifact: "x/*"}, effect: deny, from: 2027-06-01}
  - {id: past, when: {artifact: "x/*"}, effect: deny, from: 2026-01-01}
exceptions:
  - {id: EX-1, rule: ends, scope: {artifact: "globex/ok"}, reason: x, expires: 2026-11-25}
""")


def test_every_date_that_comes_near_is_a_turn():
    """Beginnings and ends of rules and exceptions within 30 days are found, nearest first; nothing that is past or far."""
    assert [(turn.kind, turn.id, turn.edge) for turn in turns(DATED, NOW)] == [
        ("exception", "EX-1", "expires"), ("rule", "ends", "until"), ("rule", "soon", "from"),
    ]  # fmt: skip


def test_a_turn_names_whom_it_changes():
    """The instant before a date and the date itself are compared for each recorded request; others are not touched."""
    cases = [case(), case("globex/ok"), case("globex/base"), case("nobody/x")]
    said = {
        turn.id: [(str(one.artifact), one.before, one.after) for one in touched(DATED, turn, cases)] for turn in turns(DATED, NOW)
    }
    assert said == {
        "EX-1": [("pkg:huggingface/globex/ok", Effect.ALLOW, Effect.DENY)],
        "ends": [("pkg:huggingface/globex/ok", Effect.DENY, Effect.ALLOW), ("pkg:huggingface/globex/base", Effect.DENY, Effect.ALLOW)],
        "soon": [("pkg:huggingface/acme/model", Effect.ALLOW, Effect.DENY)],
    }


def test_two_turns_of_one_day_name_each_what_is_theirs():
    """Of a rule and an exception that turn at the same instant each tells the requests that it takes part in."""
    dated = policy("""
rules: [{id: one, when: {artifact: "acme/*"}, effect: deny, from: 2026-12-01}, {id: two, when: {artifact: "nobody/*"}, effect: deny}]
exceptions: [{id: EX-1, rule: two, scope: {artifact: "nobody/x"}, reason: x, expires: 2026-12-01}]
""")
    said = {turn.id: [one.artifact.project.name for one in touched(dated, turn, [case(), case("nobody/x")])] for turn in turns(dated, NOW)}
    assert said == {"one": ["acme/model"], "EX-1": ["nobody/x"]}


@pytest.mark.parametrize(("left", "stage"), [(31, None), (30, 30), (14.01, 30), (14, 14), (1.5, 14), (1, 1), (0.001, 1), (0, None), (-1, None)])
def test_a_notice_is_due_at_30_14_and_1_days(left, stage):
    """The stage is the last that has come; none before 30 days, none at the date or after it."""
    assert Turn("rule", "r", "from", NOW + timedelta(days=left)).stage(NOW) == stage
