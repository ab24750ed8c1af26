"""What policy may judge: facts about an artifact, each with its value, source and confidence.

`None` where a fact should be means it is unknown - never that all is well. `pending` means that it is still being
found out, which is not the same as unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Generic, TypeVar

from mirror.core.nouns import FileKind, Project

T = TypeVar("T")

#: Grades of evidence, best first: A an official document or an attested identity, A- an account of today, B a document that
#: names handle and country, C curated general knowledge, D a self-declared or inferred hint. They sort as texts.
GRADES = ("A", "A-", "B", "C", "D")


@dataclass(frozen=True, slots=True)
class Fact(Generic[T]):
    """One judged property. `value` None is unknown; `confidence` is a grade of `GRADES`."""

    value: T | None
    source: str = ""
    confidence: str = "A"
    pending: bool = False


@dataclass(frozen=True, slots=True)
class Country:
    """A country in which a publisher has a role: `registered`, `headquarters`, `operation`, `ultimate-parent`."""

    code: str
    role: str
    source: str
    as_of: date | None
    confidence: str


@dataclass(frozen=True, slots=True)
class Listing:
    """A publisher's place on an official list, with its dates (`until` exclusive, None = still listed)."""

    list: str
    source: str
    since: date | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """A share in a publisher. `share` in 1/10,000, None where unknown; held from `since` (inclusive) `until` (exclusive)."""

    id: str
    share: int | None
    source: str
    as_of: date | None
    since: date | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who stands behind a handle, from the catalogue (SURFACE 5). All handles are case-folded."""

    id: str
    entity: str
    kind: str
    role: str = "developer"
    parent: str | None = None
    aliases: tuple[str, ...] = ()
    handles: tuple[tuple[str, str], ...] = ()  # (hub, handle)
    projects: tuple[str, ...] = ()  # PyPI project names, normalised (PEP 503)
    packages: tuple[str, ...] = ()  # globs: a hint, not proof
    countries: tuple[Country, ...] = ()
    owners: tuple[Owner, ...] = ()
    listings: tuple[Listing, ...] = ()
    web: tuple[str, ...] = ()
    note: str = ""
    former: tuple[str, ...] = ()  # names that the entity had; among `aliases` too, as are those in `native`
    native: tuple[str, ...] = ()  # its own names in its own script
    identifiers: tuple[str, ...] = ()  # numbers of registers, `kind:value`, folded: `lei:...`, `reg:...`


@dataclass(frozen=True, slots=True)
class Ancestor:
    """One edge of a lineage: `child` was made from `project` by `relation`.

    `relation` is finetune, adapter, merge, quantized, distill, component or unknown. `evidence` is declared (a card or tag),
    inferred (from files or prose), or catalogue (the shipped lineage). `confidence` in 1/10,000. `publisher` and `countries` are those of
    `project` (None: unknown), `publisher_grade` how well it is known that they are (`GRADES`). `missing` says why the walk stopped here without reaching a root (`gone`, `gated`,
    `depth`, `loop`), else empty.
    """

    project: Project
    child: Project
    relation: str
    evidence: str
    confidence: int
    depth: int
    publisher: Publisher | None = None
    countries: tuple[str, ...] | None = None
    missing: str = ""
    publisher_grade: str = "A"


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that is known of one artifact (DESIGN 3). A field that is None was not asked for or is unknown.

    `origin` is the union of the publisher's countries and every ancestor's, sorted. `ancestors` is the whole walk,
    nearest first; `lineage_known` is False where the walk ended early or the project declares nothing.
    `blocked_countries` are those to which the hub itself refuses the files (`*` where it does not say which).
    """

    publisher: Fact[Publisher] | None = None
    publisher_countries: Fact[tuple[str, ...]] | None = None
    origin: Fact[tuple[str, ...]] | None = None
    ancestors: Fact[tuple[Ancestor, ...]] | None = None
    license: Fact[tuple[str, ...]] | None = None
    file_kind: Fact[FileKind] | None = None
    size: Fact[int] | None = None
    published_at: Fact[datetime] | None = None
    gated: Fact[str] | None = None  # "false", "auto", "manual"
    yanked: Fact[bool] | None = None
    status: Fact[str] | None = None  # PEP 792 marker or the hub's: active, archived, quarantined, deprecated, disabled
    attested: Fact[str] | None = None
    scan: Fact[str] | None = None
    vulnerabilities: Fact[tuple[str, ...]] | None = None
    direct_urls: Fact[tuple[str, ...]] | None = None
    blocked_countries: Fact[tuple[str, ...]] | None = None
    #: Names by which lists may know the publisher beyond the catalogue (declared author, organisation).
    names: Fact[tuple[str, ...]] | None = None
    #: What an index and an uploader say of who published a file (`policy.accounts`).
    claims: Fact[tuple[str, ...]] | None = None
    #: Of something refused: what could be taken instead, `name: why` each, the best first (`policy.substitutes`).
    alternatives: Fact[tuple[str, ...]] | None = None
    #: Digests (sha256 hex) of the pages that were judged, for the evidence archive.
    evidence: tuple[str, ...] = field(default=())
