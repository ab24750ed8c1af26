"""What an OSV database says against the releases of an index: the part of it that a judgement needs, and nothing else.

An entry (https://ossf.github.io/osv-schema/) names packages, and for each the versions that it affects: spelt out in
`versions`, as `ranges` of events, or both. Versions are compared as PEP 440 says. Other ecosystems are left aside, and
a withdrawn entry counts for nothing. Severities and texts are not kept: a whole database fits into little memory.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from packaging.utils import canonicalize_name, canonicalize_version
from packaging.version import InvalidVersion, Version

from mirror.core.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ECOSYSTEM: Final = "PyPI"
#: The schema's word for "before any version": PEP 440 itself sorts 0.dev0 before 0.
_FROM_THE_START: Final = "0"
_NO_LIMIT: Final = "*"
_EVENTS: Final = ("introduced", "fixed", "last_affected", "limit")
_ALL: Final = (("introduced", _FROM_THE_START),)
#: Answers and extracts kept in memory.
_ANSWERS: Final = 50_000
_EXTRACTS: Final = 256

Range = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Advisory:
    """One entry as it concerns one project. `names` are its id, then its aliases.

    `versions` holds the affected versions in canonical form, each between line feeds (a whole database lists more than a
    million); `ranges` the events of each range as (kind, version), in the order in which they were written.
    """

    names: tuple[str, ...]
    versions: str
    ranges: tuple[Range, ...]

    def affects(self, version: str) -> bool:
        """Whether `version` (PEP 440) is one of those affected. A local build (`1.0+cpu`) is also what it was built from."""
        return self._affects(version) or ("+" in version and self._affects(version.partition("+")[0]))

    def _affects(self, version: str) -> bool:
        return f"\n{canonicalize_version(version)}\n" in self.versions or any(_within(version, one) for one in self.ranges)


def _within(version: str, events: Range) -> bool:
    """The schema's evaluation: by each event in the order of versions, provided that the version is before a limit."""
    wanted = _parsed(version)
    limits = [limit for kind, limit in events if kind == "limit"]
    if limits and not any(limit == _NO_LIMIT or wanted < _parsed(limit) for limit in limits):
        return False
    affected = False
    for kind, at in sorted((event for event in events if event[0] != "limit"), key=_place):
        start = kind == "introduced" and at == _FROM_THE_START
        if kind == "introduced" and (start or wanted >= _parsed(at)):
            affected = True
        elif (kind == "fixed" and wanted >= _parsed(at)) or (kind == "last_affected" and wanted > _parsed(at)):
            affected = False
    return affected


def _place(event: tuple[str, str]) -> tuple[bool, Version]:
    """Where an event stands; of several at one version the order in which they were written holds."""
    start = event[0] == "introduced" and event[1] == _FROM_THE_START
    return not start, _parsed(event[1])


@lru_cache(maxsize=16384)
def _parsed(version: str) -> Version:
    return Version(version)


# --- reading one entry --------------------------------------------------------------------------------------------


class _Fault(ValueError):
    """`place` within an entry, and what is wrong there."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(message)
        self.place, self.message = place, message


class Collected:
    """Entries as they are read, one database after the other; `edition` closes the collection.

    `problems` are faults of form. `doubts` are entries whose ranges no PEP 440 reader can put in order.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.doubts: list[Problem] = []
        self.entries = 0
        self._found: dict[str, dict[tuple[str, ...], Advisory]] = {}
        self._shared: dict[Any, Any] = {}

    def take(self, raw: object, source: str) -> None:
        """One entry, or a list of them. `source` names the file in problems."""
        rows = raw if isinstance(raw, list) else [raw]
        for number, row in enumerate(rows):
            where = f"[{number}]." if isinstance(raw, list) else ""
            try:
                self._entry(row, source, where)
            except _Fault as fault:
                self.problems.append(Problem(source, where + fault.place, fault.message))

    def edition(self) -> Edition:
        """What was collected."""
        projects = {name: tuple(rows[key] for key in sorted(rows)) for name, rows in sorted(self._found.items())}
        return Edition(projects, self.entries)

    def _entry(self, raw: object, source: str, where: str) -> None:
        entry = _object(raw, "")
        names = (_text(entry.get("id"), "id"), *_texts(entry.get("aliases"), "aliases"))
        self.entries += 1
        if entry.get("withdrawn"):
            return
        for number, one in enumerate(_list(entry.get("affected"), "affected")):
            place = f"affected[{number}]"
            affected = _object(one, place)
            if affected.get("package") is None:
                continue  # a range of commits: no package that an index could have
            package = _object(affected["package"], f"{place}.package")
            ecosystem = _text(package.get("ecosystem"), f"{place}.package.ecosystem")
            if ecosystem.partition(":")[0] != ECOSYSTEM:
                continue
            project = canonicalize_name(_text(package.get("name"), f"{place}.package.name"))
            versions = _versions(_texts(affected.get("versions"), f"{place}.versions"))
            ranges, unordered = _ranges(_list(affected.get("ranges"), f"{place}.ranges"), f"{place}.ranges")
            if unordered:
                self.doubts.append(Problem(source, where + unordered, f"{names[0]}: not a PEP 440 version"))
                # Nothing is affected by accident, and nothing is cleared by one: where versions are spelt out they decide.
                ranges = ranges if versions else (*ranges, _ALL)
            self._put(project, tuple(dict.fromkeys(names)), versions, ranges)

    def _put(self, project: str, names: tuple[str, ...], versions: str, ranges: tuple[Range, ...]) -> None:
        rows = self._found.setdefault(project, {})
        before = rows.get(names)
        if before is not None:
            ranges = tuple(dict.fromkeys((*before.ranges, *ranges)))
            versions = versions if before.versions == versions else before.versions + versions
        rows[names] = Advisory(names, self._same(versions), self._same(ranges))

    def _same(self, value: Any) -> Any:
        """One object for equal ones: entries of a project repeat each other's versions."""
        return self._shared.setdefault(value, value)


def _versions(listed: Iterable[str]) -> str:
    found = dict.fromkeys(version for version in map(_canonical, listed) if version is not None)
    return f"\n{chr(10).join(found)}\n" if found else ""


@lru_cache(maxsize=16384)
def _canonical(version: str) -> str | None:
    """The one form of a version, None where it is none: no file that is served has such a version."""
    try:
        return canonicalize_version(Version(version))
    except InvalidVersion:
        return None


def _ranges(raw: Sequence[object], place: str) -> tuple[tuple[Range, ...], str]:
    """The ranges that speak of versions, and the place of the first that cannot be put in order ("": all can)."""
    found: list[Range] = []
    unordered = ""
    for number, one in enumerate(raw):
        where = f"{place}[{number}]"
        stated = _object(one, where)
        kind = _text(stated.get("type"), f"{where}.type")
        if kind == "GIT":
            continue
        if kind not in ("ECOSYSTEM", "SEMVER"):
            raise _Fault(f"{where}.type", f"expected ECOSYSTEM, SEMVER or GIT, found {kind[:40]!r}")
        events: list[tuple[str, str]] = []
        for at, event in enumerate(_list(stated.get("events"), f"{where}.events")):
            events += _event(_object(event, f"{where}.events[{at}]"), f"{where}.events[{at}]")
        bad = next((at for at, event in enumerate(events) if not _orderable(event)), None)
        if bad is None:
            found.append(tuple(events))
        else:
            unordered = unordered or f"{where}.events[{bad}]"
    return tuple(found), unordered


def _event(raw: Mapping[str, Any], place: str) -> list[tuple[str, str]]:
    found = [(kind, _text(raw[kind], f"{place}.{kind}")) for kind in _EVENTS if kind in raw]
    if not found:
        raise _Fault(place, f"none of {', '.join(_EVENTS)}")
    return found


def _orderable(event: tuple[str, str]) -> bool:
    if event == ("limit", _NO_LIMIT):
        return True
    try:
        Version(event[1])
    except InvalidVersion:
        return False
    return True


def _object(value: object, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _Fault(place, f"expected an object, found {_kind(value)}")
    return value


def _list(value: object, place: str) -> Sequence[object]:
    if value is not None and not isinstance(value, list):
        raise _Fault(place, f"expected a list, found {_kind(value)}")
    return value or ()


def _text(value: object, place: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _Fault(place, f"expected a text, found {_kind(value)}")
    return value.strip()


def _texts(value: object, place: str) -> tuple[str, ...]:
    return tuple(_text(one, f"{place}[{number}]") for number, one in enumerate(_list(value, place)))


def _kind(value: object) -> str:
    return "nothing" if value is None else "an empty text" if value == "" else f"{type(value).__name__} {str(value)[:40]!r}"


# --- what was read, as judgement asks it ---------------------------------------------------------------------------


class Edition:
    """A loaded database. `entries` counts all that was read, `digest` (SHA-256, hex) is that of `manifest`.

    The manifest names the extract of each project by its digest. An edition is archived by its manifest, and of its
    extracts those that decisions cite.
    """

    def __init__(self, projects: Mapping[str, tuple[Advisory, ...]], entries: int) -> None:
        self.entries = entries
        self._projects = projects
        digests = {name: hashlib.sha256(_extract(rows)).hexdigest() for name, rows in projects.items()}
        self.manifest = _written({"ecosystem": ECOSYSTEM, "entries": entries, "projects": digests})
        self.digest = hashlib.sha256(self.manifest).hexdigest()
        self._answers: OrderedDict[tuple[str, str], tuple[str, ...]] = OrderedDict()
        self._extracts: OrderedDict[str, tuple[str, bytes]] = OrderedDict()

    def __len__(self) -> int:
        """How many projects it speaks of."""
        return len(self._projects)

    def known(self, project: str, version: str) -> tuple[str, ...]:
        """Ids and aliases of what is known against a release: `project` normalised, `version` as PEP 440 writes it."""
        key = (project, version)
        found = self._answers.get(key)
        if found is None:
            rows = self._projects.get(project, ())
            found = tuple(dict.fromkeys(name for row in rows if row.affects(version) for name in row.names))
            self._answers[key] = found
            if len(self._answers) > _ANSWERS:
                self._answers.popitem(last=False)
        return found

    def extract(self, project: str) -> tuple[str, bytes] | None:
        """All that this edition says of a project, as canonical JSON with its digest; None where it says nothing."""
        if project not in self._projects:
            return None
        found = self._extracts.get(project)
        if found is None:
            body = _extract(self._projects[project])
            found = self._extracts[project] = (hashlib.sha256(body).hexdigest(), body)
            if len(self._extracts) > _EXTRACTS:
                self._extracts.popitem(last=False)
        return found


def _extract(rows: Sequence[Advisory]) -> bytes:
    return _written([{"names": row.names, "versions": row.versions.split(), "ranges": row.ranges} for row in rows])


def _written(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8", "backslashreplace")


__all__ = ["ECOSYSTEM", "Advisory", "Collected", "Edition"]
