"""ArcSight's Common Event Format, version 0 (Implementing ArcSight CEF, revision 25). Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from mirror.audit.formats.released import MOST, deciding, file_of, notable, score, sentence, serves, severity
from mirror.audit.formats.times import milliseconds
from mirror.audit.syslog import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

#: 0 to 10, by our degrees.
_SEVERITY: Final = {1: 1, 2: 3, 3: 6, 4: 8}
#: The longest values that the dictionary of extensions allows.
_LONGEST: Final = {"msg": 1023, "reason": 1023, "request": 1023, "requestClientApplication": 1023, "fname": 1023, "suser": 1023, "act": 63, "externalId": 40}
_LONG: Final = 4000
_ENDS: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


def cef(record: Mapping[str, Any], version: str) -> str:
    """One line. The id of an event's class is its kind, so that receivers can be told what to do with each."""
    kind = record["kind"]
    head = ("CEF:0", "Entrepot", "mirror", version, kind, kind.replace("_", " ").capitalize(), str(_SEVERITY[severity(record)]))
    values = {**_always(record), **(_decided(record["decision"]) if "decision" in record else {})}
    shown = (f"{key}={_value(str(value)[: _LONGEST.get(key, _LONG)])}" for key, value in values.items() if value not in (None, ""))
    return "|".join([head[0], *map(_header, head[1:]), " ".join(shown)])


def _always(record: Mapping[str, Any]) -> dict[str, Any]:
    actor = record["actor"]
    numbered = {"cn1Label": "seq", "cn1": record["seq"]} if record["seq"] >= 0 else {}
    return {
        "rt": milliseconds(record["at"]), **numbered, "cnt": record["count"], "src": actor.get("address"), "suser": actor.get("name"),
        "msg": sentence(record), "cs5Label": "client", "cs5": ",".join([*actor["groups"], *filter(None, [actor["country"]])]) or "-",
        "cs6Label": "leaf", "cs6": record.get("leaf") or "-",
    }  # fmt: skip


def _decided(decision: Mapping[str, Any]) -> dict[str, Any]:
    rules = deciding(decision) or decision["rules"]
    matched = [f"{match['list']}:{match['entry']}" for match in decision["matches"][:MOST]]
    found: dict[str, Any] = {
        "act": decision["effect"], "outcome": "success" if serves({"decision": decision}) else "failure",
        "externalId": decision["id"], "request": decision["request"]["path"], "requestMethod": decision["request"]["method"],
        "requestClientApplication": decision["request"].get("user_agent"), "fname": file_of(decision).rpartition("/")[2],
        "reason": next((rule.get("cause") or rule["basis"] for rule in rules), ""), "cs1Label": "artifact", "cs1": decision["artifact"],
        "cs2Label": "rule", "cs2": ",".join(rule["id"] for rule in rules[:MOST]) or "-", "cn3Label": "status", "cn3": decision["status"],
        "cs4Label": "policy", "cs4": decision["policy"], "cat": "alert" if notable(decision) else "access",
    }  # fmt: skip
    if matched:
        found |= {"cs3Label": "list", "cs3": ",".join(matched), "cn2Label": "score", "cn2": score(decision)}
    return found


def _header(text: str) -> str:
    return _line(text.replace("\\", "\\\\").replace("|", "\\|"), " ")


def _value(text: str) -> str:
    return _line(text.replace("\\", "\\\\").replace("=", "\\="), "\\n")


def _line(text: str, newline: str) -> str:
    """Line ends as the format has them; no other control character."""
    return one_line(_ENDS.sub(lambda _: newline, text))
