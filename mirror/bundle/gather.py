"""What a receiver needs to answer as we do: from files that are wanted and here, the rows of a bundle and where its bytes lie.

Each file was asked for at the mirror's own routes a moment ago (`Noting`), so that our own policy and the hub's gate have
had their say, on the record. The pages around it are asked for here: of Hugging Face the repository at the branch and at
the commit, its references, its whole tree, and those of everything it was made from; of an index the project's page, its
JSON, core metadata and provenance.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from mirror.bundle.beside import beside
from mirror.bundle.contents import (
    FILE,
    ORGANISATION,
    PAGE,
    PinRow,
    Row,
    entry_row,
    grant_row,
    page_row,
    page_title,
    place_row,
    stamped,
    title,
)
from mirror.bundle.fetch import Client, Standing
from mirror.bundle.oci import Part
from mirror.core.errors import MirrorError
from mirror.core.nouns import Digest, Document, DocumentKey, Entry, Kind, Project
from mirror.core.ports import Grant, Place
from mirror.hubs.huggingface.files import file_headers
from mirror.hubs.huggingface.headers import FIRST
from mirror.hubs.huggingface.known import name_key, name_page
from mirror.hubs.huggingface.paths import PLURALS, Repo, is_commit, revision_segment
from mirror.hubs.pypi.paths import METADATA
from mirror.index.bulk import document_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mirror.bundle.plan import WantedFile
    from mirror.core.actor import Credential
    from mirror.core.ports import Blobs, Clock
    from mirror.hubs.huggingface.documents import RepoPage
    from mirror.hubs.huggingface.hub import HuggingFaceHub
    from mirror.hubs.pypi.documents import Listed
    from mirror.hubs.pypi.hub import PypiHub, Sheet
    from mirror.index.sql import SqlIndex

#: `variant` of pages that a row of the index does not tell: files by HEAD, and beginnings of files.
_VARIANTS: Final = ("", "head", f"first-{FIRST}")
_TARGET: Final = re.compile(r"/(?:api/(?P<plural>models|datasets|spaces|kernels)(?:/|$)|(?P<prefix>datasets|spaces|kernels)/)?")
_VERSIONED: Final = re.compile(r"/(?:revision|tree|raw|resolve|paths-info|commits)/([^/?]+)")
_LINEAGE: Final = frozenset({"ancestors", "ancestor", "origin", "lineage"})
#: Where clients look that name no revision.
BRANCH: Final = "main"


class Noting(Client):
    """A client that remembers which files the mirror let it have and has: by their names."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.here: dict[str, WantedFile] = {}

    async def standing(self, file: WantedFile) -> Standing:
        """See `Client.standing`."""
        found = await super().standing(file)
        return self._noted(file, found)

    async def fetch(self, file: WantedFile, came: Callable[[int], None]) -> Standing:
        """See `Client.fetch`."""
        return self._noted(file, await super().fetch(file, came))

    def _noted(self, file: WantedFile, found: Standing) -> Standing:
        if found.here:
            self.here[str(file.artifact)] = file
        return found

    async def touch(self, target: str) -> None:
        """Have the mirror fetch something small that belongs to a package; that there is none is no fault."""
        await self._beside(target, hub=False)


@dataclass(slots=True)
class Collection:
    """What goes into a bundle. `parts` by SHA-256: each with the file that has its bytes, None where that is the store's.

    Pages are put by in `folder` until they are written: those of thousands of projects are more than memory should hold.
    """

    folder: Path
    rows: set[Row] = field(default_factory=set)
    parts: dict[str, tuple[Part, Path | None]] = field(default_factory=dict)
    lacking: list[tuple[str, str]] = field(default_factory=list)

    def entry(self, entry: Entry) -> None:
        """Add a file that is in the store."""
        self.rows.add(entry_row(entry))
        digest = entry.blob.digest
        self.parts[digest.hex] = Part(digest, entry.blob.size, FILE, title(entry.artifact)), None

    def page(self, document: Document, scope: str, about: Project) -> None:
        """Add a page."""
        row = page_row(document, scope, str(about))
        self.rows.add(row)
        self._put(Part(document.digest, row.size, PAGE, page_title(row)), document.body)

    def data(self, media_type: str, name: str, digest: str, data: bytes) -> None:
        """Add other bytes."""
        self._put(Part(Digest("sha256", digest), len(data), media_type, name), data)

    def _put(self, part: Part, data: bytes) -> None:
        if part.digest.hex not in self.parts:
            path = self.folder / part.digest.hex
            path.write_bytes(data)
            self.parts[part.digest.hex] = part, path


@dataclass(slots=True)
class _Wanted:
    """A repository whose pages are wanted, at these revisions. `scopes` are ours -> the row's."""

    project: Project
    revisions: set[str]
    scopes: Mapping[str, str]
    commits: set[str]


class Gathering:
    """One collection, its pages put by in `folder`. `credential` is in whose name what is not public was asked for; `created` dates what it states."""

    def __init__(
        self, index: SqlIndex, store: Blobs, clock: Clock, credential: Credential | None, created: datetime, folder: Path
    ) -> None:
        self._index, self._store, self._clock, self._credential, self._created = index, store, clock, credential, created
        self.found = Collection(folder)
        self._wanted: dict[tuple[str, Kind, str], _Wanted] = {}

    # --- Hugging Face ---------------------------------------------------------------------------------------------

    async def repository(
        self, hub: HuggingFaceHub, project: Project, commit: str, paths: Sequence[str], revisions: Iterable[str], names: Iterable[str] = ()
    ) -> None:
        """Files of one commit, with all that is told of it; it was wanted by `names`. What cannot be had is among `found.lacking`."""
        repo, credential = Repo.of(project), self._credential
        page = await hub.pages.repository(repo, commit, credential)
        for path in paths:
            entry = await self._entry(hub, page, path)
            if entry is None:
                self.found.lacking.append((str(page.artifact(path)), "is not in the store any more"))
            else:
                self.found.entry(entry)
        scope = "" if page.public else ORGANISATION
        scopes = {"": "", "service": scope} | ({credential.fingerprint: scope} if credential is not None else {})
        wanted = self._want(hub, page, scopes, names)
        wanted.revisions |= {commit, *revisions}
        self.found.page(_at(page.document, f"{repo.api}/revision/{commit}?blobs=true"), _scope(page, scopes), page.project)
        await self._around(hub, repo, page, wanted)
        async for document in beside(hub, page, paths, credential):
            self.found.page(document, wanted.scopes.get(document.key.scope, ORGANISATION), page.project)
        await self._rights(hub, page)
        await self._ancestors(hub, page)
        self._named(hub, page.project, names, public=not page.private)
        self.found.rows.add(PinRow(str(page.artifact()).replace("*", "%2A")))

    def _want(self, hub: HuggingFaceHub, page: RepoPage, scopes: Mapping[str, str], called: Iterable[str]) -> _Wanted:
        """A repository, by its own name and those by which it was `called`: pages are kept under each."""
        project = page.project
        wanted = self._wanted.setdefault((hub.name, project.kind, project.name.casefold()), _Wanted(project, set(), scopes, set()))
        for name in called:
            self._wanted.setdefault((hub.name, project.kind, name.casefold()), wanted)
        wanted.commits.add(page.commit)
        wanted.revisions.add(page.commit)
        return wanted

    async def _around(self, hub: HuggingFaceHub, repo: Repo, page: RepoPage, wanted: _Wanted) -> None:
        """Ask for what clients ask for beside files; `pages` then finds it in the index."""
        credential = self._credential
        for revision in [None, *sorted(wanted.revisions)]:
            with suppress(MirrorError):
                other = await hub.pages.repository(repo, revision, credential)
                if other.commit in wanted.commits:
                    tail = "" if revision is None else f"/revision/{revision_segment(revision)}"
                    self.found.page(_at(other.document, f"{repo.api}{tail}?blobs=true"), _scope(other, wanted.scopes), page.project)

    def _named(self, hub: HuggingFaceHub, project: Project, names: Iterable[str], *, public: bool) -> None:
        """These names, in whatever case, lead to the repository: its own, and those by which it was wanted."""
        now, scope = self._created, "" if public else ORGANISATION
        for name in {project.name, *names}:
            page = name_page(name_key(hub.name, Repo(project.kind, name), scope), project.name, now)
            self.found.page(page, scope, project)

    async def _entry(self, hub: HuggingFaceHub, page: RepoPage, path: str) -> Entry | None:
        artifact = page.artifact(path)
        entry = await self._index.get_entry(artifact.identity)
        if entry is not None and await self._store.find(entry.blob.digest) is not None:
            return entry
        file = page.files.get(path)
        declared = None if file is None else file.declared
        blob = None if declared is None or declared.algorithm != "sha256" else await self._store.find(declared)
        if file is None or blob is None:
            return None
        return Entry(artifact, blob, tuple(file_headers(page, file).items()), self._created, declared, page.restriction)

    async def _rights(self, hub: HuggingFaceHub, page: RepoPage) -> None:
        """Who may read what not everybody may: the organisation, in whose name this was fetched. And who nobody gives it to any more."""
        if not page.public:
            grant = Grant(ORGANISATION, page.project.identity, allowed=True, public=False, at=self._created)
            self.found.rows.add(stamped(grant_row(grant, page.project), self._created))
        if not page.public and not page.private:
            with suppress(MirrorError):  # what the hub says to nobody is said there in its own words
                await hub.access.check(page, None)
        refused = await self._index.get_grant("", page.project.identity)
        if refused is not None and not refused.allowed:
            self.found.rows.add(grant_row(refused, page.project))

    async def _ancestors(self, hub: HuggingFaceHub, page: RepoPage) -> None:
        if page.project.kind is not Kind.MODEL:
            return
        try:
            facts = await hub.shared_facts(page, self._credential, _LINEAGE, ())
        except MirrorError as error:
            self.found.lacking.append((str(page.project), f"its lineage could not be found out: {error}"))
            return
        for edge in (facts.ancestors.value if facts.ancestors is not None else None) or ():
            with suppress(MirrorError):
                parent = await hub.pages.repository(Repo.of(edge.project), None, None)
                self._want(hub, parent, {"": "", "service": ""}, [edge.project.name]).revisions.add(BRANCH)

    async def pages(self) -> None:
        """Every further page that the index has of the repositories that were gathered, and of their ancestors, at their revisions."""
        async for batch in self._index.document_targets():
            for key, hub, target in batch:
                wanted = self._of_target(hub, target)
                if wanted is not None:
                    await self._kept(key, hub, target, wanted)

    def _of_target(self, hub: str, target: str) -> _Wanted | None:
        match = _TARGET.match(target)
        if match is None:
            return None
        kind = PLURALS[match["plural"] or match["prefix"]] if match["plural"] or match["prefix"] else Kind.MODEL
        first, _, rest = target[match.end() :].partition("?")[0].partition("/")
        names = (f"{first}/{rest.partition('/')[0]}", first) if rest else (first,)
        wanted = next((one for name in names if (one := self._wanted.get((hub, kind, name.casefold()))) is not None), None)
        version = _VERSIONED.search(target)
        if wanted is None or (version is not None and version[1] not in {revision_segment(one) for one in wanted.revisions}):
            return None
        return wanted

    async def _kept(self, key: str, hub: str, target: str, wanted: _Wanted) -> None:
        for scope, told in wanted.scopes.items():
            for variant in _VARIANTS:
                name = DocumentKey(hub, target, scope, variant)
                if document_key(name) != key:
                    continue
                document = await self._index.get_document(name)
                # A branch that moved on is no page of what is carried.
                if document is not None and (document.status < 400 or variant) and _of_commits(document, wanted.commits):
                    self.found.page(document, told, wanted.project)

    # --- an index -------------------------------------------------------------------------------------------------

    async def package(self, hub: PypiHub, client: Noting, mount: str, name: str, files: Sequence[str]) -> None:
        """Files of one project, with all that is told of it."""
        sheet = await hub.page(name)
        about = hub.project(name)
        self.found.page(sheet.document, "", about)
        with suppress(MirrorError):
            self.found.page(await hub.legacy(name, None), "", about)
        if (made := await hub.made.of_project(name)) is not None:
            self.found.page(made, "", about)
        for file in files:
            listed = sheet.page.by_name.get(file.removesuffix(METADATA))
            if listed is None or listed.distribution is None:
                self.found.lacking.append((file, "is not on its project's page any more"))
                continue
            await self._distribution(hub, client, mount, sheet, listed)

    async def _distribution(self, hub: PypiHub, client: Noting, mount: str, sheet: Sheet, file: Listed) -> None:
        artifact, about = hub.artifact(sheet.page, file), hub.project(sheet.page.project)
        entry = await self._index.get_entry(artifact.identity)
        digest = entry.blob.digest if entry is not None else file.sha256
        blob = None if digest is None else await self._store.find(digest)
        if blob is None:
            self.found.lacking.append((str(artifact), "is not in the store any more"))
            return
        source = hub.source(file, metadata=False)
        self.found.entry(entry or Entry(artifact, blob, source.headers, self._created, source.declared))
        self.found.rows.add(PinRow(f"{str(artifact).replace('*', '%2A')}*"))
        self.found.rows.add(place_row(Place(hub.name, file.path, artifact, file.sha256, file.size, file.url, file.published_at)))
        if file.has_metadata:
            await client.touch(f"{mount}{file.path}{METADATA}")
            beside = await self._index.get_entry(hub.artifact(sheet.page, file, metadata=True).identity)
            if beside is not None and await self._store.find(beside.blob.digest) is not None:
                self.found.entry(beside)
        for ask in (hub.metadata(file), hub.legacy(artifact.project.name, artifact.revision), hub.provenance(file)):
            with suppress(MirrorError):
                self.found.page(await ask, "", about)


async def by_turns(work: Iterable[Any], at_once: int) -> None:
    """Await all of these, so many at once. The first error ends the rest."""
    room = asyncio.Semaphore(at_once)

    async def one(awaitable: Any) -> None:
        async with room:
            await awaitable

    async with asyncio.TaskGroup() as group:
        for awaitable in work:
            group.create_task(one(awaitable))


def _at(document: Document, target: str) -> Document:
    """The same page under another revision that is this very commit."""
    return replace(document, key=replace(document.key, target=target))


def _scope(page: RepoPage, scopes: Mapping[str, str]) -> str:
    """Under which scope a judging page is kept at the receiver: that of a gated repository is for everybody, its files are not."""
    return "" if not page.private else scopes.get(page.document.key.scope, ORGANISATION)


def _of_commits(document: Document, commits: set[str]) -> bool:
    """Whether a page of a branch is of one of these commits; pages that name none are."""
    target = document.key.target
    version = _VERSIONED.search(target)
    if version is not None and is_commit(version[1]):
        return True
    commit = document.header("x-repo-commit")
    return commit is None or commit in commits

