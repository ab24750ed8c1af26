"""Who gets a copy of the ledger: a syslog server over TCP or TLS, a URL, a file. Each says when it has what it was sent."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Protocol

from mirror.audit.formats import as_syslog, rendered
from mirror.audit.formats.times import moment
from mirror.audit.outlets import ExportFailed
from mirror.audit.posting import post
from mirror.audit.streams import Identity, deliver
from mirror.audit.syslog import framed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_TYPES: Final = {"cef": "text/plain; charset=utf-8", "rfc5424": "text/plain; charset=utf-8"}
_LINES: Final = "application/x-ndjson"


class TooLarge(ExportFailed):
    """The receiver takes less at a time (HTTP 413)."""


class Receiver(Protocol):
    """One receiver of events. `place` tells it in health, without secrets."""

    place: str

    def encode(self, record: Mapping[str, Any]) -> bytes:
        """One event as it is sent; what several make is sent one after another."""

    async def send(self, data: bytes) -> None:
        """Return once the receiver has it. Raises `TooLarge`, `ExportFailed` or `OSError`, and then it may have some of it."""


class Writing:
    """How events are written: in which format, by which version of the mirror, on which host."""

    def __init__(self, form: str, version: str, host: str = "") -> None:
        self.form, self._version, self._host = form, version, host or socket.gethostname()

    def line(self, record: Mapping[str, Any]) -> bytes:
        """An event and a line end."""
        return (self.message(record) if self.form == "rfc5424" else rendered(record, self.form, self._version).encode()) + b"\n"

    def message(self, record: Mapping[str, Any]) -> bytes:
        """An event as a message of syslog."""
        return as_syslog(record, self.form, self._version, moment(record["at"]), self._host)


class StreamReceiver:
    """A syslog server over TCP, or, with an `identity`, over TLS (RFC 5425): messages in octet counting, a connection a batch."""

    def __init__(self, host: str, port: int, writing: Writing, identity: Identity | None = None) -> None:
        self._host, self._port, self._writing, self._identity = host, port, writing, identity
        self.place = f"{'tls' if identity else 'tcp'}://{f'[{host}]' if ':' in host else host}:{port}"

    def encode(self, record: Mapping[str, Any]) -> bytes:
        """See `Receiver`."""
        return framed(self._writing.message(record))

    async def send(self, data: bytes) -> None:
        """See `Receiver`."""
        await deliver(self._host, self._port, data, self._identity)


class WebReceiver:
    """A URL that gets lines by POST; any 2xx is a yes."""

    def __init__(
        self, url: str, place: str, writing: Writing, headers: Mapping[str, str], identity: Identity, proxy: str | None = None
    ) -> None:
        self._url, self._writing, self._identity, self._proxy, self.place = url, writing, identity, proxy, place
        self._headers = {"Content-Type": _TYPES.get(writing.form, _LINES), **headers}

    def encode(self, record: Mapping[str, Any]) -> bytes:
        """See `Receiver`."""
        return self._writing.line(record)

    async def send(self, data: bytes) -> None:
        """See `Receiver`."""
        status = await post(self._url, data, self._headers, identity=self._identity, proxy=self._proxy)
        if status == 413:
            raise TooLarge("answered 413: too much at a time")
        if not 200 <= status < 300:
            raise ExportFailed(f"answered {status}")


class FileReceiver:
    """A file that grows by lines, synced after each batch. It is opened anew each time, so that it may be rotated away.

    Its folder must be there: one that is missing is a disk that is not mounted.
    """

    def __init__(self, path: Path, writing: Writing) -> None:
        self._path, self._writing, self.place = path, writing, f"file:{path}"
        # Of its own: a disk that hangs must not take the threads that others need.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sink")

    def encode(self, record: Mapping[str, Any]) -> bytes:
        """See `Receiver`."""
        return self._writing.line(record)

    async def send(self, data: bytes) -> None:
        """See `Receiver`."""
        await asyncio.get_running_loop().run_in_executor(self._thread, append_lines, self._path, data)


def append_lines(path: Path, data: bytes) -> None:
    """Add whole lines to a file, durably, or leave it as it was. A last line that a crash cut short is ended. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = file.seek(0, os.SEEK_END)
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            data = b"\n" + data
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
