"""A verdict on its way to the record, and bytes that are sought meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mirror.core.actor import Actor
from mirror.core.decision import Effect, EventKind, Verdict
from mirror.core.facts import Facts
from mirror.core.nouns import Artifact
from mirror.core.ports import Body
from mirror.policy.epoch import Epoch


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict that is not on the record yet, with what it rests on."""

    actor: Actor
    artifact: Artifact
    told: Facts
    facts: Facts
    needs: frozenset[str]
    epoch: Epoch
    verdict: Verdict
    at: datetime


async def or_closed(sought: asyncio.Task[Body]) -> Body:
    """What is being sought; if nobody waits for it any more, it is closed when it comes."""
    try:
        return await asyncio.shield(sought)
    except asyncio.CancelledError:
        sought.add_done_callback(closed)
        raise


def closed(sought: asyncio.Task[Body]) -> None:
    """Let go of bytes that nobody will read."""
    if not sought.cancelled() and sought.exception() is None:
        task = asyncio.get_running_loop().create_task(sought.result().close())
        _closing.add(task)
        task.add_done_callback(_closing.discard)


_closing: Final[set[asyncio.Task[None]]] = set()


def kind_of(verdict: Verdict) -> EventKind:
    """What sort of event its answer is."""
    if verdict.effect.serves:
        return EventKind.ALLOWED
    return EventKind.REFUSED if verdict.effect is Effect.DENY else EventKind.HELD
