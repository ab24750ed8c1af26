"""A bundle as one tar file, or as numbered volumes (`name.001`, `name.002`, …) for media and data diodes.

Volumes are a GNU multi-volume archive: `tar -xM -f name.001 -f name.002 …` unpacks them. Each is labelled with the bundle's
digest, its number and how many there are, so that one that is missing, of another bundle or under another's name is named.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

from mirror.bundle import tape
from mirror.bundle.faults import BundleFault
from mirror.bundle.tape import BLOCK, END, Header, Volume

#: Bytes of the smallest volume, and how many there may be.
SMALLEST: Final = 8 * BLOCK
MOST_VOLUMES: Final = 9999
#: Bytes that are left to the page cache at most.
_AHEAD: Final = 8 * 1024 * 1024
#: Files that are made durable one by one.
_FEW: Final = 50
_NOWHERE: Final = Volume("0" * 32, MOST_VOLUMES, MOST_VOLUMES)


def volume_path(base: Path, number: int) -> Path:
    """Where a volume lies."""
    return base.with_name(f"{base.name}.{number:03d}")


class Ahead:
    """Lets the disk begin to write while more is copied, so that little is left to wait for at the end.

    Linux begins to write pages back when told that they are not needed any more (posix_fadvise(2), POSIX_FADV_DONTNEED).
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._written = self._told = 0

    def wrote(self, count: int) -> None:
        """So many bytes more."""
        self._written += count
        if self._written - self._told >= _AHEAD:
            os.posix_fadvise(self._descriptor, self._told, self._written - self._told, os.POSIX_FADV_DONTNEED)
            self._told = self._written


class TapeWriter:
    """Writes files one behind the other into drafts beside `target`. `volume`: bytes per volume, rounded down to whole blocks."""

    def __init__(self, target: Path, volume: int | None) -> None:
        if volume is not None and volume < SMALLEST:
            raise BundleFault("", f"a volume has at least {SMALLEST} bytes")
        self._target = target
        self._room = None if volume is None else volume // BLOCK * BLOCK
        self._drafts: list[Path] = []
        self._file: BinaryIO | None = None
        self._member: Header | None = None
        self._left = 0
        self._ahead = Ahead(-1)
        self._next()

    @property
    def first(self) -> Path:
        """What must not be there yet, and is there when all of it is."""
        return self._target if self._room is None else volume_path(self._target, 1)

    def begin(self, name: str, size: int) -> None:
        """The next file; `size` bytes of it are to be written."""
        if self._free() < 2 * BLOCK:
            self._next()
        self._member, self._left = Header(name, tape.REGULAR, size), size
        self._put(tape.written(self._member))

    def write(self, data: bytes | memoryview) -> None:
        """More of the file."""
        view = memoryview(data)
        while view:
            if not self._free():
                self._next()
            taken = min(len(view), self._free())
            self._put(view[:taken])
            self._left -= taken
            view = view[taken:]

    def end(self) -> None:
        """The file is whole."""
        member, self._member = self._member, None
        if member is None or self._left:
            raise ValueError("the file has not the size that was told")
        self._put(bytes(tape.padding(member.size)))  # a volume ends with a block, so that there is room

    def finish(self, bundle: str) -> None:
        """End the archive, make it durable and give it its name. `bundle`: 32 hex digits for the labels."""
        if self._free() < len(END):
            self._next()
        self._put(END)
        self._close()
        for number, draft in enumerate(self._drafts, 1):
            with draft.open("r+b") as file:
                if self._room is not None:
                    label = Volume(bundle, number, len(self._drafts)).label
                    file.write(tape.written(Header(label, tape.LABEL, 0)))
                    file.flush()
                os.fsync(file.fileno())
        places = (
            [self._target]
            if self._room is None
            else [volume_path(self._target, at) for at in range(1, len(self._drafts) + 1)]
        )
        for stale in set(self._target.parent.glob(f".{glob.escape(self._target.name)}.[0-9]*.partial")) - set(
            self._drafts
        ):
            stale.unlink()  # of a try that was killed and had more volumes
        for draft, place in reversed(list(zip(self._drafts, places, strict=True))):
            draft.rename(place)  # the first volume comes last
        sync(self._target.parent)

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._close()
        for draft in self._drafts:
            draft.unlink(missing_ok=True)

    def _next(self) -> None:
        """Begin the file, or a volume."""
        self._close()
        number = len(self._drafts) + 1
        if number > MOST_VOLUMES:
            raise BundleFault(str(self._target), f"would have more than {MOST_VOLUMES} volumes")
        place = self._target if self._room is None else volume_path(self._target, number)
        draft = place.with_name(f".{place.name}.partial")
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        self._file = os.fdopen(descriptor, "wb")
        if not self._drafts:
            held(descriptor, self._target)
        self._file.truncate(0)
        self._ahead = Ahead(descriptor)
        self._drafts.append(draft)
        if self._room is not None:
            self._put(tape.written(Header(_NOWHERE.label, tape.LABEL, 0)))
            if self._member is not None:
                member = self._member
                self._put(
                    tape.written(Header(member.name, tape.REST, self._left, member.size - self._left, member.size))
                )

    def _put(self, data: bytes | memoryview) -> None:
        if self._file is None:
            raise ValueError("the archive is closed")
        self._file.write(data)
        self._ahead.wrote(len(data))

    def _free(self) -> int:
        """Bytes that this volume still takes."""
        return 2**62 if self._room is None or self._file is None else self._room - self._file.tell()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def held(descriptor: int, target: Path) -> None:
    """Lock a draft for as long as it is open. Raises `BundleFault` where another process writes it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BundleFault(str(target), "is being written by another process") from None
    except OSError:
        return  # a medium without locks


def sync_all(folder: Path, files: Sequence[Path]) -> None:
    """Make these files of one file system durable: few one by one, many at once (syncfs(2)), which takes a disk a fraction of the time."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None) if len(files) > _FEW else None
    if call is None:
        for path in files:
            sync(path)
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if call(descriptor):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Make a file durable, or the names in a folder where its file system can."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL or not path.is_dir():
            raise
    finally:
        os.close(descriptor)
