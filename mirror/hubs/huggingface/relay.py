"""What upstream answers as a stream, taken on before its first byte is passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mirror.core.errors import UpstreamGarbage
from mirror.core.ports import Answer
from mirror.hubs.huggingface.documents import says_no

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mirror.core.ports import Stream

#: Bytes of a refusal that are read: it is a sentence.
_REFUSAL: Final = 64 * 1024


async def sound(stream: Stream, media_type: str) -> AsyncIterator[bytes]:
    """The body of a 200 of this very media type.

    Raises `HubSaysNo` for the hub's own refusal, `UpstreamGarbage` for any other answer: nothing else may leave by a
    route whose body is not judged.
    """
    kind = (stream.header("content-type") or "").partition(";")[0].strip().lower()
    if stream.status == 200 and kind == media_type:
        return stream.chunks()
    if stream.status < 400:
        raise UpstreamGarbage(stream.upstream, f"answered {stream.status} with {kind[:100] or 'no media type'} where {media_type} was due")
    body = b""
    async for chunk in stream.chunks():
        body += chunk
        if len(body) > _REFUSAL:
            break
    raise says_no(Answer(stream.status, stream.headers, body[:_REFUSAL], "", stream.upstream))
