"""Decisions judged once more: the same rules give the same, other rules what they would have given."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.audit.record import decision_json, public_decision
from mirror.core.actor import Actor
from mirror.core.canonical import canonical
from mirror.core.decision import Decision, Effect, RequestInfo
from mirror.core.facts import Fact, Facts
from mirror.core.findings import Finding
from mirror.core.purl import parse_loose
from mirror.lists.loading import load_catalogue, load_lineage
from mirror.policy.assembly import joined
from mirror.policy.compile import compile_policy
from mirror.policy.derive import derive
from mirror.policy.edits import edits
from mirror.policy.evaluate import evaluate
from mirror.policy.recorded import judged
from mirror.policy.releases import publisher_digest, rule_digest
from mirror.policy.replay import Answer, Asked, answer, between, changes, deviations, rederived, summary
from mirror.policy.reviewed import Reviewed
from mirror.policy.revived import catalogue_from, findings_from, lineage_from
from mirror.policy.subject import Subject
from tests.policy.builders import CATALOGUE, LINEAGE, LISTS, NOW, catalogue, edges, policy, publisher
from tests.policy.test_properties import CONDITIONS, MORE, build, rules, situations

IDENTITY = "01J8ZQ4Y3S5T6V7W8X9YABCDEF"
WORDS = {Effect.ALLOW: "allowed", Effect.WARN: "allowed", Effect.DENY: "refused", Effect.REVIEW: "held", Effect.QUARANTINE: "held"}


def recorded(the_policy, situation):
    """(kind, the decision as the ledger seals it) of one request."""
    name, facts, actor, chain = situation
    thing = parse_loose(name)
    stated = {key: value if isinstance(value, Fact) else Fact(value, "test") for key, value in facts.items()}
    if chain and name.count("/") == 1:
        stated["ancestors"] = edges(name, *chain)
    complete = derive(Facts(**stated), thing, CATALOGUE, LINEAGE)
    verdict = evaluate(the_policy, thing, complete, actor, NOW)
    said = verdict.sentence + ("" if verdict.effect.serves else f" Decision {IDENTITY}; ask at https://ask.example.")
    made = Decision(IDENTITY, NOW, verdict, said, thing, actor, complete, "", "", (), RequestInfo("r", "GET", "/x", "ua"), verdict.status)
    return WORDS[verdict.effect], json.loads(json.dumps(decision_json(made)))


def worked_out(the_policy, stated):
    """The same decision from its record alone, its verdict not looked at."""
    blind = {key: value for key, value in stated.items() if key not in ("effect", "would", "rules", "matches", "suggestions", "sentence", "valid_until", "available_from", "status")}
    case = judged(blind, catalogue_from(CATALOGUE.content))
    facts = rederived(case, CATALOGUE, LINEAGE)
    verdict = evaluate(the_policy, case.artifact, facts, case.actor, case.at)
    made = Decision(case.decision, case.at, verdict, verdict.sentence, case.artifact, case.actor, facts, "", "", (), RequestInfo("r", "GET", "/x", ""), verdict.status)
    return decision_json(made, public=True)


@MORE
@given(rules(), situations())
def test_replay_equality(made, situation):
    """Whatever the policy and the facts: the record, read back without its verdict, gives the same decision in every part.

    The policy is compiled once more from its own text, the catalogue made from its archived content.
    """
    first = build(made)
    kind, stated = recorded(first, situation)
    again = policy(first.texts[0][1])
    assert deviations(kind, public_decision(stated), worked_out(again, stated)) == []


@MORE
@given(rules(), CONDITIONS, situations(), st.sampled_from(["deny", "quarantine", "review"]))
def test_a_verdict_of_another_policy_is_named(made, when, situation, effect):
    """A record whose verdict is that of other rules deviates exactly where those rules give something else."""
    planted = build([*made, {"id": "planted", "when": when, "effect": effect}])
    kind, stated = recorded(planted, situation)
    honest_kind, honest = recorded(build(made), situation)
    found = deviations(kind, public_decision(stated), worked_out(build(made), stated))
    differs = {part for part in ("effect", "would", "rules", "sentence", "valid_until") if stated.get(part) != honest.get(part)}
    assert differs <= {one.part for one in found}
    assert bool(found) is (stated != honest or kind != honest_kind)


def test_archived_content_gives_the_shipped_catalogue_and_lineage_back():
    """Catalogue, lineage and findings made from what the archive keeps have the same content to the byte."""
    catalogue, lineage = load_catalogue(), load_lineage()
    assert catalogue_from(catalogue.content).digest == catalogue.digest
    assert lineage_from(lineage.content).digest == lineage.digest
    finding = Finding(IDENTITY, "acme", "a" * 64, "house", "e1", "b" * 64, "false_match", "u1", NOW, "no")
    assert findings_from(Reviewed([finding]).content).of("house", "e1", "acme") == finding


@pytest.mark.parametrize("content", [b"{}", b"[{}]", b'[{"id": "x", "unheard": 1}]', b"nonsense"])
def test_content_that_is_not_a_catalogue_is_refused(content):
    """What cannot be read as it was written is an error, never a smaller catalogue."""
    with pytest.raises(ValueError):  # noqa: PT011 - any of them
        catalogue_from(content)


# --- other rules ---


def asked(name, actor=None, *, effect=Effect.ALLOW, rules=(), times=1, page=False, **facts):
    thing = parse_loose(name)
    complete = derive(Facts(**facts), thing, CATALOGUE, LINEAGE)
    made = Decision(IDENTITY, NOW, evaluate(policy("rules: []"), thing, complete, actor or Actor("u:1"), NOW), "", thing, actor or Actor("u:1"), complete, "", "", (), RequestInfo("r", "GET", "/x", ""), 200)
    return Asked(judged(decision_json(made), CATALOGUE), Answer(effect, rules), times, page)


def test_what_would_have_been_different_and_for_whom():
    """Only requests whose effect changes are told, with groups, clients, rules and requests counted; repeats weigh."""
    staff = Actor("u:2", ("staff",))
    past = [asked("globex/base"), asked("globex/base", staff, times=5), asked("acme/x", staff), asked("globex/lib", staff, effect=Effect.DENY, rules=("old",), page=True)]
    new = policy("rules: [{id: cn, when: {publisher.country: [CN]}, for: {groups: [staff]}, effect: review}]")
    found = summary(changes(past, new), 0)
    assert (found["decisions"], found["requests"], found["pages"]) == (2, 6, 1)
    assert found["effects"] == [
        {"before": "allow", "after": "review", "decisions": 1, "requests": 5}, {"before": "deny", "after": "review", "decisions": 1, "requests": 1},
    ]  # fmt: skip
    assert found["groups"] == [{"group": "staff", "decisions": 2, "requests": 6, "clients": 1}]
    assert found["rules"] == [{"id": "cn", "by": 2, "no_longer": 0}, {"id": "old", "by": 0, "no_longer": 1}]
    assert [(one["artifact"], one["requests"]) for one in found["examples"]] == [("pkg:huggingface/globex/base", 5), ("pkg:huggingface/globex/lib", 1)]
    assert len(summary(changes(past, new), 1)["examples"]) == 1


def test_what_differs_under_the_rules_in_force_too_is_not_the_new_policys_doing():
    """A change that the present rules make as well is marked `anyway`."""
    past = [asked("globex/base"), asked("umbrella/x")]
    new = policy("rules: [{id: both, when: {publisher: [globex, umbrella]}, effect: deny}]")
    present = policy("rules: [{id: one, when: {publisher: [umbrella]}, effect: deny}]")
    assert [(str(one.asked.case.artifact), one.anyway) for one in changes(past, new, now=present)] == [
        ("pkg:huggingface/globex/base", False), ("pkg:huggingface/umbrella/x", True),
    ]  # fmt: skip


def test_two_policies_are_compared_by_what_each_says():
    """`between` does not look at what was recorded: what both say alike is no difference, whatever was answered then."""
    past = [asked("globex/base", effect=Effect.DENY), asked("acme/x")]
    one = policy("rules: []")
    two = policy("rules: [{id: a, when: {publisher: [acme]}, effect: warn}]")
    assert [(str(row.asked.case.artifact), row.asked.given.effect, row.after) for row in between(past, one, two)] == [
        ("pkg:huggingface/acme/x", Effect.ALLOW, Answer(Effect.WARN, ("a",))),
    ]  # fmt: skip


def test_a_date_is_looked_at_from_where_one_is_told():
    """With `at` a rule that begins later is asked as it will be then."""
    later = policy('rules: [{id: soon, when: {artifact: "*"}, effect: deny, from: 2027-01-01}]')
    assert not changes([asked("acme/x")], later)
    assert len(changes([asked("acme/x")], later, at=NOW.replace(year=2027, month=2))) == 1


def test_edits_name_every_rule_that_is_not_the_same():
    """Added, removed and changed rules, exceptions, defaults and sets are told with the keys that differ, and no others."""
    old = policy("""
sets: {mine: [GB]}
rules:
  - {id: kept, when: {origin: [CN]}, effect: deny}
  - {id: softened, when: {license: [mit]}, effect: deny, reason: x}
  - {id: gone, when: {artifact: "acme/*"}, effect: warn}
exceptions:
  - {id: EX-1, rule: kept, scope: {artifact: "acme/ok"}, reason: r, expires: 2027-01-01}
""")
    new = policy("""
defaults: {on_unknown: {license: deny}}
sets: {mine: [GB, US]}
rules:
  - {id: softened, when: {license: [mit, unknown]}, effect: review, reason: x}
  - {id: kept, when: {origin: [CN]}, effect: deny}
  - {id: fresh, when: {artifact: "globex/*"}, for: {groups: [g]}, effect: deny, lineage: inherit}
exceptions:
  - {id: EX-1, rule: kept, scope: {artifact: "acme/ok"}, reason: r, expires: 2027-02-01}
""")
    rows = {(row["what"], row["id"]): row for row in edits(old, new)}
    assert {key: row["change"] for key, row in rows.items()} == {
        ("rule", "softened"): "changed", ("rule", "gone"): "removed", ("rule", "fresh"): "added", ("exception", "EX-1"): "changed",
        ("default", "on_unknown.license"): "changed", ("set", "mine"): "changed",
    }  # fmt: skip
    assert rows["rule", "softened"]["from"] == {"effect": "deny", "when": {"license": ["mit"]}}
    assert set(rows["exception", "EX-1"]["to"]) == {"expires"}
    assert rows["rule", "fresh"]["to"]["for"] == {"groups": ["g"]}
    assert rows["rule", "fresh"]["to"]["lineage"] == "inherit"
    assert edits(old, old) == []
    json.dumps(list(rows.values()))


def test_the_answer_of_a_lifted_rule_names_no_rule():
    """Exceptions and audit rules decide nothing and are not counted as deciding."""
    lifted = policy("""
rules: [{id: r, when: {artifact: "acme/*"}, effect: deny}, {id: a, when: {artifact: "acme/*"}, effect: deny, mode: audit}]
exceptions: [{id: EX-1, rule: r, scope: {artifact: "acme/ok"}, reason: r, expires: 2027-01-01}]
""")
    thing = parse_loose("acme/ok")
    facts = derive(Facts(), thing, CATALOGUE, LINEAGE)
    assert answer(evaluate(lifted, thing, facts, Actor("u"), NOW)) == Answer(Effect.ALLOW, ())
    assert answer(evaluate(lifted, parse_loose("acme/no"), facts, Actor("u"), NOW)) == Answer(Effect.DENY, ("r",))


def test_a_policy_with_what_was_signed_beside_it_compiles_from_its_texts():
    """The archived texts of a policy with waivers and emergency denies, compiled together, are that policy."""
    base = policy('rules: [{id: r, when: {artifact: "acme/*"}, effect: deny}, {id: h, when: {publisher.country: [CN]}, effect: review}]')
    held = Subject(parse_loose("globex/held"), derive(Facts(), parse_loose("globex/held"), CATALOGUE, LINEAGE), Actor("u"), NOW)
    rests = {"rule": rule_digest(base.rules[1], base.sets), "publisher": publisher_digest(held)}
    beside = [
        ("waivers/W-1", {"version": 1, "exceptions": [{"id": "W-1", "rule": "r", "scope": {"artifact": ["acme/ok"]}, "reason": "x", "expires": "2027-01-01"}]}),
        ("releases/R-1", {"version": 1, "releases": [{"id": "R-1", "rule": "h", "lifts": "review", "scope": {"artifact": ["globex/held"]}, "reason": "x", "expires": "2027-01-01", "by": ["u9"], "rests_on": rests}]}),
        ("denies/D-1", {"version": 1, "rules": [{"id": "emergency-1", "when": {"artifact": ["globex/x"]}, "effect": "deny", "waiver": "none"}]}),
    ]
    more = [compile_policy([(name, canonical(text).decode())], CATALOGUE, LINEAGE, {}, run=False, known=["r", "h"]) for name, text in beside]
    whole = joined(base, more)
    again = compile_policy(whole.texts, CATALOGUE, LINEAGE, LISTS, run=False)
    assert again.digest == whole.digest
    assert edits(whole, again) == []
    effects = {}
    for name in ("acme/ok", "acme/no", "globex/x", "globex/held", "globex/other"):
        thing = parse_loose(name)
        facts = derive(Facts(), thing, CATALOGUE, LINEAGE)
        assert evaluate(again, thing, facts, Actor("u"), NOW) == evaluate(whole, thing, facts, Actor("u"), NOW)
        kind, stated = recorded(whole, (name, {}, Actor("u"), ()))
        assert deviations(kind, public_decision(stated), worked_out(again, stated)) == []
        effects[name] = stated["effect"]
    assert effects == {"acme/ok": "allow", "acme/no": "deny", "globex/x": "deny", "globex/held": "allow", "globex/other": "review"}


def test_a_publisher_comes_back_with_the_countries_of_those_above_it():
    """What judged - a subsidiary with its parent's countries, an ancestor's publisher too - is what is read back, to the field."""
    world = catalogue([publisher("below", "Below", parent="globex"), publisher("own", "Own", "GB")])
    for name, chain in (("below/x", ()), ("own/y", (("below/x", "finetune"),))):
        thing = parse_loose(name)
        facts = derive(Facts(ancestors=edges(name, *chain)), thing, world, LINEAGE)
        verdict = evaluate(policy("rules: []"), thing, facts, Actor("u"), NOW)
        made = Decision(IDENTITY, NOW, verdict, "", thing, Actor("u"), facts, "", "", (), RequestInfo("r", "GET", "/x", ""), 200)
        assert judged(json.loads(json.dumps(decision_json(made))), world).facts == facts
