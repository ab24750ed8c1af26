"""A worker's flights: joined, steered and verified in the keeper, read from the descriptor that it hands over (P3, P4)."""

from __future__ import annotations

import asyncio
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from mirror.core.errors import IntegrityError
from mirror.core.nouns import Blob, Digest, Span
from mirror.core.ports import Blobs, Body, Source, Upstream
from mirror.keeper.link import Answerer, Link, Listener, Reply
from mirror.keeper.nouns import encoded
from mirror.keeper.wire import span_from, span_json
from mirror.proxy.bodies import BlobBody, FlightBody, PassBody
from mirror.proxy.flight import Reader
from mirror.proxy.flights import OnEnded, OnFault, OnLanded, OnRemoved, passing
from mirror.proxy.share import Share
from mirror.proxy.tuning import Tuning


class RemoteFlight:
    """One reader's view of a flight in the keeper (`proxy.bodies.Followed`).

    What may leave is asked for once and then known: what was permitted to this reader never holds what stays back until
    the digest is right, so no answer is completed on old knowledge. `turn` forgets it when the bytes proved wrong.
    """

    generation = 0  # which fetch a reader was given bytes of is the keeper's to know

    def __init__(self, link: Link, source: Source, told: Mapping[str, Any], descriptor: int) -> None:
        self.source, self.size, self.blob = source, told["size"], _blob(told["landed"])
        self._link, self._number, self._descriptor = link, told["reader"], descriptor
        self._granted: tuple[Span, Span] | None = None  # of a request, what may leave

    def descriptor(self) -> int:
        """The file; for one taker."""
        return self._descriptor

    def turn(self) -> None:
        """The flight begins again: ask anew before anything more leaves."""
        if self.blob is None:
            self._granted = None

    async def available(self, reader: Reader, wanted: Span, request: Span) -> Span:
        """As `Flight.available`; the keeper waits, and says what it would have said to a reader of its own."""
        if self._granted is not None and self._granted[0] == request:
            span = self._granted[1]
            if span.start <= wanted.start < span.stop:
                return Span(wanted.start, min(span.stop, wanted.stop))
        rest = Span(wanted.start, max(wanted.stop, request.stop))
        reply = await self._link.call("available", [self._number, span_json(rest), span_json(request)], at_once=partial(self._told, request))
        span = span_from(reply.value["span"])
        return Span(span.start, min(span.stop, max(span.start, wanted.stop)))

    def _told(self, request: Span, reply: Reply) -> None:
        self.size, self.blob = reply.value["size"], _blob(reply.value["landed"])
        self._granted = (request, span_from(reply.value["span"]))


class RemoteFlights:
    """As `proxy.flights.Flights`, with the keeper at the other end of `link`. `store` is where finished blobs are read."""

    def __init__(
        self, link: Link, store: Blobs, upstream_of: Callable[[str], Upstream], tuning: Tuning, patience: Mapping[str, float]
    ) -> None:
        self.on_landed: OnLanded = _ignore
        self.on_fault: OnFault = _ignore  # the keeper records what upstream did wrong
        self.on_ended: OnEnded = _nothing
        self.on_removed: OnRemoved = _nothing
        self._link, self._store, self._upstream_of, self._tuning, self._patience = link, store, upstream_of, tuning, patience
        self._flying: set[str] = set()
        self._joining: Counter[str] = Counter()
        self._shares: dict[str, Share] = {}
        self._sources: dict[str, Source] = {}
        self._doubted: dict[str, tuple[float, list[Span]]] = {}
        self._readers: weakref.WeakSet[RemoteFlight] = weakref.WeakSet()

    @property
    def calls(self) -> Mapping[str, Answerer]:
        """What the keeper asks."""
        return {"landed": self._landed, "doubt": self._doubt}

    @property
    def notices(self) -> Mapping[str, Listener]:
        """What the keeper says."""
        return {"ended": self._ended, "removed": self._removed}

    async def join(self, key: str, hub: str, source: Source) -> Body:
        """As `Flights.join`. Raises `LedgerDown` when there is no keeper."""
        if source.declared is not None:
            blob = await self._store.find(source.declared)
            if blob is not None and source.size in (None, blob.size):
                await self.on_landed(key, blob, source)
                return self.hit(blob, source)
        self._joining[key] += 1
        self._sources[key] = source
        try:
            asked = asyncio.ensure_future(self._link.call("join", [key, hub, encoded(source)], at_once=partial(self._joined, key)))
            try:
                reply = await asyncio.shield(asked)
            except asyncio.CancelledError:
                asked.add_done_callback(self._unwanted)
                raise
        finally:
            self._joining[key] -= 1
            if not self._joining[key]:
                del self._joining[key]
                if key not in self._flying:
                    self._sources.pop(key, None)
        return self._body(reply, key, hub, source)

    def hit(self, blob: Blob, source: Source) -> BlobBody:
        """As `Flights.hit`. The file is opened at once: the keeper, which evicts, does not know of this reader."""
        body = BlobBody(
            self._store, blob, headers=source.headers, verified=source.declared is not None, doubt=partial(self._doubts, source)
        )
        with suppress(IntegrityError):  # gone this moment: the read says so
            _ = body.handle
        return body

    def in_flight(self, key: str) -> tuple[int, int | None] | None:
        """Whether the keeper fetches `key`, or is about to be asked for it. How far it is, only the keeper knows: (0, None)."""
        return (0, None) if key in self._flying or key in self._joining else None

    def learn(self, doubts: Sequence[Any]) -> None:
        """What is remembered of wrong bytes that went out, as `Flights.doubts` has it."""
        now = asyncio.get_running_loop().time()
        self._doubted = {name: (now + left, [span_from(span) for span in spans]) for name, left, spans in doubts}

    # --- inside ---------------------------------------------------------------------------------------------------

    def _body(self, reply: Reply, key: str, hub: str, source: Source) -> Body:
        told = reply.value
        doubt = partial(self._doubts, source)
        if told["is"] == "flight":
            (descriptor,), reply.descriptors = reply.descriptors, ()
            flight = RemoteFlight(self._link, source, told, descriptor)
            self._readers.add(flight)
            collapsed = "collapsed" in told["origin"]
            leave = partial(self._link.tell, "leave", told["reader"])
            return FlightBody(flight, self._store, collapsed=collapsed, leave=leave, doubt=doubt)
        blob = _blob(told.get("blob"))
        if blob is not None:
            return self.hit(blob, source)
        tuned = replace(self._tuning, patience=self._patience.get(hub, self._tuning.patience))
        return PassBody(source, self._upstream_of(hub), tuned, told["size"], key, passing(self._shares, hub))

    def _joined(self, key: str, reply: Reply) -> None:
        if reply.value["flying"]:
            self._flying.add(key)

    def _unwanted(self, asked: asyncio.Future[Reply]) -> None:
        """Whoever asked has left before there was an answer."""
        if asked.cancelled() or asked.exception() is not None:
            return
        reply = asked.result()
        reply.close()
        if reply.value["is"] == "flight":
            self._link.tell("leave", reply.value["reader"])

    def _doubts(self, source: Source) -> Sequence[Span]:
        until, spans = self._doubted.get(str(source.declared), (0.0, []))
        return spans if until > asyncio.get_running_loop().time() else ()

    async def _landed(self, value: Any, _: bytes) -> Reply:
        key, blob = value[0], _blob(value[1])
        source = self._sources.get(key)
        if blob is not None and source is not None:
            await self.on_landed(key, blob, replace(source, came_from=value[2]))
        return Reply()

    async def _doubt(self, value: Any, _: bytes) -> Reply:
        self.learn(value)
        for flight in self._readers:
            flight.turn()
        return Reply()

    def _ended(self, key: Any) -> None:
        self._flying.discard(key)
        if key not in self._joining:
            self._sources.pop(key, None)
            self.on_ended(key)

    def _removed(self, digest: Any) -> None:
        self.on_removed(Digest("sha256", digest))


def _blob(raw: Any) -> Blob | None:
    return None if raw is None else Blob(Digest("sha256", raw[0]), raw[1])


async def _ignore(*_: object) -> None:
    pass


def _nothing(_: object) -> None:
    pass
