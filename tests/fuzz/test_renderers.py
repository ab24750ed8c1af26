"""Upstream's texts on the way out: through the real render paths into pages and headers, and into a real browser."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
from dataclasses import dataclass
from html import escape
from typing import Any

import pytest

from mirror.hubs.pypi.anchors import read_html
from mirror.hubs.pypi.markup import pieces
from tests.fuzz import pages
from tests.fuzz.babel import COMMIT, HOSTILE, Canary, babel, page
from tests.fuzz.inert import header_faults, html_faults, leads_home, sealed
from tests.fuzz.pages import OWN, PAGE_URL, UPSTREAM
from tests.support.mirror import MirrorProcess

WHEEL = "acme_tools-1.0-py3-none-any.whl"


def test_hostile_pages_of_every_kind_are_rendered_inert():
    """Three hundred pages of an index and of a hub, with hostile texts anywhere, keep the promises of the page targets."""
    for seed in range(300):
        rng = random.Random(seed)
        pages.index_pages(json.dumps(page(rng, "/simple/acme-tools/", "127.0.0.9:1")).encode())
        for path in ("/api/models/acme/tiny-bert?blobs=true", "/api/models/acme/tiny-bert/tree/main", "/api/models"):
            pages.hub_pages(json.dumps(page(rng, path, "127.0.0.9:1")).encode())


@pytest.mark.parametrize("text", HOSTILE)
def test_each_hostile_text_in_each_place_of_a_page(text):
    """One hostile text in every place of both forms of a page at once: what is sent has it escaped, or has not got it."""
    file: dict[str, Any] = {
        "filename": WHEEL, "url": f"{UPSTREAM}/f/{WHEEL}", "hashes": {"sha256": text, text: "ab" * 8}, "yanked": text, "requires-python": text,
        "provenance": text, "upload-time": text, "core-metadata": {"sha256": text}, "gpg-sig": text, text: text,
    }  # fmt: skip
    others = [{**file, "filename": f"acme_tools-1.{n}-py3-none-any.whl", "url": url} for n, url in enumerate((text, f"{UPSTREAM}/{text}", f"https://{text}/x", text + WHEEL), 1)]
    told = {"meta": {"api-version": "1.4", "tracks": [text], text: text}, "name": "acme-tools", "files": [file, *others], "alternate-locations": [text],
            "project-status": {"status": text, "reason": text}, "versions": ["1.0", text], text: text}  # fmt: skip
    body = json.dumps(told).encode()
    pages.index_pages(body)
    pages.check_index_page(pages.decode_page(body, PAGE_URL, "acme-tools", UPSTREAM), len(body))
    quoted = escape(text.encode("utf-8", "replace").decode())
    raw = text.encode("utf-8", "replace").decode()
    meta = "".join(f'<meta name="{name}" content="{quoted}">' for name in ("pypi:tracks", "pypi:alternate-locations", "pypi:project-status", "pypi:project-status-reason"))
    html = f'{raw}<base href="{quoted}">{meta}<a href="f/{WHEEL}#sha256={quoted}" data-yanked="{quoted}" data-requires-python="{quoted}" data-provenance="{quoted}">{quoted}{raw}</a><a href="{quoted}">x</a>'
    pages.index_pages(html.encode())


@pytest.mark.parametrize("piece", ["<a ", "<a href='", "<a b=", "<!--", "</a ", '<a href="x">', "<a b ", "<![CDATA[", "<script>", "&#", "<", "<a b=c/d e"])
def test_markup_that_never_ends_is_read_once(piece):
    """A megabyte of one broken construct is read to its end; a reader that starts anew at each of them would take hours."""
    body = (piece * (1_000_000 // len(piece))).encode()
    assert len(read_html(body, UPSTREAM).anchors) <= 200_000


@pytest.mark.parametrize(
    ("html", "found"),
    [
        ("<A HREF='x' href=y b>T&lt;</A>", [("start", "a", {"href": "x", "b": None}), ("text", "T<", {}), ("end", "a", {})]),
        ("<!--><a href=1>--><!-- <a> --><a href=2>", [("start", "a", {"href": "1"}), ("text", "-->", {}), ("start", "a", {"href": "2"})]),
        ("<script><a href=1></scriptx></script ><br/>", [("start", "script", {}), ("end", "script", {}), ("start", "br", {})]),
        ("a < b<3 </> </ x><a href=x/><a href='never ends>", [("text", "a ", {}), ("text", "<", {}), ("text", " b", {}), ("text", "<", {}), ("text", "3 ", {}), ("text", " ", {}), ("start", "a", {"href": "x/"})]),
        ('<base\nhref = "&#x2f;&#47;evil" ><?php <a> ?><![x[<b>', [("start", "base", {"href": "//evil"}), ("text", " ?>", {})]),
    ],
)  # fmt: skip
def test_markup_is_read_as_browsers_read_it(html, found):
    """Case, quotes, doubled attributes, comments, raw text and what is cut off, as the HTML standard has them."""
    assert list(pieces(html)) == found


@dataclass
class Stage:
    """A mirror in front of an upstream that means harm, and the canary that its scripts would call."""

    mirror: MirrorProcess
    upstream: str
    canary: Canary


def _replier(canary: str):
    script = f"document.title='ran';fetch('http://{canary}/f');new Image().src='http://{canary}/i'"
    active = (
        f'<!DOCTYPE html><html><head><title>page</title><script src="http://{canary}/s.js"></script><script>{script}</script>'
        f'<meta http-equiv="refresh" content="60;url=http://{canary}/r"><link rel="stylesheet" href="http://{canary}/c.css"></head><body>'
    )
    inner = escape(f'"><script>{script}</script><img src=x onerror="{script}"><base href="http://{canary}/"></script>\r\nX-Injected: 1')
    anchors = f'<a href="/f/{WHEEL}" data-yanked="{inner}" data-requires-python="{inner}">{inner}</a><a href="javascript:{script}">{WHEEL}</a><img src="http://{canary}/p"><iframe srcdoc="{inner}"></iframe>'
    text = active.encode()
    oid = hashlib.sha1(b"blob %d\0" % len(text) + text, usedforsecurity=False).hexdigest()
    name = "<script>document.title=1<img src=x onerror=alert(1)>.html"
    about = {
        "_id": "6" * 24, "id": "acme/x", "sha": COMMIT, "private": False, "gated": False, "tags": [], "cardData": {"license": active},
        "siblings": [{"rfilename": file, "size": len(text), "blobId": oid} for file in ("index.html", name)],
    }  # fmt: skip

    def reply(line: str) -> bytes:
        path = line.split(" ")[1]
        status, kind, body = "200 OK", "text/html", text
        if path.startswith("/simple/"):
            body = (active + anchors).encode()
        elif path.startswith("/api/models/acme/gone"):
            status, kind, body = f"403 {active[:50]}", "application/json", json.dumps({"error": active}).encode()
        elif path.startswith("/api/"):
            kind, body = "application/json", json.dumps(about).encode()
        head = f'HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nETag: "{oid}"\r\nX-Repo-Commit: {COMMIT}\r\nConnection: close\r\n\r\n'
        return head.encode() + (b"" if line.startswith("HEAD") else body)

    return reply


POLICY = """
version: 1
rules:
  - {id: html, when: {file: ["*img*"]}, effect: deny, reason: "</pre><script>document.title='ran'</script>\\r\\nX-Injected: 1", basis: "javascript:alert(1)", suggest: ["acme/y"]}
  - {id: told, when: {artifact: ["pkg:huggingface/acme/*"]}, effect: warn, reason: "a\\r\\nX-Injected: 1"}
  - {id: old, when: {artifact: ["pkg:pypi/acme-tools"]}, effect: warn}
"""
DENIED = "/acme/x/resolve/main/%3Cscript%3Edocument.title%3D1%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E.html"


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    canary = Canary()
    with babel(canary.address, reply=_replier(canary.address)) as upstream:
        row = {"upstreams": [upstream.url], "origins": [upstream.url]}
        hubs = {"huggingface": row, "pypi": row}
        mirror = MirrorProcess(tmp_path_factory.mktemp("stage"), {"hubs": hubs, "policy": {"path": "policy.yaml", "contact": "javascript:alert(1)"}}, POLICY).start()
        yield Stage(mirror, upstream.url, canary)
        mirror.stop()
    canary.close()


def _targets(stage: Stage) -> list[str]:
    decision = stage.mirror.get(DENIED).headers["X-Mirror-Decision"]
    return ["/pypi/simple/acme-tools/", "/simple/", f"/-/blocked/{decision}", "/", "/acme/x/resolve/main/index.html", "/api/models/acme/x", "/api/models/acme/gone", DENIED]


def test_what_a_browser_is_sent_is_inert(stage):
    """Pages, files, refusals and our own pages: no markup of upstream, headers of one line each, `nosniff`, and a policy on all HTML."""
    own = stage.mirror.url
    for target in _targets(stage):
        for accept in ("text/html,*/*;q=0.8", "application/vnd.pypi.simple.v1+json"):
            answer = stage.mirror.get(target, headers={"Accept": accept})
            assert answer.status in (200, 403), (target, answer)
            assert not header_faults(answer.headers.items())
            assert answer.headers["X-Injected"] is None
            kind = answer.headers["Content-Type"].partition(";")[0]
            assert kind in ("text/html", "text/plain", "application/json", "application/problem+json", "application/vnd.pypi.simple.v1+json")
            if kind == "text/html":
                assert not sealed(answer.headers), target
                assert [fault for fault in html_faults(answer.body, own) if fault != "element <style>"] == [], target
            elif kind != "application/json":
                assert answer.headers["X-Content-Type-Options"] == "nosniff", target
    files = stage.mirror.get("/pypi/simple/acme-tools/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}).json()["files"]
    assert [file["filename"] for file in files] == [WHEEL]
    assert leads_home(files[0]["url"], own)
    assert not stage.canary.hits


def _browsed(url: str, folder) -> str:
    browser = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip("no Chromium on this machine; the parser's word above has to do")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-proxy-server", f"--user-data-dir={folder}", "--virtual-time-budget=3000", "--dump-dom"]
    return subprocess.run([browser, *options, url], capture_output=True, text=True, timeout=60, check=True).stdout


def test_a_real_browser_runs_nothing_and_asks_nobody(stage, tmp_path):
    """Chromium shows the mirror's pages without running a script or calling the canary; the same page direct from upstream does both."""
    for target in _targets(stage)[:-3]:
        shown = _browsed(stage.mirror.url + target, tmp_path)
        assert "<title>ran</title>" not in shown, target
        if "/resolve/" not in target:  # text is shown by a page of Chromium's own making
            assert [fault for fault in html_faults(shown.encode(), stage.mirror.url) if fault != "element <style>"] == [], target
    assert not stage.canary.hits
    direct = _browsed(stage.upstream + "/simple/acme-tools/", tmp_path)
    assert "<title>ran</title>" in direct
    assert stage.canary.hits


def test_a_reader_of_json_finds_what_was_there():
    """The check of JSON is strict itself: `NaN` and what is not UTF-8 fail it."""
    with pytest.raises(AssertionError):
        pages.strict_json(b"[NaN]")
    with pytest.raises(UnicodeDecodeError):
        pages.strict_json(b'"\xed\xa0\x80"')
    assert pages.OWN == OWN
