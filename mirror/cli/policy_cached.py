"""What this mirror can tell of an artifact without asking anybody: the hub's own facts, from the pages that are cached."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from mirror.core.errors import MirrorError
from mirror.core.facts import Facts
from mirror.core.nouns import HUGGINGFACE, Project

if TYPE_CHECKING:
    from mirror.config import Config
    from mirror.core.nouns import Artifact
    from mirror.index.sql import SqlIndex
    from mirror.policy.epoch import Epoch

#: Seconds for what takes milliseconds where nobody is asked.
_PATIENCE: Final = 20.0


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class _Unused:
    """Where bytes would come from and events would go: explaining needs neither."""


async def cached_facts(config: Config, epoch: Epoch, artifact: Artifact) -> tuple[Facts, str]:
    """The facts that rules in force read of `artifact`, as a server with these data would find them offline.

    Empty, with a sentence that says so, where nothing is cached of it (or it is not public); the project's hub is the first
    one configured for its ecosystem.
    """
    from mirror.index.sql import SqlIndex

    hub = next((name for name, row in config.hubs.items() if row.dialect == artifact.project.ecosystem), None)
    if hub is None or (config.database is None and not (config.data / "index.sqlite").exists()):
        return Facts(), ""
    try:
        index = await SqlIndex.open(config.database.reveal() if config.database else None, config.data)
        try:
            return await _anyhow(config, epoch, artifact, index, hub), ""
        finally:
            await index.close()
    except (MirrorError, TimeoutError) as error:
        return Facts(), f"nothing is cached of it here ({str(error) or type(error).__name__}): its hub's facts are taken to be unknown"


async def _anyhow(config: Config, epoch: Epoch, artifact: Artifact, index: SqlIndex, hub: str) -> Facts:
    """Without a revision: by the project's own page, else by that of its default branch, which is what clients ask for."""
    try:
        return await _described(config, epoch, artifact, index, hub)
    except MirrorError:
        if artifact.revision or artifact.project.ecosystem != HUGGINGFACE:
            raise
        return await _described(config, epoch, replace(artifact, revision="main"), index, hub)


async def _described(config: Config, epoch: Epoch, artifact: Artifact, index: SqlIndex, hub: str) -> Facts:
    from mirror.hub_wiring import dialect_for, upstream_for
    from mirror.proxy.documents import Documents
    from mirror.proxy.gateway import Gateway
    from mirror.proxy.recorder import Recorder
    from mirror.proxy.shelf import Shelf
    from mirror.store.archive import EvidenceArchive

    unused: Any = _Unused()
    clock, row, key = _Clock(), config.hubs[hub], config.data / "secret.key"
    upstream = upstream_for(hub, row, config)
    gateway = Gateway(
        clock=clock, epoch=lambda: epoch, recorder=Recorder(clock, bytes, unused, EvidenceArchive(config.data / "evidence"), None),
        documents=Documents(index, {hub: upstream}, clock, offline=True), flights=unused, shelf=Shelf(index, unused, clock),
        grants=index, places=index, offline=True,
    )  # fmt: skip
    try:
        dialect_for(hub, row, gateway, upstream, config, None, key.read_bytes() if key.exists() else bytes(32))
        project = artifact.project
        asked = replace(artifact, project=Project(project.ecosystem, project.kind, project.name, hub))
        async with asyncio.timeout(_PATIENCE):
            return await gateway.describe(asked, epoch.policy.needs_by_ecosystem[project.ecosystem])
    finally:
        await upstream.close()
