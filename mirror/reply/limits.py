r"""How often one client may ask (`clients.limits`), and how that is said in the fields that clients read.

huggingface_hub sleeps `t` seconds after a 429 that says `RateLimit: "name";r=0;t=N` and matches the name as `\w+`
(huggingface.md section 2); pip and uv go by `Retry-After` in digits. The grammar is that of
draft-ietf-httpapi-ratelimit-headers-09: `r` is what remains, `t` are seconds, `q` the quota and `w` its window.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from mirror.core.errors import Limited
from mirror.core.meter import Meter, Rate, Standing

if TYPE_CHECKING:
    from datetime import timedelta

    from mirror.core.actor import Actor

#: What the quota is called.
NAME: Final = "mirror"
#: A credential that was not seen before costs its address this part of an allowance. Nobody has checked it yet: without
#: this, a new invented token with each request would be a new client each time.
_NEWCOMER: Final = 100


@dataclass(frozen=True, slots=True)
class Allowed:
    """One request's standing, under the rate that it was counted against."""

    rate: Rate
    standing: Standing

    def headers(self) -> tuple[tuple[str, str], ...]:
        """`RateLimit` and `RateLimit-Policy`; with `Retry-After` where nothing is left."""
        window, wait = math.ceil(self.rate.seconds), max(1, math.ceil(self.standing.wait))
        said = (
            ("RateLimit", f'"{NAME}";r={self.standing.remaining};t={wait}'),
            ("RateLimit-Policy", f'"{NAME}";q={self.rate.requests};w={window}'),
        )
        return said if self.standing.permitted else (*said, ("Retry-After", str(wait)))

    def refusal(self) -> Limited:
        """The error for a request that is one too many."""
        granted = f"{self.rate.requests} requests in {self.rate.seconds:g} s"
        wait = max(1, math.ceil(self.standing.wait))
        return Limited(f"This mirror grants each client {granted}; ask again in {wait} s", self.standing.wait)


@dataclass(frozen=True, slots=True)
class Limits:
    """`clients.limits`: a group's rate goes before `anonymous`, which goes before `default`; None is no limit.

    Of several groups the most generous counts. A client is its credential, else its address; of IPv6 the /64, which is
    what one subscriber has (RFC 6177).
    """

    default: Rate | None = None
    anonymous: Rate | None = None
    groups: Mapping[str, Rate | None] = field(default_factory=dict)
    meter: Meter = field(default_factory=Meter)

    def rate(self, actor: Actor) -> Rate | None:
        """The rate of this client, or None where nothing limits it."""
        own = [self.groups[name] for name in actor.groups if name in self.groups]
        if own:
            rates = [rate for rate in own if rate is not None]
            return max(rates, key=lambda rate: rate.requests / rate.seconds) if len(rates) == len(own) else None
        return (self.anonymous or self.default) if _nameless(actor) else self.default

    def count(self, actor: Actor, now: float) -> Allowed | None:
        """Count one request. None where nothing limits this client. `now` is monotonic seconds."""
        rate = self.rate(actor)
        if rate is None:
            return None
        place = _place(actor.address)
        if _nameless(actor):
            return Allowed(rate, self.meter.take(place, rate, now))
        if actor.token is None and actor.name not in self.meter:
            door = self.meter.take(f"new {place}", rate, now, max(1, rate.requests // _NEWCOMER))
            if not door.permitted:
                return Allowed(rate, door)
        return Allowed(rate, self.meter.take(actor.name, rate, now))


def _nameless(actor: Actor) -> bool:
    """Whether a client is known by its address alone. Who goes by the organisation's token has shown nothing for it."""
    return actor.token is None and (actor.credential is None or actor.credential.exchanged)


class RateRow(Protocol):
    """A rate as configured."""

    @property
    def requests(self) -> int:
        """How many."""

    @property
    def per(self) -> timedelta:
        """In how long."""


class LimitRows(Protocol):
    """`clients.limits` as configured (SURFACE 2)."""

    @property
    def default(self) -> RateRow | None:
        """For whom no other row is."""

    @property
    def anonymous(self) -> RateRow | None:
        """For clients without a credential."""

    @property
    def groups(self) -> Mapping[str, RateRow | None]:
        """By the name of a group."""


def limits_from(configured: LimitRows | None) -> Limits:
    """Limits from decoded configuration rows."""
    if configured is None:
        return Limits()

    def rate(row: RateRow | None) -> Rate | None:
        return None if row is None else Rate(row.requests, row.per.total_seconds())

    groups = {name: rate(row) for name, row in configured.groups.items()}
    return Limits(rate(configured.default), rate(configured.anonymous), groups)


def _place(address: str) -> str:
    """An address as clients are told apart by it."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(parsed) if parsed.version == 4 else str(ipaddress.ip_network((parsed, 64), strict=False))
