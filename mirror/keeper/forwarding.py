"""A worker's ledger: events are rendered and grouped here, put in order and made durable by the keeper (P6).

It has a connection of its own, which the ledger's thread uses and blocks on: an event loop that is busy with a page holds
up no group commit, and a batch is on its way while the next one gathers, just as if the disk were here.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Final

from mirror.audit.chain import Head
from mirror.audit.ledger import GroupLedger
from mirror.audit.record import Prepared, Record
from mirror.core.errors import LedgerDown
from mirror.core.ports import Clock
from mirror.keeper.door import reached
from mirror.keeper.link import GONE
from mirror.keeper.records import batch_json, places_from
from mirror.keeper.wire import Frames, Garbled, KeeperFault, Message, What, error_from, packed

#: Longer than any disk takes: a keeper that does not answer within this is as good as gone. In seconds.
_SILENCE: Final = 60.0
_PIECE: Final = 256 * 1024


class LedgerLine:
    """`audit.ledger.Appender` at the other end of the keeper's socket. Once the keeper has gone it stays down."""

    def __init__(self, folder: Path, hello: Any) -> None:
        self._folder, self._hello = folder, hello
        self._peer: socket.socket | None = None
        self._frames, self._numbers = Frames(), count(1)
        self._gone = False
        self.head, self.state, self.why = Head(), "down", "not open"

    def open(self) -> None:
        """Connect. Raises `OSError`, `LedgerDown`."""
        self._peer = reached(self._folder)
        self._peer.settimeout(_SILENCE)
        self._ask("hello", self._hello)
        self.append(())

    def append(self, batch: Sequence[Prepared]) -> list[Record]:
        """The keeper's group commit has them on return. Raises `LedgerDown`."""
        lengths, data = batch_json(batch)
        answer = self._ask("append", lengths, data)
        self.state, self.why = answer["state"], answer["why"]
        records = places_from(answer["places"])
        if records:
            self.head = Head(records[-1].sequence + 1, records[-1].leaf)
        return records

    def heal(self) -> bool:
        """Whether the keeper can record again; asks it."""
        if not self._gone:
            with suppress(LedgerDown):
                self.append(())
        return self.state != "down"

    def lost(self, why: str = GONE) -> None:
        """The keeper has gone: nothing can be recorded from here on, and who waits for it is told. From any thread."""
        self._gone, self.state, self.why = True, "down", why
        if self._peer is not None:
            with suppress(OSError):
                self._peer.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the connection."""
        self.lost("closed")
        if self._peer is not None:
            self._peer.close()

    def _ask(self, word: str, value: Any, data: bytes = b"") -> Any:
        if self._gone or self._peer is None:
            raise LedgerDown(self.why)
        number = next(self._numbers)
        try:
            self._peer.sendall(packed(Message(What.CALL, number, word, value, data)))
            message = self._answer(number)
        except (OSError, Garbled, ValueError) as error:
            # What was sent may be recorded or not: nothing that waits for it may be answered.
            self.lost(self.why if self._gone else GONE)
            raise LedgerDown(GONE) from error
        if message.what is What.FAILED:
            found = error_from(message.value)
            self.state, self.why = "down", str(found)
            raise LedgerDown(str(found)) from (found if isinstance(found, KeeperFault) else None)
        return message.value

    def _answer(self, number: int) -> Message:
        if self._peer is None:
            raise OSError(GONE)
        while True:
            piece = self._peer.recv(_PIECE)
            if not piece:
                raise OSError(GONE)
            for message in self._frames.feed(piece):
                if message.number == number:
                    return message


class ForwardedLedger(GroupLedger):
    """core.ports.Ledger in a worker. The node's own events (`started`, `stopped`, `recovered`) are the keeper's."""

    def __init__(self, line: LedgerLine, clock: Clock, *, flush_every: float = 60.0) -> None:
        super().__init__(line, clock, flush_every=flush_every)
        self._line = line

    async def start(self) -> None:
        """Connect, and take events from here on. Raises `OSError`, `LedgerDown`."""
        await asyncio.to_thread(self._line.open)
        self.begin()

    def lost(self) -> None:
        """The keeper has gone: from here on nothing is recorded, so nothing is answered."""
        self._line.lost()
