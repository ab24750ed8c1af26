"""Hashing again what lies in a store: one blob, and the walk over all of them that goes on where it was.

A blob that is not what its name says is set aside at once, so that it is a miss from then on; who owns the record of
faults takes it from there. This works from any process, with the server running or not.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from mirror.core.nouns import Digest, Span

#: How much is read at a time.
PIECE: Final = 1024 * 1024
_HEX: Final = frozenset("0123456789abcdef")
#: What `set_aside` calls a file.
_ASIDE: Final = re.compile(r"[0-9a-f]{64}\.(?:[0-9a-f]{64}|unreadable)")


@dataclass(frozen=True, slots=True)
class Damaged:
    """A blob that was set aside: its file, the digest it should have had, and what it has (empty: unreadable)."""

    path: Path
    digest: Digest
    computed: str
    size: int


@dataclass(slots=True)
class Progress:
    """How far the walk is. `after` is the last digest that was looked at, empty at the beginning."""

    after: str = ""
    blobs: int = 0
    bytes: int = 0
    damaged: int = 0
    rounds: int = 0


class ScrubbedFolder:
    """The blobs below `<root>/blobs/sha256`, in the order of their digests. Blocks: for use in a thread."""

    def __init__(self, root: Path) -> None:
        self._blobs, self._aside = root / "blobs" / "sha256", root / "blobs" / "damaged"
        self._place = root / "blobs" / "scrub.json"

    def load(self) -> Progress:
        """Where the last walk stopped; a file that cannot be read begins anew."""
        try:
            return Progress(**json.loads(self._place.read_bytes()))
        except (OSError, ValueError, TypeError):
            return Progress()

    def save(self, progress: Progress) -> None:
        """Remember where the walk is; what cannot be written is looked at twice."""
        fresh = self._place.with_suffix(".new")
        with suppress(OSError):
            fresh.write_text(json.dumps(asdict(progress)), encoding="ascii")
            fresh.replace(self._place)

    def following(self, after: str, most: int = 256) -> list[Digest]:
        """The next digests after one, in order; empty at the end. Lists no more folders than it must."""
        found: list[str] = []
        for first in self._names(self._blobs, after[:2]):
            for second in self._names(self._blobs / first, after[2:4] if first == after[:2] else ""):
                found += [name for name in self._names(self._blobs / first / second, "") if name > after and len(name) == 64]
                if len(found) >= most:
                    return [Digest("sha256", name) for name in found[:most]]
        return [Digest("sha256", name) for name in found]

    def _names(self, folder: Path, since: str) -> list[str]:
        try:
            return sorted(path.name for path in folder.iterdir() if path.name >= since and _HEX.issuperset(path.name))
        except OSError:
            return []

    def pieces(self, digest: Digest) -> Iterator[bytes]:
        """The bytes of a blob, without pushing out what the page cache already held. Raises `OSError`."""
        descriptor = os.open(self._blobs / digest.hex[:2] / digest.hex[2:4] / digest.hex, os.O_RDONLY | os.O_CLOEXEC)
        try:
            offset = 0
            while piece := _piece(descriptor, offset):
                offset += len(piece)
                yield piece
        finally:
            os.close(descriptor)

    def set_aside(self, digest: Digest, computed: str) -> None:
        """Take a damaged blob out of the store, by one rename. One that has gone meanwhile is fine."""
        self._aside.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            source = self._blobs / digest.hex[:2] / digest.hex[2:4] / digest.hex
            source.replace(self._aside / f"{digest.hex}.{computed or 'unreadable'}")

    def damaged(self) -> list[Damaged]:
        """What was set aside and nobody has put on the record yet."""
        rows: list[Damaged] = []
        for path in sorted(self._aside.iterdir()) if self._aside.is_dir() else []:
            if not _ASIDE.fullmatch(path.name) or not path.is_file():
                continue  # none of ours, and nothing to put on any record
            digest, _, computed = path.name.partition(".")
            with suppress(OSError):
                rows.append(Damaged(path, Digest("sha256", digest), "" if computed == "unreadable" else computed, path.stat().st_size))
        return rows


def checked(folder: ScrubbedFolder, digest: Digest) -> Iterator[int | str | None]:
    """Hash one blob: gives the length of each piece as it is read, and last of all what is wrong with it.

    The last value is None for a sound blob or one that has gone, else the digest found, or "" for an unreadable file.
    """
    found = sha256()
    try:
        for piece in folder.pieces(digest):
            found.update(piece)
            yield len(piece)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        if error.errno not in (errno.EIO, errno.EBADMSG, errno.EUCLEAN, errno.EACCES, errno.EPERM):
            raise
        yield ""
        return
    yield None if found.hexdigest() == digest.hex else found.hexdigest()


def _piece(descriptor: int, offset: int) -> bytes:
    """Bytes at `offset`; pages that had to be fetched from the disk for this are let go of again."""
    buffer = bytearray(PIECE)
    try:
        count = os.preadv(descriptor, [buffer], offset, os.RWF_NOWAIT)
        if count == PIECE:
            return bytes(buffer)
    except OSError:
        pass  # not in memory, or a file system that cannot tell
    data = os.pread(descriptor, PIECE, offset)
    span = Span(offset, offset + len(data))
    with suppress(OSError):
        os.posix_fadvise(descriptor, span.start, len(span), os.POSIX_FADV_DONTNEED)
    return data
