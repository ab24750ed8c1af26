"""Measuring what a request waits for (`core.timing`)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from mirror.core.timing import spent


@contextmanager
def timed(on: str) -> Iterator[None]:
    """The time within counts as spent on this: `pages`, `judge`, `record`, `rights`, `fetch`."""
    clock = asyncio.get_running_loop().time
    began = clock()
    try:
        yield
    finally:
        spent(on, clock() - began)
