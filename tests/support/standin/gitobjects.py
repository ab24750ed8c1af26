"""Git's own object ids and packs, so that blob, tree and commit names are what a real hub would give."""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PACK_TYPES: Final = {"commit": 1, "tree": 2, "blob": 3}


def git_oid(kind: str, data: bytes) -> str:
    """The SHA-1 of `<kind> <length>NUL<data>`, 40 hex digits."""
    return hashlib.sha1(b"%s %d\0" % (kind.encode(), len(data)) + data, usedforsecurity=False).hexdigest()


def lfs_pointer(sha256: str, size: int) -> bytes:
    """The pointer that git holds in place of a large file (git-lfs specification, version 1)."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def tree_objects(blobs: Mapping[str, str]) -> tuple[str, dict[str, bytes], dict[str, str]]:
    """Trees for a flat mapping of paths to blob ids: the root's id, all tree bodies by id, and folder ids by path."""
    bodies: dict[str, bytes] = {}
    folders: dict[str, str] = {}

    def build(prefix: str, entries: dict[str, str]) -> str:
        rows: list[tuple[bytes, bytes, str]] = []
        inner: dict[str, dict[str, str]] = {}
        for path, oid in entries.items():
            first, slash, rest = path.partition("/")
            if slash:
                inner.setdefault(first, {})[rest] = oid
            else:
                rows.append((first.encode(), b"100644", oid))
        for name, below in inner.items():
            path = f"{prefix}{name}"
            folders[path] = build(f"{path}/", below)
            rows.append((name.encode(), b"40000", folders[path]))
        rows.sort(key=lambda row: row[0] + (b"/" if row[1] == b"40000" else b""))
        body = b"".join(mode + b" " + name + b"\0" + bytes.fromhex(oid) for name, mode, oid in rows)
        root = git_oid("tree", body)
        bodies[root] = body
        return root

    return build("", dict(blobs)), bodies, folders


def commit_body(tree: str, parent: str | None, title: str, seconds: int) -> bytes:
    """A commit object by an invented author at a time in Unix seconds."""
    who = f"Acme Bot <bot@acme.example> {seconds} +0000"
    lines = [f"tree {tree}", *([f"parent {parent}"] if parent else []), f"author {who}", f"committer {who}", "", title]
    return ("\n".join(lines) + "\n").encode()


def pack(objects: Iterable[tuple[str, bytes]]) -> bytes:
    """A pack (version 2, no deltas) of (type, body) pairs."""
    rows = list(objects)
    out = bytearray(b"PACK" + struct.pack(">II", 2, len(rows)))
    for kind, body in rows:
        size = len(body)
        byte = (_PACK_TYPES[kind] << 4) | (size & 0x0F)
        size >>= 4
        while size:
            out.append(byte | 0x80)
            byte, size = size & 0x7F, size >> 7
        out.append(byte)
        out += zlib.compress(body, 1)
    return bytes(out) + hashlib.sha1(out, usedforsecurity=False).digest()


def pkt(line: bytes) -> bytes:
    """One pkt-line: four hex digits of length, then the data."""
    return b"%04x" % (len(line) + 4) + line


def pkt_lines(data: bytes) -> list[bytes]:
    """The data of all pkt-lines in a request; flush packets are left out."""
    lines, at = [], 0
    while at + 4 <= len(data):
        length = int(data[at : at + 4], 16)
        if length > 4:  # 0000 to 0004 carry no data
            lines.append(data[at + 4 : at + length])
        at += max(length, 4)
    return lines
