"""Lock files as other tools write them: which files they name, and which of those a Python on a platform can use. Pure.

Read are `pylock.toml` (PEP 751), `uv.lock` and `poetry.lock`; the text says which of them it is, not the file's name. What
a lock leaves to an extra or a group is in it because somebody may install it, and so is wanted.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from mirror.bundle.targets import Target
from mirror.core.errors import InputError, Problem
from mirror.core.purl import normalise_pypi

#: Indexes whose files a mirror of the public index has under its own address.
PUBLIC: Final = frozenset({"pypi.org", "pypi.python.org", "files.pythonhosted.org"})
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
#: Conditions that the target does not answer: whoever installs chooses extras and groups.
_CHOSEN: Final = re.compile(r"\b(?:extras?|dependency_groups)\b")
#: Sources of a package in a lock that are no index.
_APART: Final = ("git", "url", "path", "directory", "editable", "virtual", "vcs", "archive", "file")
_OWN: Final = frozenset({"editable", "virtual", "directory"})


@dataclass(frozen=True, slots=True)
class LockedFile:
    """A file as a lock names it. `sha256` (hex) is None where the lock has another digest or none, `size` in bytes."""

    name: str
    sha256: str | None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """One release with the files that the lock permits. `index` is the host it was locked from ("": unsaid).

    `foreign` says what else than an index it comes from ("": from one). `number` is its place in the lock, from 0.
    """

    name: str
    version: str
    files: tuple[LockedFile, ...]
    number: int
    index: str = ""
    foreign: str = ""
    markers: tuple[str, ...] = ()  # one of which must hold; none: always
    python: str = ""  # Requires-Python (PEP 440)


@dataclass(frozen=True, slots=True)
class Edge:
    """`child` is needed where `marker` holds and one of `extras` of the parent is asked for (none: always)."""

    child: int
    marker: str = ""
    extras: tuple[str, ...] = ()  # of the child
    of: str = ""  # the parent's own extra that leads here


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file. `label` names it for people; `edges` by parent, where it tells them, begin at `roots`."""

    label: str
    packages: tuple[LockedPackage, ...]
    roots: tuple[int, ...] = ()
    edges: Mapping[int, tuple[Edge, ...]] | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What of a package is wanted; `lacking` names the targets that need it and for which it has no file."""

    package: LockedPackage
    files: tuple[LockedFile, ...]
    lacking: tuple[str, ...] = ()


def read_lock(text: str, source: str) -> Lock:
    """The lock in `text`; `source` names it. Raises `InputError` with every problem and its place."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError([Problem(source, "", f"not TOML: {error}")]) from None
    except RecursionError:
        raise InputError([Problem(source, "", "is nested too deeply")]) from None
    reading = _Reading(source)
    if "lock-version" in raw:
        lock = reading.pylock(raw)
    elif isinstance(raw.get("metadata"), dict) and "lock-version" in raw["metadata"]:
        lock = reading.poetry(raw)
    elif isinstance(raw.get("version"), int):
        lock = reading.uv(raw)
    else:
        raise InputError([Problem(source, "", "is neither a pylock.toml (PEP 751) nor a uv.lock nor a poetry.lock")])
    if reading.problems:
        raise InputError(reading.problems)
    return lock


def choose(lock: Lock, targets: Sequence[Target]) -> tuple[Choice, ...]:
    """What of `lock` is wanted for `targets` (none: every file). Wheels that no target can use are left out.

    A release without a wheel for a target gives its sdist.
    """
    chosen: dict[int, tuple[list[LockedFile], list[str]]] = {}
    if not targets:
        return tuple(Choice(package, package.files) for package in lock.packages if package.files or package.foreign)
    for target in targets:
        for number, sure in _needed(lock, target).items():
            package = lock.packages[number]
            if not (package.files or package.foreign):
                continue  # the project itself
            files, lacking = chosen.setdefault(number, ([], []))
            usable = [file for file in package.files if _fits(file.name, target)]
            usable = usable or [file for file in package.files if not file.name.endswith(".whl")]
            files += [file for file in usable if file not in files]
            if not usable and sure and not package.foreign:
                lacking.append(target.name)
    return tuple(Choice(lock.packages[number], tuple(files), tuple(lacking)) for number, (files, lacking) in sorted(chosen.items()))


def _fits(name: str, target: Target) -> bool:
    if not name.endswith(".whl"):
        return False
    try:
        tags = parse_wheel_filename(name)[3]
    except InvalidWheelFilename:
        return False
    return any(target.takes(tag) for tag in tags)


# --- what is needed where -----------------------------------------------------------------------------------------


def _needed(lock: Lock, target: Target) -> dict[int, bool]:
    """The packages that `target` needs: True for certain, False where it hangs on an extra or a group that may be chosen."""
    if lock.edges is None or not lock.roots:
        judged = ((number, _stands(package, target)) for number, package in enumerate(lock.packages))
        return {number: sure for number, sure in judged if sure is not None}
    found: dict[int, bool] = dict.fromkeys(lock.roots, True)
    asked: set[tuple[int, str, bool]] = set()
    waiting = [(root, extra, True) for root in lock.roots for extra in ("", *_extras(lock, root))]
    while waiting:
        state = waiting.pop()
        if state in asked:
            continue
        asked.add(state)
        number, extra, sure = state
        for edge in lock.edges.get(number, ()):
            holds = _holds((edge.marker,) if edge.marker else (), target)
            stands = _stands(lock.packages[edge.child], target)
            if edge.of != extra or holds is None or stands is None:
                continue
            certain = sure and holds and stands and not (extra and number in lock.roots)
            found[edge.child] = found.get(edge.child, False) or certain
            waiting += [(edge.child, wanted, certain) for wanted in ("", *edge.extras)]
    return found


def _extras(lock: Lock, number: int) -> set[str]:
    return {edge.of for edge in (lock.edges or {}).get(number, ()) if edge.of}


def _stands(package: LockedPackage, target: Target) -> bool | None:
    """As `_holds`, for what a package says of itself."""
    if package.python and target.python is not None:
        try:
            if not SpecifierSet(package.python).contains(f"{target.python}.99", prereleases=True):
                return None
        except InvalidSpecifier:
            return False
    return _holds(package.markers, target)


def _holds(markers: Sequence[str], target: Target) -> bool | None:
    """Whether one of `markers` holds: True; False where that is another's choice; None where none can."""
    best: bool | None = None if markers else True
    for text in markers:
        if _CHOSEN.search(text):
            best = best or False
            continue
        try:
            marker = Marker(text)
            if any(marker.evaluate(dict(environment)) for environment in target.environments()):
                return True
        except (InvalidMarker, UndefinedEnvironmentName):
            best = best or False
    return best


# --- reading ------------------------------------------------------------------------------------------------------


class _Reading:
    """One text, with everything that is wrong with it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[Problem] = []

    def pylock(self, raw: Mapping[str, Any]) -> Lock:
        """PEP 751."""
        if str(raw["lock-version"]).partition(".")[0] != "1":
            self._say("lock-version", f"is {raw['lock-version']!r}; this release reads 1.x")
        packages = []
        for number, row in self._rows(raw, "packages"):
            files = [(f"packages[{number}].wheels[{at}]", one) for at, one in enumerate(_tables(row, "wheels"))]
            files += [(f"packages[{number}].sdist", row["sdist"])] if isinstance(row.get("sdist"), Mapping) else []
            foreign = next((key for key in ("vcs", "directory", "archive") if key in row), "")
            named = tuple(found for place, one in files if (found := self._file(place, _pylock_name(one), one.get("hashes"), one.get("size"))))
            marker, python = row.get("marker"), row.get("requires-python")
            packages.append(
                LockedPackage(
                    *self._name(f"packages[{number}]", row, foreign), named, number, _host(row.get("index")), foreign,
                    (marker,) if isinstance(marker, str) else (), python if isinstance(python, str) else "",
                )
            )  # fmt: skip
        return Lock(self.source, tuple(packages))

    def uv(self, raw: Mapping[str, Any]) -> Lock:
        """`uv.lock`, https://docs.astral.sh/uv/concepts/projects/layout/#the-lockfile: no standard, version 1."""
        if raw["version"] != 1:
            self._say("version", f"is {raw['version']!r}; this release reads version 1 of uv.lock")
        rows = list(self._rows(raw, "package"))
        packages, roots = [], []
        for number, row in rows:
            stated = row.get("source")
            source: Mapping[str, Any] = stated if isinstance(stated, Mapping) else {}
            foreign = next((key for key in _APART if key in source), "")
            if foreign in _OWN:
                roots.append(number)
            files = [(f"package[{number}].wheels[{at}]", one) for at, one in enumerate(_tables(row, "wheels"))]
            files += [(f"package[{number}].sdist", row["sdist"])] if isinstance(row.get("sdist"), Mapping) else []
            named = () if foreign else tuple(
                found for place, one in files if (found := self._file(place, _pylock_name(one), one.get("hash"), one.get("size")))
            )  # fmt: skip
            name, version = self._name(f"package[{number}]", row, foreign)
            packages.append(
                LockedPackage(name, version, named, number, _host(source.get("registry")), "" if foreign in _OWN else foreign, _texts(row.get("resolution-markers")))
            )
        return Lock(self.source, tuple(packages), tuple(roots), _uv_edges(rows, packages))

    def poetry(self, raw: Mapping[str, Any]) -> Lock:
        """`poetry.lock` of Poetry 1.x and 2.x."""
        if str(raw["metadata"]["lock-version"]).partition(".")[0] not in ("1", "2"):
            self._say("metadata.lock-version", f"is {raw['metadata']['lock-version']!r}; this release reads 1.x and 2.x")
        apart = raw["metadata"].get("files")
        packages = []
        for number, row in self._rows(raw, "package"):
            stated = row.get("source")
            source: Mapping[str, Any] = stated if isinstance(stated, Mapping) else {}
            kind = str(source.get("type", ""))
            foreign = kind if kind in _APART else ""
            name, version = self._name(f"package[{number}]", row, foreign)
            listed = _tables(row, "files") or _tables(apart if isinstance(apart, Mapping) else {}, str(row.get("name")))
            files = tuple(
                found for at, one in enumerate(listed) if (found := self._file(f"package[{number}].files[{at}]", one.get("file"), one.get("hash"), None))
            )
            markers = row.get("markers")
            told = tuple(_texts(list(markers.values()))) if isinstance(markers, Mapping) else _texts(markers)
            index = _host(source.get("url")) if kind in ("legacy", "") else ""
            packages.append(LockedPackage(name, version, () if foreign else files, number, index, foreign, told))
        return Lock(self.source, tuple(packages))

    def _rows(self, raw: Mapping[str, Any], key: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
        rows = raw.get(key, [])
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
            self._say(key, "is not a list of tables")
            return
        yield from enumerate(rows)

    def _name(self, place: str, row: Mapping[str, Any], foreign: str) -> tuple[str, str]:
        name, version = row.get("name"), row.get("version")
        if not isinstance(name, str) or not name:
            self._say(place, "has no name")
            name = ""
        elif not isinstance(version, str) and not foreign:
            self._say(place, f"{name} has no version")
        return normalise_pypi(name), version if isinstance(version, str) else ""

    def _file(self, place: str, name: object, hashes: object, size: object) -> LockedFile | None:
        if not isinstance(name, str) or not name or "/" in name:
            self._say(place, "names no file")
            return None
        found = hashes.get("sha256") if isinstance(hashes, Mapping) else str(hashes or "").removeprefix("sha256:")
        sha256 = found if isinstance(found, str) and _SHA256.fullmatch(found) else None
        if sha256 is None:
            self._say(place, f"{name} is locked without a SHA-256, so that nothing would say whether it is the right file")
        return LockedFile(name, sha256, size if isinstance(size, int) else None)

    def _say(self, place: str, message: str) -> None:
        self.problems.append(Problem(self.source, place, message))


def _pylock_name(row: Mapping[str, Any]) -> object:
    """The file's name: stated, else the last part of its URL or path."""
    if isinstance(row.get("name"), str):
        return row["name"]
    where = row.get("url") or row.get("path") or row.get("filename")
    return unquote(urlsplit(where).path.rpartition("/")[2]) if isinstance(where, str) else None


def _uv_edges(rows: Sequence[tuple[int, Mapping[str, Any]]], packages: Sequence[LockedPackage]) -> dict[int, tuple[Edge, ...]]:
    numbers: dict[str, list[int]] = {}
    for number, package in enumerate(packages):
        numbers.setdefault(package.name, []).append(number)

    def towards(deps: Iterable[Any], of: str = "") -> Iterator[Edge]:
        for dep in deps:
            if isinstance(dep, Mapping) and isinstance(dep.get("name"), str):
                same = numbers.get(normalise_pypi(dep["name"]), [])
                exact = [number for number in same if dep.get("version") in (None, packages[number].version)]
                marker = dep.get("marker")
                yield from (Edge(number, marker if isinstance(marker, str) else "", _texts(dep.get("extra")), of) for number in exact)

    edges: dict[int, tuple[Edge, ...]] = {}
    for number, row in rows:
        found = list(towards(_tables(row, "dependencies")))
        for key in ("optional-dependencies", "dev-dependencies"):
            stated = row.get(key)
            groups: Mapping[str, Any] = stated if isinstance(stated, Mapping) else {}
            for group in groups:
                found += towards(_tables(groups, group), str(group))
        edges[number] = tuple(found)
    return edges


def _tables(row: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    rows = row.get(key)
    return [one for one in rows if isinstance(one, Mapping)] if isinstance(rows, list) else []


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _host(url: object) -> str:
    """`host` or `host:port` of an index's URL; empty where there is none."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        return parts.netloc.rpartition("@")[2].lower() if parts else ""
    except ValueError:
        return ""
