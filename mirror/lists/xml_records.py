"""Records of an XML list, one at a time: expat without entities, by local name, never the whole document in memory.

Publishers move their namespaces (OFAC did on 7 May 2024), so names are compared without them. A document type
declaration is refused at its first character: no list has one, and every entity attack needs one.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NoReturn
from xml.parsers import expat

from mirror.lists.material import refuse

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from mirror.lists.material import Part

_STEP: Final = 64 * 1024
MAX_DEPTH: Final = 32
#: Elements of one record, and characters of one element. The largest published record has some hundred elements.
MAX_ELEMENTS: Final = 100_000
MAX_TEXT: Final = 1024 * 1024


class Node:
    """One element: `name` without its namespace, `text` without the spaces around it, the line on which it begins."""

    __slots__ = ("attributes", "children", "line", "name", "text")

    def __init__(self, name: str, attributes: dict[str, str], line: int) -> None:
        self.name, self.attributes, self.line = name, attributes, line
        self.text = ""
        self.children: list[Node] = []

    def get(self, name: str) -> str:
        """An attribute without the spaces around it, or ""."""
        return self.attributes.get(name, "").strip()

    def all(self, *path: str) -> Iterator[Node]:
        """Every element at the end of `path`, each step of which is a child of the one before."""
        found = [child for child in self.children if child.name == path[0]]
        for child in found:
            if len(path) == 1:
                yield child
            else:
                yield from child.all(*path[1:])

    def first(self, *path: str) -> str:
        """The text of the first element at the end of `path`, or ""."""
        return next((one.text for one in self.all(*path)), "")

    def texts(self) -> Iterator[str]:
        """The texts below, innermost elements only; empty ones left out."""
        for child in self.children:
            if child.children:
                yield from child.texts()
            elif child.text:
                yield child.text


def records(part: Part, root: str, wanted: Collection[str]) -> Iterator[Node]:
    """The root first (its attributes only), then every element called one of `wanted`, whole, in the order of the file.

    Raises `InputError` at the first fault, naming file and line: not well-formed, truncated, another root than `root`, a
    document type declaration, and anything beyond the bounds above.
    """
    reading = _Reading(part, root, frozenset(wanted))
    yield from reading.nodes()


class _Reading:
    def __init__(self, part: Part, root: str, wanted: frozenset[str]) -> None:
        self._part, self._root, self._wanted = part, root, wanted
        self._ready: deque[Node] = deque()
        self._open: list[Node] = []
        self._text: list[str] = []
        self._depth = self._elements = self._length = 0
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._doctype

    def nodes(self) -> Iterator[Node]:
        data = memoryview(self._part.data)
        try:
            for at in range(0, len(data), _STEP):
                self._parser.Parse(bytes(data[at : at + _STEP]), False)
                while self._ready:
                    yield self._ready.popleft()
            self._parser.Parse(b"", True)
        except expat.ExpatError as error:
            refuse(self._part.name, error.lineno, f"not readable as XML: {expat.ErrorString(error.code)}")
        except (LookupError, ValueError) as error:  # a coding that the declaration names and nobody has
            refuse(self._part.name, self._parser.CurrentLineNumber, f"not readable as XML: {error}")
        yield from self._ready

    def _refuse(self, message: str) -> NoReturn:
        refuse(self._part.name, self._parser.CurrentLineNumber, message)

    def _doctype(self, *_: object) -> None:
        self._refuse("has a document type declaration, which no list has: refused")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._refuse(f"elements nested deeper than {MAX_DEPTH}")
        local = name.rpartition(" ")[2]
        if self._depth == 1 and local != self._root:
            self._refuse(f"is not this format: it begins with <{local[:60]}> where <{self._root}> is expected")
        if self._depth > 1 and not self._open and local not in self._wanted:
            return
        node = Node(local, {key.rpartition(" ")[2]: value for key, value in attributes.items()}, self._parser.CurrentLineNumber)
        if self._depth == 1:
            self._ready.append(node)
            return
        self._elements = self._elements + 1 if self._open else 1
        if self._elements > MAX_ELEMENTS:
            self._refuse(f"one record has more than {MAX_ELEMENTS} elements")
        if self._open:
            self._open[-1].children.append(node)
        self._open.append(node)
        self._text.clear()
        self._length = 0

    def _characters(self, text: str) -> None:
        if self._open:
            self._length += len(text)
            if self._length > MAX_TEXT:
                self._refuse(f"an element has more than {MAX_TEXT} characters")
            self._text.append(text)

    def _end(self, _name: str) -> None:
        self._depth -= 1
        if not self._open:
            return
        node = self._open.pop()
        if not node.children:
            node.text = " ".join("".join(self._text).split())
        self._text.clear()
        self._length = 0
        if not self._open:
            self._ready.append(node)
