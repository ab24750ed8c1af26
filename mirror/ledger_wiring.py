"""The ledger, wired: where it lies, whose key signs for it, and who gets its checkpoints."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from mirror.audit.checkpointer import Checkpointer
from mirror.audit.exporters import FileExporter, GitExporter, SyslogExporter, WebhookExporter
from mirror.audit.feed import Feed
from mirror.audit.ledger import SegmentLedger
from mirror.core.ports import Clock, EventIndex
from mirror.trust.machine_key import MachineKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.audit.outlets import Exporter
    from mirror.config import Config
    from mirror.config_ledger import CheckpointTarget

#: The file of the key that is made where none is configured.
OWN_KEY: Final = "signing.key"


def ledger_folder(config: Config) -> Path:
    """Where the ledger lies."""
    return config.ledger.path or config.data / "ledger"


def machine_key_of(config: Config) -> MachineKey:
    """The mirror's own signing key."""
    given = config.trust.signing_key
    return MachineKey(given or config.data / OWN_KEY, given=given is not None)


def exporter_of(target: CheckpointTarget, config: Config) -> Exporter:
    """What takes checkpoints to one place."""
    if target.file is not None:
        return FileExporter(target.file)
    if target.git is not None:
        return GitExporter(target.git, target.push)
    if target.webhook is not None:
        token = target.token.reveal() if target.token is not None else None
        return WebhookExporter(target.webhook, token, proxy=config.outbound.proxy, ca=config.outbound.ca)
    return SyslogExporter(target.syslog or "")


def ledger_of(config: Config, clock: Clock, on_durable: Callable[[int], None] | None = None) -> tuple[SegmentLedger, Checkpointer]:
    """The ledger of this configuration and what signs for it; neither is open."""
    ledger = SegmentLedger(ledger_folder(config), clock, reserve=config.ledger.reserve, on_durable=on_durable)
    exporters = [exporter_of(target, config) for target in config.ledger.checkpoints.to]
    host = urlsplit(config.listen.public_url or "").hostname or socket.gethostname()
    checkpointer = Checkpointer(ledger, machine_key_of(config), clock, exporters, origin=config.ledger.origin, host=host)
    return ledger, checkpointer


async def begin_record(
    config: Config, clock: Clock, detail: Mapping[str, object], index: EventIndex, opened: AsyncExitStack
) -> tuple[SegmentLedger, Checkpointer]:
    """Open the ledger for a run of the mirror, sign for it, and let the index follow it, until `opened` is closed.

    Then the last checkpoint is of the last record, and the index has that too. Raises `InputError` where this is not the
    ledger that was signed for.
    """
    feed = Feed(ledger_folder(config), index)
    ledger, checkpointer = ledger_of(config, clock, feed.advance)
    await ledger.start(detail, checkpointer.admit)
    following = asyncio.create_task(feed.run(), name="index follows ledger")

    async def level() -> None:
        feed.close()
        await following

    opened.push_async_callback(checkpointer.close)
    opened.push_async_callback(level)
    ledger.at_end, ledger.signed = checkpointer.last, checkpointer.condition
    opened.push_async_callback(ledger.close)
    await checkpointer.begin()
    making = asyncio.create_task(checkpointer.run(config.ledger.checkpoint_every.total_seconds()), name="checkpoints")

    async def halt() -> None:
        making.cancel()
        await asyncio.wait({making})

    opened.push_async_callback(halt)
    return ledger, checkpointer
