"""How much of what public sources say of models' roots is found without the shipped lineage."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from mirror.core.nouns import HUGGINGFACE, Artifact, Kind, Project
from mirror.policy.lineage import Lineage
from tests.support import lineage_cards
from tests.support.standin.hub import StandInHub

from .conftest import mirror_of

_RULES = 'version: 1\nrules:\n  - {id: line, when: {ancestor: {any: ["decoy/*"]}}, effect: deny, on_unknown: allow}\n'
#: One row in so many: the bench (`bench/lineage.py`) takes all.
_EVERY = 6


async def test_nine_roots_in_ten_are_found_and_no_wrong_one(tmp_path: Path) -> None:
    """With the shipped lineage withheld, at least 90 % of the stated roots are found, each form of telling has its share, none is wrong."""
    made, roots = lineage_cards.world()
    assert len(made) > 500
    async with StandInHub() as hub:
        lineage_cards.put(hub, made)
        async with mirror_of(hub, tmp_path / "m", _RULES) as mirror:
            book = mirror.book
            mirror.gateway._epoch = lambda: replace(book.current, lineage=Lineage([]))  # withheld
            found, wrong, forms = await measured(mirror.gateway, made, roots, _EVERY)
    assert wrong == []
    assert sum(found.values()) >= 0.9 * len(list(roots)[::_EVERY])
    assert set(forms) >= {"tag", "card", "prose", "config", "table", "silent"}


def true_line(name: str) -> set[str]:
    """Everything above a model by all rows, those included that no card tells."""
    above, found = {}, set()
    for row in lineage_cards.rows():
        above.setdefault(row["child"], set()).update((row["parent"], row["root"]))
    waiting = [name]
    while waiting:
        fresh = above.get(waiting.pop(), set()) - found
        found |= fresh
        waiting += fresh
    return found


async def measured(gateway, made, roots, every):
    """(1 for each child whose stated roots are all found, wrong answers, how often each form was asked)."""
    silent = [name for name, repo in made.items() if repo.form == "silent"]
    found, wrong, forms = Counter(), [], Counter()
    for name in [*list(roots)[::every], *silent[:: every * 2]]:
        facts = await gateway.describe(Artifact(Project(HUGGINGFACE, Kind.MODEL, name, "huggingface"), "", ""), frozenset({"ancestors"}))
        edges = facts.ancestors.value
        names = {edge.project.name for edge in edges}
        stated = roots.get(name, set())
        forms[made[name].form] += 1
        found[name] = int(bool(stated) and stated <= names)
        # A line that stops early is not known in full; a wrong one holds something that no source has above this model.
        wrong += [(name, made[name].form, other) for other in sorted(names - true_line(name))]
    return found, wrong, forms
