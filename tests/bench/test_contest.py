"""What the side-by-side measurements stand on: content that is what it says, an upstream that is as far as it says, sums."""

from __future__ import annotations

import hashlib
import time
import urllib.request

import pytest

from bench.contest import content, pull
from bench.contest.far import Contents
from bench.contest.house import RULES
from bench.contest.table import Failed, Result, Row, paired

SMALL = content.Bulk("a test", 3_000_017)


def whole(bulk, start=0, stop=None):
    return b"".join(bytes(piece) for piece in bulk.pieces(start, bulk.size if stop is None else stop, 65_536))


@pytest.fixture(scope="module")
def near():
    return Contents({"file": SMALL})


def test_a_bulk_is_what_its_digest_says_and_any_part_of_it_is_that_part():
    """Content that is made piece by piece has the announced size and SHA-256, and a range of it is a slice of the whole."""
    made = whole(SMALL)
    assert len(made) == SMALL.size
    assert hashlib.sha256(made).hexdigest() == SMALL.sha256
    for start, stop in ((0, 1), (65_535, 65_537), (2_999_980, 3_000_000), (3_000_000, 3_000_017)):
        assert whole(SMALL, start, stop) == made[start:stop]
    assert content.Bulk("another", SMALL.size).sha256 != SMALL.sha256


def test_the_content_server_answers_ranges_and_counts_what_it_sends(near):
    """A closed range is a 206 with these bytes, and `sent` grows by as many."""
    before = near.sent
    asked = urllib.request.Request(f"{near.url}/x/file?Signature=1", headers={"Range": "bytes=100-299"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=10) as answer:
        assert (answer.status, answer.headers["Content-Range"]) == (206, f"bytes 100-299/{SMALL.size}")
        assert answer.read() == whole(SMALL, 100, 300)
    for _ in range(500):  # the server counts when the last byte has left, which the client may see first
        if near.sent - before == 200:
            break
        time.sleep(0.01)
    assert near.sent - before == 200


def test_a_connection_is_not_faster_than_its_rate():
    """At 6 MB/s three megabytes take half a second, less the one piece that may come at once."""
    slow = Contents({"file": SMALL}, rate=6_000_000, trip=0.02)
    found = pull.fetch(f"{slow.url}/file")
    assert (found["status"], found["sha256"]) == (200, SMALL.sha256)
    assert found["first"] > 0.04  # a round trip to connect, and one for the answer
    assert found["seconds"] > 0.35


def test_the_generator_counts_whole_answers_and_notices_wrong_ones(near):
    """Requests over several connections are counted by whole bodies, and answers that are not 200 by themselves."""
    found = pull.rate(f"{near.url}/file", 0.3, 2)
    assert found["wrong"] == 0
    assert found["requests"] > 0
    assert found["bytes"] >= found["requests"] * SMALL.size
    assert pull.rate(f"{near.url}/nothing", 0.1, 1)["wrong"] > 0
    assert pull.crowd(f"{near.url}/file", 3, 2) | {"seconds": 0} == {"seconds": 0, "whole": 3, "sha256": [SMALL.sha256]}


def test_pairs_are_turned_and_their_ratios_are_of_neighbours():
    """A B, B A: each ratio is of two figures that were taken one after the other."""
    order = []
    figures = iter((100, 50, 60, 200, 100, 80))

    def measure(name):
        order.append(name)
        return next(figures)

    result = paired(Result("t", "u"), [Row("rival")], 3, measure, lambda _: None)
    assert order == ["rival", "this mirror", "this mirror", "rival", "rival", "this mirror"]
    assert result.rows[0].ratios(higher=True) == [0.3, 0.5, 0.8]
    result.target("rival", 0.5)
    result.target("rival", 0.6)
    assert ["NOT" in line for line in result.targets] == [False, True]


def test_a_rival_that_fails_is_wrong_and_a_mirror_that_fails_is_an_error():
    """What gives no right answer is shown as such; a comparison without our own side is none."""

    def measure(name):
        if name == failing:
            raise Failed(name, "status 500")
        return 1

    failing = "rival"
    assert "wrong: status 500" in paired(Result("t", "u"), [Row("rival")], 1, measure, lambda _: None).text()
    failing = "this mirror"
    with pytest.raises(Failed):
        paired(Result("t", "u"), [Row("rival")], 1, measure, lambda _: None)


def test_the_policy_has_as_many_rules_as_are_stated():
    """The mirror is measured under twenty rules."""
    assert RULES == 20


def test_slow_readers_stay_until_they_are_let_go(near):
    """The generator's slow readers say how many are being served and take hardly anything."""
    import subprocess
    import sys

    words = [
        sys.executable,
        "-m",
        "bench.contest.pull",
        "slow",
        f'{{"url": "{near.url}/file", "connections": 5, "every": 0.1}}',
    ]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == '{"ready": 5}\n'
    assert process.poll() is None
    said, _ = process.communicate("", timeout=20)
    assert '"taken"' in said
