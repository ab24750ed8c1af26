"""tar, as far as a bundle needs it: regular files with plain names, read and written block by block. Pure.

Written are POSIX ustar headers; a size beyond 8 GiB is in base 256, as GNU tar, Go and Python read it. A set of volumes is a GNU
multi-volume archive (`tar --multi-volume`): each begins with a label (type `V`), and one that begins inside a file has
that file's header again (type `M`) with what is still to come and where. Standard library's tarfile passes over a damaged
header as if the archive ended there, so that it is not used for reading.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mirror.bundle.faults import BundleFault

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)
ZERO: Final = bytes(BLOCK)
REGULAR: Final = "0"
FOLDER: Final = "5"
LABEL: Final = "V"
REST: Final = "M"
#: 1980-01-01, as archives that can be made again carry it; tar warns of anything before 1970.
TIME: Final = 315532800
#: What the types are called that no bundle has.
_TYPES: Final = {
    "1": "a hard link", "2": "a symbolic link", "3": "a character device", "4": "a block device", "6": "a pipe", "7": "a contiguous file",
    "S": "a sparse file", "L": "a long name", "K": "a long link", "x": "an extended header", "g": "a global extended header",
    "D": "a GNU directory", "N": "an old long name", "A": "a Solaris ACL", "X": "a Solaris extended header",
}  # fmt: skip
_MAGICS: Final = {
    b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip",
    b"\x04\x22\x4d\x18": "lz4", b"7z\xbc\xaf": "7z", b"\x1f\x9d": "compress",
}  # fmt: skip
_OCTAL: Final = re.compile(rb" *([0-7]+)[ \x00]*\Z")


@dataclass(frozen=True, slots=True)
class Header:
    """A header block. `size` is what follows it, in bytes; `offset` and `whole` are those of a file that goes on in this volume."""

    name: str
    kind: str
    size: int
    offset: int = 0
    whole: int = 0


@dataclass(frozen=True, slots=True)
class Volume:
    """What a volume's label says. `bundle`: the first half of the head manifest's SHA-256 in hex."""

    bundle: str
    number: int
    total: int

    @property
    def label(self) -> str:
        """As it stands in the header."""
        return f"entrepot bundle {self.bundle} volume {self.number} of {self.total}"


_LABEL: Final = re.compile(r"entrepot bundle ([0-9a-f]{32}) volume ([1-9][0-9]{0,3}) of ([1-9][0-9]{0,3})\Z")


def volume_of(header: Header) -> Volume | None:
    """What a label says, or None where the header is none of ours."""
    match = _LABEL.match(header.name) if header.kind == LABEL and not header.size else None
    return Volume(match[1], int(match[2]), int(match[3])) if match else None


def padding(size: int) -> int:
    """Zero bytes between a file and the next header."""
    return -size % BLOCK


def written(header: Header) -> bytes:
    """The block of a header."""
    gnu = header.kind in (LABEL, REST)
    block = bytearray(BLOCK)
    name = header.name.encode("ascii")
    block[0 : len(name)] = name
    for at, number, width in (
        (100, 0o755 if header.kind == FOLDER else 0o644, 8),
        (108, 0, 8),
        (116, 0, 8),
        (124, header.size, 12),
        (136, TIME, 12),
    ):
        block[at : at + width] = _number(number, width)
    block[156:157] = header.kind.encode("ascii")
    block[257:265] = b"ustar  \x00" if gnu else b"ustar\x0000"
    if header.kind == REST:
        block[369:381] = _number(header.offset, 12)
        block[483:495] = _number(header.whole, 12)
    block[148:156] = b"%06o\x00 " % _sum(block)
    return bytes(block)


def _number(value: int, width: int) -> bytes:
    if value < 8 ** (width - 1):
        return b"%0*o\x00" % (width - 1, value)
    return b"\x80" + value.to_bytes(width - 1, "big")


def _sum(block: bytes | bytearray) -> int:
    """The checksum: all bytes, its own field taken as spaces."""
    return sum(block) - sum(block[148:156]) + 8 * 32


def read(block: bytes, place: str) -> Header:
    """The header of a block that is not empty. Raises `BundleFault`; types that no bundle has are named in it."""
    if len(block) < BLOCK:
        raise BundleFault(place, "is cut short: it ends within a header")
    if _octal(block[148:156]) != _sum(block):
        raise BundleFault(place, "is damaged: a header's checksum is wrong" if block[257:262] == b"ustar" else "is no tar archive")
    name = _text(block[0:100], place)
    kind = chr(block[156]).replace("\x00", REGULAR)
    if block[257:263] == b"ustar\x00" and (prefix := _text(block[345:500], place)):
        name = f"{prefix}/{name}"
    if kind not in (REGULAR, FOLDER, LABEL, REST):
        raise BundleFault(
            place,
            f"holds {_TYPES.get(kind, f'an entry of type {kind!r}')}, {name[:120]!r}: a bundle has regular files only",
        )
    size = _value(block[124:136], place)
    if kind == FOLDER and size:
        raise BundleFault(place, f"says that the folder {name[:120]!r} has content")
    if kind != REST:
        return Header(name, kind, size)
    return Header(name, kind, size, _value(block[369:381], place), _value(block[483:495], place))


def _value(field: bytes, place: str) -> int:
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    value = _octal(field)
    if value is None:
        raise BundleFault(place, "is damaged: a number in a header is none")
    return value


def _octal(field: bytes) -> int | None:
    match = _OCTAL.match(field.replace(b"\x00", b" ").rstrip() or b"-")
    return int(match[1], 8) if match else None


def _text(field: bytes, place: str) -> str:
    text, _, rest = field.partition(b"\x00")
    if rest.strip(b"\x00") or not text.isascii() or not (not text or text.decode("ascii").isprintable()):
        raise BundleFault(place, "is damaged: a name in a header is no plain text")
    return text.decode("ascii")


def compressed(start: bytes) -> str:
    """Which compression a file begins with, or nothing."""
    return next((name for magic, name in _MAGICS.items() if start.startswith(magic)), "")
