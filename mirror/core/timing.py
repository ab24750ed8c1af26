"""Where the time of one request went, for its `Server-Timing` field (W3C Server Timing).

The sums are kept with the context of the request, so that tasks started for it add to the same ones. Times are given by
who measured them: nothing here knows a clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final

_SPENT: Final[ContextVar[dict[str, float] | None]] = ContextVar("spent", default=None)


def begin() -> Mapping[str, float]:
    """Begin the account of a request: seconds by what they were spent on, filled in as it goes."""
    account: dict[str, float] = {}
    _SPENT.set(account)
    return account


def spent(on: str, seconds: float) -> None:
    """Add to the account of the request that this work is done for; outside of any, nothing is kept."""
    account = _SPENT.get()
    if account is not None:
        account[on] = account.get(on, 0.0) + seconds


def server_timing(account: Mapping[str, float], total: float) -> str:
    """The field's value: each item in milliseconds, and the total until the head of the answer left."""
    return ", ".join(f"{on};dur={seconds * 1000:.1f}" for on, seconds in (*account.items(), ("total", total)))
