"""The whole index behind one object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.index.acquisitions import AcquisitionTable
from mirror.index.bulk import BulkTables
from mirror.index.cache import CacheTables
from mirror.index.engine import Database, open_database
from mirror.index.events import EventTables
from mirror.index.findings import FindingTable
from mirror.index.holdings import HoldingTables
from mirror.index.summaries import SummaryTables
from mirror.index.tokens import TokenTable
from mirror.index.traffic import TrafficTables

if TYPE_CHECKING:
    from pathlib import Path


class SqlIndex(
    CacheTables, HoldingTables, EventTables, TokenTable, FindingTable, TrafficTables, SummaryTables, BulkTables, AcquisitionTable
):
    """Everything that is kept in a database, on one.

    core.ports.DocumentIndex, EntryIndex, HoldingIndex, GrantIndex, PlaceIndex, EventIndex, core.tokens.TokenIndex,
    core.findings.FindingIndex, core.traffic.TrafficIndex, core.questions.SummaryIndex and core.acquisitions.AcquisitionIndex.
    """

    def __init__(self, database: Database) -> None:
        CacheTables.__init__(self, database)
        HoldingTables.__init__(self, database)
        EventTables.__init__(self, database)
        TokenTable.__init__(self, database)
        FindingTable.__init__(self, database)
        TrafficTables.__init__(self, database)
        SummaryTables.__init__(self, database)
        BulkTables.__init__(self, database)
        AcquisitionTable.__init__(self, database)

    @classmethod
    async def open(cls, url: str | None, data: Path) -> SqlIndex:
        """Connect and migrate. `url` None is SQLite at `<data>/index.sqlite`, else `postgresql://…`.

        Raises `InputError` for an unusable URL, `mirror.index.engine.IndexDown` when the database does not answer.
        """
        return cls(await open_database(url, data))

    async def close(self) -> None:
        """Release every connection."""
        await self._database.close()
