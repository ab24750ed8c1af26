"""Matches under the eyes of reviewers: what was found of one, as long as neither side of it has changed. Pure."""

from __future__ import annotations

from dataclasses import fields, replace
from hashlib import sha256
from typing import TYPE_CHECKING

from mirror.core.canonical import canonical, instant
from mirror.core.findings import FALSE_MATCH, REOPENED
from mirror.policy.catalogue import folded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.core.decision import Match
    from mirror.core.facts import Publisher
    from mirror.core.findings import Finding
    from mirror.policy.entries import ListEntry


def subject_of(publisher: Publisher | None, name: str = "") -> str:
    """How findings call a publisher of the catalogue, or a name that it does not know."""
    return publisher.id if publisher is not None else f"name:{folded(name)}"


def subject_digest(publisher: Publisher | None, name: str = "") -> str:
    """SHA-256 (hex) of all that is compared of a publisher, and of what tells it from others: names, addresses, kind, countries, parent."""
    if publisher is None:
        return sha256(canonical([folded(name)])).hexdigest()
    countries = sorted({country.code for country in publisher.countries})
    said = [
        publisher.id, publisher.entity, publisher.kind, publisher.parent, sorted(publisher.aliases), sorted(publisher.web),
        sorted(publisher.identifiers),
        sorted(map(list, publisher.handles)), countries,
    ]  # fmt: skip
    return sha256(canonical(said)).hexdigest()


class Reviewed:
    """Findings by what they are about. Immutable."""

    __slots__ = ("_latest", "content")

    #: The findings that count, in canonical JSON: what the evidence archive keeps.
    content: bytes

    def __init__(self, findings: Iterable[Finding]) -> None:
        """Of several findings on one match the latest counts."""
        ordered = sorted(findings, key=lambda one: (one.at, one.id))
        self._latest = {(one.list, one.entry, one.subject): one for one in ordered}
        kept = sorted(self._latest.values(), key=lambda one: one.id)
        self.content = canonical([{**{field.name: getattr(one, field.name) for field in fields(one)}, "at": instant(one.at)} for one in kept])

    def __bool__(self) -> bool:
        """Whether anything was found."""
        return bool(self._latest)

    def of(self, listed: str, entry: str, subject: str) -> Finding | None:
        """The finding that counts, whatever has changed since."""
        return self._latest.get((listed, entry, subject))

    def marked(self, match: Match, entry: ListEntry, publisher: Publisher | None, name: str = "") -> Match:
        """`match` of a publisher (or a name) with what was found of it; `reopened` where either side has changed since."""
        found = self._latest.get((match.list, match.entry, subject_of(publisher, name)))
        if found is None:
            return match
        current = (found.entry_digest, found.subject_digest) == (entry.digest, subject_digest(publisher, name))
        return replace(match, finding=found.finding if current else REOPENED, verdict=found.id)


def stands(match: Match) -> bool:
    """Whether a match may still mean somebody: a false one is on the record and decides nothing."""
    return match.finding != FALSE_MATCH
