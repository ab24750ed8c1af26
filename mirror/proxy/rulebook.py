"""The rules in force: loaded whole, re-read on change without a restart, never replaced by something broken (P9, P10)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeVar

from mirror.core.errors import InputError, MirrorError, Problem
from mirror.lists.loading import BUILTIN, load_catalogue, load_lineage, load_list
from mirror.policy.catalogue import Catalogue
from mirror.policy.compile import compile_policy
from mirror.policy.epoch import Epoch
from mirror.policy.lineage import Lineage
from mirror.policy.screening import ScreeningList

T = TypeVar("T")

#: How often the files are looked at. A look is a few `stat` calls.
LOOK_EVERY: Final = 1.0

#: What is in force where no policy file is configured: nothing is refused.
EMPTY_POLICY: Final = "version: 1\nrules: []\n"


class ListConfig(Protocol):
    """A row of `lists:` as configured (SURFACE 2); its other keys are read by its loader."""

    @property
    def source(self) -> Path:
        """The file."""


class Broken(Protocol):
    """Something else that is re-read on change, and may be broken."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the newest files; () while they are in force."""


@dataclass(frozen=True, slots=True)
class RuleSources:
    """Where rules come from. `policy` is a file, a folder of `*.yaml`, or None for the empty policy."""

    policy: Path | None
    catalogue: Sequence[str]
    lists: Mapping[str, ListConfig]
    groups: Collection[str] | None = None  # those that clients can be in, for warnings; None: not known

    def files(self) -> Iterator[Path]:
        """Every file whose change is a change of rules."""
        if self.policy is not None:
            yield from sorted(self.policy.glob("*.y*ml")) if self.policy.is_dir() else (self.policy,)
        for name in self.catalogue:
            if name != BUILTIN:
                path = Path(name)
                yield from sorted(path.glob("*.y*ml")) if path.is_dir() else (path,)
        yield from (Path(row.source) for row in self.lists.values())

    def state(self) -> tuple[tuple[str, int, int, int], ...]:
        """What the files look like now; equal states mean that nothing was written."""
        seen = []
        for path in self.files():
            try:
                found = path.stat()
            except OSError:
                seen.append((str(path), 0, 0, 0))
            else:
                seen.append((str(path), found.st_mtime_ns, found.st_size, found.st_ino))
        return tuple(seen)


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
            texts.append((_label(file, path), file.read_text(encoding="utf-8")))
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


def load_epoch(
    policy_path: Path | None,
    catalogue: Sequence[str],
    lists: Mapping[str, ListConfig],
    number: int = 0,
    *,
    previous: Epoch | None = None,
    now: datetime | None = None,
    groups: Collection[str] | None = None,
) -> Epoch:
    """Everything that judges, from files. Raises `InputError` with every problem of every file at once.

    The guards of lists compare with `previous` and `now`; without them shrinking and age are not looked at.
    """
    problems: list[Problem] = []

    def collected(load: Callable[[], T], otherwise: T) -> T:
        try:
            return load()
        except InputError as error:
            problems.extend(error.problems)
            return otherwise

    empty = [("built-in", EMPTY_POLICY)]
    texts = collected(lambda: policy_texts(policy_path), empty)
    screened: dict[str, ScreeningList] = {}
    for name, row in lists.items():
        before = previous.lists.get(name) if previous else None
        found = collected(partial(load_list, name, row.source, row, previous=before, now=now), None)
        if found is not None:
            screened[name] = found
    publishers = collected(lambda: load_catalogue(catalogue), Catalogue([]))
    lineage = collected(load_lineage, Lineage([]))
    policy = collected(lambda: compile_policy(texts, publishers, lineage, screened, groups=groups), None)
    if problems or policy is None:
        raise InputError(problems)
    return Epoch(number=number, policy=policy, catalogue=publishers, lineage=lineage, lists=screened)


Changed = Callable[[Epoch], Awaitable[None]]
Failed = Callable[[InputError], Awaitable[None]]


class Rulebook:
    """The current epoch, and the watch that replaces it."""

    def __init__(self, sources: RuleSources, now: Callable[[], datetime]) -> None:
        self._sources, self._now = sources, now
        self._state = sources.state()
        self._epoch = load_epoch(sources.policy, sources.catalogue, sources.lists, number=1, now=now(), groups=sources.groups)
        self._next: Epoch | None = None  # loaded, and waiting for `changed` to succeed
        self._begun: ContextVar[Epoch | None] = ContextVar("epoch of this request", default=None)
        self._watching: asyncio.Task[None] | None = None
        self._problems: tuple[Problem, ...] = ()
        self.beside: tuple[Broken, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What keeps newer files from being in force, those of what is watched `beside` the rules included."""
        return (*self._problems, *(problem for one in self.beside for problem in one.problems))

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
        self._watching = asyncio.create_task(self._watch(changed, failed))

    async def close(self) -> None:
        """Stop looking."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching

    async def refresh(self, changed: Changed, failed: Failed) -> None:
        """Look once; load if anything was written. A broken file leaves the rules as they are.

        `changed` is awaited before the new rules judge anything; while it raises `OSError` or one of our own errors (what
        decisions will cite cannot be archived) they wait, and every further look tries again.
        """
        state = await asyncio.to_thread(self._sources.state)
        if state != self._state:
            self._state, self._next = state, None
            try:
                self._next = await self._load()
            except InputError as error:
                self._problems = error.problems
                await failed(error)
                return
        if self._next is None:
            return
        fresh = replace(self._next, number=self._epoch.number + 1)
        try:
            await changed(fresh)
        except (MirrorError, OSError) as error:
            problem = Problem("rules", "", f"not in force yet, because they cannot be archived: {error}")
            if self._problems != (problem,):
                self._problems = (problem,)
                await failed(InputError([problem]))
            return
        self._epoch, self._next, self._problems = fresh, None, ()

    async def _load(self) -> Epoch:
        sources = self._sources
        return await asyncio.to_thread(
            load_epoch, sources.policy, sources.catalogue, sources.lists, previous=self._epoch, now=self._now(), groups=sources.groups
        )

    async def _watch(self, changed: Changed, failed: Failed) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.refresh(changed, failed)
