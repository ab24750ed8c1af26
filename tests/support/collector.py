"""A collector of events on loopback: syslog in octet counting over TCP or TLS, and what it does when it is not well."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
from dataclasses import dataclass, field


@dataclass
class Collector:
    """Reads each connection to its end, then closes it. `unwell` is for that many connections: `reset` after so many bytes."""

    port: int = 0
    tls: ssl.SSLContext | None = None
    resets: list[int] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    connections: int = 0
    largest: int = 0
    _server: asyncio.Server | None = None

    async def start(self) -> Collector:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.resets:
            data = await reader.read(self.resets.pop(0))
            self.messages += frames(data)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            writer.transport.abort()
            return
        data = await reader.read(-1)
        self.largest = max(self.largest, len(data))
        self.messages += frames(data)
        writer.close()

    def records(self) -> list[dict]:
        """Events of the native format, in the order of their arrival."""
        return [json.loads(message[message.index(b"] ") + 2 :]) for message in self.messages]


def frames(data: bytes) -> list[bytes]:
    """Messages in octet counting (RFC 6587 3.4.1); one that was cut short is no message."""
    found = []
    while match := re.match(rb"([1-9]\d*) ", data):
        stop = match.end() + int(match[1])
        if stop > len(data):
            break
        found.append(data[match.end() : stop])
        data = data[stop:]
    return found
