"""Who was asked for (core.traffic.TrafficIndex), from the queryable copy of the ledger."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from sqlalchemy import func, select

from mirror.core.nouns import HUGGINGFACE
from mirror.core.traffic import Seen
from mirror.index.events import load_records
from mirror.index.rows import micros, moment
from mirror.index.tables import event_terms, events

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from mirror.index.engine import Database

#: Artifacts of strangers that are looked at, the latest first, and strangers whose declared names are looked up.
_ARTIFACTS: Final = 200_000
_DECLARED: Final = 2_000
_PROJECTS: Final = 5


class TrafficTables:
    """Raises `IndexDown` throughout."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def seen(self, since: datetime | None = None) -> Sequence[Seen]:
        """Everybody who was asked for since then (None: ever), the latest first."""
        start = 0 if since is None else micros(since)
        found = [*await self._publishers(start), *await self._strangers(start)]
        return sorted(found, key=lambda one: one.last, reverse=True)

    async def _publishers(self, start: int) -> list[Seen]:
        at = event_terms.c.at
        wanted = select(event_terms.c.term, func.count(), func.min(at), func.max(at))
        wanted = wanted.where(event_terms.c.facet == "publisher", event_terms.c.term != "", at >= start).group_by(event_terms.c.term)
        async with self._database.read() as connection:
            rows = (await connection.execute(wanted)).all()
        return [Seen(term, "", "", (), (), int(count), moment(first), moment(last)) for term, count, first, last in rows]

    async def _strangers(self, start: int) -> list[Seen]:
        # Joined and not `not exists`: SQLite would walk all terms of the facet for each row of that.
        known = select(event_terms.c.seq).where(event_terms.c.facet == "publisher", event_terms.c.term != "").distinct().subquery()
        at, seq = events.c.at, events.c.seq
        wanted = select(events.c.artifact, func.count(), func.min(at), func.max(at), func.max(seq))
        wanted = wanted.select_from(events.outerjoin(known, known.c.seq == seq))
        wanted = wanted.where(known.c.seq.is_(None), events.c.decision.is_not(None), events.c.artifact.is_not(None), at >= start)
        wanted = wanted.group_by(events.c.artifact).order_by(func.max(seq).desc()).limit(_ARTIFACTS)
        found: dict[tuple[str, str], Seen] = {}
        newest: dict[tuple[str, str], int] = {}
        async with self._database.read() as connection:
            for artifact, count, first, last, latest in await connection.execute(wanted):
                one = _stranger(artifact, int(count), moment(first), moment(last))
                key = (one.ecosystem, one.owner or one.projects[0])
                found[key] = _together(found[key], one) if key in found else one
                newest.setdefault(key, int(latest))
            ordered = list(newest.items())[:_DECLARED]
            records = await load_records(connection, [latest for _, latest in ordered])
        declared = {record["seq"]: _declared(record) for record in records}
        return [replace(one, names=tuple(dict.fromkeys((*one.names, *declared.get(newest[key], ()))))) for key, one in found.items()]


def _stranger(artifact: str, count: int, first: datetime, last: datetime) -> Seen:
    ecosystem, _, rest = artifact.removeprefix("pkg:").partition("/")
    project = unquote(rest.partition("@")[0].partition("?")[0].partition("#")[0])
    owner = project.partition("/")[0] if ecosystem == HUGGINGFACE and "/" in project else ""
    return Seen("", ecosystem, owner, (owner,) if owner else (), (project,), count, first, last)


def _together(one: Seen, other: Seen) -> Seen:
    projects = tuple(dict.fromkeys((*one.projects, *other.projects)))[:_PROJECTS]
    return replace(
        one, projects=projects, decisions=one.decisions + other.decisions, first=min(one.first, other.first), last=max(one.last, other.last)
    )


def _declared(record: Mapping[str, Any]) -> tuple[str, ...]:
    decision = record.get("decision") or {}
    value = (decision.get("facts", {}).get("names") or {}).get("value") or ()
    return tuple(str(name) for name in value)
