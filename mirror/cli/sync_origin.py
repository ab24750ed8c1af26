"""`--used --origin`: what the models that the ledger narrows out were made from, asked of the mirror today.

A decision records ancestors only where a rule in force read them; that is no reason to leave a fine-tune out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mirror.bundle.fetch import Client, Declined
from mirror.bundle.plan import WITH_ANCESTORS
from mirror.bundle.used import Used, preserved, walk_of
from mirror.core.facts import Fact
from mirror.core.nouns import HUGGINGFACE, Kind
from mirror.hubs.huggingface.paths import Repo, revision_segment
from mirror.policy.derive import origin_known
from mirror.policy.replay import rederived

if TYPE_CHECKING:
    from mirror.cli.sync_wants import Wanted
    from mirror.core.facts import Facts
    from mirror.policy.catalogue import Catalogue
    from mirror.policy.lineage import Lineage
    from mirror.policy.recorded import Judged

#: Lineages asked for at once: each may be dozens of pages of the hub.
_AT_ONCE: Final = 4
_KNOWN: Final = "known"


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A revision that was used and is not of the wanted countries by what the ledger tells; `case` is one of its files as it was judged."""

    used: Used
    case: Judged
    facts: Facts


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What `--origin` left out: of `total` revisions that were used the `doubtful`; `whole` as of `--preserve`."""

    origins: frozenset[str]
    doubtful: Sequence[Doubtful]
    total: int
    catalogue: Catalogue
    lineage: Lineage
    whole: bool = False


async def descended(client: Client, wanted: Wanted, note: Callable[[str], None]) -> tuple[Wanted, Mapping[str, int]]:
    """`wanted` with the models that were made from one of the wanted countries; and how many revisions stay out for want of knowledge.

    `unknown_origin`: of nobody's country anything is known; `origin_in_part`: of somebody in the line it is not.
    """
    narrowed = wanted.narrowed
    if narrowed is None:
        return wanted, {}
    turns = asyncio.Semaphore(_AT_ONCE)

    async def today(one: Doubtful) -> Facts:
        async with turns:
            return await _today(client, narrowed, one, note)

    facts = await asyncio.gather(*(today(one) for one in narrowed.doubtful))
    found, left = [], {"unknown_origin": 0, "origin_in_part": 0}
    for one, told in zip(narrowed.doubtful, facts, strict=True):
        if told.origin is not None and narrowed.origins.intersection(told.origin.value or ()):
            found.append(one.used)
        elif (grade := origin_known(told)) != _KNOWN:
            left["unknown_origin" if grade == "unknown" else "origin_in_part"] += 1
    _tell(narrowed.total, left, note)
    if not narrowed.whole:
        return replace(wanted, used=(*wanted.used, *found)), left
    repositories, _ = preserved(found)
    return replace(wanted, repositories=(*wanted.repositories, *repositories)), left


async def _today(client: Client, narrowed: Narrowed, one: Doubtful, note: Callable[[str], None]) -> Facts:
    """The facts of one revision with its ancestors as the mirror knows them now; where it cannot say, as they were recorded."""
    project = one.used.project
    if project.ecosystem != HUGGINGFACE or project.kind is not Kind.MODEL:
        return one.facts
    try:
        info, _ = await client.page(f"{Repo.of(project).api}/revision/{revision_segment(one.used.revision)}?blobs=true", WITH_ANCESTORS)
    except Declined as no:
        note(f"{project.name}: what it was made from cannot be asked: {no.sentence}")
        return one.facts
    walk = Fact(walk_of(project, info), "mirror")
    case = replace(one.case, facts=replace(one.case.facts, ancestors=walk))
    return rederived(case, narrowed.catalogue, narrowed.lineage)


def _tell(total: int, left: Mapping[str, int], note: Callable[[str], None]) -> None:
    if left["unknown_origin"]:
        said = "nobody knows their country: `mirror publisher unknown`"
        note(f"of {total} revisions that were used, {left['unknown_origin']} were left out because {said}")
    if left["origin_in_part"]:
        said = "the country of somebody who had a part in them is not known"
        note(f"of {total} revisions that were used, {left['origin_in_part']} were left out although {said}")
