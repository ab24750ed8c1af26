"""The operators of conditions: a scalar or a list means `any`.

For a fact with several values: `any` some value is listed, `all` every value is listed, `none` no value is listed,
`not_in` some value is not listed. For a single value `all` is `any` and `none` is `not_in`.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from mirror.core.errors import Problem
from mirror.policy.subject import FAILS, HOLDS, OPEN, Truth

if TYPE_CHECKING:
    from mirror.policy.catalogue import Catalogue
    from mirror.policy.screening import ScreeningList

T = TypeVar("T")

WORDS: Final = ("any", "all", "none", "not_in")
ORDERS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge,
}  # fmt: skip


@dataclass(slots=True)
class Building:
    """What the compiler knows while it reads one file, and where it puts what is wrong."""

    source: str
    sets: Mapping[str, frozenset[str]]
    lists: Mapping[str, ScreeningList]
    catalogue: Catalogue
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    screened: dict[Any, Any] = field(default_factory=dict)  # what lists said of a publisher, shared by all rules
    permits: bool = False  # whether the rule at hand has effect allow
    groups: Collection[str] | None = None  # the groups that exist, None where that is not known

    def wrong(self, place: str, message: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(self.source, place, message))

    def warn(self, place: str, message: str) -> None:
        """Note what is permitted and probably not meant."""
        self.warnings.append(Problem(self.source, place, message))


@dataclass(frozen=True, slots=True)
class Test(Generic[T]):
    """One operator with its operand, as a predicate over one value."""

    word: str
    listed: Callable[[T], Any]


def words(
    building: Building, place: str, raw: Any, convert: Callable[[Any], Iterable[T]], *, extra: Sequence[str] = ()
) -> list[tuple[str, tuple[T, ...]]]:
    """(operator, operand) pairs of a condition; each listed item goes through `convert`, its `ValueError`s noted."""
    pairs = [("any", raw)]
    if isinstance(raw, Mapping):
        known = (*WORDS, *extra)
        for key in raw:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
                building.wrong(place, f"unknown operator {key!r}; {hint}")
        pairs = [(key, raw[key]) for key in WORDS if key in raw]
        if not pairs and not any(key in raw for key in ORDERS):
            building.wrong(place, f"needs one of {', '.join(WORDS)}")
    return [(word, tuple(_converted(building, place, operand, convert))) for word, operand in pairs]


def _converted(building: Building, place: str, raw: Any, convert: Callable[[Any], Iterable[T]]) -> Iterable[T]:
    items = raw if isinstance(raw, (list, tuple)) else [raw]
    if not items or raw is None:
        building.wrong(place, "names nothing")
        return
    for item in items:
        try:
            yield from convert(item)
        except ValueError as error:
            building.wrong(place, str(error))


def numbers(
    building: Building, place: str, raw: Any, convert: Callable[[Any], float]
) -> list[tuple[str, float]]:
    """(operator, bound) pairs of a condition that compares. An empty range is a problem."""
    if not isinstance(raw, Mapping) or not raw:
        building.wrong(place, "needs lt, lte, gt or gte")
        return []
    found: list[tuple[str, float]] = []
    for key, operand in raw.items():
        if key not in ORDERS:
            building.wrong(place, f"unknown operator {key!r}; known: {', '.join(ORDERS)}")
            continue
        try:
            found.append((key, convert(operand)))
        except ValueError as error:
            building.wrong(place, str(error))
    bounds = dict(found)
    low, high = bounds.get("gt", bounds.get("gte")), bounds.get("lt", bounds.get("lte"))
    if low is not None and high is not None and (low > high or (low == high and not ("gte" in bounds and "lte" in bounds))):
        building.wrong(place, "nothing can be in this range")
    return found


Asked = tuple[Truth, str, int]

_NO: Final[Asked] = (FAILS, "A", -1)
_OPEN: Final[Asked] = (OPEN, "A", -1)


def asking(tests: Sequence[Test[T]]) -> Callable[[Sequence[tuple[T, str]], bool], Asked]:
    """`ask` for these tests. By far the commonest, a single one, is answered without looking at operators."""
    if len(tests) != 1:
        return lambda values, complete: ask(tests, values, complete=complete)
    word, listed = tests[0].word, tests[0].listed
    return _some(listed, word == "any") if word in ("any", "not_in") else _every(listed, word == "all")


def _some(listed: Callable[[T], Any], wanted: bool) -> Callable[[Sequence[tuple[T, str]], bool], Asked]:
    def some(values: Sequence[tuple[T, str]], complete: bool) -> Asked:
        witness, best = -1, "~"
        for index, (value, weight) in enumerate(values):
            if weight < best and bool(listed(value)) is wanted:
                witness, best = index, weight
        return (HOLDS, best, witness) if witness >= 0 else _NO if complete else _OPEN

    return some


def _every(listed: Callable[[T], Any], wanted: bool) -> Callable[[Sequence[tuple[T, str]], bool], Asked]:
    def every(values: Sequence[tuple[T, str]], complete: bool) -> Asked:
        weakest = "A"
        for value, weight in values:
            if bool(listed(value)) is not wanted:
                return _NO
            weakest = max(weakest, weight)
        if not complete or (wanted and not values):
            return _OPEN
        return HOLDS, weakest, 0 if values else -1

    return every


def fits(tests: Sequence[Test[T]], value: T) -> bool:
    """Whether the one value of a fact passes all `tests`: for a single value `all` is `any`, `none` is `not_in`."""
    return all(bool(test.listed(value)) is (test.word in ("any", "all")) for test in tests)


def ask(tests: Sequence[Test[T]], values: Sequence[tuple[T, str]], *, complete: bool) -> Asked:
    """The truth of all `tests` over (value, grade) pairs, the grade of its evidence, and the index of a witness (-1: none).

    With `complete` False the values are a lower bound: what they do not settle is unknown.
    """
    truth, grade, witness = HOLDS, "A", -1
    for test in tests:
        positive = test.word in ("any", "all")
        wanted = test.word in ("any", "none")  # whether a listed value (else an unlisted one) settles it
        best = -1
        for index, (value, weight) in enumerate(values):
            if bool(test.listed(value)) is wanted and (best < 0 or weight < values[best][1]):
                best = index
        settles = test.word in ("any", "not_in")
        if best >= 0:
            if not settles:
                return FAILS, "A", -1
            grade, witness = max(grade, values[best][1]), best
        elif settles:
            if complete:
                return FAILS, "A", -1
            truth = OPEN
        elif not complete or (positive and not values):
            truth = OPEN
        else:
            grade = max([grade, *(weight for _, weight in values)])
            witness = 0 if values and witness < 0 else witness
    return truth, grade, witness


def only_any(pairs: Sequence[tuple[str, tuple[Any, ...]]]) -> bool:
    """Whether `any` is the only operator."""
    return len(pairs) == 1 and pairs[0][0] == "any"


def gate(feature: str, pairs: Sequence[tuple[str, tuple[Any, ...]]]) -> frozenset[tuple[str, Hashable]] | None:
    """The index keys without which an `any` cannot hold; (feature, None) stands for unknown. None: no such keys."""
    for word, operand in pairs:
        if word == "any":
            return frozenset({*((feature, item) for item in operand), (feature, None)})
    return None


def fraction(building: Building, place: str, raw: Any, default: float) -> int:
    """A number from 0 to 1 in 1/10,000; None is the default."""
    value = default if raw is None else raw
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        building.wrong(place, f"expected a number from 0 to 1, found {value!r}")
        value = default
    return round(value * 10_000)
