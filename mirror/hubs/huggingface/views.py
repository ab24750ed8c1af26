"""The routes that tell about repositories: filtered by the same rules as the files, and free of Xet."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, quote

from aiohttp import web

from mirror.core.errors import HubSaysNo, Malformed, MirrorError, NotHere, UpstreamGarbage
from mirror.core.ports import Ask
from mirror.decode import parse_json
from mirror.hubs.huggingface import known
from mirror.hubs.huggingface.documents import LISTED, MOVING, PINNED, RepoPage, load_json, says_no
from mirror.hubs.huggingface.files import here
from mirror.hubs.huggingface.filtering import keep_files, keep_projects
from mirror.hubs.huggingface.holder import holder_page
from mirror.hubs.huggingface.intake import read_body
from mirror.hubs.huggingface.large import with_hashes
from mirror.hubs.huggingface.options import own_bearer, passed_on
from mirror.hubs.huggingface.paths import (
    PLURALS,
    Repo,
    kind_of,
    parse_path,
    parse_query,
    parse_repo,
    parse_revision,
    revision_segment,
    with_query,
)
from mirror.hubs.huggingface.replies import json_page, say
from mirror.hubs.huggingface.rewrite import without_xet

if TYPE_CHECKING:

    from mirror.hubs.huggingface.hub import HuggingFaceHub
    from mirror.reply.routing import Call

_DAY: Final = timedelta(hours=24)
#: What the hub says to nobody, and what we say of a hub's token where the hub cannot be asked.
NOBODY: Final = "Invalid username or password."
WHOSE: Final = "This mirror is offline: nobody can be asked whose token this is. A token of the mirror itself is known here."
#: A client gives the registry 3 s in all, at the start of every process.
_QUICK: Final = 2.0


class ViewRoutes:
    """Handlers of the pages."""

    def __init__(self, hub: HuggingFaceHub) -> None:
        """Routes of one instance."""
        self._hub = hub

    # --- one repository -------------------------------------------------------------------------------------------

    async def information(self, call: Call) -> web.StreamResponse:
        """`/api/T/ID[/revision/REV]`: `siblings` without what is denied; the query is kept verbatim."""
        query, raw = parse_query(call.query), call.match.groupdict().get("rev")
        revision = parse_revision(raw) if raw is not None else None
        page = await self._page(call, revision)
        data: Any = page.data
        if query not in ("", "blobs=true"):
            tail = "" if revision is None else f"/revision/{revision_segment(revision)}"
            try:
                document = await self._hub.pages.about(page, tail, query, call.actor.credential, MOVING)
                data = load_json(document, self._hub.options.upstream)
            except NotHere as error:
                if not known.offline(error):
                    raise
                data = await known.information(self._hub.pages, page, query, call.actor.credential)
            if not isinstance(data, dict):
                raise UpstreamGarbage(self._hub.options.upstream, "its page on a repository is not an object")
            sha = data.get("sha")
            if isinstance(sha, str) and sha != page.commit:  # the branch moved between the two pages
                page = await self._page(call, parse_revision(quote(sha, safe="")))
        project = await self._hub.admit_project(call, page)
        data = without_xet(data)
        rows = data.get("siblings")
        warning = project
        if isinstance(rows, list):
            kept, warning = await keep_files(self._hub, call, page, [(_text(row, "rfilename"), row) for row in rows], project)
            data["siblings"] = kept if query else [{"rfilename": row.get("rfilename")} for row in kept]
            if "left-out" in call.request.headers.get("Prefer", ""):  # RFC 7240; `mirror sync` must know what it will not get
                staying = {_text(row, "rfilename") for row in kept}
                data["leftOut"] = [path for row in rows if (path := _text(row, "rfilename")) not in staying]
        if "ancestors" in call.request.headers.get("Prefer", ""):
            data["ancestors"] = await self._ancestors(page, call)
        return json_page(call, data, {"X-Repo-Commit": page.commit}, warning)

    async def tree(self, call: Call) -> web.StreamResponse:
        """`/api/T/ID/tree/REV[/FOLDER]`: asked by commit, so that pages of one listing belong together (trap 23)."""
        query, revision = parse_query(call.query), parse_revision(call.match["rev"])
        page = await self._page(call, revision)
        project = await self._hub.admit_project(call, page)
        raw = call.match["path"]
        folder = f"/{quote(parse_path(raw.rstrip('/')), safe='')}" if raw and raw.strip("/") else ""
        age = PINNED if "expand=" in query.lower() else LISTED
        try:
            document = await self._hub.pages.about(page, f"/tree/{page.commit}{folder}", query, call.actor.credential, age)
            rows, paging = load_json(document, self._hub.options.upstream), self._hub.paging(call, document)
        except HubSaysNo as no:  # of the commit: clients read what they asked for
            raise HubSaysNo(no.status, no.code, no.message.replace(page.commit, revision), no.cause, no.commit) from no
        except NotHere as error:
            if not known.offline(error):
                raise
            deep, expand = known.asked_deep(query)
            whole = await known.whole_tree(self._hub.pages, page, call.actor.credential, expand=expand)
            below = known.of_folder(whole, parse_path(raw.strip("/")) if folder else "", recursive=deep, revision=revision)
            rows, further = known.one_page(below, query, expand=expand)
            paging = _next(call, f"{Repo.of(page.project).api}/tree/{page.commit}{folder}", further)
        kept, warning = await self._rows(call, page, rows, project)
        told = with_hashes(self._hub.options, page, kept, call.actor.user_agent, here(call))
        return json_page(call, kept, paging | told, warning)

    async def paths_info(self, call: Call) -> web.StreamResponse:
        """`POST /api/T/ID/paths-info/REV`, a form or JSON: a read, whatever its method."""
        paths, expand = await _asked_paths(call)
        page = await self._page(call, parse_revision(call.match["rev"]))
        project = await self._hub.admit_project(call, page)
        body = json.dumps({"paths": paths, "expand": expand}, ensure_ascii=False).encode()
        bearer = self._hub.pages.bearer_for(page, call.actor.credential)
        try:
            document = await self._hub.pages.document(
                f"{Repo.of(page.project).api}/paths-info/{page.commit}", bearer, PINNED if expand else LISTED, shared=lambda _: not page.private,
                method="POST", headers={"Content-Type": "application/json"}, body=body, variant=hashlib.sha256(body).hexdigest(),
            )  # fmt: skip
            rows = load_json(document, self._hub.options.upstream)
        except NotHere as error:
            if not known.offline(error):
                raise
            rows = known.of_paths(await known.whole_tree(self._hub.pages, page, call.actor.credential, expand=expand), paths)
        kept, warning = await self._rows(call, page, rows, project)
        told = with_hashes(self._hub.options, page, kept, call.actor.user_agent, here(call))
        return json_page(call, kept, told, warning)

    async def refs(self, call: Call) -> web.StreamResponse:
        """`/api/T/ID/refs`: branches, converts, tags, pull requests."""
        query = parse_query(call.query)
        page = await self._page(call, None)
        warning = await self._hub.admit_project(call, page)
        try:
            document = await self._hub.pages.about(page, "/refs", query, call.actor.credential, MOVING)
            told, paging = load_json(document, self._hub.options.upstream), self._hub.paging(call, document)
        except NotHere as error:
            if not known.offline(error):
                raise
            told, paging = await known.references(self._hub.pages, page, query, call.actor.credential), {}
        return json_page(call, without_xet(told), paging, warning)

    async def commits(self, call: Call) -> web.StreamResponse:
        """`/api/T/ID/commits/REV`: refused by the hub where the contents are."""
        revision = parse_revision(call.match["rev"])
        query, tail = parse_query(call.query), f"/commits/{revision_segment(revision)}"
        page = await self._page(call, revision)
        warning = await self._hub.admit_project(call, page)
        try:
            document = await self._hub.pages.about(page, tail, query, call.actor.credential, MOVING, contents=True)
            told, paging = load_json(document, self._hub.options.upstream), self._hub.paging(call, document)
        except NotHere as error:
            if not known.offline(error):
                raise
            await self._hub.admit_rights(call, page)
            told, total, further = await known.history(self._hub.pages, page, query, call.actor.credential)
            paging = {"X-Total-Count": str(total)} | _next(call, Repo.of(page.project).api + tail, further)
        return json_page(call, without_xet(told), paging, warning)

    async def auth_check(self, call: Call) -> web.StreamResponse:
        """`/api/T/ID/auth-check`: the hub's verdict on this credential, after the house's on the project."""
        page = await self._page(call, None)
        await self._hub.admit_project(call, page)
        await self._hub.access.check(page, call.actor.credential)
        return web.Response(text="OK", headers={"Cache-Control": "no-store", "Vary": "Authorization"})

    # --- many repositories, and none ------------------------------------------------------------------------------

    async def listing(self, call: Call) -> web.StreamResponse:
        """`/api/T?…`: in the caller's own name, kept for that caller alone unless there is none; denied projects left out.

        Only where the rows tell all that rules want to know: nobody waits for a thousand pages to see a list.
        """
        target = with_query(f"/api/{call.match['plural']}", parse_query(call.query))
        bearer = own_bearer(self._hub.options, call.actor.credential)
        document = await self._hub.pages.document(target, bearer, MOVING)
        rows = without_xet(load_json(document, self._hub.options.upstream))
        kept, warning = await keep_projects(self._hub, call, rows, PLURALS[call.match["plural"]], document)
        return json_page(call, kept, self._hub.paging(call, document), warning)

    async def whoami(self, call: Call) -> web.StreamResponse:
        """`/api/whoami-v2`: never stored, never shared, and never answered from the organisation's own token.

        Who a mirror token belongs to the mirror says itself; the hub has never heard of it.
        """
        options = self._hub.options
        if call.actor.token is not None:
            page = json_page(call, holder_page(call.actor, call.actor.token))
            page.headers["Cache-Control"] = "no-store"
            return page
        own = passed_on(options, call.actor.credential)
        if self._hub.gateway.offline:
            if own is None:
                raise HubSaysNo(401, "", NOBODY, "private")
            return say(403, "Nobody to ask", WHOSE, "mirror-offline")
        answer = await self._hub.upstream.ask(Ask("/api/whoami-v2", credential=own, first_only=True))
        if answer.status >= 400:
            raise says_no(answer)
        value = load_json(answer, options.upstream)
        page = json_page(call, without_xet(value))
        page.headers["Cache-Control"] = "no-store"
        return page

    async def agent_harnesses(self, call: Call) -> web.StreamResponse:
        """`/api/agent-harnesses`: asked by every new client process, which waits 3 s for it and can do without."""
        bearer = own_bearer(self._hub.options, None)
        search = asyncio.ensure_future(self._hub.pages.document("/api/agent-harnesses", bearer, _DAY, patience=_QUICK))
        try:
            document = await asyncio.wait_for(asyncio.shield(search), _QUICK)
            value = load_json(document, self._hub.options.upstream)
        except (TimeoutError, MirrorError):
            search.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise HubSaysNo(404, "", "The registry of agent harnesses is not known here.", "other") from None
        return json_page(call, without_xet(value))

    # --- shared ---------------------------------------------------------------------------------------------------

    async def _page(self, call: Call, revision: str | None) -> RepoPage:
        repo = parse_repo(call.match["repo"], kind_of(call.match.groupdict()))
        return await self._hub.pages.repository(repo, revision, call.actor.credential)

    async def _ancestors(self, page: RepoPage, call: Call) -> list[dict[str, Any]]:
        """Everything that a model was made from, nearest first, by all evidence that rules have. Raises `Pending`."""
        facts = await self._hub.shared_facts(page, call.actor.credential, frozenset({"ancestors"}), ())
        walk = facts.ancestors.value if facts.ancestors is not None else None
        return [
            {"id": one.project.name, "of": one.child.name, "relation": one.relation, "evidence": one.evidence, "confidence": one.confidence, "missing": one.missing}
            for one in walk or ()
        ]

    async def _rows(
        self, call: Call, page: RepoPage, told: Any, warning: tuple[str, str] | None
    ) -> tuple[list[Any], tuple[str, str] | None]:
        rows = without_xet(told)
        if not isinstance(rows, list):
            raise UpstreamGarbage(self._hub.options.upstream, "its list of files is not a list")
        named = [("" if _text(row, "type") == "directory" else _text(row, "path"), row) for row in rows]
        return await keep_files(self._hub, call, page, named, warning)


async def _asked_paths(call: Call) -> tuple[list[str], bool]:
    """The paths and `expand` of a paths-info body. Raises `Malformed`."""
    body = await read_body(call, "the list of paths is too long")
    try:
        if "json" in call.request.headers.get("Content-Type", "").lower():
            asked = parse_json(body or b"{}")
            paths, expand = asked.get("paths", []), asked.get("expand", False)
        else:
            form = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=100_000, errors="strict")
            paths, expand = form.get("paths", []), form.get("expand", ["false"])[0]
    except (ValueError, AttributeError) as error:
        raise Malformed("the body is neither a form nor a JSON object with 'paths'") from error
    paths = [paths] if isinstance(paths, str) else paths
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise Malformed("'paths' is not a list of texts")
    return paths, str(expand).lower() in ("true", "1")


def _text(row: Any, key: str) -> str:
    value = row.get(key) if isinstance(row, dict) else None
    return value if isinstance(value, str) else ""


def _next(call: Call, path: str, query: str | None) -> dict[str, str]:
    """The header that leads to the next page of a list which we made ourselves."""
    return {} if query is None else {"Link": f'<{call.public_url}{call.mount}{path}?{query}>; rel="next"'}
