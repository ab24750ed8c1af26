"""Name patterns: package URLs with stars, read without case (SURFACE 4).

`acme/*`, `pkg:pypi/evil-*`, `pkg:huggingface/acme/x@main`, `pkg:huggingface/acme/x#*.bin`. A star stands for any text,
slashes too; whatever is missing (scheme, version, qualifier, path) matches everything. A literal star is `%2A`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from mirror.core.nouns import HUGGINGFACE, PYPI, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_RUN: Final = re.compile(r"[-_.]+")
_SAFE: Final = "/-._~!$&'()+,;=:"
_TYPES: Final = {kind.value: kind for kind in Kind if kind is not Kind.PACKAGE}


@dataclass(frozen=True, slots=True)
class Glob:
    """Literal pieces with any text between them; the pieces are decoded and case-folded."""

    pieces: tuple[str, ...]

    @property
    def exact(self) -> str | None:
        """The only text that matches, or None where a star stands."""
        return self.pieces[0] if len(self.pieces) == 1 else None

    @property
    def prefix(self) -> str:
        """What every match starts with."""
        return self.pieces[0]

    def regex(self) -> str:
        """The equivalent regular expression for a full match."""
        return "(?s:" + ".*".join(map(re.escape, self.pieces)) + ")"

    def matcher(self) -> Callable[[str], object]:
        """A predicate over case-folded text."""
        if len(self.pieces) == 1:
            return self.pieces[0].__eq__
        if len(self.pieces) == 2 and not self.pieces[0]:
            end = self.pieces[1]
            return lambda text: text.endswith(end)
        if len(self.pieces) == 2 and not self.pieces[1]:
            start = self.pieces[0]
            return lambda text: text.startswith(start)
        return re.compile(self.regex()).fullmatch

    def __str__(self) -> str:
        return "*".join(quote(piece, safe=_SAFE) for piece in self.pieces)


def glob(text: str, *, decode: bool = False) -> Glob:
    """A glob from its text; neighbouring stars are one. With `decode`, pieces are percent-decoded."""
    pieces = re.split(r"\*+", text)
    return Glob(tuple((unquote(piece) if decode else piece).casefold() for piece in pieces))


@dataclass(frozen=True, slots=True)
class Pattern:
    """One parsed pattern; None parts match everything. `text` is what the policy says."""

    text: str
    ecosystem: str | None
    kind: Kind | None
    name: Glob
    version: Glob | None
    path: Glob | None

    def __str__(self) -> str:
        text = f"pkg:{self.ecosystem}/{self.name}" if self.ecosystem else str(self.name)
        text += f"@{self.version}" if self.version is not None else ""
        if self.ecosystem == PYPI:
            return text + (f"?file_name={self.path}" if self.path is not None else "")
        text += f"?repo_type={self.kind}" if self.kind is not None else ""
        return text + (f"#{self.path}" if self.path is not None else "")


def parse_pattern(text: object) -> Pattern:
    """The pattern that a policy's text stands for. Raises `ValueError` with the message a person gets."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{text!r} is not a pattern")
    body, _, fragment = text.strip().partition("#")
    body, asked, query = body.partition("?")
    if asked and "=" not in query:
        raise ValueError(f"{text!r}: a question mark begins a qualifier; a star is the only wildcard")
    body, at, version = body.partition("@")
    ecosystem: str | None = None
    if body.casefold().startswith("pkg:"):
        ecosystem, slash, body = body[4:].partition("/")
        ecosystem = ecosystem.casefold()
        if ecosystem not in (HUGGINGFACE, PYPI):
            raise ValueError(f"{text!r}: the ecosystem must be huggingface or pypi")
        if not slash:
            raise ValueError(f"{text!r} names nothing")
    elif ":" in body:
        raise ValueError(f"{text!r}: the only scheme is pkg:")
    if not body:
        raise ValueError(f"{text!r} names nothing")
    kind, path = _qualifiers(text, ecosystem, query, fragment)
    name = glob(body, decode=True)
    if ecosystem == PYPI:
        name = Glob(tuple(map(_pypi, name.pieces)))
    return Pattern(text, ecosystem, kind, name, glob(version, decode=True) if at else None, path)


def _qualifiers(text: str, ecosystem: str | None, query: str, fragment: str) -> tuple[Kind | None, Glob | None]:
    kind: Kind | None = None
    path = glob(fragment, decode=True) if fragment else None
    for part in filter(None, query.split("&")):
        key, _, value = part.partition("=")
        if key == "repo_type" and ecosystem != PYPI:
            if value.casefold() not in _TYPES:
                raise ValueError(f"{text!r}: repo_type must be one of {', '.join(_TYPES)}")
            kind = _TYPES[value.casefold()]
        elif key == "file_name" and ecosystem == PYPI and path is None:
            path = glob(value, decode=True)
        else:
            raise ValueError(f"{text!r}: unknown qualifier {key!r}; a star is the only wildcard")
    return kind, path


def _pypi(piece: str) -> str:
    """PEP 503 for a part of a name: the spelling of a rule must not matter either."""
    return _RUN.sub("-", piece)


class PatternSet:
    """Many patterns asked at once: exact names are one look-up however many there are, globs are grouped by start."""

    __slots__ = ("_exact", "_globs", "patterns")

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self.patterns = tuple(patterns)
        self._exact: dict[str, Pattern | tuple[Pattern, ...]] = {}
        self._globs: dict[str, list[tuple[Callable[[str], object], Pattern]]] = {}
        for pattern in self.patterns:
            for name in self.spellings(pattern):
                self._add(name, pattern)

    @staticmethod
    def spellings(pattern: Pattern) -> Sequence[Glob]:
        """The name globs of a pattern: one without an ecosystem meets PyPI projects under their normalised name too."""
        if pattern.ecosystem is not None:
            return (pattern.name,)
        normal = Glob(tuple(map(_pypi, pattern.name.pieces)))
        return (pattern.name,) if normal == pattern.name else (pattern.name, normal)

    def _add(self, name: Glob, pattern: Pattern) -> None:
        exact = name.exact
        if exact is None:
            self._globs.setdefault(name.prefix[:2], []).append((name.matcher(), pattern))
        elif (known := self._exact.get(exact)) is None:
            self._exact[exact] = pattern
        elif isinstance(known, Pattern):
            if known is not pattern:
                self._exact[exact] = (known, pattern)
        elif pattern not in known:
            self._exact[exact] = (*known, pattern)

    def by_name(self, name: str) -> list[Pattern]:
        """The patterns whose name part matches a case-folded project name."""
        found: list[Pattern] = []
        if (exact := self._exact.get(name)) is not None:
            found += (exact,) if isinstance(exact, Pattern) else exact
        if globs := self._globs:
            for start in (name[:2], name[:1], "") if len(name) > 1 else (name, ""):
                for matches, pattern in globs.get(start, ()):
                    if matches(name):
                        found.append(pattern)
        return found

    def find(
        self, ecosystem: str, kind: Kind, name: str, revision: str, path: str, *, whole: bool = False
    ) -> Pattern | None:
        """The first pattern that matches; `name`, `revision` and `path` case-folded.

        With `whole`, a revision or path that is empty (a project as such) meets every version and path pattern.
        """
        for pattern in self.by_name(name):
            if (
                (pattern.ecosystem is None or pattern.ecosystem == ecosystem)
                and (pattern.kind is None or pattern.kind is kind)
                and _part(pattern.version, revision, whole)
                and _part(pattern.path, path, whole)
            ):
                return pattern
        return None


def _part(wanted: Glob | None, text: str, whole: bool) -> bool:
    if wanted is None or (whole and not text):
        return True
    return wanted.exact == text if wanted.exact is not None else bool(re.fullmatch(wanted.regex(), text))
