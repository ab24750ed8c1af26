"""A decision as canonical JSON text (SURFACE 5), fast enough to be made for every event. Pure.

What a warm request shares with the one before - the frozen `Facts`, `Verdict`, list editions - is rendered once and
remembered by identity; the rest is put between in the order of RFC 8785.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import date, datetime
from enum import Enum
from functools import lru_cache
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from mirror.audit.redaction import clean, redacted, redacted_tokens
from mirror.core.actor import network_of
from mirror.core.canonical import canonical, instant
from mirror.core.facts import Ancestor, Facts, Publisher

if TYPE_CHECKING:
    from mirror.core.actor import Actor
    from mirror.core.decision import Decision, Match, RequestInfo, RuleHit, Verdict
    from mirror.core.nouns import Artifact, Project

T = TypeVar("T")
_LARGEST: Final = 2**53 - 1
_NAMES: Final = tuple(field.name for field in fields(Facts) if field.name != "evidence")


def decision_text(decision: Decision) -> str:
    """Canonical JSON of a decision without the personal part of who asked and of the request."""
    verdict = _VERDICTS.of(decision.verdict)
    facts = _FACTS.of(decision.facts)
    parts = {
        **verdict,
        **facts,
        "actor": actor_text(decision.actor),
        "artifact": _name(decision.artifact),
        "at": f'"{moment(decision.at)}"',
        "catalogue": encode_basestring(decision.catalogue),
        "id": encode_basestring(decision.id),
        "lists": _LISTS.of(decision.lists),
        "policy": encode_basestring(decision.policy),
        "project": _name(decision.artifact.project),
        "request": _request(decision.request),
        "sentence": string(decision.sentence),
        "status": str(decision.status),
    }
    if decision.rulebook:
        parts["rulebook"] = encode_basestring(decision.rulebook)
    if facts["lineage"] == "[]":
        parts["lineage"] = verdict["lineage"]
    return "{" + ",".join([f'"{key}":{parts[key]}' for key in sorted(parts)]) + "}"


def actor_text(actor: Actor) -> str:
    """Canonical JSON of what a record says openly of an actor."""
    return _actor(actor.groups, actor.country, actor.country_source, actor.entity, actor.jurisdictions, actor.networks)


def personal_text(actor: Actor, request: RequestInfo | None, *, whole: bool = True) -> str:
    """Canonical JSON of a personal part: `address`, `name`, `query`, `user_agent`. The address is `whole`, or cut to its network."""
    query = "" if request is None else request.path.partition("?")[2]
    agent = actor.user_agent if request is None else request.user_agent
    address = actor.address if whole else _network(actor.address)
    return f'{{"address":{string(address)},"name":{string(actor.name)},"query":{string(query)},"user_agent":{string(agent)}}}'


def string(text: str) -> str:
    """A JSON string of outside text: valid Unicode, without secrets."""
    return encode_basestring(_text(text))


def plain(value: Any) -> Any:
    """A fact's or detail's value in JSON. Publishers and ancestors stand by name: catalogue and lineage have the rest.

    Raises `TypeError` for what no record can hold; floats are left for `canonical` to refuse.
    """
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return value if abs(value) <= _LARGEST else str(value)
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Publisher):
        return value.id
    if isinstance(value, Ancestor):
        return _purl(value.project)
    if isinstance(value, Mapping):
        return {_text(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (Sequence, frozenset, set)) and not isinstance(value, (bytes, bytearray)):
        items = sorted(value) if isinstance(value, (frozenset, set)) else value
        return [plain(item) for item in items]
    raise TypeError(f"not a value for a record: {type(value).__name__}")


@lru_cache(256)
def moment(at: datetime) -> str:
    """`core.canonical.instant`, remembered: an event and its decision mostly share one."""
    return instant(at)


@lru_cache(4096)
def _network(address: str) -> str:
    return network_of(address)


@lru_cache(4096)
def _text(text: str) -> str:
    return redacted(clean(text))


def _purl(named: Artifact | Project) -> str:
    """A package URL. Only tokens that announce themselves are hidden: `=` and `:` have their own meaning there."""
    return redacted_tokens(clean(str(named)))


@lru_cache(4096)
def _name(named: Artifact | Project) -> str:
    return encode_basestring(_purl(named))


@lru_cache(1024)
def _actor(groups: Sequence[str], country: str | None, source: str, entity: str, jurisdictions: Sequence[str], networks: Sequence[str]) -> str:
    found: dict[str, Any] = {"groups": [_text(group) for group in groups], "country": country, "country_source": source}
    if entity:
        found["entity"] = _text(entity)
    if jurisdictions:
        found["jurisdictions"] = list(jurisdictions)
    if networks:
        found["networks"] = list(networks)
    return _json(found)


def _json(value: Any) -> str:
    return canonical(value).decode()


def _request(request: RequestInfo) -> str:
    path = request.path.partition("?")[0]
    return f'{{"id":{encode_basestring(request.id)},"method":{string(request.method)},"path":{string(path)}}}'


def _verdict(verdict: Verdict) -> dict[str, str]:
    found: dict[str, Any] = {
        "effect": verdict.effect.word,
        "would": verdict.would.word,
        "rules": [_rule(hit) for hit in verdict.rules],
        "lineage": _edges(verdict.lineage),
        "matches": [_match(match) for match in verdict.matches],
        "suggestions": [_text(suggestion) for suggestion in verdict.suggestions],
        "valid_until": None if verdict.valid_until is None else instant(verdict.valid_until),
    }
    if verdict.available_from is not None:
        found["available_from"] = instant(verdict.available_from)
    return {key: _json(value) for key, value in found.items()}


def _rule(hit: RuleHit) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": hit.id,
        "effect": hit.effect.word,
        "mode": str(hit.mode),
        "legal": hit.legal,
        "basis": _text(hit.basis),
        "recall": hit.recall,
        "cause": _text(hit.cause),
    }
    if hit.exception:
        found["exception"] = hit.exception
    if hit.unknown:
        found["unknown"] = hit.unknown
    if hit.waiver != "none":
        found["waiver"] = hit.waiver
    if hit.forbidden:
        found["use"] = "forbidden"
    return found


def _match(match: Match) -> dict[str, Any]:
    return {
        "list": match.list,
        "edition": match.edition,
        "entry": _text(match.entry),
        "name": _text(match.name),
        "score": match.score,
        **{name: _text(value) for name in ("via", "matcher", "finding", "verdict") if (value := getattr(match, name))},
    }


def _facts(facts: Facts) -> dict[str, str]:
    """`facts`, `lineage` (the whole walk where it is known) and, where there is any, `evidence`."""
    found = {}
    for name in _NAMES:
        fact = getattr(facts, name)
        if fact is None:
            continue
        shown = {"value": plain(fact.value), "source": _text(fact.source), "confidence": fact.confidence}
        if fact.pending:
            shown["pending"] = True
        found[name] = shown
    walk = facts.ancestors.value if facts.ancestors is not None else None
    texts = {"facts": _json(found), "lineage": _json(_edges(walk or ()))}
    if facts.evidence:
        texts["evidence"] = _json(list(facts.evidence))
    return texts


def _edges(walk: Sequence[Ancestor]) -> list[dict[str, Any]]:
    found = []
    for edge in walk:
        shown: dict[str, Any] = {
            "from": _purl(edge.child),
            "to": _purl(edge.project),
            "relation": edge.relation,
            "evidence": edge.evidence,
            "confidence": edge.confidence,
            "depth": edge.depth,
            "publisher": None if edge.publisher is None else edge.publisher.id,
            "countries": None if edge.countries is None else list(edge.countries),
        }
        if edge.missing:
            shown["missing"] = edge.missing
        if edge.publisher_grade != "A":  # rules with `min_confidence` weigh it: without it a replay would judge otherwise
            shown["publisher_grade"] = edge.publisher_grade
        found.append(shown)
    return found


class _Remembered(Generic[T]):
    """What was made of the last few objects, by identity: hashing a deep frozen object costs as much as rendering it.

    Whatever `of` returns is shared and must not be changed.
    """

    def __init__(self, make: Callable[[T], Any], size: int = 2048) -> None:
        self._make, self._size = make, size
        self._known: dict[int, tuple[T, Any]] = {}

    def of(self, value: T) -> Any:
        known = self._known.get(id(value))
        if known is None or known[0] is not value:
            known = (value, self._make(value))
            if len(self._known) >= self._size:
                self._known.clear()
            self._known[id(value)] = known
        return known[1]


def _lists(lists: Sequence[tuple[str, str]]) -> str:
    return _json({_text(name): edition for name, edition in lists})


_FACTS: Final = _Remembered(_facts)
_VERDICTS: Final = _Remembered(_verdict)
_LISTS: Final = _Remembered(_lists)
