"""A worker's side of the keeper's socket: the connection, and what lies behind it beside ledger and flights."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

from mirror.core.errors import LedgerDown, UpstreamDown
from mirror.core.meter import Meter, Rate, Standing
from mirror.core.ports import Answer, Ask, Stream, Upstream
from mirror.keeper import door
from mirror.keeper.link import Answerer, Link, Listener, Reply
from mirror.keeper.nouns import encoded
from mirror.keeper.service import PATIENCE, Hello

#: How often workers tell one another what clients have spent, in seconds.
EXCHANGE: Final = 0.2
#: What the keeper may take beyond a caller's own patience, in seconds.
_SLACK: Final = 1.0
#: How long the keeper may owe an answer that costs it nothing, in seconds, before it counts as hung.
SILENCE: Final = 3.0


async def connected(folder: Path, hello: Hello, on_lost: Callable[[], None]) -> tuple[Link, Any]:
    """A connection to the keeper of `folder` that has said hello, and the keeper's answer. Raises `OSError`, `LedgerDown`."""
    peer = await asyncio.to_thread(door.reached, folder)
    link = Link(peer, {"beat": _alive}, {}, on_lost)
    try:
        reply = await link.call("hello", encoded(hello))
    except BaseException:
        link.close()
        raise
    return link, reply.value


async def _alive(_: Any, __: bytes) -> Reply:
    """The keeper asks for a sign of life: that this event loop turns is the answer."""
    return Reply()


def hear(link: Link, calls: Mapping[str, Answerer], notices: Mapping[str, Listener]) -> None:
    """Answer and heed the keeper from now on."""
    link.calls, link.notices = {**link.calls, **calls}, {**link.notices, **notices}


class KeeperUpstream:
    """core.ports.Upstream: small answers through the keeper, which asks once for all and keeps the hub's quota.

    Streams are one client's own (a full disk's pass-through, git, events) and go straight.
    """

    def __init__(self, hub: str, link: Link, straight: Upstream) -> None:
        self._hub, self._link, self._straight = hub, link, straight

    async def ask(self, ask: Ask) -> Answer:
        """A small answer. Raises as `Upstream.ask`, and `LedgerDown` without a keeper."""
        try:
            reply = await asyncio.wait_for(self._link.call("ask", [self._hub, encoded(ask)]), ask.patience + _SLACK)
        except TimeoutError:
            raise UpstreamDown("", "no answer in time") from None
        told = reply.value
        headers = tuple((name, value) for name, value in told["headers"])
        return Answer(told["status"], headers, reply.data, told["url"], told["upstream"])

    def stream(self, ask: Ask) -> AbstractAsyncContextManager[Stream]:
        """A large answer, from this process."""
        return self._straight.stream(ask)

    async def close(self) -> None:
        """Release connections."""
        await self._straight.close()


class Node:
    """What our own pages say of the whole node, from any worker."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def health(self) -> Mapping[str, Any]:
        """`ledger`, `policy` and `workers` (how many serve). Raises `LedgerDown` without a keeper, and for one that does not answer."""
        found: Mapping[str, Any] = (await self._asked("node")).value
        return found

    async def measures(self) -> Mapping[str, Any]:
        """Every process's metrics (`now`), and the last of those that have ended (`retired`). Raises `LedgerDown`."""
        found: Mapping[str, Any] = (await self._asked("measures", PATIENCE)).value
        return found

    async def level(self) -> None:
        """Return once the index holds every record that is durable now. Raises `LedgerDown`, `OSError` where it lags behind."""
        await self._asked("level", PATIENCE)

    async def _asked(self, word: str, longer: float = 0.0) -> Reply:
        """The keeper's answer. One that hangs is as good as none: nothing can be recorded. `longer`: what it may take itself."""
        try:
            return await asyncio.wait_for(self._link.call(word), SILENCE + longer)
        except TimeoutError:
            raise LedgerDown("the keeper does not answer") from None


class SharedMeter(Meter):
    """A meter that tells the other workers what was granted, every `EXCHANGE` seconds, and counts what they grant.

    A client that asks several workers at once may so get more than its allowance, by what the others grant within that time.
    """

    def __init__(self, keys: int = 50_000) -> None:
        super().__init__(keys)
        self._granted: dict[tuple[str, int, float], int] = {}

    def take(self, key: str, rate: Rate, now: float, cost: int = 1) -> Standing:
        """As `Meter.take`."""
        standing = super().take(key, rate, now, cost)
        if standing.permitted:
            spent = (key, rate.requests, rate.seconds)
            self._granted[spent] = self._granted.get(spent, 0) + cost
        return standing

    async def exchange(self, link: Link) -> None:
        """Tell the others, until cancelled."""
        while True:
            await asyncio.sleep(EXCHANGE)
            granted, self._granted = self._granted, {}
            if granted:
                link.tell("spent", [[*spent, cost] for spent, cost in granted.items()])

    def spent(self, value: Any) -> None:
        """Others have granted this."""
        now = time.monotonic()
        for key, requests, seconds, cost in value:
            for _ in range(cost):
                if not super().take(key, Rate(requests, seconds), now).permitted:
                    break


