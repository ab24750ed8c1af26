"""Whole small answers, made in one piece and given again (`proxy.warm`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web
from multidict import CIMultiDict

from mirror.core.http import cache_status, http_date
from mirror.core.nouns import Span
from mirror.proxy.warm import SMALL, Warm

if TYPE_CHECKING:
    from datetime import datetime

    from mirror.core.ports import Body
    from mirror.proxy.warm import Key
    from mirror.reply.routing import Call

#: With any of these a request wants a part of the answer, or an answer on a condition.
_PARTICULAR: Final = (
    hdrs.RANGE, hdrs.IF_RANGE, hdrs.IF_MATCH, hdrs.IF_NONE_MATCH, hdrs.IF_MODIFIED_SINCE, hdrs.IF_UNMODIFIED_SINCE,
)  # fmt: skip

Headers = tuple[tuple[str, str], ...]

#: On an answer that was given before: what it was made from.
WARM: Final = web.ResponseKey("warm", Warm)


def plain_key(call: Call, hub: str, *particular: str) -> Key | None:
    """What makes two requests to one hub the same one; None for one that wants anything but the whole.

    The caller is in it with everything that rules can see, and with a fingerprint of the credential. The hub is, because
    the port of a request may choose it, whatever host the request names. `particular` are fields on which the answer depends
    besides.
    """
    fields = call.request.headers
    if any(name in fields for name in _PARTICULAR if name not in particular):
        return None
    chosen = tuple(", ".join(fields.getall(name, ())) for name in particular)
    whose = call.actor.credential.fingerprint if call.actor.credential is not None else ""
    host = fields.get(hdrs.HOST, "")
    return hub, call.request.method, host, call.raw_path, call.query, call.public_url, call.mount, whose, call.actor, *chosen


async def small_hit(body: Body) -> bytes | None:
    """The bytes of a small file that is whole in the store and verified; then the body is closed. Else None.

    Raises as `Body.read`.
    """
    if body.origin != "hit" or not body.verified or body.size is None or body.size > SMALL:
        return None
    try:
        return b"".join([piece async for piece in body.read(Span(0, body.size))])
    finally:
        await body.close()


def hit_headers(headers: Headers, etag: str, last_modified: datetime | None = None) -> Headers:
    """The fields of a 200 with a whole verified file from the store, as `reply.body.respond` would send them."""
    tag = ((hdrs.ETAG, etag),) if etag else ()
    if last_modified is not None:
        tag = (*tag, (hdrs.LAST_MODIFIED, http_date(last_modified)))
    own = [(name, value) for name, value in headers if name.lower() != "accept-ranges"]  # a second one would be another field
    return (*own, *tag, (hdrs.ACCEPT_RANGES, "bytes"), ("Cache-Status", cache_status("hit", verified=True)))


def answer(headers: Headers, body: bytes | None, status: int = 200) -> web.Response:
    """An answer with these fields; `body` None where none is sent."""
    return web.Response(status=status, body=body, headers=CIMultiDict(headers))


def again(warm: Warm) -> web.Response:
    """The answer once more, marked as one that may be given yet another time."""
    response = answer(warm.headers, warm.body, warm.status)
    response[WARM] = warm
    return response
