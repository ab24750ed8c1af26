"""What the hub makes of a repository's files: tensor lists, Parquet conversions, the state of a space, pages for people."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

from aiohttp import web

from mirror.core.errors import HubSaysNo, Malformed, NotHere, UpstreamError, UpstreamGarbage
from mirror.core.nouns import HUGGINGFACE
from mirror.hubs.huggingface.documents import MOVING, load_json
from mirror.hubs.huggingface.facts import file_facts
from mirror.hubs.huggingface.filtering import keep_files
from mirror.hubs.huggingface.paths import Repo, kind_of, parse_path, parse_query, parse_repo, parse_revision, with_query
from mirror.hubs.huggingface.replies import json_page, warning_of
from mirror.hubs.huggingface.rewrite import split_url, without_xet

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from mirror.hubs.huggingface.documents import RepoPage
    from mirror.hubs.huggingface.files import FileRoutes
    from mirror.hubs.huggingface.hub import HuggingFaceHub
    from mirror.reply.routing import Call

CONVERTED: Final = "refs/convert/parquet"
_NAME: Final = re.compile(r"[^/]+")
_NUMBERED: Final = re.compile(r"([^/]+)/([^/]+)/([0-9]{1,9})\.parquet")
T = TypeVar("T")


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
        """`/api/datasets/ID/parquet[/CONFIG[/SPLIT]]`: links lead to us, those of denied files are left out."""
        hub, credential = self._hub, call.actor.credential
        page = await self._repository(call, None)
        warning = await hub.admit_project(call, page)
        await hub.admit_rights(call, page)
        within = "".join(f"/{quote(parse_path(part), safe='')}" for part in _NAME.findall(call.match["within"]))
        document = await hub.pages.about(
            page, f"/parquet{within}", parse_query(call.query), credential, MOVING, contents=True, shape=(dict, list)
        )
        base, origin = f"{Repo.of(page.project).api}/parquet/", call.public_url + call.mount
        turned = links_turned(load_json(document, hub.options.upstream), base, origin)
        links = list(dict.fromkeys(_links(turned)))
        kept, left_out = await keep_converted(hub, call, page, [(link, numbered(link.removeprefix(origin + base))) for link in links])
        staying = frozenset(kept)
        return json_page(call, turned if len(staying) == len(links) else _pruned(turned, staying), None, left_out or warning)

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
        needs = hub.gateway.needs(HUGGINGFACE)
        facts = file_facts(await hub.shared_facts(page, call.actor.credential, needs, (path,)), page, path)
        verdict = await hub.gateway.judge(call.actor, page.artifact(path), facts)
        if not verdict.effect.serves:
            await hub.gateway.admit(call.actor, page.artifact(path), call.info, facts=facts)
        return warning_of(verdict, page.project)


async def keep_converted(
    hub: HuggingFaceHub, call: Call, page: RepoPage, rows: Sequence[tuple[T, Sequence[str]]]
) -> tuple[list[T], tuple[str, str] | None]:
    """The rows whose files of `refs/convert/parquet` are not denied, and the warning; each row comes with the paths it may mean.

    Where the conversion's list of files is not to be had, or names none of the paths, a row stays: what it leads to is
    judged when it is asked for.
    """
    try:
        converted = await hub.pages.repository(Repo.of(page.project), CONVERTED, call.actor.credential)
    except (HubSaysNo, NotHere, UpstreamError):
        return [row for row, _ in rows], None
    named = [(next((path for path in paths if path in converted.files), ""), row) for row, paths in rows]
    return await keep_files(hub, call, converted, named)


def numbered(rest: str) -> tuple[str, ...]:
    """The paths that `CONFIG/SPLIT/N.parquet` of the API may be in the conversion: of a large split only a part is converted."""
    parts = _NUMBERED.fullmatch(rest)
    if parts is None:
        return ()
    try:
        config, split = parse_path(parts[1]), parse_path(parts[2])
    except Malformed:
        return ()
    return tuple(f"{config}/{folder}/{int(parts[3]):04}.parquet" for folder in (split, f"partial-{split}"))


def _links(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _links(inner)
    elif isinstance(value, list):
        yield from value


def _pruned(value: Any, staying: Collection[str]) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(inner, staying) for key, inner in value.items()}
    return [link for link in value if link in staying] if isinstance(value, list) else value


def links_turned(value: Any, base: str, origin: str) -> Any:
    """`value` with its links to the dataset's Parquet files (paths under `base`) leading to `origin`, and no other text."""
    if isinstance(value, dict):
        return {key: links_turned(item, base, origin) for key, item in value.items()}
    if not isinstance(value, list):
        return None
    paths = [split_url(item).path for item in value if isinstance(item, str)]
    return [origin + path for path in paths if path.startswith(base)]


def converted_path(location: str, repo: Repo) -> str | None:
    """The file that the hub's redirect names, or None where it leads anywhere but to a conversion of this dataset."""
    start = repo.file("resolve", CONVERTED, "")
    path = split_url(location).path
    return parse_path(path.removeprefix(start)) if path.startswith(start) and path != start else None
