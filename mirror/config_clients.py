"""The part of the configuration that is about clients: who they are, what they may, and how often they may ask."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, WithJsonSchema

from mirror.config_values import Country, Duration, Located, Network, Whole
from mirror.reply.certificates import demanded


def _certificate(value: Any) -> Any:
    text = str(value)
    demanded(text)  # raises `ValueError` for what names no certificate
    return text


CertificateRule = Annotated[
    str, BeforeValidator(_certificate), WithJsonSchema({"type": "string", "examples": ["dns:ci.acme.example", "subject:CN=ci,O=Acme"]})
]


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files: certificate chain and key, both or neither, and the authorities whose certificates clients may show."""

    cert: Located | None = None
    key: Located | None = None
    client_ca: Located | None = None


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """One group of clients: who is in it, what is known of it, what its members may.

    `certificates` are read by `reply.certificates.demanded`.
    """

    subnets: tuple[Network, ...] = ()
    tokens: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    certificates: tuple[CertificateRule, ...] = ()
    country: Country | None = None
    jurisdiction: tuple[Country, ...] = ()
    entity: str | None = None
    hub_token: bool = False
    anonymous: Literal["allow", "deny"] | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """How many requests one client may make in how long."""

    requests: Whole
    per: Duration


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Rates of single clients: by group, for clients without a credential, and for all others. None is no limit."""

    default: Limit | None = None
    anonymous: Limit | None = None
    groups: dict[str, Limit | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Clients:
    """How clients are told apart. `header` is a trusted proxy's header with group names."""

    groups: dict[str, GroupConfig] = field(default_factory=dict)
    header: str | None = None
    geoip: Located | None = None
    anonymous: Literal["allow", "deny"] = "allow"
    limits: ClientLimits | None = None
