"""Decoding upstream's pages: strict where rules and clients rely on it, open to what comes later."""

import json
from datetime import UTC, datetime

import pytest

from mirror.core.errors import UpstreamGarbage
from mirror.hubs.pypi.anchors import decode_html
from mirror.hubs.pypi.documents import absolute, decode_page

from .pages_by_hand import FILES, NEWER, PAGE_URL, SDIST, SHA, WHEEL, file, page, raw_page

UPSTREAM = "https://index.acme.example"


def test_what_rules_read_is_decoded():
    """Hash, size, upload time, yank, metadata and provenance come out typed."""
    found = page(file(WHEEL, **{"core-metadata": {"sha256": "b" * 64}, "yanked": "broken", "provenance": "https://x.example/p"})).files[0]
    assert found.sha256 is not None
    assert found.sha256.hex == SHA
    assert found.size == 100
    assert found.published_at == datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    assert found.yanked
    assert found.metadata is not None
    assert found.metadata.hex == "b" * 64
    assert found.provenance == "https://x.example/p"
    assert found.metadata_url == found.url + ".metadata"


def test_unknown_keys_are_kept():
    """A key of a later API version stays in the page and in the file."""
    found = page(file(WHEEL, **{"x-new": [1]}), **{"tracks": ["https://pypi.org/simple/x/"]})
    assert found.files[0].raw["x-new"] == [1]
    assert found.raw["tracks"] == ["https://pypi.org/simple/x/"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"meta": {"api-version": "2.0"}}, "not 1.x"),
        ({"meta": None}, "not 1.x"),
        ({"name": "globex"}, "says that it is of 'globex'"),
        ({"files": {}}, "files is missing or not a list"),
        ({"files": ["x"]}, "files[0] is not an object"),
        ({"files": [{"filename": "x", "hashes": {}}]}, "files[0].url is missing"),
        ({"files": [{"filename": "x", "url": "u", "hashes": []}]}, "files[0].hashes is not an object"),
        ({"versions": "1.0"}, "versions is not a list"),
    ],
)
def test_garbage_names_its_fault(change, said):
    """A page that cannot be relied on is an upstream error that says where."""
    with pytest.raises(UpstreamGarbage) as caught:
        decode_page(json.dumps(raw_page() | change).encode(), PAGE_URL, "acme-tools", UPSTREAM)
    assert said in str(caught.value)
    assert UPSTREAM in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_garbage(body):
    """Neither markup nor depth nor bad bytes get further than the decoder."""
    with pytest.raises(UpstreamGarbage):
        decode_page(body, PAGE_URL, "acme-tools", UPSTREAM)


@pytest.mark.parametrize(
    "link",
    ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "ftp://x.example/y", "https://user:pw@x.example/y",
     "http://[::1", "https://x.example:99999/y", 'https://x.example/"><b', "https://x.example/a\nb"],
)  # fmt: skip
def test_links_that_cannot_be_passed_on_are_dropped(link):
    """Only http(s) links to a host without userinfo become files; the rest are counted."""
    assert absolute(link, PAGE_URL) is None
    found = page(file(WHEEL, url=link), file(NEWER, 2))
    assert [one.name for one in found.files] == [NEWER]
    assert found.left_out == 1


def test_the_first_of_two_files_of_one_name_stands():
    """A second URL for a listed file name cannot replace the first."""
    found = page(file(WHEEL), file(WHEEL, 2))
    assert len(found.files) == 1
    assert found.files[0].url.startswith(f"{FILES}/packages/01/")


def test_api_version_is_what_is_really_sent():
    """PEP 700: 1.1 and later need every size and `versions`; without them the page says 1.0."""
    assert page(file(WHEEL)).api_version == "1.4"
    assert page(file(WHEEL, size=None)).api_version == "1.0"
    raw = raw_page(file(WHEEL))
    del raw["versions"]
    assert decode_page(json.dumps(raw).encode(), PAGE_URL, "acme-tools", UPSTREAM).api_version == "1.0"


HTML = f"""<!DOCTYPE html><html><head><meta name="pypi:repository-version" content="1.3">
<meta name="pypi:project-status" content="archived"></head><body>
<a href="../../whl/{WHEEL}#sha256={SHA}" data-requires-python="&gt;=3.8" data-core-metadata="sha256={SHA}">{WHEEL}</a>
<a href="https://other.example/{SDIST}" data-yanked="a &amp; b" data-dist-info-metadata="true">{SDIST}</a>
<a href="javascript:alert(1)">evil</a> <a name="no-link">x</a></body></html>""".encode()


def test_html_is_read_for_what_the_peps_define():
    """Relative links, requires-python, hashes, metadata, yank and status come from an upstream without JSON."""
    found = decode_html(HTML, PAGE_URL, "acme-tools", UPSTREAM)
    wheel, sdist = found.files
    assert wheel.url == f"https://index.acme.example/whl/{WHEEL}"
    assert wheel.raw["requires-python"] == ">=3.8"
    assert wheel.sha256 is not None
    assert wheel.metadata is not None
    assert (sdist.yanked, sdist.raw["yanked"], sdist.has_metadata, sdist.metadata) == (True, "a & b", True, None)
    assert found.status == "archived"
    assert found.api_version == "1.0"
    assert wheel.distribution is not None
    assert wheel.distribution.version == "1.0"


def test_a_base_of_another_origin_is_ignored():
    """`<base href>` cannot re-anchor links to a host that the page is not on."""
    body = f'<base href="https://evil.example/"><a href="{WHEEL}">x</a>'.encode()
    assert decode_html(body, PAGE_URL, "acme-tools", UPSTREAM).files[0].url == PAGE_URL + WHEEL
    body = f'<base href="/files/"><a href="{WHEEL}">x</a>'.encode()
    assert decode_html(body, PAGE_URL, "acme-tools", UPSTREAM).files[0].url == f"{UPSTREAM}/files/{WHEEL}"


def test_html_of_another_major_version_is_garbage():
    """PEP 629: nothing may be assumed of version 2."""
    with pytest.raises(UpstreamGarbage):
        decode_html(b'<meta name="pypi:repository-version" content="2.0">', PAGE_URL, "acme-tools", UPSTREAM)
