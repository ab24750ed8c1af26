"""The METADATA file inside a wheel (PEP 427, PEP 658), found with two small reads: the end of the archive and the member.

Reads what a ZIP archive has at its end (APPNOTE.TXT 4.3.6): the end record says where the directory is, the directory
where the member is. Every number is upstream's word and is checked against the bytes; the member's CRC-32 must hold.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.core.nouns import Span

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: How much of a wheel's end is read first: `.dist-info` is written last (PEP 427), so that the member is mostly in it.
TAIL: Final = 64 * 1024
#: Most bytes of a directory or of a METADATA file that are looked at.
MOST: Final = 8 * 1024 * 1024
_END: Final = struct.Struct("<4s4H2LH")
_ENTRY: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
#: Where ZIP64 records would be needed; no wheel whose directory is small has them there.
_ZIP64: Final = 0xFFFFFFFF
_MEMBER: Final = re.compile(r"([^/]+)\.dist-info/METADATA")


class NoMetadata(ValueError):
    """The bytes are not those of a wheel with one readable METADATA file; says why."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive: where its local header starts, and what its bytes must be."""

    name: str
    start: int
    packed: int
    size: int
    method: int
    crc: int


@dataclass(frozen=True, slots=True)
class _End:
    size: int
    directory: Span


async def read_metadata(tail: bytes, read: Callable[[Span], Awaitable[bytes]], size: int | None = None) -> bytes:
    """The wheel's METADATA. `tail` is the end of the wheel (its last `TAIL` bytes, or all of it); `read` gives any span of it.

    `size` is its length where that is known: then nothing beyond it is asked for, whatever the archive says.
    Raises `NoMetadata`, and whatever `read` raises.
    """
    end = _end(tail)
    if size is not None and end.size != size:
        raise NoMetadata("the ZIP end record tells of another size")
    first = end.size - len(tail)

    async def part(span: Span) -> bytes:
        data = tail[span.start - first : span.stop - first] if span.start >= first else await read(span)
        if len(data) != len(span):
            raise NoMetadata("the archive is shorter than it says")
        return data

    member = _member(await part(end.directory))
    if member.start + _LOCAL.size > end.size:
        raise NoMetadata("METADATA is beyond the end")
    header = await part(Span(member.start, member.start + _LOCAL.size))
    signature, *_, name_size, extra_size = _LOCAL.unpack(header)
    start = member.start + _LOCAL.size + name_size + extra_size
    if signature != b"PK\3\4" or start + member.packed > end.size:
        raise NoMetadata("METADATA is not where the directory says")
    return _unpacked(await part(Span(start, start + member.packed)), member)


def _end(tail: bytes) -> _End:
    """The end record, and the length of the archive that follows from it."""
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        raise NoMetadata("no ZIP end record")
    *_, length, start, comment = _END.unpack_from(tail, at)
    size = start + length + _END.size + comment
    if _ZIP64 in (length, start) or length > MOST or at + _END.size + comment != len(tail) or size < len(tail):
        raise NoMetadata("the ZIP end record does not fit")
    return _End(size, Span(start, start + length))


def _member(directory: bytes) -> Member:
    """The one `*.dist-info/METADATA`: a second would let two readers see two projects."""
    found: list[Member] = []
    at = 0
    while at < len(directory):
        if len(directory) - at < _ENTRY.size:
            raise NoMetadata("the ZIP directory is cut")
        fields = _ENTRY.unpack_from(directory, at)
        name_size, extra_size, comment_size = fields[10:13]
        name = directory[at + _ENTRY.size : at + _ENTRY.size + name_size].decode("utf-8", "replace")
        if fields[0] != b"PK\1\2":
            raise NoMetadata("the ZIP directory is broken")
        if _MEMBER.fullmatch(name):
            found.append(Member(name, fields[16], fields[8], fields[9], fields[4], fields[7]))
        at += _ENTRY.size + name_size + extra_size + comment_size
    if len(found) != 1:
        raise NoMetadata(f"{len(found)} METADATA files")
    if max(found[0].packed, found[0].size) > MOST or found[0].start == _ZIP64:
        raise NoMetadata("METADATA is too large")
    return found[0]


def _unpacked(data: bytes, member: Member) -> bytes:
    if member.method == 0:
        text = data
    elif member.method == 8:
        inflating = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            text = inflating.decompress(data, member.size + 1)
        except zlib.error as error:
            raise NoMetadata(f"METADATA does not unpack: {error}") from None
    else:
        raise NoMetadata(f"METADATA is packed by method {member.method}")
    if len(text) != member.size or zlib.crc32(text) != member.crc:
        raise NoMetadata("METADATA is not what the directory says")
    return text
