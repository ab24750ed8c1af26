"""What the receiver's policy refused when bundles were imported, from the receipts: what it would permit by now is told to be that, and not never to have come."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

if TYPE_CHECKING:
    from pathlib import Path

_LOG = structlog.get_logger("mirror.turned_away")
#: Receipts that are kept: more rows than any laboratory's bundles have.
_MOST: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Away:
    """A refusal at import: its `decision` (an id on our record) and `rule`, with its sentence; `bundle` as `lab 1`, `day` in ISO form."""

    artifact: str
    rule: str
    decision: str
    sentence: str
    bundle: str
    sender: str
    day: str


class TurnedAway:
    """One a process. Receipts are read when something is not here, and again where there are others."""

    def __init__(self, data: Path) -> None:
        self._folder = data / "bundles" / "received"
        self._seen: tuple[tuple[str, int], ...] = ()
        self._artifacts: dict[str, Away] = {}
        self._turn = asyncio.Lock()

    async def of(self, artifact: str) -> Away | None:
        """The newest refusal of one file, by its package URL."""
        await self._look()
        return self._artifacts.get(artifact)

    async def _look(self) -> None:
        async with self._turn:
            there = await asyncio.to_thread(self._there)
            if there != self._seen:
                found = await asyncio.to_thread(lambda: sorted(self._read(), key=lambda one: one.day))
                self._artifacts = {one.artifact: one for one in found}
                self._seen = there

    def _there(self) -> tuple[tuple[str, int], ...]:
        try:
            return tuple((str(path), path.stat().st_mtime_ns) for path in self._receipts())
        except OSError:  # one was just being put there
            return self._seen

    def _receipts(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("*/*/*.json") if path.stem.isdecimal())

    def _read(self) -> Iterator[Away]:
        left = _MOST
        for path in self._receipts():
            try:
                told = json.loads(base64.b64decode(json.loads(path.read_bytes())["payload"]))
                rows = list(_rows(told))[:left]
            except (OSError, ValueError, KeyError, TypeError) as error:
                _LOG.warning("receipt_not_read", path=str(path), fault=str(error))
                continue
            left -= len(rows)
            yield from rows


def _rows(told: dict[str, Any]) -> Iterator[Away]:
    for row in told["refused"]:
        if row["decision"]:  # what could not be judged was refused by no rule
            yield Away(row["artifact"], row["rule"] or "default", row["decision"], row["sentence"], f"{told['name']} {told['number']}", told["sender"], told["at"][:10])
