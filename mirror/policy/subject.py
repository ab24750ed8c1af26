"""What a condition is asked about, and what it answers."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from mirror.core.nouns import HUGGINGFACE, Artifact, Kind, Project
from mirror.policy.derive import CATALOGUE, PARTIAL, declared, lineage_complete

if TYPE_CHECKING:
    from datetime import datetime

    from mirror.core.actor import Actor
    from mirror.core.decision import Match
    from mirror.core.facts import Ancestor, Facts, Publisher

#: What an unknown fact does where neither the rule nor the file says (SURFACE 4 states the first five).
ON_UNKNOWN: Final = {
    "origin": "review", "publisher": "review", "client_country": "deny", "lineage": "warn", "license": "warn",
    "age_days": "review", "size": "review", "kind": "review", "gated": "review", "yanked": "review",
    "status": "review", "direct_url": "review", "attested": "warn", "scan": "warn", "vulnerability": "warn",
    "upstream.blocks_client": "warn",
}  # fmt: skip


class Truth(IntEnum):
    """Three-valued: a conjunction is its least member, so a plain no outweighs what is not known."""

    NO = 0
    UNKNOWN = 1
    YES = 2


#: Bound once: an enumeration's members are looked up slowly, and these are looked at for every rule.
FAILS: Final = Truth.NO
OPEN: Final = Truth.UNKNOWN
HOLDS: Final = Truth.YES


class Outcome(NamedTuple):
    """A condition's answer. (A tuple: hundreds are made in one judgement.) `cause` is half a sentence; `unknown` a key of `ON_UNKNOWN`.

    `grade` is that of the evidence; `review` says that the match is only good enough to be looked at; `path` the edges
    from the artifact to the ancestor that matched; `free_at` when an age stops matching.
    """

    truth: Truth
    cause: str = ""
    unknown: str = ""
    grade: str = "A"
    review: bool = False
    path: tuple[Ancestor, ...] = ()
    free_at: datetime | None = None


NO: Final = Outcome(Truth.NO)


def unknown(fact: str) -> Outcome:
    """The answer where `fact` is missing."""
    return _UNKNOWN[fact]


_UNKNOWN: Final = {fact: Outcome(Truth.UNKNOWN, unknown=fact) for fact in ON_UNKNOWN}


def grade_of(confidence: int) -> str:
    """An edge's confidence (1/10,000) as a grade of evidence."""
    return "A" if confidence >= 9_500 else "B" if confidence >= 8_000 else "C" if confidence >= 6_000 else "D"


class View:
    """One project as identity conditions see it: the artifact's own, or an ancestor's. Names are case-folded."""

    __slots__ = (
        "_graded", "ancestor", "countries", "ecosystem", "grade", "kind", "name", "owner", "partial", "path", "publisher", "revision",
    )  # fmt: skip

    def __init__(self, project: Project, publisher: Publisher | None, grade: str, countries: tuple[str, ...] | None) -> None:
        self.ecosystem = project.ecosystem
        self.kind: Kind = project.kind
        self.name = project.name.casefold()
        self.owner = self.name.partition("/")[0] if project.ecosystem == HUGGINGFACE else ""
        self.publisher = publisher
        self.grade = grade
        self.countries = countries
        #: Whether publisher and countries are only what an uploader says: they can be held against it, and not for it.
        self.partial = False
        self.revision = ""
        self.path = ""
        self.ancestor: Ancestor | None = None
        self._graded: tuple[tuple[str, str], ...] | None = None

    def graded(self) -> tuple[tuple[str, str], ...] | None:
        """(country, grade) of the publisher, or None where unknown."""
        if self._graded is None and self.countries is not None:
            self._graded = self._weighed(self.countries)
        return self._graded

    def _weighed(self, countries: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        best: dict[str, str] = {}
        for country in self.publisher.countries if self.publisher else ():
            best[country.code] = min(best.get(country.code, "D"), country.confidence)
        return tuple((code, max(self.grade, best.get(code, self.grade))) for code in countries)


class Subject:
    """One judgement's input, prepared once for all rules."""

    __slots__ = (
        "_views",
        "actor",
        "artifact",
        "complete",
        "country",
        "edges",
        "facts",
        "now",
        "origin",
        "origin_complete",
        "origin_whose",
        "own",
        "seen",
        "until",
        "whole",
    )  # fmt: skip

    def __init__(self, artifact: Artifact, facts: Facts, actor: Actor, now: datetime) -> None:
        self.artifact, self.facts, self.actor, self.now = artifact, facts, actor, now
        publisher = facts.publisher
        known = publisher.value if publisher else None
        countries = facts.publisher_countries
        grade = publisher.confidence if publisher and known else countries.confidence if countries else "A"
        self.own = View(artifact.project, known, grade, countries.value if countries else None)
        self.own.partial = declared(publisher) or declared(countries)
        self.own.revision, self.own.path = artifact.revision.casefold(), artifact.path.casefold()
        self.whole = not artifact.path
        self.country = actor.country.upper() if actor.country else ""
        self.edges: tuple[Ancestor, ...] = (facts.ancestors.value if facts.ancestors else None) or ()
        self.complete = lineage_complete(facts, artifact.project)
        self.until: datetime | None = None
        #: What lists said, below the review band too: the record shows it.
        self.seen: list[Match] = []
        self._views: list[View] | None = None
        found, self.origin_complete = self._origins()
        #: (country, grade) of every country of origin, and for each whose it is.
        self.origin = [(code, grade) for code, grade, _ in found]
        self.origin_whose = [whose for _, _, whose in found]

    def note(self, boundary: datetime) -> None:
        """Remember an instant at which the outcome could change."""
        if boundary > self.now and (self.until is None or boundary < self.until):
            self.until = boundary

    def ancestors(self) -> list[View]:
        """Every ancestor as a view, nearest first, each project once."""
        if self._views is None:
            self._views, seen = [], set()
            for edge in self.edges:
                view = View(edge.project, edge.publisher, edge.publisher_grade, edge.countries)
                view.ancestor = edge
                if (view.ecosystem, view.kind, view.name) not in seen:
                    seen.add((view.ecosystem, view.kind, view.name))
                    self._views.append(view)
        return self._views

    def path_to(self, edge: Ancestor) -> tuple[Ancestor, ...]:
        """The edges from the artifact's project up to and including `edge`."""
        path, wanted = [edge], edge.child.name.casefold()
        start = self.own.name
        while wanted != start and len(path) <= len(self.edges):
            below = next((e for e in self.edges if e.project.name.casefold() == wanted and e not in path), None)
            if below is None:
                break
            path.append(below)
            wanted = below.child.name.casefold()
        return tuple(reversed(path))

    def _origins(self) -> tuple[list[tuple[str, str, View]], bool]:
        """(country, grade, whose) for every country of origin, and whether that is all of them.

        An origin that was stated (not derived) is taken as it is.
        """
        fact = self.facts.origin
        if fact is not None and fact.source not in (CATALOGUE, PARTIAL):
            stated = [(code, fact.confidence, self.own) for code in fact.value or ()]
            return stated, fact.value is not None
        if fact is None:
            return [], False
        found = []
        for view in (self.own, *self.ancestors()) if self.edges else (self.own,):
            if view.publisher is not None and view.publisher.role == "repackager":
                continue
            graded = view.graded()
            if not graded:
                continue
            # A country that comes through a lineage is no surer than the lineage.
            reach = "A" if view.ancestor is None else grade_of(min(edge.confidence for edge in self.path_to(view.ancestor)))
            found += [(code, max(grade, reach), view) for code, grade in graded]
        return found, fact.source == CATALOGUE and fact.value is not None
