"""What reviewers found of matches (core.findings.FindingIndex).

The ledger has them too: an index that was begun anew has them again once it has caught up (`restored`).
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, insert, select, update

from mirror.core.findings import Finding
from mirror.index.rows import micros, moment, storable
from mirror.index.tables import findings as table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from mirror.index.engine import Database

#: The kind of ledger event that holds a finding: its fields are the event's detail.
KIND: Final = "finding"
_TEXTS: Final = ("id", "subject", "subject_digest", "list", "entry", "entry_digest", "finding", "by", "reason")


class FindingTable:
    """Raises `IndexDown` throughout."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def findings(self, *, recorded: bool | None = None) -> Sequence[Finding]:
        """All, or those that the ledger has or has not yet, the oldest first."""
        wanted = select(table).order_by(table.c.at, table.c.id)
        if recorded is not None:
            wanted = wanted.where(table.c.recorded == int(recorded))
        async with self._database.read() as connection:
            return [_finding(row) for row in await connection.execute(wanted)]

    async def findings_state(self) -> tuple[int, int]:
        """(how many, how many of them the ledger has)."""
        counted = select(func.count(), func.coalesce(func.sum(table.c.recorded), 0))
        async with self._database.read() as connection:
            count, recorded = (await connection.execute(counted)).one()
        return int(count), int(recorded)

    async def put_finding(self, finding: Finding) -> None:
        """Keep a new one. It counts once the ledger has it."""
        async with self._database.write() as connection:
            await connection.execute(insert(table), [_row(finding, recorded=0)])

    async def mark_recorded(self, finding_id: str) -> None:
        """The ledger has it."""
        async with self._database.write() as connection:
            await connection.execute(update(table).where(table.c.id == finding_id).values(recorded=1))


async def restored(database: Database, connection: AsyncConnection, records: Sequence[Mapping[str, Any]]) -> None:
    """Take findings from ledger records that hold one."""
    rows = [_row(_from_detail(record["detail"]), recorded=1) for record in records if record["kind"] == KIND]
    if rows:
        await connection.execute(database.upsert(table), rows)


def _from_detail(detail: Mapping[str, Any]) -> Finding:
    return Finding(**{name: str(detail[name]) for name in _TEXTS}, at=datetime.fromisoformat(detail["at"]))


def _row(finding: Finding, *, recorded: int) -> dict[str, Any]:
    texts = {name: storable(getattr(finding, name)) for name in _TEXTS}
    return {**texts, "at": micros(finding.at), "recorded": recorded}


def _finding(row: Row[Any]) -> Finding:
    return Finding(**{name: getattr(row, name) for name in _TEXTS}, at=moment(row.at))
