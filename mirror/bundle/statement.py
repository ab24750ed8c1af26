"""What is signed of a bundle: an in-toto v1 Statement in a DSSE envelope. Pure.

Its subjects are the content manifests, which name every part with digest, size, type and title; its predicate says what the
bundle is to its receiver. One byte form: canonical JSON, parsed once, written again and compared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field

from mirror.bundle.faults import BundleFault
from mirror.bundle.oci import LARGEST_PART, LARGEST_STATEMENT, Part, safe_title
from mirror.core import dsse
from mirror.core.canonical import canonical, instant
from mirror.core.errors import InputError, Problem
from mirror.core.nouns import Digest
from mirror.decode import decode, parse_json
from mirror.policy.statements import Hexadecimal, Moment, Said

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    from mirror.policy.approval import Roll

#: in-toto Attestation Framework v1 (https://github.com/in-toto/attestation, spec/v1). `.example` (RFC 2606) is nobody's.
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://entrepot.example/attestation/bundle/v1"
#: The role that a card of `trust.verify` needs for it.
ROLE: Final = "sender"


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What a recall takes back: a pattern of the policy's grammar, and why."""

    artifact: Annotated[str, Field(min_length=1, max_length=1000)]
    reason: Said
    basis: Said = ""
    legal: bool = False


@dataclass(frozen=True, slots=True)
class Statement:
    """What a bundle is. `number` rises per `name`; `created` is UTC; `sender` is the origin of the sender's ledger.

    `previous`: the SHA-256 of the payload before (`""`: none); `since`: the number that a receiver of this delta has, or None.
    `requires`: blobs that the receiver must have already. `policy`, `catalogue` and `lists` (name to edition) were in force.
    `checkpoint`: the sender's ledger head (C2SP note). A recall withdraws and brings nothing; content withdraws nothing.
    """

    name: str
    number: int
    created: datetime
    sender: str
    contents: Part
    subjects: tuple[Part, ...]
    previous: str = ""
    since: int | None = None
    requires: tuple[Digest, ...] = ()
    withdrawn: tuple[Withdrawn, ...] = ()
    policy: str = ""
    catalogue: str = ""
    lists: Mapping[str, str] = field(default_factory=dict)
    checkpoint: str = ""
    purpose: Literal["content", "recall"] = "content"


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that may sign bundles made within [`since`, `until`), and whose it is."""

    public: Ed25519PublicKey
    name: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def id(self) -> str:
        """By which envelopes name it (`core.dsse.key_id`)."""
        return dsse.key_id(self.public)


def trusted(roll: Roll) -> tuple[dict[str, Signer], frozenset[str]]:
    """Of all enrolled keys (`trust.verify`) those that may sign bundles, by id, and the ids of those that were revoked.

    A revocation counts whatever the date: who has stolen a key can date what he signs, and a laboratory's clock may be wrong.
    """
    senders = {one.id: one for one in roll.keys.values() if ROLE in one.roles}
    keys = {one.id: Signer(one.public, one.person, one.since, one.until) for one in senders.values()}
    return keys, frozenset(one.id for one in senders.values() if one.revoked is not None)


def digest_of(payload: bytes) -> str:
    """The name of a statement in the next one (`previous`) and in receipts: the SHA-256 (hex) of its payload."""
    return sha256(payload).hexdigest()


def called(statement: str, bundle: str) -> str:
    """The line by which both ends tell a bundle apart: SHA-256 (hex) of its statement's payload and of its head manifest.

    For the telephone the former modulo 10^20, in four groups of five digits: who compares these knows that both speak of the same
    bundle; that nobody else made it, the signature says.
    """
    digits = f"{int(statement, 16) % 10**20:020d}"
    spoken = " ".join(digits[at : at + 5] for at in range(0, 20, 5))
    return f"statement sha256:{statement}, by telephone {spoken}; bundle sha256:{bundle}"


# --- writing ----------------------------------------------------------------------------------------------------------


def payload(statement: Statement) -> bytes:
    """The bytes that are signed."""
    one = statement
    predicate = {
        "catalogue": one.catalogue, "checkpoint": one.checkpoint, "contents": _described(one.contents), "created": instant(one.created),
        "lists": dict(one.lists), "name": one.name, "number": one.number, "policy": one.policy, "previous": one.previous,
        "purpose": one.purpose, "requires": [str(digest) for digest in one.requires], "sender": one.sender, "since": one.since,
        "withdrawn": [{"artifact": row.artifact, "basis": row.basis, "legal": row.legal, "reason": row.reason} for row in one.withdrawn],
    }  # fmt: skip
    return canonical({
        "_type": STATEMENT_TYPE, "predicate": predicate, "predicateType": PREDICATE_TYPE, "subject": [_described(part) for part in one.subjects],
    })  # fmt: skip


_bytes = payload  # a name that arguments do not hide


def _described(part: Part) -> dict[str, Any]:
    """A ResourceDescriptor (in-toto v1, resource_descriptor.md)."""
    return {
        "annotations": {"size": part.size}, "digest": {part.digest.algorithm: part.digest.hex}, "mediaType": part.media_type, "name": part.title,
    }  # fmt: skip


def sign(payload: bytes, keys: Sequence[Ed25519PrivateKey]) -> bytes:
    """The envelope, signed with each of `keys`."""
    envelope = dsse.Envelope(PAYLOAD_TYPE, payload)
    for key in keys:
        envelope = dsse.signed(envelope, key)
    return dsse.written(envelope)


# --- reading ----------------------------------------------------------------------------------------------------------

_Hash = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
_Optional = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
_Edition = Annotated[str, Field(max_length=200)]


@dataclass(frozen=True, slots=True)
class _Digests:
    sha256: Hexadecimal


@dataclass(frozen=True, slots=True)
class _Annotations:
    size: Annotated[int, Field(ge=0, le=LARGEST_PART, strict=True)]


@dataclass(frozen=True, slots=True)
class _Resource:
    annotations: _Annotations
    digest: _Digests
    media_type: Annotated[str, Field(alias="mediaType", max_length=255)]
    name: Annotated[str, Field(max_length=1000)]

    @property
    def part(self) -> Part:
        return Part(Digest("sha256", self.digest.sha256), self.annotations.size, self.media_type, self.name)


@dataclass(frozen=True, slots=True)
class _Predicate:
    catalogue: _Edition
    checkpoint: Annotated[str, Field(max_length=64 * 1024)]
    contents: _Resource
    created: Moment
    lists: dict[str, _Edition]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=80)]
    number: Annotated[int, Field(ge=1, le=2**53 - 1, strict=True)]
    policy: _Edition
    previous: _Optional
    purpose: Literal["content", "recall"]
    requires: tuple[_Hash, ...]
    sender: Annotated[str, Field(min_length=1, max_length=200)]
    since: Annotated[int, Field(ge=1, le=2**53 - 1, strict=True)] | None
    withdrawn: tuple[Withdrawn, ...]


@dataclass(frozen=True, slots=True)
class _Written:
    predicate: _Predicate
    predicate_type: Annotated[str, Field(alias="predicateType", max_length=200)]
    subject: tuple[_Resource, ...]
    type: Annotated[str, Field(alias="_type", max_length=200)]


def parse(payload: bytes, source: str) -> Statement:
    """The statement of a payload. Raises `InputError` with every problem."""
    try:
        raw = parse_json(payload)
        same = canonical(raw) == payload
    except (ValueError, TypeError):
        raise InputError([Problem(source, "payload", "is not JSON as it is signed")]) from None
    if not same:
        raise InputError([Problem(source, "payload", "is not canonical JSON (RFC 8785)")])
    if isinstance(raw, dict) and (raw.get("_type"), raw.get("predicateType")) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise InputError([Problem(source, "payload", f"is no in-toto statement of type {PREDICATE_TYPE}")])
    found = decode(_Written, raw, source, "payload")
    if problems := [Problem(source, f"payload.{place}", said) for place, said in _faults(found)]:
        raise InputError(problems)
    statement = _stated(found)
    if _bytes(statement) != payload:
        raise InputError([Problem(source, "payload.predicate.created", "is not a moment as records write it")])
    return statement


def _stated(found: _Written) -> Statement:
    one = found.predicate
    return Statement(
        one.name, one.number, one.created, one.sender, one.contents.part, tuple(row.part for row in found.subject), one.previous, one.since,
        tuple(Digest("sha256", text[7:]) for text in one.requires), one.withdrawn, one.policy, one.catalogue, one.lists, one.checkpoint, one.purpose,
    )  # fmt: skip


def _faults(found: _Written) -> Iterator[tuple[str, str]]:
    one = found.predicate
    if not found.subject:
        yield "subject", "names no content"
    names = [row.digest.sha256 for row in found.subject]
    if len(set(names)) != len(names):
        yield "subject", "names a manifest twice"
    if one.contents.name != safe_title(one.contents.name):
        yield "predicate.contents.name", "is no title"
    if (one.purpose == "recall") != bool(one.withdrawn):
        yield "predicate.withdrawn", "must name something in a recall, and nothing in content"
    if one.since is not None and one.since >= one.number:
        yield "predicate.since", "is not before number"
    if one.requires and one.since is None:
        yield "predicate.requires", "must be empty where since is not told: this is no delta"
    if (one.since is not None) and not one.previous:
        yield "predicate.previous", "is required in a delta"


def opened(envelope: bytes, keys: Mapping[str, Signer], revoked: Collection[str] = ()) -> Statement:
    """The statement of an envelope that a holder of one of `keys` has signed. Raises `BundleFault`.

    `revoked` are ids of keys that count for nothing, whatever date a statement gives itself. A signature by a known key that does
    not hold, or by a revoked one, voids the envelope; signatures by unknown keys are passed over, as long as one counts.
    """
    try:
        found = dsse.read(envelope, "statement", LARGEST_STATEMENT)
        if found.kind != PAYLOAD_TYPE:
            raise BundleFault("statement: payloadType", f"expected {PAYLOAD_TYPE}, found {found.kind[:100]!r}")
        if not found.signatures:
            raise BundleFault("statement", "is not signed")
        counted = _signers(found, keys, revoked)
        statement = parse(found.payload, "statement")
    except InputError as error:
        raise BundleFault("", "; ".join(map(str, error.problems[:8]))) from None
    for signer in counted:
        if (signer.since and statement.created < signer.since) or (signer.until and statement.created >= signer.until):
            raise BundleFault(
                "statement",
                f"is of {instant(statement.created)}, when the key {_short(signer.id, signer)} was not valid",
            )
    return statement


def signers(envelope: bytes, keys: Mapping[str, Signer]) -> tuple[Signer, ...]:
    """Which of `keys` an envelope that was `opened` bears."""
    return tuple(
        keys[one.key] for one in dsse.read(envelope, "statement", LARGEST_STATEMENT).signatures if one.key in keys
    )


def _signers(envelope: dsse.Envelope, keys: Mapping[str, Signer], revoked: Collection[str]) -> list[Signer]:
    named = [one.key for one in envelope.signatures]
    if len(set(named)) != len(named):
        raise BundleFault("statement", "is signed twice by the same key")
    for one in envelope.signatures:
        if one.key in revoked:
            raise BundleFault(
                "statement", f"is signed with the key {_short(one.key, keys.get(one.key))}, which was revoked"
            )
        if one.key in keys and not dsse.verifies(envelope, one, keys[one.key].public):
            raise BundleFault(
                "statement",
                f"has a signature of {_short(one.key, keys[one.key])} that does not hold: it was changed after it was signed",
            )
    found = [keys[one.key] for one in envelope.signatures if one.key in keys]
    if not found:
        raise BundleFault(
            "statement",
            f"is signed by {', '.join(_short(key, None) for key in named)}, which nobody here has said to trust",
        )
    return found


def _short(key: str, signer: Signer | None) -> str:
    """A key, for people: only what is printed."""
    shown = key[:16].encode("ascii", "replace").decode() if key.isprintable() else "(unprintable)"
    return f"{shown} ({signer.name})" if signer is not None and signer.name else shown
