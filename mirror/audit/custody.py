"""Who may sign for a ledger, as its own records say: the chain of its keys, and the gaps that were owned up to. Pure.

A `key` record names a key from its sequence on. Its `statement` is a checkpoint of the records before it with the line
`next-key <key>`, signed by the key before and by the new one: nobody without the old key can name another, and the new one
is held by whoever asked for it. `replaced` stands where the old key was lost; it is told of each time the ledger is verified.

A `recovered` record with a `gap` says that a checkpoint had been published which this ledger does not reach, or
contradicts: it was restored from an older copy, and somebody said so instead of going on as if nothing had been.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mirror.audit.notes import Checkpoint, Verifier
from mirror.audit.tree import root

if TYPE_CHECKING:
    from mirror.audit.tree import Node

MADE: Final = "made"
ROTATED: Final = "rotated"
REPLACED: Final = "replaced"
_ABOUT: Final = b',"subject":"ledger"}\n'
_KEY: Final = b'"kind":"key"'
_RECOVERED: Final = b'"kind":"recovered"'
#: Bytes from `kind` to the end of a record with the subject `ledger`, and some to spare.
_TAIL: Final = 400


def is_anchor(line: bytes) -> bool:
    """Whether a record's line could be one that custody is made of; `Custody.add` knows.

    These are about the ledger, so that what follows `kind` in them is short.
    """
    if not line.endswith(_ABOUT):
        return False
    return line.find(_KEY, -_TAIL) >= 0 or (line.find(_RECOVERED, -_TAIL) >= 0 and b'"gap":{' in line)


@dataclass(frozen=True, slots=True)
class Era:
    """From the record `sequence` on, `verifier` signs. `how`: made, rotated, replaced."""

    sequence: int
    verifier: Verifier
    statement: Checkpoint
    how: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Record `sequence` tells that history after `since` records, up to `published`, is not the one that had been signed.

    `digest` is the SHA-256 of the note that showed it.
    """

    sequence: int
    since: int
    published: int
    digest: str


class Custody:
    """The keys and gaps of a ledger, from its records in order."""

    def __init__(self) -> None:
        self.eras: list[Era] = []
        self.gaps: list[Gap] = []
        self.last = -1

    @property
    def origin(self) -> str:
        """The ledger's name in checkpoints; empty before its first key."""
        return self.eras[0].statement.origin if self.eras else ""

    @property
    def current(self) -> Verifier | None:
        """The key that signs now."""
        return self.eras[-1].verifier if self.eras else None

    def in_force(self, size: int) -> Verifier | None:
        """The key that signs checkpoints of `size` records."""
        return next((era.verifier for era in reversed(self.eras) if era.sequence < size), None)

    def add(self, line: bytes) -> str:
        """One record more. Gives what is wrong with it, or nothing; what is no anchor is passed over."""
        record = json.loads(line)
        detail = record.get("detail", {})
        if record["kind"] == "recovered" and isinstance(gap := detail.get("gap"), Mapping):
            self.last = record["seq"]
            try:
                self.gaps.append(Gap(record["seq"], int(gap["since"]), int(gap["published"]), str(gap["digest"])))
            except (KeyError, TypeError, ValueError):
                return "tells of a gap without saying which"
        if record["kind"] != "key":
            return ""
        self.last = record["seq"]
        try:
            era = _era(record["seq"], detail)
        except (KeyError, TypeError, ValueError) as error:
            return f"the statement of this key {error}"
        wrong = self._wrong(era)
        if not wrong:
            self.eras.append(era)
        return wrong

    def _wrong(self, era: Era) -> str:
        before = self.current
        if era.statement.size > era.sequence or not era.statement.note.signed_by(era.verifier):
            return "the key did not sign the statement that names it"
        if (before is None) != (era.how == MADE):
            return "the first key of a ledger is made, and no other"
        if before is not None and era.statement.origin != self.origin:
            return f"the key is of another ledger ({era.statement.origin})"
        if era.how == ROTATED and before is not None and not era.statement.note.signed_by(before):
            return "the key before did not sign the statement that names this one"
        return ""

    def unbound(self, node: Node) -> tuple[int, str] | None:
        """The first key whose statement was made over other records than those before it."""
        for era in self.eras:
            if root(node, era.statement.size) != era.statement.root:
                return era.sequence, "the key's statement is of another history than the records before it"
        return None

    def gap_of(self, one: Checkpoint, after: int = -1) -> Gap | None:
        """The gap that a checkpoint of another history falls into, if somebody owned up to it - behind the record `after`."""
        known = any(one.note.signed_by(era.verifier) for era in self.eras)
        gaps = [gap for gap in self.gaps if gap.sequence > after]
        return next((gap for gap in gaps if gap.digest == one.digest or (known and gap.since < one.size <= gap.published)), None)

    def gap_of_lost_key(self, one: Checkpoint) -> Gap | None:
        """The gap into which a checkpoint of this ledger falls that no key of it has signed: the records that named its key may be lost."""
        ours = {(era.verifier.name, era.verifier.id) for era in self.eras}
        if one.origin != self.origin or any((name, identity) in ours for name, identity, _ in one.note.signatures):
            return None
        return next((gap for gap in self.gaps if gap.since < one.size <= gap.published), None)


def _era(sequence: int, detail: Mapping[str, Any]) -> Era:
    statement = Checkpoint.read(str(detail["statement"]).encode())
    verifier = Verifier.read(str(detail["key"]))
    if statement.successor != verifier.text or verifier.name != statement.origin:
        raise ValueError("names another key")
    if detail["outcome"] not in (MADE, ROTATED, REPLACED):
        raise ValueError("has no known outcome")
    return Era(sequence, verifier, statement, str(detail["outcome"]))


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a checkpoint stands to a ledger. `wrong` is empty where it is of its history; `gap` where it is not and that was owned up to.

    `unknown_key` says that it was signed by none of the ledger's keys, so that nothing more is known of it.
    """

    wrong: str = ""
    gap: Gap | None = None
    unknown_key: bool = False


def judge(one: Checkpoint, custody: Custody, size: int, node: Node, after: int | None = None) -> Judgement:
    """Compare a checkpoint with a ledger of `size` records: the same log, signed by its key, the same beginning.

    `after` is of a checkpoint that the ledger itself has kept: the last record about a key or a gap (-1: none) that was there when
    it was signed. A gap owned up to by then does not excuse it. None where it was kept elsewhere.
    """
    wrong = _contradicts(one, custody, size, node)
    if not wrong:
        return Judgement()
    if (gap := custody.gap_of(one, -1 if after is None else after)) is not None:
        return Judgement("", gap)
    if after is None and (gap := custody.gap_of_lost_key(one)) is not None:
        return Judgement("", gap, unknown_key=True)
    return Judgement(wrong)


def _contradicts(one: Checkpoint, custody: Custody, size: int, node: Node) -> str:
    if one.origin != custody.origin:
        return f"of {one.size} records is of the ledger {one.origin}, and this is {custody.origin or 'one without a key'} with {size} records"
    if one.size > size:
        return f"is of {one.size} records, and the ledger has {size}: it was set back"
    if root(node, one.size) != one.root:
        return f"is of {one.size} records of another history: the ledger has {size}, and its first {one.size} are not those that were signed"
    key = custody.in_force(one.size)
    return "" if key is not None and one.note.signed_by(key) else f"of {one.size} records is not signed by the key that was in force"
