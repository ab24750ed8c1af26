"""The ledger as the use-cases see it: events in call order, group commit in one thread, repeats counted together."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from mirror.audit.record import Prepared, Record, prepare
from mirror.audit.salts import Salts
from mirror.audit.tickets import LedgerTicket
from mirror.audit.writer import SEGMENT_SIZE, Writer
from mirror.core.actor import Actor, network_of
from mirror.core.decision import Decision, Event, EventKind, Sealed
from mirror.core.errors import LedgerDown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from mirror.audit.chain import Head
    from mirror.audit.segments import Torn
    from mirror.audit.tiles import TreeFiles
    from mirror.core.ports import Clock

#: Whom the ledger's own events name.
SELF: Final = Actor("mirror")
#: Answers to allowed decisions that may wait for the next flush, in number.
_MOST_PENDING: Final = 10_000
_ENDED: Final = "the ledger's thread has ended"
#: Events of one group commit, at most.
_BATCH: Final = 4096


@dataclass(slots=True)
class _Queued:
    """An event on its way, or (`prepared` None) a decision's repeats whose count may still grow."""

    ticket: LedgerTicket
    prepared: Prepared | None = None
    repeats: Decision | None = None
    count: int = 1


@dataclass(slots=True)
class _Waitlist:
    """What the next group commit takes. Guarded by the ledger's lock."""

    queue: list[_Queued] = field(default_factory=list)
    prompt: dict[str, _Queued] = field(default_factory=dict)
    lazy: dict[str, _Queued] = field(default_factory=dict)
    lazy_answers: int = 0


class Appender(Protocol):
    """Where batches go: `audit.writer.Writer`, or the process that has one. One thread calls `append` and `heal`."""

    state: str
    why: str

    @property
    def head(self) -> Head:
        """Number of durable records and the leaf of the last."""

    def append(self, batch: Sequence[Prepared]) -> Sequence[Record]:
        """Durable on return, and of each the place. Raises `LedgerDown`, and then none of them counts as written."""

    def heal(self) -> bool:
        """Whether appending may go on."""

    def close(self) -> None:
        """Let go."""


class GroupLedger:
    """core.ports.Ledger over an appender: events in call order, in batches, by a thread of its own.

    `flush_every` is in seconds: how long repeats of allowed decisions may stay uncounted on disk. `on_durable` is called
    in the loop after each group commit with the number of durable records (`Feed.advance`).
    """

    def __init__(
        self, writer: Appender, clock: Clock, *, flush_every: float, on_durable: Callable[[int], None] | None = None
    ) -> None:
        self._clock, self._flush_every, self._on_durable = clock, flush_every, on_durable
        self._writer = writer
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._waiting = _Waitlist()
        self._salts = Salts()
        self._under_way: Sequence[_Queued] = ()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._down_since = ""
        #: What health says of the ledger's checkpoints, where this process makes them.
        self.signed: Callable[[], Mapping[str, Any]] | None = None
        #: What health says of the ledger's sinks, where this process has them.
        self.delivered: Callable[[], Sequence[Mapping[str, Any]]] | None = None

    @property
    def state(self) -> str:
        """`ok`, `reserve` (the disk is full, the ledger goes on) or `down`."""
        return self._writer.state

    @property
    def why(self) -> str:
        """Why the state is not `ok`; empty otherwise."""
        return self._writer.why

    @property
    def head(self) -> Head:
        """Number of durable records and the leaf of the last."""
        return self._writer.head

    def begin(self) -> None:
        """Start the thread; the appender is open."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def record(self, event: Event) -> LedgerTicket:
        """Queue an event for the next group commit.

        Raises `LedgerDown`; `ValueError` or `TypeError` for an event that no record can hold.
        """
        self._check()
        queued = _Queued(LedgerTicket(self), prepare(event, self._salts.next()))
        with self._lock:
            self._waiting.queue.append(queued)
        self._rouse()
        return queued.ticket

    def repeat(self, decision: Decision, *, must_be_durable: bool) -> LedgerTicket:
        """One more answer to a decision that is already recorded. Raises `LedgerDown`.

        With `must_be_durable`, those of one group commit become one record; otherwise those of one flush do, unless
        somebody waits for the ticket. All answers that share a record share its ticket.
        """
        self._check()
        with self._lock:
            waiting = self._waiting
            group = waiting.prompt if must_be_durable else waiting.lazy
            queued = group.get(decision.id)
            if queued is not None:
                queued.count += 1
            else:
                queued = group[decision.id] = _Queued(LedgerTicket(self), repeats=decision)
                if must_be_durable:
                    waiting.queue.append(queued)
                else:
                    queued.ticket.lazy = decision
            if not must_be_durable:
                waiting.lazy_answers += 1
            prompt = must_be_durable or waiting.lazy_answers > _MOST_PENDING
        if prompt:
            self._rouse()
        return queued.ticket

    def hasten(self, decision: Decision) -> None:
        """Move a decision's unhurried repeats into the next group commit."""
        with self._lock:
            queued = self._waiting.lazy.pop(decision.id, None)
            if queued is None:
                return
            self._waiting.lazy_answers -= queued.count
            self._waiting.queue.append(queued)
        self._rouse()

    def flush(self) -> None:
        """Move every unhurried repeat into the next group commit: before a stop that may yet be cut short."""
        with self._lock:
            self._take_lazy()
        self._rouse()

    async def close(self) -> None:
        """Flush everything. Safe to call twice."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        with self._lock:
            self._take_lazy()
        self._last_words()
        self._closing = True
        self._wake.set()
        await asyncio.to_thread(thread.join)
        try:
            await self._all_written()
        finally:
            self._writer.close()

    async def _all_written(self) -> None:
        """Nothing will be recorded any more, and the appender is still ours."""

    def _last_words(self) -> None:
        """What is recorded last of all, if anything."""

    def _outage_over(self, since: str) -> None:
        """The appender works again; in the writing thread."""

    def _check(self) -> None:
        if self._closing or self._writer.state == "down":
            raise LedgerDown(self._writer.why or "the ledger is closed")

    def _rouse(self) -> None:
        if not self._wake.is_set():
            self._wake.set()

    # --- the writing thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._serve()
        finally:
            # Also when the thread dies of something unforeseen: whoever waits must hear that nothing will be written, and
            # health must say so.
            if not self._closing:
                self._writer.state, self._writer.why = "down", _ENDED
            self._closing = True
            self._abandon([*self._under_way, *self._take(flush=True)], _ENDED)

    def _serve(self) -> None:
        flush_at = time.monotonic() + self._flush_every
        while True:
            patience = flush_at - time.monotonic()
            if self._writer.state != "ok":
                patience = min(patience, 1.0)
            self._wake.wait(max(0.0, patience))
            self._wake.clear()
            closing = self._closing
            self._mend()
            due = time.monotonic() >= flush_at
            if due:
                flush_at = time.monotonic() + self._flush_every
            batch = self._take(flush=due or closing)
            for start in range(0, len(batch), _BATCH):
                self._commit(batch[start : start + _BATCH])
            if closing and not batch:
                return
            if closing:
                self._wake.set()

    def _mend(self) -> None:
        """Try to leave `reserve` and `down`; an outage that ends is itself recorded."""
        if self._writer.state == "ok":
            return
        was_down = self._writer.state == "down"
        if was_down and not self._down_since:
            self._down_since = self._clock.now().isoformat()
        if self._writer.heal() and was_down:
            since, self._down_since = self._down_since, ""
            self._outage_over(since)

    def _take(self, *, flush: bool) -> list[_Queued]:
        with self._lock:
            if flush or self._waiting.lazy_answers > _MOST_PENDING:
                self._take_lazy()
            batch, self._waiting.queue = self._waiting.queue, []
            self._waiting.prompt.clear()
        return batch

    def _take_lazy(self) -> None:
        self._waiting.queue.extend(self._waiting.lazy.values())
        self._waiting.lazy.clear()
        self._waiting.lazy_answers = 0

    def _commit(self, batch: Sequence[_Queued]) -> None:
        self._under_way = batch
        prepared = [self._prepared(queued) for queued in batch]
        try:
            records = self._writer.append(prepared)
        except LedgerDown as error:
            self._abandon(batch, str(error))
        else:
            for queued, made, record in zip(batch, prepared, records, strict=True):
                queued.ticket.settle(_sealed(made, record), None)
            self._tell([queued.ticket for queued in batch])
        self._under_way = ()

    def _abandon(self, batch: Sequence[_Queued], why: str) -> None:
        for queued in batch:
            queued.ticket.settle(None, why)
        self._tell([queued.ticket for queued in batch])

    def _prepared(self, queued: _Queued) -> Prepared:
        if queued.prepared is not None:
            return queued.prepared
        decision, at = queued.repeats, self._clock.now()
        if decision is None:
            raise ValueError("neither an event nor repeats")
        actor = decision.actor if not decision.effect.serves else replace(decision.actor, address=network_of(decision.actor.address))
        event = Event(EventKind.REPEATED, at, actor, subject=decision.id, count=queued.count)
        return prepare(event, self._salts.next())

    def _tell(self, tickets: Sequence[LedgerTicket]) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        try:
            loop.call_soon_threadsafe(self._told, tickets, self._writer.head.count)
        except RuntimeError:  # the loop was closed between the two lines: nobody is left to wait
            return

    def _told(self, tickets: Sequence[LedgerTicket], count: int) -> None:
        for ticket in tickets:
            ticket.wake()
        if self._on_durable is not None:
            self._on_durable(count)


class SegmentLedger(GroupLedger):
    """The ledger over a folder of segments, which this process owns from `start` to `close`. `reserve` is in bytes."""

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        *,
        reserve: int = 1 << 30,
        segment_size: int = SEGMENT_SIZE,
        flush_every: float = 60.0,
        on_durable: Callable[[int], None] | None = None,
    ) -> None:
        self.directory = directory
        self._segments = Writer(directory, reserve=reserve, segment_size=segment_size)
        self._started = False
        #: Awaited at the end, when the last record is durable and nobody else can write yet.
        self.at_end: Callable[[], Awaitable[None]] | None = None
        super().__init__(self._segments, clock, flush_every=flush_every, on_durable=on_durable)

    @property
    def tree(self) -> TreeFiles:
        """The Merkle tree over the durable records."""
        return self._segments.tree

    def turn(self) -> None:
        """Let the next record begin a new segment: the files of those before are not written any more."""
        self._segments.turn = True

    async def start(self, detail: Mapping[str, object] | None = None, admit: Callable[[], None] | None = None) -> Torn | None:
        """Open, recover, and write a `started` event with `detail` (versions, digests). Raises as `open`, and `LedgerDown`.

        An incomplete last write of a process that died is cut, kept, recorded as `recovered` and returned.
        """
        torn = await self.open(admit)
        self._started = True
        await self.record_own(EventKind.STARTED, detail or {}).durable()
        return torn

    async def open(self, admit: Callable[[], None] | None = None) -> Torn | None:
        """As `start`, for a command that is no run of the mirror: nothing is said of its beginning and end.

        `admit` is called, in a thread, before anything is recorded, and may refuse by raising `InputError`.
        """
        torn = await asyncio.to_thread(self._segments.open)
        try:
            if admit is not None:
                await asyncio.to_thread(admit)
        except BaseException:
            self._segments.close()
            raise
        self.begin()
        if torn is not None:
            found = {"file": torn.file, "sequence": torn.sequence, "bytes": torn.size, "sha256": torn.digest}
            self.record_own(EventKind.RECOVERED, found)
        return torn

    def take(self, batch: Sequence[Prepared]) -> list[LedgerTicket]:
        """Queue what another process of this node has prepared, next to one another. Raises `LedgerDown`.

        What its tickets promise is the place; the events stay where they were made.
        """
        self._check()
        queued = [_Queued(LedgerTicket(self), prepared) for prepared in batch]
        with self._lock:
            self._waiting.queue.extend(queued)
        self._rouse()
        return [one.ticket for one in queued]

    def record_own(self, kind: EventKind, detail: Mapping[str, object]) -> LedgerTicket:
        """Queue an event about the ledger itself. Raises `LedgerDown`."""
        return self.record(Event(kind, self._clock.now(), SELF, subject="ledger", detail=tuple(detail.items())))

    def _last_words(self) -> None:
        if self.state != "down" and self._started:
            self.record_own(EventKind.STOPPED, {})

    async def _all_written(self) -> None:
        if self.at_end is not None:
            await self.at_end()

    def _outage_over(self, since: str) -> None:
        detail = (("outage", "nothing could be recorded"), ("since", since))
        event = Event(EventKind.RECOVERED, self._clock.now(), SELF, subject="ledger", detail=detail)
        self._commit([_Queued(LedgerTicket(self), prepare(event, self._salts.next()))])


def _sealed(prepared: Prepared, record: Record) -> Sealed:
    return Sealed(prepared.event, record.sequence, record.previous, record.leaf)
