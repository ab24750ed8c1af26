"""Who was given what of a publisher in the past: by group and country, through lineage and through ownership."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mirror.audit.retention import is_stub
from mirror.audit.segments import lines, segments
from mirror.audit.survey import removed
from mirror.core.nouns import PYPI, Kind
from mirror.core.purl import parse_artifact
from mirror.policy.catalogue import HINT
from mirror.policy.ownership import Ownership
from mirror.policy.recipients import Descent, Pedigree, Tie, publishers, ties
from mirror.policy.replay import rederived
from mirror.watch.past import case_of, records

if TYPE_CHECKING:
    from mirror.core.facts import Publisher
    from mirror.core.nouns import Project
    from mirror.policy.catalogue import Catalogue
    from mirror.policy.lineage import Lineage

_UNREADABLE: Final = (ValueError, TypeError, KeyError)
#: What stands around a record's time and its lineage; a quote within a text is escaped, so neither can be part of one.
_AT: Final = b'"at":"'
_LINEAGE: Final = b'"lineage":'
_LISTS: Final = b',"lists":'


@dataclass(slots=True)
class Received:
    """What one group in one country was given of one project.

    `how` is published, owned, lineage or lineage-owned; `via` says it in sentences. `known_then`: the decision's own record shows the
    tie; else it follows only from what was recorded of others or is in the catalogue today. `unnamed` counts decisions of erased clients.
    """

    project: str
    publisher: str
    how: str
    via: tuple[str, ...]
    known_then: bool
    group: str
    country: str
    first: str
    last: str
    majority: bool = True
    clients: set[str] = field(default_factory=set)
    unnamed: int = 0
    revisions: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    requests: int = 0
    country_sources: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Found:
    """Everything that a look back gives. `requests` and `clients` count each once; `begins` is when its oldest record was made.

    Of the `received` projects of that time, those that are not the publisher's in any known way and hide something: `no_lineage` are models of
    which neither what they were made from nor a developer is known, `no_publisher` are of nobody known. `left_out` are publishers tied by less than half or an unstated share.
    """

    rows: list[Received] = field(default_factory=list)
    begins: str = ""
    records: int = 0
    unread: int = 0
    requests: int = 0
    clients: set[str] = field(default_factory=set)
    unnamed: int = 0
    received: int = 0
    no_lineage: int = 0
    no_publisher: int = 0
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Way:
    publisher: str
    how: str
    via: tuple[str, ...]
    known_then: bool
    majority: bool


def look_back(
    directory: Path, top: Publisher, catalogue: Catalogue, lineage: Lineage, *, since: datetime | None, now: datetime, minority: bool = False
) -> Found:
    """Read the ledger twice: for every relation that it ever recorded, then for what was given since then. Nothing is written.

    Ownership counts as of `now` and as of each receipt; with `minority` also by shares below a half or unstated.
    """
    found = Found()
    pedigree = Pedigree(catalogue, lineage)
    for one in _relations(directory, found):
        pedigree.add(one)
    search = _Search(top, catalogue, lineage, pedigree, now, minority=minority)
    rows: dict[tuple[object, ...], Received] = {}
    of: dict[str, list[Received]] = {}
    counts, gone = removed(directory)
    for count in counts:
        _counted(rows, found, search, count, since)
    for record in records(directory, since):
        if record["seq"] in gone:
            continue
        if record["kind"] == "repeated" and (known := of.get(record["subject"])):
            found.requests += record["count"]
            for row in known:
                row.requests, row.last = row.requests + record["count"], max(row.last, record["at"])
        if record["kind"] != "allowed":
            continue
        try:
            artifact = parse_artifact(record["decision"]["artifact"])
            way = search.way(artifact.project, record) if artifact.path else None
        except _UNREADABLE:
            found.unread += 1
            continue
        if way is not None:
            of[record["decision"]["id"]] = list(_given(rows, found, way, record, artifact.revision, artifact.path))
    found.rows = sorted(rows.values(), key=lambda row: (row.group, row.country, -row.requests, row.project))
    search.told(found)
    return found


def _relations(directory: Path, found: Found) -> Iterator[Descent]:
    """Every relation in every record, once. Records are canonical JSON: what stands between two keys is cut out, and most of it was seen before."""
    seen: set[bytes] = set()
    for segment in segments(directory):
        for line in lines(segment.path):
            if not line.endswith(b"\n"):
                break  # being written, or torn
            if is_stub(line):
                continue
            at = line.find(_AT) + len(_AT)
            moment = line[at : line.find(b'"', at)].decode(errors="replace")
            found.begins = min(found.begins or moment, moment)
            found.records += 1
            start = line.find(_LINEAGE)
            stop = line.find(_LISTS, start)
            text = line[start + len(_LINEAGE) : stop]
            if min(start, stop) < 0 or text in seen:
                continue
            seen.add(text)
            try:
                for edge in json.loads(text):
                    child, parent = (parse_artifact(edge[end]).project for end in ("from", "to"))
                    yield Descent(child, parent, edge["relation"], edge["evidence"], edge.get("publisher") or "")
            except _UNREADABLE:
                found.unread += 1


def _given(rows: dict[tuple[object, ...], Received], found: Found, way: _Way, record: Mapping[str, Any], revision: str, path: str) -> Iterator[Received]:
    actor, at, project = record["actor"], record["at"], record["decision"]["project"]
    name, country = actor.get("name") or "", actor["country"] or ""
    found.requests += record["count"]
    found.unnamed += not name
    found.clients |= {name} - {""}
    for group in actor["groups"] or ("",):
        place = (project, way.publisher, way.how, way.via, group, country)
        row = rows.setdefault(place, Received(project, way.publisher, way.how, way.via, way.known_then, group, country, at, at, way.majority))
        row.known_then = row.known_then or way.known_then
        row.first, row.last = min(row.first, at), max(row.last, at)
        row.requests += record["count"]
        row.unnamed += not name
        row.clients |= {name} - {""}
        row.revisions.add(revision)
        row.files.add(f"{revision}#{path}")
        row.country_sources.add(actor.get("country_source", ""))
        yield row


def _counted(rows: dict[tuple[object, ...], Received], found: Found, search: _Search, row: Mapping[str, Any], since: datetime | None) -> None:
    """What was removed after its time, by day: of whom is not known any more, nor what the record had of its lineage."""
    if since is not None and row["day"] < since.date().isoformat():
        return
    try:
        artifact = parse_artifact(row["artifact"])
    except _UNREADABLE:
        return
    facts = {"publisher": {"value": row["publisher"], "confidence": ""}} if row["publisher"] else {}
    at, project = f"{row['day']}T00:00:00Z", str(artifact.project)
    way = search.way(artifact.project, {"at": at, "decision": {"project": project, "facts": facts, "lineage": []}}) if artifact.path else None
    if way is None:
        return
    found.requests += row["requests"]
    found.unnamed += row["events"]
    for group in row["groups"] or ("",):
        place = (project, way.publisher, way.how, way.via, group, row["country"])
        one = rows.setdefault(place, Received(project, way.publisher, way.how, way.via, way.known_then, group, row["country"], at, at, way.majority))
        one.first, one.last = min(one.first, at), max(one.last, at)
        one.requests += row["requests"]
        one.unnamed += row["events"]
        one.revisions.add(artifact.revision)
        one.files.add(f"{artifact.revision}#{artifact.path}")


class _Search:
    """How each project belongs to the publisher; every answer is kept."""

    def __init__(self, top: Publisher, catalogue: Catalogue, lineage: Lineage, pedigree: Pedigree, now: datetime, *, minority: bool) -> None:
        self._top, self._catalogue, self._lineage, self._pedigree = top, catalogue, lineage, pedigree
        self._minority = minority
        self._changes = Ownership(catalogue, majority=True).dates
        every = ties(catalogue, top, now.date())
        self._today = self._chosen(every)
        self._left_out = tuple(sorted(set(every) - set(self._today)))
        self._then: dict[int, dict[str, Tie]] = {bisect_right(self._changes, now): {}}
        self._ways: dict[tuple[object, ...], _Way | None] = {}
        self._projects: dict[str, tuple[bool, bool]] = {}

    def told(self, found: Found) -> None:
        """Say what was seen of projects."""
        found.left_out = self._left_out
        found.received = len(self._projects)
        found.no_lineage = sum(lacks for lacks, _ in self._projects.values())
        found.no_publisher = sum(lacks for _, lacks in self._projects.values())

    def way(self, project: Project, record: Mapping[str, Any]) -> _Way | None:
        """How what was received belongs to the publisher: by who published it, else by what it was made from."""
        decision = record["decision"]
        facts = decision["facts"]
        recorded = str((facts.get("publisher") or {}).get("value") or "")
        claims = tuple((facts.get("claims") or {}).get("value") or ())
        then = self._owned_then(datetime.fromisoformat(record["at"]))
        edges = tuple((edge["to"], edge.get("publisher") or "") for edge in decision["lineage"])
        place = (decision["project"], recorded, claims, edges, id(then))
        if place not in self._ways:
            named = self._publishers(project, recorded, record, claimed=bool(claims))
            self._ways[place] = way = self._found(project, recorded, named, edges, then)
            known = way is not None or bool(edges) or project.kind is not Kind.MODEL or self._pedigree.known(project) or self._is_root(named)
            silent, strange = self._projects.get(decision["project"], (True, True))
            self._projects[decision["project"]] = (silent and not known, strange and not named and way is None)
        return self._ways[place]

    def _is_root(self, named: Mapping[str, str]) -> bool:
        """Whether a model that names no parent is its publisher's own work, as `policy.derive` takes it."""
        known = [self._catalogue.by_id(name) for name in named]
        return any(one is not None and one.role != "repackager" for one in known)

    def _found(self, project: Project, recorded: str, named: Mapping[str, str], edges: tuple[tuple[str, str], ...], then: Mapping[str, Tie]) -> _Way | None:
        wanted = {**then, **self._today}
        for name, grade in named.items():
            if name in wanted:
                tie = wanted[name]
                hint = (f"that {name} published it is a hint (grade {HINT})",) if grade == HINT else ()
                return _Way(name, "owned" if tie.steps else "published", hint + tie.steps + self._past(name), name == recorded, tie.majority)
        way = self._pedigree.path(project, wanted)
        if way is None:
            return None
        tie, steps = way
        known = any(name in wanted for to, said in edges for name in publishers(parse_artifact(to).project, said, self._catalogue))
        via = (*map(str, steps), *tie.steps, *self._past(tie.publisher.id))
        return _Way(tie.publisher.id, "lineage-owned" if tie.steps else "lineage", via, known, tie.majority)

    def _publishers(self, project: Project, recorded: str, record: Mapping[str, Any], *, claimed: bool) -> dict[str, str]:
        """Who published it, recorded and by today's catalogue, with the grade of that."""
        found = {recorded: str(record["decision"]["facts"]["publisher"]["confidence"])} if recorded else {}
        if project.ecosystem == PYPI and claimed:  # then the accounts tell, as they are read today
            today = rederived(case_of(record, self._catalogue), self._catalogue, self._lineage).publisher
            if today is not None and today.value is not None:
                found.setdefault(today.value.id, today.confidence)
        elif (stated := self._catalogue.publisher_of(project)) is not None:
            found.setdefault(stated[0].id, stated[1])
        return found

    def _owned_then(self, at: datetime) -> Mapping[str, Tie]:
        place = bisect_right(self._changes, at)
        if place not in self._then:
            self._then[place] = self._chosen(ties(self._catalogue, self._top, at.date()))
        return self._then[place]

    def _past(self, name: str) -> tuple[str, ...]:
        return () if name in self._today else ("not any more today",)

    def _chosen(self, found: Mapping[str, Tie]) -> dict[str, Tie]:
        return {name: tie for name, tie in found.items() if tie.majority or self._minority}
