"""Whole small answers given again before the request is parsed: the same bytes from the same place mean the same request.

A client that asks for what was just given to it would get `proxy.warm`'s answer; to parse, route and identify its request
for that costs many times what the answer does. So the finished answer is kept under the bytes of the request's head and
the address that it came from and to: everything that the long way looks at (path, host, credential, forwarded
address, conditions) is in one or the other. It may be given while `Gateway.once_more` says so, which is the same rule by
which the long way would give it, and which counts it in the ledger (P6), and while the caller is who he was: no token
expired or revoked. Every use has an id, a date, a log line and its place in the metrics, as any answer.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import formatdate
from functools import lru_cache, partial
from typing import Final

from aiohttp import HttpVersion11, hdrs, web

from mirror.core.actor import Actor
from mirror.core.errors import LedgerDown
from mirror.core.ids import ulid
from mirror.core.ports import Clock
from mirror.core.timing import server_timing
from mirror.log import RequestLine, stamped
from mirror.proxy.warm import Warm
from mirror.reply.again import WARM
from mirror.reply.identify import Identification
from mirror.web.metrics import Answered

#: The longest head that is looked up. A client chooses it, and the memory of it is ours.
MAX_HEAD: Final = 4096
_ROOM: Final = 64 * 1024 * 1024
_EACH: Final = 2048  # bytes that an answer takes beside its texts, roughly
#: So many heads are known to have come before.
_SEEN: Final = 8192
#: Bodies up to this size are copied behind their heads; larger ones go out as they lie.
_JOINED: Final = 16 * 1024

#: (peer's address, address and port that it came to).
Place = tuple[str, object]
#: The bytes of a request's head, and where it came from.
Asked = tuple[bytes, Place]

#: On a request that was one whole head and nothing else: what it is looked up by.
ASKED: Final = web.RequestKey("asked", tuple)
#: On a request: what is to be done with its answer when the head of it is complete.
FINISHED: Final = web.RequestKey("finished", partial)


@dataclass(frozen=True, slots=True)
class Repeat:
    """One finished answer: the bytes around what is new in each, and what is said of it.

    `edition` is that of what was known of callers, `ends` is when the caller's token expires (None for never).
    """

    warm: Warm
    edition: int
    ends: datetime | None
    to_date: bytes
    to_id: bytes
    rest: bytes
    body: bytes
    line: RequestLine
    answered: Answered
    sent: int

    def __len__(self) -> int:
        """The bytes of it that are the client's choice or the upstream's."""
        return len(self.to_date) + len(self.to_id) + len(self.rest) + len(self.body)


class Repeats:
    """A bounded memory of them. What was used longest ago goes first."""

    def __init__(
        self,
        once_more: Callable[[Warm, datetime], bool],
        identification: Identification,
        clock: Clock,
        entropy: Callable[[int], bytes],
        begin: Callable[[], None],
        room: int = _ROOM,
    ) -> None:
        """`once_more` is `Gateway.once_more`; `begin` is called as each answer begins, as for any request."""
        self._once_more, self._identification = once_more, identification
        self._clock, self._entropy, self._begin = clock, entropy, begin
        self._room, self._used = room, 0
        self._kept: OrderedDict[Asked, Repeat] = OrderedDict()
        self._seen: set[int] = set()

    def give(self, asked: Asked) -> tuple[bytes, ...] | None:
        """An answer to be written as it is, recorded, counted and logged; None for a request that must go the long way."""
        found = self._kept.get(asked)
        if found is None:
            return None
        started = time.perf_counter()
        self._begin()
        now = self._clock.now()
        try:
            same = found.edition == self._identification.edition and (found.ends is None or now < found.ends)
            if not (same and self._once_more(found.warm, now)):
                self._drop(asked)
                return None
        except LedgerDown:
            return None  # the long way says so
        self._kept.move_to_end(asked)
        identity = ulid(now, self._entropy(10))
        head = found.to_date + _date(int(time.time())) + found.to_id + identity.encode() + found.rest
        found.line.say(identity, stamped(now), soon=True)
        found.answered.count(time.perf_counter() - started, found.sent)
        return (head,) if not found.body else (head + found.body,) if len(found.body) <= _JOINED else (head, found.body)

    def watch(
        self, request: web.Request, response: web.StreamResponse, who: tuple[Actor, int], said: tuple[dict[str, object], Answered, int]
    ) -> None:  # fmt: skip
        """Keep the answer to this request, once its head is complete, if it is one that may be given again.

        `who` asked, by the `Identification.edition` as the request began; `said` is what the log, the metrics and the count of
        bytes had of it.
        """
        warm, asked = response.get(WARM), request.get(ASKED)
        if warm is None or asked is None or request.version != HttpVersion11 or request.body_exists:
            return
        kept = self._kept.get(asked)
        if not self._known(asked) or (kept is not None and kept.warm is warm and kept.edition == who[1]):
            return
        (actor, edition), (fields, answered, sent) = who, said
        known = (warm, edition, actor.token.expires_at if actor.token is not None else None)
        body = b"" if request.method == hdrs.METH_HEAD else warm.body or b""
        request[FINISHED] = partial(self._keep, asked, known, body, (RequestLine({**fields, "ms": 0.0}), answered, sent))

    def _known(self, asked: Asked) -> bool:
        """Whether the same was asked before. A head that some proxy marks with an id of its own never comes again."""
        number = hash(asked)
        if number in self._seen:
            return True
        if len(self._seen) >= _SEEN:
            self._seen.clear()
        self._seen.add(number)
        return False

    def _keep(
        self,
        asked: Asked,
        known: tuple[Warm, int, datetime | None],
        body: bytes,
        said: tuple[RequestLine, Answered, int],
        response: web.StreamResponse,
    ) -> None:
        parts = _around(response)
        self._drop(asked)
        if parts is not None and response.keep_alive:
            self._kept[asked] = repeat = Repeat(*known, *parts, body, *said)
            self._used += _weight(asked, repeat)
            while self._used > self._room:
                self._drop(next(iter(self._kept)))

    def _drop(self, asked: Asked) -> None:
        repeat = self._kept.pop(asked, None)
        if repeat is not None:
            self._used -= _weight(asked, repeat)


def _around(response: web.StreamResponse) -> tuple[bytes, bytes, bytes] | None:
    """The head of an answer around the values of its date and its id; None where it has not one of each in this order.

    Nobody waits for what is given here, so that is also what its account of time says.
    """
    fields = dict(response.headers.items())
    if len(fields) != len(response.headers) or hdrs.CONNECTION in response.headers:
        return None
    fields["Server-Timing"] = server_timing({}, 0.0)
    text = f"HTTP/1.1 {response.status} {response.reason}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
    before, date, after = text.partition(f"\r\nDate: {fields.get('Date', '')}\r\n")
    between, identity, rest = after.partition(f"\r\nX-Request-Id: {fields.get('X-Request-Id', '')}\r\n")
    if not (date and identity):
        return None
    return f"{before}\r\nDate: ".encode(), f"\r\n{between}\r\nX-Request-Id: ".encode(), f"\r\n{rest}".encode()


@lru_cache(4)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()


def _weight(asked: Asked, repeat: Repeat) -> int:
    return _EACH + len(asked[0]) + len(repeat)
