"""The queryable copy of the ledger (core.ports.EventIndex)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeVar

import zstandard
from sqlalchemy import delete, func, select

from mirror.core.questions import OUTCOME_OF, OUTCOMES
from mirror.index.acquisitions import restored_acquisitions
from mirror.index.findings import restored
from mirror.index.questions import LONGEST_ARTIFACT, LONGEST_TERM, Question, ancestor_terms, time_of
from mirror.index.removal import removed
from mirror.index.tables import event_counts, event_personal, event_records, event_terms, events

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from mirror.index.engine import Database

T = TypeVar("T")
#: What a repeated answer takes over from the decision it repeats.
_INHERITED: Final = ("publisher", "rule", "list", "effect", "ancestor")
#: Facets that are summed by: an answer that has none of them has the empty term.
_SUMMED: Final = ("country", "group", "publisher", "rule")
_CODES: Final = {kind: OUTCOMES.index(word) + 1 for kind, word in OUTCOME_OF.items()}
_CHUNK: Final = 500
#: In a stored repeat: the terms that it has from its decision, which may be removed before it.
_FROM_DECISION: Final = "inherited"


class EventTables:
    """Records by what people ask for. Every method raises `IndexDown`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_events(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Take joined records (SURFACE 5, with `personal`) in order; those already here stay as they are."""
        known = {record["decision"]["id"]: record for record in records if "decision" in record}
        subjects = {str(record["subject"]) for record in records if "subject" in record} - set(known)
        async with self._database.read() as connection:
            known |= await self._decisions(connection, subjects)
        rows = _Rows()
        for record in records:
            rows.add(record, known.get(str(record.get("subject"))))
        async with self._database.write() as connection:
            for table, values in rows.tables():
                if values:
                    await connection.execute(self._database.insert(table).on_conflict_do_nothing(), values)
            await restored(self._database, connection, records)
            await restored_acquisitions(self._database, connection, records)
            await removed(self._database, connection, records, indexed_terms)

    async def last_sequence(self) -> int:
        """The highest sequence indexed, -1 when empty."""
        async with self._database.read() as connection:
            found = (await connection.execute(select(func.max(events.c.seq)))).scalar()
        return -1 if found is None else int(found)

    async def find_decision(self, decision_id: str) -> Mapping[str, Any] | None:
        """The record in which this decision was first made, or None."""
        async with self._database.read() as connection:
            found = await self._decisions(connection, {decision_id})
        return found.get(decision_id)

    async def query(self, where: Mapping[str, str], limit: int, before: int | None) -> Sequence[Mapping[str, Any]]:
        """At most `limit` records below sequence `before`, newest first, for which all of `where` holds.

        Keys: `questions.KEYS`. `artifact` is a prefix of the package URL, `ancestor` a project (`org/name`, `org/*` or a package URL), `since` (inclusive) and `until` (exclusive) are RFC 3339
        moments or dates in UTC. Raises `InputError` with every fault in `where`.
        """
        question = Question.read(where, before)
        async with self._database.read() as connection:
            page = await question.page(connection)
            found = [int(row[0]) for row in await connection.execute(page.limit(limit))]
            return await load_records(connection, found)

    async def forget_events(self) -> None:
        """Empty the copy, to be filled again from the segments."""
        async with self._database.write() as connection:
            for table in (events, event_records, event_personal, event_terms, event_counts):
                await connection.execute(delete(table))

    async def _decisions(self, connection: AsyncConnection, ids: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        for some in _chunks(sorted(ids)):
            first = select(func.min(events.c.seq)).where(events.c.decision.in_(some)).group_by(events.c.decision)
            sequences = [int(row[0]) for row in await connection.execute(first)]
            for record in await load_records(connection, sequences):
                found[record["decision"]["id"]] = record
        return found


class _Rows:
    """Records taken apart into the rows of four tables."""

    def __init__(self) -> None:
        self._events: list[dict[str, Any]] = []
        self._records: list[dict[str, Any]] = []
        self._personal: list[dict[str, Any]] = []
        self._terms: list[dict[str, Any]] = []
        self._compress = zstandard.ZstdCompressor(level=3).compress

    def tables(self) -> list[tuple[Any, list[dict[str, Any]]]]:
        """In the order in which they are written: `events` last, for `last_sequence` reads it."""
        return [
            (event_terms, self._terms),
            (event_personal, self._personal),
            (event_records, self._records),
            (events, self._events),
        ]

    def add(self, record: Mapping[str, Any], repeated: Mapping[str, Any] | None) -> None:
        seq, at = record["seq"], time_of(record["at"])
        decision = record.get("decision")
        subject = str(record.get("subject", ""))
        about = decision or (repeated or {}).get("decision") or {}
        outcome = _CODES.get((repeated or record)["kind"] if record["kind"] == "repeated" else record["kind"], 0)
        artifact = about.get("artifact") or (subject if subject.startswith("pkg:") else None)
        self._events.append(
            {
                "seq": seq,
                "at": at,
                "decision": None if decision is None else decision["id"],
                "artifact": None if artifact is None else artifact[:LONGEST_ARTIFACT],
                "outcome": outcome,
                "requests": record["count"],
            }
        )
        bare, personal = _parted(record)
        inherited = sorted({(facet, term) for facet, term in _terms(repeated or {}) if term and facet in _INHERITED}) if repeated else []
        if inherited:
            bare[_FROM_DECISION] = inherited
        self._records.append({"seq": seq, "record": self._compress(_dumped(bare))})
        if personal is not None:
            self._personal.append({"seq": seq, "personal": _dumped(personal)})
        terms = {(facet, term[:LONGEST_TERM]) for facet, term in (*_terms(record), *inherited) if term}
        if outcome:
            terms |= {(facet, "") for facet in _SUMMED} - {(facet, "") for facet, _ in terms}
        self._terms += [
            {"facet": facet, "term": term, "seq": seq, "at": at, "outcome": outcome, "requests": record["count"]} for facet, term in sorted(terms)
        ]


def indexed_terms(record: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Every term that a record as it lies in the table may be found under, but who asked."""
    found = {(facet, term[:LONGEST_TERM]) for facet, term in (*_terms(record), *map(tuple, record.get(_FROM_DECISION, ()))) if term}
    return found | {(facet, "") for facet in _SUMMED}


def _terms(record: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    actor = record["actor"]
    yield "kind", record["kind"]
    yield "actor", actor.get("name") or ""
    yield "country", actor.get("country") or ""
    for group in actor["groups"]:
        yield "group", group
    decision = record.get("decision")
    if decision is None:
        return
    yield "effect", decision["effect"]
    yield "publisher", (decision["facts"].get("publisher") or {}).get("value") or ""
    for rule in decision["rules"]:
        yield "rule", rule["id"]
    for match in decision["matches"]:
        yield "list", match["list"]
    for edge in decision["lineage"]:
        for term in ancestor_terms(edge["to"]):
            yield "ancestor", term


def _parted(record: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A joined record as what stays and what erasure deletes."""
    actor = dict(record["actor"])
    personal: dict[str, Any] = {"name": actor.pop("name", None), "address": actor.pop("address", None)}
    bare = {**record, "actor": actor}
    if decision := record.get("decision"):
        request = dict(decision["request"])
        personal["user_agent"] = request.pop("user_agent", None)
        request["path"], _, personal["query"] = request["path"].partition("?")
        kept = {key: value for key, value in decision["actor"].items() if key not in ("name", "address")}
        bare["decision"] = {**decision, "actor": kept, "request": request}
    return bare, None if personal["name"] is None else personal


def _joined(bare: dict[str, Any], personal: Mapping[str, Any]) -> dict[str, Any]:
    bare.pop(_FROM_DECISION, None)
    who = {"name": personal.get("name"), "address": personal.get("address")}
    bare["actor"] |= who
    if decision := bare.get("decision"):
        decision["actor"] |= who
        decision["request"]["user_agent"] = personal.get("user_agent")
        if query := personal.get("query"):
            decision["request"]["path"] += f"?{query}"
    return bare


async def load_records(connection: AsyncConnection, sequences: Sequence[int]) -> list[dict[str, Any]]:
    """Joined records in the order of `sequences`."""
    decompress = zstandard.ZstdDecompressor().decompress
    found: dict[int, dict[str, Any]] = {}
    both = event_records.outerjoin(event_personal, event_records.c.seq == event_personal.c.seq)
    columns = select(event_records.c.seq, event_records.c.record, event_personal.c.personal).select_from(both)
    for some in _chunks(sequences):
        for seq, record, personal in await connection.execute(columns.where(event_records.c.seq.in_(some))):
            found[seq] = _joined(json.loads(decompress(record)), json.loads(personal) if personal else {})
    return [found[seq] for seq in sequences if seq in found]


def _chunks(items: Sequence[T]) -> Iterable[Sequence[T]]:
    """Few enough for one IN list on either engine."""
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]


def _dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
