"""Which origins want no more requests for a while, and in whose name: what a 429 says holds for everybody who shares it.

One budget a process. The hub counts by token, and by address where there is none; so does this, that one person's spent
quota stops nobody else, and a hundred clients do not ask a hub a hundred times that has said no.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

#: Seconds to stay away from an origin that answers 429 and does not say for how long.
UNTOLD: Final = 10.0
#: How many (origin, scope) pairs are remembered; the one that spoke first is forgotten first.
_KEPT: Final = 10_000


class Spent:
    """Origins to stay away from. `now` is monotonic seconds; a scope is a fingerprint, a fixed word, or "" for nobody's."""

    def __init__(self) -> None:
        self._until: OrderedDict[tuple[str, str], float] = OrderedDict()

    def say(self, origin: str, scope: str, wait: float | None, now: float) -> float:
        """`origin` has answered 429 to `scope` and named `wait` seconds, or none. Gives how long it is left alone."""
        pause = UNTOLD if wait is None else wait
        self._until[origin, scope] = max(now + pause, self._until.pop((origin, scope), 0.0))
        while len(self._until) > _KEPT:
            self._until.popitem(last=False)
        return pause

    def left(self, origin: str, scope: str, now: float) -> float:
        """Seconds for which nothing may be sent to `origin` in this name; 0 where it may."""
        until = self._until.get((origin, scope))
        if until is None:
            return 0.0
        if until <= now:
            del self._until[origin, scope]
            return 0.0
        return until - now
