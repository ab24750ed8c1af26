"""What a reviewer said of a match on a list, and where that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

TRUE_MATCH: Final = "true_match"
FALSE_MATCH: Final = "false_match"
UNSURE: Final = "unsure"
#: What a match says of a finding that was made of another state of the entry or of the publisher: it counts no longer.
REOPENED: Final = "reopened"
FINDINGS: Final = (TRUE_MATCH, FALSE_MATCH, UNSURE)


@dataclass(frozen=True, slots=True)
class Finding:
    """A reviewer's verdict on whether `entry` of `list` means `subject`.

    `subject` is the id of a publisher in the catalogue, or `name:` and a folded name. It was made of one state of both
    sides, named by SHA-256 (hex): `entry_digest` (`ListEntry.digest`) and `subject_digest` (`policy.reviewed`). When either
    changes the match is open again. `id` is a ULID; of several findings on one match the latest counts.
    """

    id: str
    subject: str
    subject_digest: str
    list: str
    entry: str
    entry_digest: str
    finding: str
    by: str
    at: datetime
    reason: str


class FindingIndex(Protocol):
    """Findings; kept for good, for a record may cite any. Raises `IndexDown` throughout."""

    async def findings(self, *, recorded: bool | None = None) -> Sequence[Finding]:
        """All, or those that the ledger has or has not yet, the oldest first."""

    async def findings_state(self) -> tuple[int, int]:
        """(how many, how many of them the ledger has): equal states mean that nothing was added."""

    async def put_finding(self, finding: Finding) -> None:
        """Keep a new one. It counts once the ledger has it."""

    async def mark_recorded(self, finding_id: str) -> None:
        """The ledger has it."""
