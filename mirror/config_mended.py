"""A configuration with faults in its shape, without what is wrong: so that all other faults are told with them (P10)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from mirror.core.errors import InputError, Problem
from mirror.decode import decode

if TYPE_CHECKING:
    from mirror.config import Config

T = TypeVar("T")

#: Sections whose keys are rows of their own: of a row with a fault nothing is believed.
_ROWS: Final = (("hubs",), ("lists",), ("clients", "groups"), ("clients", "limits", "groups"))
#: Leaving something out may leave something else incomplete; never for long, for nothing is nested deeper.
_ROUNDS: Final = 8
_INDEX: Final = re.compile(r"\[\d+\]")


class UnsoundConfig(InputError):
    """A configuration with faults. `rest` is what is left without them, None where that is nothing: to look further, never to run by."""

    def __init__(self, problems: Sequence[Problem], rest: Config | None) -> None:
        super().__init__(problems)
        self.rest = rest


@dataclass(frozen=True, slots=True)
class Mended(Generic[T]):
    """What was decoded, what is wrong in its shape, and the rows that were left out."""

    value: T | None
    raw: dict[str, Any]
    problems: tuple[Problem, ...] = ()
    rows: frozenset[str] = frozenset()

    def follows(self, problem: Problem) -> bool:
        """Whether a contradiction may be there only because something was left out: it lies there, or speaks of it."""
        if any(repr(name) in problem.message for name in self.rows):
            return True
        for one in self.problems:
            place = _INDEX.sub("", one.place)
            # A section's name alone is a word like any other.
            if _within(problem.place, one.place) or _within(one.place, problem.place) or ("." in place and place in problem.message):
                return True
        return False


def mended(kind: type[T], raw: Mapping[str, Any], source: str) -> Mended[T]:
    """`raw` as a `kind`, without whatever is not what it should be: a whole row of `_ROWS`, else one key."""
    left = dict(raw)
    problems: tuple[Problem, ...] = ()
    rows: set[str] = set()
    for _ in range(_ROUNDS):
        try:
            return Mended(decode(kind, left, source), left, problems, frozenset(rows))
        except InputError as error:
            problems = problems or error.problems
            left = deepcopy(left)
            for problem in error.problems:
                path = _path(left, problem.place)
                row = next((path[: len(one) + 1] for one in _ROWS if path[: len(one)] == one and len(path) > len(one)), None)
                rows.update(row[-1:] if row else ())
                _leave_out(left, row or path)
    return Mended(None, left, problems)


def _path(raw: Mapping[str, Any], place: str) -> tuple[str, ...]:
    """The keys that lead to `place`, as far as they are there; names of rows may have points."""
    found: list[str] = []
    node: Any = raw
    while isinstance(node, Mapping) and (name := max((key for key in node if _within(place, key)), key=len, default=None)):
        found.append(name)
        node, place = node[name], place[len(name) :].lstrip(".")
    return tuple(found)


def _leave_out(raw: dict[str, Any], path: Sequence[str]) -> None:
    node: Any = raw
    for name in path[:-1]:
        node = node.get(name, {})
    if path:
        node.pop(path[-1], None)


def _within(place: str, other: str) -> bool:
    """Whether `place` is `other` or lies in it."""
    return bool(other) and (place == other or place.startswith((f"{other}.", f"{other}[")))
