"""Screening, wired: reviewers' findings come into force, and traffic is screened anew when a list changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from mirror.watch.rescreen import Rescreening

if TYPE_CHECKING:
    from contextlib import AsyncExitStack
    from pathlib import Path

    from mirror.core.errors import InputError
    from mirror.core.ports import Clock, Ledger
    from mirror.index.sql import SqlIndex
    from mirror.policy.epoch import Epoch
    from mirror.proxy.rulebook import Rulebook

_LOG = structlog.get_logger("mirror.findings")


async def findings_ready(rulebook: Rulebook, index: SqlIndex, ledger: Ledger | None, clock: Clock) -> None:
    """Let what reviewers found judge from the first request on. Only with a `ledger` new findings are put on the record."""
    book = rulebook.findings
    if book is None:
        return
    book.attach(index, ledger, clock)
    await book.look()
    if book.reviewed:
        await rulebook.refresh(_changed, _failed)


async def _changed(epoch: Epoch) -> None:
    """What decisions cite is archived by who starts the mirror."""


async def _failed(error: InputError) -> None:
    _LOG.error("findings not in force", problems=[str(problem) for problem in error.problems])


def rescreening(rulebook: Rulebook, index: SqlIndex, ledger: Ledger, clock: Clock, data: Path, opened: AsyncExitStack) -> Rescreening:
    """What screens traffic anew, begun; until `opened` is closed."""
    found = Rescreening(index, ledger, clock, data)
    found.start(rulebook.current)
    opened.push_async_callback(found.close)
    return found
