"""The ledger, wired: where it lies, whose key signs for it, and who gets its checkpoints and copies of its events."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from mirror import __version__
from mirror.audit.checkpointer import Checkpointer
from mirror.audit.exporters import FileExporter, GitExporter, SyslogExporter, WebhookExporter
from mirror.audit.feed import Feed
from mirror.audit.keeping import Retention
from mirror.audit.ledger import SegmentLedger
from mirror.audit.passage import Choice
from mirror.audit.receivers import FileReceiver, StreamReceiver, WebReceiver, Writing
from mirror.audit.retention import Terms
from mirror.audit.sinks import Sink, Sinks
from mirror.audit.streams import Identity
from mirror.config_ledger import sink_address
from mirror.core.ports import Clock, EventIndex
from mirror.trust.machine_key import MachineKey
from mirror.trust.pseudonyms import PseudonymKeys

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.audit.outlets import Exporter
    from mirror.audit.receivers import Receiver
    from mirror.config import Config
    from mirror.config_ledger import CheckpointTarget, SinkConfig

#: The file of the key that is made where none is configured.
OWN_KEY: Final = "signing.key"


def ledger_folder(config: Config) -> Path:
    """Where the ledger lies."""
    return config.ledger.path or config.data / "ledger"


def machine_key_of(config: Config) -> MachineKey:
    """The mirror's own signing key."""
    given = config.trust.signing_key
    return MachineKey(given or config.data / OWN_KEY, given=given is not None)


def pseudonym_keys_of(config: Config) -> PseudonymKeys:
    """The keys of pseudonyms, apart from the ledger."""
    stated = config.ledger.pseudonyms
    return PseudonymKeys(stated.path or config.data / "pseudonyms", stated.rotate)


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


def retention_of(config: Config, ledger: SegmentLedger, clock: Clock) -> Retention:
    """How long that ledger keeps what; nothing has begun."""
    stated = config.ledger.retention
    return Retention(ledger, clock, Terms(stated.allows, stated.others, frozenset(stated.home)), stated.every, pseudonym_keys_of(config))


def receiver_of(sink: SinkConfig, config: Config) -> Receiver:
    """What takes events to one place."""
    scheme, host, port = sink_address(sink.to)
    writing = Writing(sink.format, __version__, urlsplit(config.listen.public_url or "").hostname or "")
    identity = Identity(sink.ca or config.outbound.ca, sink.cert, sink.key)
    if scheme == "file":
        return FileReceiver(Path(host), writing)
    if scheme in ("tcp", "tls"):
        return StreamReceiver(host, port, writing, identity if scheme == "tls" else None)
    headers = {name: value.reveal() for name, value in sink.headers.items()}
    return WebReceiver(sink.to, f"{scheme}://{urlsplit(sink.to).netloc}", writing, headers, identity, config.outbound.proxy)


def sinks_of(config: Config, clock: Clock) -> Sinks:
    """Copies of the ledger on their way out; none has begun."""
    return Sinks(
        Sink(
            one.name, ledger_folder(config), receiver_of(one, config), clock, Choice(frozenset(one.kinds), frozenset(one.effects)),
            whole=one.begin == "start",
        )
        for one in config.ledger.sinks
    )  # fmt: skip


async def begin_record(
    config: Config, clock: Clock, detail: Mapping[str, object], index: EventIndex, opened: AsyncExitStack
) -> tuple[SegmentLedger, Checkpointer, Sinks, Retention]:
    """Open the ledger for a run of the mirror, sign for it, and let index and sinks follow it, until `opened` is closed.

    Then the last checkpoint is of the last record, and the index has that too. Raises `InputError` where this is not the
    ledger that was signed for.
    """
    feed = Feed(ledger_folder(config), index)
    sinks = sinks_of(config, clock)

    def durable(count: int) -> None:
        feed.advance(count)
        sinks.advance(count)

    ledger, checkpointer = ledger_of(config, clock, durable)
    retention = retention_of(config, ledger, clock)
    checkpointer.before = retention.classify
    await ledger.start(detail, checkpointer.admit)
    following = asyncio.create_task(feed.run(), name="index follows ledger")

    async def level() -> None:
        feed.close()
        await following

    opened.push_async_callback(checkpointer.close)
    opened.push_async_callback(sinks.close)
    opened.push_async_callback(level)
    ledger.at_end, ledger.signed, ledger.delivered = checkpointer.last, checkpointer.condition, sinks.records
    opened.push_async_callback(ledger.close)
    await checkpointer.begin()
    sinks.begin(ledger.head.count)
    making = asyncio.create_task(checkpointer.run(config.ledger.checkpoint_every.total_seconds()), name="checkpoints")

    async def halt() -> None:
        making.cancel()
        await asyncio.wait({making})

    opened.push_async_callback(halt)
    retention.begin()
    opened.push_async_callback(retention.close)
    return ledger, checkpointer, sinks, retention
