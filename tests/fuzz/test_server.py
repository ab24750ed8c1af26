"""A whole mirror over real sockets, under requests that nobody should send and answers that nobody should give."""

from __future__ import annotations

import random
import socket
import time
from pathlib import Path

import pytest

from mirror.core.errors import HostNotAllowed, UpstreamError, UpstreamGarbage
from mirror.core.ports import Ask
from mirror.upstream.client import HttpUpstream, Limits
from tests.fuzz.babel import babel
from tests.fuzz.inert import header_faults, html_faults, leads_home, sealed
from tests.fuzz.requests import drawn, request
from tests.fuzz.siege import Answer, Field, ask, faults_of
from tests.support.mirror import MirrorProcess

SEED = 20261122
LFS_BATCH = b'{"operation":"download","objects":[{"oid":"' + b"f" * 64 + b'","size":5}],"ref":{"name":"\\ud800x"}}'


def posted(path: str, body: bytes) -> bytes:
    """A POST of JSON."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def test_no_request_and_no_upstream_makes_it_fail_or_talk_to_strangers(tmp_path):
    """Six hundred mutated requests and a babbling upstream end in right answers, a clean log, a sound ledger, and no other connection."""
    with Field(tmp_path, SEED) as siege:
        count, faults = siege.shoot(600, SEED)
        assert count == 600
        assert not faults, "\n".join(faults)
        assert not siege.aftermath()
        seen = {line.partition('"status":')[2][:3] for line in siege.mirror.log_lines() if '"status":' in line}
        assert {"200", "301", "400", "403", "404", "502"} <= seen  # the generator reaches what answers, not only what refuses


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /acme/x\x00y HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
        (posted("/acme/tiny-bert.git/info/lfs/objects/batch", LFS_BATCH), 200),
        (posted("/api/models/acme/tiny-bert/paths-info/main", b'{"paths": ["\\ud800x"]}'), 200),
        (posted("/api/models/acme/tiny-bert/paths-info/main", b"[" * 5000), 400),
        (b"GET /simple/acme-lib/?\x80 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 400),
    ],
)  # fmt: skip
def test_single_requests_that_were_found(raw, status, field):
    """Each of these once made, or could have made, an internal fault; now each has its own status."""
    answer = ask(field.mirror.port, raw)
    assert answer.status == status, answer
    assert not faults_of(raw, answer, "http://127.0.0.1", field.canary.address)


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    with Field(Path(tmp_path_factory.mktemp("field")), SEED) as siege:
        yield siege


@pytest.mark.parametrize("location", ["http://[::1", "http://[x]/", "//[", "http://a:b/", "http://a:99999999/", "\xff\xfe://", "http://\xe9\xff/", "http:///x", "javascript:1", "file:///etc/passwd"])
async def test_a_redirect_to_what_is_no_url_names_its_upstream(location):
    """A `Location` that cannot be read, or leads to no configured host, is the upstream's fault and says so."""

    def reply(line: str) -> bytes:
        return f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode("latin-1")

    with babel("", reply=reply) as server:
        upstream = HttpUpstream("liar", [server.url], [], limits=Limits(connect=1.0, backoff=0.01))
        try:
            with pytest.raises(UpstreamError) as raised:
                await upstream.ask(Ask("/x", follow=True))
        finally:
            await upstream.close()
        assert isinstance(raised.value, (UpstreamGarbage, HostNotAllowed))


def test_a_page_that_redirects_to_what_is_no_url_is_the_indexs_fault(tmp_path):
    """An index that redirects a page to no URL, or to a host without a name, is a 502 with a problem body."""
    with babel("", reply=lambda line: b"HTTP/1.1 301 Moved\r\nLocation: http://[::1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") as server:
        mirror = MirrorProcess(tmp_path / "mirror", {"hubs": {"pypi": {"upstreams": [server.url], "origins": [server.url]}}}).start()
        try:
            answer = mirror.get("/pypi/simple/acme-tools/")
        finally:
            mirror.stop()
    assert answer.status == 502
    assert answer.json()["detail"].endswith("redirects to what is no URL")


def test_our_own_pages_are_inert_whatever_a_rule_or_a_name_says(field):
    """The landing page, and the page of a decision on a hostile name under a rule of hostile texts, run nothing and link nowhere."""
    own = f"http://127.0.0.1:{field.mirror.port}"
    refused = field.mirror.get("/acme/odd-names/resolve/main/%3Cscript%3Ealert(1)%3C%2Fscript%3E%22%27%E2%80%AE.bin")
    assert refused.status == 403, refused
    assert not header_faults(refused.headers.items())
    page = field.mirror.get(f"/-/blocked/{refused.headers['X-Mirror-Decision']}", headers={"Accept": "text/html"})
    landing = field.mirror.get("/")
    for shown in (page, landing):
        assert shown.status == 200
        assert not [fault for fault in html_faults(shown.body, own) if fault not in ("element <style>",)]
        assert not sealed(shown.headers)
        assert "script-src" not in shown.headers["Content-Security-Policy"]
    assert b"&lt;script&gt;alert(1)" in page.body


def test_the_watch_sees_a_connection_to_a_stranger(field):
    """What the siege would report: a hit of the canary, and an address that nobody configured."""
    with socket.create_connection((field.canary.address.split(":")[0], int(field.canary.address.split(":")[1]))) as line:
        line.sendall(b"GET /x HTTP/1.1\r\n\r\n")
    with field.connections.open("a", encoding="utf-8") as noted:
        noted.write("169.254.169.254:80\n")
    deadline = time.monotonic() + 30  # the canary answers from a thread of its own
    while not field.canary.hits and time.monotonic() < deadline:
        time.sleep(0.01)
    said = "\n".join(field.aftermath())
    assert "a connection to 169.254.169.254:80" in said
    assert "the canary was asked" in said


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500, "", [("Content-Type", "application/problem+json")], b'{"status": 500}'),
        Answer(503, "", [("Content-Type", "text/plain")], b"sorry"),
        Answer(503, "", [("Content-Type", "application/problem+json")], b'{"status": 503, "detail": "an internal fault, recorded as 01X"}'),
        Answer(200, "", [("Content-Type", "text/html")], b"<p>no policy</p>"),
        Answer(307, "", [("Location", "http://evil.example/x")]),
        Answer(200, "", [("Link", '<http://127.0.0.9:1/x>; rel="next"')]),
        Answer(),
    ],
)  # fmt: skip
def test_the_check_of_answers_can_fail(answer):
    """Each kind of wrong answer is called wrong."""
    assert faults_of(b"GET / HTTP/1.1", answer, "http://127.0.0.1", "127.0.0.9:1")


@pytest.mark.parametrize(
    "page",
    [
        b"<script>1</script>", b"<base href=/>", b"<a href='javascript:1'>x</a>", b"<a href='//evil.example'>x</a>", b"<a onclick=1>x</a>", b"<img src=/x>",
        b"<meta http-equiv=refresh content=1>", b"<a href='http://evil.example/'>x</a>", b"<a href='/\\evil'>x</a>", b"<!-- x -->", b"<form action=/>", b"<svg onload=1>",
    ],
)  # fmt: skip
def test_the_check_of_pages_can_fail(page):
    """Each kind of active markup is called active; a link home is not."""
    assert html_faults(page, "http://mirror.example")
    assert leads_home("/x", "http://mirror.example")
    assert leads_home("http://mirror.example/x", "http://mirror.example")


def test_the_generator_draws_what_the_routes_match():
    """Before its tricks are put in, a drawn path is one of its route's; and the same seed gives the same requests."""
    from tests.fuzz.paths import HUB_ROUTES, INDEX_ROUTES

    rng = random.Random(SEED)
    matched = [bool(row.pattern.fullmatch(drawn(row.pattern, rng))) for row in (*HUB_ROUTES, *INDEX_ROUTES) for _ in range(20)]
    assert sum(matched) > 0.9 * len(matched)
    one, two = random.Random(SEED), random.Random(SEED)
    assert [request(one, "h", "c") for _ in range(50)] == [request(two, "h", "c") for _ in range(50)]
