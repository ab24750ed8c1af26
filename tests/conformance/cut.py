"""A relay that cuts the first long answer short: what a client meets when the network between it and the mirror breaks."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Relay:
    """`url` is the relay; `ranges` are the `Range` fields that went through it; `cuts` counts the answers that were cut."""

    url: str = ""
    ranges: list[str] = field(default_factory=list)
    cuts: int = 0


@contextlib.contextmanager
def cutting(port: int, after: int) -> Iterator[Relay]:
    """Relay to `port` of loopback. The first connection that has carried `after` bytes to the client is closed with FIN."""
    relay = Relay()
    with socket.create_server(("127.0.0.1", 0)) as server:
        relay.url = f"http://127.0.0.1:{server.getsockname()[1]}"
        threading.Thread(target=_accept, args=(server, relay, port, after), daemon=True).start()
        yield relay


def _accept(server: socket.socket, relay: Relay, port: int, after: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            client = server.accept()[0]
            behind = socket.create_connection(("127.0.0.1", port))
            threading.Thread(target=_upward, args=(client, behind, relay), daemon=True).start()
            threading.Thread(target=_downward, args=(client, behind, relay, after), daemon=True).start()


def _upward(client: socket.socket, behind: socket.socket, relay: Relay) -> None:
    with contextlib.suppress(OSError):
        while data := client.recv(65536):
            relay.ranges += re.findall(r"(?im)^range: (\S+)", data.decode("latin-1"))
            behind.sendall(data)
    with contextlib.suppress(OSError):
        behind.shutdown(socket.SHUT_WR)


def _downward(client: socket.socket, behind: socket.socket, relay: Relay, after: int) -> None:
    carried = 0
    with contextlib.suppress(OSError):
        while data := behind.recv(65536):
            carried += len(data)
            client.sendall(data)
            if carried >= after and not relay.cuts:
                relay.cuts += 1
                break
    for side in (client, behind):
        with contextlib.suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)
        side.close()
