"""The mirror tokens that count now: all of them in memory, read anew as soon as one was made or revoked."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import structlog

from mirror.core.errors import MirrorError, Unidentified
from mirror.core.tokens import MirrorToken, TokenIndex, digest
from mirror.proxy.following import Looking

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

log = structlog.get_logger("mirror")


class TokenBook:
    """Tokens by their keyed hash. An index that does not answer leaves them as they were, and says so."""

    def __init__(self, index: TokenIndex, key: bytes) -> None:
        """`key` is the installation's own (32 bytes). Nothing is known before the first `refresh`."""
        self._index, self._key = index, key
        self._state: tuple[int, int] | None = None
        self._tokens: Mapping[str, MirrorToken] = {}
        self._spent: set[str] = set()
        self._failing = False
        self._watching: Looking | None = None

    def check(self, token: str, now: datetime) -> MirrorToken:
        """The token as it is kept. Raises `Unidentified` where it is unknown, revoked or expired.

        One that was seen to be expired stays so, whatever the clock says later.
        """
        found = self._tokens.get(digest(self._key, token))
        if found is None:
            raise Unidentified("unknown", "This mirror knows no such token.")
        if found.revoked_at is not None:
            raise Unidentified("revoked", f"This mirror token ({found.id}) was revoked on {found.revoked_at:%Y-%m-%d}.")
        if found.id in self._spent or not found.alive(now):
            self._spent.add(found.id)
            raise Unidentified("expired", f"This mirror token ({found.id}) expired on {found.expires_at:%Y-%m-%d}.")
        return found

    async def refresh(self) -> bool:
        """Read what was changed; whether anything was. Raises `IndexDown`."""
        state = await self._index.tokens_state()
        if state == self._state:
            return False
        tokens = await self._index.tokens()
        self._tokens, self._state = {one.digest: one for one in tokens}, state
        self._spent &= {one.id for one in tokens}
        return True

    def watch(self, changed: Callable[[], None]) -> None:
        """Look for changes about once a second from now on; `changed` is told of each."""
        self._watching = Looking(partial(self._look, changed))

    async def close(self) -> None:
        """Stop looking."""
        if self._watching is not None:
            await self._watching.close()

    async def _look(self, changed: Callable[[], None]) -> None:
        try:
            if await self.refresh():
                changed()
            self._failing = False
        except MirrorError as error:
            if not self._failing:
                log.error("tokens not read; those known before still count", error=str(error))
            self._failing = True
