"""One table of routes for each dialect, matched on the raw path.

The web framework's own router decodes `%2F`, `%23` and `//` before it matches, and a rule can be walked round in the
difference. Here one parser sees what was sent: the query is cut off, leading and doubled slashes are collapsed, the
mount is removed, and everything else stays as it came (P2).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Protocol, runtime_checkable

from aiohttp import web

from mirror.core.actor import Actor
from mirror.core.decision import RequestInfo
from mirror.core.errors import Malformed, MirrorError, Refused


class Handling(StrEnum):
    """How a route is judged."""

    CONTENT = "content"  # bytes of an artifact: admission, always
    FACTS = "facts"  # what the hub says about a project: admission of the project, filtered
    LISTING = "listing"  # many projects
    IDENTITY = "identity"  # depends on the caller: never stored, never shared
    REFUSED = "refused"  # known, and answered with a refusal
    WRITE = "write"  # a mirror takes nothing in: refused and recorded
    SINK = "sink"  # telemetry: swallowed


@dataclass(frozen=True, slots=True)
class Call:
    """One request on its way to a handler. `raw_path` is below the mount and starts with `/`; `query` is raw, without `?`.

    `public_url` is the origin (scheme://host[:port]) for links to ourselves, without trailing slash; `mount` is ""
    for the root, else `/name`.
    """

    request: web.Request
    actor: Actor
    match: re.Match[str]
    raw_path: str
    query: str
    info: RequestInfo
    public_url: str
    mount: str

    @property
    def head(self) -> bool:
        """Whether only headers are wanted."""
        return self.request.method == "HEAD"


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """A row of the table: methods and a pattern that must match the whole raw path below the mount.

    `identified` gives the request by which it is told who asks, where that is not the request itself.
    """

    name: str
    methods: frozenset[str]
    pattern: re.Pattern[str]
    handling: Handling
    handler: Handler
    identified: Callable[[web.Request], web.Request] | None = None


def route(
    name: str, methods: str, pattern: str, handling: Handling, handler: Handler,
    identified: Callable[[web.Request], web.Request] | None = None,
) -> Route:  # fmt: skip
    """A row from readable parts: `methods` are separated by spaces, `pattern` is a regular expression."""
    return Route(name, frozenset(methods.split()), re.compile(pattern), handling, handler, identified)


class Dialect(Protocol):
    """What the web layer needs of a hub: its table, and how it says no."""

    @property
    def name(self) -> str:
        """The instance's name in the configuration."""

    @property
    def mount(self) -> str:
        """Empty for the root, else `/name`."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """Host names that belong to this instance alone."""

    @property
    def routes(self) -> Sequence[Route]:
        """The table."""

    async def refuse(self, call: Call, refused: Refused) -> web.StreamResponse:
        """The refusal in this ecosystem's words."""

    async def problem(self, call: Call, error: MirrorError) -> web.StreamResponse:
        """Any other failure in this ecosystem's words."""

    async def unknown(self, call: Call) -> web.StreamResponse:
        """A route that is not in the table."""


@runtime_checkable
class Labelled(Protocol):
    """A hub that clients also ask under a label before its own host name (`datasets-server.mirror.corp`)."""

    @property
    def labels(self) -> Mapping[str, Sequence[Route]]:
        """The table of each label."""


_SLASHES = re.compile(r"/{2,}")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ENCODED_CONTROL = re.compile(r"%[01][0-9a-f]|%7f")
#: Longest request target that is read further; longer ones cannot name anything that a hub has.
MAX_TARGET = 8192


def normal_path(raw_target: str) -> tuple[str, str]:
    """(path, query) of a raw request target: absolute forms reduced, slashes collapsed, escapes left alone.

    Raises `Malformed` for control characters, a backslash, a broken escape, an encoded NUL, or a dot segment in any
    spelling: no hub has such names, and everything downstream relies on their absence.
    """
    if len(raw_target) > MAX_TARGET:
        raise Malformed("the request target is longer than 8192 characters", status=414)
    path, _, query = raw_target.partition("?")
    path = path.partition("#")[0]
    return (_known_path(path) if len(path) <= _OFTEN else _normal(path)), query


def _normal(path: str) -> str:
    if path.startswith(("http://", "https://")):  # RFC 9112 3.2.2, absolute-form
        path = "/" + path.split("/", 3)[3] if path.count("/") >= 3 else "/"
    if not path.startswith("/"):
        raise Malformed("the request target is not a path")
    if any(ord(character) < 0x21 or ord(character) == 0x7F for character in path) or "\\" in path:
        raise Malformed("the path holds a control character, a space or a backslash")
    if _BAD_ESCAPE.search(path):
        raise Malformed("the path holds a broken percent escape")
    lowered = path.lower()
    if _ENCODED_CONTROL.search(lowered):
        raise Malformed("the path holds an encoded control character")
    path = _SLASHES.sub("/", path)
    for segment in re.split(r"/|%2f", lowered):
        if segment.replace("%2e", ".") in (".", ".."):
            raise Malformed("the path holds a dot segment")
    return path


#: The same few paths are asked for again and again; longer ones are read anew, so that the memory stays small.
_OFTEN = 512
_known_path = lru_cache(4096)(_normal)


def under(mount: str, path: str) -> str | None:
    """`path` below `mount` ("" or "/name"), starting with `/`; None when it is not below it."""
    if not mount:
        return path
    if path == mount:
        return "/"
    return path[len(mount):] if path.startswith(mount + "/") else None


def find(routes: Sequence[Route], method: str, path: str) -> tuple[Route, re.Match[str]] | frozenset[str] | None:
    """The row for a request; else the methods under which the path exists (405); else None."""
    allowed: set[str] = set()
    for row in routes:
        match = row.pattern.fullmatch(path)
        if match is None:
            continue
        if method in row.methods:
            return row, match
        allowed |= row.methods
    return frozenset(allowed) if allowed else None
