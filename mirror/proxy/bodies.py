"""Open bodies (`core.ports.Body`): a finished blob, a flight's file, and a full disk's pass-through.

Beside the port they offer two powers that `reply.body` uses where they are there: `Sendable` (a descriptor and the
spans of it that may leave now, for the kernel to send) and `Restarting` (ranges that must be answered whole).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from mirror.core.errors import IntegrityError, StoreFull, UpstreamDown, UpstreamGarbage
from mirror.core.nouns import Blob, Span
from mirror.proxy.flight import Reader
from mirror.proxy.sums import Sums
from mirror.proxy.transfer import transfer
from mirror.proxy.withhold import SMALL
from mirror.store.handle import Handle

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.core.ports import Blobs, Source, Upstream
    from mirror.proxy.share import Share
    from mirror.proxy.tuning import Tuning
    from mirror.proxy.underway import Running

#: What to read of a body whose size is not known: everything, to its end.
ENDLESS: Final = Span(0, 2**63 - 1)
#: The unit in which readers take bytes into memory.
PIECE: Final = 256 * 1024

Doubt = Callable[[], Sequence[Span]]


@runtime_checkable
class Sendable(Protocol):
    """A body whose bytes lie in a file."""

    @property
    def handle(self) -> Handle | None:
        """The open file; None where there is none. Good until the body is closed."""

    async def available(self, wanted: Span, request: Span) -> Span:
        """The longest span from `wanted.start` on that may leave now, for a read of `request`; empty at the end. Waits.

        Raises as `Body.read`.
        """


@runtime_checkable
class Restarting(Protocol):
    """A body of which clients may hold wrong bytes."""

    def must_restart(self, spans: Sequence[Span]) -> bool:
        """Whether a request for these ranges is to be answered 200 with the whole: a 206 could complete wrong bytes (P3)."""


def _touches(spans: Sequence[Span], doubted: Sequence[Span]) -> bool:
    return any(span.start < part.stop and part.start < span.stop for span in spans for part in doubted)


def _etag(headers: Sequence[tuple[str, str]], fallback: str) -> str:
    return next((value for name, value in headers if name.lower() == "etag"), fallback)


class BlobBody:
    """A verified blob in the store. Opened at its first read; from then on its removal does not disturb it."""

    running: Running | None = None

    def __init__(
        self,
        store: Blobs,
        blob: Blob,
        *,
        headers: tuple[tuple[str, str], ...] = (),
        verified: bool = True,
        origin: str = "hit",
        doubt: Doubt = tuple,
        leave: Callable[[], None] | None = None,
    ) -> None:
        self.size: int | None = blob.size
        self.etag = _etag(headers, f'"{blob.digest.hex}"')
        self.verified, self.headers, self.origin = verified, headers, origin
        self._store, self._blob, self._doubt, self._leave = store, blob, doubt, leave or _nothing
        self._handle: Handle | None = None

    @property
    def blob(self) -> Blob:
        """What is read."""
        return self._blob

    @property
    def path(self) -> Path | None:
        """The file itself."""
        return self._store.path(self._blob)

    @property
    def handle(self) -> Handle | None:
        """The open file; None where the store is not a local disk. Raises `IntegrityError` when it has gone."""
        path = self.path
        if self._handle is None and path is not None:
            try:
                self._handle = Handle(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                raise IntegrityError(str(self._blob.digest), f"{self._blob.size} bytes", str(error.strerror)) from error
        return self._handle

    async def available(self, wanted: Span, request: Span) -> Span:
        """All of it."""
        return Span(min(wanted.start, self._blob.size), min(wanted.stop, self._blob.size))

    def must_restart(self, spans: Sequence[Span]) -> bool:
        """Whether a client could hold wrong bytes of an earlier fetch around these ranges."""
        return _touches(spans, self._doubt())

    async def read(self, span: Span) -> AsyncIterator[bytes]:
        """The bytes of `span`. Raises `IntegrityError` when the file is not what was stored."""
        stop = min(span.stop, self._blob.size)
        for start in range(span.start, stop, PIECE):
            piece = Span(start, min(stop, start + PIECE))
            try:
                handle = self.handle
                data = await (self._store.read(self._blob, piece) if handle is None else handle.read(piece))
            except OSError as error:
                raise IntegrityError(str(self._blob.digest), f"{self._blob.size} bytes", str(error.strerror)) from error
            yield data

    async def close(self) -> None:
        """Let go of the file."""
        if self._handle is not None:
            self._handle.close()
        leave, self._leave = self._leave, _nothing
        leave()


class Followed(Protocol):
    """What a reader sees of a flight: `Flight` itself, or one in another process."""

    source: Source
    size: int | None
    blob: Blob | None
    generation: int

    def descriptor(self) -> int:
        """A descriptor of its own for a reader, good whatever becomes of the flight."""

    async def available(self, reader: Reader, wanted: Span, request: Span) -> Span:
        """As `Flight.available`."""


class FlightBody:
    """A reader of a file that is still arriving, at its own place. Made by `Flights.join`, after `Flight.opened`."""

    running: Running | None = None

    def __init__(
        self, flight: Followed, store: Blobs, *, collapsed: bool, leave: Callable[[], None], doubt: Doubt
    ) -> None:
        source = flight.source
        declared = "" if source.declared is None else f'"{source.declared.hex}"'
        self.etag = _etag(source.headers, declared)
        self.headers = source.headers
        self.origin = "fwd=miss; collapsed" if collapsed else "fwd=miss; stored"
        self._flight, self._store, self._leave, self._doubt = flight, store, leave, doubt
        self._vouched = source.declared is not None
        self._reader = Reader(flight.generation)
        self._handle = Handle(flight.descriptor())

    @property
    def size(self) -> int | None:
        """The file's length; None while upstream has not said and the end has not come."""
        return self._flight.size

    @property
    def verified(self) -> bool:
        """False once bytes of a part were given before the digest was known, or where no digest is declared."""
        return self._vouched

    @property
    def landed(self) -> Blob | None:
        """What the flight became, once it has."""
        return self._flight.blob

    @property
    def path(self) -> Path | None:
        """The file, once it has landed."""
        blob = self._flight.blob
        return None if blob is None else self._store.path(blob)

    @property
    def handle(self) -> Handle | None:
        """The spool, or the blob that it became."""
        return self._handle

    async def available(self, wanted: Span, request: Span) -> Span:
        """What is here and may leave (P3). Raises `IntegrityError`, or whatever ended the flight."""
        span = await self._flight.available(self._reader, wanted, request)
        if len(span) and self._flight.blob is None and self._flight.size is not None:
            whole = request.start == 0 and request.stop >= self._flight.size
            self._vouched = self._vouched and whole
        return span

    def must_restart(self, spans: Sequence[Span]) -> bool:
        """Whether a client could hold wrong bytes of an earlier fetch around these ranges."""
        return _touches(spans, self._doubt())

    async def read(self, span: Span) -> AsyncIterator[bytes]:
        """The bytes of `span` as they arrive and may leave."""
        position = span.start
        while position < span.stop:
            some = await self.available(Span(position, span.stop), span)
            if not len(some):
                return
            piece = Span(position, min(some.stop, position + PIECE))
            data = await self._handle.read(piece)
            await self.available(piece, span)  # not dropped while it was read
            yield data
            position = piece.stop

    async def close(self) -> None:
        """Leave; the flight goes on."""
        self._handle.close()
        leave, self._leave = self._leave, _nothing
        leave()


class PassBody:
    """Straight through from upstream, when nothing can be stored. The end of a whole read stays back until it is verified.

    A part cannot be verified, so a range that reaches into the end is answered whole, unless it is a small read.
    """

    running: Running | None = None

    def __init__(self, source: Source, upstream: Upstream, tuning: Tuning, size: int | None, key: str, share: Share) -> None:
        self.size = size
        self.etag = _etag(source.headers, "" if source.declared is None else f'"{source.declared.hex}"')
        self.headers, self.origin = source.headers, "fwd=miss"
        self.verified = source.declared is not None
        self._source, self._upstream, self._tuning, self._key, self._share = source, upstream, tuning, key, share

    @property
    def path(self) -> Path | None:
        """There is no file."""
        return None

    def must_restart(self, spans: Sequence[Span]) -> bool:
        """Whether one of these ranges reaches into the end of the file."""
        if self.size is None or self._source.declared is None:
            return False
        small = self._tuning.unverified_ranges != "wait" and sum(map(len, spans)) <= SMALL < self.size
        return not small and _touches(spans, [Span(max(0, self.size - self._tuning.tail), self.size)])

    async def read(self, span: Span) -> AsyncIterator[bytes]:
        """The bytes of `span`, fetched for this reader alone, one of a few: raises `UpstreamDown` where there are enough."""
        with self._share.place():
            async for chunk in self._checked(span):
                yield chunk

    async def _checked(self, span: Span) -> AsyncIterator[bytes]:
        whole = span.start == 0 and (self.size is None or span.stop >= self.size)
        declared = self._source.declared
        self.verified = self.verified and whole
        if not whole or declared is None:
            async for chunk in self._fetch(span):
                yield chunk
            return
        sums = Sums(git=declared.algorithm == "git-sha1")
        sums.begin(self.size)
        back = bytearray()
        async for chunk in self._fetch(span):
            await sums.update(chunk)
            back += chunk
            if len(back) > self._tuning.tail + PIECE:
                yield bytes(back[: -self._tuning.tail])
                del back[: -self._tuning.tail]
        if sums.digest(declared) != declared:
            raise IntegrityError(self._key, str(declared), str(sums.digest(declared)))
        yield bytes(back)

    async def _fetch(self, span: Span) -> AsyncIterator[bytes]:
        position, failures = span.start, 0
        end = span.stop if self.size is None else min(span.stop, self.size)
        stop = None if self.size is None else end
        clock = asyncio.get_running_loop().time
        until = clock() + self._tuning.patience
        while position < end:
            before = position
            ask = replace(self._source.ask, patience=max(until - clock(), 0.01))
            try:
                async with transfer(self._upstream, ask, position, stop, size=self.size) as answer:
                    at = answer.start
                    async with aclosing(answer.chunks()) as chunks:
                        while chunk := await _in_time(chunks, until - clock()):
                            part = chunk[max(0, position - at) : max(0, end - at)]
                            at += len(chunk)
                            if part:
                                position += len(part)
                                yield part
                            if position >= end:
                                return
                            until = clock() + self._tuning.patience
                if self.size is None:
                    return
            except (UpstreamDown, UpstreamGarbage):
                failures = 0 if position > before else failures + 1
                if failures >= self._tuning.tries or clock() >= until:
                    raise
                await asyncio.sleep(self._tuning.backoff * 2**failures)

    async def close(self) -> None:
        """Nothing is held."""


async def _in_time(chunks: AsyncGenerator[bytes, None], seconds: float) -> bytes:
    """The next chunk, empty at the end. Raises `UpstreamDown` after `seconds`."""
    try:
        # Not wait_for, which forgets a cancellation that comes in the same turn as the chunk (Python before 3.12).
        async with asyncio.timeout(seconds):
            return await anext(chunks, b"")
    except TimeoutError:
        raise UpstreamDown("", "sends nothing") from None


def _nothing() -> None:
    pass


__all__ = ["ENDLESS", "PIECE", "BlobBody", "FlightBody", "Followed", "PassBody", "Restarting", "Sendable", "StoreFull"]
