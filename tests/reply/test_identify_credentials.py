"""Who asks, by tokens and by what the house says of groups: from the header fields to the actor, with a real index."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from mirror.core.actor import Actor
from mirror.core.errors import Malformed, Unidentified
from mirror.core.meter import Rate
from mirror.core.tokens import MirrorToken, digest, make
from mirror.index.sql import SqlIndex
from mirror.reply.geoip import GeoBook
from mirror.reply.identify import Group, Identification
from mirror.reply.limits import Limits
from mirror.reply.tokens import TokenBook
from tests.support.database import index_in
from tests.support.mmdb import database

KEY = b"k" * 32
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
GROUPS = (
    Group("lab", subnets=(ipaddress.ip_network("10.8.0.0/16"),), country="GB", jurisdictions=("GB",), entity="Acme Ltd"),
    Group("ci", tokens=("runner",), hub_token=True, jurisdictions=("US",)),
    Group("open", subnets=(ipaddress.ip_network("10.9.0.0/16"),), anonymous="allow"),
    Group("closed", subnets=(ipaddress.ip_network("10.10.0.0/16"),), anonymous="deny"),
)


@dataclass
class House:
    index: SqlIndex
    book: TokenBook
    who: Identification
    time: list[datetime]

    async def made(self, name: str, *groups: str, life: timedelta | None = None) -> str:
        text = make(KEY, os.urandom(32))
        expires = None if life is None else self.time[0] + life
        await self.index.put_token(MirrorToken(name, name, digest(KEY, text), groups, "", self.time[0], expires))
        await self.book.refresh()
        return text

    def ask(self, token: str = "", peer: str = "203.0.113.7", target: str = "/", **fields: str) -> Actor:
        shown = {"Authorization": f"Bearer {token}"} if token else {}
        return self.who.actor(make_mocked_request("GET", target, headers={**shown, **fields}).clone(remote=peer))

    def refused(self, *given: Any, **more: Any) -> str:
        with pytest.raises(Unidentified) as caught:
            self.ask(*given, **more)
        return caught.value.cause


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    index, time = await index_in(tmp_path), [NOON]
    book = TokenBook(index, KEY)
    await book.refresh()
    yield House(index, book, Identification(GROUPS, (), None, KEY, tokens=book, now=lambda: time[0]), time)
    await index.close()


async def test_a_holder_is_in_the_tokens_groups_and_its_subnets(house: House) -> None:
    """Groups come from the token, from its name in the configuration, and from the address; the credential is the organisation's where a group may."""
    runner, plain = await house.made("runner", "lab"), await house.made("plain")
    actor = house.ask(runner)
    assert (actor.name, actor.groups, actor.country, actor.jurisdictions) == ("m:runner", ("lab", "ci"), "GB", ("GB", "US"))
    assert actor.credential is not None
    assert (actor.credential.exchanged, actor.credential.header) == (True, "")
    assert (house.ask(plain).groups, house.ask(plain).credential) == ((), None)
    assert house.ask(plain, "10.8.0.1").groups == ("lab",)
    assert runner not in repr(house.who) + repr(actor) + repr(actor.token)


async def test_expired_stays_expired(house: House) -> None:
    """A token counts until its very instant of expiry, from memory too, and a clock that is set back does not revive it."""
    token = await house.made("short", life=timedelta(hours=1))
    house.time[0] = NOON + timedelta(minutes=59, seconds=59)
    assert house.ask(token).name == "m:short"
    house.time[0] = NOON + timedelta(hours=1)
    assert house.refused(token) == "expired"
    house.time[0] = NOON
    assert house.refused(token) == "expired"


async def test_revoked_is_forgotten_in_memory(house: House) -> None:
    """Once the change is read, neither the book nor the memory of callers knows a revoked token; others stay."""
    token, other = await house.made("a"), await house.made("b")
    assert (house.ask(token).name, house.ask(other).name) == ("m:a", "m:b")
    assert await house.index.revoke_token("a", NOON)
    assert await house.book.refresh()
    house.who.forget()
    assert (house.refused(token), house.ask(other).name) == ("revoked", "m:b")
    assert not await house.index.revoke_token("a", NOON)
    assert not await house.book.refresh()


async def test_changes_at_one_instant_are_all_seen(house: House) -> None:
    """Two changes within one microsecond, or under a clock that went back, each change what is asked for."""
    before = await house.index.tokens_state()
    await house.made("a")
    await house.made("b")
    house.time[0] = NOON - timedelta(days=1)
    states = [before, await house.index.tokens_state()]
    await house.index.revoke_token("a", house.time[0])
    states.append(await house.index.tokens_state())
    await house.index.revoke_token("b", house.time[0])
    states.append(await house.index.tokens_state())
    assert len(set(states)) == 4


async def test_a_token_of_a_group_that_is_gone(house: House) -> None:
    """A token made for a group that the configuration has no more is refused: its holder would be bound by no rule on it."""
    assert house.refused(await house.made("old", "lab", "dissolved")) == "orphaned"


async def test_unknown_and_ambiguous(house: House) -> None:
    """A token that nobody made, two fields, and a token in the target each get their own refusal."""
    token = await house.made("a")
    assert house.refused(make(KEY, os.urandom(32))) == "unknown"
    with pytest.raises(Malformed):
        house.ask(token, target=f"/x?token={token}")
    request = make_mocked_request("GET", "/", headers={"Authorization": f"Bearer {token}"})
    twice = request.headers.copy()
    twice.add("Authorization", f"Bearer {token}")
    with pytest.raises(Malformed):
        house.who.actor(request.clone(headers=twice, remote="10.8.0.1"))


@pytest.mark.parametrize(("anonymous", "peer", "served"), [
    ("allow", "203.0.113.7", True), ("allow", "10.10.0.1", False), ("deny", "203.0.113.7", False), ("deny", "10.8.0.1", False),
    ("deny", "10.9.0.1", True), ("deny", "10.10.0.1", False),
])  # fmt: skip
async def test_who_needs_a_credential(house: House, anonymous: Any, peer: str, served: bool) -> None:  # noqa: FBT001
    """`clients.anonymous` and a group's own word decide; a subnet alone is no credential, a hub's token neither, a mirror token always is."""
    house.who = replace(house.who, anonymous=anonymous)
    token = await house.made("a")
    assert house.ask(token, peer).name == "m:a"
    for fields in ({}, {"Authorization": "Bearer hf_" + "a" * 34}):
        assert served or house.refused(peer=peer, **fields) == "missing"
        assert not served or house.ask(peer=peer, **fields)


async def test_the_country_by_address_where_no_group_tells(house: House, tmp_path: Path) -> None:
    """A group's country goes before the database's, which goes before nothing; the source is told."""
    (tmp_path / "g.mmdb").write_bytes(database({"10.8.0.0/16": {"country": {"iso_code": "US"}}, "203.0.113.0/24": {"country": {"iso_code": "FR"}}}))
    house.who = replace(house.who, geoip=GeoBook(tmp_path / "g.mmdb"))
    told = [(actor.country, actor.country_source) for actor in (house.ask(peer=peer) for peer in ("10.8.0.1", "203.0.113.7", "192.0.2.1"))]
    assert told == [("GB", "group"), ("FR", "geoip"), (None, "")]


async def test_a_holder_has_an_allowance_of_their_own(house: House) -> None:
    """Holders behind one address are counted apart and pay no entrance; who merely goes by the organisation's token is counted by address."""
    limits = Limits(default=Rate(3, 60.0), anonymous=Rate(1, 60.0))
    one, other = house.ask(await house.made("a")), house.ask(await house.made("b"))
    asked = [limits.count(actor, 1.0) for actor in (one, one, one, one, other)]
    assert [allowed.standing.permitted for allowed in asked if allowed] == [True, True, True, False, True]
    lent = replace(one, token=None, credential=house.ask(await house.made("runner")).credential)
    assert limits.rate(lent) == Rate(1, 60.0)
