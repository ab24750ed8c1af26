"""Addresses as records of the permitted keep them."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from mirror.core.actor import Actor, cut_network, network_of
from mirror.policy.rules import Scope


@pytest.mark.parametrize(
    ("address", "cut"),
    [("10.8.0.9", "10.8.0.0"), ("2001:db8:7:8::9", "2001:db8:7::"), ("::ffff:10.8.0.9", "10.8.0.0"), ("", ""), ("unix", "")],
)
def test_network_of(address, cut):
    """24 bits of IPv4 and 48 of IPv6 are kept; what is no address is kept not at all."""
    assert network_of(address) == cut
    assert bool(cut_network(cut)) is bool(cut) and not cut_network(address)


@pytest.mark.parametrize(("network", "concerned"), [("10.8.0.0/16", True), ("10.8.0.0/24", True), ("10.8.0.0/28", False), ("10.9.0.0/16", False), ("2001:db8::/32", False)])
def test_a_network_that_a_cut_address_is_certainly_in(network, concerned):
    """A rule for a network concerns whoever was recorded in a part of it, and never whoever may have been beside it."""
    assert Scope(networks=(ip_network(network),)).covers(Actor("a:1", networks=("10.8.0.0/24",))) is concerned
