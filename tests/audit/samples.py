"""Events of invented organisations, and a clock that moves when told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from mirror.core.actor import Actor
from mirror.core.decision import Decision, Effect, Event, EventKind, Match, Mode, RequestInfo, RuleHit, Verdict
from mirror.core.facts import Ancestor, Fact, Facts, Publisher
from mirror.core.ids import ulid
from mirror.core.nouns import Artifact, FileKind, Kind, Project

NOW = datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC)
PROJECT = Project("huggingface", Kind.MODEL, "umbrella/solid-7b-GGUF", "huggingface", "6f00")
BASE = Project("huggingface", Kind.MODEL, "acme/solid-7b", "huggingface", "6f01")
ACME = Publisher("acme", "Acme Labs Ltd", "company")
FACTS = Facts(
    publisher=Fact(ACME, "catalogue", "B"),
    origin=Fact(("CN", "GB"), "catalogue", "B"),
    ancestors=Fact((Ancestor(BASE, PROJECT, "quantized", "declared", 9000, 1, ACME, ("CN",)),), "card", "B"),
    license=Fact(("apache-2.0",), "card", "D"),
    file_kind=Fact(FileKind.WEIGHTS, "name"),
    size=Fact(4_000_000_000, "hub"),
    published_at=Fact(NOW, "hub"),
    scan=Fact(None, "hub", pending=True),
    evidence=("0" * 64,),
)
RULE = RuleHit("origin-cn", Effect.DENY, Mode.ENFORCE, True, False, "house policy 12", "is made from acme/solid-7b (CN)")
VERDICT = Verdict(
    Effect.DENY, Effect.DENY, (RULE,), "Blocked by policy rule 'origin-cn': …",
    matches=(Match("house", "2026-11-01", "Acme Labs", "Acme Labs Ltd", 9871),), suggestions=("globex/solid-7b",), valid_until=NOW,
)  # fmt: skip
ALLOW = Verdict(Effect.ALLOW, Effect.DENY, (), "")
ACTOR = Actor("u:9f2c", ("dod-contract",), "10.8.0.9", "US", "group", "Acme Inc", ("US",), "hf/2.0; python/3.11")
REQUEST = RequestInfo("r-1", "GET", "/umbrella/solid-7b-GGUF/resolve/main/q4.gguf?download=true", "hf/2.0; python/3.11")


class SteppingClock:
    """Moves a millisecond each time it is read."""

    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> datetime:
        self.moment += timedelta(milliseconds=1)
        return self.moment


def decision(number: int = 0, *, verdict: Verdict = VERDICT, actor: Actor = ACTOR, request: RequestInfo = REQUEST,
             facts: Facts = FACTS, path: str = "q4.gguf", project: Project = PROJECT, at: datetime = NOW) -> Decision:  # fmt: skip
    """Decision number so-and-so: equal arguments give equal decisions."""
    return Decision(
        ulid(NOW, number.to_bytes(10, "big")), at, verdict, "Blocked by policy rule 'origin-cn': see “house” policy.",
        Artifact(project, "a" * 40, path), actor, facts, "f" * 64, "e" * 64, (("house", "2026-11-01"),), request,
        451 if verdict.effect is Effect.DENY else 200,
    )  # fmt: skip


def refused(number: int = 0, **changes) -> Event:
    """A refusal."""
    made = decision(number, **changes)
    return Event(EventKind.REFUSED, made.at, made.actor, made)


def allowed(number: int = 0, **changes) -> Event:
    """A download."""
    made = decision(number, verdict=ALLOW, **changes)
    return Event(EventKind.ALLOWED, made.at, made.actor, made)


def aged(event: Event, days: int) -> Event:
    """The same, so many days later."""
    return replace(event, at=event.at + timedelta(days=days))
