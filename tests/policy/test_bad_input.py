"""Every fault of a policy is named at its place, all of them at once, and nothing is made of the file."""

from __future__ import annotations

import pytest

from mirror.core.errors import InputError
from tests.policy.builders import policy

R = "rules: [{id: a, when: {artifact: x}, effect: deny}, {id: b, when: {artifact: x}, effect: deny}, {id: c, when: {artifact: x}, effect: deny}, "
W = "rules: [{id: a, effect: deny, when: "

BAD = [
    (R + "{id: d, when: {origin: [XX]}, effect: deny}]", "policy.yaml: rules[3].when.origin: 'XX' is not an ISO 3166-1 code"),
    (R + "{id: d, when: {origin: XX}, effect: deny}]", "policy.yaml: rules[3].when.origin: 'XX' is not an ISO 3166-1 code"),
    (W + "{origin: [false]}}]", "policy.yaml: rules[0].when.origin: false is not a country; write NO in quotes for Norway"),
    (W + "{origin: [UK]}}]", "policy.yaml: rules[0].when.origin: 'UK' is not an ISO 3166-1 code; the United Kingdom is GB"),
    (W + "{client.country: [allies]}}]", "policy.yaml: rules[0].when.client.country: 'allies' is neither an ISO 3166-1 code nor a set"),
    (W + "{orgin: [CN]}}]", "policy.yaml: rules[0].when.orgin: unknown condition; did you mean 'origin'?"),
    (W + "{origin: {ayn: [CN]}}}]", "policy.yaml: rules[0].when.origin: unknown operator 'ayn'; did you mean 'any'?"),
    (W + "{origin: []}}]", "policy.yaml: rules[0].when.origin: names nothing"),
    (W + "{}}]", "policy.yaml: rules[0].when: names no condition"),
    (W + "{list_match: [nobody]}}]", "policy.yaml: rules[0].when.list_match: 'nobody' is not a list of the configuration; known: house"),
    (W + "{list_match: {lists: [house], hit: 2}}}]", "policy.yaml: rules[0].when.list_match.hit: expected a number from 0 to 1, found 2"),
    (W + "{list_match: {lists: [house], hit: 0.5, review: 0.6}}}]", "policy.yaml: rules[0].when.list_match.review: must not be above hit"),
    (W + "{publisher: 'acme/x'}}]", "policy.yaml: rules[0].when.publisher: 'acme/x' is not a publisher: write a handle, hub:handle or entity:name"),
    (W + "{artifact: 'npm:x'}}]", "policy.yaml: rules[0].when.artifact: 'npm:x': the only scheme is pkg:"),
    (W + "{artifact: 'pkg:npm/x'}}]", "policy.yaml: rules[0].when.artifact: 'pkg:npm/x': the ecosystem must be huggingface or pypi"),
    (W + "{artifact: 'acme/?'}}]", None),
    (W + "{kind: weight}}]", "policy.yaml: rules[0].when.kind: 'weight' is not a kind of file; did you mean 'weights'?"),
    (W + "{scan: [unsave]}}]", "policy.yaml: rules[0].when.scan: 'unsave' is not a verdict of a scan; did you mean 'unsafe'?"),
    (W + "{scan: true}}]", "policy.yaml: rules[0].when.scan: True is not a verdict of a scan; known: safe, unscanned, queued, error, caution, suspicious, unsafe"),
    (W + "{age_days: 7}}]", "policy.yaml: rules[0].when.age_days: needs lt, lte, gt or gte"),
    (W + "{age_days: {lt: -1}}}]", "policy.yaml: rules[0].when.age_days: -1 is not a number of days"),
    (W + "{age_days: {gt: 9, lt: 3}}}]", "policy.yaml: rules[0].when.age_days: nothing can be in this range"),
    (W + "{size: {gt: 5 parsecs}}}]", "policy.yaml: rules[0].when.size: '5 parsecs' is not a size"),
    (W + "{ancestor: {any: [x], relations: [cousin]}}}]", "policy.yaml: rules[0].when.ancestor.relations: 'cousin' is not a relation; known: finetune, adapter, merge, quantized, distill, component"),
    (W + "{artifact: x}, from: 2027-02-01, until: 2027-01-01}]", "policy.yaml: rules[0].from: 2027-02-01 is not before until 2027-01-01"),
    (W + "{artifact: x}, from: 2027-01-01, until: 2027-01-01}]", "policy.yaml: rules[0].from: 2027-01-01 is not before until 2027-01-01"),
    (W + "{artifact: x}, from: 2027-02-30}]", "policy.yaml: rules[0].from: expected a date such as 2027-01-31, found '2027-02-30'"),
    (W + "{artifact: x}, from: 20270101}]", "policy.yaml: rules[0].from: expected a date such as 2027-01-31, found 20270101"),
    (W + "{artifact: x}, timezone: Mars/Base}]", "policy.yaml: rules[0].timezone: 'Mars/Base' is not a time zone"),
    (W + "{artifact: x}, for: {networks: [10.0.0.1/8]}}]", "policy.yaml: rules[0].for.networks: 10.0.0.1/8 has host bits set"),
    (W + "{artifact: x}, for: {group: [a]}}]", "policy.yaml: rules[0].for.group: unknown key 'group'; did you mean 'groups'?"),
    (W + "{artifact: x}, lineage: inherit, efect: deny}]", "policy.yaml: rules[0].efect: unknown key 'efect'; did you mean 'effect'?"),
    (W + "{file: x}, lineage: inherit}]", "policy.yaml: rules[0].lineage: nothing to inherit: no condition on publisher, publisher.country, artifact or list_match"),
    (W + "{artifact: x}, suggest: ['pkg:npm/x']}]", None),
    ("rules: [{id: a, when: {artifact: x}, effect: block}]", "policy.yaml: rules[0].effect: expected 'deny', 'quarantine', 'review', 'warn' or 'allow', found 'block'"),
    ("rules: [{id: A b, when: {artifact: x}, effect: deny}]", None),
    ("rules: [{when: {artifact: x}, effect: deny}]", "policy.yaml: rules[0].id: is required"),
    ("rules: [{id: a, when: {artifact: x}, effect: deny}, {id: a, when: {artifact: x}, effect: warn}]", "policy.yaml: rules[1].id: 'a' is the id of rules[0] already"),
    ("rules: {a: 1}", "policy.yaml: rules: expected a list"),
    ("rules: [3]", "policy.yaml: rules[0]: expected a mapping, found 3"),
    ("defaults: {on_unknown: {orign: deny}}", "policy.yaml: defaults.on_unknown: unknown key 'orign'; did you mean 'origin'?"),
    ("defaults: {on_unknown: {origin: quarantine}}", None),
    ("sets: {US: [CA]}", "policy.yaml: sets.US: 'US' is the code of a country and cannot name a set"),
    ("sets: {a: [b], b: [a]}", None),
    ("sets: {a: [QQ]}", "policy.yaml: sets.a[0]: 'QQ' is not an ISO 3166-1 code"),
    ("exceptions: [{id: E, rule: zz, scope: {artifact: x}, reason: r, expires: 2027-01-01}]", "policy.yaml: exceptions[0].rule: no rule has the id 'zz'"),
    ("exceptions: [{id: E, rule: zz, scope: {}, reason: r, expires: 2027-01-01}]", "policy.yaml: exceptions[0].scope: names nothing: an exception is for an artifact, a group or a network"),
    ("rules: [{id: ok, when: {artifact: x}, effect: allow}]\nexceptions: [{id: E, rule: ok, scope: {artifact: x}, reason: r, expires: 2027-01-01}]", "policy.yaml: exceptions[0].rule: 'ok' permits: there is nothing to lift"),
    ("rules: [{id: a, when: {artifact: x}, effect: deny}]\nexceptions: [{id: E, rule: a, scope: {artifact: x}, reason: r, expires: 2027-01-01, requested_by: u, approved_by: [u]}]", "policy.yaml: exceptions[0].approved_by: 'u' cannot approve what they requested"),
    ("tests: [{name: t, given: {artifact: 'pkg:npm/x'}, expect: {effect: deny}}]", None),
    ("tests: [{name: t, given: {artifact: a/b, facts: {orign: [CN]}}, expect: {effect: deny}}]", "policy.yaml: tests[0].given.facts: unknown key 'orign'; did you mean 'origin'?"),
    ("tests: [{name: t, given: {artifact: a/b, facts: {origin: [QQ]}}, expect: {effect: deny}}]", "policy.yaml: tests[0].given.facts.origin: 'QQ' is not an ISO 3166-1 code"),
    ("ruels: []", "policy.yaml: ruels: unknown key 'ruels'; did you mean 'rules'?"),
    ("rules: []\nrules: []", "policy.yaml: line 3: duplicate key 'rules'"),
    ("version: 2", "policy.yaml: version: expected 1, found 2"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_fault_is_named_at_its_place(text, message):
    """This policy is refused with this line (None: with some line) and with problems that all name the file."""
    with pytest.raises(InputError) as caught:
        policy(text)
    lines = [str(problem) for problem in caught.value.problems]
    assert all(line.startswith("policy.yaml: ") for line in lines)
    if message is not None:
        assert message in lines


def test_all_faults_come_at_once():
    """One reading names the faults of every section and of every rule, also of rules that cannot be decoded."""
    with pytest.raises(InputError) as caught:
        policy("sets: {a: [QQ]}\nrules: [{id: a, when: {origin: [XX], kindd: x}, effect: block}, {id: a, efect: deny, when: {size: 3}}]\nexceptions: [{id: E}]\nfoo: 1\n")
    places = {problem.place for problem in caught.value.problems}
    assert places >= {"sets.a[0]", "rules[0].when.origin", "rules[0].when.kindd", "rules[0].effect", "rules[1].id", "rules[1].efect", "rules[1].effect", "rules[1].when.size", "exceptions[0].rule", "foo"}


def test_a_fault_does_not_hide_another_in_the_same_place():
    """What can still be read of a section or an item with a fault is checked too."""
    with pytest.raises(InputError) as caught:
        policy("""
defaults: {action: alow, on_unknown: {orgin: deny}}
rules: [{id: a, when: {artifact: x}, effect: deny, on_unkown: deny, suggest: ["pkg:npm/x"], from: 2027-01-01, until: 2026-01-01}]
exceptions: [{id: E, rule: a, scope: {}, reason: r, expires: 2027-01-01, approved: [u]}]
tests: [{name: t, given: {artifact: "pkg:npm/x", country: UK}, expect: {efect: deny}}]
""")
    places = {problem.place for problem in caught.value.problems}
    assert places >= {
        "defaults.action", "defaults.on_unknown", "rules[0].on_unkown", "rules[0].suggest[0]", "rules[0].from",
        "exceptions[0].approved", "exceptions[0].scope", "tests[0].expect.efect", "tests[0].given.artifact", "tests[0].given.country",
    }


def test_an_entity_that_nobody_knows_is_a_warning_and_matches_nobody():
    """A policy may name an entity before the catalogue does: it loads, it says so with place and name, and it denies nothing."""
    loaded = policy("rules: [{id: a, when: {publisher: [acme, 'entity:Nobody At All']}, effect: deny}]")
    assert [str(problem) for problem in loaded.warnings] == [
        "policy.yaml: rules[0].when.publisher: no publisher in the catalogue is called 'Nobody At All', so this matches nobody"
    ]
    policy("""
rules: [{id: a, when: {publisher: [acme, 'entity:Nobody At All']}, effect: deny}]
tests:
  - {name: handle, given: {artifact: acme/x}, expect: {effect: deny}}
  - {name: others, given: {artifact: somebody/x, facts: {publisher: globex}}, expect: {effect: allow}}
""")


def test_a_failing_test_keeps_the_policy_out():
    """A policy whose own test does not hold raises, naming the test, what was expected and what came."""
    with pytest.raises(InputError, match="expected effect deny, found allow") as caught:
        policy("tests: [{name: t, given: {artifact: acme/x}, expect: {effect: deny}}]")
    assert caught.value.problems[0].place == "tests[0]"


def test_tests_see_facts_groups_country_time_and_audit():
    """`given` and `expect` reach every part of a verdict."""
    policy("""
rules:
  - {id: o, when: {origin: [CN]}, for: {groups: [g]}, effect: deny}
  - {id: later, when: {publisher: [acme]}, effect: deny, mode: audit, from: 2027-01-01}
tests:
  - {name: path, given: {artifact: "a/b", groups: [g], facts: {ancestors: [{project: "globex/base", relation: quantized}]}}, expect: {effect: deny, rules: [o], sentence: "quantized from globex/base"}}
  - {name: audit, given: {artifact: "acme/x", facts: {origin: [GB]}, now: 2027-06-01}, expect: {effect: allow, rules: [], would: [later]}}
  - {name: word, given: {artifact: "acme/x", now: 2027-06-01}, expect: {would: deny}}
  - {name: early, given: {artifact: "acme/x", now: 2026-06-01}, expect: {would: allow}}
""")
