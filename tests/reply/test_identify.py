"""Who asks, from what a request carries and from whom it came."""

from __future__ import annotations

import ipaddress

import pytest
from aiohttp.test_utils import make_mocked_request

from mirror.reply.identify import Group, Identification

GROUPS = (
    Group("lab", subnets=(ipaddress.ip_network("10.8.0.0/16"),), country="US", entity="Acme Inc"),
    Group("office", header=("grp-office",), country="DE"),
    Group("v6", subnets=(ipaddress.ip_network("2001:db8::/32"),)),
)


def identify(peer: str, headers: dict[str, str] | None = None, proxies: tuple[str, ...] = ("192.0.2.0/24",)):
    who = Identification(GROUPS, tuple(map(ipaddress.ip_network, proxies)), "X-Groups", b"k" * 32)
    request = make_mocked_request("GET", "/", headers=headers or {})
    return who.actor(request.clone(remote=peer))


def test_a_subnet_gives_the_group_and_its_country() -> None:
    """An address in a group's subnet belongs to the group, and its country is known by the group."""
    actor = identify("10.8.3.4")

    assert (actor.groups, actor.country, actor.country_source, actor.entity) == (("lab",), "US", "group", "Acme Inc")


def test_forwarded_addresses_count_only_from_trusted_proxies() -> None:
    """A client cannot put itself into a group by sending X-Forwarded-For or the group header itself."""
    forged = {"X-Forwarded-For": "10.8.0.1", "X-Groups": "grp-office"}

    assert identify("198.51.100.7", forged).groups == ()
    assert identify("192.0.2.1", forged).groups == ("lab", "office")


def test_the_rightmost_untrusted_hop_is_the_client() -> None:
    """What stands left of the first hop that is not ours is hearsay."""
    actor = identify("192.0.2.1", {"X-Forwarded-For": "10.8.0.1, 203.0.113.9, 192.0.2.7"})

    assert actor.address == "203.0.113.9"


@pytest.mark.parametrize("hop", ["not-an-address", "", "999.1.1.1"])
def test_a_garbled_forwarded_header_leaves_the_proxy_itself(hop: str) -> None:
    """Nothing can be told from a garbled header, so nobody gains by one."""
    assert identify("192.0.2.1", {"X-Forwarded-For": hop}).address == "192.0.2.1"


def test_mapped_addresses_are_their_ipv4_selves() -> None:
    """`::ffff:10.8.0.1` is 10.8.0.1 and cannot leave the group by its spelling."""
    assert identify("::ffff:10.8.0.1").groups == ("lab",)


def test_the_credential_is_carried_and_never_shown() -> None:
    """A token makes a fingerprint and a pseudonym; neither it nor its header appears in what is printed."""
    actor = identify("10.8.0.1", {"Authorization": "Bearer hf_secretsecretsecretsecretsecretsecret"})

    assert actor.credential is not None
    assert "hf_secret" not in repr(actor) + repr(actor.credential) + actor.name + actor.credential.fingerprint
