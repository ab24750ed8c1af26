"""What a first request for a file will need, asked for beside the page of its repository: HEAD on the file itself.

The answer tells whether anybody may read the repository, at which commit, and where the hub sends for the bytes. It is
used only where the page, which comes at the same time, speaks of the same commit and of a repository that is everybody's;
else it is as if nobody had asked. No byte of a file comes this way, and nothing is promised by it (P1): a request that is
refused afterwards has fetched nothing.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from mirror.core.errors import MirrorError
from mirror.core.ports import Ask
from mirror.hubs.huggingface.options import public_bearer

if TYPE_CHECKING:
    from datetime import datetime

    from mirror.core.ports import Answer, Clock, Upstream
    from mirror.hubs.huggingface.documents import HubFile, RepoPage
    from mirror.hubs.huggingface.options import Options
    from mirror.hubs.huggingface.paths import Repo

#: How long an answer may stand for the hub's leave, and how long the address that it gave may be used.
LEAVE: Final = timedelta(seconds=10)
ADDRESS: Final = timedelta(seconds=60)
_KEPT: Final = 1024
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

_Name = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Asked:
    at: datetime
    path: str
    task: asyncio.Task[Answer | None]


class Ahead:
    """Answers to HEAD of the last minute, by repository as it was asked for. Always asked as anybody may."""

    def __init__(self, upstream: Upstream, options: Options, clock: Clock) -> None:
        """Of one instance."""
        self._upstream, self._options, self._clock = upstream, options, clock
        self._asked: OrderedDict[tuple[_Name, str], _Asked] = OrderedDict()
        self._last: OrderedDict[_Name, _Asked] = OrderedDict()

    def ask(self, repo: Repo, revision: str, path: str) -> bool:
        """Begin to ask for a file, unless that was done a moment ago; whether it is being asked for now."""
        now, name = self._clock.now(), (str(repo.kind), repo.name.casefold())
        known = self._asked.get((name, path))
        if known is not None and abs(now - known.at) < ADDRESS:
            return False
        ask = public_bearer(self._options).on(Ask(repo.file("resolve", revision, path), "HEAD"))
        asked = _Asked(now, path, asyncio.create_task(self._head(ask)))
        self._asked[name, path] = self._last[name] = asked
        self._last.move_to_end(name)
        while len(self._asked) > _KEPT:
            self._asked.popitem(last=False)
        while len(self._last) > _KEPT:
            self._last.popitem(last=False)
        return True

    def asked(self, page: RepoPage) -> bool:
        """Whether the hub was just asked, so that what it said earlier need not be looked up."""
        asked = self._last.get(_name(page))
        return asked is not None and page.public and abs(self._clock.now() - asked.at) < LEAVE

    async def answer(self, page: RepoPage) -> Answer | None:
        """The hub's leave to read this very commit, given a moment ago to anybody, once; None where it has to be asked for."""
        if not self.asked(page):
            return None
        asked = self._last.pop(_name(page))
        answer = await asyncio.shield(asked.task)
        return answer if answer is not None and answer.status < 400 and answer.header("x-repo-commit") == page.commit else None

    def led_to(self, page: RepoPage, file: HubFile) -> str:
        """The address to which the hub just sent for this file of this commit; empty where it did not. It may be signed."""
        asked = self._asked.get((_name(page), file.path))
        if asked is None or abs(self._clock.now() - asked.at) >= ADDRESS or not page.public or not asked.task.done():
            return ""
        answer = None if asked.task.cancelled() else asked.task.result()
        if answer is None or file.sha256 is None or answer.status not in _REDIRECTS or answer.header("x-repo-commit") != page.commit:
            return ""
        told, place = answer.header("x-linked-etag") or "", answer.header("location") or ""
        same = told.removeprefix("W/").strip('"').lower() == file.sha256
        return place if same and urlsplit(place).scheme in ("http", "https") else ""

    async def _head(self, ask: Ask) -> Answer | None:
        try:
            return await self._upstream.ask(ask)
        except MirrorError:
            return None  # whoever needs it asks again, and hears why


def _name(page: RepoPage) -> _Name:
    return str(page.project.kind), page.project.name.casefold()
