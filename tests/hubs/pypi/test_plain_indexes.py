"""Indexes that are not PyPI: HTML alone, no hashes, relative links, local versions, missing headers, replicas, a second instance."""

import contextlib
import hashlib
import json
import sys

import pytest

from tests.support.standin.dist import Meta, wheel

from .conftest import mirror_of
from .plain_index import PlainIndex, serving
from .test_clients import BIN, installed, pip, run, uv
from .test_made_metadata import index_like

HTML = "text/html"
UV_INSTALL = (str(BIN / "uv"), "pip", "install", "--no-cache", "--python", sys.executable)


@contextlib.contextmanager
def mirror_before(index, folder, rules=(), /, **hub):
    with serving(index) as running, mirror_of(index_like(running), folder, list(rules), **hub) as mirror:
        yield mirror


def local_wheel(version="2.1.0+cpu", requires=()):
    """A wheel with a local version, as PyTorch names its builds."""
    name, data = wheel(Meta("acme-torch", version, requires=tuple(requires)))
    return name, data


def wheel_index(*versions):
    """Laid out as PyTorch's: `/whl/cpu/<project>/`, links to `%2B` names, a hash in the fragment, JSON nowhere."""
    index = PlainIndex()
    rows = []
    for version in versions:
        name, data = local_wheel(version)
        link = f"/whl/cpu/{name.replace('+', '%2B')}"
        index.files[link] = data
        rows.append(f'<a href="{link}#sha256={hashlib.sha256(data).hexdigest()}">{name}</a><br/>')
    page = f"<!DOCTYPE html><html><body><h1>Links for acme-torch</h1>{''.join(rows)}</body></html><!--TIMESTAMP 1-->"
    index.pages["/whl/cpu/acme-torch/"] = (HTML, page.encode())
    index.pages["/whl/cpu/"] = (HTML, b'<a href="acme-torch/">acme-torch</a>')
    return index


@pytest.mark.parametrize("client", [pip, uv])
def test_local_versions_install_from_a_wheel_index(tmp_path, client):
    """`%2B` in upstream's links, `+` in the file's name and version: both clients take the pinned local version, hash checked."""
    index = wheel_index("2.1.0+cpu", "2.0.0+cpu")
    with mirror_before(index, tmp_path, index="/whl/cpu/") as mirror:
        shown = {file["filename"]: file for file in mirror.page("acme-torch")["files"]}
        assert "acme_torch-2.1.0+cpu-py3-none-any.whl" in shown
        assert all(file["url"].startswith(f"{mirror.url}/pypi/packages/-/") for file in shown.values())
        code, said = client(mirror, tmp_path, "acme-torch==2.0.0+cpu")
        assert code == 0, said
        assert installed(tmp_path) == {"acme_torch-2.0.0+cpu"}


def test_a_rule_on_a_local_version_holds_in_every_spelling(tmp_path):
    """The refused build is refused with `+` and with `%2B` in the path, and its neighbour is served."""
    rule = {"id": "no-cpu", "when": {"artifact": ["pkg:pypi/acme-torch@2.1.0+cpu"]}, "effect": "deny"}
    with mirror_before(wheel_index("2.1.0+cpu", "2.0.0+cpu"), tmp_path, [rule], index="/whl/cpu/") as mirror:
        shown = {file["filename"]: file for file in mirror.page("acme-torch")["files"]}
        url = shown["acme_torch-2.1.0+cpu-py3-none-any.whl"]["url"]
        assert {mirror.ask(one).status for one in (url, url.replace("+", "%2B"), url.replace("+", "%2b"))} == {403}
        assert mirror.ask(shown["acme_torch-2.0.0+cpu-py3-none-any.whl"]["url"].replace("+", "%2B")).status == 200


@pytest.mark.parametrize("client", [pip, uv])
def test_links_without_hashes_are_served_and_judged(tmp_path, client):
    """No hash, a link relative to the page, a `<base>`: the file installs; no hash is invented; a rule still refuses."""
    name, data = wheel(Meta("acme-bare", "1.0"))
    bad, worse = wheel(Meta("acme-bad", "1.0"))
    pages = {
        "/simple/acme-bare/": (HTML, f'<base href="/simple/acme-bare/files/"><a href="{name}">{name}</a>'.encode()),
        "/simple/acme-bad/": (HTML, f'<a href="../{bad}">{bad}</a>'.encode()),
    }
    index = PlainIndex(pages, {f"/simple/acme-bare/files/{name}": data, f"/simple/{bad}": worse})
    rule = {"id": "bad", "when": {"artifact": ["pkg:pypi/acme-bad"]}, "effect": "deny"}
    with mirror_before(index, tmp_path, [rule]) as mirror:
        assert mirror.page("acme-bare")["files"][0]["hashes"] == {}
        assert mirror.page("acme-bare")["meta"]["api-version"] == "1.0"
        code, said = client(mirror, tmp_path, "acme-bare")
        assert code == 0, said
        assert not mirror.page("acme-bare")["files"][0].get("core-metadata")
        assert mirror.ask(mirror.page("acme-bad")["files"][0]["url"]).status == 403
        assert [one.path for one in index.asked if one.path.endswith(bad)] == []


@pytest.mark.parametrize("kind", [None, "application/json", "application/json; charset=utf-8"])
def test_an_index_that_strips_headers(tmp_path, kind):
    """JSON without its type, an entity tag or a lifetime, and no further keys: read as what it is, and asked again by age alone."""
    name, data = wheel(Meta("acme-bare", "1.0"))
    file = {"filename": name, "url": f"/f/{name}", "hashes": {"sha256": hashlib.sha256(data).hexdigest()}}
    page = {"meta": {"api-version": "1.0"}, "name": "acme-bare", "files": [file]}
    index = PlainIndex({"/simple/acme-bare/": (kind, json.dumps(page).encode())}, {f"/f/{name}": data})
    with mirror_before(index, tmp_path) as mirror:
        shown = mirror.page("acme-bare")["files"][0]
        assert "upload-time" not in shown
        assert mirror.ask(shown["url"]).body == data
        assert mirror.ask("/pypi/simple/acme-bare/", Accept="text/html").headers["etag"]
        assert len([one for one in index.asked if one.path == "/simple/acme-bare/"]) == 1


def test_metadata_that_is_advertised_and_not_there_hides_no_fact_and_no_file(tmp_path):
    """A page that promises `.metadata` where there is none: a rule reads the wheel itself, and what it permits is served."""
    index = PlainIndex()
    for project, requires in (("acme-bare", ()), ("acme-direct", ("x @ https://files.umbrella.example/x.zip",))):
        name, data = wheel(Meta(project, "1.0", requires=requires))
        file = {"filename": name, "url": f"/f/{name}", "hashes": {"sha256": hashlib.sha256(data).hexdigest()}, "core-metadata": True}
        page = {"meta": {"api-version": "1.0"}, "name": project, "files": [file]}
        index.pages[f"/simple/{project}/"] = ("application/vnd.pypi.simple.v1+json", json.dumps(page).encode())
        index.files[f"/f/{name}"] = data
    rule = {"id": "direct", "when": {"direct_url": True}, "effect": "deny"}
    with mirror_before(index, tmp_path, [rule]) as mirror:
        assert mirror.ask(mirror.page("acme-bare")["files"][0]["url"]).status == 200
        assert mirror.ask(mirror.page("acme-direct")["files"][0]["url"]).status == 403


def replica(version="1.0"):
    index = PlainIndex()
    for project in ("acme-one", "acme-two"):
        name, data = wheel(Meta(project, version))
        index.files[f"/f/{name}"] = data
        link = f'<a href="../../f/{name}#sha256={hashlib.sha256(data).hexdigest()}">{name}</a>'
        index.pages[f"/simple/{project}/"] = (HTML, link.encode())
    return index


def test_replicas_answer_when_the_first_is_down(tmp_path):
    """Pages and files come from the second of `upstreams` while the first answers 503; nothing of it is asked before."""
    with serving(replica()) as first, serving(replica()) as second:
        both = {"upstreams": [first.url, second.url], "origins": []}
        with mirror_of(index_like(first), tmp_path, [], **both) as mirror:
            assert mirror.ask(mirror.page("acme-one")["files"][0]["url"]).status == 200
            assert second.asked == []
            first.down = True
            file = mirror.page("acme-two")["files"][0]
            reply = mirror.ask(file["url"])
            assert hashlib.sha256(reply.body).hexdigest() == file["hashes"]["sha256"]
            assert {one.path.rpartition("/")[2] for one in second.asked} >= {"", "acme_two-1.0-py3-none-any.whl"}


def test_a_replica_with_other_bytes_is_not_believed(tmp_path):
    """The page's digest judges what a replica gives: other bytes never reach a client whole."""
    other = replica()
    other.files = {path: data[:-1] + bytes([data[-1] ^ 1]) for path, data in other.files.items()}
    with serving(replica()) as first, serving(other) as second:
        with mirror_of(index_like(first), tmp_path, [], upstreams=[first.url, second.url], origins=[]) as mirror:
            file = mirror.page("acme-one")["files"][0]
            first.down = True
            reply = mirror.ask(file["url"])
            assert reply.status in (502, 503)
            assert reply.headers["content-type"] == "application/problem+json"


def test_a_second_index_at_a_mount_of_its_own(tmp_path):
    """`/torch` with its own upstream and `index`: pages, links and rules are its own, and one name may be in both."""
    with serving(wheel_index("2.1.0+cpu")) as torch, serving(replica()) as plain:
        torch.pages["/whl/cpu/acme-one/"] = (HTML, b'<a href="acme_one-9.0%2Bcpu-py3-none-any.whl">x</a>')
        with mirror_of(index_like(plain), tmp_path, []) as mirror:
            mirror.stop()
            row = {"dialect": "pypi", "mount": "/torch", "upstreams": [torch.url], "origins": [], "index": "/whl/cpu/"}
            mirror.config["hubs"]["torch"] = row
            mirror.start()
            kind = "application/vnd.pypi.simple.v1+json"
            page = mirror.ask("/torch/simple/acme-one/", Accept=kind).json
            assert [file["filename"] for file in page["files"]] == ["acme_one-9.0+cpu-py3-none-any.whl"]
            assert page["files"][0]["url"].startswith(f"{mirror.url}/torch/packages/-/")
            assert [file["filename"] for file in mirror.page("acme-one")["files"]] == ["acme_one-1.0-py3-none-any.whl"]
            assert mirror.ask("/torch/simple/Acme_Torch/").headers["location"] == "/torch/simple/acme-torch/"
            assert b'/torch/simple/acme-torch/"' in mirror.ask("/torch/simple/").body
            code, said = run(
                *UV_INSTALL, "--target", str(tmp_path / "site"), "--default-index", mirror.index_url,
                "--index", f"{mirror.url}/torch/simple/", "acme-torch", cwd=tmp_path,
            )  # fmt: skip
            assert code == 0, said
            assert installed(tmp_path) == {"acme_torch-2.1.0+cpu"}


def test_a_public_file_of_a_private_name_is_never_fetched(tmp_path):
    """A lock file's URL of the public index's `acme-one`: the name is private, so that only the private page decides, and it has no such file."""
    public = replica("9.9")
    with serving(public) as out, serving(replica()) as own:
        private = {"private": {"names": ["acme-*"], "upstream": own.url}, "origins": [own.url]}
        with mirror_of(index_like(out), tmp_path, [], **private) as mirror:
            name = "acme_one-9.9-py3-none-any.whl"
            paths = [f"/packages/aa/bb/{'c' * 60}/{name}", f"/packages/py3/a/acme-one/{name}", f"/packages/-/{'d' * 40}/{name}"]
            assert {mirror.ask(path).status for path in paths} == {404}
            assert mirror.ask(f"/pypi/integrity/acme-one/9.9/{name}/provenance").status == 404
            assert [file["filename"] for file in mirror.page("acme-one")["files"]] == ["acme_one-1.0-py3-none-any.whl"]
        assert out.asked == []
