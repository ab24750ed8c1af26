"""Following files: what they look like now, and a task that looks again and again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

#: How often files are looked at, in seconds; a look that took long (a folder of thousands) is paid for by a longer rest.
LOOK_EVERY: Final = 1.0
_REST: Final = 50

State = tuple[tuple[str, int, int, int], ...]


def state_of(files: Iterable[Path]) -> State:
    """What the files look like now; equal states mean that nothing was written."""
    seen = []
    for path in files:
        try:
            found = path.stat()
        except OSError:
            seen.append((str(path), 0, 0, 0))
        else:
            seen.append((str(path), found.st_mtime_ns, found.st_size, found.st_ino))
    return tuple(seen)


class Looking:
    """Calls `look` about once a second from when it is made until `close`. `look` gives how long its look took, in seconds, or None."""

    def __init__(self, look: Callable[[], Awaitable[float | None]]) -> None:
        self._look = look
        self._task = asyncio.create_task(self._go_on())

    async def close(self) -> None:
        """Stop, also in the middle of a look."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _go_on(self) -> None:
        rest = LOOK_EVERY
        while True:
            await asyncio.sleep(rest)
            rest = max(LOOK_EVERY, _REST * (await self._look() or 0.0))

