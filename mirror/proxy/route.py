"""Where a flight's bytes are asked for: of the hub, and from then on at the URL to which it sent us, while that is good.

Each request to the hub is charged to somebody's quota, and a large file is asked for in many parts. The URL is signed:
it opens the file to whoever has it, so it lives in this object only, is never logged, stored or handed out, and is gone
with the flight. The way out checks it like any other (permitted origins, no credential off the first origin).
"""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

from mirror.core.errors import HubSaysNo, MirrorError, QuotaSpent, UpstreamError
from mirror.core.ports import Redirected
from mirror.proxy.transfer import Transfer, transfer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from mirror.core.ports import Ask, Upstream

_STAMP: Final = re.compile(r"\d{8}T\d{6}Z")
#: A longer life is not believed: it would overflow.
_MOST_SECONDS: Final = 10 * 365 * 86400


_telling: Final[set[asyncio.Task[None]]] = set()


class Route:
    """One flight's way to its bytes. `upstream` is the origin of the upstream that was asked last, "" before."""

    def __init__(self, upstream: Upstream, ask: Ask, now: Callable[[], datetime]) -> None:
        self.upstream = ""
        self._out, self._ask, self._now = upstream, ask, now
        self._url: str | None = ask.led_to or None
        self._until: datetime | None = expiry(ask.led_to) if ask.led_to else None
        self._direct, self._uncounted = False, bool(ask.led_to)
        self._asking = asyncio.Lock()

    @asynccontextmanager
    async def open(self, start: int, stop: int | None, *, size: int | None) -> AsyncIterator[Transfer]:
        """As `transfer`. Where the remembered URL is refused the hub is asked anew, once, however many parts wait."""
        async with AsyncExitStack() as stack:
            answer = await self._again(stack, start, stop, size)
            if answer is None and self._direct:
                answer = await self._anew(stack, start, stop, size)
            elif answer is None:
                async with self._asking:
                    answer = await self._again(stack, start, stop, size) or await self._anew(stack, start, stop, size)
            yield answer

    async def _again(self, stack: AsyncExitStack, start: int, stop: int | None, size: int | None) -> Transfer | None:
        """An answer from the remembered URL; None without one, or where it is refused."""
        url = self._url
        if url is None or (self._until is not None and self._until <= self._now()):
            return None
        try:
            ask = replace(self._ask, target=url, headers={}, led_to="")
            answer = await stack.enter_async_context(transfer(self._out, ask, start, stop, size=size))
            if self._uncounted:
                self._uncounted = False
                self._tell()
            return answer
        except QuotaSpent:
            raise
        except HubSaysNo:
            self._forget(url)
            return None
        except UpstreamError:
            self._forget(url)  # the hub may know of another place
            raise

    def _tell(self) -> None:
        """The hub counts downloads by requests with a header of their own, and has had none for bytes that came straight from an address."""

        async def tell() -> None:
            with suppress(MirrorError):
                await self._out.ask(replace(self._ask, method="HEAD", follow=False, led_to=""))

        _telling.add(task := asyncio.create_task(tell()))
        task.add_done_callback(_telling.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _anew(self, stack: AsyncExitStack, start: int, stop: int | None, size: int | None) -> Transfer:
        answer = await stack.enter_async_context(transfer(self._out, replace(self._ask, led_to=""), start, stop, size=size))
        self.upstream = answer.stream.upstream
        self._url = answer.stream.location if isinstance(answer.stream, Redirected) else None
        self._until = None if self._url is None else expiry(self._url)
        self._direct = self._url is None
        return answer

    def _forget(self, url: str) -> None:
        if self._url == url:
            self._url = None


def expiry(url: str) -> datetime | None:
    """Until when a signed URL says that it is good; None where it does not say.

    CloudFront: `Expires` (Unix time). S3 and its kin: `X-Amz-Date` and `X-Amz-Expires` (seconds), likewise `X-Goog-…`.
    Azure: `se` (ISO 8601). Pure.
    """
    query = {name.lower(): value for name, value in parse_qsl(urlsplit(url).query)}
    try:
        if query.get("expires", "").isdecimal():
            return datetime.fromtimestamp(int(query["expires"]), UTC)
        for family in ("x-amz", "x-goog"):
            made, life = query.get(f"{family}-date", ""), query.get(f"{family}-expires", "")
            if _STAMP.fullmatch(made) and life.isdecimal():
                begin = datetime.strptime(made, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
                return begin + timedelta(seconds=min(int(life), _MOST_SECONDS))
        if "sig" in query and "se" in query:
            end = datetime.fromisoformat(query["se"])
            return end if end.tzinfo else end.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None
