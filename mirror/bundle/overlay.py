"""The index as it will be once a bundle is taken in, for judging before anything is written: its rows, and behind them what is here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from mirror.bundle.contents import EntryRow, GrantRow, PageRow, PlaceRow, Row, entry_of, grant_of, page_of, place_of
from mirror.core.nouns import Document, DocumentKey, Entry
from mirror.core.ports import DocumentIndex, EntryIndex, Grant, GrantIndex, Place, PlaceIndex


class Known(DocumentIndex, EntryIndex, GrantIndex, PlaceIndex, Protocol):
    """What is here."""

    async def held(self, identities: Sequence[str]) -> frozenset[str]:
        """Those of these artifacts that have an entry."""


class Overlay:
    """`Known`, to be read. `body` gives the bytes of a page by SHA-256 (hex), `hubs` our name of each of the sender's.

    What is put is forgotten. Rows of a hub that we have not are not there.
    """

    def __init__(self, rows: Iterable[Row], hubs: Mapping[str, str], body: Callable[[str], bytes], below: Known, now: datetime) -> None:
        self._hubs, self._body, self._below = hubs, body, below
        self._pages: dict[DocumentKey, PageRow] = {}
        self._entries: dict[str, Entry] = {}
        self._grants: dict[tuple[str, str], Grant] = {}
        self._places: dict[tuple[str, str], Place] = {}
        for row in rows:
            self._add(row, now)

    def _add(self, row: Row, now: datetime) -> None:
        hubs = self._hubs
        match row:
            case PageRow() if row.hub in hubs:
                self._pages[DocumentKey(hubs[row.hub], row.target, row.scope, row.variant)] = row
            case EntryRow() if row.artifact.hub in hubs:
                entry = entry_of(row, hubs, now)
                self._entries[entry.artifact.identity] = entry
            case GrantRow() if row.project.hub in hubs:
                grant = grant_of(row, hubs)
                self._grants[grant.credential, grant.project] = grant
            case PlaceRow() if row.artifact.hub in hubs:
                place = place_of(row, hubs)
                self._places[place.hub, place.path] = place
            case _:
                pass

    async def get_document(self, key: DocumentKey) -> Document | None:
        """See `core.ports.DocumentIndex`."""
        row = self._pages.get(key)
        return await self._below.get_document(key) if row is None else page_of(row, self._body(row.sha256), self._hubs)

    async def put_document(self, document: Document) -> None:
        """Nothing is kept."""

    async def get_entry(self, identity: str) -> Entry | None:
        """See `core.ports.EntryIndex`."""
        found = self._entries.get(identity)
        return await self._below.get_entry(identity) if found is None else found

    async def put_entry(self, entry: Entry) -> None:
        """Nothing is kept."""

    async def touch_entries(self, used: Mapping[str, datetime]) -> None:
        """Nothing is used."""

    async def forget_entry(self, identity: str) -> None:
        """Nothing is forgotten."""

    async def get_grant(self, credential: str, project: str) -> Grant | None:
        """See `core.ports.GrantIndex`."""
        found = self._grants.get((credential, project))
        return await self._below.get_grant(credential, project) if found is None else found

    async def put_grant(self, grant: Grant) -> None:
        """Nothing is kept."""

    async def get_place(self, hub: str, path: str) -> Place | None:
        """See `core.ports.PlaceIndex`."""
        found = self._places.get((hub, path))
        return await self._below.get_place(hub, path) if found is None else found

    async def put_places(self, places: Sequence[Place]) -> None:
        """Nothing is kept."""

    async def held(self, identities: Sequence[str]) -> frozenset[str]:
        """Those of these artifacts that have an entry."""
        below = await self._below.held(identities)
        return below | frozenset(identity for identity in identities if identity in self._entries)
