"""What was found out about a word, kept: words come again and again, names do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")

#: Words that are remembered at most, of each kind. A list of 40,000 names has about half as many.
MOST: Final = 32_768


class Remembered(dict[str, Value]):
    """A word -> what `make` says of it, made once. When full it is emptied: unlike `lru_cache` it keeps no order, and costs half."""

    __slots__ = ("_make", "_most")

    def __init__(self, make: Callable[[str], Value], most: int = MOST) -> None:
        """`make` must be pure: what it says of a word never changes."""
        self._make, self._most = make, most

    def __missing__(self, word: str) -> Value:
        found = self._make(word)
        if len(self) >= self._most:
            self.clear()
        self[word] = found
        return found
