"""The only way out for hf_xet: a forward proxy of its own on loopback, inside the worker's process.

hf_xet takes URLs from what the store answers, follows them and resolves their names itself. It is told to use this proxy
(its network code obeys `HTTPS_PROXY`), so every host it wants is held against the list of the configuration and every
address against what may be contacted, as `HttpUpstream` does. What it has no business with ends the worker at once.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import secrets
import socket
import threading
from typing import TYPE_CHECKING, Final

from aiohttp.resolver import ThreadedResolver
from yarl import URL

from mirror.core.errors import HostNotAllowed
from mirror.upstream.destinations import Destinations, GuardedResolver

if TYPE_CHECKING:
    from collections.abc import Callable

_HEAD: Final = 64 * 1024
_PIECE: Final = 256 * 1024
_CONNECT: Final = 10.0
#: Fields between hf_xet and this proxy (RFC 9110 section 7.6.1), which go no further.
_OURS: Final = (b"proxy-authorization:", b"proxy-connection:", b"connection:")


class Gate:
    """`url` is what hf_xet is told; nobody who does not know it gets through. `refused` is called from the gate's own thread."""

    def __init__(self, destinations: Destinations, proxy: str | None, refused: Callable[[HostNotAllowed], None]) -> None:
        """`proxy` is the operator's own proxy, through which everything goes on where there is one."""
        self._destinations, self._proxy, self._refused = destinations, None if proxy is None else URL(proxy), refused
        self._secret = secrets.token_hex(16)
        self._ready = threading.Event()
        self._port = 0

    def open(self) -> str:
        """Listen, in a thread that lasts as long as the process; gives the URL."""
        threading.Thread(target=asyncio.run, args=(self._run(),), daemon=True).start()
        self._ready.wait(_CONNECT)
        return f"http://xet:{self._secret}@127.0.0.1:{self._port}"

    async def _run(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_HEAD)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head[:-4].split(b"\r\n")
            method, target, _ = lines[0].decode("ascii").split(" ")
            permit = b"basic " + base64.b64encode(f"xet:{self._secret}".encode()).lower()
            if not any(line.lower().startswith(_OURS[0]) and line[20:].strip().lower() == permit for line in lines[1:]):
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            url = URL(f"https://{target}" if method == "CONNECT" else target, encoded=True)
            there, onward = await self._reach(url)
            try:
                await self._pass(method, url, lines, (reader, writer), (there, onward))
            finally:
                onward.close()
        except HostNotAllowed as error:
            self._refused(error)
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            with contextlib.suppress(OSError):
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        finally:
            writer.close()

    async def _reach(self, url: URL) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to `url`'s host, or to the operator's proxy. Raises `HostNotAllowed`, `OSError`, `TimeoutError`."""
        self._destinations.check(url, through_proxy=self._proxy is not None)
        async with asyncio.timeout(_CONNECT):
            if self._proxy is not None:
                return await asyncio.open_connection(self._proxy.host, self._proxy.port, ssl=self._proxy.scheme == "https" or None)
            host, port = url.host or "", url.port or 443
            found = await GuardedResolver(ThreadedResolver(), self._destinations, frozenset()).resolve(host, port, socket.AF_UNSPEC)
            for row in found[:-1]:
                with contextlib.suppress(OSError):
                    return await asyncio.open_connection(row["host"], port)
            return await asyncio.open_connection(found[-1]["host"], port)

    async def _pass(
        self, method: str, url: URL, lines: list[bytes], near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:  # fmt: skip
        fields = [line for line in lines[1:] if not line.lower().startswith(_OURS)]
        if self._proxy is not None:
            first = lines[0]
            if self._proxy.user is not None:
                fields.append(b"Proxy-Authorization: Basic " + base64.b64encode(f"{self._proxy.user}:{self._proxy.password or ''}".encode()))
        else:
            first = f"{method} {url.raw_path_qs} HTTP/1.1".encode("ascii")
        if method != "CONNECT":
            # One request a connection, with no body: the next may want another host, and must be looked at too.
            far[1].write(b"\r\n".join([first, *fields, b"Connection: close", b"", b""]))
            await _copy(far[0], near[1])
            return
        if self._proxy is not None:
            far[1].write(b"\r\n".join([first, *fields, b"", b""]))
        else:
            near[1].write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.wait(
            [asyncio.create_task(_copy(near[0], far[1])), asyncio.create_task(_copy(far[0], near[1]))],
            return_when=asyncio.FIRST_COMPLETED,
        )  # fmt: skip


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await source.read(_PIECE):
            sink.write(piece)
            await sink.drain()
