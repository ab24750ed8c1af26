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
from datetime import datetime
from typing import Any, Final, cast

import structlog
from aiohttp import web

from mirror.core.actor import Actor
from mirror.core.decision import RequestInfo
from mirror.core.errors import LedgerDown, Limited, Malformed, MirrorError, Pending, Refused, Unidentified
from mirror.core.ids import ulid
from mirror.core.ports import Clock
from mirror.core.timing import begin
from mirror.log import RequestLine, stamped
from mirror.proxy.tuning import PATIENCE
from mirror.proxy.warm import Warm
from mirror.reply.challenge import challenge
from mirror.reply.identify import Identification
from mirror.reply.limits import Limits
from mirror.reply.patience import patience
from mirror.reply.refusal import come_back, problem
from mirror.reply.routing import Call, Dialect, Labelled, Route, find, normal_path, under
from mirror.web.metrics import Metrics
from mirror.web.repeat import Repeats
from mirror.web.server import ADDED, REQUEST_ID, TIMING

log = structlog.get_logger("mirror")

#: First path segments that belong to us and to the default Python index, at the root of every host.
OURS: Final = "-"
PYTHON_ALIASES: Final = ("pypi", "simple", "packages")
KNOWN_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_HOST: Final = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{0,5})?")

OwnHandler = Callable[[web.Request, str, str], Any]
#: A hub for a path, the path below its mount, and the row there (or the methods that it knows, or nothing).
_OFTEN: Final = 512
_CHOSEN: Final = 4096
Chosen = tuple[Dialect | None, str, tuple[Route, Any] | frozenset[str] | None]


@dataclass(slots=True)
class Trace:
    """What the log line of one request will say."""

    id: str
    started: float
    edition: int = 0  # `Identification.edition` as the request began
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

    def public(self, request: web.Request, host: str, dialect_hosts: frozenset[str], *, own_port: bool = False) -> str | None:
        """The origin for links, or None when `host` (the Host header, without a hub's label) names somebody else (421).

        `own_port`: the request came in at the port of one hub, which `public_url` does not name.
        """
        name = host_name(host)
        if name in dialect_hosts:
            return f"{self.scheme}://{host}"
        if self.public_url is not None and own_port:
            same = name == host_name(self.public_url.partition("://")[2]) or self._ours(name, request)
            return f"{self.public_url.partition('://')[0]}://{host}" if same else None
        if self.public_url is not None:
            return self.public_url
        return f"{self.scheme}://{host}" if host and self._ours(name, request) else None

    def names_us(self, request: web.Request) -> bool:
        """Whether the Host header names this mirror: not so for a page whose author let its own name lead here (DNS rebinding)."""
        name = host_name(request.headers.get("Host", ""))
        known = self.public_url is not None and name == host_name(self.public_url.partition("://")[2])
        return known or self._ours(name, request)

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
    """The name in a Host header, without port and brackets, case-folded; empty where it has not the form of one (RFC 9110 7.2)."""
    found = _HOST.fullmatch(host)
    return "" if found is None else (found["address"] or found["name"]).casefold()


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
        ports: Mapping[str, int] | None = None,
        begin: Callable[[], None] = lambda: None,
        limits: Limits | None = None,
        patience: Mapping[str, float] | None = None,
        once_more: Callable[[Warm, datetime], bool] | None = None,
    ) -> None:
        """`ports` and `patience` (seconds until the head of an answer) are by the name of a hub.

        With `once_more` (`Gateway.once_more`) there are `repeats`, for the server to look at first.
        """
        ports = ports or {}
        self._by_host = {host.casefold(): dialect for dialect in dialects for host in dialect.hosts}
        self._by_port = {ports[dialect.name]: dialect for dialect in dialects if dialect.name in ports}
        # A hub with a host or port of its own must not answer at the root of the others: it would be shown their tokens.
        apart = [one for one in dialects if not one.mount and (one.hosts or one.name in ports)]
        shared = [one for one in dialects if one not in apart]
        if len(apart) == 1 and all(one.mount for one in shared):
            shared = list(dialects)
        self.dialects = tuple(sorted(dialects, key=lambda dialect: -len(dialect.mount)))
        self._shared = [one for one in self.dialects if one in shared]
        self._names = frozenset(self._by_host)
        self._labels = frozenset(label for one in dialects if isinstance(one, Labelled) for label in one.labels)
        self._identification, self._own, self._hosts = identification, own, hosts
        self._clock, self._entropy, self._metrics, self._begin = clock, entropy, metrics, begin
        self._limits, self._patience = limits or Limits(), patience or {}
        self._chosen: dict[tuple[str, str, str | None], Chosen] = {}
        # A certificate is of the connection, not of the head: two clients behind one address may differ in nothing else.
        self.repeats = None
        if once_more is not None and not identification.certificates:
            self.repeats = Repeats(once_more, identification, clock, entropy, begin)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; never raises but for a client that went away."""
        trace = Trace(ulid(self._clock.now(), self._entropy(10)), time.perf_counter(), self._identification.edition)
        request[REQUEST_ID] = trace.id
        request[TIMING] = begin(), asyncio.get_running_loop().time()
        self._begin()
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
        if trace.route != "health" and self._hosts.public(request, request.headers.get("Host", ""), self._names) is None:
            return _misdirected()
        answer: web.StreamResponse = await handler(request, path, query)
        return answer

    async def _hub(self, request: web.Request, path: str, query: str, trace: Trace) -> web.StreamResponse:
        label, host = self._addressed(request)
        named = self._by_host.get(host_name(host)) or self._by_port.get(_port(request))
        public_url = self._hosts.public(request, host, self._names, own_port=_port(request) in self._by_port)
        if public_url is None:
            return _misdirected()
        if path == "/" and "landing" in self._own and named is None and not label:
            trace.hub, trace.route = "mirror", "landing"
            page: web.StreamResponse = await self._own["landing"](request, path, query)
            return page
        dialect, below, found = self._labelled(request, path, named, label) if label else self._choose(request, path, named)
        trace.hub = dialect.name if dialect else "-"
        if dialect is None:
            return problem(404, "Not found", "no hub is mounted at this path")
        row, match = found if isinstance(found, tuple) else (None, _NOTHING)
        shown = row.identified(request) if row is not None and row.identified is not None else request
        trace.actor = actor = self._identification.actor(shown)
        info = RequestInfo(trace.id, request.method, path, actor.user_agent)
        mount = "" if named is not None and below == path else dialect.mount  # links lead to where the request came
        call = Call(request, actor, match, below, query, info, public_url, mount)
        allowed = self._limits.count(actor, time.monotonic())
        if allowed is not None:
            request[ADDED] = allowed.headers()
            if not allowed.standing.permitted:
                return await self._limited(dialect, call, allowed.refusal(), trace)
        if isinstance(found, frozenset) and request.method in ("GET", "HEAD", "OPTIONS"):
            trace.route = "method"
            methods = ", ".join(sorted(found))
            return problem(405, "Method not allowed", f"this path knows {methods}", headers=(("Allow", methods),))
        trace.route = row.name if row else "unknown"
        return await self._run(dialect, row, call, trace)

    async def _run(self, dialect: Dialect, row: Route | None, call: Call, trace: Trace) -> web.StreamResponse:
        try:
            async with patience(call.request, self._patience.get(dialect.name, PATIENCE)):
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

    async def _limited(self, dialect: Dialect, call: Call, error: Limited, trace: Trace) -> web.StreamResponse:
        """One request too many. It is counted and logged, not recorded: it is no decision on anything that was asked for."""
        trace.route, trace.fault = "limited", "Limited"
        self._metrics.limited.labels(dialect.name).inc()
        return await dialect.problem(call, error)

    def _addressed(self, request: web.Request) -> tuple[str, str]:
        """(label, host): the Host header without a label under which a hub is asked too; an empty label where there is none."""
        host = request.headers.get("Host", "")
        label, _, rest = host.partition(".")
        if host_name(host) in self._names or label.casefold() not in self._labels:
            return "", host
        return label.casefold(), rest

    def _labelled(self, request: web.Request, path: str, named: Dialect | None, label: str) -> Chosen:
        """As `_choose`, in the table of a label."""
        for dialect in (named,) if named is not None else self._shared:
            if isinstance(dialect, Labelled) and label in dialect.labels:
                return dialect, path, find(dialect.labels[label], request.method, path)
        return named, path, None

    def _choose(self, request: web.Request, path: str, named: Dialect | None) -> Chosen:
        """The hub for a path, the path below its mount, and the row there. What is asked for often is looked up once."""
        key = request.method, path, named.name if named is not None else None
        chosen = self._chosen.get(key)
        if chosen is None:
            chosen = self._search(request.method, path, named)
            if len(path) <= _OFTEN:
                if len(self._chosen) >= _CHOSEN:
                    self._chosen.clear()
                self._chosen[key] = chosen
        return chosen

    def _search(self, method: str, path: str, named: Dialect | None) -> Chosen:
        """As `_choose`. Aliases of the Python index come last."""
        candidates: list[tuple[Dialect, str]] = []
        if named is not None:
            inner = under(named.mount, path) if named.mount else None
            candidates += [(named, path)] if inner is None else [(named, inner), (named, path)]
        for dialect in self._shared if named is None else ():
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
        best: Chosen = (None, path, None)
        for dialect, below in candidates:
            found = find(dialect.routes, method, below)
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
        if isinstance(error, Unidentified):
            return challenge(error)
        if isinstance(error, LedgerDown):
            return problem(
                503, "Nothing can be recorded", "the ledger cannot be written, so nothing is served",
                headers=(("Retry-After", "30"),),
            )  # fmt: skip
        if isinstance(error, Pending):
            return problem(503, "Still being found out", str(error), headers=(come_back(error.retry_after),))
        return problem(502, "No right answer", str(error))

    def _record(self, request: web.Request, response: web.StreamResponse | None, trace: Trace) -> None:
        seconds = time.perf_counter() - trace.started
        status = response.status if response is not None else 499
        sent = _length(request, response)
        origin = response.headers.get("Cache-Status") if response is not None else None
        answered = self._metrics.answered(trace.hub, trace.route, _method(request.method), status, _outcome(origin) if origin else "")
        answered.count(seconds, sent)
        said = {
            "method": request.method[:20],
            "path": request.raw_path.partition("?")[0][:500],
            "status": status,
            "ms": round(seconds * 1000, 1),
            "sent": sent,
            "hub": trace.hub,
            "route": trace.route,
            "actor": trace.actor.name if trace.actor else "",
            **({"decision": trace.decision, "rule": trace.rule} if trace.decision else {}),
            **({"fault": trace.fault} if trace.fault else {}),
            **trace.extra,
        }
        RequestLine(said).say(trace.id, stamped(self._clock.now()))
        # What says how many more requests are left is different each time.
        if self.repeats is not None and response is not None and trace.actor is not None and ADDED not in request:
            self.repeats.watch(request, response, (trace.actor, trace.edition), (said, answered, sent))


def _length(request: web.Request, response: web.StreamResponse | None) -> int:
    """Body bytes: those that left, or of a plain answer those that are about to."""
    if response is None or request.method == "HEAD":
        return 0
    if response.prepared or not isinstance(response, web.Response):
        return response.body_length
    return len(response.body) if isinstance(response.body, (bytes, bytearray)) else 0


def _port(request: web.Request) -> int:
    """The port at which a request came in (0: unknown)."""
    local = request.transport.get_extra_info("sockname") if request.transport else None
    return int(local[1]) if isinstance(local, tuple) else 0


def _outcome(cache_status: str) -> str:
    """A body's `Cache-Status` in one word."""
    if "; hit" in cache_status:
        return "hit"
    return "collapsed" if "collapsed" in cache_status else "miss"


def _method(method: str) -> str:
    return method if method in KNOWN_METHODS else "other"


def _misdirected() -> web.Response:
    return problem(
        421, "Misdirected request",
        "the Host header names neither the listen address nor loopback; set listen.public_url to the name that clients use",
    )  # fmt: skip


_NOTHING: Final = cast("re.Match[str]", re.match("", ""))
