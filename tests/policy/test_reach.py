"""Whether a rule can reach into a project: where none can, the verdict on the whole is that on every part."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.core.actor import Actor
from mirror.core.facts import Fact, Facts
from mirror.core.nouns import Artifact, FileKind, Kind, Project
from mirror.policy.compile import _BUILDERS
from mirror.policy.derive import derive
from mirror.policy.evaluate import evaluate
from mirror.policy.reach import OF_FILES, OF_LINEAGE, OF_PROJECT, reaching

from .builders import CATALOGUE, LINEAGE, NOW, edges, policy
from .test_properties import CONDITIONS, EFFECTS

NAMES = ["acme/x", "globex/base", "stranger/z", "packer/q", "vague/v", "initech/tuned", "a-b/c"]
PARTS = ["acme/*", "acme/x@*", "acme/x@c1", "*#*.pkl", "*/x#*", "pkg:huggingface/acme/x@c2#a.bin", "a_b/*@c1", "pkg:pypi/*@1", "stranger/*?repo_type=dataset"]
WHEN = st.one_of(
    CONDITIONS, st.builds(lambda text: {"artifact": text}, st.sampled_from(PARTS)),
    st.builds(lambda text: {"artifact": {"none": [text]}}, st.sampled_from(PARTS)),
    st.builds(lambda one, other: {**one, **other}, CONDITIONS, CONDITIONS),
)  # fmt: skip
SHARED = {
    "gated": st.sampled_from(["false", "manual"]), "status": st.sampled_from(["active", "disabled"]), "blocked_countries": st.sampled_from([(), ("RU",), ("*",)]),
}  # fmt: skip
OWN = {
    "file_kind": st.sampled_from([FileKind.WEIGHTS, FileKind.CODE]), "size": st.sampled_from([1, 2**30]), "license": st.sampled_from([("mit",), ("gpl-3.0",), ()]),
    "published_at": st.sampled_from([datetime(2026, 11, day, tzinfo=UTC) for day in (1, 14, 21)]), "scan": st.sampled_from(["safe", "unsafe"]),
    "yanked": st.booleans(), "attested": st.sampled_from(["", "acme"]), "vulnerabilities": st.sampled_from([(), ("CVE-1",)]), "direct_urls": st.sampled_from([(), ("https://x.example/a",)]),
}  # fmt: skip
INHERITABLE = {"publisher", "publisher.country", "artifact", "list_match"}
CHAINS = st.sampled_from([(), (("globex/base", "finetune"),), (("stranger/z", "merge"), ("acme/x2", "adapter")), (("packer/z", "quantized"),)])


@st.composite
def some(draw, table):
    return {name: Fact(draw(values), "test") for name, values in table.items() if draw(st.booleans())}


@st.composite
def policies(draw):
    rules = []
    for number in range(draw(st.integers(1, 3))):
        rule = {"id": f"r{number}", "when": draw(WHEN), "effect": draw(st.one_of(EFFECTS, st.just("allow")))}
        if not INHERITABLE.isdisjoint(rule["when"]) and draw(st.booleans()):
            rule["lineage"] = "inherit"
        if draw(st.integers(0, 2)) == 0:
            rule["on_unknown"] = draw(st.sampled_from(["allow", "warn", "review", "deny"]))
        if draw(st.integers(0, 3)) == 0:
            rule["for"] = {"groups": ["staff"]}
        rules.append(rule)
    lifted = [rule["id"] for rule in rules if rule["effect"] != "allow"]
    waived = []
    if lifted and draw(st.booleans()):
        scope = {"artifact": draw(st.sampled_from(PARTS))}
        waived = [{"id": "EX-1", "rule": draw(st.sampled_from(lifted)), "scope": scope, "reason": "r", "expires": "2027-01-01"}]
    top = {"defaults": {"action": draw(st.sampled_from(["allow", "allow", "deny"]))}}
    return policy(json.dumps({"version": 1, "rules": rules, "exceptions": waived, **top}), run=False)


@st.composite
def repositories(draw):
    """(project, the facts of all of it, [(artifact, what is its own)]): files of several revisions, the whole first."""
    kind = draw(st.sampled_from([Kind.MODEL, Kind.MODEL, Kind.DATASET]))
    project = Project("huggingface", kind, draw(st.sampled_from(NAMES)), "h")
    parts = []
    for revision in ("c1", "c2"):
        chain = draw(CHAINS)
        lineage = {"ancestors": edges(f"pkg:huggingface/{project.name}", *chain)} if kind is Kind.MODEL else {}
        for path in ("", "a.bin", "b/c.pkl"):
            parts.append((Artifact(project, revision, path), {**draw(some(OWN)), **lineage}))
    return project, draw(some(SHARED)), parts


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(policies(), repositories(), st.sampled_from([(), ("staff",)]), st.sampled_from([None, "US", "RU"]))
def test_where_no_rule_reaches_the_whole_speaks_for_every_part(rules, repository, groups, country):
    """If no rule reaches into a repository, each file of each revision is served exactly where the whole is."""
    _, shared, parts = repository
    actor = Actor("a", groups, "10.0.0.1", country)

    def verdict(artifact, own):
        return evaluate(rules, artifact, derive(Facts(**shared, **own), artifact, CATALOGUE, LINEAGE), actor, NOW)

    whole, own = parts[0]
    if reaching(rules, whole, derive(Facts(**shared, **own), whole, CATALOGUE, LINEAGE), actor, NOW) is not None:
        return
    said = verdict(whole, own)
    for artifact, own in parts:
        part = verdict(artifact, own)
        assert (part.effect.serves, part.effect if not part.effect.serves else None) == (said.effect.serves, said.effect if not said.effect.serves else None), artifact


MODEL, DATASET = (Artifact(Project("huggingface", kind, "acme/x", "h"), "c1", "") for kind in (Kind.MODEL, Kind.DATASET))


@pytest.mark.parametrize(
    ("when", "more", "model", "dataset"),
    [
        ({"file": ["*.pkl"]}, {}, True, True), ({"kind": "weights"}, {}, True, True), ({"license": ["mit"]}, {}, True, True), ({"scan": ["unsafe"]}, {}, True, True),
        ({"size": {"gt": 5}}, {}, True, True), ({"age_days": {"lt": 7}}, {}, True, True), ({"origin": ["CN"]}, {}, True, False), ({"ancestor": ["globex/*"]}, {}, True, False),
        ({"publisher": ["globex"]}, {}, False, False), ({"publisher": ["globex"]}, {"lineage": "inherit"}, True, False),
        ({"artifact": ["acme/*"]}, {}, False, False), ({"artifact": ["acme/x@v1"]}, {}, True, True), ({"artifact": ["acme/*#*.pkl"]}, {}, True, True),
        ({"artifact": ["globex/*#*.pkl"]}, {}, False, False), ({"type": ["dataset"], "file": ["*.pkl"]}, {}, False, True), ({"ecosystem": "pypi", "age_days": {"lt": 7}}, {}, False, False),
        ({"gated": True, "kind": "weights"}, {}, False, False), ({"client.country": ["RU"], "kind": "weights"}, {}, False, False), ({"file": ["*.pkl"]}, {"for": {"groups": ["staff"]}}, False, False),
        ({"file": ["*.pkl"]}, {"mode": "audit"}, False, False), ({"file": ["*.pkl"]}, {"effect": "warn"}, False, False), ({"license": ["mit"]}, {"effect": "warn", "on_unknown": "deny"}, True, True),
        ({"size": {"gt": 5}}, {"effect": "warn"}, True, True), ({"file": ["*.pkl"]}, {"until": "2026-11-01"}, False, False),
    ],
)  # fmt: skip
def test_which_rules_reach(when, more, model, dataset):
    """A rule reaches where one of its conditions is on files, cards or revisions, it could refuse, and the project could meet the others."""
    rules = policy(json.dumps({"version": 1, "rules": [{"id": "r", "when": when, "effect": "deny", **more}]}))
    for whole, wanted in ((MODEL, model), (DATASET, dataset)):
        facts = derive(Facts(gated=Fact("false")), whole, CATALOGUE, LINEAGE)
        found = reaching(rules, whole, facts, Actor("a", (), "", "US"), NOW)
        assert (found.id if found else None) == ("r" if wanted else None), whole


def test_every_condition_is_in_one_table():
    """A new condition must be thought about; until then it counts as one on files."""
    known = [*OF_PROJECT, *OF_LINEAGE, *OF_FILES, "artifact"]
    assert sorted(known) == sorted(_BUILDERS)
    rules = policy('{"version": 1, "rules": [{"id": "r", "when": {"publisher": ["acme"]}, "effect": "deny"}]}')
    (rule,) = rules.rules
    (condition,) = rule.conditions
    strange = replace(rule, conditions=(replace(condition, key="phase_of_the_moon"),))
    facts = derive(Facts(), MODEL, CATALOGUE, LINEAGE)
    assert reaching(replace(rules, rules=(strange,)), MODEL, facts, Actor("a"), NOW) is strange
