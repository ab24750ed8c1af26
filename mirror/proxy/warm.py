"""Answers that were given a moment ago, for the same caller who asks for the same thing again.

Clients ask for a file several times in a row (HEAD and GET, a dozen processes of one job), and to find page, right,
facts, verdict and bytes anew costs more than to send them. What is kept here was admitted, under the rules that are in
force still, not longer than `LIFE` ago, and no longer than its verdict and the hub's page are good for. Each use is
counted in the ledger like any other answer (P6).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from mirror.core.decision import Admission

#: How long an answer may be given again: short beside everything that it rests on.
LIFE: Final = timedelta(seconds=5)
#: The largest file that is kept, and the largest page: that one is in memory in any case.
SMALL: Final = 64 * 1024
PAGE: Final = 256 * 1024
_ROOM: Final = 64 * 1024 * 1024
_EACH: Final = 2048  # bytes that an answer takes beside its body and its texts, roughly

#: What makes two requests the same one. The texts in it are of the client's choosing, and so is their length.
Key = tuple[Hashable, ...]


@dataclass(frozen=True, slots=True)
class Warm:
    """One whole answer. `body` is None where none is sent; `epoch` numbers the rules under which it was given.

    `admission` is None for a page on which nothing is left out: no event stands for it. `stands` says whether the pages that
    it was made from are still the newest ones.
    """

    admission: Admission | None
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes | None
    epoch: int
    given_at: datetime
    until: datetime
    stands: Callable[[], bool]
    entry: str = ""  # of the cached file, where it is one

    def lasts(self, epoch: int, now: datetime) -> bool:
        """Whether it may be given at `now` under the rules numbered `epoch`. A clock set back ends it too."""
        return self.epoch == epoch and self.given_at <= now < self.until and self.stands()


class WarmAnswers:
    """A bounded memory of them."""

    def __init__(self, room: int = _ROOM) -> None:
        self._room, self._used = room, 0
        self._kept: OrderedDict[Key, Warm] = OrderedDict()

    def get(self, key: Key, epoch: int, now: datetime) -> Warm | None:
        """The answer under `key`, if it may be given at `now` under the rules numbered `epoch`."""
        warm = self._kept.get(key)
        if warm is not None and not warm.lasts(epoch, now):
            self._drop(key)
            return None
        return warm

    def put(self, key: Key, warm: Warm) -> None:
        """Keep an answer that was just given, for `LIFE` at most, unless something that it rests on has no time left."""
        verdict = warm.admission.decision.verdict if warm.admission is not None else None
        end = min(warm.given_at + LIFE, warm.until, verdict.valid_until or warm.until if verdict is not None else warm.until)
        self._drop(key)
        if warm.given_at < end:
            self._kept[key] = warm = replace(warm, until=end)
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
