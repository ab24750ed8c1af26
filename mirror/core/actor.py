"""Who asks, and with which credential."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

#: Bits of an address that a record of somebody permitted keeps: the network, which several share.
_KEPT_BITS: Final = {4: 24, 6: 48}


@dataclass(frozen=True, slots=True)
class Credential:
    """A caller's hub credential on its way to the hub, and nowhere else (P5).

    `header` is the verbatim `Authorization` value; it never appears in `repr`, logs, the ledger or on disk.
    `fingerprint` is a keyed hash of it (HMAC-SHA-256 under the installation's own key, hex), under which grants and
    documents of limited visibility are kept. `exchanged`: the caller may go by the organisation's own token, which the way
    upstream alone holds; then there is no `header`.
    """

    header: str = field(repr=False)
    fingerprint: str
    exchanged: bool = False


@dataclass(frozen=True, slots=True)
class Holder:
    """Of which mirror token a caller is the holder, in the words of `mirror token list`. Nothing of it is secret."""

    id: str
    name: str
    note: str
    created_at: datetime
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """The asking side of a decision.

    `name` is a pseudonym (the id of a mirror token, or a keyed hash of certificate, hub token or address), never a secret.
    `country` is ISO 3166-1 alpha-2 or None when unknown, `country_source` says how it is known (`group`, `geoip`, ``).
    `address` is the client's IP address in text. `entity` and `jurisdictions` come from the group. `networks` are those of
    the rules in force that the address is in: on the record, which may lose the address.
    """

    name: str
    groups: tuple[str, ...] = ()
    address: str = ""
    country: str | None = None
    country_source: str = ""
    entity: str = ""
    jurisdictions: tuple[str, ...] = ()
    user_agent: str = ""
    networks: tuple[str, ...] = field(default=(), compare=False)
    credential: Credential | None = field(default=None, repr=False, compare=False)
    token: Holder | None = field(default=None, repr=False, compare=False)


def network_of(address: str) -> str:
    """The first address of the network that an address is in, of 24 bits (IPv4) or 48 (IPv6); empty for what is no address."""
    network = _network(address)
    return "" if network is None else str(network.network_address)


def cut_network(address: str) -> str:
    """The network (`10.8.0.0/24`) of which `network_of` has left `address`; empty where it is a whole address or none."""
    network = _network(address)
    return str(network) if network is not None and str(network.network_address) == address else ""


def _network(address: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        one = ipaddress.ip_address(address)
    except ValueError:
        return None
    one = getattr(one, "ipv4_mapped", None) or one
    return ipaddress.ip_network((one, _KEPT_BITS[one.version]), strict=False)
