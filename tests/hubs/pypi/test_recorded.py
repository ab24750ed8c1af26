"""What the ledger holds after pages, refusals and writes, and indexes that are not PyPI."""

import contextlib
import hashlib
import http.server
import threading
from urllib.parse import quote

from mirror.hubs.pypi.anchors import decode_html

from .conftest import mirror_of

WHEEL = "acme_torch-2.0+cu118-cp311-cp311-linux_x86_64.whl"
BYTES = b"PK\x05\x06" + bytes(200_000)
RULE = {"id": "no-old", "when": {"artifact": ["pkg:pypi/acme-lib@1.1"]}, "effect": "deny"}


def test_pages_refusals_and_writes_are_on_the_record(index, tmp_path):
    """A steered page is one event and its repeats a count; a refused write and a refused route are one event each."""
    with mirror_of(index, tmp_path, [RULE]) as mirror:
        for _ in range(3):
            mirror.page("acme-lib")
        mirror.page("acme-app")
        mirror.ask("/pypi/legacy/", "POST", b"x")
        mirror.ask("/pypi/nothing/of/ours")
        mirror.ask("/pypi/simple/acme-quarantined/")
    kinds = [(event["kind"], event.get("subject", "")) for event in mirror.events()]
    assert [kind for kind, _ in kinds].count("steered") == 1
    assert ("write_refused", "pypi: POST /legacy/") in kinds
    assert ("route_refused", "pypi: /nothing/of/ours") in kinds
    steered = next(event for event in mirror.events() if event["kind"] == "steered")
    assert steered["decision"]["artifact"] == "pkg:pypi/acme-lib"
    assert steered["detail"]["left_out"] == 2
    repeats = [event for event in mirror.events() if event["kind"] == "repeated" and event["subject"] == steered["decision"]["id"]]
    assert sum(event["count"] for event in repeats) == 2


class _WheelIndex(http.server.BaseHTTPRequestHandler):
    """An index as a file server makes them: HTML, relative links, `+` escaped, a redirect, nothing of the newer PEPs."""

    def do_GET(self):
        sha = hashlib.sha256(BYTES).hexdigest()
        name = quote(WHEEL, safe="")
        pages = {
            "/simple/acme-torch/": (301, b"", "text/html"),
            "/whl/acme-torch/": (200, f'<a href="../cu118/{name}#sha256={sha}">{WHEEL}</a><a href="javascript:x">y</a>'.encode(), "text/html"),
            f"/whl/cu118/{name}": (200, BYTES, "application/octet-stream"),
            "/simple/acme-odd/": (200, b"\x89PNG", "image/png"),
            "/simple/acme-bad/": (200, b'{"meta": {}, "name": "acme-bad", "files": []}', "application/vnd.pypi.simple.v1+json"),
            "/simple/acme-inward/": (200, b'<a href="http://169.254.169.254/acme_inward-1.0.tar.gz">x</a>', "text/html"),
        }
        status, body, kind = pages.get(self.path, (404, b"", "text/plain"))
        self.send_response(status)
        if status == 301:
            self.send_header("Location", "/whl/acme-torch/")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def wheel_index():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _WheelIndex)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_an_index_of_plain_html_is_served_in_both_forms(index, tmp_path):
    """Relative links are read against where the page was found; files get a stable path of ours and are checked by hash."""
    with wheel_index() as url, mirror_of(index, tmp_path, [], upstreams=[url], origins=[url]) as mirror:
        page = mirror.page("acme-torch")
        assert page["meta"]["api-version"] == "1.0"
        (file,) = page["files"]
        assert "/pypi/packages/-/" in file["url"]
        html = decode_html(mirror.ask("/pypi/simple/acme-torch/").body, mirror.index_url, "acme-torch", mirror.url)
        assert [one.url for one in html.files] == [file["url"]]
        assert mirror.ask(file["url"]).body == BYTES
        assert mirror.ask(file["url"].replace("+", "%2B"), Range="bytes=0-3").body == BYTES[:4]
        escaped = file["url"].replace("acme_torch", "other_name")
        assert mirror.ask(escaped).status == 404


def test_garbage_is_a_502_that_names_its_fault(index, tmp_path):
    """An upstream that makes no sense, and a link to an address that nobody configured, are problems with upstream and fault."""
    with wheel_index() as url, mirror_of(index, tmp_path, [], upstreams=[url], origins=[url]) as mirror:
        for project, fault in (("acme-odd", "image/png"), ("acme-bad", "api-version")):
            reply = mirror.ask(f"/pypi/simple/{project}/")
            assert reply.status == 502
            assert fault in reply.json["detail"]
            assert url in reply.json["detail"]
        (file,) = mirror.page("acme-inward")["files"]
        reply = mirror.ask(file["url"])
        assert reply.status == 502
        assert "169.254.169.254" in reply.json["detail"]
