"""Situations for the policy tests: a small invented world, built with the real catalogue, lineage and list types."""

from __future__ import annotations

from datetime import UTC, date, datetime

from mirror.core.actor import Actor
from mirror.core.facts import Ancestor, Country, Fact, Facts, Owner, Publisher
from mirror.core.nouns import Kind, Project
from mirror.core.purl import parse_loose
from mirror.policy.catalogue import Catalogue, Stated
from mirror.policy.compile import compile_policy
from mirror.policy.derive import derive
from mirror.policy.evaluate import evaluate
from mirror.policy.lineage import Edge, Lineage, StatedEdge
from mirror.policy.screening import ListEntry, ScreeningList

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SOMEBODY = Actor("somebody")


def publisher(name, entity, *countries, grade="A", handles=None, **more):
    places = tuple(Country(code, "headquarters", "test", date(2026, 1, 1), grade) for code in countries)
    handles = handles if handles is not None else (("huggingface", name), ("pypi", name))
    return Publisher(name, entity, "company", countries=places, handles=handles, **more)


WORLD = (
    publisher("acme", "Acme Labs", "GB", handles=(("huggingface", "acme"), ("huggingface", "acme-research"), ("pypi", "acme")), projects=("acme-lib",)),
    publisher("globex", "Globex", "CN", aliases=("Globex Group",), projects=("globex-tools",)),
    publisher("initech", "Initech", "US", projects=("initech-net",)),
    publisher("umbrella", "Umbrella", "RU"),
    publisher("vague", "Vague", "CN", grade="C"),
    publisher("packer", "Packer", "US", role="repackager"),
    publisher("subsidiary", "Subsidiary", "US", owners=(Owner("listed", 6000, "test", None),)),
    publisher("listed", "Listed Corporation", "IR"),
    publisher("nowhere", "Nowhere"),
)


def catalogue(extra=()):
    return Catalogue.build([Stated(one, confidence="A") for one in (*WORLD, *extra)])


CATALOGUE = catalogue()


def model(name):
    return Project("huggingface", Kind.MODEL, name)


LINEAGE = Lineage.build([
    StatedEdge(model("vague-tunes/by-list"), Edge(model("globex/base"), "finetune", "catalogue", 9000)),
    StatedEdge(model("initech/tuned"), Edge(model("globex/base"), "finetune", "catalogue", 9000)),
])
LISTS = {"house": ScreeningList("house", "2026-11-01", [ListEntry("e1", "Globex"), ListEntry("e2", "Listed Corporation")], "house", "both")}


def policy(text, *, lists=None, run=True, source="policy.yaml"):
    if not text.lstrip().startswith(("version", "{", "#")):
        text = "version: 1\n" + text
    return compile_policy([(source, text)], CATALOGUE, LINEAGE, LISTS if lists is None else lists, run=run)


def rule(when, effect="deny", **more):
    """A policy with one rule `r`, in JSON, which is YAML."""
    import json

    top = more.pop("top", {})
    return policy(json.dumps({"version": 1, **top, "rules": [{"id": "r", "when": when, "effect": effect, **more}]}, default=str))


def edges(child, *chain):
    """A declared walk: each (name, relation) was the source of the one before."""
    found, below = [], parse_loose(child).project
    for depth, (name, relation) in enumerate(chain, 1):
        found.append(Ancestor(model(name), below, relation, "declared", 10_000, depth))
        below = model(name)
    return Fact(tuple(found), "card")


def judge(the_policy, artifact, *, actor=SOMEBODY, now=NOW, chain=(), **facts):
    """The verdict on an artifact in short form; facts as plain values."""
    thing = parse_loose(artifact)
    stated = {key: value if isinstance(value, Fact) else Fact(value, "test") for key, value in facts.items()}
    if thing.project.kind is Kind.MODEL and "ancestors" not in stated:
        stated["ancestors"] = edges(artifact, *chain)
    return evaluate(the_policy, thing, derive(Facts(**stated), thing, CATALOGUE, LINEAGE), actor, now)
