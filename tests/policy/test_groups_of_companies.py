"""`entity:` means the whole group, at the grade of the account that is met: on the catalogue that ships."""

from __future__ import annotations

import json

import pytest

from mirror.core.decision import Effect
from mirror.core.facts import Fact, Facts
from mirror.core.purl import parse_loose
from mirror.lists.loading import load_catalogue
from mirror.policy.compile import compile_policy
from mirror.policy.derive import derive
from mirror.policy.evaluate import evaluate
from mirror.policy.lineage import Lineage
from tests.policy.builders import NOW, SOMEBODY, edges, judge, rule

SHIPPED = load_catalogue()
NO_EDGES = Lineage.build([])


def verdict(name, who, *, chain=(), effect="deny", action="allow", **more):
    """What a rule on the publishers `who` makes of a model, with the shipped catalogue."""
    text = {"version": 1, "defaults": {"action": action}, "rules": [{"id": "r", "when": {"publisher": who}, "effect": effect, **more}]}
    policy = compile_policy([("policy.yaml", json.dumps(text))], SHIPPED, NO_EDGES, {})
    artifact = parse_loose(name)
    facts = Facts(ancestors=edges(name, *chain)) if artifact.project.ecosystem == "huggingface" else Facts()
    return evaluate(policy, artifact, derive(facts, artifact, SHIPPED, NO_EDGES), SOMEBODY, NOW)


@pytest.mark.parametrize("account", ["iic", "Wan-AI"])
def test_an_attributed_account_is_held_for_its_entity_and_refused_only_if_the_rule_takes_weak_evidence(account):
    """`entity:alibaba` reaches accounts of its companion entry (grade C): review under B, the refusal under C."""
    assert verdict(f"{account}/x#m", ["entity:alibaba"]).effect is Effect.REVIEW
    assert verdict(f"{account}/x#m", ["entity:alibaba"], min_confidence="C").effect is Effect.DENY


def test_an_entity_is_found_through_every_parent_in_between():
    """A well-documented account two parents down is refused by the name of whoever stands on top."""
    assert verdict("Qwen/x#m", ["entity:Alibaba Group Holding Limited"]).effect is Effect.DENY
    assert verdict("ApsaraStackMaaS/x#m", ["entity:alibaba"]).effect is Effect.REVIEW
    assert verdict("pkg:pypi/dashscope@1", ["entity:alibaba"]).effect is Effect.DENY


def test_a_subsidiary_does_not_stand_for_its_parent():
    """A rule on the part leaves the whole and its other parts alone."""
    assert verdict("iic/x#m", ["entity:alibaba-cloud"]).effect is Effect.ALLOW
    assert verdict("mistralai/x#m", ["entity:alibaba"]).effect is Effect.ALLOW


def test_a_handle_is_one_account():
    """A handle of the main entry reaches neither the companion entry nor a sister."""
    assert verdict("Qwen/x#m", ["Qwen"]).effect is Effect.DENY
    assert verdict("iic/x#m", ["Qwen"]).effect is Effect.ALLOW
    assert verdict("Wan-AI/x#m", ["huggingface:qwen"]).effect is Effect.ALLOW


def test_weak_evidence_never_permits():
    """Under default deny, allowing an entity serves its documented accounts and holds the attributed ones."""
    assert verdict("Qwen/x#m", ["entity:alibaba"], effect="allow", action="deny").effect is Effect.ALLOW
    assert not verdict("iic/x#m", ["entity:alibaba"], effect="allow", action="deny").effect.serves


def test_the_grade_of_an_account_follows_into_lineage():
    """A model made from an attributed account's is held like the account's own, and the path is named."""
    found = verdict("stranger/x#m", ["entity:alibaba"], chain=[("Wan-AI/base", "quantized")], lineage="inherit")
    assert found.effect is Effect.REVIEW
    assert "is quantized from Wan-AI/base" in found.sentence
    assert verdict("stranger/x#m", ["entity:alibaba"], chain=[("Qwen/base", "quantized")], lineage="inherit").effect is Effect.DENY


def test_a_majority_owner_is_above_and_everybody_else_is_not():
    """Sixty percent of it belong to the listed corporation: the entity's rule reaches it."""
    assert judge(rule({"publisher": ["entity:listed"]}), "subsidiary/x#m").effect is Effect.DENY
    assert judge(rule({"publisher": ["entity:subsidiary"]}), "listed/x#m").effect is Effect.ALLOW


def test_the_empty_fact_is_no_publisher():
    """A stated unknown publisher is unknown to `entity:`, whatever its handle would have told."""
    assert judge(rule({"publisher": ["entity:acme"]}), "acme/x#m", publisher=Fact(None, "test")).effect is Effect.REVIEW
