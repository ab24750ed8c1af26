"""What belongs to a publisher: the companies that it owns, and the projects that are made from theirs. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.core.canonical import day as written
from mirror.policy.catalogue import MAJORITY
from mirror.policy.lineage import key
from mirror.policy.ownership import Ownership, owns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date

    from mirror.core.facts import Publisher
    from mirror.core.nouns import Project
    from mirror.policy.catalogue import Catalogue
    from mirror.policy.lineage import Lineage


@dataclass(frozen=True, slots=True)
class Tie:
    """How a publisher belongs to another: one sentence for each step down. `majority`: every step is a parent or half and more."""

    publisher: Publisher
    steps: tuple[str, ...] = ()
    majority: bool = True


def ties(catalogue: Catalogue, top: Publisher, day: date) -> dict[str, Tie]:
    """Every publisher that belonged to `top` on `day`, itself included, by id, over as many steps as the catalogue has.

    Where several ways lead down, one over majorities is preferred, and of these the shortest.
    """
    owned = Ownership(catalogue, majority=True)
    below: dict[str, list[tuple[Publisher, str, bool]]] = {}
    for one in catalogue.publishers:
        for owner, share in owned.shares(one, day):
            is_parent = one.parent == owner.id
            below.setdefault(owner.id, []).append((one, _step(owner, one, share, day), is_parent or (share or 0) >= MAJORITY))
        if one.parent is not None and all(one.parent != owner.id for owner, _ in owned.shares(one, day)):
            parent = catalogue.by_id(one.parent)
            if parent is not None:
                below.setdefault(parent.id, []).append((one, f"{parent.id} is the parent of {one.id} (catalogue)", True))
    found = {top.id: Tie(top)}
    for majority in (True, False):
        queue = list(found.values())
        for tie in queue:
            for one, step, holds in below.get(tie.publisher.id, ()):
                if one.id not in found and (holds or not majority):
                    found[one.id] = Tie(one, (*tie.steps, step), tie.majority and holds)
                    queue.append(found[one.id])
    return found


def _step(owner: Publisher, one: Publisher, share: int | None, day: date) -> str:
    stated = next((row for row in one.owners if row.id == owner.id and owns(row, day)), None)
    if stated is None:
        return f"{owner.id} is the parent of {one.id} (catalogue)"
    held = "an unstated share" if share is None else f"{share / 100:g} %"
    told = ", ".join(part for part in (f"as of {written(stated.as_of)}" if stated.as_of else "", stated.source) if part)
    return f"{owner.id} holds {held} of {one.id}" + (f" ({told})" if told else "")


@dataclass(frozen=True, slots=True)
class Descent:
    """That a project was made from another: `child` from `parent`. `publisher` is the parent's as recorded, empty if unknown then."""

    child: Project
    parent: Project
    relation: str
    evidence: str
    publisher: str = ""

    def __str__(self) -> str:
        return f"{self.child.name} was made from {self.parent.name} ({self.relation}, {self.evidence})"


class Pedigree:
    """Every relation between projects that was ever recorded, over the shipped ones. Answers are by dictionary."""

    def __init__(self, catalogue: Catalogue, lineage: Lineage) -> None:
        """Begin with what the catalogue and the shipped relations say today."""
        self._catalogue, self._lineage = catalogue, lineage
        self._above: dict[str, dict[str, Descent]] = {}

    def add(self, one: Descent) -> None:
        """Take a recorded relation; of one pair the latest stays."""
        self._above.setdefault(key(one.child), {})[key(one.parent)] = one

    def path(self, project: Project, wanted: Mapping[str, Tie]) -> tuple[Tie, tuple[Descent, ...]] | None:
        """The shortest way from `project` up to one of a publisher in `wanted`, nearest first; None where there is none."""
        seen = {key(project)}
        queue: list[tuple[Project, tuple[Descent, ...]]] = [(project, ())]
        for below, way in queue:
            for step in self._steps(below):
                if key(step.parent) in seen:
                    continue
                seen.add(key(step.parent))
                for name in publishers(step.parent, step.publisher, self._catalogue):
                    if name in wanted:
                        return wanted[name], (*way, step)
                queue.append((step.parent, (*way, step)))
        return None

    def known(self, project: Project) -> bool:
        """Whether anything is known of what `project` was made from."""
        return bool(self._above.get(key(project))) or bool(self._lineage.edges(project))

    def _steps(self, project: Project) -> Iterable[Descent]:
        yield from self._above.get(key(project), {}).values()
        for edge in self._lineage.edges(project):
            yield Descent(project, edge.parent, edge.relation, edge.evidence)


def publishers(project: Project, recorded: str, catalogue: Catalogue) -> tuple[str, ...]:
    """Who published a project: as it was recorded (empty: unknown then), and as the catalogue has it today."""
    today = catalogue.publisher_of(project)
    names = (recorded, today[0].id if today is not None else "")
    return tuple(dict.fromkeys(name for name in names if name))
