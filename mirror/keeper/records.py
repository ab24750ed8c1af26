"""A batch of prepared records as one frame's bytes, and the places that come back for it. Pure.

A worker renders its events itself (`audit.record.prepare`), personal part and salt included; the keeper, which owns the
chain, puts `prev`, `seq` and `leaf` between the pieces and writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from mirror.audit.record import SALT, Prepared, Record
from mirror.core.actor import Actor
from mirror.core.decision import Event, EventKind, Sealed

#: What stands in a ticket of the keeper's for an event that only its worker holds.
ELSEWHERE: Final = Event(EventKind.STARTED, datetime.fromtimestamp(0, UTC), Actor("mirror"), subject="held by a worker")


def batch_json(batch: Sequence[Prepared]) -> tuple[list[list[int]], bytes]:
    """The lengths of each record's pieces, and the pieces one after another."""
    lengths, pieces = [], []
    for one in batch:
        row = [one.head.encode(), one.commitment.encode(), one.tail.encode(), one.salt, one.personal.encode()]
        lengths.append([len(piece) for piece in row])
        pieces += row
    return lengths, b"".join(pieces)


def batch_from(lengths: Any, data: bytes) -> list[Prepared]:
    """Of `batch_json`. Raises `ValueError` or `TypeError` for what no record can be made of."""
    batch, position = [], 0
    for row in lengths:
        pieces = []
        for length in row:
            pieces.append(data[position : position + length])
            position += length
        head, commitment, tail, salt, personal = pieces
        # A newline would be two records, and a salt of another length no salt.
        if len(salt) != SALT or any(b"\n" in piece for piece in (head, commitment, tail, personal)):
            raise ValueError("not a prepared record")
        batch.append(Prepared(ELSEWHERE, head.decode(), commitment.decode(), tail.decode(), salt, personal.decode()))
    if position != len(data):
        raise ValueError("a batch of another length than it says")
    return batch


def places_json(sealed: Sequence[Sealed]) -> list[list[Any]]:
    """Where the records of a batch are."""
    return [[one.sequence, one.previous, one.leaf] for one in sealed]


def places_from(raw: Any) -> list[Record]:
    """Of `places_json`: records whose lines lie with the keeper."""
    return [Record(sequence, previous, leaf, b"", b"") for sequence, previous, leaf in raw]
