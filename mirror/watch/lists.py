"""Official lists, kept fresh: files when they change, URLs on a schedule or on demand, through the mirror's own way out.

What comes is read off the event loop, weighed against its guards and put in force in one step, or kept out with the reason;
an edition that was in force stays in force whatever happens to its successor. Nobody's screening fails because a list's
server does.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal, Protocol

import structlog

from mirror.core.errors import InputError, MirrorError, Problem, UpstreamError
from mirror.core.ports import Upstream
from mirror.lists.editions import EditionStore, Kept
from mirror.lists.guards import read_guards, trips
from mirror.lists.material import Part, read_file
from mirror.lists.official import NONE_OFFLINE, ListSettings, digest_of, edition_of, fetched, files_of, is_url
from mirror.proxy.following import Looking, state_of
from mirror.watch.fetching import Fetched, fetch

_LOG = structlog.get_logger("mirror.lists")
#: After a failure the source is asked again this soon, then after twice as long, up to `every`.
_AGAIN: Final = timedelta(minutes=5)

Result = Literal["changed", "unchanged", "held", "unusable", "unreachable", "offline"]


class WatchedList(ListSettings, Protocol):
    """A row of `lists:` that may be fetched. `every` None: only on demand."""

    @property
    def every(self) -> timedelta | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a refresh came to. `problems` say why the source's edition is not in force; `edition` is the one that is ("" for none)."""

    name: str
    result: Result
    edition: str = ""
    entries: int = 0
    problems: tuple[str, ...] = ()

    @property
    def fine(self) -> bool:
        """Whether the newest edition that could be had is in force."""
        return self.result in ("changed", "unchanged")


Told = Callable[[Outcome], Awaitable[None]]


class ListWatch:
    """All configured lists of a node; one process of it refreshes, every process reads what is in force from the store."""

    def __init__(
        self, lists: Mapping[str, WatchedList], store: EditionStore, ways: Callable[[str], Upstream], now: Callable[[], datetime], *, offline: bool
    ) -> None:
        """`ways` makes the way out to a list's hosts; it is asked for only where something is fetched."""
        self._lists, self._store, self._ways, self._now, self._offline = lists, store, ways, now, offline
        self._looking: list[Looking] = []
        self._states: dict[str, object] = {}
        self._told: dict[str, tuple[str, ...]] = {}

    async def prepare(self) -> None:
        """Have an edition of every list in force: newer files are read, and what was never fetched is.

        Raises `InputError` with every list that has none in the end, and why.
        """
        problems: list[Problem] = []
        for name, row in self._lists.items():
            await asyncio.to_thread(self._verify, name, row)
            there = await asyncio.to_thread(self._store.current, name, row) is not None
            if fetched(row) and there:
                continue
            self._states[name] = await asyncio.to_thread(state_of, files_of(row))
            outcome = await self.refresh(name)
            _say(outcome)
            if not outcome.edition:
                problems += [Problem(f"lists.{name}", "", text) for text in outcome.problems]
        if problems:
            raise InputError(problems)

    def _verify(self, name: str, row: WatchedList) -> None:
        kept = self._store.current(name, row)
        if kept is not None:
            try:
                self._store.parts(name, kept)
            except InputError as error:
                _LOG.error("list_damaged", list=name, problems=[str(one) for one in error.problems])
                self._store.forget(name)

    def watch(self, told: Told) -> None:
        """Start looking. `told` hears of each change, once of each new reason why something is not in force, and of its end."""
        for name in self._lists:
            looking = Looking(lambda name=name: self._look(name, told))  # type: ignore[misc]
            self._looking.append(looking)

    async def close(self) -> None:
        """Stop looking."""
        while self._looking:
            await self._looking.pop().close()

    async def _look(self, name: str, told: Told) -> None:
        row = self._lists[name]
        if fetched(row):
            next_at = (await asyncio.to_thread(self._store.standing, name)).next_at
            if self._offline or row.every is None or (next_at is not None and self._now() < next_at):
                return
        else:
            state = await asyncio.to_thread(state_of, files_of(row))
            if state == self._states.get(name):
                return
            self._states[name] = state
        try:
            outcome = await self.refresh(name)
        except (MirrorError, OSError) as error:
            self._states.pop(name, None)
            outcome = Outcome(name, "unusable", problems=(f"cannot be kept: {error}",))
        _say(outcome)
        if outcome.result == "changed" or outcome.problems != self._told.get(name, ()):
            await told(outcome)
        self._told[name] = outcome.problems

    async def refresh(self, name: str, *, accept: bool = False) -> Outcome:
        """Look at the source of one list now, and put in force what it has.

        `accept` lets an edition in against its guards, never one that cannot be read. Raises `OSError` where nothing can be
        kept.
        """
        row = self._lists[name]
        if self._offline and fetched(row):
            kept = await asyncio.to_thread(self._store.current, name, row)
            said = "the network is offline (network: offline): nothing is fetched" if kept is not None else NONE_OFFLINE
            return _outcome(name, "offline", kept, [said])
        try:
            got = await self._gathered(name, row)
        except (UpstreamError, InputError) as error:
            text = str(error)
            return await asyncio.to_thread(self._missed, name, row, text)
        return await asyncio.to_thread(self._weigh, name, row, got, accept)

    async def receive(self, name: str, parts: Sequence[Part], seen_at: datetime) -> Outcome:
        """Weigh an edition that came another way, in a bundle: its source had nothing newer at `seen_at`. Raises `OSError`."""
        row = self._lists[name]
        standing = await asyncio.to_thread(self._store.standing, name)
        kept = await asyncio.to_thread(self._store.current, name, row)
        if kept is not None and standing.confirmed_at is not None and standing.confirmed_at >= seen_at:
            return _outcome(name, "unchanged", kept, ())
        return await asyncio.to_thread(self._weigh, name, row, [Fetched(part, None, seen_at) for part in parts], False)

    # --- having -----------------------------------------------------------------------------------------------------

    async def _gathered(self, name: str, row: WatchedList) -> list[Fetched]:
        """Every file of the list: fetched, read, or (not modified) as it is in force."""
        kept = await asyncio.to_thread(self._store.current, name, row)
        standing = await asyncio.to_thread(self._store.standing, name)
        have = dict(zip((one.sha256 for one in kept.files), self._store.parts(name, kept), strict=True)) if kept else {}
        known = {one.url: one for one in standing.validators if one.sha256 in have}
        way = self._ways(name) if fetched(row) else None
        try:
            got = []
            for source in row.source:
                if way is not None and is_url(source):
                    validator = known.get(source)
                    got.append(await fetch(way, source, validator, have[validator.sha256] if validator else None))
                else:
                    got.append(await asyncio.to_thread(_on_disk, source))
            return got
        finally:
            if way is not None:
                await way.close()

    # --- weighing ---------------------------------------------------------------------------------------------------

    def _missed(self, name: str, row: WatchedList, fault: str) -> Outcome:
        with self._store.locked(name):
            standing = self._store.standing(name)
            failures = standing.failures + 1
            wait = min(row.every, _AGAIN * 2 ** min(failures - 1, 12)) if row.every else None
            self._store.note(name, replace(standing, checked_at=self._now(), next_at=self._later(wait), fault=fault, failures=failures))
            return _outcome(name, "unreachable" if fetched(row) else "unusable", self._store.current(name, row), [fault])

    def _weigh(self, name: str, row: WatchedList, got: Sequence[Fetched], accept: bool) -> Outcome:
        now = self._now()
        with self._store.locked(name):
            before = self._store.current(name, row)
            seen = min((one.seen_at for one in got if one.seen_at is not None), default=now)
            parts = [one.part for one in got]
            result, kept, problems = self._judged(name, row, parts, before, now, accept)
            standing = self._store.standing(name)
            standing = replace(standing, checked_at=now, next_at=self._later(row.every if fetched(row) else None), fault="", failures=0)
            if problems:
                standing = replace(standing, problems=problems, validators=())
            else:
                here = {one.sha256 for one in kept.files} if kept else set()
                valid = tuple(one.validator for one in got if one.validator is not None and one.validator.sha256 in here)
                standing = replace(standing, problems=(), confirmed_at=seen, validators=valid)
            self._store.note(name, standing)
            return _outcome(name, result, kept, problems)

    def _judged(
        self, name: str, row: WatchedList, parts: list[Part], before: Kept | None, now: datetime, accept: bool
    ) -> tuple[Result, Kept | None, tuple[str, ...]]:
        if before is not None and before.digest == digest_of(parts):
            return "unchanged", before, ()
        try:
            edition = edition_of(name, row, parts)
            guards = read_guards(row.guards, name)
        except InputError as error:
            return "unusable", before, tuple(map(str, error.problems))
        tripped = trips(
            guards, edition.entries, edition.parsed.stated, parts[0].name,
            before=before.entries if before else None, before_stated=before.stated if before else None,
        )  # fmt: skip
        problems = tuple(map(str, tripped))
        if problems and not accept:
            return "held", before, problems
        if before is not None and edition.content == before.content:
            return "unchanged", before, ()
        return "changed", self._store.adopt(name, row, edition, now, accepted=bool(problems)), ()

    def _later(self, wait: timedelta | None) -> datetime | None:
        """When to look again: not all mirrors of the world at once, and one without a network never."""
        return None if wait is None or self._offline else self._now() + wait * random.uniform(0.9, 1.1)  # noqa: S311 - not a secret


def _say(outcome: Outcome) -> None:
    say = _LOG.info if outcome.fine else _LOG.warning
    say("list", list=outcome.name, result=outcome.result, edition=outcome.edition, entries=outcome.entries, problems=list(outcome.problems))


def _on_disk(source: str) -> Fetched:
    path = Path(source)
    part = read_file(path)
    with suppress(OSError):
        return Fetched(part, None, datetime.fromtimestamp(path.stat().st_mtime, UTC))
    return Fetched(part, None, None)


def _outcome(name: str, result: Result, kept: Kept | None, problems: Sequence[str]) -> Outcome:
    return Outcome(name, result, kept.edition if kept else "", kept.entries if kept else 0, tuple(problems))


__all__ = ["ListWatch", "Outcome", "Result", "Told", "WatchedList"]
