"""What is cached, by name: documents, entries, grants, places.

A row that cannot be read is a miss, and so is a database that does not answer (P9): the mirror then asks the hub as if
nothing were known. `fault` says so for health.
"""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import structlog
import zstandard
from sqlalchemy import Row, Table, bindparam, delete, select, update

from mirror.core.nouns import Blob, Digest, Document, DocumentKey, Entry
from mirror.core.ports import Grant, Place
from mirror.index.engine import Database, IndexDown
from mirror.index.rows import (
    MALFORMED,
    artifact_from,
    artifact_json,
    digest_from,
    headers_from,
    micros,
    moment,
    row_key,
    storable,
)
from mirror.index.tables import documents, entries, grants, places

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_LOG = structlog.get_logger("mirror.index")
_MICROSECOND: Final = timedelta(microseconds=1)
#: Bodies from this size are (de)compressed off the event loop.
_LARGE: Final = 128 * 1024
#: Rows of a large change that are made and handed over before other requests get their turn.
_TURN: Final = 200
_MALFORMED: Final = (*MALFORMED, zstandard.ZstdError)


class CacheTables:
    """core.ports.DocumentIndex, EntryIndex, GrantIndex and PlaceIndex."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._faults: dict[str, str] = {}
        self._together: tuple[dict[str, dict[str, Any]], asyncio.Future[None]] | None = None
        self._sought: tuple[set[str], asyncio.Future[dict[str, Row[Any]]]] | None = None

    @property
    def fault(self) -> str:
        """What the last read and the last write came to grief on; empty when nothing did."""
        return "; ".join(dict.fromkeys(self._faults.values()))

    async def get_document(self, key: DocumentKey) -> Document | None:
        """The page as stored, or None. A body that is not what its digest says is a miss."""
        row = await self._row(documents, _document_key(key))
        if row is None:
            return None
        try:
            body = await unpacked(row.body, row.coding)
            if sha256(body).hexdigest() != row.digest:
                raise ValueError("digest")
            headers = headers_from(row.headers)
            age = None if row.max_age is None else timedelta(microseconds=row.max_age)
            return Document(key, row.status, headers, body, Digest("sha256", row.digest), moment(row.fetched_at), age)
        except _MALFORMED:
            _damaged("documents", row.key)
            return None

    async def put_document(self, document: Document) -> None:
        """Store or replace."""
        await self._put(documents, await document_row(document))

    async def get_entry(self, identity: str) -> Entry | None:
        """The entry of an artifact's identity, or None."""
        row = await self._entry_row(row_key(identity))
        if row is None:
            return None
        try:
            blob = Blob(digest_from(row.digest), int(row.size))
            declared = None if row.declared is None else digest_from(row.declared)
            headers, stored = headers_from(row.headers), moment(row.stored_at)
            return Entry(artifact_from(row.artifact), blob, headers, stored, declared, row.restriction)
        except _MALFORMED:
            _damaged("entries", row.key)
            return None

    async def put_entry(self, entry: Entry) -> None:
        """Store or replace; together with those that come while another change is being made."""
        await self._put_together(entry_row(entry))

    async def touch_entries(self, used: Mapping[str, datetime]) -> None:
        """Record last use, in batches."""
        if not used:
            return
        statement = update(entries).where(entries.c.key == bindparam("entry")).values(last_used=bindparam("used"))
        rows = [{"entry": row_key(identity), "used": micros(moment)} for identity, moment in used.items()]
        await self._change(statement, [rows])

    async def forget_entry(self, identity: str) -> None:
        """Absent is fine."""
        await self._change(delete(entries).where(entries.c.key == row_key(identity)), [None])

    async def get_grant(self, credential: str, project: str) -> Grant | None:
        """What the hub last said, however long ago: its age is the caller's to judge."""
        row = await self._row(grants, row_key(credential, project))
        if row is None:
            return None
        try:
            told = (row.status, row.code, row.message, row.cause)
            return Grant(credential, project, bool(row.allowed), bool(row.public), moment(row.at), *told)
        except _MALFORMED:
            _damaged("grants", row.key)
            return None

    async def put_grant(self, grant: Grant) -> None:
        """Store or replace."""
        await self._put(grants, grant_row(grant))

    async def get_place(self, hub: str, path: str) -> Place | None:
        """The artifact that stands at an upstream path, or None."""
        row = await self._row(places, row_key(hub, path))
        if row is None:
            return None
        try:
            digest = None if row.digest is None else digest_from(row.digest)
            published = None if row.published_at is None else moment(row.published_at)
            return Place(hub, path, artifact_from(row.artifact), digest, row.size, row.url, published)
        except _MALFORMED:
            _damaged("places", row.key)
            return None

    async def put_places(self, found: Sequence[Place]) -> None:
        """Store or replace, all or none."""
        keyed: dict[str, Place] = {}
        for number, place in enumerate(found):
            keyed[row_key(place.hub, place.path)] = place
            if number % _TURN == _TURN - 1:
                await asyncio.sleep(0)
        if not keyed:
            return
        # In the order of their keys, so that two writers never wait for each other's rows.
        order = sorted(keyed)
        parts = (order[start : start + _TURN] for start in range(0, len(order), _TURN))
        await self._change(self._database.upsert(places), ([place_row(key, keyed[key]) for key in part] for part in parts))

    async def _row(self, table: Table, key: str) -> Row[Any] | None:
        try:
            async with self._database.read() as connection:
                found = (await connection.execute(select(table).where(table.c.key == key))).first()
        except IndexDown as error:
            self._failed("read", error)
            return None
        self._faults.pop("read", None)
        return found

    async def _entry_row(self, key: str) -> Row[Any] | None:
        """As `_row`, together with those that are looked for while the way to the database is being opened."""
        if self._sought is None:
            self._sought = (set(), asyncio.ensure_future(self._look()))
        keys, found = self._sought
        keys.add(key)
        return (await asyncio.shield(found)).get(key)

    async def _look(self) -> dict[str, Row[Any]]:
        keys: set[str] = set()
        try:
            async with self._database.read() as connection:
                keys = self._asked()
                rows = (await connection.execute(select(entries).where(entries.c.key.in_(sorted(keys))))).all()
        except IndexDown as error:
            self._failed("read", error)
            return {}
        finally:
            if not keys:
                self._asked()
        self._faults.pop("read", None)
        return {row.key: row for row in rows}

    def _asked(self) -> set[str]:
        waiting, self._sought = self._sought, None
        return set() if waiting is None else waiting[0]

    async def _put(self, table: Table, row: Mapping[str, Any]) -> None:
        await self._change(self._database.upsert(table), [row])

    async def _put_together(self, entry: dict[str, Any]) -> None:
        """Many small files that land at the same time are one transaction: each alone would cost more than its file."""
        if self._together is None:
            self._together = ({}, asyncio.ensure_future(self._flush()))
        rows, done = self._together
        rows[entry["key"]] = entry
        await asyncio.shield(done)

    async def _flush(self) -> None:
        rows: dict[str, dict[str, Any]] = {}
        try:
            async with self._database.write() as connection:
                rows = self._taken()  # all that came until it was this writer's turn
                await connection.execute(self._database.upsert(entries), [rows[key] for key in sorted(rows)])
        except IndexDown as error:
            self._failed("write", error)
        else:
            self._faults.pop("write", None)
        finally:
            if not rows:
                self._taken()

    def _taken(self) -> dict[str, dict[str, Any]]:
        waiting, self._together = self._together, None
        return {} if waiting is None else waiting[0]

    async def _change(self, statement: Any, batches: Iterable[Any]) -> None:
        """Execute `statement` with each batch of rows (None: as it is), all in one transaction."""
        try:
            async with self._database.write() as connection:
                for rows in batches:
                    await connection.execute(statement, rows)
        except IndexDown as error:
            self._failed("write", error)
        else:
            self._faults.pop("write", None)

    def _failed(self, what: str, error: IndexDown) -> None:
        if not self._faults:
            _LOG.error("index_down", fault=str(error))
        self._faults[what] = str(error)


def _damaged(table: str, key: str) -> None:
    _LOG.warning("index_row_damaged", table=table, key=key)


def _document_key(key: DocumentKey) -> str:
    return row_key(key.hub, key.target, key.scope, key.variant)


async def document_row(document: Document) -> dict[str, Any]:
    """The row of a page, its body compressed where that is smaller."""
    body, coding = await _packed(document.body)
    return {
        "key": _document_key(document.key),
        "hub": document.key.hub,
        "target": storable(document.key.target),
        "status": document.status,
        "headers": json.dumps(document.headers),
        "body": body,
        "coding": coding,
        "digest": document.digest.hex,
        "fetched_at": micros(document.fetched_at),
        "max_age": None if document.max_age is None else document.max_age // _MICROSECOND,
    }


def entry_row(entry: Entry) -> dict[str, Any]:
    """The row of a name joined to bytes."""
    return {
        "key": row_key(entry.artifact.identity),
        "artifact": artifact_json(entry.artifact),
        "digest": str(entry.blob.digest),
        "size": entry.blob.size,
        "headers": json.dumps(entry.headers),
        "declared": None if entry.declared is None else str(entry.declared),
        "restriction": storable(entry.restriction),
        "stored_at": micros(entry.stored_at),
        "last_used": micros(entry.stored_at),
    }


def grant_row(grant: Grant) -> dict[str, Any]:
    """The row of a right."""
    return {
        "key": row_key(grant.credential, grant.project),
        "credential": grant.credential,
        "project": storable(grant.project),
        "allowed": grant.allowed,
        "public": grant.public,
        "at": micros(grant.at),
        "status": grant.status,
        "code": storable(grant.code),
        "message": storable(grant.message),
        "cause": storable(grant.cause),
    }


def place_row(key: str, place: Place) -> dict[str, Any]:
    """The row of a path, under its key."""
    return {
        "key": key,
        "hub": place.hub,
        "path": storable(place.path),
        "artifact": artifact_json(place.artifact),
        "digest": None if place.digest is None else str(place.digest),
        "size": place.size,
        "url": storable(place.url),
        "published_at": None if place.published_at is None else micros(place.published_at),
    }


async def _packed(body: bytes) -> tuple[bytes, str]:
    if len(body) < 512:
        return body, ""
    compress = zstandard.ZstdCompressor(level=3).compress
    packed = compress(body) if len(body) < _LARGE else await asyncio.to_thread(compress, body)
    return (packed, "zstd") if len(packed) < len(body) else (body, "")


async def unpacked(body: bytes, coding: str) -> bytes:
    """A body as it came. Raises `ZstdError` for damage."""
    if coding != "zstd":
        return body
    decompress = zstandard.ZstdDecompressor().decompress
    return decompress(body) if len(body) < _LARGE else await asyncio.to_thread(decompress, body)
