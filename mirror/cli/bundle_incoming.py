"""The work of `mirror bundle import`: who signed, what our own policy says of each file, copying, and one transaction at the end.

Until that transaction nothing of a bundle can be seen: its files lie in the store without a name. So a run that ends at any
point has taken in nothing, and the next one finds the files that are there.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.bundle.acquired import KIND, news, texts_of, told
from mirror.bundle.contents import (
    PACK,
    EntryRow,
    EvidenceRow,
    GrantRow,
    HubRow,
    ListRow,
    PageRow,
    PinRow,
    PlaceRow,
    Row,
    artifact_of,
    entry_of,
    grant_of,
    moment,
    our_hubs,
    page_of,
    place_of,
    read,
    spoken_of,
)
from mirror.bundle.faults import BundleFault
from mirror.bundle.layout import BundleReader, Part
from mirror.bundle.overlay import Overlay
from mirror.bundle.receipt import Receipt, ReceivedBook, Refusal
from mirror.bundle.statement import Signer, Statement, digest_of, signers, trusted
from mirror.cli.bundle_hubs import hubs_over
from mirror.core import dsse
from mirror.core.actor import Actor
from mirror.core.decision import Effect, Event, EventKind, RequestInfo, Verdict
from mirror.core.errors import InputError, MirrorError, Problem
from mirror.core.ids import ulid
from mirror.core.nouns import Artifact, Blob, Digest
from mirror.core.ports import Pin
from mirror.policy.derive import derive
from mirror.policy.evaluate import evaluate
from mirror.reply.identify import EXCHANGED
from mirror.store.archive import EvidenceArchive
from mirror.store.disk import blob_path
from mirror.store.intake import Intake
from mirror.trust.enrolment import load_roll

if TYPE_CHECKING:
    from mirror.cli.bundle_hubs import Hubs
    from mirror.clock_wiring import SystemClock
    from mirror.config import Config
    from mirror.core.facts import Facts
    from mirror.index.bulk import Stored
    from mirror.index.sql import SqlIndex
    from mirror.lists.editions import EditionStore
    from mirror.policy.epoch import Epoch

#: Bytes of contents that are read at once: some millions of rows.
_MOST_CONTENTS: Final = 2 * 1024**3
#: A page is read whole.
_MOST_PAGE: Final = 256 * 1024**2
_NAMED: Final = 20
Came = Callable[[int], None]


@dataclass(slots=True)
class Judged:
    """What our policy says of the files of a bundle. `events` are the refusals, for the record."""

    taken: list[EntryRow] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Opened:
    """A bundle whose signature counts here and whose turn it is."""

    reader: BundleReader
    statement: Statement
    digest: str
    rows: tuple[Row, ...]
    hubs: Mapping[str, str]
    signers: tuple[Signer, ...]
    owed: bytes | None = None  # the receipt of this very bundle, all of which is here
    bodies: dict[str, bytes] = field(default_factory=dict)  # of pages that are here already, by SHA-256 (hex)


def opened(config: Config, path: Path, *, allow_rollback: bool) -> Opened:
    """Synchronous. The caller closes the reader. Raises `BundleFault`, `InputError`."""
    keys, revoked = trusted(load_roll(config.trust.verify))
    if not keys and not revoked:
        said = "names no card with the role sender: enrol the sender's key, and compare its fingerprint with the sender by phone"
        raise InputError([Problem("trust.verify", "", said)])
    reader = BundleReader(path)
    try:
        statement = reader.signed(keys, revoked)
        digest = digest_of(dsse.read(reader.envelope, "statement", len(reader.envelope)).payload)
        owed = _in_turn(config.data, statement, digest, allow_rollback=allow_rollback)
        contents = reader.parts[statement.contents.digest.hex]
        if contents.size > _MOST_CONTENTS:
            raise BundleFault("contents", f"have {contents.size} bytes: more than this release reads")
        try:
            rows = read(reader.read(contents), "contents")
        except InputError as error:
            raise BundleFault("", "; ".join(map(str, error.problems[:8]))) from None
        rows = (*rows, *_elsewhere(rows, config))
        hubs = our_hubs(rows, {name: row.dialect for name, row in config.hubs.items()})
        return Opened(reader, statement, digest, rows, hubs, signers(reader.envelope, keys), owed)
    except BaseException:
        reader.close()
        raise


def _elsewhere(rows: Sequence[Row], config: Config) -> Iterator[PageRow]:
    """Pages of an index once more under the sender's own address: links on its pages lead there, and to us that is another host."""
    ours = {row.upstreams[0].rstrip("/") for row in config.hubs.values() if row.upstreams}
    bases = {row.hub: row.upstream.rstrip("/") for row in rows if isinstance(row, HubRow) and row.dialect == "pypi"}
    for row in rows:
        if isinstance(row, PageRow) and row.target.startswith("/") and bases.get(row.hub, "") not in {"", *ours}:
            yield replace(row, target=bases[row.hub] + row.target)


def _in_turn(data: Path, statement: Statement, digest: str, *, allow_rollback: bool) -> bytes | None:
    """The receipt of this very bundle, where its import was interrupted when nothing but giving that was left.

    Raises `BundleFault` for one that is older than what is here, and for a delta whose ground is not here.
    """
    book = ReceivedBook(data, statement)
    last = book.last
    name = f"bundle {statement.name} {statement.number}"
    if statement.number <= last and not allow_rollback:
        owed = book.owed(last, digest) if statement.number == last else None
        if owed is None:
            raise BundleFault(name, f"{statement.name} {last} was imported already: an older state comes back with --allow-rollback only")
        return owed
    if statement.since is not None and last < statement.since:
        had = f"{last} is the last that was" if last else "none of this name was"
        raise BundleFault(name, f"has only what is new since {statement.since}, which was not imported here ({had}): import {statement.since} first")
    return None


# --- judging ------------------------------------------------------------------------------------------------------


async def judged(config: Config, bundle: Opened, index: SqlIndex, epoch: Epoch, clock: SystemClock) -> Judged:
    """Every file under the rules in force here, as it will be offline; refusals with their evidence archived."""
    now, found = clock.now(), Judged()

    def body(digest: str) -> bytes:
        return _page(config.data, bundle, digest)

    overlay = Overlay(bundle.rows, bundle.hubs, body, index, now)
    async with hubs_over(config, overlay, epoch, clock, offline=True) as hubs:
        for row in (row for row in bundle.rows if isinstance(row, EntryRow)):
            if row.artifact.hub not in bundle.hubs:
                name = str(artifact_of(row.artifact, {row.artifact.hub: ""}))
                found.refused.append(Refusal(name, "", "", f"no hub is configured here for the sender's {row.artifact.hub}"))
                continue
            refusal = await _refusal(config, hubs, epoch, artifact_of(row.artifact, bundle.hubs), bundle.statement, now)
            if refusal is None:
                found.taken.append(row)
            else:
                found.refused.append(refusal)
        found.events = hubs.ledger.events
    return found


async def _refusal(config: Config, hubs: Hubs, epoch: Epoch, artifact: Artifact, statement: Statement, now: datetime) -> Refusal | None:
    """Why nobody here may have it, on the record; None where somebody may, or where a person has to look first."""
    needs = epoch.policy.needs_by_ecosystem[artifact.project.ecosystem]
    try:
        told = await hubs.gateway.describe(artifact, needs, EXCHANGED)
    except MirrorError as error:
        return Refusal(str(artifact), "", "", f"cannot be judged: {error}")
    facts = derive(told, artifact, epoch.catalogue, epoch.lineage)
    verdicts = [(actor, evaluate(epoch.policy, artifact, facts, actor, now)) for actor in _actors(config)]
    if not all(_denies(verdict) for _, verdict in verdicts):
        return None
    actor, verdict = verdicts[0]
    return await _recorded(hubs, epoch, actor, artifact, facts, verdict, statement)


async def _recorded(
    hubs: Hubs, epoch: Epoch, actor: Actor, artifact: Artifact, facts: Facts, verdict: Verdict, statement: Statement
) -> Refusal:
    recorder = hubs.gateway.recorder
    info = RequestInfo(ulid(hubs.gateway.clock.now(), os.urandom(10)), "IMPORT", f"/{statement.name}/{statement.number}", "mirror bundle import")
    recorded = await recorder.decision(EventKind.REFUSED, actor, artifact, facts, verdict, epoch, info)
    rule = verdict.determining
    return Refusal(str(artifact), "" if rule is None else rule.id, recorded.decision.id, recorded.decision.sentence)


def _actors(config: Config) -> Iterator[Actor]:
    """Everybody who could ask here: those in no group, and those of each."""
    yield Actor("import")
    for name, group in config.clients.groups.items():
        yield Actor("import", (name,), country=group.country, country_source="group" if group.country else "", entity=group.entity or "", jurisdictions=group.jurisdiction)


def _denies(verdict: Verdict) -> bool:
    """Whether it is denied whoever asks: not because it is unknown where a client is, which each request tells."""
    return verdict.effect is Effect.DENY and not (verdict.deciding and all(hit.unknown == "client_country" for hit in verdict.deciding))


# --- what is needed -----------------------------------------------------------------------------------------------


def demand(config: Config, bundle: Opened, taken: Collection[EntryRow]) -> list[Blob]:
    """The files to copy. Raises `BundleFault` where something that a row speaks of is neither in the bundle nor here, or there is no room."""
    intake, parts = Intake(config.data), bundle.reader.parts
    fresh: dict[str, Blob] = {}
    lacking: list[str] = []
    for row in taken:
        blob = Blob(Digest("sha256", row.digest.partition(":")[2]), row.size)
        part = parts.get(blob.digest.hex)
        if part is not None and part.size != row.size:
            raise BundleFault("contents", f"say that {row.digest} has {row.size} bytes, and it has {part.size}")
        if intake.has(blob):
            continue
        if part is None:
            lacking.append(row.digest)
        else:
            fresh[blob.digest.hex] = blob
    for other in _told(bundle, taken):
        lacking += [f"sha256:{one}" for one in spoken_of(other) if not _at_hand(config, bundle, one)]
    archive = EvidenceArchive(config.data / "evidence")
    lacking += [f"sha256:{one}" for one in sorted(texts_of(bundle.rows, parts)) if one not in parts and not archive.path(one).exists()]
    if lacking:
        more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
        raise BundleFault(f"bundle {bundle.statement.name} {bundle.statement.number}", f"needs what is not here: {', '.join(lacking[:_NAMED])}{more}")
    _room(config, intake, sum(blob.size for blob in fresh.values()), parts.values())
    return list(fresh.values())


def _room(config: Config, intake: Intake, files: int, parts: Iterable[Part]) -> None:
    # Pages go into the index, which writes them twice before it settles (its journal).
    pages = 2 * sum(part.size for part in parts if part.media_type.startswith("application/vnd.entrepot."))
    room = intake.room(config.store.min_free)
    # What needs no room - a recall, or what is all here - comes in even where there is none left.
    if files + pages > max(0, room):
        raise BundleFault("store", f"{files + pages} bytes are needed, and {max(0, room)} are free above store.min_free")
    used = _used(config.data)
    if files and config.store.quota is not None and used + files > config.store.quota:
        raise BundleFault("store", f"{files} bytes are needed, and store.quota leaves {max(0, config.store.quota - used)} of {config.store.quota}")


def _used(data: Path) -> int:
    return sum(path.stat().st_size for path in (data / "blobs" / "sha256").glob("*/*/*"))


# --- taking in ----------------------------------------------------------------------------------------------------


def copied(config: Config, bundle: Opened, wanted: Sequence[Blob], came: Came) -> int:
    """Every byte of the bundle read and verified; `wanted` into the store. Synchronous; gives the bytes copied. Raises `BundleFault`."""
    intake = Intake(config.data)
    intake.clear()
    try:
        return _copied(bundle, intake, {blob.digest.hex: blob for blob in wanted}, came)
    finally:
        intake.clear()


def _copied(bundle: Opened, intake: Intake, wanted: Mapping[str, Blob], came: Came) -> int:
    total = 0
    for name, part in sorted(bundle.reader.parts.items()):
        if name in wanted:
            intake.take(wanted[name], partial(bundle.reader.copy, part), came)
            total += part.size
        else:
            bundle.reader.copy(part, lambda data: came(len(data)))
    intake.settle()
    return total


def things(config: Config, bundle: Opened, taken: Collection[EntryRow], now: datetime) -> Iterator[Stored]:
    """The rows of everything that is taken, and of nothing that tells of a project of which nothing is."""
    hubs, kept = bundle.hubs, {row.artifact for row in taken}
    for row in bundle.rows:
        if isinstance(row, EntryRow) and row.artifact in kept:
            yield entry_of(row, hubs, now)
    for row in _told(bundle, taken):
        match row:
            case PageRow():
                yield page_of(row, _page(config.data, bundle, row.sha256), hubs)
            case GrantRow():
                yield grant_of(row, hubs)
            case PlaceRow():
                yield place_of(row, hubs)
            case PinRow():
                yield Pin(row.pattern, f"bundle {bundle.statement.name}", now)
            case _:
                pass


def _told(bundle: Opened, taken: Collection[EntryRow]) -> Iterator[Row]:
    """The rows other than files that go with what is taken.

    Of a project of which nothing is taken its pages alone are: by them our policy refuses it here too, in its own words and
    under a decision, where a mirror that knows nothing of it could but say that it is offline. No right to it and no place.
    """
    hubs = bundle.hubs
    of = {str(artifact_of(row.artifact, hubs).project) for row in taken}
    for row in bundle.rows:
        match row:
            case PageRow() if row.hub in hubs:
                yield row
            case GrantRow() if row.project.hub in hubs and (not row.allowed or str(artifact_of(row.project, hubs).project) in of):
                yield row
            case PlaceRow() if row.artifact.hub in hubs and str(artifact_of(row.artifact, hubs).project) in of:
                yield row
            case PinRow() | ListRow():
                yield row
            case _:
                pass


def _at_hand(config: Config, bundle: Opened, digest: str) -> bool:
    return digest in bundle.reader.parts or digest in bundle.bodies or blob_path(config.data, Digest("sha256", digest)).exists()


async def learn_bodies(config: Config, bundle: Opened, index: SqlIndex) -> None:
    """Find the bytes of pages that a delta speaks of and does not bring. Before judging."""
    lacking = {row.sha256 for row in bundle.rows if isinstance(row, PageRow) and not _at_hand(config, bundle, row.sha256)}
    bundle.bodies.update(await index.bodies(sorted(lacking)))


def _page(data: Path, bundle: Opened, digest: str) -> bytes:
    part = bundle.reader.parts.get(digest)
    if part is None and digest in bundle.bodies:
        return bundle.bodies[digest]
    if part is None:  # a file of ours that is a page as well
        try:
            return blob_path(data, Digest("sha256", digest)).read_bytes()
        except OSError:
            raise BundleFault(f"sha256:{digest}", "is a page that is neither in the bundle nor here") from None
    if part.size > _MOST_PAGE:
        raise BundleFault(part.title, "is too large for a page")
    return bundle.reader.read(part)


async def arrivals(config: Config, bundle: Opened, index: SqlIndex, now: datetime) -> list[Event]:
    """How what was taken in had come to its sender, for the record, once it is in the index. Licence texts are archived, whoever's they are.

    A later delta counts on them: its sender does not know what was refused before it has the receipt.
    """
    archive, parts = EvidenceArchive(config.data / "evidence"), bundle.reader.parts
    for digest in sorted(texts_of(bundle.rows, parts) & set(parts)):
        await archive.keep(KIND, await asyncio.to_thread(bundle.reader.read, parts[digest]))
    one = bundle.statement
    acquisitions = told(bundle.rows, bundle.hubs, one.sender, f"{one.name} {one.number} of {one.sender}")
    artifacts = [row.artifact for row in acquisitions]
    held = await index.held([artifact.identity for artifact in artifacts])
    return news(acquisitions, held, await index.acquisitions(artifacts), now)


def receipt_of(bundle: Opened, found: Judged, size: int, rows: int, head: tuple[int, str], now: datetime) -> Receipt:
    """What is answered."""
    one = bundle.statement
    return Receipt(one.name, one.number, bundle.digest, one.sender, now, len(found.taken), size, rows, tuple(found.refused), *head)


def imported_event(bundle: Opened, receipt: Receipt, lists: Mapping[str, str], pack: str) -> Event:
    """What goes on the record."""
    detail = {
        "outcome": "imported", "statement": receipt.statement, "sender": receipt.sender, "files": receipt.files, "bytes": receipt.size,
        "refused": len(receipt.refused), "purpose": bundle.statement.purpose, "recalled": [row.artifact for row in bundle.statement.withdrawn[:100]], "checkpoint": bundle.statement.checkpoint, "lists": dict(lists), "pack": pack,
    }  # fmt: skip
    return Event(EventKind.BUNDLE, receipt.at, Actor("mirror"), subject=f"{receipt.name} {receipt.number}", detail=tuple(sorted(detail.items())))


async def lists_received(config: Config, bundle: Opened, clock: SystemClock, *, lacking: bool = False, editions: EditionStore | None = None) -> dict[str, str]:
    """Weigh the editions of lists that it brings against our guards, as if their source had been asked when the sender's was.

    Only of lists that are fetched here, from wherever: one that lies in a file is the receiver's own. With `lacking` only those of
    which there is no edition yet; into `editions` where these are given. What became of each, for the record. Raises `BundleFault`, `OSError`.
    """
    from mirror.list_wiring import list_watch_of
    from mirror.lists.editions import store_of
    from mirror.lists.material import Part as ListPart
    from mirror.lists.official import fetched

    store, told = editions or store_of(config.data), dict[str, str]()
    watch = list_watch_of(config, clock, store)
    for row in (row for row in bundle.rows if isinstance(row, ListRow)):
        ours = config.lists.get(row.name)
        if ours is None or ours.loader != row.loader or not fetched(ours):
            continue
        if lacking and store.current(row.name, ours) is not None:
            continue
        parts = [ListPart(file.name, bundle.reader.read(bundle.reader.parts[file.sha256])) for file in row.files]
        seen = moment(row.confirmed_at) if row.confirmed_at is not None else bundle.statement.created
        outcome = await watch.receive(row.name, parts, min(seen, bundle.statement.created))
        told[row.name] = f"{outcome.result} {outcome.edition}".strip() + "".join(f"; {problem}" for problem in outcome.problems)
    return told


async def pack_received(config: Config, bundle: Opened, clock: SystemClock) -> str:
    """Weigh the signed pack of publishers that it brings, where one is configured here; what became of it, "" for nothing."""
    from mirror.list_wiring import pack_watch_of

    watch = pack_watch_of(config, clock)
    row = next((one for one in bundle.rows if isinstance(one, EvidenceRow) and one.kind == PACK), None)
    if watch is None or row is None or row.sha256 not in bundle.reader.parts:
        return ""
    outcome = await watch.receive(bundle.reader.read(bundle.reader.parts[row.sha256]))
    number = "" if outcome.edition is None else f" {outcome.edition.number}"
    return f"{outcome.result}{number}" + "".join(f"; {problem}" for problem in outcome.problems)
