"""Core metadata read out of wheels that are not here yet, in the background, for pages whose index has none (ADR 12).

An index without `.metadata` makes pip download whole wheels only to learn what they need. A wheel says it in its last
bytes (`wheels`), so a few of the newest are asked for by range once their page was asked for - never while a client
waits, never of a file that is refused, and within bounds. What comes of it is marked unverified until the wheel is here.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import structlog
from packaging.utils import canonicalize_name, canonicalize_version
from packaging.version import Version

from mirror.core.errors import MirrorError
from mirror.core.nouns import PYPI
from mirror.hubs.pypi.facts import identity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.core.actor import Actor
    from mirror.hubs.pypi.documents import Listed
    from mirror.hubs.pypi.hub import PypiHub, Sheet
    from mirror.hubs.pypi.judgement import Judgement
    from mirror.proxy.gateway import Gateway

#: Of how many releases of a project, the newest first, wheels are read; of how many wheels after one request for its page;
#: and after how many that gave nothing a run ends, for an index without ranges gives nothing at all.
RELEASES: Final = 3
WHEELS: Final = 8
_IN_VAIN: Final = 2
#: Most bytes of one read after the wheel's end: P3 lets no more of a file leave unverified.
_MOST: Final = 1024 * 1024
#: How many projects at once; how many wheels are remembered as read, and for how many seconds.
_AT_ONCE: Final = 2
_REMEMBERED: Final = 10_000
_AGAIN: Final = 3600.0

_LOG = structlog.get_logger("mirror.pypi")


class Making:
    """The background reads of one index. One run a project at a time."""

    def __init__(self, hub: PypiHub, gateway: Gateway) -> None:
        self._hub, self._gateway = hub, gateway
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tried: OrderedDict[str, float] = OrderedDict()
        self._turn = asyncio.Semaphore(_AT_ONCE)

    def begin(self, actor: Actor, sheet: Sheet, judgement: Judgement) -> None:
        """Start reading, if anything is lacking that `actor` would be served. Returns at once."""
        project, gateway = sheet.page.project, self._gateway
        if not sheet.page.lacking or project in self._running or gateway.offline or gateway.held_off(self._hub.name):
            return
        now = asyncio.get_running_loop().time()
        refused = {artifact.path for artifact, _ in judgement.left_out} | set(judgement.marked)
        wanted = [file for file in lacking(sheet.page.files) if file.name not in refused and self._due(file, now)]
        if wanted:
            task = asyncio.create_task(self._run(actor, sheet, wanted[:WHEELS]), name=f"metadata of {project}")
            self._running[project] = task
            task.add_done_callback(lambda _: self._running.pop(project, None))

    def _due(self, file: Listed, now: float) -> bool:
        return self._tried.get(_key(file), -_AGAIN) + _AGAIN <= now

    def _note(self, file: Listed) -> None:
        self._tried[_key(file)] = asyncio.get_running_loop().time()
        self._tried.move_to_end(_key(file))
        if len(self._tried) > _REMEMBERED:
            self._tried.popitem(last=False)

    async def _run(self, actor: Actor, sheet: Sheet, wanted: Sequence[Listed]) -> None:
        in_vain = 0
        async with self._turn:
            for file in wanted:
                self._note(file)
                try:
                    in_vain += not await self._read(actor, sheet, file)
                except (MirrorError, OSError, RuntimeError) as error:  # the last: the mirror is closing
                    _LOG.info("metadata_not_made", file=file.name, why=str(error))
                    return
                if in_vain == _IN_VAIN:
                    return

    async def _read(self, actor: Actor, sheet: Sheet, file: Listed) -> bool:
        """Whether the metadata of `file` was made. It is judged first as a request for it would be, with every fact."""
        artifact = self._hub.artifact(sheet.page, file)
        facts = await self._hub.describe(artifact, actor.credential, self._gateway.needs(PYPI))
        verdict = await self._gateway.judge(actor, artifact, facts)
        if not verdict.effect.serves or file.sha256 is None:
            return False
        found = await self._hub.made.by_range(self._hub.target(file.url), file.size, _MOST)
        if found is None or len(found[0]) > _MOST:
            return False
        name, version = identity(found[0])
        named = (canonicalize_name(name), canonicalize_version(version))
        if named != (sheet.page.project, canonicalize_version(artifact.revision)):
            return False
        # A small wheel came whole, and its digest vouches for it.
        verified = file.sha256.hex in found[1]
        if not verified and not self._hub.settings.unverified:
            return False
        await self._hub.made.keep(sheet.page.project, file.sha256, found[0], verified=verified)
        return True


def lacking(files: Sequence[Listed]) -> list[Listed]:
    """The wheels without metadata of the `RELEASES` newest releases, newest first; final ones before pre-releases.

    Yanked files (PEP 592) are left out: nobody takes them unless told to.
    """
    listed = [(file, file.distribution.version) for file in files if file.distribution is not None and not file.yanked]
    versions = {version: Version(version) for _, version in listed}
    newest = sorted(versions, key=lambda text: (not versions[text].is_prerelease, versions[text]), reverse=True)
    places = {version: place for place, version in enumerate(newest[:RELEASES])}
    chosen = [(places[version], file) for file, version in listed if version in places and file.lacks_metadata]
    return [file for _, file in sorted(chosen, key=lambda pair: pair[0])]


def _key(file: Listed) -> str:
    return file.sha256.hex if file.sha256 is not None else file.path


__all__ = ["RELEASES", "WHEELS", "Making", "lacking"]
