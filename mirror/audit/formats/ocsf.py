"""The Open Cybersecurity Schema Framework, 1.8: HTTP Activity (4002) with the profiles `host` and `security_control`. Pure.

What is decided about a request is HTTP Activity. What the ledger tells of itself, of rules and of people's verdicts is a Base Event (0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mirror.audit.formats.released import MOST, NOES, deciding, file_of, notable, score, sentence, severity
from mirror.audit.formats.times import milliseconds

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = "1.8.0"
_HTTP, _CATEGORY, _BASE, _OTHER = 4002, 4, 0, 99
_METHODS: Final = {"CONNECT": 1, "DELETE": 2, "GET": 3, "HEAD": 4, "OPTIONS": 5, "POST": 6, "PUT": 7, "TRACE": 8, "PATCH": 9}
_SEVERITIES: Final = {1: "Informational", 2: "Low", 3: "Medium", 4: "High"}
_ACTIONS: Final = {1: "Allowed", 2: "Denied", 3: "Observed", 4: "Modified"}
_DISPOSITIONS: Final = {1: "Allowed", 2: "Blocked", 3: "Quarantined", 6: "Dropped", 17: "Logged"}
#: Where a page was served with something left out: no disposition of the schema says that.
_STEERED: Final = "Steered"


def ocsf(record: Mapping[str, Any], version: str) -> dict[str, Any]:
    """One event."""
    decision = record.get("decision")
    degree = severity(record)
    found: dict[str, Any] = {
        "metadata": _metadata(record, version), "time": milliseconds(record["at"]), "timezone_offset": 0,
        "severity_id": degree, "severity": _SEVERITIES[degree], "message": sentence(record), **_outcome(record),
        "unmapped": {"kind": record["kind"], **({"subject": record["subject"]} if "subject" in record else {})},
    }  # fmt: skip
    if record["count"] > 1:
        # One record stands for answers of about a minute; only the end of that is known.
        found |= {"count": record["count"], "start_time": found["time"], "end_time": found["time"]}
    if "detail" in record:
        found["unmapped"]["detail"] = record["detail"]
    return found | (_plain(record) if decision is None else _http(record, decision, found["unmapped"]))


def _metadata(record: Mapping[str, Any], version: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "version": VERSION, "product": {"name": "mirror", "vendor_name": "Entrepot", "version": version}, "log_name": "ledger",
        "profiles": ["host", "security_control"], "event_code": record["kind"], "original_time": record["at"],
    }  # fmt: skip
    if record.get("leaf"):
        found |= {"uid": record["leaf"], "sequence": record["seq"]}
    # A repeat's subject is the id of the decision that it repeats.
    related = record["decision"]["id"] if "decision" in record else record.get("subject") if record["kind"] == "repeated" else None
    return found | ({"correlation_uid": related} if related else {})


def _outcome(record: Mapping[str, Any]) -> dict[str, Any]:
    """What was done about it: action, disposition, status; nothing where nobody asked for anything."""
    kind, effect = record["kind"], record.get("decision", {}).get("effect")
    if kind == "steered":
        done: tuple[int, int | str] = (4, _STEERED)
    elif kind == "ended":
        done = (2, 6)
    elif effect in ("review", "quarantine"):
        done = (2, 3)
    elif effect == "deny" or kind in NOES:
        done = (2, 2)
    elif effect is None:
        return {"status_id": 1, "status": "Success"} if kind != "gap" else {"status_id": 2, "status": "Failure"}
    elif effect == "warn":
        done = (1, 17)
    else:
        done = (1, 1) if record["decision"]["would"] == "allow" else (3, 17)
    action, disposition = done
    named = {"disposition_id": _OTHER, "disposition": disposition} if isinstance(disposition, str) else {"disposition_id": disposition, "disposition": _DISPOSITIONS[disposition]}
    refused = action == 2
    return {
        "action_id": action, "action": _ACTIONS[action], **named,
        "status_id": 2 if refused else 1, "status": "Failure" if refused else "Success",
    }  # fmt: skip


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "class_uid": _BASE, "class_name": "Base Event", "category_uid": 0, "category_name": "Uncategorized", "type_uid": _BASE * 100 + _OTHER,
        "type_name": f"Base Event: {record['kind']}", "activity_id": _OTHER, "activity_name": record["kind"], "is_alert": severity(record) > 3, **_who(record["actor"]),
    }  # fmt: skip


def _http(record: Mapping[str, Any], decision: Mapping[str, Any], unmapped: dict[str, Any]) -> dict[str, Any]:
    request, method = decision["request"], decision["request"]["method"]
    activity = _METHODS.get(method, _OTHER)
    name = method.capitalize() if activity != _OTHER else method
    asked = {"http_method": method, "uid": request["id"], "url": {"path": request["path"]}}
    if request.get("user_agent"):
        asked["user_agent"] = request["user_agent"]
    unmapped |= {
        "artifact": decision["artifact"], "project": decision["project"], "would": decision["would"], "lineage": decision["lineage"][:MOST],
        "lists": decision["lists"], "catalogue": decision["catalogue"], "suggestions": decision["suggestions"][:MOST],
        "origin": decision["facts"].get("origin", {}).get("value"), "rules": [rule["id"] for rule in decision["rules"][:MOST]],
    }  # fmt: skip
    found: dict[str, Any] = {
        "class_uid": _HTTP, "class_name": "HTTP Activity", "category_uid": _CATEGORY, "category_name": "Network Activity",
        "activity_id": activity, "activity_name": name, "type_uid": _HTTP * 100 + activity, "type_name": f"HTTP Activity: {name}",
        "http_request": asked, "http_response": {"code": decision["status"]}, "status_code": str(decision["status"]),
        "status_detail": sentence(record), "is_alert": notable(decision), "dst_endpoint": {"svc_name": "entrepot"},
        "policy": {"name": "mirror policy", "uid": decision["policy"], "is_applied": True}, "authorizations": [{"decision": decision["effect"]}],
        "src_endpoint": _source(decision["actor"]), **_who(decision["actor"]), **_rule(decision), **_matched(decision),
    }  # fmt: skip
    if path := file_of(decision):
        size = decision["facts"].get("size", {}).get("value")
        found["file"] = {"name": path.rpartition("/")[2], "path": path, "type_id": 1, "type": "Regular File", **({"size": size} if isinstance(size, int) else {})}
    return found


def _who(actor: Mapping[str, Any]) -> dict[str, Any]:
    user = {"uid": actor.get("name") or "erased", "groups": [{"name": group} for group in actor["groups"]]}
    return {"actor": {"user": {key: value for key, value in user.items() if value}}}


def _source(actor: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"ip": actor["address"]} if actor.get("address") else {"name": "erased"}
    return found | ({"location": {"country": actor["country"]}} if actor["country"] else {})


def _rule(decision: Mapping[str, Any]) -> dict[str, Any]:
    rules = deciding(decision) or decision["rules"]
    if not rules:
        return {}
    first = rules[0]
    details = [f"{match['list']} {match['edition']}: {match['entry']} ({match['score']}/10000)" for match in decision["matches"][:MOST]]
    shown = {
        "uid": first["id"], "name": first["id"], "type": first["effect"], "category": "legal" if first["legal"] else "house",
        "condition": first.get("cause"), "desc": first["basis"], "match_details": details,
    }  # fmt: skip
    return {"firewall_rule": {key: value for key, value in shown.items() if value}}


def _matched(decision: Mapping[str, Any]) -> dict[str, Any]:
    found = [
        {"name": "list match", "type": match["list"], "value": match["entry"] or match["name"], "provider": match["list"], "data": match}
        for match in decision["matches"][:MOST]
    ]
    if (publisher := decision["facts"].get("publisher")) and publisher["value"]:
        found.append({"name": "publisher", "type": "publisher", "value": str(publisher["value"]), "provider": publisher["source"], "data": publisher})
    best = score(decision)
    return {**({"enrichments": found} if found else {}), **({"confidence_score": best} if best is not None else {})}
