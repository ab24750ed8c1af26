"""The hub as a container registry: `/v2/ID/manifests/TAG` and `/v2/ID/blobs/sha256:…`, for Ollama and older llama.cpp.

A layer is a file of the repository, found by its digest, or something small that the hub makes from it (a chat
template, parameters). The first is judged, permitted and served as that file; the second as the repository. Blobs are
asked for without any credential, so a digest is only looked at when a manifest that went through this mirror named it,
and then for whoever asks now. https://distribution.github.io/distribution/spec/api/
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from mirror.core.errors import HubSaysNo, IntegrityError, MirrorError, UpstreamGarbage
from mirror.core.nouns import HUGGINGFACE, Digest, Document, DocumentKey, Kind
from mirror.core.ports import Answer, Ask
from mirror.hubs.huggingface.documents import MOVING, load_json, says_no
from mirror.hubs.huggingface.facts import file_facts
from mirror.hubs.huggingface.paths import parse_query, parse_repo, parse_revision, revision_segment, with_query
from mirror.hubs.huggingface.replies import told, warning_of
from mirror.hubs.huggingface.rewrite import without_xet
from mirror.reply.body import respond

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from mirror.core.actor import Credential
    from mirror.core.nouns import Span
    from mirror.hubs.huggingface.documents import RepoPage
    from mirror.hubs.huggingface.files import FileRoutes
    from mirror.hubs.huggingface.hub import HuggingFaceHub
    from mirror.hubs.huggingface.options import Bearer
    from mirror.reply.routing import Call

#: One URL, several bodies: the hub looks at who asks (`ggufFile` is for llama.cpp alone). {what a User-Agent holds:
#: (the name we ask under, Accept)}; the empty one is for everybody else.
_DOCKER: Final = "application/vnd.docker.distribution.manifest.v2+json"
_CLASSES: Final = {
    "llama-cpp": ("llama-cpp", "application/json"),
    "ollama": ("ollama", _DOCKER),
    "": ("", f"{_DOCKER}, application/json"),
}
_SHA256: Final = re.compile(r"sha256:[0-9a-f]{64}")
#: What the hub makes itself - a template, parameters, a system prompt, the text of a licence - is small.
_MADE: Final = 1024 * 1024
_VERSION: Final = {"Docker-Distribution-Api-Version": "registry/2.0"}
_PRIVATE: Final = {"Cache-Control": "private, no-cache", "Vary": "Authorization, User-Agent", **_VERSION}


@dataclass(frozen=True, slots=True)
class Layer:
    """A part of a manifest; `path` is known where the hub names the file (`ggufFile`)."""

    digest: str
    size: int
    path: str = ""


class RegistryRoutes:
    """Handlers of the registry."""

    def __init__(self, hub: HuggingFaceHub, files: FileRoutes) -> None:
        """Routes of one instance; `files` hands out contents."""
        self._hub, self._files = hub, files

    async def version(self, call: Call) -> web.StreamResponse:
        """`/v2/`: whether this is a registry at all."""
        return web.json_response({}, headers={**_VERSION, "Cache-Control": "no-store"})

    async def manifest(self, call: Call) -> web.StreamResponse:
        """`/v2/ID/manifests/TAG`: refused whole where one of its files is denied, for a part of it is of no use."""
        hub, credential = self._hub, call.actor.credential
        repo = parse_repo(call.match["repo"], Kind.MODEL)
        page = await hub.pages.repository(repo, None, credential)
        warning = await hub.admit_project(call, page)
        bearer = await hub.admit_rights(call, page)
        target = with_query(_manifest(page, parse_revision(call.match["tag"])), parse_query(call.query))
        document = await _manifest_page(hub, page, bearer, target, asker(call.actor.user_agent))
        value = load_json(document, hub.options.upstream)
        layers = tuple(layers_of(value, hub.options.upstream))
        if not all(_listed(page, layer) for layer in layers):  # right after a push the list that is known is older
            page = await hub.pages.renewed(page, repo, None, credential)
            warning = await hub.admit_project(call, page)
        for layer in layers:
            warning = await self._admit_layer(call, page, layer) or warning
        for layer in layers:
            await self._name(page, layer)
        plain = without_xet(value)
        body = document.body if plain == value else json.dumps(plain, ensure_ascii=False).encode()
        kind = document.header("content-type") or "application/json"
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        about = told(warning) | {"Content-Type": kind if "json" in kind else "application/json", "Docker-Content-Digest": digest, "ETag": f'"{digest}"'}
        return web.Response(body=body, headers={**_PRIVATE, **about, "X-Repo-Commit": page.commit, "X-Content-Type-Options": "nosniff"})

    async def blob(self, call: Call) -> web.StreamResponse:
        """`/v2/ID/blobs/sha256:…`, GET (ranges) and HEAD: 200 or 206 from here, never a redirect."""
        hub, credential, digest = self._hub, call.actor.credential, f"sha256:{call.match['digest']}"
        page = await hub.pages.repository(parse_repo(call.match["repo"], Kind.MODEL), None, credential)
        named = await self._named(page, digest)
        if named is None:
            await hub.admit_project(call, page)
            raise HubSaysNo(404, "", f"No manifest that went through this mirror names {digest}: ask for the manifest first.", "other")
        pinned = await hub.pages.repository(parse_repo(page.project.name, Kind.MODEL), named, credential)
        paths = pinned.paths_of({call.match["digest"]}).get(call.match["digest"])
        if not paths:
            return await self._made(call, pinned, digest)
        return await self._files.serve(
            call, pinned, await self._choose(call, pinned, paths), named, {"Docker-Content-Digest": digest, **_VERSION}
        )

    # --- layers ---------------------------------------------------------------------------------------------------

    async def _admit_layer(self, call: Call, page: RepoPage, layer: Layer) -> tuple[str, str] | None:
        """The file that a layer is: raises `Refused`, on the record; gives a warning's topic and text."""
        hub = self._hub
        paths = _places(page, layer)
        if not _listed(page, layer):
            fault = "answered with a manifest of another revision than its list of files" if layer.path else "names a layer that is none of the repository's files"
            raise UpstreamGarbage(hub.options.upstream, f"{fault}; try again in a moment")
        if not paths:
            return None
        path = layer.path or await self._choose(call, page, paths)
        needs = hub.gateway.needs(HUGGINGFACE)
        facts = file_facts(await hub.shared_facts(page, call.actor.credential, needs, (path,)), page, path)
        verdict = await hub.gateway.judge(call.actor, page.artifact(path), facts)
        if not verdict.effect.serves:
            await hub.gateway.admit(call.actor, page.artifact(path), call.info, facts=facts)
        return warning_of(verdict, page.project)

    async def _choose(self, call: Call, page: RepoPage, paths: list[str]) -> str:
        """Of several files with the same bytes the first that may be had, else the first."""
        shared = await self._hub.shared_facts(page, call.actor.credential, self._hub.gateway.needs(HUGGINGFACE), paths)
        for path in paths:
            verdict = await self._hub.gateway.judge(call.actor, page.artifact(path), file_facts(shared, page, path))
            if verdict.effect.serves:
                return path
        return paths[0]

    async def _made(self, call: Call, page: RepoPage, digest: str) -> web.StreamResponse:
        """A layer that the hub made of the repository: admitted as the repository, or as the file it is after all."""
        hub, gateway = self._hub, self._hub.gateway
        needs = gateway.needs(HUGGINGFACE)
        shared = await hub.shared_facts(page, call.actor.credential, needs, ())
        whole = page.artifact()
        admission = await gateway.admit(call.actor, whole, call.info, facts=file_facts(shared, page, ""), head=call.head)
        document = await self._fetch_made(call, page, digest)
        # A template may be a small file of the repository, which is listed under its git id only.
        oid = hashlib.sha1(b"blob %d\0" % len(document.body) + document.body, usedforsecurity=False).hexdigest()
        same = [path for path, file in page.files.items() if file.sha256 is None and file.oid == oid]
        shared = await hub.shared_facts(page, call.actor.credential, needs, same)
        for path in same:
            await gateway.admit(call.actor, page.artifact(path), call.info, facts=file_facts(shared, page, path), head=call.head)
        await admission.ticket.durable()
        headers = {
            **_PRIVATE, "Content-Type": "application/octet-stream", "Docker-Content-Digest": digest, "X-Repo-Commit": page.commit,
            "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox",
        }  # fmt: skip
        return await respond(
            call.request, MadeBody(document.body, digest), headers=tuple(headers.items()), etag=f'"{digest}"',
            last_modified=None, send_body=not call.head,
        )  # fmt: skip

    async def _fetch_made(self, call: Call, page: RepoPage, digest: str) -> Document:
        hub = self._hub
        bearer = await hub.admit_rights(call, page)
        return await _made_page(hub, page, bearer, digest)

    # --- which digests a manifest named ---------------------------------------------------------------------------

    async def _name(self, page: RepoPage, layer: Layer) -> None:
        """Remember, over restarts too, that a manifest of this very repository named a digest, and of which commit."""
        known = await self._named(page, layer.digest)
        if known == page.commit:
            return
        await self._hub.gateway.keep_document(_named_page(self._hub, page, layer.digest))

    async def _named(self, page: RepoPage, digest: str) -> str | None:
        """The commit whose manifest named `digest`; nothing where the name has passed to another repository since."""
        known = await self._hub.gateway.last_known(_named_key(self._hub, page, digest))
        if known is None:
            return None
        said = json.loads(known.body)
        return str(said["commit"]) if said["project"] == page.project.identity else None


# --- the hub's pages ----------------------------------------------------------------------------------------------


async def image(hub: HuggingFaceHub, page: RepoPage, tag: str, credential: Credential | None) -> AsyncIterator[Document]:
    """What a mirror has to know to answer for `tag` as this one: the manifest of each kind of client, which layers it named, those the hub makes.

    What the hub does not give is left out.
    """
    with suppress(MirrorError):
        bearer = await hub.access.check(page, credential)
        for names in _CLASSES.values():
            document = await _manifest_page(hub, page, bearer, _manifest(page, tag), names)
            layers = tuple(layers_of(load_json(document, hub.options.upstream), hub.options.upstream))
            if not all(_listed(page, layer) for layer in layers):
                return
            yield document
            for layer in layers:
                yield _named_page(hub, page, layer.digest)
                if not _places(page, layer):
                    yield await _made_page(hub, page, bearer, layer.digest)


def _manifest(page: RepoPage, tag: str) -> str:
    return f"/v2/{page.project.name}/manifests/{revision_segment(tag)}"


async def _manifest_page(hub: HuggingFaceHub, page: RepoPage, bearer: Bearer, target: str, names: tuple[str, str]) -> Document:
    """A manifest as `names`, one of `_CLASSES`, are given it. Raises as `Pages`."""
    word, accept = names
    headers = {"Accept": accept} | ({"User-Agent": word} if word else {})
    return await hub.pages.document(target, bearer, MOVING, shared=lambda _: page.public, headers=headers, variant=word or "registry")


async def _made_page(hub: HuggingFaceHub, page: RepoPage, bearer: Bearer, digest: str) -> Document:
    """The bytes of a layer that the hub makes. Raises as `Pages`, and `IntegrityError`."""
    target = f"/v2/{page.project.name}/blobs/{digest}"

    def shared(answer: Answer) -> bool:
        computed = "sha256:" + hashlib.sha256(answer.body).hexdigest()
        if computed != digest:
            raise IntegrityError(f"{page.artifact()} (registry layer)", digest, computed)
        return page.public

    key = DocumentKey(hub.options.name, target, bearer.scope, "bytes")
    ask = Ask(target, follow=True, max_bytes=_MADE, first_only=not page.public)
    document = await hub.gateway.document(hub.options.name, key, bearer.on(ask), max_age=None, shared=shared)
    if document.status >= 400:
        raise says_no(document)
    return document


def _named_key(hub: HuggingFaceHub, page: RepoPage, digest: str) -> DocumentKey:
    return DocumentKey(hub.options.name, f"/v2/{page.project.name}/blobs/{digest}", "", "named")


def _named_page(hub: HuggingFaceHub, page: RepoPage, digest: str) -> Document:
    """That a manifest of this very commit named a digest."""
    body = json.dumps({"project": page.project.identity, "commit": page.commit}).encode()
    computed = Digest("sha256", hashlib.sha256(body).hexdigest())
    return Document(_named_key(hub, page, digest), 200, (), body, computed, hub.gateway.clock.now(), None)


@dataclass(frozen=True, slots=True)
class MadeBody:
    """`core.ports.Body` over a few bytes that are at hand and were checked against their digest."""

    data: bytes
    digest: str
    verified: bool = True
    headers: tuple[tuple[str, str], ...] = ()
    origin: str = "hit"
    path: Path | None = None

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.data)

    @property
    def etag(self) -> str:
        """The digest."""
        return f'"{self.digest}"'

    async def read(self, span: Span) -> AsyncIterator[bytes]:
        """The bytes of `span`."""
        yield self.data[span.start : span.stop]

    async def close(self) -> None:
        """Nothing is held."""


def _places(page: RepoPage, layer: Layer) -> list[str]:
    """The files that have the layer's bytes."""
    digest = layer.digest.removeprefix("sha256:")
    return page.paths_of({digest}).get(digest, [])


def _listed(page: RepoPage, layer: Layer) -> bool:
    """Whether the page knows the layer: as the file that it says it is, else as any file, unless the hub may have made it."""
    paths = _places(page, layer)
    return layer.path in paths if layer.path else bool(paths) or layer.size <= _MADE


def asker(user_agent: str) -> tuple[str, str]:
    """(the name under which the hub is asked, `Accept`) for a client's User-Agent."""
    return next(names for word, names in _CLASSES.items() if word in user_agent.lower())


def layers_of(manifest: Any, upstream: str) -> Iterator[Layer]:
    """Every part that a manifest names. Raises `UpstreamGarbage` where one could not be judged."""
    listed = manifest.get("layers", []) if isinstance(manifest, dict) else None
    if not isinstance(listed, list):
        raise UpstreamGarbage(upstream, "answered with a manifest without a list of layers")
    rows = [("", row) for row in listed]
    rows += [("", manifest["config"])] if manifest.get("config") is not None else []
    rows += [("file", manifest[key]) for key in ("ggufFile", "mmprojFile") if manifest.get(key) is not None]
    for sort, row in rows:
        about = row if isinstance(row, dict) else {}
        digest, size, path = about.get("blobId" if sort else "digest"), about.get("size", 0), about.get("rfilename", "") if sort else ""
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest) or not isinstance(size, int) or not isinstance(path, str):
            raise UpstreamGarbage(upstream, "answered with a manifest that names a layer without a SHA-256 digest")
        yield Layer(digest, size, path)
