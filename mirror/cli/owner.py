"""Reaching whoever owns the data of the configured mirror: the mirror that runs, else this command for as long as it works."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from mirror.core.errors import InputError, LedgerDown, Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mirror.config import Config
    from mirror.keeper.desk import Asked, Desk

#: How long a mirror that is just starting or ending is waited for, in seconds.
_WAIT: Final = 10.0
_LOOK: Final = 0.1


def configured(path: Path | None) -> Config:
    """The configuration. Raises `InputError`."""
    from mirror import config as configuration

    return configuration.load(path, os.environ)


def asked(path: Path | None, method: str, *arguments: Any) -> Any:
    """What the owner's desk answers to a method of `keeper.desk.Desk`. Raises `InputError`, `MirrorError`."""
    from mirror import log

    config = configured(path)
    log.configure("error", config.log.format)  # what is done is printed; only what went wrong is logged
    if not config.data.is_dir():
        raise InputError([Problem(str(config.data), "", "there is no data here yet; `mirror serve` makes it")])
    return asyncio.run(_asked(config, method, arguments))


async def _asked(config: Config, method: str, arguments: tuple[Any, ...]) -> Any:
    there = await at_work(config)
    if there is not None:
        try:
            return await there.call(method, *arguments)
        except LedgerDown as error:
            raise InputError([Problem(str(config.data), "", f"the mirror ended while it was asked: {error}")]) from error
        finally:
            there.close()
    async with _own(config) as desk:
        return await getattr(desk, method)(*arguments)


async def at_work(config: Config) -> Asked | None:
    """The desk of the mirror that runs on this data; None where none does. Waits for one that is starting or ending.

    Raises `InputError` where somebody owns the data and does not answer.
    """
    from mirror.audit.segments import is_written
    from mirror.keeper.desk import Asked

    loop = asyncio.get_running_loop()
    until = loop.time() + _WAIT
    while True:
        try:
            there = await Asked.at(config.data)
        except (LedgerDown, OSError) as error:
            raise InputError([Problem(str(config.data / "keeper.sock"), "", str(error))]) from error
        if there is not None or not is_written(ledger_of(config)):
            return there
        if loop.time() > until:
            said = f"the ledger is being written by process {holder_of(config)}, which does not answer at {config.data / 'keeper.sock'}"
            raise InputError([Problem(str(config.data), "", said)])
        await asyncio.sleep(_LOOK)


def ledger_of(config: Config) -> Path:
    """Where the ledger lies."""
    return config.ledger.path or config.data / "ledger"


def holder_of(config: Config) -> str:
    """The process id that stands in the ledger's lock."""
    try:
        return (ledger_of(config) / "lock").read_text(encoding="ascii", errors="replace").strip()[:20] or "unknown"
    except OSError:
        return "unknown"


@asynccontextmanager
async def _own(config: Config) -> AsyncIterator[Desk]:
    """A desk of this process, which owns the data meanwhile: no mirror can start under its hands."""
    from mirror.audit.segments import lock
    from mirror.clock_wiring import clock_of
    from mirror.index.sql import SqlIndex
    from mirror.keeper.desk import Desk
    from mirror.proxy.eviction import Eviction
    from mirror.store.disk import DiskStore

    ledger_of(config).mkdir(parents=True, exist_ok=True)
    held = lock(ledger_of(config))
    try:
        index = await SqlIndex.open(config.database.reveal() if config.database else None, config.data)
        store, clock = DiskStore(config.data, config.store.quota, config.store.min_free), clock_of(config)
        try:
            eviction = Eviction(index, store, clock, lambda _: False)
            yield Desk(config.data, config.store.quota, index, store, eviction, clock)
        finally:
            await store.close()
            await index.close()
    finally:
        os.close(held)
