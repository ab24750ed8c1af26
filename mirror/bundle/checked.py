"""A whole bundle, verified: who signed it, and every byte."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from mirror.bundle.hashing import CHUNK
from mirror.bundle.layout import BundleReader
from mirror.bundle.statement import Signer, Statement, digest_of, signers
from mirror.core import dsse


@dataclass(frozen=True, slots=True)
class Verified:
    """A bundle of which every byte is what `signers` signed for. `digest` names the bundle, `stated` its statement (`statement.digest_of`); `size` in bytes, of all parts."""

    digest: str
    stated: str
    statement: Statement
    signers: tuple[Signer, ...]
    parts: int
    size: int


def verify(path: Path, keys: Mapping[str, Signer], revoked: Collection[str] = ()) -> Verified:
    """Read all of a bundle. Raises `BundleFault` with the first thing that does not hold.

    The signature comes first: of a bundle that nobody here trusts, no part is read, so that nobody decides how much is hashed.
    """
    buffer = bytearray(CHUNK)
    with BundleReader(path) as reader:
        statement = reader.signed(keys, revoked)
        for part in reader.parts.values():
            with reader.open(part) as file:
                while file.readinto(buffer):  # type: ignore[attr-defined]
                    pass
        return Verified(reader.digest, _stated(reader), statement, signers(reader.envelope, keys), len(reader.parts), reader.size)


def _stated(reader: BundleReader) -> str:
    return digest_of(dsse.read(reader.envelope, "statement", len(reader.envelope)).payload)
