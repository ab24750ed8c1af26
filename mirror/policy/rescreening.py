"""Everybody who was asked for against lists, and what another edition changes in that. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mirror.policy.reviewed import stands
from mirror.policy.screening import REVIEW

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from mirror.core.decision import Match
    from mirror.core.facts import Publisher
    from mirror.core.traffic import Seen
    from mirror.policy.catalogue import Catalogue
    from mirror.policy.screening import ScreeningList

#: (subject, list, entry) -> the match.
Standing = dict[tuple[str, str, str], "Match"]


def called(seen: Seen) -> str:
    """What a subject of traffic is called: the publisher's id, a stranger's handle on its hub, or its project."""
    return seen.publisher or (f"{seen.ecosystem}:{seen.owner}" if seen.owner else f"pkg:{seen.ecosystem}/{seen.projects[0]}")


def screen_one(
    publisher: Publisher | None, names: Sequence[str], lists: Iterable[ScreeningList], catalogue: Catalogue, day: date
) -> tuple[Match, ...]:
    """Every match of one publisher (with whoever stands above it) or of names, on all lists, best first."""
    parents = () if publisher is None else catalogue.parents_of(publisher)
    countries = () if publisher is None else tuple(country.code for country in catalogue.countries_of(publisher))
    found = [m for one in lists for m in one.screen(publisher, names, parents=parents, countries=countries, on=day)]
    return tuple(sorted(found, key=lambda match: (not stands(match), -match.score, match.list, match.entry)))


def of_traffic(seen: Seen, catalogue: Catalogue) -> tuple[Publisher | None, tuple[str, ...]]:
    """Who somebody in traffic is today: the catalogue may know a stranger by now, or somebody no longer."""
    publisher = catalogue.by_id(seen.publisher) if seen.publisher else None
    if publisher is None and seen.owner:
        publisher = catalogue.by_handle(seen.ecosystem, seen.owner)
    if publisher is not None:
        return publisher, tuple(name for name in seen.names if name.casefold() != seen.owner.casefold())
    return None, seen.names or ((seen.publisher,) if seen.publisher else ())


def standing(seen: Iterable[Seen], lists: Mapping[str, ScreeningList], catalogue: Catalogue, day: date) -> Standing:
    """Every match from the review band up, on these lists, of everybody in `seen`."""
    found: Standing = {}
    for one in seen:
        publisher, names = of_traffic(one, catalogue)
        for match in screen_one(publisher, names, lists.values(), catalogue, day):
            if match.score >= REVIEW:
                found[called(one), match.list, match.entry] = match
    return found


@dataclass(frozen=True, slots=True)
class Change:
    """A match that appeared, went, or weighs otherwise. Scores in 1/10,000, None where there is no match."""

    subject: str
    list: str
    entry: str
    name: str
    before: int | None
    after: int | None
    decisions: int

    @property
    def word(self) -> str:
        """`appeared`, `gone` or `changed`."""
        return "appeared" if self.before is None else "gone" if self.after is None else "changed"

    def row(self) -> dict[str, Any]:
        """As records and tables have it."""
        return {
            "subject": self.subject, "list": self.list, "entry": self.entry, "name": self.name, "change": self.word,
            "before": self.before, "after": self.after, "decisions": self.decisions,
        }  # fmt: skip


def changes(before: Mapping[tuple[str, str, str], int], after: Standing, seen: Iterable[Seen], names: Mapping[tuple[str, str, str], str]) -> list[Change]:
    """What differs, by subject; `names` are those of entries that went."""
    asked = {called(one): one.decisions for one in seen}
    found = []
    for key in sorted({*before, *after}):
        old, match = before.get(key), after.get(key)
        if old != (match.score if match else None):
            name = match.name if match else names.get(key, "")
            found.append(Change(*key, name, old, match.score if match else None, asked.get(key[0], 0)))
    return found


def replaced(before: Mapping[str, ScreeningList], after: Mapping[str, ScreeningList]) -> frozenset[str]:
    """The lists of which another edition is in force, those that came and went included."""
    return frozenset(
        name for name in {*before, *after}
        if name not in before or name not in after or (before[name].edition, before[name].digest) != (after[name].edition, after[name].digest)
    )  # fmt: skip
