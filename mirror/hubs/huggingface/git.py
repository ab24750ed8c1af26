"""Git's own protocol: refused, or with `git: permit` passed on where no rule could reach into a pack.

A pack cannot be filtered, and holds every revision that is asked for. So it leaves only if the project is admitted as a
whole, the hub lets this caller read it, and no rule in force for this caller could refuse a single file or revision
(`policy.reach`). Packs are no bytes of one digest: they are neither kept nor checked, which the record says. What LFS
holds goes by the batch, object by object. https://git-scm.com/docs/http-protocol, https://git-scm.com/docs/protocol-v2
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mirror.core.decision import EventKind
from mirror.core.errors import Malformed, NotHere
from mirror.core.nouns import HUGGINGFACE
from mirror.core.ports import Ask
from mirror.hubs.huggingface.facts import file_facts
from mirror.hubs.huggingface.intake import read_body
from mirror.hubs.huggingface.paths import Repo, kind_of, parse_repo
from mirror.hubs.huggingface.relay import sound
from mirror.hubs.huggingface.replies import git_text
from mirror.proxy.share import Share
from mirror.reply.passing import pass_on

if TYPE_CHECKING:
    from aiohttp import web

    from mirror.core.facts import Facts
    from mirror.hubs.huggingface.documents import RepoPage
    from mirror.hubs.huggingface.hub import HuggingFaceHub
    from mirror.hubs.huggingface.refused import RefusedRoutes
    from mirror.reply.routing import Call

_KIND: Final = "application/x-git-upload-pack"
#: `version=2` and the like (protocol-v2, "Initial Client Request").
_PROTOCOL: Final = re.compile(r"[A-Za-z0-9=:._-]{1,100}")
#: Seconds between two reads: while a pack is being counted, upstream says so every few seconds.
_SILENCE: Final = 60.0
#: Packs under way at once, of one caller and of all: each holds a connection to the hub for as long as its client likes.
_EACH: Final = 8
_ALL: Final = 32
_UNVERIFIED: Final = (("unverified", "git packs are passed on as they come and not checked against digests"),)
_FIXED: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Vary": "Authorization"}


class GitRoutes:
    """Handler of clone and fetch; push is never taken."""

    def __init__(self, hub: HuggingFaceHub, refused: RefusedRoutes) -> None:
        """Routes of one instance; `refused` says no where nothing is permitted."""
        self._hub, self._refused = hub, refused
        self._share = Share(hub.options.upstream, "git transfers", _ALL, _EACH)

    async def serve(self, call: Call) -> web.StreamResponse:
        """`GET …/info/refs?service=git-upload-pack`, `POST …/git-upload-pack`. There is no dumb protocol."""
        hub, asked = self._hub, (call.request.method, call.match["what"], call.query)
        upload_pack = asked[:2] == ("POST", "git-upload-pack") or asked == ("GET", "info/refs", "service=git-upload-pack")
        if hub.options.git != "permit" or not upload_pack:
            return await self._refused.git(call)
        repo = parse_repo(call.match["repo"].removesuffix(".git"), kind_of(call.match.groupdict()))
        page = await hub.pages.repository(repo, None, call.actor.credential)
        # A pack is asked for by name: whose name it is now must not have been read a minute ago (P2).
        page = await hub.pages.renewed(page, repo, None, call.actor.credential)
        facts = file_facts(await hub.shared_facts(page, call.actor.credential, hub.gateway.needs(HUGGINGFACE), ()), page, "")
        await hub.admit_project(call, page)
        rule = hub.gateway.reaching(call.actor, page.artifact(), facts)
        if rule is not None:
            await hub.gateway.note(EventKind.ROUTE_REFUSED, call.actor, call.info, f"{hub.name}:{call.raw_path[:500]}", {"rule": rule.id})
            return git_text(f"{_reached(rule.id, page)}\n{self._refused.instead(call)}")
        return await self._pass(call, page, facts)

    async def _pass(self, call: Call, page: RepoPage, facts: Facts) -> web.StreamResponse:
        hub, refs = self._hub, call.match["what"] == "info/refs"
        if hub.gateway.offline:
            raise NotHere(f"The git history of {page.project.name}", offline=True)
        bearer = await hub.admit_rights(call, page)
        headers = {"Accept": f"{_KIND}-{'advertisement' if refs else 'result'}"}
        protocol = call.request.headers.get("Git-Protocol", "")
        if _PROTOCOL.fullmatch(protocol):
            headers["Git-Protocol"] = protocol
        target = Repo.of(page.project).git(call.match["what"]) + ("?service=git-upload-pack" if refs else "")
        ask = Ask(target, headers=headers, first_only=True, idle=_SILENCE)
        if not refs:
            ask = await self._request(call, ask)
            admission = await hub.gateway.admit(call.actor, page.artifact(), call.info, facts=facts, detail=_UNVERIFIED)
            await admission.ticket.durable()
        running = hub.gateway.relayed(call.actor, page.artifact(), call.info, facts, whole=True)
        with self._share.place(call.actor.name):
            async with hub.upstream.stream(bearer.on(ask)) as stream:
                chunks = await sound(stream, headers["Accept"])
                return await pass_on(call.request, chunks, {"Content-Type": headers["Accept"], **_FIXED}, running)

    async def _request(self, call: Call, ask: Ask) -> Ask:
        """The ask with what the client wants and has; a body that came compressed is plain by now."""
        if call.request.content_type != f"{_KIND}-request":
            raise Malformed("the body is no request to git-upload-pack", status=415)
        body = await read_body(call, "the list of what is wanted and had is too long")
        return Ask(
            ask.target, "POST", {**ask.headers, "Content-Type": f"{_KIND}-request"}, body, first_only=True, idle=ask.idle
        )


def _reached(rule: str, page: RepoPage) -> str:
    return (
        f"git is not served for {page.project.name}: policy rule '{rule}' could refuse single files or revisions of it, "
        "and a pack cannot be filtered."
    )
