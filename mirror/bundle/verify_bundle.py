"""Checks a bundle of `mirror bundle export`, with nothing but Python's standard library (3.8 or newer).

Usage: python3 -I verify_bundle.py BUNDLE --key KEY [--key KEY]

BUNDLE is the folder, the tar file, or any one volume (NAME.001) of a set whose volumes lie beside each other. KEY is the
sender's public key as you know it from elsewhere: a PEM file, a card, or a ledger's verifier key (name+id+base64).
`--fingerprint` prints the fingerprint of each KEY, to be compared by telephone, and needs no BUNDLE.

Checked are, in this order: that the bundle has the files of an OCI image layout and no other, none of them a link or a device;
the signature of the statement (DSSE, Ed25519: RFC 8032) under a KEY that is not revoked; that what was signed for are these
manifests, and that they name what is there; and then the SHA-256 of every file. Nothing is unpacked, nothing is written.

The folder of `mirror bundle bootstrap` is checked as well: the signature under SHA256SUMS, and every file that it names.

The first fault is a line on standard error. Exit 0: it holds. 1: it does not. 2: it cannot be read.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os  # noqa: F401 - what is shared has use for it
import re
import stat  # noqa: F401 - likewise
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO  # noqa: F401 - likewise

if TYPE_CHECKING:
    from collections.abc import Iterator  # noqa: F401 - likewise

# [what is shared with other programs; it stands here in full in the copy that is carried]
from mirror.audit.verify_decision import ed25519_holds
from mirror.bundle.verify_files import Archive, Folder, Wrong, read_in_pieces

# [end of what is shared]

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://entrepot.example/attestation/bundle/v1"
PREDICATE = sorted(
    "catalogue checkpoint contents created lists name number policy previous purpose requires sender since withdrawn".split()
)
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
HEAD, PARTS = "application/vnd.entrepot.bundle.v1", "application/vnd.entrepot.bundle.parts.v1"
ENVELOPE = "application/vnd.dsse.envelope.v1+json"
EMPTY = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
TITLE, CREATED = "org.opencontainers.image.title", "org.opencontainers.image.created"
KIND = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
UNSAFE = re.compile('[\x00-\x1f\x7f-\x9f\\\\:*?"<>|\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]|[. ]\\Z')
#: SubjectPublicKeyInfo of an Ed25519 key (RFC 8410), without its 32 bytes.
DER = bytes.fromhex("302a300506032b6570032100")
MOST = 4 * 1024 * 1024
#: What a broken file may raise.
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)


# --- what is signed ---------------------------------------------------------------------------------------------------


def canonical(value: Any) -> bytes:
    """Canonical JSON (RFC 8785) of what holds no floats."""
    return json.dumps(sort(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sort(value: Any) -> Any:
    """`value` with every mapping in the order of UTF-16 code units."""
    if isinstance(value, dict):
        return {
            key: sort(value[key]) for key in sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
        }
    if isinstance(value, float):
        raise TypeError("no floats in what is signed")
    return [sort(one) for one in value] if isinstance(value, list) else value


def keys_of(given: list[str]) -> tuple[dict[str, bytes], set[str]]:
    """The keys that are given, by their ids, and the ids of those that their cards call revoked. Raises `Wrong`."""
    keys: dict[str, bytes] = {}
    revoked: set[str] = set()
    for text in given:
        data = Path(text).read_text(encoding="utf-8") if Path(text).is_file() else text
        pem = re.search(r"-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----", data)
        try:
            der = (
                base64.b64decode("".join(pem.group(1).split()), validate=True)
                if pem
                else DER + base64.b64decode(data.strip().split("+", 2)[2])[1:]
            )
        except (ValueError, IndexError):
            der = b""
        if len(der) != 44 or der[:12] != DER:
            raise Wrong(f"{text[:60]!a} is no public key (Ed25519: PEM, card or name+id+base64)")
        identity = hashlib.sha256(der).hexdigest()
        keys[identity] = der[12:]
        if re.search(r"^revoked:[^\S\n]*[^\s#]", data, re.MULTILINE):
            revoked.add(identity)
    return keys, revoked


def fingerprint(identity: str) -> str:
    """A key's id in eight groups of five digits."""
    digits = f"{int(identity, 16) % 10**40:040d}"
    return " ".join(digits[at : at + 5] for at in range(0, 40, 5))


def statement_of(data: bytes, keys: dict[str, bytes], revoked: set[str]) -> tuple[dict[str, Any], list[str]]:
    """What an envelope says, once one of `keys` has signed it, and the ids of these. Raises `Wrong`."""
    try:
        raw = json.loads(data)
        payload = base64.b64decode(raw["payload"], validate=True)
        rows = [(row["keyid"], base64.b64decode(row["sig"], validate=True)) for row in raw["signatures"]]
        shown = [{"keyid": key, "sig": base64.b64encode(signature).decode()} for key, signature in rows]
        again = {"payload": base64.b64encode(payload).decode(), "payloadType": raw["payloadType"], "signatures": shown}
        if canonical(again) + b"\n" != data or len(rows) > 16:
            raise Wrong("statement: is not an envelope as they are written")
    except UNREADABLE:
        raise Wrong("statement: is no signed envelope (DSSE)") from None
    if raw["payloadType"] != PAYLOAD_TYPE:
        raise Wrong(f"statement: is signed as something else ({raw['payloadType']!a})")
    message = b"DSSEv1 %d %b %d %b" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    if len({key for key, _ in rows}) != len(rows):
        raise Wrong("statement: is signed twice by the same key")
    for key, signature in rows:
        if key in revoked:
            raise Wrong(f"statement: is signed with a revoked key ({key[:16]!a})")
        if key in keys and not ed25519_holds(keys[key], message, signature):
            raise Wrong("statement: has a signature that does not hold")
    by = [key for key, _ in rows if key in keys]
    if not by:
        raise Wrong("statement: is not signed by the key that was given")
    try:
        found: dict[str, Any] = json.loads(payload)
        if canonical(found) != payload or (found["_type"], found["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
            raise Wrong("statement: says something else than a bundle's does")
        if (sorted(found), sorted(found["predicate"])) != (
            ["_type", "predicate", "predicateType", "subject"],
            PREDICATE,
        ):
            raise Wrong("statement: has other fields than a bundle's has")
    except UNREADABLE:
        raise Wrong("statement: cannot be read") from None
    return found, by


# --- the whole --------------------------------------------------------------------------------------------------------


class Bundle:
    """A bundle whose documents fit together; the parts are not read yet."""

    def __init__(self, path: Path) -> None:
        self.files: Folder | Archive = Folder(path) if path.is_dir() else Archive(path)
        self.parts: dict[str, tuple[int, str]] = {}
        self.manifests: set[tuple[str, int]] = set()
        self._known = {"oci-layout", "index.json", "blobs/sha256/" + EMPTY}
        self._titles: set[str] = set()
        self.envelope, self.created, self.digest = b"", "", ""
        if json.loads(self._all("oci-layout", MOST))["imageLayoutVersion"] != "1.0.0":
            raise Wrong("oci-layout: is of another version")
        (row,) = json.loads(self._all("index.json", MOST))["manifests"]
        if row["mediaType"] != INDEX:
            raise Wrong("index.json: names no image index")
        rows = json.loads(self._document(row, MOST))["manifests"]
        if sum(one["size"] for one in rows) > 64 * MOST:
            raise Wrong("image index: names manifests of more than 256 MiB together")
        for one in rows:
            self._manifest(one, self._document(one, MOST))
        if not self.envelope or self.files.label not in ("", self.digest[:32]):
            raise Wrong("image index: names no statement, or the volumes are of another bundle")
        if self._all("blobs/sha256/" + EMPTY, MOST) != b"{}":
            raise Wrong("the empty configuration is not empty")
        for name in sorted(set(self.files.sizes) - self._known - {"blobs/sha256/" + one for one in self.parts}):
            raise Wrong(f"{name}: is named by no manifest: nobody has signed for it")
        for digest, (size, title) in self.parts.items():
            if self.files.sizes.get("blobs/sha256/" + digest) != size:
                raise Wrong(f"{title!a} (blobs/sha256/{digest}): is missing, or has not {size} bytes")

    def _manifest(self, row: dict[str, Any], data: bytes) -> None:
        raw = json.loads(data)
        kind, layers = raw["artifactType"], raw["layers"]
        again: dict[str, Any] = {
            "artifactType": kind, "config": {"digest": "sha256:" + EMPTY, "mediaType": "application/vnd.oci.empty.v1+json", "size": 2},
            "layers": [layer_of(one) for one in layers], "mediaType": MANIFEST, "schemaVersion": 2,
        }  # fmt: skip
        if kind == HEAD:
            again["annotations"] = {CREATED: raw["annotations"][CREATED]}
        if (
            canonical(again) != data
            or row["mediaType"] != MANIFEST
            or kind not in (HEAD, PARTS)
            or not 1 <= len(layers) <= 1000
        ):
            raise Wrong(f"manifest {row['digest']}: is not written as those of bundles are")
        if kind == HEAD:
            (layer,) = layers
            if self.envelope or layer["mediaType"] != ENVELOPE:
                raise Wrong("image index: names more than one statement, or none")
            self.envelope, self.created = self._document(layer, 4 * MOST), raw["annotations"][CREATED]
            self.digest = row["digest"][7:]
            return
        self.manifests.add((row["digest"][7:], row["size"]))
        for layer in layers:
            digest, title = digest_in(layer), layer["annotations"][TITLE]
            if (
                digest in self.parts
                or title.casefold() in self._titles
                or "blobs/sha256/" + digest in self._known - {"blobs/sha256/" + EMPTY}
            ):
                raise Wrong(f"{title!a}: is named twice")
            self.parts[digest] = (layer["size"], title)
            self._titles.add(title.casefold())

    def _document(self, row: dict[str, Any], most: int) -> bytes:
        digest = digest_in(row)
        data = self._all("blobs/sha256/" + digest, most)
        if len(data) != row["size"] or hashlib.sha256(data).hexdigest() != digest:
            raise Wrong(f"blobs/sha256/{digest}: is damaged")
        self._known.add("blobs/sha256/" + digest)
        return data

    def _all(self, name: str, most: int) -> bytes:
        if self.files.sizes.get(name, most + 1) > most:
            raise Wrong(f"{name}: is missing, or larger than {most} bytes")
        return b"".join(self.files.chunks(name))

    def demand(self, statement: dict[str, Any]) -> None:
        """That the statement is about this bundle. Raises `Wrong`."""
        signed = {(one["digest"]["sha256"], one["annotations"]["size"]) for one in statement["subject"]}
        contents = statement["predicate"]["contents"]
        known = (contents["annotations"]["size"], contents["name"])
        if signed != self.manifests or self.parts.get(contents["digest"]["sha256"]) != known:
            raise Wrong("statement: is about other content than this bundle has")
        if statement["predicate"]["created"] != self.created:
            raise Wrong("head manifest: says another time than the statement")

    def read(self) -> int:
        """Read every part; gives how many bytes they have. Raises `Wrong`."""
        for digest, (size, title) in self.parts.items():
            found, count = hashlib.sha256(), 0
            for piece in self.files.chunks("blobs/sha256/" + digest):
                found.update(piece)
                count += len(piece)
            if count != size or found.hexdigest() != digest:
                raise Wrong(f"{title!a} (blobs/sha256/{digest}): is damaged")
        return sum(size for size, _ in self.parts.values())


def layer_of(row: dict[str, Any]) -> dict[str, Any]:
    """A layer as it is written. Raises `Wrong` for a title that is no plain relative path, and for a size or type that is none."""
    title, size, kind = row["annotations"][TITLE], row["size"], row["mediaType"]
    if type(size) is not int or not 0 <= size < 2**53 or not KIND.fullmatch(kind):
        raise Wrong("a layer has no size, or no media type")
    if any(not segment or UNSAFE.search(segment) for segment in title.split("/")):
        raise Wrong(f"{title!a}: is no plain relative path")
    return {"annotations": {TITLE: title}, "digest": "sha256:" + digest_in(row), "mediaType": kind, "size": size}


def digest_in(row: dict[str, Any]) -> str:
    """The hex of a descriptor's SHA-256. Raises `Wrong`."""
    match = re.fullmatch(r"sha256:([0-9a-f]{64})", row["digest"])
    if match is None:
        raise Wrong("a digest is no SHA-256")
    return match.group(1)


def check_bootstrap(folder: Path, keys: dict[str, bytes], revoked: set[str]) -> list[str]:
    """The folder of `mirror bundle bootstrap`: every file is the one that was signed for, and there is no other. Raises `Wrong`."""
    text = (folder / "SHA256SUMS").read_bytes()
    by = [
        key
        for key in sorted(keys)
        if key not in revoked and ed25519_holds(keys[key], text, (folder / "SHA256SUMS.sig").read_bytes())
    ]
    if not by or not text.startswith(b"# entrepot bootstrap 1\n"):
        raise Wrong("SHA256SUMS: is not signed by the key that was given")
    named = {line[66:]: line[:64] for line in text.decode().splitlines()[1:]}
    there = {one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_symlink() or not one.is_dir()}
    for name in sorted(there ^ {*named, "SHA256SUMS", "SHA256SUMS.sig"}):
        raise Wrong(f"{name!a}: {'is missing' if name in named else 'is not named in SHA256SUMS'}")
    for name, digest in sorted(named.items()):
        found = hashlib.sha256()
        if (folder / name).is_symlink() or not (folder / name).is_file():
            raise Wrong(f"{name!a}: is not a plain file")
        with (folder / name).open("rb") as file:
            for piece in read_in_pieces(file, 1 << 62):
                found.update(piece)
        if found.hexdigest() != digest:
            raise Wrong(f"{name!a}: is damaged")
    return [
        f"holds: {len(named)} files to install from",
        *(f"signed by {key[:16]}, fingerprint {fingerprint(key)}" for key in by),
    ]


def check(path: Path, keys: dict[str, bytes], revoked: set[str]) -> list[str]:
    """Everything, in order; gives what to say of it. Raises `Wrong`."""
    if (path / "SHA256SUMS").is_file():
        return check_bootstrap(path, keys, revoked)
    try:
        bundle = Bundle(path)
        statement, by = statement_of(bundle.envelope, keys, revoked)
        bundle.demand(statement)
        one = statement["predicate"]
        lines = [
            f"holds: {one['purpose']} {one['name']} number {one['number']}, made {one['created']} by {one['sender']!a}"
        ]
        lines += [f"withdraws {row['artifact']!a}: {row['reason']!a}" for row in one["withdrawn"]]
    except UNREADABLE as error:
        raise Wrong(f"its documents are not those of a bundle ({type(error).__name__}: {str(error)[:100]!a})") from None
    stated = hashlib.sha256(base64.b64decode(json.loads(bundle.envelope)["payload"])).hexdigest()
    digits = f"{int(stated, 16) % 10**20:020d}"
    spoken = " ".join(digits[at : at + 5] for at in range(0, 20, 5))
    lines.insert(1, f"statement sha256:{stated}, by telephone {spoken}; bundle sha256:{bundle.digest}")
    lines.insert(1, f"{len(bundle.parts)} parts, {bundle.read()} bytes")
    return lines + [f"signed by {key[:16]}, fingerprint {fingerprint(key)}" for key in by]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Check a bundle.")
    parser.add_argument("bundle", nargs="?", type=Path)
    parser.add_argument(
        "--key", action="append", required=True, help="the sender's public key, as you know it from elsewhere"
    )
    parser.add_argument("--fingerprint", action="store_true", help="print the fingerprint of each KEY")
    given = parser.parse_args()
    try:
        keys, revoked = keys_of(given.key)
    except (Wrong, OSError, ValueError) as error:
        print(f"--key: {error}", file=sys.stderr)
        return 2
    if given.fingerprint:
        print("\n".join(fingerprint(key) for key in keys))
    if given.bundle is None:
        return 0 if given.fingerprint else 2
    try:
        print("\n".join(check(given.bundle, keys, revoked)))
    except Wrong as error:
        print(f"does not hold: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"cannot be read: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
