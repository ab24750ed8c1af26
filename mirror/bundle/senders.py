"""Whose bundles are taken: public keys as people hand them over, in a file or in a line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from mirror.audit.notes import Verifier
from mirror.bundle.statement import ROLE, Signer, trusted
from mirror.core.errors import InputError, Problem
from mirror.durable import read_small
from mirror.policy.approval import Enrolled, Roll
from mirror.trust.enrolment import LARGEST, load_roll, read_card


def senders(given: Sequence[str]) -> tuple[dict[str, Signer], frozenset[str]]:
    """The keys that are given and the ids of revoked ones among them (`statement.opened`). Raises `InputError` with every problem.

    Each is a PEM file (SubjectPublicKeyInfo), a card with the role `sender`, a folder of cards, a file with a verifier key of a ledger
    (`name+id+base64`), or such a verifier key itself.
    """
    keys: dict[str, Signer] = {}
    revoked: set[str] = set()
    problems: list[Problem] = []
    for text in given:
        try:
            found, void = _senders(text)
        except InputError as error:
            problems += error.problems
            continue
        keys |= found
        revoked |= void
    if problems:
        raise InputError(problems)
    return keys, frozenset(revoked)


def public_key(text: str) -> Ed25519PublicKey:
    """One key, whatever it may sign: a PEM file, a card, a file with a verifier key, or a verifier key. Raises `InputError`."""
    found = _read(text)
    return found.public


def _senders(text: str) -> tuple[dict[str, Signer], frozenset[str]]:
    path = Path(text)
    if path.is_dir():
        keys, revoked = trusted(load_roll([path]))
        if not keys:
            raise InputError([Problem(text, "", f"holds no card with the role {ROLE}")])
        return keys, revoked
    found = _read(text)
    if isinstance(found, Signer):
        return {found.id: found}, frozenset()
    if ROLE not in found.roles:
        raise InputError([Problem(text, "roles", f"{found.person} is not enrolled as {ROLE}")])
    return trusted(Roll({found.id: found}))


def _read(text: str) -> Signer | Enrolled:
    path = Path(text)
    if not path.exists():
        return _verifier(text, "--key")
    data = read_small(path.resolve(), LARGEST)
    if data.startswith(b"-----BEGIN PUBLIC KEY-----"):
        return Signer(_pem(data, text), path.name)
    if b"\n" not in data.strip() and data.count(b"+") >= 2:
        return _verifier(data.decode("utf-8", "replace"), text)
    return read_card(data, text)


def _pem(data: bytes, source: str) -> Ed25519PublicKey:
    try:
        public = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise InputError([Problem(source, "", "is no public key (SubjectPublicKeyInfo, PEM)")]) from None
    if not isinstance(public, Ed25519PublicKey):
        raise InputError([Problem(source, "", "is no Ed25519 key")])
    return public


def _verifier(text: str, source: str) -> Signer:
    try:
        found = Verifier.read(text)
    except ValueError:
        said = f"{text[:60]!r} is neither a file with a public key nor a verifier key (name+id+base64)"
        raise InputError([Problem(source, "", said)]) from None
    return Signer(found.public, found.name)
