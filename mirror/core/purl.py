"""Package URLs (https://github.com/package-url/purl-spec) read back into the nouns that `str()` made them from.

`pkg:huggingface/org/name@<commit>?repo_type=dataset#path/in/repo` and
`pkg:pypi/name@1.0?file_name=name-1.0-py3-none-any.whl`. PyPI names are normalised (PEP 503).
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from mirror.core.nouns import HUGGINGFACE, PYPI, Artifact, Kind, Project

_RUN: Final = re.compile(r"[-_.]+")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_QUALIFIERS: Final = {HUGGINGFACE: "repo_type", PYPI: "file_name"}


def normalise_pypi(name: str) -> str:
    """The canonical form of a PyPI project name (PEP 503)."""
    return _RUN.sub("-", name).lower()


def parse_artifact(text: str) -> Artifact:
    """The artifact that a package URL names; an absent version or path is empty.

    Raises `ValueError` that says what is wrong. `str(parse_artifact(str(a)))` is `str(a)`.
    """
    if not text.startswith("pkg:"):
        raise ValueError(f"{text!r} is not a package URL: it does not start with 'pkg:'")
    rest, _, fragment = text[4:].lstrip("/").partition("#")
    rest, _, query = rest.partition("?")
    rest, _, version = rest.partition("@")
    ecosystem, _, name = rest.partition("/")
    ecosystem = ecosystem.lower()
    if ecosystem not in _QUALIFIERS:
        raise ValueError(f"{text!r}: package URLs of type {ecosystem!r} are not known here (huggingface, pypi)")
    name = _decoded(name, text)
    if not _plain(name) or (ecosystem == PYPI and "/" in name):
        raise ValueError(f"{text!r} names no project")
    kind, path = _rest(ecosystem, query, _decoded(fragment, text), text)
    if path and not _plain(path):
        raise ValueError(f"{text!r}: the path must be relative and without dot segments or control characters")
    revision = _decoded(version, text)
    if _CONTROL.search(revision):
        raise ValueError(f"{text!r}: the version holds a control character")
    name = normalise_pypi(name) if ecosystem == PYPI else name
    return Artifact(Project(ecosystem, kind, name), revision, path)


def _plain(text: str) -> bool:
    """Whether a name or path has no empty segment, dot segment or control character; half a surrogate pair counts as one."""
    return not _CONTROL.search(text) and all(segment not in ("", ".", "..") for segment in text.split("/"))


def parse_loose(text: str) -> Artifact:
    """A package URL, or the short form that people type: `org/name[@commit][#path]` for a Hugging Face model."""
    return parse_artifact(text if text.startswith("pkg:") else f"pkg:{HUGGINGFACE}/{text}")


def _rest(ecosystem: str, query: str, fragment: str, text: str) -> tuple[Kind, str]:
    pairs = dict(part.partition("=")[::2] for part in query.split("&") if part)
    expected = _QUALIFIERS[ecosystem]
    if extra := sorted(set(pairs) - {expected}):
        raise ValueError(f"{text!r}: unknown qualifier {extra[0]!r} (only {expected!r} is known for {ecosystem})")
    value = _decoded(pairs.get(expected, ""), text)
    if ecosystem == PYPI:
        if fragment:
            raise ValueError(f"{text!r}: a file on PyPI is named by ?file_name=, not by #")
        return Kind.PACKAGE, value
    kinds = {kind.value: kind for kind in Kind if kind is not Kind.PACKAGE}
    if value and value not in kinds:
        raise ValueError(f"{text!r}: repo_type must be one of {', '.join(kinds)}")
    return kinds.get(value, Kind.MODEL), fragment


def _decoded(part: str, text: str) -> str:
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(f"{text!r}: a percent-encoded part is not UTF-8") from None
