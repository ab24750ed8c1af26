"""Files that are brought whole, by a process that need not own the store: copied, made durable, and given their names.

The bytes come from somebody who checks them while they are read, and raises where they are wrong; until then they have no
name here. Many are made durable at once: a disk takes a thousand small files in the time of ten that
are each waited for; and beside that the next ones are copied. A file without an entry is seen by nobody, so a run that is
cut short harms nothing, and the next one finds what was named.
"""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from mirror.durable import Ahead, sync_all
from mirror.store.disk import blob_path, reckoned
from mirror.store.reading import LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mirror.core.nouns import Blob

    Fill = Callable[[Callable[[memoryview], None]], None]

#: What is written at a time: ext4 takes 256 KiB faster than 1 MiB.
_WRITTEN: Final = 256 * 1024
#: Files that wait for their names together, and bytes.
_FILES: Final = 1000
_BYTES: Final = 256 * 1024**2


class Intake:
    """Into the store below `root`. Synchronous; for one thread. What was taken has its name once `settle` returned."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = root / "incoming"
        self._waiting: list[Blob] = []
        self._bytes = 0
        self._beside = ThreadPoolExecutor(1, "intake")
        self._settling: Future[None] | None = None

    def has(self, blob: Blob) -> bool:
        """Whether the file is here with its length."""
        with suppress(OSError):
            return blob_path(self._root, blob.digest).stat().st_size == blob.size
        return False

    def take(self, blob: Blob, fill: Fill, came: Callable[[int], None] = lambda _: None) -> None:
        """Have `fill` write all of a file; it raises where the bytes are wrong. Raises `OSError`, `ValueError` for another length."""
        if not self._waiting:
            self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / blob.digest.hex).open("wb", buffering=0) as file:
            count, ahead = 0, Ahead(file.fileno())

            def write(data: memoryview) -> None:
                nonlocal count
                written = 0
                while written < len(data):
                    written += file.write(data[written : written + _WRITTEN]) or 0
                ahead.wrote(written)
                count += written
                came(written)

            fill(write)
            if count != blob.size:
                raise ValueError(f"{count} bytes came of {blob.size}")
            os.fchmod(file.fileno(), 0o440)
            with suppress(OSError):  # no extended attributes here: the index is the only witness of the length
                os.setxattr(file.fileno(), LENGTH, str(blob.size).encode())
        self._waiting.append(blob)
        self._bytes += blob.size
        if len(self._waiting) >= _FILES or self._bytes >= _BYTES:
            self._settle()

    def settle(self) -> None:
        """Everything that was taken is durable and has its name on return. Raises `OSError`."""
        self._settle()
        self._settled()

    def _settle(self) -> None:
        """Have what waits settled, once what went before it is."""
        self._settled()
        if self._waiting:
            self._settling = self._beside.submit(_named, self._root, self._folder, self._waiting)
            self._waiting, self._bytes = [], 0

    def _settled(self) -> None:
        if self._settling is not None:
            settling, self._settling = self._settling, None
            settling.result()

    def room(self, min_free: int) -> int:
        """Bytes that may still be written before less than `min_free` is left on the disk."""
        self._root.mkdir(parents=True, exist_ok=True)
        system = os.statvfs(self._root)
        return system.f_bavail * system.f_frsize - min_free

    def clear(self) -> None:
        """Remove what has no name: what a run that was killed left, or this one where it failed."""
        with suppress(OSError):
            self._settled()
        with suppress(OSError):
            for path in self._folder.iterdir():
                path.unlink(missing_ok=True)


def _named(root: Path, folder: Path, blobs: Sequence[Blob]) -> None:
    """Make files durable, then their names."""
    files = [folder / blob.digest.hex for blob in blobs]
    sync_all(folder, files)  # a name never stands for what the disk has not
    more, folders = 0, set()
    for blob, file in zip(blobs, files, strict=True):
        place = blob_path(root, blob.digest)
        place.parent.mkdir(parents=True, exist_ok=True)
        folders |= {place.parent, place.parent.parent, place.parent.parent.parent}
        with suppress(OSError):
            more -= place.stat().st_size  # one that was there and is broken
        file.replace(place)
        more += blob.size
    sync_all(folder, sorted(folders))
    reckoned(root, more)
