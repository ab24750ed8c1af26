"""Two verifiers that share no line of code say the same of real ledgers, and of every damage that is done to them."""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mirror.audit import verify_decision
from mirror.audit.examine import examine
from mirror.audit.notes import Verifier
from tests.second_verifier import second_verifier
from tests.support.mirror import MirrorProcess, upstream_config
from tests.support.standin import StandInHub, running_hub

PROGRAM = Path(second_verifier.__file__)
POLICY = "version: 1\nrules:\n  - {id: no-umbrella, when: {publisher: [umbrella]}, effect: deny}\n"
DENIED = "/umbrella/y/resolve/main/"
SEGMENT, PERSONAL = "segment-000000000000.jsonl", "personal-000000000000.jsonl"
UNCHECKED = ("reserve", "lock", "retained")


@dataclass(frozen=True)
class Made:
    """A mirror that was stopped, and copies of its data at several times, by name."""

    mirror: MirrorProcess
    folder: Path

    @property
    def data(self) -> Path:
        return self.mirror.folder / "data"

    @property
    def ledger(self) -> Path:
        return self.data / "ledger"

    def keep(self, name: str) -> Path:
        kept = self.folder / name
        shutil.copytree(self.ledger, kept, ignore=shutil.ignore_patterns(*UNCHECKED))
        return kept


@pytest.fixture(scope="module")
def hub() -> Iterator[StandInHub]:
    stand_in = StandInHub()
    stand_in.add_repo("model", "umbrella/y", {"config.json": b"{}"})
    with running_hub(stand_in) as running:
        yield running


def _mirror(folder: Path, hub: StandInHub) -> Made:
    kept = {"reserve": "1MiB", "origin": "mirror.acme.example/ledger", "checkpoint_every": "3600s"}
    kept["checkpoints"] = {"to": [{"file": str(folder / "witness")}]}  # type: ignore[assignment]
    return Made(MirrorProcess(folder / "mirror", {**upstream_config(hub), "ledger": kept}, POLICY), folder)


@pytest.fixture(scope="module")
def small(hub: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Six records: started, key, refused, the next key, a repeat, stopped; and a proof of the third."""
    made = _mirror(tmp_path_factory.mktemp("small"), hub)
    made.mirror.start()
    assert made.mirror.get(DENIED + "config.json?revision=a").status == 403
    made.mirror.command("ledger", "rotate")
    made.mirror.get(DENIED + "config.json")
    made.mirror.stop()
    made.mirror.command("ledger", "prove", "2", "--personal", "-o", str(made.folder / "proof.json"))
    return made


@pytest.fixture(scope="module")
def eventful(hub: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """More than 256 records, a kill, a torn tail, a start after it, and then a ledger that was set back and lost its key."""
    made = _mirror(tmp_path_factory.mktemp("eventful"), hub)
    mirror = made.mirror.start()
    for number in range(270):
        mirror.get(f"{DENIED}{number}.bin")
    mirror.kill()
    with (made.ledger / SEGMENT).open("ab") as file:
        file.write(b'{"actor":{"count')
    made.keep("torn")
    mirror.start()
    mirror.stop()
    made.keep("mended")
    shutil.copytree(made.data, made.folder / "before")
    mirror.start()
    mirror.get(DENIED + "later")
    mirror.stop()
    book = {name: (made.ledger / name).read_bytes() for name in ("checkpoints", "checkpoint")}
    shutil.rmtree(made.data)
    shutil.copytree(made.folder / "before", made.data)
    for name, raw in book.items():
        (made.ledger / name).write_bytes(raw)
    made.keep("behind")
    mirror.command("ledger", "recover", "-y")
    mirror.start()
    mirror.stop()
    made.keep("owned-up")
    (made.data / "signing.key").unlink()
    mirror.command("ledger", "recover", "--new-key", "-y")
    made.keep("new-key")
    return made


@pytest.fixture
def copy(small: Made, tmp_path: Path) -> Path:
    """The small ledger, to be damaged."""
    return Path(shutil.copytree(small.ledger, tmp_path / "ledger", ignore=shutil.ignore_patterns(*UNCHECKED)))


@pytest.fixture(autouse=True, scope="module")
def _once() -> Iterator[None]:
    """The same line and the same signature are worked out once, not for every byte that is changed elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("sealed", "signed", "note_of", "key_of", "_personal"):
            patch.setattr(second_verifier, name, functools.lru_cache(4096)(getattr(second_verifier, name)))
        known = functools.lru_cache(4096)(second_verifier.parsed)
        patch.setattr(second_verifier, "parsed", lambda line: dict(known(line)))
        yield


def _ours(folder: Path) -> str:
    """What our own verifier has against a ledger; empty if nothing."""
    fault = examine(folder).fault
    return "" if fault is None else str(fault) or "fault"


def _theirs(folder: Path) -> str:
    try:
        second_verifier.verify(folder, [], [])
    except second_verifier.Fault as fault:
        return str(fault)
    return ""


def _differ(folder: Path) -> str:
    """In what the two disagree about a ledger; empty if they agree."""
    ours, theirs = _ours(folder), _theirs(folder)
    return "" if bool(ours) == bool(theirs) else f"ours: {ours or 'sound'}; second: {theirs or 'sound'}"


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


# --- whole ledgers ---


def test_they_agree_on_sound_ledgers_in_count_head_root_and_erasures(small: Made, eventful: Made) -> None:
    """Records, head, root, erased parts and number of checkpoints of every sound ledger are the same to both."""
    for folder in [small.ledger, *(eventful.folder / name for name in ("torn", "mended", "owned-up", "new-key"))]:
        found, again = examine(folder), second_verifier.verify(folder, [], [])
        assert found.fault is None, (folder.name, found.fault)
        assert (found.head.count, found.head.leaf, found.erased, found.checkpoints) == (
            len(again.records),
            again.leaves[-1].hex(),
            again.erased,
            len(again.notes),
        )
        assert found.root == second_verifier.Tree(again.leaves).root(0, len(again.leaves))
    assert (eventful.folder / "mended" / "tree-1").stat().st_size == 32
    assert any("torn" in path.name for path in (eventful.folder / "mended").iterdir())


def test_they_agree_as_commands(small: Made, eventful: Made, tmp_path: Path) -> None:
    """`mirror ledger verify` and the other program, each in a process of its own, print the same and exit with the same status."""
    key = json.loads(_lines(small.ledger / SEGMENT)[1])["detail"]["key"]
    witness = small.folder / "witness"
    kept = small.folder / "kept"
    for damage in (False, True):
        if damage:
            shutil.copytree(small.ledger, kept)
            path = small.ledger / SEGMENT
            path.write_bytes(path.read_bytes().replace(b'"count":1', b'"count":2', 1))
        ours = small.mirror.command(
            "ledger", "verify", "--json", "--key", key, "--checkpoint", str(witness), check=False
        )
        theirs = _run(str(small.ledger), "--key", key, "--checkpoint", str(witness))
        assert (ours.returncode, theirs.returncode) == (damage, damage), ours.stdout + theirs.stdout
        if damage:
            (small.ledger / SEGMENT).write_bytes((kept / SEGMENT).read_bytes())
            assert json.loads(ours.stdout)["fault"]["file"] == SEGMENT and theirs.stdout.startswith(
                f"{SEGMENT}: seq 0: "
            )
        else:
            said = json.loads(theirs.stdout.splitlines()[0])
            assert said == {name: value for name, value in json.loads(ours.stdout).items() if name in said}
    assert _run(str(tmp_path / "nowhere")).returncode == 2


def test_they_agree_on_a_ledger_that_is_behind_its_checkpoints(small: Made, eventful: Made) -> None:
    """Checkpoints of more records than there are, and of another ledger, are a fault to both."""
    assert _ours(eventful.folder / "behind") and _theirs(eventful.folder / "behind")
    other = str(eventful.folder / "witness")
    ours = small.mirror.command("ledger", "verify", "--checkpoint", other, check=False)
    assert (ours.returncode, _run(str(small.ledger), "--checkpoint", other).returncode) == (1, 1)


def test_they_agree_on_more_than_one_segment(small: Made, tmp_path: Path) -> None:
    """Cut anywhere into two segments with a personal file each, the ledger is sound; with the personal file cut elsewhere it is not."""
    for cut, way in itertools.product(range(1, 6), ("alike", "erased", "uncut", "elsewhere")):
        folder = Path(
            shutil.copytree(small.ledger, tmp_path / f"{cut}-{way}", ignore=shutil.ignore_patterns(*UNCHECKED))
        )
        for name, at in ((SEGMENT, cut), (PERSONAL, {"uncut": 6, "elsewhere": cut - 1}.get(way, cut))):
            lines = _lines(folder / name)
            (folder / name).write_bytes(b"".join(lines[:at]))
            if at < 6 and not (name == PERSONAL and way == "erased"):
                (folder / name.replace("000000000000", f"{cut:012d}")).write_bytes(b"".join(lines[at:]))
        assert not _differ(folder), (cut, way, _differ(folder))
        assert bool(_theirs(folder)) == (way in ("uncut", "elsewhere")), (cut, way)


# --- damage ---


def test_one_bit_of_any_byte(copy: Path) -> None:
    """Whichever byte of whichever file has one bit changed, both say that the ledger is damaged."""
    unseen = []
    for path in sorted(copy.iterdir()):
        raw = path.read_bytes()
        with path.open("r+b", buffering=0) as file:
            for place in range(len(raw)):
                os.pwrite(file.fileno(), bytes([raw[place] ^ 1 << place % 8]), place)
                ours, theirs = _ours(copy), _theirs(copy)
                if not (ours and theirs):
                    unseen.append((path.name, place, ours, theirs))
                os.pwrite(file.fileno(), raw[place : place + 1], place)
    assert not _ours(copy) and not _theirs(copy)
    assert not unseen, unseen[:20]


def _changes(count: int) -> Iterator[tuple[str, Callable[[list[bytes]], list[bytes]]]]:
    for at in range(count):
        yield f"without {at}", lambda lines, at=at: lines[:at] + lines[at + 1 :]
        yield f"as far as {at}", lambda lines, at=at: lines[:at]
        yield f"as far as within {at}", lambda lines, at=at: [*lines[:at], lines[at][:30]]
        yield f"as far as before the end of {at}", lambda lines, at=at: [*lines[:at], lines[at][:-1]]
        yield f"{at} without its end", lambda lines, at=at: [*lines[:at], lines[at][:-1], *lines[at + 1 :]]
        yield f"{at} twice", lambda lines, at=at: [*lines[: at + 1], *lines[at:]]
    for one, two in itertools.combinations(range(count), 2):
        yield (
            f"{one} and {two} exchanged",
            lambda lines, one=one, two=two: [lines[{one: two, two: one}.get(at, at)] for at in range(len(lines))],
        )
    yield "an empty line more", lambda lines: [*lines, b"\n"]
    yield "half a line more", lambda lines: [*lines, b'{"act']
    yield "zeros more", lambda lines: [*lines, bytes(64)]


@pytest.mark.parametrize("name", [SEGMENT, PERSONAL, "checkpoints"])
def test_lines_dropped_exchanged_doubled_and_cut(copy: Path, name: str) -> None:
    """Both say the same of a file with lines missing, twice, exchanged or cut, and of one that is empty or missing."""
    path, whole = copy / name, _lines(copy / name)
    differ, damaged = [], 0
    for what, change in _changes(len(whole)):
        path.write_bytes(b"".join(change(whole)))
        damaged += bool(_theirs(copy))
        if said := _differ(copy):
            differ.append((what, said))
    path.unlink()
    if said := _differ(copy):
        differ.append(("missing", said))
    assert not differ, differ
    assert damaged > 20


@pytest.mark.parametrize("name", ["head", "checkpoint", "tree-0"])
def test_small_files_missing_empty_short_and_long(copy: Path, name: str) -> None:
    """Both say the same of head, newest checkpoint and tree that are missing, empty, shorter or longer."""
    path, whole = copy / name, (copy / name).read_bytes()
    for raw in [b"", whole[:-1], whole[:-32], whole[:32], whole + b"x", whole + bytes(32), whole * 2]:
        path.write_bytes(raw)
        assert not _differ(copy), (raw, _differ(copy))
    path.unlink()
    assert not _differ(copy)


def test_a_head_that_lags_and_one_that_is_ahead(copy: Path) -> None:
    """A head that lags is no fault, one that is ahead or names another leaf is, to both."""
    leaves = ["0" * 64, *(json.loads(line)["leaf"] for line in _lines(copy / SEGMENT))]
    for count, leaf in enumerate([*leaves, "a" * 64]):
        for named in (leaf, leaves[1]):
            (copy / "head").write_text(f"{count:016d} {named}\n")
            assert not _differ(copy), (count, _differ(copy))
            assert bool(_theirs(copy)) == (named != leaf or count == len(leaves))


def test_a_ledger_that_ends_sooner(copy: Path) -> None:
    """A ledger cut back as a whole - records, personal parts, head, tree - contradicts its checkpoints; without these it is a ledger."""
    kept = {path.name: path.read_bytes() for path in copy.iterdir()}
    for count, without in itertools.product(range(6), (False, True)):
        for name, raw in kept.items():
            (copy / name).write_bytes(raw)
        lines = _lines(copy / SEGMENT)[:count]
        for name in (SEGMENT, PERSONAL):
            (copy / name).write_bytes(b"".join(_lines(copy / name)[:count]))
        (copy / "tree-0").write_bytes(kept["tree-0"][: 32 * count])
        (copy / "head").write_text(f"{count:016d} {json.loads(lines[-1])['leaf'] if lines else '0' * 64}\n")
        for name in ("checkpoints", "checkpoint") if without else ():
            (copy / name).unlink()
        assert not _differ(copy), (count, without, _differ(copy))
        assert bool(_theirs(copy)) != without


def test_erased_parts_are_counted_alike(copy: Path) -> None:
    """Whichever personal parts were erased, the ledger is sound to both, and both count them."""
    lines = _lines(copy / PERSONAL)
    for chosen in range(1 << len(lines)):
        (copy / PERSONAL).write_bytes(b"".join(line for at, line in enumerate(lines) if chosen >> at & 1))
        found = examine(copy)
        assert found.fault is None
        assert found.erased == second_verifier.verify(copy, [], []).erased == len(lines) - chosen.bit_count()


def test_what_somebody_writes_with_hashes_made_anew(copy: Path) -> None:
    """A record changed, with leaf and chain made anew, is found by both; so is a copy of a key left out, with the digests made anew."""
    kept = {path.name: path.read_bytes() for path in copy.iterdir()}
    for at in range(6):
        before, lines = "0" * 64, []
        for number, line in enumerate(_lines(copy / SEGMENT)):
            record = (
                json.loads(line) | {"prev": before} | ({"at": "2026-01-01T00:00:00.000000Z"} if number == at else {})
            )
            del record["leaf"]
            record["leaf"] = before = second_verifier.hashlib.sha256(
                b"\0" + second_verifier.canonical(record)
            ).hexdigest()
            lines.append(second_verifier.canonical(record) + b"\n")
        (copy / SEGMENT).write_bytes(b"".join(lines))
        (copy / "head").write_text(f"{6:016d} {before}\n")
        (copy / "tree-0").write_bytes(b"".join(bytes.fromhex(json.loads(line)["leaf"]) for line in lines))
        assert _ours(copy) and _theirs(copy)
        for name, raw in kept.items():
            (copy / name).write_bytes(raw)
    rows = [json.loads(line) for line in _lines(copy / "checkpoints")]
    for at in range(len(rows)):
        before, lines = "0" * 64, []
        for row in rows[:at] + rows[at + 1 :]:
            row = {name: value for name, value in row.items() if name != "digest"} | {"prev": before}
            before = second_verifier.hashlib.sha256(second_verifier.canonical(row)).hexdigest()
            lines.append(second_verifier.canonical({**row, "digest": before}) + b"\n")
        (copy / "checkpoints").write_bytes(b"".join(lines))
        assert not _differ(copy), (at, _differ(copy))
        assert _theirs(copy) or "record" not in rows[at]


# --- proofs ---


def test_proofs_as_they_are_and_with_a_bit_changed(small: Made, tmp_path: Path) -> None:
    """Both take a proof under the right key, refuse it under the key before, and say the same of it with a bit changed in any place."""
    raw = (small.folder / "proof.json").read_bytes()
    key = json.loads(raw)["key"]
    first = json.loads(_lines(small.ledger / SEGMENT)[1])["detail"]["key"]
    assert Verifier.read(key).text == key != first
    path = tmp_path / "proof.json"
    differ, damaged = [], 0
    for given in (key, first, None):
        path.write_bytes(raw)
        assert _proof_ours(raw, given) == _proof_theirs(raw, given) == (given == first)
        done = _run("--proof", str(path), *(["--key", given] if given else []))
        assert done.returncode == (given == first)
    for place in range(len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 1 << place % 8]) + raw[place + 1 :]
        ours, theirs = _proof_ours(changed, key), _proof_theirs(changed, key)
        damaged += theirs
        if ours != theirs:
            differ.append((place, raw[place - 20 : place + 1], ours, theirs))
    assert not differ, [(x[0], raw[max(0, x[0] - 12) : x[0] + 4], x[2], x[3]) for x in differ]
    assert damaged > len(raw) * 0.9


def _proof_ours(raw: bytes, key: str | None) -> bool:
    """Whether our stand-alone program would refuse it."""
    try:
        verify_decision.check(json.loads(raw.decode()), key)
    except (verify_decision.Wrong, ValueError, KeyError, TypeError, AttributeError):
        return True
    return False


def _proof_theirs(raw: bytes, key: str | None) -> bool:
    try:
        second_verifier.verify_proof(raw, key)
    except second_verifier.Fault:
        return True
    return False


# --- the second verifier itself ---


def test_it_is_independent() -> None:
    """The second verifier imports the standard library and nothing else."""
    names = re.findall(r"^(?:from|import) ([a-z0-9_]+)", PROGRAM.read_text(encoding="utf-8"), re.MULTILINE)
    assert names and set(names) <= sys.stdlib_module_names


def test_its_primitives_against_published_vectors() -> None:
    """Ed25519 (RFC 8032 7.1, tests 1 and 3), canonical JSON (RFC 8785 3.2.3, names by UTF-16), the tree (RFC 6962's reference vectors)."""
    for key, message, signature in (
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ):
        parts = bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature)
        assert second_verifier.signed(*parts)
        assert not second_verifier.signed(parts[0], parts[1] + b"x", parts[2])
        high = (
            int.from_bytes(parts[2][32:], "little") + second_verifier._L
        )  # 5.1.7: s below the order, or it is another signature
        assert not second_verifier.signed(parts[0], parts[1], parts[2][:32] + high.to_bytes(32, "little"))
    names = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
    assert [*json.loads(second_verifier.canonical(names)).values()] == [2, 4, 6, 7, 1, 5, 3]
    leaves = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        bytes(range(0x50, 0x58)),
        bytes(range(0x60, 0x70)),
    ]
    tree = second_verifier.Tree([second_verifier.hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves])
    assert tree.root(0, 0).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert tree.root(0, 1).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert tree.root(0, 8).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-I", str(PROGRAM), *arguments], capture_output=True, text=True, check=False)
