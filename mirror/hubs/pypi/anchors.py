"""Reading the HTML form of a project page (PEP 503, 592, 629, 658, 708, 714, 740, 792) from an upstream that has no JSON.

Only what the PEPs define is taken from the markup; nothing of it is passed on as markup. PEP 833 froze this form, so
it never carries sizes or upload times: the page is sent on as API version 1.0.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote, urljoin, urlsplit

from mirror.core.errors import UpstreamGarbage
from mirror.hubs.pypi.documents import Page, build_page
from mirror.hubs.pypi.markup import Attributes, Piece, pieces

_FRAGMENT: Final = re.compile(r"([a-z0-9_]{2,16})=([0-9A-Fa-f]{8,128})")
#: PEP 708: elements that stand once for each URL, and how many of each are kept.
_REPEATED: Final = frozenset({"pypi:tracks", "pypi:alternate-locations"})
_MOST_LOCATIONS: Final = 100
#: More anchors than any index has for one project.
_MOST: Final = 200_000


class _Reader:
    """Collects the base, the meta elements and the anchors, in order."""

    def __init__(self) -> None:
        self.base: str | None = None
        self.meta: dict[str, str] = {}
        self.listed: dict[str, list[str]] = {}
        self.anchors: list[Attributes] = []
        self.projects: list[str] = []
        self._text: list[str] | None = None

    def take(self, piece: Piece) -> None:
        """One more tag or text of the page."""
        kind, what, attributes = piece
        if kind == "start":
            self._start(what, attributes)
        elif kind == "text" and self._text is not None:
            self._text.append(what)
        elif kind == "end" and what == "a" and self._text is not None:
            self.projects.append("".join(self._text).strip())
            self._text = None

    def _start(self, tag: str, found: Attributes) -> None:
        if tag == "base" and self.base is None:
            self.base = found.get("href") or ""
        elif tag == "meta" and found.get("name") and found.get("content") is not None:
            name, content = str(found["name"]).lower(), str(found["content"])
            self.meta.setdefault(name, content)
            if name in _REPEATED and len(self.listed.setdefault(name, [])) < _MOST_LOCATIONS:
                self.listed[name].append(content)
        elif tag == "a" and found.get("href") and len(self.anchors) < _MOST:
            self.anchors.append(found)
            self._text = []


def read_html(body: bytes, upstream: str) -> _Reader:
    """The anchors of a page; raises `UpstreamGarbage` where it is no text."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise UpstreamGarbage(upstream, "the page is not UTF-8") from None
    reader = _Reader()
    for piece in pieces(text):
        reader.take(piece)
    return reader


def decode_html(body: bytes, url: str, project: str, upstream: str) -> Page:
    """A PEP 503 page found at `url`. Raises `UpstreamGarbage` for an API version of another major number."""
    reader = read_html(body, upstream)
    version = reader.meta.get("pypi:repository-version", "1.0")
    if re.fullmatch(r"1\.[0-9]{1,4}", version) is None:
        raise UpstreamGarbage(upstream, f"pypi:repository-version {version[:40]!r} is not 1.x")
    base = _base(reader.base, url)
    files = [entry for entry in (_entry(anchor, base) for anchor in reader.anchors) if entry is not None]
    raw: dict[str, Any] = {"meta": {"api-version": "1.0"}, "name": project}
    if "pypi:tracks" in reader.listed:
        raw["meta"]["tracks"] = reader.listed["pypi:tracks"]
    if "pypi:alternate-locations" in reader.listed:
        raw["alternate-locations"] = reader.listed["pypi:alternate-locations"]
    status = reader.meta.get("pypi:project-status")
    if status:
        reason = reader.meta.get("pypi:project-status-reason")
        raw["project-status"] = {"status": status, "reason": reason} if reason else {"status": status}
    return build_page(project, raw, files, url, upstream)


def _base(declared: str | None, url: str) -> str:
    """`<base href>` only where it stays on the page's own origin: elsewhere it would re-anchor every link."""
    if not declared:
        return url
    try:
        base = urljoin(url, declared)
        here, there = urlsplit(url), urlsplit(base)
    except ValueError:
        return url
    return base if (here.scheme, here.netloc) == (there.scheme, there.netloc) else url


def _entry(anchor: dict[str, str | None], base: str) -> dict[str, Any] | None:
    """An anchor as the object that PEP 691 would have for it; None where its link cannot be resolved."""
    href = (anchor.get("href") or "").strip()
    try:
        link = urljoin(base, href)
        path = urlsplit(link).path
    except ValueError:
        return None
    url, _, fragment = link.partition("#")
    hashed = _FRAGMENT.fullmatch(fragment.partition("&")[0])
    entry: dict[str, Any] = {
        "filename": unquote(path.rpartition("/")[2]),
        "url": url,
        "hashes": {hashed.group(1): hashed.group(2).lower()} if hashed else {},
    }
    if anchor.get("data-requires-python"):
        entry["requires-python"] = anchor["data-requires-python"]
    # The newer name wins where a page has both (PEP 714).
    for key in ("data-core-metadata", "data-dist-info-metadata"):
        if key in anchor:
            declared = _FRAGMENT.fullmatch(anchor[key] or "")
            entry["core-metadata"] = {declared.group(1): declared.group(2).lower()} if declared else True
            break
    if anchor.get("data-gpg-sig") in ("true", "false"):
        entry["gpg-sig"] = anchor["data-gpg-sig"] == "true"
    entry["yanked"] = (anchor["data-yanked"] or True) if "data-yanked" in anchor else False
    if anchor.get("data-provenance"):
        entry["provenance"] = anchor["data-provenance"]
    return entry
