"""The language of the keeper's socket: length-prefixed frames of JSON, with bytes and descriptors beside it. Pure.

    u32 length of the JSON   u32 length of the bytes   u8 number of descriptors   JSON   bytes

All in network order. The JSON is `[kind, number, word, value]`; `number` joins an answer to its question. Descriptors
travel as SCM_RIGHTS (unix(7)) with the first byte of their frame, so those of a stream come in the order of its frames.
Nothing here is ever logged: a caller's credential may be in it.
"""

from __future__ import annotations

import json
import struct
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from mirror.core.errors import (
    HostNotAllowed,
    HubSaysNo,
    IntegrityError,
    LedgerDown,
    NotHere,
    QuotaSpent,
    StoreFull,
    UpstreamDown,
    UpstreamGarbage,
)  # fmt: skip
from mirror.core.nouns import Span

#: Both sides are of one release, and say so; a number that differs ends the conversation.
VERSION: Final = 1
HEAD: Final = struct.Struct("!IIB")
#: What a frame may hold at most; a larger one is an error, not an allocation.
MOST_JSON: Final = 32 * 1024 * 1024
MOST_BYTES: Final = 512 * 1024 * 1024
MOST_DESCRIPTORS: Final = 4


class Garbled(Exception):
    """What came is not of this language: the connection is of no more use."""


class What(StrEnum):
    """What a message is."""

    CALL = "call"  # a question, `word` its name
    DONE = "done"  # its answer
    FAILED = "failed"  # its answer: an error
    CANCEL = "cancel"  # the answer is no longer wanted
    NOTICE = "notice"  # something that wants no answer, `word` its name


@dataclass(frozen=True, slots=True)
class Message:
    """One frame. `number` is 0 for a notice. `value` is JSON; it may hold secrets, so it is not shown."""

    what: What
    number: int = 0
    word: str = ""
    value: Any = field(default=None, repr=False)
    data: bytes = field(default=b"", repr=False)
    descriptors: tuple[int, ...] = ()


def packed(message: Message) -> bytes:
    """The frame of a message, without its descriptors. Raises `ValueError` for one that is too large."""
    row = [message.what.value, message.number, message.word, message.value]
    text = json.dumps(row, separators=(",", ":"), allow_nan=False).encode("ascii")
    if len(text) > MOST_JSON or len(message.data) > MOST_BYTES or len(message.descriptors) > MOST_DESCRIPTORS:
        raise ValueError(f"too large for the keeper's socket: {len(text)} + {len(message.data)} bytes")
    return HEAD.pack(len(text), len(message.data), len(message.descriptors)) + text + message.data


class Frames:
    """Messages out of a stream that comes in pieces of any length."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._descriptors: deque[int] = deque()

    def feed(self, piece: bytes, descriptors: Iterable[int] = ()) -> list[Message]:
        """The messages that are whole now. Raises `Garbled`."""
        self._buffer += piece
        self._descriptors.extend(descriptors)
        found = []
        while (message := self._next()) is not None:
            found.append(message)
        return found

    def left(self) -> list[int]:
        """Descriptors that no message has taken, to be closed."""
        rest = list(self._descriptors)
        self._descriptors.clear()
        return rest

    def _next(self) -> Message | None:
        if len(self._buffer) < HEAD.size:
            return None
        text, data, count = HEAD.unpack_from(self._buffer)
        if text > MOST_JSON or data > MOST_BYTES or count > MOST_DESCRIPTORS:
            raise Garbled("a frame that is too large")
        end = HEAD.size + text + data
        if len(self._buffer) < end:
            return None
        if len(self._descriptors) < count:
            raise Garbled("a frame without its descriptors")
        raw, rest = bytes(self._buffer[HEAD.size : HEAD.size + text]), bytes(self._buffer[HEAD.size + text : end])
        del self._buffer[:end]
        return _message(raw, rest, tuple(self._descriptors.popleft() for _ in range(count)))


def _message(raw: bytes, data: bytes, descriptors: tuple[int, ...]) -> Message:
    try:
        what, number, word, value = json.loads(raw)
        if not isinstance(number, int) or not isinstance(word, str):
            raise TypeError("neither a number nor a word")
        return Message(What(what), number, word, value, data, descriptors)
    except (ValueError, TypeError) as error:
        raise Garbled(f"not a message: {type(error).__name__}") from None


def span_json(span: Span) -> list[int]:
    """A span, in its short form: it is said often."""
    return [span.start, span.stop]


def span_from(raw: Any) -> Span:
    """Of `span_json`."""
    start, stop = raw
    return Span(start, stop)


# --- errors -------------------------------------------------------------------------------------------------------


class KeeperFault(Exception):
    """Something went wrong in the keeper that has no type of its own: a bug, which its log tells more of."""


def _upstream(kind: type[UpstreamDown | UpstreamGarbage | HostNotAllowed]) -> Callable[[Sequence[Any]], BaseException]:
    return lambda raw: kind(raw[0], raw[1], retry_after=raw[2])


_UPSTREAM: Final = ("upstream", "fault", "retry_after")
#: By the name of the type: what an error is made of, and how it is made again.
_ERRORS: Final[Mapping[type[BaseException], tuple[tuple[str, ...], Callable[[Sequence[Any]], BaseException]]]] = {
    QuotaSpent: (_UPSTREAM, _upstream(QuotaSpent)),
    UpstreamDown: (_UPSTREAM, _upstream(UpstreamDown)),
    UpstreamGarbage: (_UPSTREAM, _upstream(UpstreamGarbage)),
    HostNotAllowed: (_UPSTREAM, _upstream(HostNotAllowed)),
    HubSaysNo: (("status", "code", "message", "cause", "commit"), lambda raw: HubSaysNo(*raw)),
    NotHere: (("what", "offline"), lambda raw: NotHere(raw[0], offline=raw[1])),
    IntegrityError: (("what", "declared", "computed"), lambda raw: IntegrityError(*raw)),
    StoreFull: (("needed",), lambda raw: StoreFull(*raw)),
    LedgerDown: ((), lambda raw: LedgerDown(*raw)),
    OSError: (("errno", "strerror"), lambda raw: OSError(*raw)),
    ValueError: ((), lambda raw: ValueError(*raw)),
}
_BY_NAME: Final = {kind.__name__: make for kind, (_, make) in _ERRORS.items()}


def error_json(error: BaseException) -> list[Any]:
    """An error as it crosses: the nearest type of the list, then what it holds."""
    for kind, (names, _) in _ERRORS.items():
        if isinstance(error, kind):
            return [kind.__name__, *(getattr(error, name) for name in names)] if names else [kind.__name__, str(error)]
    return [KeeperFault.__name__, f"{type(error).__name__}: {error}"]


def error_from(raw: Any) -> BaseException:
    """Of `error_json`; what makes no sense is a `KeeperFault`."""
    try:
        name, *rest = raw
        return _BY_NAME[name](rest) if name in _BY_NAME else KeeperFault(*rest)
    except (TypeError, ValueError, IndexError):
        return KeeperFault("an error that cannot be read")
