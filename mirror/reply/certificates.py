"""Who a client's certificate says it is (mTLS), and which of them are a group's.

Only what the TLS layer verified counts (`listen.tls.client_ca`). A header that tells of a certificate is hearsay, and the
certificate of a trusted proxy is the proxy's own.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from asyncio import BaseTransport

#: Statements about a holder: ("sha256", hex), ("dns", name), ("CN", text), ...
Statements = frozenset[tuple[str, str]]

#: Attributes of a subject by their short names (RFC 4514 section 3), as OpenSSL spells them.
_ATTRIBUTES: Final = {
    "CN": "commonName", "O": "organizationName", "OU": "organizationalUnitName", "C": "countryName", "L": "localityName",
    "ST": "stateOrProvinceName", "DC": "domainComponent", "UID": "userId", "SERIALNUMBER": "serialNumber",
}  # fmt: skip
_SHORT: Final = {long: short for short, long in _ATTRIBUTES.items()}
_NAMES: Final = {"DNS": "dns", "email": "email", "URI": "uri"}
_PARTS: Final = re.compile(r"(?<!\\),")
_HEX: Final = re.compile(r"[0-9a-f]{64}")


class Certificate(NamedTuple):
    """A verified certificate: SHA-256 over its DER (hex), and everything that it states."""

    fingerprint: str
    states: Statements


def of_peer(transport: BaseTransport | None) -> Certificate | None:
    """The certificate that the other end of a connection has shown and TLS has verified, or None."""
    connection = None if transport is None else transport.get_extra_info("ssl_object")
    if not isinstance(connection, (ssl.SSLObject, ssl.SSLSocket)):
        return None
    der, told = connection.getpeercert(binary_form=True), connection.getpeercert()
    if not der or not told:
        return None
    fingerprint = sha256(der).hexdigest()
    return Certificate(fingerprint, frozenset({("sha256", fingerprint), *_stated(told)}))


def _stated(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for relative in told.get("subject", ()):
        for name, value in relative:
            if name in _SHORT:
                yield _SHORT[name], value
    for kind, value in told.get("subjectAltName", ()):
        if kind in _NAMES:
            yield _NAMES[kind], value.lower() if kind == "DNS" else value


def demanded(text: str) -> Statements:
    r"""What a certificate must state to be the one meant by `text` in the configuration. Raises `ValueError`.

    `sha256:<64 hex digits>` (colons allowed), `dns:NAME`, `email:ADDRESS`, `uri:URI`, or `subject:CN=name,O=organisation`,
    whose parts must all be in the subject; a comma within a value is written `\,`. Everything is compared whole.
    """
    kind, _, value = text.partition(":")
    value = value.strip()
    if kind == "sha256" and _HEX.fullmatch(value.replace(":", "").lower()):
        return frozenset({("sha256", value.replace(":", "").lower())})
    if kind in _NAMES.values() and value and "*" not in value:
        return frozenset({(kind, value.lower() if kind == "dns" else value)})
    if kind == "subject" and value:
        return frozenset(map(_attribute, _PARTS.split(value)))
    raise ValueError("expected sha256:…, dns:…, email:…, uri:… or subject:CN=…,O=… (whole values, no globs)")


def _attribute(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    name, value = name.strip().upper(), value.strip().replace("\\,", ",")
    if name not in _ATTRIBUTES or not value:
        raise ValueError(f"{part.strip()!r} is no attribute of a subject; known: {', '.join(_ATTRIBUTES)}")
    return name, value
