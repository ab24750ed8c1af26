"""Who was asked for here, for commands that compare it with the catalogue."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.config import Config
    from mirror.core.traffic import Seen


def seen_since(config: Config, text: str) -> Sequence[Seen]:
    """Everybody who was asked for since then, from the index, brought up to the ledger first. Raises `InputError`, `IndexDown`."""
    from mirror.cli.policy_inputs import since

    moment = since(text, datetime.now(UTC))

    async def seen() -> Sequence[Seen]:
        from mirror.audit.feed import catch_up
        from mirror.index.sql import SqlIndex

        index = await SqlIndex.open(config.database.reveal() if config.database else None, config.data)
        try:
            await catch_up(config.ledger.path or config.data / "ledger", index)
            return await index.seen(moment)
        finally:
            await index.close()

    return asyncio.run(seen())
