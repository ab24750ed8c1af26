"""Acquisitions by artifact (core.acquisitions.AcquisitionIndex): taken from the ledger's events, and so had again from them."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from mirror.core.acquisitions import Acquisition, acquisition_from
from mirror.index.questions import LONGEST_ARTIFACT
from mirror.index.rows import MALFORMED, micros, moment, row_key, storable
from mirror.index.tables import acquisitions as table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from mirror.core.nouns import Artifact, Digest
    from mirror.index.engine import Database

#: The kind of ledger event that holds one.
KIND: Final = "acquired"
_AT_ONCE: Final = 500


class AcquisitionTable:
    """Raises `IndexDown` throughout."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def acquired_among(self, pairs: Sequence[tuple[Artifact, Digest]]) -> frozenset[tuple[str, Digest]]:
        """Those of which the record has it that these bytes came here under this name."""
        keyed = {row_key(str(artifact), str(digest)): (str(artifact), digest) for artifact, digest in pairs}
        keys, found = sorted(keyed), set[str]()
        async with self._database.read() as connection:
            for start in range(0, len(keys), _AT_ONCE):
                found.update((await connection.execute(select(table.c.key).where(table.c.key.in_(keys[start : start + _AT_ONCE])))).scalars())
        return frozenset(keyed[key] for key in found)

    async def acquisitions(self, artifacts: Sequence[Artifact]) -> Sequence[Acquisition]:
        """Those of these artifacts, the oldest first."""
        names = {str(artifact) for artifact in artifacts}
        cut = sorted({_cut(name) for name in names})
        rows: list[Any] = []
        async with self._database.read() as connection:
            for start in range(0, len(cut), _AT_ONCE):
                rows += await connection.execute(
                    select(table).where(table.c.artifact.in_(cut[start : start + _AT_ONCE]))
                )
        return [found for found in _read(sorted(rows, key=lambda row: row.seq)) if str(found.artifact) in names]

    async def acquired(self, prefix: str, limit: int) -> Sequence[Acquisition]:
        """Those of artifacts whose package URL begins so, by name."""
        start = _cut(prefix)
        wanted = select(table).where(table.c.artifact >= start, table.c.artifact < start + "\U0010ffff")
        async with self._database.read() as connection:
            rows = (await connection.execute(wanted.order_by(table.c.artifact, table.c.seq).limit(limit))).all()
        return [found for found in _read(rows) if str(found.artifact).startswith(prefix)]


async def restored_acquisitions(
    database: Database, connection: AsyncConnection, records: Sequence[Mapping[str, Any]]
) -> None:
    """Take acquisitions from ledger records that hold one; the first of a name and its bytes stands."""
    rows = {
        row["key"]: row for record in reversed(records) if record["kind"] == KIND and (row := _row(record)) is not None
    }
    if rows:
        await connection.execute(database.insert(table).on_conflict_do_nothing(), [rows[key] for key in sorted(rows)])


def _row(record: Mapping[str, Any]) -> dict[str, Any] | None:
    subject, detail = str(record["subject"]), record.get("detail", {})
    try:
        # What a bundle told of stands beside our own, and in the way of none.
        carried = (str(detail["sender"]),) if detail.get("sender") else ()
        key, at = row_key(subject, str(detail["digest"]), *carried), micros(datetime.fromisoformat(record["at"]))
    except MALFORMED:
        return None
    told = json.dumps([subject, detail], ensure_ascii=False)
    return {"key": key, "artifact": storable(_cut(subject)), "seq": record["seq"], "at": at, "record": storable(told)}


def _read(rows: Sequence[Any]) -> list[Acquisition]:
    found = []
    for row in rows:
        with suppress(*MALFORMED):
            subject, detail = json.loads(row.record)
            found.append(acquisition_from(subject, moment(row.at), detail))
    return found


def _cut(name: str) -> str:
    return name[:LONGEST_ARTIFACT]
