"""Everything that judges, as one frozen snapshot: a request is judged under one epoch from start to end."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from mirror.core.canonical import canonical

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

    @property
    def findings(self) -> bytes:
        """What reviewers said of matches and counts now, in canonical JSON; empty where nobody said anything."""
        reviewed = next((one.reviewed for one in self.lists.values() if one.reviewed), None)
        return reviewed.content if reviewed is not None else b""

    @property
    def manifest(self) -> bytes:
        """Names everything that judges, in canonical JSON: what a record cites as its `rulebook` and the evidence archive keeps.

        Policy, catalogue, lineage and findings by SHA-256; each list by edition and SHA-256 of its files, with its settings.
        """
        from mirror.policy.screening import MATCHER  # a mirror without lists compares no names

        findings = self.findings
        return canonical({
            "version": 1, "policy": self.policy.digest, "catalogue": self.catalogue.digest, "lineage": self.lineage.digest,
            "matcher": MATCHER, "findings": sha256(findings).hexdigest() if findings else None,
            "lists": {name: one.described for name, one in self.lists.items()},
        })  # fmt: skip
