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
    assert "1 rules" in done.output
    assert "sound" in done.output


def test_check_names_every_fault_and_exits_2(run):
    """An unusable file exits 2 with file and place of each fault."""
    done = run("check", "policy.yaml", text="rules: [{id: r, when: {origin: [XX]}, effect: deny}]\nfoo: 1")
    assert done.exit_code == 2
    assert "policy.yaml: rules[0].when.origin: 'XX' is not an ISO 3166-1 code" in done.output
    assert "policy.yaml: foo: unknown key 'foo'" in done.output


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
