"""What went wrong between us and an upstream, in the family's own errors."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import aiohttp

from mirror.core.errors import UpstreamDown, UpstreamError, UpstreamGarbage

if TYPE_CHECKING:
    from collections.abc import Mapping


class Settled(UpstreamDown):
    """Down in a way that asking the same upstream at once again does not help: a quota, a 500, a bad certificate."""


#: Statuses after which the same upstream is asked once more: they are about a moment, not about the request.
TRANSIENT: Final = frozenset({502, 503, 504})
#: The longest wait that an upstream can impose on us.
_LONGEST: Final = 3600.0
_REMAINING: Final = re.compile(r"(?:^|;)\s*r\s*=\s*(\d+)")
_RESET: Final = re.compile(r"(?:^|;)\s*t\s*=\s*(\d+)")


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to stay away: `RateLimit: "api";r=0;t=55` first, else `Retry-After` (seconds or a date), else None.

    `headers` has lower-case names. The RateLimit header counts only where nothing remains (`r=0`).
    """
    limit = headers.get("ratelimit", "")
    remaining, reset = _REMAINING.search(limit), _RESET.search(limit)
    if remaining is not None and int(remaining[1]) == 0 and reset is not None:
        return min(float(reset[1]), _LONGEST)
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), _LONGEST)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), _LONGEST)


def translate(error: Exception, upstream: str) -> UpstreamError:
    """The error that an exception of the client library stands for."""
    match error:
        case UpstreamError():
            return error
        case TimeoutError():
            return UpstreamDown(upstream, "did not answer in time")
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLError() | aiohttp.ClientSSLError():
            return Settled(upstream, f"TLS failed: {_brief(error)}")
        case aiohttp.ClientConnectorDNSError():
            return UpstreamDown(upstream, "its name cannot be resolved")
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return UpstreamDown(upstream, "the outbound proxy cannot be used")
        case aiohttp.ServerDisconnectedError():
            return UpstreamDown(upstream, "closed the connection without an answer")
        case aiohttp.ClientConnectorError():
            return UpstreamDown(upstream, f"cannot be connected to: {_brief(error)}")
        case aiohttp.ClientPayloadError():
            return UpstreamDown(upstream, "broke off in the middle of its answer")
        case aiohttp.ClientResponseError() | aiohttp.InvalidURL():
            return UpstreamGarbage(upstream, f"sent what is not HTTP: {_brief(error)}")
        case aiohttp.ClientError() | OSError():
            return UpstreamDown(upstream, f"connection failed: {_brief(error)}")
        case _:
            return UpstreamGarbage(upstream, f"unusable answer: {_brief(error)}")


def _brief(error: Exception) -> str:
    """The class and at most one short line: a library's text can quote URLs with signatures in their query."""
    text = str(error.message if isinstance(error, aiohttp.ClientResponseError) else error).partition("\n")[0]
    return f"{type(error).__name__}: {re.sub(r'[?][^ ]*', '?…', text)[:120]}"
