"""Files to nouns: the catalogue and the shipped lineage."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import mirror
from mirror.core.errors import InputError, Problem
from mirror.core.nouns import HUGGINGFACE, Kind, Project
from mirror.decode import DuplicateKeys, decode, load_yaml
from mirror.lists import packs, signed
from mirror.lists.material import read_file
from mirror.policy.catalogue import Catalogue
from mirror.policy.lineage import CONFIDENCE, Edge, Lineage, StatedEdge

#: The name under which the shipped catalogue stands in `catalogue:`.
BUILTIN: Final = "builtin"
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

    A signed pack (`*.pack`) stands in the place of everything before it, where it is there; who signed it was asked when it
    came into force.

    Raises `InputError` with every problem of every file, then of the whole.
    """
    problems: list[Problem] = []
    layers = []
    for name in names:
        path = shipped("publishers") if name == BUILTIN else (base or Path()) / name
        if path.suffix == signed.SUFFIX:
            if path.exists():
                layers = [_signed(path, _label(path, base), problems)]
            continue
        texts = []
        for file in _files(path, (".yaml", ".yml"), problems):
            try:
                texts.append((_label(file, base), _text(file)))
            except InputError as error:
                problems.extend(error.problems)
        layers.append(tuple(texts))
    return _catalogue(tuple(layers), tuple(problems))


def _signed(path: Path, label: str, problems: list[Problem]) -> tuple[tuple[str, str], ...]:
    try:
        pack = signed.read_pack(read_file(path).data, label)
        return ((f"{label} {pack.edition.number}", pack.content.decode("utf-8")),)
    except InputError as error:
        problems.extend(error.problems)
    except UnicodeDecodeError as error:
        problems.append(Problem(label, f"byte {error.start}", "not UTF-8"))
    return ()


@lru_cache(maxsize=1)
def _catalogue(layers: tuple[tuple[tuple[str, str], ...], ...], problems: tuple[Problem, ...]) -> Catalogue:
    """The catalogue of layers of (label, text). A policy that is read anew most often stands on the same packs as before."""
    found, whole = list(problems), not problems
    objects: list[list[tuple[str, Any]]] = [[] for _ in layers]
    for layer, read in zip(layers, objects, strict=True):
        for label, text in layer:
            try:
                read.append((label, load_yaml(text, label)))
            except DuplicateKeys as error:
                found.extend(error.problems)
                read.append((label, error.value))
            except InputError as error:
                found.extend(error.problems)
                whole = False
    return parse_catalogue(objects, found, whole=whole)


def parse_catalogue(layers: Sequence[Sequence[tuple[str, Any]]], problems: Sequence[Problem] = (), *, whole: bool = True) -> Catalogue:
    """The catalogue of packs that are already YAML objects: layers of (source, object), later layers over earlier ones.

    Raises `InputError` with `problems`, everything found here and the doubts: of entries that cannot be read their shape, of
    all others also how they stand together. Without `whole` there are packs that `layers` have not.
    """
    read = packs.read(layers, whole=whole)
    if problems or read.problems:
        faults, doubts = Catalogue.faults(read.publishers, read.unread)
        raise InputError([*problems, *read.problems, *faults], doubts)
    return Catalogue.build(read.publishers)


def load_lineage(path: Path | None = None) -> Lineage:
    """The shipped relations between models, or those of another file or folder (CSV or YAML).

    Raises `InputError` with every problem of every file.
    """
    problems: list[Problem] = []
    texts = []
    for file in _files(path or shipped("lineage"), (".csv", ".yaml", ".yml"), problems):
        try:
            texts.append((_label(file, None), _text(file)))
        except InputError as error:
            problems.extend(error.problems)
    return _lineage(tuple(texts), tuple(problems))


@lru_cache(maxsize=1)
def _lineage(texts: tuple[tuple[str, str], ...], problems: tuple[Problem, ...]) -> Lineage:
    """The relations of (label, text), kept like the catalogue's."""
    found = list(problems)
    edges: list[StatedEdge] = []
    for label, text in texts:
        try:
            rows = _csv_edges(text, label, found) if label.endswith(".csv") else _yaml_edges(text, label)
            edges.extend(_edge(entry, label, place, found) for place, entry in rows)
        except InputError as error:
            found.extend(error.problems)
    if found:
        raise InputError(found)
    return Lineage.build(edges)


def _csv_edges(text: str, label: str, problems: list[Problem]) -> Iterator[tuple[str, EdgeEntry]]:
    rows = csv.DictReader(io.StringIO(text, newline=""), restkey="(cells beyond the header)")
    for row in rows:
        try:
            written = {name: cell for name, cell in row.items() if cell}
            yield f"line {rows.line_num}", decode(EdgeEntry, written, label, f"line {rows.line_num}")
        except InputError as error:
            problems.extend(error.problems)


def _yaml_edges(text: str, label: str) -> Iterator[tuple[str, EdgeEntry]]:
    pack = decode(EdgePack, load_yaml(text, label), label)
    yield from ((f"edges[{number}]", entry) for number, entry in enumerate(pack.edges))


def _edge(entry: EdgeEntry, label: str, place: str, problems: list[Problem]) -> StatedEdge:
    for key in ("child", "parent"):
        name = getattr(entry, key)
        if not _REPOSITORY.fullmatch(name):
            problems.append(Problem(label, f"{place}.{key}", f"{name!r} is not a repository (owner/name)"))
    child, parent = (Project(HUGGINGFACE, Kind.MODEL, name) for name in (entry.child, entry.parent))
    edge = Edge(parent, entry.relation, "catalogue", CONFIDENCE[entry.confidence])
    return StatedEdge(child, edge, entry.source, label, place)


# --- files --------------------------------------------------------------------------------------------------------


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
        return read_file(file).data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError([Problem(str(file), "", f"is not UTF-8 (byte {error.start})")]) from None
