"""Where the mirror may connect: a list of hosts, and no private address unless somebody named its host.

Two checks, because either alone can be walked round. The host list is applied to every URL, redirects included; the
address check is applied when the name is resolved for the connection itself, so that a permitted name cannot be made
to point inward between the check and the use (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from aiohttp.abc import AbstractResolver, ResolveResult

from mirror.core.errors import HostNotAllowed, InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yarl import URL

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
#: Public-looking addresses that answer with a cloud machine's own secrets.
_METADATA: Final = frozenset({"168.63.129.16"})

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Destination:
    """One row of the list. `host` may be a glob; `scheme` None means any, `port` None means any.

    A bare host that is a glob permits https on port 443 only: a pattern is no reason to speak in the clear.
    """

    scheme: str | None
    host: str
    port: int | None

    @property
    def literal(self) -> bool:
        """Whether the host was named, not described by a pattern."""
        return not any(character in self.host for character in "*?[")

    def permits(self, url: URL) -> bool:
        """Whether `url` is one of those meant."""
        host = (url.host or "").lower().rstrip(".")
        return (
            fnmatchcase(host, self.host)
            and self.scheme in (None, url.scheme)
            and (self.port is None or self.port == url.port)
        )


def origin(url: URL) -> str:
    """`scheme://host[:port]`, the port only where it is not the scheme's own."""
    host = url.host or ""
    shown = f"[{host}]" if ":" in host else host
    port = "" if url.port in (None, _DEFAULT_PORTS.get(url.scheme)) else f":{url.port}"
    return f"{url.scheme}://{shown}{port}"


def parse_destination(text: str, place: str) -> Destination:
    """A row from configuration: `https://cdn.example:8443`, `cdn.example`, `cdn.example:8443` or `*.cdn.example`.

    Raises `InputError` for anything else.
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = "", text.strip()
    host, port = _host_and_port(rest.rstrip("/"), text, place)
    if scheme not in ("", "http", "https") or not host or any(c in host for c in "/@?#% \\"):
        raise InputError([Problem("", place, f"not a host or an origin: {text!r}")])
    if scheme:
        return Destination(scheme, host, port or _DEFAULT_PORTS[scheme])
    row = Destination(None, host, port)
    return row if row.literal else Destination("https", host, port or 443)


def _host_and_port(rest: str, text: str, place: str) -> tuple[str, int | None]:
    if rest.startswith("["):
        host, _, tail = rest[1:].partition("]")
        port = tail.removeprefix(":")
    elif rest.count(":") > 1:
        host, port = rest, ""
    else:
        host, _, port = rest.partition(":")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise InputError([Problem("", place, f"not a port: {text!r}")])
    return host.lower().rstrip("."), int(port) if port else None


class Destinations:
    """The list of one hub instance: its upstreams' origins and the further hosts that files may come from."""

    def __init__(self, upstreams: Sequence[str], origins: Sequence[str]) -> None:
        """Raises `InputError` naming every entry that is no host, origin or URL."""
        problems: list[Problem] = []
        rows: list[Destination] = []
        for name, texts in (("upstreams", [_bare(text) for text in upstreams]), ("origins", list(origins))):
            for index, text in enumerate(texts):
                try:
                    rows.append(parse_destination(text, f"{name}[{index}]"))
                except InputError as error:
                    problems.extend(error.problems)
        if problems:
            raise InputError(problems)
        self._rows = tuple(rows)
        self._named = frozenset(row.host for row in rows if row.literal)

    def named(self, host: str) -> bool:
        """Whether this very host was named, so that it may be on a private address."""
        return host.lower().rstrip(".") in self._named

    def check(self, url: URL, *, through_proxy: bool = False) -> None:
        """Raises `HostNotAllowed` unless `url` may be asked.

        An address in the URL itself is checked here; a name is checked by `GuardedResolver` when it is resolved.
        Through an outbound proxy the host list alone applies: the proxy resolves, and may be the only one who can.
        """
        if url.scheme not in _DEFAULT_PORTS or not url.host:
            raise HostNotAllowed(origin(url), "is neither http nor https")
        if url.user is not None or url.password is not None:
            raise HostNotAllowed(origin(url), "carries credentials in its URL")
        if not any(row.permits(url) for row in self._rows):
            raise HostNotAllowed(origin(url), f"host {url.host!r} is not in upstreams or origins")
        literal = address_of(url.host)
        if literal is not None and not through_proxy and not self.named(url.host):
            refuse_inward(url.host, literal)


def _bare(base: str) -> str:
    """An upstream's base URL without its path."""
    scheme, separator, rest = base.partition("://")
    return f"{scheme}{separator}{rest.partition('/')[0]}"


def address_of(host: str) -> Address | None:
    """The address that `host` is, or None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def inward(address: Address) -> str | None:
    """Why an address must not be contacted unasked, or None for a public unicast one.

    IPv4 inside IPv6 (mapped, 6to4, Teredo, NAT64) is judged as the IPv4 address that is reached.
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return inward(inner)
    for name in ("loopback", "link_local", "multicast", "unspecified", "reserved", "private"):
        if getattr(address, f"is_{name}"):
            return name.replace("_", "-")
    if str(address) in _METADATA:
        return "metadata"
    return None if address.is_global else "non-global"


def refuse_inward(host: str, address: Address) -> None:
    """Raises `HostNotAllowed` for an address that points inward, naming host and address."""
    why = inward(address)
    if why is not None:
        raise HostNotAllowed(host, f"{address} is a {why} address and {host!r} is not named in upstreams or origins")


class GuardedResolver(AbstractResolver):
    """Resolves a name for a connection and drops every address that the name has no business pointing to."""

    def __init__(self, inner: AbstractResolver, destinations: Destinations, also_named: frozenset[str]) -> None:
        """`also_named` are hosts that the configuration names elsewhere: the outbound proxy."""
        self._inner, self._destinations, self._also = inner, destinations, also_named

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The permitted addresses of `host`. Raises `HostNotAllowed` when none is left, `OSError` as the inner one."""
        found = await self._inner.resolve(host, port, family)
        if self._destinations.named(host) or host.lower() in self._also:
            return found
        refused: HostNotAllowed | None = None
        kept: list[ResolveResult] = []
        for row in found:
            address = address_of(row["host"])
            try:
                if address is None:
                    raise HostNotAllowed(host, f"resolves to {row['host']!r}, which is no address")
                refuse_inward(host, address)
            except HostNotAllowed as error:
                refused = error
            else:
                kept.append(row)
        if not kept and refused is not None:
            raise refused
        return kept

    async def close(self) -> None:
        """Release the inner resolver."""
        await self._inner.close()
