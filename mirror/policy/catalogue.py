"""Who stands behind a handle: the publishers' catalogue, indexed.

Pure. Files, overlays and decoding are `mirror.lists.loading`'s; this module checks what only the whole can show
(duplicates, unknown parents, loops) and answers look-ups from dictionaries.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from fnmatch import translate
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from mirror.core.canonical import canonical, day
from mirror.core.errors import InputError, Problem
from mirror.core.facts import GRADES, Country, Publisher
from mirror.core.nouns import PYPI, Project

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

#: From this share (1/10,000) upward an owner counts as a parent: OFAC's 50 percent rule counts exactly half too.
MAJORITY: Final = 5_000
#: A `packages` glob is a hint about names, never evidence of who published (pypi metadata is self-declared).
HINT: Final = "D"


@dataclass(frozen=True, slots=True)
class Stated:
    """A publisher as one pack states it, with the place where a person finds it.

    `confidence` is the grade of the evidence that the handles and projects belong to the entity;
    `project_confidence` overrides it for single PyPI projects.
    """

    publisher: Publisher
    source: str = ""
    place: str = ""
    confidence: str = "B"
    project_confidence: tuple[tuple[str, str], ...] = ()


def folded(text: str) -> str:
    """The form in which names and handles are compared: NFKC, case-folded, one space between words."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def normalised(name: str) -> str:
    """A PyPI project name as PEP 503 normalises it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def weaker(one: str, other: str) -> str:
    """The weaker of two grades of `GRADES`."""
    return max(one, other, key=GRADES.index)


class Catalogue:
    """An immutable snapshot of all publishers. Every look-up is by dictionary; nothing here does I/O."""

    __slots__ = ("_below", "_countries", "_domains", "_globs", "_grades", "_handles", "_ids", "_names", "_projects", "content", "digest", "doubts", "publishers")

    publishers: tuple[Publisher, ...]
    #: The canonical content, whatever the order of files and entries: what the evidence archive keeps.
    content: bytes
    #: SHA-256 (hex) of `content`.
    digest: str
    #: What is permitted and probably not meant, with its places.
    doubts: tuple[Problem, ...]

    def __init__(self, stated: Sequence[Stated]) -> None:
        """Index publishers that `build` has found sound; use `build`."""
        ordered = sorted(stated, key=lambda one: one.publisher.id)
        self.publishers = tuple(one.publisher for one in ordered)
        self._ids = {publisher.id: publisher for publisher in self.publishers}
        self._grades = {one.publisher.id: one.confidence for one in ordered}
        self._handles = {
            (hub, folded(handle)): publisher for publisher in self.publishers for hub, handle in publisher.handles
        }
        self._projects: dict[str, tuple[Publisher, str]] = {}
        for one in ordered:
            grades = {normalised(name): grade for name, grade in one.project_confidence}
            for name in map(normalised, one.publisher.projects):
                self._projects[name] = (one.publisher, grades.get(name, one.confidence))
        self._globs = _globs(self.publishers)
        self._domains = {name: publisher for publisher in reversed(self.publishers) for name in publisher.web}
        self._names = _names(self.publishers)
        self._countries: dict[str, tuple[Country, ...]] = {}
        self._below: defaultdict[str, list[Publisher]] = defaultdict(list)
        for publisher in self.publishers:
            for parent in self.parents_of(publisher):
                self._below[parent.id].append(publisher)
        self.content = canonical([_record(one) for one in ordered])
        self.digest = sha256(self.content).hexdigest()
        self.doubts = ()

    @classmethod
    def build(cls, stated: Sequence[Stated]) -> Catalogue:
        """The catalogue of all `stated` publishers, overlays already applied.

        Raises `InputError` with every problem at once: duplicate ids, handles or projects of different publishers,
        unknown parents, loops of parents and majority owners. An owner that the catalogue does not know is a doubt: its
        share is kept and leads to nobody.
        """
        problems, doubts = cls.faults(stated)
        if problems:
            raise InputError(problems, doubts)
        catalogue = cls(stated)
        catalogue.doubts = doubts
        return catalogue

    @staticmethod
    def faults(stated: Sequence[Stated], unread: Collection[str] | None = ()) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
        """What is wrong with `stated` taken together, and the doubts.

        `unread` are ids of entries that could not be read, which are there all the same; None: nobody knows which those are.
        """
        ids = None if unread is None else {*unread, *(one.publisher.id for one in stated)}
        apart = [*_duplicates(stated), *_loops(stated)]
        return ((*apart, *_unknown_parents(stated, ids)), tuple(_unknown_owners(stated, ids))) if ids is not None else (tuple(apart), ())

    def publisher_of(self, project: Project) -> tuple[Publisher, str] | None:
        """Who publishes `project`, with the grade of that knowledge (`GRADES`); None where nobody knows.

        Hugging Face: by the owner's handle. PyPI: by exact project name; a `packages` glob gives grade D, a hint.
        """
        if project.ecosystem == PYPI:
            name = normalised(project.name)
            return self._projects.get(name) or self._hinted(name)
        publisher = self._handles.get((project.ecosystem, folded(project.owner)))
        return None if publisher is None else (publisher, self._grades[publisher.id])

    def by_id(self, publisher_id: str) -> Publisher | None:
        """The publisher with exactly this id."""
        return self._ids.get(publisher_id)

    def by_handle(self, hub: str, handle: str) -> Publisher | None:
        """The publisher with this handle on `hub` (`huggingface`, `pypi`, `github`, ...), in any case."""
        return self._handles.get((hub, folded(handle)))

    def by_domain(self, name: str) -> Publisher | None:
        """The publisher that states exactly this domain under `web`; of several the first by id."""
        return self._domains.get(folded(name))

    def entity(self, name_or_id: str) -> Publisher | None:
        """The first of `entities`: an id is unique, two entities of one name are told apart by id only."""
        return next(iter(self.entities(name_or_id)), None)

    def entities(self, name_or_id: str) -> tuple[Publisher, ...]:
        """All publishers that an id, or else an entity's exact name, or else an alias means; sorted by id."""
        own = self._ids.get(name_or_id)
        return (own,) if own is not None else self._names.get(folded(name_or_id), ())

    def grade_of(self, publisher: Publisher) -> str:
        """The grade of the link between this publisher's handles and its entity; D for a stranger."""
        return self._grades.get(publisher.id, HINT)

    def parents_of(self, publisher: Publisher) -> tuple[Publisher, ...]:
        """Every parent and majority owner, all the way up, nearest first. Loop-safe."""
        found: dict[str, Publisher] = {}
        queue = list(_above(publisher))
        for parent_id in queue:
            parent = self._ids.get(parent_id)
            if parent is not None and parent_id not in found and parent_id != publisher.id:
                found[parent_id] = parent
                queue.extend(_above(parent))
        return tuple(found.values())

    def below(self, publisher: Publisher) -> tuple[Publisher, ...]:
        """Every publisher that has this one among its `parents_of`, sorted by id: subsidiaries, attributed accounts."""
        return tuple(self._below.get(publisher.id, ()))

    def countries_of(self, publisher: Publisher) -> tuple[Country, ...]:
        """The publisher's own countries, then those of its parents and majority owners as `ultimate-parent`.

        What is inherited is no better known than the publisher's own link (`grade_of`). A parent's `operation`
        countries are left out: where a group has a branch is not where its subsidiary is from.
        """
        known = self._countries.get(publisher.id)
        if known is not None and self._ids.get(publisher.id) is publisher:
            return known
        found = {(country.code, country.role): country for country in publisher.countries}
        for parent in self.parents_of(publisher):
            for country in parent.countries:
                if country.role != "operation":
                    inherited = _inherited(country, parent, self.grade_of(publisher))
                    found.setdefault((inherited.code, inherited.role), inherited)
        countries = tuple(found.values())
        if self._ids.get(publisher.id) is publisher:
            self._countries[publisher.id] = countries
        return countries

    def search(self, text: str, limit: int = 20) -> tuple[Publisher, ...]:
        """Publishers with `text` in id, entity, alias, handle or project: exact first, then prefix, then anywhere."""
        wanted = folded(text)
        if not wanted:
            return ()
        ranked = ((min(map(_rank(wanted), _spellings(publisher))), publisher.id) for publisher in self.publishers)
        return tuple(self._ids[name] for rank, name in sorted(ranked)[:limit] if rank < _MISS)

    def _hinted(self, name: str) -> tuple[Publisher, str] | None:
        """The publisher whose glob with the longest literal start matches `name`."""
        for end in range(len(name), -1, -1):
            for pattern, publisher in self._globs.get(name[:end], ()):
                if pattern.match(name):
                    return publisher, HINT
        return None


_MISS: Final = 3


def _rank(wanted: str) -> Any:
    def rank(spelling: str) -> int:
        if spelling == wanted:
            return 0
        return 1 if spelling.startswith(wanted) else 2 if wanted in spelling else _MISS

    return rank


def _spellings(publisher: Publisher) -> Iterator[str]:
    yield publisher.id
    yield from map(folded, (publisher.entity, *publisher.aliases, *publisher.projects))
    yield from (folded(handle) for _hub, handle in publisher.handles)


def _names(publishers: Sequence[Publisher]) -> dict[str, tuple[Publisher, ...]]:
    """Folded name -> those whose entity it is, or where there is none those who have it as an alias."""
    entities: defaultdict[str, dict[str, Publisher]] = defaultdict(dict)
    aliases: defaultdict[str, dict[str, Publisher]] = defaultdict(dict)
    for publisher in publishers:
        entities[folded(publisher.entity)][publisher.id] = publisher
        entities[publisher.id.casefold()].setdefault(publisher.id, publisher)
        for alias in publisher.aliases:
            aliases[folded(alias)][publisher.id] = publisher
    return {name: tuple((entities.get(name) or aliases[name]).values()) for name in {**aliases, **entities}}


def _globs(publishers: Sequence[Publisher]) -> dict[str, list[tuple[re.Pattern[str], Publisher]]]:
    """Globs by their literal start, so that a look-up tries only those that can match."""
    table: defaultdict[str, list[tuple[re.Pattern[str], Publisher]]] = defaultdict(list)
    for publisher in publishers:
        for glob in publisher.packages:
            # PEP 503 first; `[` is a letter here: the grammar of these hints knows `*` and `?` only.
            form = normalised(glob)
            start = re.split(r"[*?]", form, maxsplit=1)[0]
            table[start].append((re.compile(translate(form.replace("[", "[[]"))), publisher))
    return dict(table)


def _above(publisher: Publisher) -> Iterator[str]:
    if publisher.parent is not None:
        yield publisher.parent
    # A share with an end is no parent's: whether it is held is a question of the day (`policy.ownership`).
    yield from (one.id for one in publisher.owners if one.share is not None and one.share >= MAJORITY and one.until is None)


def _inherited(country: Country, parent: Publisher, grade: str) -> Country:
    source = f"parent {parent.id}" + (f": {country.source}" if country.source else "")
    return Country(country.code, "ultimate-parent", source, country.as_of, weaker(country.confidence, grade))


def _duplicates(stated: Sequence[Stated]) -> Iterator[Problem]:
    owners: dict[tuple[str, str], Stated] = {}
    for one in stated:
        publisher = one.publisher
        claims = [("id", publisher.id, f"{one.place}.id")]
        claims += [
            (f"{hub} handle", folded(handle), f"{one.place}.handles.{hub}") for hub, handle in publisher.handles
        ]
        claims += [("PyPI project", normalised(name), f"{one.place}.projects") for name in publisher.projects]
        for what, value, place in claims:
            first = owners.setdefault((what, value), one)
            if first is not one:
                where = ": ".join(part for part in (first.source, first.place) if part)
                taken = f"{what} {value!r} is already taken by {first.publisher.id!r} ({where})"
                yield Problem(one.source, place, taken)


def _unknown_parents(stated: Sequence[Stated], ids: Collection[str]) -> Iterator[Problem]:
    for one in stated:
        parent = one.publisher.parent
        if parent is not None and parent not in ids:
            yield Problem(one.source, f"{one.place}.parent", f"{parent!r} is no publisher of the catalogue")


def _unknown_owners(stated: Sequence[Stated], ids: Collection[str]) -> Iterator[Problem]:
    for one in stated:
        for number, owner in enumerate(one.publisher.owners):
            if owner.id not in ids:
                place = f"{one.place}.owners[{number}].id"
                yield Problem(one.source, place, f"{owner.id!r} is no publisher of the catalogue")


def _loops(stated: Sequence[Stated]) -> Iterator[Problem]:
    """Loops of parents and majority owners, each where it closes (minority cross-holdings are legal and common)."""
    by_id = {one.publisher.id: one for one in stated}
    done: set[str] = set()
    for start in sorted(by_id):
        path = {start: iter(_above(by_id[start].publisher))}
        while path:
            name, rest = next(reversed(path.items()))
            parent = next(rest, None)
            if parent is None:
                done.add(name)
                del path[name]
            elif parent in path:
                chain = [*path][[*path].index(parent) :]
                place = f"{by_id[name].place}.parent"
                message = f"parents and majority owners form a loop: {' -> '.join([*chain, parent])}"
                yield Problem(by_id[name].source, place, message)
            elif parent not in done and parent in by_id:
                path[parent] = iter(_above(by_id[parent].publisher))


def _record(one: Stated) -> dict[str, Any]:
    """What the digest covers: everything that a decision could rest on."""
    publisher = one.publisher
    return {
        "id": publisher.id, "entity": publisher.entity, "kind": publisher.kind, "role": publisher.role,
        "parent": publisher.parent, "aliases": publisher.aliases, "handles": publisher.handles,
        "projects": publisher.projects, "packages": publisher.packages, "web": publisher.web, "note": publisher.note,
        "identifiers": publisher.identifiers,
        "confidence": one.confidence, "project_confidence": one.project_confidence,
        "countries": [[c.code, c.role, c.source, day(c.as_of), c.confidence] for c in publisher.countries],
        "owners": [[o.id, o.share, o.source, day(o.as_of), day(o.since), day(o.until)] for o in publisher.owners],
        "listings": [[x.list, x.source, day(x.since), day(x.until)] for x in publisher.listings],
    }  # fmt: skip
