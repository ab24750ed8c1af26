"""How many steps a backtracking matcher takes for a pattern and a text: counted, not timed, so that a slow machine is no bug.

Walks Python's own parse of the pattern (`re._parser`) the way `re` does, without its shortcuts: an upper bound.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

parser: Any = re._parser
_SMALL = {"CATEGORY_DIGIT": str.isdigit, "CATEGORY_SPACE": str.isspace, "CATEGORY_WORD": lambda c: c.isalnum() or c == "_"}


class TooManySteps(Exception):
    """The bound was passed."""


class Counter:
    """One match; `steps` counts characters and choices looked at."""

    def __init__(self, pattern: re.Pattern[str], limit: int = 3_000_000) -> None:
        self.tree = parser.parse(pattern.pattern, pattern.flags)
        self.fold = bool(pattern.flags & re.IGNORECASE)
        self.steps, self.limit = 0, limit

    def fullmatch(self, text: str) -> bool:
        """Whether the whole of `text` matches, as `re` has it."""
        return any(end == len(text) for end in self._sequence(list(self.tree), text, 0, {}))

    def _tick(self) -> None:
        self.steps += 1
        if self.steps > self.limit:
            raise TooManySteps

    def _sequence(self, items: list[Any], text: str, at: int, groups: dict[int, Any]) -> Iterator[int]:
        if not items:
            yield at
            return
        (op, argument), rest = items[0], items[1:]
        for end in self._one(str(op), argument, text, at, groups):
            yield from self._sequence(rest, text, end, groups)

    def _one(self, op: str, argument: Any, text: str, at: int, groups: dict[int, Any]) -> Iterator[int]:
        self._tick()
        if op in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
            if at < len(text) and self._fits(op, argument, text[at]):
                yield at + 1
        elif op == "SUBPATTERN":
            yield from self._sequence(list(argument[3]), text, at, groups)
        elif op == "BRANCH":
            for choice in argument[1]:
                yield from self._sequence(list(choice), text, at, groups)
        elif op in ("MAX_REPEAT", "MIN_REPEAT"):
            low, high, body = argument
            yield from self._repeat(int(low), high, list(body), text, at, 0, groups)
        elif op in ("ASSERT", "ASSERT_NOT"):
            held = any(True for _ in self._sequence(list(argument[1]), text, at, groups)) if argument[0] > 0 else False
            if held is (op == "ASSERT"):
                yield at
        elif op == "AT":
            yield at
        else:
            raise NotImplementedError(op)

    def _repeat(self, low: int, high: Any, body: list[Any], text: str, at: int, done: int, groups: dict[int, Any]) -> Iterator[int]:
        # Runs of one character class are followed without recursion: such runs are thousands of characters long.
        if len(body) == 1 and str(body[0][0]) in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
            end = at
            while end < len(text) and (high is parser.MAXREPEAT or end - at < high) and self._fits(str(body[0][0]), body[0][1], text[end]):
                self._tick()
                end += 1
            for stop in range(end, at + low - 1, -1):
                self._tick()
                yield stop
            return
        if high is parser.MAXREPEAT or done < high:
            for end in self._sequence(body, text, at, groups):
                if end > at:
                    yield from self._repeat(low, high, body, text, end, done + 1, groups)
        if done >= low:
            yield at

    def _fits(self, op: str, argument: Any, character: str) -> bool:
        if op == "ANY":
            return character != "\n"
        if op in ("LITERAL", "NOT_LITERAL"):
            same = chr(argument) == character or (self.fold and chr(argument).lower() == character.lower())
            return same is (op == "LITERAL")
        negate = bool(argument) and str(argument[0][0]) == "NEGATE"
        return any(self._member(str(kind), value, character) for kind, value in argument if str(kind) != "NEGATE") is not negate

    def _member(self, kind: str, value: Any, character: str) -> bool:
        if kind == "RANGE":
            return value[0] <= ord(character) <= value[1] or (self.fold and value[0] <= ord(character.lower()) <= value[1])
        if kind == "CATEGORY":
            name = str(value)
            test: Callable[[str], bool] = _SMALL[name.replace("_NOT", "")]
            return test(character) is ("_NOT_" not in name)
        return value == ord(character)


def growth(pattern: re.Pattern[str], make: Callable[[int], str], size: int = 64) -> float:
    """How much more work a text twice as long is: about 2 where the work is linear, 4 where it is quadratic."""
    counts = []
    for length in (size, 2 * size):
        counter = Counter(pattern)
        counter.fullmatch(make(length))
        counts.append(counter.steps)
    return counts[1] / counts[0]
