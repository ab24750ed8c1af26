"""Content negotiation as PyPI does it (RFC 9110 section 12.5): HTML on a tie or no match, never 406."""

from __future__ import annotations

from typing import Final

from mirror.hubs.pypi.documents import HTML, HTML_V1, JSON_V1

#: In the order that breaks ties.
OFFERS: Final = (HTML, HTML_V1, JSON_V1)
#: PEP 691 lets a client ask for whatever version is newest.
_LATEST: Final = {
    "application/vnd.pypi.simple.latest+json": JSON_V1,
    "application/vnd.pypi.simple.latest+html": HTML_V1,
}
CODINGS: Final = ("zstd", "gzip")


def content_type(accept: str) -> str:
    """Which of `OFFERS` an `Accept` header prefers."""
    weights = [(_LATEST.get(name, name), quality) for name, quality in _weighted(accept)]
    if not weights:
        return HTML
    best = max(OFFERS, key=lambda offer: (_quality(offer, weights), -OFFERS.index(offer)))
    return best if _quality(best, weights) > 0 else HTML


def coding(accept_encoding: str) -> str:
    """`zstd`, `gzip` or `identity`: the best that the client accepts, in that order on a tie. An absent header means identity."""
    weights = dict(reversed(_weighted(accept_encoding)))
    anything = weights.get("*", 0.0)
    qualities = {name: weights.get(name, anything) for name in CODINGS}
    best = max(CODINGS, key=lambda name: (qualities[name], -CODINGS.index(name)))
    # RFC 9110 12.5.3: identity is acceptable unless excluded; a client that ranks it above a coding means it.
    return best if qualities[best] > 0 and qualities[best] >= weights.get("identity", 0.0) else "identity"


def _quality(offer: str, weights: list[tuple[str, float]]) -> float:
    """The weight of the most specific range that covers `offer` (RFC 9110 section 12.5.1)."""
    for wanted in (offer, offer.partition("/")[0] + "/*", "*/*"):
        matching = [quality for name, quality in weights if name == wanted]
        if matching:
            return max(matching)
    return 0.0


def _weighted(header: str) -> list[tuple[str, float]]:
    """(name, q) of each member; an unreadable weight counts as 0."""
    members = []
    for part in header[:4096].split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if not name:
            continue
        quality = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip().lower() == "q":
                quality = _q(value.strip())
        members.append((name.lower(), quality))
    return members


def _q(text: str) -> float:
    whole, _, part = text.partition(".")
    if whole not in ("0", "1") or not ((part.isdecimal() and part.isascii()) or part == "") or len(part) > 3:
        return 0.0
    return min(1.0, float(text))
