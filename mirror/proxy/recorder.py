"""What is said, on the record: decisions with their evidence, repeats as counts, refused writes and routes (P6)."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, TypeVar

import structlog

from mirror.audit.record import decision_json
from mirror.core.acquisitions import Acquisition
from mirror.core.actor import Actor
from mirror.core.decision import Decision, Effect, Event, EventKind, RequestInfo, Verdict
from mirror.core.errors import LedgerDown
from mirror.core.facts import Facts
from mirror.core.ids import ulid
from mirror.core.nouns import Artifact
from mirror.core.ports import Archive, Clock, Ledger, Ticket
from mirror.policy.derive import origin_known
from mirror.policy.epoch import Epoch
from mirror.policy.rules import Network, containing, scoped_networks

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

#: Within this time the same answer to the same actor is a repeat of one event, not a new one.
REPEAT_WINDOW: Final = timedelta(minutes=10)
#: How long repeats of a note are gathered before they are written as one; their answers wait for it, in seconds.
GATHER: Final = 0.1
_DECISIONS: Final = 20_000
_NOTES: Final = 5_000
#: Bytes of pages that wait to be cited. A larger one than half of that (an index's list of all projects) never is.
_PAGES: Final = 128 * 1024 * 1024
_ARCHIVED: Final = 100_000

_LOG = structlog.get_logger("mirror.proxy")


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision that is in the ledger, with the ticket of this answer."""

    decision: Decision
    ticket: Ticket


class Recorder:
    """Between judgement and ledger. Everything that it remembers is bounded and can be lost without harm."""

    def __init__(
        self, clock: Clock, entropy: Callable[[int], bytes], ledger: Ledger, archive: Archive, contact: str | None
    ) -> None:
        self._clock, self._entropy, self._ledger, self._archive = clock, entropy, ledger, archive
        self.contact = contact or ""
        self._recorded: OrderedDict[Hashable, Recorded] = OrderedDict()
        self._by_id: OrderedDict[str, Decision] = OrderedDict()
        self._pages: OrderedDict[str, bytes] = OrderedDict()
        self.held = 0  # bytes of `_pages`
        self._archived: OrderedDict[str, bool] = OrderedDict()  # False: looked for, and nowhere
        self._keeping: dict[str, asyncio.Task[bool]] = {}
        self._noted: OrderedDict[Hashable, datetime] = OrderedDict()
        self._gathering: dict[Hashable, tuple[list[int], asyncio.Task[None]]] = {}
        self._cited: tuple[Epoch, str, tuple[Network, ...]] | None = None
        #: Permitted answers about files so far, by (hub, what is known of their origin: `known`, `in_part`, `unknown`).
        self.origins: Counter[tuple[str, str]] = Counter()

    # --- decisions ------------------------------------------------------------------------------------------------

    async def decision(
        self,
        kind: EventKind,
        actor: Actor,
        artifact: Artifact,
        facts: Facts,
        verdict: Verdict,
        epoch: Epoch,
        info: RequestInfo,
        detail: tuple[tuple[str, object], ...] = (),
        status: int | None = None,
        *,
        at: datetime | None = None,
    ) -> Recorded:
        """Give the decision its place: a new event, or one more answer to the event that is there.

        `status` is that of the answer where it is not the verdict's own, `at` the time that was judged with. The evidence is archived before the event that
        cites it. Durable when the ticket says so. Raises `LedgerDown` also where the evidence cannot be archived.
        """
        await self._keep_pages(facts)
        now = self._clock.now()
        # A page that leaves something out is served.
        status = status or (200 if kind is EventKind.STEERED else verdict.status)
        # Our own commands apart: what a client is given must not count as a repeat of what they looked at (`mirror sync --used`).
        key = (kind, status, actor.name, actor.address, actor.groups, actor.country, artifact.identity, epoch.number, info.ours)
        while (known := self._same(key, verdict, now)) is not None:
            if known.ticket.is_durable or await _written(known.ticket):
                self._tally(known.decision)
                self._recorded.move_to_end(key)
                ticket = self._ledger.repeat(known.decision, must_be_durable=not verdict.effect.serves)
                return known if verdict.effect.serves else replace(known, ticket=ticket)
            if self._recorded.get(key) is known:
                del self._recorded[key]  # a count of what never came into the ledger would stand for nothing (P6)
        # From here to `_keep` nothing is awaited: equal answers that come up at the same time find this one.
        decision = self._decide(actor, artifact, facts, verdict, epoch, info, at or now, status)
        ticket = self._ledger.record(Event(kind=kind, at=now, actor=actor, decision=decision, detail=detail))
        recorded = Recorded(decision, ticket)
        _keep(self._recorded, key, recorded, _DECISIONS)
        _keep(self._by_id, decision.id, decision, _DECISIONS)
        self._tally(decision)
        return recorded

    def _tally(self, decision: Decision) -> None:
        if decision.verdict.effect.serves and decision.artifact.path:
            self.origins[decision.artifact.project.hub, origin_known(decision.facts)] += 1

    def again(self, decision: Decision) -> None:
        """One more answer to an allowed decision that is durable already. Raises `LedgerDown` when nothing can be recorded."""
        self._ledger.repeat(decision, must_be_durable=False)
        self._tally(decision)

    def _same(self, key: Hashable, verdict: Verdict, now: datetime) -> Recorded | None:
        """The event of which this answer would be a repeat."""
        known = self._recorded.get(key)
        if known is None or known.decision.verdict != verdict or abs(now - known.decision.at) >= REPEAT_WINDOW:
            return None
        return known

    def recent(self, identity: str) -> Mapping[str, object] | None:
        """A decision of this process as its public JSON (nobody's name in it), before the index has caught up."""
        decision = self._by_id.get(identity)
        return None if decision is None else decision_json(decision, public=True)

    def _decide(
        self,
        actor: Actor,
        artifact: Artifact,
        facts: Facts,
        verdict: Verdict,
        epoch: Epoch,
        info: RequestInfo,
        now: datetime,
        status: int,
    ) -> Decision:
        identity = ulid(now, self._entropy(10))
        sentence = verdict.sentence
        if verdict.effect > Effect.WARN:
            sentence += f" Decision {identity}; ask at {self.contact}." if self.contact else f" Decision {identity}."
        rulebook, networks = self._grounds(epoch)
        return Decision(
            id=identity,
            at=now,
            verdict=verdict,
            sentence=sentence,
            artifact=artifact,
            actor=replace(actor, networks=containing(networks, actor.address)) if networks else actor,
            facts=facts,
            policy=epoch.policy.digest,
            catalogue=epoch.catalogue.digest,
            lists=epoch.editions,
            request=info,
            status=status,
            contact=self.contact,
            rulebook=rulebook,
        )

    def _grounds(self, epoch: Epoch) -> tuple[str, tuple[Network, ...]]:
        """What every decision under an epoch cites; worked out once."""
        if self._cited is None or self._cited[0] is not epoch:
            self._cited = epoch, sha256(epoch.manifest).hexdigest(), scoped_networks(epoch.policy)
        return self._cited[1:]

    # --- evidence -------------------------------------------------------------------------------------------------

    def at_hand(self, digest: str, page: bytes) -> None:
        """A page that decisions may be about to cite. Kept in memory for a while, archived when one does."""
        if self._archived.get(digest) or len(page) > _PAGES // 2:
            return
        self._drop_page(digest)
        self._pages[digest] = page
        self.held += len(page)
        while self.held > _PAGES:
            self._drop_page(next(iter(self._pages)))

    def _drop_page(self, digest: str) -> None:
        self.held -= len(self._pages.pop(digest, b""))

    async def keep(self, kind: str, data: bytes) -> str:
        """Archive what decisions will cite; gives its SHA-256."""
        return await self._archive.keep(kind, data)

    def expect(self, digests: Iterable[str]) -> None:
        """Begin to archive pages that a decision is about to cite, while its facts are still being found out."""
        for digest in digests:
            self._begin_to_keep(digest)

    async def _keep_pages(self, facts: Facts) -> None:
        under_way = [task for digest in facts.evidence if (task := self._begin_to_keep(digest)) is not None]
        try:
            for task in under_way:
                await asyncio.shield(task)
        except OSError as error:
            raise LedgerDown(f"evidence cannot be archived: {error.strerror}") from error

    def _begin_to_keep(self, digest: str) -> asyncio.Task[bool] | None:
        """The task that archives a page, or None where it is in the archive; one for however many cite it."""
        page = self._pages.get(digest)
        if digest in self._archived and (page is None or self._archived[digest]):
            return None
        task = self._keeping.get(digest)
        if task is None:
            self._keeping[digest] = task = asyncio.create_task(self._keep_page(digest, page))
            task.add_done_callback(lambda done: (self._keeping.pop(digest, None), done.cancelled() or done.exception()))
        return task

    async def _keep_page(self, digest: str, page: bytes | None) -> bool:
        kept = True
        if page is not None:
            await self._archive.keep("page", page)
        elif not (kept := await self._archive.fetch(digest) is not None):
            _LOG.error("evidence_not_kept", digest=digest)  # once, or each warm request would look again
        _keep(self._archived, digest, kept, _ARCHIVED)
        self._drop_page(digest)
        return kept

    # --- what is not a decision -----------------------------------------------------------------------------------

    async def note(
        self, kind: EventKind, actor: Actor, info: RequestInfo, subject: str, detail: Mapping[str, object] | None = None
    ) -> None:
        """Record a refused write or route, or the hub's own no. Durable on return.

        The first is an event at once; what repeats it within the window is gathered for `GATHER` seconds at a time into
        one event with a count.
        """
        now = self._clock.now()
        key = (kind, actor.name, actor.address, subject)
        extra = (("request", info.id), ("method", info.method), ("path", info.path), *sorted((detail or {}).items()))
        event = Event(kind=kind, at=now, actor=actor, subject=subject, detail=extra)
        first = self._noted.get(key)
        if first is None or abs(now - first) >= REPEAT_WINDOW:
            _keep(self._noted, key, now, _NOTES)
            await self._ledger.record(event).durable()
            return
        if key not in self._gathering:
            count = [0]
            self._gathering[key] = (count, asyncio.create_task(self._gathered(key, event, count)))
        count, task = self._gathering[key]
        count[0] += 1
        await asyncio.shield(task)

    async def _gathered(self, key: Hashable, event: Event, count: Sequence[int]) -> None:
        await asyncio.sleep(GATHER)
        del self._gathering[key]
        await self._ledger.record(replace(event, count=count[0])).durable()

    def now(self) -> datetime:
        """The time that events are given."""
        return self._clock.now()

    async def acquired(self, acquisition: Acquisition) -> None:
        """Record how an artifact came. Durable on return."""
        subject, detail = str(acquisition.artifact), acquisition.detail()
        event = Event(EventKind.ACQUIRED, acquisition.at, Actor(name="mirror"), subject=subject, detail=detail)
        await self._ledger.record(event).durable()

    async def fault(self, what: str, declared: str, computed: str, hub: str) -> None:
        """Record that upstream's bytes were not what was declared. Durable on return."""
        detail = (("computed", computed), ("declared", declared), ("hub", hub))
        event = Event(EventKind.INTEGRITY, self._clock.now(), Actor(name="mirror"), subject=what, detail=detail)
        await self._ledger.record(event).durable()


async def _written(ticket: Ticket) -> bool:
    """Whether an event came into the ledger; waits until that is known."""
    try:
        await ticket.durable()
    except LedgerDown:
        return False
    return True


def _keep(memory: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > most:
        memory.popitem(last=False)
