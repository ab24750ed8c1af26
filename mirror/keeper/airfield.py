"""Flights for readers in other processes: what may leave is decided here, the bytes they read from the file themselves."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from mirror.core.nouns import Span
from mirror.core.ports import Body, Source
from mirror.keeper.link import Answerer, Link, Listener, Reply
from mirror.keeper.nouns import decoded
from mirror.keeper.wire import span_from, span_json
from mirror.proxy.bodies import BlobBody, FlightBody
from mirror.proxy.flights import Flights

#: Less than this is not worth an answer while more is arriving, ...
_WORTH: Final = 1024 * 1024
#: ... unless nothing more came for so long, in seconds: a tenth of what a person notices.
_GATHER: Final = 0.01


class Airfield:
    """The flights as one worker uses them, until its connection ends."""

    def __init__(self, flights: Flights) -> None:
        self._flights, self._numbers = flights, itertools.count(1)
        self._bodies: dict[int, FlightBody] = {}
        self.keys: set[str] = set()
        self.link: Link | None = None

    @property
    def calls(self) -> Mapping[str, Answerer]:
        """What a worker may ask."""
        return {"join": self._join, "available": self._available}

    @property
    def notices(self) -> Mapping[str, Listener]:
        """What a worker may say."""
        return {"leave": self._leave}

    async def close(self) -> None:
        """Every reader of this worker has left."""
        bodies, self._bodies = self._bodies, {}
        for body in bodies.values():
            await body.close()

    async def _join(self, value: Any, _: bytes) -> Reply:
        """`[key, hub, source]`. The answer tells what there is to read, with a descriptor where it is a file in flight."""
        key, hub, raw = value
        self.keys.add(key)
        body = await self._flights.join(key, hub, decoded(Source, raw))
        flying = self._flights.in_flight(key) is not None
        if not flying:
            self.keys.discard(key)
        try:
            return await self._described(body, flying=flying)
        except BaseException:
            await body.close()
            raise

    async def _described(self, body: Body, *, flying: bool) -> Reply:
        if isinstance(body, BlobBody):
            await body.close()  # the worker opens the blob itself
            return Reply({"is": "blob", "blob": [body.blob.digest.hex, body.blob.size], "flying": flying})
        if not isinstance(body, FlightBody) or body.handle is None:
            await body.close()
            return Reply({"is": "pass", "size": body.size, "flying": flying})
        number = next(self._numbers)
        descriptor = os.dup(body.handle.fileno())
        body.handle.close()  # a reader costs this process a number, not a file
        self._bodies[number] = body
        found = {"is": "flight", "reader": number, "origin": body.origin, "flying": flying, **_state(body)}
        return Reply(found, descriptors=(descriptor,))

    async def _available(self, value: Any, _: bytes) -> Reply:
        """`[reader, wanted, request]`: as `Flight.available`. Raises `ValueError` for a reader who has left."""
        number, wanted, request = value[0], span_from(value[1]), span_from(value[2])
        body = self._bodies.get(number)
        if body is None:
            raise ValueError("this reader has left")
        span = await body.available(wanted, request)
        if 0 < len(span) < min(_WORTH, len(wanted)) and span.start != request.start:
            # Each piece that arrives would be a question and an answer for each reader; the first piece goes at once.
            await asyncio.sleep(_GATHER)
            more = await body.available(Span(span.start, wanted.stop), request)
            span = more if len(more) else span
        return Reply({"span": span_json(span), **_state(body)})

    def _leave(self, number: Any) -> None:
        body = self._bodies.pop(number, None)
        if body is not None:
            task = asyncio.get_running_loop().create_task(body.close())
            task.add_done_callback(partial(_kept.discard))
            _kept.add(task)


#: Tasks are kept alive by nobody else.
_kept: Final[set[asyncio.Task[None]]] = set()


def _state(body: FlightBody) -> dict[str, Any]:
    landed = body.landed
    return {"size": body.size, "landed": None if landed is None else [landed.digest.hex, landed.size]}
