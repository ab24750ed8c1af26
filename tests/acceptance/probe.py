"""What an attacker holds: requests sent exactly as written, and answers looked into through every coding."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import io
import socket
import threading
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import zstandard


@dataclass(frozen=True)
class Probe:
    """One request. `target` goes onto the wire as it stands; `what` says for a failing assertion what it tries."""

    target: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    what: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.target} {dict(self.headers)} [{self.what}]"


@dataclass(frozen=True)
class Answer:
    """What came back, undecoded."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def header(self, name: str) -> str:
        return self.headers.get(name) or ""

    @property
    def everything(self) -> bytes:
        """The header block and the body in every reading."""
        return b"\n".join([str(self.headers).encode("utf-8", "surrogateescape"), *readings(self.body)])


def readings(data: bytes) -> Iterator[bytes]:
    """`data` as it is, and as it reads through every content coding and archive it may be in."""
    yield data
    for decode in (gzip.decompress, zlib.decompress, lambda raw: zlib.decompress(raw, -15), _zstd, _brotli):
        with contextlib.suppress(Exception):
            yield decode(data)
    for at in (data.find(b"\x1f\x8b\x08"),):
        if at > 0:  # compressed inside something else (a multipart answer)
            with contextlib.suppress(Exception):
                yield zlib.decompressobj(31).decompress(data[at:])
    if data[:2] == b"PK":
        with contextlib.suppress(Exception), zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield archive.read(name)


def _zstd(data: bytes) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True) as reader:
        return reader.read()


def _brotli(data: bytes) -> bytes:
    import brotli

    return bytes(brotli.decompress(data))


class Attacker:
    """Sends probes over connections that are kept open, several at a time."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "", parts.port or 80
        self._local = threading.local()

    def send(self, probe: Probe) -> Answer:
        """One probe; a connection that the mirror has closed meanwhile is opened again once."""
        try:
            return self._once(probe)
        except (http.client.HTTPException, OSError):
            self._local.line = None
            return self._once(probe)

    def all(self, probes: Sequence[Probe], lines: int = 32) -> list[tuple[Probe, Answer]]:
        """Every probe with its answer, in order."""
        with ThreadPoolExecutor(lines) as pool:
            return list(zip(probes, pool.map(self.send, probes), strict=True))

    def get(self, target: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        """A plain request; underscores in header names become hyphens."""
        return self.send(Probe(target, method, {name.replace("_", "-"): value for name, value in headers.items()}, body))

    def _once(self, probe: Probe) -> Answer:
        line: http.client.HTTPConnection | None = getattr(self._local, "line", None)
        if line is None:
            line = self._local.line = http.client.HTTPConnection(self.host, self.port, timeout=60)
        names = {name.lower() for name in probe.headers}
        line.putrequest(probe.method, probe.target, skip_host="host" in names, skip_accept_encoding=True)
        for name, value in probe.headers.items():
            line.putheader(name, value)
        if probe.body is not None and "content-length" not in names:
            line.putheader("Content-Length", str(len(probe.body)))
        line.endheaders(probe.body)
        response = line.getresponse()
        body = response.read()
        if response.will_close:
            line.close()
            self._local.line = None
        return Answer(response.status, response.headers, body)


def shout(port: int, data: bytes, *, patience: float = 1.5) -> bytes:
    """Raw bytes to the port, and everything that comes back until it is closed. A reset ends the answer, not the test.

    After `patience` seconds of silence our side is closed: what is still incomplete then will not be completed.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
        with contextlib.suppress(OSError):
            line.sendall(data)
        line.settimeout(patience)
        while True:
            try:
                chunk = line.recv(65536)
            except TimeoutError:
                with contextlib.suppress(OSError):
                    line.shutdown(socket.SHUT_WR)
                line.settimeout(30)
                continue
            except OSError:
                break
            if not chunk:
                break
            received += chunk
    return received


def status_of(received: bytes) -> int:
    """The status of a raw answer; 0 where the connection was closed without one."""
    head = received.split(b"\r\n", 1)[0].split()
    return int(head[1]) if len(head) > 1 and head[0].startswith(b"HTTP/") and head[1].isdigit() else 0
