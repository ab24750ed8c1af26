"""The ledger's promises: a ticket an event, which says when it is on disk and where."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from mirror.core.errors import LedgerDown

if TYPE_CHECKING:
    from collections.abc import Generator

    from mirror.core.decision import Decision, Sealed


class Hastening(Protocol):
    """The ledger, as tickets know it."""

    def hasten(self, decision: Decision) -> None:
        """Move a decision's unhurried repeats into the next group commit."""


class LedgerTicket:
    """One event's promise (core.ports.Ticket). Any number may wait; a waiter that is cancelled takes nobody with it."""

    __slots__ = ("_error", "_ledger", "_sealed", "_waiters", "lazy")

    def __init__(self, ledger: Hastening) -> None:
        self._ledger = ledger
        self._sealed: Sealed | None = None
        self._error: str | None = None
        self._waiters: list[asyncio.Future[None]] | None = None
        self.lazy: Decision | None = None

    @property
    def is_durable(self) -> bool:
        """Whether waiting would return at once."""
        return self._sealed is not None

    def durable(self) -> _Waiting:
        """Wait until the event is on disk. Raises `LedgerDown`. A repeat that was in no hurry joins the next commit."""
        return _Waiting(self)

    async def wait(self) -> Sealed:
        """The body of `durable`."""
        if self._sealed is None and self._error is None:
            if self.lazy is not None:
                self._ledger.hasten(self.lazy)
            waiter = asyncio.get_running_loop().create_future()
            if self._waiters is None:
                self._waiters = []
            self._waiters.append(waiter)
            if self._sealed is None and self._error is None:
                await waiter
        if self._sealed is None:
            raise LedgerDown(self._error or "not written")
        return self._sealed

    def settle(self, sealed: Sealed | None, error: str | None) -> None:
        """The outcome, from the writing thread; `wake` follows in the loop."""
        self._sealed, self._error = sealed, error

    def wake(self) -> None:
        """Release whoever waits; in the loop."""
        for waiter in self._waiters or ():
            if not waiter.done():
                waiter.set_result(None)
        self._waiters = None


class _Waiting:
    """Awaitable as often as wanted."""

    __slots__ = ("_ticket",)

    def __init__(self, ticket: LedgerTicket) -> None:
        self._ticket = ticket

    def __await__(self) -> Generator[object, None, Sealed]:
        return self._ticket.wait().__await__()
