"""Where the mirror may connect: by host, and by the address behind it."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from mirror.core.errors import HostNotAllowed, InputError
from mirror.core.ports import Ask
from mirror.upstream.destinations import Destinations, inward

from .conftest import http, serve

INWARD = [
    "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255",
    "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.2.1", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b::a00:1",
]  # fmt: skip


@pytest.mark.parametrize("address", INWARD)
def test_addresses_that_point_inward_are_recognised(address: str) -> None:
    """Loopback, private, link-local, metadata, multicast and their IPv6 disguises are all inward."""
    assert inward(ipaddress.ip_address(address)) is not None


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "64:ff9b::101:101"])
def test_public_addresses_are_not_inward(address: str) -> None:
    """A public unicast address may be contacted."""
    assert inward(ipaddress.ip_address(address)) is None


@pytest.mark.parametrize(
    ("url", "permitted"),
    [
        ("https://huggingface.co/api/models", True),
        ("http://huggingface.co/api/models", False),
        ("https://huggingface.co:8443/", False),
        ("https://evil-huggingface.co/", False),
        ("https://huggingface.co.evil.example/", False),
        ("https://us.aws.cdn.hf.co/x?sig=1", True),
        ("https://hf.co/x", False),
        ("http://us.aws.cdn.hf.co/x", False),
        ("https://us.aws.cdn.hf.co:444/x", False),
        ("https://user:secret@us.aws.cdn.hf.co/x", False),
        ("https://US.AWS.CDN.HF.CO./x", True),
        ("http://files.corp:9000/x", True),
        ("https://exact.corp:8443/x", True),
        ("https://exact.corp/x", False),
        ("ftp://us.aws.cdn.hf.co/x", False),
        ("https://169.254.169.254/latest/meta-data", False),
    ],
)
def test_the_list_of_hosts(url: str, permitted: bool) -> None:
    """Upstreams by scheme, host and port; bare names by name; patterns for https on its own port only."""
    destinations = Destinations(["https://huggingface.co/base"], ["*.hf.co", "files.corp", "https://exact.corp:8443"])
    if permitted:
        destinations.check(URL(url, encoded=True))
    else:
        with pytest.raises(HostNotAllowed) as caught:
            destinations.check(URL(url, encoded=True))
        assert URL(url).host.rstrip(".").lower() in str(caught.value).lower()


def test_a_pattern_never_permits_a_private_address() -> None:
    """`*` matches every host, and still no inward address literal."""
    with pytest.raises(HostNotAllowed, match="loopback"):
        Destinations(["https://hub.example"], ["*"]).check(URL("https://127.0.0.1/"))


def test_every_bad_entry_is_named_at_once() -> None:
    """Two bad hosts give two problems, each with its place."""
    with pytest.raises(InputError) as caught:
        Destinations(["https://ok.example", "gopher://x"], ["ok.example", "a b", "x.example:99999"])
    assert [problem.place for problem in caught.value.problems] == ["upstreams[1]", "origins[1]", "origins[2]"]


@given(st.sampled_from(INWARD))
def test_inward_literals_are_refused_whatever_the_pattern(address: str) -> None:
    """No glob list lets a URL with an inward address literal through."""
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(HostNotAllowed):
        Destinations(["https://hub.example"], ["*", "*.*", "http://*:80"]).check(URL(f"https://{host}/"))


async def test_a_redirect_to_an_unlisted_address_is_refused_before_connecting(upstream) -> None:
    """A redirect to another loopback address, a private or a metadata address ends in an error that names it."""
    async with serve(lambda seen: http(200, b"secret"), host="127.0.0.2") as inner:
        for target in (inner.url, "http://10.0.0.1/", "http://169.254.169.254/latest", "http://[::1]/", "//127.0.0.2:1/"):
            async with serve(lambda seen, to=target: http(302, Location=to + "/x")) as hub:
                with pytest.raises(HostNotAllowed) as caught:
                    await upstream(hub.url, origins=("*.cdn.example",)).ask(Ask("/a", follow=True))
                assert str(URL(target if ":" in target[:6] else f"http:{target}").host) in str(caught.value)
        assert inner.seen == []


async def test_a_permitted_name_that_resolves_inward_is_refused(upstream) -> None:
    """A name on the list by pattern whose address is loopback is refused at connect time, and nothing is asked (DNS rebinding)."""
    async with serve(lambda seen: http(200, b"secret")) as inner:
        names = {"evil.cdn.example": ["127.0.0.1"], "mixed.cdn.example": ["10.1.2.3", "169.254.169.254"]}
        for name in names:
            async with serve(lambda seen, n=name: http(302, Location=f"http://{n}:{inner.port}/x")) as hub:
                pattern = f"http://*.cdn.example:{inner.port}"
                with pytest.raises(HostNotAllowed, match=name):
                    await upstream(hub.url, origins=(pattern,), names=names).ask(Ask("/a", follow=True))
        assert inner.seen == []


async def test_a_name_that_was_named_may_be_inside(upstream) -> None:
    """A host that the configuration names literally may be on a private address."""
    async with serve(lambda seen: http(200, b"hello")) as inner:
        client = upstream(f"http://hub.corp:{inner.port}", names={"hub.corp": ["127.0.0.1"]})
        assert (await client.ask(Ask("/a"))).body == b"hello"
