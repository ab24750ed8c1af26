"""What the hub tells beside repositories: people, organisations, collections, papers, and the words it files things under.

No file can be had by these pages. They are asked for in the caller's own name, kept for that caller alone, and lose
every trace of Xet; what repositories they name is judged where it is opened.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from mirror.hubs.huggingface.documents import LISTED, MOVING, load_json
from mirror.hubs.huggingface.options import own_bearer, public_bearer
from mirror.hubs.huggingface.paths import parse_path, parse_query, with_query
from mirror.hubs.huggingface.replies import json_page
from mirror.hubs.huggingface.rewrite import without_xet

if TYPE_CHECKING:
    from aiohttp import web

    from mirror.hubs.huggingface.hub import HuggingFaceHub
    from mirror.hubs.huggingface.options import Bearer
    from mirror.reply.routing import Call

_ANY: Final = (dict, list)


class DirectoryRoutes:
    """Handlers of these pages."""

    def __init__(self, hub: HuggingFaceHub) -> None:
        """Routes of one instance."""
        self._hub = hub

    async def named(self, call: Call) -> web.StreamResponse:
        """`/api/users/U/overview`, `/api/organizations/O/overview`, `/api/collections…`, `/api/papers…`, `/api/daily_papers`."""
        raw = call.match.groupdict().get("name")
        path = call.raw_path
        if raw is not None:  # written anew, so that what is asked is what was read
            before, _, after = path.partition(f"/{raw}")
            path = f"{before}/{quote(parse_path(raw), safe='/')}{after}"
        return await self._page(call, path, own_bearer(self._hub.options, call.actor.credential), MOVING)

    async def vocabulary(self, call: Call) -> web.StreamResponse:
        """`/api/*-tags-by-type`, `/api/tasks`: the same for everybody, and rarely new."""
        return await self._page(call, call.raw_path, public_bearer(self._hub.options), LISTED)

    async def _page(self, call: Call, path: str, bearer: Bearer, max_age: timedelta) -> web.StreamResponse:
        target = with_query(path, parse_query(call.query))
        document = await self._hub.pages.document(target, bearer, max_age, shape=_ANY)
        return json_page(call, without_xet(load_json(document, self._hub.options.upstream)), self._hub.paging(call, document))
