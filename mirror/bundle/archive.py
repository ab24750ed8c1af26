"""Reading a bundle that is one tar file or a set of volumes: every header in order, and nothing believed that does not fit.

No name becomes a path here: a name is a key under which its bytes are found.
"""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from mirror.bundle import tape
from mirror.bundle.faults import BundleFault, Unreadable
from mirror.bundle.tape import BLOCK, END, Header, Volume
from mirror.bundle.volumes import volume_path

#: Files of an archive: beyond any bundle, within what can be remembered.
MOST_MEMBERS: Final = 1_000_000
#: Zero bytes at the end: tar fills records of 10 KiB, or what `--blocking-factor` says.
_LONGEST_END: Final = 1024 * 1024
_NUMBERED: Final = re.compile(r"(.+)\.([0-9]{3,4})\Z")


@dataclass(frozen=True, slots=True)
class Piece:
    """`length` bytes from `offset` of the file with this number."""

    file: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Member:
    """Where the bytes of a file lie."""

    size: int
    pieces: tuple[Piece, ...]


class Tape:
    """The files of an archive by name. `bundle`: what the labels of volumes say, else empty. Raises `BundleFault`."""

    def __init__(self, path: Path) -> None:
        self.paths, self.bundle = _files(path)
        scan = _Scan(self.paths, labelled=bool(self.bundle))
        scan.run()
        self.sizes: Mapping[str, int] = {name: member.size for name, member in scan.members.items()}
        self._members = scan.members

    def open(self, name: str) -> io.RawIOBase:
        """The bytes of a file."""
        return Pieces(self.paths, self._members[name].pieces)

    def close(self) -> None:
        """There is nothing to let go."""

    def place(self, name: str) -> str:
        """Where a file lies, for people."""
        numbers = sorted({piece.file for piece in self._members[name].pieces})
        return ", ".join(self.paths[number].name for number in numbers)


def _files(path: Path) -> tuple[list[Path], str]:
    """The archive, or all volumes of the set of which `path` is one, and the set's bundle. Raises `BundleFault`."""
    with _opened(path) as file:
        start = file.read(BLOCK)
    if packed := tape.compressed(start):
        raise BundleFault(path.name, f"is compressed ({packed}): a bundle never is, and nothing is unpacked here")
    if len(start) < BLOCK:
        raise BundleFault(path.name, "is no bundle: it is too short for a tar archive")
    header = tape.read(start, path.name)
    if header.kind != tape.LABEL:
        return [path], ""
    label, match = tape.volume_of(header), _NUMBERED.match(path.name)
    if label is None or match is None:
        raise BundleFault(
            path.name, "is a volume of something else, or has lost its number: volumes are called NAME.001, NAME.002, …"
        )
    return _set(path.with_name(match[1]), label), label.bundle


def _set(base: Path, label: Volume) -> list[Path]:
    paths = [volume_path(base, number) for number in range(1, label.total + 1)]
    missing = [path.name for path in paths if not os.path.lexists(path)]
    if missing:
        some = ", ".join(missing[:8]) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
        raise BundleFault(base.name, f"{len(missing)} of {label.total} volumes are missing: {some}")
    for number, path in enumerate(paths, 1):
        with _opened(path) as file:
            found = tape.volume_of(tape.read(file.read(BLOCK), path.name))
        if found is None or found.bundle != label.bundle or found.total != label.total:
            raise BundleFault(path.name, "is a volume of another bundle")
        if found.number != number:
            raise BundleFault(path.name, f"is volume {found.number} of this bundle: volumes have been swapped")
    return paths


class _Scan:
    """Every header of the files, in order."""

    def __init__(self, paths: Sequence[Path], *, labelled: bool) -> None:
        self.members: dict[str, Member] = {}
        self._paths, self._labelled = paths, labelled
        self._open: tuple[str, int, list[Piece]] | None = None
        self._ended = False

    def run(self) -> None:
        for number, path in enumerate(self._paths):
            try:
                with _opened(path) as file:
                    self._volume(number, file, path.name)
            except OSError as error:
                raise Unreadable(path.name, error) from None
        if self._open is not None:
            raise BundleFault(self._paths[-1].name, f"is cut short: it ends within {self._open[0]}")
        if not self._ended:
            raise BundleFault(self._paths[-1].name, "is cut short: it has no end")

    def _volume(self, number: int, file: BinaryIO, place: str) -> None:
        size = os.fstat(file.fileno()).st_size
        at = BLOCK if self._labelled else 0
        if self._ended:
            raise BundleFault(place, "comes after the end of the archive")
        if size % BLOCK:
            raise BundleFault(place, "is cut short: it does not end with a whole block")
        if self._open is not None:
            at = self._rest(number, file, at, size, place)
        while at < size:
            file.seek(at)
            block = file.read(BLOCK)
            if block == tape.ZERO:
                self._end(file, size - at, place)
                return
            header = tape.read(block, place)
            at = self._file(number, file, header, at + BLOCK, place)

    def _file(self, number: int, file: BinaryIO, header: Header, at: int, place: str) -> int:
        """Note a file whose bytes begin at `at`; gives where the next header is."""
        size = os.fstat(file.fileno()).st_size
        if header.kind == tape.FOLDER:
            if plain(header.name).rstrip("/") not in ("", ".", "blobs", "blobs/sha256"):
                raise BundleFault(place, f"holds the folder {header.name[:120]!r}, which no bundle has")
            return at
        if header.kind != tape.REGULAR:
            raise BundleFault(place, "holds a label or the rest of a file where none belongs")
        name = plain(header.name)
        if name in self.members:
            raise BundleFault(place, f"holds {name[:120]!r} twice")
        if not allowed(name):
            raise BundleFault(place, f"holds {header.name[:120]!r}, which is no name in a bundle")
        if len(self.members) >= MOST_MEMBERS:
            raise BundleFault(place, f"holds more than {MOST_MEMBERS} files")
        here = min(header.size, size - at)
        pieces = [Piece(number, at, here)] if here else []
        if here == header.size:
            self.members[name] = Member(header.size, tuple(pieces))
            return _padded(file, at + here, header.size, place, name)
        if not self._labelled:
            raise BundleFault(place, f"is cut short: {name} says that it has {header.size} bytes")
        self.members[name] = Member(header.size, ())
        self._open = name, header.size, pieces
        return size

    def _rest(self, number: int, file: BinaryIO, at: int, size: int, place: str) -> int:
        """The next piece of the file that is open; gives where the next header is."""
        name, whole, pieces = self._open or ("", 0, [])
        have = sum(piece.length for piece in pieces)
        file.seek(at)
        header = tape.read(file.read(BLOCK), place)
        if header != Header(name, tape.REST, whole - have, have, whole):
            raise BundleFault(place, f"does not go on with {name}")
        at += BLOCK
        here = min(header.size, size - at)
        pieces.append(Piece(number, at, here))
        if here < header.size:
            return size
        self.members[name], self._open = Member(whole, tuple(pieces)), None
        return _padded(file, at + here, whole, place, name)

    def _end(self, file: BinaryIO, left: int, place: str) -> None:
        if left > _LONGEST_END or file.read(left - BLOCK).strip(b"\x00"):
            raise BundleFault(place, "holds something behind the end of the archive")
        if left < len(END):
            raise BundleFault(place, "is cut short: it has no end")
        self._ended = True


def _padded(file: BinaryIO, end: int, size: int, place: str, name: str) -> int:
    """Where the next header is. Raises `BundleFault` for a padding that is not zeros."""
    file.seek(end)
    if file.read(tape.padding(size)).strip(b"\x00"):
        raise BundleFault(place, f"holds something behind the end of {name}")
    return end + tape.padding(size)


_ALLOWED: Final = re.compile(r"oci-layout|index\.json|blobs/sha256/[0-9a-f]{64}")


def allowed(name: str) -> bool:
    """Whether a bundle can hold a file of this name."""
    return _ALLOWED.fullmatch(name) is not None


def plain(name: str) -> str:
    """A name without the `./` that tar puts before those of a folder."""
    return name.removeprefix("./")


def _opened(path: Path) -> BinaryIO:
    """A regular file, opened. Raises `BundleFault`."""
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise BundleFault(path.name, error.strerror or "cannot be read") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise BundleFault(path.name, "is not a regular file")
    return file


class Pieces(io.RawIOBase):
    """Pieces of files, one behind the other."""

    def __init__(self, paths: Sequence[Path], pieces: Sequence[Piece]) -> None:
        super().__init__()
        self._paths, self._pieces = paths, list(reversed(pieces))
        self._file: BinaryIO | None = None
        self._left = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """The next bytes; 0 at the end, which may be early where a file has become shorter."""
        if not self._left and not self._turn():
            return 0
        if self._file is None:
            return 0
        view = memoryview(buffer)[: self._left]
        count = self._file.readinto(view)  # type: ignore[attr-defined]
        self._left -= count
        return int(count)

    def _turn(self) -> bool:
        self._shut()
        if not self._pieces:
            return False
        piece = self._pieces.pop()
        self._file, self._left = _unbuffered(self._paths[piece.file]), piece.length
        self._file.seek(piece.offset)
        return True

    def _shut(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None

    def close(self) -> None:
        """Let go of the file."""
        self._shut()
        super().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _unbuffered(path: Path) -> BinaryIO:
    try:
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb", buffering=0)
    except OSError as error:
        raise BundleFault(path.name, error.strerror or "cannot be read") from None
