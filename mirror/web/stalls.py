"""What one connection may hold, and for how long: readers that stand still, and how many there may be at once.

An answer waits in the kernel and in the transport for as long as its reader likes, and with it a file, a flight and a
task. TCP itself never gives up on a reader that keeps its window shut (RFC 9293 section 3.8.6.1).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: How often a connection is looked at within one limit.
_LOOKS: Final = 4


@dataclass(slots=True)
class Room:
    """Connections at once: `most` None is no limit."""

    most: int | None = None
    taken: int = 0

    def enter(self) -> bool:
        """Take a place; False where there is none."""
        if self.most is not None and self.taken >= self.most:
            return False
        self.taken += 1
        return True

    def leave(self) -> None:
        """Give a place back."""
        self.taken -= 1


class StallWatch:
    """Ends one connection whose reader has taken nothing of what waits for it for `limit` seconds (and a quarter at most)."""

    def __init__(self, transport: asyncio.Transport, limit: float, written: Callable[[], int]) -> None:
        """`written` gives a count that grows with every byte handed to the connection."""
        self._transport, self._every, self._written = transport, limit / _LOOKS, written
        self._seen: tuple[int, int] = (-1, -1)
        self._same = 0
        self._timer = asyncio.get_running_loop().call_later(self._every, self._look)

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look(self) -> None:
        waiting = _unsent(self._transport)
        now = (self._written(), waiting)
        self._same = self._same + 1 if waiting and now == self._seen else 0
        self._seen = now
        if self._same < _LOOKS:
            self._timer = asyncio.get_running_loop().call_later(self._every, self._look)
        else:
            cut(self._transport)


def cut(transport: asyncio.Transport) -> None:
    """End a connection at once (RST), also for whoever sends on a duplicate of its socket."""
    peer = transport.get_extra_info("socket")
    if peer is not None and peer.fileno() >= 0:
        with socket.socket(fileno=os.dup(peer.fileno())) as same:
            try:
                same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                same.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended by itself
    transport.abort()


def _unsent(transport: asyncio.Transport) -> int:
    """Bytes that the reader has not acknowledged: in the transport, and in the kernel where it can tell (tcp(7), SIOCOUTQ)."""
    peer = transport.get_extra_info("socket")
    queued = 0
    if peer is not None and peer.fileno() >= 0:
        try:
            (queued,) = struct.unpack("i", fcntl.ioctl(peer.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))
        except OSError:
            queued = 0
    return queued + transport.get_write_buffer_size()
