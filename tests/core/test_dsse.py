"""Signed envelopes: one spelling, exact bytes."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mirror.core import dsse
from mirror.core.errors import InputError

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNED = dsse.signed(dsse.Envelope("application/x", b'{"a":1}'), KEY)


def test_what_is_signed_is_the_specifications_own_example():
    """The pre-authentication encoding is that of DSSE's protocol.md, type and payload with their lengths in bytes."""
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert dsse.pae("é", "é".encode()) == "DSSEv1 2 é 2 é".encode()


def test_an_envelope_comes_back_and_its_signature_holds():
    """What was written is read as the same envelope, and only its own key verifies it, only as its own kind."""
    found = dsse.read(dsse.written(SIGNED), "x")
    assert found == SIGNED
    assert dsse.verifies(found, found.signatures[0], KEY.public_key())
    assert not dsse.verifies(found, found.signatures[0], Ed25519PrivateKey.generate().public_key())
    assert not dsse.verifies(dsse.Envelope("application/y", found.payload), found.signatures[0], KEY.public_key())


def respelt(change) -> bytes:
    raw = json.loads(dsse.written(SIGNED))
    return change(raw)


def compact(raw) -> bytes:
    return json.dumps(raw, separators=(",", ":"), sort_keys=True).encode() + b"\n"


OTHER_SPELLINGS = {
    "white space": lambda raw: json.dumps(raw, sort_keys=True).encode() + b"\n",
    "key order": lambda raw: json.dumps(dict(reversed(raw.items())), separators=(",", ":")).encode() + b"\n",
    "no newline": lambda raw: compact(raw)[:-1],
    "something behind": lambda raw: compact(raw) + b"\n",
    "an escape": lambda raw: compact(raw).replace(b"payloadType", b"payload\\u0054ype"),
    "a key twice": lambda raw: compact(raw).replace(b'{"payload"', b'{"payload":"e30=","payload"'),
    "a key more": lambda raw: compact(raw | {"zeal": 1}),
    "unpadded": lambda raw: compact(raw | {"payload": raw["payload"].rstrip("=")}),
    "spare bits": lambda raw: compact(raw | {"payload": raw["payload"][:-2] + chr(ord(raw["payload"][-2]) + 1) + "="}),
    "url-safe": lambda raw: compact(raw | {"payload": base64.urlsafe_b64encode(b"\xff\xfe\xfd").decode()}),
    "byte order mark": lambda raw: b"\xef\xbb\xbf" + compact(raw),
    "not JSON": lambda raw: b"hello",
    "a list": lambda raw: b"[]\n",
    "numbers": lambda raw: compact(raw | {"payload": 1}),
    "deep": lambda raw: b"[" * 100_000,
}


@pytest.mark.parametrize("name", OTHER_SPELLINGS)
def test_any_other_spelling_is_refused(name):
    """The same envelope spelt otherwise, and what is no envelope, are one clear error that names the file."""
    data = respelt(OTHER_SPELLINGS[name])
    assert data != dsse.written(SIGNED)
    with pytest.raises(InputError) as caught:
        dsse.read(data, "thing.json")
    assert [problem.source for problem in caught.value.problems] == ["thing.json"]


def test_a_file_beyond_all_measure_is_not_read():
    """Size and number of signatures are bounded before any of them is verified."""
    with pytest.raises(InputError, match="larger than"):
        dsse.read(b" " * (dsse.LARGEST + 1), "x")
    many = dsse.Envelope("k", b"", SIGNED.signatures * 17)
    with pytest.raises(InputError, match="more than 16"):
        dsse.read(dsse.written(many), "x")


def test_a_keys_id_is_that_of_its_public_half():
    """The id is the SHA-256 of the SubjectPublicKeyInfo of RFC 8410: what openssl gives for the same key."""
    raw = KEY.public_key().public_bytes_raw()
    assert dsse.key_id(KEY.public_key()) == hashlib.sha256(bytes.fromhex("302a300506032b6570032100") + raw).hexdigest()
