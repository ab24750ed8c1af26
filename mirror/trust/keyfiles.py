"""Private keys on disk: Ed25519 as PKCS #8 (RFC 8410), encrypted under a passphrase (PBES2, RFC 8018) unless told otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from mirror.core.errors import InputError, Problem
from mirror.durable import read_small, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_LARGEST: Final = 16 * 1024
#: Characters of the shortest passphrase that is taken.
SHORTEST: Final = 8


def write_key(path: Path, key: Ed25519PrivateKey, passphrase: str | None) -> None:
    """Write a new key file, readable by its owner only. None leaves it unencrypted. Raises `InputError`; never overwrites."""
    if passphrase is not None and len(passphrase) < SHORTEST:
        raise InputError([Problem("passphrase", "", f"has fewer than {SHORTEST} characters")])
    how = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase.encode())
    try:
        write_whole(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how), mode=0o600, replace=False)
    except FileExistsError:
        raise InputError([Problem(str(path), "", "is there already; a key is never overwritten")]) from None
    except OSError as error:
        raise InputError([Problem(str(path), "", error.strerror or "cannot be written")]) from None


def read_key(path: Path, ask: Callable[[], str]) -> Ed25519PrivateKey:
    """The key of a file; `ask` gives its passphrase where it has one. Raises `InputError` with one clear problem."""
    data = read_small(path, _LARGEST)
    if path.stat().st_mode & 0o077:
        raise InputError([Problem(str(path), "", "others may read this key: chmod 600")])
    try:
        key = _loaded(data, ask)
    except UnsupportedAlgorithm:
        raise InputError([Problem(str(path), "", "is a kind of key that is not known here")]) from None
    except ValueError as error:
        wrong = "decrypt" in str(error).lower() or "password" in str(error).lower()
        said = "the passphrase is not the one of this key" if wrong else "holds no private key (PKCS #8, PEM)"
        raise InputError([Problem(str(path), "", said)]) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError([Problem(str(path), "", "is no Ed25519 key")])
    return key


def _loaded(data: bytes, ask: Callable[[], str]) -> object:
    try:
        return load_pem_private_key(data, None)
    except TypeError:  # it is encrypted
        return load_pem_private_key(data, ask().encode())
