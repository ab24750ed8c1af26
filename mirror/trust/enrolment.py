"""Enrolled public keys: a card each, a YAML file that says whose key it is and what it may sign (`trust.verify`)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from pydantic import Field

from mirror.core import dsse
from mirror.core.errors import InputError, Problem
from mirror.decode import decode, load_yaml
from mirror.durable import read_small
from mirror.policy.approval import Enrolled, Roll, unendorsed
from mirror.policy.dates import instant
from mirror.policy.grammar import Day
from mirror.policy.statements import KEY, Person, Said

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LARGEST: Final = 64 * 1024
#: What stands beside a file whose bytes somebody signed.
SIGNED: Final = ".sig"


@dataclass(frozen=True, slots=True)
class Card:
    """A card as it is written. Dates are UTC; `from` is inclusive, `until` and `revoked` are exclusive."""

    person: Person
    roles: tuple[Literal["requester", "approver", "reviewer", "catalogue", "sender"], ...]
    key: str
    since: Annotated[Day, Field(alias="from")]
    until: Day = None
    name: Said = ""
    revoked: Day = None
    replaces: str = ""
    version: Literal[1] = 1


def cards(paths: Sequence[Path]) -> Iterator[Path]:
    """The card files that `trust.verify` names: files, and every `*.yaml` of folders."""
    for path in paths:
        yield from sorted(path.glob("*.y*ml")) if path.is_dir() else (path,)


def card_text(key: Enrolled) -> str:
    """A card for `key`, to be enrolled."""
    pem = key.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    lines = [
        f"# key {key.id}",
        "version: 1",
        f"person: {key.person}",
        *([f"name: {json.dumps(key.name, ensure_ascii=False)}"] if key.name else []),
        f"roles: [{', '.join(sorted(key.roles))}]",
        f"from: {key.since:%Y-%m-%d}",
        *([f"until: {key.until:%Y-%m-%d}"] if key.until else []),
        *([f'replaces: "{key.replaces}"'] if key.replaces else []),
        "key: |",
        *(f"  {line}" for line in pem.splitlines()),
    ]
    return "\n".join(lines) + "\n"


def load_roll(paths: Sequence[Path]) -> Roll:
    """Every enrolled key. Raises `InputError` with every problem of every card: a roll is whole or it is not in force."""
    problems: list[Problem] = []
    found: list[tuple[str, Enrolled]] = []
    endorsed: dict[str, tuple[dsse.Envelope, Enrolled]] = {}
    for path in cards(paths):
        try:
            key = read_card(read_small(path, LARGEST), str(path))
            if key.replaces and (beside := path.with_name(path.name + SIGNED)).is_file():
                envelope = dsse.read(read_small(beside, dsse.LARGEST), str(beside))
                if envelope.kind == KEY:
                    endorsed[key.id] = envelope, read_card(envelope.payload, str(beside))
        except InputError as error:
            problems += error.problems
            continue
        twin = next((source for source, other in found if other.id == key.id), None)
        if twin is not None:
            problems.append(Problem(str(path), "key", f"is the key of {twin} already"))
        found.append((str(path), key))
    problems += unendorsed(found, endorsed)
    if problems:
        raise InputError(problems)
    return Roll({key.id: key for _, key in found})


def read_card(data: bytes, source: str) -> Enrolled:
    """The key of a card's bytes. Raises `InputError` with every problem."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError([Problem(source, f"byte {error.start}", "not UTF-8")]) from None
    card = decode(Card, load_yaml(text, source), source)
    try:
        public = load_pem_public_key(card.key.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise InputError([Problem(source, "key", "is no public key (SubjectPublicKeyInfo, PEM)")]) from None
    if not isinstance(public, Ed25519PublicKey):
        raise InputError([Problem(source, "key", "is no Ed25519 key")])
    since, until, revoked = (instant(one, UTC) for one in (card.since, card.until, card.revoked))
    if since is None or (until is not None and until <= since):
        raise InputError([Problem(source, "from", "is required" if since is None else "is not before until")])
    if not card.roles:
        raise InputError([Problem(source, "roles", "names no role: requester, approver, reviewer")])
    return Enrolled(dsse.key_id(public), public, card.person, card.name or card.person, frozenset(card.roles), since, until, revoked, card.replaces)
