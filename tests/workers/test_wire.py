"""The language of the keeper's socket: what goes in comes out, however the stream is cut, and nothing else does."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.audit.record import prepare, seal
from mirror.core import errors
from mirror.core.actor import Credential
from mirror.core.errors import LedgerDown
from mirror.core.nouns import Blob, Digest, Document, DocumentKey
from mirror.core.ports import Ask, Source
from mirror.keeper.link import Link, Reply
from mirror.keeper.nouns import decoded, encoded
from mirror.keeper.records import batch_from, batch_json
from mirror.keeper.rules import Rules, Standing
from mirror.keeper.wire import HEAD, Frames, Garbled, KeeperFault, Message, What, error_from, error_json, packed
from mirror.web.metrics import Metrics, merged
from tests.audit.samples import allowed, refused

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
MESSAGES = st.builds(
    Message, st.sampled_from(What), st.integers(0, 2**40), st.text(max_size=20), JSON, st.binary(max_size=300),
    st.lists(st.integers(0, 2**30), max_size=4).map(tuple),
)  # fmt: skip
TEXTS = st.text(max_size=30)
HEADERS = st.lists(st.tuples(TEXTS, TEXTS), max_size=3).map(tuple)
ASKS = st.builds(
    Ask, TEXTS, st.sampled_from(["GET", "HEAD", "POST"]), st.dictionaries(TEXTS, TEXTS, max_size=3), st.none() | st.binary(max_size=50),
    st.none() | st.builds(Credential, TEXTS, TEXTS), st.booleans(), st.booleans(), st.integers(0, 2**62),
    st.floats(0, 1e6), st.booleans(), st.none() | st.floats(0, 1e6),
)  # fmt: skip
DIGESTS = st.builds(Digest, TEXTS, TEXTS)
SOURCES = st.builds(Source, ASKS, st.none() | DIGESTS, st.none() | st.integers(0, 2**62), HEADERS, TEXTS)


@given(st.lists(MESSAGES, max_size=6), st.lists(st.integers(1, 60), max_size=40))
def test_frames_come_out_as_they_went_in(messages, cuts):
    """Any sequence of messages survives any cutting of its stream, each with its own descriptors."""
    stream = b"".join(map(packed, messages))
    frames, found = Frames(), []
    frames.feed(b"", [one for message in messages for one in message.descriptors])
    for cut in [*cuts, len(stream)]:
        found += frames.feed(stream[:cut])
        stream = stream[cut:]
    assert found == messages
    assert frames.left() == []


@given(st.binary(max_size=200))
def test_noise_is_garbled_or_waited_for(noise):
    """What is no message is never taken for one."""
    try:
        assert Frames().feed(HEAD.pack(len(noise), 0, 0) + noise) == []
    except Garbled:
        pass


@pytest.mark.parametrize("head", [HEAD.pack(2**31, 0, 0), HEAD.pack(0, 2**31, 0), HEAD.pack(0, 0, 200), HEAD.pack(4, 0, 1) + b"null"])
def test_a_frame_that_cannot_be_is_refused_at_its_head(head):
    """A length beyond the limits, or descriptors that did not come, end the conversation before anything is allocated."""
    with pytest.raises(Garbled):
        Frames().feed(head)


@given(SOURCES)
def test_sources_round_trip(source):
    """Where bytes come from crosses whole: every field of it, the caller's credential too."""
    assert decoded(Source, encoded(source)) == source
    assert set(encoded(source)) == {field.name for field in dataclasses.fields(Source)}
    assert set(encoded(source.ask)) == {field.name for field in dataclasses.fields(Ask)}


@given(st.integers(0, 2**53), st.timedeltas(timedelta(0), timedelta(days=9)), st.binary(max_size=40), HEADERS)
def test_other_nouns_round_trip(size, age, body, headers):
    """Moments, lengths of time, bytes and nested nouns have a form too."""
    document = Document(DocumentKey("hub", "/x"), 200, headers, body, Digest("sha256", "00"), datetime(2026, 1, 1, tzinfo=UTC), age)
    assert decoded(Document, encoded(document)) == document
    assert decoded(Blob, encoded(Blob(Digest("sha256", "ab"), size))).size == size


@pytest.mark.parametrize("raw", [None, {}, {"digest": {}, "size": 1}, {"digest": {"algorithm": "a", "hex": "b"}, "size": True}, []])
def test_what_is_no_noun_is_refused(raw):
    """A missing, spare or mistyped field is an error, not a noun with holes."""
    with pytest.raises((ValueError, TypeError)):
        decoded(Blob, raw)


def test_a_credential_is_not_shown():
    """A message that holds a caller's credential does not show it, whatever prints it."""
    ask = Ask("/x", credential=Credential("Bearer hf_secret", "f1"))
    message = Message(What.CALL, 1, "ask", ["hub", encoded(ask)])
    assert "hf_secret" not in repr(message)
    assert "hf_secret" not in repr(Reply({"x": encoded(ask)}))
    assert b"hf_secret" in packed(message)


ERRORS = [
    errors.QuotaSpent("https://hub", "429", retry_after=3.5), errors.UpstreamDown("https://hub", "slow"),
    errors.UpstreamGarbage("https://hub", "odd"), errors.HostNotAllowed("https://hub", "not named"),
    errors.HubSaysNo(403, "GatedRepo", "ask", "gated", "c0ffee"), errors.NotHere("x", offline=True),
    errors.IntegrityError("x", "a", "b"), errors.StoreFull(7), errors.LedgerDown("full"), OSError(28, "No space left"), ValueError("odd"),
]  # fmt: skip


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_round_trip(error):
    """An error arrives as what it was, with what it held."""
    found = error_from(error_json(error))
    assert type(found) is type(error)
    assert (str(found), vars(found)) == (str(error), vars(error))


@pytest.mark.parametrize("raw", [None, [], ["StoreFull"], ["NoSuchError", 1], 7, ["KeeperFault", "x"], ["HubSaysNo", 1]])
def test_an_error_that_makes_no_sense_is_still_one(raw):
    """Whatever comes in an error's place is raised as one."""
    assert isinstance(error_from(raw), KeeperFault)


def test_records_round_trip():
    """A worker's rendering, sealed by the keeper, is the record that a single process would have written."""
    batch = [prepare(event, bytes([number]) * 16) for number, event in enumerate([refused(1), allowed(2), refused(3)])]
    lengths, data = batch_json(batch)
    for one, other in zip(batch, batch_from(lengths, data), strict=True):
        assert seal(one, 5, "ab" * 32).line == seal(other, 5, "ab" * 32).line
        assert seal(one, 5, "ab" * 32).personal == seal(other, 5, "ab" * 32).personal


@pytest.mark.parametrize("harm", [lambda data: data + b"x", lambda data: data[:-1], lambda data: data.replace(b'"', b"\n", 1)])
def test_a_batch_that_is_no_batch_is_refused(harm):
    """A wrong length or a line break within a record never reaches the segments."""
    lengths, data = batch_json([prepare(refused(1), bytes(16))])
    with pytest.raises(ValueError, match=r"batch|record"):
        batch_from(lengths, harm(data))


async def test_questions_cross_in_both_directions_with_descriptors():
    """Many questions at once, each with its own answer and its own open file, and an end that nobody is left waiting at."""
    left, right = socket.socketpair()
    ended = []

    async def answer(value, data):
        await asyncio.sleep(0.001 * (value % 7))
        reading, writing = os.pipe()
        os.write(writing, data)
        os.close(writing)
        return Reply(value * 2, data[::-1], (reading,))

    async def never(value, data):
        await asyncio.Event().wait()

    one = Link(left, {"double": answer, "never": never}, {}, lambda: ended.append(1))
    two = Link(right, {"double": answer}, {}, lambda: ended.append(2))
    before = len(os.listdir("/proc/self/fd"))
    asked = [link.call("double", number, b"n%d" % number * 3000) for number in range(100) for link in (one, two)]
    for number, reply in enumerate(await asyncio.gather(*asked)):
        text = b"n%d" % (number // 2) * 3000
        assert (reply.value, reply.data) == (number // 2 * 2, text[::-1])
        assert os.read(reply.descriptors[0], 100_000) == text
        reply.close()
    with pytest.raises(KeeperFault):
        await two.call("unheard of")
    waiting = asyncio.create_task(two.call("never"))
    await asyncio.sleep(0.01)
    one.close()
    with pytest.raises(LedgerDown):
        await waiting
    with pytest.raises(LedgerDown):
        await two.call("double", 1)
    await one.ended()
    assert sorted(ended) == [1, 2]
    assert len(os.listdir("/proc/self/fd")) == before - 2


async def test_a_cancelled_question_leaves_no_descriptor_open():
    """Whoever stops waiting costs the other side its work and nobody an open file."""
    left, right = socket.socketpair()
    stopped = asyncio.Event()

    async def slow(value, data):
        try:
            await asyncio.sleep(value)
        except asyncio.CancelledError:
            stopped.set()
            raise
        return Reply(descriptors=(os.open("/dev/null", os.O_RDONLY),))

    one, two = Link(left, {"slow": slow}, {}, lambda: None), Link(right, {}, {}, lambda: None)
    before = len(os.listdir("/proc/self/fd"))
    for seconds in (0.0, 0.001, 30.0):
        waiting = asyncio.create_task(two.call("slow", seconds))
        await asyncio.sleep(0.001)
        waiting.cancel()
        await asyncio.wait({waiting})
        if not waiting.cancelled():
            waiting.result().close()
    await asyncio.wait_for(stopped.wait(), 10)
    await asyncio.sleep(0.05)
    assert len(os.listdir("/proc/self/fd")) == before
    one.close()
    two.close()


async def test_a_question_taken_back_before_it_began_is_over():
    """A question and its withdrawal that arrive together leave nothing that the end of the connection would wait for."""
    left, right = socket.socketpair()

    async def never(value, data):
        raise AssertionError("it was withdrawn")

    link = Link(left, {"ask": never}, {}, lambda: None)
    right.sendall(packed(Message(What.CALL, 1, "ask")) + packed(Message(What.CANCEL, 1)) + packed(Message(What.CALL, 2, "none")))
    while not (await asyncio.to_thread(right.recv, 1000)):
        pass
    assert not link._tasks  # what `ended` waits for, without end if it were not so
    link.close()
    await asyncio.wait_for(link.ended(), 5)
    right.close()


def test_rules_are_said_when_the_last_has_come_to_them():
    """What health says of the rules moves on when every process judges by the new ones, and not before."""
    old, new = Standing("one", "p1", 1, 0), Standing("two", "p2", 2, 0)
    rules = Rules("keeper", old)
    for worker in ("a", "b"):
        rules.reported(worker, Standing("one", "p1", 1, 0))
    for process in ("a", "keeper"):
        rules.reported(process, new)
        assert rules.agreed.policy == "p1"
    rules.reported("b", new)
    assert rules.agreed == new
    rules.reported("a", Standing("three", "p3", 3, 0))
    assert rules.agreed == new
    rules.left("a")
    rules.reported("b", Standing("two", "p2", 2, 4))
    assert rules.agreed.problems == 4


def test_merged_metrics_are_sums_but_for_states():
    """Counts add up, of processes that have ended too; gauges of those only that run; a state is that of the worst."""
    one, two, gone = Metrics(), Metrics(), Metrics()
    for metrics, count in ((one, 1), (two, 2), (gone, 4)):
        metrics.sent.labels("hub").inc(count)
        metrics.in_flight.set(count)
        metrics.ledger_up.set(count > 1)
        metrics.policy_problems.set(count)
    lines = merged([one.parts(), two.parts()], [gone.parts()]).decode().splitlines()
    for line in ('mirror_sent_bytes_total{hub="hub"} 7.0', "mirror_requests_in_progress 3.0", "mirror_ledger_up 0.0", "mirror_policy_problems 2.0"):
        assert line in lines
