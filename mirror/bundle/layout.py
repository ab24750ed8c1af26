"""The carrier: a bundle as an OCI image layout, in a folder, in one tar file, or in numbered volumes.

To write one: `add_file` and `add_bytes` for every part, then `seal()`, whose answer are the `subjects` of the statement to be
signed (`bundle.statement`), then `finish(envelope)`. To read one: `BundleReader(path)`, then `signed(keys, revoked)`, which
gives the statement once somebody who counts has signed for exactly these parts; `open(part)` gives verified bytes.

Parts lie uncompressed in `blobs/sha256/<hex>`. Nothing is ever unpacked, and no name in a bundle becomes a path here.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self, cast

from mirror.bundle import oci
from mirror.bundle.archive import Tape
from mirror.bundle.faults import BundleFault, Unreadable
from mirror.bundle.folder import Folder, FolderWriter
from mirror.bundle.hashing import CHUNK, WRITTEN, Hashing
from mirror.bundle.oci import Part, part_of, safe_title
from mirror.bundle.statement import Signer, Statement, opened
from mirror.bundle.volumes import TapeWriter
from mirror.core.canonical import instant

__all__ = ["CHUNK", "BundleFault", "BundleReader", "BundleWriter", "Form", "Part"]


class Form(StrEnum):
    """How a bundle lies on a medium."""

    DIRECTORY = "dir"
    TAR = "tar"


class _Target(Protocol):
    """Where the files of a bundle go: a folder or an archive."""

    @property
    def first(self) -> Path: ...
    @property
    def places(self) -> tuple[Path, ...]: ...
    def begin(self, name: str, size: int) -> None: ...
    def write(self, data: bytes | memoryview) -> None: ...
    def end(self) -> None: ...
    def finish(self, bundle: str) -> None: ...
    def abandon(self) -> None: ...


class BundleWriter:
    """Makes a bundle at `target`; nothing is there under this name unless `finish` returned.

    `volume` (tar only): bytes per numbered volume. A folder that was begun and not finished is gone on with: what lies there with
    the right digest is kept. Raises `BundleFault` where there is a bundle already, or another process writes one.
    """

    def __init__(self, target: Path, form: Form, *, volume: int | None = None) -> None:
        if volume is not None and form is not Form.TAR:
            raise BundleFault("", "only a tar can be cut into volumes")
        self._parts: dict[str, Part] = {}
        self._sealed: tuple[Part, ...] | None = None
        self._finished = self._spoilt = False
        #: SHA-256 (hex) of the head manifest, once `finish` returned: the bundle's name, as `BundleReader.digest`.
        self.digest = ""
        target.parent.mkdir(parents=True, exist_ok=True)
        self._folder = FolderWriter(target) if form is Form.DIRECTORY else None
        self._target: _Target = self._folder or TapeWriter(target, volume)
        if os.path.lexists(self._target.first):
            self._target.abandon()
            raise BundleFault(str(self._target.first), "is there already")

    @property
    def place(self) -> Path:
        """What is there when all of the bundle is: the folder, the tar, the first volume."""
        return self._target.first

    @property
    def places(self) -> tuple[Path, ...]:
        """All that makes up the bundle, once `finish` returned: the folder, the tar, every volume in order."""
        return self._target.places

    def add_file(self, part: Part, source: BinaryIO) -> None:
        """Copy a part. Raises `BundleFault` where `source` has not exactly its bytes; a part that is there is not copied again."""
        self._demand_open()
        if part.digest.hex in self._parts:
            return
        self._parts[part.digest.hex] = Part(part.digest, part.size, part.media_type, safe_title(part.title))
        self._copy(part, source)

    def add_bytes(self, media_type: str, title: str, data: bytes) -> Part:
        """Add bytes as a part, and give it."""
        part = part_of(data, media_type, title)
        self.add_file(part, io.BytesIO(data))
        return part

    def seal(self) -> tuple[Part, ...]:
        """Close the list of parts, and give what has to be signed for: the content manifests, the statement's `subjects`."""
        if self._sealed is None:
            self._demand_open()
            if not self._parts:
                raise ValueError("a bundle has at least one part")
            made = [
                (part_of(data, oci.MANIFEST, f"parts {at}"), data)
                for at, data in enumerate(oci.manifests(self._parts.values()), 1)
            ]
            for part, data in made:
                self._copy(part, io.BytesIO(data))
            self._sealed = tuple(part for part, _ in made)
        return self._sealed

    def finish(self, envelope: bytes, *, created: datetime) -> None:
        """Add the signed statement, make everything durable and give it its name. `created` is the statement's."""
        contents = self.seal()
        self._demand_sound()
        layer = part_of(envelope, oci.ENVELOPE, oci.STATEMENT)
        head = oci.head(layer, created)
        made = part_of(head, oci.MANIFEST, "head")
        index = oci.image_index(made, contents)
        named = part_of(index, oci.INDEX, "index")
        for part, data in (
            (layer, envelope),
            (part_of(oci.NOTHING, oci.EMPTY, ""), oci.NOTHING),
            (made, head),
            (named, index),
        ):
            if part.digest.hex not in self._parts:  # a file that is as empty as the configuration: JSON often is
                self._copy(part, io.BytesIO(data))
        for name, data in (("oci-layout", oci.LAYOUT), ("index.json", oci.index_json(named))):
            self._target.begin(name, len(data))
            self._target.write(data)
            self._target.end()
        self._target.finish(made.digest.hex[:32])
        self.digest = made.digest.hex
        self._finished = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._finished:
            self._target.abandon()

    def _copy(self, part: Part, source: BinaryIO) -> None:
        if part.digest.algorithm != "sha256":
            raise ValueError("parts are named by their SHA-256")
        if self._folder is not None and self._folder.has(part.digest.hex, part.size):
            return
        self._spoilt = True
        self._target.begin(f"blobs/sha256/{part.digest.hex}", part.size)
        _copied(source, part, self._target.write)
        self._target.end()
        self._spoilt = False

    def _demand_open(self) -> None:
        self._demand_sound()
        if self._sealed is not None:
            raise ValueError("the bundle is sealed: nothing can be added")

    def _demand_sound(self) -> None:
        if self._spoilt or self._finished:
            raise ValueError("nothing can be added to a bundle that is finished, or whose last part was not copied")


def _copied(source: BinaryIO, part: Part, write: Callable[[memoryview], None]) -> None:
    hashing, left = Hashing(part.size), part.size
    try:
        while left >= 0 and (count := source.readinto(hashing.free())):  # type: ignore[attr-defined]
            left -= count
            if left >= 0:
                chunk = hashing.add(count)
                for at in range(0, count, WRITTEN):
                    write(chunk[at : at + WRITTEN])
        right = not left and hashing.hexdigest() == part.digest.hex
    finally:
        hashing.close()
    if not right:
        said = f"is not what it should be: {part.size} bytes with SHA-256 {part.digest.hex} were expected"
        raise BundleFault(part.title or part.digest.hex, said)


class _Source(Protocol):
    """Where the files of a bundle come from. `sizes`: every name that it holds."""

    sizes: Mapping[str, int]
    bundle: str

    def open(self, name: str) -> io.RawIOBase: ...
    def place(self, name: str) -> str: ...
    def close(self) -> None: ...


class BundleReader:
    """A bundle that can be read: a folder, a tar file, or any volume of a complete set. Raises `BundleFault` for all else.

    `parts` by the hex of their SHA-256, and `manifests`, which have to be signed for. Sizes are as declared and as they lie there;
    digests of parts are verified as they are read. Who signed is not known before `signed`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._source: _Source = Folder(path) if path.is_dir() else Tape(path)
        except OSError as error:
            raise Unreadable(path.name, error) from None
        try:
            self._load()
        except OSError as error:
            self._source.close()
            raise Unreadable(path.name, error) from None
        except BaseException:
            self._source.close()
            raise

    def _load(self) -> None:
        sizes = self._source.sizes
        for name in ("oci-layout", "index.json"):
            if name not in sizes:
                raise BundleFault(self.path.name, f"is no bundle: it has no {name}")
        oci.read_layout(self._small("oci-layout", oci.LARGEST_LAYOUT))
        named = oci.read_index_json(self._small("index.json", oci.LARGEST_INDEX))
        found = {one: self._manifest(one) for one in oci.read_image_index(self._whole(named, "image index"))}
        heads = [(one, manifest) for one, manifest in found.items() if manifest.kind == oci.BUNDLE]
        if len(heads) != 1:
            raise BundleFault("image index", f"names {len(heads)} statements: a bundle has one")
        head, manifest = heads[0]
        layer = manifest.parts[0]
        if (
            len(manifest.parts) != 1
            or (layer.media_type, layer.title) != (oci.ENVELOPE, oci.STATEMENT)
            or layer.size > oci.LARGEST_STATEMENT
        ):
            raise BundleFault("head manifest", "does not name one signed statement")
        if self._source.bundle and self._source.bundle != head.digest.hex[:32]:
            raise BundleFault(self.path.name, "has labels of another bundle")
        #: The SHA-256 (hex) of the head manifest: the name of these bytes as a whole, whatever carries them.
        self.digest = head.digest.hex
        self.envelope = self._whole(layer, "statement")
        self.created = manifest.created
        self.manifests = tuple(one for one, manifest in found.items() if manifest.kind == oci.PARTS)
        self.parts: Mapping[str, Part] = oci.by_digest(part for one in self.manifests for part in found[one].parts)
        nothing = part_of(oci.NOTHING, oci.EMPTY, "")
        self._whole(nothing, "empty configuration")
        self._demand_complete({one.digest.hex for one in (named, layer, nothing, *found)})

    def _manifest(self, one: Part) -> oci.Manifest:
        place = f"manifest {one.digest.hex}"
        return oci.read_manifest(self._whole(one, place), place)

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.parts.values())

    def signed(self, keys: Mapping[str, Signer], revoked: Collection[str] = ()) -> Statement:
        """What was signed, by a holder of one of `keys` (by id), for exactly this bundle. Raises `BundleFault`."""
        statement = opened(self.envelope, keys, revoked)
        signed = {(part.digest.hex, part.size) for part in statement.subjects}
        here = {(part.digest.hex, part.size) for part in self.manifests}
        if signed != here:
            raise BundleFault("statement", "is about other content than this bundle has")
        contents = self.parts.get(statement.contents.digest.hex)
        if contents != statement.contents:
            raise BundleFault("statement: contents", "are not in this bundle")
        if instant(statement.created) != self.created:
            raise BundleFault("head manifest", "says another time than the statement")
        return statement

    def open(self, part: Part) -> BinaryIO:
        """The bytes of a part, at most `part.size`. Reading raises `BundleFault` before the last of them where they are not it."""
        return self._checked(part, part.title or part.digest.hex)

    def copy(self, part: Part, write: Callable[[memoryview], object]) -> None:
        """Give `write` all bytes of a part; hashing goes on beside it. Raises `BundleFault`, perhaps only after the last of them.

        What was written counts for nothing before this returns.
        """
        with self._checked(part, part.title or part.digest.hex) as file:
            cast("Checked", cast("io.BufferedReader", file).raw).pump(write)

    def read(self, part: Part) -> bytes:
        """All bytes of a part. Raises `BundleFault`."""
        return self._whole(part, part.title or part.digest.hex)

    def close(self) -> None:
        """Let go of the files."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _small(self, name: str, most: int) -> bytes:
        if self._source.sizes[name] > most:
            raise BundleFault(name, f"is larger than {most} bytes")
        with self._source.open(name) as file:
            return file.read(most) or b""

    def _whole(self, part: Part, what: str) -> bytes:
        with self._checked(part, what) as file:
            return file.read()

    def _checked(self, part: Part, what: str) -> BinaryIO:
        name = f"blobs/sha256/{part.digest.hex}"
        size = self._source.sizes.get(name)
        if size is None:
            raise BundleFault(what, f"is missing: there is no {name}")
        if size != part.size:
            raise BundleFault(what, f"has {size} bytes, and {part.size} were declared ({name})")
        checked = Checked(self._source.open(name), part, f"{what} ({self._source.place(name)})")
        return cast("BinaryIO", io.BufferedReader(checked, CHUNK))

    def _demand_complete(self, documents: set[str]) -> None:
        """That every part is there with its size, and nothing else is."""
        sizes = self._source.sizes
        for part in self.parts.values():
            size = sizes.get(f"blobs/sha256/{part.digest.hex}")
            if size != part.size:
                said = "is missing" if size is None else f"has {size} bytes, and {part.size} were declared"
                raise BundleFault(part.title, f"{said} (blobs/sha256/{part.digest.hex})")
        known = {f"blobs/sha256/{one}" for one in (*documents, *self.parts)} | {"oci-layout", "index.json"}
        if both := (documents & set(self.parts)) - {oci.NOTHING_HEX}:
            raise BundleFault(f"blobs/sha256/{min(both)}", "is a document of the bundle and a part of it")
        if extra := set(sizes) - known:
            raise BundleFault(min(extra), "is named by no manifest: nobody has signed for it")


class Checked(io.RawIOBase):
    """Bytes that are let out as long as they can be those of `part`; the last only once they are."""

    def __init__(self, source: io.RawIOBase, part: Part, place: str) -> None:
        super().__init__()
        self._source, self._part, self._place = source, part, place
        self._hashing, self._left = Hashing(part.size), part.size
        if not part.size:
            self._demand()

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """The next bytes. Raises `BundleFault` where they end early or are others."""
        view = memoryview(buffer).cast("B")[: self._left]
        if not view:
            return 0
        count = self._next(len(view))
        view[:count] = self._hashing.add(count)
        self._left -= count
        if not self._left:
            self._demand()
        return count

    def pump(self, write: Callable[[memoryview], object]) -> None:
        """Give `write` everything from here on. Raises as `readinto`, but the last bytes are out before they are known to be right."""
        while self._left:
            count = self._next(self._left)
            write(self._hashing.add(count))
            self._left -= count
        self._demand()

    def _next(self, most: int) -> int:
        """Read up to `most` bytes, one at least; gives how many. Raises `BundleFault` where there are none, or they cannot be had."""
        try:
            count = self._source.readinto(self._hashing.free()[:most]) or 0
        except OSError as error:
            raise Unreadable(self._place, error) from None
        if not count:
            raise BundleFault(self._place, f"is cut short: {self._left} of {self._part.size} bytes are missing")
        return count

    def _demand(self) -> None:
        if self._hashing.hexdigest() != self._part.digest.hex:
            raise BundleFault(self._place, f"is damaged: its SHA-256 is not {self._part.digest.hex}")

    def close(self) -> None:
        """Let go of the source."""
        self._source.close()
        self._hashing.close()
        super().close()
