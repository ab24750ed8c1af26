"""Answers given again before their request is parsed: nothing but their time tells them from the others."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror import config as configuration
from mirror.core.errors import LedgerDown
from mirror.core.nouns import Digest
from mirror.core.tokens import MirrorToken, digest, make
from mirror.log import RequestLine
from mirror.proxy.warm import Warm
from mirror.reply.identify import Identification
from mirror.web.metrics import Metrics
from mirror.web.repeat import MAX_HEAD, Repeats
from mirror.web.server import Server
from mirror.wiring import Services, build, installation_key
from tests.support.mirror import running_mirror, upstream_config
from tests.support.standin import ALICE, StandInHub, running_hub, running_index
from tests.support.standin.index import StandInIndex

FILE = "/acme/tiny-bert/resolve/main/config.json"
GATED = "/acme/gated-auto/resolve/main/config.json"
PAGE = "/pypi/simple/acme-lib/"
ALLOW = "version: 1\nrules: []\n"
DENY = "version: 1\nrules:\n  - {id: no, when: {artifact: [acme/*]}, effect: deny}\n"
#: One group may not have what the others may.
APART = "version: 1\nrules:\n  - {id: apart, when: {artifact: [acme/*]}, effect: deny, for: {groups: [inner]}}\n"
JSON = "Accept: application/vnd.pypi.simple.v1+json\r\n"
NEW = ("date", "x-request-id", "server-timing")


@dataclass
class Whole:
    """A whole mirror, wired as `mirror serve` wires it, in a thread of this process: a test can look at what the server saw."""

    services: Services
    loop: asyncio.AbstractEventLoop
    folder: Path

    @property
    def port(self) -> int:
        return int(self.services.runners[0].addresses[0][1])

    @property
    def parsed(self) -> int:
        """How many requests the HTTP library has had."""
        return sum(runner.server.requests_count for runner in self.services.runners)

    @property
    def repeats(self) -> Repeats:
        assert self.services.front.repeats is not None
        return self.services.front.repeats

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def rules(self, text: str) -> None:
        """In force when this returns."""
        (self.folder / "policy.yaml").write_text(text)
        self.do(self.services.rulebook.refresh(self.services._changed, self.services._failed))

    def set_clock(self, **later: float) -> None:
        """So much later than it is; at once, where the mirror's own clock would wait a small step back out."""
        clock = self.services.gateway.clock
        clock._wall = lambda: datetime.now(UTC) + timedelta(**later)
        clock._latest = clock._wall()


@contextmanager
def whole(folder: Path, hub: StandInHub, index: StandInIndex, **config: Any) -> Iterator[Whole]:
    folder.mkdir(exist_ok=True)
    (folder / "policy.yaml").write_text(ALLOW)
    small = {"data": "data", "policy": {"path": "policy.yaml"}, "ledger": {"reserve": "1MiB"}, "store": {"min_free": "1MiB"}}
    groups = {"clients": {"groups": {"inner": {"subnets": ["127.0.0.2/32"]}}}}
    (folder / "mirror.yaml").write_text(yaml.safe_dump({"listen": {"port": 0}, **small, **groups, **upstream_config(hub, index), **config}))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def begun() -> Services:
        services = await build(configuration.load(folder / "mirror.yaml", {}))
        await services.start()
        await services.rulebook.close()  # it looks when a test says so
        return services

    mirror = Whole(asyncio.run_coroutine_threadsafe(begun(), loop).result(30), loop, folder)
    try:
        yield mirror
    finally:
        mirror.do(mirror.services.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def upstreams() -> Iterator[tuple[StandInHub, StandInIndex]]:
    with running_hub() as hub, running_index() as index:
        yield hub, index


@pytest.fixture(scope="module")
def running(upstreams: tuple[StandInHub, StandInIndex], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with whole(tmp_path_factory.mktemp("repeat") / "m", *upstreams) as mirror:
        yield mirror


@pytest.fixture
def mirror(running: Whole) -> Iterator[Whole]:
    """The mirror of all tests here, with no rules and the right time; what was given before is forgotten."""
    running.repeats._kept.clear()
    running.repeats._used = 0
    yield running
    running.set_clock()
    running.rules(ALLOW)


@dataclass
class Answer:
    status: int
    line: bytes
    fields: list[tuple[str, str]]
    body: bytes

    @property
    def same(self) -> tuple[Any, ...]:
        """Everything but what is new in each answer: of that, only that it is there, and where."""
        fields = [(name, "" if name.lower() in NEW else value) for name, value in self.fields]
        return self.line, fields, self.body

    def field(self, name: str) -> str:
        return dict((key.lower(), value) for key, value in self.fields)[name]


class Talk:
    """One connection, byte by byte."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 20, (source, 0))
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.socket.close()

    def ask(self, head: bytes) -> Answer:
        self.socket.sendall(head)
        return self.answer(head.split(b" ")[0])

    def answer(self, method: bytes = b"GET") -> Answer:
        line, fields = self._file.readline(), []
        if not line:
            raise EOFError
        while (row := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = row.decode().rstrip("\r\n").partition(": ")
            fields.append((name, value))
        status, length = int(line.split()[1]), {name.lower(): value for name, value in fields}.get("content-length", "0")
        bare = status == 304 or (method == b"HEAD" and status != 400)  # what is no HTTP is answered before any method is known
        body = b"" if bare else self._file.read(int(length))
        return Answer(status, line, fields, body)


def head(path: str, method: str = "GET", more: str = "", version: str = "1.1") -> bytes:
    return f"{method} {path} HTTP/{version}\r\nHost: localhost\r\n{more}\r\n".encode()


def warmed(mirror: Whole, asked: bytes, times: int = 4) -> Answer:
    """The last of a few equal answers: the next one is given before it is parsed."""
    with Talk(mirror.port) as talk:
        return [talk.ask(asked) for _ in range(times)][-1]


def repeated(mirror: Whole, asked: bytes, source: str = "127.0.0.1") -> bool:
    """Whether one more request for this is answered without the HTTP library."""
    with Talk(mirror.port, source) as talk:
        talk.ask(head("/-/health/live"))  # the connection is known to be served
        before = mirror.parsed
        talk.ask(asked)
        return mirror.parsed == before


def pages_tag(mirror: Whole) -> str:
    return warmed(mirror, head(PAGE, more=JSON), 1).field("etag")


# --- the same answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "tagged"),
    [
        (head(FILE), None),
        (head(FILE, "HEAD"), None),
        (head(FILE, "HEAD"), FILE),
        (head(GATED, more=f"Authorization: Bearer {ALICE}\r\n"), None),
        (head(PAGE, more=JSON + "Accept-Encoding: gzip\r\n"), None),
        (head(PAGE, "HEAD", more=JSON), None),
        (head(PAGE), None),
        (head(PAGE, more=JSON), PAGE),
    ],
)
def test_a_repeat_differs_by_its_id_its_date_and_its_time_alone(mirror: Whole, asked: bytes, tagged: str | None):
    """Files, their heads, index pages in each form and 304s: status line, fields, their order and the body are the long way's."""
    if tagged is not None:
        tag = warmed(mirror, head(tagged, more=JSON if tagged == PAGE else ""), 1).field("etag")
        asked = asked[:-2] + f"If-None-Match: {tag}\r\n\r\n".encode()
    warmed(mirror, head(FILE))
    with Talk(mirror.port) as talk:
        slow = [talk.ask(asked) for _ in range(4)]
        before = mirror.parsed
        quick = [talk.ask(asked) for _ in range(4)]
        assert mirror.parsed == before
    assert [one.same for one in (*slow[1:], *quick)] == [slow[1].same] * 7
    assert slow[1].status == (304 if tagged else 200)
    assert len({one.field("x-request-id") for one in (*slow, *quick)}) == 8


@pytest.mark.parametrize(("method", "what"), [("GET", ".metadata"), ("HEAD", "")])
def test_core_metadata_and_heads_of_wheels_are_repeated_as_they_were_first_sent(mirror: Whole, method: str, what: str):
    """What every resolver asks for: the answer from the store, the one given again, and the repeat are the same."""
    page = json.loads(warmed(mirror, head(PAGE, more=JSON), 1).body)
    wheel = next(row for row in page["files"] if row.get("core-metadata"))
    path = urlsplit(wheel["url"]).path + what
    for _ in range(2):
        assert warmed(mirror, head(path), 1).status == 200
    mirror.set_clock(seconds=20)  # nothing is warm any more
    with Talk(mirror.port) as talk:
        slow = [talk.ask(head(path, method)) for _ in range(3)]
        before = mirror.parsed
        assert [talk.ask(head(path, method)).same for _ in range(3)] == [slow[0].same] * 3 == [slow[1].same] * 3
        assert mirror.parsed == before
    assert "; hit" in slow[0].field("cache-status")


@pytest.mark.parametrize(
    "asked",
    [
        head(FILE, more="Range: bytes=1-3\r\n"),
        head(FILE, more="Connection: close\r\n"),
        head(FILE, version="1.0"),
        head(FILE, more="Content-Length: 5\r\n") + b"hello",
        head(FILE, more=f"X-Long: {'x' * MAX_HEAD}\r\n"),
        head("/acme/tiny-bert/resolve/main/nothing.txt"),
        head("/-/health/live"),
    ],
)
def test_what_is_not_one_small_whole_answer_is_never_repeated(mirror: Whole, asked: bytes):
    """Parts, last requests, bodies, long heads, misses and our own pages go the long way each time."""
    warmed(mirror, head(FILE))
    for _ in range(4):
        with Talk(mirror.port) as talk:
            before = mirror.parsed
            talk.ask(asked)
            assert mirror.parsed == before + 1


def test_a_body_that_follows_is_not_taken_for_a_request(mirror: Whole):
    """A head that announces a body is answered the long way, and the body - a request by its looks - is no request."""
    inner = head(FILE)
    outer = head(FILE, more=f"Content-Length: {len(inner)}\r\n")
    warm = warmed(mirror, inner)
    for _ in range(3):
        with Talk(mirror.port) as talk:
            assert talk.ask(outer).status == 200
            talk.socket.sendall(inner)
            talk.socket.sendall(head("/-/health/live"))
            assert talk.answer().body not in (warm.body, b"")
            talk.socket.shutdown(socket.SHUT_WR)
            with pytest.raises(EOFError):
                talk.answer()


# --- not for anybody else, and not for longer ------------------------------------------------------------------------------


def test_a_new_rule_ends_it_at_once(mirror: Whole):
    """The request after the rules changed is refused, on a connection that was answered without parsing a moment before."""
    with Talk(mirror.port) as talk:
        assert [talk.ask(head(FILE)).status for _ in range(5)] == [200] * 5
        mirror.rules(DENY)
        assert talk.ask(head(FILE)).status == 403
        assert talk.ask(head(FILE)).status == 403


def test_another_address_is_another_client(mirror: Whole):
    """The same bytes from an address whose group may not have the file are refused while others have it warm."""
    mirror.rules(APART)
    assert warmed(mirror, head(FILE)).status == 200
    assert repeated(mirror, head(FILE))
    with Talk(mirror.port, "127.0.0.2") as talk:
        assert [talk.ask(head(FILE)).status for _ in range(3)] == [403] * 3
    assert warmed(mirror, head(FILE)).status == 200


def test_it_ends_after_seconds_and_is_not_made_longer_by_being_used(mirror: Whole):
    """Six seconds after the long way found it, it is found anew."""
    warmed(mirror, head(FILE))
    mirror.set_clock(seconds=3)
    assert repeated(mirror, head(FILE))
    mirror.set_clock(seconds=6)
    assert not repeated(mirror, head(FILE))


def test_a_clock_set_back_ends_it(mirror: Whole):
    """What is said to be given in the future is not given."""
    warmed(mirror, head(FILE))
    mirror.set_clock(hours=-1)
    assert not repeated(mirror, head(FILE))


def test_it_ends_with_the_grant(mirror: Whole, upstreams: tuple[StandInHub, StandInIndex]):
    """A right that the hub has taken away ends it no later than the grant, seconds after the last use at that."""
    asked = head(GATED, more=f"Authorization: Bearer {ALICE}\r\n")
    hub = mirror.services.front.dialects[-1]
    access, repository = hub.access, upstreams[0].repo("acme/gated-auto")
    options, allowed = access._options, repository.tokens_allowed
    try:
        object.__setattr__(options, "online", timedelta(seconds=2))
        access._known.clear()
        mirror.set_clock(minutes=30)
        assert warmed(mirror, asked).status == 200
        assert repeated(mirror, asked)
        repository.tokens_allowed = set()
        mirror.set_clock(minutes=30, seconds=3)
        with Talk(mirror.port) as talk:
            assert talk.ask(asked).status == 403
    finally:
        object.__setattr__(options, "online", timedelta(hours=1))
        repository.tokens_allowed = allowed
        access._known.clear()


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_it_ends_with_the_token(mirror: Whole, how: str):
    """Who is known by a mirror token is answered 401 from the moment when it is revoked or expires, however warm the answer."""
    key = installation_key(mirror.folder / "data" / "secret.key")
    secret, now, services = make(key, how.encode() * 8), datetime.now(UTC), mirror.services
    ends = now + timedelta(seconds=3600)
    token = MirrorToken(how, "ci", digest(key, secret), (), "", now, ends if how == "expired" else None)
    who = services.front._identification
    assert who.tokens is not None

    async def looked() -> None:
        if await who.tokens.refresh():
            who.forget()

    mirror.do(services.index.put_token(token))
    mirror.do(looked())
    asked = head(FILE, more=f"Authorization: Bearer {secret}\r\n")
    mirror.set_clock(seconds=3598)
    assert warmed(mirror, asked).status == 200
    assert repeated(mirror, asked)
    if how == "revoked":
        mirror.do(services.index.revoke_token(how, now))
        mirror.do(looked())
    else:
        mirror.set_clock(seconds=3601)
    with Talk(mirror.port) as talk:
        assert [talk.ask(asked).status for _ in range(2)] == [401, 401]


def test_a_page_that_was_replaced_ends_it(mirror: Whole):
    """A newer edition of the index page is shown by the next request, however young the older one is."""
    asked = head(PAGE, more=JSON)
    before = warmed(mirror, asked)
    assert repeated(mirror, asked)
    documents = mirror.services.gateway._documents
    [known] = [one for one in documents._memory.values() if one.key.target.endswith("/acme-lib/") and one.status == 200]
    page = json.loads(known.body)
    page["files"] = page["files"][:1]
    body = json.dumps(page).encode()
    newer = replace(known, body=body, digest=Digest("sha256", "0" * 64))
    mirror.do(documents.put(newer))
    try:
        with Talk(mirror.port) as talk:
            assert len(json.loads(talk.ask(asked).body)["files"]) == 1 < len(json.loads(before.body)["files"])
    finally:
        mirror.do(documents.put(known))


def test_a_page_that_leaves_something_out_is_recorded_before_each_answer(mirror: Whole):
    """A steered page is an event, durable before the answer (P6): it goes the long way each time, and its count is exact."""
    mirror.rules("version: 1\nrules:\n  - {id: old, when: {artifact: ['pkg:pypi/acme-lib@1.0']}, effect: deny}\n")
    for _ in range(4):
        with Talk(mirror.port) as talk:
            assert b"yanked" in talk.ask(head(PAGE, more=JSON)).body
    assert not repeated(mirror, head(PAGE, more=JSON))


def test_nothing_is_given_that_cannot_be_counted(mirror: Whole, monkeypatch: pytest.MonkeyPatch):
    """With the ledger down the next answer is 503, as the long way says it."""

    def down(*_: object, **__: object) -> None:
        raise LedgerDown("the disk is gone")

    warmed(mirror, head(FILE))
    monkeypatch.setattr(mirror.services.ledger, "repeat", down)
    with Talk(mirror.port) as talk:
        assert talk.ask(head(FILE)).status == 503


# --- the connection ------------------------------------------------------------------------------------------------------


def test_requests_in_a_row_and_in_pieces_are_answered_in_order(mirror: Whole):
    """Two requests in one piece, and one request in as many pieces as bytes, get their answers in the order they were asked."""
    first, second = head(FILE), head("/acme/tiny-bert/resolve/main/vocab.txt")
    bodies = [warmed(mirror, asked).body for asked in (first, second)]
    assert bodies[0] != bodies[1]
    with Talk(mirror.port) as talk:
        talk.socket.sendall(second + first + second)
        assert [talk.answer().body for _ in range(3)] == [bodies[1], bodies[0], bodies[1]]
        talk.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in first:
            talk.socket.sendall(bytes([byte]))
        assert talk.answer().body == bodies[0]
    with Talk(mirror.port) as talk:
        talk.ask(first)
        talk.socket.sendall(first[:40])
        before = mirror.parsed
        while mirror.do(asyncio.sleep(0)) or mirror.parsed != before:
            pass
        talk.socket.sendall(first[40:] + first)
        assert [talk.answer().body for _ in range(2)] == [bodies[0]] * 2


def test_a_reader_who_takes_nothing_is_not_written_to(mirror: Whole, monkeypatch: pytest.MonkeyPatch):
    """Once bytes wait for a reader the next answer is not piled on them the quick way; in the end the reader has all of them."""
    asked, quick, give = head(PAGE, more=JSON), 0, mirror.repeats.give

    def counted(one: Any) -> tuple[bytes, ...] | None:
        nonlocal quick
        quick += 1
        return give(one)

    want = warmed(mirror, asked).body
    monkeypatch.setattr(mirror.repeats, "give", counted)
    before, sent = mirror.parsed, 0
    with Talk(mirror.port) as talk:
        while mirror.parsed == before and sent < 5000:
            talk.socket.sendall(asked)
            sent += 1
            while quick + mirror.parsed - before < sent:
                mirror.do(asyncio.sleep(0))
        assert quick == sent - 1 > 10
        assert [talk.answer().body for _ in range(sent)] == [want] * sent


def test_no_answer_begins_once_the_server_shuts_down(upstreams: tuple[StandInHub, StandInIndex], tmp_path: Path):
    """From the moment when a connection is to end it gets nothing more, however warm, and the stop does not wait for it."""
    with whole(tmp_path / "m", *upstreams) as mirror, Talk(mirror.port) as talk:
        assert [talk.ask(head(FILE)).status for _ in range(4)] == [200] * 4
        used: list[bytes] = []
        mirror.repeats.give = lambda asked: used.append(asked)  # type: ignore[method-assign,assignment]

        async def ended() -> None:
            [connection] = mirror.services.runners[0].server.connections
            connection.close()  # as a drain begins; the request comes in the same turn of the loop
            connection.data_received(head(FILE))

        mirror.do(ended())
        mirror.do(mirror.services.runners[0].cleanup())
        with pytest.raises((EOFError, OSError)):
            talk.answer()
        assert not used


def test_what_comes_once_takes_no_room(mirror: Whole):
    """Heads that a proxy marks, each with an id of its own, are not kept: no request will ever have the same bytes."""
    for number in range(6):
        warmed(mirror, head(FILE, more=f"X-Marked: {number}\r\n"), 1)
    assert not mirror.repeats._kept


def test_the_memory_is_bounded():
    """However many and however long the heads, what is kept stays within its room, and the oldest goes first."""
    warm = Warm(None, 200, (), b"x" * 1000, 1, datetime.now(UTC), datetime.now(UTC) + timedelta(hours=1), lambda: True)
    repeats = Repeats(lambda *_: True, Identification((), (), None, bytes(32)), _Now(), bytes, lambda: None, room=50_000)
    answered = Metrics().answered("hub", "route", "GET", 200, "")
    response = web.Response(headers={"Date": "now", "X": "y", "X-Request-Id": "z"})
    response._keep_alive = True
    asked = [(b"%0900d" % number, ("127.0.0.1", 1)) for number in range(60)]
    for one in asked:
        repeats._keep(one, (warm, 0, None), b"x" * 1000, (RequestLine({}), answered, 1000), response)
        repeats.give(asked[0])
        assert repeats._used <= 50_000
    assert asked[0] in repeats._kept
    assert asked[-1] in repeats._kept
    assert asked[1] not in repeats._kept


class _Now:
    def now(self) -> datetime:
        return datetime.now(UTC)


def test_limited_clients_go_the_long_way(upstreams: tuple[StandInHub, StandInIndex], tmp_path: Path):
    """Where requests are counted against a limit each one is, and says how many are left."""
    limits = {"clients": {"limits": {"default": {"requests": 1000, "per": "24h"}}}}
    with whole(tmp_path / "m", *upstreams, **limits) as mirror, Talk(mirror.port) as talk:
        before = mirror.parsed
        left = [talk.ask(head(FILE)).field("ratelimit") for _ in range(6)]
        assert (mirror.parsed - before, len(set(left))) == (6, 6)


# --- the record ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_each_is_in_the_ledger_the_log_and_the_metrics(upstreams: tuple[StandInHub, StandInIndex], tmp_path: Path, workers: int):
    """After N answers over six connections: N in the ledger, N log lines with N ids, N in each metric; also after SIGTERM, and of several workers."""
    count, asked = 90, head(FILE)
    with running_mirror(tmp_path / "m", *upstreams, listen={"workers": workers}) as mirror:
        answers = []
        for _ in range(6):
            with Talk(mirror.port) as talk:
                answers += [talk.ask(asked) for _ in range(count // 6)]
        metrics = mirror.get("/-/metrics").body.decode()
        mirror.stop()
        events = mirror.events()
        lines = [json.loads(line) for line in mirror.log_lines() if '"event":"request"' in line]

    allowed = {event["decision"]["id"] for event in events if event["kind"] == "allowed"}
    again = sum(event["count"] for event in events if event["kind"] == "repeated" and event["subject"] in allowed)
    assert (again + len(allowed), len(allowed) <= workers) == (count, True)
    ids = {answer.field("x-request-id") for answer in answers}
    said = [line for line in lines if line["path"] == FILE]
    assert (len(ids), len(said), {line["id"] for line in said}) == (count, count, ids)
    [shape] = {tuple(line) for line in said}
    assert shape == ("timestamp", "level", "event", "id", "method", "path", "status", "ms", "sent", "hub", "route", "actor")
    assert sum(line["ms"] == 0.0 for line in said) > count // 2  # those that were not parsed
    labels = 'hub="huggingface",method="GET",route="resolve",status="200"'
    assert f"mirror_requests_total{{{labels}}} {count}.0" in metrics
    assert f'mirror_request_seconds_count{{hub="huggingface",route="resolve"}} {count}.0' in metrics
    assert f'mirror_sent_bytes_total{{hub="huggingface"}} {sum(line["sent"] for line in said)}.0' in metrics
    assert {line["sent"] for line in said[workers:]} == {len(answers[-1].body)}
    hits = sum("; hit" in answer.field("cache-status") for answer in answers)
    assert f'mirror_cache_total{{hub="huggingface",outcome="hit"}} {hits}.0' in metrics
    assert hits >= count - workers
    assert "mirror_requests_in_progress 1.0" in metrics  # the one for the metrics


# --- any requests, in any pieces --------------------------------------------------------------------------------------------

#: What may be asked, and whether an answer ends the connection.
CATALOGUE: tuple[bytes, ...] = (
    head(FILE), head(FILE, "HEAD"), head(PAGE, more=JSON), head(PAGE), head("/acme/tiny-bert/resolve/main/vocab.txt"),
    head(FILE, more="Range: bytes=1-3\r\n"), head("/acme/tiny-bert/resolve/main/nothing.txt"),
    head(FILE, more="Content-Length: 5\r\n") + b"hello",
    head(FILE, "POST", more="Content-Length: 9\r\n") + b"\r\n\r\nGET /",
    head(FILE, more="Transfer-Encoding: chunked\r\n") + b"4\r\n\r\n\r\n\r\n0\r\n\r\n",
    b"\r\n" + head(FILE), head(FILE, more="Connection: close\r\n"), head(FILE, version="1.0"), b"GET /acme HTTP/1.1\r\nbroken\r\n\r\n",
)  # fmt: skip


@pytest.fixture(scope="module")
def beside(running: Whole) -> Iterator[int]:
    """The port of the same mirror without the memory."""

    async def begin() -> web.ServerRunner:
        runner = web.ServerRunner(Server(running.services.front))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    runner = running.do(begin())
    for one in CATALOGUE:  # what is fetched for the first time says so
        conversation(running.port, [one], [])
    yield int(runner.addresses[0][1])
    running.do(runner.cleanup())


def conversation(port: int, asked: list[bytes], cuts: list[int]) -> list[tuple[Any, ...]]:
    """The answers to these requests, sent in pieces; each is waited for once all of it was sent."""
    answers: list[tuple[Any, ...]] = []
    stream, ends = b"".join(asked), []
    for one in asked:
        ends.append((ends[-1] if ends else 0) + len(one))
    with Talk(port) as talk:
        start = 0
        for stop in [*cuts, len(stream)]:
            with suppress(OSError):
                talk.socket.sendall(stream[start:stop])
            start = stop
            while len(answers) < sum(end <= stop for end in ends):
                method = asked[len(answers)].lstrip().split(b" ")[0]
                try:
                    answers.append(talk.answer(method).same)
                except (EOFError, OSError):
                    return [*answers, ("the end",)]
    return answers


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_requests_in_any_pieces_get_the_same_answers_as_without_the_memory(running: Whole, beside: int, data: st.DataObject):
    """Whatever is asked, however it is cut, after whatever was warm: what comes back is what comes back without the memory."""
    asked = data.draw(st.lists(st.sampled_from(CATALOGUE), min_size=1, max_size=6))
    whole_ones = data.draw(st.booleans())
    total = sum(map(len, asked))
    ends = [sum(map(len, asked[: number + 1])) for number in range(len(asked) - 1)]
    some = data.draw(st.lists(st.integers(1, total - 1), max_size=5))
    cuts = sorted({*some, *(ends if whole_ones else ())})
    for one in CATALOGUE[:3]:  # some of them warm, some in both memories
        warmed(running, one, 3)
    with_memory = conversation(running.port, asked, cuts)
    without = conversation(beside, asked, cuts)
    assert with_memory == without
