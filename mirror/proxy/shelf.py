"""Names joined to bytes: which blob an artifact is, looked up before anything is fetched."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from mirror.core.nouns import Artifact, Blob, Digest, Entry
from mirror.core.ports import Blobs, Clock, EntryIndex, Source

_REMEMBERED: Final = 20_000
#: Last uses are written down together, this many at a time, or those of this long: eviction goes by what is written.
_USES: Final = 256
_WITHIN: Final = timedelta(minutes=1)
#: Names that are being looked for ahead.
_SOUGHT: Final = 256


class EntryNames(EntryIndex, Protocol):
    """Entries that can be looked for many at once."""

    async def held(self, identities: Sequence[str]) -> frozenset[str]:
        """Those of these artifacts that have an entry. Raises `IndexDown`."""


class Shelf:
    """Entries in memory in front of the index; a broken one is a miss (P9)."""

    def __init__(self, entries: EntryNames, store: Blobs, clock: Clock) -> None:
        self._entries, self._store, self._clock = entries, store, clock
        self._known: OrderedDict[str, Entry] = OrderedDict()
        self._names: dict[Digest, set[str]] = {}  # of `_known`, by bytes
        self._used: dict[str, datetime] = {}
        self._sought: dict[str, asyncio.Task[Entry | None]] = {}
        self._written = clock.now()

    async def find(self, artifact: Artifact, source: Source) -> Blob | None:
        """The blob that `artifact` is, if it is here whole and is what `source` declares now.

        The same bytes may have come under another name: one blob serves every name that the caller may read.
        """
        entry = await self._entry(artifact)
        if entry is not None and (source.declared is None or source.declared in (entry.declared, entry.blob.digest)):
            blob = await self._store.find(entry.blob.digest)
            if blob is not None and blob.size == entry.blob.size:
                return blob
            self.forget(entry.blob.digest)  # by whomever it was removed: with the bytes go their names
        if source.declared is None or source.declared.algorithm != "sha256":
            return None
        blob = await self._store.find(source.declared)
        if blob is not None:
            await self.put(artifact, blob, source)
        return blob

    def expect(self, artifact: Artifact) -> None:
        """Begin to look for a name that `find` will soon be asked for."""
        name = artifact.identity
        if name in self._known or name in self._sought:
            return
        while len(self._sought) >= _SOUGHT:
            self._sought.pop(next(iter(self._sought))).cancel()
        self._sought[name] = task = asyncio.create_task(self._entries.get_entry(name))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def put(self, artifact: Artifact, blob: Blob, source: Source) -> None:
        """Join a name to bytes, with what the hub restricts remembered beside them (P11)."""
        entry = Entry(artifact, blob, source.headers, self._clock.now(), source.declared, source.restriction)
        await self._entries.put_entry(entry)
        self._remember(entry)

    async def used(self, artifact: Artifact) -> None:
        """A hit was served."""
        now = self._clock.now()
        self.seen(artifact.identity, now)
        if len(self._used) >= _USES or abs(now - self._written) >= _WITHIN:
            await self.flush()

    def seen(self, entry: str, now: datetime) -> None:
        """A hit was served at `now` from an entry of this identity; the next `used` writes it down."""
        self._used[entry] = now

    async def flush(self) -> None:
        """Write down when entries were last used."""
        used, self._used, self._written = self._used, {}, self._clock.now()
        if used:
            await asyncio.shield(self._entries.touch_entries(used))

    def forget(self, digest: Digest) -> None:
        """A blob was removed, and its names with it. Bytes that come back come under the names that then ask for them."""
        for identity in self._names.pop(digest, ()):
            self._known.pop(identity, None)

    async def held(self, identities: Sequence[str]) -> frozenset[str]:
        """Those of these artifacts (`Artifact.identity`) that are here. Raises `IndexDown`."""
        return await self._entries.held(identities)

    def renew(self) -> None:
        """Others wrote to the index: what is remembered of it no longer counts."""
        self._known.clear()
        self._names.clear()

    async def _entry(self, artifact: Artifact) -> Entry | None:
        entry = self._known.get(artifact.identity)
        if entry is None:
            sought = self._sought.pop(artifact.identity, None)
            entry = await (self._entries.get_entry(artifact.identity) if sought is None else sought)
            entry = self._known.get(artifact.identity, entry)  # it may have come meanwhile
            if entry is not None:
                self._remember(entry)
        return entry

    def _remember(self, entry: Entry) -> None:
        self._drop(entry.artifact.identity)
        self._known[entry.artifact.identity] = entry
        self._names.setdefault(entry.blob.digest, set()).add(entry.artifact.identity)
        while len(self._known) > _REMEMBERED:
            self._drop(next(iter(self._known)))

    def _drop(self, identity: str) -> None:
        entry = self._known.pop(identity, None)
        if entry is not None and (names := self._names.get(entry.blob.digest)) is not None:
            names.discard(identity)
            if not names:
                del self._names[entry.blob.digest]
