"""Which rules need not be asked: an index by the one condition of each rule that rules most subjects out."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Final

from mirror.core.decision import Effect
from mirror.policy.rules import Rule, Rulings

if TYPE_CHECKING:
    from mirror.policy.conditions import Condition
    from mirror.policy.patterns import Glob

#: Features by how few subjects share a key, the most telling first.
_TELLING: Final = ("entity", "handle", "license", "ext", "origin", "country", "client", "status", "gated", "yanked", "kind", "type", "ecosystem")

Globs = dict[str, list[tuple[Callable[[str], object], int]]]


class _Building:
    def __init__(self) -> None:
        self.always: list[int] = []
        self.keyed: dict[tuple[str, Hashable], list[int]] = {}
        self.names: dict[str, tuple[int, ...]] = {}
        self.globs: Globs = {}
        self.ancestor_names: dict[str, tuple[int, ...]] = {}
        self.ancestor_globs: Globs = {}

    def key(self, key: tuple[str, Hashable], number: int) -> None:
        self.keyed.setdefault(key, []).append(number)

    def name(self, globs: Sequence[Glob], number: int, *, ancestors: bool) -> None:
        """File a rule under every name that can bring it in; one tuple is shared by all names of a long list."""
        names, starts = (self.ancestor_names, self.ancestor_globs) if ancestors else (self.names, self.globs)
        alone = (number,)
        for glob in globs:
            if glob.exact is None:
                starts.setdefault(glob.prefix[:2], []).append((glob.matcher(), number))
            else:
                known = names.get(glob.exact)
                names[glob.exact] = alone if known is None else known if number in known else (*known, number)


def index(rules: Sequence[Rule]) -> Rulings:
    """The index of `rules`: what it leaves out for a subject cannot hold for it, and cannot be unknown either."""
    building = _Building()
    for number, rule in enumerate(rules):
        _file(building, number, rule)
    return Rulings(
        tuple(building.always),
        {key: tuple(numbers) for key, numbers in building.keyed.items()},
        building.names,
        {start: tuple(globs) for start, globs in building.globs.items()},
        building.ancestor_names,
        {start: tuple(globs) for start, globs in building.ancestor_globs.items()},
    )


def _file(building: _Building, number: int, rule: Rule) -> None:
    # A permission's unknown matters to no one unless the rule says so, but it must be asked all the same.
    named = next((condition for condition in rule.conditions if condition.names is not None), None)
    if named is not None and named.names is not None:
        if named.key == "ancestor":
            building.name(named.names, number, ancestors=True)
            building.key(("lineage", None), number)
        else:
            building.name(named.names, number, ancestors=False)
            if rule.inherit:
                building.name(named.names, number, ancestors=True)
                building.key(("lineage", None), number)
        return
    gated = [condition for condition in rule.conditions if condition.gate is not None and _usable(condition, rule)]
    best = min(gated, key=_rank, default=None)
    if best is not None and best.gate is not None and (_rank(best) < _TELLING.index("status") or not rule.scope.groups):
        inherited = rule.inherit and best.identity
        for feature, value in best.gate:
            building.key((f"+{feature}" if inherited else feature, value), number)
        if inherited:
            building.key(("lineage", None), number)
    elif rule.scope.groups:
        for group in rule.scope.groups:
            building.key(("group", group), number)
    else:
        building.always.append(number)


def _usable(condition: Condition, rule: Rule) -> bool:
    """A permission may hold for a project as a whole, which has no kind and no extension."""
    return not (rule.effect is Effect.ALLOW and condition.key in ("kind", "file"))


def _rank(condition: Condition) -> int:
    features = {feature for feature, _ in condition.gate or ()}
    return min((_TELLING.index(feature) for feature in features if feature in _TELLING), default=len(_TELLING))
