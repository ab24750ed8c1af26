"""What a model was made from: the shipped edges, and the walk over declared ones.

Pure. Who can say what a project declares is the hub's dialect; it drives a `Walk`, a whole generation at a time.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from mirror.core.canonical import canonical
from mirror.core.errors import InputError, Problem
from mirror.core.facts import Ancestor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.core.nouns import Project

#: How many hops a walk follows before it says `depth`. The longest chain seen on the hub is far below.
MAX_DEPTH: Final = 64
#: How many projects a walk asks for before it says `depth` as well: a card may name thousands of parents.
MAX_PROJECTS: Final = 1_000
RELATIONS: Final = ("finetune", "adapter", "merge", "quantized", "distill", "component", "unknown")
#: Grades of the shipped lineage as confidence in 1/10,000.
CONFIDENCE: Final = {"A": 10_000, "B": 9_000, "C": 7_000, "D": 5_000}


@dataclass(frozen=True, slots=True)
class Edge:
    """One parent of a project, by whatever evidence. `confidence` in 1/10,000; words as in `core.facts.Ancestor`."""

    parent: Project
    relation: str
    evidence: str = "declared"
    confidence: int = 10_000


@dataclass(frozen=True, slots=True)
class StatedEdge:
    """A shipped relation between two projects, with its place. `source` is the document that says so."""

    child: Project
    edge: Edge
    document: str = ""
    source: str = ""
    place: str = ""


class Lineage:
    """The shipped relations: a fallback under what model cards declare. Immutable; look-ups by dictionary."""

    __slots__ = ("_edges", "content", "digest")

    #: The canonical content, whatever the order of files and rows: what the evidence archive keeps.
    content: bytes
    #: SHA-256 (hex) of `content`.
    digest: str

    def __init__(self, stated: Sequence[StatedEdge]) -> None:
        """Index edges that `build` has found sound; use `build`."""
        table: defaultdict[str, dict[str, Edge]] = defaultdict(dict)
        for one in stated:
            table[key(one.child)].setdefault(key(one.edge.parent), one.edge)
        self._edges = {child: tuple(edges.values()) for child, edges in table.items()}
        rows = sorted(
            [str(one.child), str(one.edge.parent), one.edge.relation, one.edge.confidence, one.document]
            for one in stated
        )
        self.content = canonical(rows)
        self.digest = sha256(self.content).hexdigest()

    @classmethod
    def build(cls, stated: Sequence[StatedEdge]) -> Lineage:
        """Raises `InputError` naming every project that is its own parent and every pair that is stated twice."""
        problems: list[Problem] = []
        seen: dict[tuple[str, str], StatedEdge] = {}
        for one in stated:
            pair = (key(one.child), key(one.edge.parent))
            first = seen.setdefault(pair, one)
            if pair[0] == pair[1]:
                problems.append(Problem(one.source, one.place, f"{one.child} cannot be its own parent"))
            elif first is not one:
                said = f"{one.child} from {one.edge.parent} is already stated ({first.source} {first.place})"
                problems.append(Problem(one.source, one.place, said))
        if problems:
            raise InputError(problems)
        return cls(stated)

    def __len__(self) -> int:
        """How many projects have a parent here."""
        return len(self._edges)

    def edges(self, project: Project) -> tuple[Edge, ...]:
        """The parents of `project` as a `Walk` takes them; empty where nothing is known."""
        return self._edges.get(key(project), ())

    def parents(self, project: Project) -> tuple[Ancestor, ...]:
        """The parents of `project`, one hop up, evidence `catalogue`; empty where nothing is known."""
        return tuple(
            Ancestor(edge.parent, project, edge.relation, edge.evidence, edge.confidence, 1)
            for edge in self.edges(project)
        )


def key(project: Project) -> str:
    """A project's name as lineage compares it: both hubs treat names without regard to case."""
    return f"{project.ecosystem}:{project.kind}:{project.name.casefold()}"


class Walk:
    """A breadth-first walk up a project's ancestry, as a step machine: it asks, the caller answers.

        walk = Walk(start)
        while wanted := walk.wanted():
            for project, edges in await everything(wanted):
                walk.give(project, edges)

    Every hop, several parents, each project asked once. A loop ends as `missing="loop"`; more than `max_depth` hops,
    or `MAX_PROJECTS` projects, as `missing="depth"`. Within a generation the answers may come in any order; the
    result does not depend on it.
    """

    def __init__(self, start: Project, max_depth: int = MAX_DEPTH) -> None:
        """Begin at `start`, whose own parents are wanted first."""
        self.start = start
        self.max_depth = max_depth
        self._generation: list[Project] = [start]
        self._pending = {key(start): start}
        self._depth = 0
        self._asked = {key(start)}
        self._cut: set[str] = set()
        self._answers: dict[str, tuple[Edge, ...] | str] = {}

    def wanted(self) -> tuple[Project, ...]:
        """The projects of this generation whose edges are still to be given; empty when the walk is over."""
        return tuple(self._pending.values())

    @property
    def complete(self) -> bool:
        """Whether nothing is wanted any more."""
        return not self._pending

    def give(self, project: Project, edges: Sequence[Edge] | str) -> None:
        """The parents of a wanted `project` (none: it is a root), or why they cannot be known (`gone`, `gated`, ...).

        Raises `ValueError` for a project that is not wanted: an answer given twice could change what was judged.
        """
        name = key(project)
        if self._pending.pop(name, None) is None:
            raise ValueError(f"not wanted: {project}")
        self._answers[name] = edges if isinstance(edges, str) else _merged(edges)
        if not self._pending:
            self._advance()

    def result(self) -> tuple[Ancestor, ...]:
        """The walk so far, nearest first: one `Ancestor` for each edge, in the order of the generations.

        `missing` on the edge *to* a project says why nothing is known above it.
        """
        found: list[Ancestor] = []
        closing = self._closing()
        generation, placed, depth = [self.start], {key(self.start)}, 0
        while generation:
            following: list[Project] = []
            depth += 1
            for child in generation:
                for edge in self._edges_of(child):
                    loop = (key(child), key(edge.parent)) in closing
                    missing = "loop" if loop else self._missing(edge.parent)
                    how = (edge.relation, edge.evidence, edge.confidence, depth)
                    found.append(Ancestor(edge.parent, child, *how, missing=missing))
                    if key(edge.parent) not in placed:
                        placed.add(key(edge.parent))
                        following.append(edge.parent)
            generation = following
        return tuple(found)

    @property
    def start_missing(self) -> str:
        """Why the parents of the start itself cannot be known, else empty."""
        answer = self._answers.get(key(self.start), ())
        return answer if isinstance(answer, str) else ""

    @property
    def known(self) -> bool:
        """Whether the walk is over, found something, and reached a root on every path."""
        found = self.result()
        return self.complete and not self.start_missing and bool(found) and not any(one.missing for one in found)

    def _edges_of(self, project: Project) -> tuple[Edge, ...]:
        answer = self._answers.get(key(project), ())
        return () if isinstance(answer, str) else answer

    def _advance(self) -> None:
        """The next generation: parents not asked before, as far as depth and room go."""
        self._depth += 1
        following: dict[str, Project] = {}
        for child in self._generation:
            for edge in self._edges_of(child):
                if key(edge.parent) not in self._asked:
                    following.setdefault(key(edge.parent), edge.parent)
        room = MAX_PROJECTS - len(self._asked) if self._depth < self.max_depth else 0
        self._generation = list(following.values())[: max(room, 0)]
        self._cut.update(list(following)[max(room, 0) :])
        self._pending = {key(project): project for project in self._generation}
        self._asked.update(self._pending)

    def _missing(self, parent: Project) -> str:
        if key(parent) in self._cut:
            return "depth"
        answer = self._answers.get(key(parent))
        return answer if isinstance(answer, str) else ""

    def _closing(self) -> set[tuple[str, str]]:
        """The edges (child, parent) that close a loop: those to a project whose own path leads here (linear time)."""
        closing: set[tuple[str, str]] = set()
        on_path, done = {key(self.start)}, set[str]()
        stack = [(key(self.start), iter(self._edges_of(self.start)))]
        while stack:
            name, rest = stack[-1]
            edge = next(rest, None)
            if edge is None:
                stack.pop()
                on_path.discard(name)
                done.add(name)
            elif (above := key(edge.parent)) in on_path:
                closing.add((name, above))
            elif above not in done:
                on_path.add(above)
                stack.append((above, iter(self._edges_of(edge.parent))))
        return closing


def _merged(edges: Sequence[Edge]) -> tuple[Edge, ...]:
    """One edge for each parent: the most confident, the first of equals, in the given order."""
    best: dict[str, Edge] = {}
    for edge in edges:
        known = best.get(key(edge.parent))
        if known is None or edge.confidence > known.confidence:
            best[key(edge.parent)] = edge
    return tuple(best.values())
