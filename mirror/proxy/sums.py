"""The digests of a file, computed front to back as it arrives."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Final

from mirror.core.nouns import Digest

#: Longer pieces are hashed in a thread; hashlib lets the interpreter go on meanwhile.
_INLINE: Final = 64 * 1024


class Sums:
    r"""SHA-256 always (the blob's name); with `git` also SHA-1 of `blob N\0` and the bytes (git's object id)."""

    def __init__(self, *, git: bool) -> None:
        self.position = 0
        self.git = git
        self._sha256 = hashlib.sha256()
        self._sha1: hashlib._Hash | None = None

    def begin(self, size: int | None) -> None:
        """Tell the file's length, which git hashes first. Needed before `update` if `git`; fine to repeat."""
        if self.git and self._sha1 is None:
            self._sha1 = hashlib.sha1(b"blob %d\0" % (size or 0), usedforsecurity=False)

    async def update(self, data: bytes) -> None:
        """The next bytes."""
        if len(data) > _INLINE:
            await asyncio.to_thread(self._update, data)
        else:
            self._update(data)

    def digest(self, declared: Digest | None) -> Digest:
        """What was found, in the algorithm of `declared` (None: SHA-256)."""
        if declared is not None and self._sha1 is not None:
            return Digest("git-sha1", self._sha1.hexdigest())
        return Digest("sha256", self._sha256.hexdigest())

    def _update(self, data: bytes) -> None:
        self._sha256.update(data)
        if self._sha1 is not None:
            self._sha1.update(data)
        self.position += len(data)
