"""Counting requests against a rate, in constant memory a client: GCRA, the generic cell rate algorithm.

A client's state is one moment: when all that it was granted would be used up at the even pace of its rate (ITU-T I.371,
"theoretical arrival time"). A client that was quiet may spend its whole allowance at once, and is then let in at that
pace; there is no window whose edge would grant twice the rate.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """`requests` in `seconds`; both above zero."""

    requests: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a client stands after a request. `wait` is in seconds.

    Permitted: `remaining` more may come at once, and after `wait` the whole allowance is there again. Not permitted:
    `remaining` is 0, and after `wait` there is room for this request.
    """

    permitted: bool
    remaining: int
    wait: float


class Meter:
    """Allowances by key, of at most `keys` clients; whoever asked longest ago is forgotten first."""

    def __init__(self, keys: int = 50_000) -> None:
        self._keys = keys
        self._used_until: OrderedDict[str, float] = OrderedDict()

    def __contains__(self, key: str) -> bool:
        return key in self._used_until

    def __len__(self) -> int:
        return len(self._used_until)

    def take(self, key: str, rate: Rate, now: float, cost: int = 1) -> Standing:
        """Count a request that weighs `cost` against `key`. `now` is monotonic seconds; a refused request costs nothing."""
        pace = rate.seconds / rate.requests
        used = min(self._used_until.get(key, now), now + rate.seconds)  # an earlier, slower rate does not linger
        until = max(used, now) + min(cost, rate.requests) * pace
        over = until - now - rate.seconds
        if over > pace * 1e-6:  # sums of floats: the last request of an allowance must not fail by a rounding
            if key in self._used_until:
                self._used_until.move_to_end(key)  # who goes on asking is not forgotten for it
            return Standing(False, 0, over)
        self._used_until[key] = until
        self._used_until.move_to_end(key)
        while len(self._used_until) > self._keys:
            self._used_until.popitem(last=False)
        return Standing(True, max(0, math.floor((now + rate.seconds - until) / pace + 1e-6)), until - now)
