"""A bundle as one tar file, or as numbered volumes (`name.001`, `name.002`, …) for media and data diodes.

Volumes are a GNU multi-volume archive: `tar -xM -f name.001 -f name.002 …` unpacks them. Each is labelled with the bundle's
digest, its number and how many there are, so that one that is missing, of another bundle or under another's name is named.
"""

from __future__ import annotations

import fcntl
import glob
import os
from pathlib import Path
from typing import BinaryIO, Final

from mirror.bundle import tape
from mirror.bundle.faults import BundleFault
from mirror.bundle.tape import BLOCK, END, Header, Volume
from mirror.durable import Ahead, sync

#: Bytes of the smallest volume, and how many there may be.
SMALLEST: Final = 8 * BLOCK
MOST_VOLUMES: Final = 9999
_NOWHERE: Final = Volume("0" * 32, MOST_VOLUMES, MOST_VOLUMES)


def volume_path(base: Path, number: int) -> Path:
    """Where a volume lies."""
    return base.with_name(f"{base.name}.{number:03d}")


def draft_of(place: Path) -> Path:
    """Where a file or folder lies before it has its name."""
    return place.with_name(f".{place.name}.partial")


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

    @property
    def places(self) -> tuple[Path, ...]:
        """The archive, or its volumes in order."""
        if self._room is None:
            return (self._target,)
        return tuple(volume_path(self._target, at) for at in range(1, len(self._drafts) + 1))

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
        for stale in set(self._target.parent.glob(f".{glob.escape(self._target.name)}.[0-9]*.partial")) - set(
            self._drafts
        ):
            stale.unlink()  # of a try that was killed and had more volumes
        for draft, place in reversed(list(zip(self._drafts, self.places, strict=True))):
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
        draft = draft_of(place)
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
