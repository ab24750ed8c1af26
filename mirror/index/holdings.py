"""Blobs by use, and what is pinned: what eviction asks of the index.

Eviction that does not know what is pinned must not go on, so here a database that does not answer is an error and not
an empty answer.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, distinct, func, select, tuple_

from mirror.core.nouns import Blob
from mirror.core.ports import Holding, Pin, Totals
from mirror.index.rows import MALFORMED, artifact_from, digest_from, micros, moment, row_key, storable
from mirror.index.tables import documents, entries, pins

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy import Row

    from mirror.core.nouns import Artifact, Digest
    from mirror.index.engine import Database

#: Digests in one statement: well below the number of parameters that either engine takes.
_AT_ONCE: Final = 500


class HoldingTables:
    """core.ports.HoldingIndex. Raises `IndexDown` throughout."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def idle_holdings(self, batch: int) -> AsyncIterator[Sequence[Holding]]:
        """Every blob, the one whose last use is longest ago first.

        Names are walked by their use; a blob is given where its newest name stands, so that one old name of a file that
        another name keeps busy does not make it old.
        """
        before = (-1, "")
        while names := await self._used_after(before, batch):
            place = _place(names[-1])
            blobs = await self._all_names({name.digest for name in names})
            due = sorted((newest, each) for each in blobs if before < (newest := max(map(_place, each))) <= place)
            yield [holding for _, each in due if (holding := _holding(each))]
            before = place

    async def _used_after(self, place: tuple[int, str], count: int) -> Sequence[Any]:
        after = tuple_(entries.c.last_used, entries.c.key) > place
        wanted = select(entries.c.digest, entries.c.last_used, entries.c.key)
        async with self._database.read() as connection:
            return (await connection.execute(wanted.where(after).order_by(entries.c.last_used, entries.c.key).limit(count))).all()

    async def _all_names(self, digests: set[str]) -> list[list[Row[Any]]]:
        """Every entry of each of these blobs."""
        names: dict[str, list[Row[Any]]] = {digest: [] for digest in digests}
        ordered = sorted(digests)
        async with self._database.read() as connection:
            for start in range(0, len(ordered), _AT_ONCE):
                part = ordered[start : start + _AT_ONCE]
                for row in await connection.execute(select(entries).where(entries.c.digest.in_(part))):
                    names[row.digest].append(row)
        return [each for each in names.values() if each]

    async def named(self, digests: Sequence[Digest]) -> frozenset[Digest]:
        """Those of `digests` that an entry names."""
        found: set[str] = set()
        asked = {str(digest): digest for digest in digests}
        async with self._database.read() as connection:
            for start in range(0, len(digests), _AT_ONCE):
                part = list(asked)[start : start + _AT_ONCE]
                rows = await connection.execute(select(entries.c.digest).distinct().where(entries.c.digest.in_(part)))
                found.update(rows.scalars())
        return frozenset(asked[name] for name in found)

    async def forget_blob(self, digest: Digest) -> None:
        """Drop every entry of a blob."""
        async with self._database.write() as connection:
            await connection.execute(delete(entries).where(entries.c.digest == str(digest)))

    async def totals(self) -> Totals:
        """Counted now."""
        each = select(func.max(entries.c.size).label("size")).group_by(entries.c.digest).subquery()
        async with self._database.read() as connection:
            count, blobs = (await connection.execute(select(func.count(), func.count(distinct(entries.c.digest))).select_from(entries))).one()
            size = (await connection.execute(select(func.coalesce(func.sum(each.c.size), 0)))).scalar_one()
            pages = (await connection.execute(select(func.count()).select_from(documents))).scalar_one()
        return Totals(int(count), int(blobs), int(size), int(pages))

    async def pins(self) -> Sequence[Pin]:
        """All pins, the oldest first."""
        async with self._database.read() as connection:
            rows = (await connection.execute(select(pins).order_by(pins.c.at, pins.c.key))).all()
        return [Pin(row.pattern, row.reason, moment(row.at)) for row in rows]

    async def put_pin(self, pin: Pin) -> None:
        """Keep a pin."""
        row = {"key": row_key(pin.pattern), "pattern": storable(pin.pattern), "reason": storable(pin.reason), "at": micros(pin.at)}
        async with self._database.write() as connection:
            await connection.execute(self._database.upsert(pins), [row])

    async def drop_pin(self, pattern: str) -> bool:
        """Whether there was one."""
        async with self._database.write() as connection:
            gone = await connection.execute(delete(pins).where(pins.c.key == row_key(pattern)))
        return gone.rowcount > 0


def _place(row: Any) -> tuple[int, str]:
    return row.last_used, row.key


def _holding(names: Sequence[Row[Any]]) -> Holding | None:
    """A blob from all rows of its names; None where not one can be read."""
    artifacts: list[Artifact] = []
    for row in names:
        with suppress(*MALFORMED):
            artifacts.append(artifact_from(row.artifact))
    try:
        blob = Blob(digest_from(names[0].digest), int(names[0].size))
        return Holding(blob, moment(max(int(row.last_used) for row in names)), tuple(artifacts))
    except MALFORMED:
        return None
