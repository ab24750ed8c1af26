"""A mirror's past on disk: configuration, rules, ledger and evidence archive of invented organisations, without a server."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mirror import config as configuration
from mirror.audit.checkpointer import Checkpointer
from mirror.audit.ledger import SegmentLedger
from mirror.core.actor import Actor
from mirror.core.decision import Effect, EventKind, RequestInfo
from mirror.core.facts import Facts
from mirror.core.findings import Finding
from mirror.core.purl import parse_loose
from mirror.ledger_wiring import ledger_of
from mirror.list_wiring import lists_ready, standing_lists
from mirror.lists.editions import store_of
from mirror.policy.derive import derive
from mirror.policy.evaluate import evaluate
from mirror.policy.reviewed import Reviewed
from mirror.proxy.findings import FindingBook
from mirror.proxy.recorder import Recorder
from mirror.proxy.rulebook import Rulebook, RuleSources
from mirror.store.archive import EvidenceArchive
from mirror.wiring import keep_rules, note_rules

START = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
CONFIG = """
data: data
ledger: {views: {people: open}}
policy: {path: policy.yaml}
catalogue: [publishers.yaml]
lists:
  house: {loader: csv, source: house.csv, direction: both, meaning: blocked-party}
clients:
  groups:
    contract: {subnets: [10.8.0.0/16], country: US}
"""
PUBLISHERS = """
version: 1
publishers:
  - {id: globex-group, entity: Globex Group, kind: company, countries: [{code: CN, role: headquarters, source: "https://globex.example", as_of: 2026-01-31, confidence: B}]}
  - {id: globex, entity: Globex Labs, kind: company, parent: globex-group, handles: {huggingface: [globex], pypi: [globex]}}
  - {id: acme, entity: Acme Labs Ltd, kind: company, handles: {huggingface: [acme]}, web: [acme.example], owners: [{id: globex, share: 0.3, source: s, as_of: 2026-01-31}],
     countries: [{code: GB, role: headquarters, source: "https://acme.example", as_of: 2026-01-31, confidence: B}]}
"""
LISTED = "name,aliases\nUmbrella Trading,Umbrella\nGlobex Labs,\n"
RULES = """version: 1
rules:
  - {id: origin-cn, when: {origin: [CN]}, for: {groups: [contract]}, effect: deny, legal: true, basis: "house policy 12", suggest: [acme/solid]}
  - {id: listed, when: {list_match: {lists: [house]}}, effect: review, for: {networks: [10.9.0.0/16]}}
  - {id: pickle, when: {file: ["*.pkl"]}, effect: deny}
  - {id: later, when: {artifact: "acme/*"}, effect: deny, mode: audit}
"""
CONTRACT = Actor("u:1", ("contract",), "10.8.0.7", "US", "group", "Acme Inc", ("US",))
VISITOR = Actor("u:2", (), "10.9.0.4")
NOBODY = Actor("u:3", (), "192.0.2.1")


class Clock:
    """Moves when told."""

    def __init__(self) -> None:
        self.moment = START

    def now(self) -> datetime:
        return self.moment


class Past:
    """Requests as they come, on the record."""

    def __init__(self, folder: Path, clock: Clock, rulebook: Rulebook, recorder: Recorder, ledger: SegmentLedger, checkpointer: Checkpointer) -> None:
        self.folder, self.clock, self.rulebook, self.recorder, self.ledger, self.checkpointer = folder, clock, rulebook, recorder, ledger, checkpointer
        assert rulebook.findings is not None
        self.book = rulebook.findings

    async def ask(self, name: str, actor: Actor = NOBODY, facts: Facts = Facts()) -> str:
        """One request; gives the decision's id."""
        self.clock.moment += timedelta(minutes=1)
        epoch, thing, now = self.rulebook.current, parse_loose(name), self.clock.now()
        complete = derive(facts, thing, epoch.catalogue, epoch.lineage)
        verdict = evaluate(epoch.policy, thing, complete, actor, now)
        kind = EventKind.ALLOWED if verdict.effect.serves else EventKind.REFUSED if verdict.effect is Effect.DENY else EventKind.HELD
        recorded = await self.recorder.decision(kind, actor, thing, complete, verdict, epoch, RequestInfo("r", "GET", f"/{name}", "test"), at=now)
        await recorded.ticket.durable()
        return recorded.decision.id

    async def activate(self, text: str) -> None:
        """Another policy comes into force."""
        (self.folder / "policy.yaml").write_text(text)
        await self.renew()

    async def new_list(self, text: str) -> None:
        """Another edition of the list is adopted and comes into force."""
        (self.folder / "house.csv").write_text(text)
        config = configuration.load(self.folder / "mirror.yaml", {})
        await lists_ready(replace(config, data=self.folder / "data"), self.clock)
        edition = store_of(self.folder / "data").pointer("house").read_text().strip()
        note_rules(self.ledger, self.clock.now(), "adopted", edition, {"list": "house", "entries": text.count("\n") - 1})
        await self.renew()

    async def find(self, *findings: Finding) -> None:
        """Reviewers say something of matches."""
        self.book.reviewed, self.book.stamp = Reviewed(findings), self.book.stamp + 1
        await self.renew()

    async def renew(self) -> None:
        """What changed comes into force."""
        self.clock.moment += timedelta(hours=1)

        async def changed(epoch):
            await keep_rules(self.recorder, epoch, store_of(self.folder / "data"))
            detail = {"epoch": epoch.number, "catalogue": epoch.catalogue.digest, "lists": dict(epoch.editions)}
            note_rules(self.ledger, self.clock.now(), "activated", epoch.policy.digest, detail)

        async def failed(error):
            raise error

        await self.rulebook.refresh(changed, failed)


@asynccontextmanager
async def past(folder: Path, rules: str = RULES, *, begin: datetime = START, signed: bool = False):
    """An installation in `folder` whose clock stands at `begin`; `signed`: with a key of its own, and checkpoints at start and end."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("mirror.yaml", CONFIG), ("publishers.yaml", PUBLISHERS), ("house.csv", LISTED), ("policy.yaml", rules)):
        (folder / name).write_text(text)
    config = configuration.load(folder / "mirror.yaml", {})
    config = replace(config, data=folder / "data")
    (folder / "data").mkdir(exist_ok=True)
    clock = Clock()
    clock.moment = begin
    await lists_ready(config, clock)
    rulebook = Rulebook(RuleSources(config.policy.path, config.catalogue, config.lists, editions=store_of(config.data), findings=FindingBook()), clock.now)
    config = replace(config, ledger=replace(config.ledger, reserve=0, origin="ledger.acme.example"))
    ledger, checkpointer = ledger_of(config, clock)
    lists = standing_lists(rulebook.current, store_of(config.data))
    await ledger.start({"version": "1.0", "policy": rulebook.current.policy.digest, **lists}, checkpointer.admit if signed else None)
    if signed:
        ledger.at_end = checkpointer.last
        await checkpointer.begin()
    recorder = Recorder(clock, os.urandom, ledger, EvidenceArchive(folder / "data" / "evidence"), "https://ask.example")
    await keep_rules(recorder, rulebook.current, store_of(config.data))
    try:
        yield Past(folder, clock, rulebook, recorder, ledger, checkpointer)
    finally:
        await ledger.close()
        await checkpointer.close()
