"""Who asks: a request becomes an `Actor`.

Addresses are taken from `X-Forwarded-For` only where the peer is a trusted proxy, counting from the right; the group
header likewise. Groups come from subnets and from that header. The caller's hub credential is carried along, never
recorded.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from aiohttp import web

from mirror.core.actor import Actor, Credential

#: How many callers are remembered, and how much of their fields.
_REMEMBERED: Final = 4096
_OFTEN: Final = 2048

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Group:
    """A group of clients as configured (`clients.groups`)."""

    name: str
    subnets: tuple[Network, ...] = ()
    header: tuple[str, ...] = ()  # values of the group header that mean this group
    country: str | None = None
    jurisdictions: tuple[str, ...] = ()
    entity: str = ""


@dataclass(frozen=True, slots=True)
class Identification:
    """How actors are told apart. `key` is the installation's own secret for fingerprints and pseudonyms (32 bytes)."""

    groups: Sequence[Group]
    trusted_proxies: Sequence[Network]
    group_header: str | None
    key: bytes = field(repr=False)
    _known: dict[Hashable, Actor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def fingerprint(self, secret: str, purpose: str) -> str:
        """HMAC-SHA-256 of `secret` for one purpose, 32 hex digits."""
        return hmac.new(self.key, f"{purpose}\0{secret}".encode(), hashlib.sha256).hexdigest()[:32]

    def actor(self, request: web.Request) -> Actor:
        """The actor of a request. Never fails: what cannot be told is left empty.

        Everything that it follows from is in the key under which it is remembered.
        """
        fields = request.headers
        group = fields.get(self.group_header) if self.group_header else None
        key = request.remote, fields.get("Authorization"), fields.get("User-Agent"), fields.get("X-Forwarded-For"), group
        if len(fields.getall("X-Forwarded-For", ())) > 1 or sum(map(len, filter(None, key))) > _OFTEN:
            return self._told(request)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[key] = self._told(request)
        return known

    def _told(self, request: web.Request) -> Actor:
        address, through_proxy = self._address(request)
        authorization = request.headers.get("Authorization", "").strip()
        if not (authorization.isascii() and authorization.isprintable()):
            authorization = ""  # RFC 9110 11.4: credentials are tokens and quoted ASCII; this is nobody's
        credential = (
            Credential(authorization, self.fingerprint(authorization, "credential")) if authorization else None
        )
        named = _values(request.headers.get(self.group_header, "")) if self.group_header and through_proxy else ()
        groups = [group for group in self.groups if _belongs(group, address, named)]
        country = next((group.country for group in groups if group.country), None)
        return Actor(
            name=self._pseudonym(address, authorization),
            groups=tuple(group.name for group in groups),
            address="" if address is None else str(address),
            country=country,
            country_source="group" if country else "",
            entity=next((group.entity for group in groups if group.entity), ""),
            jurisdictions=tuple(sorted({code for group in groups for code in group.jurisdictions})),
            user_agent=request.headers.get("User-Agent", "")[:500],
            credential=credential,
        )

    def _pseudonym(self, address: Address | None, authorization: str) -> str:
        if authorization:
            return "t:" + self.fingerprint(authorization, "pseudonym")[:16]
        return "a:" + self.fingerprint(str(address), "pseudonym")[:16]

    def _address(self, request: web.Request) -> tuple[Address | None, bool]:
        """(client address, whether a trusted proxy vouches for its headers)."""
        peer = _parse(request.remote or "")
        if peer is None or not self.trusts(peer):
            return peer, False
        # Right to left: the first hop that is not one of ours is the client; anything further left is hearsay.
        hops = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")
        for hop in reversed(hops):
            address = _parse(hop.strip())
            if address is None:
                break
            peer = address
            if not self.trusts(address):
                break
        return peer, True

    def trusts(self, address: Address) -> bool:
        """Whether `address` is one of `listen.trusted_proxies`."""
        return any(address.version == network.version and address in network for network in self.trusted_proxies)


class GroupRow(Protocol):
    """A row of `clients.groups` as configured (SURFACE 2). Typed: a name that is not there would be read as empty."""

    @property
    def subnets(self) -> Sequence[object]:
        """Networks, as text or parsed."""

    @property
    def header(self) -> Sequence[str]:
        """Values of the group header."""

    @property
    def country(self) -> str | None:
        """ISO 3166-1 alpha-2."""

    @property
    def jurisdiction(self) -> Sequence[str]:
        """Countries whose law binds the group (`applies_to`)."""

    @property
    def entity(self) -> str | None:
        """The organisation's own name."""


def groups_from(configured: Mapping[str, GroupRow]) -> tuple[Group, ...]:
    """Groups from decoded configuration rows."""
    return tuple(
        Group(
            name=name,
            subnets=tuple(ipaddress.ip_network(str(subnet), strict=False) for subnet in row.subnets),
            header=tuple(row.header),
            country=row.country,
            jurisdictions=tuple(row.jurisdiction),
            entity=row.entity or "",
        )
        for name, row in configured.items()
    )


def _parse(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0].strip("[]"))
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _values(header: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in header.split(",") if part.strip())


def _belongs(group: Group, address: Address | None, named: tuple[str, ...]) -> bool:
    if any(value in group.header for value in named):
        return True
    return address is not None and any(
        address.version == network.version and address in network for network in group.subnets
    )
