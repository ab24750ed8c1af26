"""The routes that hand out bytes: resolve, resolve-cache, raw. Every one goes through an admission (P1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from aiohttp import hdrs, web

from mirror.core.errors import HubSaysNo, Malformed
from mirror.core.http import matches
from mirror.core.nouns import HUGGINGFACE
from mirror.hubs.huggingface.facts import file_facts, sought_facts
from mirror.hubs.huggingface.large import for_client, is_large, out_of_reach
from mirror.hubs.huggingface.paths import PLURALS, Repo, is_commit, kind_of, parse_path, parse_repo, parse_revision
from mirror.hubs.huggingface.registry import MadeBody
from mirror.hubs.huggingface.replies import topic
from mirror.reply.again import again, answer, hit_headers, plain_key, small_hit
from mirror.reply.body import respond
from mirror.reply.refusal import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.core.actor import Credential
    from mirror.core.decision import Admission
    from mirror.core.facts import Facts
    from mirror.core.nouns import Artifact, Kind
    from mirror.core.ports import Body
    from mirror.hubs.huggingface.documents import HubFile, RepoPage
    from mirror.hubs.huggingface.hub import HuggingFaceHub
    from mirror.proxy.warm import Key
    from mirror.reply.again import Headers
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
        key = self._key(call)
        if key is not None and (warm := await self._hub.gateway.again(key)) is not None:
            return again(warm)
        repo, path = parse_repo(call.match["repo"], kind), parse_path(call.match["path"])
        await self._hub.foresee(repo, revision, path, call.actor)
        page = await self._hub.pages.repository(repo, revision, call.actor.credential)
        return await self.serve(call, page, path, revision)

    async def serve(
        self, call: Call, page: RepoPage, path: str, revision: str, more: Mapping[str, str] | None = None
    ) -> web.StreamResponse:
        """One file of a page, admitted, with `more` headers; `revision` is what was asked for, by whatever route."""
        hub, credential = self._hub, call.actor.credential
        artifact = page.artifact(path)
        hub.gateway.expect(artifact, page.document.digest.hex)
        needs = hub.gateway.needs(HUGGINGFACE)
        shared = await hub.shared_facts(page, credential, needs, (path,) if path in page.files else ())
        try:
            file = page.files.get(path)
            unsure = file is None or file.etag is None or file.size is None
            if unsure and await self._may_be_sought(call, page, path, shared):
                file = await hub.complete(page, path, credential)
                shared = await hub.shared_facts(page, credential, needs, (path,))
            admission, body = await self._admitted(call, artifact, file, file_facts(shared, page, path, file))
            file = file or await hub.complete(page, path, credential)
            headers = file_headers(page, file) | dict(more or {})
            _warn(headers, admission)
            standing = await self._standing(artifact, file, credential, always=call.head)
            if call.head:
                await admission.ticket.durable()
                headers |= _pinned(call, page, path, revision) | ({} if file.size is None else {"Content-Length": str(file.size)})
                if is_large(hub.options, file):
                    headers = for_client(hub.options, page, file, headers, call.actor.user_agent, here(call))
                found = _head(call, headers)
                found.headers["Cache-Status"] = standing
                # A miss may be a hit in a moment; and of a large file not everybody is told the size.
                if "; hit" in standing and not is_large(hub.options, file):
                    self._remember(call, admission, page, tuple(found.headers.items()), None, found.status)
                return found
            body = body or await hub.gateway.open(admission)
        except HubSaysNo as no:
            await hub.note_refusal(call, artifact, no)
            raise
        etag = headers.pop("ETag", "")
        if self._key(call) is not None and (data := await small_hit(body)) is not None:
            told = hit_headers(tuple(headers.items()), etag)
            self._remember(call, admission, page, told, data)
            return answer(told, data)
        return await respond(
            call.request, body, headers=tuple(headers.items()), etag=etag, last_modified=None, send_body=True
        )

    async def _may_be_sought(self, call: Call, page: RepoPage, path: str, shared: Facts) -> bool:
        """Whether it may be told that there is no such file, if so it is.

        A refusal comes before the hub's word on whether the file exists: a miss must not map out what a rule denies. Where no
        rule speaks of it, and the policy's default denies it as it does anything that nobody thought of, a repository that is
        served says that it has no such file: libraries look for files that few repositories have, and give up the whole one
        where they are refused.
        """
        gateway = self._hub.gateway
        verdict = await gateway.judge(call.actor, page.artifact(path), sought_facts(shared, page, path))
        if verdict.effect.serves or verdict.determining is not None or path in page.files:
            return verdict.effect.serves
        return (await gateway.judge(call.actor, page.artifact(), file_facts(shared, page, ""))).effect.serves

    async def _admitted(self, call: Call, artifact: Artifact, file: HubFile | None, facts: Facts) -> tuple[Admission, Body | None]:
        """Admitted; and what is to be handed out, where nothing more has to be known of the file before it is sought."""
        gateway = self._hub.gateway
        if call.head or file is None or out_of_reach(self._hub.options, file) is not None:
            return await gateway.admit(call.actor, artifact, call.info, facts=facts, head=call.head), None
        return await gateway.hand_out(call.actor, artifact, call.info, facts=facts)

    async def _standing(self, artifact: Artifact, file: HubFile, credential: Credential | None, *, always: bool) -> str:
        """What a GET would find in the store. Raises `HubSaysNo` where it would find nothing and nothing can be fetched.

        Without `always` the store is asked only for a file that cannot be fetched, and the answer is empty for others.
        """
        hub = self._hub
        refusal = out_of_reach(hub.options, file)
        if refusal is None and not always:
            return ""
        standing = await hub.gateway.standing(artifact, await hub.locate(artifact, credential))
        if refusal is not None and "; hit" not in standing:
            raise refusal
        return standing

    def _key(self, call: Call) -> Key | None:
        """What makes two requests the same one. A condition on a HEAD is answered here, on a GET by `respond`."""
        return plain_key(call, self._hub.name, *((hdrs.IF_NONE_MATCH,) if call.head else ()))

    def _remember(
        self, call: Call, admission: Admission, page: RepoPage, headers: Headers, body: bytes | None, status: int = 200
    ) -> None:
        key, right = self._key(call), self._hub.access.good_until(page, call.actor.credential)
        if key is not None and right is not None:
            document, gateway = page.document, self._hub.gateway
            until = right if document.max_age is None else min(right, document.fetched_at + document.max_age)
            gateway.remember(key, admission, headers, body, until, lambda: not gateway.replaced(document), status)

    async def raw(self, call: Call) -> web.StreamResponse:
        """`/{P}ID/raw/REV/FILE`: what git holds. For a large file that is its pointer, which we write ourselves."""
        kind = kind_of(call.match.groupdict())
        repo, path = parse_repo(call.match["repo"], kind), parse_path(call.match["path"])
        page = await self._hub.pages.repository(repo, parse_revision(call.match["rev"]), call.actor.credential)
        file = page.files.get(path)
        if file is None or file.sha256 is None or file.size is None:
            return await self._file(call, kind, page.commit)
        shared = await self._hub.shared_facts(page, call.actor.credential, self._hub.gateway.needs(HUGGINGFACE), (path,))
        facts = file_facts(shared, page, path)
        admission = await self._hub.gateway.admit(call.actor, page.artifact(path), call.info, facts=facts, head=call.head)
        await self._hub.access.check(page, call.actor.credential)
        await admission.ticket.durable()
        # https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md#the-pointer
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{file.sha256}\nsize {file.size}\n"
        headers, etag = {**_safe(page, path), "Content-Type": "text/plain; charset=utf-8"}, f'"{file.oid}"' if file.oid else ""
        body = MadeBody(text.encode(), file.oid or "")  # huggingface.js asks for `bytes=0-0` first, and wants a 206
        return await respond(call.request, body, headers=tuple(headers.items()), etag=etag, last_modified=None, send_body=not call.head)


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
    A client that calls us by another name than `listen.public_url` gets none, and does without that guard.
    """
    if revision == page.commit or not (known := here(call)):
        return {}
    return {"Location": known + Repo.of(page.project).file("resolve", page.commit, path)}


def here(call: Call) -> str:
    """The address of this hub at the mirror, below which its routes lie; empty for a client that knows us by another name.

    To one that uses another name of ours, a link to the public one leads abroad: it would follow without its token.
    """
    own = urlsplit(call.public_url)
    default = {"https": 443, "http": 80}.get(own.scheme)
    asked = urlsplit("//" + call.request.headers.get("Host", ""))
    try:
        same = (own.hostname, own.port or default) == (asked.hostname, asked.port or default)
    except ValueError:
        return ""
    return call.public_url + call.mount if same else ""


def _head(call: Call, headers: dict[str, str]) -> web.Response:
    """The answer to HEAD: as GET's would be, without a transfer being started."""
    asked, etag = call.request.headers.get("If-None-Match"), headers.get("ETag")
    if asked is not None and etag is not None and matches(asked, etag, weak=True):
        return web.Response(status=304, headers={k: v for k, v in headers.items() if k not in ("Content-Type", "Content-Length")})
    return web.Response(headers=headers)
