"""What the hub tells beside repositories: people, organisations, collections, papers, and the words it files things under.

No file can be had by these pages. They are asked for in the caller's own name, kept for that caller alone, and lose
every trace of Xet. Of the repositories that their lists name, those are left out that are denied whole, as far as the
page tells what the rules want to know; the others are judged where they are opened.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from aiohttp import web

from mirror.core.errors import Malformed, UpstreamGarbage
from mirror.core.nouns import DocumentKey
from mirror.core.ports import Answer, Ask
from mirror.hubs.huggingface.documents import LISTED, MOVING, load_json, says_no
from mirror.hubs.huggingface.filtering import keep_named
from mirror.hubs.huggingface.options import own_bearer, public_bearer
from mirror.hubs.huggingface.paths import parse_path, parse_query, with_query
from mirror.hubs.huggingface.replies import json_page
from mirror.hubs.huggingface.rewrite import without_xet

if TYPE_CHECKING:
    from mirror.hubs.huggingface.hub import HuggingFaceHub
    from mirror.hubs.huggingface.options import Bearer
    from mirror.reply.routing import Call

_ANY: Final = (dict, list)
_TEXT: Final = frozenset(["text/markdown", "text/plain"])
#: Bytes of a paper: its text without its figures.
_LARGEST: Final = 8 * 1024 * 1024
_INERT: Final = {
    "Content-Type": "text/markdown; charset=utf-8", "X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-cache",
    "Content-Security-Policy": "default-src 'none'; sandbox", "Vary": "Authorization",
}  # fmt: skip


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
            name = parse_path(raw)
            if name.count("/") != raw.count("/"):
                raise Malformed("the name holds an encoded slash")  # it would lead to another page than the one in our table
            before, _, after = path.partition(f"/{raw}")
            path = f"{before}/{quote(name, safe='/')}{after}"
        return await self._page(call, path, own_bearer(self._hub.options, call.actor.credential), MOVING)

    async def paper(self, call: Call) -> web.StreamResponse:
        """`/papers/ID.md`: a paper as text for reading, inert in a browser."""
        hub, upstream = self._hub, self._hub.options.upstream
        bearer = own_bearer(hub.options, call.actor.credential)
        target = with_query(f"/papers/{quote(parse_path(call.match['name']), safe='')}.md", parse_query(call.query))

        def text(answer: Answer) -> bool:
            kind = (answer.header("content-type") or "").partition(";")[0].strip().lower()
            if answer.status < 400 and (answer.status != 200 or kind not in _TEXT):
                raise UpstreamGarbage(upstream, f"answered /papers/ with {answer.status} and {kind[:100] or 'no media type'} where text was due")
            return False

        key = DocumentKey(hub.options.name, target, bearer.scope, "text")
        ask = bearer.on(Ask(target, headers={"Accept": "text/markdown, text/plain"}, first_only=True, max_bytes=_LARGEST))
        document = await hub.gateway.document(hub.options.name, key, ask, max_age=MOVING, shared=text)
        if document.status >= 400:
            raise says_no(document)
        return web.Response(body=document.body, headers=_INERT)

    async def vocabulary(self, call: Call) -> web.StreamResponse:
        """`/api/*-tags-by-type`, `/api/tasks`: the same for everybody, and rarely new."""
        return await self._page(call, call.raw_path, public_bearer(self._hub.options), LISTED)

    async def _page(self, call: Call, path: str, bearer: Bearer, max_age: timedelta) -> web.StreamResponse:
        target = with_query(path, parse_query(call.query))
        document = await self._hub.pages.document(target, bearer, max_age, shape=_ANY)
        told = without_xet(load_json(document, self._hub.options.upstream))
        kept, warning = await keep_named(self._hub, call, told, document)
        return json_page(call, kept, self._hub.paging(call, document), warning)
