"""What is asked of the record in sums: how much was answered, and how, by day, rule, country, publisher or group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: How a request was answered; the words stand in this order in every table. `steered` are pages that left something out,
#: `hub` what the hub itself refused.
OUTCOMES: Final = ("allowed", "refused", "held", "steered", "hub")
#: Which answer a kind of event is; a repeat is what its decision was. Kinds that are missing here answer nobody.
OUTCOME_OF: Final[Mapping[str, str]] = {
    "allowed": "allowed", "refused": "refused", "write_refused": "refused", "route_refused": "refused", "held": "held", "steered": "steered",
    "hub_refused": "hub",
}  # fmt: skip
#: What answers can be summed by.
BY: Final = ("day", "rule", "country", "publisher", "group")


@dataclass(frozen=True, slots=True)
class Summed:
    """The answers of one day (`2026-01-31`, UTC), rule, country, publisher or group; `term` is empty for those without one.

    `events` are records, `requests` the answers that they stand for; both by the words of `OUTCOMES`, absent for none.
    """

    term: str
    events: Mapping[str, int]
    requests: Mapping[str, int]


class SummaryIndex(Protocol):
    """Sums over the queryable copy of the ledger."""

    async def summed(self, by: str, where: Mapping[str, str]) -> Sequence[Summed]:
        """Every value of `by` (`BY`) among the answers for which all of `where` holds (`core.ports.EventIndex.query`).

        Days in order, others with most requests first. An event of two groups or rules counts under both.
        """
