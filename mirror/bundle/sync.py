"""Everything wanted, fetched and kept: plan, look what is here, fetch the rest, pin.

Each step asks the mirror, so a second run after anything at all - an interrupt, an outage, a changed policy - does what
is left to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

from mirror.bundle.fetch import Client, Declined
from mirror.bundle.locks import Choice
from mirror.bundle.packages import Index
from mirror.bundle.patient import Patient
from mirror.bundle.plan import (
    PREFERENCE,
    WITH_ANCESTORS,
    Outcome,
    PinBook,
    RepoPlan,
    State,
    Unplanned,
    WantedFile,
    ancestors_of,
    hashed,
    locked_files,
    repository_plan,
)
from mirror.bundle.resolve import Closure, Unresolved
from mirror.bundle.used import Used, used_files
from mirror.bundle.wants import RepoWant, repo_of
from mirror.core.errors import MirrorError
from mirror.core.nouns import HUGGINGFACE, Artifact, Kind
from mirror.core.ports import PinIndex
from mirror.hubs.huggingface.paths import revision_segment

T = TypeVar("T")
#: Bytes up to which a file is asked for at once.
_SMALL: Final = 1024 * 1024
_WARNING: Final = "X-HF-Warning"


class Audience(Protocol):
    """Who is told how it goes. Called between awaits; must not wait."""

    def planned(self, files: int, size: int) -> None:
        """So many files, of so many bytes, are to be fetched."""

    def spared(self, size: int) -> None:
        """A file of those to be fetched, of so many bytes, is not to be fetched after all."""

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
        self, client: Client, resolver: Resolver, origins: Sequence[str], manner: Manner, audience: Audience, now: Callable[[], datetime],
        packages: str | None = None,
    ) -> None:  # fmt: skip
        """`packages` is the URL of the mirror's package index (`…/simple/`), where it has one."""
        self._client, self._resolver, self._origins = client, resolver, origins
        self._manner, self._audience, self._now = manner, audience, now
        self._book = PinBook(manner.name)
        self._pins = None if manner.index is None else Patient(manner.index)
        self._index = None if packages is None else Index(client, packages, origins)
        self._ancestors: list[tuple[RepoWant, str]] = []
        self._unplanned = False
        self._whole: dict[tuple[str, str], str] = {}  # pins of repositories of which no file has come yet
        self.report = Report()

    async def run(
        self, repositories: Iterable[tuple[Kind, RepoWant]], closures: Iterable[Closure], locked: Iterable[Choice] = (), used: Iterable[Used] = ()
    ) -> Report:
        """All of it. Cancelling stops at once; what came stays, and `report` says what that is."""
        if self._pins is not None:
            self._book = PinBook.of(self._manner.name, await self._pins.pins())
        plans = [plan for plan in await self._each(list(repositories), self._repository) if plan is not None]
        plans += [plan for plan in await self._each(self._above(plans), self._repository) if plan is not None]
        jobs = [
            *(partial(self._closure, one) for one in closures), *(partial(self._locked, one) for one in locked),
            *(partial(self._used, one) for one in used),
        ]  # fmt: skip
        packages = [file for files in await self._each(jobs, lambda job: job()) for file in files]
        files = [*packages, *(file for plan in plans for file in (*plan.files, *plan.doubtful))]
        unique = list({str(file.artifact): file for file in files}.values())
        self._whole = {(str(plan.project), plan.commit): plan.pin for plan in plans if plan.pin}
        if self._manner.dry_run:
            await self._each(unique, self._survey)
        else:
            self._audience.planned(len(unique), sum(file.size or 0 for file in unique))
            await self._each(unique, self._got)
        if self._manner.prune and not self._manner.dry_run:
            await self._prune([pattern for plan in plans for pattern in plan.patterns] + [file.pin for file in packages])
        return self.report

    # --- what is wanted -------------------------------------------------------------------------------------------

    async def _repository(self, wanted: tuple[Kind, RepoWant]) -> RepoPlan | None:
        kind, want = wanted
        repo = repo_of(kind, want)
        label = f"{want.id}@{want.revision}" if kind is Kind.MODEL else f"{kind} {want.id}@{want.revision}"
        try:
            target = f"{repo.api}/revision/{revision_segment(want.revision)}?blobs=true"
            info, headers = await self._client.page(target, WITH_ANCESTORS if want.ancestors else PREFERENCE)
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
        if want.ancestors:
            self._ancestors += ancestors_of(want, info)
        if not self._manner.dry_run:
            await self._listing(label, f"{repo.api}/tree/{plan.commit}?recursive=true&expand=false")
            if want.revision == plan.commit:  # most clients ask for the branch, and the hub may not be there to say what it is
                await self._listing(label, f"{repo.api}/revision/main")
        return plan

    def _above(self, plans: Sequence[RepoPlan]) -> list[tuple[Kind, RepoWant]]:
        """The ancestors of what is planned, but for those that are planned whole themselves."""
        known = {plan.project.name.casefold() for plan in plans if plan.pin and plan.project.kind is Kind.MODEL}
        found: dict[str, RepoWant] = {}
        for want, told in self._ancestors:
            if want.id.casefold() not in known and want.id.casefold() not in found:
                found[want.id.casefold()] = want
                self._audience.note(f"{want.id}: wanted as an ancestor ({told})")
        return [(Kind.MODEL, want) for want in found.values()]

    async def _listing(self, label: str, target: str) -> None:
        """What `snapshot_download` asks beside the files: with it the mirror can answer alone. No file hangs on it."""
        try:
            await self._client.pages(target)
        except Declined as no:
            self._audience.note(f"{label}: {urlsplit(target).path} cannot be had: {no.sentence}")

    async def _closure(self, closure: Closure) -> Sequence[WantedFile]:
        try:
            found = locked_files(await self._resolved(closure), self._origins)
            files, problems = hashed(found, closure.requirements.hashes)
            for problem in problems:
                self._lost(problem.name, problem.state, problem.sentence)
            return files
        except Declined as no:
            self._lost(closure.name, no.state, no.sentence, no.rule, no.decision)
        except Unresolved as error:
            self._lost(closure.name, State.FAILED if error.url else State.MISSING, error.sentence)
        except Unplanned as error:
            self._lost(closure.name, State.FAILED, str(error))
        return ()

    async def _resolved(self, closure: Closure) -> Mapping[str, Any]:
        """The lock; asked for again where the mirror was not ready with something, and is by now: resolvers give up sooner.

        Raises `Declined`, `Unresolved`.
        """
        left = self._client.retries
        while True:
            try:
                return await self._resolver(closure)
            except Unresolved as error:
                no = await self._client.why(error.url) if error.url else None
                if no is not None:
                    raise no from None
                if not error.url or left <= 0:
                    raise
                left -= 1

    async def _locked(self, choice: Choice) -> Sequence[WantedFile]:
        files, problems = await self._packages().locked(choice)
        for problem in problems:
            self._unplanned = True
            self._settle(problem)
        return files

    async def _used(self, used: Used) -> Sequence[WantedFile]:
        """The files of one revision that was used, where they are at the mirror today."""
        if used.project.ecosystem == HUGGINGFACE:
            return used_files(used)
        if used.paths is None:
            try:
                return await self._packages().release(used.project.name, used.revision)
            except Declined as no:
                self._lost(str(Artifact(used.project, used.revision, "")), no.state, no.sentence, no.rule, no.decision)
                return ()
        files, problems = await self._packages().named(used.project.name, used.revision, used.paths)
        for problem in problems:
            self._settle(problem)
        return files

    def _packages(self) -> Index:
        if self._index is None:
            raise ValueError("packages are wanted of a mirror without an index")
        return self._index

    def _lost(self, name: str, state: State, sentence: str, rule: str = "", decision: str = "") -> None:
        self._unplanned = True
        self._settle(Outcome(name, state, None, sentence, rule, decision))

    # --- what is here, and what is not ----------------------------------------------------------------------------

    async def _survey(self, file: WantedFile) -> bool:
        """Whether the file may be had and is not here yet; where not, that is settled."""
        try:
            found = await self._client.standing(file)
        except Declined as no:
            self._spared(file)
            self._settle(Outcome(str(file.artifact), no.state, file.size, no.sentence, no.rule, no.decision))
            return False
        size = found.size if found.size is not None else file.size
        if not self._manner.dry_run:
            # A whole repository is pinned before it comes, so that its first files are not evicted for its last.
            await self._pin([self._whole.pop((str(file.artifact.project), file.artifact.revision), "")])
        if found.here:
            await self._pin([file.pin])
            self._spared(file)
            self._settle(Outcome(str(file.artifact), State.HERE, size))
        elif self._manner.dry_run:
            self._settle(Outcome(str(file.artifact), State.ABSENT, size))
        return not found.here

    async def _got(self, file: WantedFile) -> None:
        """Fetch a file that is not here. Of a small one nobody asks first whether it is: that would take as long."""
        small = file.size is not None and file.size <= _SMALL
        if not small and not await self._survey(file):
            return
        name = str(file.artifact)
        try:
            found = await self._client.fetch(file, self._audience.came)
        except Declined as no:
            self._settle(Outcome(name, no.state, file.size, no.sentence, no.rule, no.decision))
            return
        if not found.here:
            self._settle(Outcome(name, State.UNKEPT, found.size, "it came, but the cache kept it not: there is no room beside what is pinned"))
            return
        await self._pin([self._whole.pop((str(file.artifact.project), file.artifact.revision), ""), file.pin])
        self._settle(Outcome(name, State.HERE if found.before else State.FETCHED, found.size))

    def _spared(self, file: WantedFile) -> None:
        if not self._manner.dry_run:  # which announces nothing to be fetched
            self._audience.spared(file.size or 0)

    def _settle(self, outcome: Outcome) -> None:
        self.report.outcomes.append(outcome)
        self._audience.outcome(outcome)

    # --- pins -----------------------------------------------------------------------------------------------------

    async def _pin(self, patterns: Iterable[str]) -> None:
        if self._pins is None or self._manner.dry_run:
            return
        for pattern in filter(None, patterns):
            pin = self._book.keep(pattern, self._now())
            if pin is not None:
                await self._pins.put_pin(pin)
                self.report.pinned += 1

    async def _prune(self, wanted: Iterable[str]) -> None:
        if self._pins is None:
            return
        if self._unplanned:
            self._audience.note("no pin was removed, because not everything that is wanted could be found out")
            return
        changes = self._book.prune(wanted)
        for pin in changes.put:
            await self._pins.put_pin(pin)
        for pattern in changes.drop:
            await self._pins.drop_pin(pattern)
        self.report.unpinned = len(changes.put) + len(changes.drop)

    async def _each(self, things: Sequence[Any], work: Callable[[Any], Awaitable[T]]) -> list[T]:
        """`work` on all of them, `jobs` at once, in their order. An audience that has gone (`| head`) ends all of it."""
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
            known = [error for error in failed.exceptions if isinstance(error, (MirrorError, OSError))]
            raise (known[0] if known else failed) from None
        return found
