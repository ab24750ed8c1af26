"""Verifying a chain of sealed records. Pure; covers every byte of every line."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mirror.audit.record import GENESIS, leaf_hash
from mirror.core.canonical import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Where `leaf` stands: nothing but these keys sorts after it. Anything else is read in full.
_PLACE: Final = re.compile(
    rb',"leaf":"([0-9a-f]{64})"(,"personal":"(sha256:[0-9a-f]{64})","prev":"([0-9a-f]{64})","seq":(0|[1-9][0-9]{0,15})(?:,"subject":"[^"\\]*")?\}\n?)\Z'
)
_LEAF: Final = b',"leaf":"'
#: What stands in the place of a record that was removed after its time (`retention`).
_STUB: Final = re.compile(rb'\{"leaf":"([0-9a-f]{64})","prev":"([0-9a-f]{64})","seq":(0|[1-9][0-9]{0,15})\}\n?\Z')
_PERSONAL: Final = b'","personal":"sha256:'
_SUBJECT: Final = re.compile(rb',"subject":"[^"\\]*"\}\n\Z')


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing wrong in a ledger. `sequence` is the record that is wrong, or that should stand there."""

    sequence: int
    what: str
    file: str = ""

    def __str__(self) -> str:
        where = f"{self.file}: " if self.file else ""
        return f"{where}seq {self.sequence}: {self.what}"


class Head(NamedTuple):
    """The end of a chain: how many records, and the leaf of the last (64 zeros for none)."""

    count: int = 0  # type: ignore[assignment]  # in the place of the method that tuples have
    leaf: str = GENESIS


#: The end of a chain without records.
NOTHING: Final = Head()


class Link(NamedTuple):
    """What one line says of its own place, after its leaf was recomputed from its bytes.

    Of a record that was removed nothing but its place is left, and `personal` is empty: the leaf stands there as it was.

    A tuple, as `Head`: one of each is made for every record that is verified, and frozen dataclasses take three times as long.
    """

    sequence: int
    previous: str
    leaf: str
    personal: str


def read_link(line: bytes) -> Link | str:
    """The link of one line (with or without newline), or a phrase that says what is wrong with it."""
    start = line.rfind(_LEAF)
    found = _PLACE.match(line, start) if start >= 0 else None
    if found is None:
        return _read_slowly(line)
    leaf = found[1].decode()
    if leaf_hash(line[:start] + found[2].rstrip(b"\n")) != leaf:
        return "the record is not the one its leaf was made from"
    return Link(int(found[5]), found[4].decode(), leaf, found[3].decode())


def stub_of(link: Link) -> bytes:
    """The line that stays of a record when it is removed."""
    return f'{{"leaf":"{link.leaf}","prev":"{link.previous}","seq":{link.sequence}}}\n'.encode()


def plain_link(line: bytes, previous: bytes, place: bytes) -> tuple[bytes, bytes] | None:
    """The leaf and the commitment of a line that follows the leaf `previous`; `place` is `","seq":` and its number.

    None where it does not, or is written in another way than ours: `read_link` and `follow_link` know which. Nothing is
    parsed: each byte from the leaf on is compared with what has to stand there, and each byte before it is in the hash.
    """
    after = b'","prev":"' + previous + place
    stop = len(line) - len(after) - 2
    if not line.endswith(after + b"}\n"):
        stop = line.rfind(after)
        if stop < 0 or _SUBJECT.match(line, stop + len(after)) is None:
            return None
    start = stop - 158  # `,"leaf":"`, 64 digits, `","personal":"sha256:`, 64 digits
    if start < 0 or line[start : start + 9] != _LEAF or line[start + 73 : stop - 64] != _PERSONAL:
        return None
    leaf = line[start + 9 : start + 73]
    if sha256(b"\x00" + line[:start] + line[start + 74 : -1]).hexdigest().encode() != leaf:
        return None
    return leaf, line[stop - 71 : stop]


def _read_slowly(line: bytes) -> Link | str:
    if (stub := _STUB.match(line)) is not None:
        return Link(int(stub[3]), stub[2].decode(), stub[1].decode(), "")
    text = line.removesuffix(b"\n")
    try:
        record: Any = json.loads(text)
        if not isinstance(record, dict) or canonical(record) != text:
            return "not a canonical record"
        bare = canonical({key: value for key, value in record.items() if key != "leaf"})
        link = Link(record["seq"], record["prev"], record["leaf"], record["personal"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return "not a canonical record"
    if leaf_hash(bare) != link.leaf:
        return "the record is not the one its leaf was made from"
    return link


def follow(head: Head, line: bytes) -> Head | Fault:
    """The head after one more line, or why that line cannot follow."""
    return follow_link(head, read_link(line))


def follow_link(head: Head, link: Link | str) -> Head | Fault:
    """As `follow`, of a line that was read already."""
    if isinstance(link, str):
        return Fault(head.count, link)
    if link.sequence != head.count:
        return Fault(head.count, f"record {link.sequence} stands where {head.count} should")
    if link.previous != head.leaf:
        return Fault(head.count, f"prev is {link.previous}, but the record before has leaf {head.leaf}")
    return Head(head.count + 1, link.leaf)


def verify(lines: Iterable[bytes], head: Head = NOTHING) -> Head | Fault:
    """Follow `lines` from `head`: the new head, or the first fault."""
    for line in lines:
        after = follow(head, line)
        if isinstance(after, Fault):
            return after
        head = after
    return head
