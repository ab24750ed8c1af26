"""The way out: what is sent, what comes back, and what every kind of trouble is called."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from datetime import UTC, datetime

import pytest
import zstandard

from mirror.core.actor import Credential
from mirror.core.errors import HostNotAllowed, UpstreamDown, UpstreamGarbage
from mirror.core.ports import Ask
from mirror.upstream.client import Limits
from mirror.upstream.faults import retry_after

from .conftest import http, serve

ALICE = Credential("Bearer hf_alice", "fp")


async def test_the_target_arrives_byte_for_byte(upstream) -> None:
    """Percent-encoding, `%2F`, `%23`, `%25` and the order of the query are not touched."""
    target = "/acme/x/resolve/refs%2Fpr%2F1/a%20b%23c%25d%2Be.bin?expand=b&expand=a&q=%3F%2f"
    async with serve(lambda seen: http(200)) as hub:
        await upstream(hub.url).ask(Ask(target))
        assert hub.seen[0].target == target


async def test_only_what_the_ask_says_is_sent(upstream) -> None:
    """No cookie, no Authorization and no header of our own making beyond three; the download counter goes along."""
    async with serve(lambda seen: http(200, Set_Cookie="a=b; Path=/")) as hub:
        client = upstream(hub.url, token="org")
        await client.ask(Ask("/a"))
        await client.ask(Ask("/a", headers={"X-HF-Download-Counter": "1", "Authorization": "Bearer smuggled", "Cookie": "c=d"}))
        assert set(hub.seen[1].headers) == {"Host", "Accept", "User-Agent", "Accept-Encoding", "X-HF-Download-Counter"}


async def test_head_asks_for_identity(upstream) -> None:
    """HEAD never lets upstream describe a coded variant, whose length and tag would be wrong."""
    async with serve(lambda seen: http(200, Content_Length="12345", ETag='"x"')) as hub:
        answer = await upstream(hub.url).ask(Ask("/a", "HEAD"))
        assert hub.seen[0].headers["Accept-Encoding"] == "identity"
        assert answer.header("content-length") == "12345"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("gzip", lambda data: gzip.compress(data)),
        ("gzip", lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:])),
        ("deflate", lambda data: zlib.compress(data)),
        ("deflate", lambda data: zlib.compress(data)[2:-4]),
        ("zstd", lambda data: zstandard.compress(data)),
        ("gzip, zstd", lambda data: zstandard.compress(gzip.compress(data))),
    ],
)
async def test_content_codings_are_removed(upstream, name: str, code) -> None:
    """Content in gzip (several members too), both kinds of deflate, zstd and their stacking come out as the plain page."""
    page = b'{"id": "acme/x"}' * 5000
    async with serve(lambda seen: http(200, code(page), Content_Encoding=name)) as hub:
        answer = await upstream(hub.url).ask(Ask("/a"))
        assert answer.body == page
        assert answer.header("content-encoding") is None
        assert answer.header("content-length") is None


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("gzip", gzip.compress(b"\0" * 50_000_000)),
        ("deflate", zlib.compress(b"\0" * 50_000_000)),
        ("zstd", zstandard.compress(b"\0" * 50_000_000)),
        ("gzip, gzip", gzip.compress(gzip.compress(b"\0" * 50_000_000))),
        ("gzip", gzip.compress(b"x" * 5000, mtime=0)[:-20]),
        ("gzip", b"not gzip at all"),
        ("br", b"\x0b\x02\x80abc\x03"),
        ("gzip, gzip, gzip, gzip", b"x"),
    ],
)
async def test_bombs_and_broken_codings_are_garbage(upstream, name: str, body: bytes) -> None:
    """A body that grows beyond the bound, ends early, lies about its coding or uses one we did not offer is garbage."""
    async with serve(lambda seen: http(200, body, Content_Encoding=name)) as hub:
        with pytest.raises(UpstreamGarbage) as caught:
            await upstream(hub.url).ask(Ask("/a", max_bytes=1_000_000))
        assert caught.value.upstream == hub.url


async def test_a_large_body_is_garbage(upstream) -> None:
    """More than `max_bytes` where a small answer was due is refused."""
    async with serve(lambda seen: http(200, b"x" * 5000)) as hub:
        with pytest.raises(UpstreamGarbage, match="more than 1000 bytes"):
            await upstream(hub.url).ask(Ask("/a", max_bytes=1000))


async def test_client_errors_are_answers(upstream) -> None:
    """401, 403 and 404 come back with their headers, once."""
    for status in (401, 403, 404, 416):
        async with serve(lambda seen, s=status: http(s, b"no", X_Error_Code="GatedRepo")) as hub:
            answer = await upstream(hub.url).ask(Ask("/a"))
            assert (answer.status, answer.header("x-error-code"), len(hub.seen)) == (status, "GatedRepo", 1)


async def test_transient_failures_are_tried_again(upstream) -> None:
    """502, 503, 504 and a dropped connection are tried again for GET; the third answer is used."""
    replies = [http(503), None, http(200, b"here")]
    async with serve(lambda seen: replies.pop(0)) as hub:
        assert (await upstream(hub.url).ask(Ask("/a"))).body == b"here"


async def test_a_post_is_not_repeated(upstream) -> None:
    """A request that is not idempotent is sent once."""
    async with serve(lambda seen: http(503)) as hub:
        with pytest.raises(UpstreamDown):
            await upstream(hub.url).ask(Ask("/a", "POST", body=b"x"))
        assert len(hub.seen) == 1


async def test_a_quota_is_down_with_its_wait(upstream) -> None:
    """429 is not asked again; the wait is taken from the RateLimit header."""
    async with serve(lambda seen: http(429, RateLimit='"api";r=0;t=55')) as hub:
        with pytest.raises(UpstreamDown) as caught:
            await upstream(hub.url).ask(Ask("/a"))
        assert (caught.value.retry_after, len(hub.seen)) == (55.0, 1)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"ratelimit": '"api";r=0;t=55'}, 55),
        ({"ratelimit": '"api";r=3;t=55', "retry-after": "7"}, 7),
        ({"ratelimit": '"api";r=0;t=55', "retry-after": "7"}, 55),
        ({"retry-after": "Sun, 22 Nov 2026 00:01:00 GMT"}, 60),
        ({"retry-after": "999999999"}, 3600),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_how_long_to_stay_away(headers: dict[str, str], seconds: float | None) -> None:
    """RateLimit with nothing left comes before Retry-After, which may be a number or a date; an hour at most."""
    assert retry_after(headers, datetime(2026, 11, 22, tzinfo=UTC)) == seconds


async def test_further_upstreams_are_asked_in_order(upstream) -> None:
    """A dead first upstream is replaced by the second, without the organisation's token."""
    async with serve(lambda seen: http(500)) as first, serve(lambda seen: http(200, b"two")) as second:
        answer = await upstream(first.url, second.url, token="org").ask(Ask("/a", use_service_token=True))
        assert (answer.body, answer.upstream) == (b"two", second.url)
        assert first.seen[0].headers["Authorization"] == "Bearer org"
        assert "Authorization" not in second.seen[0].headers


@pytest.mark.parametrize("options", [{"credential": ALICE}, {"first_only": True}])
async def test_credentials_and_gated_content_go_to_the_first_only(upstream, options) -> None:
    """An ask in a caller's name, or for the first only, fails rather than ask a replica (P5)."""
    async with serve(lambda seen: http(503)) as first, serve(lambda seen: http(200)) as second:
        with pytest.raises(UpstreamDown):
            await upstream(first.url, second.url).ask(Ask("/a", **options))
        assert second.seen == []


async def test_a_credential_never_leaves_the_first_origin(upstream) -> None:
    """After a redirect abroad, and back again, no request carries Authorization or the counter; same-origin hops do."""
    async with serve(lambda seen: http(200, b"bytes") if seen.target == "/end" else http(302, Location=f"{hub.url}/end")) as cdn:
        steps = {"/a": "/b", "/b": f"{cdn.url}/back"}
        answer = lambda seen: http(307, Location=steps[seen.target]) if seen.target in steps else http(200, b"end")
        async with serve(answer) as hub:
            client = upstream(hub.url, origins=(cdn.url,))
            headers = {"X-HF-Download-Counter": "1", "Range": "bytes=0-9"}
            assert (await client.ask(Ask("/a", credential=ALICE, follow=True, headers=headers))).body == b"end"
            assert [seen.headers.get("Authorization") for seen in hub.seen] == ["Bearer hf_alice", "Bearer hf_alice", None]
            assert "Authorization" not in cdn.seen[0].headers
            assert "X-HF-Download-Counter" not in cdn.seen[0].headers
            assert cdn.seen[0].headers["Range"] == "bytes=0-9"


async def test_an_absolute_target_abroad_gets_no_credential(upstream) -> None:
    """An absolute URL on a permitted origin is asked without any credential; one elsewhere not at all."""
    async with serve(lambda seen: http(200)) as hub, serve(lambda seen: http(200)) as cdn, serve(lambda seen: http(200)) as other:
        client = upstream(hub.url, origins=(cdn.url,), token="org")
        await client.ask(Ask(f"{cdn.url}/x", credential=ALICE))
        assert "Authorization" not in cdn.seen[0].headers
        with pytest.raises(HostNotAllowed):
            await client.ask(Ask(f"{other.url}/x", credential=ALICE))
        assert other.seen == []


async def test_redirects_are_not_followed_unasked(upstream) -> None:
    """Without `follow` a 302 is the answer, its headers with it; with it, ten hops are the end."""
    async with serve(lambda seen: http(302, Location="/a", X_Linked_ETag='"e"')) as hub:
        client = upstream(hub.url)
        answer = await client.ask(Ask("/a", "HEAD"))
        assert (answer.status, answer.header("x-linked-etag")) == (302, '"e"')
        with pytest.raises(UpstreamGarbage, match="more than 10 times"):
            await client.ask(Ask("/a", follow=True))


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01 no HTTP\x00\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n",
    ],
)
async def test_what_is_not_http(upstream, raw: bytes) -> None:
    """Malformed HTTP names the upstream and the fault and is no traceback; a broken-off body is an outage."""
    async with serve(lambda seen: raw + b"" if b"200" not in raw else raw + b"Connection: close") as hub:
        with pytest.raises((UpstreamGarbage, UpstreamDown)) as caught:
            await upstream(hub.url).ask(Ask("/a", patience=1.0))
        assert caught.value.upstream == hub.url
        assert caught.value.fault


async def test_a_hanging_upstream_is_left_in_time(upstream) -> None:
    """No answer within the patience is an outage; a second upstream still gets its share of the time."""
    silent = asyncio.Event()

    async def hang() -> bytes:
        await silent.wait()
        return b""

    async with serve(lambda seen: hang()) as hub, serve(lambda seen: http(200, b"ok")) as second:
        with pytest.raises(UpstreamDown, match="in time"):
            await upstream(hub.url).ask(Ask("/a", patience=0.2))
        assert (await upstream(hub.url, second.url).ask(Ask("/a", patience=0.6))).body == b"ok"
        silent.set()


async def test_nobody_there(upstream) -> None:
    """A refused connection and an unknown name are outages that name the upstream."""
    client = upstream("http://127.0.0.1:1")
    with pytest.raises(UpstreamDown, match="127.0.0.1:1"):
        await client.ask(Ask("/a"))
    with pytest.raises(UpstreamDown, match="resolved"):
        await upstream("http://nowhere.example", names={}).ask(Ask("/a"))


# --- streams ------------------------------------------------------------------------------------------------------


async def read(client, ask: Ask) -> bytes:
    async with client.stream(ask) as stream:
        return b"".join([chunk async for chunk in stream.chunks()])


async def test_a_stream_is_asked_for_in_identity(upstream) -> None:
    """A stream's request says identity whatever the ask says, and its bytes come as they are."""
    data = bytes(range(256)) * 4000
    async with serve(lambda seen: http(200, data, ETag='"x"')) as hub:
        client = upstream(hub.url)
        assert await read(client, Ask("/f", headers={"Accept-Encoding": "gzip"})) == data
        assert hub.seen[0].headers["Accept-Encoding"] == "identity"


async def test_an_encoded_stream_is_garbage(upstream) -> None:
    """A server that compresses a file although only identity was accepted is not believed."""
    async with serve(lambda seen: http(200, gzip.compress(b"x"), Content_Encoding="gzip")) as hub:
        with pytest.raises(UpstreamGarbage, match="gzip"):
            await read(upstream(hub.url), Ask("/f"))


async def test_a_stream_that_is_cut_short(upstream) -> None:
    """Fewer bytes than announced end in `UpstreamDown`, after the bytes that came."""
    cut = http(200, b"x" * 1000, Content_Length="5000", Connection="close")
    async with serve(lambda seen: cut) as hub:
        got = b""
        with pytest.raises(UpstreamDown):
            async with upstream(hub.url).stream(Ask("/f")) as stream:
                async for chunk in stream.chunks():
                    got += chunk
        assert got == b"x" * 1000


async def test_a_stream_that_stalls(upstream) -> None:
    """No byte for the ask's patience ends the stream with `UpstreamDown`."""
    async with serve(lambda seen: http(200, b"x" * 10, Content_Length="5000")) as hub:
        with pytest.raises(UpstreamDown, match="in time"):
            await read(upstream(hub.url), Ask("/f", patience=0.2))


async def test_a_slow_stream_that_moves_is_not_cut(upstream) -> None:
    """The patience is between two reads, not for the whole."""
    async def talk(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.1)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await read(upstream(f"http://127.0.0.1:{port}"), Ask("/f", patience=0.4)) == b"x" * 8
    server.close()


async def test_downloads_leave_pages_a_connection(upstream) -> None:
    """With as many streams open as the pool holds, a small request is still answered at once."""
    held = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    async with serve(lambda seen: held if seen.target == "/file" else http(200, b"page")) as hub:
        client = upstream(hub.url, limits=Limits(connections=2, backoff=0.01))
        async with client.stream(Ask("/file")), client.stream(Ask("/file")):
            assert (await client.ask(Ask("/page", patience=2.0))).body == b"page"


async def test_streams_follow_to_the_cdn_without_the_token(upstream) -> None:
    """The bytes of a large file come from the CDN, which never sees the credential; its refusal is an answer."""
    async with serve(lambda seen: http(206, b"tail", Content_Range="bytes 6-9/10") if "ok" in seen.target else http(403)) as cdn:
        async with serve(lambda seen: http(302, Location=f"{cdn.url}{seen.target}?Signature=1")) as hub:
            client = upstream(hub.url, origins=(cdn.url,), limits=Limits(backoff=0.01))
            async with client.stream(Ask("/ok", credential=ALICE, follow=True, headers={"Range": "bytes=6-9"})) as stream:
                assert (stream.status, stream.header("content-range")) == (206, "bytes 6-9/10")
            async with client.stream(Ask("/expired", credential=ALICE, follow=True)) as stream:
                assert stream.status == 403
            assert all("Authorization" not in seen.headers for seen in cdn.seen)


async def test_a_stream_fails_over_before_its_headers(upstream) -> None:
    """A stream's first upstream that answers 503 is replaced by the second."""
    async with serve(lambda seen: http(503)) as first, serve(lambda seen: http(200, b"two")) as second:
        assert await read(upstream(first.url, second.url), Ask("/f")) == b"two"
