"""The keys of pseudonyms, one for each period: a folder of its own, apart from the ledger, so that who has the one cannot read the other.

`key-<number>` is JSON: `number`, `since` (RFC 3339), `key` (32 bytes, hex), mode 0600. The newest is in use; when it has been for as long as
`rotate` says, another is made. A key is destroyed when all that was recorded under it has had its time: from then on nobody can tell
whose pseudonyms those were, not even with the address in hand.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from mirror.core.canonical import instant
from mirror.core.errors import InputError, Problem
from mirror.durable import read_small, sync_folder, write_whole

if TYPE_CHECKING:
    from pathlib import Path

_NAME: Final = re.compile(r"key-([0-9]{4})\Z")
_LARGEST: Final = 4096
#: How much of a keyed hash is a pseudonym, in hex digits.
DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class Period:
    """A key, and from when it was used. `until` is when the next one was made, None for the one in use."""

    number: int
    since: datetime
    key: bytes = field(repr=False)
    until: datetime | None = None


def pseudonym(key: bytes, subject: str) -> str:
    """What stands for an address, a certificate or a credential, without its letter."""
    return hmac.new(key, f"pseudonym\0{subject}".encode(), hashlib.sha256).hexdigest()[:DIGITS]


class PseudonymKeys:
    """The keys of one installation; several processes may share the folder."""

    def __init__(self, folder: Path, rotate: timedelta) -> None:
        self.folder, self._rotate = folder, rotate
        self._current: Period | None = None

    def periods(self) -> list[Period]:
        """Every key that is there, in order. Raises `InputError` for a file that is none; one that was overwritten is a key no more."""
        found: list[Period] = []
        names = sorted(path.name for path in self.folder.iterdir() if _NAME.match(path.name)) if self.folder.is_dir() else []
        for name in names:
            one = _read(self.folder / name)
            if one is None:
                continue
            if found:
                found[-1] = Period(found[-1].number, found[-1].since, found[-1].key, one.since)
            found.append(one)
        return found

    def current(self, now: datetime) -> Period:
        """The key to use: the newest, or a new one where it has been in use for long enough. Raises `InputError`, `OSError`."""
        known = self.periods()
        if not known or now - known[-1].since >= self._rotate:
            self._make(known[-1].number + 1 if known else 1, now)
            known = self.periods()
        self._current = known[-1]
        return known[-1]

    def changed(self, now: datetime) -> bool:
        """Whether another key is to be used than `current` gave last. Raises as that."""
        before = self._current
        return self.current(now) != before

    @property
    def key(self) -> bytes:
        """The key in use, as `current` gave it last."""
        if self._current is None:
            raise InputError([Problem(str(self.folder), "", "no key was asked for yet")])
        return self._current.key

    def ended(self, before: datetime) -> list[Period]:
        """Keys that were in use no more at `before`."""
        return [one for one in self.periods() if one.until is not None and one.until <= before]

    def destroy(self, number: int) -> None:
        """Overwrite and remove a key. Raises `OSError`."""
        path = self.folder / f"key-{number:04d}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.pwrite(descriptor, b"\0" * os.fstat(descriptor).st_size, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        path.unlink()
        sync_folder(self.folder)

    def _make(self, number: int, now: datetime) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        stated = {"number": number, "since": instant(now), "key": secrets.token_hex(32)}
        try:
            write_whole(self.folder / f"key-{number:04d}", json.dumps(stated).encode() + b"\n", mode=0o600, replace=False)
        except FileExistsError:
            return  # another process was first: its key is the one


def _read(path: Path) -> Period | None:
    """A key; None for one whose destruction was cut short after it was overwritten, which must not keep a mirror from starting."""
    data = read_small(path, _LARGEST)
    if data and not any(data):
        return None
    try:
        stated = json.loads(data)
        key = bytes.fromhex(stated["key"])
        since = datetime.fromisoformat(stated["since"])
        if len(key) != 32 or since.tzinfo is None or path.name != f"key-{int(stated['number']):04d}":
            raise ValueError
        return Period(int(stated["number"]), since, key)
    except (ValueError, KeyError, TypeError):
        raise InputError([Problem(str(path), "", "is no key of pseudonyms")]) from None
