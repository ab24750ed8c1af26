"""Every way in which the mirror says that it cannot.

MirrorError
├── InputError            unusable input; carries ALL problems with their places (P10)
├── Refused               policy says no; carries the Decision
├── HubSaysNo             the hub itself says no; carries its status and codes to be replayed
├── NotHere               the thing does not exist upstream, or (offline) was never fetched
├── Malformed             a request that no dialect can mean; 4xx
├── Unidentified          no mirror credential, or none that counts; 401
├── UpstreamError
│   ├── UpstreamDown      not reached in time, 5xx after retries
│   │   └── QuotaSpent    it wants no more requests in this name for a while
│   ├── UpstreamGarbage   reached, but the answer makes no sense; names upstream and fault
│   └── HostNotAllowed    a host or address that the configuration does not name
├── IntegrityError        bytes that are not what was declared
├── StoreFull             no room under quota or on the disk
├── Pending               a fact is still being found out; try again after `retry_after` seconds
├── Limited               the caller has used up what this mirror grants; try again after `retry_after` seconds
└── LedgerDown            nothing can be recorded, so nothing may be answered
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.core.decision import Decision


class MirrorError(Exception):
    """Root of the family."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an input: `place` is what a person can find (`rules[3].when.origin`)."""

    source: str
    place: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.source, self.place, self.message) if part)


class InputError(MirrorError):
    """Unusable input. `problems` holds every fault found, never only the first; `remarks` what would be said of it if it were sound."""

    def __init__(self, problems: Sequence[Problem], remarks: Sequence[Problem] = ()) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems, self.remarks = tuple(problems), tuple(remarks)


class Refused(MirrorError):
    """Policy refuses. The refusal is already durable in the ledger when this is raised (P6)."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.sentence)
        self.decision = decision


class HubSaysNo(MirrorError):
    """The hub refused this credential. `code` is its `X-Error-Code`, `message` its `X-Error-Message`; either may be empty.

    `cause` is our own word: gated, private, disabled, region, credentials, missing_revision, missing_entry, missing_repo, other.
    """

    def __init__(self, status: int, code: str, message: str, cause: str, commit: str = "") -> None:
        super().__init__(message or f"the hub answered {status}")
        self.status, self.code, self.message, self.cause, self.commit = status, code, message, cause, commit


class NotHere(MirrorError):
    """Nothing by this name. `offline` says that the hub could not be asked."""

    def __init__(self, what: str, *, offline: bool = False) -> None:
        super().__init__(what)
        self.what, self.offline = what, offline


class Malformed(MirrorError):
    """A request that has no meaning in this dialect: a 4xx with `status` and one clear sentence."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message, self.status = message, status


class Unidentified(MirrorError):
    """The caller has to show a mirror credential, or another one. `cause` is one word: missing, mistyped, foreign, unknown, revoked, expired, orphaned."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause, self.message = cause, message


class UpstreamError(MirrorError):
    """Something between us and upstream. `upstream` is its origin (scheme://host[:port]), never a full URL."""

    def __init__(self, upstream: str, fault: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"{upstream}: {fault}")
        self.upstream, self.fault, self.retry_after = upstream, fault, retry_after


class UpstreamDown(UpstreamError):
    """Not reached in time, or 5xx / 429 after our own retries: stale content may be served."""


class QuotaSpent(UpstreamDown):
    """429: nothing may be asked in this name for `retry_after` seconds, and nothing was sent if it was known before."""


class UpstreamGarbage(UpstreamError):
    """An answer that makes no sense (bad HTTP, bad JSON, wrong range, over-long body): 502."""


class HostNotAllowed(UpstreamError):
    """A host, or the address behind it, that the configuration does not name: 502 that names it."""


class IntegrityError(MirrorError):
    """The bytes of `what` are not what was declared."""

    def __init__(self, what: str, declared: str, computed: str) -> None:
        super().__init__(f"{what}: declared {declared}, computed {computed}")
        self.what, self.declared, self.computed = what, declared, computed


class StoreFull(MirrorError):
    """No room for `needed` bytes under the quota or above the free-space floor."""

    def __init__(self, needed: int) -> None:
        super().__init__(f"no room for {needed} bytes")
        self.needed = needed


class Pending(MirrorError):
    """A needed fact is still being found out."""

    def __init__(self, what: str, retry_after: float) -> None:
        super().__init__(what)
        self.what, self.retry_after = what, retry_after


class Limited(MirrorError):
    """A client asked more often than `clients.limits` grants it. `retry_after` is in seconds."""

    def __init__(self, what: str, retry_after: float) -> None:
        super().__init__(what)
        self.what, self.retry_after = what, retry_after


class LedgerDown(MirrorError):
    """Nothing can be recorded: the mirror fails closed (503)."""
