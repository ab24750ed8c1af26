"""Answers that are under way, judged again when the rules change under them (DESIGN 6, "running transfers").

A large download may run for hours, and a rule that comes into force meanwhile - an emergency deny above all - must not
wait for its end. Whatever hands out bytes for longer than a moment does so within a `Running`. Twice a second those are
looked at that were judged by other rules than the ones in force, or past the moment until which their decision held.
Whoever is refused now is ended: the refusal goes on the record first, then the sending stops wherever it stands - also
before a reader that takes nothing - and last an `ended` event says how much had left. To come back for the rest is a
request like any other, which the same rules refuse.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import Context
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import structlog

from mirror.core.decision import Effect, EventKind
from mirror.core.errors import LedgerDown, MirrorError, Pending, Refused
from mirror.policy.derive import derive
from mirror.policy.evaluate import evaluate
from mirror.policy.reach import reaching

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from mirror.core.decision import Basis, Decision, Verdict
    from mirror.core.facts import Facts
    from mirror.core.ports import Clock, Hub
    from mirror.policy.epoch import Epoch
    from mirror.proxy.recorder import Recorder

_LOG = structlog.get_logger("mirror.proxy")
#: Seconds between two looks while anything is under way, ...
LOOK: Final = 0.5
#: ... for which facts that new rules want may be sought before those at hand must do, ...
FACTS: Final = 1.5
#: ... which the record may take before an answer is ended without it, ...
RECORD: Final = 1.5
#: ... and which an answer may take to let go once it is told, before it is told again. Together less than the five seconds
#: that are promised.
LET_GO: Final = 1.0
#: How often it is told at most: a cancellation can be lost where it meets the end of a wait (asyncio.wait_for before 3.12).
TELL: Final = 3


class CutShort(Exception):
    """Raised by `Running` where its answer must end now. `decision` is the refusal; None where none could be recorded."""

    def __init__(self, decision: Decision | None) -> None:
        super().__init__("the rules have changed")
        self.decision = decision

    def answer(self) -> MirrorError:
        """What to say to a client to whom nothing has been said yet."""
        return Pending("the rules have just changed; ask again", 1.0) if self.decision is None else Refused(self.decision)


class Running:
    """One answer while its body is being sent: a context manager around the sending.

    Whoever sends keeps `sent`, the bytes of the body that have left, and sets `size` where the whole is known. When the
    answer must end, the sender is interrupted wherever it waits, and the block raises `CutShort`.
    """

    __slots__ = ("_before", "_cut", "_over", "_task", "_told", "_underway", "basis", "looked_at", "sent", "size")

    def __init__(self, underway: Underway, basis: Basis) -> None:
        self.basis, self._underway = basis, underway
        self.sent, self.looked_at = 0, False
        self.size: int | None = None
        self._task: asyncio.Task[object] | None = None
        self._cut: CutShort | None = None
        self._over: asyncio.Event | None = None
        self._before = self._told = 0

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._before = self._task.cancelling() if self._task is not None else 0
        self._underway.enter(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._underway.leave(self)
        task, self._task = self._task, None
        if self._over is not None:
            self._over.set()
        if self._cut is None or task is None:
            return
        while self._told:
            self._told -= 1
            task.uncancel()
        # As asyncio.timeout does it: a cancellation that somebody else asked for as well stays one.
        if task.cancelling() <= self._before and kind is asyncio.CancelledError:
            raise self._cut from error

    async def cut(self, decision: Decision | None) -> bool:
        """End it, and wait until its sender has let go; whether there was anything left to end."""
        if self._task is None:
            return False
        self._cut, self._over = CutShort(decision), asyncio.Event()
        for _ in range(TELL):
            self._told += 1
            self._task.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(LET_GO):
                    await self._over.wait()
            if self._task is None:
                return True
        _LOG.error("not_ended_in_time", request=self.basis.info.id)
        return True


@runtime_checkable
class Attended(Protocol):
    """A body whose sending is judged again while it runs; `running` is set by whoever gives it out."""

    running: Running | None


class Underway:
    """The answers that this process is giving. `epoch` gives the rules in force, `hubs` are by instance name."""

    def __init__(self, epoch: Callable[[], Epoch], hubs: Mapping[str, Hub], recorder: Recorder, clock: Clock) -> None:
        self._epoch, self._hubs, self._recorder, self._clock = epoch, hubs, recorder, clock
        self._running: set[Running] = set()  # each exactly as long as its block
        self._timer: asyncio.TimerHandle | None = None
        self._judging: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def enter(self, running: Running) -> None:
        """Its sending begins."""
        self._running.add(running)
        if self._timer is None:
            self._arm()

    def leave(self, running: Running) -> None:
        """Its sending is over, however."""
        self._running.discard(running)

    def _arm(self) -> None:
        # In a context of its own: in that of a request the rules in force would be those under which it began.
        self._timer = asyncio.get_running_loop().call_later(LOOK, self._look, context=Context())

    def _look(self) -> None:
        self._timer = None
        number, now = self._epoch().number, self._clock.now()
        for running in tuple(self._running):
            until = running.basis.until
            if not running.looked_at and (running.basis.epoch != number or (until is not None and until <= now)):
                running.looked_at = True
                task = asyncio.get_running_loop().create_task(self._again(running))
                self._judging.add(task)
                task.add_done_callback(self._judging.discard)
        if self._running:
            self._arm()

    async def _again(self, running: Running) -> None:
        """Judge one answer by the rules in force; end it where they refuse it."""
        try:
            epoch, basis = self._epoch(), running.basis
            needs = epoch.policy.needs_by_ecosystem[basis.artifact.project.ecosystem]
            found = await self._facts(basis, needs)
            facts = derive(found, basis.artifact, epoch.catalogue, epoch.lineage)
            now = self._clock.now()
            verdict = evaluate(epoch.policy, basis.artifact, facts, basis.actor, now)
            if not verdict.effect.serves:
                await self._end(running, await self._refused(basis, facts, verdict, epoch, now), "")
            elif basis.whole and (rule := reaching(epoch.policy, basis.artifact, facts, basis.actor, now)) is not None:
                await self._end(running, None, rule.id)
            else:
                running.basis = replace(basis, facts=found, needs=needs | basis.needs, epoch=epoch.number, until=verdict.valid_until)
        finally:
            running.looked_at = False

    async def _facts(self, basis: Basis, needs: frozenset[str]) -> Facts:
        """Those at hand, unless the rules in force read others: then the hub's, if it gives them in time."""
        if needs <= basis.needs:
            return basis.facts
        try:
            async with asyncio.timeout(FACTS):
                return await self._hubs[basis.artifact.project.hub].describe(basis.artifact, basis.actor.credential, needs)
        except (MirrorError, TimeoutError):
            return basis.facts  # what is unknown is ruled on (`on_unknown`)

    async def _refused(self, basis: Basis, facts: Facts, verdict: Verdict, epoch: Epoch, now: datetime) -> Decision | None:
        """The refusal, on the record before the client hears of it (P6). None where nothing can be recorded: it ends all the same."""
        kind = EventKind.REFUSED if verdict.effect is Effect.DENY else EventKind.HELD
        try:
            async with asyncio.timeout(RECORD):
                recorded = await self._recorder.decision(kind, basis.actor, basis.artifact, facts, verdict, epoch, basis.info, at=now)
                await recorded.ticket.durable()
        except (LedgerDown, TimeoutError) as error:
            _LOG.error("refusal_not_recorded", request=basis.info.id, fault=str(error) or "too late")
            return None
        return recorded.decision

    async def _end(self, running: Running, decision: Decision | None, rule: str) -> None:
        if not await running.cut(decision):
            return
        basis = running.basis
        detail: dict[str, object] = {"artifact": str(basis.artifact), "sent": running.sent}
        detail |= {"of": running.size} if running.size is not None else {}
        detail |= {"permitted": basis.decision} if basis.decision else {}
        detail |= {"decision": decision.id} if decision is not None else {}
        detail |= {"rule": rule} if rule else {}
        _LOG.warning("ended", **{**detail, "request": basis.info.id})
        try:
            await self._recorder.note(EventKind.ENDED, basis.actor, basis.info, basis.info.id, detail)
        except LedgerDown as error:
            _LOG.error("end_not_recorded", request=basis.info.id, fault=str(error))
