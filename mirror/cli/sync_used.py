"""`mirror sync --used`: what the ledger says was given out, narrowed by what catalogue and lineage say of it today."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import click

from mirror.cli.holders import epoch_in_force
from mirror.core.decision import OWN_AGENT
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.bundle.used import Used
    from mirror.cli.sync_origin import Doubtful, Narrowed
    from mirror.core.facts import Facts
    from mirror.core.nouns import Artifact, Project
    from mirror.policy.epoch import Epoch

_SPAN: Final = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_UNITS: Final = {"h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True)
class Question:
    """What of the past is wanted. `origins` are countries, `publishers` ids, handles or owners' names; empty: all."""

    since: timedelta
    origins: frozenset[str] = frozenset()
    publishers: frozenset[str] = frozenset()


def question(span: str, origins: Sequence[str], publishers: Sequence[str]) -> Question:
    """The options as a question. Raises `InputError` with every fault."""
    from mirror.policy.countries import resolve

    found = _SPAN.fullmatch(span.strip().lower())
    problems = [] if found else [Problem("--used", "", f"{span!r} is not a time such as 90d, 12w or 36h")]
    countries: set[str] = set()
    for one in origins:
        try:
            countries |= resolve(one, {})
        except ValueError as error:
            problems.append(Problem("--origin", "", str(error)))
    if problems or found is None:
        raise InputError(problems)
    since = timedelta(**{_UNITS[found[2]]: int(found[1])})
    return Question(since, frozenset(countries), frozenset(one.casefold() for one in publishers))


@dataclass(frozen=True, slots=True)
class Given:
    """What was used: `rows` are wanted by what the ledger tells; `narrowed` what `--origin` leaves out by it (None: no country was named)."""

    rows: tuple[Used, ...]
    narrowed: Narrowed | None = None


def used(path: Path | None, ledger: Path, asked: Question) -> Given:
    """Every revision of which a file was permitted and asked for (HEAD included) in that time. Raises `InputError`.

    A country that nobody knows is not what `--origin` names. Of models that the ledger narrows out the lineage is to be asked (`descended`).
    """
    from mirror.bundle.used import gathered
    from mirror.cli.sync_origin import Narrowed

    epoch = epoch_in_force(path)
    doubtful: dict[tuple[str, str], Doubtful] = {}
    out: list[Artifact] = []
    rows = gathered(_given(ledger, epoch, datetime.now(UTC) - asked.since, asked, doubtful, out))
    if not asked.origins:
        return Given(rows)
    known = {_place(row.project, row.revision) for row in rows}
    left = [replace(doubtful[place], used=row) for row in gathered(out) if (place := _place(row.project, row.revision)) not in known]
    return Given(rows, Narrowed(asked.origins, left, len(rows) + len(left), epoch.catalogue, epoch.lineage))


def _place(project: Project, revision: str) -> tuple[str, str]:
    return str(replace(project, hub="", hub_id=None)).casefold(), revision


def _given(
    ledger: Path, epoch: Epoch, since: datetime, asked: Question, doubtful: dict[tuple[str, str], Doubtful], out: list[Artifact]
) -> Iterator[Artifact]:
    """The artifacts that are wanted; what only `--origin` leaves out goes to `out`, and of each revision one case to `doubtful`."""
    from mirror.bundle.used import Used
    from mirror.cli.sync_origin import Doubtful
    from mirror.policy.replay import rederived
    from mirror.watch.past import case_of, records

    judged: dict[tuple[str, bool], bool | None] = {}
    unread = 0
    for record in records(ledger, since):
        if record["kind"] != "allowed" or (record["decision"]["request"].get("user_agent") or "").startswith(OWN_AGENT):
            continue
        try:
            case = case_of(record, epoch.catalogue)
            name = record["decision"]["artifact"], case.facts.ancestors is not None
            if name not in judged:
                facts = rederived(case, epoch.catalogue, epoch.lineage)
                judged[name] = _wanted(asked, case.artifact, facts)
                if judged[name] is None:
                    place = _place(case.artifact.project, case.artifact.revision)
                    doubtful.setdefault(place, Doubtful(Used(case.artifact.project, case.artifact.revision), case, facts))
                    out.append(case.artifact)
        except (ValueError, TypeError, KeyError):
            unread += 1  # of a release with other facts
            continue
        if judged[name]:
            yield case.artifact
    if unread:
        click.echo(f"{unread} decisions of that time cannot be read by this release", err=True)


def _wanted(asked: Question, artifact: Artifact, facts: Facts) -> bool | None:
    """Whether it is asked for; None where only its origin, as far as the ledger tells, speaks against it."""
    if asked.publishers and not _names(artifact, facts) & asked.publishers:
        return False
    origin = facts.origin.value if facts.origin is not None else None
    return None if asked.origins and not asked.origins.intersection(origin or ()) else True


def _names(artifact: Artifact, facts: Facts) -> set[str]:
    """Everything by which a publisher may be asked for, case-folded."""
    publisher = facts.publisher.value if facts.publisher is not None else None
    names = {artifact.project.owner.casefold()}
    if publisher is not None:
        names |= {publisher.id.casefold(), publisher.entity.casefold(), f"entity:{publisher.entity}".casefold()}
        names |= {part for hub, handle in publisher.handles for part in (handle.casefold(), f"{hub}:{handle}".casefold())}
    return names
