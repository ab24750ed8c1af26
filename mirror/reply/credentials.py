"""What a request shows in `Authorization`: a mirror token, which is for us, or a hub's credential, which is for the hub.

A mirror token travels no further than here. What holds one, or most of one, in any other form than the two that clients
send - `Bearer` (RFC 6750 2.1), and as password of `Basic` (RFC 7617) - is refused rather than passed on: it would be shown
to the hub.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from mirror.core.errors import Malformed, Unidentified
from mirror.core.tokens import PREFIX, Form, form, remains

if TYPE_CHECKING:
    from multidict import MultiMapping

_MISTYPED: Final = (
    "This is no whole mirror token: it is hf_mir and 34 letters and digits, sent as Bearer or as the password of Basic and nowhere else."
)
_FOREIGN: Final = "This token was made by another mirror."
#: `hf_mir` in base64, at each of the three places where it can begin within three bytes.
_IN_BASE64: Final = re.compile("aGZfbWly|hmX21pc|oZl9taX")


class Presented(NamedTuple):
    """What was shown: `header` is a hub's credential verbatim, `token` a mirror token of our making; at most one of them."""

    header: str
    token: str


NOTHING: Final = Presented("", "")


def presented(key: bytes, fields: MultiMapping[str]) -> Presented:
    """What a request shows. `key` is the installation's own.

    Raises `Malformed` for more than one `Authorization` field (RFC 9110 5.3: who reads which?), `Unidentified` for what holds
    a mirror token that is not whole, not ours, or not in its place.
    """
    given = fields.getall("Authorization", ())
    if not given:
        return NOTHING
    if len(given) > 1:
        raise Malformed("more than one Authorization field")
    text = given[0].strip()
    if not (text.isascii() and text.isprintable()):
        if PREFIX in text.lower():
            raise Unidentified("mistyped", _MISTYPED)
        return NOTHING  # RFC 9110 11.4: credentials are tokens and quoted ASCII; this is nobody's
    return _read(key, text)


def _read(key: bytes, text: str) -> Presented:
    scheme, _, rest = text.partition(" ")
    rest = rest.strip()
    inner = _decoded(rest) if scheme.lower() == "basic" else ""
    user, _, password = inner.partition(":")
    # A URL with the token alone, https://hf_mir…@mirror/, makes it the user's name.
    for place in [rest] if scheme.lower() == "bearer" else [password, user]:
        found = form(key, place)
        if found is Form.OURS:
            return Presented("", place)
        if found is Form.FOREIGN:
            raise Unidentified("foreign", _FOREIGN)
    if remains(key, text) or remains(key, inner) or (not inner and _IN_BASE64.search(text)):
        raise Unidentified("mistyped", _MISTYPED)
    return Presented(text, "")


def _decoded(text: str) -> str:
    """The pair behind `Basic`; what clients get wrong in base64 is read as far as it can be."""
    try:
        return b64decode(text + "=" * (-len(text) % 4)).decode("utf-8", "replace")
    except (Base64Error, ValueError):
        return ""


def in_target(key: bytes, target: str) -> bool:
    """Whether a mirror token stands in a request target, in whatever escapes: there it would reach logs, referrers and the hub."""
    if PREFIX in target.lower() and remains(key, target):
        return True
    for _ in range(3):
        if "%" not in target:
            return False
        target = unquote_to_bytes(target).decode("latin-1")
        if PREFIX in target.lower() and remains(key, target):
            return True
    return False
