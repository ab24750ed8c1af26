"""What spaces tell while it happens - logs, state, load - as event streams (WHATWG HTML 9.2), passed on and kept nowhere.

A log is no file of the repository, so it is judged as the project. The hub shows it to those who may write there: it is
asked in the caller's own name, never in the organisation's.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from mirror.core.errors import Limited, NotHere
from mirror.core.nouns import Kind
from mirror.core.ports import Ask
from mirror.hubs.huggingface.paths import Repo, parse_query, parse_repo, with_query
from mirror.hubs.huggingface.relay import sound
from mirror.hubs.huggingface.replies import told
from mirror.reply.passing import pass_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    from mirror.hubs.huggingface.hub import HuggingFaceHub
    from mirror.reply.routing import Call

_TYPE: Final = "text/event-stream"
#: Seconds of silence after which upstream counts as dead. It sends something every half minute; the client may ask again.
_SILENCE: Final = 300.0
#: Streams that may be open at once, of one caller and of all: each holds a connection to the hub, and clones need some too.
_EACH: Final = 16
_ALL: Final = 96
_WAIT: Final = 30.0
_EVENT_ID: Final = re.compile(r"[!-~]{1,200}")
_HEADERS: Final = {
    "Content-Type": f"{_TYPE}; charset=utf-8", "Cache-Control": "no-store", "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}  # fmt: skip


class EventRoutes:
    """Handler of the streams."""

    def __init__(self, hub: HuggingFaceHub) -> None:
        """Routes of one instance."""
        self._hub = hub
        self._open: Counter[str] = Counter()

    async def stream(self, call: Call) -> web.StreamResponse:
        """`/api/spaces/ID/logs/run`, `logs/build`, `events`, `metrics`: each chunk at once, until somebody leaves."""
        hub, credential = self._hub, call.actor.credential
        page = await hub.pages.repository(parse_repo(call.match["repo"], Kind.SPACE), None, credential)
        warning = await hub.admit_project(call, page)
        if hub.gateway.offline:
            raise NotHere(f"The {call.match['what']} of {page.project.name}", offline=True)
        headers = {"Accept": _TYPE}
        last = call.request.headers.get("Last-Event-ID", "")
        if _EVENT_ID.fullmatch(last):
            headers["Last-Event-ID"] = last
        target = with_query(f"{Repo.of(page.project).api}/{call.match['what']}", parse_query(call.query))
        own = credential if hub.options.credentials != "service" else None
        ask = Ask(target, headers=headers, credential=own, first_only=True, idle=_SILENCE)
        async with self._counted(call.actor.name), hub.upstream.stream(ask) as stream:
            return await pass_on(call.request, await sound(stream, _TYPE), _HEADERS | told(warning), open_ended=True)

    @asynccontextmanager
    async def _counted(self, who: str) -> AsyncIterator[None]:
        """One stream more, for as long as it is open. Raises `Limited` where there are enough."""
        if self._open[who] >= _EACH or self._open.total() >= _ALL:
            raise Limited(f"{self._open[who]} event streams are open for you, and {self._open.total()} in all: close one first", _WAIT)
        self._open[who] += 1
        try:
            yield
        finally:
            self._open[who] -= 1
            self._open += Counter()  # without those who have none
