"""Faults that a test switches on while a stand-in runs: which requests they hit, and what they do to an answer.

A fault is data. `FaultBook.take` picks those that match a call (and counts them down), `reshape` changes the answer
before ranges are applied, and `plan` says how the bytes are to be put on the wire.
"""

from __future__ import annotations

import gzip
import itertools
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from .wire import Call, Reply, json_reply

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS: Final = {
    "drop_fin": "close the connection after `at` body bytes (FIN); the length header stays whole",
    "drop_rst": "reset the connection after `at` body bytes (RST)",
    "drop_before_headers": "close the connection without any answer (RST when `reset`)",
    "hang_headers": "accept the request and say nothing for `seconds`, then cut",
    "hang_body": "send headers and `at` body bytes, say nothing for `seconds`, then cut",
    "flip": "flip one bit of byte `at` of the whole representation; length and ETag stay",
    "short": "a body cut to `at` bytes with a length header that agrees: looks complete and is not",
    "long": "`extra` more bytes than there should be, with a length header that agrees",
    "status": "answer `status` (a burst with `times`)",
    "rate_limited": "429; `rate_limit_header` chooses between RateLimit and nothing at all",
    "redirect": "302 (or `status` if 3xx) to `location`",
    "ignore_range": "200 and the whole body for a request with Range",
    "wrong_range": "206 with a Content-Range that is `extra` bytes off",
    "gzip": "Content-Encoding: gzip although nobody asked for it",
    "garbage_http": "bytes that are no HTTP",
    "garbage_json": "200 with a body that is no JSON",
    "wrong_json": "200 with JSON of another shape (a list for an object and the reverse)",
    "slow_headers": "the head of the answer byte by byte, `seconds` in all",
    "throttle": "at most `rate` bytes a second on this connection",
    "latency": "`seconds` before the answer begins",
    "headers": "add or replace `headers` (an empty value removes one)",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to go wrong, for the requests that match.

    `path` is a case-sensitive glob on the raw path without its query, `origin` one on the origin's name (hub, cdn, cas,
    index, files), `methods` empty for all. The first `skip` matches pass unharmed, the next `times` are hit (None: all).
    """

    kind: str
    path: str = "*"
    origin: str = "*"
    methods: tuple[str, ...] = ()
    times: int | None = None
    skip: int = 0
    at: int = 0
    extra: int = 7
    status: int = 503
    seconds: float = 3600.0
    rate: int = 65536
    location: str = "http://127.0.0.1:1/elsewhere"
    rate_limit_header: bool = True
    reset: bool = False
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            msg = f"no fault is called {self.kind!r}; there are {', '.join(KINDS)}"
            raise ValueError(msg)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Fault:
        """A fault from the control route's JSON; unknown keys are errors."""
        known = {f.name for f in fields(cls)}
        if unknown := set(raw) - known:
            msg = f"unknown keys {sorted(unknown)}; a fault has {sorted(known)}"
            raise ValueError(msg)
        return cls(**{**raw, "methods": tuple(raw.get("methods", ()))})

    def matches(self, call: Call) -> bool:
        """Whether this call is one of those meant."""
        return (
            fnmatchcase(call.origin, self.origin)
            and fnmatchcase(call.path, self.path)
            and (not self.methods or call.method in self.methods)
        )


class FaultBook:
    """The faults in force, changeable from any thread while requests run."""

    def __init__(self) -> None:
        self._faults: dict[int, Fault] = {}
        self._seen: dict[int, int] = {}
        self._ids = itertools.count(1)

    def add(self, kind: str, path: str = "*", **options: Any) -> int:  # the fields of Fault
        """Switch a fault on; returns the number that `remove` takes."""
        return self.put(Fault(kind, path, **options))

    def put(self, fault: Fault) -> int:
        """Switch on a fault that is already made."""
        number = next(self._ids)
        self._seen[number] = 0
        self._faults[number] = fault
        return number

    def remove(self, number: int) -> None:
        """Switch one fault off; one that is gone already is no error."""
        self._faults.pop(number, None)

    def clear(self) -> None:
        """Switch all faults off."""
        self._faults.clear()

    def hits(self, number: int) -> int:
        """How many calls a fault has matched so far, those it let pass included."""
        return self._seen.get(number, 0)

    def take(self, call: Call) -> list[Fault]:
        """The faults that hit this call, each counted down."""
        taken = []
        for number, fault in list(self._faults.items()):
            if not fault.matches(call):
                continue
            self._seen[number] += 1
            turn = self._seen[number] - fault.skip
            if turn > 0 and (fault.times is None or turn <= fault.times):
                taken.append(fault)
        return taken


@dataclass(slots=True)
class Plan:
    """How an answer's bytes reach the wire; the default is: at once and whole."""

    latency: float = 0.0
    header_seconds: float = 0.0
    rate: int | None = None
    cut_at: int | None = None
    reset: bool = False
    hang: float = 0.0
    raw: bytes | None = None
    silent: bool = False
    range_off_by: int = 0

    @property
    def by_hand(self) -> bool:
        """Whether the server library cannot do this and the transport must be written to directly."""
        return any([self.header_seconds, self.rate, self.cut_at is not None, self.hang, self.raw, self.silent])


def reshape(reply: Reply, faults: list[Fault]) -> Reply:
    """The answer after the faults that change what is said (status, headers, bytes)."""
    for fault in faults:
        change = _RESHAPERS.get(fault.kind)
        if change is not None:
            reply = change(reply, fault)
    return reply


def plan(faults: list[Fault]) -> Plan:
    """How to send, after the faults that change the sending."""
    result = Plan()
    for fault in faults:
        match fault.kind:
            case "drop_fin" | "drop_rst":
                result.cut_at, result.reset = fault.at, fault.kind == "drop_rst"
            case "drop_before_headers":
                result.silent, result.reset = True, fault.reset
            case "hang_headers":
                result.silent, result.hang = True, fault.seconds
            case "hang_body":
                result.cut_at, result.hang = fault.at, fault.seconds
            case "garbage_http":
                result.raw = b"\x16\x03\x01 this is no HTTP\x00\xff\r\nnor: this\r\n\r\n"
            case "slow_headers":
                result.header_seconds = fault.seconds
            case "throttle":
                result.rate = fault.rate
            case "latency":
                result.latency += fault.seconds
            case "wrong_range":
                result.range_off_by = fault.extra
            case _:
                pass  # one that changes what is said, not how it is sent
    return result


def _flip(reply: Reply, fault: Fault) -> Reply:
    if reply.status == 200 and reply.body:  # only a whole representation has a byte `at`
        changed = bytearray(reply.body)
        changed[fault.at % len(changed)] ^= 0x01
        reply.body = bytes(changed)
    return reply


def _short(reply: Reply, fault: Fault) -> Reply:
    reply.body = reply.body[: fault.at]
    return reply


def _long(reply: Reply, fault: Fault) -> Reply:
    reply.body += b"\x00" * fault.extra
    return reply


def _status(reply: Reply, fault: Fault) -> Reply:
    failed = json_reply({"error": f"stand-in fault {fault.status}"}, fault.status)
    del failed.headers["ETag"]
    return failed.with_headers(fault.headers)


def _rate_limited(reply: Reply, fault: Fault) -> Reply:
    failed = json_reply({"error": "We had to rate limit you"}, 429)
    del failed.headers["ETag"]
    if fault.rate_limit_header:
        window = int(min(fault.seconds, 300))
        failed.headers["RateLimit"] = f'"resolvers";r=0;t={window}'
        failed.headers["RateLimit-Policy"] = '"fixed window";"resolvers";q=3000;w=300'
    return failed.with_headers(fault.headers)


def _redirect(reply: Reply, fault: Fault) -> Reply:
    reply.status = fault.status if 300 <= fault.status < 400 else 302
    reply.body, reply.ranged = b"", False
    reply.headers["Location"] = fault.location
    return reply


def _ignore_range(reply: Reply, _: Fault) -> Reply:
    reply.ranged = False
    return reply


def _gzip(reply: Reply, _: Fault) -> Reply:
    if reply.headers.get("Content-Encoding") != "gzip":
        reply.body, reply.ranged = gzip.compress(reply.body, 1, mtime=0), False
        reply.headers["Content-Encoding"] = "gzip"
    return reply


def _garbage_json(reply: Reply, _: Fault) -> Reply:
    reply.status, reply.body = 200, b'{"id": "acme/' + b"\xff\xfe" + b"<html>Bad gateway</html>"
    return reply


def _wrong_json(reply: Reply, _: Fault) -> Reply:
    reply.status = 200
    reply.body = b'{"surprise": true}' if reply.body.lstrip()[:1] == b"[" else b'["surprise", 1]'
    reply.headers.pop("Content-Encoding", None)
    return reply


def _headers(reply: Reply, fault: Fault) -> Reply:
    for name, value in fault.headers.items():
        reply.headers.popall(name, None)
        if value:
            reply.headers[name] = value
    return reply


_RESHAPERS: Final[dict[str, Callable[[Reply, Fault], Reply]]] = {
    "flip": _flip,
    "short": _short,
    "long": _long,
    "status": _status,
    "rate_limited": _rate_limited,
    "redirect": _redirect,
    "ignore_range": _ignore_range,
    "gzip": _gzip,
    "garbage_json": _garbage_json,
    "wrong_json": _wrong_json,
    "headers": _headers,
}
