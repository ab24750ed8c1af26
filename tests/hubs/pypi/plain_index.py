"""A plain file server with hand-written pages: the indexes that are not PyPI. No hashes, no metadata, no headers but those given."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    range: str | None


@dataclass
class PlainIndex:
    """`pages` and `files` by raw path. `ranges` False ignores `Range`; `down` answers everything 503.

    `parts` are other bytes that a ranged request is answered from; `gate` is waited for before one is answered. What is asked
    for at a path in `silent` is not answered until `gate` opens: 0 for nothing at all, else the head and so many bytes first.
    """

    pages: dict[str, tuple[str | None, bytes]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    ranges: bool = True
    down: bool = False
    parts: dict[str, bytes] = field(default_factory=dict)
    gate: threading.Event | None = None
    silent: dict[str, int] = field(default_factory=dict)
    url: str = ""

    def wheel_asks(self) -> list[Asked]:
        return [one for one in self.asked if one.path.endswith(".whl")]


@contextlib.contextmanager
def serving(index: PlainIndex) -> Iterator[PlainIndex]:
    """The index on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            index.asked.append(Asked(self.command, self.path, self.headers.get("Range")))
            if self.path in index.silent and index.gate is not None:
                sent = index.silent[self.path]
                if sent:
                    self._head(200, "application/octet-stream", len(index.files[self.path]))
                    self._body(index.files[self.path][:sent])
                index.gate.wait(60)
                self.close_connection = True
                return
            status, kind, body = 404, None, b""
            if index.down:
                status = 503
            elif self.path in index.pages:
                status, (kind, body) = 200, index.pages[self.path]
            elif self.path in index.files:
                status, kind, body = 200, "application/octet-stream", index.files[self.path]
                wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
                if wanted and index.gate is not None:
                    index.gate.wait(60)
                if wanted and index.ranges:
                    body = index.parts.get(self.path, body)
                    size = len(body)
                    start = int(wanted[1]) if wanted[1] else max(0, size - int(wanted[2]))
                    stop = int(wanted[2]) + 1 if wanted[1] and wanted[2] else size
                    status, body = 206, body[start:stop]
                    self._head(status, kind, len(body), f"bytes {start}-{start + len(body) - 1}/{size}")
                    self._body(body)
                    return
            self._head(status, kind, len(body))
            self._body(body)

        do_HEAD = do_GET

        def _head(self, status: int, kind: str | None, length: int, part: str | None = None) -> None:
            self.send_response_only(status)
            if kind is not None:
                self.send_header("Content-Type", kind)
            if part is not None:
                self.send_header("Content-Range", part)
            self.send_header("Content-Length", str(length))
            self.end_headers()

        def _body(self, body: bytes) -> None:
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # a mirror that leaves in the middle of an answer is no news

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        index.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield index
        finally:
            server.shutdown()
