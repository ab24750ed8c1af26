"""Private keys and cards on disk."""

from __future__ import annotations

import stat
import subprocess
from shutil import which

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mirror.core import dsse
from mirror.core.errors import InputError
from mirror.durable import write_whole
from mirror.policy.statements import KEY
from mirror.trust.enrolment import load_roll
from mirror.trust.keyfiles import read_key, write_key
from mirror.trust.register import Register
from tests.support.signers import BEGIN, Person, later

SECRET = "correct horse"


def asked():
    raise AssertionError("nobody should have been asked")


def test_a_key_is_encrypted_and_comes_back(tmp_path):
    """The file is PKCS #8 under its passphrase, readable by its owner only, and gives the same key back."""
    key, path = Ed25519PrivateKey.generate(), tmp_path / "k"
    write_key(path, key, SECRET)
    assert path.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert key.private_bytes_raw() not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key(path, lambda: SECRET).private_bytes_raw() == key.private_bytes_raw()


def test_a_key_without_passphrase_is_made_only_when_told(tmp_path):
    """None writes it in the clear, and reading asks for nothing."""
    key, path = Ed25519PrivateKey.generate(), tmp_path / "k"
    write_key(path, key, None)
    assert read_key(path, asked).private_bytes_raw() == key.private_bytes_raw()


def test_openssl_reads_the_key(tmp_path):
    """The format is the field's own: openssl opens it with the passphrase and gives the same public half."""
    if which("openssl") is None:
        pytest.skip("no openssl here")
    key, path = Ed25519PrivateKey.generate(), tmp_path / "k"
    write_key(path, key, SECRET)
    told = subprocess.run(["openssl", "pkey", "-in", str(path), "-passin", f"pass:{SECRET}", "-pubout", "-outform", "DER"], capture_output=True, check=True)
    assert told.stdout.endswith(key.public_key().public_bytes_raw())


def test_bad_key_files_are_one_clear_error(tmp_path):
    """A wrong passphrase, another kind of key, no key, a link, a readable key and one that is there already each say what is wrong."""
    key, path = Ed25519PrivateKey.generate(), tmp_path / "k"
    write_key(path, key, SECRET)
    (tmp_path / "link").symlink_to(path)
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_whole(tmp_path / "ec", other, mode=0o600)
    write_whole(tmp_path / "text", b"hello", mode=0o600)
    write_whole(tmp_path / "open", path.read_bytes(), mode=0o644)
    for name, secret, said in (
        ("k", "wrong", "the passphrase is not the one of this key"), ("ec", SECRET, "is no Ed25519 key"), ("text", SECRET, "holds no private key"),
        ("link", SECRET, "symbolic link"), ("open", SECRET, "others may read this key"), ("none", SECRET, "No such file"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said) as caught:
            read_key(tmp_path / name, lambda secret=secret: secret)
        assert len(caught.value.problems) == 1
    with pytest.raises(InputError, match="is there already"):
        write_key(path, key, SECRET)
    with pytest.raises(InputError, match="fewer than 8"):
        write_key(tmp_path / "new", key, "short")
    assert not (tmp_path / "new").exists()


# --- cards ------------------------------------------------------------------------------------------------------------


def test_cards_are_enrolled_from_files_and_folders(tmp_path):
    """Each card gives one key with its person, roles and dates, by the id of the key."""
    alice, carol = Person("alice", until=later(100)), Person("carol", "requester", "approver")
    found = load_roll([alice.enrol(tmp_path / "folder").parent, carol.enrol(tmp_path / "other")])
    assert {key: (one.person, one.roles, one.since) for key, one in found.keys.items()} == {
        alice.card.id: ("alice", {"approver"}, BEGIN), carol.card.id: ("carol", {"approver", "requester"}, BEGIN),
    }  # fmt: skip
    assert found.people("approver", later(200)) == ("carol",)


BAD_CARDS = {
    "no role": (("roles: [approver]", "roles: []"), "names no role"),
    "another role": (("roles: [approver]", "roles: [admin]"), "roles"),
    "a key twice": (("version: 1", "version: 1\nperson: bob"), "duplicate key 'person'"),
    "an unknown key": (("version: 1", "version: 1\nadmin: true"), "unknown key 'admin'"),
    "no person": (("person: alice", "person: ''"), "person"),
    "another spelling of a person": (("person: alice", "person: Alice"), "person"),
    "no key": (("BEGIN PUBLIC KEY", "BEGIN CERTIFICATE"), "is no public key"),
    "dates turned round": (("version: 1", "version: 1\nuntil: 2020-01-01"), "is not before until"),
    "no beginning": (("from: 2026-01-01\n", ""), "from"),
}


@pytest.mark.parametrize("name", BAD_CARDS)
def test_a_card_that_is_wrong_is_named(tmp_path, name):
    """What is wrong with a card is one error that names its file; no other card is enrolled beside it."""
    path = Person("alice").enrol(tmp_path)
    Person("carol").enrol(tmp_path)
    (old, new), said = BAD_CARDS[name]
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=said) as caught:
        load_roll([tmp_path])
    assert {problem.source for problem in caught.value.problems} == {str(path)}


def test_one_key_has_one_card(tmp_path):
    """The same key under two names would let one person sign as two."""
    alice = Person("alice")
    alice.enrol(tmp_path)
    Person("carol", key=alice.private).enrol(tmp_path)
    with pytest.raises(InputError, match="is the key of .* already"):
        load_roll([tmp_path])


def endorsed(folder, old, new, *, by=None, change=lambda text: text):
    """The card of `new`, said to replace `old`, with an endorsement."""
    from dataclasses import replace

    new.card = replace(new.card, replaces=old.card.id)
    path = new.enrol(folder)
    envelope = dsse.signed(dsse.Envelope(KEY, path.read_bytes()), (by or old).private)
    path.with_name(path.name + ".sig").write_bytes(dsse.written(envelope))
    path.write_text(change(path.read_text()))
    return path


def test_a_key_in_the_place_of_another_is_endorsed_by_it(tmp_path):
    """A rotated key is enrolled only with its predecessor's signature, for the same person and no more than that had."""
    old = Person("alice")
    old.enrol(tmp_path)
    path = endorsed(tmp_path, old, Person("alice", since=later(1)))
    assert len(load_roll([tmp_path]).keys) == 2
    path.with_name(path.name + ".sig").unlink()
    with pytest.raises(InputError, match="endorsement by the old key is missing"):
        load_roll([tmp_path])


BAD_ENDORSEMENTS = {
    "by another key": {"by": Person("mallory")},
    "for another person": {"new": lambda: Person("bob", since=later(1))},
    "with more roles": {"new": lambda: Person("alice", "approver", "requester", since=later(1))},
    "with roles added behind it": {"change": lambda text: text.replace("roles: [approver]", "roles: [approver, requester]")},
    "with its life drawn out": {"new": lambda: Person("alice", since=later(1), until=later(300)), "change": lambda text: text.replace("until: 2027-09-18", "until: 2099-01-01")},
    "by a key that had expired": {"new": lambda: Person("alice", since=later(500))},
    "antedated": {"change": lambda text: text.replace("from: 2026-11-23", "from: 2026-02-01")},
}


@pytest.mark.parametrize("name", BAD_ENDORSEMENTS)
def test_an_endorsement_of_something_else_is_none(tmp_path, name):
    """An endorsement by another or an expired key, or of a card that said something else, enrols nothing."""
    told = dict(BAD_ENDORSEMENTS[name])
    old = Person("alice", until=later(400))
    old.enrol(tmp_path)
    endorsed(tmp_path, old, told.pop("new", lambda: Person("alice", since=later(1)))(), **told)
    with pytest.raises(InputError, match="is no endorsement of this key"):
        load_roll([tmp_path])


def test_a_revocation_may_be_added_to_an_endorsed_card(tmp_path):
    """What takes power away needs no new endorsement: `revoked`, an earlier `until`."""
    old = Person("alice")
    old.enrol(tmp_path)
    endorsed(tmp_path, old, Person("alice", since=later(1), until=later(300)), change=lambda text: text.replace("until: 2027-09-18", "until: 2027-01-01") + "revoked: 2026-12-01\n")
    found = next(key for key in load_roll([tmp_path]).keys.values() if key.replaces)
    assert not found.valid(later(30))


# --- the register -----------------------------------------------------------------------------------------------------


def test_the_register_survives_a_torn_line(tmp_path):
    """What a crash left of a line counts for nothing and is overwritten; damage before that is an error that names the file."""
    path = tmp_path / "register.jsonl"
    Register(path).add([{"kind": "notice", "key": "a"}])
    with path.open("ab") as file:
        file.write(b'{"kind":"notice","ke')
    again = Register(path)
    assert [row["key"] for row in again.rows("notice")] == ["a"]
    again.add([{"kind": "notice", "key": "b"}])
    assert [row["key"] for row in Register(path).rows("notice")] == ["a", "b"]
    path.write_bytes(b"rubbish\n" + path.read_bytes())
    with pytest.raises(InputError, match="is damaged"):
        Register(path).rows("notice")
