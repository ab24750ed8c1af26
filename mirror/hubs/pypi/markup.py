"""HTML as a stream of tags and texts, in time proportional to its length whatever is in it.

The standard library's parser starts anew behind every tag that never ends: 12 kB of `<a <a <a` cost it seconds
(https://github.com/python/cpython/issues/135462). Here nothing is ever read twice. What browsers do is followed
(https://html.spec.whatwg.org/multipage/parsing.html#tokenization) as far as pages of an index go.
"""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A tag's name, and an attribute's with what separates it from the one before: an `=` at its start is part of the name.
_NAME: Final = re.compile(r"[A-Za-z][^\s/>]*")
_ATTRIBUTE: Final = re.compile(r"[\s/]*(?:(=?[^\s/>=]+|=)(\s*=\s*)?)?")
_BARE: Final = re.compile(r"[^\s>]*")
#: Elements whose content is text until their own end tag, and so never holds an anchor.
_RAW: Final = frozenset(["script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"])

Attributes = dict[str, str | None]
#: ("start", tag, attributes), ("end", tag, {}) or ("text", text, {}); names in lower case, character references resolved.
Piece = tuple[str, str, Attributes]


def pieces(text: str) -> Iterator[Piece]:
    """The tags and texts of a page in order. What is cut off by the page's end is dropped, as browsers do."""
    at = 0
    while at < len(text):
        opening = text.find("<", at)
        if opening != at:
            yield "text", unescape(text[at : opening if opening >= 0 else len(text)]), {}
            if opening < 0:
                return
        at = opening + 1
        if text.startswith("!--", at):
            at = _after(text, "-->", at + 1)  # `<!-->` is a whole comment
        elif text.startswith(("!", "?"), at):
            at = _after(text, ">", at)
        elif (name := _NAME.match(text, at + text.startswith("/", at))) is not None:
            ends = text.startswith("/", at)
            attributes, at = _attributes(text, name.end())
            tag = name[0].lower()
            if at < 0:
                return
            yield ("end", tag, {}) if ends else ("start", tag, attributes)
            if tag in _RAW and not ends:
                closing = re.compile(rf"</{tag}(?=[\s/>])", re.IGNORECASE).search(text, at)
                at = closing.start() if closing is not None else len(text)
        elif text.startswith("/", at):
            at = _after(text, ">", at)
        else:
            yield "text", "<", {}


def _after(text: str, mark: str, start: int) -> int:
    found = text.find(mark, start)
    return len(text) if found < 0 else found + len(mark)


def _attributes(text: str, at: int) -> tuple[Attributes, int]:
    """The attributes from `at` on, of two equal ones the first, and where the tag is over; -1 where it never is."""
    found: Attributes = {}
    while True:
        named = _ATTRIBUTE.match(text, at)
        at = named.end() if named is not None else at
        if named is None or named[1] is None:
            return (found, at + 1) if text.startswith(">", at) else (found, -1)
        value: str | None = None
        if named[2] is not None:
            quote = text[at : at + 1]
            if quote in ('"', "'"):
                end = text.find(quote, at + 1)
                if end < 0:
                    return found, -1
                value, at = unescape(text[at + 1 : end]), end + 1
            else:
                bare = _BARE.match(text, at)
                value, at = (unescape(bare[0]), bare.end()) if bare is not None else ("", at)
        found.setdefault(named[1].lower(), value)
