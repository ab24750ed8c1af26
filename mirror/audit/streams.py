"""Bytes over TCP or TLS to somebody who answers nothing: how to know that they arrived.

Syslog has no acknowledgement (RFC 6587 section 5.2). What TCP has is used instead: after the last byte our side is closed, and the other
side closes its own once it has read to the end. One that goes away with bytes unread resets the connection, which is a
failure; so is an alert under TLS. A connection carries one batch.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import ssl
import struct
import termios
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from mirror.audit.outlets import ExportFailed

if TYPE_CHECKING:
    from pathlib import Path

#: Seconds to connect, and for the other side to close. One that does not close, but whose system has every byte, has it.
_CONNECT: Final = 10.0
_CLOSING: Final = 5.0
_PIECE: Final = 65_536


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom to trust (a PEM file beside the system's own), and who we are: certificate and key in PEM, or nobody."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    async def context(self) -> ssl.SSLContext:
        """For connections; read anew, in a thread, where a file has changed since: certificates are renewed. Raises `ExportFailed`."""
        try:
            changed = tuple(path.stat().st_mtime_ns for path in (self.ca, self.cert, self.key) if path is not None)
            return await asyncio.to_thread(_context, self, changed)
        except (ssl.SSLError, OSError) as error:
            raise ExportFailed(f"certificates cannot be read: {error}") from None


@lru_cache(64)
def _context(identity: Identity, _changed: tuple[int, ...]) -> ssl.SSLContext:
    """Reading the system's authorities takes tens of milliseconds."""
    context = ssl.create_default_context()
    if identity.ca is not None:
        context.load_verify_locations(identity.ca)
    if identity.cert is not None:
        context.load_cert_chain(identity.cert, identity.key)
    return context


async def deliver(host: str, port: int, data: bytes, identity: Identity | None = None) -> None:
    """Send `data`, under TLS with an `identity`, and return once the other side has it. Raises `ExportFailed` or `OSError`."""
    connection = await _connected(host, port)
    try:
        if identity is None:
            await asyncio.get_running_loop().sock_sendall(connection, data)
            await _ended(connection)
        else:
            await _Secured(connection, await identity.context(), host).deliver(data)
    finally:
        connection.close()


async def _connected(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    fault: OSError = OSError("no address")
    async with asyncio.timeout(_CONNECT):
        for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            one = socket.socket(family, kind, protocol)
            one.setblocking(False)
            try:
                await loop.sock_connect(one, address)
            except OSError as error:
                one.close()
                fault = error
            except BaseException:
                one.close()
                raise
            else:
                return one
    raise fault


async def _ended(connection: socket.socket, secured: _Secured | None = None) -> None:
    """Close our side and read to the end of the other's. Raises `OSError` for a reset, `ExportFailed` where bytes are left."""
    loop = asyncio.get_running_loop()
    connection.shutdown(socket.SHUT_WR)
    try:
        async with asyncio.timeout(_CLOSING):
            while piece := await loop.sock_recv(connection, _PIECE):
                if secured is not None:
                    secured.heard(piece)
    except TimeoutError:
        unsent = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0\0\0\0"))[0]
        if unsent:
            raise ExportFailed(f"{unsent} bytes were not taken") from None


class _Secured:
    """TLS over a socket of which each half is closed by itself, which asyncio's own transport does not do."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self._connection = connection
        self._read, self._written = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._answered = False
        self._tls = context.wrap_bio(self._read, self._written, server_hostname=host)

    async def deliver(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(_CONNECT):
                await self._shake_hands()
            self._tls.write(data)
            await self._flush()
            with suppress(ssl.SSLWantReadError, ssl.SSLSyscallError):
                self._tls.unwrap()  # our close_notify; the other side's may come or not
            await self._flush()
            await _ended(self._connection, self)
            if not self._answered and self._tls.version() == "TLSv1.3":
                # There our handshake ends before the other side has looked at our certificate (RFC 8446 section 2): only a ticket
                # or a close_notify says that it went on, and one that refuses may close without an alert.
                raise ExportFailed("TLS: closed without a word")
        except ssl.SSLError as error:
            raise ExportFailed(f"TLS: {getattr(error, 'verify_message', '') or error.reason or error}") from None

    async def _shake_hands(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                self._tls.do_handshake()
                await self._flush()
                return
            except ssl.SSLWantReadError:
                await self._flush()
                piece = await loop.sock_recv(self._connection, _PIECE)
                if not piece:
                    raise ExportFailed("TLS: closed in the handshake") from None
                self._read.write(piece)
            except ssl.SSLError:
                with suppress(OSError):
                    await self._flush()  # our alert says why
                raise

    async def _flush(self) -> None:
        if out := self._written.read():
            await asyncio.get_running_loop().sock_sendall(self._connection, out)

    def heard(self, piece: bytes) -> None:
        """What came back: session tickets, close_notify - or an alert, which raises `ssl.SSLError`."""
        self._read.write(piece)
        with suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError, ssl.SSLEOFError):
            while self._tls.read(_PIECE):
                pass
        self._answered = True
