"""Releases in the pure engine: what they lift, what they do not, and when they are open again."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.core.actor import Actor
from mirror.core.decision import Effect
from mirror.core.errors import InputError
from mirror.core.facts import Fact, Facts
from mirror.core.purl import parse_loose
from mirror.policy.amend import amended
from mirror.policy.catalogue import Catalogue, Stated
from mirror.policy.compile import compile_policy
from mirror.policy.derive import derive
from mirror.policy.evaluate import evaluate, rule_on
from mirror.policy.grammar import ExceptionScope
from mirror.policy.releases import Rests, resting
from mirror.policy.screening import ListEntry, ScreeningList
from mirror.policy.statements import Release, Released, Standing
from mirror.policy.subject import Subject
from tests.policy.builders import LINEAGE, NOW, WORLD, edges, publisher

REVISION = "a" * 40
ENTRY = ListEntry("E-1", "Umbrela Research Corporation")
LABS = publisher("labs", "Umbrella Research Corporation", "GB")
SCREENED = {"id": "r", "when": {"list_match": {"lists": ["house"], "hit": 0.995, "review": 0.8}}, "effect": "deny"}


class World:
    """One rule, one publisher, one list; `release` is signed by a reviewer on what is held then."""

    def __init__(self, rule, *, who=LABS, entries=(ENTRY,), top=None, chain=(), artifact=f"labs/x@{REVISION}"):
        self.catalogue = Catalogue.build([Stated(one, confidence="A") for one in (*WORLD, who)])
        self.lists = {"house": ScreeningList("house", "1", entries, "house", "both")}
        self.text = json.dumps({"version": 1, "defaults": {"on_unknown": {"publisher": "review"}}, **(top or {}), "rules": [rule]}, default=str)
        self.policy = compile_policy([("policy.yaml", self.text)], self.catalogue, LINEAGE, self.lists)
        self.chain, self.artifact = chain, artifact

    def subject(self, artifact=None, now=NOW, groups=()):
        thing = parse_loose(artifact or self.artifact)
        facts = Facts(ancestors=edges(artifact or self.artifact, *self.chain), size=Fact(7, "hub"))
        return Subject(thing, derive(facts, thing, self.catalogue, LINEAGE), Actor("a", groups), now)

    def release(self, lifts="review", rests=None, scope=None, groups=(), until=date(2027, 1, 1)):
        if rests is None:
            subject = self.subject()
            rule_on(self.policy, subject)
            rests = resting(self.policy, self.policy.rule("r"), subject, self.lists)
        return Release("R-" + "0" * 26, NOW, "r", lifts, ExceptionScope(artifact=(scope or f"pkg:huggingface/{self.artifact}",), groups=groups), "read", until, rests)

    def under(self, release, by=("rae",)):
        return amended(self.policy, Standing(released=(Released(release, by),)), self.catalogue, LINEAGE, self.lists)

    def effect(self, release=None, by=("rae",), **asked):
        policy = self.policy if release is None else self.under(release, by)[0]
        subject = self.subject(**asked)
        return evaluate(policy, subject.artifact, subject.facts, subject.actor, subject.now).effect


def test_a_release_of_a_review_is_for_that_revision_group_and_time():
    """It lifts the hold for the named revision and groups until its end; another revision, group or day is held."""
    world = World({"id": "r", "when": {"artifact": ["labs/*"]}, "effect": "review"})
    assert world.effect() is Effect.REVIEW
    release = world.release(groups=("lab",))
    assert world.effect(release, groups=("lab",)) is Effect.ALLOW
    assert world.effect(release, groups=("shop",)) is Effect.REVIEW
    assert world.effect(release, groups=("lab",), artifact="labs/x@" + "b" * 40) is Effect.REVIEW
    assert world.effect(release, groups=("lab",), now=datetime(2027, 1, 1, tzinfo=UTC)) is Effect.REVIEW


def test_the_denial_of_the_same_rule_is_not_lifted():
    """A match in the review band is released; once the same entry is met at the hit band the rule denies."""
    world = World(SCREENED)
    assert world.effect() is Effect.REVIEW
    release = world.release()
    assert world.effect(release) is Effect.ALLOW
    surer = World({**SCREENED, "when": {"list_match": {"lists": ["house"], "hit": 0.85, "review": 0.8}}})
    assert surer.effect() is Effect.DENY
    assert surer.effect(replace(release, rests=replace(release.rests, rule=""))) is Effect.DENY


CHANGES = {
    "rule": {"rule": {**SCREENED, "when": {"list_match": {"lists": ["house"], "hit": 0.99, "review": 0.8}}}},
    "legal": {"rule": {**SCREENED, "legal": True, "basis": "b"}},
    "publisher": {"who": publisher("labs", "Umbrella Research Corporation", "GB", "IR")},
    "owner": {"who": publisher("labs", "Umbrella Research Corporation", "GB", parent="umbrella")},
    "entry": {"entries": (replace(ENTRY, programme="EX-2"),)},
    "another entry": {"entries": (ENTRY, ListEntry("E-2", "Umbrella Reserch Corporation"))},
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_it_rested_on_opens_it_again(what):
    """A rule that means something else, another fact of the publisher, a changed or a further entry: held as before."""
    release = World(SCREENED).release()
    assert World(SCREENED).effect(release) is Effect.ALLOW
    changed = World(**{"rule": SCREENED, **CHANGES[what]})
    assert changed.effect() is Effect.REVIEW
    assert changed.effect(release, by=("rae", "ann")) is Effect.REVIEW


def test_a_lineage_that_the_rule_reads_opens_it_again():
    """A release from a rule on origin rests on the lineage; from a rule on names it does not."""
    by_origin = {"id": "r", "when": {"origin": ["CN"]}, "effect": "review"}
    was, is_ = (("globex/base", "finetune"),), (("globex/base", "finetune"), ("umbrella/root", "finetune"))
    release = World(by_origin, chain=was).release()
    assert World(by_origin, chain=was).effect(release) is Effect.ALLOW
    assert World(by_origin, chain=is_).effect(release) is Effect.REVIEW
    by_name = {"id": "r", "when": {"artifact": ["labs/*"]}, "effect": "review"}
    assert World(by_name, chain=is_).effect(World(by_name, chain=was).release()) is Effect.ALLOW


def test_words_of_a_rule_open_nothing_and_sets_that_it_names_do():
    """Reason and suggestions are no part of what a rule means; the members of a set that it names are."""
    rule = {"id": "r", "when": {"publisher.country": ["odd"]}, "effect": "review"}
    release = World(rule, top={"sets": {"odd": ["GB"]}}).release()
    assert World({**rule, "reason": "look", "suggest": ["acme/x"]}, top={"sets": {"odd": ["GB"]}}).effect(release) is Effect.ALLOW
    assert World(rule, top={"sets": {"odd": ["GB", "IR"]}}).effect(release) is Effect.REVIEW


def test_a_doubt_is_released_until_the_fact_is_known():
    """What is held because its publisher is unknown is released, and held again once the catalogue knows the publisher."""
    rule = {"id": "r", "when": {"publisher.country": ["IR"]}, "effect": "deny"}
    unknown = World(rule, artifact=f"stranger/x@{REVISION}")
    release = unknown.release()
    assert (unknown.effect(), unknown.effect(release)) == (Effect.REVIEW, Effect.ALLOW)
    known = World(rule, who=publisher("stranger", "Stranger", "IR"), artifact=f"stranger/x@{REVISION}")
    assert known.effect(release) is Effect.DENY


def test_only_a_manual_quarantine_is_released():
    """A manual quarantine ends by release; one that ends by itself cannot, and says to ask for a waiver; nor does a release of a review end it."""
    manual = World({"id": "r", "when": {"artifact": ["labs/*"]}, "effect": "quarantine", "release": "manual"})
    assert manual.effect(manual.release("quarantine")) is Effect.ALLOW
    assert manual.effect(manual.release("review")) is Effect.QUARANTINE
    by_age = World({"id": "r", "when": {"artifact": ["labs/*"]}, "effect": "quarantine"})
    release = by_age.release("quarantine")
    assert by_age.effect(release) is Effect.QUARANTINE
    assert "ends by itself" in str(by_age.under(release)[1][0])


def test_a_legal_hold_takes_two():
    """One signature does not release from a legal rule."""
    legal = World({"id": "r", "when": {"artifact": ["labs/*"]}, "effect": "review", "legal": True, "basis": "b"})
    assert legal.effect(legal.release()) is Effect.REVIEW
    assert legal.effect(legal.release(), by=("rae", "ann")) is Effect.ALLOW


def test_a_policy_with_releases_is_read_back_from_its_texts():
    """The texts of a policy with a release, compiled together as the archive has them, judge the same."""
    world = World(SCREENED)
    made, problems = world.under(world.release())
    again = compile_policy(made.texts, world.catalogue, LINEAGE, world.lists)
    assert (problems, again.digest) == ((), made.digest)
    subject = world.subject()
    one, other = (evaluate(policy, subject.artifact, subject.facts, subject.actor, NOW) for policy in (made, again))
    assert one == other
    assert [hit.exception for hit in one.rules] == ["R-" + "0" * 26]


def test_faults_of_releases_in_a_file_are_named():
    """A release in a policy file names a rule that is there, that holds something, and an end."""
    text = json.dumps({"version": 1, "rules": [{"id": "r", "when": {"type": "model"}, "effect": "review"}], "releases": [
        {"id": "R-1", "rule": "q", "lifts": "review", "scope": {"artifact": "a/b"}, "reason": "x", "expires": "2027-01-01"},
        {"id": "R-2", "rule": "r", "lifts": "deny", "scope": {"artifact": "a/b"}, "reason": "x", "expires": None},
    ]})  # fmt: skip
    with pytest.raises(InputError) as caught:
        compile_policy([("policy.yaml", text)], Catalogue([]), LINEAGE, {})
    said = "\n".join(map(str, caught.value.problems))
    assert "releases[0].rule" in said
    assert "releases[1].lifts" in said


@given(st.sampled_from(["deny", "quarantine", "review", "warn"]), st.sampled_from(["auto", "manual"]), st.sampled_from(["review", "quarantine"]))
def test_whatever_a_release_names_it_lifts_that_hold_or_nothing(effect, release, lifts):
    """Monotony: under any release the effect is what it was, or - where the very hold was named and may be released - none."""
    rule = {"id": "r", "when": {"artifact": ["labs/*"]}, "effect": effect} | ({"release": release} if effect == "quarantine" else {})
    world = World(rule)
    named = effect == lifts and (effect != "quarantine" or release == "manual")
    assert world.effect(world.release(lifts, Rests())) is (Effect.ALLOW if named else Effect[effect.upper()])
