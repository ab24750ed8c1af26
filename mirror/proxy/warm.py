"""Answers that were given a moment ago, for the same caller who asks for the same thing again.

Clients ask for a file several times in a row (HEAD and GET, a dozen processes of one job), and to find page, right,
facts, verdict and bytes anew costs more than to send them. What is kept here was admitted, under the rules that are in
force still, not longer than `LIFE` ago, and no longer than its verdict and the hub's page are good for. Each use is
counted in the ledger like any other answer (P6).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mirror.core.decision import Admission

#: How long an answer may be given again: short beside everything that it rests on.
LIFE: Final = timedelta(seconds=5)
#: The largest body that is kept.
SMALL: Final = 64 * 1024
_ROOM: Final = 64 * 1024 * 1024
_EACH: Final = 2048  # bytes that an answer takes beside its body and its texts, roughly

#: What makes two requests the same one. The texts in it are of the client's choosing, and so is their length.
Key = tuple[Hashable, ...]


@dataclass(frozen=True, slots=True)
class Warm:
    """One whole answer. `body` is None for HEAD; `epoch` numbers the rules under which it was admitted."""

    admission: Admission
    headers: tuple[tuple[str, str], ...]
    body: bytes | None
    epoch: int
    given_at: datetime
    until: datetime


class WarmAnswers:
    """A bounded memory of them."""

    def __init__(self, room: int = _ROOM) -> None:
        self._room, self._used = room, 0
        self._kept: OrderedDict[Key, Warm] = OrderedDict()

    def get(self, key: Key, epoch: int, now: datetime) -> Warm | None:
        """The answer under `key`, if it may be given at `now` under the rules numbered `epoch`. A clock set back ends it too."""
        warm = self._kept.get(key)
        if warm is None:
            return None
        if warm.epoch != epoch or not warm.given_at <= now < warm.until:
            self._drop(key)
            return None
        return warm

    def put(
        self, key: Key, admission: Admission, headers: tuple[tuple[str, str], ...], body: bytes | None, *, until: datetime, epoch: int, now: datetime
    ) -> None:  # fmt: skip
        """Keep an answer that was given at `now`, unless something that it rests on has no time left.

        `until` is how long page and right are good for.
        """
        end = min(now + LIFE, until, admission.decision.verdict.valid_until or until)
        self._drop(key)
        if now < end:
            self._kept[key] = warm = Warm(admission, headers, body, epoch, now, end)
            self._used += _weight(key, warm)
            while self._used > self._room:
                self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        warm = self._kept.pop(key, None)
        if warm is not None:
            self._used -= _weight(key, warm)


def _weight(key: Key, warm: Warm) -> int:
    texts = sum(len(part) for part in key if isinstance(part, str)) + sum(len(name) + len(value) for name, value in warm.headers)
    return _EACH + texts + (len(warm.body) if warm.body is not None else 0)
