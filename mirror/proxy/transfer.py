"""One request for a run of an artifact's bytes, with every way disbelieved in which the answer could be of something else."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mirror.core.errors import HubSaysNo, UpstreamDown, UpstreamGarbage
from mirror.core.http import parse_content_range

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from mirror.core.ports import Ask, Stream, Upstream

_CAUSES: Final = {
    "GatedRepo": "gated",
    "RepoNotFound": "missing_repo",
    "RevisionNotFound": "missing_revision",
    "EntryNotFound": "missing_entry",
    "DisabledRepo": "disabled",
}
_TRY_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Transfer:
    """A believable answer. Its first byte is the file's byte `start`; `stop` and the file's `size` None: not announced.

    `ranged` tells a 206 from a 200. `etag` is empty where there is none.
    """

    start: int
    stop: int | None
    size: int | None
    etag: str
    ranged: bool
    stream: Stream

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` on: all that was announced, or `UpstreamDown` (short) or `UpstreamGarbage` (long)."""
        position = self.start
        async for chunk in self.stream.chunks():
            position += len(chunk)
            if self.stop is not None and position > self.stop:
                raise UpstreamGarbage(self.stream.upstream, "more bytes than were announced")
            yield chunk
        if self.stop is not None and position < self.stop:
            raise UpstreamDown(self.stream.upstream, f"cut short at byte {position} of {self.stop}")


@asynccontextmanager
async def transfer(
    upstream: Upstream, ask: Ask, start: int, stop: int | None, *, size: int | None
) -> AsyncIterator[Transfer]:
    """Ask for `[start, stop)` of a file of `size` bytes (None: to the end, unknown), identity coding only.

    No `Range` is sent for a whole file, so that an upstream without ranges is not tried. A 200 for a range is a
    `Transfer` from byte 0. Raises `UpstreamDown` for what may pass, `UpstreamGarbage` for an answer that makes no
    sense (another range, another size, a content coding that nobody asked for), `HubSaysNo` for other refusals.
    """
    ranged = start > 0 or (stop is not None and stop != size)
    headers = {name: value for name, value in ask.headers.items() if name.lower() not in ("range", "accept-encoding")}
    headers["Accept-Encoding"] = "identity"
    if ranged:
        headers["Range"] = f"bytes={start}-" + ("" if stop is None else str(stop - 1))
    async with upstream.stream(replace(ask, method="GET", headers=headers)) as stream:
        _refuse_status(stream)
        coding = (stream.header("content-encoding") or "identity").strip().lower()
        if coding not in ("", "identity"):
            raise UpstreamGarbage(stream.upstream, f"Content-Encoding {coding} although identity was asked for")
        etag = stream.header("etag") or ""
        if stream.status == 206:
            if not ranged:
                raise UpstreamGarbage(stream.upstream, "206 although no range was asked for")
            yield _partial(stream, start, stop, size, etag)
        else:
            length = _length(stream)
            if size is not None and length is not None and length != size:
                raise UpstreamGarbage(stream.upstream, f"a body of {length} bytes for a file of {size}")
            whole = length if size is None else size
            yield Transfer(0, whole, whole, etag, ranged=False, stream=stream)


def _refuse_status(stream: Stream) -> None:
    if stream.status in (200, 206):
        return
    if stream.status in _TRY_AGAIN:
        after = stream.header("retry-after") or ""
        raise UpstreamDown(
            stream.upstream, f"answered {stream.status}", retry_after=float(after) if after.isdecimal() else None
        )
    if stream.status < 400 or stream.status == 416:
        raise UpstreamGarbage(stream.upstream, f"answered {stream.status} to a request for a file")
    code = stream.header("x-error-code") or ""
    raise HubSaysNo(stream.status, code, stream.header("x-error-message") or "", _CAUSES.get(code, "other"))


def _partial(stream: Stream, start: int, stop: int | None, size: int | None, etag: str) -> Transfer:
    value = stream.header("content-range") or ""
    parsed = parse_content_range(value)
    if parsed is None:
        raise UpstreamGarbage(stream.upstream, f"206 with Content-Range {value!r}")
    span, total = parsed
    if span.start != start or (stop is not None and span.stop > stop) or (None not in (size, total) and size != total):
        raise UpstreamGarbage(stream.upstream, f"206 with Content-Range {value!r} for bytes from {start} of {size}")
    length = _length(stream)
    if length is not None and length != len(span):
        raise UpstreamGarbage(stream.upstream, f"206 with {length} bytes for Content-Range {value!r}")
    return Transfer(start, span.stop, size if total is None else total, etag, ranged=True, stream=stream)


def _length(stream: Stream) -> int | None:
    value = stream.header("content-length")
    if value is None:
        return None
    if not (value.isascii() and value.isdecimal()):
        raise UpstreamGarbage(stream.upstream, f"Content-Length {value!r}")
    return int(value)
