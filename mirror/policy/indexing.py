"""Which rules need not be asked: an index by the one condition of each rule that rules most subjects out."""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Sequence
from typing import TYPE_CHECKING, Final

from mirror.core.decision import Effect
from mirror.policy.rules import Rule, Rulings

if TYPE_CHECKING:
    from mirror.policy.conditions import Condition
    from mirror.policy.patterns import Glob

#: Features by how few subjects share a key, the most telling first.
_TELLING: Final = ("entity", "handle", "license", "ext", "origin", "country", "client", "status", "gated", "yanked", "kind", "type", "ecosystem")

#: The fact that is missing where a subject has only the key for "unknown" of a feature. (Of the others, some unknowns
#: do not leave a rule open: a project as a whole has no kind.)
_MISSING: Final = {"origin": "origin", "country": "publisher", "entity": "publisher", "client": "client_country",
                   "status": "status", "gated": "gated", "lineage": "lineage"}  # fmt: skip

Globs = dict[str, list[tuple[Callable[[str], object], int]]]


class _Building:
    def __init__(self) -> None:
        self.always: list[int] = []
        self.open: dict[tuple[str, Hashable], dict[int, str]] = {}
        self.keyed: dict[tuple[str, Hashable], list[int]] = {}
        self.names: dict[str, tuple[int, ...]] = {}
        self.globs: Globs = {}
        self.ancestor_names: dict[str, tuple[int, ...]] = {}
        self.ancestor_globs: Globs = {}

    def key(self, key: tuple[str, Hashable], number: int) -> None:
        self.keyed.setdefault(key, []).append(number)

    def unknown(self, feature: str, number: int, *, alone: bool) -> None:
        """File a rule under "`feature` is unknown": if that `alone` settles it, with the fact that it lacks."""
        if alone and feature in _MISSING:
            self.open.setdefault((feature, None), {})[number] = _MISSING[feature]
        else:
            self.key((feature, None), number)

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


def index(rules: Sequence[Rule], lifted: Container[str] = ()) -> Rulings:
    """The index of `rules`: what it leaves out for a subject cannot hold for it, and cannot be unknown either.

    `lifted` are ids of rules with exceptions, which are asked even where they are open.
    """
    building = _Building()
    for number, rule in enumerate(rules):
        _file(building, number, rule, alone=rule.id not in lifted)
    return Rulings(
        tuple(building.always),
        {key: tuple(numbers) for key, numbers in building.keyed.items()},
        building.open,
        building.names,
        {start: tuple(globs) for start, globs in building.globs.items()},
        building.ancestor_names,
        {start: tuple(globs) for start, globs in building.ancestor_globs.items()},
    )


def _file(building: _Building, number: int, rule: Rule, *, alone: bool) -> None:
    # A permission's unknown matters to no one unless the rule says so, but it must be asked all the same.
    alone = alone and len(rule.conditions) == 1 and rule.conditions[0].alone
    named = next((condition for condition in rule.conditions if condition.names is not None), None)
    if named is not None and named.names is not None:
        inherited = rule.inherit or named.key == "ancestor"
        if named.key != "ancestor":
            building.name(named.names, number, ancestors=False)
        if inherited:
            building.name(named.names, number, ancestors=True)
            building.unknown("lineage", number, alone=alone)
        return
    gated = [condition for condition in rule.conditions if condition.gate is not None and _usable(condition, rule)]
    best = min(gated, key=_rank, default=None)
    if best is not None and best.gate is not None and (_rank(best) < _TELLING.index("status") or not rule.scope.groups):
        _gated(building, number, best, inherited=rule.inherit and best.identity, alone=alone)
    elif rule.scope.groups:
        for group in rule.scope.groups:
            building.key(("group", group), number)
    else:
        building.always.append(number)


def _gated(building: _Building, number: int, condition: Condition, *, inherited: bool, alone: bool) -> None:
    for feature, value in condition.gate or ():
        if inherited:
            building.key((f"+{feature}", value), number)
        elif value is None:
            building.unknown(feature, number, alone=alone)
        else:
            building.key((feature, value), number)
    if inherited:
        building.unknown("lineage", number, alone=alone)


def _usable(condition: Condition, rule: Rule) -> bool:
    """A permission may hold for a project as a whole, which has no kind and no extension."""
    return not (rule.effect is Effect.ALLOW and condition.key in ("kind", "file"))


def _rank(condition: Condition) -> int:
    features = {feature for feature, _ in condition.gate or ()}
    return min((_TELLING.index(feature) for feature in features if feature in _TELLING), default=len(_TELLING))
