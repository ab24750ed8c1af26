"""One budget for all who share a hub's quota."""

from __future__ import annotations

import pytest

from mirror.core.actor import Credential
from mirror.core.errors import QuotaSpent
from mirror.core.ports import Ask
from mirror.upstream.quota import UNTOLD, Spent

from .conftest import http, serve

ALICE, BOB = Credential("Bearer hf_alice", "fp-a"), Credential("Bearer hf_bob", "fp-b")


def test_a_wait_ends_and_the_longest_counts() -> None:
    """Each (origin, name) is left alone until the latest moment that was said of it, and not a moment longer."""
    spent = Spent()
    assert spent.say("http://a", "x", 30.0, 100.0) == 30.0
    assert spent.say("http://a", "x", None, 101.0) == UNTOLD
    assert [spent.left("http://a", "x", now) for now in (101.0, 129.0, 130.0)] == [29.0, 1.0, 0.0]
    assert [spent.left("http://a", "y", 101.0), spent.left("http://b", "x", 101.0)] == [0.0, 0.0]


async def test_one_tokens_quota_stops_nobody_else(upstream) -> None:
    """A 429 to one token keeps that token's further requests here - pages and files - while others, and nobody's, go on."""

    def reply(seen):
        return http(429, RateLimit='"api";r=0;t=55') if "alice" in seen.headers.get("Authorization", "") else http(200)

    async with serve(reply) as hub:
        client = upstream(hub.url, token="org")
        for _ in range(3):
            with pytest.raises(QuotaSpent) as caught:
                await client.ask(Ask("/a", credential=ALICE))
            assert 54 < caught.value.retry_after <= 55
        with pytest.raises(QuotaSpent):
            async with client.stream(Ask("/file", credential=ALICE)):
                pass
        assert len(hub.seen) == 1
        for ask in (Ask("/a"), Ask("/a", credential=BOB), Ask("/a", use_service_token=True)):
            assert (await client.ask(ask)).status == 200


async def test_nobodys_quota_is_shared_by_all_without_a_name(upstream) -> None:
    """After a 429 without a credential no anonymous request leaves, while a replica answers in the hub's stead."""
    async with serve(lambda seen: http(429, Retry_After="9")) as hub, serve(lambda seen: http(200, b"replica")) as other:
        client = upstream(hub.url, other.url)
        assert [(await client.ask(Ask(path))).body for path in ("/a", "/b", "/c")] == [b"replica"] * 3
        assert len(hub.seen) == 1


async def test_a_cdns_quota_is_not_the_hubs(upstream) -> None:
    """A 429 at the end of a redirect keeps requests from that origin only."""
    async with serve(lambda seen: http(429, Retry_After="9")) as cdn:
        async with serve(lambda seen: http(302, Location=cdn.url + "/x") if seen.target == "/file" else http(200)) as hub:
            client = upstream(hub.url, origins=(cdn.url,))
            for _ in range(2):
                with pytest.raises(QuotaSpent) as caught:
                    await client.ask(Ask("/file", follow=True))
                assert caught.value.upstream == cdn.url
            assert (await client.ask(Ask("/page"))).status == 200
            assert (len(cdn.seen), [seen.target for seen in hub.seen]) == (1, ["/file", "/file", "/page"])
