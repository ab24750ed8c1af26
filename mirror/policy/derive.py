"""What follows from the catalogue and the shipped lineage: who is behind a name, and where that puts its origin. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mirror.core.facts import Ancestor, Country, Fact, Facts, Publisher
from mirror.core.nouns import PYPI, Artifact, Kind, Project
from mirror.policy import accounts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.policy.catalogue import Catalogue
    from mirror.policy.lineage import Lineage

#: The source of a derived fact, and of one that is only a lower bound: somebody involved is not known.
CATALOGUE: Final = "catalogue"
PARTIAL: Final = "catalogue, in part"

#: How far shipped edges are followed beyond what a card declares.
MAX_HOPS: Final = 64
MAX_EDGES: Final = 2_000


def derive(facts: Facts, artifact: Artifact, catalogue: Catalogue, lineage: Lineage) -> Facts:
    """`facts` with publisher, countries, ancestors and origin filled in where they are None.

    A fact that is already there stays. Every ancestor gets its publisher and countries; shipped edges (evidence
    `catalogue`) continue the walk wherever a project declares none. `origin` is the union of the countries of the
    publisher and of every ancestor's, with the weakest confidence among them, its value None where nothing is known,
    its source `PARTIAL` where somebody in the line is unknown. A repackager adds no country of its own.
    """
    publisher = facts.publisher if facts.publisher is not None else _publisher(artifact.project, catalogue)
    if facts.publisher is None and artifact.project.ecosystem == PYPI:
        facts, publisher = _settled(facts, artifact.project, catalogue)
    ancestors = _ancestors(facts.ancestors, artifact.project, catalogue, lineage)
    filled = replace(facts, publisher=publisher, ancestors=ancestors)
    if filled.publisher_countries is None:
        filled = replace(filled, publisher_countries=_countries(publisher))
    if filled.origin is None or filled.origin.source in (CATALOGUE, PARTIAL):
        filled = replace(filled, origin=_origin(filled, artifact.project))
    return filled


def codes(countries: Iterable[Country]) -> tuple[str, ...]:
    """The distinct codes, sorted; every role counts."""
    return tuple(sorted({country.code for country in countries}))


def declared(fact: Fact[Any] | None) -> bool:
    """Whether a fact on a publisher rests on an uploader's word alone: then it is a lower bound, and clears nobody."""
    return fact is not None and fact.source.startswith(accounts.DECLARED)


def origin_known(facts: Facts) -> str:
    """`known`, `in_part` (somebody involved is unknown, or only an uploader's word is there) or `unknown`."""
    fact = facts.origin
    if fact is None or fact.value is None:
        return "unknown"
    return "in_part" if fact.source == PARTIAL else "known"


def lineage_complete(facts: Facts, project: Project) -> bool:
    """Whether everything that `project` was made from is known.

    Only models have a lineage. A walk is whole when it ends, everywhere, at a project of a known developer that
    declares no parent: that is a root. An unknown person's or a repackager's model without a declared parent is not.
    """
    if project.kind is not Kind.MODEL:
        return True
    if facts.ancestors is None or facts.ancestors.value is None:
        return False
    edges = facts.ancestors.value
    if any(edge.missing and edge.missing != "loop" for edge in edges):
        return False
    if not edges:
        return facts.publisher is not None and _is_root(facts.publisher.value)
    children = {_key(edge.child) for edge in edges}
    return all(_key(edge.project) in children or edge.missing == "loop" or _is_root(edge.publisher) for edge in edges)


def _is_root(publisher: Publisher | None) -> bool:
    return publisher is not None and publisher.role != "repackager"


def _known(project: Project, catalogue: Catalogue) -> tuple[Publisher, str] | None:
    found = catalogue.publisher_of(project)
    if found is None:
        return None
    publisher, grade = found
    countries = catalogue.countries_of(publisher)
    return (publisher if countries == publisher.countries else replace(publisher, countries=countries)), grade


def _publisher(project: Project, catalogue: Catalogue) -> Fact[Publisher]:
    found = _known(project, catalogue)
    return Fact(None, CATALOGUE) if found is None else Fact(found[0], CATALOGUE, found[1])


def _settled(facts: Facts, project: Project, catalogue: Catalogue) -> tuple[Facts, Fact[Publisher]]:
    """`facts`, and the publisher of a file of a package index, by the best evidence there is of it."""
    found = accounts.settle(project, (facts.claims.value if facts.claims else None) or (), catalogue)
    if found is None:
        return facts, Fact(None, CATALOGUE)
    if found.publisher is None:
        if facts.publisher_countries is None:
            grade = max([found.grade, *(country.confidence for country in found.countries)])
            facts = replace(facts, publisher_countries=Fact(codes(found.countries) or None, found.source, grade))
        return facts, Fact(None, found.source, found.grade)
    countries = catalogue.countries_of(found.publisher)
    whole = found.publisher if countries == found.publisher.countries else replace(found.publisher, countries=countries)
    return facts, Fact(whole, found.source, found.grade)


def _countries(publisher: Fact[Publisher] | None) -> Fact[tuple[str, ...]]:
    if publisher is None or publisher.value is None or not publisher.value.countries:
        return Fact(None, CATALOGUE)
    grades = [publisher.confidence, *(country.confidence for country in publisher.value.countries)]
    return Fact(codes(publisher.value.countries), publisher.source or CATALOGUE, max(grades))


def _ancestors(
    declared: Fact[tuple[Ancestor, ...]] | None, project: Project, catalogue: Catalogue, lineage: Lineage
) -> Fact[tuple[Ancestor, ...]] | None:
    if project.kind is not Kind.MODEL:
        return declared
    edges = list(declared.value or ()) if declared is not None else []
    merged = _continued(edges, project, lineage)
    if not merged and (declared is None or declared.value is None):
        return declared
    named = tuple(_named(edge, catalogue) for edge in merged)
    if declared is None or declared.value is None:
        return Fact(named, CATALOGUE)
    return replace(declared, value=named)


def _continued(edges: list[Ancestor], project: Project, lineage: Lineage) -> list[Ancestor]:
    """The walk with shipped edges wherever it stops, loops guarded, nearest first."""
    found = list(edges)
    has_parents = {_key(edge.child) for edge in found}
    seen = {_key(project)}
    ends = [(project, 0), *((edge.project, edge.depth) for edge in found)]
    for end, depth in ends:
        name = _key(end)
        if name in has_parents or (name in seen and end is not project):
            continue
        seen.add(name)
        if depth >= MAX_HOPS or len(found) >= MAX_EDGES:
            continue
        for shipped in lineage.parents(end):
            edge = replace(shipped, child=end, depth=depth + 1)
            if _key(edge.project) in seen:
                edge = replace(edge, missing="loop")
            else:
                ends.append((edge.project, depth + 1))
            found.append(edge)
            has_parents.add(name)
    if len(found) > len(edges):
        found = [replace(edge, missing="") if edge.missing not in ("", "loop") and _key(edge.project) in has_parents
                 else edge for edge in found]
    return sorted(found, key=lambda edge: edge.depth)


def _named(edge: Ancestor, catalogue: Catalogue) -> Ancestor:
    if edge.publisher is not None and edge.countries is not None:
        return edge
    found = _known(edge.project, catalogue)
    publisher, grade = edge.publisher, edge.publisher_grade
    if publisher is None and found is not None:
        publisher, grade = found
    countries = edge.countries
    if countries is None and publisher is not None and publisher.countries:
        countries = codes(publisher.countries)
    return replace(edge, publisher=publisher, countries=countries, publisher_grade=grade)


def _origin(facts: Facts, project: Project) -> Fact[tuple[str, ...]]:
    publisher = facts.publisher.value if facts.publisher else None
    own = facts.publisher_countries
    found: set[str] = set()
    grades: list[str] = []
    whole = lineage_complete(facts, project) and not declared(own)
    if publisher is None or publisher.role != "repackager":
        if own is None or own.value is None:
            whole = False
        else:
            found.update(own.value)
            grades.append(own.confidence)
    for edge in (facts.ancestors.value if facts.ancestors else None) or ():
        if edge.publisher is not None and edge.publisher.role == "repackager":
            continue
        if edge.countries is None:
            whole = False
            continue
        found.update(edge.countries)
        grades.append(max((c.confidence for c in edge.publisher.countries), default="C") if edge.publisher else "B")
    source = CATALOGUE if whole else PARTIAL
    return Fact(tuple(sorted(found)) or None, source, max(grades, default="D"))


def _key(project: Project) -> tuple[str, str, str]:
    return project.ecosystem, project.kind, project.name.casefold()
