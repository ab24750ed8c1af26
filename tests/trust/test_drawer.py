"""Statements as files: whatever lies there, reading ends in a statement or in problems with their file."""

from __future__ import annotations

import base64
import json
import subprocess
from shutil import which

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.core import dsse
from mirror.core.canonical import canonical
from mirror.core.errors import InputError
from mirror.policy import statements
from mirror.trust.drawer import KINDS, Drawer, found_in
from mirror.trust.standing import assess
from tests.support.signers import NOW, Person, ask, deny, grant, roll, signed, waiver

ALICE = Person("alice")
GOOD = json.loads(statements.drafted(statements.GRANT, waiver("no-acme", request="0" * 64)).payload)

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20) | st.sampled_from(["9999-12-31T23:59:59-14:00", "0001-01-01", "2027-01-01"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(KINDS)), st.dictionaries(st.sampled_from([*GOOD, "artifacts", "deny", "legal"]), plain, max_size=4))
def test_any_payload_is_a_statement_or_an_error(tmp_path_factory, word, changes):
    """A well-signed payload of any shape and values either is weighed or is one `InputError`; nothing else comes of it."""
    raw = {key: value for key, value in (GOOD | changes).items() if key in GOOD or key in changes}
    raw["id"] = raw["id"] if word in ("request", "waiver", "rejection") or "id" in changes else "D-" + str(GOOD["id"])[2:]
    try:
        payload = canonical(raw)
    except (ValueError, UnicodeEncodeError):
        return
    envelope = signed(dsse.Envelope(KINDS[word], payload), ALICE)
    try:
        found = found_in(dsse.written(envelope), f"{raw['id']}.{word}.json", "it")
    except InputError:
        return
    assess([found], roll(ALICE), NOW, accepted=(), requests_signed=False)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_statement_or_an_error(data):
    """Whatever bytes lie in a statement's file, they are refused as `InputError` with that file's name."""
    with pytest.raises(InputError) as caught:
        found_in(data, "W-01J8ZQ4Y3S5T6V7W8X9YABCDEF.waiver.json", "it")
    assert {problem.source for problem in caught.value.problems} == {"it"}


def test_two_approvers_who_sign_at_once_both_count_or_one_is_told(tmp_path):
    """Who adds a signature to a statement that was changed meanwhile is told so; nobody's signature is lost."""
    stated = waiver("no-acme")
    drawer = Drawer(tmp_path)
    first = grant(stated, ask(tmp_path, stated), ALICE)
    drawer.put(stated.id, "waiver", first)
    before = drawer.get(stated.id, "waiver")
    drawer.sign(before, signed(first, Person("carol")))
    with pytest.raises(InputError, match="was changed meanwhile"):
        drawer.sign(before, signed(first, Person("dave")))
    assert len(drawer.get(stated.id, "waiver").envelope.signatures) == 2


def test_statements_can_be_verified_elsewhere(tmp_path):
    """A copy of the files and the enrolled keys are all that it takes to see what was approved by whom."""
    stated = waiver("no-acme")
    Drawer(tmp_path).put(stated.id, "waiver", grant(stated, ask(tmp_path, stated), ALICE))
    deny(tmp_path, "globex/*", ALICE)
    found, problems = Drawer(tmp_path).all()
    weighed = assess(found, roll(ALICE), NOW, accepted=(), requests_signed=False)
    assert (problems, weighed.problems) == ([], [])
    assert [(one.waiver, one.approved_by) for one in weighed.standing.granted][0][1] == ("alice",)
    assert [one.artifacts for one in weighed.standing.denies] == [("globex/*",)]


def test_openssl_verifies_a_statement(tmp_path):
    """What docs/approvals.md tells a reviewer to do without us holds: openssl verifies the signature over DSSE's encoding."""
    if which("openssl") is None:
        pytest.skip("no openssl here")
    raw = json.loads(dsse.written(signed(statements.drafted(statements.GRANT, waiver("no-acme", request="0" * 64)), ALICE)))
    payload, kind = base64.b64decode(raw["payload"]), raw["payloadType"].encode()
    (tmp_path / "signed").write_bytes(b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload))
    (tmp_path / "sig").write_bytes(base64.b64decode(raw["signatures"][0]["sig"]))
    (tmp_path / "alice.pem").write_bytes(ALICE.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    words = "openssl pkeyutl -verify -pubin -inkey alice.pem -rawin -in signed -sigfile sig".split()
    assert subprocess.run(words, cwd=tmp_path, check=False, capture_output=True).returncode == 0
    (tmp_path / "signed").write_bytes((tmp_path / "signed").read_bytes() + b" ")
    assert subprocess.run(words, cwd=tmp_path, check=False, capture_output=True).returncode != 0


def test_a_statement_is_never_written_over(tmp_path):
    """A second statement of the same id and kind is refused."""
    stated = waiver("no-acme")
    request = ask(tmp_path, stated)
    with pytest.raises(InputError, match="is there already"):
        Drawer(tmp_path).put(stated.id, "request", request)


def test_a_statement_under_another_name_is_told_of(tmp_path):
    """A deny whose file was renamed is no statement, and not passed over without a word."""
    (tmp_path / "denies").mkdir()
    (tmp_path / "denies" / "acme.deny.json").write_text("{}")
    found, problems = Drawer(tmp_path).all()
    assert found == []
    assert [str(problem) for problem in problems] == [f"{tmp_path}/denies/acme.deny.json: has not the name of a statement"]
