"""The table of all routes as a page, made from the tables that the product itself runs by."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from mirror import config as configuration
from mirror.reply.routing import Handling, Route
from mirror.wiring import build

PAGE: Final = Path(__file__).parents[2] / "docs" / "protocols" / "routes.md"
TITLES: Final = {"huggingface": "Hugging Face", "pypi": "PyPI"}

MEANINGS: Final[dict[Handling, str]] = {
    Handling.CONTENT: "bytes of an artifact: an admission, on the record, before any of them",
    Handling.FACTS: "what is known of one project: judged as that project, and files that are denied are left out",
    Handling.LISTING: "many projects, or none: what can be judged by its row is left out where it is denied",
    Handling.IDENTITY: "depends on who asks: never stored, never shared",
    Handling.REFUSED: "known, and answered with a sentence; what matters is on the record",
    Handling.WRITE: "a mirror takes nothing in: refused, on the record",
    Handling.SINK: "what clients report of themselves: taken and dropped",
}

_GROUP: Final = re.compile(r"\(\?P<(\w+)>")
_WORDS: Final = re.compile(r"[\w/-]+(?:\|[\w/-]+)*")
_ESCAPED: Final = re.compile(r"\\(.)")


def page(tables: Sequence[tuple[str, Sequence[Route]]]) -> str:
    """The page in Markdown. `tables` are dialects by name, with their rows in the order in which they are tried."""
    lines = [
        "# Routes", "",
        ("Every route that the mirror knows, in the order in which rows are tried; the first that fits answers. Made from the"
        " tables in the code by `python -m tests.conformance.routes`; do not edit. How each is answered:"
        " [Hugging Face](huggingface.md), [PyPI](pypi.md)."), "",
        *(f"- **{handling}**: {MEANINGS[handling]}" for handling in Handling),
        "- whatever is in no row is refused with a sentence and recorded (`unknown_routes: forward` passes JSON on)", "",
    ]  # fmt: skip
    for title, rows in tables:
        lines += [f"## {title}", "", "| route | methods | path below the mount | handling |", "| --- | --- | --- | --- |"]
        lines += [f"| {row.name} | {' '.join(sorted(row.methods))} | `{template(row.pattern.pattern)}` | {row.handling} |" for row in rows]
        lines.append("")
    return "\n".join(lines)


def template(pattern: str) -> str:
    """A pattern as people write paths: named groups in braces, what may be absent in brackets, choices with commas."""
    return "".join(_readable(pattern)).replace("|", ", ")


def _readable(pattern: str) -> Iterator[str]:
    position = 0
    while position < len(pattern):
        named = _GROUP.match(pattern, position)
        if named is not None:
            stop = _closing(pattern, position)
            inner = pattern[named.end() : stop - 1]
            yield "{" + named[1] + "}" if not _WORDS.fullmatch(inner) else f"({inner})" if "|" in inner else inner
            position = _past(pattern, stop)
        elif pattern.startswith(("(?!", "(?<!"), position):
            position = _closing(pattern, position)
        elif pattern[position] == "(":
            stop = _closing(pattern, position)
            inner = "".join(_readable(pattern[position + 3 : stop - 1]))
            yield f"[{inner}]" if pattern.startswith(("?", "*"), stop) else f"({inner})"
            position = _past(pattern, stop)
        elif pattern[position] == "[":
            stop = pattern.index("]", position) + 1
            yield "…"
            position = _past(pattern, stop)
        elif (escaped := _ESCAPED.match(pattern, position)) is not None:
            yield escaped[1]
            position += 2
        elif pattern.startswith("?", position + 1):
            yield f"[{pattern[position]}]"
            position += 2
        else:
            yield "…" if pattern[position] == "." else pattern[position]
            position = _past(pattern, position + 1)


def _closing(pattern: str, start: int) -> int:
    """Just behind the bracket that closes the one at `start`."""
    depth, position, within = 0, start, False
    while True:
        letter = pattern[position]
        if letter == "\\":
            position += 2
            continue
        if within:
            within = letter != "]"
        elif letter == "[":
            within = True
        elif letter in "()":
            depth += 1 if letter == "(" else -1
        position += 1
        if not depth:
            return position


def _past(pattern: str, position: int) -> int:
    """Behind a quantifier, if one stands here."""
    found = re.compile(r"[?*+]|\{[0-9,]+\}").match(pattern, position)
    return position if found is None else found.end()


async def tables(folder: Path) -> list[tuple[str, Sequence[Route]]]:
    """The tables of a mirror with the default configuration, whose data goes below `folder`."""
    services = await build(configuration.load(None, {"MIRROR_DATA": str(folder), "MIRROR_LEDGER__RESERVE": "1MiB"}, cwd=folder))
    try:
        return [(TITLES[dialect.name], dialect.routes) for dialect in services.front.dialects]
    finally:
        await services.closing.aclose()


def main() -> None:
    """Write the page."""
    with tempfile.TemporaryDirectory() as folder:
        PAGE.write_text(page(asyncio.run(tables(Path(folder)))), encoding="utf-8")


if __name__ == "__main__":
    main()
