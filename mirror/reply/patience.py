"""How long a client waits for the head of its answer: one deadline a request, shared by all that is done for it.

Pages, rights, lineage, retries, replicas and redirects have limits of their own, and their sum is longer than any
client waits: 10 s for a HEAD and for the headers of a GET (huggingface.md section 2). What is under way when the time is
up goes on without the client, who finds it when it comes back.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from aiohttp import web

from mirror.core.errors import Malformed, Pending

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: How soon a client that was sent away may come back: what it waited for is on its way.
_SOON: Final = 5.0
_LIMIT: Final = web.RequestKey("patience", asyncio.Timeout)


@asynccontextmanager
async def patience(request: web.Request, seconds: float) -> AsyncIterator[None]:
    """Run the block until it ends or the head of an answer is on its way, whichever comes first.

    Raises `Pending` after `seconds`, or `Malformed` (408) where the client has not sent all of its request by then.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            request[_LIMIT] = limit
            try:
                yield
            finally:
                del request[_LIMIT]
    except TimeoutError:
        if not limit.expired():
            raise
        if request.can_read_body and not request.content.is_eof():
            raise Malformed("the body of the request took too long", status=408) from None
        raise Pending("the answer is not ready yet; what it needs is still being fetched", _SOON) from None


def begun(request: web.BaseRequest) -> None:
    """The head is on its way: how long the body takes is for its reader to say."""
    limit = request.get(_LIMIT)
    if limit is not None:
        limit.reschedule(None)


def left(request: web.BaseRequest, most: float) -> float:
    """Seconds for which a head may still be held back, at most `most`; leaves time to send it."""
    limit = request.get(_LIMIT)
    until = None if limit is None else limit.when()
    return most if until is None else max(0.0, min(most, 0.9 * (until - asyncio.get_running_loop().time())))
