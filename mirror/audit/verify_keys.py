"""Part of `verify_pack`, which runs without the product: who may sign for a ledger, and signed envelopes. Standard library only."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from mirror.audit.verify_decision import Wrong, ed25519_holds, key_of, signature_in

if TYPE_CHECKING:
    from collections.abc import Mapping

# --- keys and signatures ----------------------------------------------------------------------------------------------

#: What a broken file may raise.
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)


def envelope_of(data: bytes, kind: str) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Payload and signatures of a DSSE envelope in its one spelling. Raises `Wrong`."""
    try:
        raw = json.loads(data)
        rows = [(row["keyid"], base64.b64decode(row["sig"], validate=True)) for row in raw["signatures"]]
        payload = base64.b64decode(raw["payload"], validate=True)
        shown = {
            "payload": base64.b64encode(payload).decode(), "payloadType": kind,
            "signatures": [{"keyid": key, "sig": base64.b64encode(signature).decode()} for key, signature in rows],
        }  # fmt: skip
        written = json.dumps(shown, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
    except UNREADABLE:
        raise Wrong("is no signed envelope (DSSE)") from None
    if written != data:
        raise Wrong(f"is no signed envelope of the kind {kind}")
    return payload, rows


class Keys:
    """Who may sign from which record on, as the ledger's own records say, and the gaps that were owned up to."""

    def __init__(self) -> None:
        self.eras: list[tuple[int, str, str]] = []
        self.gaps: list[tuple[int, int, int]] = []
        self.statements: list[tuple[int, int, bytes]] = []

    def add(self, record: Mapping[str, Any]) -> None:
        """A `key` or `recovered` record. Raises `Wrong`."""
        detail = record.get("detail", {})
        if record["kind"] == "recovered" and "gap" in detail:
            self.gaps.append((record["seq"], int(detail["gap"]["since"]), int(detail["gap"]["published"])))
        if record["kind"] != "key":
            return
        key, how, before = detail["key"], detail["outcome"], self.eras[-1][1] if self.eras else ""
        size, found, text = noted(detail["statement"], key)
        if f"next-key {key}" not in text.split("\n") or size > record["seq"]:
            raise Wrong(f"record {record['seq']}: the statement names another key")
        if how == "rotated":
            noted(detail["statement"], before)
        if (how == "made") != (not before):
            raise Wrong(f"record {record['seq']}: the first key of a ledger is made, and no other")
        self.eras.append((record["seq"], key, how))
        self.statements.append((record["seq"], size, found))

    def in_force(self, size: int) -> str:
        """The key that signs checkpoints of `size` records. Raises `Wrong`."""
        for sequence, key, _ in reversed(self.eras):
            if sequence < size:
                return key
        raise Wrong("no record names the key that signs")

    def led_to(self, given: list[str]) -> dict[str, bytes]:
        """The keys that are given, and all to which they were handed over by their own signature."""
        found, before = list(given), ""
        for _, key, how in self.eras:
            if how == "rotated" and before in found and key not in found:
                found.append(key)
            before = key
        return {key: key_of(key)[2] for key in found}


def noted(note: str, key: str) -> tuple[int, bytes, str]:
    """Size, root and text of a checkpoint that `key` has signed. Raises `Wrong`."""
    name, identity, public = key_of(key)
    text, signature = signature_in(note, name, identity)
    lines = text.decode().split("\n")
    if lines[0] != name or not ed25519_holds(public, text, signature):
        raise Wrong("the signature of the checkpoint does not hold")
    return int(lines[1]), base64.b64decode(lines[2], validate=True), text.decode()
