"""What must hold of files from outside: wheels, policies, lists, and a ledger that somebody has laid hands on."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import zlib
from collections.abc import Coroutine
from functools import cache
from pathlib import Path
from typing import Any

from mirror.audit.chain import Head
from mirror.audit.check import check
from mirror.audit.record import GENESIS, prepare, seal
from mirror.audit.segments import Reader, find_end
from mirror.bundle import oci, tape
from mirror.bundle.faults import BundleFault
from mirror.bundle.statement import opened, parse, payload
from mirror.core.errors import InputError
from mirror.core.nouns import Span
from mirror.decode import load_yaml
from mirror.hubs.pypi.wheels import MOST, NoMetadata, read_metadata
from mirror.lists.csv_plain import read as read_list
from mirror.lists.formats import LOADERS
from mirror.lists.material import Part, unpacked
from mirror.policy.catalogue import Catalogue
from mirror.policy.compile import compile_policy
from mirror.policy.lineage import Lineage
from tests.audit.samples import allowed, refused

EMPTY = Catalogue(())
NO_LINEAGE = Lineage(())


def driven(coroutine: Coroutine[Any, Any, bytes]) -> bytes:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waited for something that is there")


def wheels(data: bytes) -> None:
    """A first byte for how much of the end is at hand, then a wheel: METADATA that its CRC vouches for, or `NoMetadata`."""
    share, wheel = data[:1] or b"\xff", data[1:]
    tail = wheel[len(wheel) - max(1, len(wheel) * share[0] // 255) :] if wheel else b""
    asked = 0

    async def read(span: Span) -> bytes:
        nonlocal asked
        asked += len(span)
        assert span.stop <= len(wheel) or not known, "reads beyond the archive's end"
        return wheel[span.start : span.stop]

    known = share[0] % 2 == 1
    try:
        text = driven(read_metadata(tail, read, len(wheel) if known else None))
    except NoMetadata:
        text = b""
    assert len(text) <= MOST
    assert asked <= 3 * MOST
    assert not text or zlib.crc32(text).to_bytes(4, "little") in wheel


def bundles(data: bytes) -> None:
    """A document of a bundle, its statement, or a block of its archive: what it says, or a fault that a person can read."""
    readers = (
        oci.read_layout, oci.read_index_json, oci.read_image_index, lambda raw: oci.read_manifest(raw, "manifest"),
        lambda raw: tape.read(raw[:512].ljust(512, b"\0"), "archive"), lambda raw: opened(raw, {}),
    )  # fmt: skip
    for read in readers:
        try:
            found = read(data)
        except BundleFault as fault:
            assert str(fault).isprintable(), str(fault)
            assert len(str(fault)) < 2000
        else:
            assert not isinstance(found, oci.Manifest) or all(part.title == oci.safe_title(part.title) for part in found.parts)
            assert not isinstance(found, tape.Header) or (found.name.isascii() and found.name.isprintable())
    try:
        statement = parse(data, "statement")
    except InputError as error:
        assert error.problems
    else:
        assert payload(statement) == data


def policy(data: bytes) -> None:
    """A policy file: compiled, or refused with every fault placed."""
    text = data.decode("utf-8", "replace")
    try:
        made = compile_policy([("policy.yaml", text)], EMPTY, NO_LINEAGE, {})
    except InputError as error:
        assert error.problems
        assert all(problem.message for problem in error.problems)
        assert len(str(error)) <= 400 * len(text) + 100_000
        return
    assert made.digest


def yaml(data: bytes) -> None:
    """YAML alone: a plain value of plain parts, or `InputError`."""
    try:
        value = load_yaml(data.decode("utf-8", "replace"), "x.yaml")
    except InputError as error:
        assert error.problems
        return
    assert value is None or type(value).__name__ in ("dict", "list", "str", "int", "float", "bool", "date", "datetime")


def lists(data: bytes) -> None:
    """A plain list: entries with names and sound countries, or every fault with its line."""
    try:
        entries = read_list(data, "list.csv")
    except InputError as error:
        assert error.problems
        assert all(problem.source == "list.csv" for problem in error.problems)
        return
    assert entries
    assert all(entry.name and len(entry.country) in (0, 2) for entry in entries)
    assert len({entry.id for entry in entries}) == len(entries) or b"line-" in data


def official_lists(data: bytes) -> None:
    """A first byte for the format, then a file of it, perhaps zipped: sound entries, or exactly one fault that names the file."""
    loader = sorted(set(LOADERS) - {"csv"})[data[0] % (len(LOADERS) - 1) if data else 0]
    try:
        entries = LOADERS[loader]([unpacked(Part("list.dat", data[1:]))]).entries
    except InputError as error:
        [problem] = error.problems
        assert problem.source.startswith("list.dat")
        assert len(str(problem)) < 1000
        return
    assert all(entry.id and entry.name and len(entry.country) in (0, 2) for entry in entries)
    assert len({entry.id for entry in entries}) == len(entries)
    assert all(entry.digest and not set(entry.name) & set("\n\r\t") for entry in entries)


@cache
def _sound() -> tuple[Path, dict[str, bytes]]:
    """A small ledger in memory-backed storage, and its files' bytes."""
    base = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="fuzz-ledger-", dir=base))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    previous, lines, parts = GENESIS, b"", b""
    for number, event in enumerate([refused(1), allowed(2), refused(3)]):
        record = seal(prepare(event, bytes([number]) * 16), number, previous)
        previous, lines, parts = record.leaf, lines + record.line, parts + record.personal
    head = f"{3:016d} {previous}\n".encode()
    return folder, {"segment-000000000000.jsonl": lines, "personal-000000000000.jsonl": parts, "head": head}


def ledger(data: bytes) -> None:
    """Edits of a sound ledger - file, offset, bytes - or a segment replaced whole: found out, never a crash.

    Whatever is changed in a segment is told: by a fault, by an unfinished write, or by a head that differs.
    """
    folder, sound = _sound()
    files = dict(sound)
    names = list(files)
    if data[:1] == b"R":
        files[names[data[1] % 3] if len(data) > 1 else names[0]] = data[2:]
    else:
        for start in range(0, len(data) - 4, 5):
            which, low, high, length, byte = data[start : start + 5]
            name = names[which % 3]
            at = (low + 256 * high) % (len(files[name]) + 1)
            files[name] = files[name][:at] + bytes([byte]) * (length % 3) + files[name][at + length % 5 :]
    for name, content in files.items():
        (folder / name).write_bytes(content)
    found = check(folder)
    if files == sound:
        assert found.fault is None
        assert found.head.count == 3
        return
    changed = files[names[0]] != sound[names[0]]
    whole = Head(3, sound["head"].split()[1].decode())
    assert not changed or found.fault or found.unfinished or found.head != whole
    try:
        find_end(folder)
    except InputError as error:
        assert error.problems
    Reader(folder).read(10)
