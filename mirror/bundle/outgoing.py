"""Writing a bundle: complete, or what its receiver lacks; signed, and remembered before it has its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mirror.bundle.contents import ROWS, EntryRow, Row, lines, spoken_of
from mirror.bundle.layout import BundleWriter, Form
from mirror.bundle.sent import Delta, SentBook, delta, merged
from mirror.bundle.statement import Statement, digest_of, payload, sign
from mirror.core.nouns import Digest
from mirror.store.disk import blob_path

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from mirror.bundle.gather import Collection


@dataclass(frozen=True, slots=True)
class Carrier:
    """Where a bundle is written, and how."""

    path: Path
    form: Form
    volume: int | None


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends, in whose name, at which time: the ledger's origin and its newest checkpoint, the rules in force.

    `data` is where the store is, and where it is remembered what was sent.
    """

    data: Path
    key: Ed25519PrivateKey
    name: str
    created: datetime
    origin: str
    checkpoint: str
    policy: str = ""
    catalogue: str = ""
    lists: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Made:
    """A bundle that was written.

    `files` are names of files that it tells of, as an import counts them; `parts` and `size` (bytes) all that it carries, as a
    verification counts them: each file's bytes once, pages, licence texts, and the contents. `whole`: bytes of a complete one.
    `digest` is its statement's, `bundle` that of its head manifest (`statement.called`); `places` are the folder, the tar, or all volumes in order.
    """

    statement: Statement
    digest: str
    files: int
    parts: int
    size: int
    whole: int
    bundle: str
    places: tuple[Path, ...]


def written(sender: Sender, found: Collection, before: tuple[int, Sequence[Row]] | None, carrier: Carrier) -> Made:
    """Write the bundle, complete or as what is new since `before` (its number, and the rows of its receiver). Synchronous.

    Raises `BundleFault`, `InputError`, `OSError`.
    """
    book = SentBook(sender.data, sender.name)
    book.take_back()
    book.demand_later(sender.created)
    rows = tuple(found.rows)
    needed = {digest for row in rows for digest in spoken_of(row)}
    new = Delta(rows, frozenset(needed), ()) if before is None else delta(rows, before[1], book.turned(*before))
    with BundleWriter(carrier.path, carrier.form, volume=carrier.volume) as writer:
        size = 0
        for digest in sorted(new.fresh):
            part, path = found.parts[digest]
            size += part.size
            with (path or blob_path(sender.data, part.digest)).open("rb") as file:
                writer.add_file(part, file)
        contents = writer.add_bytes(ROWS, "contents.jsonl", lines(new.rows))
        with book.turn():
            last = book.get(book.last)
            statement = Statement(
                sender.name, book.last + 1, sender.created, sender.origin, contents, writer.seal(),
                previous="" if last is None else last.digest, since=None if before is None else before[0],
                requires=tuple(Digest("sha256", one) for one in new.required), policy=sender.policy, catalogue=sender.catalogue,
                lists=dict(sender.lists), checkpoint=sender.checkpoint,
            )  # fmt: skip
            signed = payload(statement)
            with book.naming(statement, signed, rows if before is None else merged(before[1], rows), writer.place):
                writer.finish(sign(signed, [sender.key]), created=sender.created)
    files = sum(isinstance(row, EntryRow) for row in new.rows)
    whole = contents.size + sum(found.parts[digest][0].size for digest in needed)
    return Made(statement, digest_of(signed), files, len(new.fresh) + 1, size + contents.size, whole, writer.digest, writer.places)
