"""Who asks, and with which credential."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credential:
    """A caller's hub credential on its way to the hub, and nowhere else (P5).

    `header` is the verbatim `Authorization` value; it never appears in `repr`, logs, the ledger or on disk.
    `fingerprint` is a keyed hash of it (HMAC-SHA-256 under the installation's own key, hex), under which grants and
    documents of limited visibility are kept.
    """

    header: str = field(repr=False)
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Actor:
    """The asking side of a decision.

    `name` is a pseudonym (a mirror user, or a keyed hash of address or token), never a secret. `country` is ISO
    3166-1 alpha-2 or None when unknown, `country_source` says how it is known (`group`, `geoip`, ``). `address` is
    the client's IP address in text. `entity` and `jurisdictions` come from the group.
    """

    name: str
    groups: tuple[str, ...] = ()
    address: str = ""
    country: str | None = None
    country_source: str = ""
    entity: str = ""
    jurisdictions: tuple[str, ...] = ()
    user_agent: str = ""
    credential: Credential | None = field(default=None, repr=False, compare=False)
