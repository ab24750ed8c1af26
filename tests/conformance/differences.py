"""Where the mirror answers otherwise than the hub or index, and why: the comparison, the table, and the page made of it.

python -m tests.conformance.differences      writes docs/protocols/differences.md
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import yaml

from .replay import FOLDER, Answer, recorded

PAGE: Final = Path(__file__).parents[2] / "docs" / "protocols" / "differences.md"
ABSENT: Final = "(none)"
DIALECTS: Final = {"huggingface": "Hugging Face", "pypi": "PyPI"}

HEADERS: Final[dict[str, str]] = {
    "X-Repo-Commit": "without it every download fails",
    "ETag": "the name of the blob in the client's cache; what resuming and revalidation compare",
    "X-Linked-ETag": "the SHA-256 of a large file, read before ETag",
    "X-Linked-Size": "the size of a large file, read before Content-Length",
    "X-Xet-Hash": "sends the client to the Xet store, past the mirror",
    "Link": "the next page, which is followed with the token; the Xet token's address",
    "Location": "where the content is taken from",
    "Content-Length": "the only check that clients make on plain HTTP",
    "Content-Range": "where a resumed part goes",
    "Accept-Ranges": "uv and llama.cpp read in parts only where it is there",
    "Content-Type": "pip and uv choose their parser by it",
    "Content-Encoding": "a coded file has no length and no ranges",
    "Content-Disposition": "the name under which browsers save",
    "Vary": "one address, several bodies",
    "Cache-Control": "for how long pip and uv do not ask again",
    "X-Error-Code": "the exception that huggingface_hub raises",
    "X-Error-Message": "the text of that exception",
    "WWW-Authenticate": "makes git ask for a password",
    "X-HF-Warning": "is printed",
    "X-Total-Count": "the number of commits",
    "RateLimit": "makes clients sleep for somebody else's quota",
    "Set-Cookie": "belongs to one caller",
    "X-PyPI-Last-Serial": "bandersnatch compares it",
}


@dataclass(frozen=True)
class Seen:
    """One thing that differs, as it was seen. `where` is `sequence: step`."""

    where: str
    field: str
    theirs: str
    ours: str


@dataclass(frozen=True)
class Listed:
    """A row of the table; `*` stands for anything. A field of `*` is every field but the status, which has a row of its own."""

    dialect: str
    where: tuple[str, ...]
    field: str
    theirs: str
    ours: str
    reason: str

    def covers(self, seen: Seen) -> bool:
        return (
            any(_like(one, seen.where) for one in self.where)
            and (_like(self.field, seen.field) and (seen.field != "status" or self.field == "status"))
            and _like(self.theirs, seen.theirs) and _like(self.ours, seen.ours)
        )  # fmt: skip


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL)


def _like(pattern: str, text: str) -> bool:
    return _pattern(pattern).fullmatch(text) is not None


def listed(dialect: str | None = None) -> list[Listed]:
    """The rows of `sequences/differences.yaml`."""
    raw = yaml.safe_load((FOLDER / "differences.yaml").read_text(encoding="utf-8"))
    rows = [
        Listed(row["dialect"], tuple(row["where"]), row["field"], str(row["theirs"]), str(row["ours"]), row["reason"])
        for row in raw["differences"]
    ]
    assert all(row.dialect in DIALECTS and row.reason for row in rows)
    return [row for row in rows if dialect in (None, row.dialect)]


# --- comparing --------------------------------------------------------------------------------------------------------------


def neutral(text: str, bases: Mapping[str, str]) -> str:
    """A text with one word for each place: what differs then is no mere address."""
    for base, word in bases.items():
        text = text.replace(base, word)
    return re.sub(r"CDN/xet-bridge-us/[^\s>\"]*", "CDN/...", text)


def compared(where: str, theirs: Answer, ours: Answer, bases: Mapping[str, str]) -> Iterator[Seen]:
    """Everything that matters and differs between two answers to the same step."""
    if theirs.statuses != ours.statuses:
        yield Seen(where, "status", *(" ".join(map(str, one.statuses)) for one in (theirs, ours)))
    for name in HEADERS:
        values = [_value(name, one.headers.get(name.lower()), bases) for one in (theirs, ours)]
        if values[0] != values[1]:
            yield Seen(where, name, *values)
    yield from _bodies(where, theirs, ours, bases)


def _value(name: str, value: str | None, bases: Mapping[str, str]) -> str:
    if value is None:
        return ABSENT
    if name == "Vary":
        return ", ".join(sorted({part.strip().lower() for part in value.split(",")}))
    return neutral(value, bases)


def _bodies(where: str, theirs: Answer, ours: Answer, bases: Mapping[str, str]) -> Iterator[Seen]:
    texts = [one.body for one in (theirs, ours)]
    if texts[0] == texts[1]:
        return
    kinds = {one.headers.get("content-type", "").partition(";")[0] for one in (theirs, ours)}
    if all(kind.endswith("json") for kind in kinds):
        trees = [json.loads(neutral(text.decode(), bases)) for text in texts]
        told: dict[str, tuple[str, str]] = {}
        for path, left, right in _leaves("", *trees):
            told.setdefault(path, (left, right))  # rows of one list differ alike: the first speaks for them
        yield from (Seen(where, f"body{path}", *values) for path, values in told.items())
    elif kinds == {"text/html"}:
        pages = [_Anchors.of(neutral(text.decode(), bases)) for text in texts]
        for path, left, right in _leaves("", *pages):
            yield Seen(where, f"body{path}", left, right)
    elif texts[0] != texts[1]:
        yield Seen(where, "body", *(_shown(text, bases) for text in texts))


def _shown(body: bytes, bases: Mapping[str, str]) -> str:
    if len(body) < 2000 and body.isascii():
        return neutral(body.decode(), bases)
    return f"{len(body)} bytes, SHA-256 {hashlib.sha256(body).hexdigest()[:16]}"


_MISSING: Final = object()


def _leaves(path: str, left: Any, right: Any) -> Iterator[tuple[str, str, str]]:
    """(path, left, right) of every value in which two trees differ; list places are `[]`."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in {**left, **right}:
            yield from _leaves(f"{path}.{key}", left.get(key, _MISSING), right.get(key, _MISSING))
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for one, other in zip(left, right, strict=True):
            yield from _leaves(f"{path}[]", one, other)
    elif left != right:
        yield (path, *(ABSENT if one is _MISSING else json.dumps(one, ensure_ascii=False) for one in (left, right)))


class _Anchors(HTMLParser):
    """The links and meta fields of a page: all that a client reads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, Any] = {"a": [], "meta": []}

    @classmethod
    def of(cls, text: str) -> dict[str, Any]:
        parser = cls()
        parser.feed(text)
        return parser.found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.found:
            self.found[tag].append(dict(attrs))


# --- the page ---------------------------------------------------------------------------------------------------------------


def page() -> str:
    """docs/protocols/differences.md."""
    lines = [
        "# Differences", "",
        (
            "Requests of real clients, recorded and sent again as they stand: once to a stand-in hub or index that follows the measured behaviour of the"
            " real one, and twice to the mirror in front of it (cold, then warm). Status, the header fields below and the body must be the same, but for"
            " the rows of this table. `tests/conformance/test_replay.py` fails on a difference that is not here, and on a row that no longer occurs."
        ), "",
        "Made by `make conformance` from `tests/conformance/sequences/`; do not edit.", "",
        (
            "Addresses are compared by what they lead to: HUB, CDN, INDEX and FILES stand for the places, and the mirror is HUB, INDEX or FILES to its clients."
            " `*` stands for anything; a field of `*` is every field but the status. A status of `307 200` is a redirect and its end."
        ), "",
    ]  # fmt: skip
    for dialect, title in DIALECTS.items():
        lines += [f"## {title}", "", "| where | what | upstream says | the mirror says | why |", "| --- | --- | --- | --- | --- |"]
        for row in listed(dialect):
            where = "everywhere" if row.where == ("*",) else ", ".join(_code(one) for one in row.where)
            lines.append(f"| {where} | {_code(row.field)} | {_code(row.theirs)} | {_code(row.ours)} | {row.reason} |")
        lines += ["", "Sequences:", "", "| sequence | client | requests |", "| --- | --- | --- |"]
        lines += [f"| {one.name} | {one.client} | {', '.join(step.id for step in one.steps)} |" for one in recorded(dialect)] + [""]
    lines += ["## What is compared", "", "| field | why it matters |", "| --- | --- |", "| status | of the last answer, and of each redirect before it |"]
    lines += [f"| `{name}` | {why} |" for name, why in HEADERS.items()]
    lines += ["| body | JSON value by value, links and meta fields of HTML, everything else byte by byte |", ""]
    return "\n".join(lines)


def _code(text: str) -> str:
    return text if text == ABSENT else f"`{text}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
