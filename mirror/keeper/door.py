"""`keeper.sock`: a Unix socket that only the mirror's own user may use, wherever its folder lies."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

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
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return bool(_PEER.unpack(raw)[1] == os.getuid())


@contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A path of the socket that fits into the 108 bytes of `sun_path` however deep the folder lies (unix(7))."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)
