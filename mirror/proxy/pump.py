"""Network and disk at the same time: chunks are written in a task of their own while the next ones come in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

_MOST: Final = 4 * 1024 * 1024
_PIECE: Final = 1024 * 1024


class Pump:
    """Collects chunks while one write is running, then writes them as one. Holds at most about 4 MiB.

    `async with`: leaving normally waits until everything is written; leaving with an error drops what is not.
    """

    def __init__(self, write: Callable[[int, bytes], Awaitable[None]]) -> None:
        self._write = write
        self._offset = 0
        self._chunks: list[bytes] = []
        self._held = 0
        self._task: asyncio.Task[None] | None = None

    async def put(self, offset: int, data: bytes) -> None:
        """Take `data`, which belongs at `offset`. Raises what an earlier write raised."""
        if self._chunks and offset != self._offset + self._held:
            await self.flush()
        if not self._chunks:
            self._offset = offset
        self._chunks.append(data)
        self._held += len(data)
        if self._task is None or self._task.done():
            self._result()
            self._task = asyncio.create_task(self._drain())
        elif self._held > _MOST:
            await self.flush()

    async def flush(self) -> None:
        """Wait until everything is written."""
        while self._chunks or self._task is not None:
            if self._task is None:
                self._task = asyncio.create_task(self._drain())
            await asyncio.wait({self._task})
            self._result()

    async def _drain(self) -> None:
        while self._chunks:
            taken = 0
            count = 0
            while count < len(self._chunks) and (not count or taken + len(self._chunks[count]) <= _PIECE):
                taken += len(self._chunks[count])
                count += 1
            offset, pieces = self._offset, self._chunks[:count]
            del self._chunks[:count]
            self._offset += taken
            self._held -= taken
            await self._write(offset, pieces[0] if count == 1 else b"".join(pieces))

    def _result(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.result()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        if kind is None or issubclass(kind, Exception):
            # After a cut upstream what did arrive is good: the resumption starts behind it.
            await self.flush()
        elif self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
