"""Which bytes of an unverified file may leave (P3). Pure.

A file can only be completed from its last missing byte on. So `tail` bytes of every file stay back until its digest was
verified, whoever asks and in however many pieces: normally the last ones, because a client that reads in order comes
to them last. A small read of the end (a Parquet footer) is let through where another run of `tail` bytes that nobody has
been given yet can stay back instead.
"""

from __future__ import annotations

from typing import Final

from mirror.core.nouns import Span
from mirror.core.spans import SpanSet

#: A request for no more than this is a footer or header read.
SMALL: Final = 1024 * 1024
MODES: Final = ("hold_tail", "serve", "wait")
#: How much in front of what is held back leaves only as verification advances: enough for a drip of many minutes.
_RESERVE: Final = 1024 * 1024


class Withholding:
    """The state of one file in flight. `size` None: its length is not known yet, and only its front can leave.

    `mode`: `hold_tail` as above; `serve` lets every small range through without regard to what stays back; `wait`
    lets no range through before verification.
    """

    def __init__(self, size: int | None, tail: int, mode: str) -> None:
        if mode not in MODES:
            raise ValueError(f"unverified_ranges is one of {', '.join(MODES)}, not {mode!r}")
        self._tail, self._mode = tail, mode
        self.size = size
        self.released = SpanSet()
        self.withheld = Span(0, 0) if size is None else Span(max(0, size - tail), size)

    def sized(self, size: int) -> None:
        """The length became known."""
        self.size = size
        self.withheld = Span(max(0, size - self._tail), size)

    @property
    def reserve(self) -> Span:
        """What comes just before `withheld`, and leaves in step with verification: a drip for who waits for the end."""
        room = min(_RESERVE, (self.size or 0) // 16, self.withheld.start)
        return Span(self.withheld.start - room, self.withheld.start)

    def allowed(self, wanted: Span, request: Span, arrived: int, hashed: int | None = None) -> int:
        """How far the bytes from `wanted.start` may leave now, unverified, for a read of `request`.

        `arrived` is where the bytes that are here from `wanted.start` on end, `hashed` how far verification has come
        (None: nobody waits for it long). Gives `wanted.start` when none may. What is allowed counts as released.
        """
        stop = min(wanted.stop, arrived)
        whole = request.start == 0 and (self.size is None or request.stop >= self.size)
        if self.size is None:
            stop = min(stop, arrived - self._tail) if whole else wanted.start
        elif whole or not (self._mode == "serve" and len(request) <= SMALL):
            if not whole and self._mode == "wait":
                return wanted.start
            if not whole and len(request) <= SMALL:
                self._make_way(request)
            if wanted.start < self.withheld.stop:
                stop = min(stop, self.withheld.start)
                if request.stop > self.withheld.start and (whole or len(request) > SMALL) and hashed is not None:
                    reserve = self.reserve
                    stop = min(stop, reserve.stop - len(reserve) * (self.size - hashed) // max(1, self.size))
        stop = max(stop, wanted.start)
        self.released.add(Span(wanted.start, stop))
        return stop

    def _make_way(self, request: Span) -> None:
        """Hold back other bytes than those of `request`, if enough of them have not left yet: the last such."""
        if request.stop <= self.withheld.start or self.withheld.stop <= request.start:
            return
        gone = self.released.copy()
        gone.add(request)
        position = 0
        last: Span | None = None
        while (gap := gone.gap(position, self.size or 0)) is not None:
            last = gap if len(gap) >= self._tail else last
            position = gap.stop
        if last is not None:
            self.withheld = Span(last.stop - self._tail, last.stop)
