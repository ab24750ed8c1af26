"""The index of the ledger as commands ask it: brought up to the ledger first, with a mirror running or not."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mirror.config import Config
    from mirror.index.sql import SqlIndex

#: From so many missing records on it is told that filling takes a while.
_LAG: Final = 20_000


@asynccontextmanager
async def record_index(config: Config, of: str | None = None) -> AsyncIterator[SqlIndex]:
    """With `of` that of an adopted ledger, which is a file beside it. It lags behind a running mirror by a moment, and by much when none ran or a new release makes it anew. Raises `InputError`, `IndexDown`."""
    from mirror.audit.adoption import replica_of
    from mirror.audit.feed import catch_up
    from mirror.audit.segments import read_head
    from mirror.index.sql import SqlIndex

    own = config.ledger.path or config.data / "ledger"
    directory = own if of is None else replica_of(own, config.data, of)
    url = config.database.reveal() if config.database and of is None else None
    index = await SqlIndex.open(url, config.data if of is None else directory)
    try:
        head = read_head(directory)
        lacking = (head.count if head else 0) - await index.last_sequence() - 1
        if lacking >= _LAG:
            click.echo(f"the index lacks {lacking} records of the ledger and is filled first", err=True)
        await catch_up(directory, index)
        yield index
    finally:
        await index.close()
