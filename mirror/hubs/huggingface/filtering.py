"""What is left out of pages: files and projects that are denied, one event a page, and the warning that says so (P6)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mirror.core.nouns import HUGGINGFACE
from mirror.hubs.huggingface.documents import row_page
from mirror.hubs.huggingface.facts import file_facts, repository_facts, told_by_row, without_scans
from mirror.hubs.huggingface.paths import PLURALS
from mirror.hubs.huggingface.replies import topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mirror.core.decision import Verdict
    from mirror.core.facts import Facts
    from mirror.core.nouns import Artifact, Document, Kind
    from mirror.hubs.huggingface.documents import RepoPage
    from mirror.hubs.huggingface.hub import HuggingFaceHub
    from mirror.reply.routing import Call

Warned = tuple[str, str] | None

#: A listing of thousands must not hold up everybody's downloads.
_BREATHE: Final = 64
#: Where a page lists repositories under a name of its own, as a paper's does.
_LINKED: Final[Mapping[str, Kind]] = {f"linked{plural.capitalize()}": kind for plural, kind in PLURALS.items()}
_KINDS: Final[Mapping[str, Kind]] = {str(kind): kind for kind in PLURALS.values()}


async def keep_files(
    hub: HuggingFaceHub, call: Call, page: RepoPage, rows: Sequence[tuple[str, Any]], warning: Warned = None
) -> tuple[list[Any], Warned]:
    """The rows, given as (path, row), whose files are not denied; rows without a path stay. `warning` is the page's own."""
    gateway, actor = hub.gateway, call.actor
    judged = [path for path, _ in rows if path]
    shared = await hub.shared_facts(page, actor.credential, gateway.needs(HUGGINGFACE), judged)
    kept: list[Any] = []
    left_out: list[tuple[Artifact, Verdict]] = []
    for index, (path, row) in enumerate(rows):
        if index % _BREATHE == _BREATHE - 1:
            await asyncio.sleep(0)
        if not path:
            kept.append(row)
            continue
        verdict = await gateway.judge(actor, page.artifact(path), file_facts(shared, page, path))
        if verdict.effect.serves:
            kept.append(row)
        else:
            left_out.append((page.artifact(path), verdict))
    if not left_out:
        return kept, warning
    told = without_scans(shared).evidence
    await gateway.steered(
        actor, page.project, call.info, left_out, page.commit, lambda one: replace(file_facts(shared, page, one.path), evidence=told)
    )  # fmt: skip
    return kept, _of_files(page, left_out)


def _of_files(page: RepoPage, left_out: Sequence[tuple[Artifact, Verdict]]) -> tuple[str, str]:
    worst = max(left_out, key=lambda pair: pair[1].effect)
    determining = worst[1].determining
    names = ", ".join(artifact.path for artifact, _ in left_out[:5]) + (", …" if len(left_out) > 5 else "")
    rule = determining.id if determining else "default"
    text = f"{len(left_out)} of the files of {page.project.name} are left out by policy ({names}). {worst[1].sentence}"
    return topic(rule, page.project), text


async def keep_projects(hub: HuggingFaceHub, call: Call, rows: Iterable[Any], kind: Kind, document: Document) -> tuple[list[Any], Warned]:
    """The rows of a listing whose projects are not denied, as far as the rows themselves tell what rules want to know."""
    return await _keep(hub, call, [(row, kind) for row in rows], document)


async def keep_named(hub: HuggingFaceHub, call: Call, value: Any, document: Document) -> tuple[Any, Warned]:
    """`value` (JSON) without the denied ones among the repositories that its lists name, at any depth.

    A list names one by an item with `type` or `repoType` and `id`, or is called after a kind (`linkedModels`).
    """
    named = [item for rows in _lists(value) for item in rows if item[1] is not None]
    kept, warning = await _keep(hub, call, named, document)
    staying = {id(row) for row in kept}
    gone = {id(row) for row, _ in named if id(row) not in staying}
    return (_without(value, lambda row: id(row) in gone) if gone else value), warning


def _lists(value: Any, key: str = "") -> list[list[tuple[Any, Kind | None]]]:
    """Every list in `value`, its items with the kind of repository that each names (None: none)."""
    if isinstance(value, dict):
        return [found for name, inner in value.items() for found in _lists(inner, name)]
    if not isinstance(value, list):
        return []
    rows = [(row, _LINKED.get(key) or _stated(row)) for row in value]
    return [rows, *(found for row in value for found in _lists(row))]


def _stated(row: Any) -> Kind | None:
    word = (row.get("repoType") or row.get("type")) if isinstance(row, dict) else None
    return _KINDS.get(word) if isinstance(word, str) else None


def _told(row: Any) -> Any:
    """What a row tells of a repository: the `_id` of a collection's item (which has a place) is the item's own."""
    return {key: value for key, value in row.items() if key != "_id"} if isinstance(row, dict) and "position" in row else row


def _without(value: Any, gone: Callable[[Any], bool]) -> Any:
    if isinstance(value, dict):
        return {key: _without(inner, gone) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without(inner, gone) for inner in value if not gone(inner)]
    return value


async def _keep(hub: HuggingFaceHub, call: Call, rows: Sequence[tuple[Any, Kind | None]], document: Document) -> tuple[list[Any], Warned]:
    gateway, needs = hub.gateway, hub.gateway.needs(HUGGINGFACE)
    kept: list[Any] = []
    left_out: list[tuple[Artifact, Verdict]] = []
    told: dict[Artifact, Facts] = {}
    for index, (row, kind) in enumerate(rows):
        if index % _BREATHE == _BREATHE - 1:
            await asyncio.sleep(0)
        page = row_page(_told(row), document, hub.name, kind) if kind is not None else None
        if page is not None and told_by_row(page, needs):
            facts = file_facts(repository_facts(page), page, "")
            verdict = await gateway.judge(call.actor, page.artifact(), facts)
            if not verdict.effect.serves:
                left_out.append((page.artifact(), verdict))
                told[page.artifact()] = facts
                continue
        kept.append(row)
    if not left_out:
        return kept, None
    worst, verdict = max(left_out, key=lambda pair: pair[1].effect)
    await gateway.steered(call.actor, worst.project, call.info, left_out, facts_of=told.__getitem__)
    names = ", ".join(artifact.project.name for artifact, _ in left_out[:5]) + (", …" if len(left_out) > 5 else "")
    rule = verdict.determining.id if verdict.determining else "default"
    text = f"{len(left_out)} repositories are left out of this list by policy ({names}). {verdict.sentence}"
    return kept, (topic(rule, worst.project), text)
