"""From which countries the hub was seen to withhold a project's files (P11).

The hub names no countries; it refuses whoever asks from the wrong one. Where the mirror knows from which country it asks
(`hubs.NAME.country`), a refusal teaches that this country is blocked, and an answer that it is not. What was learnt elsewhere
- before the mirror moved, or by another one on the same index - stays true of clients who are there.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from mirror.core.ports import Grant

if TYPE_CHECKING:
    from mirror.hubs.huggingface.options import Options
    from mirror.proxy.gateway import Gateway

#: In place of a credential's fingerprint (hex digits): the row of grants that keeps a project's blocked countries.
_HOLDER: Final = "region"
#: How long an answer of the index counts, so that a warm request asks it nothing; and how many are kept.
_KEPT_FOR: Final = timedelta(minutes=1)
_REMEMBERED: Final = 20_000


class Regions:
    """What was learnt, in the index beside the grants it was learnt with."""

    def __init__(self, gateway: Gateway, options: Options) -> None:
        """`options.country` None: nothing is learnt, and what another mirror has learnt still counts."""
        self._gateway, self._country = gateway, options.country
        self._known: OrderedDict[str, tuple[datetime, tuple[str, ...]]] = OrderedDict()

    async def learn(self, grant: Grant) -> None:
        """Take in what the hub just said, in whoever's name it was asked."""
        if self._country is None or not (grant.allowed or grant.cause == "region"):
            return
        known = frozenset(await self.withheld(grant.project))
        told = known - {self._country} if grant.allowed else known | {self._country}
        if told != known:
            kept = Grant(
                _HOLDER, grant.project, allowed=not told, public=False, at=grant.at, status=grant.status,
                message=" ".join(sorted(told)), cause="region",
            )  # fmt: skip
            await self._gateway.grants.put_grant(kept)
            self._known.pop(grant.project, None)

    async def withheld(self, project: str) -> tuple[str, ...]:
        """Countries from which the files of a project (`Project.identity`) are withheld, sorted; ISO 3166-1 alpha-2."""
        now = self._gateway.clock.now()
        read = self._known.get(project)
        if read is not None and abs(now - read[0]) < _KEPT_FOR:
            return read[1]
        kept = await self._gateway.grants.get_grant(_HOLDER, project)
        found = () if kept is None else tuple(kept.message.split())
        self._known[project] = now, found
        self._known.move_to_end(project)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return found
