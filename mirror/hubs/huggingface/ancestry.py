"""Walking up what a model was made from: every hop's own page, a whole generation at a time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from mirror.core.errors import HubSaysNo, Malformed, NotHere, Pending, UpstreamError
from mirror.core.facts import Ancestor, Fact
from mirror.core.nouns import HUGGINGFACE, Kind, Project
from mirror.hubs.huggingface.documents import MOVING
from mirror.hubs.huggingface.facts import declared_parents
from mirror.hubs.huggingface.paths import parse_repo
from mirror.policy.lineage import Edge, Walk

if TYPE_CHECKING:
    from datetime import datetime

    from mirror.hubs.huggingface.documents import RepoPage
    from mirror.hubs.huggingface.pages import Pages
    from mirror.proxy.gateway import Gateway

_AT_ONCE: Final = 8
_RETRY_AFTER: Final = 5.0
#: As long as the pages of moving revisions that a walk rests on.
_GOOD_FOR: Final = MOVING
_KEPT: Final = 4096


class Ancestry:
    """Lineages of one instance, each found out once at a time however many ask."""

    def __init__(self, gateway: Gateway, pages: Pages, patience: float) -> None:
        """`patience` in seconds is how long one caller waits; the search itself goes on."""
        self._gateway, self._pages, self._patience = gateway, pages, patience
        self._walks: dict[tuple[str, str], asyncio.Task[tuple[Walk, tuple[str, ...]]]] = {}
        self._found: OrderedDict[tuple[str, str], tuple[datetime, Fact[tuple[Ancestor, ...]], tuple[str, ...]]] = OrderedDict()
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def of(self, page: RepoPage) -> tuple[Fact[tuple[Ancestor, ...]], tuple[str, ...]]:
        """(the ancestors, digests of the pages that say so). Raises `Pending` once the patience is over."""
        key = (page.project.identity, page.document.digest.hex)
        now = self._gateway.clock.now()
        known = self._found.get(key)
        if known is not None and now - known[0] < _GOOD_FOR:
            return known[1], known[2]
        task = self._walks.get(key)
        if task is None:
            task = asyncio.create_task(self._walk(page))
            self._walks[key] = task
            task.add_done_callback(lambda done: (self._walks.pop(key, None), done.cancelled() or done.exception()))
        try:
            async with asyncio.timeout(self._patience):
                walk, evidence = await asyncio.shield(task)
        except TimeoutError as error:
            raise Pending(f"the lineage of {page.project.name} is still being found out", _RETRY_AFTER) from error
        fact = Fact(walk.result(), "model cards", "A")
        if not any(edge.missing == "unreachable" for edge in walk.result()):
            self._found[key] = (now, fact, evidence)
            while len(self._found) > _KEPT:
                self._found.popitem(last=False)
        return fact, evidence

    async def _walk(self, page: RepoPage) -> tuple[Walk, tuple[str, ...]]:
        """Each generation's pages in parallel; what cannot be read is given as the reason why (`gone`, `gated`)."""
        evidence: list[str] = []
        walk = Walk(page.project)
        found: RepoPage | str
        while wanted := walk.wanted():
            pages = await asyncio.gather(*(self._page(project, page) for project in wanted))
            for project, found in zip(wanted, pages, strict=True):
                walk.give(project, await self._edges(project, found))
                if not isinstance(found, str):
                    evidence.append(found.document.digest.hex)
        return walk, tuple(dict.fromkeys(evidence))

    async def _edges(self, project: Project, found: RepoPage | str) -> tuple[Edge, ...] | str:
        """Declared parents; the shipped ones where none is declared; and a renamed parent under both of its names."""
        shipped = self._gateway.epoch.lineage.edges(project)
        if isinstance(found, str):
            return shipped or found
        edges = list(declared_parents(found) or shipped)
        parents = await asyncio.gather(*(self._page(edge.parent, None) for edge in edges))
        for edge, parent in zip(tuple(edges), parents, strict=True):
            if not isinstance(parent, str) and parent.project.name.casefold() != edge.parent.name.casefold():
                # Rules see canonical names (P2); the declared one stays too, for a rule may be older than the renaming.
                edges.append(Edge(parent.project, edge.relation, edge.evidence, edge.confidence))
        return tuple(edges)

    async def _page(self, project: Project, start: RepoPage | None) -> RepoPage | str:
        """A project's page as anybody may see it: an ancestor's card is never read in a caller's name."""
        if start is not None and project == start.project:
            return start
        if project.ecosystem != HUGGINGFACE or project.kind is not Kind.MODEL:
            return "gone"
        try:
            repo = parse_repo(project.name, Kind.MODEL)
            async with self._room:
                return await self._pages.repository(repo, None, None)
        except HubSaysNo as no:
            return "gated" if no.cause in ("gated", "private", "disabled", "region") else "gone"
        except Malformed:
            return "gone"
        except (NotHere, UpstreamError):
            return "unreachable"
