"""Sums over the queryable copy of the ledger (core.questions.SummaryIndex)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select

from mirror.core.errors import InputError, Problem
from mirror.core.questions import BY, OUTCOMES, Summed
from mirror.index.questions import Question
from mirror.index.rows import moment
from mirror.index.tables import event_terms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mirror.index.engine import Database

_DAY: Final = 86_400_000_000


class SummaryTables:
    """Raises `IndexDown` throughout."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def summed(self, by: str, where: Mapping[str, str]) -> Sequence[Summed]:
        """As `core.questions.SummaryIndex`. Raises `InputError` with every fault in `where`."""
        if by not in BY:
            raise InputError([Problem("query", "by", f"not one of {', '.join(BY)}")])
        question = Question.read(where)
        if by == "day":
            return await self._by_day(question)
        table = event_terms
        sums = select(table.c.term, table.c.outcome, func.count(), func.sum(table.c.requests))
        sums = question.over_terms(sums.where(table.c.facet == by, table.c.outcome > 0)).group_by(table.c.term, table.c.outcome)
        async with self._database.read() as connection:
            rows = (await connection.execute(sums)).all()
        return sorted(_summed(rows), key=lambda one: (-sum(one.requests.values()), one.term))

    async def _by_day(self, question: Question) -> Sequence[Summed]:
        async with self._database.read() as connection:
            found, table = await question.over_days(connection, ("at", "outcome", "requests"))
            answers = found.where(table.c.outcome > 0).subquery()
            day = answers.c.at - answers.c.at % _DAY
            sums = select(day, answers.c.outcome, func.count(), func.sum(answers.c.requests)).group_by(day, answers.c.outcome)
            rows = (await connection.execute(sums)).all()
        return sorted(_summed((moment(int(row[0])).date().isoformat(), *row[1:]) for row in rows), key=lambda one: one.term)


def _summed(rows: Iterable[Any]) -> list[Summed]:
    events: dict[str, dict[str, int]] = {}
    requests: dict[str, dict[str, int]] = {}
    for term, outcome, count, asked in rows:
        word = OUTCOMES[int(outcome) - 1]
        events.setdefault(term, {})[word] = int(count)
        requests.setdefault(term, {})[word] = int(asked)
    return [Summed(term, events[term], requests[term]) for term in events]
