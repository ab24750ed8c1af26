"""What a receiver answers: a signed receipt of what was taken and what was refused; and what it remembers of it.

`<data>/bundles/received/<sender>/<name>/<number>.json` is the receipt of each import; beside it `<number>.owed` until it was
also put where it travels from.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mirror.bundle.contents import Row, read
from mirror.bundle.faults import BundleFault
from mirror.bundle.layout import BundleReader
from mirror.bundle.sent import Sent, SentBook, without_refused
from mirror.bundle.signed_time import note
from mirror.bundle.statement import Statement, digest_of, parse
from mirror.core import dsse
from mirror.core.canonical import canonical, instant
from mirror.core.errors import InputError, Problem
from mirror.durable import write_whole

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

RECEIPT: Final = "application/vnd.entrepot.receipt.v1+json"
_MOST: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Refusal:
    """An artifact that the receiver did not take, by which rule and decision; both empty where it could not be judged."""

    artifact: str
    rule: str
    decision: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a bundle. `files` and `size` (bytes) were taken; `records` and `leaf` are the receiver's ledger head."""

    name: str
    number: int
    statement: str
    sender: str
    at: datetime
    files: int
    size: int
    rows: int
    refused: tuple[Refusal, ...]
    records: int
    leaf: str

    @property
    def payload(self) -> bytes:
        """What is signed."""
        return canonical({
            "version": 1, "name": self.name, "number": self.number, "statement": self.statement, "sender": self.sender, "at": instant(self.at),
            "taken": {"files": self.files, "bytes": self.size, "rows": self.rows},
            "refused": [{"artifact": one.artifact, "rule": one.rule, "decision": one.decision, "sentence": one.sentence} for one in self.refused],
            "ledger": {"records": self.records, "leaf": self.leaf},
        })  # fmt: skip

    def signed(self, key: Ed25519PrivateKey) -> bytes:
        """The envelope's bytes."""
        return dsse.written(dsse.signed(dsse.Envelope(RECEIPT, self.payload), key))

    @classmethod
    def read(cls, told: dict[str, Any]) -> Receipt:
        """What a payload of ours says. Raises `KeyError`, `TypeError`, `ValueError` for anything else."""
        taken, ledger = told["taken"], told["ledger"]
        refused = tuple(Refusal(one["artifact"], one["rule"], one["decision"], one["sentence"]) for one in told["refused"])
        return cls(
            told["name"], told["number"], told["statement"], told["sender"], datetime.fromisoformat(told["at"]), taken["files"], taken["bytes"],
            taken["rows"], refused, ledger["records"], ledger["leaf"],
        )  # fmt: skip


def delivered(where: Path, signed: bytes) -> None:
    """Put a receipt where it is to travel from: whole, or not at all. Raises `OSError`, also for a medium that cannot be written."""
    if where.exists() and not where.is_file():  # a pipe or a device takes it as it comes
        where.write_bytes(signed)
    else:
        write_whole(where.resolve(), signed)


class ReceivedBook:
    """What was imported of one sender's bundles of one name."""

    def __init__(self, data: Path, statement: Statement) -> None:
        self._data = data
        self._folder = data / "bundles" / "received" / sha256(statement.sender.encode()).hexdigest()[:16] / statement.name

    @property
    def last(self) -> int:
        """The highest number that was imported; 0 before the first."""
        return max((int(path.stem) for path in self._folder.glob("*.json") if path.stem.isdecimal()), default=0)

    def path(self, number: int) -> Path:
        """Where the receipt of an import lies."""
        return self._folder / f"{number:06}.json"

    def owed(self, number: int, statement: str) -> bytes | None:
        """The receipt of an import that ended before anybody was given it, of the bundle whose statement has this SHA-256 (hex)."""
        if not self._owed(number).exists():
            return None
        told = _receipt(self.path(number))
        return self.path(number).read_bytes() if told is not None and told.get("statement") == statement else None

    def settled(self, number: int) -> None:
        """Its receipt was given. Where that cannot be noted it is given once more."""
        with suppress(OSError):
            self._owed(number).unlink(missing_ok=True)

    def put(self, number: int, receipt: bytes, created: datetime) -> Path:
        """Remember an import, durable on return; its receipt is owed until `settled`. Raises `OSError`."""
        note(self._data, created)
        write_whole(self._owed(number), b"")
        write_whole(self.path(number), receipt)
        return self.path(number)

    def _owed(self, number: int) -> Path:
        return self.path(number).with_suffix(".owed")


def before_of(data: Path, name: str, since: str) -> tuple[int, Sequence[Row]]:
    """The bundle that `since` names - a number, a bundle, or a receiver's receipt - and the rows of that receiver. Raises `InputError`."""
    book = SentBook(data, name)
    if since.isdecimal() and not Path(since).exists():
        found, refused = book.get(int(since)), ()
        if found is None:
            raise InputError([Problem("--since", "", f"no bundle {name} {since} was sent from here")])
        return found.statement.number, without_refused(found.rows, refused)
    path = Path(since)
    receipt = None if path.is_dir() else _receipt(path)
    if receipt is not None:
        found = book.find(str(receipt.get("statement")))
        if found is None:
            raise InputError([Problem(str(path), "statement", f"is no bundle {name} that was sent from here")])
        return found.statement.number, without_refused(found.rows, [str(one.get("artifact")) for one in receipt.get("refused", ())])
    return _of_bundle(book, path)


def _of_bundle(book: SentBook, path: Path) -> tuple[int, Sequence[Row]]:
    try:
        with BundleReader(path) as reader:
            payload = dsse.read(reader.envelope, str(path), _MOST).payload
            statement = parse(payload, str(path))
            known: Sent | None = book.find(digest_of(payload))
            if known is not None:
                return known.statement.number, known.rows
            if statement.since is not None:
                raise InputError([Problem(str(path), "", "is itself a delta, and what went before it is not known here")])
            return statement.number, read(reader.read(statement.contents), str(path))
    except BundleFault as fault:
        raise InputError([Problem("--since", str(path), f"neither a number, a receipt nor a bundle: {fault}")]) from None


def receipt_in(envelope: bytes, source: str) -> Receipt:
    """The receipt that an envelope of ours holds. Raises `InputError`, and as `Receipt.read`."""
    return Receipt.read(json.loads(dsse.read(envelope, source, _MOST).payload))


def _receipt(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST) if file.read(1) == b"{" else b""
        envelope = dsse.read(b"{" + data, str(path), _MOST) if data else None
        told = json.loads(envelope.payload) if envelope is not None and envelope.kind == RECEIPT else None
    except (OSError, ValueError, InputError):
        return None
    return told if isinstance(told, dict) else None
