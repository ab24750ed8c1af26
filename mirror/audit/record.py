"""Events as sealed records: what is written, hashed and chained. Pure: no file, no clock, no entropy of its own.

A sealed record is canonical JSON (RFC 8785) with the keys of SURFACE 5 and `personal`. Its personal part - who asked,
from which address, with which program, and the request's query - is not in it: in its place stands
`sha256:` + SHA-256(salt || canonical(personal part)) with 16 random bytes of salt. Salt and part are kept apart, so that
erasing them leaves the chain whole and the hash worthless. `leaf` is SHA-256(0x00 || the record without `leaf`), the leaf
hash of RFC 6962 section 2.1; `prev` is the leaf of the record before, so that a chain can be followed through records
of which nothing but the leaf is left.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from mirror.audit.rendering import actor_text, decision_text, moment, personal_text, plain, string
from mirror.core.canonical import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.core.decision import Decision, Event

#: The `prev` of the first record.
GENESIS: Final = "0" * 64
#: Bytes of salt before a personal part.
SALT: Final = 16
#: The fields of a personal part.
PERSONAL: Final = ("name", "address", "user_agent", "query")


@dataclass(frozen=True, slots=True)
class Prepared:
    """An event in canonical pieces, wanting only its place: `seal` puts `prev`, `seq` and `leaf` between them."""

    event: Event
    head: str
    commitment: str
    tail: str
    salt: bytes
    personal: str


@dataclass(frozen=True, slots=True)
class Record:
    """A record in its place. `line` and `personal` are whole lines with their newline."""

    sequence: int
    previous: str
    leaf: str
    line: bytes
    personal: bytes


def prepare(event: Event, salt: bytes) -> Prepared:
    """Everything about `event` that does not depend on its place. `salt` is 16 random bytes.

    Where there is a decision, the record's actor is the decision's; where that permits, of its address only the network. Raises `ValueError` or `TypeError` for an event that
    no record can hold: naive times, floats, both or neither of decision and subject.
    """
    decision = event.decision
    if (decision is None) == (event.subject is None):
        raise ValueError("an event has either a decision or a subject")
    if len(salt) != SALT:
        raise ValueError(f"a salt is {SALT} bytes")
    actor = event.actor if decision is None else decision.actor
    decided = "" if decision is None else f'"decision":{decision_text(decision)},'
    detail = "" if not event.detail else f'"detail":{canonical(plain(dict(event.detail))).decode()},'
    personal = personal_text(actor, None if decision is None else decision.request, whole=decision is None or not decision.effect.serves)
    subject = "" if event.subject is None else f',"subject":{string(event.subject)}'
    head = f'{{"actor":{actor_text(actor)},"at":"{moment(event.at)}","count":{event.count},{decided}{detail}"kind":"{event.kind.value}"'
    return Prepared(event, head, commitment(salt, personal.encode()), subject + "}", salt, personal)


def seal(prepared: Prepared, sequence: int, previous: str) -> Record:
    """The record of a prepared event at `sequence`, after the record whose leaf is `previous`."""
    rest = f',"personal":"{prepared.commitment}","prev":"{previous}","seq":{sequence}{prepared.tail}'
    leaf = leaf_hash((prepared.head + rest).encode())
    line = f'{prepared.head},"leaf":"{leaf}"{rest}\n'.encode()
    personal = f'{{"part":{prepared.personal},"salt":"{prepared.salt.hex()}","seq":{sequence}}}\n'.encode()
    return Record(sequence, previous, leaf, line, personal)


def leaf_hash(data: bytes) -> str:
    """The hash of one leaf (RFC 6962 section 2.1), hex."""
    return sha256(b"\x00" + data).hexdigest()


def commitment(salt: bytes, personal: bytes) -> str:
    """What stands in a record for its personal part."""
    return "sha256:" + sha256(salt + personal).hexdigest()


def display(record: Mapping[str, Any], personal: Mapping[str, str] | None) -> dict[str, Any]:
    """A sealed record with its personal part joined for those who may see it; nulls where that part was erased."""
    part: Mapping[str, str | None] = personal if personal is not None else dict.fromkeys(PERSONAL)
    who = {"name": part.get("name"), "address": part.get("address")}
    joined = {**record, "actor": {**record["actor"], **who}}
    if decision := record.get("decision"):
        joined["decision"] = _joined(decision, part)
    return joined


def _joined(decision: Mapping[str, Any], part: Mapping[str, str | None]) -> dict[str, Any]:
    request = {**decision["request"], "user_agent": part.get("user_agent")}
    if query := part.get("query"):
        request["path"] = f"{request['path']}?{query}"
    actor = {**decision["actor"], "name": part.get("name"), "address": part.get("address")}
    return {**decision, "actor": actor, "request": request}


def public_decision(decision: Mapping[str, Any]) -> dict[str, Any]:
    """The `decision` of a record, sealed or joined, without anything that tells who asked."""
    request = decision["request"]
    shown = {key: value for key, value in decision.items() if key != "actor"}
    shown["request"] = {"id": request["id"], "method": request["method"], "path": request["path"].partition("?")[0]}
    return shown


def decision_json(decision: Decision, *, public: bool = False) -> dict[str, Any]:
    """A decision as SURFACE 5 has it (schema: `docs/schema/decision.json`); `public` leaves out who asked."""
    sealed = json.loads(decision_text(decision))
    if public:
        return public_decision(sealed)
    return _joined(sealed, json.loads(personal_text(decision.actor, decision.request, whole=not decision.effect.serves)))
