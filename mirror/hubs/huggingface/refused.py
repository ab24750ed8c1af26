"""The routes that are known and answered with a refusal, and everything that is not known at all."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from aiohttp import web

from mirror.core.decision import EventKind
from mirror.core.errors import UpstreamGarbage
from mirror.core.ports import Ask
from mirror.decode import parse_json
from mirror.hubs.huggingface.options import passed_on
from mirror.hubs.huggingface.paths import API_REPO, kind_of, parse_query, parse_repo, with_query
from mirror.hubs.huggingface.replies import BUCKETS_OFF, GIT_OFF, WRITES_OFF, XET_OFF, git_text, json_page, say
from mirror.hubs.huggingface.rewrite import without_xet

if TYPE_CHECKING:
    from mirror.hubs.huggingface.hub import HuggingFaceHub
    from mirror.reply.routing import Call

_FORWARDED: int = 1024 * 1024
#: API routes without escapes, which could spell a route that is judged; resolve-cache and registries hand out contents.
_FORWARDABLE: Final = re.compile(r"/api/(?!resolve-cache/)[^%]+")
_ABOUT_REPO: Final = re.compile(rf"{API_REPO}/.*")


class RefusedRoutes:
    """Handlers that never give anything away."""

    def __init__(self, hub: HuggingFaceHub) -> None:
        """Routes of one instance."""
        self._hub = hub

    async def _write(self, call: Call) -> web.StreamResponse:
        """Every change: refused, and on the record before the answer."""
        await self._note(EventKind.WRITE_REFUSED, call)
        return say(403, "Nothing is taken in", WRITES_OFF, "mirror-write", "GatedRepo")

    async def git(self, call: Call) -> web.StreamResponse:
        """Clone, fetch and push over git's own protocol."""
        push = call.match["what"] == "git-receive-pack" or "git-receive-pack" in call.query
        await self._note(EventKind.WRITE_REFUSED if push else EventKind.ROUTE_REFUSED, call)
        if push:
            return git_text(WRITES_OFF)
        return git_text(f"{GIT_OFF}\n{self.instead(call)}")

    def instead(self, call: Call) -> str:
        """The command that gets what a clone would have got."""
        name = call.match["repo"].removesuffix(".git")
        kind = f" --repo-type {call.match['prefix'].removesuffix('s')}" if call.match["prefix"] else ""
        return f"Download the files instead:\n  HF_ENDPOINT={call.public_url} hf download {name}{kind}"

    async def lfs(self, call: Call) -> web.StreamResponse:
        """Git LFS (https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md: errors are `{"message": …}`)."""
        await self._note(EventKind.ROUTE_REFUSED, call)
        message = f"{GIT_OFF} Download with: HF_ENDPOINT={call.public_url} hf download {call.match['repo'].removesuffix('.git')}"
        return web.Response(
            status=403, body=json.dumps({"message": message}).encode(),
            headers={"Content-Type": "application/vnd.git-lfs+json", "Cache-Control": "no-store"},
        )  # fmt: skip

    async def buckets(self, call: Call) -> web.StreamResponse:
        """Storage buckets."""
        writes = call.request.method == "POST" and not call.raw_path.endswith("/paths-info")
        await self._note(EventKind.WRITE_REFUSED if writes else EventKind.ROUTE_REFUSED, call)
        return say(403, "Not mirrored", BUCKETS_OFF, "mirror-buckets", "GatedRepo")

    async def xet(self, call: Call) -> web.StreamResponse:
        """Tokens for the content store: there is none behind this mirror."""
        return say(404, "No Xet here", XET_OFF, "mirror-xet")

    async def telemetry(self, call: Call) -> web.StreamResponse:
        """Swallowed: what clients report about themselves stays in the house."""
        return web.Response(status=204 if call.request.method == "POST" else 200, headers={"Cache-Control": "no-store"})

    async def unknown(self, call: Call) -> web.StreamResponse:
        """A route that no rule can judge: refused, or passed on where the operator chose so (GET, JSON, at most 1 MiB).

        Whatever is not a read is a write: it is refused in any case.
        """
        if call.request.method not in ("GET", "HEAD", "OPTIONS"):
            return await self._write(call)
        forwards = self._hub.options.unknown_routes == "forward" and call.request.method in ("GET", "HEAD")
        if forwards and _FORWARDABLE.fullmatch(call.raw_path):
            return await self._forward(call)
        await self._note(EventKind.ROUTE_REFUSED, call)
        message = f"This mirror does not serve {call.raw_path.partition('?')[0][:200]}: no policy rule could judge what it returns."
        return say(403, "Route not served", message, "mirror-route")

    async def _forward(self, call: Call) -> web.StreamResponse:
        """What is about a repository is judged as that repository; the organisation's token is never lent (P2, P5)."""
        about = _ABOUT_REPO.fullmatch(call.raw_path)
        if about is not None:
            repo = parse_repo(about["repo"], kind_of(about.groupdict()))
            await self._hub.admit_project(call, await self._hub.pages.repository(repo, None, call.actor.credential))
        ask = Ask(with_query(call.raw_path, parse_query(call.query)), headers={"Accept": "application/json"}, max_bytes=_FORWARDED)
        credential = passed_on(self._hub.options, call.actor.credential)
        answer = await self._hub.upstream.ask(replace(ask, credential=credential))
        try:
            value = parse_json(answer.body)
        except ValueError as error:
            raise UpstreamGarbage(answer.upstream, "answered a forwarded route with what is not JSON") from error
        page = json_page(call, without_xet(value))
        page.set_status(answer.status if page.status == 200 else page.status)
        return page

    async def _note(self, kind: EventKind, call: Call) -> None:
        await self._hub.gateway.note(kind, call.actor, call.info, f"{self._hub.name}:{call.raw_path[:500]}")
