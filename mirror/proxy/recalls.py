"""What senders of bundles have taken back: the files of it, and the rules that they make here."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from mirror.core import dsse
from mirror.core.errors import InputError, Problem
from mirror.decode import decode, parse_json
from mirror.durable import read_small
from mirror.policy.amend import RECALLED
from mirror.policy.statements import Deny, Recall

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How much of a name goes into the id of a rule, which has 80 characters at most.
_LONGEST: Final = 30


@dataclass(frozen=True, slots=True)
class Recalled:
    """The file of a withdrawal. `statement` is the SHA-256 of what was signed; `by` is the sender's name on the card enrolled here.

    The last four are empty (0) in files of earlier releases. `day` is the date at which the sender signed.
    """

    statement: str
    sender: str
    denies: tuple[Deny, ...]
    version: Literal[1] = 1
    by: str = ""
    name: str = ""
    number: int = 0
    day: str = ""

    @property
    def rule(self) -> str:
        """The id of its rule, which people are shown and by which it is lifted; empty for files of earlier releases."""
        return f"{RECALLED}{_word(self.by)}-{_word(self.name)}-{self.number}" if self.by else ""

    @property
    def told(self) -> str:
        """Who took it back, and with what."""
        return f"withdrawn by {self.by}, {self.sender}, with bundle {self.name} {self.number} of {self.day}" if self.by else f"withdrawn by {self.sender}"

    def rules(self) -> Iterator[Recall]:
        """What is in force of it: each with a reason that says who withdrew it."""
        for at, one in enumerate(self.denies):
            yield Recall(self.rule and self.rule + (f"-{at + 1}" if at else ""), replace(one, reason=f"{one.reason} ({self.told})"))


def _word(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.casefold())[:_LONGEST].strip("-")


def folder(data: Path) -> Path:
    """Where withdrawals in force lie."""
    return data / "bundles" / "recalled"


def recall_file(data: Path, name: str) -> Path:
    """Where a withdrawal that a signed bundle brought lies: it refuses like an emergency deny for as long as it does."""
    return folder(data) / f"{name}.json"


def lifted_file(path: Path) -> Path:
    """Where the file of a withdrawal is kept once it was lifted."""
    return path.parent / "lifted" / path.name


def files(data: Path) -> list[Path]:
    """The withdrawals in force."""
    return sorted(folder(data).glob("*.json"))


def read(path: Path) -> Recalled:
    """One of them. Raises `InputError`, `OSError`."""
    try:
        return decode(Recalled, parse_json(read_small(path, dsse.LARGEST)), str(path))
    except ValueError as error:
        raise InputError([Problem(str(path), "", str(error))]) from None


def in_force(data: Path) -> tuple[tuple[Recall, ...], tuple[Problem, ...]]:
    """The rules of all, no two of one id, and those that cannot be read."""
    found: dict[str, Recall] = {}
    problems: list[Problem] = []
    for path in files(data):
        try:
            fresh = list(read(path).rules())
        except (InputError, OSError) as error:
            problems.append(Problem(str(path), "", f"a withdrawal cannot be read and is not in force: {error}"))
            continue
        for one in fresh:  # two senders may have cards of one name at different times
            key = one.rule or one.deny.id
            found[key if key not in found else one.deny.id] = one if key not in found else replace(one, rule="")
    return tuple(found.values()), tuple(problems)
