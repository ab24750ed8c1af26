"""What must hold of everything that is read from an upstream's page and sent on."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

from mirror.core.errors import HubSaysNo, Malformed, MirrorError, UpstreamGarbage
from mirror.core.nouns import Digest, Document, DocumentKey, Kind
from mirror.hubs.huggingface import documents as hub
from mirror.hubs.huggingface.derived import converted_path, links_turned
from mirror.hubs.huggingface.facts import declared_parents, file_facts, licences, repository_facts
from mirror.hubs.huggingface.files import file_headers
from mirror.hubs.huggingface.lfs import parse_batch
from mirror.hubs.huggingface.paths import Repo
from mirror.hubs.huggingface.registry import layers_of
from mirror.hubs.huggingface.replies import failure, json_page
from mirror.hubs.huggingface.rewrite import paging_links, without_xet
from mirror.hubs.pypi.anchors import decode_html
from mirror.hubs.pypi.documents import HTML, HTML_V1, JSON_V1, Page, decode_object, decode_page
from mirror.hubs.pypi.facts import page_facts
from mirror.hubs.pypi.legacy import turned
from mirror.hubs.pypi.pages import as_html, as_json, filtered
from mirror.hubs.pypi.projects import listing
from tests.fuzz.inert import header_faults, html_faults, leads_home
from tests.fuzz.paths import clean_segments

OWN = "http://mirror.example:8080"
UPSTREAM = "https://index.acme.example"
PAGE_URL = f"{UPSTREAM}/simple/acme-tools/"
NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
#: The largest number that a client's JSON reader and our records hold exactly (RFC 8785, RFC 7493 section 2.2).
EXACT = 2**53 - 1


def document(body: bytes, *headers: tuple[str, str], target: str = "/api/models/acme/x?blobs=true", status: int = 200) -> Document:
    """An upstream page as the cache holds it."""
    return Document(DocumentKey("hub", target), status, headers, body, Digest("sha256", sha256(body).hexdigest()), NOW, None)


def strict_json(body: bytes) -> Any:
    """JSON as other people's readers take it: UTF-8, without `NaN` or `Infinity`."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(body.decode("utf-8"), parse_constant=refuse)


def index_pages(data: bytes) -> None:
    """An index page, in whatever form: refused as garbage, or rendered inert, with links to the mirror only."""
    for read in (decode_page, decode_html):
        try:
            page = read(data, PAGE_URL, "acme-tools", UPSTREAM)
        except UpstreamGarbage:
            continue
        check_index_page(page, len(data))
    with contextlib.suppress(UpstreamGarbage):
        model = turned(decode_object(data, UPSTREAM), "acme-tools", {"acme_tools-1.0.tar.gz": "<script>1</script>\r\n"}, OWN + "/pypi", UPSTREAM)
        for file in model.get("urls") or []:
            assert leads_home(file["url"], OWN) if isinstance(file, dict) and "filename" in file else True
        strict_json(as_json(model))
    for media in (JSON_V1, HTML):
        with contextlib.suppress(UpstreamGarbage):
            page_of_names = document(data, ("content-type", media))
            assert not html_faults(listing(page_of_names, HTML_V1, OWN + "/pypi", UPSTREAM), OWN)
            if media is HTML:
                strict_json(listing(page_of_names, JSON_V1, OWN + "/pypi", UPSTREAM))


def check_index_page(page: Page, size: int) -> None:
    """Both forms of one page, with our own marks on half of its files."""
    marked = {file.name: 'held: <img src=x onerror="1">\r\n\x85' for file in page.files[::2]}
    model = filtered(page, marked, OWN + "/pypi")
    html, told = as_html(model), strict_json(as_json(model))
    assert not html_faults(html, OWN)
    assert len(html) <= 12 * size + 600 * (len(page.files) + 1) + 1000
    assert [file["filename"] for file in told["files"]] == [file.name for file in page.files]
    for file, shown in zip(page.files, told["files"], strict=True):
        assert leads_home(shown["url"], OWN)
        assert clean_segments(file.name)
        assert file.size is None or file.size <= EXACT
        assert shown.get("provenance") is None or leads_home(shown["provenance"], OWN)
        assert file.published_at is None or file.published_at.tzinfo is UTC
        facts = page_facts(page, file, "0" * 64)
        assert facts.size is None or facts.size.value is None or facts.size.value <= EXACT
        file.url.encode()


def hub_pages(data: bytes) -> None:
    """A page of the hub, in whatever role: refused as garbage, or read into names and numbers that all later steps can hold."""
    found = document(data)
    call = SimpleNamespace(request=SimpleNamespace(headers={}), raw_path="/api/models", public_url=OWN, mount="", actor=SimpleNamespace(credential=None))
    no = hub.says_no(document(data, status=403))
    assert isinstance(no, HubSaysNo)
    assert not header_faults(failure(call, no).headers.items())
    with contextlib.suppress(Malformed):
        batch = parse_batch(data)
        batch.ref.encode()
    try:
        value = hub.load_json(found, UPSTREAM)
    except UpstreamGarbage:
        return
    sent = json_page(call, without_xet(value))
    assert b"xetHash" not in sent.body or b'"' in data
    strict_json(sent.body)
    base = "/api/datasets/acme/x/parquet/"
    for link in _texts(links_turned(value, base, OWN)):
        assert leads_home(link, OWN), link
    rows = value if isinstance(value, list) else [value]
    for row in rows:
        page = hub.row_page(row, found, "hub", Kind.MODEL)
        if page is not None:
            str(page.artifact())
            repository_facts(page)
    with contextlib.suppress(UpstreamGarbage):
        list(layers_of(value, UPSTREAM))
    with contextlib.suppress(UpstreamGarbage):
        check_repository(hub.parse_page(found, "hub", Kind.MODEL, UPSTREAM))


def check_repository(page: hub.RepoPage) -> None:
    """A judging page's names go into headers, targets and records."""
    assert clean_segments(page.project.name)
    repo = Repo.of(page.project)
    licences(page)
    for edge in declared_parents(page):
        str(edge.parent) if hasattr(edge, "parent") else str(edge)
    facts = repository_facts(page)
    for path, file in list(page.files.items())[:20]:
        assert all(part not in ("", ".", "..") for part in path.split("/"))
        assert file.size is None or file.size <= EXACT
        assert not header_faults(file_headers(page, file).items())
        assert str(page.artifact(path)).isascii()
        assert repo.file("resolve", page.commit, path).isascii()
        file_facts(facts, page, path)


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []


def hub_headers(data: bytes) -> None:
    """`NAME: VALUE` lines of an upstream answer: links lead to the mirror, sizes are numbers, nothing is injected."""
    lines = [line.partition(": ")[::2] for line in data.decode("utf-8", "surrogateescape").split("\n")]  # as the HTTP client has them
    headers = tuple((name.lower(), value) for name, value in lines)
    found = document(b"", *headers)
    for _, value in headers:
        link = paging_links(value, [UPSTREAM], OWN)
        if link is not None:
            assert not header_faults([("Link", link)])
            assert all(leads_home(part.partition(">")[0], OWN) for part in link.split("<")[1:])
        with contextlib.suppress(Malformed):
            path = converted_path(value, Repo(Kind.DATASET, "acme/x"))
            assert path is None or clean_segments(path)
    file = hub.file_from_headers("a.bin", found)
    assert file is None or file.size is None or 0 <= file.size <= EXACT
    no = hub.says_no(document(b"", *headers, status=403))
    call = SimpleNamespace(raw_path="/api/models", public_url=OWN, actor=SimpleNamespace(credential=None))
    assert not header_faults(failure(call, no).headers.items())
    assert isinstance(no, MirrorError)
