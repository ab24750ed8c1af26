"""What a laboratory's ledger sends to the ledger of those who sent it bundles: an audit pack by number, from where that stands.

`adoption` is the other side. What was sent is an event of kind `carried`, so that the next one begins where this one ends.
"""

from __future__ import annotations

import json
import mmap
import tarfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from mirror.audit import book, verify_pack
from mirror.audit.pack import Wish, make_pack
from mirror.audit.pack_range import Range, at_of, numbered
from mirror.audit.segments import segments
from mirror.audit.tiles import nodes
from mirror.audit.tree import root
from mirror.audit.verify_decision import Wrong
from mirror.audit.verify_keys import UNREADABLE
from mirror.core import dsse
from mirror.core.canonical import canonical, instant
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from mirror.audit.pack import Sources

#: Where import receipts lie in a carry: under the SHA-256 of their bytes.
RECEIPTS: Final = "receipts"
#: What an acknowledgement is signed as.
ACKNOWLEDGEMENT: Final = "application/vnd.entrepot.adoption.v1+json"
_EARLIEST: Final = "0001-01-01T00:00:00.000000Z"


@dataclass(frozen=True, slots=True)
class Standing:
    """How far somebody has a ledger: its first `size` records, with their root (hex)."""

    origin: str
    size: int
    root: str


def events_of(ledger: Path, kind: str) -> Iterator[dict[str, Any]]:
    """The records of one kind, in order. They are sought by their text: of a large ledger hardly a line is parsed."""
    text = f'"kind":"{kind}"'.encode()
    for one in segments(ledger):
        with one.path.open("rb") as file:
            if not file.seek(0, 2):
                continue
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                at = data.find(text)
                while at >= 0:
                    start, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
                    if end < 0:
                        return
                    record = json.loads(data[start:end])
                    if record.get("kind") == kind:
                        yield record
                    at = data.find(text, end)


def carried_until(ledger: Path) -> int:
    """Where the last carry that was made of this ledger ends; 0 before the first."""
    return max((int(one["detail"]["stop"]) for one in events_of(ledger, "carried")), default=0)


def make_carry(ledger: Path, target: Path, first: int, receipts: Mapping[str, bytes], sources: Sources, now: datetime, *, personal: bool = False) -> dict[str, Any]:
    """Write everything from record `first` to the newest checkpoint to `target`, as `make_pack` does; gives its manifest.

    `receipts` are taken that tell of imports in that span, by the `ledger.records` in each. Raises as `make_pack`.
    """
    newest = book.read(ledger / book.FILE).newest
    stop = newest.size if newest is not None else 0
    if first >= stop:
        raise InputError([Problem(str(ledger), "", f"has {stop} records that are signed for, and nothing from {first} on")])
    since, until = _moments(ledger, first, stop)
    files = {f"{RECEIPTS}/{sha256(data).hexdigest()}.json": data for data in receipts.values() if first < _records(data) <= stop}
    return make_pack(ledger, target, Wish(since, until, personal, Range(first, stop), files), sources, now)


def _moments(ledger: Path, first: int, stop: int) -> tuple[datetime, datetime]:
    """The earliest moment of these records, and one after the latest: a laboratory's clock may have been set back meanwhile."""
    least, most = "", _EARLIEST
    for _, line in numbered(ledger, first, stop):
        if at := at_of(line):
            least, most = min(least or at, at), max(most, at)
    return datetime.fromisoformat(least or most), datetime.fromisoformat(most) + timedelta(microseconds=1)


def _records(receipt: bytes) -> int:
    try:
        return int(json.loads(dsse.read(receipt, RECEIPTS, len(receipt)).payload)["ledger"]["records"])
    except (InputError, ValueError, KeyError, TypeError):
        return 0


def detail_of(manifest: Mapping[str, Any], digest: str) -> dict[str, Any]:
    """What the event `carried` says of a carry whose manifest has this SHA-256."""
    place = manifest["records"]
    return {
        "first": place["first"], "stop": place["first"] + place["count"], "root": manifest["checkpoint"]["root"], "pack": digest,
        "personal": manifest["personal"], "receipts": sorted(name.rpartition("/")[2].removesuffix(".json") for name in manifest["files"] if name.startswith(f"{RECEIPTS}/")),
    }  # fmt: skip


def standing_of(path: Path) -> Standing:
    """How far the receiver has a ledger, by the acknowledgement that it gave, or by a carry that was made before. Raises `InputError`.

    That it is said does not make it true; where somebody begins too late, the receiver refuses the gap.
    """
    try:
        if not path.is_dir() and path.read_bytes()[:1] == b"{":
            envelope = dsse.read(path.read_bytes(), str(path))
            told = json.loads(envelope.payload)
            if envelope.kind != ACKNOWLEDGEMENT:
                raise InputError([Problem(str(path), "payloadType", f"is {envelope.kind}, and not {ACKNOWLEDGEMENT}")])
            return Standing(str(told["origin"]), int(told["stop"]), str(told["root"]))
        manifest = json.loads(verify_pack.Pack(path).read(verify_pack.MANIFEST))
        return Standing(str(manifest["ledger"]), int(manifest["checkpoint"]["size"]), str(manifest["checkpoint"]["root"]))
    except (OSError, tarfile.TarError, Wrong, *UNREADABLE):
        raise InputError([Problem(str(path), "", "is neither an acknowledgement nor a carry")]) from None


def begins_after(ledger: Path, standing: Standing) -> int:
    """Where a carry begins for who has that much of this ledger. Raises `InputError` where that is of another history."""
    pages = book.read(ledger / book.FILE)
    newest = pages.newest
    if newest is None or standing.size > newest.size:
        raise InputError([Problem(str(ledger), "", f"{standing.size} records were sent, and {newest.size if newest else 0} are signed for here: it was set back")])
    if root(nodes(ledger, newest.size, newest.root), standing.size).hex() != standing.root:
        raise InputError([Problem(str(ledger), "", f"the {standing.size} records of {standing.origin} that were sent are not the first of this ledger")])
    return standing.size


def acknowledged(detail: Mapping[str, Any], name: str, sequence: int, now: datetime, key: Ed25519PrivateKey) -> bytes:
    """The signed acknowledgement of what was adopted: `detail` as the event `adopted` has it."""
    said = {field: detail[field] for field in ("origin", "first", "stop", "root", "pack", "receipts")}
    stated = {"version": 1, "name": name, "at": instant(now), "record": sequence, **said}
    return dsse.written(dsse.signed(dsse.Envelope(ACKNOWLEDGEMENT, canonical(stated)), key))

