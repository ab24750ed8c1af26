"""Packs of publishers as they are written (SURFACE 5), and how one overlays another.

An entry that states `entity` is a whole entry and replaces an earlier one of its id. An entry without it amends the
earlier one: a key replaces that key, a `+key` adds to that list. `+key` in a whole entry adds to the earlier list too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from mirror.core.errors import InputError, Problem
from mirror.core.facts import Country, Listing, Owner, Publisher
from mirror.decode import decode
from mirror.policy.catalogue import Stated, folded, normalised
from mirror.policy.countries import CODES
from mirror.policy.entries import identifier

Grade = Literal["A", "B", "C", "D"]
_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
#: The hubs whose handles a pack may state. A misspelt hub would silently never match.
HUBS: Final = ("huggingface", "pypi", "github", "gitlab", "modelscope")


@dataclass(frozen=True, slots=True)
class CountryEntry:
    """A country as written. `code` false is YAML 1.1's reading of an unquoted `NO`."""

    code: str | bool
    role: Literal["registered", "headquarters", "operation", "ultimate-parent"] = "headquarters"
    source: str = ""
    as_of: date | None = None
    confidence: Grade = "B"


@dataclass(frozen=True, slots=True)
class OwnerEntry:
    """An owner as written; `share` from 0 to 1, absent where unknown."""

    id: str
    share: float | None = None
    source: str = ""
    as_of: date | None = None
    since: Annotated[date | None, Field(alias="from")] = None
    until: date | None = None


@dataclass(frozen=True, slots=True)
class ListingEntry:
    """A place on a list as written."""

    list: str
    source: str = ""
    since: Annotated[date | None, Field(alias="from")] = None
    until: date | None = None
    as_of: date | None = None
    confidence: Grade = "B"


@dataclass(frozen=True, slots=True)
class ProjectEntry:
    """A PyPI project with evidence of its own."""

    name: str
    confidence: Grade = "B"
    source: str = ""


Handles = Mapping[str, tuple[str, ...]]
Projects = Mapping[Literal["pypi"], tuple[str | ProjectEntry, ...]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A publisher as written. None is a key that is not there."""

    id: str
    entity: str | None = None
    kind: Literal["company", "university", "government", "nonprofit", "community", "individual"] | None = None
    role: Literal["developer", "repackager"] | None = None
    parent: str | None = None
    aliases: tuple[str, ...] | None = None
    former: tuple[str, ...] | None = None
    native: tuple[str, ...] | None = None
    handles: Handles | None = None
    projects: Projects | None = None
    packages: tuple[str, ...] | None = None
    countries: tuple[CountryEntry, ...] | None = None
    owners: tuple[OwnerEntry, ...] | None = None
    listings: tuple[ListingEntry, ...] | None = None
    web: tuple[str, ...] | None = None
    identifiers: tuple[str, ...] | None = None
    note: str | None = None
    confidence: Grade | None = None
    add_aliases: Annotated[tuple[str, ...] | None, Field(alias="+aliases")] = None
    add_former: Annotated[tuple[str, ...] | None, Field(alias="+former")] = None
    add_native: Annotated[tuple[str, ...] | None, Field(alias="+native")] = None
    add_handles: Annotated[Handles | None, Field(alias="+handles")] = None
    add_projects: Annotated[Projects | None, Field(alias="+projects")] = None
    add_packages: Annotated[tuple[str, ...] | None, Field(alias="+packages")] = None
    add_countries: Annotated[tuple[CountryEntry, ...] | None, Field(alias="+countries")] = None
    add_owners: Annotated[tuple[OwnerEntry, ...] | None, Field(alias="+owners")] = None
    add_listings: Annotated[tuple[ListingEntry, ...] | None, Field(alias="+listings")] = None
    add_web: Annotated[tuple[str, ...] | None, Field(alias="+web")] = None
    add_identifiers: Annotated[tuple[str, ...] | None, Field(alias="+identifiers")] = None


@dataclass(frozen=True, slots=True)
class Pack:
    """One file of publishers."""

    version: Literal[1]
    publishers: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class _Placed:
    entry: Entry
    source: str
    place: str


_ADDABLE: Final = ("aliases", "former", "native", "handles", "projects", "packages", "countries", "owners", "listings", "web", "identifiers")


@dataclass(slots=True)
class Read:
    """What packs say: publishers, faults, and the ids of entries that could not be read (None: nobody knows which)."""

    publishers: list[Stated] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unread: set[str] | None = field(default_factory=set)


def state(layers: Sequence[Sequence[tuple[str, Any]]]) -> list[Stated]:
    """All publishers of `layers`, each a sequence of (source, raw YAML object), later layers over earlier ones.

    Raises `InputError` with every problem of every pack.
    """
    found = read(layers)
    if found.problems:
        raise InputError(found.problems)
    return found.publishers


def read(layers: Sequence[Sequence[tuple[str, Any]]], *, whole: bool = True) -> Read:
    """As `state`, with the faults beside what is sound: an entry of the wrong shape is left out, the others are read.

    Without `whole` there are packs that could not be read at all: entries may overlay what nobody sees.
    """
    found = Read(unread=set() if whole else None)
    problems = found.problems
    merged: dict[str, _Placed] = {}
    for layer in layers:
        stated: dict[str, _Placed] = {}
        for placed in _decoded(layer, found):
            name = placed.entry.id
            if name in stated:
                first = stated[name]
                problems.append(_problem(placed, "id", f"{name!r} is stated twice (first: {first.source}: {first.place})"))
                continue
            stated[name] = placed
        for name, placed in stated.items():
            if name not in merged and placed.entry.entity is None and (found.unread is None or name in found.unread):
                continue  # it amends what could not be read
            merged[name] = _over(merged.get(name), placed, problems)
    found.publishers = [_stated(placed, problems) for placed in merged.values()]
    return found


def _decoded(layer: Sequence[tuple[str, Any]], found: Read) -> Iterator[_Placed]:
    for source, raw in layer:
        try:
            entries: Sequence[Entry | None] = decode(Pack, raw, source).publishers
        except InputError as error:
            found.problems.extend(error.problems)
            entries = _sound(raw, found)
        for number, entry in enumerate(entries):
            if entry is not None:
                yield _Placed(entry, source, f"publishers[{number}]")


def _sound(raw: Any, found: Read) -> list[Entry | None]:
    """The entries of a pack with faults, None for each that has one; those are noted as unread."""
    rows = raw.get("publishers") if isinstance(raw, dict) else None
    if not isinstance(rows, list):
        found.unread = None
        return []
    entries: list[Entry | None] = []
    for row in rows:
        try:
            entries.append(decode(Entry, row, ""))
        except InputError:
            entries.append(None)
            name = row.get("id") if isinstance(row, dict) else None
            if not isinstance(name, str):
                found.unread = None
            elif found.unread is not None:
                found.unread.add(name)
    return entries


def _problem(placed: _Placed, key: str, message: str) -> Problem:
    return Problem(placed.source, f"{placed.place}.{key}", message)


def _over(below: _Placed | None, placed: _Placed, problems: list[Problem]) -> _Placed:
    """`placed` over an earlier entry of its id."""
    entry = placed.entry
    base = {} if below is None else _written(below.entry)
    written = {key: value for key, value in _written(entry).items() if not key.startswith("add_")}
    result = {**base, **written} if entry.entity is None else dict(written)
    for key in _ADDABLE:
        added = getattr(entry, f"add_{key}")
        if added is not None:
            if below is None:
                problems.append(_problem(placed, f"+{key}", f"there is no earlier {entry.id!r} to add to"))
            if key in written:
                problems.append(_problem(placed, f"+{key}", f"{key!r} and '+{key}' in one entry contradict each other"))
            result[key] = _added(base.get(key), added)
    return _Placed(Entry(**result), placed.source, placed.place)


def _written(entry: Entry) -> dict[str, Any]:
    return {one.name: value for one in fields(entry) if (value := getattr(entry, one.name)) is not None}


def _added(base: Any, added: Any) -> Any:
    if isinstance(added, Mapping):
        known: Mapping[str, Any] = base or {}
        return {key: _added(known.get(key), added.get(key, ())) for key in {**known, **added}}
    return [*(base or ()), *(item for item in added if item not in (base or ()))]


def _stated(placed: _Placed, problems: list[Problem]) -> Stated:
    """The noun of one merged entry, with what its types cannot show checked."""
    entry = placed.entry
    problems.extend(_faults(placed))
    projects = [
        one if isinstance(one, ProjectEntry) else ProjectEntry(one, entry.confidence or "B")
        for one in (entry.projects or {}).get("pypi", ())
    ]
    publisher = Publisher(
        id=entry.id, entity=entry.entity or "", kind=entry.kind or "", role=entry.role or "developer",
        parent=entry.parent, former=tuple(entry.former or ()), native=tuple(entry.native or ()),
        # Lists keep old names for years: who was renamed is found by every name it had.
        aliases=tuple(dict.fromkeys((*(entry.aliases or ()), *(entry.former or ()), *(entry.native or ())))), packages=tuple(entry.packages or ()),
        handles=tuple(
            dict.fromkeys((hub, folded(name)) for hub, names in sorted((entry.handles or {}).items()) for name in names)
        ),
        projects=tuple(dict.fromkeys(normalised(one.name) for one in projects)),
        countries=tuple(
            Country(str(one.code), one.role, one.source, one.as_of, one.confidence) for one in entry.countries or ()
        ),
        owners=tuple(
            Owner(one.id, None if one.share is None else round(one.share * 10_000), one.source, one.as_of, one.since, one.until)
            for one in entry.owners or ()
        ),
        listings=tuple(Listing(one.list, one.source, one.since, one.until) for one in entry.listings or ()),
        web=tuple(map(folded, entry.web or ())), note=entry.note or "",
        identifiers=tuple(map(identifier, entry.identifiers or ())),
    )  # fmt: skip
    own = tuple((normalised(one.name), one.confidence) for one in projects)
    return Stated(publisher, placed.source, placed.place, entry.confidence or "B", own)


def _faults(placed: _Placed) -> Iterator[Problem]:
    entry = placed.entry
    if not _ID.fullmatch(entry.id):
        yield _problem(placed, "id", f"{entry.id!r} is not made of a-z, 0-9, '.', '_', '-'")
    for key in ("entity", "kind"):
        if not getattr(entry, key):
            yield _problem(placed, key, "is required (only an overlay of an earlier entry may leave it out)")
    for hub in entry.handles or {}:
        if hub not in HUBS:
            yield _problem(placed, f"handles.{hub}", f"unknown hub; known are {', '.join(HUBS)}")
    for number, country in enumerate(entry.countries or ()):
        fault = _country_fault(country.code)
        if fault:
            yield _problem(placed, f"countries[{number}].code", fault)
    for number, owner in enumerate(entry.owners or ()):
        if owner.share is not None and not 0 <= owner.share <= 1:
            yield _problem(placed, f"owners[{number}].share", f"{owner.share} is not between 0 and 1")
        if owner.since and owner.until and owner.until <= owner.since:
            yield _problem(placed, f"owners[{number}].until", f"{owner.until} is not after 'from' {owner.since}")
    if any(_shares_on(entry.owners or (), day) > 1.0001 for day in (date.min, *(one.since for one in entry.owners or () if one.since))):
        yield _problem(placed, "owners", "the shares add up to more than 1")
    for number, text in enumerate(entry.identifiers or ()):
        if not identifier(text):
            yield _problem(placed, f"identifiers[{number}]", f"{text!r} is not kind:value (lei:..., reg:...) with five characters or more")
    for number, listing in enumerate(entry.listings or ()):
        if listing.since and listing.until and listing.until <= listing.since:
            yield _problem(placed, f"listings[{number}].until", f"{listing.until} is not after 'from' {listing.since}")
    yield from _empty(placed)


def _shares_on(owners: Sequence[OwnerEntry], day: date) -> float:
    """What is held on `day`; a ten-thousandth above 1 is the rounding of written decimals."""
    return sum(one.share or 0 for one in owners if (one.since is None or one.since <= day) and (one.until is None or day < one.until))


def _country_fault(code: str | bool) -> str:
    if isinstance(code, bool):
        return "is a truth value, not text: YAML reads an unquoted NO as false; write 'NO' in quotes for Norway"
    return "" if code in CODES else f"{code!r} is not an ISO 3166-1 alpha-2 code"


def _empty(placed: _Placed) -> Iterator[Problem]:
    """Names that are empty would match too much or nothing."""
    entry = placed.entry
    lists: list[tuple[str, tuple[str, ...]]] = [
        ("aliases", entry.aliases or ()), ("former", entry.former or ()), ("native", entry.native or ()), ("packages", entry.packages or ()), ("web", entry.web or ()),
        *((f"handles.{hub}", names) for hub, names in (entry.handles or {}).items()),
    ]  # fmt: skip
    for key, values in lists:
        for number, value in enumerate(values):
            if not value.strip():
                yield _problem(placed, f"{key}[{number}]", "is empty")
    for number, glob in enumerate(entry.packages or ()):
        if not glob.strip("*?- "):
            yield _problem(placed, f"packages[{number}]", f"{glob!r} would match every package")
