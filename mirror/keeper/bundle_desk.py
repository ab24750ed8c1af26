"""What a command that imports or exports bundles needs of the process that owns the data: a place on the record, and its memory renewed.

The command itself judges, copies files into the store and writes rows; nobody sees them before their rows are there, and
whoever remembers that there were none is told to look again.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mirror.audit.ledger import SegmentLedger
from mirror.audit.record import SALT, prepare
from mirror.core.decision import Event
from mirror.core.errors import MirrorError
from mirror.keeper.desk import Faulty, connected
from mirror.keeper.link import Answerer, Link, Reply
from mirror.keeper.records import batch_from, batch_json, places_json


async def _nobody() -> None:
    """Nobody remembers anything."""


class BundleDesk:
    """The owner's side. `on_import` is awaited before an import is told that it is done; set by whoever answers clients."""

    def __init__(self, ledger: SegmentLedger) -> None:
        self._ledger = ledger
        self.on_import: Callable[[], Awaitable[None]] = _nobody

    @property
    def calls(self) -> Mapping[str, Answerer]:
        """What a command may ask over the socket."""
        return {"bundle": self._answer}

    async def _answer(self, value: Any, data: bytes) -> Reply:
        """`["record", lengths]` with a batch as a worker sends it, or `["renew", null]`. What went wrong is an answer too."""
        method, lengths = value
        try:
            if method == "record":
                sealed = [await ticket.durable() for ticket in self._ledger.take(batch_from(lengths, data))]
                return Reply({"value": {"places": places_json(sealed), "records": self._ledger.head.count, "leaf": self._ledger.head.leaf}})
            if method == "renew":
                await self.on_import()
                return Reply({"value": None})
        except (MirrorError, OSError) as error:
            return Reply({"fault": str(error)})
        raise ValueError(f"bundles have no {method!r}")


class AskedBundles:
    """The desk of whoever owns a data folder, from a command."""

    def __init__(self, link: Link) -> None:
        self._link = link

    @classmethod
    async def at(cls, folder: Path) -> AskedBundles | None:
        """None where nobody listens. Raises `LedgerDown` for one of another release."""
        link = await connected(folder)
        return None if link is None else cls(link)

    async def record(self, events: Sequence[Event]) -> tuple[int, str]:
        """Put events on the record, durable on return; how many records there are then, and the last one's leaf hash.

        Raises `Faulty`, `LedgerDown`.
        """
        lengths, data = batch_json([prepare(event, os.urandom(SALT)) for event in events])
        told = await self._call(["record", lengths], data)
        return int(told["records"]), str(told["leaf"])

    async def renew(self) -> None:
        """Whoever answers clients looks at the index anew. Raises as `record`."""
        await self._call(["renew", None], b"")

    def close(self) -> None:
        """Hang up."""
        self._link.close()

    async def _call(self, value: Any, data: bytes) -> Any:
        told = (await self._link.call("bundle", value, data)).value
        if "fault" in told:
            raise Faulty(told["fault"])
        return told["value"]
