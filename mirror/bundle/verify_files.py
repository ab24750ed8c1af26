"""Part of `verify_bundle`, which runs without the product: the files of a bundle, in a folder, a tar or volumes. Standard library only."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

# --- where the files are ----------------------------------------------------------------------------------------------

NAME = re.compile(r"oci-layout|index\.json|blobs/sha256/[0-9a-f]{64}")
LABEL = re.compile(r"entrepot bundle ([0-9a-f]{32}) volume ([1-9][0-9]{0,3}) of ([1-9][0-9]{0,3})")
OCTAL = re.compile(rb" *[0-7]+ *")
BLOCK = 512
MOST_FILES = 1000000


class Wrong(Exception):
    """What does not hold."""


class Folder:
    """A bundle as a folder of plain files."""

    label = ""

    def __init__(self, path: Path) -> None:
        self.sizes: dict[str, int] = {}
        self._path = path
        self._look("")

    def _look(self, below: str) -> None:
        with os.scandir(str(self._path / below)) as entries:
            for entry in entries:
                name, mode = below + entry.name, entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode) and name in ("blobs", "blobs/sha256"):
                    self._look(name + "/")
                elif stat.S_ISREG(mode) and NAME.fullmatch(name):
                    self.sizes[name] = entry.stat(follow_symlinks=False).st_size
                else:
                    raise Wrong(f"{name!a}: has no place in a bundle, or is a link or a device")

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of a file."""
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(str(self._path / name), flags), "rb") as file:
            yield from read_in_pieces(file, self.sizes[name])


class Archive:
    """A bundle as one tar file, or as a GNU multi-volume set."""

    def __init__(self, path: Path) -> None:
        self.sizes: dict[str, int] = {}
        self.label = ""
        self._pieces: dict[str, list[tuple[Path, int, int]]] = {}
        self._paths = [path]
        self._open = ""
        self._ended = False
        with path.open("rb") as file:
            start = file.read(BLOCK)
        if (
            start[:2] == b"\x1f\x8b"
            or start[:4] in (b"\x28\xb5\x2f\xfd", b"\xfd7zX", b"PK\x03\x04")
            or start[:3] == b"BZh"
        ):
            raise Wrong(f"{path.name}: is compressed; a bundle never is")
        kind, name, _, _ = header(start, path.name)
        if kind == "V":
            self._set(path, name)
        for one in self._paths:
            self._scan(one)
        if self._open or not self._ended:
            raise Wrong(f"{self._paths[-1].name}: is cut short")

    def _set(self, path: Path, name: str) -> None:
        """All volumes, of which each says which one it is."""
        match, numbered = LABEL.fullmatch(name), re.fullmatch(r"(.+)\.[0-9]{3,4}", path.name)
        if match is None or numbered is None:
            raise Wrong(f"{path.name}: is a volume of something else, or has lost its number")
        self.label, total = match.group(1), int(match.group(3))
        self._paths = [path.with_name(f"{numbered.group(1)}.{number:03d}") for number in range(1, total + 1)]
        missing = [one.name for one in self._paths if not one.is_file()]
        if missing:
            raise Wrong(f"{len(missing)} of {total} volumes are missing: {', '.join(missing[:8])}")
        for number, one in enumerate(self._paths, 1):
            with one.open("rb") as file:
                kind, name, _, _ = header(file.read(BLOCK), one.name)
            if kind != "V" or name != f"entrepot bundle {self.label} volume {number} of {total}":
                raise Wrong(f"{one.name}: is another volume, or of another bundle: {name}")

    def _scan(self, path: Path) -> None:
        size = path.stat().st_size
        at = BLOCK if self.label else 0
        if size % BLOCK or self._ended:
            raise Wrong(f"{path.name}: is cut short, or comes after the end")
        with path.open("rb") as file:
            while at < size:
                file.seek(at)
                block = file.read(BLOCK)
                if not block.strip(b"\0") and not self._open:
                    rest = file.read(1024 * 1024)
                    if rest.strip(b"\0") or not BLOCK <= len(rest) <= 1024 * 1024 - BLOCK:
                        raise Wrong(f"{path.name}: holds something behind its end, or has none")
                    self._ended = True
                    return
                at = self._member(path, file, header(block, path.name), at + BLOCK)

    def _member(self, path: Path, file: BinaryIO, found: tuple[str, str, int, tuple[int, int]], at: int) -> int:
        """Note what a header announces; gives where the next one is."""
        size = path.stat().st_size
        kind, name, length, rest = found
        name = name[2:] if name[:2] == "./" else name
        if kind == "5" and name.rstrip("/") in ("", ".", "blobs", "blobs/sha256") and not length and not self._open:
            return at
        if self._open:
            have = sum(piece[2] for piece in self._pieces[self._open])
            whole = self.sizes[self._open]
            if kind != "M" or name != self._open or (length, rest) != (whole - have, (have, whole)):
                raise Wrong(f"{path.name}: does not go on with {self._open}")
            self._open = ""
        elif kind != "0" or not NAME.fullmatch(name) or name in self.sizes or len(self.sizes) > MOST_FILES:
            raise Wrong(f"{path.name}: {name!a} (type {kind!a}) has no place in a bundle, or is there twice")
        else:
            self.sizes[name] = length
            self._pieces[name] = []
        here = min(length, size - at)
        self._pieces[name].append((path, at, here))
        if here < length:
            if not self.label:
                raise Wrong(f"{path.name}: is cut short: {name} says that it has {length} bytes")
            self._open = name
            return size
        padding = -self.sizes[name] % BLOCK
        file.seek(at + here)
        if file.read(padding).strip(b"\0"):
            raise Wrong(f"{path.name}: holds something behind the end of {name}")
        return at + here + padding

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of a file."""
        for path, at, length in self._pieces[name]:
            with path.open("rb") as file:
                file.seek(at)
                yield from read_in_pieces(file, length)


def header(block: bytes, place: str) -> tuple[str, str, int, tuple[int, int]]:
    """Type, name and size of a tar header, and of a file that goes on where, and its whole size. Raises `Wrong`."""
    if len(block) < BLOCK or number(block[148:156], place) != sum(block) - sum(block[148:156]) + 256:
        raise Wrong(f"{place}: is no tar archive, is cut short, or a header is damaged")
    name = block[:100].split(b"\0")[0].decode("ascii", "backslashreplace")
    prefix = block[345:500].split(b"\0")[0].decode("ascii", "backslashreplace") if block[257:263] == b"ustar\0" else ""
    kind = chr(block[156]).replace("\0", "0")
    rest = (number(block[369:381], place), number(block[483:495], place)) if kind == "M" else (0, 0)
    return kind, f"{prefix}/{name}" if prefix else name, number(block[124:136], place), rest


def number(field: bytes, place: str) -> int:
    """A number of a header: octal digits, or base 256. Raises `Wrong`."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    text = field.replace(b"\0", b" ").rstrip()
    if not OCTAL.fullmatch(text):
        raise Wrong(f"{place}: is no tar archive, or a header is damaged")
    return int(text, 8)


def read_in_pieces(file: BinaryIO, length: int) -> Iterator[bytes]:
    """`length` bytes from where `file` is, or as many as there are."""
    while length:
        piece = file.read(min(length, 1024 * 1024))
        if not piece:
            return
        yield piece
        length -= len(piece)
