"""Core metadata made here, from wheels whose index has none (PEP 658), and kept under the wheel's digest.

Only a whole wheel can be checked against the digest that its page declares. What was read out of a part of one (`making`)
is advertised as what it is, unverified, until the wheel lands: then it is confirmed, or replaced and told (ADR 12).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from mirror.core.errors import HubSaysNo, MirrorError, NotHere, UpstreamGarbage
from mirror.core.nouns import Digest, Document, DocumentKey, Span
from mirror.core.ports import Answer, Ask
from mirror.hubs.pypi.documents import digest
from mirror.hubs.pypi.paths import METADATA
from mirror.hubs.pypi.wheels import MOST, TAIL, NoMetadata, read_metadata

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from mirror.core.ports import Body
    from mirror.hubs.pypi.documents import Listed, Page
    from mirror.proxy.gateway import Gateway

#: Stands behind the digest of metadata that was read out of a part of its wheel.
UNVERIFIED: Final = " unverified"
#: What the index is asked for, byte for byte: a coded variant has other positions.
_PLAIN: Final = {"Accept": "*/*", "Accept-Encoding": "identity"}


class MadeMetadata:
    """The metadata that this mirror made for the wheels of one index."""

    def __init__(self, hub: str, gateway: Gateway) -> None:
        self._hub, self._gateway = hub, gateway
        self._writing = asyncio.Lock()

    # --- pages ----------------------------------------------------------------------------------------------------

    async def of_project(self, project: str) -> Document | None:
        """What was made of the project's wheels: a JSON object, wheel -> metadata, both by SHA-256 (hex).

        A digest with `UNVERIFIED` behind it is that of metadata whose wheel was not verified yet.
        """
        return await self._gateway.last_known(self._list(project))

    def newest(self, project: str) -> Document | None:
        """The same as it is in memory, None where it is not there: `of_project` a moment ago has brought it there."""
        return self._gateway.newest(self._list(project))

    @staticmethod
    def advertised(page: Page, made: Document) -> Page:
        """The page with the hashes of `made` where upstream offers nothing."""
        known: dict[str, str] = json.loads(made.body)
        files = tuple(_with(file, known) for file in page.files)
        by_name = MappingProxyType({file.name: file for file in files})
        by_path = MappingProxyType({file.path: file for file in files})
        return replace(page, files=files, by_name=by_name, by_path=by_path)

    # --- making ---------------------------------------------------------------------------------------------------

    async def learn(self, project: str, file: Listed, body: Body) -> None:
        """Make the metadata of a wheel whose bytes are at hand, once, and confirm or replace what was made of a part of it.

        A wheel that has none to read is left alone.
        """
        wheel = file.sha256
        known = (await self._known(project)).get(wheel.hex, UNVERIFIED) if wheel is not None else ""
        if wheel is None or body.size is None or not known.endswith(UNVERIFIED):
            return

        async def read(span: Span) -> bytes:
            return b"".join([piece async for piece in body.read(span)])

        text: bytes | None = None
        try:
            with suppress(NoMetadata):
                text = await read_metadata(await read(Span(max(0, body.size - TAIL), body.size)), read, body.size)
        except MirrorError:
            return
        # P3: bytes of a wheel that is not verified whole say nothing about the wheel that the page pins.
        if body.verified:
            await self._settle(project, file, wheel, text, known.removesuffix(UNVERIFIED))

    async def _settle(self, project: str, file: Listed, wheel: Digest, text: bytes | None, before: str) -> None:
        """The wheel has spoken. What was advertised of a part of it and is not in it is withdrawn, on the record."""
        if text is not None:
            await self.keep(project, wheel, text)
        elif before:
            await self._drop(project, wheel)
        computed = hashlib.sha256(text).hexdigest() if text is not None else "none"
        if before and before != computed:
            await self._gateway.recorder.fault(file.name + METADATA, f"sha256:{before}", f"sha256:{computed}", self._hub)

    async def document(self, file: Listed) -> Document:
        """The metadata made for `file`. Raises `NotHere`."""
        key = self._one(file.sha256) if file.sha256 is not None else None
        known = await self._gateway.last_known(key) if key is not None else None
        if key is None or known is None:
            raise NotHere(f"{file.name}: no metadata was made")
        # Asked for as a page is, so that it is at hand as evidence; what never ages is never fetched.
        return await self._gateway.document(self._hub, key, Ask(key.target), max_age=None, shared=_never)

    async def keep(self, project: str, wheel: Digest, text: bytes, *, verified: bool = True) -> None:
        """From now on this is the metadata of `wheel`. What is not verified never replaces what is there."""
        computed = hashlib.sha256(text).hexdigest() + ("" if verified else UNVERIFIED)
        async with self._writing:
            known = await self._known(project)
            if verified or wheel.hex not in known:
                await self._put(self._one(wheel), text)
                await self._put(self._list(project), json.dumps(known | {wheel.hex: computed}, sort_keys=True).encode())

    async def _drop(self, project: str, wheel: Digest) -> None:
        async with self._writing:
            known = {key: value for key, value in (await self._known(project)).items() if key != wheel.hex}
            await self._put(self._list(project), json.dumps(known, sort_keys=True).encode())

    async def _known(self, project: str) -> dict[str, str]:
        document = await self.of_project(project)
        return json.loads(document.body) if document is not None else {}

    async def _put(self, key: DocumentKey, body: bytes) -> None:
        computed = Digest("sha256", hashlib.sha256(body).hexdigest())
        await self._gateway.keep_document(Document(key, 200, (), body, computed, self._gateway.clock.now(), None))

    # --- by range -------------------------------------------------------------------------------------------------

    async def by_range(
        self, target: str, size: int | None = None, most: int = MOST
    ) -> tuple[bytes, tuple[str, ...]] | None:
        """(METADATA, digests of the parts that it was read from) by a few small requests; None where that cannot be done.

        `size` is the wheel's length where that is known; `most` bounds each read after the first, which is of `TAIL` bytes.
        Raises `UpstreamDown`. The bytes are parts, so nothing vouches for them.
        """
        try:
            parts = [await self._part(target, f"bytes=-{TAIL}", TAIL)]

            async def read(span: Span) -> bytes:
                if len(span) > most or not len(span):
                    raise NoMetadata("too much to ask for")
                parts.append(await self._part(target, f"bytes={span.start}-{span.stop - 1}", len(span)))
                return parts[-1].body

            text = await read_metadata(parts[0].body, read, size)
            return text, tuple(part.digest.hex for part in parts)
        except (NoMetadata, NotHere, HubSaysNo, UpstreamGarbage):
            return None

    async def _part(self, target: str, wanted: str, size: int) -> Document:
        key = DocumentKey(self._hub, target, variant=wanted)
        # A server that ignores the range is left after so many bytes of its wheel.
        ask = Ask(target, headers={**_PLAIN, "Range": wanted}, follow=True, max_bytes=size)
        document = await self._gateway.document(self._hub, key, ask, max_age=None, shared=_partial)
        if document.status != 206:
            raise NoMetadata(f"answered {document.status}")
        return document

    # --- keys: none of them can be a path of an index, whose paths begin with a slash ---------------------------------

    def _list(self, project: str) -> DocumentKey:
        return DocumentKey(self._hub, f"made:{project}")

    def _one(self, wheel: Digest) -> DocumentKey:
        return DocumentKey(self._hub, f"made:{wheel}.metadata")


@dataclass(frozen=True, slots=True)
class PageBody:
    """A small document as a `core.ports.Body`, so that ranges and conditions are answered as for any file."""

    document: Document
    headers: tuple[tuple[str, str], ...] = ()
    verified: bool = True
    origin: str = "hit"

    @property
    def size(self) -> int | None:
        """Length in bytes."""
        return len(self.document.body)

    @property
    def etag(self) -> str:
        """Made of the digest."""
        return f'"{self.document.digest.hex}"'

    @property
    def path(self) -> Path | None:
        """There is no file."""
        return None

    async def read(self, span: Span) -> AsyncIterator[bytes]:
        """The bytes of `span`."""
        yield self.document.body[span.start : span.stop]

    async def close(self) -> None:
        """Nothing is held."""


def _with(file: Listed, known: Mapping[str, str]) -> Listed:
    noted = known.get(file.sha256.hex) if file.sha256 is not None and file.lacks_metadata else None
    if noted is None:
        return file
    computed = noted.removesuffix(UNVERIFIED)
    raw = MappingProxyType({**file.raw, "core-metadata": {"sha256": computed}})
    unverified = computed != noted
    return replace(file, has_metadata=True, made=True, unverified=unverified, metadata=digest(computed), raw=raw)


def _never(answer: Answer) -> bool:
    raise UpstreamGarbage(answer.upstream, "was asked for what is made here")


def _partial(answer: Answer) -> bool:
    """Only a 206 is a part. Raises `UpstreamGarbage`: a server without ranges gave the whole, and that is not kept here."""
    if answer.status != 206:
        raise UpstreamGarbage(answer.upstream, f"answered {answer.status} where a part was asked for")
    return True


__all__ = ["UNVERIFIED", "MadeMetadata", "PageBody"]
