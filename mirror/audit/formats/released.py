"""What of a record may leave this machine for a log that others read, and what all formats say alike. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from mirror.core.actor import network_of

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Fields of details that hold people by name: who asked for an exception, who signed. Envelopes hold them too.
_PEOPLE: Final = frozenset({"by", "requested_by", "approved_by", "opened_by", "signers", "person", "people"})
_ENVELOPES: Final = frozenset({"raw"})
PERSON: Final = "[person]"
#: Kinds of events that tell of an answer that was no.
NOES: Final = frozenset({"refused", "held", "write_refused", "route_refused", "hub_refused", "ended"})
_GRAVE: Final = frozenset({"integrity", "emergency", "recovered", "gap", "changed"})
#: What receivers need to be shown of long lists; the ledger has all of it.
MOST: Final = 20
_LONGEST: Final = 8000


def released(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with its personal part joined, less what is for those who read the ledger itself."""
    refused = record["kind"] in NOES or not serves(record)
    one = {**record, "actor": _actor(record["actor"], whole=refused)}
    if decision := record.get("decision"):
        request = {**decision["request"], "path": decision["request"]["path"].partition("?")[0]}
        one["decision"] = {**decision, "actor": _actor(decision["actor"], whole=refused), "request": request}
    if "detail" in record:
        one["detail"] = _impersonal(record["detail"])
    return one


def serves(record: Mapping[str, Any]) -> bool:
    """Whether what was asked for was handed out, or nothing was asked for."""
    return record.get("decision", {}).get("effect", "allow") in ("allow", "warn")


def severity(record: Mapping[str, Any]) -> int:
    """1 informational, 2 low, 3 medium, 4 high: as OCSF counts."""
    if record["kind"] in _GRAVE:
        return 4
    decision = record.get("decision")
    if decision is None:
        return 2 if record["kind"] in NOES else 1
    if any(rule["legal"] for rule in deciding(decision)):
        return 4
    return {"allow": 1, "warn": 2}.get(decision["effect"], 3)


def deciding(decision: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The enforced rules whose effect the answer had."""
    return [rule for rule in decision["rules"] if rule["mode"] == "enforce" and not rule.get("exception") and rule["effect"] == decision["effect"]]


def notable(decision: Mapping[str, Any]) -> bool:
    """Whether somebody should look: an answer other than yes, one that audit rules would not have given, a match on a list."""
    return decision["effect"] != "allow" or decision["would"] != "allow" or bool(decision["matches"])


def sentence(record: Mapping[str, Any]) -> str:
    """The record in one line of prose."""
    decision = record.get("decision")
    if decision is None:
        return f"{record['kind']}: {record.get('subject', '')}"[:_LONGEST]
    return str(decision["sentence"] or f"{record['kind']}: {decision['artifact']}")[:_LONGEST]


def score(decision: Mapping[str, Any]) -> int | None:
    """The best match on a list in per cent, or None."""
    return max((match["score"] // 100 for match in decision["matches"]), default=None)


def file_of(decision: Mapping[str, Any]) -> str:
    """The path of the file that was asked for; empty for a project as a whole."""
    purl = decision["artifact"]
    base, _, path = purl.partition("#")
    if not path:
        _, _, path = base.partition("?file_name=")
    return unquote(path)


def package_of(decision: Mapping[str, Any]) -> tuple[str, str, str]:
    """Type, name and version of the package URL of what was asked for."""
    kind, _, rest = decision["artifact"].removeprefix("pkg:").partition("/")
    base = rest.partition("#")[0].partition("?")[0]
    name, at, version = base.rpartition("@")
    return kind, unquote(name if at else base), unquote(version if at else "")


def syslog_values(record: Mapping[str, Any]) -> dict[str, str]:
    """The parameters of a record's structured data, those that it has."""
    decision, actor = record.get("decision"), record["actor"]
    found: dict[str, Any] = {"seq": record["seq"], "leaf": record.get("leaf"), "count": record["count"], "subject": record.get("subject")}
    if record["kind"] == "gap":
        found |= record["detail"]
    if decision is not None:
        found |= {
            "id": decision["id"], "effect": decision["effect"], "would": decision["would"], "status": decision["status"],
            "artifact": decision["artifact"], "rule": ",".join(rule["id"] for rule in decision["rules"][:MOST]), "policy": decision["policy"],
            "list": ",".join(match["list"] for match in decision["matches"][:MOST]), "score": score(decision),
            "method": decision["request"]["method"], "path": decision["request"]["path"], "request": decision["request"]["id"],
        }  # fmt: skip
    found |= {"actor": actor.get("name"), "groups": ",".join(actor["groups"]), "country": actor["country"], "address": actor.get("address")}
    return {key: str(value)[:1000] for key, value in found.items() if value not in (None, "")}


def _actor(actor: Mapping[str, Any], *, whole: bool) -> dict[str, Any]:
    address = actor.get("address")
    return {**actor, "address": address if whole or not address else network_of(address)}


def _impersonal(value: Any, key: str = "") -> Any:
    if key in _PEOPLE and value:
        return [PERSON] * len(value) if isinstance(value, list) else PERSON
    if isinstance(value, dict):
        return {name: _impersonal(item, name) for name, item in value.items() if name not in _ENVELOPES}
    if isinstance(value, list):
        return [_impersonal(item, key) for item in value]
    return value
