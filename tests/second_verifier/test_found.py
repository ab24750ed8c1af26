"""What the second verifier found and our own took for sound, each by the clause that its test names."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mirror.audit import verify_decision
from mirror.audit.book import read_notes
from mirror.audit.examine import Examined, examine
from mirror.audit.notes import Verifier, checkpoint_text, signed
from tests.second_verifier import second_verifier
from tests.second_verifier.test_agreement import DENIED, PERSONAL, SEGMENT, UNCHECKED, Made, _lines, _mirror
from tests.support.standin import StandInHub, running_hub


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """A ledger that was set back as a whole, beyond a change of key, and owned up to it."""
    hub = StandInHub()
    hub.add_repo("model", "umbrella/y", {"config.json": b"{}"})
    with running_hub(hub):
        made = _mirror(tmp_path_factory.mktemp("back"), hub)
        mirror = made.mirror.start()
        mirror.get(DENIED + "config.json")
        mirror.stop()
        shutil.copytree(made.data, made.folder / "before")
        mirror.start()
        mirror.command("ledger", "rotate")
        mirror.command("ledger", "checkpoint")
        mirror.get(DENIED + "later")
        mirror.stop()
        shutil.rmtree(made.data)
        shutil.copytree(made.folder / "before", made.data)
        mirror.command("ledger", "recover", "-y")
        mirror.start()
        mirror.get(DENIED + "config.json")
        mirror.stop()
        yield made


@pytest.fixture
def copy(made: Made, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made.ledger, tmp_path / "ledger", ignore=shutil.ignore_patterns(*UNCHECKED)))


def _both_find_it(folder: Path) -> None:
    with pytest.raises(second_verifier.Fault) as found:
        second_verifier.verify(folder, [], [])
    assert examine(folder).fault is not None, f"ours: sound; second: {found.value}"


def test_personal_parts_behind_one_of_no_record_are_read(copy: Path) -> None:
    """`verify` reads every byte of personal files: a `seq` that is too high in one line does not hide a changed part in the next."""
    lines = _lines(copy / PERSONAL)
    lines[0] = lines[0].replace(b'"seq":0', b'"seq":4000')
    lines[2] = lines[2].replace(b'"address":"127.0.0.1"', b'"address":"127.0.0.9"')
    (copy / PERSONAL).write_bytes(b"".join(lines))
    _both_find_it(copy)


@pytest.mark.parametrize("other", [0, 3, -1])
def test_personal_parts_of_written_records_are_in_order(copy: Path, other: int) -> None:
    """The last line of a personal file exchanged with another, or twice, is damage: these are parts of records that were written."""
    lines = _lines(copy / PERSONAL)
    (copy / PERSONAL).write_bytes(
        b"".join(
            [*lines, lines[-1]] if other < 0 else [*lines[:other], lines[-1], *lines[other + 1 : -1], lines[other]]
        )
    )
    _both_find_it(copy)


def test_a_personal_file_without_its_segment_is_not_passed_over(copy: Path) -> None:
    """`verify` reads every byte of personal files: one that no segment belongs to is damage, not the erasure of all of its lines."""
    (copy / PERSONAL).rename(copy / "personal-000000000001.jsonl")
    _both_find_it(copy)


def _cut(folder: Path, count: int) -> None:
    """Records, personal parts, tree and head as they were after `count` records."""
    lines = _lines(folder / SEGMENT)[:count]
    (folder / SEGMENT).write_bytes(b"".join(lines))
    (folder / PERSONAL).write_bytes(b"".join(_lines(folder / PERSONAL)[:count]))
    (folder / "tree-0").write_bytes((folder / "tree-0").read_bytes()[: 32 * count])
    (folder / "head").write_text(f"{count:016d} {json.loads(lines[-1])['leaf']}\n")


def _gap(folder: Path) -> dict[str, Any]:
    """The record about a gap."""
    record: dict[str, Any] = next(json.loads(line) for line in _lines(folder / SEGMENT) if b'"gap":' in line)
    return record


def test_a_gap_excuses_no_checkpoint_that_was_signed_after_it(made: Made, copy: Path) -> None:
    """A ledger cut back once more, to where an earlier gap was owned up to, contradicts the checkpoints signed since; it is not started."""
    count = _gap(copy)["seq"] + 1
    shutil.copytree(made.ledger, made.folder / "kept")
    witness = (made.folder / "witness").read_bytes()
    (made.folder / "witness").unlink()  # the mirror's own notes have to tell
    _cut(made.ledger, count)
    try:
        with pytest.raises(AssertionError, match="it was set back"):
            made.mirror.start()
    finally:
        made.mirror.stop()
        shutil.rmtree(made.ledger)
        (made.folder / "kept").rename(made.ledger)
        (made.folder / "witness").write_bytes(witness)
    _cut(copy, count)
    _both_find_it(copy)


def _kept(folder: Path, notes: Path) -> tuple[Examined, list[str]]:
    """What both say of a ledger with notes that were kept elsewhere; they agree whether there is a fault."""
    ours = examine(folder, foreign=[("elsewhere", one) for one in read_notes(notes)])
    try:
        theirs = second_verifier.verify(folder, [], [notes]).remarks
    except second_verifier.Fault as fault:
        assert ours.fault is not None, f"ours: sound; second: {fault}"
        return ours, []
    assert ours.fault is None, f"ours: {ours.fault}; second: sound"
    return ours, theirs


def test_a_checkpoint_of_a_lost_key_is_a_remark_within_its_gap(made: Made) -> None:
    """Notes of the key that was lost with its records, kept elsewhere, are told of and are no fault: nothing here can check them."""
    ours, theirs = _kept(made.ledger, made.folder / "witness")
    lost = "is signed by a key of the lost records, which cannot be checked here"
    assert any(lost in one for one in ours.remarks) and any("cannot be checked here" in one for one in theirs)


@pytest.mark.parametrize("case", ["within", "behind", "before", "of another ledger", "in the name of a key that is here"])
def test_a_checkpoint_of_an_unknown_key_is_a_fault_outside_of_gaps(made: Made, tmp_path: Path, case: str) -> None:
    """An unknown key's note is excused by a gap that it lies in - not outside of it, not for another ledger, and not where a key is feigned."""
    record = _gap(made.ledger)
    gap = record["detail"]["gap"]
    name = "other.acme.example/ledger" if case == "of another ledger" else gap["note"].split("\n")[0]
    size = {"behind": gap["published"] + 1, "before": gap["since"]}.get(case, gap["published"])
    key = Ed25519PrivateKey.generate()
    verifier = Verifier.of(name, key)
    data = signed(checkpoint_text(name, size, b"\1" * 32), (verifier, key)).data
    if case.startswith("in the name"):
        mine = json.loads(_lines(made.ledger / SEGMENT)[1])["detail"]["key"].split("+")[1]
        text, _, line = data.decode().rpartition(" ")
        data = f"{text} {base64.b64encode(bytes.fromhex(mine) + base64.b64decode(line)[4:]).decode()}\n".encode()
    (tmp_path / "note").write_bytes(data)
    ours, _ = _kept(made.ledger, tmp_path / "note")
    assert (ours.fault is None) == (case == "within"), ours.fault


def test_parts_of_records_that_were_never_written(copy: Path) -> None:
    """Behind the last part stand those of the next records in order, or bytes that are no part, as a crash leaves them; else it is damage."""
    lines = _lines(copy / PERSONAL)
    count = len(lines)
    following = [lines[-1].replace(b'"seq":%d}' % (count - 1), b'"seq":%d}' % (count + number)) for number in range(3)]
    for more, is_fault in (
        (following[:1], False),
        (following, False),
        ([*following[:2], b"\0" * 40], False),
        ([b"torn\n", *following[1:]], False),
        (following[1:], True),
        ([following[0], following[2]], True),
        (following[:1] * 2, True),
        ([*following, lines[0]], True),
        ([b"torn\n", lines[-1]], True),
    ):
        (copy / PERSONAL).write_bytes(b"".join([*lines, *more]))
        if is_fault:
            _both_find_it(copy)
        else:
            second_verifier.verify(copy, [], [])
            assert examine(copy).fault is None and "never written" in examine(copy).unfinished
            assert examine(copy, incremental=True).fault is None


def test_the_personal_file_of_the_next_segment_is_read_too(copy: Path) -> None:
    """It may be there before its segment; what it has of records that were written, or begins with, is read and is damage."""
    lines, count = _lines(copy / PERSONAL), len(_lines(copy / PERSONAL))
    (copy / f"personal-{count:012d}.jsonl").write_bytes(b"")
    second_verifier.verify(copy, [], [])
    assert examine(copy).fault is None
    (copy / f"personal-{count:012d}.jsonl").write_bytes(lines[0])
    _both_find_it(copy)
    (copy / f"personal-{count:012d}.jsonl").rename(copy / f"personal-{count + 1:012d}.jsonl")
    _both_find_it(copy)


def test_what_was_cut_off_before_the_newest_checkpoint_is_seen_by_an_incremental_verification(copy: Path) -> None:
    """`--since-checkpoint` takes records for verified that are there, not such as are gone from the segment that it begins in."""
    (copy / SEGMENT).write_bytes(b"".join(_lines(copy / SEGMENT)[:-2]))
    assert examine(copy, incremental=True).fault is not None
    (copy / SEGMENT).unlink()
    assert examine(copy, incremental=True).fault is not None


def test_a_proof_is_of_its_format_and_in_one_spelling(made: Made, tmp_path: Path) -> None:
    """Both programs refuse a proof of another `format`, and one whose hashes are spelled in capitals."""
    made.mirror.command("ledger", "prove", "2", "-o", str(tmp_path / "proof.json"))
    proof = json.loads((tmp_path / "proof.json").read_bytes())
    verify_decision.check(proof, None)
    second_verifier.verify_proof(json.dumps(proof).encode(), None)
    for changed in ({"format": "entrepot-ledger-proof/2"}, {"path": [one.upper() for one in proof["path"]]}):
        with pytest.raises(verify_decision.Wrong):
            verify_decision.check({**proof, **changed}, None)
        with pytest.raises(second_verifier.Fault):
            second_verifier.verify_proof(json.dumps({**proof, **changed}).encode(), None)


def test_a_proof_of_names_beyond_the_basic_plane_holds() -> None:
    """RFC 8785 3.2.3 sorts names by UTF-16, as the records do: U+1F600 before U+FB33."""
    record = {name: "x" for name in ("at", "kind", "personal", "prev")} | {
        "seq": 0,
        "count": 1,
        "detail": {"\U0001f600": 1, "\ufb33": 2},
    }
    leaf = hashlib.sha256(b"\x00" + second_verifier.canonical(record)).digest()
    assert verify_decision.leaf_of(second_verifier.canonical({**record, "leaf": leaf.hex()}).decode()) == leaf
