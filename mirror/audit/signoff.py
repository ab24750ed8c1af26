"""A manifest signed by the mirror's own key: a DSSE envelope beside it that names it by SHA-256 (ADR 18). Pure.

A manifest may be larger than any statement that people sign, so what is signed is its digest, its size and the moment.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from mirror.audit.custody import ROTATED
from mirror.core import dsse
from mirror.core.canonical import canonical, instant
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from mirror.audit.custody import Custody
    from mirror.audit.notes import Verifier

#: What a signature file is called beside the manifest `manifest.json`.
SIGNATURE: Final = "manifest.dsse.json"


@dataclass(frozen=True, slots=True)
class Signoff:
    """Who signed, by which key, and when they say that they did (RFC 3339)."""

    key: str
    at: str


def signed_off(kind: str, name: str, manifest: bytes, key: Ed25519PrivateKey, at: datetime) -> bytes:
    """The envelope's file for a manifest. `kind` is the media type of what the manifest is of."""
    stated = {"at": instant(at), "manifest": {"name": name, "sha256": sha256(manifest).hexdigest(), "size": len(manifest)}}
    return dsse.written(dsse.signed(dsse.Envelope(kind, canonical(stated)), key))


def read_signoff(kind: str, name: str, manifest: bytes, envelope: bytes, keys: Iterable[Verifier], source: str) -> Signoff:
    """Which of `keys` signed this very manifest. Raises `InputError` with what does not hold."""
    found = dsse.read(envelope, source)
    try:
        stated: Any = json.loads(found.payload)
        named, at = stated["manifest"], str(stated["at"])
    except (ValueError, KeyError, TypeError):
        raise InputError([Problem(source, "payload", "names no manifest")]) from None
    if found.kind != kind:
        raise InputError([Problem(source, "payloadType", f"is {found.kind}, and not {kind}")])
    if named != {"name": name, "sha256": sha256(manifest).hexdigest(), "size": len(manifest)}:
        raise InputError([Problem(source, "payload.manifest", f"is of another {name} than the one that lies beside it")])
    for key in keys:
        identity = dsse.key_id(key.public)
        if any(one.key == identity and dsse.verifies(found, one, key.public) for one in found.signatures):
            return Signoff(key.text, at)
    raise InputError([Problem(source, "signatures", "none is by a key that is trusted here")])


def led_to(custody: Custody, trusted: Iterable[Verifier]) -> list[Verifier]:
    """`trusted`, and every key to which one of them was handed over by its own signature."""
    found, before = list(trusted), ""
    known = {one.text for one in found}
    for era in custody.eras:
        if era.how == ROTATED and before in known and era.verifier.text not in known:
            found.append(era.verifier)
            known.add(era.verifier.text)
        before = era.verifier.text
    return found
