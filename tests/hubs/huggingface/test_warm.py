"""Answers given again: the same for the same caller, counted, and never past what they rest on."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from tests.hubs.huggingface.conftest import mirror_of
from tests.support.standin import ALICE, BOB

FILE = "/acme/tiny-bert/resolve/main/config.json"
GATED = "/acme/gated-auto/resolve/main/config.json"
DENY = "version: 1\nrules:\n  - {id: no, when: {artifact: [acme/*]}, effect: deny}\n"


def headers(reply) -> dict[str, str]:
    each = {name.lower(): value for name, value in reply.headers.items()}
    return {name: value for name, value in each.items() if name not in ("date", "x-request-id", "server-timing")}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_answer_is_the_same_and_is_counted(mirror, method):
    """The third answer is byte for byte the second, and each is one more in the ledger's count."""
    await mirror.get(FILE)
    first = await mirror.get(FILE, method=method)
    again = await mirror.get(FILE, method=method)
    assert (again.status, headers(again), again.body) == (first.status, headers(first), first.body)
    assert again.headers["Content-Length"] == first.headers["Content-Length"] != "0"
    for _ in range(4):
        await mirror.get(FILE, method=method)
    mirror.gateway.recorder._ledger.flush()
    await mirror.get("/acme/tiny-bert/resolve/main/vocab.txt")
    [allowed] = [event for event in mirror.events("allowed") if "config.json" in json.dumps(event)]
    counted = sum(event["count"] for event in mirror.events("repeated") if event["subject"] == allowed["decision"]["id"])
    assert counted == 6


async def test_a_head_says_at_once_that_the_bytes_have_come(mirror):
    """A HEAD before the first GET is a miss each time, and the one after it says hit: what changes so soon is not kept."""
    for _ in range(2):
        assert "miss" in (await mirror.get(FILE, method="HEAD")).headers["Cache-Status"]
    await mirror.get(FILE)
    for _ in range(2):
        assert "; hit" in (await mirror.get(FILE, method="HEAD")).headers["Cache-Status"]


async def test_a_new_rule_ends_it_at_once(mirror):
    """What was warm a moment ago is refused under the next epoch, on the record."""
    for _ in range(3):
        assert (await mirror.get(FILE)).status == 200
    await mirror.new_rules(DENY)
    assert (await mirror.get(FILE)).status == 403
    assert (await mirror.get(FILE, method="HEAD")).status == 403
    assert len(mirror.events("refused")) == 1


async def test_nobody_gets_what_another_was_given(mirror):
    """Warm for one credential is not warm for another, nor for none."""
    for _ in range(3):
        assert (await mirror.get(GATED, ALICE)).status == 200
    assert (await mirror.get(GATED, BOB)).status == 403
    assert (await mirror.get(GATED)).status in (401, 403)


async def test_parts_and_conditions_are_answered_anew(mirror):
    """A range, an entity tag that matches and one that does not are answered as for any file."""
    whole = [await mirror.get(FILE) for _ in range(3)][-1]
    part = await mirror.get(FILE, Range="bytes=2-5")
    assert (part.status, part.body) == (206, whole.body[2:6])
    assert (await mirror.get(FILE, If_None_Match=whole.headers["ETag"])).status == 304
    assert (await mirror.get(FILE, If_None_Match='"other"')).body == whole.body


async def test_it_ends_with_the_branch_page(standin, tmp_path: Path):
    """After a push the warm answer lasts no longer than the page of the branch, and is not made longer by being used."""
    async with mirror_of(standin, tmp_path / "m") as mirror:
        before = [await mirror.get(FILE) for _ in range(3)][-1]
        standin.repo("acme/tiny-bert").push({"config.json": b'{"new": true}'})
        for _ in range(14):
            mirror.pass_time(seconds=4)
            await mirror.get(FILE)
        mirror.pass_time(seconds=5)
        after = await mirror.get(FILE)
        assert after.body == b'{"new": true}' != before.body


async def test_it_ends_with_the_grant(standin, tmp_path: Path):
    """What one credential may read is asked for anew when its grant ends, also where an answer was warm a moment before."""
    async with mirror_of(standin, tmp_path / "m", online=timedelta(seconds=2)) as mirror:
        for _ in range(3):
            assert (await mirror.get(GATED, ALICE)).status == 200
        mirror.pass_time(seconds=1)
        assert (await mirror.get(GATED, ALICE)).status == 200
        standin.repo("acme/gated-auto").tokens_allowed = set()
        mirror.pass_time(seconds=2)
        assert (await mirror.get(GATED, ALICE)).status == 403


async def test_long_names_for_one_file_take_no_more_room(mirror):
    """The texts of a request count as what is kept: clients that make them long fill the room sooner, and not past it."""
    warm = mirror.gateway._warm
    warm._room = 50_000
    for number in range(12):
        assert (await mirror.get(f"{FILE}?{number:02}{'x' * 7900}")).status == 200
    assert sum(len(part) for key in warm._kept for part in key if isinstance(part, str)) <= warm._used <= warm._room
    assert len(warm._kept) > 2


async def test_a_clock_set_back_ends_it(mirror):
    """Whatever time it is said to be, nothing is warm for more than seconds: a clock set back an hour finds it anew."""
    for _ in range(3):
        await mirror.get(FILE)
    [key] = [key for key in mirror.gateway._warm._kept if "GET" in key]
    mirror.pass_time(hours=-1)
    assert await mirror.gateway.again(key) is None
