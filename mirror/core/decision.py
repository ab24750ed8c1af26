"""The outcome of judging one request, and the proof that it was judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mirror.core.actor import Actor
    from mirror.core.facts import Ancestor, Facts
    from mirror.core.nouns import Artifact
    from mirror.core.ports import Ticket


class Effect(IntEnum):
    """What a rule does, weakest first: the strongest enforced one wins (SURFACE 4)."""

    ALLOW = 0
    WARN = 1
    REVIEW = 2
    QUARANTINE = 3
    DENY = 4

    @property
    def word(self) -> str:
        """The name used in policy files and records."""
        return self.name.lower()

    @property
    def serves(self) -> bool:
        """Whether the bytes are handed out."""
        return self <= Effect.WARN


class Mode(StrEnum):
    """`enforce`, or `audit`: recorded as `would`."""

    ENFORCE = "enforce"
    AUDIT = "audit"


@dataclass(frozen=True, slots=True)
class RuleHit:
    """A rule that took part, as recorded. `effect` is the one it had here (a weak match may soften `deny` to `review`).

    `cause` is the half sentence that names the fact ("is published by Acme Labs (GB)"). `exception` is the id of the
    exception that lifted it, else empty. `unknown` names the fact whose absence decided, else empty.
    """

    id: str
    effect: Effect
    mode: Mode
    legal: bool
    recall: bool
    basis: str
    cause: str
    exception: str = ""
    unknown: str = ""
    waiver: str = "none"
    forbidden: bool = False  # `use: forbidden`: copies that people hold must not be used either


@dataclass(frozen=True, slots=True)
class Match:
    """A hit on an official or house list; `score` in 1/10,000.

    `via` says by what: `identifier`, `domain`, `name`, `similar name`, `weak alias`; `matcher` names the algorithm. `finding`
    is what a reviewer said of it (`true_match`, `false_match`, `unsure`; `reopened` where that was of another state of
    entry or publisher; empty: nobody has), `verdict` the id of that.
    """

    list: str
    edition: str
    entry: str
    name: str
    score: int
    via: str = ""
    matcher: str = ""
    finding: str = ""
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `policy.evaluate` returns: pure, without id or time of its own.

    `effect` is the enforced outcome, `would` the one if audit rules were enforced. `rules` are the determining rules
    first, then every other that held (audit ones included). `sentence` is the whole line of DESIGN 6 without the
    decision's id and contact, which the shell adds. `available_from` is set for a quarantine by age.
    `valid_until` is the earliest instant at which a date or an age boundary could change the outcome.
    """

    effect: Effect
    would: Effect
    rules: tuple[RuleHit, ...]
    sentence: str
    matches: tuple[Match, ...] = ()
    lineage: tuple[Ancestor, ...] = ()
    suggestions: tuple[str, ...] = ()
    valid_until: datetime | None = None
    available_from: datetime | None = None

    @property
    def determining(self) -> RuleHit | None:
        """The first enforced rule with the winning effect, or None when the default decided."""
        return next(
            (r for r in self.rules if r.mode is Mode.ENFORCE and not r.exception and r.effect is self.effect), None
        )

    @property
    def deciding(self) -> tuple[RuleHit, ...]:
        """Every enforced rule with the winning effect; none where the default decided."""
        return tuple(r for r in self.rules if r.mode is Mode.ENFORCE and not r.exception and r.effect is self.effect)

    @property
    def legal(self) -> bool:
        """Whether a determining rule is tagged legal (answer 451 instead of 403)."""
        return any(
            r.legal for r in self.rules if r.mode is Mode.ENFORCE and not r.exception and r.effect is self.effect
        )

    @property
    def status(self) -> int:
        """The HTTP status that answers it: 200, or 451 where a determining rule is legal (RFC 7725), else 403."""
        if self.effect.serves:
            return 200
        return 451 if self.effect is Effect.DENY and self.legal else 403

    @property
    def forbidden(self) -> bool:
        """Whether a determining rule forbids the use of copies that people hold already."""
        return any(
            r.forbidden for r in self.rules if r.mode is Mode.ENFORCE and not r.exception and r.effect is self.effect
        )

    @property
    def recall(self) -> bool:
        """Whether clients that hold a copy should be told to drop it."""
        return any(
            r.recall for r in self.rules if r.mode is Mode.ENFORCE and not r.exception and r.effect is self.effect
        )


#: How the requests of `mirror sync` and `mirror bundle export` begin to name themselves.
OWN_AGENT: Final = "entrepot-sync/"


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """The request as recorded: no query secrets, no header but the user agent."""

    id: str
    method: str
    path: str
    user_agent: str

    @property
    def ours(self) -> bool:
        """Whether a command of this product asked, to see what is here, and nobody who uses it."""
        return self.user_agent.startswith(OWN_AGENT)


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict given at a time, to somebody, under named editions of everything that was judged with.

    `id` is a ULID, `at` the time that was judged with. `policy` and `catalogue` are SHA-256 digests, `lists` maps a list's name
    to its edition; `rulebook` is the SHA-256 of what names all of that and how it was used (`policy.epoch.Epoch.manifest`).
    `sentence` is the complete one, with contact. `status` is the HTTP status of the answer.
    """

    id: str
    at: datetime
    verdict: Verdict
    sentence: str
    artifact: Artifact
    actor: Actor
    facts: Facts
    policy: str
    catalogue: str
    lists: tuple[tuple[str, str], ...]
    request: RequestInfo
    status: int
    contact: str = ""  # whom to ask for a waiver; empty where the operator named nobody
    rulebook: str = ""

    @property
    def effect(self) -> Effect:
        """The enforced outcome."""
        return self.verdict.effect


@dataclass(frozen=True, slots=True)
class Basis:
    """What an answer was permitted on, so that it can be judged again while it is being given.

    `facts` are the hub's own, before anything was derived from them; `needs` names those that were asked for. `epoch` is
    the number of the rules that judged, `until` the verdict's `valid_until`. `decision` is the id of the recorded one,
    empty where none was. `whole`: no rule may reach into any part of it either (`policy.reach`).
    """

    actor: Actor
    artifact: Artifact
    facts: Facts
    needs: frozenset[str]
    epoch: int
    info: RequestInfo
    until: datetime | None = None
    decision: str = ""
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Admission:
    """The proof of P1: `Gateway.open` takes nothing else, and only `Gateway.admit` can make one that it accepts.

    `ticket` is the ledger's promise for this decision: durable before the last block leaves.
    """

    actor: Actor
    artifact: Artifact
    decision: Decision
    ticket: Ticket
    basis: Basis = field(repr=False)
    issuer: object = field(repr=False)


class EventKind(StrEnum):
    """What happened. One word each; a record never changes its meaning."""

    ALLOWED = "allowed"  # an artifact was admitted
    REFUSED = "refused"  # an artifact or project was refused (deny)
    HELD = "held"  # refused for now: review or quarantine
    STEERED = "steered"  # a page was served with files or versions left out or marked
    REPEATED = "repeated"  # `count` further answers to `subject`, a decision's id
    WRITE_REFUSED = "write_refused"  # push, upload, twine: a mirror takes nothing in
    ROUTE_REFUSED = "route_refused"  # a route that no rule can judge
    HUB_REFUSED = "hub_refused"  # the hub itself said no (gate, region, disabled); remembered with the bytes
    ENDED = "ended"  # the answer to request `subject` was ended short: rules that came into force refuse it
    ACQUIRED = "acquired"  # an artifact's bytes came from upstream for the first time
    INTEGRITY = "integrity"  # upstream's bytes were not what was declared
    POLICY = "policy"  # a policy, catalogue or list became active, or failed to
    WAIVER = "waiver"  # a waiver was requested, signed, approved or rejected
    REVIEW = "review"  # a reviewer released or refused what is held, or took that back
    EMERGENCY = "emergency"  # an emergency deny was signed or lifted
    NOTICE = "notice"  # a date of a rule, exception or waiver is near: what will change then; of `clock`: whether dates go by it
    FINDING = "finding"  # a reviewer said whether a match on a list is true
    CHANGED = "changed"  # what was handed out would be refused since a card, the catalogue or an inference changed
    SCREENED = "screened"  # a list changed: what that means for those who are asked for here
    BUNDLE = "bundle"  # a signed bundle was exported, imported or refused
    CARRIED = "carried"  # a span of this ledger was written out for the sender of bundles
    ADOPTED = "adopted"  # a span of a laboratory's ledger was taken in beside this one
    KEY = "key"  # the ledger's signing key was made, rotated or replaced
    CLASSES = "classes"  # which of the records before are short-lived
    COUNTS = "counts"  # short-lived records were removed after their time: what they add up to
    HOLD = "hold"  # a matter keeps records from being deleted, or does not any more
    ERASED = "erased"  # personal parts, or a key of pseudonyms, were destroyed
    VIEW = "view"  # questions about persons were opened by two people, used or closed
    STARTED = "started"
    STOPPED = "stopped"
    RECOVERED = "recovered"  # a torn tail was cut, an outage ended, or a gap to what was published is told of


@dataclass(frozen=True, slots=True)
class Event:
    """An audit fact before it has a place in the ledger.

    Exactly one of `decision` and `subject` is set. `detail` holds further canonical values (no floats).
    """

    kind: EventKind
    at: datetime
    actor: Actor
    decision: Decision | None = None
    subject: str | None = None
    count: int = 1
    detail: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Sealed:
    """An event in its place: `sequence` from 0, `previous` and `leaf` are SHA-256 (hex; leaf as RFC 6962 2.1)."""

    event: Event
    sequence: int
    previous: str
    leaf: str
