"""The rules in force: loaded whole, re-read on change without a restart, never replaced by something broken (P9, P10)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeVar

from mirror.core.errors import InputError, MirrorError, Problem
from mirror.lists.editions import EditionStore, in_force
from mirror.lists.loading import BUILTIN, load_catalogue, load_lineage
from mirror.lists.official import ListSettings, files_of, load_list
from mirror.lists.signed import PackCondition
from mirror.lists.standing import Condition, condition
from mirror.policy.catalogue import Catalogue
from mirror.policy.compile import compile_policy
from mirror.policy.epoch import Epoch
from mirror.policy.lineage import Lineage
from mirror.policy.reviewed import Reviewed
from mirror.policy.screening import ScreeningList
from mirror.proxy.approvals import Approvals
from mirror.proxy.findings import FindingBook
from mirror.proxy.following import Looking, State, state_of

T = TypeVar("T")
LoadList = Callable[[str, ListSettings, ScreeningList | None], ScreeningList]

#: What is in force where no policy file is configured: nothing is refused.
EMPTY_POLICY: Final = "version: 1\nrules: []\n"


class Broken(Protocol):
    """Something else that is re-read on change, and may be broken."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the newest files; () while they are in force."""


@dataclass(frozen=True, slots=True)
class RuleSources:
    """Where rules come from. `policy` is a file, a folder of `*.yaml`, or None for the empty policy.

    With `editions` lists are judged by as they are in force there (`watch.lists` sees to that), else as their files are.
    """

    policy: Path | None
    catalogue: Sequence[str]
    lists: Mapping[str, ListSettings]
    groups: Collection[str] | None = None  # those that clients can be in, for warnings; None: not known
    approvals: Approvals | None = None
    editions: EditionStore | None = None
    findings: FindingBook | None = None
    pack: Callable[[datetime], PackCondition] | None = None  # how the signed catalogue pack stands, where one is configured

    def files(self) -> Iterator[Path]:
        """Every file whose change is a change of rules."""
        if self.policy is not None:
            yield from sorted(self.policy.glob("*.y*ml")) if self.policy.is_dir() else (self.policy,)
        for name in self.catalogue:
            if name != BUILTIN:
                path = Path(name)
                yield from sorted(path.glob("*.y*ml")) if path.is_dir() else (path,)
        for name, row in self.lists.items():
            yield from files_of(row) if self.editions is None else (self.editions.pointer(name),)
        if self.approvals is not None:
            yield from self.approvals.files()

    def state(self) -> tuple[State, State]:
        """What the files look like now, and the signed statements; equal states mean that nothing was written."""
        found = () if self.findings is None else (("findings", self.findings.stamp, 0, 0),)
        return (*state_of(self.files()), *found), state_of(self.approvals.statements() if self.approvals is not None else ())


def policy_texts(path: Path | None) -> list[tuple[str, str]]:
    """(label, text) of each policy file, the label without its folder. Raises `InputError` naming a file that is missing or not UTF-8."""
    if path is None:
        return [("built-in", EMPTY_POLICY)]
    files = sorted(path.glob("*.y*ml")) if path.is_dir() else [path]
    if not files:
        raise InputError([Problem(str(path), "", "the folder holds no .yaml file")])
    problems, texts = [], []
    for file in files:
        try:
            # Not `read_text`: what is signed is every byte, line ends included.
            texts.append((_label(file, path), file.read_bytes().decode("utf-8")))
        except OSError as error:
            problems.append(Problem(str(file), "", error.strerror or "cannot be read"))
        except UnicodeDecodeError as error:
            problems.append(Problem(str(file), f"byte {error.start}", "not UTF-8"))
    if problems:
        raise InputError(problems)
    return texts


def _label(file: Path, path: Path) -> str:
    """How errors and the archive name a policy file: wherever the folder lies, the same policy has the same digest."""
    return file.name if file == path else f"{path.name}/{file.name}"


def _as_it_lies_there(name: str, row: ListSettings, _previous: ScreeningList | None) -> ScreeningList:
    return load_list(name, row)


def _reviewed(load_one: LoadList, reviewed: Reviewed, name: str, row: ListSettings, previous: ScreeningList | None) -> ScreeningList:
    return load_one(name, row, previous).under(reviewed)


def load_epoch(
    policy_path: Path | None,
    catalogue: Sequence[str],
    lists: Mapping[str, ListSettings],
    number: int = 0,
    *,
    previous: Epoch | None = None,
    load_one: LoadList = _as_it_lies_there,
    groups: Collection[str] | None = None,
) -> Epoch:
    """Everything that judges, from files. Raises `InputError` with every problem of every file at once.

    `load_one` gives a list, perhaps that of `previous` again.
    """
    problems: list[Problem] = []
    remarks: list[Problem] = []

    def collected(load: Callable[[], T], otherwise: T) -> T:
        try:
            return load()
        except InputError as error:
            problems.extend(error.problems)
            remarks.extend(error.remarks)
            return otherwise

    empty = [("built-in", EMPTY_POLICY)]
    texts = collected(lambda: policy_texts(policy_path), empty)
    screened: dict[str, ScreeningList] = {}
    for name, row in lists.items():
        before = previous.lists.get(name) if previous else None
        # A rule that names a list which cannot be read is no fault of the policy: an empty one stands in until all is told.
        screened[name] = collected(partial(load_one, name, row, before), ScreeningList(name, "", (), row.meaning, row.direction))
    publishers = collected(lambda: load_catalogue(catalogue), Catalogue([]))
    lineage = collected(load_lineage, Lineage([]))
    policy = collected(lambda: compile_policy(texts, publishers, lineage, screened, groups=groups, run=not problems), None)
    if problems or policy is None:
        raise InputError(problems, remarks)
    return Epoch(number=number, policy=policy, catalogue=publishers, lineage=lineage, lists=screened)


Changed = Callable[[Epoch], Awaitable[None]]
Failed = Callable[[InputError], Awaitable[None]]


class Rulebook:
    """The current epoch, and the watch that replaces it. `lists` is how the lists stood at the last look."""

    def __init__(self, sources: RuleSources, now: Callable[[], datetime]) -> None:
        self._sources, self._now = sources, now
        self._state: State
        self._stated: State | None
        self._state, self._stated = sources.state()
        self._problems: tuple[Problem, ...] = ()
        self._held: tuple[Problem, ...] = ()
        self._base = self._newer = self._first()  # what the files say alone: in force, and as last read
        self._epoch = self._amended(self._base)
        self._next: Epoch | None = None  # loaded, and waiting for `changed` to succeed
        self._begun: ContextVar[Epoch | None] = ContextVar("epoch of this request", default=None)
        self._watching: Looking | None = None
        self.lists: tuple[Condition, ...] = self._conditions()
        self.pack: PackCondition | None = self._pack()
        self.beside: tuple[Broken, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What keeps newer files from being in force, those of what is watched `beside` the rules included."""
        beside = self.beside if self._sources.approvals is None else (self._sources.approvals, *self.beside)
        kept_out = (Problem(f"lists.{one.name}", "", text) for one in self.lists if one.state == "held" for text in one.problems)
        return (*self._problems, *self._held, *kept_out, *(problem for one in beside for problem in one.problems))

    @property
    def waiting(self) -> bool:
        """Whether a changed policy lies there without the signatures that it needs (`policy.activation: signed`)."""
        return self._sources.approvals is not None and self._sources.approvals.waiting

    @property
    def approvals(self) -> Approvals | None:
        """Where signatures come from."""
        return self._sources.approvals

    @property
    def findings(self) -> FindingBook | None:
        """Where findings of reviewers come from."""
        return self._sources.findings

    @property
    def current(self) -> Epoch:
        """The rules in force now."""
        return self._epoch

    @property
    def judging(self) -> Epoch:
        """The rules under which this request began, from its `begin` on; elsewhere those in force now."""
        return self._begun.get() or self._epoch

    def begin(self) -> None:
        """A request begins, in a context of its own or one after another in the same: it keeps to the rules in force now."""
        self._begun.set(self._epoch)

    def watch(self, changed: Changed, failed: Failed) -> None:
        """Start looking for changes."""
        self._watching = Looking(partial(self.refresh, changed, failed))

    async def close(self) -> None:
        """Stop looking."""
        if self._watching is not None:
            await self._watching.close()

    async def refresh(self, changed: Changed, failed: Failed) -> None:
        """Look once; load if anything was written. A broken file leaves the rules as they are.

        `changed` is awaited before the new rules judge anything; while it raises `OSError` or one of our own errors (what
        decisions will cite cannot be archived) they wait, and every further look tries again.
        """
        await self.look_at_lists()
        if self._sources.findings is not None:
            await self._sources.findings.look()
        state, stated = await asyncio.to_thread(self._sources.state)
        if state != self._state:
            # Keys may have been enrolled or revoked: every statement is weighed anew.
            self._state, self._stated, self._next, self._newer = state, None, None, self._base
            try:
                self._newer, self._problems = await asyncio.to_thread(self._read, self._sources.policy, self._epoch), ()
            except InputError as error:
                self._problems = error.problems
                await failed(error)
        if stated != self._stated:
            # Also while the files are broken: an emergency does not wait for them.
            self._stated = stated
            before = self._sources.approvals.problems if self._sources.approvals is not None else ()
            following = await asyncio.to_thread(self._amended, self._newer)
            same = self._newer is self._base and following.policy.digest == self._epoch.policy.digest
            self._next = None if same else following
            if self._sources.approvals is not None and (new := self._sources.approvals.problems) not in ((), before):
                await failed(InputError(list(new)))
        if self._next is not None:
            await self._bring(self._next, changed, failed)
        if self._sources.approvals is not None:
            await self._sources.approvals.settle(self._epoch.policy)

    async def look_at_lists(self) -> None:
        """See how the lists stand now: what is kept out is among `problems` from here on."""
        self.lists = await asyncio.to_thread(self._conditions)
        self.pack = await asyncio.to_thread(self._pack)

    async def _bring(self, following: Epoch, changed: Changed, failed: Failed) -> None:
        """Put `following` in force, unless it cannot be archived yet."""
        fresh = replace(following, number=self._epoch.number + 1)
        try:
            await changed(fresh)
        except (MirrorError, OSError) as error:
            problem = Problem("rules", "", f"not in force yet, because they cannot be archived: {error}")
            if self._held != (problem,):
                self._held = (problem,)
                await failed(InputError([problem]))
            return
        if self._sources.approvals is not None:
            await self._sources.approvals.settle(fresh.policy)  # who approved it is on the record before it judges
        self._epoch, self._base, self._next, self._held = fresh, self._newer, None, ()

    def _read(self, policy: Path | None, previous: Epoch | None) -> Epoch:
        """The rules as the files have them. Raises `InputError`, also where signatures are missing that they need."""
        sources = self._sources
        load_one = _as_it_lies_there if sources.editions is None else partial(in_force, sources.editions)
        if sources.findings is not None and sources.findings.reviewed:
            load_one = partial(_reviewed, load_one, sources.findings.reviewed)
        found = load_epoch(policy, sources.catalogue, sources.lists, 1, previous=previous, load_one=load_one, groups=sources.groups)
        if sources.approvals is not None and policy is sources.policy:
            sources.approvals.demand(found.policy)
        return found

    def _first(self) -> Epoch:
        """The rules to start with; where a policy was changed and waits for signatures, the one that was activated last."""
        try:
            return self._read(self._sources.policy, None)
        except InputError as error:
            kept = self._sources.approvals.last_good() if self._sources.approvals is not None else None
            if kept is None:
                raise
            self._problems = error.problems
            return self._read(kept, None)

    def _amended(self, base: Epoch) -> Epoch:
        """`base` with what was signed beside its files."""
        approvals = self._sources.approvals
        return base if approvals is None else replace(base, policy=approvals.amended(base.policy, base.catalogue, base.lineage, base.lists))

    def _pack(self) -> PackCondition | None:
        return None if self._sources.pack is None else self._sources.pack(self._now())

    def _conditions(self) -> tuple[Condition, ...]:
        sources = self._sources
        if sources.editions is None:
            return ()
        return tuple(condition(name, row, sources.editions, self._now()) for name, row in sources.lists.items())
