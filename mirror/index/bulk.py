"""Many rows at once: what a bundle carries out of an index, and what one brings into it in one transaction."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from mirror.core.nouns import Document, Entry
from mirror.core.ports import Grant, Pin, Place
from mirror.index.cache import document_row, entry_row, grant_row, place_row, unpacked
from mirror.index.rows import micros, row_key, storable
from mirror.index.tables import documents, entries, grants, pins, places

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from sqlalchemy import Table

    from mirror.core.nouns import DocumentKey
    from mirror.index.engine import Database

#: Rows of one statement and keys of one question: below the number of parameters that either engine takes.
_AT_ONCE: Final = 200

Stored = Document | Entry | Grant | Place | Pin


class BulkTables:
    """What bundles ask of the index. Raises `IndexDown` throughout."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def document_targets(self) -> AsyncIterator[Sequence[tuple[str, str, str]]]:
        """(row key, hub, target) of every page, in batches: a row does not tell under which scope and variant it is kept.

        `document_key` gives the row key of a guess.
        """
        after = ""
        columns = (documents.c.key, documents.c.hub, documents.c.target)
        while True:
            wanted = select(*columns).where(documents.c.key > after).order_by(documents.c.key).limit(2000)
            async with self._database.read() as connection:
                rows = (await connection.execute(wanted)).all()
            if not rows:
                return
            yield [(row.key, row.hub, row.target) for row in rows]
            after = rows[-1].key

    async def held(self, identities: Sequence[str]) -> frozenset[str]:
        """Those of these artifacts (`Artifact.identity`) that have an entry."""
        asked = {row_key(identity): identity for identity in identities}
        keys, found = list(asked), set[str]()
        async with self._database.read() as connection:
            for start in range(0, len(keys), _AT_ONCE):
                rows = await connection.execute(select(entries.c.key).where(entries.c.key.in_(keys[start : start + _AT_ONCE])))
                found.update(asked[key] for key in rows.scalars())
        return frozenset(found)

    async def bodies(self, digests: Sequence[str]) -> dict[str, bytes]:
        """The bytes of pages by SHA-256 (hex), as far as any page has them. Reads every page once for `_AT_ONCE` digests."""
        found: dict[str, bytes] = {}
        for start in range(0, len(digests), _AT_ONCE):
            wanted = select(documents.c.digest, documents.c.body, documents.c.coding)
            async with self._database.read() as connection:
                rows = await connection.execute(wanted.where(documents.c.digest.in_(digests[start : start + _AT_ONCE])))
                found.update({row.digest: await unpacked(row.body, row.coding) for row in rows})
        return {digest: body for digest, body in found.items() if sha256(body).hexdigest() == digest}

    async def take_in(self, things: Iterable[Stored]) -> int:
        """Store or replace all of these, or none, durable on return; gives how many. Others get their turn between statements."""
        count = 0
        async with self._database.write(durable=True) as connection:
            gathered: dict[str, tuple[Table, dict[str, dict[str, Any]]]] = {}
            for thing in things:
                table, row = await _row(thing)
                _, rows = gathered.setdefault(table.name, (table, {}))
                rows[row["key"]] = row
                count += 1
                if len(rows) == _AT_ONCE:
                    await connection.execute(self._database.upsert(table), _ordered(rows))
                    rows.clear()
                    await asyncio.sleep(0)
            for table, rows in gathered.values():
                if rows:
                    await connection.execute(self._database.upsert(table), _ordered(rows))
        return count


def document_key(key: DocumentKey) -> str:
    """The row key of a page."""
    return row_key(key.hub, key.target, key.scope, key.variant)


async def _row(thing: Stored) -> tuple[Table, dict[str, Any]]:
    match thing:
        case Document():
            return documents, await document_row(thing)
        case Entry():
            return entries, entry_row(thing)
        case Grant():
            return grants, grant_row(thing)
        case Place():
            key = row_key(thing.hub, thing.path)
            return places, place_row(key, thing)
        case Pin():
            row = {"key": row_key(thing.pattern), "pattern": storable(thing.pattern), "reason": storable(thing.reason), "at": micros(thing.at)}
            return pins, row


def _ordered(rows: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """In the order of their keys, so that two writers never wait for each other's rows."""
    return [rows[key] for key in sorted(rows)]
