"""What a mutant is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One guard taken away. `traps` are rows of docs/traps.md, `edits` are (file, old text, new text), `test` a node id of pytest."""

    name: str
    traps: str
    edits: tuple[tuple[str, str, str], ...]
    test: str


def mutant(name: str, traps: str, file: str, old: str, new: str, test: str) -> Mutant:
    """A mutant of one edit; `file` is below mirror/, `test` below tests/."""
    return Mutant(name, traps, ((f"mirror/{file}", old, new),), f"tests/{test}")
