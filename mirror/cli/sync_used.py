"""`mirror sync --used`: what the ledger says was given out, narrowed by what catalogue and lineage say of it today."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import click

from mirror.cli.holders import epoch_in_force
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.bundle.used import Used
    from mirror.core.facts import Facts
    from mirror.core.nouns import Artifact
    from mirror.policy.epoch import Epoch

_SPAN: Final = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_UNITS: Final = {"h": "hours", "d": "days", "w": "weeks"}
#: Our own requests: what is looked at from here is not used by that.
_OURS: Final = "entrepot-sync/"


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


def used(path: Path | None, ledger: Path, asked: Question) -> tuple[Used, ...]:
    """Every revision of which a file was permitted and asked for (HEAD included) in that time. Raises `InputError`.

    What the record does not tell - a country that nobody knows - is not what `--origin` names.
    """
    from mirror.bundle.used import gathered

    epoch = epoch_in_force(path)
    return gathered(_given(ledger, epoch, datetime.now(UTC) - asked.since, _wanted(asked)))


def _given(ledger: Path, epoch: Epoch, since: datetime, wanted: Callable[[Artifact, Facts], bool]) -> Iterator[Artifact]:
    from mirror.policy.replay import rederived
    from mirror.watch.past import case_of, records

    judged: dict[str, bool] = {}
    ours: dict[str, Artifact] = {}
    unread = 0
    for record in records(ledger, since):
        if record["kind"] == "repeated" and record["subject"] in ours:
            yield ours.pop(record["subject"])  # by whom is not told apart: rather one too many than one too few
        if record["kind"] != "allowed":
            continue
        name = record["decision"]["artifact"]
        try:
            case = case_of(record, epoch.catalogue)
            if name not in judged:
                judged[name] = wanted(case.artifact, rederived(case, epoch.catalogue, epoch.lineage))
        except (ValueError, TypeError, KeyError):
            unread += 1  # of a release with other facts
            continue
        if judged[name] and (record["decision"]["request"].get("user_agent") or "").startswith(_OURS):
            ours[case.decision] = case.artifact
        elif judged[name]:
            yield case.artifact
    if unread:
        click.echo(f"{unread} decisions of that time cannot be read by this release", err=True)


def _wanted(asked: Question) -> Callable[[Artifact, Facts], bool]:
    def wanted(artifact: Artifact, facts: Facts) -> bool:
        origin = facts.origin.value if facts.origin is not None else None
        if asked.origins and not asked.origins.intersection(origin or ()):
            return False
        return not asked.publishers or bool(_names(artifact, facts) & asked.publishers)

    return wanted


def _names(artifact: Artifact, facts: Facts) -> set[str]:
    """Everything by which a publisher may be asked for, case-folded."""
    publisher = facts.publisher.value if facts.publisher is not None else None
    names = {artifact.project.owner.casefold()}
    if publisher is not None:
        names |= {publisher.id.casefold(), publisher.entity.casefold(), f"entity:{publisher.entity}".casefold()}
        names |= {part for hub, handle in publisher.handles for part in (handle.casefold(), f"{hub}:{handle}".casefold())}
    return names
