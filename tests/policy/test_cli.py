"""`mirror policy` on real files: what it prints and how it exits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from mirror.cli.policy import policy


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIRROR_CONFIG", raising=False)

    def invoke(*arguments, text=None):
        if text is not None:
            (tmp_path / "policy.yaml").write_text("version: 1\n" + text)
        return CliRunner().invoke(policy, list(arguments))

    return invoke


DENY = "rules: [{id: r, when: {artifact: 'acme/*'}, effect: deny}]\n"


def test_check_says_sound_and_exits_0(run):
    """A sound file is counted and exits 0."""
    done = run("check", "policy.yaml", text=DENY)
    assert done.exit_code == 0, done.output
    assert "1 rule, 0 exceptions, 0 tests" in done.output
    assert "sound" in done.output


def test_check_names_every_fault_and_exits_2(run):
    """An unusable file exits 2 with file and place of each fault."""
    done = run("check", "policy.yaml", text="rules: [{id: r, when: {origin: [XX]}, effect: deny}]\nfoo: 1")
    assert done.exit_code == 2
    assert "policy.yaml: rules[0].when.origin: 'XX' is not an ISO 3166-1 code" in done.output
    assert "policy.yaml: foo: unknown key 'foo'" in done.output


def test_check_names_what_is_twice_what_is_misshaped_and_what_contradicts_at_once(run):
    """Duplicate keys, faults of shape, unknown countries and a legal rule without its law come in one run."""
    text = """rules:
  - {id: a, when: {origin: [XX]}, effect: deny}
  - {id: b, when: {origin: [CN]}, effect: denyy, effect: deny, suggest: 5, from: 2027-01-01, until: 2026-01-01}
  - {id: law, when: {origin: [CN]}, effect: deny, legal: true}
"""
    done = run("check", "policy.yaml", "--json", text=text)
    rows = [json.loads(line) for line in done.output.splitlines()]
    assert (done.exit_code, {row["level"] for row in rows}) == (2, {"error"})
    assert [row["place"] for row in rows] == ["line 4", "rules[0].when.origin", "rules[1].suggest", "rules[1].from", "rules[2].legal"]


def test_check_of_a_named_file_does_not_want_the_configured_one(run, tmp_path):
    """With `policy.path` leading nowhere a file can be checked all the same; the configured one cannot, nor any with another fault."""
    (tmp_path / "mirror.yaml").write_text("policy: {path: nowhere.yaml}\n")
    assert run("check", "policy.yaml", text=DENY).exit_code == 0
    missing = run("check")
    assert missing.exit_code == 2
    assert "policy.path" in missing.output
    (tmp_path / "mirror.yaml").write_text("policy: {path: nowhere.yaml}\nlisten: {workers: 0}\n")
    faulty = run("check", "policy.yaml")
    assert faulty.exit_code == 2
    assert "listen.workers" in faulty.output
    assert "policy.path" not in faulty.output
def test_test_exits_1_where_a_test_does_not_hold(run):
    """`policy test` names the failing test, keeps the others, and exits 1."""
    text = DENY + "tests:\n  - {name: good, given: {artifact: acme/x}, expect: {effect: deny, rules: [r]}}\n  - {name: bad, given: {artifact: b/x}, expect: {effect: deny}}\n"
    done = run("test", "policy.yaml", "--json", text=text)
    rows = [json.loads(line) for line in done.output.splitlines()]
    assert (done.exit_code, [(row["test"], row["holds"]) for row in rows]) == (1, [("good", True), ("bad", False)])


def test_explain_shows_the_derivation_and_exits_by_effect(run):
    """`explain` prints the sentence and each condition; 1 where it would not be served, 0 where it would."""
    refused = run("explain", "acme/x", "--policy", "policy.yaml", "--json", text=DENY)
    found = json.loads(refused.output)
    assert (refused.exit_code, found["effect"], found["trace"][0]["conditions"][0]["held"]) == (1, "deny", "yes")
    assert run("explain", "globex/x", "--policy", "policy.yaml").exit_code == 0


@pytest.mark.parametrize("artifact", ["acme/x", "globex/x", "pkg:pypi/acme-app@1.0?file_name=acme_app-1.0.tar.gz"])
def test_explain_prints_a_decision_as_the_published_schema_has_it(run, artifact):
    """`explain --json` is one decision of `docs/schema/decision.json`, who asks and the status of its answer included."""
    text = "rules: [{id: r, when: {artifact: 'acme/*'}, effect: deny, legal: true, basis: b}]\n"
    found = json.loads(run("explain", artifact, "--as", "g", "--policy", "policy.yaml", "--json", text=text).output)
    schema = json.loads((Path(__file__).parents[2] / "docs" / "schema" / "decision.json").read_text())
    Draft202012Validator(schema).validate(found)
    denied = artifact == "acme/x"
    assert (found["status"], [rule["id"] for rule in found["rules"]]) == ((451, ["r"]) if denied else (200, []))
    assert (found["id"], found["actor"]["groups"]) == (None, ["g"])


def test_explain_reads_facts_groups_and_country(run, tmp_path):
    """`--facts`, `--as` and `--country` reach the rules."""
    (tmp_path / "facts.yaml").write_text("license: mit\n")
    text = "rules: [{id: r, when: {license: mit, client.country: [RU]}, for: {groups: [g]}, effect: deny}]"
    arguments = ("explain", "acme/x", "--policy", "policy.yaml", "--facts", "facts.yaml", "--country", "ru")
    assert run(*arguments, "--as", "g", text=text).exit_code == 1
    assert run(*arguments).exit_code == 0


def test_explain_refuses_bad_questions_with_2(run):
    """A bad artifact and a bad country are both named; exit 2."""
    done = run("explain", "pkg:npm/x", "--country", "XX", "--policy", "policy.yaml", text=DENY)
    assert done.exit_code == 2
    assert "ARTIFACT" in done.output
    assert "--country" in done.output


SURFACE = """
version: 1
defaults: {action: allow, on_unknown: {origin: allow, client_country: deny, lineage: warn}}
sets: {allied: [US, CA, GB, AU, NZ, EU]}
rules:
  - {id: origin-cn, when: {origin: [CN, HK]}, for: {groups: [dod-contract]}, effect: deny, legal: true, basis: "house policy 12", suggest: [mistralai/Mistral-Small-3.2-24B-Instruct-2506]}
  - {id: own-country, when: {publisher.country: [RU]}, effect: deny}
  - {id: pub-acme, when: {publisher: [acme, "entity:Acme Labs"]}, effect: deny, lineage: inherit, suggest: [globex/solid-7b]}
  - {id: names, when: {artifact: ["pkg:pypi/evil-*", "pkg:huggingface/*/*-uncensored*"]}, effect: deny}
  - {id: lineage, when: {ancestor: {any: ["initech/*"], relations: [finetune, adapter, merge, quantized], min_confidence: 0.6}}, effect: deny}
  - {id: sdn, when: {list_match: {lists: [ofac-sdn], hit: 0.92, review: 0.80}}, effect: deny, legal: true, basis: "31 CFR chapter V"}
  - {id: licence, when: {license: [cc-by-nc-4.0, unknown]}, effect: warn}
  - {id: pickle, when: {file: ["*.pkl", "*.pt"]}, effect: deny}
  - {id: weights-abroad, when: {kind: weights, client.country: {not_in: [allied]}}, effect: deny, legal: true, basis: "house export procedure"}
  - {id: cool-off, when: {ecosystem: pypi, age_days: {lt: 7}}, effect: quarantine}
  - {id: later, when: {publisher: [umbrella]}, effect: deny, mode: audit, from: 2027-01-01, until: 2028-01-01}
exceptions:
  - {id: EX-17, rule: lineage, scope: {artifact: "pkg:huggingface/acme/ok@*", groups: [research]}, reason: "ticket 4411", requested_by: u1, approved_by: [u2], expires: 2027-02-01}
tests:      # pure: given + catalogue, no network; the file is activated only if they hold
  - name: contractors cannot get a quantised model of Chinese origin
    given: {artifact: "pkg:huggingface/someone/some-GGUF", groups: [dod-contract], facts: {ancestors: [{project: "pkg:huggingface/Qwen/Qwen3-8B", relation: quantized}]}}
    expect: {effect: deny, rules: [origin-cn]}      # audit hits under expect.would
"""


def test_the_documented_policy_loads_and_its_test_holds(run, tmp_path):
    """The sample of the surface's section 4, as it stands, beside the publisher and the list that it names."""
    (tmp_path / "policy.yaml").write_text(SURFACE)
    (tmp_path / "sdn.csv").write_text("id,name\n1,Umbrella Trading\n")
    entry = {"id": "acme", "entity": "Acme Labs Ltd", "kind": "company", "handles": {"huggingface": ["acme"]}, "confidence": "B", "countries": []}
    (tmp_path / "ours.yaml").write_text(json.dumps({"version": 1, "publishers": [entry]}))
    lists = {"ofac-sdn": {"loader": "csv", "source": "sdn.csv", "direction": "both", "meaning": "blocked-party"}}
    (tmp_path / "mirror.yaml").write_text(json.dumps({"policy": {"path": "policy.yaml"}, "catalogue": ["builtin", "ours.yaml"], "lists": lists}))
    checked, tested = run("check"), run("test")
    assert checked.exit_code == 0, checked.output
    assert "11 rules, 1 exception, 1 test," in checked.output
    assert tested.exit_code == 0, tested.output
    assert "1 of 1 tests hold" in tested.output


def test_explain_says_that_no_file_was_named(run):
    """A question about a whole project says that conditions on a file were not asked, and how to ask them."""
    text = "rules: [{id: r, when: {file: '*.pkl'}, effect: deny}]\n"
    assert "no file is named" in run("explain", "acme/x", "--policy", "policy.yaml", text=text).output
    asked = run("explain", "acme/x#a.pkl", "--policy", "policy.yaml", "--group", "g")
    assert "no file is named" not in asked.output
    assert asked.exit_code == 1


def test_the_kind_that_a_name_tells_weighs_as_much_here_as_at_the_hub(run):
    """A rule on `kind` gives its own effect in `explain` and in a policy's tests, as it does when the file is asked for."""
    text = "rules: [{id: r, when: {kind: weights}, effect: deny}]\ntests: [{name: t, given: {artifact: 'acme/x#m.safetensors'}, expect: {effect: deny}}]\n"
    assert run("test", "policy.yaml", text=text).exit_code == 0
    assert json.loads(run("explain", "acme/x#m.safetensors", "--policy", "policy.yaml", "--json").output)["effect"] == "deny"


TYPOS = """rules:
  - {id: r, when: {artifact: 'acme/*'}, for: {groups: [dod-contarct]}, effect: deny}
  - {id: s, when: {artifact: 'acme/*'}, for: {not_groups: [staff, guests]}, effect: deny}
exceptions: [{id: EX-1, rule: r, scope: {groups: [nobody]}, reason: x, expires: 2099-01-01}]
"""


def test_check_warns_of_groups_that_nobody_is_in(run, tmp_path):
    """Groups that `clients.groups` does not define are named with their place and the nearest one that exists; 0, for it is a warning."""
    (tmp_path / "mirror.yaml").write_text("clients: {groups: {dod-contract: {subnets: [10.8.0.0/16]}, staff: {country: US}}}\n")
    done = run("check", "policy.yaml", text=TYPOS)
    assert done.exit_code == 0, done.output
    warned = [line for line in done.output.splitlines() if line.startswith("warning")]
    assert warned == [
        "warning: policy.yaml: rules[0].for.groups: clients.groups defines no group 'dod-contarct': nobody is in it; did you mean 'dod-contract'?",
        "warning: policy.yaml: rules[1].for.not_groups: clients.groups defines no group 'guests': nobody is in it",
        "warning: policy.yaml: exceptions[0].scope.groups: clients.groups defines no group 'nobody': nobody is in it",
    ]


def test_check_without_a_configuration_leaves_groups_alone(run):
    """A policy file by itself cannot tell which groups exist."""
    done = run("check", "policy.yaml", text=TYPOS)
    assert (done.exit_code, "warning" in done.output) == (0, False)
