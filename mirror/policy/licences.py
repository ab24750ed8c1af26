"""Licences as rules read them: SPDX expressions (https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/).

Hub cards carry looser words (`cc-by-nc-4.0`, `other`, `llama3`); they are single identifiers here, compared without
case. An expression that does not parse is one identifier, as it stands.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: What hubs and indexes write where no licence is stated.
UNSTATED: Final = frozenset({"", "unknown", "none", "noassertion", "unlicensed-unknown"})

_TOKEN: Final = re.compile(r"\(|\)|[^\s()]+")

#: ("id", name) | ("and" | "or", left, right)
Tree = tuple[str, ...] | tuple[str, "Tree", "Tree"]


def is_unstated(value: str) -> bool:
    """Whether a declared value says nothing."""
    return value.strip().casefold() in UNSTATED


@functools.lru_cache(maxsize=4096)
def parse(expression: str) -> Tree:
    """The tree of an expression; `WITH` stays part of its identifier. Never raises."""
    tokens = _TOKEN.findall(expression)[:512]
    try:
        tree, rest = _or(tokens, 0, 0)
    except (IndexError, ValueError):
        return ("id", expression.strip().casefold())
    return tree if rest == len(tokens) else ("id", expression.strip().casefold())


def bound_by(expression: str, wanted: Callable[[str], bool]) -> bool:
    """Whether nobody can take the work without accepting a licence that is `wanted`.

    Of `A OR B` the taker picks one, so both must be wanted; of `A AND B` one is enough.
    """
    return _fold(parse(expression), wanted, either=all, both=any)


def satisfied_by(expression: str, permitted: Callable[[str], bool]) -> bool:
    """Whether the work can be taken under `permitted` licences only: one branch of an OR, every part of an AND."""
    return _fold(parse(expression), permitted, either=any, both=all)


@functools.lru_cache(maxsize=4096)
def identifiers(expression: str) -> frozenset[str]:
    """Every licence that an expression names, with and without its exception."""
    found: set[str] = set()

    def note(name: str) -> bool:
        found.add(name)
        return False

    _fold(parse(expression), note, either=any, both=any)
    return frozenset(found)


def _fold(tree: Tree, test: Callable[[str], bool], *, either: Callable[..., bool], both: Callable[..., bool]) -> bool:
    if tree[0] == "id":
        name = str(tree[1])
        return test(name) or (" with " in name and test(name.partition(" with ")[0]))
    parts = [_fold(part, test, either=either, both=both) for part in tree[1:] if isinstance(part, tuple)]
    return either(parts) if tree[0] == "or" else both(parts)


def _or(tokens: list[str], at: int, depth: int) -> tuple[Tree, int]:
    left, at = _and(tokens, at, depth)
    while at < len(tokens) and tokens[at].upper() == "OR":
        right, at = _and(tokens, at + 1, depth)
        left = ("or", left, right)
    return left, at


def _and(tokens: list[str], at: int, depth: int) -> tuple[Tree, int]:
    left, at = _one(tokens, at, depth)
    while at < len(tokens) and tokens[at].upper() == "AND":
        right, at = _one(tokens, at + 1, depth)
        left = ("and", left, right)
    return left, at


def _one(tokens: list[str], at: int, depth: int) -> tuple[Tree, int]:
    if depth > 32:
        raise ValueError("nested too deep")
    if tokens[at] == "(":
        tree, at = _or(tokens, at + 1, depth + 1)
        if tokens[at] != ")":
            raise ValueError("unbalanced")
        return tree, at + 1
    if tokens[at] == ")" or tokens[at].upper() in ("AND", "OR", "WITH"):
        raise ValueError("an operator where a licence belongs")
    name = tokens[at].casefold()
    if at + 2 < len(tokens) and tokens[at + 1].upper() == "WITH":
        return ("id", f"{name} with {tokens[at + 2].casefold()}"), at + 3
    return ("id", name), at + 1
