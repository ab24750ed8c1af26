"""A bundle as a folder of plain files, which any tool can copy and any scanner can look into."""

from __future__ import annotations

import io
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from hashlib import file_digest
from pathlib import Path
from typing import BinaryIO, Final

from mirror.bundle.archive import MOST_MEMBERS
from mirror.bundle.faults import BundleFault
from mirror.bundle.volumes import draft_of, held
from mirror.durable import Ahead, sync, sync_all

_HEX: Final = re.compile(r"[0-9a-f]{64}\Z")
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_LINKED: Final = os.O_NOFOLLOW


class FolderWriter:
    """Writes files below a draft beside `target`, which keeps what it has when it is abandoned."""

    def __init__(self, target: Path) -> None:
        self.first = target
        self._draft = draft_of(target)
        self._blobs = self._draft / "blobs" / "sha256"
        self._blobs.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._draft, _DIRECTORY | _LINKED)
        held(self._lock, target)
        self._names: set[str] = set()
        self._file: BinaryIO | None = None
        self._place = self._draft
        self._ahead = Ahead(-1)

    @property
    def places(self) -> tuple[Path, ...]:
        """The folder alone."""
        return (self.first,)

    def has(self, hexadecimal: str, size: int) -> bool:
        """Whether an earlier try has left this blob here, whole."""
        path = self._blobs / hexadecimal
        try:
            descriptor = os.open(path, os.O_RDONLY | _LINKED | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            same = (
                stat.S_ISREG(found.st_mode)
                and found.st_size == size
                and file_digest(file, "sha256").hexdigest() == hexadecimal
            )
        if same:
            self._names.add(f"blobs/sha256/{hexadecimal}")
        return same

    def begin(self, name: str, size: int) -> None:
        """The next file."""
        self._place = self._draft / name
        self._place.unlink(missing_ok=True)
        self._file = self._place.open("xb", buffering=0)
        self._ahead = Ahead(self._file.fileno())
        self._names.add(name)

    def write(self, data: bytes | memoryview) -> None:
        """More of the file."""
        if self._file is None:
            raise ValueError("no file was begun")
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._ahead.wrote(len(data))

    def end(self) -> None:
        """The file is whole."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def finish(self, bundle: str) -> None:
        """Make everything durable and give it its name; what an earlier try left and this one does not name goes."""
        for path in list(_below(self._draft)):
            if path.relative_to(self._draft).as_posix() not in self._names:
                path.unlink()
        sync_all(self._draft, [self._draft / name for name in self._names])
        for folder in (self._blobs, self._blobs.parent, self._draft):
            sync(folder)
        self._draft.rename(self.first)
        sync(self.first.parent)
        os.close(self._lock)

    def abandon(self) -> None:
        """Let go. What was copied stays in the draft for the next try; an empty draft does not."""
        if self._file is not None:
            self._file.close()
            self._place.unlink(missing_ok=True)
            self._file = None
        if not any(_below(self._draft)):
            shutil.rmtree(self._draft, ignore_errors=True)
        os.close(self._lock)


def _below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


class Folder:
    """The files of a folder that has the shape of a bundle and nothing else. Raises `BundleFault`."""

    bundle = ""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._folders: dict[str, int] = {}
        sizes: dict[str, int] = {}
        try:
            self._folders[""] = os.open(path, _DIRECTORY)
            self._look("", sizes, folders=("blobs",), files=("oci-layout", "index.json"))
            if "blobs" not in self._folders:
                raise BundleFault(self._name, "is no bundle: it has no blobs")
            self._look("blobs", sizes, folders=("sha256",))
            if "blobs/sha256" not in self._folders:
                raise BundleFault(self._name, "is no bundle: it has no blobs/sha256")
            self._look("blobs/sha256", sizes)
        except OSError as error:
            self.close()
            raise BundleFault(str(error.filename or path), error.strerror or "cannot be read") from None
        except BundleFault:
            self.close()
            raise
        self.sizes: Mapping[str, int] = sizes

    def open(self, name: str) -> io.RawIOBase:
        """The bytes of a file, which is still none of those that lead elsewhere."""
        folder, _, last = name.rpartition("/")
        try:
            descriptor = os.open(
                last, os.O_RDONLY | _LINKED | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._folders[folder]
            )
        except OSError as error:
            raise BundleFault(name, error.strerror or "cannot be read") from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise BundleFault(name, "is not a regular file")
        return io.FileIO(descriptor, "rb")

    def place(self, name: str) -> str:
        """Where a file lies, for people."""
        return name

    def close(self) -> None:
        """Let go of the folders."""
        for descriptor in self._folders.values():
            os.close(descriptor)
        self._folders.clear()

    def _look(
        self, folder: str, sizes: dict[str, int], folders: tuple[str, ...] = (), files: tuple[str, ...] | None = None
    ) -> None:
        """Every entry of a folder, each of which must be expected."""
        inside = f"{folder}/" if folder else ""
        with os.scandir(self._folders[folder]) as entries:
            for entry in entries:
                name = f"{inside}{entry.name}"
                found = entry.stat(follow_symlinks=False)
                if entry.name in folders and stat.S_ISDIR(found.st_mode):
                    self._folders[name] = os.open(entry.name, _DIRECTORY | _LINKED, dir_fd=self._folders[folder])
                elif stat.S_ISREG(found.st_mode) and (
                    entry.name in files if files is not None else not folders and _HEX.match(entry.name)
                ):
                    sizes[name] = found.st_size
                else:
                    raise BundleFault(_shown(name), f"{_what(found.st_mode)} has no place in a bundle")
                if len(sizes) > MOST_MEMBERS:
                    raise BundleFault(self._name, f"holds more than {MOST_MEMBERS} files")


def _shown(name: str) -> str:
    return repr(name.encode("utf-8", "replace").decode("utf-8"))[:140]


def _what(mode: int) -> str:
    kinds = ((stat.S_ISLNK, "a symbolic link"), (stat.S_ISDIR, "this folder"), (stat.S_ISREG, "this file"))
    return next((word for test, word in kinds if test(mode)), "a device, pipe or socket")
