"""An open file, read in the event loop where that waits for nobody, else in a thread."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mirror.core.nouns import Span
from mirror.store.handle import Handle

DATA = bytes(range(256)) * 1024


class Counted(ThreadPoolExecutor):
    """Threads, and how often they were needed."""

    used = 0

    def submit(self, *arguments: Any, **named: Any) -> Any:
        self.used += 1
        return super().submit(*arguments, **named)


@pytest.fixture
def threads() -> Iterator[Counted]:
    with Counted(1) as executor:
        yield executor


@pytest.fixture
def handle(tmp_path: Path, threads: Counted) -> Handle:
    path = tmp_path / "data"
    path.write_bytes(DATA)
    opened = Handle(os.open(path, os.O_RDONLY), threads)
    try:
        os.preadv(opened.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT)
    except OSError:
        pytest.skip("this file system cannot say whether a read would wait")
    return opened


async def test_a_few_bytes_in_memory_take_no_thread(handle: Handle, threads: Counted):
    """A small part of a file that was just written comes at once; a large one is read by a thread."""
    assert await handle.read(Span(5, 60_000)) == DATA[5:60_000]
    assert threads.used == 0
    assert await handle.read(Span(0, len(DATA))) == DATA
    assert threads.used == 1


async def test_a_file_that_ends_before_is_an_error(handle: Handle):
    """However few bytes are missing, a part of what was asked for is never given."""
    with pytest.raises(OSError, match="shorter|ends|Input"):
        await handle.read(Span(len(DATA) - 10, len(DATA) + 1))


async def test_a_closed_file_is_not_read(handle: Handle):
    """Its number may be another file's by then."""
    handle.close()
    with pytest.raises(ValueError, match="closed"):
        await handle.read(Span(0, 10))
