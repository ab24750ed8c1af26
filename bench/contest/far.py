"""An upstream far away, in one process: a content server with a rate for each connection, and a relay, both with a round trip.

Of a distance only this is imitated: a connection takes a round trip to open, an answer one more to begin, and a
connection carries so many bytes a second. Slow start and loss are not.
"""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time

_STEP = 256 * 1024
_RANGE = re.compile(rb"\r\nrange: *bytes=(\d+)-(\d*)", re.IGNORECASE)


class Contents:
    """Serves `Bulk`s by the last segment of a path. `rate` in bytes a second (0: none), `trip` in seconds."""

    def __init__(self, bulks, rate=0, trip=0.0):
        self.bulks, self.rate, self.trip = bulks, rate, trip
        self.sent, self.requests = 0, 0
        self._counting = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        time.sleep(self.trip)
        waiting = b""
        try:
            with connection:
                while True:
                    while b"\r\n\r\n" not in waiting:
                        data = connection.recv(65536)
                        if not data:
                            return
                        waiting += data
                    head, _, waiting = waiting.partition(b"\r\n\r\n")
                    time.sleep(self.trip)
                    self._answer(connection, head)
        except OSError:
            return

    def _answer(self, connection, head):
        method, target = head.split(b" ", 2)[:2]
        name = target.partition(b"?")[0].rpartition(b"/")[2].decode()
        if name == "sent":
            body = b'{"sent": %d, "requests": %d}' % (self.sent, self.requests)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            return
        bulk = self.bulks.get(name)
        if bulk is None:
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        asked = _RANGE.search(b"\r\n" + head)
        start = int(asked[1]) if asked else 0
        stop = min(int(asked[2]) + 1, bulk.size) if asked and asked[2] else bulk.size
        lines = [
            b"HTTP/1.1 206 Partial Content" if asked else b"HTTP/1.1 200 OK",
            b"Content-Length: %d" % (stop - start),
        ]
        lines += [b"Content-Range: bytes %d-%d/%d" % (start, stop - 1, bulk.size)] if asked else []
        lines += [b'ETag: "%s"' % name.encode(), b"Accept-Ranges: bytes", b"Content-Type: application/octet-stream"]
        lines += [b"Last-Modified: Fri, 01 Mar 2024 10:00:00 GMT", b"Cache-Control: public, max-age=604800, immutable"]
        connection.sendall(b"\r\n".join([*lines, b"", b""]))
        if method != b"HEAD":
            self._body(connection, bulk, start, stop)

    def _body(self, connection, bulk, start, stop):
        with self._counting:
            self.requests += 1
        due = time.monotonic()
        for piece in bulk.pieces(start, stop, _STEP):
            if self.rate:
                now = time.monotonic()
                # A reader that pauses has no credit for more than one piece afterwards.
                due = max(due, now - _STEP / self.rate) + len(piece) / self.rate
                if due > now:
                    time.sleep(due - now)
            connection.sendall(piece)
            with self._counting:
                self.sent += len(piece)


async def relay(target_port, trip):
    """Listen on a port of its own in front of one nearby, `trip` seconds away. Gives its URL."""

    async def accepted(reader, writer):
        await asyncio.sleep(trip)
        try:
            there, onward = await asyncio.open_connection("127.0.0.1", target_port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_carry(reader, onward, trip / 2), _carry(there, writer, trip / 2))

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, backlog=1024)
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", server


async def _carry(reader, writer, delay):
    """Everything from one to the other, each piece `delay` seconds after it came."""
    loop = asyncio.get_running_loop()
    under_way = asyncio.Queue()

    async def deliver():
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                writer.close()
                return
            writer.write(data)
            await writer.drain()

    delivering = asyncio.ensure_future(deliver())
    try:
        while data := await reader.read(65536):
            under_way.put_nowait((loop.time() + delay, data))
    except OSError:
        pass
    under_way.put_nowait((loop.time() + delay, b""))
    await asyncio.gather(delivering, return_exceptions=True)
