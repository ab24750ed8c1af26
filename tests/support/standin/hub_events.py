"""What a space of the stand-in hub says while it happens: event streams that a test feeds."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from . import access
from .wire import Call, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .hub import StandInHub
    from .world import Repo


class LiveLog:
    """One log that all followers read: `say` adds an event, `end` ends every stream. `followers` are those connected now."""

    def __init__(self) -> None:
        self.followers = 0
        self._events: list[bytes | None] = []
        self._more = asyncio.Condition()

    async def say(self, text: str) -> None:
        """An event for whoever follows, now and later."""
        await self._add(f"data: {json.dumps({'data': text, 'timestamp': '2024-03-01T09:00:00Z'})}\n\n".encode())

    async def end(self) -> None:
        """No more events: the streams end."""
        await self._add(None)

    async def _add(self, event: bytes | None) -> None:
        async with self._more:
            self._events.append(event)
            self._more.notify_all()

    async def follow(self) -> AsyncIterator[bytes]:
        """Everything said so far, then what comes."""
        self.followers += 1
        at = 0
        try:
            while True:
                async with self._more:
                    await self._more.wait_for(lambda at=at: len(self._events) > at)
                event, at = self._events[at], at + 1
                if event is None:
                    return
                yield event
        finally:
            self.followers -= 1


def stream(hub: StandInHub, call: Call, repo: Repo) -> Reply:
    """`/api/spaces/ID/logs/run` and the like: for those who may write, which here is anybody with a token."""
    if call.token is None:
        return access.refusal(call, 401, access.ANONYMOUS)
    reply = Reply(200, live=hub.log.follow())
    return reply.with_headers({"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
