"""Hostile bundles in each form, against the command that people use: one clear error, and the data are what they were, byte for byte."""

from __future__ import annotations

import gzip
import json
import os
import random
import sqlite3
import tarfile
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mirror.audit.segments import Reader
from mirror.bundle import oci
from mirror.bundle.contents import ROWS, HubRow, line
from mirror.bundle.layout import BundleReader, BundleWriter, Form
from mirror.bundle.oci import part_of
from mirror.bundle.statement import Statement, payload, sign
from mirror.bundle.volumes import TapeWriter
from mirror.core import dsse
from mirror.policy.approval import Enrolled
from mirror.trust.enrolment import card_text
from tests.bundle.carried import CREATED, KEY, OCTETS, OTHER, Goods
from tests.bundle.test_hostile import HEX, Forged, member, stated
from tests.support import preloaded
from tests.support.mirror import clean_environment
from tests.support.signers import BEGIN

FORMS = ("dir", "tar", "volumes")
STOLEN = Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34)))
HUB = line(HubRow("huggingface", "huggingface", "https://hub.example"))
#: Signed bundles that a receiver takes which has nothing: what is refused is refused for what was changed.
GOODS = Goods({"files/one": random.Random(1).randbytes(10240), "files/two": random.Random(2).randbytes(10240), "files/empty": b""})


def written(folder: Path, form: str, *, contents: bytes = HUB, key: Ed25519PrivateKey = KEY, **changed: object) -> Path:
    """A whole bundle, signed; gives what to open."""
    carrier, volume = (Form.DIRECTORY, None) if form == "dir" else (Form.TAR, 4096 if form == "volumes" else None)
    with BundleWriter(folder / "bundle", carrier, volume=volume) as writer:
        told = writer.add_bytes(ROWS, "contents.jsonl", contents)
        for title, data in GOODS.files.items():
            writer.add_bytes(OCTETS, title, data)
        said = replace(Statement("lab", 2, CREATED, "hq.example", told, writer.seal()), **changed)  # type: ignore[arg-type]
        writer.finish(sign(payload(said), [key]), created=CREATED)
    return folder / ("bundle.001" if form == "volumes" else "bundle")


def packed(folder: Path, form: str, source: Path, bundle: str) -> Path:
    """A folder that is no sound bundle, in another form."""
    if form == "dir":
        return source
    tape = TapeWriter(folder / "bundle", 4096 if form == "volumes" else None)
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        data = path.read_bytes()
        tape.begin(path.relative_to(source).as_posix(), len(data))
        tape.write(data)
        tape.end()
    tape.finish(bundle)
    return folder / ("bundle.001" if form == "volumes" else "bundle")


def blob(number: int) -> str:
    return sha256(list(GOODS.files.values())[number]).hexdigest()


def changed(path: Path, form: str, change: Callable[[bytes], bytes]) -> Path:
    """The file that has the bytes of a part, or all of the tar, or the middle volume, otherwise."""
    victim = path / "blobs" / "sha256" / blob(0) if form == "dir" else path if form == "tar" else path.with_suffix(".002")
    victim.write_bytes(change(victim.read_bytes()))
    return path


def tampered(folder: Path, form: str) -> Path:
    return changed(written(folder, form), form, lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :])


def truncated(folder: Path, form: str) -> Path:
    return changed(written(folder, form), form, lambda data: data[: len(data) // 1024 * 512])


def reordered(folder: Path, form: str) -> Path:
    path = written(folder, form)
    if form == "tar":
        return changed(path, form, lambda data: data[:8192] + data[9216:9728] + data[8704:9216] + data[8192:8704] + data[9728:])
    one, two = (path / "blobs" / "sha256" / blob(at) for at in (0, 1)) if form == "dir" else (path.with_suffix(".002"), path.with_suffix(".003"))
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    return path


def prefixed(path: Path, form: str, block: bytes) -> Path:
    """A tar, or the first volume behind its label, that begins with something else."""
    label = 512 if form == "volumes" else 0
    data = path.read_bytes()
    path.write_bytes(data[:label] + block + data[label:])
    return path


def traversing(folder: Path, form: str) -> Path:
    path = written(folder, form)
    if form != "dir":
        return prefixed(path, form, member("blobs/sha256/../../../../evil"))
    (path / "blobs" / "sha256" / "..\\..\\evil").write_bytes(b"x")  # what a folder can have of it
    return path


def linked(folder: Path, form: str) -> Path:
    path = written(folder, form)
    if form != "dir":
        return prefixed(path, form, member(f"blobs/sha256/{HEX}", tarfile.SYMTYPE, link="/etc/passwd"))
    victim = path / "blobs" / "sha256" / blob(0)
    victim.rename(folder / "elsewhere")
    victim.symlink_to(folder / "elsewhere")
    return path


def bomb(folder: Path, form: str) -> Path:
    path = written(folder, form)
    if form == "dir":
        os.truncate(path / "blobs" / "sha256" / blob(0), 2**40)
        return path
    path.write_bytes(gzip.compress(bytes(50_000_000)))
    return path


def forged(folder: Path, form: str, titles: tuple[str, str], statement: bytes | None = None, heads: int = 1) -> Path:
    case = Forged(folder / "forged")
    parts = [case.blob(HUB, ROWS, "contents.jsonl"), case.blob(b"one", OCTETS, titles[0]), case.blob(b"two", OCTETS, titles[1])]
    manifest = oci.manifest(parts)
    told = sign(payload(stated(part_of(HUB, ROWS, "contents.jsonl"), [manifest], name="lab", number=2, sender="hq.example")), [KEY])
    envelope = told if statement is None else statement
    head = part_of(oci.head(part_of(envelope, oci.ENVELOPE, oci.STATEMENT), CREATED), oci.MANIFEST, "")
    return packed(folder, form, case.whole([manifest], envelope, heads=heads), head.digest.hex[:32])


#: What is done, and a part of what must be said of it.
CASES: dict[str, tuple[Callable[[Path, str], Path], str]] = {
    "tampered": (tampered, ""),
    "truncated": (truncated, ""),
    "reordered": (reordered, ""),
    "path traversing": (traversing, ""),
    "linked": (linked, "link"),
    "decompression bomb": (bomb, ""),
    "wrong signer": (lambda folder, form: written(folder, form, key=OTHER), "nobody here has said to trust"),
    "signer revoked": (lambda folder, form: written(folder, form, key=STOLEN), "which was revoked"),
    "sender of the same name, another key": (lambda folder, form: written(folder, form, key=OTHER, number=9), "nobody here has said to trust"),
    "number replayed": (lambda folder, form: written(folder, form, number=1), "was imported already"),
    "delta of another sender": (lambda folder, form: written(folder, form, sender="other.example", number=3, since=1, previous="a" * 64), "import 1 first"),
    "two statements": (lambda folder, form: forged(folder, form, ("one", "two"), heads=2), "names 2 statements"),
    "titles twice": (lambda folder, form: forged(folder, form, ("one", "one")), "title"),
    "empty statement": (lambda folder, form: forged(folder, form, ("one", "two"), statement=b""), "statement"),
    "depth": (lambda folder, form: written(folder, form, contents=b"[" * 200_000 + b"\n"), "is no JSON"),
    "a million rows": (lambda folder, form: written(folder, form, contents=b"{\n" * 1_000_000) if form == "tar" else bomb(folder, form), ""),
    "rows that count on nothing": (lambda folder, form: written(folder, form, contents=HUB + b'{"row":"secret"}\n'), "no row that this release knows"),
}  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """A laboratory that has imported number 1."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "cards").mkdir()
    for name, key, revoked in (("hq", KEY, ""), ("stolen", STOLEN, "revoked: 2026-01-02\n")):
        public = key.public_key()
        card = Enrolled(dsse.key_id(public), public, name, name, frozenset({"sender"}), BEGIN)
        (folder / "cards" / f"{name}.yaml").write_text(card_text(card) + revoked)
    (folder / "mirror.yaml").write_text("listen: {port: 0}\ndata: data\nnetwork: offline\nstore: {min_free: 1MiB}\nledger: {reserve: 1MiB}\ntrust: {verify: [cards]}\n")
    (folder / "first").mkdir()
    done = imported(folder, written(folder / "first", "dir", number=1))
    assert done.returncode == 0, done.stderr
    return folder


def imported(lab: Path, bundle: Path):
    return preloaded.run(["-c", str(lab / "mirror.yaml"), "bundle", "import", str(bundle), "--json"], cwd=lab, env=clean_environment())


#: What a mirror that owns the data while a command runs writes of itself; what it holds is looked into instead.
OWN = ("data/ledger", "data/index.sqlite", "data/keeper.sock")
PASSING = ("started", "stopped", "classes", "notice")


def everything(lab: Path) -> dict[str, object]:
    """Every file with its mode and digest, every folder, every row of the index that is no copy of the record, every record but those of starts and stops."""
    found: dict[str, object] = {
        name: (path.lstat().st_mode, sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
        for path in lab.rglob("*") if not (name := str(path.relative_to(lab))).startswith(OWN)
    }  # fmt: skip
    with sqlite3.connect(lab / "data" / "index.sqlite") as database:
        for table in ("documents", "entries", "grants", "places", "pins", "tokens", "acquisitions", "findings"):
            found[f"rows of {table}"] = sorted(map(repr, database.execute(f'SELECT * FROM "{table}"')))
    found["record"] = [record for record in Reader(lab / "data" / "ledger").read(10_000) if record["kind"] not in PASSING]
    return found


@pytest.mark.parametrize("form", FORMS)
def test_nothing_of_a_hostile_bundle_is_taken(lab, tmp_path, form):
    """Each kind of hostile bundle ends with exit 2, one line that names its place (the same as JSON), and no byte of the receiver's data changed."""
    before = everything(lab)
    for number, (name, (make, said)) in enumerate(CASES.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = make(folder, form)
        done = imported(lab, path)
        assert done.returncode == 2, (name, done.stdout, done.stderr)
        told = json.loads(done.stdout)
        assert told["ok"] is False and len(told["problems"]) == 1, (name, told)
        [problem] = told["problems"]
        [printed] = done.stderr.splitlines()
        assert printed.count(str(path)) == 1 and said in problem["fault"] and problem["fault"] in printed and len(printed) < 2000, (name, printed)
        assert everything(lab) == before, name
        assert not (tmp_path / "evil").exists() and not (tmp_path.parent / "evil").exists()


def test_the_same_bundle_unspoilt_is_taken(lab, tmp_path):
    """What is spoilt above is otherwise taken."""
    path = written(tmp_path, "volumes", number=2)
    with BundleReader(path) as reader:
        assert {part.size for part in reader.parts.values()} >= {0, 10240}
    assert imported(lab, path).returncode == 0
