"""What goes over a stand-in's wire: one recorded call, one answer, and the log of all calls.

The stand-ins imitate other people's servers, so nothing here (or anywhere in this package) imports the product.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import json
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from multidict import CIMultiDict, CIMultiDictProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

GZIP_FROM = 1000
"""Bodies of at least this many bytes are compressed when a client accepts gzip, as a CDN in front of a hub does."""


@dataclass(slots=True)
class Call:
    """One request as it arrived: the path is raw (nothing decoded), header names are case-insensitive."""

    origin: str
    method: str
    raw_path: str
    headers: CIMultiDictProxy[str]
    body: bytes = b""
    status: int = 0  # what was answered; 0 while it is being answered, or when the connection was cut

    @property
    def path(self) -> str:
        """The raw path without its query."""
        return self.raw_path.partition("?")[0]

    @property
    def query_string(self) -> str:
        """The raw query, without the question mark."""
        return self.raw_path.partition("?")[2]

    @property
    def query(self) -> list[tuple[str, str]]:
        """The decoded query pairs in order; empty values are kept."""
        return parse_qsl(self.query_string, keep_blank_values=True)

    @property
    def segments(self) -> list[str]:
        """The path's segments, split first and decoded afterwards: `refs%2Fpr%2F1` stays one segment."""
        return [unquote(part) for part in self.path.split("/")[1:]]

    def param(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        return next((value for key, value in self.query if key == name), default)

    def params(self, *names: str) -> list[str]:
        """All values of a repeated query parameter, whichever of the spellings was used (`expand`, `expand[]`)."""
        return [value for key, value in self.query if key in names]

    def truthy(self, name: str) -> bool:
        """Whether a flag is on: clients write `true`, `True` and `1`."""
        return self.param(name).lower() in {"true", "1"}

    @property
    def token(self) -> str | None:
        """The token of a Bearer header, or the password of a Basic one (git); None for anonymous."""
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return value.strip() or None
        if scheme.lower() == "basic":
            try:
                return base64.b64decode(value).decode().partition(":")[2] or None
            except (binascii.Error, UnicodeDecodeError):
                return value
        return None

    def accepts_gzip(self) -> bool:
        """Whether `Accept-Encoding` names gzip with a weight above zero."""
        for part in self.headers.get("Accept-Encoding", "").split(","):
            name, _, weight = part.strip().partition(";")
            if name.strip().lower() == "gzip":
                return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
        return False

    def plain(self) -> dict[str, Any]:
        """The call as JSON values, for the log of a stand-in that runs as a process."""
        return {
            "origin": self.origin,
            "method": self.method,
            "path": self.raw_path,
            "headers": [[name, value] for name, value in self.headers.items()],
            "body": self.body.decode("utf-8", "replace"),
            "status": self.status,
        }


class RequestLog(list[Call]):
    """Every call that reached any of a stand-in's origins, in order of arrival."""

    def where(self, *, origin: str = "*", method: str = "*", path: str = "*") -> list[Call]:
        """The calls whose origin, method and raw path (without the query) match these case-sensitive globs."""
        return [
            call
            for call in self
            if fnmatchcase(call.origin, origin) and fnmatchcase(call.method, method) and fnmatchcase(call.path, path)
        ]

    def lines(self) -> list[str]:
        """`origin METHOD /raw/path status` for each call: what a failing assertion should show."""
        return [f"{call.origin} {call.method} {call.raw_path} {call.status}" for call in self]


@dataclass(slots=True)
class Reply:
    """An answer before faults and ranges are applied: `body` is always the whole representation."""

    status: int = 200
    body: bytes = b""
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)
    reason: str | None = None
    chunked: bool = False
    ranged: bool = False  # `Range` and `If-Range` are honoured
    live: AsyncIterator[bytes] | None = None  # a body that comes bit by bit instead of `body`; no fault but a status reaches it

    def with_headers(self, extra: Mapping[str, str] | Iterable[tuple[str, str]]) -> Reply:
        """The same reply after replacing these headers (returned for chaining)."""
        for name, value in extra.items() if hasattr(extra, "items") else extra:
            self.headers[name] = value
        return self


def text_reply(body: str, status: int = 200, **headers: str) -> Reply:
    """A plain text answer; underscores in the header arguments become hyphens."""
    merged = CIMultiDict({"Content-Type": "text/plain; charset=utf-8"})
    merged.update({name.replace("_", "-"): value for name, value in headers.items()})
    return Reply(status, body.encode(), merged)


def json_reply(value: object, status: int = 200) -> Reply:
    """A JSON answer with the weak ETag that the hub's framework puts on every API body."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    tag = base64.b64encode(hashlib.sha1(body, usedforsecurity=False).digest()).decode().rstrip("=")
    headers = CIMultiDict({"Content-Type": "application/json; charset=utf-8", "ETag": f'W/"{len(body):x}-{tag}"'})
    return Reply(status, body, headers)


def compress(call: Call, reply: Reply) -> Reply:
    """Compress as a CDN does for whoever accepts gzip: no length, chunked, a weak ETag, ranges forgotten."""
    if reply.status != 200 or len(reply.body) < GZIP_FROM or not call.accepts_gzip():
        return reply
    reply.body = gzip.compress(reply.body, 1, mtime=0)
    reply.headers["Content-Encoding"] = "gzip"
    reply.headers["Vary"] = ",".join(filter(None, [reply.headers.get("Vary", "Origin"), "accept-encoding"]))
    tag = reply.headers.get("ETag", "")
    if tag and not tag.startswith("W/"):
        reply.headers["ETag"] = f"W/{tag}"
    reply.chunked, reply.ranged = True, False
    return reply
