"""What OCSF 1.8.0 says of an event, checked attribute by attribute from the published schema (tests/data/ocsf)."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TABLE = json.loads((Path(__file__).parents[1] / "data" / "ocsf" / "http_activity.json").read_text(encoding="utf-8"))
_CLASSES = {4002: ("http_activity", 4), 0: ("base_event", 0)}
_LONGEST_INTEGER = 2**63


def faults(event: dict[str, Any]) -> list[str]:
    """Everything in an event that the schema does not allow."""
    name, category = _CLASSES[event["class_uid"]]
    found = list(_object(event, TABLE["classes"][name], name))
    for key, want in (("category_uid", category), ("type_uid", event["class_uid"] * 100 + event["activity_id"])):
        if event[key] != want:
            found.append(f"{key} is {event[key]}, not {want}")
    if event["metadata"]["version"] != TABLE["tag"]:
        found.append("metadata.version is of another schema")
    return found


def _object(value: Any, kind: dict[str, Any], place: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{place}: not an object"
        return
    known = kind["attributes"]
    for key, row in known.items():
        if row["requirement"] == "required" and key not in value:
            yield f"{place}.{key}: required"
    for key, item in value.items():
        if key not in known:
            yield f"{place}.{key}: unknown"
            continue
        yield from _attribute(item, known[key], f"{place}.{key}")
        sibling = known[key].get("sibling")
        enum = known[key].get("enum", {})
        if sibling in value and str(item) in enum and item != 99 and key not in ("class_uid", "category_uid", "type_uid") and value[sibling] != enum[str(item)]:
            yield f"{place}.{sibling}: {value[sibling]!r} is not {enum[str(item)]!r}"
        if sibling and item == 99 and sibling not in value:
            yield f"{place}.{sibling}: required beside 99"
    for rule, keys in (kind.get("constraints") or {}).items():
        there = sum(key in value for key in keys)
        if (rule == "at_least_one" and not there) or (rule == "just_one" and there != 1):
            yield f"{place}: {rule} of {keys}"


def _attribute(item: Any, row: dict[str, Any], place: str) -> Iterator[str]:
    if row.get("array"):
        if not isinstance(item, list) or not item:
            yield f"{place}: not an array"
            return
        for one in item:
            yield from _value(one, row, place)
    else:
        yield from _value(item, row, place)


def _value(item: Any, row: dict[str, Any], place: str) -> Iterator[str]:
    kind = row["type"]
    if kind in TABLE["objects"]:
        yield from _object(item, TABLE["objects"][kind], place)
    elif kind == "boolean_t":
        if type(item) is not bool:
            yield f"{place}: not a boolean"
    elif kind in ("integer_t", "long_t", "timestamp_t", "port_t"):
        if type(item) is not int or abs(item) >= _LONGEST_INTEGER:
            yield f"{place}: {item!r} is not a whole number"
        elif "enum" in row and str(item) not in row["enum"] and place.rpartition(".")[2] not in ("class_uid", "category_uid", "type_uid"):
            yield f"{place}: {item} is not in the enumeration"
    elif kind in ("json_t", "object"):
        if not isinstance(item, dict):
            yield f"{place}: not an object"
    elif kind.endswith("_t"):
        if not isinstance(item, str) or not item:
            yield f"{place}: {item!r} is no text"
        elif kind == "ip_t":
            try:
                ipaddress.ip_address(item)
            except ValueError:
                yield f"{place}: no address"
    else:
        yield f"{place}: objects of type {kind} are not in the table"
