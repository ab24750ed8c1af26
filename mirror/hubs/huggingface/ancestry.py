"""Walking up what a model was made from: every hop's own page and files, a whole generation at a time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from mirror.core.errors import Pending
from mirror.core.facts import Ancestor, Fact
from mirror.core.nouns import HUGGINGFACE, Kind, Project
from mirror.hubs.huggingface.documents import MOVING
from mirror.hubs.huggingface.facts import declared_parents
from mirror.hubs.huggingface.seeking import HIDDEN, Look, Seeking
from mirror.hubs.huggingface.traces import FIRM
from mirror.policy.lineage import MAX_PROJECTS, Edge, Walk, key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from mirror.hubs.huggingface.documents import RepoPage
    from mirror.hubs.huggingface.options import Options
    from mirror.hubs.huggingface.pages import Pages
    from mirror.hubs.huggingface.paths import Repo
    from mirror.hubs.huggingface.traces import Trace
    from mirror.proxy.gateway import Gateway

_RETRY_AFTER: Final = 5.0
#: As long as the pages of moving revisions that a walk rests on.
_GOOD_FOR: Final = MOVING
_KEPT: Final = 4096
CARDS: Final = "model cards"

Found = tuple[Fact[tuple[Ancestor, ...]], tuple[str, ...]]


class Ancestry:
    """Lineages of one instance, each found out once at a time however many ask."""

    def __init__(self, gateway: Gateway, pages: Pages, options: Options) -> None:
        """`options.lineage_patience` in seconds is how long one caller waits; the search itself goes on."""
        self._gateway, self._patience = gateway, options.lineage_patience
        self._seeking = Seeking(gateway, pages, options)
        self._walks: dict[tuple[str, str], asyncio.Task[Found]] = {}
        self._found: OrderedDict[tuple[str, str], tuple[datetime, str, Found]] = OrderedDict()

    def expect(self, repo: Repo, revision: str) -> None:
        """The lineage of a repository will be asked for as soon as its page is there: begin with its small files."""
        self._seeking.expect(repo, revision)

    async def of(self, page: RepoPage) -> Found:
        """(the ancestors, digests of the pages and files that say so). Raises `Pending` once the patience is over."""
        key = (page.project.identity, page.document.digest.hex)
        now, shipped = self._gateway.clock.now(), self._gateway.epoch.lineage.digest
        known = self._found.get(key)
        if known is not None and now - known[0] < _GOOD_FOR and known[1] == shipped:
            return known[2]
        task = self._walks.get(key)
        if task is None:
            task = asyncio.create_task(self._walk(page))
            self._walks[key] = task
            task.add_done_callback(lambda done: (self._walks.pop(key, None), done.cancelled() or done.exception()))
        try:
            async with asyncio.timeout(self._patience):
                found = await asyncio.shield(task)
        except TimeoutError as error:
            raise Pending(f"the lineage of {page.project.name} is still being found out", _RETRY_AFTER) from error
        if not any(edge.missing == "unreachable" for edge in found[0].value or ()):
            self._found[key] = (now, shipped, found)
            while len(self._found) > _KEPT:
                self._found.popitem(last=False)
        return found

    async def _walk(self, page: RepoPage) -> Found:
        climb = _Climb(self._gateway, self._seeking, page)
        try:
            walk = Walk(page.project)
            while wanted := walk.wanted():
                answers = await asyncio.gather(*(climb.edges(project) for project in wanted))
                for project, edges in zip(wanted, answers, strict=True):
                    walk.give(project, edges)
        finally:
            climb.end()
        source = ", ".join([CARDS, *sorted(climb.sources)])
        return Fact(walk.result(), source, "A"), tuple(dict.fromkeys(climb.evidence))


class _Climb:
    """One walk: each project is looked at once, and the declared parents of one are begun before its own files are read."""

    def __init__(self, gateway: Gateway, seeking: Seeking, start: RepoPage) -> None:
        self._gateway, self._seeking = gateway, seeking
        self._looks: dict[str, Look] = {key(start.project): seeking.at(start)}
        self.evidence: list[str] = []
        self.sources: set[str] = set()

    def end(self) -> None:
        """Let go of what nobody waits for any more."""
        for look in self._looks.values():
            look.page.cancel()
            look.told.cancel()

    async def edges(self, project: Project) -> tuple[Edge, ...] | str:
        """What a project was made from, by all evidence; the shipped edges where there is none; or why nothing is known."""
        shipped = self._gateway.epoch.lineage.edges(project)
        look = self._look(project)
        page = "depth" if look is None else await look.page
        if look is None or isinstance(page, str):
            return shipped or ("gated" if page == HIDDEN else str(page))
        self.evidence.append(page.document.digest.hex)
        stated = declared_parents(page)
        self._begin(stated)
        told = await look.told
        self.evidence += told.evidence
        found = await self._sound(stated, traced(told.traces, (project, page.project)))
        self.sources |= {trace.source for trace in told.traces if any(edge.parent.name == trace.name for edge in found)}
        return await self._under_all_names(found or shipped)

    def _look(self, project: Project) -> Look | None:
        name = key(project)
        if name not in self._looks:
            if len(self._looks) >= MAX_PROJECTS:
                return None
            self._looks[name] = self._seeking.of(project)
        return self._looks[name]

    def _begin(self, edges: Iterable[Edge]) -> None:
        for edge in edges:
            self._look(edge.parent)

    async def _page(self, project: Project) -> RepoPage | str:
        look = self._look(project)
        return "depth" if look is None else await look.page

    async def _sound(self, stated: Sequence[Edge], traces: Sequence[Edge]) -> tuple[Edge, ...]:
        """`stated`, and those of `traces` that the hub knows. What a tool names for certain is a parent even where it is gone.

        Prose and `_name_or_path` may name folders; and beside other parents nothing is lost with a name that leads nowhere.
        """
        known = {key(edge.parent) for edge in stated}
        fresh = [edge for edge in traces if key(edge.parent) not in known]
        self._begin(fresh)
        pages = await asyncio.gather(*(self._page(edge.parent) for edge in fresh))
        there = [edge for edge, page in zip(fresh, pages, strict=True) if page not in ("gone", HIDDEN)]
        firm = [edge for edge in fresh if edge.confidence >= FIRM]
        return (*stated, *(there or ([] if stated else firm)))

    async def _under_all_names(self, edges: Sequence[Edge]) -> tuple[Edge, ...]:
        """A renamed parent under both of its names: rules see canonical names (P2), and one may be older than the renaming."""
        self._begin(edges)
        pages = await asyncio.gather(*(self._page(edge.parent) for edge in edges))
        found = list(edges)
        for edge, page in zip(edges, pages, strict=True):
            if not isinstance(page, str) and page.project.name.casefold() != edge.parent.name.casefold():
                found.append(Edge(page.project, edge.relation, edge.evidence, edge.confidence))
        return tuple(found)


def traced(traces: Sequence[Trace], own: Sequence[Project]) -> list[Edge]:
    """Traces as edges, evidence `inferred`, the surest of each parent; nothing is made from itself."""
    itself = {project.name.casefold() for project in own}
    best: dict[str, Trace] = {}
    for trace in traces:
        folded = trace.name.casefold()
        if folded not in itself and (folded not in best or trace.confidence > best[folded].confidence):
            best[folded] = trace
    hub = own[0].hub
    return [Edge(Project(HUGGINGFACE, Kind.MODEL, one.name, hub), one.relation, "inferred", one.confidence) for one in best.values()]
