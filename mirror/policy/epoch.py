"""Everything that judges, as one frozen snapshot: a request is judged under one epoch from start to end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.policy.catalogue import Catalogue
    from mirror.policy.compile import Policy
    from mirror.policy.lineage import Lineage
    from mirror.policy.screening import ScreeningList


@dataclass(frozen=True, slots=True)
class Epoch:
    """Rules, publishers, lineage and lists that belong together. `number` rises with every change in one process."""

    number: int
    policy: Policy
    catalogue: Catalogue
    lineage: Lineage
    lists: Mapping[str, ScreeningList]

    @property
    def editions(self) -> tuple[tuple[str, str], ...]:
        """(list, edition), sorted: what a decision records of its lists."""
        return tuple(sorted((name, one.edition) for name, one in self.lists.items()))
