"""Signed envelopes: DSSE v1 (https://github.com/secure-systems-lab/dsse, protocol.md and envelope.md) with Ed25519 (RFC 8032).

A signature is over `pae(type, payload)`: the exact bytes of the payload and what they are said to be, never over something
parsed. An envelope has one spelling only - canonical JSON, padded standard base64, one newline at the end - so that no bit
of its file can change without being noticed.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mirror.core.canonical import canonical
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

#: Bytes of an envelope's file, and of the signatures in it: both far beyond what people sign.
LARGEST: Final = 1024 * 1024
MOST_SIGNATURES: Final = 16


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature, and the id of the key that is said to have made it."""

    key: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """`payload` is what is signed, byte for byte, and `kind` says what it is (a media type)."""

    kind: str
    payload: bytes
    signatures: tuple[Signature, ...] = ()

    @property
    def digest(self) -> str:
        """The SHA-256 (hex) of what is signed: by this name other statements speak of it."""
        return sha256(pae(self.kind, self.payload)).hexdigest()


def pae(kind: str, payload: bytes) -> bytes:
    """The bytes that are signed: DSSE's pre-authentication encoding."""
    name = kind.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def key_id(public: Ed25519PublicKey) -> str:
    """The SHA-256 (hex) of the key's SubjectPublicKeyInfo (RFC 8410): `openssl pkey -pubin -outform DER | sha256sum`."""
    return sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def fingerprint(public: Ed25519PublicKey) -> str:
    """The key's id for the telephone: eight groups of five digits, the id modulo 10^40 (as hard to meet by chance as 132 bits)."""
    digits = f"{int(key_id(public), 16) % 10**40:040d}"
    return " ".join(digits[at : at + 5] for at in range(0, 40, 5))


def signed(envelope: Envelope, key: Ed25519PrivateKey) -> Envelope:
    """`envelope` with one signature more."""
    one = Signature(key_id(key.public_key()), key.sign(pae(envelope.kind, envelope.payload)))
    return replace(envelope, signatures=(*envelope.signatures, one))


def verifies(envelope: Envelope, signature: Signature, public: Ed25519PublicKey) -> bool:
    """Whether the holder of `public` signed exactly this payload as exactly this kind."""
    try:
        public.verify(signature.signature, pae(envelope.kind, envelope.payload))
    except InvalidSignature:
        return False
    return True


def written(envelope: Envelope) -> bytes:
    """The one byte form of an envelope."""
    rows = [{"keyid": one.key, "sig": base64.b64encode(one.signature).decode()} for one in envelope.signatures]
    payload = base64.b64encode(envelope.payload).decode()
    return canonical({"payload": payload, "payloadType": envelope.kind, "signatures": rows}) + b"\n"


def read(data: bytes, source: str, most: int = LARGEST) -> Envelope:
    """The envelope whose byte form is `data`, at most `most` bytes. Raises `InputError` for any other; does not say yet who signed."""
    if len(data) > most:
        raise InputError([Problem(source, "", f"larger than {most // 1024} KiB: no signed statement is")])
    try:
        envelope = _read(json.loads(data))
    except (ValueError, TypeError, KeyError, RecursionError):  # UnicodeDecodeError and binascii.Error are ValueErrors
        raise InputError([Problem(source, "", "not a signed envelope (DSSE)")]) from None
    if written(envelope) != data:
        raise InputError(
            [Problem(source, "", "not a signed envelope as they are written: it was changed after it was signed")]
        )
    if len(envelope.signatures) > MOST_SIGNATURES:
        raise InputError([Problem(source, "signatures", f"more than {MOST_SIGNATURES}")])
    return envelope


def _read(raw: Any) -> Envelope:
    rows = tuple(Signature(_text(row["keyid"]), _bytes(row["sig"])) for row in raw["signatures"])
    return Envelope(_text(raw["payloadType"]), _bytes(raw["payload"]), rows)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("expected a text")
    return value


def _bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(_text(value), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
