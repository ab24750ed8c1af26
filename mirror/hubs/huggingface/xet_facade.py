"""The mirror as a Xet store for the large files that it serves: a token, reconstructions, ranges of xorbs made on the fly.

It is one more spelling of `resolve` (P2): every request is judged, admitted, checked for the hub's leave and recorded as the file that it
means (P1, P5, P6), in the name for which the token was given, and bytes leave as they would there (P3). What policy
denies from now on is refused at the next range. The hash by which a file goes here is its SHA-256: hf_xet takes it for a name.
"""

from __future__ import annotations

import re
from dataclasses import replace
from secrets import token_hex
from typing import TYPE_CHECKING, Final

from aiohttp import web

from mirror.core.errors import HubSaysNo, NotHere
from mirror.core.nouns import HUGGINGFACE, Artifact, Span
from mirror.hubs.huggingface.facts import file_facts
from mirror.hubs.huggingface.large import is_large, serves_xet
from mirror.hubs.huggingface.paths import PLURALS, parse_repo, parse_revision
from mirror.hubs.huggingface.replies import told, warning_of
from mirror.hubs.huggingface.virtual_xorbs import XorbBody, reconstruction, xorb
from mirror.hubs.huggingface.xet_permits import LIFE, Holder, Permit, Seals
from mirror.proxy.bodies import Restarting
from mirror.reply.body import respond

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.core.decision import Admission
    from mirror.core.ports import Body
    from mirror.hubs.huggingface.documents import HubFile, RepoPage
    from mirror.hubs.huggingface.hub import HuggingFaceHub
    from mirror.hubs.huggingface.refused import RefusedRoutes
    from mirror.reply.routing import Call

#: Where the store's routes lie below the mount. No owner of repositories is called `api`.
STORE: Final = "/api/xet"
_RANGE: Final = re.compile(r"bytes=([0-9]{1,18})-([0-9]{0,20})")
_NO_STORE: Final = {"Cache-Control": "no-store", "Vary": "Authorization", "X-Content-Type-Options": "nosniff"}


class XetRoutes:
    """Handlers of the store's routes."""

    def __init__(self, hub: HuggingFaceHub, refused: RefusedRoutes) -> None:
        """Routes of one instance; `refused` answers where there is no store. Of its routes, rows must be identified by `seals`."""
        self._hub, self._refused = hub, refused
        self.seals = Seals(hub.options.key, hub.name)

    # --- routes ---------------------------------------------------------------------------------------------------

    async def token(self, call: Call) -> web.StreamResponse:
        """`/api/T/ID/xet-read-token/REV`, in headers for huggingface_hub and in JSON for hf_xet.

        Refused with the sentence where the repository is denied, or every large file of it: a client that listed the files
        asks for no headers of them, and what hf_xet is told later it does not show.
        """
        hub, options = self._hub, self._hub.options
        if not serves_xet(options):
            return await self._refused.xet(call)
        repo = parse_repo(call.match["repo"], PLURALS[call.match["plural"]])
        page = await hub.pages.repository(repo, parse_revision(call.match["rev"]), call.actor.credential)
        warning = await hub.admit_project(call, page)
        large = [file for file in page.files.values() if is_large(options, file)]
        if not large:
            return await self._refused.xet(call)
        await hub.admit_rights(call, page)
        warning = await self._any_of(call, page, large) or warning
        until = int(hub.gateway.clock.now().timestamp()) + LIFE
        token = self.seals.seal(_permit(call, page, until))
        store = call.public_url + call.mount + STORE
        headers = {"X-Xet-Cas-Url": store, "X-Xet-Access-Token": token, "X-Xet-Token-Expiration": str(until)}
        return web.json_response({"casUrl": store, "exp": until, "accessToken": token}, headers=_NO_STORE | headers | told(warning))

    async def reconstruction(self, call: Call) -> web.StreamResponse:
        """`[/v1|/v2]/reconstructions/HASH`: the terms of a file, or of the range asked for. Opens it, so that it begins to arrive."""
        permit = self.seals.token(call.request)
        if permit is None or permit.file or self._over(permit):
            raise HubSaysNo(401, "", "This is no token of this mirror's Xet store, or one that has run out.", "credentials")
        call, page, file = await self._file(call, permit, call.match["hash"])
        admission, size = await self._admitted(call, page, file), file.size or 0
        span = _span(call.request.headers.get("Range", ""), size)
        if span is None:
            return web.json_response({"error": "past the end of the file"}, status=416, headers=_NO_STORE | {"Content-Range": f"bytes */{size}"})
        body = await self._opened(call, admission, size)
        await body.close()
        # Clients before hf_xet 1.2 keep what they fetch under a xorb's name, unchecked. What no digest vouches for yet gets a name that does not come again.
        name = call.match["hash"] + ("" if body.origin == "hit" else token_hex(8))
        until = int(self._hub.gateway.clock.now().timestamp()) + LIFE
        query = self.seals.seal(replace(permit, file=call.match["hash"], until=until))
        base = f"{call.public_url}{call.mount}{STORE}/xorbs/{call.match['hash']}"
        version = 2 if call.match["version"] == "v2/" else 1
        said = reconstruction(name, size, span, version, lambda number: f"{base}/{number}?permit={query}")
        return web.json_response(said, headers=_NO_STORE)

    async def xorb(self, call: Call) -> web.StreamResponse:
        """`/xorbs/HASH/NUMBER?permit=…`: ranges of what `virtual_xorbs` makes of the file."""
        permit = self.seals.address(call.request)
        if permit is None or permit.file != call.match["hash"]:
            raise HubSaysNo(401, "", "This is no address that this mirror's Xet store gave.", "credentials")
        if self._over(permit):  # with 403, and with nothing else, hf_xet asks for new addresses
            raise HubSaysNo(403, "", "This address of the mirror's Xet store has run out; ask for the terms of the file again.", "other")
        call, page, file = await self._file(call, permit, permit.file)
        part = xorb(file.size or 0, int(call.match["number"]))
        if part is None:
            raise HubSaysNo(404, "", "The file has no such xorb.", "other")
        body = await self._opened(call, await self._admitted(call, page, file), file.size or 0)
        made = XorbBody(body, part)
        headers = {**_NO_STORE, "Content-Type": "application/octet-stream"}
        return await respond(call.request, made, headers=tuple(headers.items()), etag=made.etag, last_modified=None, send_body=True)

    # --- what they share ------------------------------------------------------------------------------------------

    def _over(self, permit: Permit) -> bool:
        return permit.until <= self._hub.gateway.clock.now().timestamp()

    async def _file(self, call: Call, permit: Permit, digest: str) -> tuple[Call, RepoPage, HubFile]:
        """The call in the name of the permit's holder, and the file of its commit that `digest` names.

        Of several files with the same bytes it is the first that may be had, else the first. Raises `HubSaysNo` where there is none.
        """
        hub, options = self._hub, self._hub.options
        call = replace(call, actor=permit.holder.shown_by(call.actor))
        page = await hub.page_of(Artifact(permit.project, permit.commit, ""), call.actor.credential)
        paths = page.paths_of({digest}).get(digest, ())
        files = [page.files[path] for path in paths if serves_xet(options) and is_large(options, page.files[path])]
        if not files:
            raise HubSaysNo(404, "", "What this token is for has no large file of this hash.", "other")
        served = [file for file in files if (await self._judged(call, page, file))[0]]
        return call, page, (served or files)[0]

    async def _judged(self, call: Call, page: RepoPage, file: HubFile) -> tuple[bool, tuple[str, str] | None]:
        """(whether a file may be had, a warning's topic and text)."""
        hub = self._hub
        shared = await hub.shared_facts(page, call.actor.credential, hub.gateway.needs(HUGGINGFACE), (file.path,))
        verdict = await hub.gateway.judge(call.actor, page.artifact(file.path), file_facts(shared, page, file.path, file))
        return verdict.effect.serves, warning_of(verdict, page.project)

    async def _admitted(self, call: Call, page: RepoPage, file: HubFile) -> Admission:
        """Raises `Refused`, on the record."""
        hub = self._hub
        shared = await hub.shared_facts(page, call.actor.credential, hub.gateway.needs(HUGGINGFACE), (file.path,))
        facts = file_facts(shared, page, file.path, file)
        return await hub.gateway.admit(call.actor, page.artifact(file.path), call.info, facts=facts, head=call.head)

    async def _any_of(self, call: Call, page: RepoPage, files: Sequence[HubFile]) -> tuple[str, str] | None:
        """A warning's topic and text, if one of the files may be had and, offline, is here. Raises what the first one is refused with."""
        hub, missing = self._hub, None
        for file in files:
            served, warning = await self._judged(call, page, file)
            if not served:
                continue
            artifact = page.artifact(file.path)
            if not hub.gateway.offline or "; hit" in await hub.gateway.standing(artifact, await hub.locate(artifact, call.actor.credential)):
                return warning
            missing = missing or NotHere(str(artifact), offline=True)
        if missing is None:
            await self._admitted(call, page, files[0])
        raise missing or HubSaysNo(404, "", "No large file of this revision may be had.", "other")

    async def _opened(self, call: Call, admission: Admission, size: int) -> Body:
        """The bytes of the file. Raises `HubSaysNo` (409) while clients may hold wrong ones of it, from a fetch that proved wrong.

        A range could complete them (P3), and what the store gives is ranges. Over HTTP such a file is given whole.
        """
        try:
            body = await self._hub.gateway.open(admission)
        except HubSaysNo as no:
            await self._hub.note_refusal(call, admission.artifact, no)
            raise
        if isinstance(body, Restarting) and body.must_restart((Span(0, size),)):
            await body.close()
            text = f"{admission.artifact.path} is given in one piece for now, not through Xet: set HF_HUB_DISABLE_XET=1 and try again."
            raise HubSaysNo(409, "GatedRepo", text, "large")
        return body


def _permit(call: Call, page: RepoPage, until: int) -> Permit:
    """For the large files of a page, as asked for now."""
    return Permit(page.project, page.commit, Holder.of(call.actor), until, "", call.request.headers.get("Authorization", ""))


def _span(asked: str, size: int) -> Span | None:
    """The part of a file of `size` bytes that a `Range` names, all of it for none; None where it begins past the end."""
    found = _RANGE.fullmatch(asked)
    if found is None:
        return Span(0, size)
    start, stop = int(found[1]), min(int(found[2]) + 1, size) if found[2] else size
    return Span(start, stop) if start < stop else None
