"""Mutable upstream pages: kept verbatim, revalidated, shared only where anybody may see them, stale in an outage."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from mirror.audit.redaction import redacted
from mirror.core.errors import NotHere, QuotaSpent, UpstreamDown
from mirror.core.nouns import Digest, Document, DocumentKey
from mirror.core.ports import Answer, Ask, Clock, DocumentIndex, Upstream
from mirror.proxy.tuning import PATIENCE

#: Response headers worth keeping with a page; everything else is about the connection, the quota or the caller.
KEPT_HEADERS: Final = frozenset(
    {
        "content-type", "etag", "last-modified", "link", "location", "x-repo-commit", "x-total-count", "x-error-code",
        "x-error-message", "x-linked-etag", "x-linked-size", "x-pypi-last-serial", "content-disposition",
        "content-length", "accept-ranges", "www-authenticate", "x-amz-meta-digest",
    }
)  # fmt: skip
#: How long an upstream that did not answer is not asked again while a last known page can be given.
HOLD_OFF: Final = timedelta(seconds=5)
#: The part of a client's patience for which upstream is waited for where a last known page can be given: one request may
#: need several pages, and a file after them.
WITH_KNOWN: Final = 1 / 3
#: For which part of its life again, and at most how long, a good page is still given at once while it is being asked for
#: anew behind its readers (RFC 5861 section 3): for a page that is asked for all the time nobody waits. A life shorter
#: than `BRIEF` is short because somebody waits for the change.
BEHIND: Final = 1 / 20
BEHIND_MOST: Final = timedelta(seconds=30)
BRIEF: Final = timedelta(minutes=2)
_MEMORY: Final = 64 * 1024 * 1024
#: How many keys are known to be in nobody's index, so that a warm request runs no SQL.
_ABSENT: Final = 20_000

#: Under which scope an answer to the organisation's own token is kept when it is not public.
SERVICE_SCOPE: Final = "service"

Shared = Callable[[Answer], bool]


class Documents:
    """Pages by key. One upstream request for a page however many ask; a memory of bounded size in front of the index."""

    def __init__(
        self,
        index: DocumentIndex,
        upstreams: Mapping[str, Upstream],
        clock: Clock,
        *,
        offline: bool,
        memory: int = _MEMORY,
        patience: Mapping[str, float] | None = None,
    ) -> None:
        """`patience` is by the name of a hub: seconds that its clients wait for the head of an answer."""
        self._index, self._upstreams, self._clock, self._offline = index, upstreams, clock, offline
        self._memory: OrderedDict[DocumentKey, Document] = OrderedDict()
        self._absent: OrderedDict[DocumentKey, None] = OrderedDict()
        self._room = memory
        self._under_way: dict[DocumentKey, asyncio.Task[Document]] = {}
        self._writing: dict[DocumentKey, asyncio.Task[None]] = {}
        self._hold_off: dict[str, float] = {}
        self._patience = patience or {}

    async def get(
        self,
        hub: str,
        key: DocumentKey,
        ask: Ask,
        *,
        max_age: timedelta | None,
        negative_age: timedelta = timedelta(seconds=10),
        shared: Shared,
    ) -> Document:
        """The page: fresh from the cache, else from upstream, else the last known one when upstream is down or slow.

        One whose life ended a moment ago (`BEHIND`) is given as it is, and asked for anew behind it.
        A page that `shared` does not call public is kept under `key.scope`. 401, 403, 429 and 5xx are never kept.
        Raises `NotHere(offline=True)` when nothing is known and upstream may not be asked, and what `Upstream.ask` raises.
        """
        now = self._clock.now()
        known = await self.last_known(key)
        if known is not None and known.fresh(now):
            return known
        if self._offline:
            if known is None:
                raise NotHere(key.target, offline=True)
            return known
        if known is not None and self.held_off(hub):
            return known
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.create_task(self._fetch(hub, key, ask, known, max_age, negative_age, shared))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
            task.add_done_callback(_retrieved)
        if known is not None and _just_over(known, now):
            return known
        if known is not None:
            done, _ = await asyncio.wait((task,), timeout=self._patience.get(hub, PATIENCE) * WITH_KNOWN)
            if not done:  # the search goes on and ends in the cache
                self._hold(hub)
                return known
        return await asyncio.shield(task)

    async def last_known(self, key: DocumentKey) -> Document | None:
        """The page as last stored, however old: the public one, or the one under the key's own scope if that is newer."""
        public = await self._recall(replace(key, scope=""))
        own = await self._recall(key) if key.scope else None
        if public is None or own is None:
            return own or public
        return own if own.fetched_at > public.fetched_at else public

    def newest(self, key: DocumentKey) -> Document | None:
        """The page under exactly this key, if it is in memory. What was stored since it was dropped from there is."""
        return self._memory.get(key)

    async def _recall(self, key: DocumentKey) -> Document | None:
        """The page under exactly this key, from memory or the index. That there is none is remembered too."""
        if key in self._memory:
            self._memory.move_to_end(key)
            return self._memory[key]
        if key in self._absent:
            return None
        document = await self._index.get_document(key)
        if key in self._memory:
            return self._memory[key]  # another caller's request ended while the index was read
        if document is not None:
            self._remember(document)
        else:
            self._absent[key] = None
            while len(self._absent) > _ABSENT:
                self._absent.popitem(last=False)
        return document

    async def put(self, document: Document) -> None:
        """Keep a page that was learnt by other means (a HEAD's answer, a bundle)."""
        self._write_behind(document)
        await asyncio.shield(self._writing[document.key])

    async def written(self) -> None:
        """Wait until the pages that were given out are in the index, as far as it takes them."""
        if self._writing:
            await asyncio.wait(tuple(self._writing.values()))

    def _write_behind(self, document: Document) -> None:
        """Keep a page in memory at once and in the index a moment later: whoever waits for it need not wait for the disk."""
        self._remember(document)
        key = document.key
        task = self._writing[key] = asyncio.create_task(self._write(document, self._writing.get(key)))
        task.add_done_callback(lambda done: self._writing.pop(key) if self._writing.get(key) is done else None)
        task.add_done_callback(_retrieved)

    async def _write(self, document: Document, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})  # of two pages under one key the newer one stays
        if redacted(document.key.target) == document.key.target:  # a secret in somebody's query stays off the disk
            await self._index.put_document(document)

    def renew(self) -> None:
        """Others wrote to the index: what is remembered of it no longer counts."""
        self._room += sum(len(document.body) for document in self._memory.values())
        self._memory.clear()
        self._absent.clear()

    def held_off(self, hub: str) -> bool:
        """Whether `hub` did not answer just now, so that whoever knows another way should not wait for it again."""
        return asyncio.get_running_loop().time() < self._hold_off.get(hub, 0.0)

    def _hold(self, hub: str) -> None:
        self._hold_off[hub] = asyncio.get_running_loop().time() + HOLD_OFF.total_seconds()

    async def _fetch(
        self,
        hub: str,
        key: DocumentKey,
        ask: Ask,
        known: Document | None,
        max_age: timedelta | None,
        negative_age: timedelta,
        shared: Shared,
    ) -> Document:
        try:
            answer = await self._upstreams[hub].ask(_conditional(ask, known))
        except UpstreamDown as down:
            if not isinstance(down, QuotaSpent):  # the quota of one name: the others are not kept from asking
                self._hold(hub)
            if known is not None:
                return known
            raise
        self._hold_off.pop(hub, None)
        now = self._clock.now()
        if answer.status == 304 and known is not None:
            document = replace(known, fetched_at=now, max_age=max_age)
            self._write_behind(document)
            return document
        anonymous = ask.credential is None and not ask.use_service_token
        public = answer.status < 300 and shared(answer)  # may raise: what makes no sense is never kept
        scope = "" if anonymous or public else key.scope or SERVICE_SCOPE
        positive = answer.status < 400
        document = Document(
            key=replace(key, scope=scope),
            status=answer.status,
            headers=tuple((name, value) for name, value in answer.headers if name in KEPT_HEADERS),
            body=answer.body,
            digest=Digest("sha256", hashlib.sha256(answer.body).hexdigest()),
            fetched_at=now,
            max_age=max_age if positive else negative_age,
        )
        # A "not found" never replaces a page that was good: what the hub pulled stays known (the dialect decides what
        # that means). Other refusals and failures are never kept.
        if positive or (answer.status in (404, 410) and (known is None or known.status >= 400)):
            self._write_behind(document)
        return document

    def _remember(self, document: Document) -> None:
        self._absent.pop(document.key, None)
        old = self._memory.pop(document.key, None)
        if old is not None:
            self._room += len(old.body)
        self._memory[document.key] = document
        self._room -= len(document.body)
        while self._room < 0 and self._memory:
            _, dropped = self._memory.popitem(last=False)
            self._room += len(dropped.body)


def _just_over(known: Document, now: datetime) -> bool:
    """Whether the life of a good page ended a moment ago."""
    if known.status != 200 or known.max_age is None or known.max_age < BRIEF:
        return False
    return known.max_age <= now - known.fetched_at < known.max_age + min(known.max_age * BEHIND, BEHIND_MOST)


def _conditional(ask: Ask, known: Document | None) -> Ask:
    """RFC 9110 section 13: revalidate with the validators that upstream gave, for a page that was good."""
    if known is None or known.status != 200 or ask.method != "GET":
        return ask
    headers = dict(ask.headers)
    etag, modified = known.header("etag"), known.header("last-modified")
    if etag:
        headers["If-None-Match"] = etag
    elif modified:
        headers["If-Modified-Since"] = modified
    return replace(ask, headers=headers)


def _retrieved(task: asyncio.Task[Document] | asyncio.Task[None]) -> None:
    """Mark the outcome as seen: every waiter may have left before it came."""
    if not task.cancelled():
        task.exception()
