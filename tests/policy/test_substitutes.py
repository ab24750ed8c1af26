"""What a refusal names instead: like, permitted to the same client, the likest first."""

from __future__ import annotations

import json

from mirror.core.actor import Actor
from mirror.core.facts import Ancestor, Fact, Facts
from mirror.core.purl import parse_loose
from mirror.policy.compile import compile_policy
from mirror.policy.epoch import Epoch
from mirror.policy.substitutes import MOST, Profile, Refused, substitutes
from tests.policy.builders import CATALOGUE, LINEAGE, LISTS, NOW

GIB = 1 << 30


def profile(name, *, task="text-generation", size=8 * GIB, licence="mit", weights=None, sources=()):
    edges = tuple(Ancestor(parse_loose(one).project, parse_loose(name).project, "merge", "declared", 10_000, 1) for one in sources)
    facts = Facts(license=Fact((licence,) if licence else None, "card", "D"), size=Fact(0, "hub"), ancestors=Fact(edges, "card"))
    whole = parse_loose(f"{name}@{'a' * 40}")
    part = parse_loose(f"{name}@{'a' * 40}#{weights or 'model.safetensors'}")
    return Profile(task, size, ((whole, facts), (part, facts)))


def offered(*held, refused=None, rules=(), suggested=(), groups=()):
    text = json.dumps({"version": 1, "defaults": {"on_unknown": {"lineage": "allow"}}, "rules": list(rules)})
    epoch = Epoch(1, compile_policy([("p", text)], CATALOGUE, LINEAGE, LISTS), CATALOGUE, LINEAGE, LISTS)
    own = refused or profile("umbrella/x")
    return substitutes(epoch, Refused(own.whole, Actor("a", groups), NOW, suggested, own), held).value


def names(found):
    return [text.partition(": ")[0] for text in found]


def test_the_likest_first():
    """Only the same task; then the nearest size, the same licence, a known origin; each with the reason that it was chosen for."""
    found = offered(
        profile("acme/far", size=64 * GIB), profile("acme/other", task="fill-mask"), profile("acme/apache", licence="apache-2.0"),
        profile("stranger/near"), profile("initech/near"), profile("acme/bare", licence=""), profile("umbrella/x"),
    )  # fmt: skip
    assert names(found) == ["initech/near", "stranger/near", "acme/apache", "acme/bare", "acme/far"]
    assert found[0] == "initech/near: same task (text-generation), 8.0 GiB (that one 8.0 GiB), licence mit, origin US"
    assert found[1].endswith("origin unknown")


def test_none_is_itself_refused_to_this_client():
    """What a rule denies or holds for this client - the project, or its weights - is not named; for others it is."""
    rules = [
        {"id": "a", "when": {"artifact": ["initech/*"]}, "for": {"groups": ["lab"]}, "effect": "deny"},
        {"id": "b", "when": {"origin": ["CN"]}, "effect": "review"},
        {"id": "c", "when": {"file": ["*.pkl"]}, "effect": "deny"},
    ]
    held = (profile("acme/one"), profile("initech/one"), profile("globex/one"), profile("acme/pickled", weights="model.pkl"))
    assert names(offered(*held, rules=rules, groups=("lab",))) == ["acme/one"]
    assert names(offered(*held, rules=rules)) == ["acme/one", "initech/one"]


def test_the_rule_s_own_suggestions_come_first_unless_they_are_refused():
    """What the rule names stands first, whether anybody has it here or not; not where it is refused for certain, and never twice."""
    rules = [{"id": "a", "when": {"artifact": ["globex/*"]}, "effect": "deny"}, {"id": "b", "when": {"origin": ["RU"]}, "effect": "deny"}]
    found = offered(profile("acme/one"), profile("acme/two"), rules=rules, suggested=("acme/two", "globex/solid", "umbrella/y", "nobody/knows"))
    assert found[:2] == ("acme/two: named by the rule", "nobody/knows: named by the rule")
    assert names(found[2:]) == ["acme/one"]


def test_no_more_than_a_few_and_nothing_without_a_task():
    """At most `MOST` are named; of a project whose task is unknown nothing is like it."""
    many = [profile(f"acme/m{number}") for number in range(20)]
    assert len(offered(*many)) == MOST
    assert offered(*many, refused=profile("umbrella/x", task="")) == ()


def test_nothing_is_offered_that_is_made_of_what_is_refused():
    """A descendant of the refused project, or of what a recall or an emergency deny names, is not offered, the rule's own suggestion neither; a child of another denied project is."""
    rules = [
        {"id": "recall-hq-lab-3", "when": {"artifact": ["globex/*"]}, "effect": "deny"},
        {"id": "house", "when": {"artifact": ["soylent/*"]}, "effect": "deny"},
    ]
    held = (
        profile("acme/merge", sources=["initech/other", "Umbrella/X"]), profile("acme/quant", sources=["globex/solid"]),
        profile("acme/own", sources=["initech/other"]), profile("acme/green", sources=["soylent/base"]),
    )  # fmt: skip
    assert names(offered(*held, rules=rules, suggested=("acme/merge",))) == ["acme/own", "acme/green"]
