"""A bounded share of the connections to a hub, for what holds one for as long as a client likes.

An event stream, a clone and a full disk's pass-through each keep a connection for one client alone. Without a bound a
few hundred slow readers would take all of a pool, and files that hundreds wait for would not be fetched.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mirror.core.errors import Limited, UpstreamDown

if TYPE_CHECKING:
    from collections.abc import Iterator

#: When to come back, in seconds.
_WAIT: Final = 30.0


class Share:
    """At most `most` places for all, and `each` for one caller (None: as many as there are).

    `what` says in the plural what holds one, `of` is the origin or the name of the hub.
    """

    def __init__(self, of: str, what: str, most: int, each: int | None = None) -> None:
        self._of, self._what, self._most, self._each = of, what, most, each
        self._taken: Counter[str] = Counter()

    @contextmanager
    def place(self, who: str = "") -> Iterator[None]:
        """One place, for as long as the block lasts.

        Raises `Limited` (429) for a caller who has as many as they may, `UpstreamDown` with a time to come back (503) where
        all are taken.
        """
        if self._each is not None and self._taken[who] >= self._each:
            raise Limited(f"{self._taken[who]} {self._what} are open for you: close one first", _WAIT)
        if self._taken.total() >= self._most:
            raise UpstreamDown(self._of, f"{self._taken.total()} {self._what} are open, as many as there may be", retry_after=_WAIT)
        self._taken[who] += 1
        try:
            yield
        finally:
            self._taken[who] -= 1
            if not self._taken[who]:
                del self._taken[who]
