"""Every fault does on the wire what its description says, to the requests it names and to no others."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import time
from urllib.parse import urlsplit

import pytest

from tests.support.standin import Fault, StandInHub, StandInIndex, populate
from tests.support.standin.faults import KINDS

from .conftest import Fetch


@pytest.fixture
def url(hub: StandInHub) -> str:
    """A raw pointer-free file of the hub: 200, ranged, with an ETag."""
    return f"{hub.url}/acme/tiny-bert/raw/main/vocab.txt"


@pytest.fixture
def data(hub: StandInHub) -> bytes:
    repo = hub.repo("acme/tiny-bert")
    return repo.commits[repo.head].files["vocab.txt"].data


def read_raw(url: str, timeout: float = 5) -> bytes:
    """All bytes that the server sends for a GET, until it closes; ConnectionResetError for an RST."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=timeout) as peer:
        peer.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        got = b""
        while piece := peer.recv(65536):
            got += piece
        return got


def test_drop_with_fin_keeps_the_length(hub: StandInHub, url: str, data: bytes) -> None:
    """drop_fin announces the whole length, sends `at` bytes and closes cleanly."""
    hub.faults.add("drop_fin", at=100)
    head, _, body = read_raw(url).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(data)}".encode() in head
    assert body == data[:100]


def test_drop_with_rst_is_a_reset(hub: StandInHub, url: str) -> None:
    """drop_rst ends the connection with RST."""
    hub.faults.add("drop_rst", at=100)
    with pytest.raises(ConnectionResetError):
        read_raw(url)


@pytest.mark.parametrize(("reset", "error"), [(False, http.client.RemoteDisconnected), (True, ConnectionResetError)])
def test_drop_before_headers(hub: StandInHub, url: str, fetch: Fetch, reset: bool, error: type) -> None:
    """drop_before_headers says nothing at all, with FIN or RST."""
    hub.faults.add("drop_before_headers", reset=reset)
    with pytest.raises(error):
        fetch(url)


@pytest.mark.parametrize("kind", ["hang_headers", "hang_body"])
def test_hangs_last(hub: StandInHub, url: str, fetch: Fetch, kind: str) -> None:
    """A hang outlives the client's patience, before the headers or in the body, and other paths stay quick."""
    hub.faults.add(kind, "*/vocab.txt", at=10)
    with pytest.raises(TimeoutError):
        fetch(url, timeout=0.3)
    assert fetch(url.replace("vocab.txt", "config.json"))[0] == 200


def test_flip_changes_one_bit_of_the_whole_representation(hub: StandInHub, url: str, data: bytes, fetch: Fetch) -> None:
    """A flip changes byte `at` for whole and ranged reads alike, and neither length nor ETag."""
    clean = fetch(url)
    hub.faults.add("flip", at=50)
    status, headers, body = fetch(url)
    assert (status, len(body), headers["ETag"]) == (200, len(data), clean[1]["ETag"])
    assert [i for i in range(len(data)) if data[i] != body[i]] == [50]
    assert fetch(url, headers={"Range": "bytes=50-50"})[2] == body[50:51]
    assert fetch(url, headers={"Range": "bytes=0-9"})[2] == data[:10]


def test_short_and_long_bodies_agree_with_their_length(hub: StandInHub, url: str, data: bytes, fetch: Fetch) -> None:
    """The kinds short and long are complete HTTP answers of the wrong size."""
    hub.faults.add("short", at=20, times=1)
    assert fetch(url)[2] == data[:20]
    hub.faults.add("long", extra=3)
    assert fetch(url)[2] == data + b"\0\0\0"


def test_a_burst_is_counted(hub: StandInHub, url: str, fetch: Fetch) -> None:
    """`skip` lets the first calls pass, `times` hits the next ones, then all is well again."""
    number = hub.faults.add("status", "*/vocab.txt", status=502, skip=1, times=2, headers={"Retry-After": "1"})
    assert [fetch(url)[0] for _ in range(4)] == [200, 502, 502, 200]
    assert hub.faults.hits(number) == 4
    assert [call.status for call in hub.requests] == [200, 502, 502, 200]


@pytest.mark.parametrize(("shown", "expected"), [(True, '"resolvers";r=0;t=55'), (False, '"resolvers"')])
def test_rate_limit(hub: StandInHub, url: str, fetch: Fetch, shown: bool, expected: str) -> None:
    """429 comes with RateLimit r=0 when wanted, else with nothing to wait for."""
    hub.faults.add("rate_limited", seconds=55, rate_limit_header=shown)
    status, headers, _ = fetch(url)
    assert status == 429
    assert headers["Retry-After"] is None
    if shown:
        assert headers["RateLimit"] == expected
    else:
        assert headers["RateLimit"] is None


def test_redirect_to_anywhere(hub: StandInHub, url: str, fetch: Fetch) -> None:
    """A redirect sends the client to an address of the test's choosing."""
    hub.faults.add("redirect", location="http://169.254.169.254/latest", status=302)
    assert fetch(url)[1]["Location"] == "http://169.254.169.254/latest"


def test_range_faults(hub: StandInHub, url: str, data: bytes, fetch: Fetch) -> None:
    """ignore_range answers 200 and everything; wrong_range lies in Content-Range."""
    part = {"Range": "bytes=10-19"}
    hub.faults.add("ignore_range", times=1)
    assert fetch(url, headers=part)[::2] == (200, data)
    hub.faults.add("wrong_range", extra=5)
    status, headers, body = fetch(url, headers=part)
    assert (status, headers["Content-Range"], body) == (206, f"bytes 15-24/{len(data)}", data[10:20])


def test_garbage(hub: StandInHub, url: str, fetch: Fetch) -> None:
    """Bytes that are no HTTP, no JSON, JSON of another shape, and gzip that nobody asked for."""
    hub.faults.add("garbage_http", times=1)
    with pytest.raises(http.client.BadStatusLine):
        fetch(url)
    hub.faults.add("garbage_json", times=1)
    with pytest.raises(ValueError, match="decode|utf-8|Expecting"):
        json.loads(fetch(f"{hub.url}/api/models/acme/tiny-bert")[2])
    hub.faults.add("wrong_json", times=1)
    assert json.loads(fetch(f"{hub.url}/api/models/acme/tiny-bert")[2]) == ["surprise", 1]
    hub.faults.add("gzip", times=1)
    status, headers, body = fetch(url, headers={"Accept-Encoding": "identity"})
    assert (status, headers["Content-Encoding"], body[:2]) == (200, "gzip", b"\x1f\x8b")


def test_slow_kinds_take_their_time(hub: StandInHub, url: str, data: bytes, fetch: Fetch) -> None:
    """slow_headers, latency and throttle deliver the right answer, and no sooner than they say."""
    for options in ({"kind": "slow_headers", "seconds": 0.3}, {"kind": "latency", "seconds": 0.3}):
        hub.faults.put(Fault(**options, times=1))
        began = time.monotonic()
        assert fetch(url)[2] == data
        assert time.monotonic() - began >= 0.3
    hub.faults.add("throttle", rate=len(data) * 3)
    began = time.monotonic()
    assert fetch(url)[2] == data
    assert time.monotonic() - began >= 0.25


def test_headers_can_be_changed(hub: StandInHub, url: str, fetch: Fetch) -> None:
    """The kind headers adds, replaces and removes."""
    hub.faults.add("headers", headers={"ETag": "", "X-Extra": "1"})
    headers = fetch(url)[1]
    assert (headers["ETag"], headers["X-Extra"]) == (None, "1")


def test_faults_choose_their_origin_and_method(index: StandInIndex, fetch: Fetch) -> None:
    """A fault on the file host leaves the index alone, and one for HEAD leaves GET alone."""
    index.faults.add("status", origin="files", methods=("HEAD",))
    file = index.shelf.projects["acme-lib"].files[0]
    assert fetch(f"{index.simple_url}acme-lib/", "HEAD")[0] == 200
    assert fetch(index.files_url + file.path, "HEAD")[0] == 503
    assert fetch(index.files_url + file.path)[0] == 200


def test_unknown_faults_are_errors() -> None:
    """A misspelt kind or key is refused by name instead of doing nothing."""
    with pytest.raises(ValueError, match="no fault is called 'dorp'"):
        Fault("dorp")
    with pytest.raises(ValueError, match="unknown keys"):
        Fault.from_json({"kind": "flip", "offset": 1})
    assert all(KINDS.values())


async def test_an_outage_ends_on_the_same_ports() -> None:
    """Stopping refuses connections and ends hangs; starting again listens at the same addresses."""
    async with populate(StandInHub()) as hub:
        address = urlsplit(hub.url)
        hub.faults.add("hang_headers")
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await writer.drain()
        before = hub.urls()
        await hub.stop()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(address.hostname, address.port)
        assert await reader.read() == b""
        writer.close()
        await hub.start()
        assert hub.urls() == before
        _, again = await asyncio.open_connection(address.hostname, address.port)
        again.close()


def test_an_outage_from_another_thread(hub: StandInHub, fetch: Fetch) -> None:
    """go_down and come_back do the same for a stand-in that runs in a thread."""
    hub.go_down()
    try:
        with pytest.raises(ConnectionRefusedError):
            fetch(hub.url)
    finally:
        hub.come_back()
    assert fetch(f"{hub.url}/api/models/tinybert")[0] == 200
