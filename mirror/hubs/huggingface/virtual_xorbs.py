"""A plain file as the Xet store would give it, with nothing stored a second time. Pure but for `XorbBody`.

The file is cut every 64 KiB into chunks that are not compressed; 256 chunks are a xorb, with no footer (clients read the
ranges that they were told of, and none needs it), and each xorb is one term of the reconstruction. So every offset follows
from the size alone: chunk headers are made on the way out, and a range of a xorb is a range of the file. A term is as
long as a part of a transfer (16 MiB), of which a client asks several at a time: longer ones would send it far ahead of a file that
is still arriving. Formats: https://huggingface.co/docs/xet/xorb and https://huggingface.co/docs/xet/api.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mirror.core.nouns import Span
from mirror.proxy.underway import Attended

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from mirror.core.ports import Body
    from mirror.proxy.underway import Running

#: Bytes of the file in a chunk. Clients take up to 128 KiB.
CHUNK: Final = 64 * 1024
#: Chunks in a xorb. The format has room for 1,023 of this length: a xorb has at most 64 MiB, headers included.
CHUNKS: Final = 256
#: Bytes of a chunk's header: version, length as packed (24 bits), scheme, length unpacked (24 bits), little-endian.
HEADER: Final = 8
#: Bytes of the file in a xorb.
XORB: Final = CHUNKS * CHUNK
_PACKED: Final = HEADER + CHUNK


@dataclass(frozen=True, slots=True)
class Xorb:
    """The xorb `number` (from 0) of a file: `data` is where its bytes lie in the file."""

    number: int
    data: Span

    @property
    def chunks(self) -> int:
        """How many chunks it has."""
        return -(-len(self.data) // CHUNK)

    @property
    def size(self) -> int:
        """Its length in bytes, chunk headers included."""
        return len(self.data) + HEADER * self.chunks

    def header(self, chunk: int) -> bytes:
        """The header of its chunk `chunk`: version 0, scheme 0 (not compressed)."""
        length = min(CHUNK, len(self.data) - chunk * CHUNK).to_bytes(3, "little")
        return b"\0" + length + b"\0" + length

    def plain(self, position: int) -> int:
        """Where in the file lies the first byte at or after `position` of the xorb that is not of a header."""
        chunk, within = divmod(position, _PACKED)
        return min(self.data.start + chunk * CHUNK + max(0, within - HEADER), self.data.stop)


def xorb(size: int, number: int) -> Xorb | None:
    """The xorb `number` of a file of `size` bytes; None past its end."""
    start = number * XORB
    return Xorb(number, Span(start, min(size, start + XORB))) if start < size else None


def woven(of: Xorb, span: Span, position: int, piece: bytes) -> Iterator[bytes | memoryview]:
    """`piece`, which lies at `position` of the xorb or right behind the header there, with headers in between; nothing past `span`."""
    view, at = memoryview(piece), position
    while at < span.stop:
        chunk, within = divmod(at, _PACKED)
        if within < HEADER:
            part: memoryview | bytes = of.header(chunk)[within : within + span.stop - at]
        else:
            part = view[: min(_PACKED - within, span.stop - at)]
            view = view[len(part) :]
        yield part
        at += len(part)
        if not view:
            return


class XorbBody:
    """`core.ports.Body`: a xorb of an open file. Closes that file. What may leave of the file, and when, its own body says (P3).

    Judged again while it runs, as the file is (`proxy.underway.Attended`).
    """

    path: Path | None = None

    def __init__(self, file: Body, of: Xorb) -> None:
        self._file, self._of = file, of
        self.size: int | None = of.size
        self.headers: tuple[tuple[str, str], ...] = ()
        self.running: Running | None = file.running if isinstance(file, Attended) else None

    @property
    def etag(self) -> str:
        """The file's, with the number of the xorb."""
        return f'"{self._file.etag.strip(chr(34))}-{self._of.number}"'

    @property
    def verified(self) -> bool:
        """As the file's."""
        return self._file.verified

    @property
    def origin(self) -> str:
        """As the file's."""
        return self._file.origin

    async def read(self, span: Span) -> AsyncIterator[bytes]:
        """The bytes of `span` of the xorb, as those of the file become available and may leave."""
        of, at = self._of, span.start
        wanted = Span(of.plain(span.start), of.plain(span.stop))
        if len(wanted):
            async for piece in self._file.read(wanted):
                out = b"".join(woven(of, span, at, piece))
                at += len(out)
                yield out
        if at < span.stop and at % _PACKED < HEADER:  # a part that ends within a header
            yield b"".join(woven(of, span, at, b""))

    async def close(self) -> None:
        """Let go of the file."""
        await self._file.close()


def reconstruction(file: str, size: int, span: Span, version: int, url: Callable[[int], str]) -> dict[str, Any]:
    """What the store answers to "of what does this part of the file consist?", in the form of API `version` 1 or 2.

    The xorbs are called after `file`; `span` is the part, `url` gives the address of a xorb.
    """
    terms: list[dict[str, Any]] = []
    fetch: dict[str, list[dict[str, Any]]] = {}
    first = span.start // CHUNK
    for number in range(span.start // XORB, -(-span.stop // XORB)):
        base = number * CHUNKS
        lower, upper = max(first, base) - base, min(-(-span.stop // CHUNK), base + CHUNKS) - base
        start, stop = (base + lower) * CHUNK, min(size, (base + upper) * CHUNK)
        name = hashlib.sha256(f"{file}:{number}".encode()).hexdigest()
        chunks = {"start": lower, "end": upper}  # the end is not included, ...
        data = {"start": lower * _PACKED, "end": lower * _PACKED + stop - start + HEADER * (upper - lower) - 1}  # ... and here it is
        terms.append({"hash": name, "unpacked_length": stop - start, "range": chunks})
        if version == 1:
            fetch[name] = [{"range": chunks, "url": url(number), "url_range": data}]
        else:
            fetch[name] = [{"url": url(number), "ranges": [{"chunks": chunks, "bytes": data}]}]
    return {"offset_into_first_range": span.start - first * CHUNK, "terms": terms, "fetch_info" if version == 1 else "xorbs": fetch}
