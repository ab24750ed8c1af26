"""A verifier of the ledger that shares no line with the product, written from docs/ledger.md, its schema and the RFCs.

    python3 second_verifier.py LEDGER [--key KEY] [--checkpoint FILE]...
    python3 second_verifier.py --proof PROOF [--key KEY]

LEDGER is the folder of the segments. Exit 0: sound. 1: damaged, with file, sequence and fault. 2: it cannot be read at all.
It takes nothing on trust that it can work out: records are parsed and written again (RFC 8785) and never cut as text, roots follow
the recursive definition (RFC 6962 2.1), signatures RFC 8032 5.1.7. It is slow, needs Python alone, and reads everything into memory.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

NOTHING = "0" * 64
HEX = re.compile(r"[0-9a-f]{64}")
COMMITMENT = re.compile(r"sha256:[0-9a-f]{64}")
SALT = re.compile(r"[0-9a-f]{32}")
NAMED = re.compile(r"(segment|personal)-([0-9]{12,})\.jsonl")
HEAD = re.compile(rb"([0-9]{16,}) ([0-9a-f]{64})\n")
DECIMAL = re.compile(r"0|[1-9][0-9]*")
ALWAYS = {"seq", "at", "kind", "actor", "count", "personal", "prev", "leaf"}
STUB = {"leaf", "prev", "seq"}


class Fault(Exception):
    """What is wrong, where: the file and, where there is one, the sequence of the record."""

    def __init__(self, file: str, seq: int | None, what: str) -> None:
        super().__init__(f"{file}: {'' if seq is None else f'seq {seq}: '}{what}")
        self.file, self.seq, self.what = file, seq, what


# --- JSON: RFC 8259 read strictly, RFC 8785 written ---


def canonical(value: Any) -> bytes:
    """RFC 8785 3.2, for texts, integers within RFC 7493 2.2, true, false, null, lists and objects; ValueError for anything else."""
    return _written(value).encode("utf-8")  # a lone surrogate is a UnicodeEncodeError, as RFC 8785 3.2.2.2 wants


def _written(value: Any) -> str:
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        if abs(value) >= 1 << 53:
            raise ValueError(f"{value} is more than a double can hold")
        return str(value)
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{_written(name)}:{_written(value[name])}" for name in names) + "}"
    raise ValueError(f"{type(value).__name__} has no place here")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name occurs twice in one object")
    return dict(pairs)


def _refused(text: str) -> NoReturn:
    raise ValueError(f"the number {text} is no integer")


def parsed(line: bytes) -> dict[str, Any]:
    """The object that a line is; ValueError if it is not canonical."""
    try:
        value = json.loads(
            line.decode("utf-8"), object_pairs_hook=_object, parse_float=_refused, parse_constant=_refused
        )
        if not isinstance(value, dict):
            raise ValueError("no object")
        again = canonical(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no canonical JSON: {error}") from None
    if again != line:
        raise ValueError("is no canonical JSON: RFC 8785 writes it differently")
    return value


# --- Ed25519: RFC 8032 5.1 ---

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT_OF_MINUS_1 = pow(2, (_P - 1) // 4, _P)
Point = tuple[int, int, int, int]


def _add(p: Point, q: Point) -> Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % _P, (p[1] + p[0]) * (q[1] + q[0]) % _P
    c, d = 2 * p[3] * q[3] * _D % _P, 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(scalar: int, point: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point = _add(point, point)
        scalar >>= 1
    return total


def _point(encoded: bytes) -> Point | None:
    """RFC 8032 5.1.3; None where the bytes are no point."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT_OF_MINUS_1 % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


_BASE = _point((4 * pow(5, _P - 2, _P) % _P).to_bytes(32, "little"))


def signed(key: bytes, message: bytes, signature: bytes) -> bool:
    """RFC 8032 5.1.7."""
    assert _BASE is not None
    public, r, s = _point(key), _point(signature[:32]), int.from_bytes(signature[32:], "little")
    if len(key) != 32 or len(signature) != 64 or public is None or r is None or s >= _L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % _L
    left, right = _times(s, _BASE), _add(r, _times(k, public))
    return (left[0] * right[2] - right[0] * left[2]) % _P == 0 and (left[1] * right[2] - right[1] * left[2]) % _P == 0


# --- the Merkle tree: RFC 6962 2.1 ---


class Tree:
    """MTH of any range of leaves by the definition; complete subtrees are worked out once."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.leaves = leaves
        self._known: dict[tuple[int, int], bytes] = {}

    def root(self, begin: int, end: int) -> bytes:
        count = end - begin
        if count <= 1:
            return self.leaves[begin] if count else hashlib.sha256(b"").digest()
        found = self._known.get((begin, end))
        if found is None:
            half = 1 << ((count - 1).bit_length() - 1)  # the largest power of two smaller than count
            found = hashlib.sha256(b"\x01" + self.root(begin, begin + half) + self.root(begin + half, end)).digest()
            if count & (count - 1) == 0:
                self._known[begin, end] = found
        return found


def climbed(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root that an inclusion proof leads to: RFC 9162 2.1.3.2; ValueError where its length is not that of index and size."""
    if not 0 <= index < size:
        raise ValueError(f"index {index} is not within {size} records")
    node, last, found = index, size - 1, leaf
    for step in path:
        if last == 0:
            raise ValueError("the path is too long")
        if node & 1 or node == last:
            found = hashlib.sha256(b"\x01" + step + found).digest()
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = hashlib.sha256(b"\x01" + found + step).digest()
        node, last = node >> 1, last >> 1
    if last:
        raise ValueError("the path is too short")
    return found


# --- signed notes and checkpoints: C2SP signed-note, tlog-checkpoint ---


def _unbase64(text: str) -> bytes:
    """RFC 4648 4, with padding; bits of the last letter that say nothing are passed over (3.5), as signed-note's own programs do."""
    return base64.b64decode(text, validate=True)


@dataclass(frozen=True)
class Key:
    """A verifier key: name, id and the 32 bytes of Ed25519."""

    text: str
    name: str
    id: bytes
    public: bytes


def key_of(text: str) -> Key:
    """`name+id+base64` of signed-note; ValueError."""
    name, _, rest = text.partition("+")
    number, _, encoded = rest.partition("+")
    if not name or any(letter.isspace() for letter in name) or not re.fullmatch("[0-9a-f]{8}", number):
        raise ValueError(f"{text!r} is no verifier key")
    raw = _unbase64(encoded)
    made = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    if len(raw) != 33 or raw[0] != 1 or made.hex() != number:
        raise ValueError(f"{text!r} is no Ed25519 key of this name and id")
    return Key(text, name, made, raw[1:])


@dataclass(frozen=True)
class Note:
    """A checkpoint: its text, the three lines of it, further ones, and the signatures as (name, id, bytes)."""

    whole: str
    text: str
    origin: str
    size: int
    root: bytes
    further: tuple[str, ...]
    signatures: tuple[tuple[str, bytes, bytes], ...]

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.whole.encode()).hexdigest()

    def names(self, key: Key) -> bool:
        return any((name, number) == (key.name, key.id) for name, number, _ in self.signatures)

    def is_signed_by(self, key: Key) -> bool:
        mine = [raw for name, number, raw in self.signatures if (name, number) == (key.name, key.id)]
        return bool(mine) and all(signed(key.public, self.text.encode(), raw) for raw in mine)


def note_of(whole: str) -> Note:
    """Read one note; ValueError."""
    text, blank, rest = whole.rpartition("\n\n")
    if not blank or not rest.endswith("\n") or any(letter < " " and letter != "\n" for letter in whole):
        raise ValueError("is no signed note")
    lines = text.split("\n")
    if len(lines) < 3 or not lines[0] or not DECIMAL.fullmatch(lines[1]) or "" in lines:
        raise ValueError("is no checkpoint")
    root = _unbase64(lines[2])
    if len(root) != 32:
        raise ValueError("the root has not 32 bytes")
    signatures = []
    for line in rest[:-1].split("\n"):
        dash, name, encoded = [*line.split(" "), "", ""][:3] if line.count(" ") == 2 else ("", "", "")
        if dash != "—" or not name:
            raise ValueError("has a line that is no signature")
        raw = _unbase64(encoded)
        if len(raw) < 5:
            raise ValueError("has a signature that is too short")
        signatures.append((name, raw[:4], raw[4:]))
    return Note(whole, text + "\n", lines[0], int(lines[1]), root, tuple(lines[3:]), tuple(signatures))


# --- records ---


def sealed(line: bytes) -> tuple[dict[str, Any], bytes]:
    """A record, or the stub that was left of one, and its leaf hash; ValueError if the line is not what was sealed."""
    record = parsed(line)
    if record.keys() == STUB:
        if type(record["seq"]) is not int or not all(isinstance(record[name], str) and HEX.fullmatch(record[name]) for name in ("leaf", "prev")):
            raise ValueError("has not the fields of a stub")
        return record, bytes.fromhex(record["leaf"])
    if (
        not ALWAYS <= record.keys()
        or record.keys() - ALWAYS - {"decision", "subject", "detail"}
        or ("decision" in record) == ("subject" in record)
    ):
        raise ValueError("has not the fields of a record")
    if type(record["seq"]) is not int or type(record["count"]) is not int or record["count"] < 1:
        raise ValueError("seq and count are not what they must be")
    if not isinstance(record.get("detail", {}), dict):
        raise ValueError("detail is no object")
    texts = (record["leaf"], HEX), (record["prev"], HEX), (record["personal"], COMMITMENT)
    if not all(isinstance(text, str) and shape.fullmatch(text) for text, shape in texts):
        raise ValueError("leaf, prev or personal is no digest")
    leaf = hashlib.sha256(
        b"\x00" + canonical({name: value for name, value in record.items() if name != "leaf"})
    ).digest()
    if leaf.hex() != record["leaf"]:
        raise ValueError("leaf is not the hash of the record")
    return record, leaf


def commitment(part: Any, salt: Any) -> str:
    """What a record says of its personal part; ValueError."""
    if not isinstance(salt, str) or not SALT.fullmatch(salt) or not isinstance(part, dict):
        raise ValueError("is no personal part with its salt")
    return "sha256:" + hashlib.sha256(bytes.fromhex(salt) + canonical(part)).hexdigest()


@dataclass
class Ledger:
    """What was read so far."""

    folder: Path
    records: list[dict[str, Any]] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)
    keys: list[tuple[int, Key]] = field(default_factory=list)  # from which record on
    gaps: list[dict[str, Any]] = field(default_factory=list)
    anchors: list[int] = field(
        default_factory=list
    )  # the records about keys and gaps, which `checkpoints` has copies of
    notes: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    erased: int = 0
    removed: int = 0

    def read(self, name: str) -> bytes | None:
        path = self.folder / name
        return path.read_bytes() if path.is_file() else None

    def files(self, kind: str) -> list[tuple[str, int]]:
        """Names and first sequences of the files of a kind, in order."""
        found = (NAMED.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(
            ((match[0], int(match[2])) for match in found if match and match[1] == kind), key=lambda row: row[1]
        )

    def key_at(self, size: int) -> Key | None:
        """Whose checkpoints of so many records count: a key's own record is the first that it signs for."""
        return next((key for since, key in reversed(self.keys) if since < size), None)


def _rows(name: str, raw: bytes) -> Iterator[tuple[bytes, bool]]:
    """Lines of a file and whether each has its end."""
    *whole, rest = raw.split(b"\n")
    yield from ((line, True) for line in whole)
    if rest:
        yield rest, False


def check_segments(ledger: Ledger) -> None:
    """The chain: every line canonical, counted, linked and hashed."""
    files = ledger.files("segment")
    for number, (name, first) in enumerate(files):
        if first != len(ledger.records):
            raise Fault(name, len(ledger.records), f"the file begins with {first} by its name")
        for line, whole in _rows(name, (ledger.folder / name).read_bytes()):
            seq = len(ledger.records)
            if not whole:
                if number + 1 < len(files):
                    raise Fault(name, seq, "ends within a record, and another file follows")
                ledger.remarks.append(f"{name}: {len(line)} bytes of an incomplete record at the end")
                break
            try:
                record, leaf = sealed(line)
            except ValueError as error:
                raise Fault(name, seq, str(error)) from None
            if record["seq"] != seq:
                raise Fault(name, seq, f"the record here has sequence {record['seq']}")
            if record["prev"] != (ledger.leaves[-1].hex() if seq else NOTHING):
                raise Fault(name, seq, "prev is not the leaf of the record before")
            ledger.records.append(record)
            ledger.lines.append(line)
            ledger.leaves.append(leaf)


def check_head(ledger: Ledger) -> None:
    """It may lag, and is never ahead."""
    raw = ledger.read("head")
    if raw is None:
        if ledger.records:
            raise Fault("head", None, "is missing")
        return
    match = HEAD.fullmatch(raw)
    if match is None:
        raise Fault("head", None, "is not a number of records and a leaf")
    count = int(match[1])
    if count > len(ledger.records):
        raise Fault("head", len(ledger.records), f"{count} records were written, {len(ledger.records)} are there")
    if match[2].decode() != (ledger.leaves[count - 1].hex() if count else NOTHING):
        raise Fault("head", count - 1, "names another leaf")


def _personal(line: bytes) -> tuple[int, str]:
    """Sequence and commitment of a line of a personal file; ValueError."""
    row = parsed(line)
    if row.keys() != {"part", "salt", "seq"} or type(row["seq"]) is not int:
        raise ValueError("is not part, salt and seq")
    return row["seq"], commitment(row["part"], row["salt"])


def check_personal(ledger: Ledger) -> None:
    """Every line that is there is what its record commits to; a personal file is as long as the segment of the same number."""
    count, found = len(ledger.records), 0
    begins = [first for _, first in ledger.files("segment")]
    for name, first in ledger.files("personal"):
        if first not in begins and first != count:
            raise Fault(name, first, "no segment begins with this record")
        end, before = next((later for later in begins if later > first), count), first - 1
        is_last, following = first >= max(begins, default=0), count
        rows = list(_rows(name, (ledger.folder / name).read_bytes()))
        for place, (line, whole) in enumerate(rows):
            try:
                if not whole:
                    raise ValueError("has no end")
                seq, stated = _personal(line)
            except ValueError as error:
                seq, stated = -1, str(error)
            if before < seq < end:
                if ledger.records[seq].get("personal") != stated:
                    raise Fault(name, seq, "the record commits to another personal part")
                found, before = found + 1, seq
            elif is_last and seq == following:
                following += 1  # its record was never written
            elif is_last and seq < 0 and (before == count - 1 or following > count) and not _recorded(rows[place:], count):
                ledger.remarks.append(f"{name}: what a crash left of lines")
                break
            else:
                raise Fault(
                    name,
                    seq if seq >= 0 else before + 1,
                    "is out of place" if seq >= 0 else f"the line after that of {before}: {stated}",
                )
        if following > count:
            ledger.remarks.append(f"{name}: what a crash left of records that were never written")
    ledger.erased = count - found


def _recorded(rows: list[tuple[bytes, bool]], count: int) -> bool:
    """Whether there is a line of a record that was written."""
    for line, whole in rows:
        try:
            if whole and _personal(line)[0] < count:
                return True
        except ValueError:
            continue
    return False


def check_tree(ledger: Ledger, tree: Tree) -> None:
    """tree-n holds the roots of complete subtrees of 256**n leaves; it may lag."""
    for path in sorted(ledger.folder.iterdir()):
        match = re.fullmatch("tree-([0-9]+)", path.name)
        if not match:
            continue
        raw, width = path.read_bytes(), 256 ** int(match[1])
        if len(raw) > 32 * (len(ledger.records) // width):
            raise Fault(path.name, len(ledger.records), "has more hashes than there are records")
        for place in range((len(raw) + 31) // 32):
            stored = raw[32 * place : 32 * place + 32]  # the last one may be there in part
            if not tree.root(place * width, (place + 1) * width).startswith(stored):
                raise Fault(path.name, place * width, "is not the hash of these records")


# --- keys and checkpoints ---


def check_keys(ledger: Ledger, tree: Tree) -> None:
    """Each key signs for the records before its own, and so does the one before it unless that was lost."""
    file = "segments"
    for seq, record in enumerate(ledger.records):
        if record.keys() == STUB:
            continue
        detail = record.get("detail", {})
        if record["kind"] == "recovered" and "gap" in detail:
            ledger.gaps.append(detail["gap"])
            ledger.anchors.append(seq)
            ledger.remarks.append(f"seq {seq}: tells of a gap")
        if record["kind"] != "key":
            continue
        try:
            key, note = key_of(detail["key"]), note_of(detail["statement"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Fault(file, seq, f"the key's record cannot be read: {error}") from None
        stated = note.origin, note.further, note.root if note.size <= seq else b""
        if stated != (key.name, (f"next-key {key.text}",), tree.root(0, min(note.size, seq))):
            raise Fault(file, seq, "the statement is not of this key and the records before it")
        if not note.is_signed_by(key):
            raise Fault(file, seq, "the key did not sign its statement")
        before, outcome = ledger.key_at(seq + 1), detail.get("outcome")
        if before is None:
            if outcome != "made":
                raise Fault(file, seq, f"the first key is {outcome!r}")
        elif before.name != key.name:
            raise Fault(file, seq, "the ledger's name has changed")
        elif outcome == "replaced":
            ledger.remarks.append(f"seq {seq}: the key was replaced without the one before it")
        elif outcome != "rotated" or not note.is_signed_by(before):
            raise Fault(file, seq, "the key before it did not sign its statement")
        ledger.keys.append((seq, key))
        ledger.anchors.append(seq)


def check_note(ledger: Ledger, tree: Tree, note: Note, file: str) -> None:
    """A checkpoint of this history: signed by the key of its size, with the root of so many records."""
    key = ledger.key_at(note.size)
    if note.size > len(ledger.records):
        raise Fault(file, len(ledger.records), f"{note.size} records were signed for, {len(ledger.records)} are there")
    if key is None or note.origin != key.name or note.further or not note.is_signed_by(key):
        raise Fault(file, note.size - 1, "the key of that record did not sign it")
    if tree.root(0, note.size) != note.root:
        raise Fault(file, note.size - 1, "the records do not have the root that was signed")


def check_checkpoints(ledger: Ledger, tree: Tree) -> None:
    """Ours: a chain of notes and of copies of records; and the newest alone. A gap excuses the notes before its record's copy only."""
    before = NOTHING
    rows = list(_rows("checkpoints", ledger.read("checkpoints") or b""))
    waiting: list[tuple[Note, Fault]] = []
    missing, highest = list(ledger.anchors), 0
    for number, (line, whole) in enumerate(rows, 1):
        if not whole:
            ledger.remarks.append(f"checkpoints: line {number} is incomplete")
            break
        try:
            row = parsed(line)
            digest = row.pop("digest", None)
            if row.keys() not in ({"prev", "record"}, {"at", "note", "prev"}) or row["prev"] != before:
                raise ValueError("is not the line that follows")
            if hashlib.sha256(canonical(row)).hexdigest() != digest:
                raise ValueError("digest is not that of the line")
            if "record" in row:
                waiting = _copied(ledger, row["record"], missing, waiting)
            else:
                note = note_of(row["note"])
                ledger.notes.append(row["note"])
                try:
                    check_note(ledger, tree, note, "checkpoints")
                    if note.size < highest:
                        raise Fault("checkpoints", note.size, f"follows one of {highest} records")
                    if missing and missing[0] < note.size:
                        raise Fault(
                            "checkpoints",
                            missing[0],
                            "the record about a key or a gap is not copied before what it bears on",
                        )
                    highest = note.size
                except Fault as fault:
                    waiting.append((note, fault))
        except (ValueError, AttributeError) as error:
            raise Fault("checkpoints", None, f"line {number}: {error}") from None
        before = digest
    if waiting:
        raise waiting[0][1]
    newest = ledger.read("checkpoint")
    if newest is None and ledger.notes:
        raise Fault("checkpoint", None, "is missing")
    if newest is not None and newest not in [note.encode() for note in ledger.notes]:
        raise Fault("checkpoint", None, "is not among the checkpoints")


def _copied(
    ledger: Ledger, text: str, missing: list[int], waiting: list[tuple[Note, Fault]]
) -> list[tuple[Note, Fault]]:
    """The copy of a record, the next that is `missing`; which of the notes that await their excuse are still without."""
    record, _ = sealed(text.encode())
    seq = record["seq"]
    if not seq < len(ledger.lines) or ledger.lines[seq] != text.encode():
        raise Fault("checkpoints", seq, "the copy of a record that the segments do not have")
    if not missing or missing.pop(0) != seq:
        raise Fault("checkpoints", seq, "the copy of a record is not where it belongs")
    gap = record.get("detail", {}).get("gap")
    return [row for row in waiting if not (gap and _excused(ledger, gap, row[0]))]


def _excused(ledger: Ledger, gap: dict[str, Any], note: Note) -> bool:
    """The note that showed the gap, or one of a key of this ledger whose size lies in it."""
    mine = any(note.is_signed_by(key) for _, key in ledger.keys)
    return bool(gap["digest"] == note.digest or (mine and gap["since"] < note.size <= gap["published"]))


def check_kept(ledger: Ledger, tree: Tree, path: Path) -> None:
    """Checkpoints that were kept elsewhere, one after another with an empty line between them. Those of lost records are told of."""
    raw = path.read_bytes().decode("utf-8")
    try:
        lines = [json.loads(line) for line in raw.splitlines()] if raw.startswith("{") else None
        texts = (
            [row["note"] for row in lines if "note" in row] if lines is not None else re.split(r"(?<=\n)\n(?!— )", raw)
        )
        notes = [note_of(text) for text in texts]
    except (ValueError, TypeError) as error:
        raise Fault(str(path), None, str(error)) from None
    for note in notes:
        try:
            check_note(ledger, tree, note, str(path))
        except Fault:
            if any(_excused(ledger, gap, note) for gap in ledger.gaps):
                ledger.remarks.append(f"{path}: the checkpoint of {note.size} records is of a history that was lost")
                continue
            foreign = not any(note.names(key) for _, key in ledger.keys)
            ours = note.origin in [key.name for _, key in ledger.keys]
            if not (foreign and ours and any(gap["since"] < note.size <= gap["published"] for gap in ledger.gaps)):
                raise
            ledger.remarks.append(f"{path}: the key of the checkpoint of {note.size} records was lost with them: it cannot be checked here")


# --- records that were removed ---


@dataclass(frozen=True)
class Classes:
    """What a `classes` record says: when, of which records, and which of them are short-lived."""

    at: str
    since: int
    until: int
    short: bytes

    def named(self, bits: bytes) -> Iterator[int]:
        return (seq for seq in range(self.since, self.until) if bits[(seq - self.since) // 8] >> (seq - self.since) % 8 & 1)


def check_removed(ledger: Ledger) -> None:
    """Each stub is one that `classes`, sealed before, calls short-lived and that `counts` names, after its time and no hold against it."""
    said: dict[int, Classes] = {}
    holds: dict[str, dict[str, Any]] = {}
    permitted: set[int] = set()
    decided = {record["decision"]["id"]: record for record in ledger.records if record.get("kind") != "repeated" and "decision" in record}
    for seq, record in enumerate(ledger.records):
        kind = record.get("kind")
        try:
            if kind == "classes":
                said[seq] = _classes(record, max((one.until for one in said.values()), default=0))
                home = record["detail"]["home"]
                for number in said[seq].named(said[seq].short):
                    if _is_long(ledger.records[number], decided, home):
                        raise ValueError(f"calls record {number} short-lived, which it is not")
            elif kind == "hold":
                _hold(holds, record["detail"])
            elif kind == "counts":
                permitted |= _counted(record, said)
                if any(_keeps(hold, row) for hold in holds.values() for row in record["detail"]["rows"]):
                    raise ValueError("removes what a hold keeps")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Fault("segments", seq, f"{kind}: {error}") from None
    gone = {seq for seq, record in enumerate(ledger.records) if record.keys() == STUB}
    if gone - permitted:
        raise Fault("segments", min(gone - permitted), "is gone, and no record permits that")
    ledger.removed = len(gone)


def _classes(record: dict[str, Any], before: int) -> Classes:
    detail = record["detail"]
    found = Classes(record["at"], detail["since"], detail["until"], bytes.fromhex(detail["short"]))
    if not before <= found.since < found.until <= record["seq"] or len(found.short) != (found.until - found.since + 7) // 8:
        raise ValueError("is of records that it cannot be of")
    return found


def _is_long(record: dict[str, Any], decided: dict[str, dict[str, Any]], home: list[str]) -> bool:
    """Whether a record is certainly not short-lived. Of one that is gone nothing is known, nor of a repeat whose decision is gone."""
    if record.keys() == STUB:
        return False
    if record["kind"] == "repeated":
        return record["subject"] in decided and _is_long(decided[record["subject"]], decided, home)
    decision, actor = record.get("decision", {}), record["actor"]
    plain = record["kind"] == "allowed" and "detail" not in record and decision.get("would") in ("allow", "warn") and decision["matches"] == []
    known: Iterable[str] = home or actor.get("jurisdictions", [])
    return not plain or any("exception" in rule for rule in decision["rules"]) or not actor["country"] or actor["country"] not in known


def _counted(record: dict[str, Any], said: dict[int, Classes]) -> set[int]:
    """What a `counts` record permits to be gone; ValueError."""
    found: set[int] = set()
    for one in record["detail"]["removed"]:
        classes, bits = said[one["classes"]], bytes.fromhex(one["removed"])
        if len(bits) != len(classes.short) or any(bit & ~short for bit, short in zip(bits, classes.short, strict=True)):
            raise ValueError("removes what is not called short-lived")
        past = [other.at for number, other in said.items() if number <= one["classes"] and other.at <= record["at"]]
        sealed = classes.at if classes.at > record["at"] else max(past)
        if datetime.fromisoformat(sealed) + timedelta(seconds=record["detail"]["allows"]) > datetime.fromisoformat(record["at"]):
            raise ValueError("removes records before their time")
        found.update(classes.named(bits))
    return found


def _hold(holds: dict[str, dict[str, Any]], detail: dict[str, Any]) -> None:
    known = detail["id"] in holds
    if detail["outcome"] == "added" and not known:
        holds[detail["id"]] = detail
    elif detail["outcome"] == "lifted" and known:
        del holds[detail["id"]]
    else:
        raise ValueError("is of a hold that was not there")


def _keeps(hold: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether a row of counts certainly has records that the hold covers."""
    begins, ends = (hold.get("since") or "")[:10], (hold.get("until") or "")[:10]
    named = not hold.get("artifact") or row["artifact"].startswith(tuple(hold["artifact"]))
    named = named and (not hold.get("publisher") or row["publisher"] in hold["publisher"])
    return bool(named and not hold.get("actor") and (not begins or begins < row["day"]) and (not ends or row["day"] < ends))


def verify(folder: Path, keys: list[str], kept: list[Path]) -> Ledger:
    """Everything under one folder; raises Fault, OSError."""
    ledger = Ledger(folder)
    check_segments(ledger)
    check_head(ledger)
    check_personal(ledger)
    tree = Tree(ledger.leaves)
    check_tree(ledger, tree)
    check_keys(ledger, tree)
    check_removed(ledger)
    check_checkpoints(ledger, tree)
    for text in keys:
        if text not in [key.text for _, key in ledger.keys]:
            raise Fault("segments", None, f"no record names the key {text}")
    for path in kept:
        check_kept(ledger, tree, path)
    return ledger


def verify_proof(raw: bytes, key: str | None) -> dict[str, Any]:
    """A proof of `ledger prove`, by the given key or, for what that is worth, by its own; raises Fault."""
    seq = None
    try:
        proof = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_object, parse_float=_refused, parse_constant=_refused
        )
        if proof["format"] != "entrepot-ledger-proof/1":
            raise ValueError("is no proof of this format")
        record, leaf = sealed(proof["record"].encode())
        seq = record["seq"]
        if record.keys() == STUB:
            raise ValueError("is of a record that is gone")
        note, signer = note_of(proof["checkpoint"]), key_of(key or proof["key"])
        if (
            type(proof["index"]) is not int
            or proof["index"] != seq
            or type(proof["size"]) is not int
            or proof["size"] != note.size
        ):
            raise ValueError("index or size is not that of record and checkpoint")
        if not all(HEX.fullmatch(step) for step in proof["path"]):
            raise ValueError("the path is no list of hashes")
        if climbed(leaf, seq, note.size, [bytes.fromhex(step) for step in proof["path"]]) != note.root:
            raise ValueError("the path does not lead to the root of the checkpoint")
        if note.further or note.origin != signer.name or not note.is_signed_by(signer):
            raise ValueError("the key did not sign the checkpoint")
        if (
            "personal" in proof
            and commitment(proof["personal"]["part"], proof["personal"]["salt"]) != record["personal"]
        ):
            raise ValueError("the record commits to another personal part")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Fault("proof", seq, str(error)) from None
    return record


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Verify a ledger, or a proof of one record.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--proof", action="store_true", help="PATH is a proof")
    parser.add_argument("--key", action="append", default=[])
    parser.add_argument("--checkpoint", action="append", default=[], type=Path)
    given = parser.parse_args(arguments)
    try:
        if given.proof:
            record = verify_proof(given.path.read_bytes(), given.key[0] if given.key else None)
            print(
                f"record {record['seq']} is in the ledger"
                + ("" if given.key else "; the key is the proof's own, which proves nothing")
            )
            return 0
        ledger = verify(given.path, given.key, given.checkpoint)
    except Fault as fault:
        print(fault)
        return 1
    except (OSError, UnicodeDecodeError) as error:
        print(error, file=sys.stderr)
        return 2
    head = ledger.leaves[-1].hex() if ledger.leaves else NOTHING
    root = Tree(ledger.leaves).root(0, len(ledger.leaves)).hex()
    print(
        json.dumps(
            {
                "records": len(ledger.records),
                "head": head,
                "root": root,
                "erased": ledger.erased,
                "removed": ledger.removed,
                "checkpoints": len(ledger.notes),
            }
        )
    )
    for remark in ledger.remarks:
        print(remark)
    return 0


if __name__ == "__main__":
    sys.exit(main())
