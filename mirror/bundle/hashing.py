"""SHA-256 beside what goes on: large files are hashed in a thread, while the next piece is read and the last one is written.

hashlib lets go of the interpreter for pieces like these, so that two processors are at work.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from typing import Final

#: What is read at a time, and what is written: ext4 takes 256 KiB at a time faster than 1 MiB (bench/), which cannot be said of reading.
CHUNK: Final = 1024 * 1024
WRITTEN: Final = 256 * 1024
#: From this size on a thread pays.
_LARGE: Final = 4 * CHUNK
_BUFFERS: Final = 4


class Hashing:
    """The digest of one file of `size` bytes. `free` gives a buffer; `add` hashes what was put at its beginning."""

    def __init__(self, size: int) -> None:
        self._digest = sha256()
        self._thread = ThreadPoolExecutor(1) if size >= _LARGE else None
        count, length = (_BUFFERS, CHUNK) if self._thread is not None else (1, min(size + 1, CHUNK))
        self._buffers = deque(memoryview(bytearray(length)) for _ in range(count))
        self._under_way: deque[Future[None]] = deque()

    def free(self) -> memoryview:
        """A buffer that nobody reads any more. What it held before stays right until it is given again."""
        if self._thread is not None and len(self._under_way) == _BUFFERS:
            self._under_way.popleft().result()
        return self._buffers[0]

    def add(self, count: int) -> memoryview:
        """Hash the first `count` bytes of the buffer that `free` gave, and give them."""
        view = self._buffers[0][:count]
        if self._thread is None:
            self._digest.update(view)
        else:
            self._buffers.rotate(-1)
            self._under_way.append(self._thread.submit(self._digest.update, view))
        return view

    def hexdigest(self) -> str:
        """Of all that was added. Waits for it."""
        while self._under_way:
            self._under_way.popleft().result()
        return self._digest.hexdigest()

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._thread.shutdown()
