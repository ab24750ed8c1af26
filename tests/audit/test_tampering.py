"""Any byte and any line of a ledger on disk that is changed, dropped, moved or cut is found and named."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.audit.check import check
from mirror.audit.ledger import SegmentLedger
from mirror.audit.segments import lock, segments
from tests.audit.samples import SteppingClock, refused


async def _written(directory: Path) -> None:
    ledger = SegmentLedger(directory, SteppingClock(), reserve=0, segment_size=4000)
    await ledger.start()
    for number in range(5):
        await ledger.record(refused(number)).durable()
    await ledger.close()


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("ledger")
    asyncio.run(_written(directory))
    assert check(directory).fault is None
    assert len(segments(directory)) >= 3
    return directory


def tampered(sound: Path, target: Path, name: str, data: bytes):
    """What `check` says of a copy in which one file has other content, or is gone."""
    shutil.copytree(sound, target, dirs_exist_ok=True)
    (target / name).write_bytes(data)
    return check(target)


def sequence_at(data: bytes, first: int, offset: int) -> int:
    return first + data.count(b"\n", 0, offset)


def each_byte_flipped(path: Path) -> Iterator[int]:
    """Flip one bit of each byte in turn, in place, and put it back; gives where it is."""
    data = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for offset, byte in enumerate(data):
            os.pwrite(file.fileno(), bytes([byte ^ 1 << (offset % 8)]), offset)
            yield offset
            os.pwrite(file.fileno(), bytes([byte]), offset)


def test_every_single_byte(sound, tmp_path):
    """Each byte of each segment, personal file and head: flipped, it is a named fault (in a record: of that record)."""
    copy = tmp_path / "copy"
    shutil.copytree(sound, copy)
    for segment in segments(copy):
        data = segment.path.read_bytes()
        for offset in each_byte_flipped(segment.path):
            found = check(copy)
            assert found.fault is not None, (segment.path.name, offset)
            assert found.fault.sequence == sequence_at(data, segment.first, offset), (found.fault, offset)
        for offset in each_byte_flipped(segment.personal):
            found = check(copy)
            assert found.fault is not None or found.unfinished, (segment.personal.name, offset)
    for offset in each_byte_flipped(copy / "head"):
        assert check(copy).fault is not None, offset
    assert check(copy).fault is None


def test_every_truncation(sound, tmp_path):
    """Cut at any length, at a record's end or inside it, every segment is found short and the first lost record named."""
    copy = tmp_path / "copy"
    shutil.copytree(sound, copy)
    for segment in segments(copy):
        data = segment.path.read_bytes()
        for size in reversed(range(len(data))):
            os.truncate(segment.path, size)
            found = check(copy)
            assert found.fault is not None, (segment.path.name, size)
            assert found.fault.sequence == sequence_at(data, segment.first, size)
        segment.path.write_bytes(data)


def test_files_gone(sound, tmp_path):
    """A segment or the head that is gone is a fault; a personal file that is gone is an erasure, counted."""
    for number, segment in enumerate(segments(sound)):
        for path in (segment.path, sound / "head"):
            copy = tmp_path / f"{number}-{path.name}"
            shutil.copytree(sound, copy)
            (copy / path.name).unlink()
            assert check(copy).fault is not None
        copy = tmp_path / f"{number}-personal"
        shutil.copytree(sound, copy)
        (copy / segment.personal.name).unlink()
        assert (check(copy).fault, check(copy).erased > 0) == (None, True)


def test_salt_in_another_spelling(sound, tmp_path):
    """The salt's digits in capitals mean the same bytes, and are a change that is found all the same."""
    name = segments(sound)[0].personal.name
    data = (sound / name).read_bytes()
    at = data.index(b'"salt":"') + 8
    found = tampered(sound, tmp_path / "copy", name, data[:at] + data[at : at + 32].upper() + data[at + 32 :])
    assert (found.fault.sequence, found.fault.what) == (0, "a damaged line")


def test_a_part_that_is_being_written(sound, tmp_path):
    """Half a part after the last record is no fault while a mirror writes; without one it is named, and so is a torn one before."""
    copy = tmp_path / "copy"
    shutil.copytree(sound, copy)
    last = segments(copy)[-1].personal
    whole = last.read_bytes()
    last.write_bytes(whole + whole.splitlines(keepends=True)[-1][:40])
    assert check(copy).unfinished.endswith("personal parts of records that were never written")
    writer = lock(copy)
    try:
        assert (check(copy).fault, check(copy).erased) == (None, 0)
        last.write_bytes(whole[:-1])
        assert check(copy).erased == 1
    finally:
        os.close(writer)
    assert check(copy).fault.what == "a damaged line"


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_lines_dropped_moved_and_repeated(sound, tmp_path, data):
    """Records dropped, swapped, repeated or taken from another segment are found."""
    known = segments(sound)
    segment = data.draw(st.sampled_from(known))
    lines = segment.path.read_bytes().splitlines(keepends=True)
    others = [line for other in known for line in other.path.read_bytes().splitlines(keepends=True)]
    position = data.draw(st.integers(0, len(lines) - 1))
    kind = data.draw(st.sampled_from(["drop", "swap", "repeat", "insert"]))
    changed = list(lines)
    if kind == "drop":
        del changed[position]
    elif kind == "swap":
        other = data.draw(st.integers(0, len(lines) - 1))
        changed[position], changed[other] = changed[other], changed[position]
    elif kind == "repeat":
        changed.insert(position, lines[position])
    else:
        changed.insert(position, data.draw(st.sampled_from(others)))
    if changed != lines:
        found = tampered(sound, tmp_path / "copy", segment.path.name, b"".join(changed))
        assert found.fault is not None
        shutil.rmtree(tmp_path / "copy")


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_bytes_inserted_and_removed(sound, tmp_path, data):
    """Bytes put in or taken out anywhere in a segment are found."""
    segment = data.draw(st.sampled_from(segments(sound)))
    raw = segment.path.read_bytes()
    start = data.draw(st.integers(0, len(raw)))
    stop = data.draw(st.integers(start, min(len(raw), start + 40)))
    changed = raw[:start] + data.draw(st.binary(max_size=20)) + raw[stop:]
    if changed != raw:
        found = tampered(sound, tmp_path / "copy", segment.path.name, changed)
        assert found.fault is not None or found.unfinished
        shutil.rmtree(tmp_path / "copy")
