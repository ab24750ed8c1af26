"""Signed notes and checkpoints (C2SP signed-note and tlog-checkpoint, https://c2sp.org), with Ed25519 (RFC 8032). Pure.

A note is its text, which ends with a newline, an empty line, and a line a signature: `— <name> <base64(key id || signature)>`.
A checkpoint's text is the log's origin, the number of its records, the base64 of the root of their tree (RFC 6962), and
lines of extensions; ours has one where a key names its successor: `next-key <verifier key>`.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

#: What a signature line begins with: U+2014 and a space.
DASH: Final = "\u2014 "
#: The algorithm's byte of signed-note: Ed25519.
ED25519: Final = b"\x01"
#: Names of keys, and origins, which are the same here: no space, no plus sign, nothing that is not printed.
NAME: Final = re.compile(r"[!-*,-~]{1,200}\Z")
#: Bytes of the longest note that is read.
LONGEST: Final = 64 * 1024
SUCCESSOR: Final = "next-key "
_SIZE: Final = re.compile(r"(0|[1-9][0-9]{0,15})\Z")


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key under its name. `text` is how it is written: `<name>+<key id, hex>+<base64(algorithm || key)>`."""

    name: str
    public: Ed25519PublicKey

    @property
    def raw(self) -> bytes:
        """The key's 32 bytes."""
        return self.public.public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def id(self) -> bytes:
        """The four bytes by which signatures name it."""
        return sha256(self.name.encode() + b"\n" + ED25519 + self.raw).digest()[:4]

    @property
    def text(self) -> str:
        """As C2SP writes it."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(ED25519 + self.raw).decode()}"

    @classmethod
    def read(cls, text: str) -> Verifier:
        """Of `text`. Raises `ValueError`."""
        name, _, rest = text.strip().partition("+")
        _, _, key = rest.partition("+")
        data = _decoded(key)
        if data[:1] != ED25519 or len(data) != 33:
            raise ValueError("is no verifier key (name+id+key, Ed25519)")
        made = cls(name, Ed25519PublicKey.from_public_bytes(data[1:]))
        if made.text != text.strip() or not NAME.match(name):
            raise ValueError("is no verifier key: its id is not the one of name and key")
        return made

    @classmethod
    def of(cls, name: str, key: Ed25519PrivateKey) -> Verifier:
        """That of a private key."""
        return cls(name, key.public_key())


@dataclass(frozen=True, slots=True)
class Note:
    """A signed note. `signatures`: by name, key id and signature. That they hold is not said."""

    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]

    @property
    def data(self) -> bytes:
        """Its one byte form."""
        rows = (f"{DASH}{name} {base64.b64encode(identity + signature).decode()}\n" for name, identity, signature in self.signatures)
        return (self.text + "\n" + "".join(rows)).encode()

    def signed_by(self, verifier: Verifier) -> bool:
        """Whether this key has signed the text."""
        mine = [signature for name, identity, signature in self.signatures if name == verifier.name and identity == verifier.id]
        try:
            for signature in mine:
                verifier.public.verify(signature, self.text.encode())
        except InvalidSignature:
            return False
        return bool(mine)

    @classmethod
    def read(cls, data: bytes) -> Note:
        """Of its byte form. Raises `ValueError` for any other bytes."""
        if len(data) > LONGEST:
            raise ValueError("is longer than any note")
        text, found, rest = data.decode("utf-8").rpartition("\n\n")
        rows = tuple(_signature(line) for line in rest.removesuffix("\n").split("\n"))
        made = cls(text + "\n", rows)
        if not found or not text or not rows or made.data != data:
            raise ValueError("is no signed note")
        return made


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was signed: the first `size` records of the log `origin` have the tree's root `root`."""

    note: Note
    origin: str
    size: int
    root: bytes
    successor: str = ""

    @property
    def digest(self) -> str:
        """The SHA-256 (hex) of the note."""
        return sha256(self.note.data).hexdigest()

    @classmethod
    def read(cls, data: bytes) -> Checkpoint:
        """Of a note's bytes. Raises `ValueError`."""
        note = Note.read(data)
        lines = note.text.split("\n")[:-1]
        root = _decoded(lines[2]) if len(lines) > 2 else b""
        if len(root) != 32 or not _SIZE.match(lines[1]) or not lines[0] or not all(lines):
            raise ValueError("is no checkpoint: origin, size and root are expected")
        successor = next((line.removeprefix(SUCCESSOR) for line in lines[3:] if line.startswith(SUCCESSOR)), "")
        return cls(note, lines[0], int(lines[1]), root, successor)


def signed(text: str, *signers: tuple[Verifier, Ed25519PrivateKey]) -> Note:
    """A text with these signatures."""
    return Note(text, tuple((verifier.name, verifier.id, key.sign(text.encode())) for verifier, key in signers))


def checkpoint_text(origin: str, size: int, root: bytes, successor: str = "") -> str:
    """What is signed of a checkpoint."""
    extension = f"{SUCCESSOR}{successor}\n" if successor else ""
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n{extension}"


def notes_in(data: bytes) -> list[bytes]:
    """The notes of a file that holds several, one after another with an empty line between, as they are exported."""
    found: list[bytes] = []
    held: list[str] = []
    is_signed = False
    for line in re.findall(r"[^\n]*\n|[^\n]+\Z", data.decode("utf-8", "replace")):
        if is_signed and not line.startswith(DASH):
            found.append("".join(held).encode())
            held, is_signed = [], False
            if line == "\n":
                continue
        is_signed = is_signed or line.startswith(DASH)
        held.append(line)
    if held:
        found.append("".join(held).encode())
    return found


def _signature(line: str) -> tuple[str, bytes, bytes]:
    name, _, encoded = line.removeprefix(DASH).partition(" ")
    data = _decoded(encoded)
    if not line.startswith(DASH) or len(data) < 5 or not name:
        raise ValueError("is no signed note: a signature line is damaged")
    return name, data[:4], data[4:]


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is no signed note: not base64") from None
