"""The configured hubs as a command has them for itself: what they say is read through an index of the command's choice."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mirror.core.decision import Event
from mirror.core.ports import DocumentIndex, EntryIndex, GrantIndex, PlaceIndex

if TYPE_CHECKING:
    from mirror.config import Config
    from mirror.core.actor import Credential
    from mirror.core.ports import Clock
    from mirror.hubs.huggingface.hub import HuggingFaceHub
    from mirror.hubs.pypi.hub import PypiHub
    from mirror.policy.epoch import Epoch
    from mirror.proxy.gateway import Gateway


class Cached(DocumentIndex, EntryIndex, GrantIndex, PlaceIndex, Protocol):
    """What is known, by name."""

    async def held(self, identities: Sequence[str]) -> frozenset[str]:
        """Those of these artifacts that have an entry."""


@dataclass(slots=True)
class Gathered:
    """`core.ports.Ledger` as far as a recorder needs it: events wait here until the owner of the record takes them."""

    events: list[Event] = field(default_factory=list)

    def record(self, event: Event) -> Any:
        """Keep an event."""
        self.events.append(event)


@dataclass(frozen=True, slots=True)
class Hubs:
    """A gateway for this command alone, and its hubs by name. `ledger` has the events that it recorded."""

    gateway: Gateway
    huggingface: Mapping[str, HuggingFaceHub]
    pypi: Mapping[str, PypiHub]
    ledger: Gathered


class _Nobody:
    """Where bytes would come from: nobody asks for any here."""


@asynccontextmanager
async def hubs_over(config: Config, index: Cached, epoch: Epoch, clock: Clock, *, offline: bool, patience: timedelta | None = None) -> AsyncIterator[Hubs]:
    """Hubs over `index`. `patience` is for lineages, in place of the configured one: no client waits here."""
    from mirror.hub_wiring import dialect_for, upstream_for
    from mirror.hubs.huggingface.hub import HuggingFaceHub
    from mirror.hubs.pypi.osv_files import OsvBook
    from mirror.hubs.pypi.routes import PypiDialect
    from mirror.proxy.documents import Documents
    from mirror.proxy.gateway import Gateway
    from mirror.proxy.recorder import Recorder
    from mirror.proxy.shelf import Shelf
    from mirror.store.archive import EvidenceArchive
    from mirror.wiring import installation_key

    if patience is not None:
        config = replace(config, lineage=replace(config.lineage, patience=patience))
    if offline:
        config = replace(config, network="offline")
    nobody: Any = _Nobody()
    ledger: Any = Gathered()
    upstreams = {name: upstream_for(name, row, config) for name, row in config.hubs.items()}
    gateway = Gateway(
        clock=clock, epoch=lambda: epoch, recorder=Recorder(clock, os.urandom, ledger, EvidenceArchive(config.data / "evidence"), config.policy.contact),
        documents=Documents(index, upstreams, clock, offline=offline), flights=nobody, shelf=Shelf(index, nobody, clock),
        grants=index, places=index, offline=offline,
    )  # fmt: skip
    found = Hubs(gateway, {}, {}, ledger)
    key = installation_key(config.data / "secret.key")
    try:
        for name, row in config.hubs.items():
            book = OsvBook(row.osv) if row.osv else None
            dialect = dialect_for(name, row, gateway, upstreams[name], config, book, key)
            if isinstance(dialect, HuggingFaceHub):
                found.huggingface[name] = dialect  # type: ignore[index]
            elif isinstance(dialect, PypiDialect):
                found.pypi[name] = dialect.hub  # type: ignore[index]
        yield found
    finally:
        await gateway.written()
        for upstream in upstreams.values():
            await upstream.close()


def credential_of(token: str | None, key: bytes) -> Credential | None:
    """A hub token as the mirror knows it when a client shows it."""
    from mirror.core.actor import Credential
    from mirror.reply.identify import Identification

    if token is None:
        return None
    header = f"Bearer {token}"
    return Credential(header, Identification((), (), None, key).fingerprint(header, "credential"))


def data_of(config: Config) -> Path:
    """Where bundles that were sent and received are remembered."""
    return config.data / "bundles"


def at_seconds(moment: datetime) -> datetime:
    """Without what no record shows."""
    return moment.replace(microsecond=0)
