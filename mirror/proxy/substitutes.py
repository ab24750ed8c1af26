"""What this mirror has served and could be taken instead: gathered beside the requests, never on the way to a byte.

Nothing is gathered until something is refused; then at most every `AGE` seconds, from the newest `RECORDS` permits of the
ledger's copy, for at most `PROJECTS` projects that anybody may see. A refusal waits for it at most `PATIENCE` seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import structlog

from mirror.core.errors import MirrorError, Pending
from mirror.core.purl import parse_artifact
from mirror.policy.substitutes import Profile, Refused, substitutes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mirror.core.actor import Actor, Credential
    from mirror.core.decision import Verdict
    from mirror.core.facts import Fact
    from mirror.core.nouns import Artifact
    from mirror.core.ports import EventIndex, Hub
    from mirror.policy.epoch import Epoch

_LOG = structlog.get_logger("mirror.substitutes")
AGE: Final = 60.0
#: The same while nothing is known: a mirror that has just begun.
_EMPTY_AGE: Final = 5.0
RECORDS: Final = 500
PROJECTS: Final = 40
PATIENCE: Final = 0.3
#: What tells of what something is made: that is never offered instead of its source.
_LINEAGE: Final = frozenset({"ancestors"})
#: Seconds after which all is looked at anew: what was public may be so no more.
_TRUSTED: Final = 600.0
#: Seconds that gathering may take; what was found by then counts.
_LONGEST: Final = 20.0


@runtime_checkable
class Profiling(Protocol):
    """A hub that can tell what a project is for. PyPI's cannot: packages stand in for one another by nothing that it says."""

    async def profile(self, artifact: Artifact, credential: Credential | None, needs: frozenset[str]) -> Profile:
        """Of a project that this mirror knows. Raises as `Hub.describe`."""


Here = Callable[[Sequence[str]], Awaitable[frozenset[str]]]


class Substitutes:
    """One a process. `hubs` are by instance name."""

    def __init__(self, index: EventIndex, hubs: Mapping[str, Hub], here: Here) -> None:
        """`here` gives those of some artifacts' identities whose bytes are in the store."""
        self._index, self._hubs, self._here = index, hubs, here
        self._held: dict[str, Profile] = {}
        self._gathered = -AGE
        self._gathering: asyncio.Task[None] | None = None
        self._needs: frozenset[str] = frozenset()

    async def offer(self, epoch: Epoch, actor: Actor, artifact: Artifact, verdict: Verdict, now: datetime) -> Fact[tuple[str, ...]] | None:
        """What to take instead, as a fact; None where there is nothing to say that the rules do not say themselves."""
        if not self._hubs or (not verdict.suggestions and not isinstance(self._hubs.get(artifact.project.hub), Profiling)):
            return None
        needs = epoch.policy.needs_by_ecosystem[artifact.project.ecosystem]
        profile = await self._profile(artifact, actor.credential, needs)
        if profile is not None and profile.task:
            await self._ready(needs)
        found = substitutes(epoch, Refused(artifact, actor, now, verdict.suggestions, profile), self._held.values())
        return found if found.value or verdict.suggestions else None

    async def close(self) -> None:
        """Stop gathering."""
        if self._gathering is not None:
            self._gathering.cancel()
            await asyncio.wait({self._gathering})

    async def _profile(self, artifact: Artifact, credential: Credential | None, needs: frozenset[str]) -> Profile | None:
        hub = self._hubs.get(artifact.project.hub)
        if not isinstance(hub, Profiling):
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                return await hub.profile(artifact, credential, needs)
        except (MirrorError, TimeoutError):
            return None

    async def _ready(self, needs: frozenset[str]) -> None:
        fresh = time.monotonic() - self._gathered < (AGE if self._held else _EMPTY_AGE) and needs <= self._needs
        if not fresh and (self._gathering is None or self._gathering.done()):
            # In a context of its own: it outlives the request that was the first to want it.
            self._gathering = asyncio.get_running_loop().create_task(self._gather(needs), context=Context())
        if self._gathering is not None and not self._held:
            await asyncio.wait({self._gathering}, timeout=PATIENCE)

    async def _gather(self, needs: frozenset[str]) -> None:
        held: dict[str, Profile] = {}
        looked: dict[str, Profile] = {}
        try:
            async with asyncio.timeout(_LONGEST):
                for record in await self._index.query({"kind": "allowed"}, RECORDS, None):
                    if len(held) >= PROJECTS:
                        break
                    await self._add(held, looked, record, needs)
        except (MirrorError, TimeoutError) as error:
            _LOG.warning("substitutes_not_gathered", fault=str(error) or "too late")
        self._held, self._gathered, self._needs = held, time.monotonic(), needs

    async def _add(self, held: dict[str, Profile], looked: dict[str, Profile], record: Mapping[str, object], needs: frozenset[str]) -> None:
        decision = record.get("decision")
        if not isinstance(decision, dict):
            return
        try:
            artifact = parse_artifact(decision["artifact"])
            # A package URL names the instance only where it is not the ecosystem's own.
            artifact = replace(artifact, project=replace(artifact.project, hub=artifact.project.hub or artifact.project.ecosystem))
            hub = self._hubs.get(artifact.project.hub)
            if not artifact.path or artifact.project.identity in held or not isinstance(hub, Profiling):
                return
            known = looked.get(artifact.project.identity) or self._held.get(artifact.project.identity)
            fresh = needs <= self._needs and time.monotonic() - self._gathered < _TRUSTED
            same = known is not None and known.whole.revision == artifact.revision and (fresh or artifact.project.identity in looked)
            found = known if same and known is not None else await _profiled(hub, artifact, needs)
            looked[artifact.project.identity] = found
            # Permitted, and not had: the hub withholds it from here, or it is gone.
            if found.task and await self._here([replace(artifact, project=found.whole.project).identity]):
                held[artifact.project.identity] = found
        except (MirrorError, ValueError, KeyError):
            return  # it is private, gone, or not to be had now


async def _profiled(hub: Profiling, artifact: Artifact, needs: frozenset[str]) -> Profile:
    """As `Profiling.profile`, with what it is made of where that can be had now."""
    try:
        return await hub.profile(artifact, None, needs | _LINEAGE)
    except Pending:
        return await hub.profile(artifact, None, needs)
