"""The table of routes of a package index, and how it says no in words that pip, uv and Poetry print."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohttp import web
from multidict import CIMultiDict

from mirror.core.accept import coding
from mirror.core.decision import EventKind
from mirror.core.errors import (
    HubSaysNo,
    IntegrityError,
    Limited,
    Malformed,
    MirrorError,
    NotHere,
    Pending,
    Refused,
    StoreFull,
    UpstreamDown,
)
from mirror.core.facts import Facts
from mirror.core.http import matches
from mirror.core.nouns import PYPI, Artifact
from mirror.hubs.pypi.documents import HTML, JSON_V1, decode_object
from mirror.hubs.pypi.facts import page_facts
from mirror.hubs.pypi.hub import LARGE, PypiHub, Sheet
from mirror.hubs.pypi.judgement import Bench, Judgement
from mirror.hubs.pypi.legacy import turned
from mirror.hubs.pypi.made import PageBody
from mirror.hubs.pypi.making import Making
from mirror.hubs.pypi.negotiation import content_type
from mirror.hubs.pypi.pages import as_html, as_json, filtered
from mirror.hubs.pypi.paths import (
    FilePath,
    blake2_path,
    candidates,
    conventional_path,
    file_name,
    mapped_path,
    project_name,
    version_text,
)
from mirror.hubs.pypi.projects import listing
from mirror.hubs.pypi.repeats import Repeats
from mirror.hubs.pypi.shelf import Rendering, Shelf
from mirror.reply.again import hit_headers, small_hit
from mirror.reply.body import respond
from mirror.reply.refusal import COME_BACK, come_back, problem, refuse
from mirror.reply.routing import Call, Handling, Route, route
from mirror.reply.turned_away import answer, refused_at_import

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from mirror.core.actor import Actor
    from mirror.core.decision import Admission
    from mirror.core.ports import Source
    from mirror.hubs.pypi.documents import Listed
    from mirror.proxy.gateway import Gateway

INTEGRITY_V1: Final = "application/vnd.pypi.integrity.v1+json"
_TYPES: Final = {HTML: "text/html; charset=utf-8"}
#: First segments that the default index has on every host (SURFACE 1), so that no owner can be called so.
_RESERVED: Final = frozenset({"pypi", "simple", "packages"})
#: Our pages are inert in a browser whatever upstream put into them.
_INERT: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "sandbox; default-src 'none'; frame-ancestors 'none'"),
)
#: The path names the bytes, so that they never change; whether they may be had is asked each time all the same.
_FILE_HEADERS: Final = (("Cache-Control", "private, no-cache"), ("Vary", "Authorization"), *_INERT)
_SEGMENT: Final = "[^/]+"


class PypiDialect:
    """One package index as the web layer sees it (`reply.routing.Dialect`)."""

    def __init__(self, hub: PypiHub, gateway: Gateway) -> None:
        self.name = hub.settings.name
        self.mount = hub.settings.mount
        self.hosts = hub.settings.hosts
        self._hub, self._gateway = hub, gateway
        self._bench = Bench(hub, gateway)
        self._shelf = Shelf()
        self._making = Making(hub, gateway)
        self._repeats = Repeats(hub, gateway)
        self.routes = self._table()

    @property
    def hub(self) -> PypiHub:
        """The index as the use-cases see it."""
        return self._hub

    def _table(self) -> tuple[Route, ...]:
        get = "GET HEAD"
        name = f"(?P<name>{_SEGMENT})"
        legacy = f"(?:/pypi)?/(?!(?:simple|packages|integrity|pypi)/){name}"
        ending = r"(?P<file>[^/]+)"
        content, facts = Handling.CONTENT, Handling.FACTS
        return (
            route("projects", get, "/simple/?", Handling.LISTING, self.projects),
            route("page", get, f"/simple/{name}(?P<slash>/?)", facts, self.page),
            route("file", get, f"/packages/(?P<digest>[0-9a-f]{{2}}/[0-9a-f]{{2}}/[0-9a-f]{{60}})/{ending}", content, self.file),
            route("mapped-file", get, f"/packages/-/(?P<key>[0-9a-f]{{40}})/{ending}", content, self.file),
            route("named-file", get, f"/packages/[a-z0-9.]+/[^/]/{name}/{ending}", content, self.file),
            route("provenance", get, f"/integrity/{name}/(?P<version>{_SEGMENT})/{ending}/provenance", facts, self.provenance),
            route("legacy", get, f"{legacy}/json/?", facts, self.legacy),
            route("legacy-release", get, f"{legacy}/(?P<version>{_SEGMENT})/json/?", facts, self.legacy),
        )

    # --- pages ----------------------------------------------------------------------------------------------------

    async def projects(self, call: Call) -> web.StreamResponse:
        """`/simple/`: the names of all projects."""
        if not call.raw_path.endswith("/"):
            return self._moved(f"{call.mount}/simple/")
        wanted = content_type(_header(call, "Accept"))
        document = await self._hub.projects()
        base, upstream = _base(call), self._hub.settings.upstreams[0]
        key = ("projects", document.digest.hex, wanted, base)
        large = len(document.body) >= LARGE
        rendering = await self._shelf.get(key, lambda: listing(document, wanted, base, upstream), large=large)
        return await self._send(call, rendering, wanted, document.header("x-pypi-last-serial"))

    async def page(self, call: Call) -> web.StreamResponse:
        """`/simple/{name}/`: one project's files; other spellings are sent to the normalised one, as PyPI does."""
        raw = call.match["name"]
        name = project_name(raw)
        if name is None:
            raise NotHere(raw[:100])
        if raw != name or not call.match["slash"]:
            return self._moved(f"{call.mount}/simple/{name}/")
        key = self._repeats.page_key(call)
        if (given := await self._repeats.given(key)) is not None:
            return given
        sheet = await self._hub.page(name)
        judgement = await self._bench.judge(call.actor, sheet)
        if judgement.whole and self._hub.settings.denied_project == "page":
            await self._refuse_whole(call, sheet, judgement)
        await self._steered(call, sheet, judgement)
        self._making.begin(call.actor, sheet, judgement)
        wanted = content_type(_header(call, "Accept"))
        rendering = await self._rendering(sheet, judgement, wanted, _base(call))
        answer = await self._send(call, rendering, wanted, sheet.serial)
        self._repeats.page(key, answer, sheet, judgement)
        return answer

    async def _steered(self, call: Call, sheet: Sheet, judgement: Judgement) -> None:
        """One event a page, citing the page as it was judged: what each file's facts were can be read from it."""
        evidence = (sheet.document.digest.hex, *judgement.advice)

        def told(artifact: Artifact) -> Facts:
            facts = page_facts(sheet.page, sheet.page.by_name[artifact.path], sheet.document.digest.hex)
            return replace(self._hub.advised(facts, artifact) if judgement.advice else facts, evidence=evidence)

        project = self._hub.project(sheet.page.project)
        await self._gateway.steered(call.actor, project, call.info, judgement.left_out, facts_of=told)

    async def _rendering(self, sheet: Sheet, judgement: Judgement, wanted: str, base: str) -> Rendering:
        form = "json" if wanted == JSON_V1 else "html"
        key = ("page", sheet.page.project, sheet.edition, judgement.edition, form, base)
        write: Callable[..., bytes] = as_json if form == "json" else as_html
        return await self._shelf.get(
            key,
            lambda: write(filtered(sheet.page, judgement.marked, base)),
            large=len(sheet.document.body) >= LARGE,
        )

    async def _refuse_whole(self, call: Call, sheet: Sheet, judgement: Judgement) -> None:
        """A 451 page: the refusal of the project's first file, recorded as one of the page.

        451 also where the rule is house policy: uv takes a 403 page for missing credentials and prints no reason.
        """
        artifact, _ = judgement.left_out[0]
        file = sheet.page.by_name[artifact.path]
        facts = await self._facts(call.actor, sheet, file)
        await self._gateway.admit(call.actor, artifact, call.info, facts=facts, head=call.head, refusal=451)

    async def legacy(self, call: Call) -> web.StreamResponse:
        """`/pypi/{name}/json` and `/pypi/{name}/{version}/json`, marked as the simple page is."""
        raw, version = call.match["name"], call.match.groupdict().get("version")
        name = project_name(raw)
        release = version_text(version) if version is not None else None
        if name is None or (version is not None and release is None):
            raise NotHere(raw[:100])
        if raw != name or call.raw_path.endswith("/"):
            return self._moved(f"{call.mount}/pypi/{name}/{version + '/' if version else ''}json")
        sheet = await self._hub.page(name)
        judgement = await self._bench.judge(call.actor, sheet)
        if judgement.whole and self._hub.settings.denied_project == "page":
            await self._refuse_whole(call, sheet, judgement)
        if release is not None and self._gateway.offline and not sheet.page.releases(release):
            raise NotHere(f"{name}/{release}")  # by the index's own page
        document = await self._hub.legacy(name, release)
        await self._steered(call, sheet, judgement)
        base, upstream = _base(call), self._hub.settings.upstreams[0]

        def render() -> bytes:
            found = decode_object(document.body, _origin(upstream))
            return as_json(turned(found, name, judgement.marked, base, upstream))

        key = ("legacy", name, document.digest.hex, sheet.document.digest.hex, judgement.edition, base)
        rendering = await self._shelf.get(key, render, large=len(document.body) >= LARGE)
        return await self._send(call, rendering, "application/json", document.header("x-pypi-last-serial"))

    async def provenance(self, call: Call) -> web.StreamResponse:
        """PEP 740: a file's attestations as upstream gives them, refused where the file is."""
        name, wanted = project_name(call.match["name"]), file_name(call.match["file"])
        if name is None or wanted is None:
            raise NotHere("no such provenance")
        sheet, file = await self._hub.find("", wanted, [name])
        if file.distribution is None or file.distribution.version != version_text(call.match["version"]):
            raise NotHere(wanted)
        await self._judged(call, sheet, file)
        document = await self._hub.provenance(file)
        decode_object(document.body, _origin(file.provenance or ""))
        key = ("provenance", document.digest.hex)
        rendering = await self._shelf.get(key, lambda: document.body, large=False)
        return await self._send(call, rendering, INTEGRITY_V1, None)

    # --- files ----------------------------------------------------------------------------------------------------

    async def file(self, call: Call) -> web.StreamResponse:
        """A distribution or its core metadata, decided by itself: lock files come here without any page before."""
        wanted = _wanted(call)
        if wanted is None:
            raise NotHere("no distribution has such a name")
        key = self._repeats.file_key(call)
        if (given := await self._repeats.given(key)) is not None:
            return given
        projects = [wanted.project] if wanted.project else _projects(wanted.name)
        sheet, file = await self._hub.find(wanted.path, wanted.name, projects)
        if file.distribution is None:
            return await self._refused_route(call, f"{file.name}: no rule can judge a file whose name carries no listed version")
        if wanted.metadata:
            # PEP 658: the metadata is judged as its file, then by itself: `*.whl` and `kind: wheel` reach it too.
            await self._judged(call, sheet, file)
        artifact = self._hub.artifact(sheet.page, file, metadata=wanted.metadata)
        admission = await self._gateway.admit(call.actor, artifact, call.info, head=call.head)
        headers = (*_FILE_HEADERS, ("Content-Type", "application/octet-stream"))
        if wanted.metadata and file.made:
            made = PageBody(await self._hub.made.document(file), verified=not file.unverified)
            await admission.ticket.durable()
            return await respond(
                call.request, made, headers=headers, etag=made.etag, last_modified=_second(file), send_body=not call.head
            )
        source = self._hub.source(file, metadata=wanted.metadata)
        if call.head and source.size is not None and source.declared is not None:
            # The page says all that a HEAD is answered with: no transfer is started for it.
            await admission.ticket.durable()
            known = ("Cache-Status", await self._gateway.standing(artifact, source))
            return self._repeats.head(key, admission, _head(call, source, (*headers, known)), sheet)
        body = await self._gateway.open(admission)
        if wanted.metadata and not call.head and key is not None and (small := await small_hit(body)) is not None:
            return self._repeats.file(key, admission, hit_headers(headers, body.etag, _second(file)), small, sheet)
        answer = await respond(
            call.request, body, headers=headers, etag=body.etag, last_modified=_second(file), send_body=not call.head
        )
        whole = answer.status == 200 and answer.failure is None and not call.head
        if whole and not wanted.metadata and (file.lacks_metadata or file.unverified):
            await self._learn(admission, sheet, file)
        return answer

    async def _learn(self, admission: Admission, sheet: Sheet, file: Listed) -> None:
        """After a whole wheel was served: make the metadata that its index does not have, from the bytes in the store."""
        with suppress(MirrorError):
            body = await self._gateway.open(admission)
            try:
                await self._hub.made.learn(sheet.page.project, file, body)
            finally:
                await body.close()

    async def _judged(self, call: Call, sheet: Sheet, file: Listed) -> None:
        """Refuse - on the record - what belongs to a file that is refused."""
        artifact = self._hub.artifact(sheet.page, file)
        facts = await self._facts(call.actor, sheet, file)
        verdict = await self._gateway.judge(call.actor, artifact, facts)
        if not verdict.effect.serves:
            await self._gateway.admit(call.actor, artifact, call.info, facts=facts, head=call.head)

    async def _facts(self, actor: Actor, sheet: Sheet, file: Listed) -> Facts:
        return await self._hub.describe(self._hub.artifact(sheet.page, file), actor.credential, self._gateway.needs(PYPI))

    # --- saying no ------------------------------------------------------------------------------------------------

    async def refuse(self, call: Call, refused: Refused) -> web.StreamResponse:
        """A policy refusal: reason phrase for pip and Poetry, problem body for uv."""
        return refuse(call, refused.decision)

    async def unknown(self, call: Call) -> web.StreamResponse:
        """A route that is not in the table: writes are recorded as such, everything else is refused plainly."""
        method = call.request.method
        if method in ("GET", "HEAD", "OPTIONS"):
            said = f"this mirror's index {self.name!r} has no such route"
            first = call.info.path.split("/")[1]
            if first in _RESERVED:
                said += f"; {first!r} is reserved: a Hugging Face owner of this name is reached through a hub with `hosts:` of its own"
            return await self._refused_route(call, said, status=404)
        what = "XML-RPC" if call.raw_path.startswith("/pypi") else "uploads and other writes"
        subject = f"{self.name}: {method} {call.raw_path[:200]}"
        await self._gateway.note(EventKind.WRITE_REFUSED, call.actor, call.info, subject)
        said = f"This is a read-only mirror: it takes no {what}"
        return problem(403, "Read-only mirror", said, reason=said)

    async def _refused_route(self, call: Call, sentence: str, status: int = 403) -> web.StreamResponse:
        subject = f"{self.name}: {call.raw_path[:200]}"
        await self._gateway.note(EventKind.ROUTE_REFUSED, call.actor, call.info, subject)
        return problem(status, "Not served", sentence, reason=sentence)

    async def problem(self, call: Call, error: MirrorError) -> web.StreamResponse:
        """Any other failure. 404 is said of what does not exist upstream and of nothing else."""
        if isinstance(error, NotHere) and not error.offline:
            return problem(404, "Not found", f"{self._hub.settings.called} has no {error.what}")
        if isinstance(error, HubSaysNo):
            subject = f"{self.name}: {call.raw_path[:200]}"
            detail = {"cause": error.cause, "status": error.status}
            await self._gateway.note(EventKind.HUB_REFUSED, call.actor, call.info, subject, detail)
            return problem(error.status, f"Withheld by {self._hub.settings.called}", error.message, reason=error.message)
        if isinstance(error, Malformed):
            return problem(error.status, "Malformed request", error.message)
        if (away := await refused_at_import(call, self._gateway, error)) is not None:
            return answer(call, away, self._gateway)
        status, title, wait = _standing(error)
        headers = (come_back(wait),) if wait else ()
        said = f"{error} was never fetched by this mirror, and it is offline." if isinstance(error, NotHere) else str(error)
        return problem(status, title, said, reason=f"{title}: {error}", headers=headers)

    # --- answers --------------------------------------------------------------------------------------------------

    def _moved(self, path: str) -> web.Response:
        """A path-absolute redirect: nothing of the request is repeated but names that were parsed."""
        return web.Response(status=301, headers={"Location": path, "Cache-Control": "no-cache"})

    async def _send(self, call: Call, rendering: Rendering, media: str, serial: str | None) -> web.Response:
        wanted = coding(_header(call, "Accept-Encoding"))
        etag = rendering.etag(wanted)
        headers = {
            "Content-Type": _TYPES.get(media, media),
            # A page that a client may reuse unasked is a page on which a new rule does not apply.
            "Cache-Control": "private, no-cache",
            "Vary": "Accept, Accept-Encoding, Authorization",
            "ETag": etag,
            **dict(_INERT),
        }
        if serial is not None and serial.isdecimal():
            headers["X-PyPI-Last-Serial"] = serial
        if matches(_header(call, "If-None-Match"), etag, weak=True):
            del headers["Content-Type"]
            return web.Response(status=304, headers=headers)
        body = await self._shelf.coded(rendering, wanted)
        if wanted != "identity":
            headers["Content-Encoding"] = wanted
        if call.head:
            return web.Response(headers={**headers, "Content-Length": str(len(body))})
        return web.Response(body=body, headers=headers)


def _wanted(call: Call) -> FilePath | None:
    groups = call.match.groupdict()
    raw = groups["file"]
    if groups.get("digest"):
        return blake2_path(groups["digest"], raw)
    return mapped_path(groups["key"], raw) if groups.get("key") else conventional_path(groups["name"], raw)


def _projects(name: str) -> list[str]:
    """The few projects that a file of this name could belong to, the likeliest first."""
    return list(dict.fromkeys(found.project for found in candidates(name)))[:4]


def _head(call: Call, source: Source, headers: Sequence[tuple[str, str]]) -> web.Response:
    """The answer to HEAD: as GET's would be."""
    etag = dict(source.headers)["etag"]
    shown = CIMultiDict([*headers, ("ETag", etag), ("Accept-Ranges", "bytes")])
    if matches(_header(call, "If-None-Match"), etag, weak=True):
        del shown["Content-Type"]
        return web.Response(status=304, headers=shown)
    shown["Content-Length"] = str(source.size)
    return web.Response(headers=shown)


def _second(file: Listed) -> datetime | None:
    return file.published_at.replace(microsecond=0) if file.published_at else None


def _standing(error: MirrorError) -> tuple[int, str, float | None]:
    """(status, title, seconds to wait) of a failure that is nobody's policy."""
    if isinstance(error, NotHere):
        return 503, "Not in the cache, and the mirror is offline", None  # pip would sleep for as long as it is told
    if isinstance(error, Limited):
        return 429, "Too many requests", error.retry_after
    if isinstance(error, Pending):
        return 503, "Still being found out", error.retry_after
    if isinstance(error, UpstreamDown):
        return 503, "The index cannot be reached", error.retry_after or COME_BACK
    if isinstance(error, StoreFull):
        return 503, "The mirror's disk is full", 300
    if isinstance(error, IntegrityError):
        return 502, "The index's bytes are not what it declared", None
    return 502, "The index gave no right answer", None


def _header(call: Call, name: str) -> str:
    return ", ".join(call.request.headers.getall(name, []))


def _base(call: Call) -> str:
    return call.public_url + call.mount


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"



