"""Mirror tokens: what they look like, how ours are known from others', and what is kept of one. Pure.

A token is `hf_mir` and 34 letters and digits: 22 of chance (131 bits), 6 of a checksum under the installation's own key, 6 of
a plain checksum over everything before. So a slip of the pen and a token of another installation are told apart, and both
from a good one, before anything is looked up. The checksums are no protection, they save work: what counts is the whole
token, of which a keyed hash alone is kept.
"""

from __future__ import annotations

import hmac
import re
import string
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final, Protocol

PREFIX: Final = "hf_mir"
#: Letters and digits behind the prefix: of chance, then of each checksum.
CHANCE: Final = 22
CHECK: Final = 6

_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_TOKEN: Final = re.compile(r"hf_mir[0-9A-Za-z]{34}")
_LIKE: Final = re.compile(r"hf_mir([0-9a-z]+)", re.IGNORECASE)
#: A hub's own token has 34 letters and digits behind `hf_`, and one in 240,000 of them begins with `mir`.
_OF_A_HUB: Final = len("hf_") + 34
#: So many characters behind the prefix are no word that somebody chose.
_TELLING: Final = 8


class Form(StrEnum):
    """What a text is, seen as a mirror token."""

    OURS = "ours"  # made by this installation, or by a guess at its checksum
    FOREIGN = "foreign"  # whole, and made under another key
    MISTYPED = "mistyped"  # a letter is wrong, missing or too many
    NONE = "none"  # no mirror token at all


@dataclass(frozen=True, slots=True)
class MirrorToken:
    """What is kept of a token. `digest` is its keyed hash (64 hex digits); `id` stands for it in records and lists.

    `name` is the one that `clients.groups.NAME.tokens` may state; `groups` are those it was made with. None for a time:
    it never expires, was never revoked.
    """

    id: str
    name: str
    digest: str
    groups: tuple[str, ...]
    note: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def alive(self, now: datetime) -> bool:
        """Whether it is neither revoked nor expired; `expires_at` is exclusive."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class TokenIndex(Protocol):
    """Where tokens are kept. Raises `IndexDown` throughout: whoever asks must not take silence for an answer."""

    async def tokens(self) -> Sequence[MirrorToken]:
        """All, revoked ones too, the oldest first."""

    async def tokens_state(self) -> tuple[int, int]:
        """Changes whenever a token is made or revoked; cheap."""

    async def put_token(self, token: MirrorToken) -> None:
        """Keep a new token."""

    async def revoke_token(self, token_id: str, at: datetime) -> bool:
        """Whether there was such a token that was not revoked yet."""


def make(key: bytes, chance: bytes) -> str:
    """A new token from 32 random bytes. It is to be shown once and kept nowhere."""
    if len(chance) < 32:
        raise ValueError("a token takes 32 random bytes")
    body = _digits(int.from_bytes(chance, "big"), CHANCE)
    head = PREFIX + body + _keyed(key, body)
    return head + _plain(head)


def digest(key: bytes, token: str) -> str:
    """The keyed hash under which a token is kept (HMAC-SHA-256, 64 hex digits)."""
    return hmac.new(key, f"mirror token\0{token}".encode(), sha256).hexdigest()


def form(key: bytes, text: str) -> Form:
    """What `text`, as a whole, is. Takes the same time for every text of a token's shape."""
    if not _TOKEN.fullmatch(text):
        return Form.MISTYPED if remains(key, text) else Form.NONE
    body, plain = text[len(PREFIX) : len(PREFIX) + CHANCE], hmac.compare_digest(_plain(text[:-CHECK]), text[-CHECK:])
    ours = hmac.compare_digest(_keyed(key, body), text[-2 * CHECK : -CHECK])
    return Form.MISTYPED if not plain else Form.OURS if ours else Form.FOREIGN


def remains(key: bytes, text: str) -> bool:
    """Whether a mirror token, or so much of one that it must not travel on, stands anywhere in `text`.

    A hub's own token that happens to begin with `hf_mir` is none, unless its checksum says that it is one of ours cut short.
    """
    for found in _LIKE.finditer(text):
        if len(found[0]) == _OF_A_HUB and found[0].startswith("hf_"):
            body = found[1][:CHANCE]
            if hmac.compare_digest(_keyed(key, body), found[1][CHANCE : CHANCE + CHECK]):
                return True
        elif len(found[1]) >= _TELLING:
            return True
    return False


def _keyed(key: bytes, body: str) -> str:
    mark = hmac.new(key, f"mirror token checksum\0{body}".encode(), sha256).digest()
    return _digits(int.from_bytes(mark, "big"), CHECK)


def _plain(head: str) -> str:
    return _digits(zlib.crc32(head.encode("ascii")), CHECK)


def _digits(number: int, length: int) -> str:
    found = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        found.append(_ALPHABET[digit])
    return "".join(found)
