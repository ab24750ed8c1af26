"""Decisions as they were recorded, back in the nouns that were judged: who asked for what, on which facts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from mirror.core.actor import Actor, cut_network
from mirror.core.facts import Ancestor, Fact, Facts
from mirror.core.nouns import Artifact, FileKind
from mirror.core.purl import parse_artifact

if TYPE_CHECKING:
    from mirror.core.facts import Publisher
    from mirror.policy.catalogue import Catalogue

_FACTS: Final = tuple(field.name for field in fields(Facts) if field.name != "evidence")


@dataclass(frozen=True, slots=True)
class Judged:
    """What was judged. `facts` are complete: everything that follows from catalogue and lineage is in them."""

    decision: str
    at: datetime
    artifact: Artifact
    actor: Actor
    facts: Facts


def judged(decision: Mapping[str, Any], catalogue: Catalogue) -> Judged:
    """The situation of a decision's JSON (docs/schema/decision.json), sealed or joined with its personal part.

    Publishers are recorded by id: what `catalogue` says of them counts, and one that it does not have is unknown. Raises
    `ValueError`, `TypeError` or `KeyError` for what is no decision.
    """
    who = decision["actor"]
    address = who.get("address") or ""
    networks = tuple(who.get("networks", ()))
    # Of somebody permitted only the network is on the record: no address, but in every network that this one lies in.
    if (cut := cut_network(address)) and decision.get("effect") in ("allow", "warn"):
        address, networks = "", (*networks, cut)
    actor = Actor(
        who.get("name") or "", tuple(who["groups"]), address, who["country"], who["country_source"],
        who.get("entity", ""), tuple(who.get("jurisdictions", ())), networks=networks,
    )  # fmt: skip
    raw = decision["facts"]
    found: dict[str, Any] = {name: _fact(name, raw[name], catalogue) for name in _FACTS if name in raw}
    if found.get("ancestors") is not None and raw["ancestors"]["value"] is not None:
        walk = tuple(_edge(edge, catalogue) for edge in decision["lineage"])
        stated = raw["ancestors"]
        found["ancestors"] = Fact(walk, stated["source"], stated["confidence"], bool(stated.get("pending")))
    facts = Facts(**found, evidence=tuple(decision.get("evidence", ())))
    return Judged(decision["id"], datetime.fromisoformat(decision["at"]), parse_artifact(decision["artifact"]), actor, facts)


def _fact(name: str, stated: Mapping[str, Any], catalogue: Catalogue) -> Fact[Any]:
    value = stated["value"]
    if value is not None:
        if name == "publisher":
            value = _publisher(value, catalogue)
        elif name == "file_kind":
            value = FileKind(value)
        elif name == "published_at":
            value = datetime.fromisoformat(value)
        elif name == "size":
            value = int(value)
        elif isinstance(value, list):
            value = tuple(value)
    return Fact(value, stated["source"], stated["confidence"], bool(stated.get("pending")))


def _publisher(identity: str, catalogue: Catalogue) -> Publisher | None:
    """As `derive` gives it: with the countries that it has from those above it."""
    found = catalogue.by_id(identity)
    return None if found is None else replace(found, countries=catalogue.countries_of(found))


def _edge(edge: Mapping[str, Any], catalogue: Catalogue) -> Ancestor:
    return Ancestor(
        parse_artifact(edge["to"]).project, parse_artifact(edge["from"]).project, edge["relation"], edge["evidence"],
        edge["confidence"], edge["depth"], _publisher(edge["publisher"], catalogue) if edge["publisher"] else None,
        None if edge["countries"] is None else tuple(edge["countries"]), edge.get("missing", ""), edge.get("publisher_grade", "A"),
    )  # fmt: skip
