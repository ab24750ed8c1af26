"""The signed pack of publishers, kept fresh: from a file or a URL, on demand or on a schedule.

A pack comes into force only if its signatures hold, it can be read whole with everything that is laid over it, and it is not
older than what was in force before; otherwise the old one stays, and why is kept.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import structlog

from mirror.core.errors import InputError, MirrorError, Problem, UpstreamError
from mirror.core.ports import Upstream
from mirror.decode import decode, parse_json
from mirror.durable import alone, read_small, write_whole
from mirror.lists.loading import load_catalogue
from mirror.lists.official import is_url
from mirror.lists.signed import (
    LARGEST,
    SUFFIX,
    Edition,
    PackCondition,
    SignedPack,
    condition,
    current_file,
    kept_file,
    read_pack,
    signers,
)
from mirror.policy.approval import Roll
from mirror.proxy.following import Looking
from mirror.watch.fetching import fetch, shown

_LOG = structlog.get_logger("mirror.catalogue")
#: Packs that are kept for `catalogue diff`, that in force among them.
KEPT: Final = 8
_AGAIN: Final = timedelta(minutes=30)

Result = Literal["changed", "unchanged", "refused", "unreachable", "offline"]


@dataclass(frozen=True, slots=True)
class PackPlace:
    """What is configured: where packs come from and lie, what is laid over them, and who may sign.

    `source` is an absolute path or an https URL; `layers` the `catalogue:` of the configuration, the pack's own place in it.
    """

    source: str
    data: Path
    layers: Sequence[str]
    every: timedelta | None
    max_age: timedelta | None
    offline: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """The last look. `highest` is the greatest number that was ever in force: what is below is a rollback."""

    highest: int = 0
    sha256: str = ""
    checked_at: datetime | None = None
    next_at: datetime | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PackOutcome:
    """What a refresh came to. `edition` is the one in force afterwards, `problems` why the source's is not."""

    result: Result
    edition: Edition | None
    problems: tuple[str, ...] = ()

    @property
    def fine(self) -> bool:
        """Whether what the source has is in force."""
        return self.result in ("changed", "unchanged")


class PackWatch:
    """Refreshes the pack of one installation. `roll` reads the enrolled keys anew, `way` makes the way out to a URL's host."""

    def __init__(self, place: PackPlace, roll: Callable[[], Roll], way: Callable[[], Upstream], now: Callable[[], datetime]) -> None:
        self._place, self._roll, self._way, self._now = place, roll, way, now
        self._looking: Looking | None = None
        self._stamp: object = None

    def watch(self) -> None:
        """Start looking: at a file when it changes, at a URL every `every`."""
        self._looking = Looking(self._look)

    async def close(self) -> None:
        """Stop looking."""
        if self._looking is not None:
            await self._looking.close()

    async def _look(self) -> None:
        place, standing = self._place, read_standing(self._place.data)
        if is_url(place.source):
            if place.offline or place.every is None or (standing.next_at is not None and self._now() < standing.next_at):
                return
        else:
            stamp = await asyncio.to_thread(_stamp, Path(place.source))
            if stamp == self._stamp:
                return
            self._stamp = stamp
        try:
            outcome = await self.refresh()
        except (MirrorError, OSError) as error:
            _LOG.warning("catalogue_pack", result="refused", problems=[str(error)])
            return
        say = _LOG.info if outcome.fine else _LOG.warning
        number = outcome.edition.number if outcome.edition else None
        say("catalogue_pack", result=outcome.result, number=number, problems=list(outcome.problems))

    async def refresh(self) -> PackOutcome:
        """Look at the source now, and put in force what it has. Raises `OSError` where nothing can be kept."""
        place = self._place
        if place.offline and is_url(place.source):
            return PackOutcome("offline", current(place.data), ("the network is offline (network: offline): nothing is fetched",))
        try:
            data = await self._had()
        except (UpstreamError, InputError) as error:
            outcome = PackOutcome("unreachable", current(place.data), (str(error),))
            await asyncio.to_thread(self._note, outcome, None)
        else:
            outcome = await asyncio.to_thread(self._weigh, data)
        return outcome

    async def receive(self, data: bytes) -> PackOutcome:
        """Weigh a pack that came another way, in a bundle: by its own signatures, like any other. Raises `OSError`."""
        return await asyncio.to_thread(self._weigh, data)

    async def _had(self) -> bytes:
        source = self._place.source
        if not is_url(source):
            return await asyncio.to_thread(read_small, Path(source), LARGEST)
        way = self._way()
        try:
            return (await fetch(way, source, None, None)).part.data
        finally:
            await way.close()

    def _weigh(self, data: bytes) -> PackOutcome:
        source = shown(self._place.source)
        with alone(self._place.data / "catalogue" / ".lock"):
            before = current(self._place.data)
            try:
                pack = read_pack(data, source)
                signers(pack, self._roll(), self._now(), source)
                fresh = self._newer(pack, before, source)
                if fresh:
                    self._adopt(pack)
            except InputError as error:
                outcome = PackOutcome("refused", before, tuple(map(str, error.problems)))
                self._note(outcome, None)
                return outcome
            outcome = PackOutcome("changed" if fresh else "unchanged", pack.edition)
            self._note(outcome, pack.edition)
            return outcome

    def _newer(self, pack: SignedPack, before: Edition | None, source: str) -> bool:
        """Whether the pack is another than the one in force. Raises `InputError` for a rollback, and for a number used twice."""
        number, standing = pack.edition.number, read_standing(self._place.data)
        highest = max(standing.highest, before.number if before else 0)
        if number < highest:
            raise InputError([Problem(source, "payload.number", f"is {number}, and {highest} has been in force: a pack is never rolled back")])
        known = before.sha256 if before is not None and before.number == number else standing.sha256 if number == standing.highest else ""
        if known and known != pack.edition.sha256:
            raise InputError([Problem(source, "payload.number", f"is {number}, which has been in force with other content")])
        if before is not None and before.name != pack.edition.name:
            raise InputError([Problem(source, "payload.name", f"is {pack.edition.name!r}, and the pack in force is {before.name!r}")])
        return before is None or number > before.number

    def _adopt(self, pack: SignedPack) -> None:
        """Put a pack in force, if the catalogue that it makes with what is laid over it is sound."""
        data = self._place.data
        kept = kept_file(data, pack.edition.number)
        write_whole(kept, pack.written)
        here = str(current_file(data))
        try:
            load_catalogue([str(kept) if name == here else name for name in self._place.layers])
        except InputError:
            kept.unlink(missing_ok=True)
            raise
        write_whole(current_file(data), pack.written)
        for old in editions(data)[KEPT:]:
            kept_file(data, old.number).unlink(missing_ok=True)

    def _note(self, outcome: PackOutcome, edition: Edition | None) -> None:
        standing, now = read_standing(self._place.data), self._now()
        wait = self._place.every if outcome.result != "unreachable" else min(_AGAIN, self._place.every or _AGAIN)
        standing = replace(standing, checked_at=now, next_at=None if wait is None else now + wait, problems=outcome.problems)
        if edition is not None:
            standing = replace(standing, highest=edition.number, sha256=edition.sha256)
        row: dict[str, Any] = {
            "highest": standing.highest, "sha256": standing.sha256, "problems": list(standing.problems), "checked_at": now.isoformat(),
            "next_at": standing.next_at.isoformat() if standing.next_at else None,
        }  # fmt: skip
        write_whole(_standing_file(self._place.data), json.dumps(row, ensure_ascii=False, indent=1).encode())


def current(data: Path) -> Edition | None:
    """What is in force, without asking again who signed it; None where there is none that is whole."""
    file = current_file(data)
    return _read_once(file, _stamp(file))


@lru_cache(maxsize=4)
def _read_once(file: Path, stamp: object) -> Edition | None:
    with suppress(InputError):
        return None if stamp is None else read_pack(read_small(file, LARGEST), str(file)).edition
    return None


def editions(data: Path) -> list[Edition]:
    """The packs that are or were in force and still lie here, the newest first."""
    found = []
    for path in (data / "catalogue").glob(f"[0-9]*{SUFFIX}"):
        with suppress(InputError):
            found.append(read_pack(read_small(path, LARGEST), str(path)).edition)
    return sorted(found, key=lambda one: one.number, reverse=True)


def read_standing(data: Path) -> Standing:
    """The last look; an empty one before the first."""
    with suppress(OSError, ValueError, InputError):
        return decode(Standing, parse_json(_standing_file(data).read_bytes()), str(_standing_file(data)))
    return Standing()


def condition_of(data: Path, max_age: timedelta | None, now: datetime) -> PackCondition:
    """How the pack stands at `now`. Cheap where the file is the one that was read before."""
    return condition(current(data), max_age, now, read_standing(data).problems)


def _standing_file(data: Path) -> Path:
    return data / "catalogue" / "standing.json"


def _stamp(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
