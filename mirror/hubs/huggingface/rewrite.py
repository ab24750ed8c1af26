"""What is taken out of, and turned round in, the hub's pages on their way to a client."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection

#: Keys that make a client fetch bytes from the content store, past the mirror: `xetHash`, `xetEnabled`, `xet`, ….
_XET: Final = re.compile(r"xet(?:[A-Z_].*)?")
_LINK: Final = re.compile(r'<([^<>]*)>((?:\s*;\s*[^\s;,="]+(?:\s*=\s*(?:"[^"]*"|[^\s";,]*))?)*)')
_REL: Final = re.compile(r';\s*rel\s*=\s*"?([^";]*)"?', re.IGNORECASE)
_PAGING: Final = frozenset({"next", "prev", "previous", "first", "last"})


def without_xet(value: Any) -> Any:
    """`value` (JSON) without any trace of Xet, at any depth."""
    if isinstance(value, dict):
        return {key: without_xet(item) for key, item in value.items() if not _XET.fullmatch(key)}
    if isinstance(value, list):
        return [without_xet(item) for item in value]
    return value


def split_url(text: str) -> SplitResult:
    """The parts of a URL that upstream wrote; all are empty where it is none, or holds what no URL may (RFC 3986 section 2)."""
    try:
        return urlsplit(text if all("!" <= character <= "~" and character not in '"<>\\' for character in text) else "")
    except ValueError:  # a bracket out of place
        return urlsplit("")


def paging_links(header: str | None, upstream_origins: Collection[str], public_url: str) -> str | None:
    """A `Link` header (RFC 8288) that names the mirror, with paging relations only; None when nothing is left.

    A relation that points to a host which is not the upstream is dropped: a client follows it with its token.
    """
    kept = []
    for target, parameters in _LINK.findall(header or ""):
        relation = _REL.search(parameters)
        parts = split_url(target)
        ours = f"{parts.scheme}://{parts.netloc}" in upstream_origins or (not parts.scheme and not parts.netloc and parts.path.startswith("/"))
        if relation is None or relation[1].strip().lower() not in _PAGING or not ours:
            continue
        query = f"?{parts.query}" if parts.query else ""
        kept.append(f'<{public_url}{parts.path}{query}>; rel="{relation[1].strip().lower()}"')
    return ", ".join(kept) or None


def following(header: str | None) -> str | None:
    """The query of the next page that a `Link` header (RFC 8288) names, or None."""
    for target, parameters in _LINK.findall(header or ""):
        relation = _REL.search(parameters)
        if relation is not None and relation[1].strip().lower() == "next":
            return split_url(target).query or None
    return None
