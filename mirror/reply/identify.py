"""Who asks: a request becomes an `Actor`.

Addresses are taken from `X-Forwarded-For` only where the peer is a trusted proxy, counting from the right; the group
header likewise. Groups come from subnets, from that header, from a client's certificate and from a mirror token. The
caller's hub credential is carried along, never recorded; a mirror token goes no further than this module, and where a
group may use the organisation's token, its members go by that one.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

from aiohttp import web

from mirror.core.actor import Actor, Credential, Holder
from mirror.core.errors import Malformed, Unidentified
from mirror.reply.certificates import Certificate, Statements, demanded, of_peer
from mirror.reply.credentials import in_target, presented

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.core.tokens import MirrorToken
    from mirror.reply.geoip import GeoBook
    from mirror.reply.tokens import TokenBook

#: How many callers are remembered, and how much of their fields.
_REMEMBERED: Final = 4096
_OFTEN: Final = 2048

#: In place of a caller's credential: the organisation's token, which the way upstream alone holds.
EXCHANGED: Final = Credential("", "exchanged", exchanged=True)

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
    tokens: tuple[str, ...] = ()  # names of mirror tokens whose holders belong to it, beside those made for it
    certificates: tuple[Statements, ...] = ()
    hub_token: bool = False
    anonymous: Literal["allow", "deny"] | None = None


class Known(NamedTuple):
    """An actor as remembered: `until` is when its token expires, None for never."""

    actor: Actor
    until: datetime | None


def _utc() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Identification:
    """How actors are told apart. `key` is the installation's own secret for fingerprints and pseudonyms (32 bytes).

    `tokens` None: nobody has a mirror token. `certificates`: clients may show certificates that TLS has verified.
    `anonymous` is `clients.anonymous`. `pseudonyms` gives what stands for a subject in this period; None: under `key`, for ever.
    """

    groups: Sequence[Group]
    trusted_proxies: Sequence[Network]
    group_header: str | None
    key: bytes = field(repr=False)
    tokens: TokenBook | None = field(default=None, repr=False, compare=False)
    geoip: GeoBook | None = field(default=None, repr=False, compare=False)
    anonymous: Literal["allow", "deny"] = "allow"
    certificates: bool = False
    now: Callable[[], datetime] = field(default=_utc, repr=False, compare=False)
    pseudonyms: Callable[[str], str] | None = field(default=None, repr=False, compare=False)
    _known: dict[Hashable, Known] = field(default_factory=dict, init=False, repr=False, compare=False)
    _forgotten: list[int] = field(default_factory=lambda: [0], init=False, repr=False, compare=False)

    @property
    def edition(self) -> int:
        """How often what was known of callers was forgotten: who keeps more than an actor must forget it too."""
        return self._forgotten[0]

    def fingerprint(self, secret: str, purpose: str) -> str:
        """HMAC-SHA-256 of `secret` for one purpose, 32 hex digits."""
        return hmac.new(self.key, f"{purpose}\0{secret}".encode(), hashlib.sha256).hexdigest()[:32]

    def actor(self, request: web.Request) -> Actor:
        """The actor of a request; what cannot be told is left empty. Everything that it follows from is in the key under which it is remembered.

        Raises `Unidentified` where a mirror credential is missing or does not count, `Malformed` for two `Authorization`
        fields and for a mirror token in the request target.
        """
        if in_target(self.key, request.raw_path):
            raise Malformed("a mirror token has no place in a URL, where it reaches logs; send it in Authorization, and revoke this one")
        fields = request.headers
        group = fields.get(self.group_header) if self.group_header else None
        certificate = of_peer(request.transport) if self.certificates else None
        shown = certificate.fingerprint if certificate else None
        key = request.remote, fields.get("Authorization"), fields.get("User-Agent"), fields.get("X-Forwarded-For"), group, shown
        several = len(fields.getall("X-Forwarded-For", ())) > 1 or len(fields.getall("Authorization", ())) > 1
        if several or sum(map(len, filter(None, key))) > _OFTEN:
            return self._told(request, certificate).actor
        known = self._known.get(key)
        if known is not None and known.until is not None and self.now() >= known.until:
            del self._known[key]  # gone for good: a clock that is set back must not revive it
            known = None
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[key] = self._told(request, certificate)
        return known.actor

    def forget(self) -> None:
        """What was known of callers may not hold any more: tokens were made or revoked, or addresses lie elsewhere."""
        self._known.clear()
        self._forgotten[0] += 1

    def _told(self, request: web.Request, certificate: Certificate | None) -> Known:
        address, through_proxy = self._address(request)
        shown = presented(self.key, request.headers)
        token = self._token(shown.token) if shown.token else None
        evidence = _Evidence(
            address,
            _values(request.headers.get(self.group_header, "")) if self.group_header and through_proxy else (),
            None if through_proxy else certificate,  # a proxy's certificate is its own, not its clients'
            token,
        )
        groups = [group for group in self.groups if evidence.puts_into(group)]
        self._admitted(evidence, groups)
        country, source = self._country(address, groups)
        actor = Actor(
            name=self._pseudonym(evidence, shown.header),
            groups=tuple(group.name for group in groups),
            address="" if address is None else str(address),
            country=country,
            country_source=source,
            entity=next((group.entity for group in groups if group.entity), ""),
            jurisdictions=tuple(sorted({code for group in groups for code in group.jurisdictions})),
            user_agent=request.headers.get("User-Agent", "")[:500],
            credential=self._credential(shown.header, groups),
            token=None if token is None else Holder(token.id, token.name, token.note, token.created_at, token.expires_at),
        )
        return Known(actor, token.expires_at if token is not None else None)

    def _token(self, text: str) -> MirrorToken:
        """The token that `text` is. Raises `Unidentified`; also where a group is gone that it was made for: its holder is in none then."""
        if self.tokens is None:
            raise Unidentified("unknown", "This mirror knows no such token.")
        token = self.tokens.check(text, self.now())
        gone = sorted(set(token.groups) - {group.name for group in self.groups})
        if gone:
            raise Unidentified("orphaned", f"This mirror token ({token.id}) was made for the group {gone[0]!r}, which the mirror knows no longer.")
        return token

    def _admitted(self, evidence: _Evidence, groups: Sequence[Group]) -> None:
        """Raises `Unidentified` where a credential is needed and none was shown. A subnet shows where somebody is, not who."""
        if any(evidence.vouched_for(group) for group in groups) or evidence.token is not None:
            return
        said = [group.anonymous for group in groups if group.anonymous is not None]
        if "deny" in said or (self.anonymous == "deny" and not said):
            raise Unidentified("missing", "This mirror serves nobody unknown: show a mirror token (as HF_TOKEN, or as the index password).")

    def _credential(self, header: str, groups: Sequence[Group]) -> Credential | None:
        """The caller's own credential for the hub; without one, the organisation's for a group that may use it."""
        if header:
            return Credential(header, self.fingerprint(header, "credential"))
        return EXCHANGED if any(group.hub_token for group in groups) else None

    def _country(self, address: Address | None, groups: Sequence[Group]) -> tuple[str | None, str]:
        """(country, how it is known). What the organisation says of a group goes before what a database says of an address."""
        stated = next((group.country for group in groups if group.country), None)
        if stated is not None:
            return stated, "group"
        found = self.geoip.country(address) if self.geoip is not None and address is not None else None
        return found, "geoip" if found else ""

    def _pseudonym(self, evidence: _Evidence, header: str) -> str:
        if evidence.token is not None:
            return f"m:{evidence.token.id}"
        if header:
            return "t:" + self._stands_for(header)
        if evidence.certificate is not None:
            return "c:" + self._stands_for(evidence.certificate.fingerprint)
        return "a:" + self._stands_for(str(evidence.address))

    def _stands_for(self, subject: str) -> str:
        return self.pseudonyms(subject) if self.pseudonyms is not None else self.fingerprint(subject, "pseudonym")[:16]

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

    @property
    def tokens(self) -> Sequence[str]:
        """Names of mirror tokens."""

    @property
    def certificates(self) -> Sequence[str]:
        """Certificates, each as `reply.certificates.demanded` reads it."""

    @property
    def hub_token(self) -> bool:
        """Whether its members may use the organisation's own token at the hub."""

    @property
    def anonymous(self) -> Literal["allow", "deny"] | None:
        """Whether its members need a credential, where that differs from `clients.anonymous`."""


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
            tokens=tuple(row.tokens),
            certificates=tuple(map(demanded, row.certificates)),
            hub_token=row.hub_token,
            anonymous=row.anonymous,
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


@dataclass(frozen=True, slots=True)
class _Evidence:
    """From what a caller's groups follow: `named` are groups that a trusted proxy has named."""

    address: Address | None
    named: tuple[str, ...]
    certificate: Certificate | None
    token: MirrorToken | None

    def puts_into(self, group: Group) -> bool:
        """Whether the caller belongs to `group`."""
        address = self.address
        return self.vouched_for(group) or (
            address is not None and any(address.version == network.version and address in network for network in group.subnets)
        )

    def vouched_for(self, group: Group) -> bool:
        """Whether that follows from something that a caller has to be given: a token, a certificate, a proxy's word."""
        if any(value in group.header for value in self.named):
            return True
        if self.token is not None and (group.name in self.token.groups or self.token.name in group.tokens):
            return True
        return self.certificate is not None and any(wanted <= self.certificate.states for wanted in group.certificates)
