"""Secrets never reach a record (DESIGN 8, rule 9): what looks like one is replaced before anything is hashed or written."""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "[redacted]"

#: Cheap test first: a text that holds none of these (lower case) holds no secret that `_TOKENS` knows.
_MARKERS: Final = (
    "hf_", "api_org_", "pypi-ag", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "eyj", "bearer",
    "basic ", "akia", "asia", "xox",
)  # fmt: skip

#: Tokens that announce themselves. Every class excludes quotes and backslashes, so that a JSON text stays one.
_TOKENS: Final = re.compile(
    r"""(?x)
      \bhf_[A-Za-z0-9]{16,} | \bapi_org_[A-Za-z0-9]{16,}
    | \bpypi-Ag[A-Za-z0-9_-]{16,}
    | \bgh[pousr]_[A-Za-z0-9]{20,} | \bgithub_pat_[A-Za-z0-9_]{20,} | \bglpat-[A-Za-z0-9_-]{16,}
    | \beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b
    | \bxox[abprs]-[A-Za-z0-9-]{10,}
    | (?i:\bbearer(?:\ |%20|\+)+)[A-Za-z0-9._~+/=:-]{6,}
    | (?i:\bbasic(?:\ |%20|\+)+)[A-Za-z0-9+/]{12,}={0,2}(?![A-Za-z0-9._-])
    """
)

#: Secrets known by the place they stand in: user information of a URL, and values of telling parameters.
_PLACES: Final = re.compile(
    r"""(?ix)
      (?<=//)[^/@\s"\\]*:[^/@\s"\\]+(?=@)
    | (?<![a-z0-9])(?P<key>(?:[a-z0-9_-]*[_-])?(?:token|secret|password|passwd|api_?key|apikey|signature|sig|credential|authorization|key-pair-id|policy))
      (?P<eq>=|%3d|:\ ?)[^&\s"\\;,]+
    """
)


#: Escapes that mean nothing (RFC 3986 2.3): `hf%5Fabc` is `hf_abc`. None of them can end a JSON text.
_UNRESERVED: Final = re.compile(r"%(2[de]|3\d|[46][1-9a-f]|[57]\d|[57]a|5f|7e)", re.IGNORECASE)


def redacted_tokens(text: str) -> str:
    """`text` without anything that has the form of a hub token, JWT or `Authorization` value; JSON stays JSON."""
    if "%" in text:
        plain = _UNRESERVED.sub(lambda found: chr(int(found[1], 16)), text)
        if plain != text and (hidden := redacted_tokens(plain)) != plain:
            return hidden
    lower = text.lower()
    if not any(marker in lower for marker in _MARKERS):
        return text
    return _TOKENS.sub(HIDDEN, text)


def redacted(text: str) -> str:
    """As `redacted_tokens`, and without user information in URLs and values of parameters that hold secrets."""
    return _PLACES.sub(_keep_key, redacted_tokens(text))


def _keep_key(found: re.Match[str]) -> str:
    key = found["key"]
    return f"{key}{found['eq']}{HIDDEN}" if key else HIDDEN


def clean(text: str) -> str:
    """`text` as valid Unicode: what a header or path held of undecodable bytes becomes U+FFFD (RFC 8785 demands it)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return text
