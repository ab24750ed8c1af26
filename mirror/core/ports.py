"""The ports: what the use-cases demand of the outside. At most six methods each; optional powers are further Protocols."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, runtime_checkable

from mirror.core.actor import Credential
from mirror.core.decision import Decision, Event, Sealed
from mirror.core.facts import Facts
from mirror.core.nouns import Artifact, Blob, Digest, Document, DocumentKey, Entry, Project, Span

# --- time ---------------------------------------------------------------------------------------------------------


class Clock(Protocol):
    """The one source of time; always timezone-aware UTC. Handed to whatever must know when it is."""

    def now(self) -> datetime:
        """The current instant."""


# --- upstream -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to a hub. `target` is the raw request target (`/api/…?…`, percent-encoding kept) or an absolute URL.

    An absolute URL must be on a permitted origin. `credential` goes to the first upstream's own origin only (P5);
    None sends nothing; `use_service_token` sends the organisation's own. `follow` permits redirects to permitted
    origins (never with a credential off the first origin); without it a 3xx is returned as it is. `idle` is for streams
    that may be silent for long (events, packs): seconds between two reads; it goes with a `patience` of its own.
    """

    target: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    credential: Credential | None = None
    use_service_token: bool = False
    follow: bool = False
    max_bytes: int = 64 * 1024 * 1024
    patience: float = 8.0  # seconds in all for a small answer; for a stream, until the headers and between two reads
    first_only: bool = False  # only the first upstream (gated content is never asked of a replica)
    idle: float | None = None
    xet: str = ""  # streams of large files: the raw target that permits having this file from the hub's Xet store instead
    avoid: str = ""  # the origin of an upstream to try after all others: what it sent last was wrong
    led_to: str = ""  # streams: the absolute URL to which the hub redirected this very target a moment ago; kept in memory only


@dataclass(frozen=True, slots=True)
class Answer:
    """A small answer, whole. `headers` names are lower-case, order and repetitions kept; body has no content coding."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    url: str  # where it ended, without query
    upstream: str  # origin of the upstream that was asked

    def header(self, name: str) -> str | None:
        """The first value of header `name` (lower case), or None."""
        return next((value for key, value in self.headers if key == name), None)


class Stream(Protocol):
    """A large answer: headers now, bytes as they come (identity coding only)."""

    status: int
    headers: tuple[tuple[str, str], ...]
    upstream: str

    def header(self, name: str) -> str | None:
        """The first value of header `name` (lower case), or None."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The body. Raises `UpstreamDown` when it stalls or is cut short of its announced length."""


@runtime_checkable
class Redirected(Protocol):
    """A `Stream` that tells where it came from in the end."""

    @property
    def location(self) -> str | None:
        """The absolute URL to which redirects led, as sent; None without any. It may be signed: kept in memory only."""


class Upstream(Protocol):
    """One hub instance's way out: host allow-list, token scope, retries, fail-over, outbound proxy, time limits."""

    async def ask(self, ask: Ask) -> Answer:
        """A small answer. 4xx are answers, not errors. Raises `UpstreamDown`, `UpstreamGarbage`, `HostNotAllowed`."""

    def stream(self, ask: Ask) -> AbstractAsyncContextManager[Stream]:
        """A large answer. Same errors, raised on entry or from `chunks()`."""

    async def close(self) -> None:
        """Release connections."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where an artifact's bytes come from, and what they must be.

    `ask` fetches the whole file (a flight adds its own `Range` and asks anew for a fresh signed URL when it must).
    `size` and `declared` are None where the hub promises none. `headers` are replayed to clients.
    """

    ask: Ask
    declared: Digest | None
    size: int | None
    headers: tuple[tuple[str, str], ...] = ()
    restriction: str = ""
    came_from: str | None = None  # once they came: the upstream's origin ("": from an address that it had named before)


# --- the dialect --------------------------------------------------------------------------------------------------


class Hub(Protocol):
    """One ecosystem's dialect, as far as the use-cases need it."""

    name: str

    async def describe(self, artifact: Artifact, credential: Credential | None, needs: frozenset[str]) -> Facts:
        """What the hub reveals of `artifact`. `needs` names the facts that rules in force read; others may be None.

        Raises `HubSaysNo`, `NotHere`, `UpstreamError`. Evidence pages are named in `Facts.evidence`.
        """

    async def locate(self, artifact: Artifact, credential: Credential | None) -> Source:
        """Where the bytes are, after the hub itself has said yes to this credential. Raises as `describe`."""


# --- store --------------------------------------------------------------------------------------------------------


class Reservation(Protocol):
    """Room taken in the store before anything is written; released if it is not used."""

    def release(self) -> None:
        """Give the room back. Safe to call twice."""


class Spool(Protocol):
    """One sparse file in the making with its durable block map (blocks of `BLOCK` bytes; the last may be short)."""

    path: Path
    size: int | None

    async def write(self, offset: int, data: bytes) -> None:
        """Put bytes at `offset`; whole blocks become present. Raises `StoreFull`, `OSError`."""

    def present(self) -> Sequence[Span]:
        """What is on disk, as sorted disjoint spans at byte granularity."""

    async def read(self, span: Span) -> bytes:
        """Bytes of `span`, which must be present."""

    async def drop(self, span: Span) -> None:
        """Forget a span (found to be wrong)."""

    async def sync(self) -> None:
        """Make data and block map durable."""

    def close(self, *, discard: bool) -> None:
        """Let go of the file; `discard` also removes it from the disk, else a later flight finds what was made durable.

        Nothing may be read or written afterwards. Fine to call twice, and on a spool that the store has adopted.
        """


class Blobs(Protocol):
    """Verified bytes by SHA-256, for reading."""

    async def find(self, digest: Digest) -> Blob | None:
        """The blob, if it is here and has its recorded length; a broken one is a miss (P9)."""

    def path(self, blob: Blob) -> Path | None:
        """The file to send from, or None where the store is not a local disk."""

    async def read(self, blob: Blob, span: Span) -> bytes:
        """A part of a blob."""


class BlobStore(Blobs, Protocol):
    """Verified bytes by SHA-256."""

    async def adopt(self, spool: Spool, blob: Blob) -> Blob:
        """Take a finished, verified spool: fsync, rename, fsync the folder."""

    async def remove(self, digest: Digest) -> None:
        """Forget a blob. Absent is fine."""

    async def open_spool(self, key: str, size: int | None) -> Spool:
        """The spool of a flight, with whatever an earlier process left in it. Reserves room: raises `StoreFull`."""


class Archive(Protocol):
    """The content-addressed evidence archive: pages, policies, catalogues, lists as they were judged. Never evicted."""

    async def keep(self, kind: str, data: bytes) -> str:
        """Store, durable when it returns; gives the SHA-256 (hex). Idempotent."""

    async def fetch(self, digest: str) -> bytes | None:
        """The bytes, or None."""


# --- index --------------------------------------------------------------------------------------------------------


class DocumentIndex(Protocol):
    """Documents by key."""

    async def get_document(self, key: DocumentKey) -> Document | None:
        """The page, or None."""

    async def put_document(self, document: Document) -> None:
        """Keep a page, in place of what has its key."""


class EntryIndex(Protocol):
    """Names joined to bytes."""

    async def get_entry(self, identity: str) -> Entry | None:
        """The entry of `Artifact.identity`, or None."""

    async def put_entry(self, entry: Entry) -> None:
        """Keep an entry, in place of what has its name."""

    async def touch_entries(self, used: Mapping[str, datetime]) -> None:
        """Record last use, in batches."""

    async def forget_entry(self, identity: str) -> None:
        """Drop an entry. Absent is fine."""


@dataclass(frozen=True, slots=True)
class Holding:
    """A blob as the index knows it: its names, and when the last of them was used."""

    blob: Blob
    last_used: datetime
    artifacts: tuple[Artifact, ...]


@dataclass(frozen=True, slots=True)
class Pin:
    """What is never evicted: every artifact that `pattern` names (SURFACE 4's grammar), now and later."""

    pattern: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Totals:
    """How much the index knows. `size` is in bytes, each blob counted once."""

    entries: int
    blobs: int
    size: int
    documents: int


class PinIndex(Protocol):
    """What is pinned. Raises `IndexDown`: what is pinned must be known before anything is evicted."""

    async def pins(self) -> Sequence[Pin]:
        """All pins, the oldest first."""

    async def put_pin(self, pin: Pin) -> None:
        """Keep a pin, in place of one with its pattern."""

    async def drop_pin(self, pattern: str) -> bool:
        """Whether there was one."""


class HoldingIndex(PinIndex, Protocol):
    """Blobs by use, and what is pinned."""

    def idle_holdings(self, batch: int) -> AsyncIterator[Sequence[Holding]]:
        """Every blob, the one whose last use is longest ago first, in batches of about `batch` names."""

    async def forget_blob(self, digest: Digest) -> None:
        """Drop every entry of a blob. Absent is fine."""

    async def totals(self) -> Totals:
        """Counted now (a second per million entries)."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What the hub said when this credential asked to read this project.

    `credential` is a fingerprint, "" for no credential. `allowed` False keeps a refusal for seconds, with the hub's
    `status`, `code`, `message`, so that it can be replayed. `public` says that the hub gives the project to anybody.
    """

    credential: str
    project: str  # Project.identity
    allowed: bool
    public: bool
    at: datetime
    status: int = 200
    code: str = ""
    message: str = ""
    cause: str = ""


class GrantIndex(Protocol):
    """Rights to names, per credential (P5)."""

    async def get_grant(self, credential: str, project: str) -> Grant | None:
        """The last grant, or None."""

    async def put_grant(self, grant: Grant) -> None:
        """Keep what the hub said."""


@dataclass(frozen=True, slots=True)
class Place:
    """An upstream path that stands for an artifact (a PyPI file URL): how a lock file's URL finds its project."""

    hub: str
    path: str
    artifact: Artifact
    digest: Digest | None
    size: int | None
    url: str = ""  # absolute upstream URL
    published_at: datetime | None = None


class PlaceIndex(Protocol):
    """File paths joined to artifacts."""

    async def get_place(self, hub: str, path: str) -> Place | None:
        """What a path stands for, or None."""

    async def put_places(self, places: Sequence[Place]) -> None:
        """Keep places, in place of what has their paths."""


class EventIndex(Protocol):
    """The queryable copy of the ledger; can be rebuilt from its segments at any time."""

    async def add_events(self, records: Sequence[Mapping[str, object]]) -> None:
        """Sealed records as in SURFACE 5 (plus `personal`), in order."""

    async def last_sequence(self) -> int:
        """The highest sequence indexed, -1 when empty."""

    async def find_decision(self, decision_id: str) -> Mapping[str, object] | None:
        """The record of one decision."""

    async def query(self, where: Mapping[str, str], limit: int, before: int | None) -> Sequence[Mapping[str, object]]:
        """Newest first. `where` keys: actor, group, publisher, country, rule, list, ancestor, artifact (prefix), effect, kind, since, until."""


# --- ledger -------------------------------------------------------------------------------------------------------


class Ticket(Protocol):
    """The ledger's promise for one event."""

    def durable(self) -> Awaitable[Sealed]:
        """Wait until the event is on disk. Raises `LedgerDown`. May be awaited by many, many times."""

    @property
    def is_durable(self) -> bool:
        """Whether waiting would return at once."""


class Ledger(Protocol):
    """The order of events; one owner a node."""

    def record(self, event: Event) -> Ticket:
        """Queue an event for the next group commit. Raises `LedgerDown` when nothing can be recorded."""

    def repeat(self, decision: Decision, *, must_be_durable: bool) -> Ticket:
        """One more answer to a decision that is already recorded: coalesced into a `repeated` event with a count."""

    async def close(self) -> None:
        """Flush everything, with a `stopped` event."""


# --- what an open body is -----------------------------------------------------------------------------------------


class Body(Protocol):
    """An admitted artifact's bytes, whole on disk or still arriving.

    `size` None is only possible for a flight whose upstream announces no length. `verified` False marks bytes that
    no declared digest vouches for. `headers` are those of the entry or source.
    """

    @property
    def size(self) -> int | None:
        """Length in bytes."""

    @property
    def etag(self) -> str:
        """The hub's own entity tag verbatim, else one made of the digest; empty when neither is known."""

    @property
    def verified(self) -> bool:
        """Final once the first bytes of a read have come."""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Those of the entry or source."""

    @property
    def origin(self) -> str:
        """`hit`, `fwd=miss; stored`, `fwd=miss; collapsed`, ... for Cache-Status (RFC 9211)."""

    @property
    def path(self) -> Path | None:
        """A finished local file to send with the kernel, else None."""

    def read(self, span: Span) -> AsyncIterator[bytes]:
        """The bytes of `span` in order, as they become available and may leave.

        P3: the last 64 KiB of the file leave only after verification. Ends short - raising `IntegrityError` or `UpstreamDown` - rather than give a wrong byte.
        """

    async def close(self) -> None:
        """Leave; the flight goes on without this reader."""


MAX_AGE_FOREVER: timedelta | None = None
#: How much of a file's end leaves only after its digest was verified (P3).
TAIL = 64 * 1024
#: The unit of the block map.
BLOCK = 1024 * 1024

__all__ = [
    "BLOCK", "MAX_AGE_FOREVER", "TAIL", "Answer", "Archive", "Ask", "BlobStore", "Blobs", "Body", "Clock", "DocumentIndex",
    "EntryIndex", "EventIndex", "Grant", "GrantIndex", "Holding", "HoldingIndex", "Hub", "Ledger", "Pin", "PinIndex", "Place",
    "PlaceIndex", "Project", "Redirected", "Reservation", "Source", "Spool", "Stream", "Ticket", "Totals", "Upstream",
]
