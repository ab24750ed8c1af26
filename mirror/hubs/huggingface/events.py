"""What spaces tell while it happens - logs, state, load - as event streams (WHATWG HTML 9.2), passed on and kept nowhere.

A log is no file of the repository, so it is judged as the project. The hub shows it to those who may write there: it is
asked in the caller's own name, never in the organisation's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mirror.core.errors import NotHere
from mirror.core.nouns import HUGGINGFACE, Kind
from mirror.core.ports import Ask
from mirror.hubs.huggingface.facts import file_facts
from mirror.hubs.huggingface.options import passed_on
from mirror.hubs.huggingface.paths import Repo, parse_query, parse_repo, with_query
from mirror.hubs.huggingface.relay import sound
from mirror.hubs.huggingface.replies import told
from mirror.proxy.share import Share
from mirror.reply.passing import pass_on

if TYPE_CHECKING:
    from aiohttp import web

    from mirror.hubs.huggingface.hub import HuggingFaceHub
    from mirror.reply.routing import Call

_TYPE: Final = "text/event-stream"
#: Seconds of silence after which upstream counts as dead. It sends something every half minute; the client may ask again.
_SILENCE: Final = 300.0
#: Streams that may be open at once, of one caller and of all: each holds a connection to the hub, and clones have a share of their own.
_EACH: Final = 16
_ALL: Final = 96
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
        self._share = Share(hub.options.upstream, "event streams", _ALL, _EACH)

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
        own = passed_on(hub.options, credential)
        ask = Ask(target, headers=headers, credential=own, first_only=True, idle=_SILENCE)
        facts = file_facts(await hub.shared_facts(page, credential, hub.gateway.needs(HUGGINGFACE), ()), page, "")
        running = hub.gateway.relayed(call.actor, page.artifact(), call.info, facts)
        with self._share.place(call.actor.name):
            async with hub.upstream.stream(ask) as stream:
                return await pass_on(call.request, await sound(stream, _TYPE), _HEADERS | told(warning), running, open_ended=True)
