"""pip and uv where an index is unlike PyPI, a name is private, a requirement names a URL or a lock was made elsewhere."""

import hashlib
import http.client
import json
import sys
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from mirror.cli.lock import turn
from tests.support.standin.dist import Meta, wheel

from .conftest import mirror_of
from .plain_index import PlainIndex, serving
from .test_clients import BIN, installed, pip, run, uv
from .test_made_metadata import index_like

HTML = "text/html"
BOTH = pytest.mark.parametrize("client", [pip, uv])


def listing(*wheels, kind=None, hashed=True):
    """A JSON page without its type, or an HTML page, of wheels that lie at `/f/`."""
    if kind == HTML:
        mark = "".join(f'<a href="../../f/{name}#sha256={hashlib.sha256(data).hexdigest()}">{name}</a>' for name, data in wheels)
        return (HTML, mark.encode())
    files = [{"filename": name, "url": f"../../f/{name}", "hashes": {"sha256": hashlib.sha256(data).hexdigest()} if hashed else {}} for name, data in wheels]
    return (kind, json.dumps({"meta": {"api-version": "1.0"}, "name": wheels[0][0].split("-")[0], "files": files}).encode())


def index_of(*metas, **how):
    index = PlainIndex()
    for meta in metas:
        name, data = wheel(meta)
        index.files[f"/f/{name}"] = data
        index.pages[f"/simple/{meta.name}/"] = listing((name, data), **how)
    return index


@BOTH
def test_a_tree_installs_from_an_index_that_strips_headers(tmp_path, client):
    """JSON without type, entity tag, lifetime, sizes, hashes, times and metadata, links relative: a project and what it needs are installed."""
    index = index_of(Meta("acme-one", "1.0", requires=("acme-two",)), Meta("acme-two", "1.0"), hashed=False)
    with serving(index), mirror_of(index_like(index), tmp_path, []) as mirror:
        code, said = client(mirror, tmp_path, "acme-one")
        assert code == 0, said
        assert installed(tmp_path) == {"acme_one-1.0", "acme_two-1.0"}


def test_both_clients_install_from_a_replica(tmp_path):
    """The first of `upstreams` is down: pages and files come from the second, hashes checked by the clients."""
    metas = [Meta("acme-one", "1.0", requires=("acme-two",)), Meta("acme-two", "1.0")]
    with serving(index_of(*metas, kind=HTML)) as first, serving(index_of(*metas, kind=HTML)) as second:
        first.down = True
        with mirror_of(index_like(first), tmp_path, [], upstreams=[first.url, second.url], origins=[]) as mirror:
            for client in (pip, uv):
                place = tmp_path / client.__name__
                place.mkdir()
                code, said = client(mirror, place, "acme-one")
                assert code == 0, said
                assert installed(place) == {"acme_one-1.0", "acme_two-1.0"}
        assert {one.path for one in second.asked} >= {"/simple/acme-one/", "/f/acme_two-1.0-py3-none-any.whl"}


def test_private_names_install_from_their_own_index_only(tmp_path):
    """Exact and by glob: the public index has a higher version of each, and both clients get the private one; a public name stays public."""
    public = index_of(Meta("acme-core", "9.9"), Meta("corp-tools", "9.9"), Meta("acme-corelib", "1.0", requires=("acme-core",)))
    own = index_of(Meta("acme-core", "1.0"), Meta("corp-tools", "1.0"), Meta("acme-corelib", "7.7"))
    with serving(public) as out, serving(own) as inside:
        private = {"private": {"names": ["Acme_Core", "corp-*"], "upstream": inside.url}, "origins": [inside.url]}
        with mirror_of(index_like(out), tmp_path, [], **private) as mirror:
            for client in (pip, uv):
                place = tmp_path / client.__name__
                place.mkdir()
                code, said = client(mirror, place, "corp.tools", "acme-corelib")
                assert code == 0, said
                assert installed(place) == {"acme_core-1.0", "corp_tools-1.0", "acme_corelib-1.0"}
        assert {one.path for one in out.asked} == {"/simple/acme-corelib/", "/f/acme_corelib-1.0-py3-none-any.whl"}
        assert not [one for one in inside.asked if "corelib" in one.path]


@pytest.fixture(scope="module")
def urls():
    """An index with a wheel that requires a URL, which no rule on names can see, and one that requires such a wheel."""
    index = index_of(
        Meta("acme-url", "1.0", requires=("other @ https://files.umbrella.example/other-1.0.tar.gz",)),
        Meta("acme-above", "1.0", requires=("acme-url",)), Meta("acme-fine", "1.0", requires=("acme-base",)), Meta("acme-base", "1.0"),
    )  # fmt: skip
    with serving(index) as running:
        yield running


@BOTH
def test_a_requirement_by_url_is_refused_by_rule(urls, tmp_path, client):
    """Asked for or needed by another: the install fails and names the rule, and the URL is never gone to; what names projects is installed."""
    rule = {"id": "no-urls", "when": {"direct_url": True}, "effect": "deny"}
    with mirror_of(index_like(urls), tmp_path, [rule]) as mirror:
        for wanted in ("acme-url", "acme-above"):
            code, said = client(mirror, tmp_path, wanted)
            assert code != 0
            assert "rule 'no-urls'" in said, said
        code, said = client(mirror, tmp_path, "acme-fine")
        assert code == 0, said
        assert installed(tmp_path) == {"acme_fine-1.0", "acme_base-1.0"}


def test_a_requirement_by_url_is_reported_by_rule(urls, tmp_path):
    """`effect: warn` serves it and puts rule and URL on the record; a rule on the URL itself refuses only what it names."""
    rules = [{"id": "told", "when": {"direct_url": True}, "effect": "warn"},
             {"id": "globex", "when": {"direct_url": ["https://*globex.example/*"]}, "effect": "deny"}]  # fmt: skip
    with mirror_of(index_like(urls), tmp_path, rules) as mirror:
        code, said = pip(mirror, tmp_path, "--no-deps", "acme-url", "acme-fine")
        assert code == 0, said
        decisions = {event["decision"]["artifact"]: event["decision"] for event in mirror.events() if event["kind"] == "allowed"}
        told = next(decision for artifact, decision in decisions.items() if "acme-url" in artifact and artifact.endswith(".whl"))
        assert (told["effect"], [rule["id"] for rule in told["rules"]]) == ("warn", ["told"])
        assert told["facts"]["direct_urls"]["value"] == ["https://files.umbrella.example/other-1.0.tar.gz"]
        fine = next(decision for artifact, decision in decisions.items() if "acme-fine" in artifact and artifact.endswith(".whl"))
        assert fine["effect"] == "allow"


# --- locks --------------------------------------------------------------------------------------------------------


def test_a_pylock_made_elsewhere_installs_through_the_mirror(mirror, index, tmp_path):
    """PEP 751: pip locks at the index; turned, the lock is installed by pip and by uv, and neither goes to the index."""
    code, said = run(
        sys.executable, "-m", "pip", "lock", "--no-cache-dir", "--disable-pip-version-check", "--index-url", index.simple_url,
        "acme-app==1.0", cwd=tmp_path,
    )  # fmt: skip
    assert code == 0, said
    lock = tmp_path / "pylock.toml"
    hosts = [url.removeprefix("http://") for url in (index.url, index.files_url)]
    done = turn(lock.read_text(), "pylock.toml", f"{mirror.url}/pypi", hosts)
    assert done.changed >= 2
    assert done.elsewhere == ()
    lock.write_text(done.text)
    asked = len(index.requests)
    site = str(tmp_path / "site")
    quiet = ["--no-cache-dir", "--disable-pip-version-check"]
    code, said = run(sys.executable, "-m", "pip", "install", *quiet, "--target", site, "--index-url", mirror.index_url, "-r", "pylock.toml", cwd=tmp_path)
    assert code == 0, said
    before = installed(tmp_path)
    assert {name.rpartition("-")[0] for name in before} == {"acme_app", "acme_lib"}
    code, said = run(
        str(BIN / "uv"), "pip", "install", "--no-cache", "--preview", "--target", str(tmp_path / "uv" / "site"), "--python", sys.executable,
        "--default-index", mirror.index_url, "-r", "pylock.toml", cwd=tmp_path,
    )  # fmt: skip
    assert code == 0, said
    assert installed(tmp_path / "uv") == before
    agents = {call.headers.get("User-Agent", "") for call in list(index.requests)[asked:]}
    assert not any(agent.startswith(("uv/", "pip/")) for agent in agents)


@BOTH
def test_requirements_with_urls_and_hashes_install_through_the_mirror(mirror, index, tmp_path, client):
    """A requirement by URL with its hash, turned: the same bytes come through the mirror; a wrong hash still stops the install."""
    found = next(file for file in index.project("acme-big").release("1.0"))
    line = f"acme-big @ {index.files_url}{found.path} --hash=sha256:{found.sha256}\n"
    text = turn(line, "r.txt", f"{mirror.url}/pypi", [index.files_url.removeprefix("http://")]).text
    (tmp_path / "r.txt").write_text(text)
    code, said = client(mirror, tmp_path, "--require-hashes", "-r", "r.txt")
    assert code == 0, said
    assert installed(tmp_path) == {"acme_big-1.0"}
    (tmp_path / "wrong.txt").write_text(text.replace(found.sha256, "0" * 64))
    code, said = client(mirror, tmp_path, "--require-hashes", "--force-reinstall" if client is pip else "--reinstall", "-r", "wrong.txt")
    assert code != 0
    assert "hash" in said.lower()


def test_a_poetry_lock_is_turned():
    """Poetry's lock names its index as the source of each package and no file URLs: the source is turned, spelt as the client spells it."""
    text = (
        '[[package]]\nname = "acme-lib"\nversion = "1.0"\nfiles = [\n    {file = "acme_lib-1.0-py3-none-any.whl", hash = "sha256:00"},\n]\n\n'
        '[package.source]\ntype = "legacy"\nurl = "https://pypi.org/simple"\nreference = "house"\n'
    )
    done = turn(text, "poetry.lock", "http://mirror.example:8080/pypi", index="/simple")
    assert done.text == text.replace("https://pypi.org/simple", "http://mirror.example:8080/pypi/simple")
    assert (done.changed, done.elsewhere) == (1, ())


# --- patience -----------------------------------------------------------------------------------------------------


def test_a_silent_index_keeps_no_client_waiting(tmp_path):
    """Silent at the page, at the file's head, at what a rule needs, and in the middle of a body: each client has an answer, or its end, within its own patience."""
    index = index_of(*(Meta(f"acme-{name}", "1.0") for name in ("page", "file", "fact", "body")))
    index.gate = threading.Event()
    name, data = wheel(Meta("acme-body", "1.0"), 400_000)
    index.files[f"/f/{name}"], index.pages["/simple/acme-body/"] = data, listing((name, data))
    index.silent = {"/simple/acme-page/": 0, "/f/acme_file-1.0-py3-none-any.whl": 0, "/pypi/acme-fact/1.0/json": 0, f"/f/{name}": 100_000}
    rule = {"id": "holes", "when": {"vulnerability": True, "artifact": ["acme-fact"]}, "effect": "deny"}
    with serving(index), mirror_of(index_like(index), tmp_path, [rule], timeouts={"patience": "2s"}) as mirror:
        paths = ["/pypi/simple/acme-page/", *(mirror.page(f"acme-{one}")["files"][0]["url"].removeprefix(mirror.url) for one in ("file", "fact", "body"))]

        def ask(path):
            try:  # for a head, and for the next byte of a body; the mirror gives an upstream 8 s for each answer
                with urllib.request.urlopen(mirror.url + path, timeout=7) as reply:
                    body = b""
                    while piece := reply.read1(65536):
                        body += piece
                    return reply.status, len(body) < len(data)
            except urllib.error.HTTPError as reply:
                return reply.code, True
            except http.client.IncompleteRead:
                return 200, True

        with ThreadPoolExecutor(8) as pool:
            answers = dict(zip(paths, pool.map(ask, paths), strict=True))
        index.gate.set()
    assert [status for status, _ in answers.values()][:3] == [503, 503, 503]
    assert answers[paths[3]] == (200, True)
