"""What goes over the wire, byte for byte, to real clients on real sockets."""

from __future__ import annotations

import asyncio
import re
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp
import pytest
import uvloop
from aiohttp import web

from mirror.core.errors import IntegrityError, MirrorError, UpstreamDown
from mirror.core.ports import TAIL
from mirror.reply.body import respond
from tests.proxy.flight_fixture import MIB, noise, source_of, surroundings
from tests.support.liar import Lie

DATA = noise(3 * MIB + 77)
ETAG = '"0123456789abcdef"'
MODIFIED = datetime(2025, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_policy(request):
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()


@asynccontextmanager
async def serving(here, source, tls=None):
    """A server whose every path is the file of `source`; gives its URL and what ended short."""
    ended = []

    async def handle(request):
        answer = None
        try:
            body = await here.flights.join("k", "hub", source)
            answer = await respond(
                request,
                body,
                headers=[("Content-Type", "text/x-odd"), ("X-Repo-Commit", "c" * 40), ("Content-Length", "5")],
                etag=ETAG,
                last_modified=MODIFIED,
                send_body=request.method != "HEAD",
            )
            return answer
        except MirrorError as error:
            return web.Response(status=502, text=str(error))
        finally:
            ended.append(getattr(answer, "failure", None))

    runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}/f", ended
    finally:
        await runner.cleanup()


async def fetch(url, method="GET", **headers):
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, headers={k.replace("_", "-"): v for k, v in headers.items()}) as answer,
    ):
        return answer.status, answer.headers, await answer.read()


async def raw(url, request, pause=0.0):
    """The whole conversation on one connection, and whether it ended with FIN (True) or a reset (False)."""
    port = int(url.split(":")[2].split("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    got = bytearray()
    try:
        while piece := await reader.read(65536):
            got += piece
            await asyncio.sleep(pause)
        return bytes(got), True
    except ConnectionResetError:
        return bytes(got), False
    finally:
        writer.close()


async def test_whole_cold_and_warm(tmp_path):
    """A cold file, then the same warm: right bytes, headers of the hub verbatim, lengths our own."""
    async with surroundings(tmp_path, DATA) as here, serving(here, source_of(DATA)) as (url, ended):
        status, headers, body = await fetch(url)
        assert (status, body) == (200, DATA)
        assert (headers["ETag"], headers["Content-Length"]) == (ETAG, str(len(DATA)))
        assert (headers["X-Repo-Commit"], headers["Content-Type"]) == ("c" * 40, "text/x-odd")
        assert (headers["Accept-Ranges"], headers["Last-Modified"]) == ("bytes", "Sat, 01 Mar 2025 12:00:00 GMT")
        assert headers["Cache-Status"] == "entrepot; fwd=miss; stored"
        status, headers, body = await fetch(url)
        assert (status, body, headers["Cache-Status"]) == (200, DATA, "entrepot; hit")
        assert ended == [None, None]


async def test_head_has_the_length_and_no_body(tmp_path):
    """HEAD answers as GET would, without the bytes, and the connection stays usable."""
    async with surroundings(tmp_path, DATA) as here, serving(here, source_of(DATA)) as (url, _):
        async with aiohttp.ClientSession() as session:
            for _ in range(2):
                async with session.head(url) as answer:
                    assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(DATA)))
            async with session.get(url) as answer:
                assert await answer.read() == DATA


@pytest.mark.parametrize(
    ("value", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-", 100, len(DATA)),
        ("bytes=-5", len(DATA) - 5, len(DATA)),
        ("bytes=7-99999999", 7, len(DATA)),
    ],
)
async def test_single_range(tmp_path, value, start, stop):
    """One range, cold and warm: 206 with exactly those bytes and their place."""
    async with surroundings(tmp_path, DATA) as here, serving(here, source_of(DATA)) as (url, _):
        for _ in range(2):
            status, headers, body = await fetch(url, Range=value)
            assert (status, body == DATA[start:stop]) == (206, True)
            assert headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"
            assert headers["Content-Length"] == str(stop - start)


async def test_multiple_ranges(tmp_path):
    """Several ranges come as multipart/byteranges whose length was announced exactly."""
    async with surroundings(tmp_path, DATA) as here, serving(here, source_of(DATA)) as (url, _):
        status, headers, body = await fetch(url, Range="bytes=0-9,500-599,-3")
        assert (status, len(body)) == (206, int(headers["Content-Length"]))
        boundary = re.fullmatch(r"multipart/byteranges; boundary=(\w+)", headers["Content-Type"])[1].encode()
        parts = body.split(b"--" + boundary)
        assert (parts[0], parts[-1]) == (b"\r\n", b"--\r\n")
        found = [part.split(b"\r\n\r\n", 1) for part in parts[1:-1]]
        assert [data[:-2] for _, data in found] == [DATA[:10], DATA[500:600], DATA[-3:]]
        assert b"Content-Range: bytes 500-599/%d" % len(DATA) in found[1][0]


async def test_conditions(tmp_path):
    """304, 412 and 416 are ours, with the hub's ETag; an old If-Range gets the whole new file, never a splice."""
    async with surroundings(tmp_path, DATA) as here, serving(here, source_of(DATA)) as (url, _):
        status, headers, body = await fetch(url, If_None_Match=f'"other", W/{ETAG}')
        assert (status, body, headers["ETag"]) == (304, b"", ETAG)
        assert "Content-Type" not in headers
        assert (await fetch(url, If_Match='"other"'))[0] == 412
        status, headers, body = await fetch(url, Range=f"bytes={len(DATA)}-")
        assert (status, headers["Content-Range"], body) == (416, f"bytes */{len(DATA)}", b"")
        assert (await fetch(url, Range="bytes=5-9", If_Range='"old"'))[::2] == (200, DATA)
        assert (await fetch(url, Range="bytes=5-9", If_Range=ETAG))[::2] == (206, DATA[5:10])


async def test_keep_alive_between_kernel_and_framework(tmp_path):
    """Answers sent by the kernel, by the framework and empty ones follow one another on one connection, in order."""
    async with surroundings(tmp_path, DATA) as here, serving(here, source_of(DATA)) as (url, _):
        await fetch(url)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
            for value in ["bytes=0-", "bytes=1-2,9-10", "bytes=5-6", "bytes=99999999-", "bytes=0-"]:
                async with session.get(url, headers={"Range": value}) as answer:
                    body = await answer.read()
                    assert answer.status in (206, 416)
                    if value == "bytes=0-":
                        assert body == DATA


async def test_mismatch_ends_with_fin_short_of_the_length(tmp_path):
    """A wrong file ends short of its announced length by FIN, not by reset, and the end never left."""
    big = noise(8 * MIB)
    wrong = bytearray(big)
    wrong[6 * MIB] ^= 4
    async with surroundings(tmp_path, bytes(wrong)) as here, serving(here, source_of(big)) as (url, ended):
        here.liar.rate = 64 * MIB
        got, fin = await raw(url, b"GET /f HTTP/1.1\r\nHost: h\r\n\r\n")
        head, _, body = got.partition(b"\r\n\r\n")
        assert fin
        assert b"Content-Length: %d" % len(big) in head
        assert 0 < len(body) <= len(big) - TAIL
        assert isinstance(ended[0], IntegrityError)


async def test_resumption_of_wrong_bytes_is_answered_whole(tmp_path):
    """A client that was given wrong bytes and comes back for the rest gets 200 and the right file from its start."""
    big = noise(8 * MIB)
    wrong = bytearray(big)
    wrong[10] ^= 4
    async with surroundings(tmp_path, big) as here, serving(here, source_of(big)) as (url, _):
        here.liar.lies.append(Lie(data=bytes(wrong)))
        here.liar.rate = 64 * MIB
        got, _ = await raw(url, b"GET /f HTTP/1.1\r\nHost: h\r\n\r\n")
        have = len(got.partition(b"\r\n\r\n")[2])
        assert have
        status, _, body = await fetch(url, Range=f"bytes={have}-")
        assert (status, body == big) == (200, True)
        status, _, body = await fetch(url, Range="bytes=0-99")
        assert (status, body) == (206, big[:100])


async def test_upstream_gone_in_the_middle_of_chunks(tmp_path):
    """Without a length, a failed transfer never ends with the chunk that means all is well."""
    async with surroundings(tmp_path, DATA) as here, serving(here, source_of(DATA, size=None)) as (url, ended):
        here.liar.lies.append(Lie(chunked=True, cut=2 * MIB))
        here.liar.always = Lie(status=503)
        got, fin = await raw(url, b"GET /f HTTP/1.1\r\nHost: h\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in got
        assert fin
        assert not got.endswith(b"0\r\n\r\n")
        assert isinstance(ended[0], UpstreamDown)


async def test_errors_before_the_first_byte_are_honest(tmp_path):
    """An upstream that never answers right is an error status, not a broken 200."""
    async with surroundings(tmp_path, DATA) as here, serving(here, source_of(DATA)) as (url, _):
        here.liar.always = Lie(status=500)
        assert (await fetch(url))[0] == 502
        small = source_of(DATA[:1000])
        here.liar.always = Lie(data=b"x" * 1000)
        async with serving(here, small) as (other, _):
            assert (await fetch(other))[0] == 502


async def test_unknown_size_is_chunked(tmp_path):
    """A file of unknown length arrives whole by chunks, and the second time with its length."""
    async with surroundings(tmp_path, DATA) as here, serving(here, source_of(DATA, size=None)) as (url, _):
        here.liar.always = Lie(chunked=True)
        status, headers, body = await fetch(url)
        assert (status, body, headers.get("Transfer-Encoding")) == (200, DATA, "chunked")
        status, headers, body = await fetch(url)
        assert (status, body, headers["Content-Length"]) == (200, DATA, str(len(DATA)))


async def test_slow_and_vanishing_readers(tmp_path):
    """A slow client gets everything; one that leaves in the middle is no error and harms nobody."""
    async with surroundings(tmp_path, DATA) as here, serving(here, source_of(DATA)) as (url, ended):
        slow = asyncio.create_task(raw(url, b"GET /f HTTP/1.0\r\nHost: h\r\n\r\n", pause=0.002))
        port = int(url.split(":")[2].split("/")[0])
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /f HTTP/1.1\r\nHost: h\r\n\r\n")
            await reader.read(1000)
            writer.transport.abort()
        assert (await fetch(url))[2] == DATA
        got, fin = await slow
        assert (got.partition(b"\r\n\r\n")[2] == DATA, fin) == (True, True)
        assert ended == [None] * len(ended)


async def test_pass_through_on_a_full_disk(tmp_path):
    """With no room the client still gets the file, and a range into its end is answered whole."""
    async with surroundings(tmp_path, DATA, quota=1000) as here, serving(here, source_of(DATA)) as (url, _):
        status, headers, body = await fetch(url)
        assert (status, body, headers["Cache-Status"]) == (200, DATA, "entrepot; fwd=miss")
        assert (await fetch(url, Range="bytes=2000000-"))[::2] == (200, DATA)
        status, headers, body = await fetch(url, Range="bytes=100-199")
        assert (status, body, headers["Cache-Status"]) == (206, DATA[100:200], "entrepot; fwd=miss; unverified")


async def test_empty_file(tmp_path):
    """A file of no bytes is 200 with length 0, ranges or not."""
    async with surroundings(tmp_path, b"") as here, serving(here, source_of(b"")) as (url, _):
        for headers in ({}, {"Range": "bytes=0-"}):
            status, fields, body = await fetch(url, **headers)
            assert (status, fields["Content-Length"], body) == (200, "0", b"")


async def test_range_in_flight_is_marked_unverified(tmp_path):
    """A header read of a file still in the air comes at once and says that it is not verified."""
    async with surroundings(tmp_path, DATA, patience=30) as here, serving(here, source_of(DATA)) as (url, _):
        gate = asyncio.Event()
        here.liar.lies.append(Lie(gate=(MIB, gate)))
        status, headers, body = await fetch(url, Range="bytes=0-99")
        assert (status, body) == (206, DATA[:100])
        assert headers["Cache-Status"] == "entrepot; fwd=miss; stored; unverified"
        gate.set()


async def test_under_tls(tmp_path, certificate):
    """Under TLS, where the kernel cannot send files, the same bytes come in chunks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    async with surroundings(tmp_path, DATA) as here, serving(here, source_of(DATA), tls=context) as (url, _):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session:
            for _ in range(2):
                async with session.get(url) as answer:
                    assert await answer.read() == DATA
                async with session.get(url, headers={"Range": "bytes=5-1000000"}) as answer:
                    assert await answer.read() == DATA[5:1000001]


@pytest.fixture
def certificate(tmp_path):
    import datetime as dt

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(days=1))
    paths = tmp_path / "c.pem", tmp_path / "k.pem"
    paths[0].write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths
