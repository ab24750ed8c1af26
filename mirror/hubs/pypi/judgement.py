"""Judging a whole page: which files an asker would be refused, for as long as nothing that went into it changes."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.core.decision import Effect, Mode, Verdict
from mirror.core.nouns import PYPI
from mirror.hubs.pypi.facts import COSTLY, page_facts
from mirror.hubs.pypi.pages import NO_VERSION, Judged, denied_whole, marks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mirror.core.actor import Actor
    from mirror.core.nouns import Artifact
    from mirror.hubs.pypi.hub import PypiHub, Sheet
    from mirror.policy.rules import Policy
    from mirror.proxy.gateway import Gateway

#: Judged files kept in memory.
_FILES_KEPT: Final = 200_000
#: Why a file is marked that only this mirror lacks.
ABSENT: Final = "not in this mirror, which is offline: no bundle has brought this file"
#: After so many files other requests get their turn.
_TURN: Final = 64


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one page means to one audience. `left_out` are the refused files, `whole` says that there is nothing else.

    `marked` is what the page shows as yanked by us, `edition` a digest of it. Good until `valid_until` (None: until the policy changes).
    `advice` are the digests of the advisories that went into it.
    """

    marked: Mapping[str, str]
    edition: str
    left_out: tuple[tuple[Artifact, Verdict], ...]
    whole: bool
    valid_until: datetime | None
    files: int
    advice: tuple[str, ...] = ()


class Bench:
    """Judgements of pages, kept by page, audience and epoch."""

    def __init__(self, hub: PypiHub, gateway: Gateway) -> None:
        self._hub, self._gateway = hub, gateway
        self._kept: OrderedDict[object, Judgement] = OrderedDict()
        self._files = 0
        self._by_address: tuple[int, bool] = (-1, False)  # the rules' number, and whether any of them is for some networks only

    async def judge(self, actor: Actor, sheet: Sheet) -> Judgement:
        """The judgement of every file on `sheet` for `actor`."""
        epoch = self._gateway.epoch
        # The address is part of who asks only where a rule is scoped to networks: else each client would be a page's worth of work.
        if self._by_address[0] != epoch.number:
            self._by_address = epoch.number, _by_address(epoch.policy)
        address = actor.address if self._by_address[1] else ""
        audience = (actor.groups, actor.country, actor.entity, actor.jurisdictions, address)
        # Rules read vulnerabilities of a page's files only where the operator's own database tells them for all at once.
        advice = self._hub.advice(sheet.page.project) if "vulnerabilities" in self._gateway.needs(PYPI) else ()
        key = (sheet.page.project, sheet.document.digest.hex, advice, epoch.number, audience, self._gateway.brought)
        known = self._kept.get(key)
        if known is not None and (known.valid_until is None or self._gateway.clock.now() < known.valid_until):
            self._kept.move_to_end(key)
            return known
        judgement = await self._judge(actor, sheet, advice)
        self._keep(key, judgement)
        return judgement

    async def _judge(self, actor: Actor, sheet: Sheet, advice: tuple[str, ...]) -> Judgement:
        judged: list[Judged] = []
        left_out: list[tuple[Artifact, Verdict]] = []
        ends: list[datetime] = []
        for number, file in enumerate(sheet.page.files):
            if number % _TURN == _TURN - 1:
                await asyncio.sleep(0)
            if file.distribution is None:
                judged.append(Judged(file, serves=False, sentence=NO_VERSION))
                continue
            artifact = self._hub.artifact(sheet.page, file)
            facts = page_facts(sheet.page, file, sheet.document.digest.hex)
            if advice:
                facts = self._hub.advised(facts, artifact)
            verdict = await self._gateway.judge(actor, artifact, facts)
            serves = verdict.effect.serves or not certain(verdict)
            judged.append(Judged(file, serves, verdict.sentence))
            if not serves:
                left_out.append((artifact, verdict))
            if verdict.valid_until is not None:
                ends.append(verdict.valid_until)
        marked = {**marks(judged), **await self._absent(sheet)}
        edition = hashlib.sha256(repr(sorted(marked.items())).encode()).hexdigest()
        ends_at = min(ends, default=None)
        return Judgement(marked, edition, tuple(left_out), denied_whole(judged), ends_at, len(judged), advice)

    async def _absent(self, sheet: Sheet) -> Mapping[str, str]:
        """Without a way out, the files that are not here, unless none is: resolvers then take what can be had."""
        if not self._gateway.offline:
            return {}
        names = {self._hub.artifact(sheet.page, file).identity: file.name for file in sheet.page.files if file.distribution is not None}
        held = await self._gateway.held(list(names))
        return {name: ABSENT for identity, name in names.items() if identity not in held} if held else {}

    def _keep(self, key: object, judgement: Judgement) -> None:
        replaced = self._kept.pop(key, None)
        self._files += judgement.files + 1 - (replaced.files + 1 if replaced else 0)
        self._kept[key] = judgement
        while self._files > _FILES_KEPT and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._files -= dropped.files + 1


def _by_address(policy: Policy) -> bool:
    """Whether a rule or an exception concerns some networks only."""
    scopes = [rule.scope for rule in policy.rules]
    scopes += [waived.scope for several in policy.exceptions.values() for waived in several]
    return any(scope.networks for scope in scopes)


def certain(verdict: Verdict) -> bool:
    """Whether a refusal stands on what the page says, not on the absence of a fact that is only found out for one file.

    A rule that refuses because a licence is unknown would otherwise mark every release of every project: the file's own
    request finds the licence out and decides.
    """
    refusing = [
        rule
        for rule in verdict.rules
        if rule.mode is Mode.ENFORCE and not rule.exception and rule.effect > Effect.WARN
    ]
    return not refusing or any(not rule.unknown or rule.unknown not in COSTLY for rule in refusing)
