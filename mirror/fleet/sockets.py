"""The addresses that clients connect to: held by the keeper, and for each worker a listening socket of its own there.

One socket that all workers share would give whoever wakes first all that wait: of 64 connections at once one worker took
every one. With SO_REUSEPORT (socket(7)) the kernel deals them out by the hash of their addresses, and a worker's socket
receives from when it listens until it ends, whatever ends it. The keeper's own sockets are bound and never listen: they keep
the port (also one that port 0 gave) while workers come and go.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence

from mirror.core.errors import InputError, Problem


def held(addresses: Iterable[tuple[str, int]]) -> list[socket.socket]:
    """A bound socket for each (host, port); port 0 is any. Raises `InputError` with every one that cannot be had.

    Whether others have an address is to be asked before (`web.ports.demand`): SO_REUSEPORT would share it with them.
    """
    found: list[socket.socket] = []
    problems = []
    for host, port in addresses:
        try:
            found.append(_bound(host, port))
        except OSError as error:
            problems.append(Problem("listen", "", f"cannot listen on {host}:{port}: {error.strerror}"))
    if problems:
        close(found)
        raise InputError(problems)
    return found


def another(holding: Sequence[socket.socket]) -> list[socket.socket]:
    """Sockets at the same addresses, for one more worker to listen on. Raises `OSError`."""
    found: list[socket.socket] = []
    try:
        found.extend(_bound(*one.getsockname()[:2]) for one in holding)
    except OSError:
        close(found)
        raise
    return found


def close(sockets: Iterable[socket.socket]) -> None:
    """Close them here; who inherited them has them still."""
    for one in sockets:
        one.close()


def _bound(host: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((host, port))
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made
