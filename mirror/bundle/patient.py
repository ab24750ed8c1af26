"""Pins as a sync keeps them: a database that is busy for a moment ends no run of hours."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from mirror.core.errors import LedgerDown, MirrorError
from mirror.core.ports import Pin, PinIndex

T = TypeVar("T")
#: Seconds before each further attempt. The index itself waits two for another writer, and rests three after that.
_PAUSES: Final = (1.0, 2.0, 4.0, 8.0)


class PinsDown(MirrorError):
    """Pins can be neither read nor kept, for longer than a moment."""


class Patient:
    """core.ports.PinIndex over another one, for those who have time."""

    def __init__(self, index: PinIndex, pauses: Sequence[float] = _PAUSES) -> None:
        self._index, self._pauses = index, pauses

    async def pins(self) -> Sequence[Pin]:
        """All pins, the oldest first. Raises `PinsDown`."""
        return await self._again(self._index.pins)

    async def put_pin(self, pin: Pin) -> None:
        """Keep a pin. Raises `PinsDown`."""
        await self._again(lambda: self._index.put_pin(pin))

    async def drop_pin(self, pattern: str) -> bool:
        """Whether there was one. Raises `PinsDown`."""
        return await self._again(lambda: self._index.drop_pin(pattern))

    async def _again(self, attempt: Callable[[], Awaitable[T]]) -> T:
        for pause in (*self._pauses, None):
            try:
                return await attempt()
            except LedgerDown:
                raise  # whoever kept them has ended
            except MirrorError as error:
                if pause is None:
                    raise PinsDown(f"pins cannot be kept: {error}; what came stays, and another run goes on from there") from error
                await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")
