"""Core metadata made here, from wheels whose index has none (PEP 658), and kept under the wheel's digest.

Only a whole wheel can be checked against the digest that its page declares, so what is advertised comes from a wheel
that the store holds verified. A part read by range is good enough for a rule and is never advertised.
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
from mirror.hubs.pypi.wheels import MOST, TAIL, NoMetadata, read_metadata

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from mirror.core.ports import Body
    from mirror.hubs.pypi.documents import Listed, Page
    from mirror.proxy.gateway import Gateway

#: What the index is asked for, byte for byte: a coded variant has other positions.
_PLAIN: Final = {"Accept": "*/*", "Accept-Encoding": "identity"}


class MadeMetadata:
    """The metadata that this mirror made for the wheels of one index."""

    def __init__(self, hub: str, gateway: Gateway) -> None:
        self._hub, self._gateway = hub, gateway
        self._writing = asyncio.Lock()

    # --- pages ----------------------------------------------------------------------------------------------------

    async def of_project(self, project: str) -> Document | None:
        """What was made of the project's wheels: a JSON object, wheel -> metadata, both by SHA-256 (hex)."""
        return await self._gateway.last_known(self._list(project))

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
        """Make the metadata of a wheel whose bytes are at hand, once. A wheel that has none to read is left alone."""
        wheel = file.sha256
        if wheel is None or body.size is None or wheel.hex in await self._known(project):
            return

        async def read(span: Span) -> bytes:
            return b"".join([piece async for piece in body.read(span)])

        with suppress(NoMetadata, MirrorError):
            text = await read_metadata(await read(Span(max(0, body.size - TAIL), body.size)), read)
            # P3: bytes of a wheel that is not verified whole say nothing about the wheel that the page pins.
            if body.verified:
                await self._keep(project, wheel, text)

    async def document(self, file: Listed) -> Document:
        """The metadata made for `file`. Raises `NotHere`."""
        key = self._one(file.sha256) if file.sha256 is not None else None
        known = await self._gateway.last_known(key) if key is not None else None
        if key is None or known is None:
            raise NotHere(f"{file.name}: no metadata was made")
        # Asked for as a page is, so that it is at hand as evidence; what never ages is never fetched.
        return await self._gateway.document(self._hub, key, Ask(key.target), max_age=None, shared=_never)

    async def _keep(self, project: str, wheel: Digest, text: bytes) -> None:
        computed = hashlib.sha256(text).hexdigest()
        async with self._writing:
            await self._put(self._one(wheel), text)
            known = {**await self._known(project), wheel.hex: computed}
            await self._put(self._list(project), json.dumps(known, sort_keys=True).encode())

    async def _known(self, project: str) -> dict[str, str]:
        document = await self.of_project(project)
        return json.loads(document.body) if document is not None else {}

    async def _put(self, key: DocumentKey, body: bytes) -> None:
        computed = Digest("sha256", hashlib.sha256(body).hexdigest())
        await self._gateway.keep_document(Document(key, 200, (), body, computed, self._gateway.clock.now(), None))

    # --- by range -------------------------------------------------------------------------------------------------

    async def by_range(self, target: str) -> tuple[bytes, tuple[str, ...]] | None:
        """(METADATA, digests of the parts that it was read from) by a few small requests; None where that cannot be done.

        Raises `UpstreamDown`. The bytes are a part, so nothing vouches for them: good for a rule, not for a client.
        """
        try:
            parts = [await self._part(target, f"bytes=-{TAIL}")]

            async def read(span: Span) -> bytes:
                if len(span) > MOST or not len(span):
                    raise NoMetadata("too much to ask for")
                parts.append(await self._part(target, f"bytes={span.start}-{span.stop - 1}"))
                return parts[-1].body

            text = await read_metadata(parts[0].body, read)
            return text, tuple(part.digest.hex for part in parts)
        except (NoMetadata, NotHere, HubSaysNo, UpstreamGarbage):
            return None

    async def _part(self, target: str, wanted: str) -> Document:
        key = DocumentKey(self._hub, target, variant=wanted)
        ask = Ask(target, headers={**_PLAIN, "Range": wanted}, follow=True, max_bytes=MOST)
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
    computed = known.get(file.sha256.hex) if file.sha256 is not None and file.lacks_metadata else None
    if computed is None:
        return file
    raw = MappingProxyType({**file.raw, "core-metadata": {"sha256": computed}})
    return replace(file, has_metadata=True, made=True, metadata=digest(computed), raw=raw)


def _never(answer: Answer) -> bool:
    raise UpstreamGarbage(answer.upstream, "was asked for what is made here")


def _partial(answer: Answer) -> bool:
    """Only a 206 is a part. Raises `UpstreamGarbage`: a server without ranges gave the whole, and that is not kept here."""
    if answer.status != 206:
        raise UpstreamGarbage(answer.upstream, f"answered {answer.status} where a part was asked for")
    return True


__all__ = ["MadeMetadata", "PageBody"]
