"""OSV databases that the operator brings: files, folders and ZIP archives, read at start and again when they change.

A database is in force whole or not at all: a broken one is told with its places, and the last good one stays (P9, P10).
"""

from __future__ import annotations

import asyncio
import json
import time
import zipfile
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.core.errors import InputError, MirrorError, Problem
from mirror.decode import parse_json
from mirror.hubs.pypi.osv import Collected, Edition
from mirror.proxy.following import Looking, State, state_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

#: What one JSON file, one archive and one database may ask of us.
_MOST_BYTES: Final = 64 * 1024 * 1024
_MOST_UNPACKED: Final = 8 * 1024**3
_MOST_MEMBERS: Final = 1_000_000
_TOLD: Final = 20

Changed = Callable[["Loaded"], Awaitable[None]]
Failed = Callable[[InputError], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Loaded:
    """An edition, and what is doubtful in it."""

    edition: Edition
    doubts: tuple[Problem, ...]


def load(paths: Sequence[Path]) -> Loaded:
    """One edition of all `paths`. Raises `InputError` with every problem of every file (the first 20, and how many more)."""
    found = Collected()
    for path in paths:
        if not path.exists():
            found.problems.append(Problem(str(path), "", "there is no such file or folder"))
            continue
        files = list(_files(path))
        if not files:
            found.problems.append(Problem(str(path), "", "the folder holds no .json and no .zip file"))
        for file in files:
            _read(file, found)
    if found.problems:
        told, more = found.problems[:_TOLD], len(found.problems) - _TOLD
        rest = [Problem(str(paths[0]), "", f"{more} more problems")] if more > 0 else []
        raise InputError([*told, *rest])
    return Loaded(found.edition(), tuple(found.doubts))


def state(paths: Sequence[Path]) -> State:
    """What the files look like now; equal states mean that nothing was written."""
    return state_of(file for path in paths for file in _files(path))


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    yield from sorted(file for file in path.rglob("*") if file.suffix.lower() in (".json", ".zip") and file.is_file())


def _read(file: Path, found: Collected) -> None:
    before = found.entries
    try:
        if file.suffix.lower() == ".zip":
            _read_archive(file, found)
        else:
            with file.open("rb") as stream:
                _take(stream.read(_MOST_BYTES + 1), str(file), found)
    except OSError as error:
        found.problems.append(Problem(str(file), "", f"cannot be read: {error.strerror or error}"))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        found.problems.append(Problem(str(file), "", f"not a readable ZIP archive: {error}"))
    else:
        if found.entries == before and not found.problems:
            found.problems.append(Problem(str(file), "", "holds no OSV entry"))


def _read_archive(file: Path, found: Collected) -> None:
    """Its members one after the other, so that never more than one is in memory."""
    with zipfile.ZipFile(file) as archive:
        members = [one for one in archive.infolist() if one.filename.lower().endswith(".json")]
        if len(members) > _MOST_MEMBERS or sum(one.file_size for one in members) > _MOST_UNPACKED:
            found.problems.append(Problem(str(file), "", "unpacks to more than a database of advisories can be"))
            return
        for member in members:
            with archive.open(member) as stream:
                _take(stream.read(_MOST_BYTES + 1), f"{file}!{member.filename}", found)


def _take(data: bytes, source: str, found: Collected) -> None:
    if len(data) > _MOST_BYTES:
        found.problems.append(Problem(source, "", f"larger than {_MOST_BYTES // 1024 // 1024} MiB"))
        return
    try:
        raw = parse_json(data)
    except json.JSONDecodeError as error:
        found.problems.append(Problem(source, f"line {error.lineno}", f"not JSON: {error.msg}"))
    except ValueError as error:
        found.problems.append(Problem(source, "", f"not JSON: {error}"))
    else:
        found.take(raw, source)


class OsvBook:
    """The database in force for one index, and the watch that replaces it. `problems` are those of a newer one that is broken."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Raises `InputError` as `load`."""
        self._paths = tuple(paths)
        self._state = state(self._paths)
        self._loaded = load(self._paths)
        self._next: Loaded | None = None  # read, and waiting for `changed` to succeed
        self._watching: Looking | None = None
        self._took = 0.0
        self.problems: tuple[Problem, ...] = ()

    @property
    def loaded(self) -> Loaded:
        """What is in force, with its doubts."""
        return self._loaded

    @property
    def current(self) -> Edition:
        """The edition in force."""
        return self._loaded.edition

    def watch(self, changed: Changed, failed: Failed) -> None:
        """Start looking for changes."""
        async def look() -> float:
            await self.refresh(changed, failed)
            return self._took

        self._watching = Looking(look)

    async def close(self) -> None:
        """Stop looking."""
        if self._watching is not None:
            await self._watching.close()

    async def refresh(self, changed: Changed, failed: Failed) -> None:
        """Look once. `changed` is awaited before a new edition judges anything; while it cannot be archived it waits."""
        began = time.monotonic()
        now = await asyncio.to_thread(state, self._paths)
        self._took = time.monotonic() - began
        if now != self._state:
            self._state, self._next = now, None
            try:
                self._next = await asyncio.to_thread(load, self._paths)
            except InputError as error:
                self.problems = error.problems
                await failed(error)
                return
        if self._next is None:
            return
        try:
            await changed(self._next)
        except (MirrorError, OSError) as error:
            problem = Problem("osv", "", f"not in force yet, because it cannot be archived: {error}")
            if self.problems != (problem,):
                self.problems = (problem,)
                await failed(InputError([problem]))
            return
        self._loaded, self._next, self.problems = self._next, None, ()


__all__ = ["Loaded", "OsvBook", "load", "state"]
