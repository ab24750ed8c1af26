"""What workers share beside files and events: the way upstream, and what clients have used up."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from mirror.core.actor import Credential
from mirror.core.errors import LedgerDown, UpstreamDown
from mirror.core.meter import Rate
from mirror.core.ports import Answer, Ask
from mirror.keeper.remote import KeeperUpstream, Node, SharedMeter, connected, hear
from mirror.keeper.service import Hello
from tests.workers.keeper_fixture import CONFIG, keeping

RATE = Rate(10, 3600.0)


class Counted:
    """An upstream that counts what it is asked, and answers when it is let."""

    def __init__(self) -> None:
        self.asked: list[Ask] = []
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def ask(self, ask: Ask) -> Answer:
        self.asked.append(ask)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Answer(200, (("etag", '"1"'), ("link", "a"), ("link", "b")), b"\x00\xffpage", "https://hub/x", "https://hub")

    async def close(self) -> None:
        pass


async def workers(stack: AsyncExitStack, folder, count: int = 2):
    links = []
    for slot in range(count):
        link, _ = await connected(folder, Hello("worker", slot, CONFIG), lambda: None)
        stack.callback(link.close)
        links.append(link)
    return links


async def test_a_page_is_asked_once_for_all_workers(tmp_path):
    """Equal questions of two workers at the same time cost upstream one; another credential is another question (P5)."""
    upstream = Counted()
    async with keeping(tmp_path, upstreams={"hub": upstream}), AsyncExitStack() as stack:
        one, two = [KeeperUpstream("hub", link, upstream) for link in await workers(stack, tmp_path)]
        alice, bob = Ask("/x", credential=Credential("Bearer a", "fa")), Ask("/x", credential=Credential("Bearer b", "fb"))
        asking = [asyncio.create_task(worker.ask(ask)) for worker in (one, two) for ask in (Ask("/x"), Ask("/x"), alice, bob)]
        while len(upstream.asked) < 3:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        upstream.gate.set()
        answers = await asyncio.gather(*asking)
    assert sorted(ask.credential.header if ask.credential else "" for ask in upstream.asked) == ["", "Bearer a", "Bearer b"]
    assert len({answer.body for answer in answers}) == 1
    assert answers[0] == Answer(200, (("etag", '"1"'), ("link", "a"), ("link", "b")), b"\x00\xffpage", "https://hub/x", "https://hub")


async def test_what_upstream_says_arrives_as_it_is(tmp_path):
    """An upstream that fails fails for the worker in the same way; a keeper that goes is `LedgerDown`, never a hang."""
    upstream = Counted()
    upstream.gate.set()
    upstream.error = UpstreamDown("https://hub", "503", retry_after=4.0)
    async with keeping(tmp_path, upstreams={"hub": upstream}) as (keeper, _), AsyncExitStack() as stack:
        (link,) = await workers(stack, tmp_path, 1)
        asking = KeeperUpstream("hub", link, upstream)
        with pytest.raises(UpstreamDown) as found:
            await asking.ask(Ask("/x"))
        assert (found.value.upstream, found.value.fault, found.value.retry_after) == ("https://hub", "503", 4.0)
        upstream.gate.clear()
        waiting = asyncio.create_task(asking.ask(Ask("/y")))
        await asyncio.sleep(0.05)
        await keeper.close()
        with pytest.raises(LedgerDown):
            await waiting
        with pytest.raises(LedgerDown):
            await Node(link).health()


async def test_what_one_worker_grants_counts_at_the_other(tmp_path):
    """A client that has used up its allowance at one worker finds it used up at the other."""
    async with keeping(tmp_path), AsyncExitStack() as stack:
        meters = [SharedMeter(), SharedMeter()]
        for link, meter in zip(await workers(stack, tmp_path), meters, strict=True):
            hear(link, {}, {"spent": meter.spent})
            task = asyncio.create_task(meter.exchange(link))
            stack.callback(task.cancel)
        one, two = meters
        for _ in range(10):
            assert one.take("client", RATE, time.monotonic()).permitted
        assert two.take("other", RATE, time.monotonic()).remaining == 9
        while "client" not in two:
            await asyncio.sleep(0.02)
        assert not two.take("client", RATE, time.monotonic()).permitted
        assert one.take("third", RATE, time.monotonic()).permitted
