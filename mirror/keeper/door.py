"""`keeper.sock`: a Unix socket that only the mirror's own user may use, wherever its folder lies."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import structlog

_LOG = structlog.get_logger("mirror.keeper")

NAME: Final = "keeper.sock"
_PEER: Final = struct.Struct("3i")  # pid, uid, gid (unix(7), SO_PEERCRED)
_BACKLOG: Final = 128


def opened(folder: Path) -> socket.socket:
    """A listening socket at `folder/keeper.sock`, mode 0600, in place of one that an earlier keeper left.

    Only for whoever owns the ledger's lock: nobody else may be listening there. Raises `OSError`.
    """
    with suppress(FileNotFoundError):
        (folder / NAME).unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The file takes its mode from the socket when it is bound: there is no moment at which others may connect.
        os.fchmod(listening.fileno(), 0o600)
        with _short(folder) as path:
            listening.bind(path)
        (folder / NAME).chmod(0o600)
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def accepting(listening: socket.socket, enter: Callable[[socket.socket], None]) -> None:
    """Hand over each connection of our own user from now on; others are turned away."""
    def accept() -> None:
        try:
            peer, _ = listening.accept()
        except OSError:
            return
        if ours(peer):
            enter(peer)
        else:
            _LOG.error("keeper_stranger_refused")
            peer.close()

    asyncio.get_running_loop().add_reader(listening.fileno(), accept)


def removed(path: Path) -> None:
    """Take the socket's name away: nobody answers there from here on."""
    with suppress(OSError):
        path.unlink()


def shut(listening: socket.socket) -> None:
    """Accept nobody any more."""
    asyncio.get_running_loop().remove_reader(listening.fileno())
    listening.close()


def reached(folder: Path) -> socket.socket:
    """A connection to the keeper of `folder`, blocking. Raises `OSError` where there is none."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(folder) as path:
            peer.connect(path)
    except BaseException:
        peer.close()
        raise
    if not ours(peer):
        peer.close()
        raise PermissionError(13, "the keeper's socket belongs to another user")
    return peer


def ours(peer: socket.socket) -> bool:
    """Whether the process at the other end runs under our own user."""
    return bool(_credentials(peer)[1] == os.getuid())


def process(peer: socket.socket) -> int:
    """The id of the process at the other end, as it was when it connected."""
    return int(_credentials(peer)[0])


def _credentials(peer: socket.socket) -> tuple[int, ...]:
    return _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))


@contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A path of the socket that fits into the 108 bytes of `sun_path` however deep the folder lies (unix(7))."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)
