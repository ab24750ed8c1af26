"""No way out: what stands in the place of an upstream where nobody may be asked (`network: offline`)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from mirror.core.errors import NotHere

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mirror.core.ports import Answer, Ask, Stream


class ClosedUpstream:
    """`core.ports.Upstream` that opens no connection: a route that forgets to look leaks neither a request nor a token."""

    async def ask(self, ask: Ask) -> Answer:
        """Raises `NotHere(offline=True)`."""
        raise NotHere(ask.target, offline=True)

    @asynccontextmanager
    async def stream(self, ask: Ask) -> AsyncIterator[Stream]:
        """Raises `NotHere(offline=True)` on entry."""
        raise NotHere(ask.target, offline=True)
        yield  # a generator, as the protocol wants it

    async def close(self) -> None:
        """Nothing is open."""
