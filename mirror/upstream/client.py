"""The way out to one hub instance: `HttpUpstream` keeps every promise of `core.ports.Upstream`.

One session, nothing automatic: no cookies, no environment, no decompression, no re-quoting, no redirects. What leaves
is what `Ask` says and what stands here; a credential is set on one request, for the first upstream's own origin, and
is gone with it (P5).
"""

from __future__ import annotations

import asyncio
import random
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote, urljoin

import aiohttp
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from mirror.core.errors import HostNotAllowed, QuotaSpent, UpstreamDown, UpstreamError, UpstreamGarbage
from mirror.core.ports import Answer, Ask
from mirror.upstream.codings import ACCEPTED, CodingError, coded, decode
from mirror.upstream.destinations import Destinations, GuardedResolver, origin
from mirror.upstream.faults import TRANSIENT, Settled, retry_after, translate
from mirror.upstream.quota import Spent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from aiohttp.abc import AbstractResolver

T = TypeVar("T")

_MAX_HOPS: Final = 10
_TRIES: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
#: Headers of an `Ask` that are never sent: they are ours to set, or could carry a secret.
_OURS: Final = frozenset(
    {"authorization", "proxy-authorization", "cookie", "host", "connection", "transfer-encoding", "content-length"}
)
#: What goes along to another origin than the one that was asked: a CDN needs no more.
_ABROAD: Final = frozenset({"accept", "accept-encoding", "range", "if-range", "user-agent"})
#: Everything that a URL may hold unescaped; what a `Location` has beyond it is escaped, as browsers do.
_PRINTABLE: Final = "".join(map(chr, range(0x21, 0x7F)))
#: The patience of an ask that states none.
_UNSTATED: Final = Ask("").patience
#: Signed URLs and `Link` headers are long.
_HEADER_LINE: Final = 64 * 1024
#: Seconds for which an upstream that did not answer is tried after the others.
_TRIED_LAST: Final = 5.0
#: Whose quota a request with the organisation's own token is charged to.
_SERVICE: Final = "service"


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits in seconds, and how many connections each pool may hold: one for small answers, one for streams."""

    connect: float = 5.0
    read: float = _UNSTATED
    connections: int = 128
    backoff: float = 0.1
    user_agent: str = "entrepot"


@dataclass(slots=True)
class _Hop:
    """One request on the wire. `secret` is the `Authorization` value, for this origin only; `scope` is whose it is."""

    url: URL
    method: str
    headers: dict[str, str]
    body: bytes | None
    secret: str | None = field(repr=False)
    scope: str = ""


@cache
def _system_trust() -> ssl.SSLContext:
    """The system's authorities, read once for all hubs: it takes longer than opening the database."""
    return ssl.create_default_context()


def _trust(ca: Path | None) -> ssl.SSLContext:
    if ca is None:
        return _system_trust()
    context = ssl.create_default_context()
    context.load_verify_locations(cafile=str(ca))
    return context


class HttpUpstream:
    """`core.ports.Upstream` over HTTP/1.1."""

    def __init__(
        self,
        name: str,
        upstreams: Sequence[str],
        origins: Sequence[str],
        *,
        token: str | None = None,
        proxy: str | None = None,
        ca: Path | None = None,
        limits: Limits | None = None,
        resolver: Callable[[], AbstractResolver] = ThreadedResolver,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`upstreams` are base URLs in order of preference, `origins` hosts or origins that files may come from.

        `token` is the organisation's own, without `Bearer`. `ca` is a PEM file trusted beside the system's own.
        `resolver` makes the name resolver inside the running loop. Raises `InputError` for an unusable host,
        `OSError` or `ssl.SSLError` for an unusable `ca`.
        """
        self.name = name
        self._bases = tuple(base.rstrip("/") for base in upstreams)
        self._destinations = Destinations(upstreams, origins)
        self._first = origin(URL(self._bases[0], encoded=True))
        self._token, self._proxy = token, proxy
        self._limits = limits or Limits()
        self._resolver, self._now = resolver, now
        self._ssl = _trust(ca)
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._spent = Spent()
        self._silent: dict[str, float] = {}

    # --- the port -------------------------------------------------------------------------------------------------

    async def ask(self, ask: Ask) -> Answer:
        """A small answer; see `core.ports.Upstream.ask`. GET and HEAD are tried again, further upstreams in order.

        Credentialed and `first_only` asks go to the first upstream only; an ask with the organisation's token goes to
        further ones without it.
        """
        deadline = _loop_time() + self._patience(ask)
        return await self._somewhere(ask, lambda hop, until: self._answer(ask, hop, until), deadline)

    @asynccontextmanager
    async def stream(self, ask: Ask) -> AsyncIterator[HttpStream]:
        """A large answer; see `core.ports.Upstream.stream`. Always asked and only accepted without content coding."""
        deadline = _loop_time() + self._patience(ask)
        stream = await self._somewhere(ask, lambda hop, until: self._opened(ask, hop, until), deadline)
        try:
            yield stream
        finally:
            stream.leave()

    async def close(self) -> None:
        """Release connections."""
        while self._sessions:
            _, session = self._sessions.popitem()
            await session.close()

    def _patience(self, ask: Ask) -> float:
        """What this upstream is given in seconds: an ask that says nothing goes by the configuration."""
        if ask.idle is not None:
            return ask.patience
        return self._limits.read if ask.patience == _UNSTATED else min(ask.patience, self._limits.read)

    # --- choosing an upstream -------------------------------------------------------------------------------------

    async def _somewhere(self, ask: Ask, go: Callable[[_Hop, float], Awaitable[T]], deadline: float) -> T:
        """The first upstream's answer, or that of the next one in order when it is down or makes no sense."""
        # One that did not answer just now is tried last: else each of the pages that a request needs would wait for it anew.
        hops = sorted(self._hops(ask), key=lambda hop: self._silent.get(origin(hop.url), 0.0) > _loop_time())
        hops.sort(key=lambda hop: origin(hop.url) == ask.avoid)
        failure: UpstreamError | None = None
        for index, hop in enumerate(hops):
            remaining = deadline - _loop_time()
            until = _loop_time() + remaining / (len(hops) - index)
            try:
                return await self._persist(hop, go, until)
            except HostNotAllowed:
                raise
            except UpstreamError as error:
                failure = failure or error
                if isinstance(error, UpstreamDown) and not isinstance(error, QuotaSpent):
                    self._silent[origin(hop.url)] = _loop_time() + _TRIED_LAST
        raise failure or UpstreamDown(self._first, "is not configured")

    def _hops(self, ask: Ask) -> list[_Hop]:
        """The first request to each upstream that may be asked."""
        if "://" in ask.target.partition("?")[0]:
            return [self._hop(ask, ask.target, first=True)]
        alone = ask.first_only or ask.credential is not None
        bases = self._bases[:1] if alone else self._bases
        return [self._hop(ask, base + ask.target, first=index == 0) for index, base in enumerate(bases)]

    def _hop(self, ask: Ask, raw: str, *, first: bool) -> _Hop:
        url = _url(raw, self._first)
        headers = {"Accept": "*/*", "User-Agent": self._limits.user_agent, "Accept-Encoding": ACCEPTED}
        if ask.method == "HEAD":
            headers["Accept-Encoding"] = "identity"  # else the length and the entity tag are those of a coded variant
        for name, value in ask.headers.items():
            if name.lower() not in _OURS:
                headers[next((known for known in headers if known.lower() == name.lower()), name)] = value
        secret, scope = self._secret(ask, url) if first else (None, "")
        return _Hop(url, ask.method, headers, ask.body, secret, scope)

    def _secret(self, ask: Ask, url: URL) -> tuple[str | None, str]:
        """The `Authorization` value for the first upstream's own origin, and whose it is; None for any other origin (P5)."""
        if origin(url) != self._first:
            return None, ""
        if ask.credential is not None:
            return ask.credential.header or None, ask.credential.fingerprint
        return (f"Bearer {self._token}", _SERVICE) if ask.use_service_token and self._token else (None, "")

    async def _persist(self, hop: _Hop, go: Callable[[_Hop, float], Awaitable[T]], until: float) -> T:
        """One upstream, several times where that is harmless and may help."""
        upstream = origin(hop.url)
        tries = _TRIES if hop.method in ("GET", "HEAD") else 1
        for attempt in range(tries):
            try:
                async with asyncio.timeout_at(until):
                    return await go(hop, until)
            except (TimeoutError, aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError, UpstreamError) as error:
                failure = translate(error, upstream)
            # Full jitter: clients that failed together must not come back together.
            pause = random.uniform(0, self._limits.backoff * 4**attempt)  # noqa: S311 - not a secret
            pause = max(pause, failure.retry_after or 0.0)
            settled = isinstance(failure, (Settled, QuotaSpent)) or not isinstance(failure, UpstreamDown)
            if settled or attempt + 1 == tries or _loop_time() + pause >= until:
                raise failure
            await asyncio.sleep(pause)
        raise AssertionError("the loop returns or raises")

    # --- one exchange ---------------------------------------------------------------------------------------------

    async def _answer(self, ask: Ask, hop: _Hop, until: float) -> Answer:
        response = await self._exchange(ask, hop, until - _loop_time(), "answers")
        upstream = origin(hop.url)
        try:
            self._reject_failure(response, upstream)
            body = await _bounded(response, ask.max_bytes, upstream)
        except BaseException:
            response.close()
            raise
        codings = coded(response.headers.get("Content-Encoding"))
        if codings and hop.method != "HEAD":
            try:
                body = await asyncio.to_thread(decode, body, codings, ask.max_bytes)
            except CodingError as error:
                raise UpstreamGarbage(upstream, str(error)) from error
        return Answer(response.status, _kept(response, plain=not codings), body, _shown(response.url), upstream)

    async def _opened(self, ask: Ask, hop: _Hop, _: float) -> HttpStream:
        hop.headers["Accept-Encoding"] = "identity"
        # What may be silent for long holds its connection for long: downloads must not wait for it.
        use, read_limit = ("streams", self._patience(ask)) if ask.idle is None else ("idle", ask.idle)
        response = await self._exchange(ask, hop, read_limit, use)
        upstream = origin(hop.url)
        try:
            self._reject_failure(response, upstream)
            if codings := coded(response.headers.get("Content-Encoding")):
                raise UpstreamGarbage(upstream, f"answered in content coding {codings[0]!r} where only identity was accepted")
        except BaseException:
            response.close()
            raise
        if ask.idle is None:
            _impatient(response, self._patience(ask) / 2)
        # The URL itself, for whoever goes on with this file: a signed one is good for further ranges.
        return HttpStream(response, upstream, None if response.url == hop.url else str(response.url))

    async def _exchange(self, ask: Ask, hop: _Hop, read_limit: float, use: str) -> aiohttp.ClientResponse:
        """The response after permitted redirects; its body is still to be read. Every hop is checked against the list."""
        session = self._opened_session(use)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._limits.connect, sock_read=max(read_limit, 0.001))
        for _ in range(_MAX_HOPS + 1):
            self._destinations.check(hop.url, through_proxy=self._proxy is not None)
            if wait := self._spent.left(origin(hop.url), hop.scope, _loop_time()):
                raise QuotaSpent(origin(hop.url), "has answered 429 and is left alone for a while", retry_after=wait)
            headers = dict(hop.headers)
            if hop.secret is not None:
                headers["Authorization"] = hop.secret
            response = await session.request(
                hop.method, hop.url, headers=headers, data=hop.body, allow_redirects=False, timeout=timeout,
                proxy=self._proxy, skip_auto_headers=("User-Agent", "Content-Type", "Accept", "Accept-Encoding"),
            )  # fmt: skip
            if response.status == 429:
                response.close()
                raise self._stay_away(hop, response)
            following = self._following(hop, response) if ask.follow else None
            if following is None:
                return response
            response.release()
            hop = following
        raise UpstreamGarbage(origin(hop.url), f"redirects more than {_MAX_HOPS} times")

    def _following(self, hop: _Hop, response: aiohttp.ClientResponse) -> _Hop | None:
        """The next hop of a redirect, or None where the response is the end (RFC 9110 section 15.4)."""
        location = response.headers.get("Location")
        if response.status not in _REDIRECTS or not location:
            return None
        if hop.method not in ("GET", "HEAD") and response.status not in (307, 308):
            return None
        url = _url(location.partition("#")[0], origin(hop.url), str(hop.url))
        if origin(url) == origin(hop.url):
            return _Hop(url, hop.method, hop.headers, hop.body, hop.secret, hop.scope)
        abroad = {name: value for name, value in hop.headers.items() if name.lower() in _ABROAD}
        return _Hop(url, hop.method, abroad, hop.body, None)

    def _stay_away(self, hop: _Hop, response: aiohttp.ClientResponse) -> QuotaSpent:
        """Obey a 429, whoever asks next in the same name: the quota is that of the origin that said so."""
        wait = self._spent.say(origin(hop.url), hop.scope, self._wait(response), _loop_time())
        return QuotaSpent(origin(hop.url), "answered 429", retry_after=wait)

    def _wait(self, response: aiohttp.ClientResponse) -> float | None:
        return retry_after({name.lower(): value for name, value in response.headers.items()}, self._now())

    def _reject_failure(self, response: aiohttp.ClientResponse, upstream: str) -> None:
        """Raises for 5xx, which say nothing about what was asked for."""
        status = response.status
        if status < 500:
            return
        kind = UpstreamDown if status in TRANSIENT else Settled
        raise kind(upstream, f"answered {status}", retry_after=self._wait(response))

    def _opened_session(self, use: str) -> aiohttp.ClientSession:
        """One pool for small answers and one for streams: long downloads must not leave a page without a connection."""
        if use not in self._sessions:
            proxy_host = URL(self._proxy).host if self._proxy else None
            named = frozenset({proxy_host.lower()}) if proxy_host else frozenset()
            connector = aiohttp.TCPConnector(
                limit=self._limits.connections, ssl=self._ssl, ttl_dns_cache=60,
                resolver=GuardedResolver(self._resolver(), self._destinations, named),
            )  # fmt: skip
            self._sessions[use] = aiohttp.ClientSession(
                connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False,
                requote_redirect_url=False, read_bufsize=1024 * 1024, max_line_size=_HEADER_LINE, max_field_size=_HEADER_LINE,
            )  # fmt: skip
        return self._sessions[use]


class HttpStream:
    """`core.ports.Stream` over one response."""

    def __init__(self, response: aiohttp.ClientResponse, upstream: str, location: str | None = None) -> None:
        """Take over a response whose headers have come; `location` as in `core.ports.Redirected`."""
        self._response, self.location = response, location
        self.status, self.upstream = response.status, upstream
        self.headers = _kept(response, plain=True)

    def header(self, name: str) -> str | None:
        """The first value of header `name` (lower case), or None."""
        return next((value for key, value in self.headers if key == name), None)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises `UpstreamDown` when it stalls or ends short of its announced length."""
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (TimeoutError, aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError) as error:
            raise translate(error, self.upstream) from error

    def leave(self) -> None:
        """Give the connection back where the body was read whole, else close it."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


def _impatient(response: aiohttp.ClientResponse, seconds: float) -> None:
    """Let a body stand still for `seconds` only: another connection must still bring bytes within a client's patience."""
    protocol = None if response.connection is None else response.connection.protocol
    if protocol is not None:
        protocol.read_timeout = seconds
        protocol.start_timeout()


async def _bounded(response: aiohttp.ClientResponse, limit: int, upstream: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > limit:
            raise UpstreamGarbage(upstream, f"sent more than {limit} bytes where a small answer was due")
        parts.append(chunk)
    return b"".join(parts)


def _kept(response: aiohttp.ClientResponse, *, plain: bool) -> tuple[tuple[str, str], ...]:
    """Headers with lower-case names; those that describe a coding which is gone, or the connection, left out."""
    dropped = {"transfer-encoding", "connection", "keep-alive"} | (set() if plain else {"content-encoding", "content-length"})
    return tuple((name.lower(), value) for name, value in response.headers.items() if name.lower() not in dropped)


def _shown(url: URL) -> str:
    return origin(url) + url.raw_path


def _url(raw: str, upstream: str, base: str = "") -> URL:
    """A URL as sent, byte for byte; a reference is resolved against `base`. Raises `UpstreamGarbage` for what is none."""
    try:
        if base:
            raw = urljoin(base, quote(raw, safe=_PRINTABLE, errors="surrogateescape"))
        url = URL(raw, encoded=True)
        port = url.port  # parsed only when asked for
    except ValueError as error:
        raise UpstreamGarbage(upstream, f"names a URL that is none: {type(error).__name__}") from error
    if not url.host or port == 0 or any(not "!" <= character <= "~" for character in raw):
        raise UpstreamGarbage(upstream, "names a URL that is none")
    return url


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
