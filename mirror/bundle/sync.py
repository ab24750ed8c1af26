"""Everything wanted, fetched and kept: plan, look what is here, fetch the rest, pin.

Each step asks the mirror, so a second run after anything at all - an interrupt, an outage, a changed policy - does what
is left to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

from mirror.bundle.fetch import Client, Declined
from mirror.bundle.plan import (
    Outcome,
    PinBook,
    RepoPlan,
    State,
    Unplanned,
    WantedFile,
    locked_files,
    repository_plan,
)
from mirror.bundle.resolve import Closure, Unresolved
from mirror.bundle.wants import RepoWant, repo_of
from mirror.core.errors import MirrorError
from mirror.core.nouns import Kind
from mirror.core.ports import PinIndex
from mirror.hubs.huggingface.paths import revision_segment

T = TypeVar("T")
_WARNING: Final = "X-HF-Warning"


class Audience(Protocol):
    """Who is told how it goes. Called between awaits; must not wait."""

    def planned(self, files: int, size: int) -> None:
        """So many files, of so many bytes, are to be fetched."""

    def came(self, count: int) -> None:
        """More bytes came; negative where a file begins anew."""

    def outcome(self, outcome: Outcome) -> None:
        """One wanted thing is settled."""

    def note(self, text: str) -> None:
        """Something worth knowing that changes nothing."""


@dataclass(slots=True)
class Report:
    """What became of everything; filled as it goes, so that it can be read after an interrupt."""

    outcomes: list[Outcome] = field(default_factory=list)
    pinned: int = 0
    unpinned: int = 0

    @property
    def fine(self) -> bool:
        """Whether all that is wanted is there (or would be, in a dry run)."""
        return all(one.state.fine for one in self.outcomes)

    def counts(self) -> dict[str, dict[str, int]]:
        """Number and bytes of outcomes by state, in the order of `State`."""
        rows = {state: [one for one in self.outcomes if one.state is state] for state in State}
        return {str(state): {"count": len(found), "bytes": sum(one.size or 0 for one in found)} for state, found in rows.items() if found}


@dataclass(frozen=True, slots=True)
class Manner:
    """How to go about it. `index` None keeps no pins; `prune` removes those of these wants that nothing wants any more."""

    name: str
    jobs: int = 4
    dry_run: bool = False
    prune: bool = False
    index: PinIndex | None = None


Resolver = Callable[[Closure], Awaitable[Mapping[str, Any]]]


class Sync:
    """One run. `origins` are those at which the mirror's own files may stand in a lock."""

    def __init__(
        self, client: Client, resolver: Resolver, origins: Sequence[str], manner: Manner, audience: Audience, now: Callable[[], datetime]
    ) -> None:
        self._client, self._resolver, self._origins = client, resolver, origins
        self._manner, self._audience, self._now = manner, audience, now
        self._book = PinBook(manner.name)
        self._unplanned = False
        self._served: set[tuple[str, str]] = set()
        self.report = Report()

    async def run(self, repositories: Iterable[tuple[Kind, RepoWant]], closures: Iterable[Closure]) -> Report:
        """All of it. Cancelling stops at once; what came stays, and `report` says what that is."""
        index = self._manner.index
        if index is not None:
            self._book = PinBook.of(self._manner.name, await index.pins())
        plans = [plan for plan in await self._each(list(repositories), self._repository) if plan is not None]
        locked = [file for files in await self._each(list(closures), self._closure) for file in files]
        files = [*locked, *(file for plan in plans for file in (*plan.files, *plan.doubtful))]
        unique = list({str(file.artifact): file for file in files}.values())
        absent = [file for file in await self._each(unique, self._survey) if file is not None]
        # A whole repository is pinned before it comes, so that its first files are not evicted for its last.
        await self._pin([plan.pin for plan in plans if (str(plan.project), plan.commit) in self._served])
        await self._fetch(absent)
        if self._manner.prune and not self._manner.dry_run:
            await self._prune([pattern for plan in plans for pattern in plan.patterns] + [file.pin for file in locked])
        return self.report

    # --- what is wanted -------------------------------------------------------------------------------------------

    async def _repository(self, wanted: tuple[Kind, RepoWant]) -> RepoPlan | None:
        kind, want = wanted
        repo = repo_of(kind, want)
        label = f"{want.id}@{want.revision}" if kind is Kind.MODEL else f"{kind} {want.id}@{want.revision}"
        try:
            info, headers = await self._client.page(f"{repo.api}/revision/{revision_segment(want.revision)}?blobs=true")
            plan = repository_plan(want, kind, info)
        except Declined as no:
            self._lost(label, no.state, no.sentence, no.rule, no.decision)
            return None
        except Unplanned as error:
            self._lost(label, State.FAILED, str(error))
            return None
        if told := headers.get(_WARNING):
            self._audience.note(f"{label}: {told.partition('; ')[2] or told}")
        for problem in plan.problems:
            self._settle(problem)
        if not self._manner.dry_run:
            await self._listing(label, f"{repo.api}/tree/{plan.commit}?recursive=true&expand=false")
        return plan

    async def _listing(self, label: str, target: str) -> None:
        """What `snapshot_download` asks beside the files: with it the mirror can answer alone. No file hangs on it."""
        try:
            await self._client.pages(target)
        except Declined as no:
            self._audience.note(f"{label}: the list of its files cannot be had: {no.sentence}")

    async def _closure(self, closure: Closure) -> Sequence[WantedFile]:
        try:
            return locked_files(await self._resolver(closure), self._origins)
        except Unresolved as error:
            why = await self._client.why(error.url) if error.url else None
            if why is not None:
                self._lost(closure.name, why.state, why.sentence, why.rule, why.decision)
            else:
                self._lost(closure.name, State.FAILED if error.url else State.MISSING, error.sentence)
        except Unplanned as error:
            self._lost(closure.name, State.FAILED, str(error))
        return ()

    def _lost(self, name: str, state: State, sentence: str, rule: str = "", decision: str = "") -> None:
        self._unplanned = True
        self._settle(Outcome(name, state, None, sentence, rule, decision))

    # --- what is here, and what is not ----------------------------------------------------------------------------

    async def _survey(self, file: WantedFile) -> WantedFile | None:
        """The file if it is to be fetched."""
        try:
            found = await self._client.standing(file)
        except Declined as no:
            self._settle(Outcome(str(file.artifact), no.state, file.size, no.sentence, no.rule, no.decision))
            return None
        self._served.add((str(file.artifact.project), file.artifact.revision))
        size = found.size if found.size is not None else file.size
        if found.here:
            await self._pin([file.pin])
            self._settle(Outcome(str(file.artifact), State.HERE, size))
            return None
        if self._manner.dry_run:
            self._settle(Outcome(str(file.artifact), State.ABSENT, size))
            return None
        return file

    async def _fetch(self, files: Sequence[WantedFile]) -> None:
        if not self._manner.dry_run:
            self._audience.planned(len(files), sum(file.size or 0 for file in files))
        await self._each(files, self._fetched)

    async def _fetched(self, file: WantedFile) -> None:
        name = str(file.artifact)
        try:
            found = await self._client.fetch(file, self._audience.came)
            if found.here:
                await self._pin([file.pin])
                self._settle(Outcome(name, State.FETCHED, found.size))
            else:
                self._settle(Outcome(name, State.UNKEPT, found.size, "it came, but the cache kept it not: there is no room beside what is pinned"))
        except Declined as no:
            self._settle(Outcome(name, no.state, file.size, no.sentence, no.rule, no.decision))

    def _settle(self, outcome: Outcome) -> None:
        self.report.outcomes.append(outcome)
        self._audience.outcome(outcome)

    # --- pins -----------------------------------------------------------------------------------------------------

    async def _pin(self, patterns: Iterable[str]) -> None:
        index = self._manner.index
        if index is None or self._manner.dry_run:
            return
        for pattern in filter(None, patterns):
            pin = self._book.keep(pattern, self._now())
            if pin is not None:
                await index.put_pin(pin)
                self.report.pinned += 1

    async def _prune(self, wanted: Iterable[str]) -> None:
        index = self._manner.index
        if index is None:
            return
        if self._unplanned:
            self._audience.note("no pin was removed, because not everything that is wanted could be found out")
            return
        changes = self._book.prune(wanted)
        for pin in changes.put:
            await index.put_pin(pin)
        for pattern in changes.drop:
            await index.drop_pin(pattern)
        self.report.unpinned = len(changes.put) + len(changes.drop)

    async def _each(self, things: Sequence[Any], work: Callable[[Any], Awaitable[T]]) -> list[T]:
        """`work` on all of them, `jobs` at once, in their order."""
        found: list[Any] = [None] * len(things)
        left = iter(enumerate(things))

        async def worker() -> None:
            for place, thing in left:
                found[place] = await work(thing)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._manner.jobs, len(things))):
                    group.create_task(worker())
        except ExceptionGroup as failed:
            known = [error for error in failed.exceptions if isinstance(error, MirrorError)]
            raise (known[0] if known else failed) from None
        return found
