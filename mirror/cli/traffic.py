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
        from mirror.cli.record_index import record_index

        async with record_index(config) as index:
            return await index.seen(moment)

    return asyncio.run(seen())
