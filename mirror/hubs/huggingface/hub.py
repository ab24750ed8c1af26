"""One Hugging Face instance: what the use-cases ask of it, and its table of routes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mirror.core.acquisitions import Publication
from mirror.core.decision import EventKind
from mirror.core.errors import HubSaysNo, MirrorError, UpstreamError, UpstreamGarbage
from mirror.core.facts import Fact, Facts
from mirror.core.nouns import HUGGINGFACE, Artifact, Kind, Project
from mirror.core.ports import Ask, Source, Upstream
from mirror.core.purl import parse_artifact
from mirror.hubs.huggingface.access import Access
from mirror.hubs.huggingface.ancestry import Ancestry
from mirror.hubs.huggingface.derived import DerivedRoutes
from mirror.hubs.huggingface.directory import DirectoryRoutes
from mirror.hubs.huggingface.events import EventRoutes
from mirror.hubs.huggingface.facts import file_facts, licence_files, repository_facts, with_scans
from mirror.hubs.huggingface.files import FileRoutes, file_headers
from mirror.hubs.huggingface.git import GitRoutes
from mirror.hubs.huggingface.large import permit
from mirror.hubs.huggingface.lfs import LfsRoutes
from mirror.hubs.huggingface.pages import Pages
from mirror.hubs.huggingface.paths import Repo
from mirror.hubs.huggingface.profile import profile_of
from mirror.hubs.huggingface.refused import RefusedRoutes
from mirror.hubs.huggingface.registry import RegistryRoutes
from mirror.hubs.huggingface.replies import dressed, failure, message_headers, policy_refusal, topic, warning_of
from mirror.hubs.huggingface.rewrite import paging_links
from mirror.hubs.huggingface.routes import Handlers, table, viewer_table
from mirror.hubs.huggingface.scans import Scans
from mirror.hubs.huggingface.viewer import ViewerRoutes
from mirror.hubs.huggingface.views import ViewRoutes
from mirror.hubs.huggingface.xet_facade import XetRoutes
from mirror.reply.turned_away import answer, refused_at_import, sentence

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from aiohttp import web

    from mirror.core.actor import Actor, Credential
    from mirror.core.errors import Refused
    from mirror.core.nouns import Document
    from mirror.hubs.huggingface.documents import HubFile, RepoPage
    from mirror.hubs.huggingface.options import Bearer, Options
    from mirror.policy.substitutes import Profile
    from mirror.proxy.gateway import Gateway
    from mirror.reply.routing import Call, Route

#: Facts for which the ancestors must be walked.
_LINEAGE: Final = frozenset({"ancestors", "ancestor", "origin", "lineage"})
_PUBLISHED: Final = 256
_NOTED: Final = frozenset({"gated", "private", "disabled", "region"})
_REGION: Final = frozenset({"blocked_countries", "upstream.blocks_client"})


class HuggingFaceHub:
    """`core.ports.Hub` and `reply.routing.Dialect` for one configured instance."""

    def __init__(self, options: Options, upstream: Upstream, gateway: Gateway) -> None:
        """Stand between `gateway` and `upstream`. Register the result with the gateway before the first request."""
        self.options, self.upstream, self.gateway = options, upstream, gateway
        self.name, self.mount, self.hosts = options.name, options.mount, options.hosts
        self.pages = Pages(gateway, options)
        self.access = Access(gateway, upstream, options)
        self._ancestry = Ancestry(gateway, self.pages, options)
        self._asking: set[asyncio.Task[None]] = set()
        self._published: dict[str, Publication] = {}  # by the page's digest: it has thousands of files, and each asks
        self._scans = Scans(gateway, self.pages, options)
        self._refused = RefusedRoutes(self)
        files = FileRoutes(self)
        handlers = Handlers(
            files, ViewRoutes(self), LfsRoutes(self), RegistryRoutes(self, files), DerivedRoutes(self, files),
            DirectoryRoutes(self), EventRoutes(self), GitRoutes(self, self._refused), XetRoutes(self, self._refused), self._refused,
        )  # fmt: skip
        self.routes: Sequence[Route] = table(handlers)
        self.labels: Mapping[str, Sequence[Route]] = {"datasets-server": viewer_table(ViewerRoutes(self))}

    def renew(self) -> None:
        """See `proxy.gateway.Remembering`."""
        self.pages.renew()
        self.access.renew()

    # --- core.ports.Hub -------------------------------------------------------------------------------------------

    async def describe(self, artifact: Artifact, credential: Credential | None, needs: frozenset[str]) -> Facts:
        """See `core.ports.Hub.describe`. Raises `Pending` too, while the lineage is still being found out."""
        page = await self.page_of(artifact, credential)
        return file_facts(await self.shared_facts(page, credential, needs, (artifact.path,)), page, artifact.path)

    async def locate(self, artifact: Artifact, credential: Credential | None) -> Source:
        """See `core.ports.Hub.locate`: the right is checked against the hub or a grant, every time."""
        page = await self.page_of(artifact, credential)
        bearer = await self.access.check(page, credential)
        file = await self.complete(page, artifact.path, credential)
        target = Repo.of(page.project).file("resolve", page.commit, artifact.path)
        # The counter header is how the hub counts downloads; it is sent on what is really fetched.
        xet = permit(self.options, page, file)
        ask = Ask(
            target, headers={"X-HF-Download-Counter": "1"}, follow=True, first_only=not page.public, xet=xet,
            led_to="" if xet else self.access.ahead.led_to(page, file),
        )  # fmt: skip
        headers = tuple(file_headers(page, file).items())
        return Source(bearer.on(ask), file.declared, file.size, headers, page.restriction)

    async def publication(self, artifact: Artifact, credential: Credential | None, path: Path | None) -> Publication:
        """See `core.acquisitions.Publishing`: what the judging page of the file's commit says, and its licence files."""
        page = await self.page_of(artifact, credential)
        if (known := self._published.get(page.document.digest.hex)) is not None:
            return known
        stated = repository_facts(page).license
        texts = tuple((name, page.artifact(name)) for name in licence_files(page))
        found = Publication(page.public, None if stated is None else stated.value, texts, self.options.upstream_origins[0])
        while len(self._published) >= _PUBLISHED:
            self._published.pop(next(iter(self._published)))
        self._published[page.document.digest.hex] = found
        return found

    async def profile(self, artifact: Artifact, credential: Credential | None, needs: frozenset[str]) -> Profile:
        """See `proxy.substitutes.Profiling`. Raises `HubSaysNo` for what not everybody may see, unless with a credential."""
        page = await self.page_of(artifact, credential)
        if credential is None and not page.public:
            raise HubSaysNo(401, "RepoNotFound", "not for everybody", "private")
        largest = profile_of(page, Facts()).parts[1:]
        shared = await self.shared_facts(page, credential, needs, tuple(one.path for one, _ in largest))
        return profile_of(page, shared)

    # --- what the routes share ------------------------------------------------------------------------------------

    async def page_of(self, artifact: Artifact, credential: Credential | None) -> RepoPage:
        """The judging page of an artifact's commit.

        Raises `HubSaysNo` where the name belongs to another repository by now: it inherits nothing (P2).
        """
        page = await self.pages.repository(Repo.of(artifact.project), artifact.revision or None, credential)
        if artifact.project.hub_id not in (None, page.project.hub_id):
            raise HubSaysNo(404, "RepoNotFound", "Repository not found: the name has changed hands", "missing_repo")
        return page

    async def foresee(self, repo: Repo, revision: str, path: str, actor: Actor) -> None:
        """Of a repository that nobody has asked for: ask beside its page for the file's own metadata and for what tells its lineage.

        Not of one that is refused for its name or publisher.
        """
        artifact = Artifact(Project(HUGGINGFACE, repo.kind, repo.name, self.name), revision, path)
        if not await self.pages.unseen(repo, revision, actor.credential) or self.gateway.refuses_unseen(actor, artifact):
            return
        begun = self.access.ahead.ask(repo, revision, path)
        if begun and repo.kind is Kind.MODEL and self.gateway.needs(HUGGINGFACE) & _LINEAGE:
            self._ancestry.expect(repo, revision)

    async def complete(self, page: RepoPage, path: str, credential: Credential | None) -> HubFile:
        """A file with entity tag and size: from the page's list, else by HEAD. Raises `HubSaysNo` where it is not."""
        file = page.files.get(path)
        if file is not None and file.etag is not None and file.size is not None:
            return file
        await self.access.check(page, credential)
        return await self.access.unlisted(page, path, credential)

    async def shared_facts(
        self, page: RepoPage, credential: Credential | None, needs: frozenset[str], paths: Collection[str] | None = None
    ) -> Facts:
        """The facts that hold for all of a page's files, and those that the hub tells of many files at once. Raises `Pending`.

        `paths` are the files that will be judged (`file_facts`); None is all of them, which may take many requests.
        """
        facts = repository_facts(page)
        if page.project.kind is Kind.MODEL and needs & _LINEAGE:
            if paths and any(paths):
                self._ahead(page, credential)
            ancestors, evidence = await self._ancestry.of(page)
            facts = replace(facts, ancestors=ancestors, evidence=tuple(dict.fromkeys((*facts.evidence, *evidence))))
        if needs & _REGION:
            facts = replace(facts, blocked_countries=await self._blocked(page, credential))
        if "scan" in needs and (paths is None or any(paths)):
            return with_scans(facts, await self._scans.of(page, credential, paths))
        return facts

    def _ahead(self, page: RepoPage, credential: Credential | None) -> None:
        """Ask for the right to the files while a lineage is walked: what is permitted then waits for one of the two only."""

        async def ask() -> None:
            with suppress(MirrorError):  # said again when the files are opened
                await self.access.check(page, credential)

        task = asyncio.create_task(ask())
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def admit_project(self, call: Call, page: RepoPage) -> tuple[str, str] | None:
        """The project as a whole: raises `Refused` (on the record) where it is denied; gives a warning's topic and text."""
        facts = file_facts(await self.shared_facts(page, call.actor.credential, self.gateway.needs(HUGGINGFACE), ()), page, "")
        verdict = await self.gateway.judge(call.actor, page.artifact(), facts)
        if not verdict.effect.serves:
            await self.gateway.admit(call.actor, page.artifact(), call.info, facts=facts)
        return warning_of(verdict, page.project)

    async def admit_rights(self, call: Call, page: RepoPage) -> Bearer:
        """The hub's own leave to read contents, in whose name; its refusal goes on the record before it is raised."""
        try:
            return await self.access.check(page, call.actor.credential)
        except HubSaysNo as no:
            await self.note_refusal(call, page.artifact(), no)
            raise

    async def note_refusal(self, call: Call, artifact: Artifact, no: HubSaysNo) -> None:
        """The hub's own noes that are worth an event: somebody asked for what it keeps from them."""
        if no.cause in _NOTED:
            detail = {"cause": no.cause, "status": no.status}
            await self.gateway.note(EventKind.HUB_REFUSED, call.actor, call.info, str(artifact), detail)

    def paging(self, call: Call, document: Document) -> dict[str, str]:
        """The headers by which a client gets the next page of a list, from us."""
        links = paging_links(document.header("link"), self.options.upstream_origins, call.public_url + call.mount)
        total = document.header("x-total-count")
        return ({"Link": links} if links else {}) | ({"X-Total-Count": total} if total else {})

    async def _blocked(self, page: RepoPage, credential: Credential | None) -> Fact[tuple[str, ...]]:
        """The hub does not say which countries it blocks, only that it blocks us: `*`. What it did elsewhere is remembered."""
        doubt = ""
        try:
            await self.access.check(page, credential)
        except HubSaysNo as no:
            if no.cause == "region":
                return Fact(("*",), "the hub's refusal", "A")
            doubt = "the hub refuses this credential"
        except UpstreamError:
            doubt = "the hub cannot be asked"
        if known := await self.access.regions.withheld(page.project.identity):
            return Fact(known, "the hub's refusal when it was asked from there", "A")
        return Fact(None, doubt, "A") if doubt else Fact((), "the hub's answer to a request for a file", "A")

    # --- reply.routing.Dialect ------------------------------------------------------------------------------------

    async def refuse(self, call: Call, refused: Refused) -> web.StreamResponse:
        """See `reply.routing.Dialect.refuse`."""
        return dressed(call, policy_refusal(call, refused))

    async def problem(self, call: Call, error: MirrorError) -> web.StreamResponse:
        """See `reply.routing.Dialect.problem`."""
        if isinstance(error, HubSaysNo) and not (error.code or error.message):
            # The hub gives its reasons; where it sends us for the bytes does not. That is a fault, and nobody's right.
            error = UpstreamGarbage(self.options.upstream, f"answered {error.status} without a reason")
        if self.gateway.offline and (away := await self._turned_away(call, error)) is not None:
            return dressed(call, away)
        return dressed(call, failure(call, error))

    async def _turned_away(self, call: Call, error: MirrorError) -> web.Response | None:
        """The refusal of what an import refused; None where none did."""
        away = await refused_at_import(call, self.gateway, error)
        if away is None:
            return None
        about = topic(away.rule, parse_artifact(away.artifact).project)
        return answer(call, away, self.gateway, message_headers(sentence(away, self.gateway), about, "GatedRepo"))

    async def unknown(self, call: Call) -> web.StreamResponse:
        """See `reply.routing.Dialect.unknown`."""
        return await self._refused.unknown(call)
