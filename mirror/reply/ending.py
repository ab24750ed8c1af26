"""Ending an answer short of its length: with FIN, which clients resume, never with a reset, which they do not."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import Final

#: Seconds for which what lies in our own buffer may still leave.
_FLUSH: Final = 2.0


def end(transport: asyncio.Transport | None) -> None:
    """Close a connection in the middle of an answer, also before a reader that takes nothing.

    What the kernel has taken is the reader's, and so is what it takes from our buffer within `_FLUSH`; the rest is dropped,
    and FIN follows what left.
    """
    if transport is None:
        return
    transport.close()
    asyncio.get_running_loop().call_later(_FLUSH, _drop, transport)


def _drop(transport: asyncio.Transport) -> None:
    peer = transport.get_extra_info("socket")
    if peer is None or peer.fileno() < 0:
        return  # everything had left, and it is closed
    with socket.socket(fileno=os.dup(peer.fileno())) as same, suppress(OSError):  # the client may have ended it
        same.shutdown(socket.SHUT_WR)  # FIN behind what the kernel holds (RFC 9293 section 3.6)
    transport.abort()
