"""Checks an audit pack of `mirror audit pack`, with nothing but Python's standard library (3.8 or newer).

Usage: python3 -I verify_pack.py [PACK] --key KEY

PACK is the folder or the .tar; without it, the folder in which this program lies. KEY is a verifier key of the ledger
(name+id+base64) as you know it from elsewhere, its first one for example; it may be given several times. Without it the key
that the pack names is used, and you are told so.

Checked are: the signature of the manifest (DSSE, Ed25519: RFC 8032) under KEY or a key that KEY has handed over to; size and
SHA-256 of every file, and that there is no other; each record's leaf, its place and its link to the one before; that the
records are the whole of their range in the tree (RFC 6962, RFC 9162) of which the checkpoint (C2SP) was signed; every other
checkpoint and every key; each record from outside the range; that everything which the records cite is there with its
digest; that records of which only the leaf is left might go; and, where they are in the pack, the personal parts.

Each fault is a line on standard error. Exit 0: it holds. 1: it does not. 2: it cannot be read.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re  # noqa: F401 - what is shared has use for it
import sys
import tarfile
from array import array  # noqa: F401 - as `re`
from collections import Counter
from contextlib import contextmanager
from datetime import datetime, timedelta  # noqa: F401 - as `re`
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# [what is shared with other programs; it stands here in full in the copy that lies in a pack]
from mirror.audit.evidence import cited_by, cited_within
from mirror.audit.verify_decision import Wrong, canonical, ed25519_holds, key_of, read_record, root_of, unhexed
from mirror.audit.verify_keys import UNREADABLE, Keys, envelope_of, noted
from mirror.audit.verify_removed import Removed

# [end of what is shared]

FORMAT = "entrepot-audit-pack/1"
KIND = "application/vnd.entrepot.audit-pack+json"
MANIFEST, SIGNATURE = "manifest.json", "manifest.dsse.json"
BY_NUMBER = "sequence"


class Pack:
    """The files of a pack, in a folder or a tar archive."""

    def __init__(self, path: Path) -> None:
        self._folder = path if path.is_dir() else None
        self._tar = None if path.is_dir() else tarfile.open(path, "r:")  # noqa: SIM115 - open for as long as the program runs
        members = [] if self._tar is None else self._tar.getmembers()
        self.twice = sorted(name for name, count in Counter(one.name for one in members).items() if count > 1)
        self._members = {one.name: one for one in members if one.isfile()}
        self.names = set(self._members)
        if self._folder is not None:
            self.names = {one.relative_to(path).as_posix() for one in path.rglob("*") if one.is_file() or one.is_symlink()}

    def open(self, name: str) -> IO[bytes]:
        """One file. Raises `Wrong`."""
        if name not in self.names:
            raise Wrong("is missing")
        if self._folder is not None:
            return (self._folder / name).open("rb")
        found = self._tar.extractfile(self._members[name]) if self._tar is not None else None
        if found is None:
            raise Wrong("is no file")
        return found

    def read(self, name: str) -> bytes:
        """All of one file. Raises `Wrong`."""
        with self.open(name) as file:
            return file.read()

    def rows(self, name: str) -> Iterator[Any]:
        """The lines of a JSON Lines file."""
        with self.open(name) as file:
            for line in file:
                yield json.loads(line)


class Report:
    """What was found wrong, as it is found, and what is true and worth saying."""

    def __init__(self) -> None:
        self.faults = 0
        self.notes: list[str] = []

    def fault(self, name: str, said: object) -> None:
        """One line on standard error."""
        self.faults += 1
        print(f"{name}: {said}", file=sys.stderr)


@contextmanager
def blamed(report: Report, name: str) -> Iterator[None]:
    """What goes wrong within is the fault of a file."""
    try:
        yield
    except Wrong as error:
        report.fault(name, error)
    except UNREADABLE as error:
        report.fault(name, f"cannot be read: {error!r}")


class Edge:
    """The right edge of a growing tree: the roots of its complete subtrees, the largest first (RFC 9162 section 2.1.1)."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[tuple[int, bytes]] = []

    def add(self, level: int, found: bytes) -> None:
        """The next 2**level leaves, by their root."""
        self.size += 1 << level
        while self._peaks and self._peaks[-1][0] == level:
            found = hashlib.sha256(b"\x01" + self._peaks.pop()[1] + found).digest()
            level += 1
        self._peaks.append((level, found))

    def root(self) -> bytes:
        """The root of everything that was added."""
        peaks = [one for _, one in self._peaks]
        if not peaks:
            return hashlib.sha256(b"").digest()
        found = peaks.pop()
        while peaks:
            found = hashlib.sha256(b"\x01" + peaks.pop() + found).digest()
        return found


def subtrees(start: int, stop: int) -> Iterator[int]:
    """The levels of the largest complete subtrees that fill the leaves from `start` to before `stop`, in order."""
    while start < stop:
        level = (stop - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        yield level
        start += 1 << level


# --- the manifest and its files ---------------------------------------------------------------------------------------


def check_signature(pack: Pack, manifest: bytes, trusted: Mapping[str, bytes]) -> str:
    """Who of `trusted` (verifier keys and their 32 bytes) has signed for the manifest, and when they say they did. Raises `Wrong`."""
    payload, rows = envelope_of(pack.read(SIGNATURE), KIND)
    said = json.loads(payload)
    if said["manifest"] != {"name": MANIFEST, "sha256": hashlib.sha256(manifest).hexdigest(), "size": len(manifest)}:
        raise Wrong(f"is of another {MANIFEST} than the one that lies here")
    text = b"DSSEv1 %d %s %d %s" % (len(KIND), KIND.encode(), len(payload), payload)
    for name, public in trusted.items():
        identity = hashlib.sha256(bytes.fromhex("302a300506032b6570032100") + public).hexdigest()
        if any(key == identity and ed25519_holds(public, text, signature) for key, signature in rows):
            return f"{name} at {said['at']}"
    raise Wrong("is not signed by a key that you gave, nor by one that it has handed over to")


def check_files(pack: Pack, files: Mapping[str, Any], report: Report) -> None:
    """Size and digest of each, and that there is no other."""
    for name in sorted(pack.names - set(files) - {MANIFEST, SIGNATURE}):
        report.fault(name, "is in no manifest")
    for name in pack.twice:
        report.fault(name, "is in the archive twice")
    for name in sorted(files):
        found, size = hashlib.sha256(), 0
        try:
            with pack.open(name) as file:
                for block in iter(lambda: file.read(1 << 20), b""):
                    found.update(block)
                    size += len(block)
        except (Wrong, OSError) as error:
            report.fault(name, error)
            continue
        if {"sha256": found.hexdigest(), "size": size} != files[name]:
            report.fault(name, "is not the file that was signed for")


# --- records from outside the range -----------------------------------------------------------------------------------


def check_context(pack: Pack, size: int, root: bytes, report: Report) -> tuple[Keys, dict[int, Any]]:
    """The records from outside the range: that they stand in the same tree, and what those about keys say."""
    keys, there = Keys(), {}
    for row in pack.rows("context.jsonl"):
        try:
            is_stub = row["record"].startswith('{"leaf":"')
            record, leaf = read_stub(row["record"]) if is_stub else read_record(row["record"])
            there[record["seq"]] = record
            if row["path"] is not None and root_of(leaf, record["seq"], size, [unhexed(one) for one in row["path"]]) != root:
                raise Wrong(f"record {record['seq']}: its path does not lead to the root of the checkpoint")
            if row["path"] is None and record["seq"] < size:
                raise Wrong(f"record {record['seq']}: has no path to the root of the checkpoint")
            keys.add(record) if not is_stub else None
        except Wrong as error:
            report.fault("context.jsonl", error)
        except UNREADABLE as error:
            report.fault("context.jsonl", f"a line cannot be read: {error!r}")
    return keys, there


def read_stub(text: str) -> tuple[dict[str, Any], bytes]:
    """What is left of a record whose retention has ended: its leaf, that of the one before, and its place."""
    record = json.loads(text)
    if set(record) != {"leaf", "prev", "seq"}:
        raise Wrong("is no record")
    return record, bytes.fromhex(record["leaf"])


# --- the records ------------------------------------------------------------------------------------------------------


class Walk:
    """The records of the range, in order: their links, their place in the tree, what they cite and whom they are of."""

    def __init__(self, pack: Pack, tree: Mapping[str, Any], report: Report) -> None:
        self._pack, self._report = pack, report
        self.first, self.stop, self.size = tree["first"], tree["stop"], tree["size"]
        self._left, self._right = ([unhexed(one) for one in tree[side]] for side in ("left", "right"))
        self.edge, self.expired, self.ends = Edge(), 0, ("", "")
        self.removed = Removed(self.first)
        self.cited: dict[str, tuple[int, str]] = {}
        self.roots: dict[int, bytes] = {}
        self._parts = pack.rows("personal.jsonl") if "personal.jsonl" in pack.names else iter(())
        self._part: Any = None

    def run(self, wanted: set[int]) -> bytes:
        """Everything; gives the root of the whole tree, and keeps those of the `wanted` sizes. Raises `Wrong`."""
        self._fill(self._left, subtrees(0, self.first))
        before = ""
        with self._pack.open("records.jsonl") as file:
            for line in file:
                if self.edge.size in wanted:
                    self.roots[self.edge.size] = self.edge.root()
                before = self._record(line, before)
        if self.edge.size != self.stop:
            raise Wrong(f"ends with record {self.edge.size - 1}, and the range with {self.stop - 1}")
        self._next_part(self.stop)
        if self._part is not None:
            self._report.fault("personal.jsonl", f"record {self._part['seq']}: is not in the pack")
        self.roots[self.stop] = self.edge.root()
        self._fill(self._right, subtrees(self.stop, self.size))
        return self.edge.root()

    def _fill(self, hashes: list[bytes], levels: Iterator[int]) -> None:
        wanted = list(levels)
        if len(wanted) != len(hashes):
            raise Wrong("tree.json has another number of subtrees than the range leaves open")
        for level, found in zip(wanted, hashes):  # noqa: B905 - Python 3.8; the lengths are equal
            self.edge.add(level, found)

    def _record(self, line: bytes, before: str) -> str:
        sequence = self.edge.size
        try:
            text = line.decode()
            if not text.endswith("\n"):
                raise Wrong("is cut short")
            is_stub = text.startswith('{"leaf":"')
            record, leaf = read_stub(text[:-1]) if is_stub else read_record(text[:-1])
            if record["seq"] != sequence:
                raise Wrong(f"record {record['seq']} stands in its place")
            if before and record["prev"] != before:
                raise Wrong("its prev is not the leaf of the record before")
            self.edge.add(0, leaf)
            self.removed.take(record)
            self._read(record) if not is_stub else None
        except Wrong as error:
            raise Wrong(f"record {sequence}: {error}") from None
        except UNREADABLE as error:
            raise Wrong(f"record {sequence}: cannot be read: {error!r}") from None
        self.expired += is_stub
        return str(record["leaf"])

    def _read(self, record: Mapping[str, Any]) -> None:
        self.ends = (self.ends[0] or record["at"], record["at"])
        for digest, what in cited_by(record):
            self.cited.setdefault(digest, (record["seq"], what))
        self._next_part(record["seq"])
        if self._part is not None and self._part["seq"] == record["seq"]:
            found = "sha256:" + hashlib.sha256(unhexed(self._part["salt"]) + canonical(self._part["part"]).encode()).hexdigest()
            if found != record["personal"]:
                self._report.fault("personal.jsonl", f"record {record['seq']}: the personal part is not the one that was sealed")
            self._part = None

    def _next_part(self, sequence: int) -> None:
        """The first part that is of record `sequence` or a later one; those before it belong to nothing."""
        while True:
            if self._part is None:
                self._part = next(self._parts, None)
            if self._part is None or self._part["seq"] >= sequence:
                return
            self._report.fault("personal.jsonl", f"record {self._part['seq']}: has no such part, or it stands out of order")
            self._part = None


def check_evidence(pack: Pack, cited: Mapping[str, tuple[int, str]], report: Report) -> int:
    """That everything which is cited, by records or by what they cite, is there with its digest; gives how much it is."""
    waiting, known = [(digest, *one) for digest, one in cited.items()], set()
    while waiting:
        digest, sequence, what = waiting.pop()
        if digest in known:
            continue
        known.add(digest)
        name = f"evidence/{digest[:2]}/{digest}"
        try:
            content = pack.read(name)
        except (Wrong, OSError):
            report.fault(name, f"is missing: cited by record {sequence} ({what})")
            continue
        if hashlib.sha256(content).hexdigest() != digest:
            report.fault(name, f"is not what it was: cited by record {sequence} ({what})")
        several = what.startswith("files of list")
        if several or what == "rulebook":
            waiting += [(one, sequence, f"{kind}, by {what} {digest[:12]}") if not several else (one, sequence, kind) for one, kind in cited_within("list" if several else what, content)]
    return len(known)


def check_edges(manifest: Mapping[str, Any], walk: Walk, there: Mapping[int, Any], report: Report) -> None:
    """That the range is the one of its dates: the records beside it lie outside. One that was asked for by number has no dates."""
    if manifest.get("span") == BY_NUMBER:
        report.notes.append(f"the range is records {walk.first} to {walk.stop - 1} by number, and not those of a span of time")
        return
    beside = [walk.first - 1] if walk.first else []
    beside += [walk.stop] if walk.stop < walk.size else []
    for sequence in beside:
        at = there.get(sequence, {}).get("at", "")
        if sequence not in there or manifest["from"] <= at < manifest["to"]:
            report.fault("context.jsonl", f"record {sequence}, which stands beside the range, is not there or belongs to it")
    if walk.stop == walk.size:
        report.notes.append("the checkpoint ends with the range: whether later records belong to it is not shown")


# --- the whole --------------------------------------------------------------------------------------------------------


def check(pack: Pack, given: list[str], report: Report) -> list[str]:
    """Everything; gives what is said of a pack that holds. Raises `Wrong` where there is no manifest to go by."""
    data = pack.read(MANIFEST)
    try:
        manifest = json.loads(data)
        if manifest["format"] != FORMAT:
            raise Wrong(f"{MANIFEST}: is no audit pack of this format ({FORMAT})")
    except UNREADABLE:
        raise Wrong(f"{MANIFEST}: is no manifest") from None
    check_files(pack, manifest["files"], report)
    note, size, root = "", 0, b""
    with blamed(report, "checkpoint"):
        note = pack.read("checkpoint").decode()
        size, root = int(note.split("\n")[1]), base64.b64decode(note.split("\n")[2], validate=True)
    keys = Keys()
    there: dict[int, Any] = {}
    with blamed(report, "context.jsonl"):
        keys, there = check_context(pack, size, root, report)
    signer = ""
    with blamed(report, SIGNATURE):
        signer = check_signature(pack, data, keys.led_to(given or [manifest["key"]]))
    with blamed(report, "checkpoint"):
        noted(note, keys.in_force(size))
    walk = Walk(pack, {"first": 0, "stop": 0, "size": 0, "left": [], "right": []}, report)
    with blamed(report, "tree.json"):
        tree = json.loads(pack.read("tree.json"))
        walk = Walk(pack, tree, report)
        if (tree["size"], manifest["checkpoint"]) != (size, {"root": root.hex(), "size": size}):
            raise Wrong("is of another checkpoint")
    others: list[tuple[int, bytes, str]] = []
    with blamed(report, "checkpoints.jsonl"):
        others = [(int(one["note"].split("\n")[1]), base64.b64decode(one["note"].split("\n")[2]), one["note"]) for one in pack.rows("checkpoints.jsonl")]
    with blamed(report, "records.jsonl"):
        if walk.run({one for one, _, _ in others} | {one for _, one, _ in keys.statements}) != root:
            raise Wrong("these are not the records of which the checkpoint was signed")
        check_others(others, keys, walk, report)
        check_edges(manifest, walk, there, report)
        for sequence in there:
            if sequence < size:  # what lies behind it is not shown to be of this ledger
                walk.removed.tell(there[sequence])
        for said in walk.removed.faults():
            report.fault("records.jsonl", said)
    evidence = 0
    with blamed(report, "evidence.jsonl"):
        evidence = check_evidence(pack, walk.cited, report)
    if walk.expired:
        report.notes.append(f"of {walk.expired} records only the leaf is left: what was sealed before calls each short-lived, and its time was over")
    count = walk.stop - walk.first
    return [
        f"{count} records, {walk.first} to {walk.stop - 1}, from {walk.ends[0]} to {walk.ends[1]}: whole, in order, and unchanged since they were sealed",
        f"of the {size} records of {manifest['ledger']} that were signed for; root {root.hex()}",
        f"{len(others)} checkpoints, {len(keys.eras)} keys, {evidence} pieces of evidence",
        f"put together by {signer}",
    ]


def check_others(others: list[tuple[int, bytes, str]], keys: Keys, walk: Walk, report: Report) -> None:
    """Each further checkpoint, and each key's statement, against the records that it is of."""
    for size, root, note in others:
        try:
            noted(note, keys.in_force(size))
            if walk.roots.get(size, root) != root:
                raise Wrong("is of other records than these")
        except Wrong as error:
            gap = next((sequence for sequence, since, published in keys.gaps if since < size <= published), None)
            if gap is None:
                report.fault("checkpoints.jsonl", f"the checkpoint of {size} records: {error}")
            else:
                report.notes.append(f"the checkpoint of {size} records is of the history that record {gap} says was lost")
    for sequence, size, root in keys.statements:
        if walk.roots.get(size, root) != root:
            report.fault("context.jsonl", f"record {sequence}: the key's statement is of other records than these")
    report.notes += [f"record {sequence}: the key was replaced without the one before it" for sequence, _, how in keys.eras if how == "replaced"]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Check an audit pack.")
    parser.add_argument("pack", type=Path, nargs="?", default=Path(__file__).resolve().parent)
    parser.add_argument("--key", action="append", default=[], help="a verifier key of the ledger, as you know it from elsewhere")
    given = parser.parse_args()
    report = Report()
    try:
        for one in given.key:
            key_of(one)
        said = check(Pack(given.pack), given.key, report)
    except Wrong as error:
        report.fault(str(given.pack), error)
        said = []
    except (OSError, tarfile.TarError, *UNREADABLE) as error:
        print(f"cannot be read: {type(error).__name__}: {error}", file=sys.stderr)
        return 1 if report.faults else 2
    for note in report.notes:
        print(f"note: {note}")
    if report.faults:
        print(f"does not hold: {report.faults} fault{'' if report.faults == 1 else 's'}", file=sys.stderr)
        return 1
    print(*said, sep="\n")
    if not given.key:
        print("the key is the one that the pack names: compare it with the one that you know, or give it by --key")
    return 0


if __name__ == "__main__":
    sys.exit(main())
