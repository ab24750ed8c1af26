"""What the hub tells of one project that something may have been made from: its page, and the files beside it that say more."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mirror.core.errors import HubSaysNo, Malformed, MirrorError, NotHere, UpstreamError
from mirror.core.nouns import HUGGINGFACE, DocumentKey, Kind
from mirror.core.ports import Ask
from mirror.hubs.huggingface.documents import LISTED, MOVING
from mirror.hubs.huggingface.facts import declared_parents
from mirror.hubs.huggingface.headers import FIRST, of_gguf, of_safetensors
from mirror.hubs.huggingface.options import public_bearer
from mirror.hubs.huggingface.paths import Repo, is_commit, parse_repo
from mirror.hubs.huggingface.prose import of_card, of_folders
from mirror.hubs.huggingface.traces import CARD, FIRM, READERS, folder_of, of_peft

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from typing import Any

    from mirror.core.nouns import Document, Project
    from mirror.hubs.huggingface.documents import RepoPage
    from mirror.hubs.huggingface.options import Options
    from mirror.hubs.huggingface.pages import Pages
    from mirror.hubs.huggingface.traces import Trace
    from mirror.proxy.gateway import Gateway

#: How long an ancestor's page is used as it was seen; one that is past its own time is asked for anew behind the walk.
SEEN: Final = timedelta(hours=6)
#: Instead of a page: what may be private, and may not be at all.
HIDDEN: Final = "hidden"
_AT_ONCE: Final = 32
_BRANCH: Final = "main"
#: Files that nearly every model has: asked for beside the page, so that they cost no time of their own.
_EARLY: Final = (CARD, "config.json")
_LARGEST: Final = 1024 * 1024
#: Seconds after which files that were asked for ahead are no longer waited for.
_EXPECTED_FOR: Final = 30.0


@dataclass(frozen=True, slots=True)
class Told:
    """What files tell, and the digests of those that told something."""

    traces: tuple[Trace, ...] = ()
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """One project being looked at: its page, or why there is none; and what its files tell."""

    page: asyncio.Task[RepoPage | str]
    told: asyncio.Task[Told]


class Seeking:
    """Looks at projects of one instance, always as anybody may: an ancestor is never read in a caller's name."""

    def __init__(self, gateway: Gateway, pages: Pages, options: Options) -> None:
        """At most `_AT_ONCE` requests at a time, for however many walks."""
        self._gateway, self._pages, self._options = gateway, pages, options
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._behind: dict[str, asyncio.Task[None]] = {}
        self._expected: dict[str, dict[str, asyncio.Task[Document | None]]] = {}

    def expect(self, repo: Repo, revision: str) -> None:
        """Ask for the small files that nearly every model has, beside the page that `at` will soon be given."""
        name = repo.name.casefold()
        if name not in self._expected and (revision == _BRANCH or is_commit(revision)):
            begun = {path: asyncio.create_task(self._file(repo, revision, path)) for path in _EARLY}
            self._expected[name] = begun
            asyncio.get_running_loop().call_later(_EXPECTED_FOR, self._expected.pop, name, None)

    def of(self, project: Project) -> Look:
        """Begin to look at an ancestor. Neither task raises."""
        early = asyncio.get_running_loop().create_future()
        page = asyncio.create_task(self._page(project, early))
        return Look(page, asyncio.create_task(self._told(page, early)))

    def at(self, page: RepoPage) -> Look:
        """Look at the files of a page that is there."""
        early = asyncio.get_running_loop().create_future()
        early.set_result(self._expected.pop(page.project.name.casefold(), {}))
        task = asyncio.create_task(_given(page))
        return Look(task, asyncio.create_task(self._told(task, early)))

    async def close(self) -> None:
        """Stop what goes on behind."""
        for task in tuple(self._behind.values()):
            task.cancel()

    # --- pages ----------------------------------------------------------------------------------------------------

    async def _page(self, project: Project, early: asyncio.Future[dict[str, asyncio.Task[Document | None]]]) -> RepoPage | str:
        begun: dict[str, asyncio.Task[Document | None]] = {}
        try:
            if project.ecosystem != HUGGINGFACE or project.kind is not Kind.MODEL:
                return "gone"
            repo = parse_repo(project.name, Kind.MODEL)
            files = asyncio.gather(*(self._gateway.last_known(self._key(repo.file("raw", _BRANCH, path))) for path in _EARLY))
            page, _files = await asyncio.gather(self._pages.lately(repo, SEEN), files)  # read with it, they are at hand when it is there
            if page is not None:
                if not page.document.fresh(self._gateway.clock.now()):
                    self._renew(repo)
                return page
            begun = {path: asyncio.create_task(self._file(repo, _BRANCH, path)) for path in _EARLY}
            early.set_result(begun)
            return await self._asked(repo)
        except Malformed:
            return "gone"
        except MirrorError:
            return "unreachable"
        finally:
            if not early.done():
                early.set_result(begun)

    async def _asked(self, repo: Repo) -> RepoPage | str:
        try:
            async with self._room:
                return await self._pages.repository(repo, None, None)
        except HubSaysNo as no:
            # To nobody's name the hub does not say whether a repository is private or was never there.
            return HIDDEN if no.cause == "private" else "gated" if no.cause in ("gated", "disabled", "region") else "gone"
        except (NotHere, UpstreamError):
            return "unreachable"

    def _renew(self, repo: Repo) -> None:
        """Ask anew for a page that a walk used past its time: the next walk sees what changed."""
        if self._gateway.offline or repo.api in self._behind:
            return

        async def renew() -> None:
            page = await self._asked(repo)
            if not isinstance(page, str):
                await self._small(repo, page, {})  # by its commit: they are at hand when the next walk wants them

        self._behind[repo.api] = task = asyncio.create_task(renew())
        task.add_done_callback(lambda done: (self._behind.pop(repo.api, None), done.cancelled() or done.exception()))

    # --- files ----------------------------------------------------------------------------------------------------

    async def _told(
        self, looked: asyncio.Task[RepoPage | str], early: asyncio.Future[dict[str, asyncio.Task[Document | None]]]
    ) -> Told:
        begun = await early
        page = await looked
        if isinstance(page, str):
            await asyncio.gather(*begun.values())
            return Told()
        config = page.data.get("config")
        found = of_peft(config.get("peft"), "the hub's page") if isinstance(config, dict) else []
        evidence: list[str] = []
        if page.private:  # its files are for those who may read them; the page was shown to this caller
            return Told(tuple(found))
        repo, declared = Repo.of(page.project), declared_parents(page)
        documents = await self._small(repo, page, begun)
        for path, reader in READERS.items():
            if (document := documents.get(path)) is not None and (traces := reader(document.body)):
                found += traces
                evidence.append(document.digest.hex)
        stated = bool(declared) or any(one.confidence >= FIRM and one.relation != "component" for one in found)
        if not stated and (head := await self._head(repo, page)) is not None:
            found += head[0]
            evidence.append(head[1])
            stated = any(one.relation != "component" for one in head[0])
        if (card := documents.get(CARD)) is not None and (traces := _of_text(card, documents, page, stated=stated)):
            found += traces
            evidence.append(card.digest.hex)
        return Told(tuple(found), tuple(evidence))

    async def _small(
        self, repo: Repo, page: RepoPage, begun: dict[str, asyncio.Task[Document | None]]
    ) -> dict[str, Document]:
        """The small files with a reader that the page lists, those under way first."""
        wanted = [path for path in (CARD, *READERS) if path in page.files and (page.files[path].size or 0) <= _LARGEST]
        asked: dict[str, Coroutine[Any, Any, Document | None]] = {}
        for path in wanted:
            asked[path] = self._begun_or_asked(repo, page, path, begun.get(path))
        found = await asyncio.gather(*asked.values(), *(task for path, task in begun.items() if path not in asked))
        return {path: one for path, one in zip(asked, found, strict=False) if one is not None}

    async def _begun_or_asked(self, repo: Repo, page: RepoPage, path: str, begun: asyncio.Task[Document | None] | None) -> Document | None:
        """What was asked for beside the page, if it is of the page's commit; it may be of a push in between, or not have come."""
        early = None if begun is None else await begun
        return early if early is not None and _of_commit(early, page) else await self._seen_or_asked(repo, page, path)

    async def _seen_or_asked(self, repo: Repo, page: RepoPage, path: str) -> Document | None:
        """A file of the page's commit, as it was seen on the branch then, else by the commit, which never changes."""
        known = await self._gateway.last_known(self._key(repo.file("raw", _BRANCH, path)))
        if known is None or known.status != 200 or not _of_commit(known, page):
            return await self._file(repo, page.commit, path)
        self._gateway.recorder.at_hand(known.digest.hex, known.body)
        return known

    async def _head(self, repo: Repo, page: RepoPage) -> tuple[list[Trace], str] | None:
        """What the first bytes of one weight file tell. All files of a repository come from the same parents.

        Trainers of single files write their base into safetensors; what is saved beside a `config.json` says it there or nowhere.
        """
        readers = [(".gguf", of_gguf)] + [(".safetensors", of_safetensors)] * ("config.json" not in page.files)
        for suffix, reader in readers:
            path = min((path for path in page.files if path.lower().endswith(suffix)), key=lambda path: (path.count("/"), path), default=None)
            document = None if path is None else await self._file(repo, page.commit, path, first=FIRST)
            if document is not None and (traces := reader(document.body)):
                return traces, document.digest.hex
        return None

    def _key(self, target: str, variant: str = "") -> DocumentKey:
        return DocumentKey(self._options.name, target, public_bearer(self._options).scope, variant)

    async def _file(self, repo: Repo, revision: str, path: str, *, first: int = 0) -> Document | None:
        """A small text, or the `first` bytes of a large file; None where the hub gives none or it is not to be had."""
        target = repo.file("resolve" if first else "raw", revision, path)
        headers = {"Range": f"bytes=0-{first - 1}"} if first else {}
        ask = Ask(target, headers=headers, follow=bool(first), max_bytes=_LARGEST)
        life = SEEN if revision == _BRANCH else None
        try:
            async with self._room:
                found = await self._gateway.document(
                    self._options.name, self._key(target, f"first-{first}" if first else ""), public_bearer(self._options).on(ask),
                    max_age=life, negative_age=LISTED, shared=lambda _: False,
                )  # fmt: skip
        except MirrorError:
            return None
        return found if found.status in (200, 206) else None


def _of_commit(file: Document, page: RepoPage) -> bool:
    """Whether a file that was seen on the branch is of the page's commit: the hub says so, or both were seen together."""
    commit = file.header("x-repo-commit")
    return commit == page.commit if commit else abs(file.fetched_at - page.document.fetched_at) < MOVING


def _of_text(card: Document, documents: Mapping[str, Document], page: RepoPage, *, stated: bool) -> list[Trace]:
    """What the card's text says; where nothing names a parent, also what it tells of the folders that tools loaded from."""
    traces = of_card(card.body, parents=not stated, own=page.project.name)
    if not stated and not any(one.relation != "component" for one in traces):
        traces += of_folders(card.body, filter(None, (folder_of(path, one.body) for path, one in documents.items())))
    return traces


async def _given(page: RepoPage) -> RepoPage | str:
    return page
