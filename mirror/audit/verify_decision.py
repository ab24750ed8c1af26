"""Checks what `mirror ledger prove` wrote, with nothing but Python's standard library.

Usage: python3 -I verify_decision.py proof.json --key KEY

It recomputes the record's leaf hash, follows the path to the root (RFC 9162 section 2.1.3.2), reads the checkpoint (C2SP
signed-note and tlog-checkpoint) and verifies its Ed25519 signature (RFC 8032 section 5.1.7). KEY is the ledger's verifier
key (name+id+base64) as you know it from elsewhere; without it the key that lies in the proof is used, and you are told so.
Exit 0: it holds. 1: it does not. 2: it cannot be read.

The signature can be checked by other means as well: --signed FILE writes the signed text, the raw signature and the public
key beside each other, and prints the openssl command for them.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # read by type checkers only: the program also runs where `tuple[…]` does not (Python 3.8)
    Point = tuple[int, int, int, int]

# --- Ed25519 (RFC 8032 section 5.1), verification only: public values, so constant time is not needed ------------------
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def _recovered_x(y: int, sign: int) -> int | None:
    """The x of a point (section 5.1.3), or None."""
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    return P - x if x & 1 != sign else x


def _point(data: bytes) -> Point | None:
    number = int.from_bytes(data, "little")
    y = number & ((1 << 255) - 1)
    x = _recovered_x(y, number >> 255)
    return None if x is None else (x, y, 1, x * y % P)


def _sum(one: Point, two: Point) -> Point:
    """Extended coordinates (section 5.1.4)."""
    a = (one[1] - one[0]) * (two[1] - two[0]) % P
    b = (one[1] + one[0]) * (two[1] + two[0]) % P
    c = 2 * one[3] * two[3] * D % P
    d = 2 * one[2] * two[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def _times(factor: int, point: Point) -> Point:
    found: Point = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            found = _sum(found, point)
        point, factor = _sum(point, point), factor >> 1
    return found


_BASE_Y = 4 * pow(5, P - 2, P) % P
_BASE_X = _recovered_x(_BASE_Y, 0) or 0
BASE: Point = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % P)


def ed25519_holds(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) over `message` is of the holder of `public` (32 bytes)."""
    key, commitment = _point(public), _point(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if len(public) != 32 or len(signature) != 64 or key is None or commitment is None or scalar >= ORDER:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    left, right = _times(scalar, BASE), _sum(commitment, _times(challenge, key))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


# --- records, paths, keys and notes -----------------------------------------------------------------------------------


class Wrong(Exception):
    """What does not hold."""


#: JSON as it is written here, in the order of the names as they come, and by code points.
PLAIN = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
SORTED = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def unhexed(text: str) -> bytes:
    """What is written in hex, lower case: there is one spelling of each."""
    found = bytes.fromhex(text)
    if found.hex() != text:
        raise Wrong("is not written in hex of lower case")
    return found


def canonical(value: Any) -> str:
    """Canonical JSON (RFC 8785) of values without floats."""
    text = SORTED(value)
    if text.isascii() or len(text.encode("utf-16-le", "surrogatepass")) == 2 * len(text):
        return text
    return PLAIN(in_order(value))  # beyond the basic plane the order of code points is not that of UTF-16


def in_order(value: Any) -> Any:
    """Names sorted by UTF-16 (RFC 8785 section 3.2.3)."""
    if isinstance(value, dict):
        return {name: in_order(value[name]) for name in sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))}
    return [in_order(one) for one in value] if isinstance(value, list) else value


def read_record(record: str) -> tuple[dict[str, Any], bytes]:
    """A sealed record, and its leaf hash: SHA-256(0x00 || the record without its `leaf`), which the record names too."""
    fields = json.loads(record)
    if canonical(fields) != record:
        raise Wrong("the record is not canonical JSON (RFC 8785)")
    # In canonical JSON nothing but short texts stands behind `leaf`, so that it can be cut out as it stands there.
    before, found, after = record.rpartition(',"leaf":"' + fields["leaf"] + '"')
    leaf = hashlib.sha256(b"\x00" + (before + after).encode()).digest()
    if not found or leaf.hex() != fields["leaf"]:
        raise Wrong("the record is not the one that its leaf was made from")
    return fields, leaf


def leaf_of(record: str) -> bytes:
    """The leaf hash of a sealed record, checked."""
    return read_record(record)[1]


def root_of(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root to which `path` leads from a leaf (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size:
        raise Wrong(f"a tree of {size} records has no record {index}")
    number, last, found = index, size - 1, leaf
    for one in path:
        if last == 0:
            raise Wrong("the path is longer than the tree is high")
        if number & 1 or number == last:
            found = hashlib.sha256(b"\x01" + one + found).digest()
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            found = hashlib.sha256(b"\x01" + found + one).digest()
        number, last = number >> 1, last >> 1
    if last:
        raise Wrong("the path is shorter than the tree is high")
    return found


def key_of(text: str) -> tuple[str, bytes, bytes]:
    """Name, id and the 32 bytes of a verifier key (`name+id+base64`)."""
    name, _, rest = text.strip().partition("+")
    identity, _, encoded = rest.partition("+")
    data = base64.b64decode(encoded, validate=True)
    if len(data) != 33 or data[:1] != b"\x01" or hashlib.sha256(name.encode() + b"\n" + data).digest()[:4].hex() != identity:
        raise Wrong("the key is no verifier key (name+id+base64, Ed25519)")
    return name, bytes.fromhex(identity), data[1:]


def signature_in(note: str, name: str, identity: bytes) -> tuple[bytes, bytes]:
    """What of a note is signed, and the signature under this key."""
    text, found, rest = note.rpartition("\n\n")
    for line in rest.splitlines() if found else ():
        dash, signer, encoded = line.split(" ")
        data = base64.b64decode(encoded, validate=True)
        if dash == "\u2014" and signer == name and data[:4] == identity:
            return (text + "\n").encode(), data[4:]
    raise Wrong(f"the checkpoint is not signed by {name}+{identity.hex()}")


# --- one proof ---------------------------------------------------------------------------------------------------------

FORMAT = "entrepot-ledger-proof/1"


def check(proof: dict[str, Any], trusted: str | None) -> tuple[bytes, bytes, bytes]:
    """Everything, in order; gives what was signed, the signature and the key. Raises `Wrong`."""
    if proof["format"] != FORMAT:
        raise Wrong(f"is no proof of this format ({FORMAT})")
    leaf = leaf_of(proof["record"])
    index, size = proof["index"], proof["size"]
    if json.loads(proof["record"])["seq"] != index:
        raise Wrong("the record stands elsewhere than the proof says")
    root = root_of(leaf, index, size, [unhexed(one) for one in proof["path"]])
    name, identity, public = key_of(trusted or proof["key"])
    text, signature = signature_in(proof["checkpoint"], name, identity)
    origin, signed_size, signed_root = text.decode().split("\n")[:3]
    if int(signed_size) != size or base64.b64decode(signed_root, validate=True) != root:
        raise Wrong("the path does not lead to the root of the checkpoint")
    if origin != name or not ed25519_holds(public, text, signature):
        raise Wrong("the signature of the checkpoint does not hold")
    part = proof.get("personal")
    if part is not None:
        found = "sha256:" + hashlib.sha256(unhexed(part["salt"]) + canonical(part["part"]).encode()).hexdigest()
        if json.loads(proof["record"])["personal"] != found:
            raise Wrong("the personal part is not the one that was sealed")
    return text, signature, public


def said(proof: dict[str, Any]) -> list[str]:
    """What the record says, for people."""
    record = json.loads(proof["record"])
    decision = record.get("decision") or {}
    what = decision.get("artifact") or record.get("subject", "")
    lines = [f"record {record['seq']} of {record['at']}: {record['kind']} {what}"]
    if decision:
        rules = ", ".join(rule["id"] for rule in decision["rules"]) or "no rule"
        lines.append(f"decision {decision['id']}: {decision['effect']} by {rules}; policy {decision['policy']}")
    if proof.get("personal"):
        lines.append("asked by " + json.dumps(proof["personal"]["part"], ensure_ascii=False))
    return lines


def write_signed(path: Path, text: bytes, signature: bytes, public: bytes) -> str:
    """The signed text, the signature and the key as files, and the command that checks them."""
    sig, pem = path.with_name(path.name + ".sig"), path.with_name(path.name + ".pem")
    path.write_bytes(text)
    sig.write_bytes(signature)
    der = bytes.fromhex("302a300506032b6570032100") + public  # SubjectPublicKeyInfo of an Ed25519 key (RFC 8410)
    pem.write_text(f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(der).decode()}\n-----END PUBLIC KEY-----\n")
    return f"openssl pkeyutl -verify -pubin -inkey {pem} -rawin -in {path} -sigfile {sig}"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Check the proof of one decision.")
    parser.add_argument("proof", type=Path)
    parser.add_argument("--key", help="the ledger's verifier key, as you know it from elsewhere")
    parser.add_argument("--signed", type=Path, metavar="FILE", help="write what is signed, for openssl")
    given = parser.parse_args()
    try:
        proof = json.loads(given.proof.read_text(encoding="utf-8"))
        text, signature, public = check(proof, given.key)
    except Wrong as error:
        print(f"does not hold: {error}", file=sys.stderr)
        return 1
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        print(f"cannot be read: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print(*said(proof), sep="\n")
    print(f"is record {proof['index']} of the {proof['size']} that were signed for by {given.key or proof['key']}")
    if given.key is None:
        print("the key is the one that lies in the proof: compare it with the one that you know, or give it by --key")
    if given.signed is not None:
        print(write_signed(given.signed, text, signature, public))
    return 0


if __name__ == "__main__":
    sys.exit(main())
