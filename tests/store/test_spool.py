"""A spool's map under a caller who goes away in the middle."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mirror.core.nouns import Span
from mirror.core.ports import BLOCK
from mirror.store.spool import open_spool_file


class Holding(ThreadPoolExecutor):
    """Threads of which one can be held back before it does what it was given."""

    def __init__(self) -> None:
        super().__init__(4)
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.held = False

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        if not self.held and isinstance(function, partial) and getattr(function.func, "__name__", "") == "_replace_map":
            self.held = True
            return super().submit(self._later, function)
        return super().submit(function, *arguments, **named)

    def _later(self, function: Any) -> Any:
        self.begun.set()
        assert self.go_on.wait(30)
        return function()


async def test_a_map_of_before_never_replaces_one_of_after(tmp_path: Path):
    """A sync that was given up and is still at its map in a thread claims nothing that was dropped since."""
    threads = Holding()
    spool = open_spool_file(tmp_path / "a.part", 2 * BLOCK, threads)
    assert spool is not None
    await spool.write(0, b"x" * 2 * BLOCK)
    syncing = asyncio.create_task(spool.sync())
    assert await asyncio.to_thread(threads.begun.wait, 30)
    syncing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await syncing
    await spool.drop(Span(0, BLOCK))
    await spool.sync()
    threads.go_on.set()
    threads.shutdown(wait=True)
    spool.close(discard=False)
    again = open_spool_file(tmp_path / "a.part", 2 * BLOCK, ThreadPoolExecutor(1))
    assert again is not None
    assert list(again.present()) == [Span(BLOCK, 2 * BLOCK)]
    assert not list(tmp_path.glob("*.map-new"))
    again.close(discard=True)
