"""An upstream that answers every question with something that looks right and is not, and points everywhere else."""

from __future__ import annotations

import json
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.fuzz.requests import COMMIT

HOSTILE = (
    "<script>alert(1)</script>", "javascript:alert(1)", "data:text/html,<script>1</script>", "//evil.example/x", "http://169.254.169.254/latest",
    '"><img src=x onerror=alert(1)>', "</script><base href=//evil.example>", "a\r\nSet-Cookie: x=1", "\u202egpj.exe", "x\x00y", "\ud800", "é" * 200, "../../etc/passwd", "", "'", "{{7*7}}",
)  # fmt: skip
NUMBERS = (0, -1, 5, 2**53, 10**30, 1.5, True)


class Canary:
    """A listener at an address that no configuration names. `hits` are connections that should never have come."""

    def __init__(self, host: str = "127.0.0.9") -> None:
        self.hits: list[str] = []
        self._socket = socket.create_server((host, 0))
        self.address = "{}:{}".format(*self._socket.getsockname())
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            connection.settimeout(2)
            with connection:
                try:
                    self.hits.append(connection.recv(300).decode("latin-1").partition("\r\n")[0])
                except OSError:
                    self.hits.append("(silent)")

    def close(self) -> None:
        self._socket.close()


def _text(rng: random.Random, canary: str, right: str, rate: float = 0.3) -> Any:
    """The right text, or with the chance `rate` a hostile one, or seldom something that is no text."""
    if rng.random() >= rate:
        return right
    if rng.random() < 0.85:
        return rng.choice((*HOSTILE, f"http://{canary}/x", f"//{canary}/y", right + rng.choice(HOSTILE)))
    return rng.choice((*NUMBERS, None, [], {}, [right], {"a": right}))


def page(rng: random.Random, path: str, canary: str) -> Any:
    """JSON as the route wants it, with none, few or many of its values replaced."""
    rate = rng.choice((0.0, 0.02, 0.02, 0.1, 0.4))

    def text(right: str) -> Any:
        return _text(rng, canary, right, rate)

    def number(right: int) -> Any:
        return right if rng.random() >= rate else rng.choice((*NUMBERS, text("x")))

    if "/simple/" in path or "/pypi/" in path or path.endswith("/json"):
        project = (path.rstrip("/").split("/") + ["", ""])[2] or "acme"
        names = [f"{project.replace('-', '_')}-{n}.0-py3-none-any.whl" for n in range(3)] + [f"{project}-1.0.tar.gz"]
        files = [
            {"filename": text(name), "url": text(f"http://{canary}/{name}"), "hashes": {"sha256": text("a" * 64)}, "size": number(10), "upload-time": text("2026-01-02T03:04:05Z"),
             "yanked": text("why"), "requires-python": text(">=3"), "provenance": text(f"http://{canary}/p"), "core-metadata": rng.choice((True, {"sha256": "b" * 64}))}
            for name in names
        ]  # fmt: skip
        return {"meta": {"api-version": text("1.4")}, "name": project, "versions": ["0.0", "1.0", "2.0"], "files": files, "projects": [{"name": text("acme")}],
                "project-status": {"status": text("archived"), "reason": text("r")}, "info": {"version": text("1.0")}, "urls": files, "releases": {"1.0": files}}  # fmt: skip
    rows = [
        {"rfilename": text(name), "path": text(name), "type": "file", "size": number(7), "oid": text(COMMIT), "blobId": text(COMMIT), "lfs": {"sha256": text("a" * 64), "oid": "a" * 64, "size": number(7)}, "xetHash": "f"}
        for name in ("config.json", "README.md", "model.safetensors", "sub/x#y.txt")
    ]
    if "/tree/" in path or "/paths-info/" in path or "/commits/" in path:
        return rows
    about = {
        "id": text("acme/tiny-bert"), "_id": text("6" * 24), "sha": text(COMMIT), "private": text("") if rng.random() < 0.2 else False, "gated": rng.choice((False, "auto", 7)), "disabled": False,
        "tags": [text("license:mit"), text("base_model:acme/y")], "cardData": {"license": text("mit"), "base_model": text("acme/y")}, "createdAt": text("2026-01-02T03:04:05Z"),
        "siblings": rows, "error": text("no"), "layers": [{"digest": text("sha256:" + "a" * 64), "size": number(5)}], "default": {"train": [text(f"http://{canary}/api/datasets/acme/x/parquet/default/train/0.parquet")]},
    }  # fmt: skip
    return [about] if path.split("?")[0].count("/") == 2 and path.startswith("/api/") else about


def answer(rng: random.Random, line: str, canary: str) -> bytes:
    """A whole answer on the wire."""
    method, path = [*line.split(" "), "", ""][:2]
    body = json.dumps(page(rng, path, canary)).encode()
    kind, status = "application/vnd.pypi.simple.v1+json" if "/simple" in path else "application/json", 200
    fields = [("ETag", _text(rng, canary, f'"{COMMIT}"')), ("X-Repo-Commit", _text(rng, canary, COMMIT)), ("X-Linked-Size", rng.choice(("7", "9" * 5000, "-1"))), ("X-Linked-ETag", '"' + "a" * 64 + '"')]
    drawn = rng.random()
    if drawn < 0.08:
        body, kind = ("".join(rng.choice(HOSTILE) for _ in range(5)) + f'<base href="http://{canary}/"><a href="http://{canary}/acme-1.0.tar.gz">acme-1.0.tar.gz</a><![').encode("utf-8", "replace"), "text/html"
    elif drawn < 0.16:
        status, body = rng.choice(((302, b""), (307, b""), (301, b""))) if rng.random() < 0.7 else (304, b"")
        fields.append(("Location", rng.choice((f"http://{canary}/x", f"//{canary}/y", "http://169.254.169.254/", "javascript:1", "/x", "file:///etc/passwd", "http://[::1", path + "x"))))
    elif drawn < 0.26:
        status = rng.choice((401, 403, 404, 416, 418, 429, 451, 500, 502, 206, 204, 999))
        fields += [("X-Error-Code", rng.choice(("GatedRepo", "RepoNotFound", "EntryNotFound", "<b>"))), ("X-Error-Message", str(_text(rng, canary, "no"))), ("Retry-After", rng.choice(("1", "-5", "never")))]
    elif drawn < 0.34:
        body = rng.choice((b"", b"[" * 3000, b'{"id": NaN}', b"\xff\xfe", b'"\\ud800"', b"{", body[: len(body) // 2], b"[]", b"null", b"1"))
    elif drawn < 0.38:
        return rng.choice((b"", b"garbage\r\n\r\n", b"HTTP/1.1 200\r\n\r\n", b"HTTP/9.9 abc def\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"))
    fields.append(("Link", f'<http://{canary}/api/models?cursor=1>; rel="next"'))
    length = len(body) if rng.random() < 0.9 else rng.choice((0, 3, len(body) + 50))
    head = [f"HTTP/1.1 {status} {rng.choice(('OK', '', 'No é'))}", f"Content-Type: {kind}", f"Content-Length: {length}", "Connection: close"]
    head += [f"{name}: {' '.join(str(value).split())}" for name, value in fields]
    return "\r\n".join([*head, "", ""]).encode("latin-1", "replace") + (b"" if method == "HEAD" else body)


class Babel:
    """The server. An answer depends on the seed, the request line and how often that was sent before; `requests` are the lines.

    `reply` answers instead, given the request line.
    """

    def __init__(self, canary: str, seed: int, reply: Callable[[str], bytes] | None = None) -> None:
        self.canary, self.requests, self.reply = canary, list[str](), reply
        self._seed = seed
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        with connection:
            try:
                head = b""
                while b"\r\n\r\n" not in head and (more := connection.recv(65536)):
                    head += more
                line = head.decode("latin-1").partition("\r\n")[0]
                with self._lock:
                    rng = random.Random(f"{self._seed} {line} {self.requests.count(line)}")  # whatever else happens meanwhile
                    self.requests.append(line)
                    said = self.reply(line) if self.reply else answer(rng, line, self.canary)
                connection.sendall(said)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)
            except OSError:
                pass

    def close(self) -> None:
        self._socket.close()


@contextmanager
def babel(canary: str, seed: int = 0, reply: Callable[[str], bytes] | None = None) -> Iterator[Babel]:
    """The server while it runs."""
    server = Babel(canary, seed, reply)
    try:
        yield server
    finally:
        server.close()
