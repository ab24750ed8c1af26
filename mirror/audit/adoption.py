"""A laboratory's ledger beside our own: `<data>/adopted/<name>/` is a ledger folder itself, made of the carries that were taken in.

What was taken in, the events `adopted` of our own ledger say; the folder is verified against them. A carry is appended as a
segment of its own, which takes its place by one rename once its bytes are durable: what follows - tree, checkpoints, head -
may lag behind it, as in any ledger, and is made level by the next run.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from mirror.audit import book
from mirror.audit.adoption_parcel import NotAdopted, Parcel
from mirror.audit.carry import RECEIPTS, events_of
from mirror.audit.chain import Head, read_link
from mirror.audit.custody import Custody, is_anchor, judge
from mirror.audit.evidence import Citations, lost
from mirror.audit.examine import Examined, examine
from mirror.audit.notes import Checkpoint
from mirror.audit.segments import find_end, lock, read_personal, segment, write_head
from mirror.audit.tiles import TreeFiles, nodes
from mirror.audit.tree import root
from mirror.audit.verify_pack import Edge, subtrees
from mirror.core.errors import InputError, Problem
from mirror.durable import sync_folder, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mirror.audit.evidence import Lost, Reading

FOLDER: Final = "adopted"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}\Z")


@dataclass(frozen=True, slots=True)
class Adopted:
    """One event `adopted`: record `sequence` of our ledger, at `at`, of the laboratory's records `first` to before `stop`.

    `key` is the verifier key under which it was taken; `root` (hex) is that of all `stop` records, signed for in `note`.
    """

    name: str
    origin: str
    key: str
    first: int
    stop: int
    root: str
    note: Checkpoint
    receipts: tuple[str, ...]
    lost: tuple[str, ...]
    personal: bool
    sequence: int
    at: str


def adopted(ledger: Path) -> list[Adopted]:
    """What was taken in, in order."""
    return [_adopted(record) for record in events_of(ledger, "adopted")]


def _adopted(record: Mapping[str, Any]) -> Adopted:
    said = record["detail"]
    return Adopted(
        record["subject"], said["origin"], said["key"], said["first"], said["stop"], said["root"], Checkpoint.read(said["note"].encode()),
        tuple(said["receipts"]), tuple(said["lost"]), said["personal"], record["seq"], record["at"],
    )  # fmt: skip


def checked_name(text: str) -> str:
    """A name of a laboratory as a folder can have it. Raises `InputError`."""
    if not _NAME.match(text):
        raise InputError([Problem("", "--name", f"{text[:100]!r} is no name: up to 80 of a-z, 0-9, '.', '_' and '-', a letter or digit first")])
    return text


def name_of(origin: str) -> str:
    """What a laboratory is called by whom nobody named otherwise: its ledger's name, as a folder can have it."""
    return re.sub(r"[^a-z0-9._-]+", "-", origin.lower()).strip("-._")[:80] or "laboratory"


def follows(replica: Path, parcel: Parcel, before: Sequence[Adopted]) -> int:
    """How many records the replica has, once the carry was seen to go on with them. `before` are the events of this name.

    Raises `NotAdopted` for a gap, for another ledger, and for a history that is not the one that was adopted; `InputError` where
    the replica itself is not what was adopted.
    """
    origin, count = parcel.checkpoint.origin, 0
    known: dict[int, str] = {}
    last = max(before, key=lambda one: one.stop, default=None)
    if last is not None and last.origin != origin:
        raise NotAdopted(f"{replica.name} is the ledger {last.origin}, and this carry is of {origin}: another name is needed (--name)")
    if replica.is_dir():
        found = examine(replica, foreign=_foreign(before))
        if found.fault is not None:
            raise InputError([Problem(str(replica), "", f"is not what was adopted: {found.fault}")])
        count, stop = found.head.count, parcel.stop
        known[count] = found.root.hex()
        if stop < count:  # an older carry: it has to be the beginning of what is here
            known[stop] = root(nodes(replica, stop, parcel.checkpoint.root), stop).hex()
    known = {one.stop: one.root for one in before} | known
    if parcel.first > count:
        missing = f"records {count} to {parcel.first - 1} are missing" if last is not None or count else "the first carry of a ledger begins with record 0"
        raise NotAdopted(f"{replica.name}: the carry begins with record {parcel.first}, and {count} are here: {missing}; `mirror ledger export --carry --since {count}` at the laboratory")
    _compare(parcel, known)
    _in_force(replica, parcel, count)
    if not count and last is not None and parcel.stop < last.stop:
        raise NotAdopted(f"{replica.name}: {last.stop} records were adopted and are gone, and the carry has {parcel.stop}")
    return count


def _foreign(before: Sequence[Adopted]) -> list[tuple[str, Checkpoint]]:
    return [(f"adopted by record {one.sequence}", one.note) for one in before]


def _compare(parcel: Parcel, known: Mapping[int, str]) -> None:
    """The left flank and the leaves, against every root that is known. Raises `NotAdopted`."""
    edge = Edge()
    for level, one in zip(subtrees(0, parcel.first), parcel.left, strict=True):
        edge.add(level, bytes.fromhex(one))
    seen = {parcel.first: edge.root().hex()}
    for _, leaf in _leaves(parcel):
        edge.add(0, leaf)
        if edge.size in known:
            seen[edge.size] = edge.root().hex()
    for size in sorted(known.keys() & seen.keys()):
        if seen[size] != known[size]:
            origin = parcel.checkpoint.origin
            raise NotAdopted(f"{origin} was rewritten: the first {size} of its {parcel.stop} records are not those that were adopted here")


def _in_force(replica: Path, parcel: Parcel, count: int) -> None:
    """The checkpoint is by the key which the adopted records name: a carry may keep quiet about one to which an older was handed over."""
    custody = Custody()
    for line in book.anchors(replica, 0):
        custody.add(line)
    for sequence, (line, _) in enumerate(_leaves(parcel), parcel.first):
        if sequence >= count and is_anchor(line) and (wrong := custody.add(line)):
            raise NotAdopted(f"records.jsonl: record {sequence}: {wrong}")
    key = custody.in_force(parcel.stop)
    if key is None or not parcel.checkpoint.note.signed_by(key):
        raise NotAdopted(f"{replica.name}: the checkpoint is not signed by the key that was in force, by the records that were adopted")


def _leaves(parcel: Parcel) -> Iterator[tuple[bytes, bytes]]:
    with (parcel.folder / "records.jsonl").open("rb") as file:
        for line in file:
            link = read_link(line)
            if isinstance(link, str):
                raise NotAdopted(f"records.jsonl: {link}")
            yield line, bytes.fromhex(link.leaf)


# --- taking in --------------------------------------------------------------------------------------------------------


def take_in(replica: Path, parcel: Parcel, count: int) -> None:
    """Append what the replica lacks after its `count` records, durable on return; killed anywhere, the next run makes it whole.

    A new replica takes its place when it is complete. Raises `OSError`.
    """
    folder = replica if replica.is_dir() else replica.with_name(f".{replica.name}.new")
    if folder != replica:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        write_whole(folder / "head", f"{0:016d} {Head().leaf}\n".encode())
    held = lock(folder)
    try:
        for digest in parcel.receipts:
            name = f"{RECEIPTS}/{digest}.json"
            write_whole(folder / name, (parcel.folder / name).read_bytes())
        if parcel.stop > count:
            _append(folder, parcel, count)
        _level(folder, parcel)
    finally:
        os.close(held)
    if folder != replica:
        folder.rename(replica)
        sync_folder(replica.parent)


def _append(folder: Path, parcel: Parcel, count: int) -> None:
    """Personal parts before the records that they are of, as wherever records are written."""
    place = segment(folder, count)
    if parcel.personal:
        with (parcel.folder / "personal.jsonl").open("rb") as file:
            _put(place.personal, (line for line in file if (entry := read_personal(line)) is not None and entry["seq"] >= count))
    else:
        place.personal.unlink(missing_ok=True)  # of a run that was cut short
    with (parcel.folder / "records.jsonl").open("rb") as file:
        _put(place.path, (line for sequence, line in enumerate(file, parcel.first) if sequence >= count))


def _put(path: Path, lines: Iterator[bytes]) -> None:
    draft = path.with_name(f".{path.name}.new")
    with draft.open("wb") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def _level(folder: Path, parcel: Parcel) -> None:
    """Bring tree, checkpoints and head up to the segments."""
    end, tree = find_end(folder), TreeFiles(folder)
    if end.segment is None:
        return
    tree.open(end.segment.first, end.leaves)
    tree.sync()
    size, expected = tree.root()
    tree.close()
    kept = book.Book(folder)
    if wrong := kept.open(size):
        raise InputError([Problem(str(folder / book.FILE), "", wrong)])
    node, newest = nodes(folder, size, expected), kept.pages.newest.size if kept.pages.newest is not None else 0
    for one, at in parcel.checkpoints():
        if newest < one.size <= size and (judged := judge(one, kept.custody, size, node)).gap is None and not judged.wrong:
            kept.put(one, at)
            newest = one.size
    descriptor = os.open(folder / "head", os.O_WRONLY | os.O_CLOEXEC)
    try:
        write_head(descriptor, end.head)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def detail_of(parcel: Parcel, key: str) -> dict[str, Any]:
    """What the event `adopted` says, taken under the verifier key `key`."""
    return {
        "origin": parcel.checkpoint.origin, "key": key, "first": parcel.first, "stop": parcel.stop, "root": parcel.checkpoint.root.hex(),
        "note": parcel.checkpoint.note.data.decode(), "pack": parcel.digest, "receipts": list(parcel.receipts), "lost": sorted(parcel.lost),
        "personal": parcel.personal,
    }  # fmt: skip


# --- verifying --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Replica:
    """A replica against the events that tell of it. `found` is None where it is gone; `wrong` is empty where all is well."""

    name: str
    origin: str
    records: int
    last: Adopted
    found: Examined | None
    wrong: tuple[str, ...]
    gone: tuple[Lost, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether everything that was adopted is there as it was."""
        return not self.wrong and not self.gone


def replicas(ledger: Path, data: Path, read: Reading | None, *, only: str | None = None) -> list[Replica]:
    """Every replica (or `only` one), verified: its records, that they are those which were adopted, its receipts and, with `read`, its evidence."""
    told: dict[str, list[Adopted]] = {}
    for one in adopted(ledger):
        told.setdefault(one.name, []).append(one)
    return [_replica(data / FOLDER / name, rows, read) for name, rows in sorted(told.items()) if only in (None, name)]


def _replica(folder: Path, told: Sequence[Adopted], read: Reading | None) -> Replica:
    last = max(told, key=lambda one: one.stop)
    if not folder.is_dir():
        said = f"{FOLDER}/{folder.name}: is gone: {last.stop} records of {last.origin} were adopted, by record {last.sequence}"
        return Replica(folder.name, last.origin, 0, last, None, (said,))
    citations = Citations() if read is not None else None
    found = examine(folder, foreign=_foreign(told), citations=citations)
    wrong = [] if found.fault is None else [f"{FOLDER}/{folder.name}: {found.fault}"]
    for one in told:
        wrong += [f"{FOLDER}/{folder.name}/{RECEIPTS}/{digest}.json: {said}" for digest in one.receipts if (said := _receipt(folder, digest))]
    excused = {digest for one in told for digest in one.lost}
    gone = lost(citations, read) if citations is not None and read is not None and found.fault is None else []
    return Replica(folder.name, last.origin, found.head.count, last, found, tuple(wrong), tuple(one for one in gone if one.digest not in excused))


def _receipt(folder: Path, digest: str) -> str:
    try:
        data = (folder / RECEIPTS / f"{digest}.json").read_bytes()
    except OSError:
        return "is gone"
    return "" if sha256(data).hexdigest() == digest else "is not what it was"


def replica_of(ledger: Path, data: Path, name: str) -> Path:
    """The ledger folder of a laboratory that was adopted. Raises `InputError` for any other name."""
    known = {one.name for one in adopted(ledger)}
    if name not in known:
        said = f"{name!r} was not adopted here" + (f"; there are {', '.join(sorted(known))}" if known else "")
        raise InputError([Problem("", "--of", said)])
    if not (data / FOLDER / name).is_dir():
        raise InputError([Problem(str(data / FOLDER / name), "", "is gone: `mirror ledger verify` tells more")])
    return data / FOLDER / name
