"""Rendered pages, kept with their compressed forms: the work of a large page is done once for each edition of it."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import zstandard

from mirror.hubs.pypi.hub import LARGE

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

#: How many bytes of rendered pages are kept, all forms together.
ROOM: Final = 128 * 1024 * 1024


@dataclass(slots=True)
class Rendering:
    """One representation: the identity form, the digest that its entity tags are made from, and compressed forms by coding."""

    body: bytes
    digest: str
    coded: dict[str, bytes] = field(default_factory=dict)

    def etag(self, coding: str) -> str:
        """A strong entity tag: each coding is a representation of its own (RFC 9110 section 8.8.3.3)."""
        return f'"{self.digest}"' if coding == "identity" else f'"{self.digest}-{coding}"'


class Shelf:
    """A bounded memory of renderings. A key must name everything that the bytes depend on."""

    def __init__(self, room: int = ROOM) -> None:
        self._room, self._used = room, 0
        self._kept: OrderedDict[Hashable, Rendering] = OrderedDict()

    async def get(self, key: Hashable, render: Callable[[], bytes], *, large: bool) -> Rendering:
        """The rendering under `key`, made by `render` (pure; in a thread when `large`) if it is not here."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            return found
        body = await asyncio.to_thread(render) if large else render()
        rendering = Rendering(body, hashlib.sha256(body).hexdigest()[:40])
        self._kept[key] = rendering
        self._grow(len(body))
        return rendering

    async def coded(self, rendering: Rendering, coding: str) -> bytes:
        """The bytes of a rendering in `identity`, `gzip` or `zstd`."""
        if coding == "identity":
            return rendering.body
        found = rendering.coded.get(coding)
        if found is None:
            compress = _gzip if coding == "gzip" else _zstd
            large = len(rendering.body) >= LARGE
            found = await asyncio.to_thread(compress, rendering.body) if large else compress(rendering.body)
            rendering.coded[coding] = found
            self._grow(len(found))
        return found

    def _grow(self, size: int) -> None:
        self._used += size
        while self._used > self._room and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._used -= len(dropped.body) + sum(map(len, dropped.coded.values()))


def _gzip(body: bytes) -> bytes:
    # No time stamp: the same page must give the same bytes, and so the same entity tag, after a restart.
    return gzip.compress(body, compresslevel=6, mtime=0)


def _zstd(body: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=6).compress(body)
