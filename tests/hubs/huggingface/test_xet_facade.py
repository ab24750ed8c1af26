"""The mirror as a Xet store of its own: who is shown the way there, and that it is no way round anything."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ipaddress
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import ClientPayloadError

from mirror.core.actor import Actor
from mirror.core.decision import RequestInfo
from mirror.core.nouns import Kind, Span
from mirror.core.tokens import MirrorToken, digest, make
from mirror.hubs.huggingface.paths import Repo
from mirror.hubs.huggingface.virtual_xorbs import CHUNK, XORB, XorbBody, xorb
from mirror.proxy.bodies import PIECE
from mirror.reply.identify import Group, Identification
from mirror.reply.tokens import TokenBook
from tests.support.standin.defaults import ALICE, BOB
from tests.support.standin.hub import StandInHub

from .conftest import Mirror, Reply, mirror_of
from .test_virtual_xorbs import unpacked

MIB = 1024 * 1024
DATA = random.Random(7).randbytes(XORB + 3 * CHUNK + 5)
BIG, OTHER, SHUT = (hashlib.sha256(DATA + end).hexdigest() for end in (b"", b"o", b"g"))
AGENTS = {"2.x": "unknown/None; hf_hub/2.4.0; python/3.11.7", "1.31": "transformers/5.1; hf_hub/1.31.0", "1.30": "unknown/None; hf_hub/1.30.0", "0.36": "unknown/None; hf_hub/0.36.0", "0.23": "x; hf_hub/0.23.5", "curl": "curl/8.5.0"}
DENY = 'version: 1\nrules:\n  - {id: no-big, when: {artifact: ["pkg:huggingface/acme/big*"]}, effect: deny, legal: true}\n'
DENY_FILE = 'version: 1\nrules:\n  - {id: no-bin, when: {file: ["*.bin"]}, effect: deny}\n'
URL = "/acme/big/resolve/main/model.bin"


@pytest.fixture
async def hub() -> AsyncIterator[StandInHub]:
    hub = StandInHub()
    hub.add_token(ALICE, "alice")
    hub.add_token(BOB, "bob")
    hub.add_repo("model", "acme/big", {"config.json": b"{}"}, {"model.bin": DATA, "small.bin": b"s" * 1000})
    hub.add_repo("model", "acme/other", {"config.json": b"{}"}, {"model.bin": DATA + b"o"})
    hub.add_repo("model", "acme/shut", {"config.json": b"{}"}, {"model.bin": DATA + b"g"}, private=True, tokens_allowed=[ALICE])
    async with hub:
        yield hub


@pytest.fixture
async def mirror(hub: StandInHub, tmp_path: Any) -> AsyncIterator[Mirror]:
    async with mirror_of(hub, tmp_path / "m", large_from=MIB) as running:
        yield running


class Store:
    """A Xet client by hand: what hf_xet sends, in its order, each answer open to inspection."""

    def __init__(self, mirror: Mirror, told: dict[str, Any]) -> None:
        self.mirror, self.permit = mirror, told["accessToken"]
        self.path = told["casUrl"].removeprefix(mirror.url)

    async def ask(self, digest: str, version: str = "v2/", permit: str | None = None, **headers: str) -> Reply:
        return await self.mirror.get(f"{self.path}/{version}reconstructions/{digest}", self.permit if permit is None else permit, **headers)

    async def terms(self, digest: str, version: str = "v2/", **headers: str) -> list[tuple[str, str]]:
        """(target, Range) of each term."""
        said = (await self.ask(digest, version, **headers)).json()
        found = []
        for term in said["terms"]:
            (row,) = said["xorbs" if version == "v2/" else "fetch_info"][term["hash"]]
            span = row["ranges"][0]["bytes"] if version == "v2/" else row["url_range"]
            found.append((row["url"].removeprefix(self.mirror.url), f"bytes={span['start']}-{span['end']}"))
        return found

    async def fetch(self, digest: str, version: str = "v2/", **headers: str) -> bytes:
        answers = [await self.mirror.get(target, Range=span) for target, span in await self.terms(digest, version, **headers)]
        assert {answer.status for answer in answers} == {206}
        return b"".join(b"".join(unpacked(answer.body)) for answer in answers)


def commit(hub: StandInHub, name: str) -> str:
    return hub.repo(f"acme/{name}").head


async def token(mirror: Mirror, hub: StandInHub, name: str = "big", whose: str | None = None, **headers: str) -> Reply:
    return await mirror.get(f"/api/models/acme/{name}/xet-read-token/{commit(hub, name)}", whose, **headers)


async def store(mirror: Mirror, hub: StandInHub, name: str = "big", whose: str | None = None, **headers: str) -> Store:
    return Store(mirror, (await token(mirror, hub, name, whose, **headers)).json())


async def shown(mirror: Mirror, agent: str) -> str:
    """How HEAD shows the large file to a client."""
    headers = (await mirror.get(URL, method="HEAD", User_Agent=agent)).headers
    sized = headers.get("X-Linked-Size") == headers.get("Content-Length") == str(len(DATA))
    assert "User-Agent" in headers["Vary"]
    assert ("X-Xet-Hash" in headers) == ("Link" in headers)
    if "X-Xet-Hash" in headers:
        assert headers["X-Xet-Hash"] == BIG
        assert sized
        return "xet"
    assert sized or not {"X-Linked-Size", "Content-Length"} & set(headers)
    return "sized" if sized else "unsized"


async def listed(mirror: Mirror, hub: StandInHub, agent: str) -> dict[str, Any]:
    """The hashes that listing and paths-info show to a client; both show the same."""
    tree = await mirror.get(f"/api/models/acme/big/tree/{commit(hub, 'big')}?recursive=true", User_Agent=agent)
    info = await mirror.post(f"/api/models/acme/big/paths-info/{commit(hub, 'big')}", json={"paths": ["model.bin", "small.bin"]}, headers={"User-Agent": agent})
    found = [{row["path"]: row["xetHash"] for row in answer.json() if "xetHash" in row} for answer in (tree, info)]
    assert found[0] == found[1]
    return found[0]


MODES = {
    "auto": {"2.x": "unsized", "1.31": "unsized", "1.30": "xet", "0.36": "xet", "0.23": "sized", "curl": "sized"},
    "xet": {"2.x": "xet", "1.31": "xet", "1.30": "xet", "0.36": "xet", "0.23": "sized", "curl": "sized"},
    "plain": {"2.x": "unsized", "1.31": "unsized", "1.30": "sized", "0.36": "sized", "0.23": "sized", "curl": "sized"},
}


@pytest.mark.parametrize("serving", MODES)
async def test_each_client_is_shown_the_way_that_it_takes(hub: StandInHub, tmp_path: Any, serving: str) -> None:
    """`large_serving` decides what HEAD and listings show of a large file to each generation of clients; nothing is ever shown of a small one, nor of one by another name of ours."""
    async with mirror_of(hub, tmp_path / "m", large_from=MIB, large_serving=serving) as mirror:
        assert {name: await shown(mirror, agent) for name, agent in AGENTS.items()} == MODES[serving]
        seen = {name: await listed(mirror, hub, agent) for name, agent in AGENTS.items()}
        hashes = {} if serving == "plain" else {"model.bin": BIG}
        assert seen == {"2.x": hashes, "1.31": hashes, "1.30": hashes, "0.36": {}, "0.23": {}, "curl": {}}
        small = (await mirror.get("/acme/big/resolve/main/small.bin", method="HEAD", User_Agent=AGENTS["0.36"])).headers
        assert (small["Content-Length"], "X-Xet-Hash" in small, "Link" in small) == ("1000", False, False)
        assert (await token(mirror, hub)).status == (404 if serving == "plain" else 200)
    async with mirror_of(hub, tmp_path / "m", large_from=MIB, large_serving=serving, public_url="http://mirror.example") as mirror:
        assert {await shown(mirror, AGENTS[name]) for name in ("2.x", "0.36")} <= {"sized", "unsized"}
        assert await listed(mirror, hub, AGENTS["2.x"]) == {}


async def test_every_version_of_the_store_gives_the_file(hub: StandInHub, mirror: Mirror) -> None:
    """By each version of the API, whole and in part, the bytes are those of the file; upstream brings each once, and the record has one event for all of it."""
    here = await store(mirror, hub)
    for version in ("v2/", "v1/", ""):  # the first of them finds nothing in the store
        assert await here.fetch(BIG, version) == DATA
    names = [[term["hash"] for term in (await here.ask(BIG)).json()["terms"]] for _ in range(2)]
    assert names[0] == names[1]
    assert len(set(names[0])) == 2
    start, stop = XORB - CHUNK - 10, XORB + 20
    found = await here.fetch(BIG, Range=f"bytes={start}-{stop - 1}")
    begin = start // CHUNK * CHUNK
    assert found == DATA[begin : -(-stop // CHUNK) * CHUNK]
    asked = [call.headers.get("Range") for call in hub.requests.where(origin="cdn", method="GET")]
    assert len(asked) == len(set(asked)) <= 2, asked
    events = [event for event in mirror.events("allowed") if "model.bin" in str(event)]
    assert len(events) == 1


@pytest.mark.parametrize("asked", [f"bytes={len(DATA)}-", f"bytes={len(DATA) + 5}-{len(DATA) + 9}"])
async def test_nothing_lies_behind_the_end(hub: StandInHub, mirror: Mirror, asked: str) -> None:
    """A part past the end is 416, by which clients know the end; a xorb past the end is 404, a range past the end of a xorb 416; the last may be asked for too far."""
    here = await store(mirror, hub)
    assert (await here.ask(BIG, Range=asked)).status == 416
    assert await here.fetch(BIG, Range=f"bytes={XORB}-{10 * XORB}") == DATA[XORB:]
    (_, (target, _)) = await here.terms(BIG)
    assert (await mirror.get(target, Range=f"bytes={XORB}-")).status == 416
    assert (await mirror.get(target.replace("/1?", "/2?"))).status == 404


async def test_only_a_permit_of_this_mirror_opens_anything(hub: StandInHub, mirror: Mirror, tmp_path: Any) -> None:
    """No permit, an invented one, one that was changed, one of another installation, one of another kind, of another file or repository, and one that has run out: each gets an error and no byte."""
    here, there = await store(mirror, hub), await store(mirror, hub, "other")
    (target, span), *_ = await here.terms(BIG)
    permit = target.partition("permit=")[2]
    turned = here.permit[:40] + ("A" if here.permit[40] != "A" else "B") + here.permit[41:]
    async with mirror_of(hub, tmp_path / "second", large_from=MIB) as second:
        foreign = (await store(second, hub)).permit
    for wrong in ("", "x", "hf_" + "a" * 34, turned, foreign, permit):
        assert (await here.ask(BIG, permit=wrong)).status == 401, wrong
    assert (await here.ask(OTHER)).status == (await there.ask(BIG)).status == 404
    assert (await here.ask(hashlib.sha256(b"s" * 1000).hexdigest())).status == 404
    bare, query = target.partition("?")[0], target.partition("?")[2]
    altered = f"permit={permit[:40]}{'A' if permit[40] != 'A' else 'B'}{permit[41:]}"
    other = (await there.terms(OTHER))[0][0].partition("?")[2]
    for wrong in ("", "permit=", f"permit={here.permit}", altered, other, f"{query}&permit={permit}"):
        answer = await mirror.get(f"{bare}?{wrong}" if wrong else bare, Range=span)
        assert (answer.status, len(answer.body) < 2000) == (401, True), wrong
    assert (await mirror.get(target.replace(BIG, OTHER), Range=span)).status == 401
    assert (await mirror.get(target, Range=span)).status == 206
    mirror.pass_time(minutes=16)
    assert (await here.ask(BIG)).status == 401
    assert (await mirror.get(target, Range=span)).status == 403


@pytest.mark.parametrize(("policy", "status"), [(DENY, 451), (DENY_FILE, 403)], ids=["repository", "file"])
async def test_a_change_of_policy_refuses_the_next_range(hub: StandInHub, mirror: Mirror, policy: str, status: int) -> None:
    """Rules that come into force in the middle of a download refuse its next range, its next question and the next token, in their sentence and on the record; the file vanishes from listings."""
    here = await store(mirror, hub)
    (first, second) = await here.terms(BIG)
    assert (await mirror.get(first[0], Range=first[1])).status == 206
    await mirror.new_rules(policy)
    refused = [await mirror.get(second[0], Range=second[1]), await here.ask(BIG), await token(mirror, hub)]
    assert {(answer.status, "rule 'no-bi" in answer.headers["X-Error-Message"]) for answer in refused} == {(status, True)}
    assert {answer.headers["X-Error-Code"] for answer in refused} == {"GatedRepo"}
    assert [event["kind"] for event in mirror.events() if "no-bi" in str(event)][-1] == "refused"
    if policy == DENY_FILE:
        assert await listed(mirror, hub, AGENTS["2.x"]) == {}


async def test_a_change_of_policy_ends_a_range_under_way(hub: StandInHub, mirror: Mirror) -> None:
    """A range that is being sent when rules come into force which refuse the file ends short, on the record."""
    hub.faults.add("hang_body", "*", origin="cdn", at=5 * MIB, seconds=60.0)
    here = await store(mirror, hub)
    (target, span), _ = await here.terms(BIG)
    async with mirror.session.get(mirror.url + target, headers={"Range": span}) as answer:
        await answer.content.readexactly(MIB)
        await mirror.new_rules(DENY)
        with pytest.raises(ClientPayloadError):
            await answer.content.read()
    assert [event["kind"] for event in mirror.events() if "no-big" in str(event)][:1] == ["refused"]


async def test_what_one_may_read_stays_with_its_credential(hub: StandInHub, mirror: Mirror) -> None:
    """Of a private repository only who may read it gets a permit, which shows nothing of the credential in it, and is worth nothing once the hub takes the right away."""
    for whose in (None, BOB, "hf_revoked"):
        assert (await token(mirror, hub, "shut", whose)).status in (401, 403, 404)
    here = await store(mirror, hub, "shut", ALICE)
    assert await here.fetch(SHUT) == DATA + b"g"
    (target, span), *_ = await here.terms(SHUT)
    for permit in (here.permit, target.partition("permit=")[2]):
        assert ALICE.encode() not in base64.urlsafe_b64decode(permit + "===")
    assert not [path for path in mirror.folder.rglob("*") if path.is_file() and ALICE.encode() in path.read_bytes()]
    hub.repo("acme/shut").tokens_allowed.clear()
    mirror.pass_time(minutes=6)  # past the life of a grant, within that of the permit
    assert (await mirror.get(target, Range=span)).status in (401, 403, 404)
    assert (await here.ask(SHUT)).status in (401, 403, 404)


GROUPS = 'version: 1\nrules:\n  - {id: no-big, when: {artifact: ["pkg:huggingface/acme/big*"]}, for: {groups: [GROUP]}, effect: deny}\n'


@pytest.mark.parametrize("group", ["named", "near"])
async def test_nobody_leaves_a_group_by_asking_the_store(hub: StandInHub, tmp_path: Any, group: str) -> None:
    """A rule for a group holds for the store's requests too: for a group that only the first request showed, and for one that only the network shows."""
    loopback = (ipaddress.ip_network("127.0.0.0/8"),)
    who = Identification((Group("named", header=("staff",)), Group("near", subnets=loopback)), loopback, "X-Groups", b"k" * 32)
    async with mirror_of(hub, tmp_path / "m", large_from=MIB, identification=who) as mirror:
        here = await store(mirror, hub, X_Groups="staff")
        (target, span), *_ = await here.terms(BIG)
        assert (await mirror.get(target, Range=span)).status == 206
        await mirror.new_rules(GROUPS.replace("GROUP", group))
        assert {(await mirror.get(target, Range=span)).status, (await here.ask(BIG)).status} == {403}


class Kept:
    """The index's tokens, as far as they are only read (`core.tokens.TokenIndex`)."""

    def __init__(self, *tokens: MirrorToken) -> None:
        self.kept = list(tokens)

    async def tokens(self) -> list[MirrorToken]:
        return self.kept

    async def tokens_state(self) -> tuple[int, int]:
        return len(self.kept), sum(one.revoked_at is not None for one in self.kept)


async def test_a_mirror_token_holds_for_the_store_too(hub: StandInHub, tmp_path: Any) -> None:
    """Where nobody unknown is served, the holder of a mirror token is by the permit alone, in the token's groups; once the token is revoked, the permit is worth nothing."""
    key = b"k" * 32
    text = make(key, bytes(range(32)))
    kept = Kept(MirrorToken("tok1", "team", digest(key, text), ("staff",), "", datetime(2026, 1, 1, tzinfo=UTC)))
    book = TokenBook(kept, key)
    await book.refresh()
    who = Identification((Group("staff"),), (), None, key, tokens=book, anonymous="deny")
    async with mirror_of(hub, tmp_path / "m", large_from=MIB, identification=who) as mirror:
        assert (await token(mirror, hub)).status == 401
        here = await store(mirror, hub, whose=text)
        assert await here.fetch(BIG) == DATA
        (target, span), *_ = await here.terms(BIG)
        assert (await mirror.get(target.partition("?")[0], Range=span)).status == 401
        assert len(mirror.events("allowed")) == 1
        await mirror.new_rules(GROUPS.replace("GROUP", "staff"))
        assert (await mirror.get(target, Range=span)).status == 403
        await mirror.new_rules("version: 1\nrules: []\n")
        assert (await mirror.get(target, Range=span)).status == 206
        kept.kept = [replace(kept.kept[0], revoked_at=datetime.now(UTC))]
        await book.refresh()
        who.forget()
        assert {(await mirror.get(target, Range=span)).status, (await here.ask(BIG)).status} == {401}


async def test_bytes_that_prove_wrong_complete_nobody(hub: StandInHub, mirror: Mirror) -> None:
    """A client that was given a wrong byte before the digest was known gets no last term, then or later; over HTTP the file comes whole and right."""
    hub.faults.add("flip", "*", origin="cdn", at=5000, times=1)
    hub.faults.add("hang_body", "*", origin="cdn", at=XORB + 100, seconds=1.0, times=1)  # what follows comes with the next request, unharmed
    here = await store(mirror, hub)
    (first, last) = await here.terms(BIG)
    names = [[term["hash"] for term in (await here.ask(BIG)).json()["terms"]] for _ in range(2)]
    assert not set(names[0]) & set(names[1])  # old clients keep xorbs by name: these must not come again
    wrong = b"".join(unpacked((await mirror.get(first[0], Range=first[1])).body))
    assert wrong[:5000] == DATA[:5000]
    assert wrong != DATA[:XORB]
    with pytest.raises(ClientPayloadError):  # cut short, with nothing of the last 64 KiB
        await mirror.get(last[0], Range=last[1])
    while not mirror.events("integrity"):
        await asyncio.sleep(0.02)
    for answer in (await mirror.get(last[0], Range=last[1]), await here.ask(BIG)):
        assert answer.status == 409
        assert "HF_HUB_DISABLE_XET=1" in answer.headers["X-Error-Message"]
    assert (await mirror.get(URL)).body == DATA


async def test_without_the_hub_what_is_here_is_given(hub: StandInHub, mirror: Mirror) -> None:
    """With the hub gone, a file in the store comes as before: token, terms and ranges."""
    assert (await mirror.get(URL)).body == DATA
    await listed(mirror, hub, AGENTS["2.x"])
    await hub.stop()
    assert await (await store(mirror, hub)).fetch(BIG) == DATA
    mirror.pass_time(hours=1)
    assert await (await store(mirror, hub)).fetch(BIG) == DATA


async def test_offline_a_token_is_refused_for_what_is_not_here(hub: StandInHub, tmp_path: Any) -> None:
    """Without network a repository whose large file was never fetched gives no token, and says why where the client prints it; one whose file is here does."""
    async with mirror_of(hub, tmp_path / "m", large_from=MIB) as mirror:
        await token(mirror, hub, "other")
        assert await (await store(mirror, hub)).fetch(BIG) == DATA
    async with mirror_of(hub, tmp_path / "m", large_from=MIB, offline=True) as later:
        assert await (await store(later, hub)).fetch(BIG) == DATA
        refused = await token(later, hub, "other")
        assert (refused.status, refused.headers["X-Error-Code"]) == (404, "GatedRepo")
        assert "never fetched" in refused.headers["X-Error-Message"]


async def test_a_xorb_is_never_whole_in_memory(hub: StandInHub, mirror: Mirror) -> None:
    """What is read of a xorb, of a file on disk and of one that arrives, comes in pieces of at most 256 KiB of the file and their headers."""
    here = await store(mirror, hub)
    await here.ask(BIG)
    page = await mirror.hub.pages.repository(Repo(Kind.MODEL, "acme/big"), "main", None)
    for _ in ("arriving", "on disk"):
        admission = await mirror.gateway.admit(Actor("somebody"), page.artifact("model.bin"), RequestInfo("1", "GET", "/x", "test"))
        part = xorb(len(DATA), 0)
        assert part is not None
        body = XorbBody(await mirror.gateway.open(admission), part)
        sizes = [len(piece) async for piece in body.read(Span(0, part.size))]
        await body.close()
        assert (sum(sizes), max(sizes) <= PIECE + 8 * (PIECE // CHUNK + 1)) == (part.size, True)
        assert await here.fetch(BIG) == DATA
