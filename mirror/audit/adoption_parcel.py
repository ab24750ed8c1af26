"""A carry as it arrives on a medium that nobody trusts: copied out of its archive first, then verified as its own program does.

What is verified is the copy, which nobody can change meanwhile. Only regular files with plain names are taken: no links, no
devices, no holes that swell, nothing twice, no more bytes than the archive has.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from mirror.audit import verify_pack
from mirror.audit.carry import RECEIPTS
from mirror.audit.notes import Checkpoint
from mirror.audit.verify_decision import Wrong
from mirror.audit.verify_keys import UNREADABLE
from mirror.core.errors import InputError, MirrorError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}(/[A-Za-z0-9][A-Za-z0-9._-]{0,127}){0,3}\Z")
_RECEIPT: Final = re.compile(rf"{RECEIPTS}/([0-9a-f]{{64}})\.json\Z")
#: Files of a carry at most, and faults that are spelt out.
_MOST: Final = 2_000_000
_SHOWN: Final = 20
#: Bytes of an extended header at most, and the types of headers that are read at all: POSIX's own tells the size of what has 8 GiB or more.
_EXTENDED: Final = 4096
_READ: Final = (*tarfile.SUPPORTED_TYPES, tarfile.XHDTYPE)


class NotAdopted(MirrorError):
    """The carry does not hold, or does not follow what was adopted; says why, a line for each fault."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A verified carry, copied to `folder`: records `first` to before `stop`, of which `checkpoint` is.

    `left` are the hashes before them (hex); `digest` is the SHA-256 of its manifest; `receipts` the files by digest;
    `lost` the evidence that the laboratory itself has not any more.
    """

    folder: Path
    first: int
    stop: int
    left: tuple[str, ...]
    checkpoint: Checkpoint
    digest: str
    personal: bool
    receipts: tuple[str, ...]
    lost: frozenset[str]

    def evidence(self) -> Iterator[tuple[str, bytes]]:
        """Kind and content of each piece of evidence."""
        for row in map(json.loads, (self.folder / "evidence.jsonl").read_bytes().splitlines()):
            yield str(row["kind"]), (self.folder / "evidence" / row["sha256"][:2] / row["sha256"]).read_bytes()

    def checkpoints(self) -> list[tuple[Checkpoint, str]]:
        """Every checkpoint of the span and the moment of its signature, the one that covers it last."""
        rows = [json.loads(line) for line in (self.folder / "checkpoints.jsonl").read_bytes().splitlines()]
        known = [(Checkpoint.read(row["note"].encode()), str(row["at"])) for row in rows]
        at = next((at for one, at in known if one.note.data == self.checkpoint.note.data), "")
        return [*sorted(((one, at) for one, at in known if one.size < self.stop), key=lambda pair: pair[0].size), (self.checkpoint, at)]


class _Report(verify_pack.Report):
    """Keeps what is wrong, in place of printing it. Evidence that the signed manifest calls lost is no fault of the carry."""

    def __init__(self, lost: frozenset[str]) -> None:
        super().__init__()
        self.said: list[str] = []
        self._lost = {f"evidence/{digest[:2]}/{digest}" for digest in lost}

    def fault(self, name: str, said: object) -> None:
        if name in self._lost and str(said).startswith("is missing: cited by"):
            return
        self.faults += 1
        self.said.append(f"{name}: {said}")


def unpacked(source: Path, folder: Path) -> None:
    """Copy the files of a carry, a tar archive or a folder, into the new `folder`. Raises `InputError`, `OSError`."""
    folder.mkdir(mode=0o700)
    room = shutil.disk_usage(folder).free
    if source.is_dir() and not source.is_symlink():
        _copy_folder(source, folder, room)
        return
    with _opened(source) as file:
        if (size := os.fstat(file.fileno()).st_size) > room:
            raise _bad(source, "", f"has {size} bytes, and {room} are free under {folder.parent}")
        try:
            with tarfile.open(fileobj=file, mode="r:", tarinfo=_Entry) as tar:
                _copy_tar(source, tar, folder, size)
        except (tarfile.TarError, EOFError, *UNREADABLE) as error:
            raise _bad(source, "", f"is no whole tar archive: {error}") from None


def _bad(source: Path, place: str, said: str) -> InputError:
    return InputError([Problem(str(source), place, said)])


class _Entry(tarfile.TarInfo):
    """A header. Extended ones, which are read into memory at once, are small: of a carry at most a size is too long for a plain one."""

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        if self.type not in _READ or (self.type not in tarfile.REGULAR_TYPES and self.size > _EXTENDED):
            raise InputError([Problem("", f"{self.name[:100]!a}", f"is no regular file, and has {self.size} bytes")])
        return super()._proc_member(archive)  # type: ignore[misc]  # private, and the only place where it is known before it is read


@contextmanager
def _opened(source: Path, flags: int = 0) -> Iterator[IO[bytes]]:
    """A regular file; a device or pipe would not be the same when it is read again."""
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    except OSError as error:
        raise _bad(source, "", error.strerror or "cannot be read") from None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _bad(source, "", "is not a regular file")
        yield file


def _copy_tar(source: Path, tar: tarfile.TarFile, folder: Path, size: int) -> None:
    left, count = size, 0
    for member in tar:
        place = f"{member.name[:100]!a}"
        if not member.isreg() or member.issparse():
            raise _bad(source, place, "is no regular file: a link, a device, a folder or a file with holes")
        left, count = left - member.size, count + 1
        if left < 0 or count > _MOST:
            raise _bad(source, place, "the archive says that it has more than it can have")
        data = tar.extractfile(member)
        with _fresh(source, member.name, folder) as file:
            if data is not None:
                shutil.copyfileobj(data, file, 1 << 20)


def _copy_folder(source: Path, folder: Path, room: int) -> None:
    for parent, folders, files in os.walk(source):
        for path in (Path(parent) / name for name in [*folders, *files]):
            mode, inside = path.lstat().st_mode, path.relative_to(source).as_posix()
            if stat.S_ISDIR(mode):
                continue
            if not stat.S_ISREG(mode):
                raise _bad(source, inside, "is no regular file")
            room -= path.lstat().st_size
            if room < 0:
                raise _bad(source, inside, f"there is no room for it under {folder.parent}")
            with _opened(path, os.O_NOFOLLOW) as data, _fresh(source, inside, folder) as file:
                shutil.copyfileobj(data, file, 1 << 20)


@contextmanager
def _fresh(source: Path, name: str, folder: Path) -> Iterator[IO[bytes]]:
    if not _NAME.match(name):
        raise _bad(source, f"{name[:100]!a}", "is no name that a file of a carry has")
    path = folder / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise _bad(source, name, "is in the archive twice") from None
    with os.fdopen(descriptor, "wb") as file:
        yield file


def verified(source: Path, folder: Path, keys: Sequence[str]) -> Parcel:
    """What `unpacked` has put into `folder`, verified under `keys` (verifier keys of the laboratory).

    Raises `NotAdopted` with every fault, and `InputError` for what is no carry.
    """
    try:
        pack = verify_pack.Pack(folder)
        lost = frozenset(str(row["sha256"]) for row in json.loads(pack.read(verify_pack.MANIFEST))["lost"])
        report = _Report(lost)
        verify_pack.check(pack, list(keys), report)
        if report.faults:
            raise NotAdopted("\n".join(f"{source}: {one}" for one in report.said[:_SHOWN]))
        return _parcel(source, folder, pack, lost)
    except Wrong as error:
        raise _bad(source, "", str(error)) from None
    except UNREADABLE as error:
        raise _bad(source, "", f"cannot be read: {error!r}") from None


def _parcel(source: Path, folder: Path, pack: verify_pack.Pack, lost: frozenset[str]) -> Parcel:
    data = pack.read(verify_pack.MANIFEST)
    manifest: Any = json.loads(data)
    if manifest.get("span") != verify_pack.BY_NUMBER:
        raise _bad(source, verify_pack.MANIFEST, "is an audit pack of a span of time, and no carry (`mirror ledger export --carry`)")
    tree: Any = json.loads(pack.read("tree.json"))
    one = Checkpoint.read(pack.read("checkpoint"))
    if tree["stop"] != one.size:
        raise _bad(source, "tree.json", f"the records end at {tree['stop']}, and the checkpoint is of {one.size}")
    receipts = [found[1] for name in sorted(pack.names) if (found := _RECEIPT.match(name))]
    for digest in receipts:
        if sha256(pack.read(f"{RECEIPTS}/{digest}.json")).hexdigest() != digest:
            raise _bad(source, f"{RECEIPTS}/{digest}.json", "is not what its name says")
    return Parcel(
        folder, tree["first"], tree["stop"], tuple(tree["left"]), one, sha256(data).hexdigest(), "personal.jsonl" in pack.names, tuple(receipts), lost
    )  # fmt: skip
