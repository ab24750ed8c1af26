"""The front door: every request, from its raw path to one log line.

The order is fixed: parse the path, check the host, tell who asks, find the row in the dialect's table, run it, and
turn whatever goes wrong into an answer that the client's tool can print. The two blanket excepts of the product are
here and in `cli/main.py`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import structlog
from aiohttp import web

from mirror.core.actor import Actor
from mirror.core.decision import RequestInfo
from mirror.core.errors import LedgerDown, Malformed, MirrorError, Pending, Refused
from mirror.core.ids import ulid
from mirror.core.ports import Clock
from mirror.reply.identify import Identification
from mirror.reply.refusal import problem
from mirror.reply.routing import Call, Dialect, Route, find, normal_path, under
from mirror.web.metrics import Metrics
from mirror.web.server import REQUEST_ID

log = structlog.get_logger("mirror")

#: First path segments that belong to us and to the default Python index, at the root of every host.
OURS: Final = "-"
PYTHON_ALIASES: Final = ("pypi", "simple", "packages")
KNOWN_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

OwnHandler = Callable[[web.Request, str, str], Any]


@dataclass(slots=True)
class Trace:
    """What the log line of one request will say."""

    id: str
    started: float
    hub: str = "-"
    route: str = "-"
    actor: Actor | None = None
    decision: str = ""
    rule: str = ""
    fault: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hosts:
    """Which names this mirror answers to. `public_url` None: only the listen address and loopback (SURFACE 2)."""

    public_url: str | None
    listen: str
    scheme: str

    def public(self, request: web.Request, dialect_hosts: frozenset[str]) -> str | None:
        """The origin for links, or None when the Host header names somebody else (421)."""
        host = request.headers.get("Host", "")
        name = host_name(host)
        if name in dialect_hosts:
            return f"{self.scheme}://{host}"
        if self.public_url is not None:
            return self.public_url
        return f"{self.scheme}://{host}" if host and self._ours(name, request) else None

    def _ours(self, name: str, request: web.Request) -> bool:
        if name in ("localhost", self.listen.casefold()) or name.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        local = request.transport.get_extra_info("sockname") if request.transport else None
        return address.is_loopback or (local is not None and str(address) == local[0])


def host_name(host: str) -> str:
    """The name in a Host header, without port and brackets, case-folded."""
    if host.startswith("["):
        return host[1:].partition("]")[0].casefold()
    return host.partition(":")[0].casefold()


class Front:
    """The callable that the server runs for each request."""

    def __init__(
        self,
        *,
        dialects: Sequence[Dialect],
        identification: Identification,
        own: Mapping[str, OwnHandler],
        hosts: Hosts,
        clock: Clock,
        entropy: Callable[[int], bytes],
        metrics: Metrics,
    ) -> None:
        self.dialects = tuple(sorted(dialects, key=lambda dialect: -len(dialect.mount)))
        self._by_host = {host.casefold(): dialect for dialect in dialects for host in dialect.hosts}
        self._names = frozenset(self._by_host)
        self._identification, self._own, self._hosts = identification, own, hosts
        self._clock, self._entropy, self._metrics = clock, entropy, metrics

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; never raises but for a client that went away."""
        trace = Trace(id=ulid(self._clock.now(), self._entropy(10)), started=time.perf_counter())
        request[REQUEST_ID] = trace.id
        self._metrics.in_flight.inc()
        response: web.StreamResponse | None = None
        try:
            response = await self._answer(request, trace)
        finally:
            self._metrics.in_flight.dec()
            self._record(request, response, trace)
        return response

    async def _answer(self, request: web.Request, trace: Trace) -> web.StreamResponse:
        try:
            path, query = normal_path(request.raw_path)
            if request.method not in KNOWN_METHODS:
                return problem(405, "Method not allowed", f"the mirror knows no method {request.method[:20]!r}")
            if path == "/-" or path.startswith("/-/"):
                return await self._ours(request, path, query, trace)
            return await self._hub(request, path, query, trace)
        except MirrorError as error:
            return self._plain_problem(error, trace)
        except (asyncio.CancelledError, ConnectionError):
            trace.fault = "client went away"
            raise
        except Exception as error:  # the outermost place: a bug must not become a traceback in a client's terminal
            trace.fault = f"bug: {type(error).__name__}"
            self._metrics.faults.labels("bug").inc()
            log.exception("bug", request=trace.id)
            return problem(503, "The mirror could not answer", f"an internal fault, recorded as {trace.id}")

    async def _ours(self, request: web.Request, path: str, query: str, trace: Trace) -> web.StreamResponse:
        trace.hub = "mirror"
        segments = path.split("/")
        trace.route = segments[2] if len(segments) > 2 and segments[2] in self._own else "unknown"
        handler = self._own.get(trace.route)
        if handler is None:
            return problem(404, "Not found", "there is nothing of ours at this path")
        if trace.route != "health" and self._hosts.public(request, self._names) is None:
            return _misdirected()
        answer: web.StreamResponse = await handler(request, path, query)
        return answer

    async def _hub(self, request: web.Request, path: str, query: str, trace: Trace) -> web.StreamResponse:
        public_url = self._hosts.public(request, self._names)
        if public_url is None:
            return _misdirected()
        if path == "/" and "landing" in self._own and host_name(request.headers.get("Host", "")) not in self._by_host:
            trace.hub, trace.route = "mirror", "landing"
            page: web.StreamResponse = await self._own["landing"](request, path, query)
            return page
        dialect, below, found = self._choose(request, path)
        trace.hub = dialect.name if dialect else "-"
        if dialect is None:
            return problem(404, "Not found", "no hub is mounted at this path")
        trace.actor = actor = self._identification.actor(request)
        info = RequestInfo(trace.id, request.method, path, actor.user_agent)
        row, match = found if isinstance(found, tuple) else (None, _NOTHING)
        call = Call(request, actor, match, below, query, info, public_url, dialect.mount)
        if row is None and found is not None and request.method in ("GET", "HEAD", "OPTIONS"):
            trace.route = "method"
            allowed = ", ".join(sorted(found))  # type: ignore[arg-type]
            return problem(405, "Method not allowed", f"this path knows {allowed}", headers=(("Allow", allowed),))
        trace.route = row.name if row else "unknown"
        return await self._run(dialect, row, call, trace)

    async def _run(self, dialect: Dialect, row: Route | None, call: Call, trace: Trace) -> web.StreamResponse:
        try:
            return await (row.handler(call) if row else dialect.unknown(call))
        except Refused as refused:
            determining = refused.decision.verdict.determining
            trace.decision = refused.decision.id
            trace.rule = determining.id if determining else "default"
            self._metrics.decisions.labels(dialect.name, refused.decision.effect.word).inc()
            return await dialect.refuse(call, refused)
        except LedgerDown as error:
            return self._plain_problem(error, trace)
        except MirrorError as error:
            trace.fault = f"{type(error).__name__}: {error}"[:300]
            self._metrics.faults.labels(type(error).__name__).inc()
            return await dialect.problem(call, error)

    def _choose(
        self, request: web.Request, path: str
    ) -> tuple[Dialect | None, str, tuple[Route, Any] | frozenset[str] | None]:
        """The hub for a path, the path below its mount, and the row there. Aliases of the Python index come last."""
        named = self._by_host.get(host_name(request.headers.get("Host", "")))
        candidates: list[tuple[Dialect, str]] = []
        if named is not None:
            candidates.append((named, path))
        for dialect in self.dialects if named is None else ():
            below = under(dialect.mount, path)
            if below is None:
                continue
            first = path.split("/", 2)[1]
            python = self._python_index()
            if dialect.mount == "" and first in PYTHON_ALIASES and python is not None:
                candidates.append((python, path))
                break
            candidates.append((dialect, below))
            if dialect.mount and dialect is not python:
                break
        best: tuple[Dialect | None, str, tuple[Route, Any] | frozenset[str] | None] = (None, path, None)
        for dialect, below in candidates:
            found = find(dialect.routes, request.method, below)
            if isinstance(found, tuple):
                return dialect, below, found
            if best[0] is None or (found is not None and best[2] is None):
                best = (dialect, below, found)
        return best

    def _python_index(self) -> Dialect | None:
        return next((dialect for dialect in self.dialects if dialect.mount == "/pypi"), None)

    def _plain_problem(self, error: MirrorError, trace: Trace) -> web.StreamResponse:
        trace.fault = f"{type(error).__name__}: {error}"[:300]
        self._metrics.faults.labels(type(error).__name__).inc()
        if isinstance(error, Malformed):
            return problem(error.status, "Malformed request", error.message)
        if isinstance(error, LedgerDown):
            return problem(
                503, "Nothing can be recorded", "the ledger cannot be written, so nothing is served",
                headers=(("Retry-After", "30"),),
            )  # fmt: skip
        if isinstance(error, Pending):
            return problem(503, "Still being found out", str(error), headers=(("Retry-After", str(int(error.retry_after))),))
        return problem(502, "No right answer", str(error))

    def _record(self, request: web.Request, response: web.StreamResponse | None, trace: Trace) -> None:
        seconds = time.perf_counter() - trace.started
        status = response.status if response is not None else 499
        sent = _length(request, response)
        self._metrics.requests.labels(trace.hub, trace.route, _method(request.method), str(status)).inc()
        self._metrics.seconds.labels(trace.hub, trace.route).observe(seconds)
        log.info(
            "request",
            id=trace.id,
            method=request.method[:20],
            path=request.raw_path.partition("?")[0][:500],
            status=status,
            ms=round(seconds * 1000, 1),
            sent=sent,
            hub=trace.hub,
            route=trace.route,
            actor=trace.actor.name if trace.actor else "",
            **({"decision": trace.decision, "rule": trace.rule} if trace.decision else {}),
            **({"fault": trace.fault} if trace.fault else {}),
            **trace.extra,
        )


def _length(request: web.Request, response: web.StreamResponse | None) -> int:
    """Body bytes: those that left, or of a plain answer those that are about to."""
    if response is None or request.method == "HEAD":
        return 0
    if response.prepared or not isinstance(response, web.Response):
        return response.body_length
    return len(response.body) if isinstance(response.body, (bytes, bytearray)) else 0


def _method(method: str) -> str:
    return method if method in KNOWN_METHODS else "other"


def _misdirected() -> web.Response:
    return problem(
        421, "Misdirected request",
        "the Host header names neither the listen address nor loopback; set listen.public_url to the name that clients use",
    )  # fmt: skip


_NOTHING: Final = cast("re.Match[str]", re.match("", ""))
