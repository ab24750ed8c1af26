"""One transfer, many readers, and nothing wrong in the store whatever upstream does."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mirror.core.errors import HubSaysNo, IntegrityError, UpstreamDown, UpstreamGarbage
from mirror.core.nouns import Digest, Span
from mirror.core.ports import TAIL
from mirror.proxy.flight import Flight
from mirror.proxy.flights import Tuning
from tests.proxy.flight_fixture import MIB, all_of, declared, git_digest, noise, some_of, source_of, surroundings
from tests.support.liar import Lie

BIG = noise(5 * MIB + 12345)


async def test_many_readers_share_one_transfer(tmp_path):
    """Twenty readers of a cold file cost upstream one request, and each gets every byte."""
    async with surroundings(tmp_path, BIG) as here:
        bodies = await asyncio.gather(*(here.join(source_of(BIG)) for _ in range(20)))
        assert await asyncio.gather(*map(all_of, bodies)) == [BIG] * 20
        assert here.liar.ranges == [None]
        assert [body.origin for body in bodies].count("fwd=miss; stored") == 1
        assert [(key, blob.digest) for key, blob, _ in here.landed] == [("k", declared(BIG))]
        assert (await here.store.find(declared(BIG))).size == len(BIG)


async def test_transfer_outlives_its_reader(tmp_path):
    """A client that leaves after the first bytes leaves the download running to its end."""
    async with surroundings(tmp_path, BIG) as here:
        body = await here.join(source_of(BIG))
        async for _ in body.read(Span(0, len(BIG))):
            break
        await body.close()
        while not here.landed:
            await asyncio.sleep(0.01)
        assert await here.store.find(declared(BIG)) is not None


async def test_same_bytes_under_another_name_are_not_fetched(tmp_path):
    """A file whose declared SHA-256 is stored already is a hit without a request."""
    async with surroundings(tmp_path, BIG) as here:
        assert await all_of(await here.join(source_of(BIG), key="one")) == BIG
        body = await here.join(source_of(BIG), key="two")
        assert (body.origin, await all_of(body), len(here.liar.requests)) == ("hit", BIG, 1)
        assert [key for key, *_ in here.landed] == ["one", "two"]


@pytest.mark.parametrize("size", [0, 1, TAIL, TAIL + 1, MIB, MIB + 1])
async def test_sizes_at_the_edges(tmp_path, size):
    """Files of every awkward length arrive whole."""
    data = noise(size)
    async with surroundings(tmp_path, data) as here:
        assert await all_of(await here.join(source_of(data))) == data
        assert (await here.store.find(declared(data))).size == size


async def test_git_digest_is_verified(tmp_path):
    """A file declared by git's object id lands under its SHA-256."""
    data = noise(300_000)
    async with surroundings(tmp_path, data) as here:
        assert await all_of(await here.join(source_of(data, declared=git_digest(data)))) == data
        assert here.landed[0][1].digest == declared(data)


@pytest.mark.parametrize("chunked", [True, False])
async def test_unknown_size(tmp_path, chunked):
    """A file whose length nobody declared is read to the end upstream gives it, and its digest still counts."""
    async with surroundings(tmp_path, BIG) as here:
        here.liar.always = Lie(chunked=chunked)
        assert await all_of(await here.join(source_of(BIG, size=None))) == BIG
        assert await here.store.find(declared(BIG)) is not None


async def test_undeclared_digest_is_marked(tmp_path):
    """Without a declared digest the length is all there is to check, and the body says that it is not verified."""
    async with surroundings(tmp_path, BIG) as here:
        body = await here.join(source_of(BIG, declared=None))
        assert (await all_of(body), body.verified) == (BIG, False)
        assert here.landed[0][1].digest == declared(BIG)


async def test_cut_is_resumed(tmp_path):
    """Cut after cut upstream, the transfer goes on where it was and the reader never notices."""
    async with surroundings(tmp_path, BIG) as here:
        here.liar.lies.extend([Lie(cut=MIB), Lie(cut=MIB + 7), Lie(cut=2 * MIB)])
        assert await all_of(await here.join(source_of(BIG))) == BIG
        assert here.liar.ranges[0] is None
        starts = [int(value[6:].split("-")[0]) for value in here.liar.ranges[1:]]
        assert starts == sorted(starts)
        assert len(starts) == 3
        assert min(starts) > 0


async def test_hang_is_resumed(tmp_path):
    """An upstream that falls silent in the middle is left and asked again for the rest."""
    async with surroundings(tmp_path, BIG, patience=0.3) as here:
        here.liar.lies.append(Lie(hang=2 * MIB))
        assert await all_of(await here.join(source_of(BIG))) == BIG
        assert len(here.liar.requests) == 2


async def test_expired_url_and_bursts_are_tried_again(tmp_path):
    """A 403 in the middle (an expired signature), a 503 and a 429 cost attempts, not the download."""
    async with surroundings(tmp_path, BIG) as here:
        here.liar.lies.extend([Lie(cut=MIB), Lie(status=403), Lie(status=503), Lie(status=429)])
        assert await all_of(await here.join(source_of(BIG))) == BIG


@pytest.mark.parametrize(
    "lie",
    [
        Lie(headers={"Content-Encoding": "gzip"}),
        Lie(short=1000),
        Lie(extra=b"more"),
        Lie(status=302, headers={"Location": "/elsewhere"}),
        Lie(status=500),
        Lie(cut=0),
    ],
    ids=["gzip", "short", "long", "redirect", "500", "nothing"],
)
async def test_nonsense_is_never_stored(tmp_path, lie):
    """An answer that makes no sense ends in an error before any byte left, and leaves no blob."""
    async with surroundings(tmp_path, BIG) as here:
        here.liar.always = lie
        source = source_of(BIG)
        with pytest.raises((UpstreamGarbage, UpstreamDown)):
            await all_of(await here.join(replace(source, ask=replace(source.ask, follow=False))))
        assert await here.store.find(declared(BIG)) is None
        assert here.landed == []


@pytest.mark.parametrize(
    "lie", [Lie(headers={"Content-Encoding": "gzip"}), Lie(short=1000), Lie(extra=b"more"), Lie(shift=5)]
)
async def test_one_nonsense_answer_is_survived(tmp_path, lie):
    """After a cut, one senseless answer to the resumption is thrown away and the file still arrives right."""
    async with surroundings(tmp_path, BIG) as here:
        here.liar.lies.extend([Lie(cut=MIB), lie])
        assert await all_of(await here.join(source_of(BIG))) == BIG


async def test_overlong_uncounted_body(tmp_path):
    """Bytes beyond the announced length are not part of the file."""
    async with surroundings(tmp_path, BIG) as here:
        here.liar.always = Lie(extra=b"x" * 100_000, counted=False)
        got, error = await some_of(await here.join(source_of(BIG)))
        assert (got, error) == (BIG, None) or isinstance(error, (UpstreamGarbage, UpstreamDown))


async def test_no_ranges_upstream(tmp_path):
    """An upstream without ranges is read from the start again after a cut, and what is here already is not written twice."""
    async with surroundings(tmp_path, BIG) as here:
        here.liar.lies.append(Lie(cut=3 * MIB))
        here.liar.always = Lie(ignore_range=True)
        assert await all_of(await here.join(source_of(BIG))) == BIG
        assert len(here.liar.requests) == 2


async def test_always_another_range(tmp_path):
    """206 with another range than asked for is not believed: the file comes by a plain request instead."""
    async with surroundings(tmp_path, BIG) as here:
        here.liar.lies.extend([Lie(cut=MIB), Lie(shift=1), Lie()])
        assert await all_of(await here.join(source_of(BIG))) == BIG
        assert here.liar.ranges[-1] is None


async def test_hub_refusal_passes_through(tmp_path):
    """A 401 with the hub's code is the hub's answer, not a fault to be retried."""
    async with surroundings(tmp_path, BIG) as here:
        here.liar.always = Lie(status=401, headers={"X-Error-Code": "GatedRepo", "X-Error-Message": "ask first"})
        with pytest.raises(HubSaysNo) as caught:
            await here.join(source_of(BIG))
        assert (caught.value.status, caught.value.code, caught.value.cause) == (401, "GatedRepo", "gated")
        assert len(here.liar.requests) == 1


async def test_failed_flight_is_begun_anew(tmp_path):
    """When upstream was down, the next reader starts a flight that goes on from the blocks on disk."""
    async with surroundings(tmp_path, BIG) as here:
        here.liar.lies.append(Lie(cut=3 * MIB))
        here.liar.always = Lie(status=503)
        body = await here.join(source_of(BIG))
        got, error = await some_of(body)
        assert isinstance(error, UpstreamDown)
        assert BIG.startswith(got)
        await body.close()
        here.liar.always = Lie()
        assert await all_of(await here.join(source_of(BIG))) == BIG
        assert int(here.liar.ranges[-1][6:].split("-")[0]) >= 2 * MIB


async def test_range_near_the_end_does_not_wait(tmp_path):
    """A reader far ahead of the front gets its bytes by a request of its own while the front stands still."""
    data = noise(24 * MIB)
    async with surroundings(tmp_path, data, patience=30) as here:
        gate = asyncio.Event()
        here.liar.lies.append(Lie(gate=(MIB, gate)))
        first = await here.join(source_of(data))
        last = await here.join(source_of(data))
        start = 20 * MIB + 5
        assert await asyncio.wait_for(all_of(last, start, start + 100_000), 5) == data[start : start + 100_000]
        assert here.liar.ranges[1] == f"bytes={20 * MIB}-{21 * MIB - 1}"
        gate.set()
        assert await all_of(first) == data
        assert here.liar.sent <= len(data) + 6 * MIB  # what the sockets' buffers took beyond


async def test_parallel_ranges_fetch_each_byte_about_once(tmp_path):
    """Sixteen closed ranges of one cold file together cost upstream little more than the file."""
    data = noise(64 * MIB)
    part = len(data) // 16
    async with surroundings(tmp_path, data) as here:
        bodies = [await here.join(source_of(data)) for _ in range(16)]
        parts = await asyncio.gather(*(all_of(b, n * part, (n + 1) * part) for n, b in enumerate(bodies)))
        assert b"".join(parts) == data
        assert here.liar.sent < len(data) * 1.2


async def test_abandoned_when_little_is_done(tmp_path):
    """A flight that nobody waits for and that has hardly begun is given up; its blocks stay."""
    async with surroundings(tmp_path, BIG, tuning=Tuning(abandon_after=0.05, abandon_below=0.5), patience=30) as here:
        here.liar.lies.append(Lie(gate=(MIB, asyncio.Event())))
        body = await here.join(source_of(BIG))
        await body.close()
        while here.flights.in_flight("k") is not None:
            await asyncio.sleep(0.01)
        assert await all_of(await here.join(source_of(BIG))) == BIG


async def test_undeclared_change_of_version_is_not_spliced(tmp_path):
    """Without a digest, a file that changes upstream between two requests is an error, never a mixture."""
    other = noise(len(BIG), seed=9)
    async with surroundings(tmp_path, BIG) as here:
        here.liar.lies.append(Lie(cut=2 * MIB))
        here.liar.always = Lie(data=other, headers={"ETag": '"y"'})
        got, error = await some_of(await here.join(source_of(BIG, declared=None)))
        assert isinstance(error, UpstreamGarbage)
        assert BIG.startswith(got)
        assert here.landed == []


async def test_wrong_declared_digest_ends_in_an_error(tmp_path):
    """Bytes that are never what was declared are fetched twice, reported twice and never stored."""
    wrong = Digest("sha256", "0" * 64)
    async with surroundings(tmp_path, BIG) as here:
        got, error = await some_of(await here.join(source_of(BIG, declared=wrong)))
        assert isinstance(error, IntegrityError)
        assert len(got) <= len(BIG) - TAIL
        await here.quiet()
        assert (len(here.faults), here.landed) == (2, [])
        assert await here.store.find(declared(BIG)) is None


async def test_the_end_of_a_flight_is_told_once_however_it_ends(tmp_path):
    """Landed or failed, whoever keeps something for a flight hears that it is over."""
    async with surroundings(tmp_path, BIG) as here:
        ended = []
        here.flights.on_ended = ended.append
        await all_of(await here.join(source_of(BIG), "good"))
        await here.quiet("good")
        body = await here.join(source_of(BIG, declared=declared(b"something else")), "bad")
        _, error = await some_of(body)
        await here.quiet("bad")
        assert (ended, error is not None) == (["good", "bad"], True)


async def test_a_file_that_is_removed_as_it_lands_is_a_miss(tmp_path, monkeypatch):
    """Whoever joins a flight whose file is gone before it could be opened gets it by another fetch, and no error."""
    data, opened = noise(300_000), Flight.descriptor
    async with surroundings(tmp_path, data) as here:

        def removed(flight):
            monkeypatch.setattr(Flight, "descriptor", opened)
            raise FileNotFoundError(2, "removed this very moment")

        monkeypatch.setattr(Flight, "descriptor", removed)
        body = await here.join(source_of(data))
        assert await all_of(body) == data
        await body.close()


async def test_readers_hear_of_a_failure_whatever_becomes_of_the_spool(tmp_path):
    """A spool that cannot even be removed ends its readers like any other failure, instead of leaving them waiting."""
    async with surroundings(tmp_path, BIG, patience=0.3) as here:
        here.liar.always = Lie(chunked=True, ignore_range=True, hang=2 * MIB)
        body = await here.join(source_of(BIG, size=None, declared=None))
        reading = asyncio.create_task(some_of(body, stop=len(BIG)))
        await asyncio.sleep(0.1)
        (tmp_path / "spool").rename(tmp_path / "moved")
        (tmp_path / "spool").write_text("a file where the folder was")
        _, error = await asyncio.wait_for(reading, 10)
        assert isinstance(error, UpstreamDown)
