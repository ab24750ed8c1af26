"""`wants.yaml`: what a mirror is to hold, as people write it.

    version: 1
    name: lab                      # of the pins; the file's stem where absent
    models: [{id: acme/tiny-bert, revision: main, allow: ["*.safetensors"], ignore: ["onnx/"], ancestors: true}]
    packages: [{requirements: requirements.txt, python: ["3.11"], platforms: [x86_64-manylinux_2_28]}, {lock: uv.lock}]

Patterns are those of huggingface_hub's `snapshot_download`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Literal

from packaging.requirements import InvalidRequirement, Requirement

from mirror.bundle.targets import known
from mirror.core.errors import InputError, Malformed, Problem
from mirror.core.nouns import Kind
from mirror.decode import decode, load_yaml
from mirror.hubs.huggingface.paths import Repo, parse_repo, parse_revision, revision_segment

_PYTHON: Final = re.compile(r"3\.[0-9]{1,2}")
#: The shape of uv's `--python-platform`, and those of its platforms of which `targets` knows nothing: only uv can resolve for them.
_PLATFORM: Final = re.compile(r"[a-z][a-z0-9_-]{2,40}")
_UVS: Final = re.compile(r"riscv64-unknown-linux|[a-z0-9_]+-linux-android|wasm32-pyodide[0-9]{4}|[a-z0-9_]+-apple-ios(-simulator)?")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}")


@dataclass(frozen=True, slots=True)
class RepoWant:
    """Files of one repository. `allow` None is all of them; an empty list is none, as for `snapshot_download`.

    `ancestors`: of a model also what it was made from, up to the root. `denied: skip` leaves out what policy denies, which
    `tell` counts as refused.
    """

    id: str
    revision: str = "main"
    allow: tuple[str, ...] | None = None
    ignore: tuple[str, ...] | None = None
    ancestors: bool = False
    denied: Literal["tell", "skip"] = "tell"

    @property
    def whole(self) -> bool:
        """Whether no pattern narrows it."""
        return self.allow is None and not self.ignore


@dataclass(frozen=True, slots=True)
class PackageWant:
    """Packages for each Python (`3.11`) and platform.

    `requirements` is the path of a requirements file, `requirement` one line of such a file: all that they need, for the
    machine that resolves where no Python and platform is named. `lock` is the path of a lock file: its files and no others,
    all of them where none is named. Exactly one of the three is given.
    """

    requirements: str | None = None
    requirement: str | None = None
    lock: str | None = None
    python: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wants:
    """A wanted list. `name` tells its pins from those of others."""

    version: int
    name: str = ""
    models: tuple[RepoWant, ...] = ()
    datasets: tuple[RepoWant, ...] = ()
    spaces: tuple[RepoWant, ...] = ()
    packages: tuple[PackageWant, ...] = ()

    def repositories(self) -> Iterator[tuple[Kind, RepoWant]]:
        """All repositories with their kinds."""
        for kind, rows in ((Kind.MODEL, self.models), (Kind.DATASET, self.datasets), (Kind.SPACE, self.spaces)):
            yield from ((kind, row) for row in rows)


def parse(text: str, source: str) -> Wants:
    """The wants in a YAML text. Raises `InputError` with every problem and its place."""
    wants = read(text, source)
    check(wants, source)
    return wants


def read(text: str, source: str) -> Wants:
    """The wants in a YAML text, whatever they mean (`faults`). Raises `InputError` for what has not their form."""
    return decode(Wants, load_yaml(text, source), source)


def check(wants: Wants, source: str) -> None:
    """Raises `InputError` with everything in `wants` that cannot be meant."""
    problems = faults(wants, source)
    if problems:
        raise InputError(problems)


def faults(wants: Wants, source: str) -> list[Problem]:
    """Everything in `wants` that cannot be meant, with its place."""
    return [Problem(source, place, message) for place, message in _faults(wants)]


def repo_of(kind: Kind, want: RepoWant) -> Repo:
    """The repository that is wanted. Raises `Malformed`."""
    return parse_repo(want.id, kind)


def selected(path: str, allow: Iterable[str] | None, ignore: Iterable[str] | None) -> bool:
    """Whether `snapshot_download(allow_patterns=allow, ignore_patterns=ignore)` takes the file.

    A star crosses slashes, case counts, a backslash is a slash, and a pattern that ends in a slash means all below it.
    """
    path = _slashed(path)
    if allow is not None and not any(fnmatchcase(path, _globbed(pattern)) for pattern in allow):
        return False
    return ignore is None or not any(fnmatchcase(path, _globbed(pattern)) for pattern in ignore)


def exact(pattern: str) -> str | None:
    """The one path that a pattern can mean, or None where it has a wildcard."""
    pattern = _globbed(pattern)
    return None if any(character in pattern for character in "*?[") else pattern


def _slashed(text: str) -> str:
    return text.replace("\\", "/")


def _globbed(pattern: str) -> str:
    pattern = _slashed(pattern)
    return f"{pattern}*" if pattern.endswith("/") else pattern


def _faults(wants: Wants) -> Iterator[tuple[str, str]]:
    if wants.version != 1:
        yield "version", f"is {wants.version}; this release reads version 1"
    if wants.name and not _NAME.fullmatch(wants.name):
        yield "name", "takes up to 100 letters, digits, blanks, '.', '_' and '-'"
    for word, kind in (("models", Kind.MODEL), ("datasets", Kind.DATASET), ("spaces", Kind.SPACE)):
        for index, row in enumerate(getattr(wants, word)):
            yield from _repository_faults(f"{word}[{index}]", kind, row)
    for index, package in enumerate(wants.packages):
        yield from _package_faults(f"packages[{index}]", package)
    if not (wants.models or wants.datasets or wants.spaces or wants.packages):
        yield "", "wants nothing: name models, datasets, spaces or packages"


def _repository_faults(place: str, kind: Kind, row: RepoWant) -> Iterator[tuple[str, str]]:
    try:
        repo_of(kind, row)
    except Malformed as error:
        yield f"{place}.id", f"{row.id[:100]!r} is {error.message}"
    try:
        parse_revision(revision_segment(row.revision))
    except (Malformed, UnicodeEncodeError) as error:
        yield f"{place}.revision", str(getattr(error, "message", "holds half a character"))
    for key in ("allow", "ignore"):
        for index, pattern in enumerate(getattr(row, key) or ()):
            if not pattern:
                yield f"{place}.{key}[{index}]", "an empty pattern matches nothing"
    if row.ancestors and kind is not Kind.MODEL:
        yield f"{place}.ancestors", "is for models; nothing is known of what others were made from"


def _package_faults(place: str, row: PackageWant) -> Iterator[tuple[str, str]]:
    if [row.requirements, row.requirement, row.lock].count(None) != 2:
        yield place, "takes one of requirements (a file), requirement (one line) and lock (a file)"
    if row.requirement is not None and (fault := requirement_fault(row.requirement)):
        yield f"{place}.requirement", fault
    for key in ("requirements", "lock"):
        path = getattr(row, key)
        if path is not None and (not path or "\0" in path):
            yield f"{place}.{key}", "is not a path"
    for index, version in enumerate(row.python):
        if not _PYTHON.fullmatch(version):
            yield f"{place}.python[{index}]", f"{version[:40]!r} is not a version such as '3.11'"
    for index, platform in enumerate(row.platforms):
        if not _PLATFORM.fullmatch(platform):
            yield f"{place}.platforms[{index}]", f"{platform[:60]!r} is not a platform such as linux or x86_64-manylinux_2_28"
        elif row.lock is None and not known(platform) and not _UVS.fullmatch(platform):
            yield f"{place}.platforms[{index}]", f"{platform!r} is no platform that uv knows: linux, windows, macos, x86_64-manylinux_2_28, aarch64-unknown-linux-musl, …"
        elif row.lock is not None and not known(platform):
            yield f"{place}.platforms[{index}]", f"{platform!r}: which wheels install there is not known; linux, windows, macos, or a triple of theirs"


def requirement_fault(text: str) -> str:
    """What is wrong with one requirement (PEP 508); empty for nothing. A direct URL is: it would go round the mirror."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        return f"{text[:100]!r} is not a requirement: {str(error).splitlines()[0]}"
    return f"{requirement.name} is asked for at an address; only the mirror's index is used" if requirement.url else ""
