"""The routes that hand out bytes: resolve, resolve-cache, raw. Every one goes through an admission (P1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from aiohttp import web

from mirror.core.errors import HubSaysNo, Malformed
from mirror.core.http import matches
from mirror.core.nouns import HUGGINGFACE
from mirror.hubs.huggingface.facts import file_facts
from mirror.hubs.huggingface.paths import PLURALS, Repo, is_commit, kind_of, parse_path, parse_repo, parse_revision
from mirror.hubs.huggingface.replies import topic
from mirror.reply.body import respond
from mirror.reply.refusal import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.core.decision import Admission
    from mirror.core.nouns import Kind
    from mirror.hubs.huggingface.documents import HubFile, RepoPage
    from mirror.hubs.huggingface.hub import HuggingFaceHub
    from mirror.reply.routing import Call

_TEXT: Final = frozenset(["txt", "md", "json", "jsonl", "yaml", "yml", "toml", "cfg", "ini", "py", "jinja", "csv", "tsv", "xml", "html", "gitattributes", "gitignore", "sh"])


class FileRoutes:
    """Handlers of the content routes."""

    def __init__(self, hub: HuggingFaceHub) -> None:
        """Routes of one instance."""
        self._hub = hub

    async def resolve(self, call: Call) -> web.StreamResponse:
        """`/{P}ID/resolve/REV/FILE`, GET and HEAD: 200 with all metadata, never a redirect."""
        kind = kind_of(call.match.groupdict())
        return await self._file(call, kind, parse_revision(call.match["rev"]))

    async def resolve_cache(self, call: Call) -> web.StreamResponse:
        """`/api/resolve-cache/T/ID/COMMIT/FILE`: where the real hub redirects to; a full commit only."""
        revision = parse_revision(call.match["rev"])
        if not is_commit(revision):
            raise Malformed("Invalid commit hash")
        return await self._file(call, PLURALS[call.match["plural"]], revision)

    async def _file(self, call: Call, kind: Kind, revision: str) -> web.StreamResponse:
        repo, path = parse_repo(call.match["repo"], kind), parse_path(call.match["path"])
        page = await self._hub.pages.repository(repo, revision, call.actor.credential)
        return await self.serve(call, page, path, revision)

    async def serve(
        self, call: Call, page: RepoPage, path: str, revision: str, more: Mapping[str, str] | None = None
    ) -> web.StreamResponse:
        """One file of a page, admitted, with `more` headers; `revision` is what was asked for, by whatever route."""
        hub, credential = self._hub, call.actor.credential
        artifact = page.artifact(path)
        shared = await hub.shared_facts(page, credential, hub.gateway.needs(HUGGINGFACE))
        try:
            file = page.files.get(path)
            if file is None or file.etag is None or file.size is None:
                # A refusal comes before the hub's word on whether the file exists: a miss must not map out what is denied.
                verdict = await hub.gateway.judge(call.actor, artifact, file_facts(shared, page, path))
                if verdict.effect.serves:
                    file = await hub.complete(page, path, credential)
            admission = await hub.gateway.admit(
                call.actor, artifact, call.info, facts=file_facts(shared, page, path, file), head=call.head
            )
            headers = file_headers(page, file or await hub.complete(page, path, credential)) | dict(more or {})
            _warn(headers, admission)
            if call.head:
                await hub.locate(artifact, credential)
                await admission.ticket.durable()
                return _head(call, headers | _pinned(call, page, path, revision), file)
            body = await hub.gateway.open(admission)
        except HubSaysNo as no:
            await hub.note_refusal(call, artifact, no)
            raise
        etag = headers.pop("ETag", "")
        return await respond(
            call.request, body, headers=tuple(headers.items()), etag=etag, last_modified=None, send_body=True
        )

    async def raw(self, call: Call) -> web.StreamResponse:
        """`/{P}ID/raw/REV/FILE`: what git holds. For a large file that is its pointer, which we write ourselves."""
        kind = kind_of(call.match.groupdict())
        repo, path = parse_repo(call.match["repo"], kind), parse_path(call.match["path"])
        page = await self._hub.pages.repository(repo, parse_revision(call.match["rev"]), call.actor.credential)
        file = page.files.get(path)
        if file is None or file.sha256 is None or file.size is None:
            return await self._file(call, kind, page.commit)
        shared = await self._hub.shared_facts(page, call.actor.credential, self._hub.gateway.needs(HUGGINGFACE))
        facts = file_facts(shared, page, path)
        admission = await self._hub.gateway.admit(call.actor, page.artifact(path), call.info, facts=facts, head=call.head)
        await self._hub.access.check(page, call.actor.credential)
        await admission.ticket.durable()
        # https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md#the-pointer
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{file.sha256}\nsize {file.size}\n"
        headers = {**_safe(page, path), "ETag": f'"{file.oid}"'} if file.oid else _safe(page, path)
        return web.Response(text=text, content_type="text/plain", charset="utf-8", headers=headers)


def file_headers(page: RepoPage, file: HubFile) -> dict[str, str]:
    """All that a client reads from the metadata of a file (facts 2), on one answer."""
    headers = _safe(page, file.path)
    name = file.path.rpartition("/")[2].lower()
    texty = file.sha256 is None and (name.rpartition(".")[2] in _TEXT or "." not in name)
    headers["Content-Type"] = "text/plain; charset=utf-8" if texty else "application/octet-stream"
    headers["Accept-Ranges"] = "bytes"
    if file.etag:
        headers["ETag"] = f'"{file.etag}"'
    if file.sha256:
        headers["X-Linked-ETag"] = f'"{file.sha256}"'
        if file.size is not None:
            headers["X-Linked-Size"] = str(file.size)
    return headers


def _safe(page: RepoPage, path: str) -> dict[str, str]:
    """The commit, and what keeps a browser from running somebody's file on the mirror's own origin."""
    name = path.rpartition("/")[2]
    plain = one_line(name).replace('"', "_").replace("\\", "_")
    return {
        "X-Repo-Commit": page.commit,
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(name, safe='')}; filename=\"{plain}\";",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-cache",
        "Vary": "Authorization",
    }


def _warn(headers: dict[str, str], admission: Admission) -> None:
    determining = admission.decision.verdict.determining
    if determining is not None and admission.decision.effect.word == "warn":
        about = topic(determining.id, admission.artifact.project)
        headers["X-HF-Warning"] = f"{about}; {one_line(admission.decision.sentence)[:2000]}"


def _pinned(call: Call, page: RepoPage, path: str, revision: str) -> dict[str, str]:
    """Where the GET that follows a HEAD gets this very commit, although the branch may move in between.

    huggingface_hub takes the URL to download from `Location` whatever the status; without it the bytes of a newer commit
    would be kept under the older one's entity tag. On a 200 the field redirects nobody (RFC 9110 section 10.2.2).
    """
    if revision == page.commit:
        return {}
    return {"Location": call.public_url + call.mount + Repo.of(page.project).file("resolve", page.commit, path)}


def _head(call: Call, headers: dict[str, str], file: HubFile | None) -> web.Response:
    """The answer to HEAD: as GET's would be, without a transfer being started."""
    asked, etag = call.request.headers.get("If-None-Match"), headers.get("ETag")
    if asked is not None and etag is not None and matches(asked, etag, weak=True):
        return web.Response(status=304, headers={k: v for k, v in headers.items() if k != "Content-Type"})
    size = {} if file is None or file.size is None else {"Content-Length": str(file.size)}
    return web.Response(headers={**headers, **size})
