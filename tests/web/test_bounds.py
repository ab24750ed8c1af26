"""Clients' patience, wherever upstream stops: the mirror answers while upstream still says nothing at all.

Time limits are scaled to a tenth, patience of the client in the test included (real ones: 10 s). Every stand-in here hangs
until the test is over, so whatever comes back came before upstream, and a bound that is missing ends in the client's timeout.
"""

from __future__ import annotations

import concurrent.futures
import http.client
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest

from tests.support.mirror import MirrorProcess, running_mirror
from tests.support.standin import StandInHub, StandInIndex, running_hub, running_index

TIMEOUTS = {"connect": "500ms", "read": "800ms", "patience": "900ms"}
#: For what has to be *had* within one patience: on a machine that is busy with other things a tenth is too little for that.
CALM = {"connect": "3s", "read": "3s", "patience": "4s"}
#: Seconds without a byte after which the client of this test leaves; a real one leaves after 10 where the mirror has 9.
LEAVES = 6.0
HEAD_GET = ("HEAD", "GET")

T, R = TypeVar("T"), TypeVar("R")


@dataclass(frozen=True)
class Upstreams:
    hub: StandInHub
    index: StandInIndex
    deaf: str


@dataclass(frozen=True)
class Told:
    """One answer: `status` 0 where none came, `whole` False where the body ended short of its announced length."""

    status: int
    body: bytes
    whole: bool
    headers: Any


def tell(mirror: MirrorProcess, method: str, target: str, **headers: str) -> Told:
    """What a client with `LEAVES` seconds of patience gets. Raises `TimeoutError` where it would have left."""
    parts = urlsplit(mirror.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=LEAVES)
    try:
        connection.request(method, target, headers=headers)
        answer = connection.getresponse()
        try:
            return Told(answer.status, answer.read(), True, answer.headers)
        except http.client.IncompleteRead as short:
            return Told(answer.status, short.partial, False, answer.headers)
    finally:
        connection.close()


def told_at_last(mirror: MirrorProcess, method: str, target: str, **headers: str) -> Told:
    """As `tell`, by a client that comes back when it is told to (503): a busy machine may want more than a tenth of the real patience.

    What hangs goes on hanging meanwhile, so coming back helps no answer that waits for it.
    """
    for _ in range(12):
        told = tell(mirror, method, target, **headers)
        if told.status != 503:
            break
    return told


def together(rows: Iterable[T], ask: Callable[[T], R]) -> dict[T, R]:
    """The answers to all rows, asked at the same time."""
    rows = list(rows)
    with concurrent.futures.ThreadPoolExecutor(len(rows)) as pool:
        return dict(zip(rows, pool.map(ask, rows), strict=True))


@pytest.fixture(scope="module")
def upstreams() -> Iterator[Upstreams]:
    """A hub, an index, and an address that never completes a connection: its queue is full."""
    with running_hub() as hub, running_index() as index, socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        address = deaf.getsockname()
        queue = [socket.socket() for _ in range(4)]
        for one in queue:
            one.setblocking(False)
            one.connect_ex(address)
        for name in ("first", "second", "third"):
            texts, weights = ({f"{number}.{end}": f"{name} {number}".encode() * 9000 for number in COLD_FILES.values()} for end in ("txt", "bin"))
            hub.add_repo("model", f"acme/{name}-hop", texts, weights)
        for number in COLD_FILES.values():
            index.add_release("acme-hops", number)
        yield Upstreams(hub, index, f"http://127.0.0.1:{address[1]}")
        for one in queue:
            one.close()


@pytest.fixture(scope="module")
def mirror(upstreams: Upstreams, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MirrorProcess]:
    """One mirror of the two, of hubs that cannot be connected to, of one whose first upstream cannot, and of one with more patience."""
    deaf, hub, index = upstreams.deaf, upstreams.hub, upstreams.index
    hubs: dict[str, Any] = {
        "deaf": {"dialect": "huggingface", "hosts": ["deaf.corp"], "upstreams": [deaf, deaf]},
        "half": {
            "dialect": "huggingface", "hosts": ["half.corp"], "upstreams": [deaf, hub.url], "origins": [hub.url, hub.cdn_url], "timeouts": CALM,
        },
        "calm": {
            "dialect": "huggingface", "hosts": ["calm.corp"], "upstreams": [hub.url], "origins": [hub.url, hub.cdn_url], "timeouts": CALM,
            "grants": {"online": "1ms"},
        },
        "deaf-index": {"dialect": "pypi", "mount": "/deaf", "upstreams": [deaf]},
        "huggingface": {"grants": {"online": "1ms"}}, "pypi": {},
    }  # fmt: skip
    for row in hubs.values():
        row.setdefault("timeouts", TIMEOUTS)
    with running_mirror(tmp_path_factory.mktemp("bounds"), hub, index, hubs=hubs) as running:
        yield running


DEAF = {
    ("deaf.corp", "/acme/tiny-bert/resolve/main/config.json"): 503, ("deaf.corp", "/api/models/acme/tiny-bert"): 503,
    ("deaf.corp", "/api/models?limit=1"): 503, ("half.corp", "/acme/tiny-bert/resolve/main/config.json"): 200,
    ("localhost", "/deaf/simple/acme-lib/"): 503, ("localhost", "/deaf/simple/"): 503,
}  # fmt: skip


def test_upstreams_that_cannot_be_connected_to(mirror: MirrorProcess) -> None:
    """All upstreams of a hub share one time limit: the last of them is reached, or 503 said, before the client leaves."""
    asked = {(method, *row): status for row, status in DEAF.items() for method in HEAD_GET}
    assert together(asked, lambda row: tell(mirror, row[0], row[2], Host=row[1]).status) == asked


HANGS: dict[str, dict[str, Any]] = {
    "before headers": {"kind": "hang_headers"},
    "in the headers": {"kind": "slow_headers", "seconds": 3600.0},
    "in the body": {"kind": "hang_body"},
}
#: (route, where it hangs as glob and origin, request line, what a client may be told while nothing is known of the answer)
COLD = {
    "hf page": ("/api/models/*", "hub", "/acme/{cold}/resolve/main/config.json"),
    "hf info": ("/api/models/*", "hub", "/api/models/acme/{cold}"),
    "hf listing": ("/api/models", "hub", "/api/models?limit=3&search={cold}"),
    "hf tree": ("/api/models/*/tree/*", "hub", "/api/models/acme/tiny-bert/tree/main?expand={cold}"),
    "pypi page": ("/simple/*", "index", "/pypi/simple/{cold}/"),
    "pypi legacy": ("/pypi/*", "index", "/pypi/pypi/{cold}/json"),
}


@pytest.mark.parametrize("method", HEAD_GET)
@pytest.mark.parametrize("where", HANGS)
def test_cold_pages_are_given_up_in_time(mirror: MirrorProcess, upstreams: Upstreams, where: str, method: str) -> None:
    """Whatever route waits for a page that never comes, and wherever it hangs, says 503 with a short Retry-After in time."""
    numbers = []
    for name, (glob, origin, _) in COLD.items():
        standin = upstreams.index if name.startswith("pypi") else upstreams.hub
        numbers.append((standin, standin.faults.add(path=glob, origin=origin, **HANGS[where])))
    try:
        targets = [row[2].format(cold=f"{re.sub('[^a-z]', '', where)}-{method.lower()}-{place}") for place, row in enumerate(COLD.values())]
        told = together(targets, lambda target: tell(mirror, method, target))
    finally:
        for standin, number in numbers:
            standin.faults.remove(number)
    assert {target: answer.status for target, answer in told.items()} == dict.fromkeys(targets, 503)
    assert all(1 <= int(answer.headers["Retry-After"]) <= 30 for answer in told.values())


#: Where a file's bytes are looked for: (origin, glob of what hangs, file). `{}` is another file for each way to hang: a flight outlives
#: its clients, and brings its file as soon as upstream speaks again.
HOPS = {
    "first hop": ("hub", "/acme/first-hop/resolve/*", "/acme/first-hop/resolve/main/{}.txt"),
    "second hop": ("hub", "/api/resolve-cache/models/acme/second-hop/*", "/acme/second-hop/resolve/main/{}.txt"),
    "cdn": ("cdn", "*", "/acme/third-hop/resolve/main/{}.bin"),
    "pypi file": ("files", "*", "/pypi/packages/py3/a/acme-hops/acme_hops-{}-py3-none-any.whl"),
}
#: What stands for `{}`.
COLD_FILES = {where: f"{number}.0" for number, where in enumerate(HANGS, start=1)}


@pytest.mark.parametrize("where", HANGS)
def test_a_cold_file_is_begun_or_refused_in_time(mirror: MirrorProcess, upstreams: Upstreams, where: str) -> None:
    """On every hop to the bytes: HEAD is answered from what pages say, GET begins and ends short (FIN), or is 503; nobody hangs.

    The pages are known before, and no file is: HEAD starts no transfer.
    """
    hub, index = upstreams.hub, upstreams.index
    targets = {name: target.format(COLD_FILES[where]) for name, (_, _, target) in HOPS.items()}
    known = together(targets, lambda name: told_at_last(mirror, "HEAD", targets[name]))
    assert {name: (told.status, told.headers["Cache-Status"]) for name, told in known.items()} == dict.fromkeys(HOPS, (200, "entrepot; fwd=miss"))
    numbers = []
    for name, (origin, glob, _) in HOPS.items():
        standin = index if name == "pypi file" else hub
        numbers.append((standin, standin.faults.add(path=glob, origin=origin, **HANGS[where])))
    ways: tuple[tuple[str, dict[str, str]], ...] = (("HEAD", {}), ("GET", {}), ("GET", {"Range": "bytes=1-"}))
    asked = [(name, method, tuple(headers.items())) for name in HOPS for method, headers in ways]

    def heard(name: str, method: str) -> bool:
        # The body of a redirect is nobody's business: it may hang as it likes.
        return method == "HEAD" or (name, where) == ("first hop", "in the body")

    try:
        told = together(
            asked, lambda row: (told_at_last if heard(row[0], row[1]) else tell)(mirror, row[1], targets[row[0]], **dict(row[2]))
        )
    finally:
        for standin, number in numbers:
            standin.faults.remove(number)
    for (name, method, ranged), answer in told.items():
        begun = 206 if ranged else 200
        may = ((begun, True),) if heard(name, method) else ((begun, False), (503, True))
        assert (answer.status, answer.whole) in may, (name, method, ranged)


def test_what_is_known_is_given_while_upstream_hangs(mirror: MirrorProcess, upstreams: Upstreams) -> None:
    """A repository whose page is fresh and whose rights are asked anew, and the file in the store, do not wait for a silent hub."""
    target = "/acme/new-name/resolve/main/config.json"
    whole = told_at_last(mirror, "GET", target, Host="calm.corp")
    number = upstreams.hub.faults.add("hang_headers")
    try:
        answers = [tell(mirror, method, target, Host="calm.corp") for method in ("HEAD", "GET")]
    finally:
        upstreams.hub.faults.remove(number)
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[1].body == whole.body


def test_a_stall_is_got_over_within_a_gap(mirror: MirrorProcess, upstreams: Upstreams) -> None:
    """A connection that stands still in the middle of a file is given up for another one while the reader still waits."""
    target = "/acme/reviews/resolve/main/extra/reviews.parquet"
    assert told_at_last(mirror, "HEAD", "/datasets" + target, Host="calm.corp").status == 200
    number = upstreams.hub.faults.add("hang_body", origin="cdn", at=20_000, times=1)
    try:
        got = tell(mirror, "GET", "/datasets" + target, Host="calm.corp")
    finally:
        upstreams.hub.faults.remove(number)
    repo = upstreams.hub.repo("acme/reviews", "datasets")
    assert (got.status, got.whole, got.body) == (200, True, repo.commits[repo.head].files["extra/reviews.parquet"].data)


def test_waits_do_not_add_up(mirror: MirrorProcess, upstreams: Upstreams) -> None:
    """A page that comes late, rights that come late and a file that does not come share one patience: each alone would pass."""
    adds = [
        upstreams.hub.faults.add("latency", "/api/models/hooli/*", seconds=0.6),
        upstreams.hub.faults.add("latency", "/*/resolve/*", methods=("HEAD",), seconds=0.6),
        upstreams.hub.faults.add("latency", "/*/resolve/*", methods=("GET",), seconds=3600.0),
    ]
    try:
        answers = [tell(mirror, method, "/hooli/solid-7b-merge/resolve/main/README.md") for method in HEAD_GET]
    finally:
        for number in adds:
            upstreams.hub.faults.remove(number)
    assert answers[0].status in (200, 503)
    assert (answers[1].status, answers[1].whole) in ((200, False), (503, True))


def test_the_deadline_is_of_the_whole_request(mirror: MirrorProcess) -> None:
    """What no limit of its own bounds - here a request body that never comes - ends with the request's patience, as 408."""
    with socket.create_connection(("127.0.0.1", mirror.port), timeout=LEAVES) as peer:
        peer.sendall(b"POST /api/models/acme/tiny-bert/paths-info/main HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n")
        assert peer.recv(4096).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("target", ["/hooli/solid-7b-merge/resolve/main/model.safetensors", "/pypi/packages/py3/a/acme-old-style/{}"])
def test_head_says_whether_the_bytes_are_here(mirror: MirrorProcess, upstreams: Upstreams, target: str) -> None:
    """HEAD of a file that was never fetched is a miss, and a hit once it was (RFC 9211)."""
    index = upstreams.index.project("acme-old-style")
    target = target.format(index.files[0].filename)
    before, got, after = (told_at_last(mirror, method, target) for method in ("HEAD", "GET", "HEAD"))
    assert [one.status for one in (before, got, after)] == [200] * 3
    assert [one.headers["Cache-Status"] for one in (before, after)] == ["entrepot; fwd=miss", "entrepot; hit"]
