"""A copy of what cannot be had again: the ledger, its evidence, what people signed, the index, the keys. Not what is cached.

`DIR/manifest.json` names every other file with size and SHA-256, and `DIR/manifest.dsse.json` is the mirror's signature over it;
`DIR/ledger`, `DIR/data` and `DIR/keys` hold the files. A copy is
made beside a running mirror: segments only ever grow, so what is copied is a ledger as it was at some moment.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mirror.audit import book, cursors
from mirror.audit.custody import Custody
from mirror.audit.examine import examine
from mirror.audit.notes import Verifier
from mirror.audit.segments import find_end, segments
from mirror.audit.signoff import SIGNATURE, led_to, read_signoff, signed_off
from mirror.core.canonical import instant
from mirror.core.errors import InputError, Problem
from mirror.durable import read_small, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FORMAT: Final = "entrepot-backup/1"
#: What is signed of a backup, and how many bytes the signature has at most.
KIND: Final = "application/vnd.entrepot.backup+json"
LARGEST: Final = 64 * 1024
MANIFEST: Final = "manifest.json"
INDEX: Final = "index.sqlite"
#: Of the data folder: what can be fetched again, what belongs to a process, and what is copied in a way of its own.
_LEFT_OUT: Final = frozenset({"blobs", "spool", "xet", "keeper.sock", "index.lock", INDEX, f"{INDEX}-wal", f"{INDEX}-shm"})
_KEYS: Final = {"format", "made", "version", "keys", "database", "ledger", "files"}
_OF_LEDGER: Final = {"records", "head", "root", "signed"}
_LEDGER_FILES: Final = (book.NEWEST, book.FILE, "head")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a mirror keeps things. `keys` are by the name that they have in a backup; `sqlite`: the index is a file here."""

    data: Path
    ledger: Path
    keys: Mapping[str, Path]
    sqlite: bool


def back_up(place: Place, target: Path, now: datetime, version: str, *, keys: bool, key: Ed25519PrivateKey | None = None) -> dict[str, Any]:
    """Make a copy in `target`, which must be new or empty; gives its manifest, and as `signature` who signed. Raises `InputError`, `OSError`.

    The copy of the ledger is verified before it counts as one. `key` is the mirror's own, which signs the manifest.
    """
    if not segments(place.ledger):
        raise InputError([Problem(str(place.ledger), "", "there is no ledger here")])
    _demand_empty(target, "a backup is made in a new folder")
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    _copy_data(place, target / "data")
    if place.sqlite and (place.data / INDEX).exists():
        _copy_index(place.data / INDEX, target / "data" / INDEX)
    _copy_ledger(place.ledger, target / "ledger")
    for name, path in place.keys.items() if keys else ():
        if path.exists():
            _copy(path, target / "keys" / name)
    found = examine(target / "ledger")
    if found.fault is not None:
        raise InputError([Problem(str(place.ledger), f"seq {found.fault.sequence}", f"{found.fault.file}: {found.fault.what}")])
    manifest = {
        "format": FORMAT, "made": instant(now), "version": version, "keys": keys, "database": "sqlite" if place.sqlite else "elsewhere",
        "ledger": {"records": found.head.count, "head": found.head.leaf, "root": found.root.hex(), "signed": found.signed},
        "files": {str(path.relative_to(target)): _described(path) for path in _files(target)},
    }  # fmt: skip
    data = (json.dumps(manifest, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()
    current = _custody(target).current
    signs = key if key is not None and current is not None and Verifier.of(current.name, key).text == current.text else None
    if signs is not None:
        write_whole(target / SIGNATURE, signed_off(KIND, MANIFEST, data, signs, now))
    write_whole(target / MANIFEST, data)  # last: without it there is no backup
    return manifest | {"signature": {"key": current.text, "at": instant(now)} if signs is not None and current is not None else None}


def _custody(source: Path) -> Custody:
    """The keys of the ledger in a backup, as its own records name them."""
    found = Custody()
    for line in book.read(source / "ledger" / book.FILE).records:
        found.add(line)
    return found


def _signature(source: Path, manifest: bytes, trusted: Verifier | None) -> dict[str, str] | None:
    """Who signed for the manifest: `trusted` or a key that it was handed over to, else the ledger's own. None: nobody. Raises `InputError`."""
    path = source / SIGNATURE
    if not path.exists():
        if trusted is not None:
            raise InputError([Problem(str(path), "", "is missing: nobody has signed for this backup")])
        return None
    custody = _custody(source)
    own = [custody.current] if custody.current is not None else []
    found = read_signoff(KIND, MANIFEST, manifest, read_small(path, LARGEST), led_to(custody, [trusted]) if trusted is not None else own, str(path))
    return {"key": found.key, "at": found.at}


def verify_backup(source: Path, trusted: Verifier | None = None) -> dict[str, Any]:
    """The manifest of a backup whose every file is the one that was made, and as `signature` who signed for it.

    With `trusted`, a verifier key of the ledger, it must be that one or one that it was handed over to. Raises `InputError` with
    everything that is wrong.
    """
    try:
        data = (source / MANIFEST).read_bytes()
        manifest = json.loads(data)
        files, made = manifest["files"], manifest["ledger"]
        if manifest["format"] != FORMAT or manifest.keys() != _KEYS or not isinstance(files, dict) or made.keys() != _OF_LEDGER:
            raise ValueError("another format")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = (error.strerror if isinstance(error, OSError) else None) or "is no manifest of a backup"
        raise InputError([Problem(str(source / MANIFEST), "", said)]) from None
    there = {str(path.relative_to(source)): path for path in _files(source) if path.name not in (MANIFEST, SIGNATURE) or path.parent != source}
    signature, problems = None, list[Problem]()
    try:
        signature = _signature(source, data, trusted)
    except InputError as error:
        problems += error.problems
    problems += [Problem(str(source / name), "", "is missing") for name in sorted(files.keys() - there.keys())]
    problems += [Problem(str(there[name]), "", "is in no manifest") for name in sorted(there.keys() - files.keys())]
    for name in sorted(files.keys() & there.keys()):
        if _described(there[name]) != files[name]:
            problems.append(Problem(str(there[name]), "", "is not the file that was backed up"))
    if not problems:
        found = examine(source / "ledger")
        if found.fault is not None:
            problems.append(Problem(str(source / "ledger"), f"seq {found.fault.sequence}", f"{found.fault.file}: {found.fault.what}"))
        elif (found.head.count, found.root.hex()) != (made["records"], made["root"]):
            problems.append(Problem(str(source / MANIFEST), "ledger", "is not the ledger that lies beside it"))
    if problems:
        raise InputError(problems)
    result: dict[str, Any] = manifest | {"signature": signature}
    return result


def restore(source: Path, place: Place, trusted: Verifier | None = None) -> dict[str, Any]:
    """Put a backup where a mirror keeps things, after it was verified (`verify_backup`). Raises `InputError`, `OSError`.

    Nothing is written over: data folder and ledger must be new or empty.
    """
    manifest = verify_backup(source, trusted)
    _demand_empty(place.data, "a backup is restored to a new data folder")
    _demand_empty(place.ledger, "a backup is restored to a new folder")
    pairs = [(source / "data", place.data), (source / "ledger", place.ledger)]
    for folder, target in pairs:
        target.mkdir(parents=True, exist_ok=True, mode=0o750)
        for path in _files(folder):
            _copy(path, target / path.relative_to(folder))
    for name, path in place.keys.items():
        kept = source / "keys" / name
        if kept.exists() and not path.exists():
            _copy(kept, path)
    return manifest


def _demand_empty(folder: Path, why: str) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError([Problem(str(folder), "", f"is not empty: {why}")])


def _copy_data(place: Place, target: Path) -> None:
    """Everything but the cache. Files that go away meanwhile were not to stay."""
    apart = {path.resolve() for path in (place.ledger, *place.keys.values())}
    for path in sorted(place.data.iterdir()):
        if path.name in _LEFT_OUT or path.resolve() in apart:
            continue
        for file in [path] if path.is_file() else _files(path):
            if file.resolve() not in apart and not file.name.startswith("."):
                _copy(file, target / file.relative_to(place.data))


def _copy_index(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
        new.execute("PRAGMA journal_mode=DELETE")


def _copy_ledger(ledger: Path, target: Path) -> None:
    """What says how far it goes first, then the records, then their personal parts, which are written before them."""
    target.mkdir(parents=True, exist_ok=True, mode=0o750)
    for path in _files(ledger / cursors.FOLDER):
        if not path.name.startswith("."):
            _copy(path, target / cursors.FOLDER / path.name)
    for name in _LEDGER_FILES:
        if (ledger / name).exists():
            _copy(ledger / name, target / name)
    known = segments(ledger)
    for one in known:
        _copy(one.path, target / one.path.name)
    for one in known:
        if one.personal.exists():
            _copy(one.personal, target / one.personal.name)
    for pattern in ("torn-*", f"{book.FILE}-*"):
        for path in sorted(ledger.glob(pattern)):
            _copy(path, target / path.name)
    end = find_end(target)
    if end.segment is not None:  # a write that was under way
        os.truncate(end.segment.path, end.size)
        if end.segment.personal.exists():
            os.truncate(end.segment.personal, end.personal_size)
    line_end = (target / book.FILE).read_bytes().rfind(b"\n") + 1 if (target / book.FILE).exists() else 0
    if line_end:
        os.truncate(target / book.FILE, line_end)


def _copy(path: Path, target: Path) -> None:
    """A copy with the same permissions, durable on return; a symbolic link is not followed."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    try:
        source = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    with os.fdopen(source, "rb") as old:
        mode = os.fstat(old.fileno()).st_mode & 0o777
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as new:
            shutil.copyfileobj(old, new, 1 << 20)
            new.flush()
            os.fsync(new.fileno())


def _files(folder: Path) -> Iterator[Path]:
    """Every regular file below, in order."""
    if folder.is_dir():
        yield from sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _described(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"sha256": file_digest(file, "sha256").hexdigest(), "size": path.stat().st_size}


def written(manifest: Mapping[str, Any]) -> Sequence[str]:
    """What a person is told of a backup."""
    ledger, files = manifest["ledger"], manifest["files"]
    lines = [f"{ledger['records']} records, {ledger['signed']} of them signed for; {len(files)} files, {sum(one['size'] for one in files.values())} bytes"]
    signature = manifest["signature"]
    lines += [f"signed by {signature['key']} at {signature['at']}" if signature else "not signed: the ledger names no key that lies here"]
    lines += [] if manifest["keys"] else ["without keys: keep those elsewhere, or the ledger cannot go on without `mirror ledger recover --new-key`"]
    return lines + ([] if manifest["database"] == "sqlite" else ["the database is elsewhere, and so is its backup (pg_dump)"])
