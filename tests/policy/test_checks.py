"""What `policy check` holds against a policy that can be read: law without a source, and one state's law over another's people."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from mirror.cli.main import root
from mirror.core.actor import Actor
from mirror.core.facts import Fact, Facts
from mirror.core.nouns import PYPI
from mirror.core.purl import parse_loose
from mirror.policy.catalogue import Catalogue
from mirror.policy.checks import Unfounded, issuers_of
from mirror.policy.compile import compile_policy
from mirror.policy.evaluate import evaluate
from mirror.policy.lineage import Lineage
from mirror.policy.screening import ListEntry, ScreeningList
from tests.audit.samples import NOW

US, EU = issuers_of("ofac_csv"), issuers_of("eu_fsf_xml")
GROUPS = {
    "dc": SimpleNamespace(jurisdiction=("US",), entity="Acme Inc"), "berlin": SimpleNamespace(jurisdiction=("DE",), entity="Acme GmbH"),
    "shanghai": SimpleNamespace(jurisdiction=("CN", "HK"), entity=None), "unsaid": SimpleNamespace(jurisdiction=(), entity="Acme"),
}  # fmt: skip


def listed(name: str, issuers: frozenset[str] = frozenset(), jurisdictions: tuple[str, ...] = ()) -> ScreeningList:
    return ScreeningList(name, "1", [ListEntry("1", "Umbrella Trading")], "blocked-party", "both", issuers=issuers, jurisdictions=jurisdictions)


def compiled(rule: str, *lists: ScreeningList, groups: Any = GROUPS) -> Any:
    text = f"version: 1\nrules:\n  - {{id: r, effect: deny, {rule}}}\n"
    return compile_policy([("policy.yaml", text)], Catalogue([]), Lineage([]), {one.name: one for one in lists}, groups=groups)


def warned(rule: str, *lists: ScreeningList, groups: Any = GROUPS) -> list[str]:
    """The groups that are warned of."""
    return [problem.message.split("'")[1] for problem in compiled(rule, *lists, groups=groups).warnings if "holds the group" in problem.message]


@pytest.mark.parametrize(("rule", "jurisdictions", "groups"), [
    ("when: {list_match: sdn}", (), ["berlin", "shanghai"]),
    ("when: {list_match: {lists: [house, sdn]}}", (), ["berlin", "shanghai"]),
    ("when: {list_match: sdn}, for: {groups: [dc, shanghai, unsaid]}", (), ["shanghai"]),
    ("when: {list_match: sdn}, for: {not_groups: [shanghai]}", (), ["berlin"]),
    ("when: {list_match: sdn}, applies_to: [US]", (), []),
    ("when: {list_match: sdn}, applies_to: [US, DE]", (), ["berlin"]),
    ("when: {list_match: sdn}", ("US",), []),
    ("when: {list_match: sdn}", ("US", "HK"), ["shanghai"]),
    ("when: {list_match: house}", (), []),
    ("when: {publisher: [umbrella]}", (), []),
])  # fmt: skip
def test_one_states_list_over_anothers_people(rule: str, jurisdictions: tuple[str, ...], groups: list[str]) -> None:
    """A rule that holds a group to the list of a state not among the group's jurisdictions is warned of, and of no other group."""
    assert warned(rule, listed("sdn", US, jurisdictions), listed("house")) == groups


def test_the_union_is_law_in_its_members() -> None:
    """A list of the EU is law for a group in Germany, and foreign to one in the United States."""
    assert warned("when: {list_match: eu}", listed("eu", EU)) == ["dc", "shanghai"]
    assert (issuers_of("csl_csv"), issuers_of("uk_csv"), issuers_of("un_xml"), issuers_of("csv")) == (frozenset({"US"}), frozenset({"GB"}), frozenset(), frozenset())


def test_the_warning_names_its_place_and_whom() -> None:
    """Rule, group, entity, list and remedy are in the one sentence."""
    (problem,) = compiled("when: {list_match: sdn}, for: {groups: [berlin]}", listed("sdn", US)).warnings
    assert str(problem) == (
        "policy.yaml: rules[0].when.list_match: holds the group 'berlin' (Acme GmbH), whose jurisdictions are DE, to 'sdn', which is law of US:"
        " say whom it binds by lists.sdn.jurisdictions, or by 'applies_to' or 'for'"
    )


@pytest.mark.parametrize(("law", "effect"), [(("US",), "deny"), (("CN",), "allow"), (("CN", "US"), "deny"), ((), "deny")])
def test_a_list_binds_the_jurisdictions_it_names(law: tuple[str, ...], effect: str) -> None:
    """A list with jurisdictions matches for clients bound by one of them and for those of whom nothing is known, in one policy after another."""
    policy = compiled("when: {list_match: sdn}, on_unknown: allow", listed("sdn", US, ("US",)))
    artifact = parse_loose("pkg:pypi/umbrella-trading@1.0")
    facts = Facts(names=Fact(("Umbrella Trading",), PYPI))
    for asking in (Actor("x", jurisdictions=("CN",)), Actor("x", jurisdictions=("US",)), Actor("x", jurisdictions=law)):
        verdict = evaluate(policy, artifact, facts, asking, NOW)
    assert verdict.effect.word == effect


def test_a_legal_rule_without_a_basis_is_an_error_of_the_check(tmp_path: Any) -> None:
    """The server judges by such a rule, more strictly than without; `policy check` calls it an error and exits with 1."""
    policy = compiled("when: {artifact: 'acme/*'}, legal: true")
    assert [type(problem) for problem in policy.warnings] == [Unfounded]
    assert policy.rules[0].legal
    (tmp_path / "p.yaml").write_text("version: 1\nrules: [{id: r, when: {artifact: 'acme/*'}, effect: deny, legal: true, basis: ' '}]\n")
    done = CliRunner().invoke(root, ["policy", "check", str(tmp_path / "p.yaml"), "--json"])
    assert done.exit_code == 1
    assert json.loads(done.output.splitlines()[0])["level"] == "error"
    (tmp_path / "p.yaml").write_text("version: 1\nrules: [{id: r, when: {artifact: 'acme/*'}, effect: deny, legal: true, basis: 'house policy 1'}]\n")
    done = CliRunner().invoke(root, ["policy", "check", str(tmp_path / "p.yaml")])
    assert (done.exit_code, "sound" in done.output) == (0, True)


def test_configured_groups_reach_the_check(tmp_path: Any) -> None:
    """What the configuration says of groups and lists is what the check goes by."""
    (tmp_path / "sdn.csv").write_text("id,name\n1,Umbrella Trading\n")
    groups = {"shanghai": {"subnets": ["10.1.0.0/16"], "jurisdiction": ["CN"], "entity": "Acme (Shanghai) Co"}, "cleared": {"subnets": ["10.2.0.0/16"]}}
    row = {"loader": "csv", "source": "sdn.csv", "jurisdictions": ["US"]}
    rules = "version: 1\nrules: [{id: r, when: {list_match: sdn}, for: {not_groups: [cleared]}, effect: deny}]\n"
    (tmp_path / "policy.yaml").write_text(rules)
    (tmp_path / "mirror.yaml").write_text(json.dumps({"clients": {"groups": groups}, "lists": {"sdn": row}, "policy": {"path": "policy.yaml"}}))
    done = CliRunner().invoke(root, ["-c", str(tmp_path / "mirror.yaml"), "policy", "check"])
    assert done.exit_code == 0, done.output
    assert "holds the group" not in done.output
