"""Rules as they were when a decision was taken: from what it cites, out of the evidence archive, and from nothing else."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from mirror.core.canonical import canonical
from mirror.core.errors import InputError
from mirror.lists.material import Part
from mirror.lists.official import configured, edition_of
from mirror.policy.compile import compile_policy
from mirror.policy.epoch import Epoch
from mirror.policy.lineage import Lineage
from mirror.policy.revived import catalogue_from, findings_from, lineage_from
from mirror.policy.screening import MATCHER

if TYPE_CHECKING:
    from mirror.core.ports import Archive
    from mirror.policy.catalogue import Catalogue
    from mirror.policy.rules import Policy
    from mirror.policy.screening import ScreeningList

#: How many sets of rules, and lists, are kept ready.
_KEPT: Final = 8


class NotArchived(Exception):
    """Something that a decision cites is not there, or this release cannot read it. `what` names it."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


@dataclass(frozen=True, slots=True)
class Revived:
    """The rules of a decision. `notes` say in what this release differs from the one that judged."""

    epoch: Epoch
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Row:
    """A list's settings as its rulebook has them (`lists.official.ListSettings`)."""

    loader: str
    source: tuple[str, ...]
    direction: str
    meaning: str
    basis: str
    jurisdictions: tuple[str, ...]
    since: date | None
    until: date | None
    subjects: tuple[str, ...] | None
    only: tuple[str, ...]
    guards: Mapping[str, Any] | None = None


class ArchivedRules:
    """What decisions cite, revived; the last few stay at hand."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._rules: OrderedDict[tuple[str, str, str], Revived] = OrderedDict()
        self._catalogues: OrderedDict[str, Catalogue] = OrderedDict()
        self._lineages: OrderedDict[str, Lineage] = OrderedDict()
        self._lists: OrderedDict[str, ScreeningList] = OrderedDict()

    async def of(self, decision: Mapping[str, Any]) -> Revived:
        """The rules under which `decision` (JSON) was taken. Raises `NotArchived`."""
        key = decision["policy"], decision["catalogue"], decision.get("rulebook", "")
        if key not in self._rules:
            _keep(self._rules, key, await self._revived(decision))
        self._rules.move_to_end(key)
        return self._rules[key]

    async def policy_texts(self, digest: str) -> tuple[tuple[str, str], ...]:
        """The files (name, text) of a policy. Raises `NotArchived`."""
        try:
            return tuple((str(name), str(text)) for name, text in json.loads(await self._fetched("policy", digest)))
        except (ValueError, TypeError):
            raise NotArchived(f"policy {digest}: is not a policy") from None

    async def compiled(self, digest: str, catalogue: Catalogue, lineage: Lineage, lists: Mapping[str, ScreeningList]) -> Policy:
        """An archived policy, judging by these. Raises `NotArchived`."""
        try:
            return compile_policy(await self.policy_texts(digest), catalogue, lineage, lists, run=False)
        except InputError as error:
            raise NotArchived(f"policy {digest}: cannot be read by this release: {error.problems[0]}") from None

    async def catalogue(self, digest: str) -> Catalogue:
        """The catalogue of a digest. Raises `NotArchived`."""
        if digest not in self._catalogues:
            content = await self._fetched("catalogue", digest)
            try:
                _keep(self._catalogues, digest, catalogue_from(content))
            except ValueError as error:
                raise NotArchived(f"catalogue {digest}: {error}") from None
        return self._catalogues[digest]

    async def _revived(self, decision: Mapping[str, Any]) -> Revived:
        cited = decision.get("rulebook", "")
        if not cited and decision["lists"]:
            raise NotArchived("rulebook: the decision names none, and lists are part of its rules")
        book = await self._rulebook(cited) if cited else {"lists": {}}
        for part in ("policy", "catalogue"):
            if part in book and book[part] != decision[part]:
                raise NotArchived(f"rulebook {cited}: is of another {part} than the decision cites")
        editions = {name: one["edition"] for name, one in book["lists"].items()}
        if editions != dict(decision["lists"]):
            raise NotArchived(f"rulebook {cited}: is of other editions than the decision cites")
        catalogue = await self.catalogue(decision["catalogue"])
        lineage = await self._lineage(book["lineage"]) if "lineage" in book else Lineage([])
        lists = {name: await self._list(name, one) for name, one in book["lists"].items()}
        if book.get("findings"):
            reviewed = findings_from(await self._fetched("findings", book["findings"]))
            lists = {name: one.under(reviewed) for name, one in lists.items()}
        policy = await self.compiled(decision["policy"], catalogue, lineage, lists)
        matcher = book.get("matcher", MATCHER)
        notes = (f"matched by {matcher} then, by {MATCHER} here",) if lists and matcher != MATCHER else ()
        return Revived(Epoch(0, policy, catalogue, lineage, lists), notes)

    async def _rulebook(self, digest: str) -> Mapping[str, Any]:
        try:
            found = json.loads(await self._fetched("rulebook", digest))
            if found["version"] == 1:
                return dict(found)
        except (ValueError, TypeError, KeyError):
            pass
        raise NotArchived(f"rulebook {digest}: cannot be read by this release")

    async def _lineage(self, digest: str) -> Lineage:
        if digest not in self._lineages:
            content = await self._fetched("lineage", digest)
            try:
                _keep(self._lineages, digest, lineage_from(content))
            except ValueError as error:
                raise NotArchived(f"lineage {digest}: {error}") from None
        return self._lineages[digest]

    async def _list(self, name: str, stated: Mapping[str, Any]) -> ScreeningList:
        key = sha256(canonical([name, stated])).hexdigest()
        if key not in self._lists:
            row = _row(name, stated)
            parts = await self._parts(row, stated["sha256"])
            try:
                edition = edition_of(name, row, parts)
            except InputError as error:
                raise NotArchived(f"list {name}: cannot be read by this release: {error.problems[0]}") from None
            if edition.digest != stated["sha256"]:
                raise NotArchived(f"list {name}: its files are not those of edition {stated['edition']}")
            _keep(self._lists, key, configured(name, row, replace(edition, id=stated["edition"])))
        return self._lists[key]

    async def _parts(self, row: _Row, digest: str) -> list[Part]:
        first = await self._fetched("list", digest)
        if len(row.source) == 1:
            return [Part(row.source[0], first)]
        return [Part(name, await self._fetched("list", one)) for name, one in json.loads(first)]

    async def _fetched(self, what: str, digest: str) -> bytes:
        found = await self._archive.fetch(digest)
        if found is None:
            raise NotArchived(f"{what} {digest}: is not in the evidence archive")
        return found


def _row(name: str, stated: Mapping[str, Any]) -> _Row:
    def day(text: str | None) -> date | None:
        return None if text is None else date.fromisoformat(text)

    try:
        return _Row(
            stated["loader"], tuple(stated["names"]), stated["direction"], stated["meaning"], stated["basis"], tuple(stated["jurisdictions"]),
            day(stated["from"]), day(stated["until"]), None if stated["subjects"] is None else tuple(stated["subjects"]), tuple(stated["only"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError):
        raise NotArchived(f"list {name}: the rulebook does not say how it was read") from None


def _keep(memory: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    memory[key] = value
    while len(memory) > _KEPT:
        memory.popitem(last=False)
