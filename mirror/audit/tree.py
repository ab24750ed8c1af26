"""The Merkle tree over a ledger's leaves: roots, proofs, and their verification (RFC 6962 section 2.1, RFC 9162 section 2.1). Pure.

A leaf is hashed as SHA-256(0x00 || data) before it comes here (`record.leaf_hash`); a node is SHA-256(0x01 || left || right).
Hashes are 32 bytes. Of a tree nothing but its complete subtrees is ever asked for: `Node` gives the hash of the subtree of
2**level leaves that is number `index` of its level, and never changes once it was complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Final

Node = Callable[[int, int], bytes]

#: Bytes of a hash, and the root of a tree without leaves (RFC 9162 section 2.1.1).
WIDTH: Final = 32
EMPTY: Final = sha256(b"").digest()
#: Levels of a tile, and leaves of it: what is kept of a tree is each 8th level.
HEIGHT: Final = 8
TILE: Final = 1 << HEIGHT


def joined(left: bytes, right: bytes) -> bytes:
    """The hash of a node."""
    return sha256(b"\x01" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over 2**n hashes of one level."""
    row = hashes
    while len(row) > 1:
        each = iter(row)
        row = [sha256(b"\x01" + left + right).digest() for left, right in zip(each, each, strict=True)]
    return row[0]


def complete(leaves: Sequence[bytes]) -> Node:
    """The nodes of a tree that is held in memory."""
    rows = [list(leaves)]
    while len(rows[-1]) > 1:
        below = rows[-1]
        rows.append([joined(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)])
    return lambda level, index: rows[level][index]


def root(node: Node, size: int) -> bytes:
    """The root of the first `size` leaves."""
    return _subroot(node, 0, size) if size else EMPTY


def inclusion(node: Node, index: int, size: int) -> list[bytes]:
    """The path from leaf `index` to the root of `size` leaves, from below (RFC 9162 section 2.1.3.1)."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    path: list[bytes] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            path.append(_subroot(node, middle, stop))
            stop = middle
        else:
            path.append(_subroot(node, start, middle))
            start = middle
    return path[::-1]


def consistency(node: Node, first: int, second: int) -> list[bytes]:
    """Proof that the tree of `first` leaves is the beginning of that of `second` (RFC 9162 section 2.1.4.1)."""
    if not 0 < first <= second:
        raise ValueError(f"no proof leads from {first} leaves to {second}")
    path: list[bytes] = []
    start, stop, whole = 0, second, True
    while first != stop:
        middle = start + _split(stop - start)
        if first <= middle:
            path.append(_subroot(node, middle, stop))
            stop = middle
        else:
            path.append(_subroot(node, start, middle))
            start, whole = middle, False
    if not whole:
        path.append(_subroot(node, start, stop))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], expected: bytes) -> bool:
    """Whether `path` leads from `leaf` to the root `expected` (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    number, last, found = index, size - 1, leaf
    for one in path:
        if last == 0:
            return False
        if number & 1 or number == last:
            found = joined(one, found)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            found = joined(found, one)
        number, last = number >> 1, last >> 1
    return last == 0 and found == expected


def verify_consistency(first: int, second: int, path: Sequence[bytes], first_root: bytes, second_root: bytes) -> bool:
    """Whether `path` shows that the one tree is the beginning of the other (RFC 9162 section 2.1.4.2)."""
    if not 0 < first <= second:
        return False
    if first == second:
        return not path and first_root == second_root
    hashes = list(path) if first & (first - 1) else [first_root, *path]
    if not hashes:
        return False
    number, last = first - 1, second - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    old = new = hashes[0]
    for one in hashes[1:]:
        if last == 0:
            return False
        if number & 1 or number == last:
            old, new = joined(one, old), joined(one, new)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            new = joined(new, one)
        number, last = number >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root


class Frontier:
    """The right edge of a growing tree: at most 255 hashes of each 8th level, whatever its size."""

    def __init__(self) -> None:
        self.size = 0
        self._rows: list[list[bytes]] = [[]]

    @classmethod
    def at(cls, node: Node, size: int) -> Frontier:
        """The edge of the tree of `size` leaves."""
        made = cls()
        made.size = size
        made._rows = []
        level = 0
        while True:
            count = size >> (HEIGHT * level)
            made._rows.append([node(HEIGHT * level, at) for at in range(count - count % TILE, count)])
            if count < TILE:
                return made
            level += 1

    def extend(self, leaves: Iterable[bytes]) -> list[list[bytes]]:
        """Add leaves. Gives what is new and complete on each 8th level: first the leaves, then the roots of tiles."""
        fresh = [list(leaves)]
        self.size += len(fresh[0])
        for level, row in enumerate(self._rows):
            row.extend(fresh[level])
            whole = len(row) - len(row) % TILE
            if not whole:
                break
            fresh.append([fold(row[at : at + TILE]) for at in range(0, whole, TILE)])
            del row[:whole]
            if level + 1 == len(self._rows):
                self._rows.append([])  # the loop goes on with it
        return fresh

    def root(self) -> bytes:
        """The root of everything that was added."""
        found: bytes | None = None
        for row in self._rows:
            end = len(row)
            while end:
                width = end & -end
                peak = fold(row[end - width : end])
                found = peak if found is None else joined(peak, found)
                end -= width
        return EMPTY if found is None else found


def _split(count: int) -> int:
    """The largest power of two below `count`, which is at least 2."""
    return 1 << ((count - 1).bit_length() - 1)


def _subroot(node: Node, start: int, stop: int) -> bytes:
    """The root of the leaves from `start` to before `stop`, which lie as the recursion of RFC 9162 2.1.1 lays them."""
    found: bytes | None = None
    end = stop
    while end > start:
        level = ((end - start) & -(end - start)).bit_length() - 1
        peak = node(level, (end >> level) - 1)
        found = peak if found is None else joined(peak, found)
        end -= 1 << level
    return EMPTY if found is None else found
