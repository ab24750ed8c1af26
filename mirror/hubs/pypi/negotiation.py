"""Content negotiation as PyPI does it (RFC 9110 section 12.5): HTML on a tie or no match, never 406."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from mirror.core.accept import weighted
from mirror.hubs.pypi.documents import HTML, HTML_V1, JSON_V1

#: In the order that breaks ties.
OFFERS: Final = (HTML, HTML_V1, JSON_V1)
#: PEP 691 lets a client ask for whatever version is newest.
_LATEST: Final = {
    "application/vnd.pypi.simple.latest+json": JSON_V1,
    "application/vnd.pypi.simple.latest+html": HTML_V1,
}


@lru_cache(maxsize=256)  # a few clients' headers come again with every page
def content_type(accept: str) -> str:
    """Which of `OFFERS` an `Accept` header prefers."""
    weights = [(_LATEST.get(name, name), quality) for name, quality in weighted(accept)]
    if not weights:
        return HTML
    best = max(OFFERS, key=lambda offer: (_quality(offer, weights), -OFFERS.index(offer)))
    return best if _quality(best, weights) > 0 else HTML


def _quality(offer: str, weights: list[tuple[str, float]]) -> float:
    """The weight of the most specific range that covers `offer` (RFC 9110 section 12.5.1)."""
    for wanted in (offer, offer.partition("/")[0] + "/*", "*/*"):
        matching = [quality for name, quality in weights if name == wanted]
        if matching:
            return max(matching)
    return 0.0
