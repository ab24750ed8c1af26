"""Files to nouns: the catalogue, the shipped lineage, screening lists. The only file access of this package."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal

import mirror
from mirror.core.errors import InputError, Problem
from mirror.core.nouns import HUGGINGFACE, Kind, Project
from mirror.decode import decode, load_yaml
from mirror.lists import csv_plain, packs
from mirror.policy.catalogue import Catalogue
from mirror.policy.lineage import CONFIDENCE, Edge, Lineage, StatedEdge
from mirror.policy.screening import ListEntry, ScreeningList

#: The name under which the shipped catalogue stands in `catalogue:`.
BUILTIN: Final = "builtin"
LOADERS: Final[Mapping[str, Callable[[bytes, str], tuple[ListEntry, ...]]]] = {"csv": csv_plain.read}
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_REPOSITORY: Final = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)?")


@dataclass(frozen=True, slots=True)
class EdgeEntry:
    """A relation as written. `root` and `note` are for people."""

    child: str
    parent: str
    relation: Literal["finetune", "adapter", "merge", "quantized", "distill", "unknown"]
    confidence: packs.Grade
    root: str = ""
    source: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class EdgePack:
    """One YAML file of relations."""

    version: Literal[1]
    edges: tuple[EdgeEntry, ...]


def shipped(part: str) -> Path:
    """Folder `part` of the shipped configuration: `mirror/_config` in a wheel, `config` beside the package in a checkout."""
    package = Path(mirror.__file__).parent
    installed = package / "_config" / part
    return installed if installed.is_dir() else package.parent / "config" / part


# --- catalogue and lineage ----------------------------------------------------------------------------------------


def load_catalogue(names: Sequence[str] = (BUILTIN,), base: Path | None = None) -> Catalogue:
    """The catalogue of all packs in `names`: `builtin`, files or folders (relative to `base`); later ones win per id.

    Raises `InputError` with every problem of every file, then of the whole.
    """
    problems: list[Problem] = []
    layers: list[list[tuple[str, Any]]] = []
    for name in names:
        path = shipped("publishers") if name == BUILTIN else (base or Path()) / name
        layers.append([])
        for file in _files(path, (".yaml", ".yml"), problems):
            try:
                layers[-1].append((_label(file, base), load_yaml(_text(file), _label(file, base))))
            except InputError as error:
                problems.extend(error.problems)
    return parse_catalogue(layers, problems)


def parse_catalogue(layers: Sequence[Sequence[tuple[str, Any]]], problems: Sequence[Problem] = ()) -> Catalogue:
    """The catalogue of packs that are already YAML objects: layers of (source, object), later layers over earlier ones.

    Raises `InputError` with `problems` and everything found here.
    """
    found = list(problems)
    try:
        stated = packs.state(layers)
    except InputError as error:
        raise InputError([*found, *error.problems]) from None
    if found:
        raise InputError(found)
    return Catalogue.build(stated)


def load_lineage(path: Path | None = None) -> Lineage:
    """The shipped relations between models, or those of another file or folder (CSV or YAML).

    Raises `InputError` with every problem of every file.
    """
    problems: list[Problem] = []
    edges: list[StatedEdge] = []
    for file in _files(path or shipped("lineage"), (".csv", ".yaml", ".yml"), problems):
        label = _label(file, None)
        try:
            rows = _csv_edges(file, label, problems) if file.suffix == ".csv" else _yaml_edges(file, label)
            edges.extend(_edge(entry, label, place, problems) for place, entry in rows)
        except InputError as error:
            problems.extend(error.problems)
    if problems:
        raise InputError(problems)
    return Lineage.build(edges)


def _csv_edges(file: Path, label: str, problems: list[Problem]) -> Iterator[tuple[str, EdgeEntry]]:
    rows = csv.DictReader(io.StringIO(_text(file), newline=""), restkey="(cells beyond the header)")
    for row in rows:
        try:
            written = {name: cell for name, cell in row.items() if cell}
            yield f"line {rows.line_num}", decode(EdgeEntry, written, label, f"line {rows.line_num}")
        except InputError as error:
            problems.extend(error.problems)


def _yaml_edges(file: Path, label: str) -> Iterator[tuple[str, EdgeEntry]]:
    pack = decode(EdgePack, load_yaml(_text(file), label), label)
    yield from ((f"edges[{number}]", entry) for number, entry in enumerate(pack.edges))


def _edge(entry: EdgeEntry, label: str, place: str, problems: list[Problem]) -> StatedEdge:
    for key in ("child", "parent"):
        name = getattr(entry, key)
        if not _REPOSITORY.fullmatch(name):
            problems.append(Problem(label, f"{place}.{key}", f"{name!r} is not a repository (owner/name)"))
    child, parent = (Project(HUGGINGFACE, Kind.MODEL, name) for name in (entry.child, entry.parent))
    edge = Edge(parent, entry.relation, "catalogue", CONFIDENCE[entry.confidence])
    return StatedEdge(child, edge, entry.source, label, place)


# --- screening lists ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Guards:
    """What a new edition must satisfy before it replaces the old one. None switches a guard off.

    `min` entries at least; `max_shrink` (0-1) of the previous edition's entries may disappear; `max_age` of the file.
    """

    min: int | None = None
    max_shrink: float | None = None
    max_age: timedelta | None = None


def load_list(
    name: str, source_path: Path, config: Any, *, previous: ScreeningList | None = None, now: datetime | None = None
) -> ScreeningList:
    """The list at `source_path`. `config` is one entry of `lists:` (a mapping or an object with the same attributes).

    `edition` is the date in the file's name, else the first 12 digits of its SHA-256. The guard on shrinking needs
    `previous`, the one on age `now` (the file's modification time counts).
    Raises `InputError`: unknown loader (names those that exist), unreadable file, its faults, a guard that trips.
    """
    loader = _setting(config, "loader")
    if loader not in LOADERS:
        message = f"unknown loader {loader!r}; there are: {', '.join(LOADERS)}"
        raise InputError([Problem(f"lists.{name}", "loader", message)])
    problems: list[Problem] = []
    guards = read_guards(_setting(config, "guards"), name)
    label = str(source_path)
    data = _bytes(source_path)
    entries = LOADERS[loader](data, label)
    digest = sha256(data).hexdigest()
    dated = re.search(r"(?<!\d)(20\d\d-[01]\d-[0-3]\d)(?!\d)", source_path.name)
    edition = dated[1] if dated else digest[:12]
    if guards.min is not None and len(entries) < guards.min:
        problems.append(Problem(label, "", f"has {len(entries)} entries, fewer than guards.min {guards.min}"))
    if guards.max_shrink is not None and previous is not None:
        least = len(previous.entries) * (1 - guards.max_shrink)
        if len(entries) < least:
            message = f"has {len(entries)} entries after {len(previous.entries)}: beyond guards.max_shrink"
            problems.append(Problem(label, "", message))
    if guards.max_age is not None and now is not None:
        age = now - datetime.fromtimestamp(source_path.stat().st_mtime, UTC)
        if age > guards.max_age:
            problems.append(Problem(label, "", f"is {age} old, beyond guards.max_age {guards.max_age}"))
    if problems:
        raise InputError(problems)
    meaning, direction = _setting(config, "meaning") or "", _setting(config, "direction") or "both"
    return ScreeningList(name, edition, entries, meaning, direction, digest=digest)


def read_guards(raw: Any, name: str) -> Guards:
    """`guards:` of list `name` as written (`{min: 7000, max_shrink: 5%, max_age: 72h}`). Raises `InputError`."""
    problems: list[Problem] = []

    def fault(key: str, message: str) -> None:
        problems.append(Problem(f"lists.{name}", f"guards.{key}", message))

    if isinstance(raw, Mapping):
        for key in raw:
            if key not in ("min", "max_shrink", "max_age"):
                fault(str(key), "unknown guard; there are: min, max_shrink, max_age")
    least, shrink, age = (_setting(raw, key) for key in ("min", "max_shrink", "max_age"))
    if least is not None and (isinstance(least, bool) or not isinstance(least, int) or least < 0):
        fault("min", f"{least!r} is not a number of entries")
    if isinstance(shrink, str) and (percent := re.fullmatch(r"(\d{1,3}(?:\.\d+)?)\s*%", shrink)):
        shrink = float(percent[1]) / 100
    if shrink is not None and (isinstance(shrink, (bool, str)) or not 0 <= shrink <= 1):
        fault("max_shrink", f"{shrink!r} is not a share such as 5% or 0.05")
    if isinstance(age, str) and (span := re.fullmatch(r"(\d{1,6})\s*(s|m|h|d|w)", age)):
        age = timedelta(seconds=int(span[1]) * _SECONDS[span[2]])
    if age is not None and not isinstance(age, timedelta):
        fault("max_age", f"{age!r} is not a duration such as 72h or 7d")
    if problems:
        raise InputError(problems)
    return Guards(least, shrink, age)


# --- files --------------------------------------------------------------------------------------------------------


def _setting(config: Any, key: str) -> Any:
    return config.get(key) if isinstance(config, Mapping) else getattr(config, key, None)


def _label(file: Path, base: Path | None) -> str:
    return str(file.relative_to(base)) if base is not None and file.is_relative_to(base) else str(file)


def _files(path: Path, suffixes: Sequence[str], problems: list[Problem]) -> list[Path]:
    """The file itself, or those of a folder in the order of their names."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        problems.append(Problem(str(path), "", "does not exist"))
        return []
    files = sorted(file for file in path.iterdir() if file.suffix in suffixes and file.is_file())
    if not files:
        problems.append(Problem(str(path), "", f"holds no {' or '.join(suffixes)} file"))
    return files


def _text(file: Path) -> str:
    try:
        return _bytes(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError([Problem(str(file), "", f"is not UTF-8 (byte {error.start})")]) from None


def _bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(csv_plain.MAX_BYTES + 1)
    except OSError as error:
        raise InputError([Problem(str(file), "", error.strerror or str(error))]) from None
    if len(data) > csv_plain.MAX_BYTES:
        raise InputError([Problem(str(file), "", f"is larger than {csv_plain.MAX_BYTES} bytes")])
    return data
