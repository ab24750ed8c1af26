"""The carrier: what is written can be read in every form, by us and by tools that know nothing of us."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib import dsse as independent
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from mirror.audit.notes import Verifier
from mirror.bundle import standalone
from mirror.bundle.checked import verify
from mirror.bundle.layout import BundleReader, Form
from mirror.bundle.senders import senders
from mirror.cli.main import root
from mirror.core import dsse
from mirror.core.errors import InputError
from tests.bundle.carried import CREATED, KEY, OTHER, Goods, signers
from tests.support.signers import Person

FORMS = pytest.mark.parametrize(
    ("form", "volume"), [(Form.DIRECTORY, None), (Form.TAR, None), (Form.TAR, 4096)], ids=["dir", "tar", "volumes"]
)
SKOPEO = shutil.which("skopeo")


@FORMS
def test_what_is_written_can_be_read(tmp_path, form, volume):
    """A folder, a tar and a set of volumes give back every part, byte for byte, and the statement that was signed for them."""
    goods = Goods()
    place = goods.write(tmp_path / "lab", form, volume=volume)
    with BundleReader(place) as reader:
        statement = reader.signed(signers())
        found = {part.title: reader.open(part).read() for part in reader.parts.values()}
    assert found == goods.files | {"contents.jsonl": b'{"kind":"entry"}\n'}
    assert (statement.name, statement.number, statement.created, statement.sender) == (
        "acme-lab",
        1,
        CREATED,
        "mirror.acme.example",
    )
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert len(list(tmp_path.iterdir())) == 1 if volume is None else len(list(tmp_path.iterdir())) > 3


def test_parts_are_plain_files(tmp_path):
    """In a folder every part lies uncompressed under its SHA-256, where a scanner finds it."""
    goods = Goods()
    place = goods.write(tmp_path / "lab")
    lying = {path.read_bytes() for path in (place / "blobs" / "sha256").iterdir()}
    assert set(goods.files.values()) <= lying
    assert (
        subprocess.run(
            "cd blobs/sha256 && ls | sed 's/.*/& &/' | sed 's/ /  /' | sha256sum --check --quiet",
            shell=True,
            cwd=place,
            check=False,
        ).returncode
        == 0
    )


# --- tools that know nothing of us ------------------------------------------------------------------------------------


def test_tar_unpacks_a_bundle_and_its_volumes(tmp_path):
    """GNU tar unpacks one archive, and a set of volumes as its own multi-volume archive, to the folder that the other form is."""
    goods = Goods({"large": bytes(range(256)) * 70, "small": b"x"})
    folder = goods.write(tmp_path / "dir")
    goods.write(tmp_path / "one.tar", Form.TAR)
    goods.write(tmp_path / "set", Form.TAR, volume=4096)
    volumes = [word for path in sorted(tmp_path.glob("set.*")) for word in ("-f", str(path))]
    for name, words in (("one", ["-f", str(tmp_path / "one.tar")]), ("set", ["--multi-volume", *volumes])):
        (tmp_path / name).mkdir()
        done = subprocess.run(
            ["tar", "--extract", *words],
            cwd=tmp_path / name,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }


@pytest.mark.skipif(SKOPEO is None, reason="skopeo is not installed")
def test_skopeo_lists_and_copies_a_bundle(tmp_path):
    """skopeo lists a bundle and copies it between layouts, archives and plain folders; what it wrote is the same bundle, and is verified as one."""
    goods = Goods()
    goods.write(tmp_path / "dir")
    goods.write(tmp_path / "one.tar", Form.TAR)

    def skopeo(*words: str) -> str:
        done = subprocess.run([SKOPEO, *words], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    index = json.loads(skopeo("inspect", "--raw", "oci:dir:bundle"))
    assert len(index["manifests"]) == 2
    skopeo("copy", "--all", "--quiet", "oci:dir", "oci:copy")
    skopeo("copy", "--all", "--quiet", "oci-archive:one.tar", "oci-archive:two.tar")
    skopeo("copy", "--all", "--quiet", "oci-archive:one.tar", "dir:plain")
    skopeo("copy", "--all", "--quiet", "dir:plain", "oci:back")
    found = [verify(tmp_path / name, signers()) for name in ("dir", "copy", "two.tar", "back")]
    assert found.count(found[0]) == 4
    assert {
        (tmp_path / "plain" / part.digest.hex).read_bytes() for part in BundleReader(tmp_path / "dir").parts.values()
    } >= set(goods.files.values())


def test_an_independent_verifier_accepts_the_envelope(tmp_path):
    """securesystemslib finds our signature good under our key, the payload an in-toto v1 statement; under another key or changed it does not."""
    with BundleReader(Goods().write(tmp_path / "lab")) as reader:
        envelope, manifests = reader.envelope, reader.manifests
    key = SSlibKey.from_crypto(KEY.public_key(), dsse.key_id(KEY.public_key()))
    found = independent.Envelope.from_dict(json.loads(envelope))
    assert found.verify([key], 1) == {key.keyid: key}
    statement = json.loads(found.payload)
    assert (found.payload_type, statement["_type"]) == (
        "application/vnd.in-toto+json",
        "https://in-toto.io/Statement/v1",
    )
    assert [row["digest"] for row in statement["subject"]] == [{"sha256": one.digest.hex} for one in manifests]
    with pytest.raises(VerificationError):
        found.verify([SSlibKey.from_crypto(OTHER.public_key(), key.keyid)], 1)
    found.payload = found.payload.replace(b'"number":1', b'"number":2')
    with pytest.raises(VerificationError):
        found.verify([key], 1)


# --- the command ------------------------------------------------------------------------------------------------------


def pem(path: Path, key=KEY) -> Path:
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def test_verify_needs_nothing_but_the_key(tmp_path, monkeypatch):
    """`mirror bundle verify` says 0 and who signed with the key alone - no configuration, no data, nothing written; 1 where it does not hold; 2 for no key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIRROR_CONFIG", raising=False)
    place = Goods().write(tmp_path / "lab.tar", Form.TAR)
    key, foreign = pem(tmp_path / "key.pem"), pem(tmp_path / "foreign.pem", OTHER)
    before = sorted(tmp_path.iterdir())

    def run(*words: object):
        return CliRunner().invoke(root, ["bundle", "verify", *map(str, words)])

    done = run(place, "--key", key)
    assert done.exit_code == 0, done.output
    assert "holds: content acme-lab number 1, made 2026-11-22T12:00:00Z by mirror.acme.example" in done.output
    assert dsse.fingerprint(KEY.public_key()) in done.output
    told = json.loads(run(place, "--key", key, "--json").stdout)
    assert (told["ok"], told["parts"], told["bytes"]) == (True, 5, sum(map(len, Goods().files.values())) + 17)
    done = run(place, "--key", foreign, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["ok"] is False
    assert len(done.stderr.splitlines()) == 1
    assert "nobody here has said to trust" in done.stderr
    assert isinstance(run(place, "--key", tmp_path / "missing.pem").exception, InputError)  # main() ends with 2
    assert run(place).exit_code == 2
    assert run(tmp_path / "nothing", "--key", key).exit_code == 2
    assert sorted(tmp_path.iterdir()) == before


def test_keys_are_taken_in_every_form_that_people_hand_over(tmp_path):
    """A PEM file, a sender's card, a folder of cards and a ledger's verifier key all give the key; others are refused, all at once."""
    identity = dsse.key_id(KEY.public_key())
    sender, revoked, other = (
        Person("lab-sender", "sender", key=KEY), Person("old-sender", "sender", key=OTHER, revoked=datetime(2026, 5, 1, tzinfo=CREATED.tzinfo)), Person("alice", "approver"),
    )  # fmt: skip
    card = sender.enrol(tmp_path / "cards")
    line = Verifier.of("mirror.acme.example", KEY).text
    (tmp_path / "ledger.key").write_text(line + "\n")
    for given in (pem(tmp_path / "key.pem"), card, tmp_path / "cards", tmp_path / "ledger.key", line):
        keys, void = senders([str(given)])
        assert (list(keys), void) == ([identity], frozenset()), given
    old = revoked.enrol(tmp_path / "cards")
    old.write_text(old.read_text().replace("roles:", "revoked: 2026-05-01\nroles:"))
    keys, void = senders([str(tmp_path / "cards")])
    assert void == {dsse.key_id(OTHER.public_key())} < set(keys)
    rsa = tmp_path / "rsa.pem"
    rsa.write_bytes(
        generate_private_key(65537, 2048).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(InputError) as caught:
        senders([str(rsa), str(other.enrol(tmp_path / "people")), "nonsense", str(tmp_path / "people")])
    assert [problem.message.split(":")[0] for problem in caught.value.problems] == [
        "is no Ed25519 key", "alice is not enrolled as sender",
        "'nonsense' is neither a file with a public key nor a verifier key (name+id+base64)", "holds no card with the role sender",
    ]  # fmt: skip


# --- the single file --------------------------------------------------------------------------------------------------


@pytest.fixture
def program(tmp_path) -> Path:
    path = tmp_path / "carried" / "verify_bundle.py"
    path.parent.mkdir()
    path.write_text(standalone.program())
    return path


def check(program: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run the single file as a machine without the product would: isolated, without site-packages."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(program), *map(str, words)], cwd=program.parent, env={}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@FORMS
def test_the_single_file_verifies_every_form(tmp_path, program, form, volume):
    """One file of the standard library verifies a bundle in every form, prints the fingerprint to compare, and refuses a changed one and another key."""
    place = Goods().write(tmp_path / "lab", form, volume=volume)
    key, foreign = pem(tmp_path / "key.pem"), pem(tmp_path / "foreign.pem", OTHER)
    for given in (
        key,
        Verifier.of("mirror.acme.example", KEY).text,
        Person("lab-sender", "sender", key=KEY).enrol(tmp_path / "cards"),
    ):
        done = check(program, place, "--key", given)
        assert done.returncode == 0, done.stderr
        assert "holds: content acme-lab number 1" in done.stdout
        assert dsse.fingerprint(KEY.public_key()) in done.stdout
    done = check(program, place, "--key", foreign)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "does not hold: statement: is not signed by the key that was given\n"
    blob = next(
        path
        for path in ([place] if place.is_file() else (place / "blobs" / "sha256").iterdir())
        if b"hidden_size" in path.read_bytes()
    )
    blob.write_bytes(blob.read_bytes().replace(b"hidden_size", b"hidden_sizE"))
    done = check(program, place, "--key", key)
    assert (done.returncode, done.stdout) == (1, "")
    assert "is damaged" in done.stderr
    assert check(program, tmp_path / "nothing", "--key", key).returncode == 2
    assert check(program, place, "--key", tmp_path / "nothing").returncode == 2
    assert check(program, "--key", key, "--fingerprint").stdout.strip() == dsse.fingerprint(KEY.public_key())


def test_the_single_file_runs_on_old_pythons(program):
    """What is carried is one file that Python 3.8 can parse, imports the standard library only and holds what it shares in full."""
    text = program.read_text()
    tree = ast.parse(text, feature_version=(3, 8))
    imported = {
        name.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    }
    imported |= {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported - {"__future__"} <= sys.stdlib_module_names
    assert text.count("def ed25519_holds") == text.count("class Archive") == 1
    # Of later Pythons: 3.9, 3.10 and 3.11, in this order.
    assert not re.search(
        r"\.remove(prefix|suffix)\(|strict=|zip\(|file_digest|pairwise|slots=", text, re.MULTILINE
    )
