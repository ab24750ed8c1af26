"""Questions to the queryable copy of the ledger: what was asked, and how it is found in an index."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import ColumnElement, Select, func, select

from mirror.core.errors import InputError, Problem
from mirror.core.purl import parse_loose
from mirror.index.rows import micros
from mirror.index.tables import event_counts, event_terms, events

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

R = TypeVar("R", bound=tuple[Any, ...])
#: Facets that are one equality each; `artifact` is a prefix, `since` and `until` are times.
FACETS: Final = ("actor", "group", "publisher", "country", "rule", "list", "ancestor", "effect", "kind")
KEYS: Final = (*FACETS, "artifact", "since", "until")
LONGEST_TERM: Final = 200
LONGEST_ARTIFACT: Final = 500
#: Up to this many are counted, and sorted where an artifact or a time finds them; beyond it, walking newest first finds a page sooner.
_FEW: Final = 20_000
_DAY: Final = 86_400_000_000


class Question:
    """A query, and how to answer it from an index: driven by its rarest condition, the others probed by key."""

    def __init__(self, terms: Sequence[tuple[str, str]], artifact: str, since: int | None, until: int | None) -> None:
        """Take conditions that `read` has found sound; use `read`."""
        self._terms, self._artifact, self._since, self._until = terms, artifact[:LONGEST_ARTIFACT], since, until
        self._before: int | None = None

    @classmethod
    def read(cls, where: Mapping[str, str], before: int | None = None) -> Question:
        """Raises `InputError` with every fault."""
        problems = [Problem("query", key, f"not one of {', '.join(KEYS)}") for key in where if key not in KEYS]
        times: dict[str, int] = {}
        for key in ("since", "until"):
            if key in where:
                try:
                    times[key] = time_of(where[key])
                except ValueError:
                    problems.append(Problem("query", key, f"{where[key]!r} is neither a date nor an RFC 3339 moment"))
        asked = dict(where)
        if "ancestor" in where:
            try:
                asked["ancestor"] = asked_ancestor(where["ancestor"])
            except ValueError as error:
                problems.append(Problem("query", "ancestor", str(error)))
        if problems:
            raise InputError(problems)
        terms = [(key, asked[key][:LONGEST_TERM]) for key in FACETS if key in asked]
        question = cls(terms, asked.get("artifact", ""), times.get("since"), times.get("until"))
        question._before = before
        return question

    async def page(self, connection: AsyncConnection) -> Select[int]:
        """The sequences that answer, newest first."""
        counted = await self._rarest(connection)
        if self._artifact:
            named = select(events.c.seq).where(*self._named(indexed=True))
            many = await self._count(connection, named, _FEW)
            if many < _FEW and (counted is None or many <= counted[0]):
                # The sum hides the key from the planner, which would otherwise walk all events in order.
                return self._in_reach(named, events).where(*self._holding(events)).order_by((events.c.seq + 0).desc())
        if counted is None:
            walk = self._in_reach(select(events.c.seq), events)
            if self._is_window and await self._count(connection, walk, _FEW) < _FEW:
                return walk.where(*self._named(indexed=False)).order_by((events.c.seq + 0).desc())
            return walk.where(*self._named(indexed=False)).order_by(events.c.seq.desc())
        driven = self._driven(select(event_terms.c.seq), counted[1])
        return driven.order_by(event_terms.c.seq.desc())

    async def over_days(self, connection: AsyncConnection, columns: Sequence[str]) -> tuple[Select[Any], Any]:
        """(a statement over everything that answers, the table it reads): the columns that `events` and `event_terms` share."""
        counted = await self._rarest(connection)
        if counted is None and self._artifact:
            return self._in_reach(select(*(events.c[name] for name in columns)), events).where(*self._named(indexed=True)), events
        if counted is None:  # every event is of one kind, and terms are narrower than events
            narrow = select(*(event_terms.c[name] for name in columns)).where(event_terms.c.facet == "kind")
            return self._in_reach(narrow, event_terms), event_terms
        return self._driven(select(*(event_terms.c[name] for name in columns)), counted[1]), event_terms

    def over_terms(self, statement: Select[R]) -> Select[R]:
        """`statement` over `event_terms`, only for what answers."""
        narrowed = self._in_reach(statement, event_terms).where(*self._holding(event_terms))
        return narrowed.where(*self._named_of_terms())

    def of_counts(self, statement: Select[R]) -> Select[R]:
        """`statement` over `event_counts`, only for days that lie in the time as a whole and for what is so named."""
        table = event_counts.c
        if self._since is not None:
            statement = statement.where(table.day >= self._since)
        if self._until is not None:
            statement = statement.where(table.day <= self._until - _DAY)
        return statement.where(table.artifact >= self._artifact, table.artifact < self._artifact + "\U0010ffff") if self._artifact else statement

    @property
    def _is_window(self) -> bool:
        """Whether times are asked for whose end is not now: those since a moment are found first by walking."""
        return self._until is not None

    async def _rarest(self, connection: AsyncConnection) -> tuple[int, tuple[str, str]] | None:
        return min([(await self._count(connection, self._having(term), _FEW), term) for term in self._terms], default=None)

    def _driven(self, statement: Select[R], driver: tuple[str, str]) -> Select[R]:
        chosen = statement.where(event_terms.c.facet == driver[0], event_terms.c.term == driver[1])
        return self._in_reach(chosen, event_terms).where(*self._holding(event_terms, driver), *self._named_of_terms())

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

    def _named_of_terms(self) -> list[ColumnElement[bool]]:
        if not self._artifact:
            return []
        match = select(events.c.seq).where(events.c.seq == event_terms.c.seq, *self._named(indexed=False))
        return [match.correlate(event_terms).exists()]

    def _named(self, *, indexed: bool) -> list[ColumnElement[bool]]:
        if not self._artifact:
            return []
        column: ColumnElement[str] = events.c.artifact if indexed else events.c.artifact.concat("")
        return [column >= self._artifact, column < self._artifact + "\U0010ffff"]

    def _in_reach(self, statement: Select[R], table: Any) -> Select[R]:
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


def ancestor_terms(project: str) -> Iterator[str]:
    """The terms under which an ancestor is found: its package URL, and its owner's with `*`. Names know no case on either hub."""
    folded = project.casefold()
    yield folded
    owner, slash, _ = folded.partition("?")[0].rpartition("/")
    if slash and owner.count("/") > 0:
        yield f"{owner}/*"


def asked_ancestor(text: str) -> str:
    """The term of `org/name`, `org/*` or a package URL of a project. Raises `ValueError`."""
    if text.endswith("/*"):
        return f"{str(parse_loose(text[:-1] + 'any').project).rpartition('/')[0]}/*".casefold()
    return str(parse_loose(text).project).casefold()


def time_of(text: str) -> int:
    """Microseconds of an RFC 3339 moment, or of a date's first instant in UTC. Raises `ValueError`."""
    if len(text) == len("2026-01-31"):
        day = date.fromisoformat(text)
        return micros(datetime(day.year, day.month, day.day, tzinfo=UTC))
    moment = datetime.fromisoformat(text)
    return micros(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
