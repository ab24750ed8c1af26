"""Bad input, from clients, upstreams and operators, gets one clear error and leaves nothing behind (P9, P10)."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.probe import Attacker, shout, status_of
from tests.support import preloaded
from tests.support.mirror import MirrorProcess, clean_environment, upstream_config
from tests.support.standin import StandInHub, StandInIndex, populate, populate_index, running

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

FILE = "/acme/tiny-bert/resolve/main/config.json"
POLICY = "version: 1\nrules:\n  - {id: no-pickle, when: {file: ['*.bin']}, effect: deny}\n"


@pytest.fixture(scope="module")
def hub() -> Iterator[StandInHub]:
    with running(populate(StandInHub())) as started:
        yield started


@pytest.fixture(scope="module")
def index() -> Iterator[StandInIndex]:
    with running(populate_index(StandInIndex())) as started:
        yield started


@pytest.fixture(scope="module")
def mirror(hub: StandInHub, index: StandInIndex, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MirrorProcess]:
    made = MirrorProcess(tmp_path_factory.mktemp("bad") / "m", upstream_config(hub, index), POLICY).start()
    assert made.get(FILE).status == 200
    yield made
    assert made.stop() == 0
    log = made.log.read_text(encoding="utf-8")
    assert "Traceback" not in log
    assert '"bug' not in log


def whole(line: str = f"GET {FILE} HTTP/1.1", *headers: str, body: bytes = b"", host: str = "Host: localhost") -> bytes:
    rows = [line, *([host] if host else []), *headers, "Connection: close"]
    return "\r\n".join(rows).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


PATHS_INFO = "POST /api/models/acme/tiny-bert/paths-info/main HTTP/1.1"
JSON = "Content-Type: application/json"
CLIENT_HELLO = bytes.fromhex("16030100a5010000a10303") + bytes(160)

#: What no client sends: {name: bytes}. The answer is a 4xx, or the connection is closed without one.
HOSTILE: dict[str, bytes] = {
    "a header of 1 MB": whole(f"GET {FILE} HTTP/1.1", "X-Long: " + "a" * 1_000_000),
    "a header name of 1 MB": whole(f"GET {FILE} HTTP/1.1", "X" * 1_000_000 + ": a"),
    "an unfinished header of 1 MB": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 1_000_000,
    "20,000 headers": whole(f"GET {FILE} HTTP/1.1", *(f"X-{i}: {'v' * 200}" for i in range(20_000))),
    "a target of 1 MB": whole("GET /" + "a" * 1_000_000 + " HTTP/1.1"),
    "a target of 9 kB": whole("GET /" + "a/" * 4600 + " HTTP/1.1"),
    "a query of 12 kB": whole(f"GET {FILE}?" + "a" * 12_000 + " HTTP/1.1"),
    "an unknown method": whole(f"FROB {FILE} HTTP/1.1"),
    "a method of 100 kB": whole("G" * 100_000 + f" {FILE} HTTP/1.1"),
    "a method in small letters": whole(f"get {FILE} HTTP/1.1"),
    "CONNECT": whole("CONNECT pypi.org:443 HTTP/1.1", host="Host: pypi.org:443"),
    "CONNECT to ourselves": whole("CONNECT localhost:80 HTTP/1.1"),
    "TRACE": whole(f"TRACE {FILE} HTTP/1.1", "Cookie: token=x"),
    "PROPFIND": whole("PROPFIND / HTTP/1.1"),
    "no version": b"GET /\r\n\r\n",
    "a version of the future": whole(f"GET {FILE} HTTP/9.9"),
    "a version that is none": whole(f"GET {FILE} HTTPS/1.1"),
    "zeros": bytes(4096),
    "random bytes": bytes((i * 7919) % 256 for i in range(8192)),
    "a TLS hello": CLIENT_HELLO,
    "an HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "an SSH banner": b"SSH-2.0-OpenSSH_9.9\r\n",
    "a zero in the path": b"GET /acme/tiny-bert/resolve/main/a\x00b HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a zero in a header": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
    "an escaped zero": whole("GET /acme/tiny-bert/resolve/main/a%00b HTTP/1.1"),
    "a raw space in the path": whole("GET /acme/tiny bert/resolve/main/a HTTP/1.1"),
    "raw UTF-8 in the path": whole("GET /acme/tiny-bért/resolve/main/a HTTP/1.1"),
    "raw bytes that are no UTF-8": b"GET /acme/\xff\xfe/resolve/main/a HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a broken escape": whole("GET /acme/tiny-bert/resolve/main/a%zz HTTP/1.1"),
    "half an escape": whole("GET /acme/tiny-bert/resolve/main/a% HTTP/1.1"),
    "escapes that are no UTF-8": whole("GET /acme/tiny-bert/resolve/main/%ff%fe HTTP/1.1"),
    "a lone surrogate, escaped": whole("GET /acme/tiny-bert/resolve/main/%ed%a0%80 HTTP/1.1"),
    "an overlong slash": whole("GET /acme/tiny-bert/resolve/main/..%c0%afx HTTP/1.1"),
    "dot segments": whole("GET /acme/tiny-bert/resolve/main/../../../../../../etc/passwd HTTP/1.1"),
    "escaped dot segments": whole("GET /acme/tiny-bert/resolve/main/%2e%2e%2f%2e%2e%2fetc%2fpasswd HTTP/1.1"),
    "backslashes": whole("GET /acme/tiny-bert/resolve/main/..\\..\\x HTTP/1.1"),
    "a path that is none": whole("GET acme HTTP/1.1"),
    "a carriage return in a header": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\rSet-Cookie: b\r\n\r\n",
    "a header without colon": whole(f"GET {FILE} HTTP/1.1", "this is no header"),
    "a space before the colon": whole(f"GET {FILE} HTTP/1.1", "X-A : b"),
    "a header of nothing": whole(f"GET {FILE} HTTP/1.1", ": b"),
    "a control character in a name": whole(f"GET {FILE} HTTP/1.1", "X\x01Y: b"),
    "a length that is none": whole(PATHS_INFO, JSON, "Content-Length: abc", body=b"{}"),
    "a negative length": whole(PATHS_INFO, JSON, "Content-Length: -1", body=b"{}"),
    "a length with a sign": whole(PATHS_INFO, JSON, "Content-Length: +2", body=b"{}"),
    "a length of 40 digits": whole(PATHS_INFO, JSON, "Content-Length: " + "9" * 40, body=b"{}"),
    "two lengths": whole(PATHS_INFO, JSON, "Content-Length: 2", "Content-Length: 3", body=b"{} "),
    "length and chunks": whole(PATHS_INFO, JSON, "Content-Length: 2", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "a body that is longer than 4 MiB": whole(PATHS_INFO, JSON, f"Content-Length: {5 * 1024 * 1024}", body=b" " * (5 * 1024 * 1024)),
    "a body shorter than its length": whole(PATHS_INFO, JSON, "Content-Length: 100", body=b"{}"),
    "a chunk size that is none": whole(PATHS_INFO, JSON, "Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n0\r\n\r\n"),
    "a negative chunk size": whole(PATHS_INFO, JSON, "Transfer-Encoding: chunked", body=b"-2\r\n{}\r\n0\r\n\r\n"),
    "a chunk size of 40 digits": whole(PATHS_INFO, JSON, "Transfer-Encoding: chunked", body=b"F" * 40 + b"\r\n{}\r\n0\r\n\r\n"),
    "a chunk without its end": whole(PATHS_INFO, JSON, "Transfer-Encoding: chunked", body=b"2\r\n{}XX0\r\n\r\n"),
    "a chunk extension of 1 MB": whole(PATHS_INFO, JSON, "Transfer-Encoding: chunked", body=b"2;" + b"a" * 1_000_000 + b"\r\n{}\r\n0\r\n\r\n"),
    "trailers of 1 MB": whole(PATHS_INFO, JSON, "Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n"),
    "a transfer coding that is none": whole(PATHS_INFO, JSON, "Transfer-Encoding: cow", body=b"{}"),
    "chunked, twice": whole(PATHS_INFO, JSON, "Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
    "JSON that is none": whole(PATHS_INFO, JSON, "Content-Length: 5", body=b"{nope"),
    "JSON 100,000 levels deep": whole(PATHS_INFO, JSON, "Content-Length: 100000", body=b"[" * 100_000),
    "JSON of another shape": whole(PATHS_INFO, JSON, "Content-Length: 13", body=b'{"paths": 17}'),
    "a number of 5,000 digits": whole(PATHS_INFO, JSON, "Content-Length: 5011", body=b'{"paths": ' + b"9" * 5000 + b"}"),
    "a form that is no UTF-8": whole(PATHS_INFO, "Content-Type: application/x-www-form-urlencoded", "Content-Length: 10", body=b"paths=\xff\xfe\xfd\xfc"),
    "a form of 200,000 fields": whole(PATHS_INFO, "Content-Type: application/x-www-form-urlencoded", f"Content-Length: {400_000 - 1}", body=b"&".join([b"a"] * 200_000)),
    "gzip that is none": whole(PATHS_INFO, JSON, "Content-Encoding: gzip", "Content-Length: 4", body=b"nope"),
    "an expectation nobody has": whole(PATHS_INFO, JSON, "Expect: the-unexpected", "Content-Length: 2", body=b"{}"),
    "a range of a million parts": whole("GET /acme/tiny-bert/resolve/main/missing.bin HTTP/1.1", "Range: bytes=" + ",".join(["0-0"] * 2000)),
}

#: Of these, what HTTP lets a server pass over (RFC 9112 7.1.1, RFC 9110 10.1.1).
HARMLESS = {"a chunk extension of 1 MB", "an expectation nobody has"}

#: Hosts that are not ours: 421, or 400 where HTTP itself forbids them.
HOSTS = ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "169.254.169.254", "0x7f000001", "2130706433", "user@localhost", "localhost@evil.example", "[::1", "[fe80::1%25eth0]", "", "evil.example:80:80", "10.0.0.1", "huggingface.co", '"localhost"', "localhost/evil", "localhost:80/evil", "localhost:x", 'localhost:80"')  # fmt: skip


def test_hostile_requests(mirror: MirrorProcess) -> None:
    """Whatever is no request is answered 4xx or cut, without a word about our insides; the process stays as small as it was."""
    before = resident(mirror.pid)
    wrong = []
    with ThreadPoolExecutor(8) as pool:
        answers = dict(zip(HOSTILE, pool.map(lambda data: shout(mirror.port, data), HOSTILE.values()), strict=True))
    for name, answer in answers.items():
        status = status_of(answer)
        if not (status == 0 and not answer.strip() or 400 <= status < 500 or (status == 200 and name in HARMLESS)):
            wrong.append(f"{name}: {answer[:160]!r}")
        if any(word in answer.lower() for word in (b"traceback", b"aiohttp", b'file "', b"python/")):
            wrong.append(f"{name} tells about our insides: {answer[:400]!r}")
    assert not wrong, "\n".join(wrong)
    assert len([answer for answer in answers.values() if status_of(answer)]) > len(HOSTILE) // 2, "too few were told what is wrong"
    assert mirror.get(FILE).status == 200
    assert resident(mirror.pid) - before < 120 * 1024 * 1024
    assert not left_in_spool(mirror)


def test_a_bomb_in_a_request(mirror: MirrorProcess) -> None:
    """A body of a megabyte that decompresses to a gigabyte costs neither the memory nor the process."""
    before = resident(mirror.pid)
    packed = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packed.compress(bytes(1024 * 1024)) for _ in range(1024)) + packed.flush()
    for coding in ("gzip", "deflate"):
        answer = shout(mirror.port, whole(PATHS_INFO, JSON, f"Content-Encoding: {coding}", f"Content-Length: {len(bomb)}", body=bomb))
        assert status_of(answer) == 0 or 400 <= status_of(answer) < 500, answer[:200]
    assert resident(mirror.pid) - before < 150 * 1024 * 1024
    assert mirror.get(FILE).status == 200


def test_hosts_that_are_not_ours(mirror: MirrorProcess) -> None:
    """A Host header that names somebody else is answered 421 with a problem body (or 400), and links never carry it."""
    wrong = []
    for name in HOSTS:
        for target in (FILE, "/pypi/simple/acme-lib/", "/", "/-/metrics", "http://evil.example" + FILE):
            answer = shout(mirror.port, whole(f"GET {target} HTTP/1.1", host=f"Host: {name}"))
            if status_of(answer) not in (400, 421):
                wrong.append(f"Host: {name!r} {target}: {answer[:120]!r}")
    for answer in (shout(mirror.port, whole(host="")), shout(mirror.port, whole(f"GET {FILE} HTTP/1.1", "Host: evil.example"))):
        if status_of(answer) not in (400, 421):
            wrong.append(f"none, or two: {answer[:200]!r}")
    page = Attacker(mirror.url).get("/pypi/simple/acme-lib/", X_Forwarded_Host="evil.example", Forwarded="host=evil.example", X_Host="evil.example")
    if b"evil.example" in page.body:
        wrong.append("a forwarded host that nobody trusts is in the page")
    assert not wrong, "\n".join(wrong)
    assert b"Misdirected" in shout(mirror.port, whole(host="Host: evil.example"))


#: What is sent at once, and what follows byte by byte.
SLOW = {
    "nothing at all": b"",
    "half a request line": b"GET /acme",
    "a head that never ends": b"GET / HTTP/1.1\r\nHost: localhost\r\n",
    "a second head that never ends": whole().replace(b"Connection: close", b"X: y") + b"GET / HT",
    "a body that never comes": whole(PATHS_INFO, JSON, "Content-Length: 100").replace(b"Connection: close", b"X: y"),
    "a body of which a chunk never comes": whole(PATHS_INFO, JSON, "Transfer-Encoding: chunked", body=b"5\r\n{").replace(b"Connection: close", b"X: y"),
}


def test_slow_requests_are_given_up(mirror: MirrorProcess) -> None:
    """A request that drips is closed by the mirror, whatever part of it is slow, while others are served."""
    ended: dict[str, bytes] = {}
    threads = [threading.Thread(target=_drip, args=(mirror.port, name, start, ended), daemon=True) for name, start in SLOW.items()]
    for thread in threads:
        thread.start()
    assert mirror.get(FILE).status == 200
    for thread in threads:
        thread.join(120)
    assert set(ended) == set(SLOW), f"never given up: {set(SLOW) - set(ended)}"
    assert {status_of(answer) for name, answer in ended.items() if "second" not in name} <= {0, 408, 400}, ended


def _drip(port: int, name: str, start: bytes, ended: dict[str, bytes]) -> None:
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=1.0) as line:
        with contextlib.suppress(OSError):
            line.sendall(start)
            while True:
                with contextlib.suppress(TimeoutError):
                    chunk = line.recv(65536)
                    received += chunk
                    if not chunk:
                        break
                if start and "never comes" not in name:
                    line.sendall(b"x")
    ended[name] = received


# --- upstreams ----------------------------------------------------------------------------------------------------------


def fresh(hub: StandInHub, name: str) -> str:
    """A repository that nobody has asked for yet, so that no cache helps."""
    files = {"config.json": b'{"name": "' + name.encode() + b'"}', "README.md": b"# x\n"}
    hub.add_repo("model", name, files, {"model.safetensors": name.encode() * 20_000})
    return name


#: Faults of the hub's page on a repository.
PAGE_FAULTS: dict[str, dict[str, Any]] = {
    "garbage_http": {}, "garbage_json": {}, "wrong_json": {}, "drop_before_headers": {}, "status 500": {"kind": "status", "status": 500},
    "status 502": {"kind": "status", "status": 502}, "status 503": {"kind": "status", "status": 503}, "rate_limited": {"seconds": 1},
    "redirect": {"location": "http://127.0.0.1:1/x"}, "redirect to metadata": {"kind": "redirect", "location": "http://169.254.169.254/latest"},
    "redirect abroad": {"kind": "redirect", "location": "http://evil.example/x"}, "redirect to a file": {"kind": "redirect", "location": "file:///etc/passwd"},
    "redirect to itself": {"kind": "redirect", "location": "/api/models/{repo}"}, "drop_fin": {"at": 20}, "short": {"at": 40},
    "bad gzip": {"kind": "headers", "headers": {"Content-Encoding": "gzip"}}, "unknown coding": {"kind": "headers", "headers": {"Content-Encoding": "cow"}},
}  # fmt: skip
#: Faults of the answer that should bring a file's bytes.
BYTE_FAULTS: dict[str, dict[str, Any]] = {
    "flip": {"at": 5000}, "short": {"at": 1000}, "long": {"extra": 50}, "gzip": {}, "drop_fin": {"at": 3000}, "drop_rst": {"at": 3000},
    "wrong_range": {}, "garbage_http": {}, "garbage_json": {}, "status 500": {"kind": "status", "status": 500},
    "status 403": {"kind": "status", "status": 403}, "status 404": {"kind": "status", "status": 404},
    "redirect": {"location": "http://127.0.0.1:1/x"}, "redirect abroad": {"kind": "redirect", "location": "http://evil.example/x"},
    "redirect to metadata": {"kind": "redirect", "location": "http://169.254.169.254/latest"},
}  # fmt: skip


def put(faults: Any, name: str, options: dict[str, Any], **where: Any) -> int:
    rest = dict(options)
    return int(faults.add(rest.pop("kind", name), **{**rest, **where}))


def whole_answer(mirror: MirrorProcess, target: str, **headers: str) -> tuple[int, bytes, str] | None:
    """(status, body, type), or None where the answer was cut short of its length."""
    line = http.client.HTTPConnection("127.0.0.1", mirror.port, timeout=90)
    try:
        line.request("GET", target, headers=headers)
        answer = line.getresponse()
        return answer.status, answer.read(), answer.headers.get("Content-Type") or ""
    except (http.client.HTTPException, OSError):
        return None
    finally:
        line.close()


def names_the_fault(got: tuple[int, bytes, str] | None, *upstreams: str) -> bool:
    """A problem body with 502, 503 or 504 that names who did not answer rightly."""
    if got is None or got[0] not in (502, 503, 504) or got[2] != "application/problem+json":
        return False
    detail = str(json.loads(got[1]).get("detail", ""))
    return any(upstream.split("//")[-1] in detail for upstream in upstreams)


def test_garbage_about_repositories(mirror: MirrorProcess, hub: StandInHub) -> None:
    """A hub whose page is garbage is named in a 502 or 503, and nothing of it is kept: the next answer is right."""
    wrong = []
    for number, (name, options) in enumerate(PAGE_FAULTS.items()):
        repo = fresh(hub, f"acme/page-{number}")
        where = {"location": options["location"].replace("{repo}", repo)} if "location" in options else {}
        put(hub.faults, name, {**options, **where}, path=f"/api/models/{repo}*", origin="hub")
        for target in (f"/{repo}/resolve/main/config.json", f"/api/models/{repo}"):
            got = whole_answer(mirror, target)
            if not names_the_fault(got, hub.url, "evil.example", "169.254.169.254", "127.0.0.1:1", "file:"):
                wrong.append(f"{name} {target}: {got}")
        hub.faults.clear()
        deadline = time.monotonic() + 15
        got = whole_answer(mirror, f"/{repo}/resolve/main/config.json")
        while got is not None and got[0] in (502, 503) and time.monotonic() < deadline:
            time.sleep(0.3)  # an upstream that asked for a pause gets it
            got = whole_answer(mirror, f"/{repo}/resolve/main/config.json")
        if got is None or got[0] != 200 or repo.encode() not in got[1]:
            wrong.append(f"after {name}: {got}")
    assert not wrong, "\n".join(wrong)


def test_garbage_for_bytes(mirror: MirrorProcess, hub: StandInHub) -> None:
    """Bytes that are wrong, short, long, coded, elsewhere or absent are never completed to a client and never stored."""
    with ThreadPoolExecutor(len(BYTE_FAULTS)) as pool:
        wrong = [line for lines in pool.map(lambda row: _bad_bytes(mirror, hub, *row), BYTE_FAULTS.items()) for line in lines]
    assert not wrong, "\n".join(wrong)
    assert not left_in_spool(mirror)
    assert not hub.requests.where(origin="cas")


def _bad_bytes(mirror: MirrorProcess, hub: StandInHub, name: str, options: dict[str, Any]) -> list[str]:
    """What goes wrong with one fault, and after it."""
    wrong = []
    repo = fresh(hub, "acme/bytes-" + name.replace(" ", "-").replace("_", "-"))
    right = hub.repo(repo).commits[hub.repo(repo).head].files["model.safetensors"].data
    target = f"/{repo}/resolve/main/model.safetensors"
    fault = put(hub.faults, name, options, origin="cdn", path=f"/xet-bridge-us/{hub.repo(repo).hub_id}/*")
    for headers in ({}, {"Range": "bytes=1000-"}):
        got = whole_answer(mirror, target, **headers)
        fine = got is None or names_the_fault(got, hub.url, hub.cdn_url, "evil.example", "169.254.169.254", "127.0.0.1:1") or (got[0] == 502 and b"declared" in got[1])
        served = got is not None and (got[0], got[1]) in ((200, right), (206, right[1000:]))
        if not (fine or served):
            wrong.append(f"{name} {headers}: {got and (got[0], got[1][:300], len(got[1]), got[2])}")
    assert hub.faults.hits(fault), f"{name} never struck"
    hub.faults.remove(fault)
    deadline, got = time.monotonic() + 30, None
    while (got is None or got[0] != 200) and time.monotonic() < deadline:
        got = whole_answer(mirror, target)
    return wrong if got is not None and got[1] == right else [*wrong, f"after {name}: {got and (got[0], got[1][:200])}"]


INDEX_FAULTS: dict[str, dict[str, Any]] = {
    "garbage_http": {}, "garbage_json": {}, "wrong_json": {}, "status 500": {"kind": "status", "status": 500}, "drop_before_headers": {},
    "redirect abroad": {"kind": "redirect", "location": "http://evil.example/x"}, "redirect": {"location": "http://127.0.0.1:1/x"},
    "another type": {"kind": "headers", "headers": {"Content-Type": "image/png"}}, "bad gzip": {"kind": "headers", "headers": {"Content-Encoding": "gzip"}},
}  # fmt: skip


def test_garbage_from_an_index(mirror: MirrorProcess, index: StandInIndex) -> None:
    """An index whose page is garbage is named in a 502 or 503, never taken for "no such project", and nothing of it is kept."""
    with ThreadPoolExecutor(len(INDEX_FAULTS)) as pool:
        wrong = [line for lines in pool.map(lambda row: _bad_page(mirror, index, *row), INDEX_FAULTS.items()) for line in lines]
    path = index.project("acme-bad-wrong-json").files[0].path
    for fault, more in (("flip", {"at": 50}), ("short", {"at": 50}), ("long", {}), ("gzip", {})):
        number = put(index.faults, fault, more, origin="files", path=path)
        got = whole_answer(mirror, f"/pypi{path}")
        if got is not None and got[0] < 500:
            wrong.append(f"{fault}: {got[0]}")
        index.faults.remove(number)
    assert not wrong, "\n".join(wrong)


def _bad_page(mirror: MirrorProcess, index: StandInIndex, name: str, options: dict[str, Any]) -> list[str]:
    """What goes wrong with one fault, and after it."""
    wrong = []
    project = "acme-bad-" + name.replace(" ", "-").replace("_", "-")
    index.add_release(project, "1.0")
    fault = put(index.faults, name, options, path=f"/simple/{project}*")
    for target in (f"/pypi/simple/{project}/", f"/pypi/pypi/{project}/json"):
        got = whole_answer(mirror, target)
        if not names_the_fault(got, index.url, "evil.example", "127.0.0.1:1"):
            wrong.append(f"{name} {target}: {got}")
    index.faults.remove(fault)
    deadline, got = time.monotonic() + 30, None
    while (got is None or got[0] != 200) and time.monotonic() < deadline:
        got = whole_answer(mirror, f"/pypi/simple/{project}/")
        time.sleep(0.2)
    return wrong if got is not None and b"1.0" in got[1] else [*wrong, f"after {name}: {got}"]


def test_an_upstream_that_hangs(mirror: MirrorProcess, hub: StandInHub, index: StandInIndex) -> None:
    """An upstream that accepts and says nothing is given up and named, and holds up nobody else."""
    repo = fresh(hub, "acme/hanging")
    index.add_release("acme-hanging", "1.0")
    hub.faults.add("hang_headers", f"/api/models/{repo}*", seconds=60)
    index.faults.add("hang_headers", "/simple/acme-hanging*", seconds=60)
    got: dict[str, Any] = {}
    targets = {f"/{repo}/resolve/main/config.json": hub.url, "/pypi/simple/acme-hanging/": index.url}

    def ask(target: str) -> None:
        got[target] = whole_answer(mirror, target)

    threads = [threading.Thread(target=ask, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    assert mirror.get(FILE).status == 200
    for thread in threads:
        thread.join(90)
    hub.faults.clear()
    index.faults.clear()
    assert all(names_the_fault(got.get(target), url) for target, url in targets.items()), got


# --- operators ----------------------------------------------------------------------------------------------------------

BAD_CONFIG = """
data: data
nonsense: 1
listen: {port: seventy, hots: x}
store: {quota: many}
network: sometimes
network: online
hubs: {huggingface: {upstreams: ["ftp://x"], credentials: theirs, grants: {online: soon}}}
policy: {path: nowhere.yaml}
lists: {one: {loader: csv, source: not-there.csv}}
"""
BAD_POLICY = """
version: 1
rules:
  - {id: a, when: {origin: [XX]}, effect: deny}
  - {id: a, when: {orgin: [CN]}, effect: forbid}
  - {id: c, when: {artifact: [x]}, effect: deny, from: 2027-02-01, until: 2027-01-01}
"""
GOOD_CONFIG = "data: data\nlisten: {port: 0}\nstore: {min_free: 1MiB}\nledger: {reserve: 1MiB}\n"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return preloaded.run(arguments, cwd=folder, env=clean_environment())


@pytest.mark.parametrize("command", [["serve"], ["config", "check"]])
def test_a_bad_configuration_starts_nothing(tmp_path: Path, command: list[str]) -> None:
    """Every fault of a configuration is named at its place in one run, with exit code 2, and nothing appears on disk."""
    (tmp_path / "mirror.yaml").write_text(BAD_CONFIG.replace("network: sometimes\n", ""), encoding="utf-8")
    done = run(tmp_path, "-c", "mirror.yaml", *command)
    assert done.returncode == 2, done
    for place in ("nonsense", "listen.port", "listen.hots", "store.quota", "hubs.huggingface.upstreams", "hubs.huggingface.credentials", "hubs.huggingface.grants.online"):
        assert place in done.stderr, (place, done.stderr)
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mirror.yaml"]


@pytest.mark.parametrize(
    ("text", "word"),
    [(BAD_CONFIG, "network"), ("data: [unclosed", "mirror.yaml"), ("\x00\x01", "mirror.yaml"), ("- a list\n", "mirror.yaml"), ("data: data\npolicy: {path: nowhere.yaml}\n", "nowhere.yaml"), (GOOD_CONFIG + "lists: {one: {loader: csv, source: not-there.csv}}\n", "not-there.csv"), (GOOD_CONFIG + "clients: {groups: {a: {subnets: ['300.1.1.1/8'], country: XX}}}\n", "XX")],  # fmt: skip
)
def test_each_kind_of_bad_configuration(tmp_path: Path, text: str, word: str) -> None:
    """Duplicate keys, broken YAML, another shape and missing files: exit 2, the place is named, nothing is created."""
    (tmp_path / "mirror.yaml").write_text(text, encoding="utf-8")
    done = run(tmp_path, "-c", "mirror.yaml", "serve")
    assert done.returncode == 2, done
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mirror.yaml"]


def test_a_bad_policy_starts_nothing(tmp_path: Path) -> None:
    """`serve` and `policy check` name every fault of every rule with exit code 2; no data folder is made."""
    (tmp_path / "mirror.yaml").write_text(GOOD_CONFIG, encoding="utf-8")
    (tmp_path / "policy.yaml").write_text(BAD_POLICY, encoding="utf-8")
    for command in (["serve"], ["policy", "check"], ["policy", "check", "policy.yaml"]):
        done = run(tmp_path, "-c", "mirror.yaml", *command)
        said = done.stderr + done.stdout
        assert done.returncode == 2, (command, done)
        for place in ("rules[0].when.origin", "rules[1]", "orgin", "forbid", "rules[2]"):
            assert place in said, (command, place, said)
        assert "Traceback" not in said
    assert run(tmp_path, "-c", "no-such-file.yaml", "serve").returncode == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mirror.yaml", "policy.yaml"]


FAILING = POLICY + "tests:\n  - {name: never holds, given: {artifact: 'pkg:huggingface/acme/x#a.bin'}, expect: {effect: allow}}\n"


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda path: path.write_text(BAD_POLICY), id="bad rules"),
        pytest.param(lambda path: path.write_bytes(bytes(range(256))), id="no text"),
        pytest.param(lambda path: path.write_text("version: 1\nrules: [{"), id="no YAML"),
        pytest.param(lambda path: path.write_text(FAILING), id="a test that fails"),
        pytest.param(lambda path: path.unlink(), id="gone"),
        pytest.param(lambda path: path.write_text(""), id="empty"),
    ],
)
def test_a_bad_change_keeps_the_last_good_policy(mirror: MirrorProcess, spoil: Callable[[Path], object]) -> None:
    """A policy file that turns bad changes nothing that is enforced, and health, metrics and ledger say that it is bad."""
    refused = "/acme/tiny-bert/resolve/main/pytorch_model.bin"
    before = mirror.get("/-/health/ready").json()["policy"]
    spoil(mirror.policy_path)
    try:
        until(lambda: mirror.get("/-/health/ready").json()["policy"]["problems"] > 0)
        ready = mirror.get("/-/health/ready")
        assert ready.status == 200
        assert ready.json()["policy"]["digest"] == before["digest"]
        assert mirror.get(refused).status == 403
        assert mirror.get(FILE).status == 200
        problems = [line for line in mirror.get("/-/metrics").body.decode().splitlines() if "policy_problems" in line and not line.startswith("#")]
        assert problems
        assert float(problems[0].split()[-1]) > 0
    finally:
        mirror.policy_path.write_text(POLICY + f"# {time.time()}\n", encoding="utf-8")
        until(lambda: mirror.get("/-/health/ready").json()["policy"]["problems"] == 0)
    assert mirror.get(refused).status == 403

    def told() -> list[Any]:
        return [event["detail"] for event in mirror.events() if event["kind"] == "policy"][-2:]

    until(lambda: [change["outcome"] for change in told()] == ["rejected", "activated"])
    assert told()[0]["problems"]


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that happens on its own; a minute is never needed."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.1)


def resident(pid: int) -> int:
    """Resident memory of a process in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the process is gone")


def left_in_spool(mirror: MirrorProcess) -> list[Path]:
    """Files that a transfer left behind; those of transfers that are still ending get a moment."""
    spool = mirror.folder / "data" / "spool"
    for _ in range(100):
        left = [path for path in spool.rglob("*") if path.is_file()] if spool.exists() else []
        if not left:
            return []
        time.sleep(0.1)
    return left


