"""Rules on what an index says of publishers, vulnerabilities and status, end to end over real sockets."""


import xmlrpc.client

import pytest

from mirror.hubs.pypi.anchors import decode_html
from mirror.hubs.pypi.facts import vulnerabilities
from mirror.hubs.pypi.pages import as_html, filtered
from tests.support.standin.dist import Meta, wheel
from tests.support.standin.index import StandInIndex, running_index

from .conftest import mirror_of
from .pages_by_hand import WHEEL, file, page
from .test_clients import BIN, run

BY = {"kind": "GitHub", "workflow": "release.yml", "environment": None, "claims": None}
KNOWN = {"id": "PYSEC-2026-7", "aliases": ["CVE-2026-0007"], "fixed_in": ["1.1"], "withdrawn": None}
GONE = {"id": "PYSEC-2026-8", "aliases": [], "withdrawn": "2026-02-03T00:00:00Z"}


@pytest.fixture(scope="module")
def told():
    """An index whose files differ in what it says of them."""
    own = StandInIndex()
    own.add_release("acme-ours", "1.0", publisher=BY | {"repository": "acme-labs/ours"})
    own.add_release("acme-theirs", "1.0", publisher=BY | {"repository": "umbrella/theirs"})
    own.add_release("acme-nobody", "1.0")
    for name, known in (("acme-holed", [KNOWN, GONE]), ("acme-mended", [GONE])):
        own.add_release(name, "1.0")
        own.project(name, vulnerabilities=known)
    own.add_release("acme-archived", "1.0")
    own.project("acme-archived", status="archived")
    with running_index(own) as running:
        yield running


def statuses(index, folder, rule, *projects):
    """What the first file of each project answers under one refusing rule."""
    found = {}
    with mirror_of(index, folder, [{"id": "r", "effect": "deny"} | rule]) as mirror:
        for project in projects:
            one = mirror.page(project)["files"][0]
            found[project] = mirror.ask(one["url"]).status
    return found


def test_only_files_of_a_publisher_are_served(told, tmp_path):
    """`attested: {none: […]}`: the repository that PyPI attests decides, in any case of its letters; no attestation is another one."""
    rule = {"when": {"attested": {"none": ["github:acme-labs/*"]}}}
    found = statuses(told, tmp_path, rule, "acme-ours", "acme-theirs", "acme-nobody")
    assert (found["acme-ours"], found["acme-theirs"], found["acme-nobody"]) == (200, 403, 403)


def test_files_without_any_attestation_are_refused(told, tmp_path):
    """`attested: false` reads the page's own null; an attested file of anybody is served."""
    found = statuses(told, tmp_path, {"when": {"attested": False}}, "acme-theirs", "acme-nobody")
    assert (found["acme-theirs"], found["acme-nobody"]) == (200, 403)


@pytest.mark.parametrize("named", [True, "CVE-2026-*", "pysec-2026-7"])
def test_the_indexs_own_vulnerabilities_are_a_fact(told, tmp_path, named):
    """Ids and aliases of the release's legacy JSON; a withdrawn entry counts for nothing."""
    found = statuses(told, tmp_path, {"when": {"vulnerability": named}}, "acme-holed", "acme-mended", "acme-nobody")
    assert (found["acme-holed"], found["acme-mended"], found["acme-nobody"]) == (403, 200, 200)


def test_a_project_status_is_a_fact(told, tmp_path):
    """PEP 792: an archived project is refused where a rule says so, and only it."""
    found = statuses(told, tmp_path, {"when": {"status": "archived"}}, "acme-archived", "acme-nobody")
    assert (found["acme-archived"], found["acme-nobody"]) == (403, 200)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [({}, None), ({"vulnerabilities": "x"}, None), ({"vulnerabilities": []}, ()), ({"vulnerabilities": [1, {"id": 2}, GONE]}, ()),
     ({"vulnerabilities": [KNOWN, KNOWN]}, ("PYSEC-2026-7", "CVE-2026-0007"))],
)  # fmt: skip
def test_nothing_said_is_not_nothing_known(raw, expected):
    """An index that does not speak of vulnerabilities leaves the fact unknown; an empty list says that there are none."""
    assert vulnerabilities(raw) == expected


def test_tracks_and_alternate_locations_come_through_in_both_forms():
    """PEP 708: JSON keys stay, HTML elements are written from them and read from an upstream of HTML, escaped."""
    urls = ["https://pypi.org/simple/acme-tools/", 'https://x.example/"><script>']
    meta = {"meta": {"api-version": "1.4", "tracks": urls}, "alternate-locations": urls[:1]}
    model = filtered(page(file(WHEEL), **meta), {}, "http://m/pypi")
    assert model["meta"]["tracks"] == urls
    assert model["alternate-locations"] == urls[:1]
    html = as_html(model)
    assert b"<script" not in html
    again = decode_html(html, "http://m/pypi/simple/acme-tools/", "acme-tools", "http://m")
    assert again.raw["meta"]["tracks"] == urls
    assert again.raw["alternate-locations"] == urls[:1]


def test_xml_rpc_and_uploads_are_answered_in_a_sentence(told, tmp_path):
    """Python's own XML-RPC client and `uv publish` fail at once with the mirror's words, not with a parser's; nothing goes upstream."""
    with mirror_of(told, tmp_path, []) as mirror:
        for address in ("/pypi", "/pypi/pypi"):
            with pytest.raises(xmlrpc.client.ProtocolError) as caught:
                xmlrpc.client.ServerProxy(mirror.url + address).list_packages()
            assert caught.value.errcode == 403
            assert "read-only mirror" in caught.value.errmsg
        name, data = wheel(Meta("acme-new", "1.0"))
        (tmp_path / name).write_bytes(data)
        code, said = run(
            str(BIN / "uv"), "publish", "--publish-url", f"{mirror.url}/pypi/legacy/", "--username", "u", "--password", "p",
            "--trusted-publishing", "never", str(tmp_path / name), cwd=tmp_path,
        )  # fmt: skip
        assert code != 0
        assert "read-only mirror" in said
        assert [event["kind"] for event in mirror.events()].count("write_refused") >= 3
    assert told.writes == []
