"""Names and paths of a package index: one parser makes every name that rules see.

Project names follow PEP 503, versions PEP 440, wheel names PEP 427 and sdist names PEP 625 (with the older spellings
that PyPI still serves). Upstream's file names are text from outside: what does not have the form of a file name is
never given a path here.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlsplit

from packaging.utils import InvalidWheelFilename, canonicalize_name, canonicalize_version, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from mirror.core.nouns import FileKind

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What a project may be called (PEP 508, the name production), before it is normalised.
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
#: Characters that a distribution's file name may have. No separator, escape, quote or control character.
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+!~-]{0,254}")
_URL_SAFE: Final = "!~+._-"
_SDIST_ENDINGS: Final = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".tar.Z", ".tar")
_BLAKE2_PATH: Final = re.compile(r"/packages/([0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60})/([^/]+)")
METADATA: Final = ".metadata"


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a distribution's file name says: project (normalised), version (PEP 440 normal form), wheel, sdist or other."""

    project: str
    version: str
    kind: FileKind


@dataclass(frozen=True, slots=True)
class FilePath:
    """A file as asked for below the mount: `path` is its canonical mirror path (`/packages/…/<file>`, never `.metadata`).

    `path` is empty for the conventional form (`/packages/source/r/requests/…`), where `project` names the project.
    """

    path: str
    name: str
    metadata: bool
    project: str = ""


def project_name(raw: str) -> str | None:
    """The normalised name (PEP 503) of a raw path segment, its escapes decoded once; None where no project has such a name."""
    name = _decoded(raw)
    if name is None or len(name) > 255 or _NAME.fullmatch(name) is None:
        return None
    return canonicalize_name(name)


def version_text(raw: str) -> str | None:
    """A version segment of a legacy JSON path, decoded; None where it cannot be a version."""
    text = _decoded(raw)
    return text if text is not None and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,127}", text) else None


def file_name(raw: str) -> str | None:
    """A file name segment, its escapes decoded once; None where it has not the form of a distribution's file name."""
    name = _decoded(raw)
    return name if name is not None and is_file_name(name) else None


def is_file_name(name: str) -> bool:
    """Whether `name` has the form of a distribution's file name."""
    return _FILE_NAME.fullmatch(name) is not None


def blake2_path(digest_path: str, raw_name: str) -> FilePath | None:
    """`aa/bb/<60>` and a raw file name, as PyPI's own file paths are made."""
    return _path(f"/packages/{digest_path}/", raw_name)


def mapped_path(key: str, raw_name: str) -> FilePath | None:
    """The 40 hex digits of a mapped path and a raw file name (see `mirror_path`)."""
    return _path(f"/packages/-/{key}/", raw_name)


def conventional_path(raw_project: str, raw_name: str) -> FilePath | None:
    """`/packages/source/r/requests/requests-1.0.tar.gz`: a file known by project and name only."""
    project = project_name(raw_project)
    found = _path("", raw_name)
    return None if project is None or found is None else FilePath("", found.name, found.metadata, project)


def _path(prefix: str, raw_name: str) -> FilePath | None:
    name = file_name(raw_name)
    if name is None:
        return None
    # A name that ends in `.metadata` is always the metadata file of PEP 658: no distribution format has that ending.
    bare = name.removesuffix(METADATA)
    if not bare or bare.endswith(METADATA):
        return None
    return FilePath(prefix + bare if prefix else "", bare, bare != name)


def mirror_path(url: str, name: str) -> str:
    """Where the file at upstream `url` is on the mirror, below the mount.

    PyPI's own paths are kept, so that a lock file changes its host only; any other becomes a stable path under
    `/packages/-/` made from the SHA-256 of the URL without its query (signed queries change) and fragment.
    """
    parts = urlsplit(url)
    own = _BLAKE2_PATH.fullmatch(parts.path)
    if own is not None and unquote(own.group(2)) == name:
        return f"/packages/{own.group(1)}/{name}"
    bare = f"{parts.scheme}://{parts.netloc}{parts.path}"
    return f"/packages/-/{hashlib.sha256(bare.encode()).hexdigest()[:40]}/{name}"


def quoted(path: str) -> str:
    """A mirror path as it stands in a URL."""
    return quote(path, safe="/" + _URL_SAFE)


def distribution(name: str, project: str, versions: frozenset[str] = frozenset()) -> Distribution | None:
    """What file `name`, listed for `project` (normalised), says of itself; None where it says nothing a rule could trust.

    None for a name of another project, without a PEP 440 version, or with a version that the page does not list
    (`versions`: canonical forms, empty where the page lists none).
    """
    found = next((d for d in candidates(name, versions) if d.project == project), None)
    if found is None or (versions and canonicalize_version(found.version) not in versions):
        return None
    return found


@lru_cache(maxsize=16384)
def _wheel(name: str) -> Distribution | None:
    try:
        project, version, _, _ = parse_wheel_filename(name)
    except (InvalidWheelFilename, InvalidVersion):
        return None
    if _NAME.fullmatch(project) is None:  # `_x-1.0-…`: packaging reads it, but no index has a project `-x`
        return None
    return Distribution(project, str(version), FileKind.WHEEL)


def candidates(name: str, versions: frozenset[str] = frozenset()) -> Iterator[Distribution]:
    """Every way to read a file name as project and version, the likeliest first.

    A wheel's name has one reading. In an sdist's both parts may hold dashes (`my-pkg-1.0-1.tar.gz`), so the page
    that lists it decides. Other formats (`.egg`, `.exe`) have a tail that only known `versions` can tell off.
    """
    if name.endswith(".whl"):
        wheel = _wheel(name)
        if wheel is not None:
            yield wheel
        return
    stem = next((name[: -len(ending)] for ending in _SDIST_ENDINGS if name.endswith(ending)), None)
    if stem is not None:
        for at in (i for i in range(len(stem) - 1, 0, -1) if stem[i] == "-"):
            version = _version(stem[at + 1 :])
            if version is not None and _NAME.fullmatch(stem[:at]):
                yield Distribution(canonicalize_name(stem[:at]), version, FileKind.SDIST)
        return
    yield from _tailed(name, versions)


def _tailed(name: str, versions: frozenset[str]) -> Iterator[Distribution]:
    """`name-1.0-py2.7.egg`, `name-1.0.win32-py2.7.exe`: the longest version that is known, else up to the next dash."""
    stem = name.rpartition(".")[0]
    # At most a dozen dashes on either side: the name is upstream's, the time is ours.
    for at in [i for i, character in enumerate(stem) if character == "-"][:12]:
        if not _NAME.fullmatch(stem[:at]):
            continue
        tail = stem[at + 1 :]
        cuts = [i for i in range(len(tail), 0, -1) if i == len(tail) or tail[i] in "-."][-12:]
        for cut in cuts:
            version = _version(tail[:cut])
            known = version is not None and canonicalize_version(version) in versions
            plain = not versions and cut in (tail.find("-"), len(tail))
            if version is not None and (known or plain):
                yield Distribution(canonicalize_name(stem[:at]), version, FileKind.OTHER)


@lru_cache(maxsize=16384)
def _version(text: str) -> str | None:
    try:
        return str(Version(text))
    except InvalidVersion:
        return None


def _decoded(raw: str) -> str | None:
    try:
        return unquote(raw, errors="strict")
    except UnicodeDecodeError:
        return None
