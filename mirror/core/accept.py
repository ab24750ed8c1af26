"""What a client says it takes (RFC 9110 section 12.5): members with weights, and the content coding that follows from them."""

from __future__ import annotations

from typing import Final

CODINGS: Final = ("zstd", "gzip")


def coding(accept_encoding: str, offers: tuple[str, ...] = CODINGS) -> str:
    """One of `offers` or `identity`: the best that the client accepts, in that order on a tie. An absent header means identity."""
    weights = dict(reversed(weighted(accept_encoding)))
    anything = weights.get("*", 0.0)
    qualities = {name: weights.get(name, anything) for name in offers}
    best = max(offers, key=lambda name: (qualities[name], -offers.index(name)))
    # RFC 9110 12.5.3: identity is acceptable unless excluded; a client that ranks it above a coding means it.
    return best if qualities[best] > 0 and qualities[best] >= weights.get("identity", 0.0) else "identity"


def weighted(header: str) -> list[tuple[str, float]]:
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
