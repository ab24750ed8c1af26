"""Signed statements as files: `data/waivers`, `data/denies`, `data/releases`, `data/views`, one envelope each, named by the id of what they say.

`W-….request.json`, `W-….waiver.json`, `W-….rejection.json`; `D-….deny.json`, `D-….lift.json`; `R-….release.json`, `.refusal.json`, `.withdrawal.json`; `V-….view.json`. They can be carried away and
verified anywhere with the enrolled keys alone.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from mirror.core import dsse
from mirror.core.errors import InputError, Problem
from mirror.durable import alone, read_small, write_whole
from mirror.policy import statements

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FOLDERS: Final = {"W": "waivers", "D": "denies", "R": "releases", "V": "views"}
#: Those that have a say in what is served.
_RULING: Final = "WDR"
#: What a file's name says of it.
KINDS: Final = {
    "request": statements.REQUEST, "waiver": statements.GRANT, "rejection": statements.REJECTION,
    "deny": statements.DENY, "lift": statements.LIFT,
    "release": statements.RELEASE, "refusal": statements.REFUSAL, "withdrawal": statements.WITHDRAWAL,
    "view": statements.OPENING,
}  # fmt: skip
_NAME: Final = re.compile(r"([WDRV]-[0-9A-HJKMNP-TV-Z]{26})\.([a-z]+)\.json\Z")


@dataclass(frozen=True, slots=True)
class Found:
    """A statement as it was found. `raw` are the bytes of its envelope; `source` names it in problems."""

    id: str
    word: str
    envelope: dsse.Envelope
    statement: Any
    raw: bytes
    source: str

    @property
    def digest(self) -> str:
        """The SHA-256 (hex) of the envelope with its signatures."""
        return sha256(self.raw).hexdigest()


class Drawer:
    """The statements below a data folder. Nothing here says that a signature holds."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def paths(self) -> Iterator[Path]:
        """Every file that is or would be a statement with a say in what is served, in order: one with another name is told of, not passed over."""
        for letter in _RULING:
            directory = self._data / _FOLDERS[letter]
            with suppress(OSError):  # there is none, or none that we may read: what was accepted holds
                yield from sorted(path for path in directory.iterdir() if path.suffix == ".json")

    def path(self, identity: str, word: str) -> Path:
        """Where a statement lies."""
        return self._data / _FOLDERS[identity[0]] / f"{identity}.{word}.json"

    def all(self) -> tuple[list[Found], list[Problem]]:
        """Every statement that can be read, and what is wrong with the others."""
        found: list[Found] = []
        problems: list[Problem] = []
        for path in self.paths():
            try:
                found.append(self._found(path))
            except InputError as error:
                problems += error.problems
        return found, problems

    def get(self, identity: str, word: str) -> Found | None:
        """One statement, or None. Raises `InputError` for a file that is none."""
        path = self.path(identity, word)
        return self._found(path) if path.exists() or path.is_symlink() else None

    def put(self, identity: str, word: str, envelope: dsse.Envelope) -> Path:
        """Write a new statement. Raises `InputError` where there is one."""
        path = self.path(identity, word)
        try:
            write_whole(path, dsse.written(envelope), replace=False)
        except FileExistsError:
            raise InputError([Problem(str(path), "", "is there already")]) from None
        except OSError as error:
            raise InputError([Problem(str(path), "", error.strerror or "cannot be written")]) from None
        return path

    def sign(self, before: Found, envelope: dsse.Envelope) -> None:
        """Put `envelope`, which has one signature more, in the place of `before`. Raises `InputError` where that has changed."""
        path = self.path(before.id, before.word)
        with alone(self._data / "approvals" / "lock"):
            if read_small(path, dsse.LARGEST) != before.raw:
                raise InputError([Problem(str(path), "", "was changed meanwhile; look again")])
            write_whole(path, dsse.written(envelope))

    def _found(self, path: Path) -> Found:
        return found_in(read_small(path, dsse.LARGEST), path.name, str(path))


def found_in(raw: bytes, name: str, source: str) -> Found:
    """The statement of an envelope's bytes, which must be the one that `name` says. Raises `InputError`."""
    match = _NAME.match(name)
    if match is None or match[2] not in KINDS:
        raise InputError([Problem(source, "", "has not the name of a statement")])
    envelope = dsse.read(raw, source)
    statement = statements.read(envelope, KINDS[match[2]], source)
    if statement.id != match[1]:
        raise InputError([Problem(source, "payload.id", f"is {statement.id}, and the file is named {match[1]}")])
    return Found(match[1], match[2], envelope, statement, raw, source)
