"""Sums over the queryable copy of the ledger (core.questions.SummaryIndex)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, literal, select

from mirror.core.errors import InputError, Problem
from mirror.core.questions import BY, OUTCOMES, Summed
from mirror.index.questions import LONGEST_TERM, Question
from mirror.index.rows import moment
from mirror.index.tables import event_counts, event_terms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mirror.index.engine import Database

_DAY: Final = 86_400_000_000
#: Conditions that counts of removed permissions can answer; of their days, those that lie in the time as a whole.
_ANSWERED: Final = frozenset({"group", "country", "publisher", "artifact", "since", "until", "kind", "effect"})
ALLOWED: Final = OUTCOMES[0]


class SummaryTables:
    """Raises `IndexDown` throughout."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def summed(self, by: str, where: Mapping[str, str]) -> Sequence[Summed]:
        """As `core.questions.SummaryIndex`. Raises `InputError` with every fault in `where`."""
        if by not in BY:
            raise InputError([Problem("query", "by", f"not one of {', '.join(BY)}")])
        question = Question.read(where)
        counted = await self._counted(by, where, question)
        if by == "day":
            return sorted(_together([*await self._by_day(question), *counted]), key=lambda one: one.term)
        table = event_terms
        sums = select(table.c.term, table.c.outcome, func.count(), func.sum(table.c.requests))
        sums = question.over_terms(sums.where(table.c.facet == by, table.c.outcome > 0)).group_by(table.c.term, table.c.outcome)
        async with self._database.read() as connection:
            rows = (await connection.execute(sums)).all()
        return sorted(_together([*_summed(rows), *counted]), key=lambda one: (-sum(one.requests.values()), one.term))

    async def _counted(self, by: str, where: Mapping[str, str], question: Question) -> Sequence[Summed]:
        """The same of what retention has removed since: nothing where a condition asks for more than counts have."""
        table = event_counts.c
        if not _ANSWERED.issuperset(where) or where.get("kind", ALLOWED) != ALLOWED or where.get("effect", "allow") != "allow":
            return []
        columns: dict[str, Any] = {"day": table.day, "country": table.country, "publisher": table.publisher, "group": table.group}
        column = columns.get(by, literal(""))
        conditions = [columns[key] == where[key][:LONGEST_TERM] for key in ("country", "publisher", "group") if key in where]
        conditions += [] if by == "group" or "group" in where else [table.lead == 1]
        sums = question.of_counts(select(column, func.sum(table.events), func.sum(table.requests)).where(*conditions).group_by(column))
        async with self._database.read() as connection:
            rows = (await connection.execute(sums)).all()
        found = ((moment(int(row[0])).date().isoformat() if by == "day" else str(row[0]), int(row[1]), int(row[2])) for row in rows if row[1])
        return [Summed(term, {ALLOWED: events}, {ALLOWED: requests}) for term, events, requests in found]

    async def _by_day(self, question: Question) -> Sequence[Summed]:
        async with self._database.read() as connection:
            found, table = await question.over_days(connection, ("at", "outcome", "requests"))
            answers = found.where(table.c.outcome > 0).subquery()
            day = answers.c.at - answers.c.at % _DAY
            sums = select(day, answers.c.outcome, func.count(), func.sum(answers.c.requests)).group_by(day, answers.c.outcome)
            rows = (await connection.execute(sums)).all()
        return sorted(_summed((moment(int(row[0])).date().isoformat(), *row[1:]) for row in rows), key=lambda one: one.term)


def _together(found: Iterable[Summed]) -> list[Summed]:
    """Of two with one term, what both have."""
    by_term: dict[str, Summed] = {}
    for one in found:
        known = by_term.get(one.term, Summed(one.term, {}, {}))
        events, requests = ({word: a.get(word, 0) + b.get(word, 0) for word in {**a, **b}} for a, b in ((known.events, one.events), (known.requests, one.requests)))
        by_term[one.term] = Summed(one.term, events, requests)
    return list(by_term.values())


def _summed(rows: Iterable[Any]) -> list[Summed]:
    events: dict[str, dict[str, int]] = {}
    requests: dict[str, dict[str, int]] = {}
    for term, outcome, count, asked in rows:
        word = OUTCOMES[int(outcome) - 1]
        events.setdefault(term, {})[word] = int(count)
        requests.setdefault(term, {})[word] = int(asked)
    return [Summed(term, events[term], requests[term]) for term in events]
