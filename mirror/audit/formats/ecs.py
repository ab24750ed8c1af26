"""The Elastic Common Schema, 8.17: one document an event, what it has no field for under `entrepot`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mirror.audit.formats.released import (
    MOST,
    NOES,
    deciding,
    file_of,
    notable,
    package_of,
    score,
    sentence,
    serves,
    severity,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = "8.17.0"
#: Types of decided events that the schema knows for its category "network".
_YES: Final = ["access", "allowed"]
_NO: Final = ["access", "denied"]


def ecs(record: Mapping[str, Any], version: str) -> dict[str, Any]:
    """One document."""
    decision, actor = record.get("decision"), record["actor"]
    refused = record["kind"] in NOES or not serves(record)
    asked = decision is not None or record["kind"] in NOES
    event = {
        "kind": "alert" if (notable(decision) if decision else severity(record) > 3) else "event", "module": "entrepot", "dataset": "entrepot.ledger",
        "provider": "entrepot", "action": record["kind"], "code": record["kind"], "sequence": max(0, record["seq"]), "severity": severity(record),
        "id": record.get("leaf", ""), "category": ["network", "web"] if asked else ["configuration"],
        "type": (_NO if refused else _YES) if asked else ["info"], "outcome": ("failure" if refused else "success") if asked else "unknown",
    }  # fmt: skip
    found: dict[str, Any] = {
        "@timestamp": record["at"], "ecs": {"version": VERSION}, "message": sentence(record), "event": event,
        "observer": {"vendor": "Entrepot", "product": "mirror", "type": "proxy", "version": version},
        "user": _less({"id": actor.get("name"), "roles": actor["groups"]}),
        "source": _less({"ip": actor.get("address"), "geo": _less({"country_iso_code": actor["country"]})}),
        "entrepot": _less({"seq": record["seq"], "kind": record["kind"], "count": record["count"], "subject": record.get("subject"), "detail": record.get("detail")}),
    }  # fmt: skip
    if decision is not None:
        _decided(found, decision)
    return _less(found)


def _decided(found: dict[str, Any], decision: Mapping[str, Any]) -> None:
    kind, name, version = package_of(decision)
    rules, path, request = deciding(decision) or decision["rules"], file_of(decision), decision["request"]
    found["event"]["reason"] = sentence({"kind": "", "decision": decision})
    found |= {
        "http": {"request": {"id": request["id"], "method": request["method"]}, "response": {"status_code": decision["status"]}},
        "url": {"path": request["path"]}, "user_agent": _less({"original": request.get("user_agent")}),
        "package": _less({"name": name, "version": version, "type": kind, "reference": decision["artifact"]}),
        "file": _less({"path": path, "name": path.rpartition("/")[2]}),
        "labels": _less({"decision": decision["id"], "effect": decision["effect"], "would": decision["would"], "list": ",".join(sorted({match["list"] for match in decision["matches"]}))}),
    }  # fmt: skip
    if rules:
        first = rules[0]
        found["rule"] = _less({"id": first["id"], "name": first["id"], "category": first["effect"], "description": first.get("cause") or first["basis"], "ruleset": decision["policy"]})
    found["entrepot"] |= _less({
        "rules": decision["rules"][:MOST], "matches": decision["matches"][:MOST], "score": score(decision), "lineage": decision["lineage"][:MOST],
        "policy": decision["policy"], "lists": [f"{name} {edition}" for name, edition in sorted(decision["lists"].items())],
    })  # fmt: skip


def _less(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is not known."""
    return {key: value for key, value in values.items() if value not in (None, "", [], {})}
