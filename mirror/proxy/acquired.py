"""Writing down how files came: one event for each name and its bytes, beside the transfer and in nobody's way."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from mirror.core.acquisitions import Acquisition, AcquisitionIndex, LicenceText, Publication, Publishing
from mirror.core.errors import MirrorError
from mirror.core.nouns import Artifact

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from mirror.core.actor import Credential
    from mirror.core.facts import Facts
    from mirror.core.nouns import Blob
    from mirror.core.ports import Hub, Source
    from mirror.proxy.recorder import Recorder

_LOG = structlog.get_logger("mirror.proxy")
#: Files that came within this time (seconds) are looked up together: of thousands small ones each question would cost as much as the file.
_GATHER: Final = 0.1
#: So many are described at a time.
_AT_ONCE: Final = 8
#: Revisions whose licence files are remembered.
_REVISIONS: Final = 256
#: How long the end of the process waits for them, in seconds.
_END: Final = 5.0
#: Most bytes of a licence file that are kept.
MOST: Final = 256 * 1024

Read = Callable[[Artifact, "Credential | None", "Facts"], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class _Arrival:
    artifact: Artifact
    blob: Blob
    source: Source
    facts: Facts
    credential: Credential | None
    at: datetime


class Acquisitions:
    """One a process. `read` gives the bytes of an artifact of the same hub; `path` where a blob lies."""

    def __init__(
        self, index: AcquisitionIndex, recorder: Recorder, hubs: Mapping[str, Hub], read: Read, path: Callable[[Blob], Path | None]
    ) -> None:
        self._index, self._recorder, self._hubs, self._read, self._path = index, recorder, hubs, read, path
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._arrived: list[_Arrival] = []
        self._closing = asyncio.Event()
        self._writing: set[asyncio.Task[None]] = set()
        self._texts: OrderedDict[tuple[str, str, str], LicenceText] = OrderedDict()

    def landed(self, artifact: Artifact, blob: Blob, source: Source, facts: Facts, credential: Credential | None) -> None:
        """These bytes came from upstream a moment ago. What cannot be found out of them is left out."""
        self._arrived.append(_Arrival(artifact, blob, source, facts, credential, self._recorder.now()))
        if len(self._arrived) == 1:
            self._begin(self._gathered())

    async def close(self) -> None:
        """Wait for what is being written down, not for long: a licence file may be at a hub that does not answer."""
        self._closing.set()
        until = asyncio.get_running_loop().time() + _END
        while self._writing and (left := until - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(tuple(self._writing), timeout=left, return_when=asyncio.FIRST_COMPLETED)
        for task in self._writing:
            task.cancel()

    def _begin(self, work: Awaitable[None]) -> None:
        self._writing.add(task := asyncio.ensure_future(work))
        task.add_done_callback(self._writing.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _gathered(self) -> None:
        try:
            async with asyncio.timeout(_GATHER):
                await self._closing.wait()
        except TimeoutError:
            pass
        arrived, self._arrived = self._arrived, []
        try:
            known = await self._index.acquired_among([(one.artifact, one.blob.digest) for one in arrived])
        except MirrorError as error:
            _LOG.warning("acquisitions_not_looked_up", files=len(arrived), fault=str(error))
            known = frozenset()  # rather twice than never
        for one in arrived:
            if (str(one.artifact), one.blob.digest) not in known:
                self._begin(self._written(one))

    async def _written(self, one: _Arrival) -> None:
        source, facts = one.source, one.facts
        try:
            async with self._room:
                told = await self._told(one)
            # Outside: a licence file is fetched, and written down, like any other.
            texts = await self._kept(one, told)
            await self._recorder.acquired(
                Acquisition(
                    one.artifact, one.blob.digest, one.blob.size, one.at, source.came_from or told.origin, told.public, source.restriction,
                    (facts.gated.value or "") if facts.gated is not None else "", source.declared,
                    told.licenses or (facts.license.value if facts.license is not None else None), texts, facts.evidence,
                )
            )  # fmt: skip
        except MirrorError as error:
            _LOG.warning("acquisition_not_recorded", artifact=str(one.artifact), fault=str(error))

    async def _told(self, one: _Arrival) -> Publication:
        hub = self._hubs.get(one.artifact.project.hub)
        unsaid = Publication(not one.source.restriction)
        if not isinstance(hub, Publishing):
            return unsaid
        try:
            return await hub.publication(one.artifact, one.credential, self._path(one.blob))
        except MirrorError:
            return unsaid

    async def _kept(self, one: _Arrival, told: Publication) -> tuple[LicenceText, ...]:
        """The licence files, in the evidence archive."""
        found = []
        for path, text in told.texts:
            key = (one.artifact.project.identity, one.artifact.revision, path)
            known = self._texts.get(key) if isinstance(text, Artifact) else None
            if known is None:
                try:
                    data = await self._read(text, one.credential, one.facts) if isinstance(text, Artifact) else text
                    known = LicenceText(path, await self._recorder.keep("licence", data))
                except (MirrorError, OSError):
                    continue
                if isinstance(text, Artifact):
                    self._texts[key] = known
                    while len(self._texts) > _REVISIONS:
                        self._texts.popitem(last=False)
            found.append(known)
        return tuple(found)
