"""What was left out, for people: a line each, or where there are many a line for each project and rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

#: Up to so many are told one by one.
_SINGLY: Final = 20


@dataclass(frozen=True, slots=True)
class Left:
    """One thing: what became of it in a word, its name (an artifact, or a name as wants have it), by which rule, in which sentence."""

    word: str
    name: str
    rule: str
    sentence: str

    @property
    def project(self) -> str:
        """What it is a file or a revision of."""
        return self.name.partition("#")[0].partition("?")[0].partition("@")[0]


def told_shortly(rows: Sequence[Left]) -> Iterator[str]:
    """The lines. A group is told by its first sentence; all names are in `--json`, and of an import in the receipt."""
    if len(rows) <= _SINGLY:
        yield from (f"{one.word}  {one.name}  {one.sentence}" for one in rows)
        return
    groups: dict[tuple[str, str, str], list[Left]] = {}
    for one in rows:
        groups.setdefault((one.word, one.project, one.rule), []).append(one)
    for (word, project, rule), found in groups.items():
        if len(found) == 1:
            yield f"{word}  {found[0].name}  {found[0].sentence}"
            continue
        yield f"{word}  {project}  {len(found)} files{f' by {rule}' if rule else ''}: {found[0].sentence}"
