"""The load generator for what wrk cannot do: `python -m bench.contest.pull WORK JSON` prints one JSON line.

It imports nothing but the standard library, so that a process of it starts quickly. Works: `rate`, `fetch`, `crowd`, `slow`.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import resource
import selectors
import socket
import sys
import time
from urllib.parse import urljoin, urlsplit


def _connect(url):
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _request(url, method, headers):
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"{method} {target} HTTP/1.1",
        f"Host: {parts.netloc}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


class _Conversation:
    """One connection that asks for the same thing again and again."""

    def __init__(self, url, request, no_body, buffer):
        self.socket = _connect(url)
        self.socket.setblocking(False)
        self._request, self._no_body, self._buffer = request, no_body, buffer
        self._left, self._head, self._chunked = 0, b"", False
        self.done, self.bytes, self.wrong = 0, 0, 0
        self.socket.send(request)

    def readable(self):
        """Take what came; ask again where an answer is whole. False when the server has closed."""
        if self._left:
            count = self.socket.recv_into(self._buffer)
            if not count:
                return False
            self.bytes += count
            self._left -= count
            if self._left == 0:
                self._next()
            return True
        data = self.socket.recv(65536)
        if not data:
            return False
        self.bytes += len(data)
        self._head += data
        self._parse()
        return True

    def _parse(self):
        if self._chunked:
            if self._head.endswith(b"\r\n0\r\n\r\n"):
                self._next()
            else:
                self._head = self._head[-7:]
            return
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            return
        if head[9:12] != b"200":
            self.wrong += 1
        if self._no_body:
            self._next()
            return
        low = head.lower()
        at = low.find(b"\r\ncontent-length:")
        if at < 0:
            self._chunked, self._head = True, rest
            self._parse()
            return
        self._left = int(low[at + 17 :].partition(b"\r\n")[0]) - len(rest)
        self._head = b""
        if self._left == 0:
            self._next()

    def _next(self):
        self._head, self._chunked = b"", False
        self.done += 1
        self.socket.send(self._request)


def rate(url, seconds, connections, method="GET", headers=None):
    """Requests and bytes a second over `connections` that are kept open."""
    request, buffer = _request(url, method, headers or {}), memoryview(bytearray(512 * 1024))
    several = [_Conversation(url, request, method == "HEAD", buffer) for _ in range(connections)]
    selector = selectors.EpollSelector()
    for one in several:
        selector.register(one.socket, selectors.EVENT_READ, one.readable)
    started = time.perf_counter()
    until, closed = started + seconds, 0
    while time.perf_counter() < until and closed < connections:
        for key, _ in selector.select(0.2):
            if not key.data():
                closed += 1
                selector.unregister(key.fileobj)
    took = time.perf_counter() - started
    return {
        "requests": sum(one.done for one in several) / took, "bytes": sum(one.bytes for one in several) / took,
        "wrong": sum(one.wrong for one in several) + closed,
    }  # fmt: skip


def fetch(url, head_first=False, hashed=True, headers=None):
    """One download over connections of its own, redirects followed: seconds to the first byte of the body and to the last."""
    opened = {}

    def ask(method, where):
        parts = urlsplit(where)
        connection = opened.get(parts.netloc)
        if connection is None:
            connection = opened[parts.netloc] = http.client.HTTPConnection(parts.netloc, timeout=120)
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), headers=headers or {})
        return connection.getresponse()

    started = time.perf_counter()
    if head_first:  # as huggingface_hub does: it wants commit, size and digest before it asks for bytes
        ask("HEAD", url).read()
    asked, where = time.perf_counter(), url
    for _ in range(5):
        answer = ask("GET", where)
        if answer.status not in (301, 302, 307, 308):
            break
        answer.read()
        where = urljoin(where, answer.headers["Location"])
    buffer = memoryview(bytearray(1 << 20))
    count = answer.readinto(buffer[:1])
    first = time.perf_counter()
    digest, total = hashlib.sha256(buffer[:count]), count
    while count := answer.readinto(buffer):
        total += count
        if hashed:
            digest.update(buffer[:count])
    return {
        "status": answer.status, "first": first - started, "first_of_get": first - asked, "seconds": time.perf_counter() - started,
        "bytes": total, "sha256": digest.hexdigest() if hashed else "",
    }  # fmt: skip


def crowd(url, connections, hashed):
    """Everybody downloads the same whole file at once. The first `hashed` of them compare digests."""
    request, buffer = _request(url, "GET", {}), memoryview(bytearray(256 * 1024))
    readers = []
    selector = selectors.EpollSelector()
    for number in range(connections):
        one = {"socket": _connect(url), "head": b"", "total": 0, "size": None, "sha": hashlib.sha256() if number < hashed else None}
        one["socket"].sendall(request)
        one["socket"].setblocking(False)
        selector.register(one["socket"], selectors.EVENT_READ, one)
        readers.append(one)
    started, ended = time.perf_counter(), 0
    while ended < connections:
        for key, _ in selector.select(1):
            one = key.data
            count = one["socket"].recv_into(buffer)
            piece = buffer[:count]
            if one["size"] is None and count:
                one["head"] += bytes(piece)
                head, end, rest = one["head"].partition(b"\r\n\r\n")
                if not end:
                    continue
                at = head.lower().find(b"\r\ncontent-length:")
                one["status"] = int(head[9:12])
                one["size"] = int(head[at + 17 :].partition(b"\r\n")[0]) if at >= 0 else -1
                piece = memoryview(rest)
            one["total"] += len(piece)
            if one["sha"] is not None:
                one["sha"].update(piece)
            if count == 0 or one["total"] == one["size"]:
                selector.unregister(one["socket"])
                one["socket"].close()
                ended += 1
    whole = sum(one["size"] == one["total"] and one.get("status") == 200 for one in readers)
    return {
        "seconds": time.perf_counter() - started,
        "whole": whole,
        "sha256": sorted({one["sha"].hexdigest() for one in readers if one["sha"]}),
    }


def slow(url, connections, every=1.0):
    """Readers that take 16 KiB each and then next to nothing; says `ready`, and stays until standard input closes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, connections + 200)), hard))
    request, sockets = _request(url, "GET", {}), []
    for _ in range(connections):
        parts = urlsplit(url)
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        one.connect((parts.hostname, parts.port))
        one.sendall(request)
        sockets.append(one)
    good = sum(one.recv(16384)[9:12] == b"200" for one in sockets)
    print(json.dumps({"ready": good}), flush=True)
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    taken = 0
    while not selector.select(every):
        for one in sockets:
            one.setblocking(False)
            try:
                taken += len(one.recv(4096))
            except BlockingIOError:
                continue
    return {"taken": taken}


if __name__ == "__main__":
    works = {"rate": rate, "fetch": fetch, "crowd": crowd, "slow": slow}
    print(json.dumps(works[sys.argv[1]](**json.loads(sys.argv[2]))), flush=True)
