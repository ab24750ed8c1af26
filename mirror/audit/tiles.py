"""The tree as it lies on disk: `tree-<n>` holds the hash of each complete subtree of 256**n leaves, 32 bytes each, in order.

Nothing in them is anything but a function of the segments: they are written after a group commit without being waited for,
made durable when a segment ends, and made again from the segments where they are missing or short. So a start reads the
last segment, and a proof a few hundred hashes, however long the ledger is.
"""

from __future__ import annotations

import os
import re
import threading
from binascii import unhexlify
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from mirror.audit.chain import read_link
from mirror.audit.segments import lines, segments
from mirror.audit.tree import HEIGHT, WIDTH, Frontier, complete, fold, root

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mirror.audit.segments import Segment
    from mirror.audit.tree import Node

_NAME: Final = re.compile(r"tree-([0-7])\Z")
#: Leaves handed on at a time while a tree is made again.
PAGE: Final = 4096


def row_path(directory: Path, level: int) -> Path:
    """Where the hashes of the subtrees of 256**level leaves are."""
    return directory / f"tree-{level}"


def rows(directory: Path) -> list[int]:
    """The levels of which there are files."""
    return sorted(int(found[1]) for path in directory.iterdir() if (found := _NAME.match(path.name))) if directory.is_dir() else []


class Short(Exception):
    """A file of the tree does not reach as far as was asked."""


class StoredNodes:
    """The nodes of a tree on disk, as a `Node`. Reads only; raises `Short`. Closed when it is let go of."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptors: dict[int, int] = {}

    def __call__(self, level: int, index: int) -> bytes:
        """The hash of one complete subtree."""
        row, height = divmod(level, HEIGHT)
        length = WIDTH << height
        if row not in self._descriptors:
            try:
                self._descriptors[row] = os.open(row_path(self._directory, row), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise Short(f"tree-{row} is missing") from None
        data = os.pread(self._descriptors[row], length, index * length)
        if len(data) < length:
            raise Short(f"tree-{row} ends before subtree {(index + 1 << height) - 1}")
        return fold([data[at : at + WIDTH] for at in range(0, length, WIDTH)])

    def close(self) -> None:
        """Release the files."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def __del__(self) -> None:
        self.close()


def nodes(directory: Path, size: int, expected: bytes) -> Node:
    """The nodes of the first `size` leaves: from the tree's files, or where those are short or wrong from the segments.

    `expected` is the root that they must have if they are right. Reads only, and keeps them in memory only in the latter case.
    """
    stored = StoredNodes(directory)
    try:
        if root(stored, size) == expected:
            return stored
    except Short:
        pass
    stored.close()
    return rebuilt(directory, size)


def rebuilt(directory: Path, size: int) -> Node:
    """The nodes of the first `size` leaves by the segments alone; held in memory."""
    return complete([leaf for page in _leaves(segments(directory), size) for leaf in page])


def _leaves(known: Sequence[Segment], size: int | None = None) -> Iterator[list[bytes]]:
    """The leaves of these segments in pages, at most `size`. Stops at the first line that is no record."""
    page: list[bytes] = []
    count = 0
    for current in known:
        for line in lines(current.path):
            link = read_link(line) if line.endswith(b"\n") else "torn"
            if isinstance(link, str) or count == size:
                yield page
                return
            page.append(bytes.fromhex(link.leaf))
            count += 1
            if len(page) == PAGE:
                yield page
                page = []
    yield page


class _Row:
    """One file: how many of its hashes are written, and what could not be written yet."""

    def __init__(self, path: Path, count: int) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        os.ftruncate(self.descriptor, count * WIDTH)
        self.end = count * WIDTH
        self.pending = bytearray()

    def write(self) -> None:
        while self.pending:
            written = os.pwrite(self.descriptor, self.pending, self.end)
            del self.pending[:written]
            self.end += written


class TreeFiles:
    """The tree of the process that writes the ledger. `extend` is called by one thread; `root` by any."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._frontier = Frontier()
        self._rows: list[_Row] = []

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return self._frontier.size

    def open(self, first: int, leaves: bytes) -> None:
        """Continue after the `first` leaves that are on disk with those of the last segment, one after another.

        Where the files do not reach that far they are made again from the segments. Raises `OSError`.
        """
        self.close()
        stored = StoredNodes(self._directory)
        try:
            self._demand(first)
            self._frontier = Frontier.at(stored, first)
            self._start(first)
        except Short:
            self._frontier = Frontier()
            self._start(0)
            for page in _leaves([one for one in segments(self._directory) if one.first < first], first):
                self.extend(page)
        finally:
            stored.close()
        self.extend(leaves[at : at + WIDTH] for at in range(0, len(leaves), WIDTH))

    def remake(self) -> None:
        """Make the files again from the segments, while nothing is added. Raises `OSError`."""
        size = self.size
        self.close()
        self._frontier = Frontier()
        self._start(0)
        for page in _leaves(segments(self._directory), size):
            self.extend(page)

    def _demand(self, size: int) -> None:
        """Raises `Short` where a file is missing or ends too early: a hash that is asked for may lie above the gap."""
        level = 0
        while size >> (HEIGHT * level):
            path = row_path(self._directory, level)
            if not path.exists() or path.stat().st_size < (size >> (HEIGHT * level)) * WIDTH:
                raise Short(path.name)
            level += 1

    def _start(self, size: int) -> None:
        for level in rows(self._directory):
            if size >> (HEIGHT * level) == 0 and level:
                row_path(self._directory, level).unlink()
        level = 0
        while not level or size >> (HEIGHT * level):
            self._rows.append(_Row(row_path(self._directory, level), size >> (HEIGHT * level)))
            level += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add the leaves of durable records. A disk that is full delays the files and nothing else."""
        with self._lock:
            for level, hashes in enumerate(self._frontier.extend(leaves)):
                if hashes:
                    self._row(level).pending += b"".join(hashes)
            with suppress(OSError):  # written with the next batch, or made again at the next start
                for row in self._rows:
                    row.write()

    def _row(self, level: int) -> _Row:
        if level == len(self._rows):
            self._rows.append(_Row(row_path(self._directory, level), 0))
        return self._rows[level]

    def root(self) -> tuple[int, bytes]:
        """How many leaves there are, and their root."""
        with self._lock:
            return self._frontier.size, self._frontier.root()

    def root_at(self, size: int) -> bytes:
        """The root of the first `size` leaves, at most all. Raises `OSError`."""
        with self._lock:
            if size == self._frontier.size:
                return self._frontier.root()
        stored = StoredNodes(self._directory)
        try:
            return root(stored, size)
        except Short:  # a full disk delayed the files
            return root(rebuilt(self._directory, size), size)
        finally:
            stored.close()

    def sync(self) -> None:
        """Make what is written durable. A failure costs the next start the time to make it again."""
        with suppress(OSError):
            for row in self._rows:
                os.fsync(row.descriptor)

    def close(self) -> None:
        """Release the files; what was added remains known."""
        for row in self._rows:
            os.close(row.descriptor)
        self._rows = []


class TreeCheck:
    """The tree of a ledger that is being verified: each leaf is added to it, and each file compared with it.

    Leaves (hex) are put into `page`, which is settled when it holds `PAGE` of them: a call for each would be most of the cost.

    `wrong` is the first subtree whose stored hash is another one: (file, leaf with which it ends). `lacks` tells of files that
    are short of what the segments say, which is damage only where nobody writes.
    """

    def __init__(self, directory: Path, start: int = 0) -> None:
        """The first `start` leaves are taken as the files have them. Raises `Short`."""
        self._frontier = Frontier.at(StoredNodes(directory), start)
        self.page: list[bytes] = []
        self._kept: dict[int, list[bytes]] | None = None if row_path(directory, 0).exists() else {}
        self._directory = directory
        self._files = {level: row_path(directory, level).open("rb") for level in rows(directory)}
        self._counts = {level: start >> (HEIGHT * level) for level in self._files}
        for level, file in self._files.items():
            file.seek(self._counts[level] * WIDTH)
        self.wrong: tuple[str, int] | None = None
        self.lacks = ""

    def settle(self) -> None:
        """Add what stands in `page`."""
        data = unhexlify(b"".join(self.page))
        self.page.clear()
        for level, hashes in enumerate(self._frontier.extend(data[at : at + WIDTH] for at in range(0, len(data), WIDTH))):
            if hashes:
                self._compare(level, hashes)
                self._counts[level] = self._counts.get(level, 0) + len(hashes)

    def _compare(self, level: int, hashes: list[bytes]) -> None:
        if self._kept is not None:
            self._kept.setdefault(level, []).extend(hashes)
            return
        file = self._files.get(level)
        data = file.read(WIDTH * len(hashes)) if file is not None else b""
        if data == b"".join(hashes) or self.wrong is not None:
            return
        at = next(at for at, one in enumerate(hashes) if data[at * WIDTH : (at + 1) * WIDTH] != one)
        end = (self._counts.get(level, 0) + at + 1 << (HEIGHT * level)) - 1
        if data == b"".join(hashes)[: len(data)]:
            self.lacks = self.lacks or f"tree-{level}: ends before record {end}"
        else:
            self.wrong = (f"tree-{level}", end)

    def finish(self, *, live: bool) -> None:
        """Every record was added: settle, and see that the files end here too, unless somebody writes them."""
        self.settle()
        for level, file in self._files.items():
            if file.read(1) and self.wrong is None and not live:
                self.wrong = (f"tree-{level}", self._counts.get(level, 0) << (HEIGHT * level))
            file.close()
        self.lacks = "" if live else self.lacks

    @property
    def root(self) -> bytes:
        """The root of what was added."""
        return self._frontier.root()

    def nodes(self) -> Node:
        """The nodes of what was added, once `finish` has been called."""
        kept = self._kept
        if kept is None:
            return nodes(self._directory, self._frontier.size, self.root)

        def node(level: int, index: int) -> bytes:
            row, height = divmod(level, HEIGHT)
            return fold(kept[row][index << height : index + 1 << height])

        return node


