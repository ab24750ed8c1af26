"""A set of byte positions, kept as sorted, disjoint, non-touching spans: what has arrived, what has left."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from mirror.core.nouns import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class SpanSet:
    """Mutable. Every operation costs O(log n + spans touched); positions are byte offsets from 0."""

    __slots__ = ("_starts", "_stops")

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for span in spans:
            self.add(span)

    def __iter__(self) -> Iterator[Span]:
        return iter([Span(start, stop) for start, stop in zip(self._starts, self._stops, strict=True)])

    def __bool__(self) -> bool:
        return bool(self._starts)

    @property
    def total(self) -> int:
        """How many bytes are in the set. Not `len`: `list` and `tuple` would make room for so many items."""
        return sum(self._stops) - sum(self._starts)

    def copy(self) -> SpanSet:
        """An independent set of the same bytes."""
        other = SpanSet()
        other._starts, other._stops = self._starts[:], self._stops[:]
        return other

    def add(self, span: Span) -> None:
        """Put the bytes of `span` in."""
        if not len(span):
            return
        first = bisect_left(self._stops, span.start)
        last = bisect_right(self._starts, span.stop)
        start, stop = span.start, span.stop
        if first < last:
            start, stop = min(start, self._starts[first]), max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]

    def remove(self, span: Span) -> None:
        """Take the bytes of `span` out."""
        first = bisect_right(self._stops, span.start)
        last = bisect_left(self._starts, span.stop)
        if first >= last or not len(span):
            return
        kept = [(self._starts[first], span.start), (span.stop, self._stops[last - 1])]
        kept = [(start, stop) for start, stop in kept if start < stop]
        self._starts[first:last] = [start for start, _ in kept]
        self._stops[first:last] = [stop for _, stop in kept]

    def run(self, offset: int) -> int:
        """Where the unbroken bytes that begin at `offset` end; `offset` itself when it is not in the set."""
        at = bisect_right(self._starts, offset) - 1
        return max(offset, self._stops[at]) if at >= 0 else offset

    def gap(self, offset: int, limit: int) -> Span | None:
        """The first span within `[offset, limit)` of which no byte is in the set, as long as possible; None if all are."""
        start = self.run(offset)
        if start >= limit:
            return None
        at = bisect_left(self._starts, start)
        return Span(start, min(limit, self._starts[at]) if at < len(self._starts) else limit)

    def covers(self, span: Span) -> bool:
        """Whether every byte of `span` is in the set."""
        return not len(span) or self.run(span.start) >= span.stop
