"""What the hub makes of a repository's files: tensor lists, Parquet conversions, the state of a space, pages for people."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from aiohttp import web

from mirror.core.errors import UpstreamGarbage
from mirror.core.nouns import HUGGINGFACE
from mirror.hubs.huggingface.documents import MOVING, load_json
from mirror.hubs.huggingface.facts import file_facts
from mirror.hubs.huggingface.paths import Repo, kind_of, parse_path, parse_query, parse_repo, parse_revision, with_query
from mirror.hubs.huggingface.replies import json_page, warning_of
from mirror.hubs.huggingface.rewrite import without_xet

if TYPE_CHECKING:
    from mirror.hubs.huggingface.documents import RepoPage
    from mirror.hubs.huggingface.files import FileRoutes
    from mirror.hubs.huggingface.hub import HuggingFaceHub
    from mirror.reply.routing import Call

CONVERTED: Final = "refs/convert/parquet"
_NAME: Final = re.compile(r"[^/]+")


class DerivedRoutes:
    """Handlers of these pages."""

    def __init__(self, hub: HuggingFaceHub, files: FileRoutes) -> None:
        """Routes of one instance; `files` hands out contents."""
        self._hub, self._files = hub, files

    async def safetensors(self, call: Call) -> web.StreamResponse:
        """`/api/T/ID/safetensors-metadata/FILE`: the head of a file, so it is judged, and permitted by the hub, as the file."""
        page = await self._repository(call, None)
        path = parse_path(call.match["path"])
        warning = await self._admit_file(call, page, path)
        await self._hub.admit_rights(call, page)
        tail = f"/safetensors-metadata/{quote(path, safe='/')}"
        query, credential = parse_query(call.query), call.actor.credential
        document = await self._hub.pages.about(page, tail, query, credential, MOVING, contents=True, shape=dict)
        return json_page(call, without_xet(load_json(document, self._hub.options.upstream)), None, warning)

    async def parquet(self, call: Call) -> web.StreamResponse:
        """`/api/datasets/ID/parquet[/CONFIG[/SPLIT]]`: links lead to us, and each file is judged when it is asked for."""
        hub, credential = self._hub, call.actor.credential
        page = await self._repository(call, None)
        warning = await hub.admit_project(call, page)
        await hub.admit_rights(call, page)
        within = "".join(f"/{quote(parse_path(part), safe='')}" for part in _NAME.findall(call.match["within"]))
        document = await hub.pages.about(
            page, f"/parquet{within}", parse_query(call.query), credential, MOVING, contents=True, shape=(dict, list)
        )
        base = f"{Repo.of(page.project).api}/parquet/"
        return json_page(call, links_turned(load_json(document, hub.options.upstream), base, call.public_url + call.mount), None, warning)

    async def parquet_file(self, call: Call) -> web.StreamResponse:
        """`/api/datasets/ID/parquet/CONFIG/SPLIT/N.parquet`: the file of `refs/convert/parquet` to which the hub redirects."""
        hub, credential = self._hub, call.actor.credential
        page = await self._repository(call, None)
        await hub.admit_project(call, page)
        bearer = await hub.admit_rights(call, page)
        parts = [quote(parse_path(call.match[name]), safe="") for name in ("config", "split")]
        target = f"{Repo.of(page.project).api}/parquet/{parts[0]}/{parts[1]}/{call.match['number']}.parquet"
        document = await hub.pages.document(target, bearer, MOVING, shared=lambda _: page.public, method="HEAD", variant="redirect")
        path = converted_path(document.header("location") or "", Repo.of(page.project))
        if path is None:
            raise UpstreamGarbage(hub.options.upstream, "leads to no Parquet file of the dataset")
        converted = await hub.pages.repository(Repo.of(page.project), CONVERTED, credential)
        return await self._files.serve(call, converted, path, CONVERTED)

    async def runtime(self, call: Call) -> web.StreamResponse:
        """`/api/spaces/ID/runtime`: whether a space runs, and on what."""
        page = await self._repository(call, None)
        warning = await self._hub.admit_project(call, page)
        document = await self._hub.pages.about(page, "/runtime", parse_query(call.query), call.actor.credential, MOVING, shape=dict)
        return json_page(call, without_xet(load_json(document, self._hub.options.upstream)), None, warning)

    async def blob_page(self, call: Call) -> web.StreamResponse:
        """`/{P}ID/blob/REV/FILE`, a page for people: where the file itself is, after it was judged."""
        revision, path = parse_revision(call.match["rev"]), parse_path(call.match["path"])
        page = await self._repository(call, revision)
        await self._admit_file(call, page, path)
        where = with_query(call.mount + Repo.of(page.project).file("resolve", revision, path), parse_query(call.query))
        return web.Response(status=307, headers={"Location": where, "Cache-Control": "no-store", "Vary": "Authorization"})

    async def _repository(self, call: Call, revision: str | None) -> RepoPage:
        repo = parse_repo(call.match["repo"], kind_of(call.match.groupdict()))
        return await self._hub.pages.repository(repo, revision, call.actor.credential)

    async def _admit_file(self, call: Call, page: RepoPage, path: str) -> tuple[str, str] | None:
        """One file, as on a page: raises `Refused`, on the record; gives a warning's topic and text. Nothing is handed out."""
        hub = self._hub
        facts = file_facts(await hub.shared_facts(page, call.actor.credential, hub.gateway.needs(HUGGINGFACE)), page, path)
        verdict = await hub.gateway.judge(call.actor, page.artifact(path), facts)
        if not verdict.effect.serves:
            await hub.gateway.admit(call.actor, page.artifact(path), call.info, facts=facts)
        return warning_of(verdict, page.project)


def links_turned(value: Any, base: str, origin: str) -> Any:
    """`value` with its links to the dataset's Parquet files (paths under `base`) leading to `origin`, and no other text."""
    if isinstance(value, dict):
        return {key: links_turned(item, base, origin) for key, item in value.items()}
    if not isinstance(value, list):
        return None
    paths = [urlsplit(item).path for item in value if isinstance(item, str)]
    return [origin + path for path in paths if path.startswith(base)]


def converted_path(location: str, repo: Repo) -> str | None:
    """The file that the hub's redirect names, or None where it leads anywhere but to a conversion of this dataset."""
    start = repo.file("resolve", CONVERTED, "")
    path = urlsplit(location).path
    return parse_path(path.removeprefix(start)) if path.startswith(start) and path != start else None
