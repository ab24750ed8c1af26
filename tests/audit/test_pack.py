"""`mirror audit pack`: made from a real ledger and archive, and checked by a program that has neither the product nor the network."""

from __future__ import annotations

import ast
import asyncio
import csv
import json
import os
import shutil
import subprocess
import sys
import tarfile
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mirror.audit import verify_keys, verify_pack
from mirror.audit.notes import Verifier, checkpoint_text, signed
from mirror.audit.pack import program
from mirror.audit.pack_range import Range, flanks, range_of
from mirror.audit.segments import segments
from mirror.audit.signoff import SIGNATURE, signed_off
from mirror.audit.tree import complete, root
from mirror.cli.main import root as command
from mirror.core.canonical import canonical
from mirror.core.facts import Facts
from tests.support.past import CONTRACT, LISTED, NOBODY, START, VISITOR, past

SECOND = "version: 1\nrules: [{id: other, when: {publisher.country: [CN]}, effect: quarantine}]\n"
LATER = START + timedelta(days=3)
#: The second and third day: between them is everything but the first policy, and the end.
SPAN = ("--from", "2026-11-01T09:03:00", "--to", "2026-11-04T10:30:00")


async def lived(folder: Path) -> None:
    """Two runs: two policies, two editions of a list, a rotated key, a stop in between, pages as evidence."""
    async with past(folder, signed=True) as one:
        for name in ("globex/solid#model.safetensors", "acme/tiny#x.pkl", "umbrella/x#config.json"):
            page = await one.recorder.keep("page", f"what the hub said of {name}".encode())
            for actor in (CONTRACT, VISITOR):
                await one.ask(name, actor, Facts(evidence=(page,)))
        await one.checkpointer.make()
        await one.activate(SECOND)
        await one.ask("globex/solid#model.safetensors", NOBODY)
        await one.new_list(LISTED + "Initech Limited,\n")
        await one.ask("initech/x#model.safetensors", VISITOR)
        await one.checkpointer.rotate()
        await one.ask("acme/tiny#model.safetensors", CONTRACT)
    async with past(folder, SECOND, begin=LATER, signed=True) as one:
        await one.ask("acme/tiny#model.safetensors", CONTRACT)
        one.clock.moment += timedelta(hours=2)
        await one.ask("acme/tiny#model.safetensors", VISITOR)


def pack_of(home: Path, target: Path, *more: str, span=SPAN, code: int = 0) -> Path:
    done = CliRunner().invoke(command, ["-c", str(home / "mirror.yaml"), "audit", "pack", *span, "-o", str(target), *more])
    assert done.exit_code == code, done.output
    return target


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    asyncio.run(lived(folder))
    return folder


@pytest.fixture(scope="module")
def packed(home, tmp_path_factory) -> Path:
    return pack_of(home, tmp_path_factory.mktemp("out") / "pack")


@pytest.fixture(scope="module")
def first_key(home) -> str:
    return next(record["detail"]["key"] for record in told(home) if record["kind"] == "key")


@pytest.fixture
def copy(packed, tmp_path) -> Path:
    return Path(shutil.copytree(packed, tmp_path / "copy"))


def told(home: Path) -> list[dict]:
    return [json.loads(line) for one in segments(home / "data" / "ledger") for line in one.path.read_bytes().splitlines()]


def alone(where: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The pack's own program in an interpreter without the product, without an environment and, where it may be had, without a network."""
    away = ["unshare", "-rn"] if shutil.which("unshare") and not subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode else []
    command_line = [*away, sys.executable, "-I", "-S", str(where / "verify_pack.py"), *arguments]
    return subprocess.run(command_line, capture_output=True, text=True, check=False, cwd=where.parent, env={"PATH": os.environ["PATH"]})


def checked(pack: Path, *keys: str) -> tuple[list[str], verify_pack.Report]:
    report = verify_pack.Report()
    return verify_pack.check(verify_pack.Pack(pack), list(keys), report), report


def signed_anew(pack: Path, home: Path) -> None:
    """What an operator can do who has the mirror's key: a manifest that fits the files, signed."""
    manifest = json.loads((pack / "manifest.json").read_text())
    names = {path.relative_to(pack).as_posix(): path for path in pack.rglob("*") if path.is_file() and path.name not in ("manifest.json", SIGNATURE)}
    manifest["files"] = {name: {"sha256": sha256(path.read_bytes()).hexdigest(), "size": path.stat().st_size} for name, path in names.items()}
    data = json.dumps(manifest).encode()
    (pack / "manifest.json").write_bytes(data)
    (pack / SIGNATURE).write_bytes(signed_off(verify_pack.KIND, "manifest.json", data, own_key(home), START))


def rewritten(path: Path, change) -> None:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_bytes(b"".join(canonical(row) + b"\n" for row in change(rows)))


# --- what holds -------------------------------------------------------------------------------------------------------


def test_it_holds_on_a_machine_without_the_product(packed, first_key, tmp_path):
    """By Python alone, in an empty place, under the key that was noted down first, the pack holds although the key was rotated since."""
    where = Path(shutil.copytree(packed, tmp_path / "carried"))
    assert subprocess.run([sys.executable, "-I", "-S", "-c", "import mirror"], capture_output=True, check=False, cwd=tmp_path).returncode == 1
    done = alone(where, "--key", first_key)
    assert (done.returncode, done.stderr) == (0, ""), done
    manifest = json.loads((where / "manifest.json").read_text())
    first, count = manifest["records"]["first"], manifest["records"]["count"]
    assert f"{count} records, {first} to {first + count - 1}, from 2026-11-01T09:0" in done.stdout
    assert f"put together by {manifest['key']} at " in done.stdout
    assert manifest["key"] != first_key
    without = alone(where)
    assert (without.returncode, "compare it with the one that you know" in without.stdout) == (0, True)


def test_the_records_are_those_of_the_span(home, packed):
    """Every record of the span and none other is in the pack, byte for byte, and its neighbours stand beside it."""
    all_of_them = told(home)
    wanted = [one["seq"] for one in all_of_them if "2026-11-01T09:03:00.000000Z" <= one["at"] < "2026-11-04T10:30:00.000000Z"]
    inside = [json.loads(line)["seq"] for line in (packed / "records.jsonl").read_bytes().splitlines()]
    assert inside == wanted
    assert 0 < wanted[0] < wanted[-1] < len(all_of_them) - 1
    beside = [json.loads(json.loads(line)["record"])["seq"] for line in (packed / "context.jsonl").read_bytes().splitlines()]
    assert {wanted[0] - 1, wanted[-1] + 1} <= set(beside)


def test_the_policies_in_force(home, packed):
    """The timeline begins with the policy that was in force already, and says when the next came, by which record, and that nobody signed."""
    found = json.loads((packed / "timeline.json").read_text())
    activated = next(one for one in told(home) if one["kind"] == "policy" and one["detail"]["outcome"] == "activated")
    started = told(home)[0]
    assert [(row["policy"], row["from"], row["until"], row["seq"]) for row in found["policies"]] == [
        (started["detail"]["policy"], started["at"], activated["at"], 0), (activated["subject"], activated["at"], None, activated["seq"]),
    ]  # fmt: skip
    assert [row["activation"] for row in found["policies"]] == [None, None]
    assert [row["files"] for row in found["policies"]] == [["policy.yaml"]] * 2
    rows = list(csv.DictReader((packed / "timeline.csv").open()))
    assert [row["policy"] for row in rows] == [row["policy"] for row in found["policies"]]


def test_lists_and_their_age(home, packed):
    """Each edition that judged is there with when it came, by which record, and how old it was; the CSV has a line a day."""
    adopted = next(one for one in told(home) if one.get("detail", {}).get("outcome") == "adopted")
    started = next(one for one in told(home) if one["kind"] == "started" and one["seq"])
    rows = json.loads((packed / "lists.json").read_text())
    assert [(row["list"], row["fetched_by_record"], row["entries"], row["sources"]) for row in rows] == [
        ("house", 0, 2, ["house.csv"]), ("house", adopted["seq"], 3, ["house.csv"]), ("house", started["seq"], 2, ["house.csv"]),
    ]  # fmt: skip
    assert rows[0]["until"] == rows[1]["from"]
    assert (rows[1]["age_at_start_days"], rows[1]["age_at_end_days"]) == (0, 2)
    days = list(csv.DictReader((packed / "lists.csv").open()))
    assert [(row["day"], row["edition"]) for row in days] == [("2026-11-01", rows[0]["edition"]), *((f"2026-11-0{day}", rows[1]["edition"]) for day in (2, 3, 4))]
    assert [row["age_days"] for row in days] == ["0", "0", "1", "2"]


def test_outages_and_keys(home, packed, first_key):
    """The stop in the span has its beginning and end; the history of keys says who signed from which record on, and how they changed."""
    stopped, started = (next(one for one in told(home) if one["kind"] == kind and one["seq"]) for kind in ("stopped", "started"))
    assert [(row["what"], row["from"], row["until"]) for row in json.loads((packed / "outages.json").read_text())] == [("the mirror was stopped", stopped["at"], started["at"])]
    keys = json.loads((packed / "keys.json").read_text())["keys"]
    assert [(row["how"], row["key"] == first_key) for row in keys] == [("made", True), ("rotated", False)]


def test_without_personal_parts_nobody_is_in_it(home, packed, tmp_path, first_key):
    """Addresses and pseudonyms are in a pack only with --personal, and then each is bound to its record."""
    data = b"".join(path.read_bytes() for path in packed.rglob("*") if path.is_file())
    assert b"10.8.0.7" not in data
    assert b'"u:1"' not in data
    named = pack_of(home, tmp_path / "named", "--personal")
    assert checked(named, first_key)[1].faults == 0
    parts = [json.loads(line) for line in (named / "personal.jsonl").read_text().splitlines()]
    assert {"10.8.0.7", "10.9.0.4"} <= {one["part"]["address"] for one in parts}
    parts[3]["part"]["address"] = "192.0.2.99"
    (named / "personal.jsonl").write_bytes(b"".join(canonical(one) + b"\n" for one in parts))
    signed_anew(named, home)
    assert checked(named, first_key)[1].faults == 1


def test_as_one_file(home, packed, tmp_path, first_key):
    """A .tar has the same files and nothing of the machine that made it, and is checked as it is."""
    tar = pack_of(home, tmp_path / "pack.tar")
    with tarfile.open(tar) as file:
        members = file.getmembers()
        assert {(one.mtime, one.uid, one.gid, one.uname, one.gname, one.mode) for one in members} == {(0, 0, 0, "", "", 0o644)}
        assert [one.name for one in members] == sorted(path.relative_to(packed).as_posix() for path in packed.rglob("*") if path.is_file())
    done = alone(packed, str(tar), "--key", first_key)
    assert (done.returncode, done.stderr) == (0, "")
    assert pack_of(home, tar, code=1) == tar  # an InputError, which is exit 2 of the command line: never written over


def test_two_packs_of_a_span_are_the_same(home, packed, tmp_path):
    """Made again - after more was recorded and signed for, too - every file is the same, and of the signature all but its moment."""
    grown = Path(shutil.copytree(home, tmp_path / "grown"))

    async def more():
        async with past(grown, SECOND, begin=LATER + timedelta(days=1), signed=True) as one:
            await one.ask("acme/tiny#model.safetensors", VISITOR)

    asyncio.run(more())
    again = pack_of(grown, tmp_path / "again")
    names = sorted(path.relative_to(packed) for path in packed.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert [str(name) for name in names if (packed / name).read_bytes() != (again / name).read_bytes()] == [SIGNATURE]


# --- what does not hold -----------------------------------------------------------------------------------------------


def test_a_flipped_byte_in_any_file_is_named(copy, first_key, capsys):
    """In each file of the pack one changed byte, wherever it is, makes the check fail with a line that begins with the file's name."""
    names = sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file())
    assert len({name.partition("/")[0] for name in names}) == 17
    for name in names:
        kept = (copy / name).read_bytes()
        for at in {0, len(kept) // 3, len(kept) * 3 // 4, len(kept) - 1}:
            (copy / name).write_bytes(kept[:at] + bytes([kept[at] ^ 1 << at % 8]) + kept[at + 1 :])
            report = verify_pack.Report()
            try:
                verify_pack.check(verify_pack.Pack(copy), [first_key], report)
            except verify_pack.Wrong as error:
                report.fault(*str(error).split(": ", 1))
            said = capsys.readouterr().err
            blamed = (name, SIGNATURE) if name == "manifest.json" else (name,)  # what it says then is not what was signed
            assert any(line.startswith(blamed) for line in said.splitlines()), (name, at, said)
        (copy / name).write_bytes(kept)
    assert checked(copy, first_key)[1].faults == 0


def test_the_program_says_it_in_one_line_and_exits_1(copy, first_key):
    """By itself too: a changed record is one line with its sequence; what is missing or too much is one line each; no pack is exit 2."""
    (copy / "records.jsonl").write_bytes((copy / "records.jsonl").read_bytes().replace(b'"effect":"deny"', b'"effect":"warn"', 1))
    (copy / "lists.csv").unlink()
    (copy / "extra").write_text("x")
    done = alone(copy, "--key", first_key)
    assert done.returncode == 1
    for said in (
        "records.jsonl: is not the file that was signed for", ": the record is not the one that its leaf was made from", "lists.csv: is missing",
        "extra: is in no manifest", "does not hold: 4 faults",
    ):  # fmt: skip
        assert said in done.stderr, done.stderr
    assert alone(copy, str(copy / "none")).returncode == 2
    assert alone(copy, "--key", "nonsense").returncode in (1, 2)


ALTERED = {
    "a record changed and resealed": ("records.jsonl", lambda rows: [resealed({**rows[0], "count": 7}), *rows[1:]], "prev is not the leaf|not the records of which"),
    "the last record changed": ("records.jsonl", lambda rows: [*rows[:-1], resealed({**rows[-1], "count": 7})], "not the records of which the checkpoint was signed"),
    "a record dropped": ("records.jsonl", lambda rows: [*rows[:3], *rows[4:]], "stands in its place"),
    "the first record dropped": ("records.jsonl", lambda rows: rows[1:], "stands in its place"),
    "the last record dropped": ("records.jsonl", lambda rows: rows[:-1], "ends with record"),
    "records swapped": ("records.jsonl", lambda rows: [rows[1], rows[0], *rows[2:]], "stands in its place"),
    "a record made a stub": ("records.jsonl", lambda rows: [{**{key: rows[0][key] for key in ("leaf", "prev", "seq")}, "leaf": "0" * 64}, *rows[1:]], "prev is not the leaf"),
    "the second key dropped": ("context.jsonl", lambda rows: [row for row in rows if '"outcome":"rotated"' not in row["record"]], "not signed by a key that you gave"),
    "the record beside it dropped": ("context.jsonl", lambda rows: rows[:-1], "which stands beside the range, is not there"),
    "a record from outside changed": ("context.jsonl", lambda rows: [{**rows[0], "record": rows[0]["record"].replace('"version":"1.0"', '"version":"1.1"')}, *rows[1:]], "not the one that its leaf"),
    "a path changed": ("context.jsonl", lambda rows: [{**rows[0], "path": ["0" * 64, *rows[0]["path"][1:]]}, *rows[1:]], "does not lead to the root"),
    "a path left out": ("context.jsonl", lambda rows: [{**rows[0], "path": None}, *rows[1:]], "has no path to the root of the checkpoint"),
    "another checkpoint": ("checkpoints.jsonl", lambda rows: [{**rows[0], "note": rows[0]["note"].replace("\n8\n", "\n7\n")}, *rows[1:]], "the signature of the checkpoint does not hold"),
}  # fmt: skip


def resealed(record: dict) -> dict:
    from mirror.audit.record import leaf_hash

    bare = {key: value for key, value in record.items() if key != "leaf"}
    return {**bare, "leaf": leaf_hash(canonical(bare))}


@pytest.mark.parametrize("how", ALTERED)
def test_who_has_the_key_cannot_pass_off_another_history(home, copy, first_key, capsys, how):
    """Whatever is altered and signed anew by the mirror's own key does not fit the checkpoint, and is named."""
    name, change, said = ALTERED[how]
    before = (copy / name).read_bytes()
    rewritten(copy / name, change)
    assert (copy / name).read_bytes() != before
    signed_anew(copy, home)
    try:
        report = checked(copy, first_key)[1]
        faults = report.faults
    except verify_pack.Wrong as error:
        faults = 1
        print(error, file=sys.stderr)
    error = capsys.readouterr().err
    assert faults
    assert any(one in error for one in said.split("|")), error


def own_key(home: Path):
    return load_pem_private_key((home / "data" / "signing.key").read_bytes(), None)


def test_a_checkpoint_of_other_records_is_found(home, copy, first_key, capsys):
    """One that the mirror's key has signed over another history is named, although its signature holds."""
    manifest = json.loads((copy / "manifest.json").read_text())
    verifier = Verifier.read(manifest["key"])
    size = manifest["records"]["first"] + manifest["records"]["count"] - 1
    note = signed(checkpoint_text(verifier.name, size, b"\x07" * 32), (verifier, own_key(home)))
    rewritten(copy / "checkpoints.jsonl", lambda rows: [*rows, {"at": "2026-11-04T10:00:00.000000Z", "note": note.data.decode()}])
    signed_anew(copy, home)
    assert checked(copy, first_key)[1].faults == 1
    assert f"checkpoints.jsonl: the checkpoint of {size} records: is of other records than these" in capsys.readouterr().err


def test_what_is_left_of_a_record_keeps_its_place(home, copy, first_key, capsys):
    """A record of which only leaf, prev and seq are left fits the root; without another that permits it, it is a fault all the same."""
    rewritten(copy / "records.jsonl", lambda rows: [*rows[:2], {key: rows[2][key] for key in ("leaf", "prev", "seq")}, *rows[3:]])
    signed_anew(copy, home)
    first = json.loads((copy / "manifest.json").read_text())["records"]["first"]
    assert checked(copy, first_key)[1].faults == 1
    assert capsys.readouterr().err == f"records.jsonl: record {first + 2}: is gone, and no record permits that\n"


def test_a_key_hands_over_by_its_own_signature_only():
    """A rotation that the key before has not signed is refused, and a replaced key is trusted by nobody who knew the one before."""
    old, new = (Ed25519PrivateKey.generate() for _ in range(2))
    before, after = (Verifier.of("l.acme.example", one) for one in (old, new))

    def row(sequence, verifier, how, *signers):
        note = signed(checkpoint_text(verifier.name, sequence, b"\x00" * 32, verifier.text), *signers)
        return {"kind": "key", "seq": sequence, "detail": {"key": verifier.text, "outcome": how, "statement": note.data.decode()}}

    keys = verify_keys.Keys()
    keys.add(row(1, before, "made", (before, old)))
    with pytest.raises(verify_pack.Wrong, match="is not signed by"):
        keys.add(row(5, after, "rotated", (after, new)))
    with pytest.raises(verify_pack.Wrong, match="is made, and no other"):
        keys.add(row(5, after, "made", (after, new)))
    keys.add(row(5, after, "replaced", (after, new)))
    assert set(keys.led_to([before.text])) == {before.text}
    keys.eras.pop()
    keys.add(row(5, after, "rotated", (before, old), (after, new)))
    assert set(keys.led_to([before.text])) == {before.text, after.text}
    assert set(keys.led_to([after.text])) == {after.text}
    assert (keys.in_force(5), keys.in_force(6)) == (before.text, after.text)


def test_evidence_that_is_not_what_is_cited_is_found(home, copy, first_key, capsys):
    """A page, policy or list exchanged for another under the same name is named, although the manifest was signed anew."""
    rows = [json.loads(line) for line in (copy / "evidence.jsonl").read_text().splitlines()]
    chosen = {row["kind"]: row for row in rows}
    assert {"page", "policy", "catalogue", "rulebook", "lineage", "list"} <= chosen.keys()
    for row in chosen.values():
        path = copy / "evidence" / row["sha256"][:2] / row["sha256"]
        path.write_bytes(path.read_bytes() + b" ")
    signed_anew(copy, home)
    assert checked(copy, first_key)[1].faults == len(chosen)
    said = capsys.readouterr().err
    assert all(f"evidence/{row['sha256'][:2]}/{row['sha256']}: is not what it was: cited by record " in said for row in chosen.values()), said


def test_a_span_cut_short_is_found(home, tmp_path, first_key, capsys):
    """A pack that says it is of a longer span than its records are is found by the records beside it."""
    short = pack_of(home, tmp_path / "short", span=("--from", "2026-11-01T09:04:00", "--to", "2026-11-01T09:06:00"))
    assert checked(short, first_key)[1].faults == 0
    manifest = json.loads((short / "manifest.json").read_text())
    (short / "manifest.json").write_text(json.dumps({**manifest, "to": "2026-11-02T00:00:00.000000Z"}))
    signed_anew(short, home)
    assert checked(short, first_key)[1].faults == 1
    assert "which stands beside the range, is not there or belongs to it" in capsys.readouterr().err


def test_another_key_is_not_enough(packed):
    """Under a key that has nothing to do with the ledger the pack does not hold."""
    other = "ledger.acme.example+" + packed_key(b"\x07" * 32)
    done = alone(packed, "--key", other)
    assert (done.returncode, "manifest.dsse.json: is not signed by a key that you gave" in done.stderr) == (1, True), done


def packed_key(raw: bytes) -> str:
    import base64

    data = b"\x01" + raw
    return sha256(b"ledger.acme.example\n" + data).digest()[:4].hex() + "+" + base64.b64encode(data).decode()


def test_evidence_that_is_gone_is_told_by_both(home, tmp_path, first_key, capsys):
    """A file that the archive has lost is named when the pack is made (exit 1), and again by whoever checks it."""
    poor = Path(shutil.copytree(home, tmp_path / "poor"))
    (gone,) = (path for path in (poor / "data" / "evidence").rglob("*") if path.is_file() and sha256(b"what the hub said of acme/tiny#x.pkl").hexdigest() == path.name)
    gone.unlink()
    done = CliRunner().invoke(command, ["-c", str(poor / "mirror.yaml"), "audit", "pack", *SPAN, "-o", str(tmp_path / "pack"), "--json"])
    assert done.exit_code == 1
    assert f"evidence/{gone.name[:2]}/{gone.name}: cited by record " in done.output
    assert checked(tmp_path / "pack", first_key)[1].faults == 1
    assert f"evidence/{gone.name[:2]}/{gone.name}: is missing: cited by record " in capsys.readouterr().err


def test_a_ledger_that_was_altered_is_not_packed(home, tmp_path):
    """A pack is never made of records that are not those which were signed: exit 2, with the sequence."""
    bad = Path(shutil.copytree(home, tmp_path / "bad"))
    (segment,) = segments(bad / "data" / "ledger")
    segment.path.write_bytes(segment.path.read_bytes().replace(b'"status":200', b'"status":203'))
    done = CliRunner().invoke(command, ["-c", str(bad / "mirror.yaml"), "audit", "pack", *SPAN, "-o", str(tmp_path / "pack")])
    assert "the record is not the one its leaf was made from" in str(done.exception)
    assert not (tmp_path / "pack").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]  # and nothing is left lying about


def test_a_history_written_anew_is_not_packed(home, tmp_path):
    """Where every record from one on was changed and chained again, none fits what was signed, and no pack is made."""
    bad = Path(shutil.copytree(home, tmp_path / "bad"))
    (segment,) = segments(bad / "data" / "ledger")
    rows = [json.loads(line) for line in segment.path.read_bytes().splitlines()]
    rows[7]["count"] = 9
    for at in range(7, len(rows)):
        rows[at] = resealed({**rows[at], "prev": rows[at - 1]["leaf"]})
    segment.path.write_bytes(b"".join(canonical(row) + b"\n" for row in rows))
    done = CliRunner().invoke(command, ["-c", str(bad / "mirror.yaml"), "audit", "pack", *SPAN, "-o", str(tmp_path / "pack")])
    assert "are not those that were signed" in str(done.exception)


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (("--from", "soon", "--to", "2026-11-02"), "--from: 'soon' is neither"), (("--from", "2026-11-02", "--to", "2026-11-01"), "--to: is not after --from"),
        (("--from", "2020-01-01", "--to", "2020-02-01"), "has no record from 2020-01-01"),
    ],
)  # fmt: skip
def test_what_cannot_be_packed_is_said(home, tmp_path, span, said):
    """A span that is none, or in which nothing was recorded, is unusable input with its place."""
    done = CliRunner().invoke(command, ["-c", str(home / "mirror.yaml"), "audit", "pack", *span, "-o", str(tmp_path / "pack")])
    assert said in str(done.exception)


# --- its parts --------------------------------------------------------------------------------------------------------


def test_any_range_makes_the_root_with_what_stands_beside_it():
    """For every range of every tree of up to 20 leaves, its leaves and the subtrees left and right make the tree's root."""
    for size in range(1, 21):
        leaves = [sha256(bytes([one])).digest() for one in range(size)]
        node = complete(leaves)
        for first in range(size):
            for stop in range(first + 1, size + 1):
                left, right = flanks(node, Range(first, stop), size)
                edge = verify_pack.Edge()
                for level, found in zip(verify_pack.subtrees(0, first), left, strict=True):
                    edge.add(level, bytes.fromhex(found))
                for leaf in leaves[first:stop]:
                    edge.add(0, leaf)
                for level, found in zip(verify_pack.subtrees(stop, size), right, strict=True):
                    edge.add(level, bytes.fromhex(found))
                assert edge.root() == root(node, size)


def test_a_range_has_all_between_its_ends_where_the_clock_was_set_back(tmp_path):
    """From the first record of the span to the last, those dated elsewhere included and counted."""
    days = (1, 5, 2, 9, 3, 8)
    lines = [f'{{"actor":{{}},"at":"2026-11-{day:02d}T00:00:00.000000Z","seq":{at}}}\n' for at, day in enumerate(days)]
    (tmp_path / "segment-000000000000.jsonl").write_text("".join(lines))
    found = range_of(tmp_path, "2026-11-02T00:00:00.000000Z", "2026-11-05T00:00:00.000000Z", 6)
    assert found == Range(2, 5, 1)


def test_the_program_is_one_file_for_an_old_python():
    """What lies in a pack imports the standard library alone, has every part that the product shares, and is Python 3.8."""
    text = program()
    tree = ast.parse(text, feature_version=(3, 8))
    imported = {one.module if isinstance(one, ast.ImportFrom) else one.names[0].name for one in ast.walk(tree) if isinstance(one, (ast.Import, ast.ImportFrom))}
    assert imported <= {"__future__", "argparse", "array", "base64", "datetime", "hashlib", "json", "re", "sys", "tarfile", "collections", "collections.abc", "contextlib", "pathlib", "typing"}
    assert "mirror." not in text.replace("mirror.acme", "")
    newer = {"removeprefix", "removesuffix", "file_digest", "bit_count", "is_relative_to", "walk_up", "zip_longest", "UTC"}
    assert not newer & {one.attr for one in ast.walk(tree) if isinstance(one, ast.Attribute)}
    keywords = {(call.func.id, keyword.arg) for call in ast.walk(tree) if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) for keyword in call.keywords}
    assert ("zip", "strict") not in keywords
    at_run_time = [one for one in tree.body if isinstance(one, ast.Assign)]
    assert not [one for one in at_run_time if isinstance(one.value, ast.Subscript)], "an alias such as list[int] is evaluated there"
    assert datetime.now(UTC)
