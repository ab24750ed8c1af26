"""`mirror ledger export --carry` and `mirror ledger adopt`: two real ledgers, one of which takes the other's records in beside its own."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mirror.audit import verify_pack
from mirror.audit.adoption import follows, replicas, take_in
from mirror.audit.adoption_parcel import unpacked, verified
from mirror.audit.carry import events_of, make_carry
from mirror.audit.examine import examine
from mirror.audit.notes import Checkpoint, Verifier, checkpoint_text, signed
from mirror.audit.pack import Sources
from mirror.audit.segments import read_head, segments
from mirror.audit.signoff import SIGNATURE, signed_off
from mirror.bundle.oci import part_of
from mirror.bundle.receipt import Receipt, Refusal
from mirror.bundle.sent import SentBook
from mirror.bundle.statement import Statement, parse
from mirror.bundle.statement import payload as payload_of
from mirror.cli.main import root as command
from mirror.core.errors import InputError
from mirror.core.facts import Facts
from tests.audit.test_retention import House, permitted
from tests.second_verifier import second_verifier
from tests.support.mirror import MirrorProcess
from tests.support.past import CONTRACT, NOBODY, START, VISITOR, past

_PART = part_of(b"x", "application/octet-stream", "x")
#: The statement of the bundle that the sender sent, as it is signed.
SENT = payload_of(Statement("models", 1, START, "ledger.acme.example", _PART, (_PART,)))
LATER = START + timedelta(days=3)


async def lived(folder: Path, *, begin=START, rotate: bool = False, names=("globex/solid#model.safetensors", "acme/tiny#x.pkl")) -> None:
    """One run: requests, with a page of evidence each, and in between a new key if wanted."""
    async with past(folder, begin=begin, signed=True) as one:
        for name in names:
            page = await one.recorder.keep("page", f"what the hub said of {name} at {begin}".encode())
            for actor in (CONTRACT, VISITOR):
                await one.ask(name, actor, Facts(evidence=(page,)))
        if rotate:
            await one.checkpointer.rotate()
            await one.ask("acme/tiny#model.safetensors", NOBODY)
    path = folder / "mirror.yaml"
    path.write_text(path.read_text().replace("ledger: {", "ledger: {reserve: 0, "))  # commands open the ledger too


def run(home: Path, *arguments: str):
    return CliRunner().invoke(command, ["-c", str(home / "mirror.yaml"), "ledger", *arguments])


def carry(home: Path, target: Path, *more: str, code: int = 0) -> Path:
    done = run(home, "export", "--carry", "-o", str(target), *more)
    assert (done.exit_code, done.exception if code == 0 else None) == (code, None), (done.output, done.exception)
    return target


def adopt(home: Path, pack: Path, *more: str, code: int = 0) -> dict:
    done = run(home, "adopt", str(pack), "--json", *more)
    assert done.exit_code == code, (done.output, done.exception)
    return json.loads(done.stdout) if code == 0 else {"said": done.output}


def refused(home: Path, pack: Path, *more: str) -> str:
    """What is said of a carry that is not taken, by whichever of the two ways."""
    before = contents(home / "data" / "adopted")
    done = run(home, "adopt", str(pack), *more)
    assert done.exit_code == 1, done.output
    assert not done.stdout.startswith("lab")
    assert contents(home / "data" / "adopted") == before, "nothing of it is here"
    return done.output + str(done.exception)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "lock" and not path.name.startswith(".")}


def told(home: Path, kind: str) -> list[dict]:
    lines = (line for one in segments(home / "data" / "ledger") for line in one.path.read_bytes().splitlines())
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


def receipt(home: Path, records: int, *, name: str = "models", number: int = 1) -> bytes:
    """What the laboratory answered to a bundle when it had so many records."""
    refusal = Refusal("pkg:huggingface/globex/solid", "origin-cn", "01J", "globex/solid is from CN.")
    made = Receipt(name, number, sha256(SENT).hexdigest() if number == 1 else "ab" * 32, "cd" * 32, START, 12, 3456, 20, (refusal,), records, "00" * 32)
    data = made.signed(load_pem_private_key((home / "data" / "signing.key").read_bytes(), None))
    path = home / "data" / "bundles" / "received" / "sender" / name / f"{number:06}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return data


@dataclass
class Two:
    """A laboratory that lived and carried twice, and a sender; `key` is the laboratory's first."""

    laboratory: Path
    sender: Path
    first: Path
    second: Path
    key: str
    middle: int
    first_key: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Two:
    folder = tmp_path_factory.mktemp("two")
    laboratory, sender = folder / "laboratory", folder / "sender"
    asyncio.run(lived(laboratory))
    asyncio.run(lived(sender, names=("acme/tiny#x.pkl",)))
    receipt(laboratory, 5)
    first = carry(laboratory, folder / "first.tar")
    middle = told(laboratory, "carried")[-1]["detail"]["stop"]
    shutil.copy(laboratory / "data" / "signing.key", folder / "first.key")
    asyncio.run(lived(laboratory, begin=LATER, rotate=True, names=("umbrella/x#config.json",)))
    receipt(laboratory, middle + 2, name="models", number=2)
    second = carry(laboratory, folder / "second.tar")
    return Two(laboratory, sender, first, second, told(laboratory, "key")[0]["detail"]["key"], middle, folder / "first.key")


@pytest.fixture
def sender(made, tmp_path) -> Path:
    return Path(shutil.copytree(made.sender, tmp_path / "sender"))


@pytest.fixture
def half(made, sender) -> Path:
    """A sender who has the first carry."""
    adopt(sender, made.first, "--key", made.key, "--name", "lab", "-o", str(sender / "first.json"))
    return sender


def same_records(laboratory: Path, replica: Path, count: int) -> None:
    lines = [[line for one in segments(folder) for line in one.path.read_bytes().splitlines()] for folder in (laboratory / "data" / "ledger", replica)]
    assert lines[1] == lines[0][:count]


# --- what is carried is adopted ---------------------------------------------------------------------------------------


def test_carried_twice_and_adopted_twice(made, sender):
    """Two carries make one ledger at the sender, byte for byte the laboratory's, verified under the first key although it was rotated since."""
    one = adopt(sender, made.first, "--key", made.key, "--name", "lab", "-o", str(sender / "one.json"))
    assert (one["first"], one["stop"], one["new"], one["name"]) == (0, made.middle, made.middle, "lab")
    assert len(one["fingerprint"].split()) == 8
    two = adopt(sender, made.second, "-o", str(sender / "two.json"))
    assert (two["first"], two["name"], two["stop"] > made.middle) == (made.middle, "lab", True)
    replica = sender / "data" / "adopted" / "lab"
    found = examine(replica)
    assert (found.fault, found.head.count, found.signed) == (None, two["stop"], two["stop"])
    assert found.erased == two["stop"], "who asked was not carried"
    same_records(made.laboratory, replica, two["stop"])
    assert second_verifier.Tree(second_verifier.verify(replica, [], []).leaves).root(0, two["stop"]) == found.root, "by a program that shares no line with ours"
    events = told(sender, "adopted")
    assert [(row["subject"], row["detail"]["first"], row["detail"]["stop"], row["seq"]) for row in events] == [
        ("lab", 0, made.middle, one["record"]), ("lab", made.middle, two["stop"], two["record"]),
    ]  # fmt: skip
    assert events[1]["detail"]["root"] == found.root.hex()
    assert run(sender, "verify").exit_code == 0
    assert [json.loads(line)["records"] for line in run(sender, "adopted", "--json").stdout.splitlines()] == [two["stop"]]


def test_a_carry_is_a_pack_for_its_own_program(made, tmp_path):
    """The program in a carry, in an interpreter without the product, says that it holds, and that it is a range by number."""
    with tarfile.open(made.second) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    done = subprocess.run([sys.executable, "-I", "-S", str(tmp_path / "out" / "verify_pack.py"), str(made.second), "--key", made.key], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "by number, and not those of a span of time" in done.stdout


def test_what_the_laboratory_answered_is_told(made, half):
    """Each receipt comes with the carry of its span, is kept by its digest, and is said to be of no bundle of ours where it is not."""
    SentBook(half / "data", "models").put(parse(SENT, "statement"), SENT, ())
    (row,) = adopt(half, made.first, "-o", str(half / "again.json"))["receipts"]
    assert (row["name"], row["number"], row["known"], row["files"], row["bytes"], len(row["refused"])) == ("models", 1, True, 12, 3456, 1)
    done = run(half, "adopt", str(made.second), "-o", str(half / "two.json"))
    assert done.exit_code == 0, done.output
    assert "models 2" in done.output
    assert "models 2: refused  pkg:huggingface/globex/solid  globex/solid is from CN." in done.output
    assert "receipt of models 2: no bundle with the statement abababababababab was sent from here" in done.output
    kept = sorted((half / "data" / "adopted" / "lab" / "receipts").iterdir())
    assert [path.stem for path in kept] == sorted(digest for row in told(half, "adopted") for digest in row["detail"]["receipts"])
    assert len(kept) == 2
    assert all(sha256(path.read_bytes()).hexdigest() == path.stem for path in kept)


def test_the_next_carry_begins_where_the_last_one_ended(made, half, tmp_path):
    """By the event, by the sender's signed acknowledgement and by the carry before, the next begins with the same record."""
    grown = Path(shutil.copytree(made.laboratory, tmp_path / "laboratory"))
    ends = told(grown, "carried")[-1]["detail"]["stop"]
    starts = []
    for number, more in enumerate(((), ("--last", str(half / "first.json")), ("--last", str(made.first)), ("--since", "7"))):
        pack = carry(grown, tmp_path / f"{number}.tar", *more)
        starts.append(json.loads(verify_pack.Pack(pack).read("manifest.json"))["records"]["first"])
    assert starts == [ends, made.middle, made.middle, 7]


def test_overlap_is_fine_and_an_old_carry_is_nothing_new(made, half, tmp_path):
    """A carry that has again what was adopted adds the rest alone; one that has no more changes nothing and records nothing."""
    grown = Path(shutil.copytree(made.laboratory, tmp_path / "laboratory"))
    whole = carry(grown, tmp_path / "whole.tar", "--since", "3")
    found = adopt(half, whole, "-o", str(tmp_path / "a.json"))
    assert (found["first"], found["new"]) == (3, found["stop"] - made.middle)
    same_records(grown, half / "data" / "adopted" / "lab", found["stop"])
    before = contents(half / "data" / "adopted" / "lab" / "receipts"), told(half, "adopted")
    assert adopt(half, made.second, "-o", str(tmp_path / "b.json"))["new"] == 0
    assert (contents(half / "data" / "adopted" / "lab" / "receipts"), told(half, "adopted")) == before


def test_who_asked_is_carried_only_when_wanted(made, sender, tmp_path):
    """Without a view --personal is refused; with it the parts are in the replica, each bound to its record."""
    grown = Path(shutil.copytree(made.laboratory, tmp_path / "laboratory"))
    before = (grown / "mirror.yaml").read_text()
    (grown / "mirror.yaml").write_text(before.replace("people: open", "people: closed"))
    done = run(grown, "export", "--carry", "--personal", "-o", str(tmp_path / "no.tar"))
    assert "--personal" in str(done.exception)
    assert not (tmp_path / "no.tar").exists()
    (grown / "mirror.yaml").write_text(before)
    adopt(sender, carry(grown, tmp_path / "named.tar", "--personal", "--since", "0"), "--key", made.key, "--name", "lab")
    replica = sender / "data" / "adopted" / "lab"
    assert examine(replica).erased == 0
    assert b"10.8.0.7" in b"".join(one.personal.read_bytes() for one in segments(replica))


def test_questions_to_an_adopted_ledger(made, half):
    """query, tail and lookback --of answer from the laboratory's records, and no other name is one."""
    rows = [json.loads(line) for line in run(half, "query", "--of", "lab", "--kind", "refused", "--json").stdout.splitlines()]
    want = [record for record in told(made.laboratory, "refused") if record["seq"] < made.middle]
    assert [row["leaf"] for row in rows] == [record["leaf"] for record in reversed(want)]
    assert want
    assert json.loads(run(half, "tail", "--of", "lab", "-n", "1", "--json").stdout)["seq"] == made.middle - 1
    assert run(half, "lookback", "--of", "lab", "--publisher", "acme", "--since", "all").exit_code in (0, 1)
    assert "'other' was not adopted here; there are lab" in str(run(half, "query", "--of", "other").exception)
    assert json.loads(run(half, "verify", "--of", "lab", "--json").stdout)["records"] == made.middle


def test_beside_a_mirror_that_runs(made, tmp_path):
    """With servers running at both ends, the carry has the newest records and the event is in the sender's ledger before success is told."""
    laboratory, sender = (MirrorProcess(tmp_path / name, {"network": "offline"}).start() for name in ("laboratory", "sender"))
    try:
        assert laboratory.get("/api/models/acme/tiny").status == 404
        laboratory.command("ledger", "export", "--carry", "-o", str(tmp_path / "lab.tar"))
        key = json.loads(verify_pack.Pack(tmp_path / "lab.tar").read("manifest.json"))["key"]
        found = json.loads(sender.command("ledger", "adopt", str(tmp_path / "lab.tar"), "--key", key, "--json").stdout)
        (event,) = (record for record in sender.events() if record["kind"] == "adopted")
        assert (event["seq"], event["subject"], event["detail"]["stop"]) == (found["record"], found["name"], found["stop"])
        assert f"adopted {found['name']}: {found['stop']} records" in sender.command("ledger", "verify").stdout
        assert [record["detail"]["stop"] for record in laboratory.events() if record["kind"] == "carried"] == [found["stop"]]
    finally:
        codes = [laboratory.stop(), sender.stop()]
    assert codes == [0, 0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--last", "FILE"), "--last: goes with --carry"), (("--json",), "--json: goes with --carry"), (("--carry",), "--out: a carry is a file"),
        (("--carry", "-o", "x.tar", "--since", "30d"), "--since: '30d' is no record's number"),
        (("--carry", "-o", "x.tar", "--proofs"), "--proofs: has no meaning for a carry"),
        (("--carry", "-o", "x.tar", "--last", "FILE"), "FILE: is neither an acknowledgement nor a carry"),
        (("--carry", "-o", "x.tar", "--since", "9999"), "and nothing from 9999 on"),
    ],
)  # fmt: skip
def test_what_is_no_carry_is_said(made, tmp_path, monkeypatch, options, said):
    """Options that do not go together, and a beginning that is none, are named, and nothing is written or recorded."""
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_text("nothing of the kind")
    before = told(made.laboratory, "carried")
    assert said in str(run(made.laboratory, "export", *options).exception)
    assert (sorted(path.name for path in tmp_path.iterdir()), told(made.laboratory, "carried")) == (["FILE"], before)


def test_a_laboratory_that_was_set_back_hears_it_at_home(made, half, tmp_path):
    """With the sender's acknowledgement, a laboratory whose record is another one is told before anything is carried."""
    other = tmp_path / "other"
    asyncio.run(lived(other, names=("initech/x#model.safetensors", "acme/tiny#x.pkl", "umbrella/x#config.json")))
    done = run(other, "export", "--carry", "--last", str(half / "first.json"), "-o", str(tmp_path / "x.tar"))
    assert f"the {made.middle} records of ledger.acme.example that were sent are not the first of this ledger" in str(done.exception)
    assert not (tmp_path / "x.tar").exists()


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_gap_is_refused_and_named(made, sender, half):
    """A carry that begins after the end of what was adopted is refused with the records that are missing."""
    said = refused(sender, made.second, "--key", made.key, "--name", "fresh")
    assert f"the carry begins with record {made.middle}, and 0 are here" in said
    assert "`mirror ledger export --carry --since 0` at the laboratory" in said


def test_a_laboratory_that_rewrote_its_record_is_refused(made, half, tmp_path):
    """Another history of the same name and key, however well signed, is refused with both sizes."""
    other = tmp_path / "other"
    (other / "data").mkdir(parents=True)
    shutil.copy(made.first_key, other / "data" / "signing.key")
    asyncio.run(lived(other, names=("initech/x#model.safetensors", "acme/tiny#x.pkl", "umbrella/x#config.json")))
    pack = carry(other, tmp_path / "other.tar")
    stop = told(other, "carried")[-1]["detail"]["stop"]
    assert stop > made.middle
    said = refused(half, pack)
    assert f"was rewritten: the first {made.middle} of its {stop} records are not those that were adopted here" in said


def test_the_left_flank_speaks_for_what_is_not_carried(made, half, tmp_path):
    """A rewritten laboratory that carries only what is new is found by the hashes beside it, without the records."""
    other = tmp_path / "other"
    (other / "data").mkdir(parents=True)
    shutil.copy(made.first_key, other / "data" / "signing.key")
    asyncio.run(lived(other, names=("initech/x#model.safetensors", "acme/tiny#x.pkl", "umbrella/x#config.json")))
    pack = carry(other, tmp_path / "late.tar", "--since", str(made.middle))
    assert f"was rewritten: the first {made.middle} of its " in refused(half, pack)


def test_only_a_key_that_was_given_is_trusted(made, sender, tmp_path):
    """The first time a key is needed, and a carry under another is refused, whatever it says of itself."""
    done = run(sender, "adopt", str(made.first))
    assert "--key" in str(done.exception)
    own = told(sender, "key")[0]["detail"]["key"]
    assert "is not signed by a key that you gave" in refused(sender, made.first, "--key", own)
    (sender / "key.txt").write_text(made.key)
    assert adopt(sender, made.first, "--key", str(sender / "key.txt"), "-o", str(tmp_path / "a.json"))["key"] == made.key


def test_a_key_that_was_handed_over_signs_no_more(made, half, tmp_path):
    """Who has the laboratory's first key, from before it was rotated, cannot go on with its record by keeping quiet about the rotation."""
    adopt(half, made.second, "-o", str(tmp_path / "a.json"))
    grown = Path(shutil.copytree(made.laboratory, tmp_path / "laboratory"))
    pack = carry(grown, tmp_path / "forged", "--json")
    old = load_pem_private_key(made.first_key.read_bytes(), None)
    verifier, one = Verifier.read(made.key), Checkpoint.read((pack / "checkpoint").read_bytes())
    note = signed(checkpoint_text(verifier.name, one.size, one.root), (verifier, old)).data
    (pack / "checkpoint").write_bytes(note)
    (pack / "checkpoints.jsonl").write_bytes(b"")
    rows = (pack / "context.jsonl").read_text().splitlines(keepends=True)
    (pack / "context.jsonl").write_text("".join(row for row in rows if "rotated" not in row))
    manifest = json.loads((pack / "manifest.json").read_text())
    for name in ("checkpoint", "checkpoints.jsonl", "context.jsonl"):
        manifest["files"][name] = {"sha256": sha256((pack / name).read_bytes()).hexdigest(), "size": (pack / name).stat().st_size}
    data = json.dumps(manifest).encode()
    (pack / "manifest.json").write_bytes(data)
    (pack / SIGNATURE).write_bytes(signed_off(verify_pack.KIND, "manifest.json", data, old, START))
    report = verify_pack.Report()
    verify_pack.check(verify_pack.Pack(pack), [made.key], report)
    assert report.faults == 0, "the pack by itself holds"
    assert "is not signed by the key that was in force, by the records that were adopted" in refused(half, pack)


def hostile(source: Path, target: Path, change) -> Path:
    """The carry with what `change` makes of its members: (entry, bytes) pairs."""
    with tarfile.open(source) as old:
        members = [(one, old.extractfile(one).read()) for one in old.getmembers()]
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as new:
        for entry, data in change(members):
            new.addfile(entry, io.BytesIO(data) if data is not None else None)
    return target


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    one = tarfile.TarInfo(name)
    one.type, one.linkname, one.size = kind, link, size
    return one


def replaced(name: str, change):
    def of(members):
        return [(entry(one.name, size=len(now)), now) for one, data in members for now in [change(data) if one.name == name else data]]

    return of


HOSTILE = {
    "a path out of the folder": (lambda members: [*members, (entry("../outside", size=1), b"x")], "is no name that a file of a carry has"),
    "an absolute path": (lambda members: [*members, (entry("/outside", size=1), b"x")], "is no name that a file of a carry has"),
    "a symbolic link": (lambda members: [(entry("records.jsonl", tarfile.SYMTYPE, "/etc/passwd"), None), *members], "is no regular file"),
    "a hard link": (lambda members: [*members, (entry("more", tarfile.LNKTYPE, "records.jsonl"), None)], "is no regular file"),
    "a device": (lambda members: [*members, (entry("zero", tarfile.CHRTYPE), None)], "is no regular file"),
    "a file with holes": (lambda members: [*members, (entry("holes", tarfile.GNUTYPE_SPARSE), None)], "is no regular file"),
    "a file twice": (lambda members: [*members, (entry("checkpoint", size=1), b"x")], "is in the archive twice"),
    "a file and a folder of one name": (lambda members: [*members, (entry("checkpoint/x", size=1), b"x")], "is in the archive twice"),
    "a file too much": (lambda members: [*members, (entry("extra", size=1), b"x")], "extra: is in no manifest"),
    "a file too few": (lambda members: [pair for pair in members if pair[0].name != "tree.json"], "tree.json: is missing"),
    "another record": (replaced("records.jsonl", lambda data: data.replace(b'"effect":"deny"', b'"effect":"warn"', 1)), "records.jsonl: is not the file that was signed for"),
    "no manifest": (lambda members: [pair for pair in members if pair[0].name != "manifest.json"], "manifest.json"),
    "a manifest of something": (replaced("manifest.json", lambda _: b"[" * 5000), "manifest.json"),
    "another manifest": (replaced("manifest.json", lambda data: data.replace(b'"personal": false', b'"personal": true ')), "manifest.dsse.json: is of another manifest.json"),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_hostile_archives(made, sender, tmp_path, how):
    """Whatever is done to the archive, it is refused with the file that is wrong, and nothing of it is left or written elsewhere."""
    change, said = HOSTILE[how]
    pack = hostile(made.first, tmp_path / "hostile.tar", change)
    assert said in refused(sender, pack, "--key", made.key, "--name", "lab")
    assert not (sender / "data" / "outside").exists()
    assert [path.name for path in (sender / "data" / "adopted").iterdir()] == [".lock"]


def test_archives_that_are_cut_or_swell(made, sender, tmp_path):
    """A cut archive, one that claims more than it has, one that is mostly header and no archive at all are refused in one line."""
    whole = made.first.read_bytes()
    swollen = bytearray(whole)
    at = whole.index(b"records.jsonl") + 124
    swollen[at : at + 12] = b"77777777777\x00"
    swollen[at + 24 : at + 32] = b"        "
    head = swollen[at - 124 : at + 388]
    swollen[at + 24 : at + 32] = b"%06o\x00 " % sum(head)
    for data in (whole[: len(whole) // 2], bytes(swollen), b"", b"not an archive" * 100):
        (tmp_path / "bad.tar").write_bytes(data)
        assert "bad.tar" in refused(sender, tmp_path / "bad.tar", "--key", made.key)
    with tarfile.open(tmp_path / "wordy.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        wordy = entry("records.jsonl")
        wordy.pax_headers = {"comment": "x" * 100_000}
        tar.addfile(wordy)
    assert "is no regular file, and has 100016 bytes" in refused(sender, tmp_path / "wordy.tar", "--key", made.key)
    os.mkfifo(tmp_path / "pipe.tar")
    assert "is not a regular file" in refused(sender, tmp_path / "pipe.tar", "--key", made.key)


def test_a_pack_of_a_time_is_no_carry(made, sender, tmp_path):
    """An audit pack, which may leave out what it likes of the time before, is not adopted."""
    target = tmp_path / "pack.tar"
    done = CliRunner().invoke(command, ["-c", str(made.laboratory / "mirror.yaml"), "audit", "pack", "--from", "2026-11-01", "--to", "2026-11-02", "-o", str(target)])
    assert done.exit_code == 0, done.output
    assert "is an audit pack of a span of time, and no carry" in refused(sender, target, "--key", made.key)


def test_who_has_the_key_cannot_pass_off_a_receipt_under_another_name(made, sender, tmp_path):
    """A receipt lies under its own digest, or the carry is refused though it was signed."""
    with tarfile.open(made.first) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    (path,) = (tmp_path / "out" / "receipts").iterdir()
    path.rename(path.with_name(f"{'0' * 64}.json"))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    manifest["files"][f"receipts/{'0' * 64}.json"] = manifest["files"].pop(f"receipts/{path.name}")
    data = json.dumps(manifest).encode()
    (tmp_path / "out" / "manifest.json").write_bytes(data)
    key = load_pem_private_key((made.laboratory / "data" / "signing.key").read_bytes(), None)
    (tmp_path / "out" / SIGNATURE).write_bytes(signed_off(verify_pack.KIND, "manifest.json", data, key, START))
    current = json.loads(verify_pack.Pack(made.second).read("manifest.json"))["key"]
    assert "is not what its name says" in refused(sender, tmp_path / "out", "--key", made.key, "--key", current)


# --- what happens to it afterwards ------------------------------------------------------------------------------------


def altered(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"status":200', b'"status":203', 1).replace(b'"count":1', b'"count":2', 1))


ALTERED = {
    "gone": (shutil.rmtree, "adopted/lab: is gone: "),
    "a record changed": (lambda folder: altered(segments(folder)[0].path), "adopted/lab: segment-000000000000.jsonl: seq "),
    "set back": (lambda folder: set_back(folder), "adopted by record"),
    "a receipt changed": (lambda folder: next((folder / "receipts").iterdir()).write_bytes(b"{}"), ".json: is not what it was"),
    "a receipt gone": (lambda folder: next((folder / "receipts").iterdir()).unlink(), ".json: is gone"),
}


def set_back(folder: Path) -> None:
    """As if the last record had never been adopted, in every file that would tell."""
    (one,) = segments(folder)
    lines = one.path.read_bytes().splitlines(keepends=True)[:-1]
    one.path.write_bytes(b"".join(lines))
    (folder / "head").write_text(f"{len(lines):016d} {json.loads(lines[-1])['leaf']}\n")
    for name in ("checkpoints", "checkpoint", "tree-0", "personal-000000000000.jsonl"):
        (folder / name).unlink(missing_ok=True)


@pytest.mark.parametrize("how", ALTERED)
def test_verify_finds_what_became_of_a_replica(half, how):
    """A replica that was removed, altered or set back is named by `mirror ledger verify`, which exits 1, our own ledger being sound."""
    change, said = ALTERED[how]
    assert run(half, "verify").exit_code == 0
    change(half / "data" / "adopted" / "lab")
    done = run(half, "verify")
    assert (done.exit_code, said in done.output) == (1, True), done.output
    (row,) = json.loads(run(half, "verify", "--json").stdout)["adopted"]
    assert (row["name"], row["ok"]) == ("lab", False)


def test_evidence_of_the_laboratory_is_kept_and_asked_after(made, half):
    """What the laboratory judged on lies in the sender's archive, and its loss is named for the laboratory's record."""
    digest = sha256(f"what the hub said of globex/solid#model.safetensors at {START}".encode()).hexdigest()
    path = half / "data" / "evidence" / digest[:2] / digest
    path.unlink()
    done = run(half, "verify")
    assert (done.exit_code, f"lab: evidence/{digest[:2]}/{digest}: cited by record" in done.output) == (1, True), done.output


def test_nothing_is_adopted_onto_what_was_altered(made, half):
    """Where the replica is not what was adopted, the next carry is not appended to it."""
    altered(segments(half / "data" / "adopted" / "lab")[0].path)
    done = run(half, "adopt", str(made.second))
    assert isinstance(done.exception, InputError)
    assert "is not what was adopted" in str(done.exception)


# --- retention at the laboratory --------------------------------------------------------------------------------------


def carried_over(ledger: Path, key, replica: Path, first: int, folder: Path) -> None:
    """One carry, made and taken in by what the commands are made of; all evidence is lost at the laboratory."""
    folder.mkdir()
    make_carry(ledger, folder / "pack", first, {}, Sources(lambda _: "is gone", lambda *_: None, key, "1.0"), START)
    unpacked(folder / "pack", folder / "copy")
    parcel = verified(folder / "pack", folder / "copy", [next(events_of(ledger, "key"))["detail"]["key"]])
    assert bool(parcel.lost) is (folder.name == "one"), "evidence that the laboratory has not is no fault of the carry"
    take_in(replica, parcel, follows(replica, parcel, []))


def test_records_whose_time_was_over_are_adopted_as_what_is_left_of_them(tmp_path):
    """Stubs at the laboratory are stubs in a new replica, with their leave; a replica that had the records keeps them; both are sound."""
    house = House(tmp_path / "house")
    asyncio.run(house.write([permitted(number) for number in range(12)]))
    key = load_pem_private_key((house.folder / "signing.key").read_bytes(), None)
    carried_over(house.ledger, key, tmp_path / "had", 0, tmp_path / "one")
    stop = examine(tmp_path / "had").head.count
    assert asyncio.run(house.expire(91)).records == 12
    carried_over(house.ledger, key, tmp_path / "had", stop, tmp_path / "two")
    carried_over(house.ledger, key, tmp_path / "new", 0, tmp_path / "three")
    had, new = examine(tmp_path / "had"), examine(tmp_path / "new")
    assert (had.fault, new.fault, had.root) == (None, None, new.root)
    assert (had.removed, new.removed) == (0, 12)


# --- killed anywhere --------------------------------------------------------------------------------------------------


def killed(home: Path, pack: Path, at: int, *more: str) -> bool:
    """Run an adoption in a process that ends without a word before its `at`th step that makes something durable or puts it in its place."""
    child = os.fork()
    if not child:
        left = [at]

        def counted(real):
            def call(*arguments, **named):
                left[0] -= 1
                if left[0] < 0:
                    os._exit(9)
                return real(*arguments, **named)

            return call

        os.fsync, Path.replace, Path.rename = counted(os.fsync), counted(Path.replace), counted(Path.rename)
        os._exit(run(home, "adopt", str(pack), *more).exit_code)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended in (0, 9)
    return ended == 9


@pytest.mark.parametrize("second", [False, True])
def test_killed_at_any_step_it_is_old_or_new_and_goes_on(made, sender, tmp_path, second):
    """Ended at a step, the replica is what it was or has the whole carry, verify finds no fault, and the next run completes it once."""
    if second:
        adopt(sender, made.first, "--key", made.key, "--name", "lab", "-o", str(tmp_path / "first.json"))
    replica, pack = sender / "data" / "adopted" / "lab", made.second if second else made.first
    before = read_head(replica).count if second else 0
    at, count, sizes = 0, len(told(sender, "adopted")), set()
    while killed(sender, pack, at, "--key", made.key, "--name", "lab", "-o", str(tmp_path / "a.json")):
        if replica.is_dir():
            found = examine(replica)
            assert found.fault is None, (at, found.fault)
            sizes.add(found.head.count)
        (found,) = replicas(sender / "data" / "ledger", sender / "data", None) or [None]
        assert found is None or found.sound, (at, found.wrong)
        at += 1
        if len(told(sender, "adopted")) > count:
            break  # on the record: what follows is the acknowledgement alone
    final = adopt(sender, pack, "-o", str(tmp_path / "a.json"))
    assert sizes <= {before, final["stop"]}
    assert at > 8, "there are more steps than that"
    assert len(told(sender, "adopted")) == count + 1
    assert run(sender, "verify").exit_code == 0
    same_records(made.laboratory, replica, final["stop"])
