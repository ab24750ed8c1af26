"""What the evidence archive keeps of catalogue, lineage and findings, made into what judges again. Pure.

Each reads the canonical content of its noun and gives one whose own content is the same bytes; anything else is a
`ValueError`: to judge by less than was judged by would be another judgement.
"""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mirror.core.facts import Country, Listing, Owner, Publisher
from mirror.core.findings import Finding
from mirror.core.purl import parse_artifact
from mirror.policy.catalogue import Catalogue, Stated
from mirror.policy.lineage import Edge, Lineage, StatedEdge
from mirror.policy.reviewed import Reviewed

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T", Catalogue, Lineage, Reviewed)
#: Keys of a catalogue's record that are not as they stand a publisher's field.
_APART: Final = frozenset({"confidence", "project_confidence", "countries", "owners", "listings"})


def catalogue_from(content: bytes) -> Catalogue:
    """The catalogue of `Catalogue.content`. Raises `ValueError`."""
    try:
        found = Catalogue([_stated(row) for row in json.loads(content)])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a catalogue of this release: {error}") from error
    return _same(found, content, "catalogue")


def lineage_from(content: bytes) -> Lineage:
    """The relations of `Lineage.content`. Raises `ValueError`."""
    try:
        rows = json.loads(content)
        found = Lineage([
            StatedEdge(parse_artifact(child).project, Edge(parse_artifact(parent).project, relation, "catalogue", confidence), document)
            for child, parent, relation, confidence, document in rows
        ])  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a lineage of this release: {error}") from error
    return _same(found, content, "lineage")


def findings_from(content: bytes) -> Reviewed:
    """The findings of `Reviewed.content`. Raises `ValueError`."""
    try:
        found = Reviewed(Finding(**{**row, "at": datetime.fromisoformat(row["at"])}) for row in json.loads(content))
    except (KeyError, TypeError) as error:
        raise ValueError(f"not findings of this release: {error}") from error
    return _same(found, content, "set of findings")


def _same(found: T, content: bytes, what: str) -> T:
    if found.content != content:
        raise ValueError(f"not a {what} of this release: it would be read as another")
    return found


def _stated(row: Mapping[str, Any]) -> Stated:
    known = {field.name for field in fields(Publisher)}
    if unknown := sorted(row.keys() - known - _APART):
        raise ValueError(f"not a catalogue of this release: unknown key {unknown[0]!r}")
    plain = {key: _tuples(value) for key, value in row.items() if key not in _APART}
    publisher = Publisher(
        **plain,
        countries=tuple(Country(code, role, source, _day(as_of), grade) for code, role, source, as_of, grade in row["countries"]),
        owners=tuple(Owner(one, share, source, _day(as_of), _day(since), _day(until)) for one, share, source, as_of, since, until in row["owners"]),
        listings=tuple(Listing(one, source, _day(since), _day(until)) for one, source, since, until in row["listings"]),
    )
    return Stated(publisher, confidence=row["confidence"], project_confidence=_tuples(row["project_confidence"]))


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)
