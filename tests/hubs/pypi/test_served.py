"""The index dialect over real sockets: a stand-in index, the mirror as a process, HTTP by hand."""

import gzip
import hashlib
import json
import time

import pytest
import zstandard

from tests.support.standin.defaults import CANARY
from tests.support.standin.index import StandInIndex, running_index

from .conftest import mirror_of

JSON = "application/vnd.pypi.simple.v1+json"


def files(mirror, project):
    return {file["filename"]: file for file in mirror.page(project)["files"]}


def test_pages_keep_what_upstream_said(mirror, index):
    """Every key of upstream's JSON but the addresses is passed on unchanged, upload-time, size and versions included."""
    import urllib.request

    asked = urllib.request.Request(f"{index.url}/simple/acme-app/", headers={"Accept": JSON})
    with urllib.request.urlopen(asked, timeout=10) as reply:
        upstream = json.load(reply)
    shown = mirror.page("acme-app")
    for one, other in zip(shown.pop("files"), upstream.pop("files"), strict=True):
        assert one["url"] == other["url"].replace(index.files_url, f"{mirror.url}/pypi")
        ours = {"url", "provenance"}
        assert {k: v for k, v in one.items() if k not in ours} == {k: v for k, v in other.items() if k not in ours}
    assert shown == upstream


def test_pages_must_be_asked_for_each_time(mirror):
    """`no-cache`, `Vary`, a strong entity tag for each coding, inertness, the serial; 304 for the same representation."""
    reply = mirror.ask("/pypi/simple/acme-app/", Accept=JSON, Accept_Encoding="gzip")
    assert reply.headers["cache-control"] == "private, no-cache"
    assert reply.headers["vary"] == "Accept, Accept-Encoding, Authorization"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in reply.headers["content-security-policy"]
    assert reply.headers["x-pypi-last-serial"].isdecimal()
    again = mirror.ask("/pypi/simple/acme-app/", Accept=JSON, Accept_Encoding="gzip", If_None_Match=reply.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    plain = mirror.ask("/pypi/simple/acme-app/", Accept=JSON)
    assert plain.headers["etag"] != reply.headers["etag"]
    assert gzip.decompress(reply.body) == plain.body
    dense = mirror.ask("/pypi/simple/acme-app/", Accept=JSON, Accept_Encoding="zstd")
    assert zstandard.decompress(dense.body) == plain.body
    head = mirror.ask("/pypi/simple/acme-app/", method="HEAD", Accept=JSON)
    assert (head.headers["content-length"], head.body) == (str(len(plain.body)), b"")


@pytest.mark.parametrize("path", ["/pypi/simple/Foo.Bar_baz/", "/pypi/simple/foo-bar-baz", "/simple/FOO_BAR.BAZ/", "/pypi/simple/foo%2Dbar-baz/"])
def test_other_spellings_are_sent_to_the_one(mirror, path):
    """PEP 503: a 301 to the normalised name, on this mirror."""
    reply = mirror.ask(path)
    assert (reply.status, reply.headers["location"]) == (301, "/pypi/simple/foo-bar-baz/")


@pytest.mark.parametrize("path", ["/simple/acme-app/", "/pypi/simple/acme-app/", "/pypi//simple//acme-app/", "//pypi/simple/acme-app/"])
def test_aliases_and_doubled_slashes_reach_the_page(mirror, path):
    """Pipenv asks with two slashes; the root alias serves the same page with the same links."""
    assert mirror.ask(path, Accept=JSON).json == mirror.page("acme-app")


def test_a_file_is_served_with_its_bytes(mirror, index):
    """GET, HEAD and a range of a wheel at PyPI's own path, under the mount and at the root; no bytes are upstream's twice."""
    name, file = next(iter(files(mirror, "acme-big").items()))
    whole = mirror.ask(file["url"])
    assert hashlib.sha256(whole.body).hexdigest() == file["hashes"]["sha256"]
    assert whole.headers["content-type"] == "application/octet-stream"
    head = mirror.ask(file["url"], method="HEAD")
    assert (head.status, head.headers["content-length"]) == (200, str(file["size"]))
    part = mirror.ask(file["url"].replace("/pypi/packages", "/packages"), Range="bytes=100-199")
    assert (part.status, part.body) == (206, whole.body[100:200])
    gets = [call for call in index.requests if call.origin == "files" and call.path.endswith(name) and call.method == "GET"]
    assert len(gets) == 1


def test_metadata_is_served_as_upstreams(mirror):
    """PEP 658: the `.metadata` file has the hash that the page advertises."""
    file = files(mirror, "acme-app")["acme_app-2.0-py3-none-any.whl"]
    reply = mirror.ask(file["url"] + ".metadata")
    assert hashlib.sha256(reply.body).hexdigest() == file["core-metadata"]["sha256"]


def test_metadata_that_upstream_lacks_is_neither_advertised_nor_served(mirror):
    """An advertised file that is not there would make every install fail."""
    file = files(mirror, "acme-direct")
    assert all("url" in one for one in file.values())
    old = next(iter(files(mirror, "acme-old-style").values()))
    assert not old.get("core-metadata")
    assert mirror.ask(old["url"] + ".metadata").status in (403, 404)


def test_a_denied_project_is_listed_and_its_files_refused(mirror):
    """Files un-yanked on the page; each file and its metadata answers 451 with reason phrase and problem body, and no byte of it."""
    for file in files(mirror, "evil-thing").values():
        assert file["yanked"] is False
        for suffix in ("", ".metadata") if file["filename"].endswith(".whl") else ("",):
            for method in ("GET", "HEAD"):
                reply = mirror.ask(file["url"] + suffix, method=method)
                assert reply.status == 451, suffix
                assert "rule 'evil'" in reply.reason
                assert len(reply.reason) < 200
                assert reply.headers["content-type"] == "application/problem+json"
                assert CANARY not in reply.body
                if method == "GET":
                    assert "evil" in reply.json["detail"]


@pytest.mark.parametrize("project", ["Evil-Thing", "evil_thing", "EVIL.THING"])
def test_conventional_paths_are_judged_too(mirror, project):
    """`/packages/source/…` names the same artifact in every spelling."""
    reply = mirror.ask(f"/packages/source/e/{project}/evil_thing-1.0.tar.gz")
    assert reply.status == 451
    assert CANARY not in reply.body


def test_conventional_paths_serve_what_is_permitted(mirror):
    """The file itself, decided by itself."""
    file = files(mirror, "acme-sdist")["acme_sdist-1.0.tar.gz"]
    reply = mirror.ask("/packages/source/a/acme-sdist/acme_sdist-1.0.tar.gz")
    assert hashlib.sha256(reply.body).hexdigest() == file["hashes"]["sha256"]


def test_a_denied_version_is_yanked_with_our_reason(mirror):
    """Its wheel and sdist are marked in both forms; the others, upstream's own yank included, stay as they were."""
    shown = files(mirror, "acme-lib")
    ours = {name: file["yanked"] for name, file in shown.items() if "-1.1" in name}
    assert len(ours) == 2
    assert all("no-old" in reason for reason in ours.values())
    assert {file["yanked"] for name, file in shown.items() if "-2.0" in name} == {"breaks on Tuesdays"}
    assert {file["yanked"] for name, file in shown.items() if "-2.1" in name} == {False}
    html = mirror.ask("/pypi/simple/acme-lib/").body.decode()
    assert html.count("no-old") == 2
    assert mirror.ask(next(shown[name]["url"] for name in ours)).status == 403


def test_metadata_is_judged_as_its_file(mirror, index):
    """A rule on wheels reaches the wheel's metadata although its own kind is another."""
    wheel = next(iter(files(mirror, "acme-old-style").values()))
    assert mirror.ask(wheel["url"]).status == 403
    assert not [call for call in index.requests if call.origin == "files" and "old_style" in call.path]


def test_a_direct_url_requirement_is_refused_by_rule(mirror):
    """`Requires-Dist: x @ https://…` in the wheel's metadata is a fact; the page marks nothing, the file is refused."""
    file = next(iter(files(mirror, "acme-direct").values()))
    assert file["yanked"] is False
    reply = mirror.ask(file["url"])
    assert reply.status == 403
    assert "direct" in reply.json["rule"]
    assert mirror.ask(file["url"] + ".metadata").status == 403


def test_what_upstream_quarantined_is_withheld(index, tmp_path):
    """PEP 792: the page passes through with its status; a file that was cached before is served no more, 403 with the reason."""
    index.add_release("acme-turns-bad", "1.0")
    with mirror_of(index, tmp_path, []) as mirror:
        file = next(iter(files(mirror, "acme-turns-bad").values()))
        assert mirror.ask(file["url"]).status == 200
        index.project("acme-turns-bad", status="quarantined")
        mirror.stop()
        age(tmp_path)
        mirror.start()
        page = mirror.page("acme-turns-bad")
        assert (page["files"], page["project-status"]["status"]) == ([], "quarantined")
        reply = mirror.ask(mirror.url + file["url"].split("/pypi", 1)[1])
        assert reply.status == 403
        assert "quarantined by" in reply.json["detail"]


def test_a_deleted_file_is_withheld(index, tmp_path):
    """A file that the page lists no more is not served from the cache."""
    index.add_release("acme-shrinks", "1.0")
    index.add_release("acme-shrinks", "1.1")
    with mirror_of(index, tmp_path, []) as mirror:
        file = files(mirror, "acme-shrinks")["acme_shrinks-1.1-py3-none-any.whl"]
        assert mirror.ask(file["url"]).status == 200
        index.behave({"projects": [{"name": "acme-shrinks", "delete_release": "1.1"}]})
        mirror.stop()
        age(tmp_path)
        mirror.start()
        assert mirror.ask(mirror.url + file["url"].split("/pypi", 1)[1]).status == 403


def age(folder):
    """Make every stored page old, as if its lifetime had passed."""
    import sqlite3

    for path in (folder / "var").rglob("*.sqlite*"):
        if path.suffix in (".sqlite", ".sqlite3", ".db"):
            with sqlite3.connect(path) as base:
                base.execute("update documents set fetched_at = fetched_at - 86400000000 where max_age is not null")
            base.close()


def test_a_lock_files_url_is_decided_without_any_page(index, tmp_path):
    """A fresh mirror resolves an unknown path to its project by the file's name, and judges it."""
    dist = index.project("evil-thing").release("1.0")[0]
    good = index.project("acme-sdist").release("1.0")[0]
    with mirror_of(index, tmp_path, [{"id": "evil", "when": {"artifact": ["pkg:pypi/evil-*"]}, "effect": "deny"}]) as mirror:
        assert mirror.ask("/packages" + dist.path.removeprefix("/packages")).status == 403
        assert mirror.ask(good.path).body == good.data
        wrong = good.path.replace(good.path.split("/")[4], "0" * 60)
        assert mirror.ask(wrong).status == 404


def test_upstream_gone_serves_the_last_known(tmp_path):
    """Pages and files that were fetched stay; what was never fetched is a 503 with Retry-After, not a 404."""
    own = StandInIndex()
    own.add_release("acme-one", "1.0")
    with running_index(own) as index, mirror_of(index, tmp_path, []) as mirror:
        file = next(iter(files(mirror, "acme-one").values()))
        body = mirror.ask(file["url"]).body
        mirror.stop()
        dead = {"upstreams": ["http://127.0.0.1:9"], "origins": ["http://127.0.0.1:9"]}
        mirror.config["hubs"]["pypi"] |= dead
        age(tmp_path)
        mirror.start()
        assert files(mirror, "acme-one")
        assert mirror.ask(mirror.url + file["url"].split("/pypi", 1)[1]).body == body
        reply = mirror.ask("/pypi/simple/acme-two/", Accept=JSON)
        assert reply.status == 503
        assert int(reply.headers["retry-after"]) > 0


def test_what_upstream_deleted_stays_deleted(tmp_path):
    """A project that the index removed (so malware goes) does not come back when the index is down afterwards."""
    own = StandInIndex()
    own.add_release("acme-gone", "1.0")
    with running_index(own) as index, mirror_of(index, tmp_path, []) as mirror:
        file = next(iter(files(mirror, "acme-gone").values()))
        assert mirror.ask(file["url"]).status == 200
        del own.shelf.projects["acme-gone"]
        mirror.stop()
        age(tmp_path)
        mirror.start()
        assert mirror.ask("/pypi/simple/acme-gone/").status == 404
        mirror.stop()
        mirror.config["hubs"]["pypi"] |= {"upstreams": ["http://127.0.0.1:9"], "origins": ["http://127.0.0.1:9"]}
        age(tmp_path)
        mirror.start()
        assert mirror.ask("/pypi/simple/acme-gone/").status == 404
        assert mirror.ask(mirror.url + file["url"].split("/pypi", 1)[1]).status in (403, 404)


@pytest.mark.parametrize("where", ["rules", "exceptions"])
def test_a_rule_for_some_networks_is_a_page_for_some_clients(index, tmp_path, where):
    """Two clients in two networks see two pages, and each the right one, also when both come through the cache of judgements."""
    near, far = {"X_Forwarded_For": "10.8.0.1"}, {"X_Forwarded_For": "10.9.0.1"}
    rule = {"id": "net", "when": {"artifact": ["pkg:pypi/acme-lib@1.0"]}, "effect": "deny"}
    policy = {"rules": [rule | {"for": {"networks": ["10.8.0.0/16"]}}]}
    if where == "exceptions":
        lifted = {"id": "EX-1", "rule": "net", "scope": {"networks": ["10.9.0.0/16"]}, "reason": "t", "requested_by": "u1",
                  "approved_by": ["u2"], "expires": "2099-01-01"}  # fmt: skip
        policy = {"rules": [rule], "exceptions": [lifted]}
    with mirror_of(index, tmp_path, []) as mirror:
        mirror.stop()
        mirror.policy(**policy)
        mirror.config["listen"] = {"trusted_proxies": ["127.0.0.1/32"]}
        mirror.start()
        for headers, denied in ((near, True), (far, False), (near, True), (far, False)):
            text = json.dumps(mirror.page("acme-lib", **headers))
            assert ("'net'" in text) is denied


def test_what_is_not_there_is_404(mirror):
    """Unknown upstream, impossible names and unknown routes."""
    for path in ("/pypi/simple/no-such-thing/", "/pypi/simple/-/", "/pypi/simple/%2e%2e%2fx/", "/pypi/pypi/no-such-thing/json", "/pypi/other"):
        reply = mirror.ask(path)
        assert reply.status in (400, 404), path
        assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "method"), [("/pypi/legacy/", "POST"), ("/pypi/pypi", "POST"), ("/pypi/simple/acme-app/", "PUT"), ("/pypi/simple/", "DELETE")]
)
def test_writes_are_refused_and_recorded(mirror, index, path, method):
    """Uploads by twine, XML-RPC and anything else that writes: 403, nothing upstream, one event."""
    reply = mirror.ask(path, method=method, data=b"x" * 100)
    assert reply.status == 403
    assert "read-only" in reply.json["detail"]
    assert index.writes == []


def test_legacy_json_is_turned_and_marked(mirror):
    """URLs are the mirror's; the denied version is yanked with our reason, in its own answer too."""
    reply = mirror.ask("/pypi/pypi/acme-lib/json")
    assert reply.headers["content-type"] == "application/json"
    for version, listed in reply.json["releases"].items():
        for file in listed:
            assert file["url"].startswith(f"{mirror.url}/pypi/packages/")
            assert ("no-old" in (file["yanked_reason"] or "")) is (version == "1.1")
    one = mirror.ask("/pypi/acme-lib/1.1/json")
    assert "no-old" in one.json["info"]["yanked_reason"]
    assert mirror.ask("/pypi/Acme_Lib/json").headers["location"] == "/pypi/pypi/acme-lib/json"


def test_provenance_is_passed_on_from_here(mirror):
    """PEP 740: the page's address is ours and answers with the index's object."""
    file = next(iter(files(mirror, "acme-attested").values()))
    assert file["provenance"].startswith(f"{mirror.url}/pypi/integrity/acme-attested/1.0/")
    reply = mirror.ask(file["provenance"])
    assert reply.headers["content-type"] == "application/vnd.pypi.integrity.v1+json"
    assert reply.json["attestation_bundles"][0]["publisher"]["repository"] == "acme-labs/attested"


def test_the_list_of_projects(mirror):
    """Both forms of `/simple/`, links below the mount, markup written here."""
    names = {project["name"] for project in mirror.ask("/pypi/simple/", Accept=JSON).json["projects"]}
    assert "acme-app" in names
    html = mirror.ask("/simple/").body.decode()
    assert f'<a href="{mirror.url}/pypi/simple/acme-app/">' in html


def test_hostile_strings_stay_strings(mirror):
    """Upstream's markup appears in no tag of ours."""
    html = mirror.ask("/pypi/simple/acme-hostile/").body.decode()
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_a_denied_project_may_answer_with_a_page_of_refusal(index, tmp_path):
    """`denied_project: page`: the page itself is the 451, which uv prints whole; a file keeps its own status."""
    rule = {"id": "evil", "when": {"artifact": ["pkg:pypi/evil-*"]}, "effect": "deny"}
    with mirror_of(index, tmp_path, [rule], denied_project="page") as mirror:
        reply = mirror.ask("/pypi/simple/evil-thing/", Accept=JSON)
        assert (reply.status, json.loads(reply.body)["status"]) == (451, 451)
        assert reply.headers["content-type"] == "application/problem+json"
        assert mirror.ask("/packages/source/e/evil-thing/evil_thing-1.0.tar.gz").status == 403
        assert mirror.ask("/pypi/simple/acme-lib/").status == 200


def test_private_names_never_reach_the_public_index(tmp_path):
    """Names of `private.names` are asked of the private upstream only, and never merged; without one they are 404."""
    public, private = StandInIndex(), StandInIndex()
    public.add_release("acme-secret", "9.9")
    private.add_release("acme-secret", "1.0")
    with running_index(public) as out, running_index(private) as own:
        settings = {"private": {"names": ["acme-*", "Hidden_Name"], "upstream": own.url}, "origins": [out.files_url, own.files_url]}
        with mirror_of(out, tmp_path, [], **settings) as mirror:
            shown = files(mirror, "acme-secret")
            assert list(shown) == ["acme_secret-1.0-py3-none-any.whl"]
            assert mirror.ask(shown["acme_secret-1.0-py3-none-any.whl"]["url"]).status == 200
            assert mirror.ask("/pypi/simple/hidden-name/").status == 404
            assert mirror.ask("/pypi/pypi/acme-secret/json").status == 200
        assert [call.path for call in out.requests] == []


def test_a_big_page_is_quick_when_warm(mirror, index):
    """The second request of a 3,000-file page asks upstream nothing and gives the same bytes."""
    first = mirror.ask("/pypi/simple/acme-huge/", Accept=JSON, Accept_Encoding="gzip")
    asked = len(index.requests)
    again = mirror.ask("/pypi/simple/acme-huge/", Accept=JSON, Accept_Encoding="gzip")
    assert again.body == first.body
    assert len(index.requests) == asked
    assert len(json.loads(gzip.decompress(first.body))["files"]) == 3000


def test_a_changed_policy_changes_the_page(index, tmp_path):
    """A client with a warm cache gets another entity tag as soon as the policy denies something on the page."""
    with mirror_of(index, tmp_path, []) as mirror:
        before = mirror.ask("/pypi/simple/acme-lib/", Accept=JSON)
        mirror.policy(rules=[{"id": "late", "when": {"artifact": ["pkg:pypi/acme-lib@1.0"]}, "effect": "deny"}])
        for _ in range(100):
            after = mirror.ask("/pypi/simple/acme-lib/", Accept=JSON, If_None_Match=before.headers["etag"])
            if after.status == 200:
                break
            time.sleep(0.1)
        assert after.status == 200
        assert "late" in after.body.decode()
