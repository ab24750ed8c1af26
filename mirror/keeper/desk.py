"""What commands may do to the cache, done by the process that owns it: `mirror cache` and the pins of `mirror sync`.

One process has the ledger's lock, the store's accounts and the flights. While a mirror runs it is that one, and commands
ask it over `keeper.sock`; where none runs, a command takes the lock itself for as long as it works. So nothing that is
being read or fetched goes by another's hand, and there are never two owners.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

from mirror.core.acquisitions import Acquisition, AcquisitionIndex
from mirror.core.errors import LedgerDown, MirrorError
from mirror.core.nouns import Digest
from mirror.core.ports import Clock, Holding, HoldingIndex, Pin
from mirror.keeper import door
from mirror.keeper.link import Answerer, Link, Reply
from mirror.keeper.nouns import decoded, encoded
from mirror.keeper.wire import VERSION
from mirror.proxy.eviction import BATCH, Eviction, Pinned, by_worth
from mirror.store.disk import DiskStore
from mirror.store.scrub import ScrubbedFolder

#: Most acquisitions in one answer.
SHOWN: Final = 10_000


class KeptIndex(HoldingIndex, AcquisitionIndex, Protocol):
    """What the desk asks of the index."""


class Desk:
    """The owner's side. Every value that goes in or out is plain JSON. Raises `IndexDown`, `OSError`."""

    def __init__(
        self, data: Path, quota: int, index: KeptIndex, store: DiskStore, eviction: Eviction, clock: Clock,
        found_damaged: Callable[[], Awaitable[None]] | None = None,
    ) -> None:  # fmt: skip
        """`found_damaged` puts on the record what was set aside; without it the next start does."""
        self._data, self._quota, self._index, self._store, self._eviction = data, quota, index, store, eviction
        self._clock, self._found_damaged, self._folder = clock, found_damaged, ScrubbedFolder(data)

    async def stats(self) -> dict[str, Any]:
        """How much is stored, how much may be, what is pinned, and how old the least used file is."""
        totals, pins = await self._index.totals(), await self._index.pins()
        pinned, kept, oldest = Pinned(pins), 0, None
        async for batch in self._index.idle_holdings(BATCH):
            for holding in batch:
                oldest = oldest or holding.last_used
                kept += holding.blob.size if pins and pinned.holds(holding) else 0
        system = os.statvfs(self._data)
        return {
            "stored": await self._store.recount(), "quota": self._quota, "free_on_disk": system.f_bavail * system.f_frsize,
            "files": totals.blobs, "names": totals.entries, "pages": totals.documents, "unfinished_bytes": self._store.reserved,
            "pins": len(pins), "pinned_bytes": kept, "least_used": None if oldest is None else _second(oldest),
        }  # fmt: skip

    async def acquired(self, prefix: str) -> list[Any]:
        """How what begins with `prefix` (a package URL or the beginning of one) came here, by name; at most `SHOWN`."""
        return [encoded(row) for row in await self._index.acquired(prefix, SHOWN)]

    async def pins(self) -> list[Any]:
        """All pins, the oldest first."""
        return [encoded(pin) for pin in await self._index.pins()]

    async def put_pin(self, pin: Any) -> None:
        """Keep a pin."""
        await self._index.put_pin(decoded(Pin, pin))

    async def drop_pin(self, pattern: str) -> bool:
        """Whether there was one."""
        return await self._index.drop_pin(pattern)

    async def evict(self, patterns: Sequence[str], free: int | None, pinned: bool, dry_run: bool) -> list[dict[str, Any]]:
        """Remove every blob with a name among `patterns`, or the least worth keeping until `free` bytes are gathered.

        What is pinned stays, unless `pinned` and named; what is being read at this moment stays. Gives what went (or would).
        """
        chosen = await self._chosen(tuple(patterns), free, pinned=pinned)
        return [_row(holding) for holding in chosen if dry_run or await self._eviction.remove_idle(holding)]

    async def damaged(self, name: str, computed: str) -> None:
        """Set aside a blob that was hashed to something else, and put it on the record."""
        self._folder.set_aside(Digest("sha256", name), computed)
        if self._found_damaged is not None:
            await self._found_damaged()

    async def _chosen(self, patterns: tuple[str, ...], free: int | None, *, pinned: bool) -> list[Holding]:
        now, chosen, gathered = self._clock.now(), list[Holding](), 0
        kept = Pinned(() if pinned and patterns else await self._index.pins())
        named = Pinned([Pin(pattern, "", now) for pattern in patterns])
        async for batch in self._index.idle_holdings(BATCH):
            for holding in by_worth(batch, now):
                if (free is not None and gathered >= free) or kept.holds(holding) or (patterns and not named.holds(holding)):
                    continue
                chosen.append(holding)
                gathered += holding.blob.size
        return chosen

    @property
    def calls(self) -> Mapping[str, Answerer]:
        """What a command may ask over the socket."""
        return {"cache": self._answer}

    async def _answer(self, value: Any, _: bytes) -> Reply:
        """`[method, arguments]`. What went wrong is an answer too: `{"fault": …}`."""
        method, arguments = value
        if method not in METHODS:
            raise ValueError(f"the cache has no {method!r}")
        try:
            return Reply({"value": await getattr(self, method)(*arguments)})
        except (MirrorError, OSError) as error:
            return Reply({"fault": str(error)})


METHODS: Final = ("acquired", "stats", "pins", "put_pin", "drop_pin", "evict", "damaged")


class Asked:
    """The desk of a mirror that runs, from a command: each method as `Desk` has it, pins as `core.ports.PinIndex`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    @classmethod
    async def at(cls, folder: Path) -> Asked | None:
        """The desk of whoever owns `folder`; None where nobody listens. Raises `LedgerDown` for one of another release."""
        link = await connected(folder)
        return None if link is None else cls(link)

    async def call(self, method: str, *arguments: Any) -> Any:
        """The answer. Raises `Faulty` with what the owner says went wrong, `LedgerDown` where it has ended."""
        told = (await self._link.call("cache", [method, list(arguments)])).value
        if "fault" in told:
            raise Faulty(told["fault"])
        return told["value"]

    async def acquisitions_of(self, prefix: str) -> Sequence[Acquisition]:
        """See `Desk.acquired`."""
        return [decoded(Acquisition, row) for row in await self.call("acquired", prefix)]

    async def pins(self) -> Sequence[Pin]:
        """See `core.ports.PinIndex`."""
        return [decoded(Pin, row) for row in await self.call("pins")]

    async def put_pin(self, pin: Pin) -> None:
        """See `core.ports.PinIndex`."""
        await self.call("put_pin", encoded(pin))

    async def drop_pin(self, pattern: str) -> bool:
        """See `core.ports.PinIndex`."""
        return bool(await self.call("drop_pin", pattern))

    def close(self) -> None:
        """Hang up."""
        self._link.close()


async def connected(folder: Path) -> Link | None:
    """A command's connection to whoever owns `folder`; None where nobody listens. Raises `LedgerDown` for one of another release."""
    try:
        peer = door.reached(folder)
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    link = Link(peer, {}, {}, lambda: None)
    try:
        await link.call("hello", {"role": "command", "slot": 0, "config": "", "version": VERSION})
    except BaseException:
        link.close()
        raise
    return link


class Faulty(MirrorError):
    """What the owner of the cache could not do, in its words."""


class Wicket:
    """`keeper.sock` of a mirror of one process: commands come in, and nobody else."""

    def __init__(self, calls: Mapping[str, Answerer]) -> None:
        self._calls = calls
        self._links: set[Link] = set()
        self._listening: socket.socket | None = None

    def open(self, folder: Path) -> None:
        """Listen at `folder/keeper.sock`. Raises `OSError`."""
        self._listening = door.opened(folder)
        door.accepting(self._listening, self._enter)

    async def close(self) -> None:
        """End every connection. Safe to call twice."""
        listening, self._listening = self._listening, None
        if listening is not None:
            door.shut(listening)
        for link in list(self._links):
            link.close()
            await link.ended()

    def _enter(self, peer: socket.socket) -> None:
        link: Link

        async def greet(value: Any, _: bytes) -> Reply:
            if value.get("role") != "command" or value.get("version") != VERSION:
                raise LedgerDown(f"this mirror speaks version {VERSION} of its language, to commands only")
            link.calls = self._calls
            return Reply()

        link = Link(peer, {"hello": greet}, {}, lambda: self._links.discard(link))
        self._links.add(link)


def _row(holding: Holding) -> dict[str, Any]:
    names = sorted(map(str, holding.artifacts))
    return {"digest": str(holding.blob.digest), "size": holding.blob.size, "last_used": _second(holding.last_used), "names": names}


def _second(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
