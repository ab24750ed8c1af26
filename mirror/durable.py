"""What is on the disk when it is said to be.

Small files must not be something else (no link, no device, no more bytes than expected) and are written whole or not at all;
large ones are written back while more comes, and many are made durable together.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

#: Bytes that are left to the page cache at most, where something is written ahead.
_AHEAD: Final = 8 * 1024 * 1024
#: Files that are made durable one by one.
_FEW: Final = 50


def read_small(path: Path, most: int) -> bytes:
    """The bytes of a regular file of at most `most` bytes. Raises `InputError`; a symbolic link is not followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        said = "is a symbolic link" if error.errno == errno.ELOOP else error.strerror or "cannot be read"
        raise InputError([Problem(str(path), "", said)]) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError([Problem(str(path), "", "is not a regular file")])
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise InputError([Problem(str(path), "", f"larger than {most} bytes")])
    return data


def write_whole(path: Path, data: bytes, *, mode: int = 0o644, replace: bool = True) -> None:
    """Put `data` at `path`, durably: the old content or all of the new one. Raises `OSError` (`FileExistsError` unless `replace`)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        if replace:
            draft.replace(path)
        else:
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock at `path`, so that of two who add to the same file neither loses the other's part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


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
