"""The keeper's side of its socket: one session a connection, over the one ledger, the flights and the way upstream."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from mirror.audit.ledger import SegmentLedger
from mirror.core.errors import IntegrityError, LedgerDown
from mirror.core.nouns import Blob, Digest
from mirror.core.ports import Answer, Ask, Source, Upstream
from mirror.keeper import door
from mirror.keeper.airfield import Airfield
from mirror.keeper.link import Answerer, Link, Reply
from mirror.keeper.nouns import decoded
from mirror.keeper.records import batch_from, places_json
from mirror.keeper.rules import Rules, Standing
from mirror.keeper.wire import VERSION, span_json
from mirror.proxy.flights import Flights

_LOG = structlog.get_logger("mirror.keeper")
#: How long a worker may take to write down what it is told before others wait for it no longer, in seconds.
PATIENCE: Final = 5.0

Fault = Callable[[IntegrityError, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Hello:
    """How a connection begins. `config` is a digest of the configuration that the process has read."""

    role: str  # worker, ledger or command
    slot: int
    config: str
    version: int = VERSION


class Session:
    """One connection and what hangs on it."""

    def __init__(self, keeper: Keeper, peer: socket.socket) -> None:
        self._keeper = keeper
        self.hello: Hello | None = None
        self.airfield = Airfield(keeper.flights)
        self.serving, self.pid = False, door.process(peer)
        self.link = Link(peer, {"hello": self._greet}, {}, self._lost)

    async def _greet(self, value: Any, _: bytes) -> Reply:
        hello = decoded(Hello, value)
        if hello.version != VERSION or hello.role not in ("worker", "ledger", "command"):
            raise LedgerDown(f"the keeper speaks version {VERSION} of its language")
        if hello.role == "command":
            self.link.calls = self._keeper.commands
            return Reply()
        if hello.config != self._keeper.config:
            raise LedgerDown("the configuration was changed after the keeper read it; start the mirror anew")
        if hello.role == "ledger":
            self.link.calls = {"append": self._keeper.append}
            return Reply()
        self.hello = hello
        self.link.calls = {
            **self.airfield.calls, "ask": self._keeper.ask, "level": self._keeper.level, "node": self._keeper.node,
            "measures": self._keeper.measures,
        }  # fmt: skip
        self.link.notices = {**self.airfield.notices, "rules": self._rules, "spent": self._spent, "serving": self._serving}
        return Reply({"doubts": doubts_json(self._keeper.flights)})

    def _rules(self, value: Any) -> None:
        self._keeper.rules.reported(self, decoded(Standing, value))

    def _serving(self, value: Any) -> None:
        self.serving = bool(value)
        if not self.serving:
            self._keeper.rules.left(self)
        self._keeper.changed.set()

    def _spent(self, value: Any) -> None:
        for other in self._keeper.workers():
            if other is not self:
                other.link.tell("spent", value)

    def _lost(self) -> None:
        self._keeper.forget(self)


class Keeper:
    """What workers share. `measure` gives this process's own metrics, `levelled` waits until the index has every record.

    `rules` are told of each change here (`Rules.reported(keeper, …)`) by whoever loads them.
    """

    def __init__(
        self, *, ledger: SegmentLedger, flights: Flights, upstreams: Mapping[str, Upstream], config: str,
        measure: Callable[[], Any], levelled: Callable[[], Awaitable[None]], fault: Fault, rules: Standing,
        commands: Mapping[str, Answerer] | None = None,
        standing: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:  # fmt: skip
        """`standing` is what health says of the ledger's checkpoints."""
        self.commands, self._checkpoints = commands or {}, standing
        self.flights, self.config, self.rules = flights, config, Rules(self, rules)
        self._ledger, self._upstreams, self._measure, self._levelled, self._fault = ledger, upstreams, measure, levelled, fault
        self._sessions: set[Session] = set()
        self._asked: dict[str, asyncio.Task[Answer]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._listening: socket.socket | None = None
        self._retired: list[Any] = []
        self._measured: dict[Session, Any] = {}
        self.changed = asyncio.Event()
        #: How scheduled syncs stand, for health.
        self.syncs: Callable[[], Sequence[Mapping[str, Any]]] = list
        flights.on_landed, flights.on_fault, flights.on_ended = self._landed, self._faulty, self._ended
        flights.on_removed = self._removed

    # --- connections ----------------------------------------------------------------------------------------------

    def open(self, folder: Path) -> None:
        """Listen at `folder/keeper.sock`. Raises `OSError`."""
        self._listening = door.opened(folder)
        door.accepting(self._listening, lambda peer: self._sessions.add(Session(self, peer)))

    def workers(self) -> list[Session]:
        """The workers that are connected."""
        return [one for one in self._sessions if one.hello is not None]

    def serving(self) -> int:
        """How many of them accept requests."""
        return sum(one.serving for one in self._sessions)

    def forget(self, session: Session) -> None:
        """A connection has ended; what it held is let go of. Flights go on."""
        self._sessions.discard(session)
        self.rules.left(session)
        if (last := self._measured.pop(session, None)) is not None:
            self._retired.append(last)
            del self._retired[:-100]
        task = asyncio.get_running_loop().create_task(self._let_go(session))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        self.changed.set()

    async def close(self) -> None:
        """End every connection; the workers' own end is the supervisor's. Safe to call twice."""
        listening, self._listening = self._listening, None
        if listening is not None:
            door.shut(listening)
        for session in list(self._sessions):
            session.link.close()
        if self._closing:
            await asyncio.wait(self._closing)

    async def _let_go(self, session: Session) -> None:
        await session.link.ended()
        await session.airfield.close()

    # --- what is asked --------------------------------------------------------------------------------------------

    async def append(self, value: Any, data: bytes) -> Reply:
        """A worker's batch: its places, once the group commit has all of it. Raises `LedgerDown`."""
        batch = batch_from(value, data)
        sealed = [await ticket.durable() for ticket in self._ledger.take(batch)] if batch else []
        return Reply({"places": places_json(sealed), "state": self._ledger.state, "why": self._ledger.why})

    async def ask(self, value: Any, _: bytes) -> Reply:
        """`[hub, ask]`: a small answer from upstream, asked once however many workers want it at the same time."""
        hub, raw = value
        ask = decoded(Ask, raw)
        if ask.method not in ("GET", "HEAD") or ask.body is not None:
            answer = await self._upstreams[hub].ask(ask)
        else:
            # The patience is each asker's own, and no part of what is asked.
            key = json.dumps([hub, {**raw, "patience": 0}], sort_keys=True)
            task = self._asked.get(key)
            if task is None:
                task = self._asked[key] = asyncio.ensure_future(self._upstreams[hub].ask(ask))
                task.add_done_callback(lambda _: self._asked.pop(key, None))
                task.add_done_callback(_retrieved)
            answer = await asyncio.shield(task)
        return Reply({"status": answer.status, "headers": answer.headers, "url": answer.url, "upstream": answer.upstream}, answer.body)

    async def level(self, value: Any, _: bytes) -> Reply:
        """Answered once the index holds every record that was durable when this was asked."""
        await asyncio.wait_for(self._levelled(), PATIENCE)
        return Reply()

    async def node(self, value: Any, _: bytes) -> Reply:
        """What health says of the whole node."""
        standing = self.rules.agreed
        return Reply({
            "ledger": {"state": self._ledger.state, "why": self._ledger.why},
            "checkpoints": self._checkpoints(),
            "sinks": self._ledger.delivered() if self._ledger.delivered is not None else [],
            "policy": {"digest": standing.policy, "epoch": standing.number, "problems": standing.problems},
            "workers": self.serving(),
            "sync": list(self.syncs()),
        })  # fmt: skip

    async def measures(self, value: Any, _: bytes) -> Reply:
        """The metrics of every process: `now`, and `retired`, the last that were seen of workers that have ended."""
        workers = self.workers()
        found = await self._tell_all(workers, "measure")
        for session, reply in zip(workers, found, strict=True):
            if reply is not None:
                self._measured[session] = reply.value
        now = [self._measure(), *(self._measured[one] for one in workers if one in self._measured)]
        return Reply({"now": now, "retired": self._retired})

    # --- what is told ---------------------------------------------------------------------------------------------

    async def _landed(self, key: str, blob: Blob, source: Source) -> None:
        """Whoever asked for it joins its names to the bytes, before the last of them leave."""
        wanting = [one for one in self.workers() if key in one.airfield.keys]
        await self._tell_all(wanting, "landed", [key, [blob.digest.hex, blob.size], source.came_from])

    async def _faulty(self, error: IntegrityError, hub: str) -> None:
        """No byte of the next fetch is given out before every worker knows where clients may hold wrong ones (P3)."""
        await self._tell_all(self.workers(), "doubt", doubts_json(self.flights), or_else=True)
        await self._fault(error, hub)

    async def imported(self) -> None:
        """A bundle was imported: no worker answers by what it remembers from before."""
        await self._tell_all(self.workers(), "imported", or_else=True)

    def _ended(self, key: str) -> None:
        for session in self.workers():
            if key in session.airfield.keys:
                session.airfield.keys.discard(key)
                session.link.tell("ended", key)

    def _removed(self, digest: Digest) -> None:
        for session in self.workers():
            session.link.tell("removed", digest.hex)

    async def _tell_all(self, sessions: Sequence[Session], word: str, value: Any = None, *, or_else: bool = False) -> list[Reply | None]:
        """Tell these workers, and wait until they have done what it takes, at most `PATIENCE`.

        With `or_else`, one that has not by then is cut off: it would answer wrongly without knowing this, and a worker that
        loses its connection stops and is started anew.
        """
        async def told(session: Session) -> Reply | None:
            try:
                return await asyncio.wait_for(session.link.call(word, value), PATIENCE)
            except (LedgerDown, TimeoutError) as error:
                if or_else and isinstance(error, TimeoutError):
                    _LOG.error("worker_cut_off", slot=session.hello.slot if session.hello else -1, unanswered=word)
                    session.link.close()
                return None

        return list(await asyncio.gather(*(told(session) for session in sessions)))


def doubts_json(flights: Flights) -> list[Any]:
    """`Flights.doubts`, as it crosses."""
    return [[name, left, [span_json(span) for span in spans]] for name, left, spans in flights.doubts()]


def _retrieved(task: asyncio.Task[Answer]) -> None:
    """Mark the outcome as seen: every waiter may have left before it came."""
    if not task.cancelled():
        task.exception()
