"""Requirements files, read here and not by the resolver: a line of theirs can name another index, and so lead past the mirror.

https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from mirror.bundle.wants import requirement_fault
from mirror.core.errors import InputError, Problem
from mirror.core.purl import normalise_pypi

#: What changes nothing here: wheels only, one index, and hashes that are checked wherever they are stated.
_MEANINGLESS: Final = frozenset({"--require-hashes", "--prefer-binary", "--only-binary", "--trusted-host", "--no-cache-dir", "--hash"})
_INDEX: Final = frozenset({"-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--no-index"})
_FILES: Final = {"-r": "r", "--requirement": "r", "-c": "c", "--constraint": "c"}
_PUBLIC: Final = "https://pypi.org/simple"
_HASH: Final = re.compile(r"\s--hash(?:=|\s+)(\S*)")
_SHORT: Final = re.compile(r"(-[a-z])(.+)")
_MOST_FILES: Final = 100


@dataclass(slots=True)
class Requirements:
    """Lines for a resolver: what is wanted, and what only narrows it.

    `hashes` are the SHA-256 (hex) that files of a project (by its normalised name) may have, where lines state them
    (pip's hash-checking mode).
    """

    wanted: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    hashes: dict[str, set[str]] = field(default_factory=dict)


def read_requirements(path: Path, read: Callable[[Path], str]) -> Requirements:
    """A requirements file with those that it includes. `read` gives a file's text and raises `OSError` or `UnicodeError`.

    Raises `InputError` with every line that cannot be followed: addresses, local paths, other indexes.
    """
    reading = _Reading(read)
    reading.file(path, constraint=False)
    if not reading.problems and not reading.found.wanted:
        reading.problems.append(Problem(str(path), "", "requires nothing"))
    if reading.problems:
        raise InputError(reading.problems)
    return reading.found


class _Reading:
    def __init__(self, read: Callable[[Path], str]) -> None:
        self._read = read
        self._seen: set[tuple[Path, bool]] = set()
        self.found = Requirements()
        self.problems: list[Problem] = []

    def file(self, path: Path, *, constraint: bool, by: tuple[str, str] = ("", "")) -> None:
        if (path, constraint) in self._seen or len(self._seen) >= _MOST_FILES:
            return
        self._seen.add((path, constraint))
        try:
            text = self._read(path)
        except (OSError, UnicodeError) as error:
            said = getattr(error, "strerror", None) or "not UTF-8"
            self.problems.append(Problem(by[0] or str(path), by[1], f"{path}: {said}" if by[0] else said))
            return
        for number, line in _lines(text):
            self._line(path, number, line, constraint=constraint)

    def _line(self, path: Path, number: int, line: str, *, constraint: bool) -> None:
        place = f"line {number}"
        if line.startswith("-"):
            option, value = _option(line)
            if option in _FILES:
                self.file(path.parent / value, constraint=constraint or _FILES[option] == "c", by=(str(path), place))
            elif fault := _option_fault(option, value):
                self.problems.append(Problem(str(path), place, fault))
            return
        stated = _HASH.findall(line)
        line = re.split(r"\s--?[a-z]", line, maxsplit=1)[0].strip()
        digests = {one[7:].lower() for one in stated if one.startswith("sha256:")}
        fault = requirement_fault(line)
        if stated and not digests and not fault:
            fault = "is hashed without a SHA-256, so that nothing would say whether it is the right file"
        if fault:
            self.problems.append(Problem(str(path), place, fault))
            return
        if digests:
            self.found.hashes.setdefault(normalise_pypi(Requirement(line).name), set()).update(digests)
        (self.found.constraints if constraint else self.found.wanted).append(line)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Logical lines with the number of their first: continued ones joined, comments and blank ones gone."""
    joined, started = "", 0
    for number, raw in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        started = started or number
        if raw.endswith("\\") and not raw.lstrip().startswith("#"):
            joined += raw[:-1] + " "
            continue
        line = re.sub(r"(^|\s)#.*$", "", joined + raw).strip()
        if line:
            yield started, line
        joined, started = "", 0
    if line := re.sub(r"(^|\s)#.*$", "", joined).strip():
        yield started, line


def _option(line: str) -> tuple[str, str]:
    word, _, value = line.partition(" ")
    if "=" in word:
        word, _, value = line.partition("=")
    elif not word.startswith("--") and (short := _SHORT.fullmatch(word)):
        word, value = short[1], short[2]
    return word, value.strip().strip("'\"")


def _option_fault(option: str, value: str) -> str:
    if option in ("-i", "--index-url") and value.rstrip("/") == _PUBLIC:
        return ""
    if option in _INDEX:
        return f"{option} names another source; only the mirror's index is used"
    if option in ("-e", "--editable"):
        return "an editable install is not a package of an index"
    return "" if option in _MEANINGLESS else f"{option[:40]} cannot be followed here"
