"""What the ledger removed and erased, taken out of its queryable copy: rows of events become counts, in one transaction with the record that says so."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

import zstandard
from sqlalchemy import delete, select

from mirror.index.rows import micros, storable
from mirror.index.tables import event_counts, event_personal, event_records, event_terms, events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from mirror.index.engine import Database

    Terms = Callable[[Mapping[str, Any]], Iterable[tuple[str, str]]]

_CHUNK: Final = 500
_LONGEST_ARTIFACT: Final = 500
_LONGEST_TERM: Final = 200


async def removed(database: Database, connection: AsyncConnection, records: Sequence[Mapping[str, Any]], terms: Terms) -> None:
    """Carry out what these records say; those that say nothing of the kind are passed over. `terms` gives those of an indexed record."""
    for record in records:
        if record["kind"] == "counts":
            await _counted(database, connection, record, terms)
        elif record["kind"] == "erased" and "sequences" in record["detail"]:
            await _erased(connection, record["detail"]["sequences"])


async def _counted(database: Database, connection: AsyncConnection, record: Mapping[str, Any], terms: Terms) -> None:
    for part in record["detail"]["removed"]:
        found = await _load(connection, [part["classes"]])
        if not found:
            continue
        detail, data = found[0][0]["detail"], bytes.fromhex(part["removed"])
        gone = [int(detail["since"]) + at for at in range(len(data) * 8) if data[at // 8] >> at % 8 & 1]
        for start in range(0, len(gone), _CHUNK):
            await _drop(connection, gone[start : start + _CHUNK], terms)
    rows = list(_rows(record))
    for start in range(0, len(rows), _CHUNK):
        await connection.execute(database.insert(event_counts).on_conflict_do_nothing(), rows[start : start + _CHUNK])


async def _drop(connection: AsyncConnection, sequences: Sequence[int], terms: Terms) -> None:
    """The rows of these events. Terms are found by themselves, for their table has no index by sequence."""
    by_term: dict[tuple[str, str], list[int]] = {}
    for record, name in await _load(connection, sequences):
        for facet, term in terms(record):
            by_term.setdefault((facet, term), []).append(record["seq"])
        by_term.setdefault(("actor", name[:_LONGEST_TERM]), []).append(record["seq"])
    await _drop_terms(connection, by_term)
    for table in (event_personal, event_records, events):
        await connection.execute(delete(table).where(table.c.seq.in_(sequences)))


async def _drop_terms(connection: AsyncConnection, by_term: Mapping[tuple[str, str], Sequence[int]]) -> None:
    for (facet, term), some in by_term.items():
        place = event_terms.c
        await connection.execute(delete(event_terms).where(place.facet == facet, place.term == term, place.seq.in_(some)))


async def _erased(connection: AsyncConnection, ranges: Sequence[Sequence[int]]) -> None:
    sequences = [at for since, until in ranges for at in range(since, until)]
    for start in range(0, len(sequences), _CHUNK):
        some = sequences[start : start + _CHUNK]
        by_term: dict[tuple[str, str], list[int]] = {}
        for record, name in await _load(connection, some):
            by_term.setdefault(("actor", name[:_LONGEST_TERM]), []).append(record["seq"])
        await _drop_terms(connection, by_term)
        await connection.execute(delete(event_personal).where(event_personal.c.seq.in_(some)))


async def _load(connection: AsyncConnection, sequences: Sequence[int]) -> list[tuple[dict[str, Any], str]]:
    """Records as they lie there, each with who asked."""
    decompress = zstandard.ZstdDecompressor().decompress
    both = event_records.outerjoin(event_personal, event_records.c.seq == event_personal.c.seq)
    wanted = select(event_records.c.record, event_personal.c.personal).select_from(both).where(event_records.c.seq.in_(sequences))
    rows = (await connection.execute(wanted)).all()
    return [(json.loads(decompress(record)), str(json.loads(personal)["name"] or "") if personal else "") for record, personal in rows]


def _rows(record: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """One row for each group of a count, of which the first counts where it is not asked by group."""
    number = 0
    for one in record["detail"]["rows"]:
        day = date.fromisoformat(one["day"])
        for lead, group in enumerate(one["groups"] or ("",)):
            yield {
                "seq": record["seq"], "row": number, "lead": int(not lead), "day": micros(datetime(day.year, day.month, day.day, tzinfo=UTC)),
                "artifact": storable(one["artifact"])[:_LONGEST_ARTIFACT], "publisher": storable(one["publisher"])[:_LONGEST_TERM],
                "group": storable(group)[:_LONGEST_TERM], "country": one["country"], "events": one["events"], "requests": one["requests"],
            }  # fmt: skip
            number += 1
