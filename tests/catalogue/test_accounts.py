"""Who publishes a file of a package index, by graded evidence: what decides, what accuses, and what clears nobody."""

from datetime import UTC, datetime

import pytest

from mirror.core.actor import Actor
from mirror.core.decision import Effect
from mirror.core.facts import Fact, Facts
from mirror.core.nouns import PYPI, Artifact, Kind, Project
from mirror.decode import load_yaml
from mirror.lists.loading import parse_catalogue
from mirror.policy.accounts import settle
from mirror.policy.compile import compile_policy
from mirror.policy.derive import derive
from mirror.policy.evaluate import evaluate
from mirror.policy.lineage import Lineage

PACK = """
version: 1
publishers:
  - id: acme
    entity: Acme Labs Ltd
    kind: company
    confidence: A
    handles: {pypi: [acme-labs, acme-bot], github: [acme-labs]}
    projects: {pypi: [{name: acme-sdk, confidence: B}]}
    packages: ["acme-*"]
    countries: [{code: "GB", role: headquarters, source: "x", confidence: A}]
    web: [acme.example, cloud.shared.example]
  - id: acme-branch
    entity: Acme Branch Ltd
    kind: company
    parent: acme
    confidence: A
    handles: {pypi: [branch-bot]}
    countries: [{code: "GB", role: headquarters, source: "x", confidence: A}]
  - id: globex
    entity: Globex Holdings
    kind: company
    confidence: A
    handles: {pypi: [globex], github: [globex]}
    countries: [{code: "SG", role: headquarters, source: "x", confidence: A}]
    web: [globex.example]
  - {id: campus, entity: Campus University, kind: university, confidence: A, web: [campus.example], countries: [{code: "SG", role: headquarters, source: x, confidence: A}]}
  - {id: somebody, entity: Some Body, kind: individual, confidence: B}
  - {id: hearsay, entity: Hearsay Inc, kind: company, confidence: C, handles: {github: [hearsay]}}
"""
CATALOGUE = parse_catalogue([[("pack.yaml", load_yaml(PACK, "pack.yaml"))]])
NONE = Lineage([])
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def found(claims, name="tool"):
    """(publisher, grade, source) of a project with these claims."""
    settled = settle(Project(PYPI, Kind.PACKAGE, name), claims, CATALOGUE)
    return settled and (settled.publisher and settled.publisher.id, settled.grade, settled.source)


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ("A attested github:acme-labs", ("acme", "A", "attested github:acme-labs")),
        ("A attested github:Acme-Labs", ("acme", "A", "attested github:Acme-Labs")),
        ("A organisation pypi:acme-labs", ("acme", "A", "organisation pypi:acme-labs")),
        ("A- owner pypi:acme-bot", ("acme", "A-", "owner pypi:acme-bot")),
        ("A- maintainer pypi:acme-bot", ("acme", "A-", "maintainer pypi:acme-bot")),
        ("B mail acme.example", ("acme", "B", "declared mail acme.example")),
        ("B mail eu.acme.example", ("acme", "B", "declared mail eu.acme.example")),
        ("B repository github:acme-labs", ("acme", "B", "declared repository github:acme-labs")),
        ("C name Acme Labs Ltd", ("acme", "C", "declared name Acme Labs Ltd")),
        ("B mail campus.example", ("campus", "C", "declared mail campus.example")),
        ("A attested github:hearsay", ("hearsay", "C", "attested github:hearsay")),
        ("A name Acme Labs Ltd", ("acme", "C", "declared name Acme Labs Ltd")),
    ],
)
def test_each_kind_of_evidence_has_its_grade(claim, expected):
    """The grade is that of the kind of claim, whatever the text says, and never better than the catalogue's own link."""
    assert found([claim]) == expected


@pytest.mark.parametrize(
    "claim",
    [
        "B repository github:acme-labs-corp", "A attested gitlab:acme-labs", "B mail notacme.example", "B mail shared.example",
        "B mail users.noreply.github.com", "C name Some Body", "C name Acme Labs Ltd and friends", "A attested", "nonsense", "",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_publisher_is_none(claim):
    """Accounts, domains and names are matched whole, on their own hub; a person's name says nothing."""
    assert found([claim]) is None


def test_the_attested_owner_of_the_file_decides_over_the_name_of_the_project():
    """A project may change hands: the file attested to Globex is Globex's, the one without attestation is the curated owner's."""
    assert found(["A attested github:globex"], "acme-sdk")[:2] == ("globex", "A")
    assert found([], "acme-sdk") == ("acme", "B", "catalogue")
    assert found(["A attested github:nobody-known"], "acme-sdk") == ("acme", "B", "catalogue")


def test_better_evidence_comes_first():
    """Attested before the organisation, that before the curated name, that before accounts, owners before maintainers, accounts before what is declared."""
    everything = [
        "C name Globex Holdings", "B mail globex.example", "A- maintainer pypi:globex", "A- owner pypi:acme-bot", "A organisation pypi:acme-labs",
    ]  # fmt: skip
    assert found(["A attested github:globex", *everything])[2] == "attested github:globex"
    assert found(everything)[2] == "organisation pypi:acme-labs"
    assert found(everything[:4])[2] == "owner pypi:acme-bot"
    assert found(everything[:3])[2] == "maintainer pypi:globex"
    assert found(everything[:2])[2] == "declared mail globex.example"
    assert found(everything[:3], "acme-sdk")[2] == "catalogue"
    assert found([], "acme-anything") == ("acme", "D", "declared project name")


def test_an_entity_and_its_branch_are_one_answer_and_strangers_leave_it_open():
    """Claims for a parent and its branch mean the parent; claims for two strangers mean neither, and both their countries."""
    assert found(["A- owner pypi:acme-bot", "A- owner pypi:branch-bot"])[0] == "acme"
    both = ["A- owner pypi:acme-bot", "A- owner pypi:globex"]
    assert found(both)[0] is None
    artifact = Artifact(Project(PYPI, Kind.PACKAGE, "tool"), "1.0", "tool-1.0.tar.gz")
    facts = derive(Facts(claims=Fact(tuple(both))), artifact, CATALOGUE, NONE)
    assert (facts.publisher.value, facts.publisher_countries.value, facts.origin.source) == (None, ("GB", "SG"), "catalogue, in part")


def effect(rules, claims, on_unknown="{publisher: review, origin: review}"):
    """What a policy of these rules says of a file with these claims."""
    policy = compile_policy([("p.yaml", f"version: 1\ndefaults: {{on_unknown: {on_unknown}}}\nrules: {rules}")], CATALOGUE, NONE, {})
    artifact = Artifact(Project(PYPI, Kind.PACKAGE, "tool"), "1.0", "tool-1.0.tar.gz")
    facts = derive(Facts(claims=Fact(tuple(claims))), artifact, CATALOGUE, NONE)
    return evaluate(policy, artifact, facts, Actor("u"), NOW).effect


COUNTRY = "[{id: r, when: {publisher.country: [SG]}, effect: deny}]"
ORIGIN = "[{id: r, when: {origin: [SG]}, effect: deny}]"
ENTITY = '[{id: r, when: {publisher: ["entity:globex"]}, effect: deny}]'


@pytest.mark.parametrize("rules", [COUNTRY, ORIGIN, ENTITY])
@pytest.mark.parametrize(
    ("of_globex", "of_acme", "accused", "cleared"),
    [
        ("A attested github:globex", "A attested github:acme-labs", Effect.DENY, Effect.ALLOW),
        ("A- owner pypi:globex", "A- owner pypi:acme-bot", Effect.DENY, Effect.ALLOW),
        ("B mail globex.example", "B mail acme.example", Effect.DENY, Effect.REVIEW),
        ("B repository github:globex", "B repository github:acme-labs", Effect.DENY, Effect.REVIEW),
        ("C name Globex Holdings", "C name Acme Labs Ltd", Effect.REVIEW, Effect.REVIEW),
    ],
)
def test_what_an_uploader_says_accuses_and_clears_nobody(rules, of_globex, of_acme, accused, cleared):
    """A and A- decide both ways; B refuses whom it names and leaves everybody else unknown; C only flags."""
    assert effect(rules, [of_globex]) is accused
    assert effect(rules, [of_acme]) is cleared


@pytest.mark.parametrize("when", ['publisher: ["entity:acme"]', "publisher: [acme-labs]", "publisher.country: [GB]", "origin: [GB]"])
def test_a_permit_does_not_rest_on_what_an_uploader_says(when):
    """With `defaults.action: deny` a copied repository URL permits nothing; the account that may upload does."""
    text = f"version: 1\ndefaults: {{action: deny}}\nrules: [{{id: r, when: {{{when}}}, effect: allow}}]"
    policy = compile_policy([("p.yaml", text)], CATALOGUE, NONE, {})
    artifact = Artifact(Project(PYPI, Kind.PACKAGE, "tool"), "1.0", "tool-1.0.tar.gz")
    for claim, expected in (("B repository github:acme-labs", Effect.DENY), ("A- owner pypi:acme-bot", Effect.ALLOW)):
        facts = derive(Facts(claims=Fact((claim,))), artifact, CATALOGUE, NONE)
        assert evaluate(policy, artifact, facts, Actor("u"), NOW).effect is expected, claim


def test_a_rule_may_ask_for_more_than_accounts():
    """`min_confidence: A` makes an account's A- a case for review; `A-` takes it."""
    for floor, expected in (("A", Effect.REVIEW), ("A-", Effect.DENY)):
        rules = f"[{{id: r, when: {{publisher.country: [SG]}}, effect: deny, min_confidence: {floor}}}]"
        assert effect(rules, ["A- owner pypi:globex"]) is expected
