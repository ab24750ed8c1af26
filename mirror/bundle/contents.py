"""What a bundle says: one row a line, in canonical JSON, of names, pages, rights and editions. Pure.

Bytes lie beside it as parts by SHA-256; a row speaks of them by digest. Hubs are named as the sender calls them: `hub`
rows tell the dialect, by which a receiver finds its own. A right is stated of the organisation as a whole (`grant`),
never of one person's credential: fingerprints mean nothing in another installation, and are nobody's business there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, get_args, get_type_hints

from mirror.core.canonical import canonical
from mirror.core.errors import InputError, Problem
from mirror.core.nouns import Artifact, Blob, Digest, Document, DocumentKey, Entry, Kind, Project
from mirror.core.ports import Grant, Place
from mirror.decode import decode
from mirror.hubs.huggingface.access import BUNDLED
from mirror.proxy.documents import SERVICE_SCOPE

#: Media types of the rows, of a page that they speak of, of any file, and of a licence text of an acquisition.
ROWS: Final = "application/vnd.entrepot.contents.v1+jsonl"
PAGE: Final = "application/vnd.entrepot.page.v1"
FILE: Final = "application/octet-stream"
LICENCE: Final = "application/vnd.entrepot.licence.v1"
#: The kind of evidence that a signed pack of publishers is.
PACK: Final = "pack"
#: Under which scope the organisation's own pages and rights are kept.
ORGANISATION: Final = SERVICE_SCOPE

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_DIGEST: Final = re.compile(r"[a-z0-9-]{1,20}:[0-9a-f]{8,128}")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_UNSENDABLE: Final = re.compile("[\x00\r\n]")

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ArtifactRow:
    """An artifact, all of its name."""

    ecosystem: str
    kind: Kind
    name: str
    hub: str
    hub_id: str | None
    revision: str
    path: str


@dataclass(frozen=True, slots=True)
class HubRow:
    """A hub that rows name: its dialect, and the first upstream, for people."""

    hub: str
    dialect: str
    upstream: str
    row: Literal["hub"] = "hub"


@dataclass(frozen=True, slots=True)
class EntryRow:
    """A name joined to bytes (`core.nouns.Entry`). Times are microseconds since 1970 UTC here and below."""

    artifact: ArtifactRow
    digest: str
    size: int
    headers: Headers
    stored_at: int
    declared: str | None
    restriction: str
    row: Literal["entry"] = "entry"


@dataclass(frozen=True, slots=True)
class PageRow:
    """A page (`core.nouns.Document`); its bytes are the part of this SHA-256 (hex). `scope` is "" or `service`.

    `about` is the package URL of the project that it tells of.
    """

    hub: str
    target: str
    scope: str
    variant: str
    status: int
    headers: Headers
    sha256: str
    size: int
    fetched_at: int
    max_age: int | None
    about: str
    row: Literal["page"] = "page"


@dataclass(frozen=True, slots=True)
class GrantRow:
    """A right to a project's contents: of the organisation (`service`), or what the hub last refused to everybody ("")."""

    project: ArtifactRow
    credential: str
    allowed: bool
    public: bool
    at: int
    status: int
    code: str
    message: str
    cause: str
    row: Literal["grant"] = "grant"


@dataclass(frozen=True, slots=True)
class PlaceRow:
    """An upstream path that stands for an artifact (`core.ports.Place`)."""

    path: str
    artifact: ArtifactRow
    digest: str | None
    size: int | None
    url: str
    published_at: int | None
    row: Literal["place"] = "place"


@dataclass(frozen=True, slots=True)
class PinRow:
    """What is to be kept at the receiver as it is at the sender."""

    pattern: str
    row: Literal["pin"] = "pin"


@dataclass(frozen=True, slots=True)
class ListFile:
    """A file of a list's edition: its name where it came from, and the part that it is."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class ListRow:
    """The edition of a list in force at the sender. `confirmed_at` is when its source last had nothing newer."""

    name: str
    loader: str
    edition: str
    entries: int
    files: tuple[ListFile, ...]
    confirmed_at: int | None
    row: Literal["list"] = "list"


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """What the sender judged with, as a part: `policy`, `catalogue`, `lineage` and `rulebook` are evidence and never put in force.

    `pack` is the signed pack of publishers, which a receiver weighs by its own signatures.
    """

    kind: str
    sha256: str
    size: int
    row: Literal["evidence"] = "evidence"


@dataclass(frozen=True, slots=True)
class TextRow:
    """A licence file: its path where it came from, and the part that it is."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class AcquisitionRow:
    """How an artifact came to the sender (`core.acquisitions.Acquisition`). `sender` is whose transfer it was, "" for the sender's own."""

    artifact: ArtifactRow
    digest: str
    size: int
    at: int
    upstream: str
    public: bool
    restriction: str
    gated: str
    declared: str | None
    licenses: tuple[str, ...] | None
    texts: tuple[TextRow, ...]
    evidence: tuple[str, ...]
    sender: str
    row: Literal["acquisition"] = "acquisition"


Row = HubRow | EntryRow | PageRow | GrantRow | PlaceRow | PinRow | ListRow | EvidenceRow | AcquisitionRow
_KINDS: Final[Mapping[str, type]] = {get_args(get_type_hints(kind)["row"])[0]: kind for kind in get_args(Row)}


# --- lines --------------------------------------------------------------------------------------------------------


def line(row: Row) -> bytes:
    """The one byte form of a row, with its newline."""
    return canonical(_plain(row)) + b"\n"


def lines(rows: Iterable[Row]) -> bytes:
    """All rows, each once, in the order of their bytes: the same contents are the same bytes."""
    return b"".join(sorted({line(row) for row in rows}))


def read(data: bytes, source: str, most: int = 200) -> tuple[Row, ...]:
    """The rows of `lines`. Raises `InputError` with the problems of every line, the first `most` of them."""
    found: list[Row] = []
    problems: list[Problem] = []
    for number, one in enumerate(data.splitlines(), 1):
        try:
            found.append(_read(one, source, f"line {number}"))
        except InputError as error:
            problems += error.problems
        if len(problems) >= most:
            break
    if problems:
        raise InputError(problems[:most])
    return tuple(found)


def _read(data: bytes, source: str, place: str) -> Row:
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError):
        raise InputError([Problem(source, place, "is no JSON")]) from None
    kind = _KINDS.get(raw.get("row", "")) if isinstance(raw, dict) and isinstance(raw.get("row"), str) else None
    if kind is None:
        raise InputError([Problem(source, place, f"is no row that this release knows: {', '.join(_KINDS)}")])
    row: Row = decode(kind, raw, source, place)
    if problems := [Problem(source, f"{place}.{where}", said) for where, said in _faults(row)]:
        raise InputError(problems)
    return row


def _faults(row: Row) -> Iterator[tuple[str, str]]:
    """What no index may be given: digests that are none, headers that break a message, negative numbers."""
    for part in fields(row):
        value = getattr(row, part.name)
        if part.name == "sha256" and not _SHA256.fullmatch(value):
            yield part.name, "is no SHA-256"
        elif part.name in ("digest", "declared") and value is not None and not _DIGEST.fullmatch(value):
            yield part.name, "is no digest"
        elif (part.name in ("size", "entries", "status") and value is not None and not 0 <= value < 2**53) or (part.name in ("at", "stored_at", "fetched_at", "published_at", "confirmed_at") and value is not None and abs(value) > 2**53):
            yield part.name, "is out of range"
        elif part.name == "headers" and any(not _HEADER.fullmatch(name) or _UNSENDABLE.search(text) for name, text in value):
            yield part.name, "hold what no header field can"
    if isinstance(row, EntryRow) and not row.digest.startswith("sha256:"):
        yield "digest", "is no SHA-256"
    if isinstance(row, PageRow) and row.scope not in ("", ORGANISATION):
        yield "scope", "is neither empty nor 'service'"
    if isinstance(row, GrantRow) and row.credential not in ("", ORGANISATION):
        yield "credential", "is neither empty nor 'service'"
    if isinstance(row, AcquisitionRow) and not all(map(_SHA256.fullmatch, (*row.evidence, *(text.sha256 for text in row.texts)))):
        yield "texts", "or evidence hold what is no SHA-256"
    if isinstance(row, ListRow):
        yield from (("files", "hold what is no SHA-256") for file in row.files if not _SHA256.fullmatch(file.sha256))


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "__dataclass_fields__"):
        return {part.name: _plain(getattr(value, part.name)) for part in fields(value)}
    return str(value) if isinstance(value, Kind) else value


# --- rows of nouns, and nouns of rows -----------------------------------------------------------------------------


def micros(when: datetime) -> int:
    """Whole microseconds since 1970 UTC."""
    return (when - _EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    """What `micros` gave."""
    return _EPOCH + timedelta(microseconds=value)


def artifact_row(artifact: Artifact) -> ArtifactRow:
    """The row of an artifact."""
    project = artifact.project
    return ArtifactRow(project.ecosystem, project.kind, project.name, project.hub, project.hub_id, artifact.revision, artifact.path)


def artifact_of(row: ArtifactRow, hubs: Mapping[str, str]) -> Artifact:
    """The artifact, on the receiver's hub. `hubs` gives our name of each of the sender's. Raises `KeyError`."""
    return Artifact(Project(row.ecosystem, row.kind, row.name, hubs[row.hub], row.hub_id), row.revision, row.path)


def entry_row(entry: Entry) -> EntryRow:
    """The row of an entry."""
    declared = None if entry.declared is None else str(entry.declared)
    return EntryRow(
        artifact_row(entry.artifact), str(entry.blob.digest), entry.blob.size, entry.headers, micros(entry.stored_at), declared, entry.restriction
    )


def entry_of(row: EntryRow, hubs: Mapping[str, str], now: datetime) -> Entry:
    """The entry, stored `now`. Raises `KeyError`."""
    declared = None if row.declared is None else digest_of(row.declared)
    return Entry(artifact_of(row.artifact, hubs), Blob(digest_of(row.digest), row.size), row.headers, now, declared, row.restriction)


def page_row(document: Document, scope: str, about: str) -> PageRow:
    """The row of a page about a project, to be kept under `scope`."""
    key, age = document.key, None if document.max_age is None else document.max_age // _MICROSECOND
    return PageRow(
        key.hub, key.target, scope, key.variant, document.status, document.headers, document.digest.hex, len(document.body),
        micros(document.fetched_at), age, about,
    )  # fmt: skip


def page_of(row: PageRow, body: bytes, hubs: Mapping[str, str]) -> Document:
    """The page. Raises `KeyError`."""
    age = None if row.max_age is None else timedelta(microseconds=row.max_age)
    key = DocumentKey(hubs[row.hub], row.target, row.scope, row.variant)
    return Document(key, row.status, row.headers, body, Digest("sha256", row.sha256), moment(row.fetched_at), age)


def grant_row(grant: Grant, project: Project) -> GrantRow:
    """The row of a right to `project`."""
    told = (grant.status, grant.code, grant.message, grant.cause)
    return GrantRow(artifact_row(Artifact(project, "", "")), grant.credential, grant.allowed, grant.public, micros(grant.at), *told)


def grant_of(row: GrantRow, hubs: Mapping[str, str]) -> Grant:
    """The right. Raises `KeyError`."""
    project = artifact_of(row.project, hubs).project
    return Grant(row.credential, project.identity, row.allowed, row.public, moment(row.at), row.status, row.code, row.message, row.cause)


def place_row(place: Place) -> PlaceRow:
    """The row of a place."""
    published = None if place.published_at is None else micros(place.published_at)
    return PlaceRow(place.path, artifact_row(place.artifact), None if place.digest is None else str(place.digest), place.size, place.url, published)


def place_of(row: PlaceRow, hubs: Mapping[str, str]) -> Place:
    """The place. Raises `KeyError`."""
    published = None if row.published_at is None else moment(row.published_at)
    digest = None if row.digest is None else digest_of(row.digest)
    return Place(hubs[row.artifact.hub], row.path, artifact_of(row.artifact, hubs), digest, row.size, row.url, published)


def digest_of(text: str) -> Digest:
    """A digest from `algorithm:hex`."""
    algorithm, _, digits = text.partition(":")
    return Digest(algorithm, digits)


def spoken_of(row: Row) -> tuple[str, ...]:
    """The SHA-256 (hex) of every part that a row needs beside it."""
    match row:
        case EntryRow():
            return (row.digest.partition(":")[2],)
        case PageRow() | EvidenceRow():
            return (row.sha256,)
        case ListRow():
            return tuple(file.sha256 for file in row.files)
        case AcquisitionRow():
            return tuple(text.sha256 for text in row.texts)
        case _:
            return ()


def our_hubs(rows: Iterable[Row], ours: Mapping[str, str]) -> Mapping[str, str]:
    """The sender's name of each hub -> ours: the one of that name and dialect, else our only one of the dialect.

    `ours` is dialect by name. A hub that we have none for is left out.
    """
    found: dict[str, str] = {}
    for row in rows:
        if isinstance(row, HubRow):
            same = [name for name, dialect in ours.items() if dialect == row.dialect]
            chosen = row.hub if row.hub in same else same[0] if len(same) == 1 else None
            if chosen is not None:
                found[row.hub] = chosen
    return found


def title(artifact: Artifact) -> str:
    """A relative path that tells people and scanners what the bytes of an artifact are."""
    project = artifact.project
    return "/".join(map(_tame, (project.ecosystem, f"{project.kind}s", *project.name.split("/"), artifact.revision, *artifact.path.split("/"))))


def page_title(row: PageRow) -> str:
    """The same of a page."""
    return "/".join(_tame(part) for part in ("pages", row.hub, *row.target.partition("?")[0].strip("/").split("/")))


def _tame(part: str) -> str:
    """A segment that every file system takes: nothing that climbs, hides or ends a line."""
    text = "".join(one if one.isprintable() and one not in '\\/:*?"<>|' else "_" for one in part)[:200]
    return f"_{text.lstrip('.')}" if text.startswith(".") or not text else text


def stamped(row: GrantRow, created: datetime) -> GrantRow:
    """A right as of the bundle that states it."""
    return replace(row, at=micros(created), cause=BUNDLED)


def without(rows: Sequence[Row], known: frozenset[bytes]) -> tuple[Row, ...]:
    """The rows whose lines are not among `known`."""
    return tuple(row for row in rows if line(row) not in known)


__all__ = ["BUNDLED", "FILE", "ORGANISATION", "PAGE", "ROWS", "Row", "line", "lines", "read"]
