"""The queryable copy of the ledger (core.ports.EventIndex)."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import zstandard
from sqlalchemy import ColumnElement, Select, delete, func, select

from mirror.core.errors import InputError, Problem
from mirror.index.findings import restored
from mirror.index.rows import micros
from mirror.index.tables import event_personal, event_records, event_terms, events

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from mirror.index.engine import Database

T = TypeVar("T")
#: Facets that are one equality each; `artifact` is a prefix, `since` and `until` are times.
FACETS: Final = ("actor", "group", "publisher", "country", "rule", "list", "effect", "kind")
KEYS: Final = (*FACETS, "artifact", "since", "until")
#: What a repeated answer takes over from the decision it repeats.
_INHERITED: Final = ("publisher", "rule", "list", "effect", "ancestor")
_LONGEST_TERM: Final = 200
_LONGEST_ARTIFACT: Final = 500
#: Up to this many artifacts are sorted; beyond it, walking newest first finds a page sooner.
_FEW_ARTIFACTS: Final = 20_000
_FEW: Final = 2_000
_CHUNK: Final = 500


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

        Keys: `KEYS`. `artifact` is a prefix of the package URL, `since` (inclusive) and `until` (exclusive) are RFC 3339
        moments or dates in UTC. Raises `InputError` with every fault in `where`.
        """
        question = _Question.read(where, before)
        async with self._database.read() as connection:
            page = await question.page(connection)
            found = [int(row[0]) for row in await connection.execute(page.limit(limit))]
            return await load_records(connection, found)

    async def forget_events(self) -> None:
        """Empty the copy, to be filled again from the segments."""
        async with self._database.write() as connection:
            for table in (events, event_records, event_personal, event_terms):
                await connection.execute(delete(table))

    async def _decisions(self, connection: AsyncConnection, ids: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        for some in _chunks(sorted(ids)):
            first = select(func.min(events.c.seq)).where(events.c.decision.in_(some)).group_by(events.c.decision)
            sequences = [int(row[0]) for row in await connection.execute(first)]
            for record in await load_records(connection, sequences):
                found[record["decision"]["id"]] = record
        return found


class _Question:
    """A query, and how to answer it from an index: driven by its rarest condition, the others probed by key."""

    def __init__(self, terms: Sequence[tuple[str, str]], artifact: str, since: int | None, until: int | None) -> None:
        self._terms, self._artifact, self._since, self._until = terms, artifact[:_LONGEST_ARTIFACT], since, until
        self._before: int | None = None

    @classmethod
    def read(cls, where: Mapping[str, str], before: int | None) -> _Question:
        """Raises `InputError`."""
        problems = [Problem("query", key, f"not one of {', '.join(KEYS)}") for key in where if key not in KEYS]
        times: dict[str, int] = {}
        for key in ("since", "until"):
            if key in where:
                try:
                    times[key] = _time(where[key])
                except ValueError:
                    problems.append(Problem("query", key, f"{where[key]!r} is neither a date nor an RFC 3339 moment"))
        if problems:
            raise InputError(problems)
        terms = [(key, where[key][:_LONGEST_TERM]) for key in FACETS if key in where]
        question = cls(terms, where.get("artifact", ""), times.get("since"), times.get("until"))
        question._before = before
        return question

    async def page(self, connection: AsyncConnection) -> Select[int]:
        """The sequences that answer, newest first."""
        counts = [(await self._count(connection, self._having(term), _FEW), term) for term in self._terms]
        rarest = min(counts, default=None)
        if self._artifact:
            named = select(events.c.seq).where(*self._named(indexed=True))
            many = await self._count(connection, named, _FEW_ARTIFACTS)
            if many < _FEW_ARTIFACTS and (rarest is None or many <= rarest[0]):
                # The sum hides the key from the planner, which would otherwise walk all events in order.
                return self._in_reach(named, events).where(*self._holding(events)).order_by((events.c.seq + 0).desc())
        if rarest is None:
            walk = self._in_reach(select(events.c.seq), events)
            return walk.where(*self._named(indexed=False)).order_by(events.c.seq.desc())
        driven = self._in_reach(self._having(rarest[1]), event_terms).where(*self._holding(event_terms, rarest[1]))
        if self._artifact:
            match = select(events.c.seq).where(events.c.seq == event_terms.c.seq, *self._named(indexed=False))
            driven = driven.where(match.correlate(event_terms).exists())
        return driven.order_by(event_terms.c.seq.desc())

    def _having(self, term: tuple[str, str]) -> Select[int]:
        return select(event_terms.c.seq).where(event_terms.c.facet == term[0], event_terms.c.term == term[1])

    def _holding(self, table: Any, driver: tuple[str, str] | None = None) -> list[ColumnElement[bool]]:
        conditions: list[ColumnElement[bool]] = []
        for number, (facet, value) in enumerate(self._terms):
            if (facet, value) != driver:
                other = event_terms.alias(f"t{number}")
                same = select(other.c.seq).where(other.c.facet == facet, other.c.term == value, other.c.seq == table.c.seq)
                conditions.append(same.correlate(table).exists())
        return conditions

    def _named(self, *, indexed: bool) -> list[ColumnElement[bool]]:
        if not self._artifact:
            return []
        column: ColumnElement[str] = events.c.artifact if indexed else events.c.artifact.concat("")
        return [column >= self._artifact, column < self._artifact + "\U0010ffff"]

    def _in_reach(self, statement: Select[int], table: Any) -> Select[int]:
        if self._before is not None:
            statement = statement.where(table.c.seq < self._before)
        if self._since is not None:
            statement = statement.where(table.c.at >= self._since)
        if self._until is not None:
            statement = statement.where(table.c.at < self._until)
        return statement

    @staticmethod
    async def _count(connection: AsyncConnection, statement: Select[int], limit: int) -> int:
        some = statement.limit(limit).subquery()
        return int((await connection.execute(select(func.count()).select_from(some))).scalar() or 0)


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
        seq, at = record["seq"], _time(record["at"])
        decision = record.get("decision")
        subject = str(record.get("subject", ""))
        about = decision or (repeated or {}).get("decision") or {}
        artifact = about.get("artifact") or (subject if subject.startswith("pkg:") else None)
        self._events.append(
            {
                "seq": seq,
                "at": at,
                "decision": None if decision is None else decision["id"],
                "artifact": None if artifact is None else artifact[:_LONGEST_ARTIFACT],
            }
        )
        bare, personal = _parted(record)
        self._records.append({"seq": seq, "record": self._compress(_dumped(bare))})
        if personal is not None:
            self._personal.append({"seq": seq, "personal": _dumped(personal)})
        terms = {(facet, term) for facet, term in _terms(record) if term}
        if repeated is not None:
            terms |= {(facet, term) for facet, term in _terms(repeated) if term and facet in _INHERITED}
        self._terms += [
            {"facet": facet, "term": term[:_LONGEST_TERM], "seq": seq, "at": at}
            for facet, term in sorted({(facet, term[:_LONGEST_TERM]) for facet, term in terms})
        ]


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
        yield "ancestor", edge["to"]


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


def _time(text: str) -> int:
    """Microseconds of an RFC 3339 moment, or of a date's first instant in UTC."""
    if len(text) == len("2026-01-31"):
        day = date.fromisoformat(text)
        return micros(datetime(day.year, day.month, day.day, tzinfo=UTC))
    moment = datetime.fromisoformat(text)
    return micros(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
