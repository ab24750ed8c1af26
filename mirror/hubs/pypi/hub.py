"""The package index as the use-cases see it: what it says of a file, and where the file's bytes are."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from mirror.core.errors import HubSaysNo, IntegrityError, NotHere, UpstreamDown, UpstreamGarbage
from mirror.core.facts import Fact, Facts
from mirror.core.nouns import PYPI, Artifact, Document, DocumentKey, Kind, Project
from mirror.core.ports import Answer, Ask, Place, Source
from mirror.hubs.pypi.anchors import decode_html
from mirror.hubs.pypi.documents import (
    HTML,
    HTML_V1,
    JSON_V1,
    UPSTREAM_ACCEPT,
    Listed,
    Page,
    absolute,
    decode_object,
    decode_page,
)
from mirror.hubs.pypi.facts import page_facts
from mirror.hubs.pypi.inquiry import Inquiry
from mirror.hubs.pypi.licences import Licences
from mirror.hubs.pypi.made import MadeMetadata
from mirror.hubs.pypi.paths import METADATA

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mirror.core.actor import Credential
    from mirror.hubs.pypi.osv_files import OsvBook
    from mirror.proxy.gateway import Gateway

#: PyPI's own lifetimes: `max-age=600` on pages, 15 minutes on legacy JSON.
_REDIRECT_AGE: Final = timedelta(seconds=10)
PAGE_AGE: Final = timedelta(minutes=10)
LEGACY_AGE: Final = timedelta(minutes=15)
PROVENANCE_AGE: Final = timedelta(hours=1)
LIST_AGE: Final = timedelta(hours=1)
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAX_HOPS: Final = 4
_PAGE_BYTES: Final = 64 * 1024 * 1024
_METADATA_BYTES: Final = 8 * 1024 * 1024
_LIST_BYTES: Final = 192 * 1024 * 1024
#: Decoded pages kept in memory, counted in files.
_FILES_KEPT: Final = 100_000
#: Paths whose project is remembered.
_PATHS_KEPT: Final = 16_384
#: From this size on a page is decoded in a thread.
LARGE: Final = 256 * 1024
FILE_HEADERS: Final = (("content-type", "application/octet-stream"),)


@dataclass(frozen=True, slots=True)
class Settings:
    """One index as configured (`hubs.<name>`). `upstreams` are base URLs; pages are at `{base}{index}{project}/`.

    `private_upstream` with a path is itself the private index; without one, `index` is below it. `unverified` permits metadata
    that was read out of a part of a wheel (P3).
    """

    name: str = PYPI
    mount: str = "/pypi"
    hosts: tuple[str, ...] = ()
    upstreams: tuple[str, ...] = ("https://pypi.org",)
    index: str = "/simple/"
    private_names: tuple[str, ...] = ()
    private_upstream: str | None = None
    denied_project: str = "list"  # list | page
    unverified: bool = True
    label: str = field(default="")

    @property
    def called(self) -> str:
        """What people call the index."""
        host = urlsplit(self.upstreams[0]).hostname or self.name
        return self.label or ("PyPI" if host == "pypi.org" else host)


@dataclass(frozen=True, slots=True)
class Sheet:
    """A decoded page with the document it was decoded from. `edition` names everything that went into `page`."""

    page: Page
    document: Document
    edition: str

    @property
    def serial(self) -> str | None:
        """`X-PyPI-Last-Serial` as upstream gave it."""
        return self.document.header("x-pypi-last-serial")


class PypiHub(Licences):
    """`core.ports.Hub` for one package index. Callers' credentials are never sent to it: pages are the same for all."""

    def __init__(self, settings: Settings, gateway: Gateway, osv: OsvBook | None = None) -> None:
        """`osv` is the operator's own database of advisories, where there is one."""
        self.name = settings.name
        self.settings = settings
        self._gateway, self._osv = gateway, osv
        self._decoded: OrderedDict[tuple[str, str, str], Page] = OrderedDict()
        self._kept = 0
        self._placed: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._seen_at: OrderedDict[str, str] = OrderedDict()  # path -> project whose page listed it last: a warm request asks no database
        self.made = MadeMetadata(settings.name, gateway)

    # --- names ----------------------------------------------------------------------------------------------------

    def project(self, name: str) -> Project:
        """The project of a normalised name."""
        return Project(PYPI, Kind.PACKAGE, name, hub=self.name)

    def artifact(self, page: Page, file: Listed, *, metadata: bool = False) -> Artifact:
        """A listed file as an artifact. Raises `NotHere` for one whose name says nothing that a rule could trust."""
        if file.distribution is None:
            raise NotHere(f"{file.name}: its name does not carry the project's name and a listed version")
        return Artifact(self.project(page.project), file.distribution.version, file.name + (METADATA if metadata else ""))

    def is_private(self, project: str) -> bool:
        """Whether `project` is one of the organisation's own names, never asked of the public upstream."""
        return any(fnmatchcase(project, glob.lower().replace("_", "-")) for glob in self.settings.private_names)

    # --- pages ----------------------------------------------------------------------------------------------------

    async def page(self, project: str) -> Sheet:
        """The project's page. Raises `NotHere`, `HubSaysNo`, `UpstreamError`."""
        url = self._page_url(project)
        document, found_at = await self._follow(url)
        self._check(document, project)
        page = await self._decode(document, found_at, project)
        await self._place(page, document)
        made = await self.made.of_project(project) if page.lacking else None
        if made is None:
            return Sheet(page, document, document.digest.hex)
        edition = f"{document.digest.hex}+{made.digest.hex}"
        complete = self._remembered((edition, found_at, project), lambda: self.made.advertised(page, made))
        return Sheet(complete, document, edition)

    def _base(self, project: str) -> str:
        return (self._private_base() if self.is_private(project) else self.settings.upstreams[0]).rstrip("/")

    def _private_base(self) -> str:
        if self.settings.private_upstream is None:
            raise NotHere("a private name, and no private upstream is configured")
        return self.settings.private_upstream

    def _page_url(self, project: str) -> str:
        base = self._base(project)
        if self.is_private(project) and urlsplit(base).path:
            return f"{base}/{project}/"
        return f"{base}{self._index()}{project}/"

    def _index(self) -> str:
        return f"/{self.settings.index.strip('/')}/".replace("//", "/")

    def target(self, url: str) -> str:
        """A URL as an `Ask` wants it: below the first upstream it becomes a target, so that a replica can answer too."""
        base = self.settings.upstreams[0].rstrip("/")
        return url[len(base) :] if url.startswith(base + "/") else url

    async def _follow(self, url: str) -> tuple[Document, str]:
        """The page at `url` and where it was found in the end: relative links are read against that."""
        for _ in range(_MAX_HOPS):
            document = await self._document(url, accept=UPSTREAM_ACCEPT, max_age=PAGE_AGE, max_bytes=_PAGE_BYTES)
            location = document.header("location")
            if document.status not in _REDIRECTS or not location:
                return document, url
            # Believed for as long as it takes to follow: one that leads nowhere must not stand for ten minutes.
            await self._gateway.keep_document(replace(document, max_age=_REDIRECT_AGE))
            following = absolute(location, url)
            if following is None:
                raise UpstreamGarbage(_origin(url), "redirects to what is no URL")
            url = following
        raise UpstreamGarbage(_origin(url), "redirects without end")

    async def _document(
        self, url: str, *, accept: str, max_age: timedelta | None, max_bytes: int, follow: bool = False
    ) -> Document:
        target = self.target(url)
        key = DocumentKey(self.name, target)
        ask = Ask(target, headers={"Accept": accept}, follow=follow, max_bytes=max_bytes)
        document = await self._gateway.document(self.name, key, ask, max_age=max_age, shared=_sound)
        if document.status in (404, 410):
            known = await self._gateway.last_known(key)
            if known is not None and known.status not in (404, 410):
                # What the index withdrew stays withdrawn when it cannot be asked: malware is removed by deletion.
                await self._gateway.keep_document(document)
        return document

    def _check(self, document: Document, what: str) -> None:
        status = document.status
        if status == 200:
            return
        origin = self.settings.upstreams[0]
        if status in (404, 410):
            raise NotHere(what)
        if status in (401, 403, 451):
            raise HubSaysNo(403 if status == 401 else status, "", f"{self.settings.called} refuses {what}", "other")
        if status == 429 or status >= 500:
            raise UpstreamDown(_origin(origin), f"answered {status}", retry_after=30)
        raise UpstreamGarbage(_origin(origin), f"answered {status} for {what}")

    async def _decode(self, document: Document, url: str, project: str) -> Page:
        key = (document.digest.hex, url, project)
        if key in self._decoded:
            return self._remembered(key, lambda: self._decoded[key])
        media = _media(document)
        if media in (JSON_V1, "application/json"):
            decode = decode_page
        elif media in (HTML, HTML_V1, "application/xhtml+xml"):
            decode = decode_html
        else:
            raise UpstreamGarbage(_origin(url), f"the page of {project!r} is {media[:60]!r}")
        if len(document.body) >= LARGE:
            page = await asyncio.to_thread(decode, document.body, url, project, _origin(url))
        else:
            page = decode(document.body, url, project, _origin(url))
        return self._remembered(key, lambda: page)

    def _remembered(self, key: tuple[str, str, str], make: Callable[[], Page]) -> Page:
        page = self._decoded.get(key)
        if page is not None:
            self._decoded.move_to_end(key)
            return page
        page = self._decoded[key] = make()
        self._kept += len(page.files) + 1
        while self._kept > _FILES_KEPT and len(self._decoded) > 1:
            _, dropped = self._decoded.popitem(last=False)
            self._kept -= len(dropped.files) + 1
        return page

    async def _place(self, page: Page, document: Document) -> None:
        """Write down which paths stand for which files, once for each edition of a page."""
        key = (page.project, document.digest.hex)
        if key in self._placed:
            return
        places = [
            Place(self.name, file.path, self.artifact(page, file), file.sha256, file.size, file.url, file.published_at)
            for file in page.files
            if file.distribution is not None
        ]
        if places:
            await self._gateway.places.put_places(places)
        self._placed[key] = None
        while len(self._placed) > 4096:
            self._placed.popitem(last=False)

    # --- one file -------------------------------------------------------------------------------------------------

    async def find(self, path: str, name: str, projects: Sequence[str]) -> tuple[Sheet, Listed]:
        """The file that is at mirror path `path` ("": any path) on the page of one of `projects`.

        Raises `HubSaysNo` where the index withholds it - a quarantined project, or a file that was listed before - and
        `NotHere` where no page lists it.
        """
        seen = self._seen_at.get(path)
        if seen is not None and (found := await self._on_page(seen, path, name)) is not None:
            return found
        place = await self._gateway.places.get_place(self.name, path) if path else None
        for project in [place.artifact.project.name] if place else projects:
            if (found := await self._on_page(project, path, name)) is not None:
                if path:
                    self._seen_at[path] = project
                    while len(self._seen_at) > _PATHS_KEPT:
                        self._seen_at.popitem(last=False)
                return found
        if place is not None:
            raise HubSaysNo(403, "", f"{name} is no longer listed by {self.settings.called}", "disabled")
        raise NotHere(name)

    async def _on_page(self, project: str, path: str, name: str) -> tuple[Sheet, Listed] | None:
        try:
            sheet = await self.page(project)
        except NotHere as error:
            if error.offline:
                raise
            return None
        self._withheld(sheet.page)
        file = sheet.page.by_path.get(path) if path else sheet.page.by_name.get(name)
        return (sheet, file) if file is not None and file.name == name else None

    def _withheld(self, page: Page) -> None:
        if page.quarantined:
            raise HubSaysNo(403, "", f"{page.project} is quarantined by {self.settings.called}", "disabled")

    async def _listed(self, artifact: Artifact) -> tuple[Sheet, Listed, bool]:
        sheet = await self.page(artifact.project.name)
        self._withheld(sheet.page)
        file = sheet.page.by_name.get(artifact.path)
        metadata = file is None and artifact.path.endswith(METADATA)
        if metadata:
            file = sheet.page.by_name.get(artifact.path.removesuffix(METADATA))
        if file is None or file.distribution is None or file.distribution.version != artifact.revision:
            raise NotHere(str(artifact))
        if metadata and not file.has_metadata:
            raise NotHere(f"{artifact}: {self.settings.called} has no metadata file for it")
        return sheet, file, metadata

    async def describe(self, artifact: Artifact, credential: Credential | None, needs: frozenset[str]) -> Facts:
        """What the index says of a file; see `core.ports.Hub.describe`. An empty path gives what is known of the project."""
        if not artifact.path:
            sheet = await self.page(artifact.project.name)
            return Facts(status=Fact(sheet.page.status, "simple page"), evidence=(sheet.document.digest.hex,))
        sheet, file, metadata = await self._listed(artifact)
        facts = page_facts(sheet.page, file, sheet.document.digest.hex, metadata=metadata)
        return await Inquiry(self).complete(facts, artifact, file, needs)

    async def locate(self, artifact: Artifact, credential: Credential | None) -> Source:
        """Where the file's bytes are, with the SHA-256 that the page declares; see `core.ports.Hub.locate`."""
        _, file, metadata = await self._listed(artifact)
        return self.source(file, metadata=metadata)

    def source(self, file: Listed, *, metadata: bool) -> Source:
        """Where a listed file's bytes are, or those of its core metadata, and what they must be."""
        declared = file.metadata if metadata else file.sha256
        return Source(
            ask=Ask(self.target(file.metadata_url if metadata else file.url), follow=True),
            declared=declared,
            size=None if metadata else file.size,
            headers=(*FILE_HEADERS, *((("etag", f'"{declared.hex}"'),) if declared else ())),
        )

    # --- the operator's own advisories ----------------------------------------------------------------------------

    def advised(self, facts: Facts, artifact: Artifact) -> Facts:
        """`facts` with what the operator's OSV database says of the release, and the evidence of it; costs no request.

        Who brings a database goes by it: a release that it does not name has nothing known against it.
        """
        if self._osv is None:
            return facts
        known = self._osv.current.known(artifact.project.name, artifact.revision)
        evidence = (*facts.evidence, *self.advice(artifact.project.name))
        return replace(facts, vulnerabilities=Fact(known, "OSV database"), evidence=evidence)

    def advice(self, project: str) -> tuple[str, ...]:
        """The SHA-256 (hex) of the OSV edition in force and of what it says of a project; () where there is none.

        The edition was archived when it came into force; the extract is at hand for a decision that cites it.
        """
        if self._osv is None:
            return ()
        extract = self._osv.current.extract(project)
        if extract is None:
            return (self._osv.current.digest,)
        self._gateway.recorder.at_hand(*extract)
        return (self._osv.current.digest, extract[0])

    # --- what only some rules ask for -----------------------------------------------------------------------------

    async def legacy(self, project: str, version: str | None) -> Document:
        """The legacy JSON of a project or of one release. Raises as `page`."""
        base = self._base(project)
        if self.is_private(project) and urlsplit(base).path:
            raise NotHere(f"{project}: the private upstream is an index without a JSON API")
        tail = f"{project}/{quote(version, safe='!+.-_')}" if version else project
        url = f"{base}/pypi/{tail}/json"
        document = await self._document(
            url, accept="application/json", max_age=LEGACY_AGE, max_bytes=_PAGE_BYTES, follow=True
        )
        self._check(document, tail)
        return document

    async def metadata(self, file: Listed) -> Document:
        """A file's core metadata (PEP 658), checked against the digest that the page declares. Raises `IntegrityError` too."""
        if file.made:
            return await self.made.document(file)
        document = await self._document(
            file.metadata_url, accept="*/*", max_age=None, max_bytes=_METADATA_BYTES, follow=True
        )
        self._check(document, file.name + METADATA)
        computed = hashlib.sha256(document.body).hexdigest()
        if file.metadata is not None and file.metadata.hex != computed:
            raise IntegrityError(file.name + METADATA, str(file.metadata), f"sha256:{computed}")
        return document

    async def provenance(self, file: Listed) -> Document:
        """A file's provenance object (PEP 740). Raises `NotHere` where upstream advertises none."""
        if file.provenance is None:
            raise NotHere(f"{file.name}: no provenance")
        document = await self._document(
            file.provenance,
            accept="application/vnd.pypi.integrity.v1+json",
            max_age=PROVENANCE_AGE,
            max_bytes=_METADATA_BYTES,
            follow=True,
        )
        self._check(document, f"provenance of {file.name}")
        return document

    async def projects(self) -> Document:
        """The list of all projects, as upstream gives it."""
        base = self.settings.upstreams[0].rstrip("/")
        document = await self._document(
            base + self._index(),
            accept=UPSTREAM_ACCEPT, max_age=LIST_AGE, max_bytes=_LIST_BYTES, follow=True,
        )  # fmt: skip
        self._check(document, "the list of projects")
        return document


def _sound(answer: Answer) -> bool:
    """Whether a page may be kept for all. Raises `UpstreamGarbage` for what is not what it calls itself: it is not kept."""
    media = _media(answer)
    if media.startswith(("image/", "audio/", "video/", "font/")):
        raise UpstreamGarbage(answer.upstream, f"a page of type {media[:60]!r}")
    if answer.status == 200 and media.endswith("json"):
        if len(answer.body) < LARGE:
            decode_object(answer.body, answer.upstream)
        elif not (answer.body.lstrip()[:1] == b"{" and answer.body.rstrip()[-1:] == b"}"):
            raise UpstreamGarbage(answer.upstream, "the answer is not a JSON object")
    return True


def _media(document: Document | Answer) -> str:
    """What a page calls itself; one that an index sent without a type is known by its first character."""
    declared = (document.header("content-type") or "").partition(";")[0].strip().lower()
    return declared or ("application/json" if document.body.lstrip()[:1] == b"{" else HTML)


def _origin(url: str) -> str:
    """`scheme://host[:port]` of a URL, for error texts."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


__all__ = ["LARGE", "PypiHub", "Settings", "Sheet"]
