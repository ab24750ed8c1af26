"""What records cite of the evidence archive, collected in the pass that verifies them, and whether it is still there. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Gives kind and content of the evidence of a digest (hex), or a phrase that says why it cannot.
Reading = Callable[[str], tuple[str, bytes] | str]

_DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z")
_SEQUENCE: Final = re.compile(rb'"seq":(0|[1-9][0-9]{0,15})[,}]')
_DECISION: Final = b',"decision":{'
_CATALOGUE: Final = b'"catalogue":"'
_EVIDENCE: Final = b'"evidence":["'
_POLICY: Final = b'"policy":"'
_RULEBOOK: Final = b'"rulebook":"'
_KIND: Final = b',"kind":"'
#: Kinds of events without a decision that cite something; of anything else only decisions do.
_CITING: Final = frozenset({b"policy", b"waiver", b"review", b"emergency"})


@dataclass(frozen=True, slots=True)
class Citation:
    """The first record that cites a piece of evidence, and as what."""

    sequence: int
    what: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A piece of evidence that is cited and not there as it was."""

    digest: str
    citation: Citation
    why: str

    def __str__(self) -> str:
        return f"evidence/{self.digest[:2]}/{self.digest}: cited by record {self.citation.sequence} ({self.citation.what}): {self.why}"


class Citations:
    """Digests that records cite: each once, by its first record. Memory grows with what is archived, not with the records."""

    def __init__(self) -> None:
        self._first: dict[bytes, Citation] = {}

    def __len__(self) -> int:
        return len(self._first)

    def items(self) -> Iterator[tuple[str, Citation]]:
        """Every digest in the order of first citation."""
        return ((digest.decode(), citation) for digest, citation in self._first.items())

    def take(self, line: bytes) -> None:
        """One sealed line. Finds by text what stands at its place in canonical JSON: parsing each would cost more than verifying it."""
        start = line.find(_DECISION)
        if start < 0:
            self._take_event(line)
            return
        first = self._first
        at = line.find(_CATALOGUE, start) + 13
        if line[at : at + 64] not in first:
            self._add(line, line[at : at + 64], "catalogue")
        pages = line.find(_EVIDENCE, at, at + 110)  # nothing but `effect` stands between
        if pages >= 0:
            self._pages(line, pages + 13)
        at = line.rfind(_POLICY) + 10
        if line[at + 64 : at + 76] != b'","project":':  # a list, say, may be called so
            at = next((found + 10 for found in _places(line, _POLICY, start) if line[found + 74 : found + 86] == b'","project":'), at)
        if line[at : at + 64] not in first:
            self._add(line, line[at : at + 64], "policy")
        book = line.find(_RULEBOOK, at) + 12
        if book >= 12 and line[book : book + 64] not in first:
            self._add(line, line[book : book + 64], "rulebook")

    def _pages(self, line: bytes, at: int) -> None:
        digest = line[at : at + 64]
        if digest not in self._first:
            self._add(line, digest, "page")
        if line[at + 65 : at + 66] == b",":
            for further in line[at : line.find(b"]", at)].split(b",")[1:]:
                self._add(line, further.strip(b'"'), "page")

    def _add(self, line: bytes, digest: bytes, what: str) -> None:
        if digest not in self._first and _DIGEST.match(digest.decode("ascii", "replace")):
            found = _SEQUENCE.search(line, max(0, line.rfind(b'"seq":')))
            self._first[bytes(digest)] = Citation(int(found[1]) if found else 0, what)

    def _take_event(self, line: bytes) -> None:
        at = line.rfind(_KIND) + len(_KIND)
        if line[at : line.find(b'"', at)] not in _CITING:
            return
        record = json.loads(line)
        for digest, what in cited_by(record):
            self._add(line, digest.encode(), what)


def _places(line: bytes, text: bytes, start: int) -> Iterator[int]:
    at = line.find(text, start)
    while at >= 0:
        yield at
        at = line.find(text, at + 1)


def cited_by(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a record cites itself, as (digest, what it is). A policy that was refused cites nothing: it never judged."""
    decision, detail = record.get("decision"), record.get("detail", {})
    if decision:
        yield from ((decision[name], name) for name in ("policy", "catalogue", "rulebook") if name in decision)
        yield from ((digest, "page") for digest in decision.get("evidence", ()))
    elif "envelope" in detail:
        yield str(detail["envelope"]), "statement"
    elif record.get("kind") == "policy" and detail.get("outcome") == "activated":
        if "osv" in detail:
            yield record["subject"], "osv"
        else:
            yield record["subject"], "policy"
            if "catalogue" in detail:
                yield str(detail["catalogue"]), "catalogue"


def cited_within(kind: str, content: bytes) -> Iterator[tuple[str, str]]:
    """What a piece of evidence names in its turn: a rulebook its lineage, findings and lists; a list of several files these."""
    try:
        found = json.loads(content) if kind in ("rulebook", "list") else None
    except (ValueError, RecursionError):
        return
    if kind == "rulebook" and isinstance(found, dict):
        for name in ("lineage", "findings"):
            if found.get(name):
                yield str(found[name]), name
        for name, one in found.get("lists", {}).items():
            several = len(one.get("names", ())) > 1
            yield str(one["sha256"]), f"files of list {name}" if several else f"list {name}"
    elif isinstance(found, list) and all(isinstance(row, list) and len(row) == 2 and _DIGEST.match(str(row[1])) for row in found):
        yield from ((row[1], "list") for row in found)


def held(citations: Citations, read: Reading) -> Iterator[tuple[str, Citation, tuple[str, bytes] | str]]:
    """Every piece that is cited, directly or by another piece, each once: its digest, who cites it, and what `read` gave."""
    known: set[str] = set()
    waiting = list(citations.items())[::-1]
    while waiting:
        digest, citation = waiting.pop()
        if digest in known:
            continue
        known.add(digest)
        found = read(digest)
        yield digest, citation, found
        if isinstance(found, str):
            continue
        is_list = citation.what.startswith("files of list")
        inside = cited_within("list" if is_list else citation.what, found[1]) if is_list or citation.what == "rulebook" else ()
        for below, what in inside:
            waiting.append((below, Citation(citation.sequence, f"{what}, by {citation.what} {digest[:12]}" if citation.what == "rulebook" else what)))


def lost(citations: Citations, read: Reading) -> list[Lost]:
    """What is cited and is gone, or is not what it was."""
    return [Lost(digest, citation, found) for digest, citation, found in held(citations, read) if isinstance(found, str)]
