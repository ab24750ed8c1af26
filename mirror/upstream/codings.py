"""Content codings (RFC 9110 section 8.4), undone within a bound: a small body must not become a large one."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, Protocol

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable


class _Decoder(Protocol):
    finished: bool

    def feed(self, data: bytes, room: int) -> bytes:
        """Decoded bytes, at most `room`; more is pending when exactly `room` came."""


class CodingError(ValueError):
    """A body that is not what its coding says, or that grows beyond the bound."""


class _Zlib:
    """gzip (window bits 31) and deflate (zlib, or raw as some servers mean it)."""

    def __init__(self, bits: int) -> None:
        self._bits, self._first = bits, True
        self._inner = zlib.decompressobj(bits)
        self._pending = b""
        self.finished = False

    def feed(self, data: bytes, room: int) -> bytes:
        data = self._pending + data
        out = bytearray()
        while data and len(out) < room:
            out += self._step(data, room - len(out))
            data = self._inner.unconsumed_tail
            if self._inner.eof:
                data = self._inner.unused_data
                if self._bits != 31 or not data.startswith(b"\x1f\x8b"):
                    data = b""  # RFC 1952 section 2.2: members may follow each other; padding is not one
                    break
                self._inner = zlib.decompressobj(self._bits)
        self._pending = data
        self.finished = self._inner.eof
        return bytes(out)

    def _step(self, data: bytes, room: int) -> bytes:
        try:
            return self._inner.decompress(data, room)
        except zlib.error:
            if self._bits != 15 or not self._first:
                raise
            self._inner = zlib.decompressobj(-15)
            return self._inner.decompress(data, room)
        finally:
            self._first = False


class _Zstd:
    def __init__(self) -> None:
        # RFC 9659: a window of more than 8 MiB must not be needed for content coding.
        self._inner = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024).decompressobj()
        self.finished = False

    def feed(self, data: bytes, room: int) -> bytes:
        if self.finished:
            return b""
        out = bytearray()
        # In small steps: this decoder has no bound of its own, and 4 bytes can stand for a block of 128 KiB.
        for start in range(0, len(data), 256):
            out += self._inner.decompress(data[start : start + 256])
            if len(out) > room or self._inner.eof:
                break
        self.finished = self._inner.eof
        return bytes(out)


#: Brotli is not offered: its decoders in common use have no bound on what one input byte may become.
_DECODERS: Final[dict[str, Callable[[], _Decoder]]] = {
    "gzip": lambda: _Zlib(31),
    "x-gzip": lambda: _Zlib(31),
    "deflate": lambda: _Zlib(15),
    "zstd": _Zstd,
}
#: What a small request may be answered in.
ACCEPTED: Final = ", ".join(name for name in _DECODERS if name != "x-gzip")


def coded(header: str | None) -> list[str]:
    """The codings of a `Content-Encoding` value in the order in which they were applied, `identity` left out."""
    names = (part.strip().lower() for part in (header or "").split(","))
    return [name for name in names if name and name != "identity"]


def decode(body: bytes, codings: list[str], limit: int) -> bytes:
    """`body` without its codings. Raises `CodingError` when one is unknown, broken, cut short, or exceeds `limit` bytes."""
    if len(codings) > 3:
        raise CodingError(f"{len(codings)} content codings on one body")
    for name in reversed(codings):
        body = _undo(body, name, limit)
    return body


def _undo(body: bytes, name: str, limit: int) -> bytes:
    make = _DECODERS.get(name)
    if make is None:
        raise CodingError(f"unknown content coding {name!r}")
    if not body:
        return body  # a HEAD, a 304, or an empty page that kept its label
    decoder = make()
    try:
        out = decoder.feed(body, limit + 1)
    except Exception as error:
        # Each codec has its own exception class (zlib.error, ZstdError) and all mean the same.
        raise CodingError(f"broken {name} body: {error}") from error
    if len(out) > limit:
        raise CodingError(f"{name} body of {len(body)} bytes grows beyond {limit} bytes")
    if not decoder.finished:
        raise CodingError(f"{name} body ends too early")
    return out
