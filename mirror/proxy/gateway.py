"""The one way to a byte: documents, judgement, admission, and bodies that only an `Admission` opens (P1)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Protocol, runtime_checkable

from mirror.core.acquisitions import AcquisitionIndex
from mirror.core.actor import Actor, Credential
from mirror.core.decision import Admission, Basis, EventKind, Mode, RequestInfo, Verdict
from mirror.core.errors import IntegrityError, NotHere, Refused
from mirror.core.facts import Facts
from mirror.core.http import cache_status
from mirror.core.nouns import Artifact, Blob, Document, DocumentKey, Project, Span
from mirror.core.ports import Answer, Ask, Blobs, Body, Clock, EventIndex, Grant, GrantIndex, Hub, PlaceIndex, Source
from mirror.policy.derive import derive
from mirror.policy.epoch import Epoch
from mirror.policy.evaluate import evaluate
from mirror.policy.reach import reaching
from mirror.policy.rules import Rule
from mirror.proxy.acquired import MOST, Acquisitions
from mirror.proxy.documents import Documents
from mirror.proxy.flights import Transfers
from mirror.proxy.judged import Judged, closed, kind_of, or_closed
from mirror.proxy.recorder import Recorder
from mirror.proxy.shelf import Shelf
from mirror.proxy.substitutes import Substitutes
from mirror.proxy.timed import timed
from mirror.proxy.turned_away import TurnedAway
from mirror.proxy.underway import Attended, Running, Underway
from mirror.proxy.warm import Key, Warm, WarmAnswers

#: How many names of left-out files a `steered` event spells out.
_LISTED: Final = 100


@runtime_checkable
class Remembering(Protocol):
    """A hub that remembers what it made of pages."""

    def renew(self) -> None:
        """Forget it."""


class Gateway:
    """The use-cases. One a process; hubs are registered after construction because they need it themselves."""

    def __init__(
        self,
        *,
        clock: Clock,
        epoch: Callable[[], Epoch],
        recorder: Recorder,
        documents: Documents,
        flights: Transfers,
        shelf: Shelf,
        grants: GrantIndex,
        places: PlaceIndex,
        offline: bool,
    ) -> None:
        self.clock, self.recorder, self.grants, self.places, self.offline = clock, recorder, grants, places, offline
        self._epoch, self._documents, self._flights, self._shelf = epoch, documents, flights, shelf
        self._warm = WarmAnswers()
        self._hubs: dict[str, Hub] = {}
        self._underway = Underway(epoch, self._hubs, recorder, clock)
        self._landing: dict[str, dict[str, tuple[Artifact, Source, Facts, Credential | None]]] = {}
        self._issuer = object()
        self._behind: set[asyncio.Task[None]] = set()
        self.substitutes: Substitutes | None = None
        self.turned_away: TurnedAway | None = None  # what imports of bundles refused
        self.brought = 0  # how often something came into the index by another way than through here
        self.acquisitions: Acquisitions | None = None
        flights.on_landed = self._landed
        flights.on_fault = self._fault
        flights.on_ended = self._ended
        flights.on_removed = shelf.forget

    def offer_substitutes(self, index: EventIndex) -> Substitutes:
        """From now on a refusal names what `index` has on record as served and is permitted to the same client."""
        self.substitutes = Substitutes(index, self._hubs, self._shelf.held)
        return self.substitutes

    def keep_acquisitions(self, index: AcquisitionIndex, store: Blobs) -> Acquisitions:
        """From now on what comes from upstream for the first time is written down; `index` says whether it is."""

        async def read(artifact: Artifact, credential: Credential | None, facts: Facts) -> bytes:
            body = await self._sought(artifact, credential, facts)
            try:
                return b"".join([part async for part in body.read(Span(0, MOST))])
            finally:
                await body.close()

        self.acquisitions = Acquisitions(index, self.recorder, self._hubs, read, store.path)
        return self.acquisitions

    def register(self, hub: Hub) -> None:
        """Add a hub under its instance name."""
        self._hubs[hub.name] = hub

    @property
    def epoch(self) -> Epoch:
        """The policy, catalogue, lineage and lists in force now."""
        return self._epoch()

    def needs(self, ecosystem: str) -> frozenset[str]:
        """The facts that rules in force read of projects of one ecosystem."""
        return self._epoch().policy.needs_by_ecosystem[ecosystem]

    # --- documents ------------------------------------------------------------------------------------------------

    async def document(
        self,
        hub: str,
        key: DocumentKey,
        ask: Ask,
        *,
        max_age: timedelta | None,
        negative_age: timedelta = timedelta(seconds=10),
        shared: Callable[[Answer], bool],
    ) -> Document:
        """A mutable page; see `Documents.get`. Its bytes are at hand as evidence for the decisions that follow."""
        with timed("pages"):
            document = await self._documents.get(hub, key, ask, max_age=max_age, negative_age=negative_age, shared=shared)
        self.recorder.at_hand(document.digest.hex, document.body)
        return document

    async def last_known(self, key: DocumentKey) -> Document | None:
        """The page as last stored, however old."""
        return await self._documents.last_known(key)

    def held_off(self, hub: str) -> bool:
        """Whether `hub` did not answer a moment ago; see `Documents.held_off`."""
        return self._documents.held_off(hub)

    async def keep_document(self, document: Document) -> None:
        """Keep a page that was learnt by other means."""
        await self._documents.put(document)

    async def held(self, identities: Sequence[str]) -> frozenset[str]:
        """Those of these artifacts (`Artifact.identity`) that are in the store. Raises `IndexDown`."""
        return await self._shelf.held(identities)

    async def renew(self) -> None:
        """A bundle was imported: what is remembered of the index no longer counts."""
        self.brought += 1
        self._documents.renew()
        self._shelf.renew()
        self._warm = WarmAnswers()
        for hub in self._hubs.values():
            if isinstance(hub, Remembering):
                hub.renew()

    # --- judgement ------------------------------------------------------------------------------------------------

    async def describe(self, artifact: Artifact, needs: frozenset[str], credential: Credential | None = None) -> Facts:
        """What the artifact's hub says of it, by default to somebody without a credential; see `core.ports.Hub.describe`."""
        return await self._hubs[artifact.project.hub].describe(artifact, credential, needs)

    async def judge(self, actor: Actor, artifact: Artifact, facts: Facts) -> Verdict:
        """A verdict without an event: for pages that leave out or mark what is denied."""
        epoch = self._epoch()
        complete = derive(facts, artifact, epoch.catalogue, epoch.lineage)
        return evaluate(epoch.policy, artifact, complete, actor, self.clock.now())

    def refuses_unseen(self, actor: Actor, artifact: Artifact) -> bool:
        """Whether name and publisher are enough for a refusal, before anything is asked for: a rule that is sure of them, or no permission."""
        epoch = self._epoch()
        verdict = evaluate(epoch.policy, artifact, derive(Facts(), artifact, epoch.catalogue, epoch.lineage), actor, self.clock.now())
        sure = [hit for hit in verdict.rules if hit.mode is Mode.ENFORCE and not (hit.exception or hit.unknown or hit.effect.serves)]
        return bool(sure) or not (verdict.effect.serves or epoch.policy.permits_by_default)

    def reaching(self, actor: Actor, whole: Artifact, facts: Facts) -> Rule | None:
        """The rule that could refuse a part of a project although the whole is served; see `policy.reach`."""
        epoch = self._epoch()
        return reaching(epoch.policy, whole, derive(facts, whole, epoch.catalogue, epoch.lineage), actor, self.clock.now())

    async def admit(
        self,
        actor: Actor,
        artifact: Artifact,
        info: RequestInfo,
        *,
        facts: Facts | None = None,
        head: bool = False,
        refusal: int | None = None,
        detail: tuple[tuple[str, object], ...] = (),
    ) -> Admission:
        """Judge and record. Raises `Refused` once the refusal is durable; the hub's own errors pass through.

        `refusal` is the status of a refusal's answer where it is not the verdict's own. `detail` goes on the record of what
        is allowed.
        """
        return await self._recorded(await self._judged(actor, artifact, facts), info, refusal, detail)

    async def hand_out(self, actor: Actor, artifact: Artifact, info: RequestInfo, *, facts: Facts) -> tuple[Admission, Body]:
        """`admit` and `open` in one, raising as they do: what is permitted is sought while the decision is being recorded."""
        judged = await self._judged(actor, artifact, facts)
        serves = judged.verdict.effect.serves
        sought = asyncio.create_task(self._sought(artifact, actor.credential, judged.told)) if serves else None
        try:
            admission = await self._recorded(judged, info)
        except BaseException:
            if sought is not None:
                sought.add_done_callback(closed)
            raise
        return admission, await self.open(admission, sought)

    async def _judged(self, actor: Actor, artifact: Artifact, facts: Facts | None) -> Judged:
        epoch = self._epoch()
        needs = epoch.policy.needs_by_ecosystem[artifact.project.ecosystem]
        if facts is None:
            facts = await self._hubs[artifact.project.hub].describe(artifact, actor.credential, needs)
        told = facts
        with timed("judge"):
            facts, now = derive(told, artifact, epoch.catalogue, epoch.lineage), self.clock.now()
            verdict = evaluate(epoch.policy, artifact, facts, actor, now)
        if not verdict.effect.serves and self.substitutes is not None:
            instead = await self.substitutes.offer(epoch, actor, artifact, verdict, now)
            if instead is not None:
                facts = replace(facts, alternatives=instead)
                verdict = evaluate(epoch.policy, artifact, facts, actor, now)
        return Judged(actor, artifact, told, facts, needs, epoch, verdict, now)

    async def _recorded(
        self, judged: Judged, info: RequestInfo, refusal: int | None = None, detail: tuple[tuple[str, object], ...] = ()
    ) -> Admission:
        actor, artifact, verdict, epoch = judged.actor, judged.artifact, judged.verdict, judged.epoch
        status = None if verdict.effect.serves else refusal
        recorded = await self.recorder.decision(
            kind_of(verdict), actor, artifact, judged.facts, verdict, epoch, info, detail if verdict.effect.serves else (), status,
            at=judged.at,
        )  # fmt: skip
        if not verdict.effect.serves:
            with timed("record"):
                await recorded.ticket.durable()
            raise Refused(recorded.decision)
        basis = Basis(actor, artifact, judged.told, judged.needs, epoch.number, info, verdict.valid_until, recorded.decision.id)
        return Admission(actor, artifact, recorded.decision, recorded.ticket, basis, self._issuer)

    def expect(self, artifact: Artifact, digest: str) -> None:
        """An artifact is about to be judged on a page of this digest: begin what a permitted answer to a first request waits for."""
        self._shelf.expect(artifact)
        self.recorder.expect([digest])

    def relayed(self, actor: Actor, artifact: Artifact, info: RequestInfo, facts: Facts, *, whole: bool = False) -> Running:
        """For an answer that is passed on as it comes, permitted on `facts`: judged again while it runs.

        `whole`: it ends too when a rule could refuse a part of it (`reaching`).
        """
        epoch = self._epoch()
        needs = epoch.policy.needs_by_ecosystem[artifact.project.ecosystem]
        return Running(self._underway, Basis(actor, artifact, facts, needs, epoch.number, info, whole=whole))

    async def steered(
        self,
        actor: Actor,
        project: Project,
        info: RequestInfo,
        left_out: Sequence[tuple[Artifact, Verdict]],
        revision: str = "",
        facts_of: Callable[[Artifact], Facts] = lambda _artifact: Facts(),
    ) -> None:
        """Record that a page was served with `left_out` missing or marked: one event a page, repeats counted (P6).

        The decision is that on the one refused most severely, which the detail names (`judged`), on its own facts: `facts_of`
        tells what the page says of it. So it can be recomputed from the record like any other.
        """
        if not left_out:
            return
        _, worst = max(left_out, key=lambda pair: pair[1].effect)
        one = next(artifact for artifact, verdict in left_out if verdict is worst)
        listed = tuple(str(artifact) for artifact, _ in left_out[:_LISTED])
        detail = (("left_out", len(left_out)), ("artifacts", listed), ("judged", str(one)))
        whole, epoch, now = Artifact(project, revision, ""), self._epoch(), self.clock.now()
        facts = derive(facts_of(one), one, epoch.catalogue, epoch.lineage)
        # Judgements of pages are kept for a while: what is recorded is what holds now, if it still refuses.
        verdict = evaluate(epoch.policy, one, facts, actor, now)
        worst = worst if verdict.effect.serves else verdict
        recorded = await self.recorder.decision(EventKind.STEERED, actor, whole, facts, worst, epoch, info, detail, at=now)
        await recorded.ticket.durable()

    async def note(
        self, kind: EventKind, actor: Actor, info: RequestInfo, subject: str, detail: Mapping[str, object] | None = None
    ) -> None:
        """Record something that is not a decision on an artifact; see `Recorder.note`."""
        await self.recorder.note(kind, actor, info, subject, detail)

    # --- once more ------------------------------------------------------------------------------------------------

    async def again(self, key: Key) -> Warm | None:
        """An answer that was just given to the same caller, counted as given once more; None where it must be found anew."""
        warm = self._warm.get(key, self._epoch().number, self.clock.now())
        if warm is not None and warm.admission is not None:
            self.recorder.again(warm.admission.decision)
            await self._shelf.used(warm.admission.artifact)
        return warm

    def once_more(self, warm: Warm, now: datetime) -> bool:
        """Whether an answer that `again` gave may be given yet another time, at `now`; then it is counted as `again` does.

        Raises `LedgerDown`.
        """
        if not warm.lasts(self._epoch().number, now):
            return False
        if warm.admission is not None:
            self.recorder.again(warm.admission.decision)
            self._shelf.seen(warm.entry, now)
        return True

    def remember(
        self,
        key: Key,
        admission: Admission | None,
        headers: tuple[tuple[str, str], ...],
        body: bytes | None,
        until: datetime,
        stands: Callable[[], bool],
        status: int = 200,
    ) -> None:
        """Keep an answer for the few seconds in which it may be given again, never past `until`, when page or right end.

        `stands` is asked before each use. Nothing is kept of an admission that is not on disk: counts of what never came into
        the ledger stand for nothing (P6). `admission` is None for a page on which nothing is left out.
        """
        if admission is None or (admission.issuer is self._issuer and admission.ticket.is_durable):
            epoch, now = self._epoch().number, self.clock.now()
            entry = "" if admission is None else admission.artifact.identity
            self._warm.put(key, Warm(admission, status, headers, body, epoch, now, until, stands, entry))

    def newest(self, key: DocumentKey) -> Document | None:
        """The page as last stored, if it is in memory; see `Documents.newest`."""
        return self._documents.newest(key)

    def replaced(self, document: Document) -> bool:
        """Whether another page has taken this one's place since."""
        found = self._documents.newest(document.key)
        return found is not None and found is not document

    # --- bytes ----------------------------------------------------------------------------------------------------

    async def open(self, admission: Admission, sought: asyncio.Task[Body] | None = None) -> Body:
        """The bytes of what was admitted. The hub's right is checked anew; the allow is durable before this returns.

        `sought` is what `hand_out` began to seek. Raises `HubSaysNo`, `NotHere`, `UpstreamError`, and `TypeError` for an
        admission that this gateway did not make.
        """
        if admission.issuer is not self._issuer:
            raise TypeError("an Admission is made by Gateway.admit and by nothing else")
        if sought is None:
            body = await self._sought(admission.artifact, admission.actor.credential, admission.basis.facts)
        else:
            body = await or_closed(sought)
        if isinstance(body, Attended):
            body.running = Running(self._underway, admission.basis)
        try:
            with timed("record"):
                await admission.ticket.durable()
                await self.written()  # with the bytes stay the page that names them and the leave to read them (P8)
        except BaseException:
            await body.close()
            raise
        return body

    def keep_grant(self, grant: Grant) -> None:
        """Write down what anybody may read: it could be asked again at any time, so nobody who asks waits for it."""
        self._behind.add(task := asyncio.create_task(self.grants.put_grant(grant)))
        task.add_done_callback(self._behind.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def written(self) -> None:
        """Wait until what was used before it was written down is in the index, as far as that takes it."""
        await self._documents.written()
        if self._behind:
            await asyncio.wait(tuple(self._behind))

    async def _sought(self, artifact: Artifact, credential: Credential | None, facts: Facts) -> Body:
        """The bytes of an artifact, for `open` and the evidence archive alone (P1): from the store, else from a flight."""
        with timed("rights"):
            source = await self._hubs[artifact.project.hub].locate(artifact, credential)
        blob = await self._shelf.find(artifact, source)
        body = None if blob is None else await self._hit(artifact, blob, source)
        if body is not None:
            return body
        if self.offline:
            raise NotHere(str(artifact), offline=True)
        with timed("fetch"):
            return await self._fly(artifact, source, facts, credential)

    async def standing(self, artifact: Artifact, source: Source) -> str:
        """`Cache-Status` for an answer to HEAD, which opens nothing: what a GET would find in the store (RFC 9211)."""
        blob = await self._shelf.find(artifact, source)
        return cache_status("fwd=miss" if blob is None else "hit", verified=source.declared is not None)

    async def _hit(self, artifact: Artifact, blob: Blob, source: Source) -> Body | None:
        """A stored file, open: from here on its removal disturbs nobody. None where it was removed this very moment, a miss (P9)."""
        body = self._flights.hit(blob, source)
        try:
            _ = body.handle
        except IntegrityError:
            await body.close()
            return None
        await self._shelf.used(artifact)
        return body

    async def _fly(self, artifact: Artifact, source: Source, facts: Facts, credential: Credential | None) -> Body:
        sha256 = source.declared if source.declared and source.declared.algorithm == "sha256" else None
        key = str(sha256) if sha256 else artifact.identity
        self._landing.setdefault(key, {})[artifact.identity] = (artifact, source, facts, credential)
        try:
            return await self._flights.join(key, artifact.project.hub, source)
        finally:
            # A transfer goes on without the caller who gave up waiting for it, and lands for all who asked.
            if self._flights.in_flight(key) is None:
                self._landing.pop(key, None)

    def _ended(self, key: str) -> None:
        self._landing.pop(key, None)

    async def _landed(self, key: str, blob: Blob, source: Source) -> None:
        # Who finds the bytes that a transfer has put there this moment leaves to that transfer what it is to record.
        found_there = source.came_from is None and self._flights.in_flight(key) is not None
        wanting = self._landing.get(key, {}) if found_there else self._landing.pop(key, {})
        for artifact, wanted, facts, credential in tuple(wanting.values()):
            await self._shelf.put(artifact, blob, wanted)
            if self.acquisitions is not None and source.came_from is not None:
                self.acquisitions.landed(artifact, blob, replace(wanted, came_from=source.came_from), facts, credential)

    async def _fault(self, error: IntegrityError, hub: str) -> None:
        await self.recorder.fault(error.what, error.declared, error.computed, hub)
