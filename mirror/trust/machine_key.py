"""The mirror's own signing key on disk: one file, and beside it, for as long as a rotation takes, the key that comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mirror.core.errors import InputError, Problem
from mirror.durable import sync_folder
from mirror.trust.keyfiles import read_key, write_key

if TYPE_CHECKING:
    from pathlib import Path


class MachineKey:
    """`path`, and `<path>.next`. Without a passphrase: who starts a server at night cannot be asked. Mode 0600."""

    def __init__(self, path: Path, *, given: bool = False) -> None:
        """`given`: somebody named this file, so that it must be there and is not made."""
        self.path, self._given = path, given
        self._next = path.with_name(path.name + ".next")

    def current(self) -> Ed25519PrivateKey | None:
        """The key, or None where there is none. Raises `InputError` for a file that is no such key."""
        return self._read(self.path)

    def proposed(self) -> Ed25519PrivateKey | None:
        """The key that was to come next when a rotation was cut short, or None. Raises `InputError`."""
        return self._read(self._next)

    def make(self) -> Ed25519PrivateKey:
        """A new key where there is none. Raises `InputError`."""
        if self._given:
            said = "there is no such key: `openssl genpkey -algorithm ed25519` makes one (chmod 600)"
            raise InputError([Problem("trust.signing_key", str(self.path), said)])
        key = Ed25519PrivateKey.generate()
        write_key(self.path, key, None)
        return key

    def propose(self, key: Ed25519PrivateKey | None = None) -> Ed25519PrivateKey:
        """Put a key, or a new one, beside the one in use. Raises `InputError`."""
        made = key if key is not None else Ed25519PrivateKey.generate()
        self._next.unlink(missing_ok=True)
        write_key(self._next, made, None)
        return made

    def adopt(self) -> None:
        """The proposed key takes the place of the one in use, which is gone then. Raises `OSError`."""
        self._next.replace(self.path)
        sync_folder(self.path.parent)

    def _read(self, path: Path) -> Ed25519PrivateKey | None:
        return read_key(path, lambda: _nobody(path)) if path.exists() else None


def _nobody(path: Path) -> str:
    raise InputError([Problem(str(path), "", "has a passphrase, and nobody to ask for it: the mirror's own key is kept without")])
