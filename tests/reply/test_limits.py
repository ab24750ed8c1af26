"""Which client has which allowance, and the fields that say so."""

from __future__ import annotations

from huggingface_hub.utils import parse_ratelimit_headers

from mirror.core.actor import Actor, Credential
from mirror.core.meter import Rate
from mirror.reply.limits import Limits


def anonymous(address: str, *groups: str) -> Actor:
    return Actor(f"a:{address}", groups, address)


def holder(token: str, address: str = "10.0.0.1", *groups: str) -> Actor:
    return Actor(f"t:{token}", groups, address, credential=Credential(f"Bearer {token}", token))


def let_in(limits: Limits, *actors: Actor) -> list[bool]:
    counted = [limits.count(actor, 0.0) for actor in actors]
    return [one is None or one.standing.permitted for one in counted]


def test_nothing_is_limited_unless_configured() -> None:
    """Without limits nobody is counted."""
    limits = Limits()
    assert let_in(limits, *[anonymous("10.0.0.1")] * 1000) == [True] * 1000
    assert len(limits.meter) == 0


def test_groups_go_before_anonymous_before_default() -> None:
    """Of a client's groups the most generous counts, null is no limit, and a group without a row changes nothing."""
    one, two, three, four = (Rate(number, 60) for number in (1, 2, 3, 4))
    limits = Limits(one, two, {"slow": three, "fast": four, "free": None})
    assert limits.rate(holder("x")) == one
    assert limits.rate(anonymous("10.0.0.1")) == two
    assert limits.rate(holder("x", "10.0.0.1", "slow", "fast", "other")) == four
    assert limits.rate(anonymous("10.0.0.1", "slow")) == three
    assert limits.rate(anonymous("10.0.0.1", "slow", "free")) is None
    assert Limits(one).rate(anonymous("10.0.0.1")) == one


def test_one_subscriber_of_ipv6_is_one_client() -> None:
    """Addresses of one /64 share an allowance, those of the next do not, and IPv4 addresses are each their own."""
    limits = Limits(Rate(1, 60))
    assert let_in(limits, anonymous("2001:db8:1:2::1"), anonymous("2001:db8:1:2:ffff::9"), anonymous("2001:db8:1:3::1")) == [True, False, True]
    assert let_in(limits, anonymous("192.0.2.1"), anonymous("192.0.2.2"), anonymous("192.0.2.1")) == [True, True, False]


def test_people_behind_one_address_have_an_allowance_each() -> None:
    """Two tokens from one address do not spend each other's requests."""
    limits = Limits(Rate(3, 60))
    assert let_in(limits, *[holder("x")] * 4, holder("y")) == [True, True, True, False, True]


def test_a_new_token_with_each_request_is_no_way_round() -> None:
    """Credentials that nobody has checked are charged to their address until it has no more: inventing them ends."""
    limits = Limits(Rate(1000, 60))
    assert sum(let_in(limits, *[holder(f"invented{number}") for number in range(10_000)])) == 100
    assert let_in(limits, holder("known", "10.0.0.2")) == [True]


def test_the_fields_are_what_huggingface_hub_reads() -> None:
    """The client's own parser finds the name, nothing left and the seconds to wait, in an answer and in a refusal."""
    limits = Limits(Rate(2, 3))
    first, _, third = (limits.count(anonymous("10.0.0.1"), 0.0) for _ in range(3))
    assert first is not None
    assert third is not None
    said = parse_ratelimit_headers(dict(first.headers()))
    assert said is not None
    assert (said.resource_type, said.remaining, said.reset_in_seconds, said.limit, said.window_seconds) == ("mirror", 1, 2, 2, 3)
    assert dict(third.headers()) == {"RateLimit": '"mirror";r=0;t=2', "RateLimit-Policy": '"mirror";q=2;w=3', "Retry-After": "2"}
    assert third.refusal().retry_after == 1.5
