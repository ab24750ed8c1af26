"""The stand-ins' answers on the wire: status, headers and bytes as the facts pages give them."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest

from tests.support.standin import ALICE, BOB, CANARY, StandInHub, StandInIndex, populate, populate_index, take_over
from tests.support.standin.gitobjects import git_oid

from .conftest import Fetch

ROOT = Path(__file__).parents[2]
AUTH = {"Authorization": f"Bearer {ALICE}"}
SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"


def test_small_file_redirect_has_the_commit_and_no_etag(hub: StandInHub, fetch: Fetch) -> None:
    """A public git file answers 307 with a relative resolve-cache Location, X-Repo-Commit, the warning, and no ETag."""
    repo = hub.repo("acme/tiny-bert")
    status, headers, _ = fetch(f"{hub.url}/acme/tiny-bert/resolve/main/config.json", "HEAD")
    assert status == 307
    assert headers["Location"].startswith(f"/api/resolve-cache/models/acme/tiny-bert/{repo.head}/config.json?%2Facme")
    assert headers["X-Repo-Commit"] == repo.head
    assert headers["ETag"] is None
    assert headers["X-HF-Warning"].startswith("unauthenticated;")
    assert "token=" in headers["Set-Cookie"]
    assert headers["RateLimit"].startswith('"resolvers";r=')
    status, headers, body = fetch(hub.url + headers["Location"])
    assert (status, headers["ETag"]) == (200, f'"{git_oid("blob", body)}"')
    assert headers["X-Repo-Commit"] == repo.head


@pytest.mark.parametrize(("commit", "status"), [("main", 400), ("0" * 40, 404)])
def test_resolve_cache_wants_this_repositorys_commit(hub: StandInHub, fetch: Fetch, commit: str, status: int) -> None:
    """resolve-cache answers 400 for a branch and 404 for a commit of another repository."""
    assert fetch(f"{hub.url}/api/resolve-cache/models/acme/tiny-bert/{commit}/config.json")[0] == status


def test_large_file_redirect_carries_the_linked_headers_and_xet(hub: StandInHub, fetch: Fetch) -> None:
    """An LFS file's 302 has X-Linked-*, the Xet hash and both link relations; the CDN's answer has none of them."""
    file = hub.repo("acme/tiny-bert").commits[hub.repo("acme/tiny-bert").head].files["model.safetensors"]
    status, headers, _ = fetch(f"{hub.url}/acme/tiny-bert/resolve/main/model.safetensors", "HEAD")
    assert status == 302
    assert headers["X-Linked-ETag"] == f'"{hashlib.sha256(file.data).hexdigest()}"'
    assert int(headers["X-Linked-Size"]) == len(file.data)
    assert headers["X-Xet-Hash"] == file.xet
    assert 'rel="xet-auth"' in headers["Link"]
    assert 'rel="xet-reconstruction-info"' in headers["Link"]
    assert headers["Location"].startswith(hub.cdn_url)
    status, got, body = fetch(headers["Location"])
    assert (status, body) == (200, file.data)
    assert len(got["ETag"]) == 66
    assert got["ETag"] != headers["X-Linked-ETag"]
    assert not {"X-Repo-Commit", "X-Linked-ETag", "X-Xet-Hash", "Link"} & set(got)


def test_cdn_rules(hub: StandInHub, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CDN refuses a token (400), a changed or expired signature (403), and honours Range and If-Range."""
    url = fetch(f"{hub.url}/acme/tiny-bert/resolve/main/pytorch_model.bin")[1]["Location"]
    assert fetch(url, headers=AUTH)[0] == 400
    assert fetch(url.replace("Signature=", "Signature=0"))[0] == 403
    status, headers, part = fetch(url, headers={"Range": "bytes=7-30"})
    whole = fetch(url)[2]
    assert (status, part) == (206, whole[7:31])
    assert headers["Content-Range"] == f"bytes 7-30/{len(whole)}"
    assert fetch(url, headers={"Range": f"bytes={len(whole)}-"})[0] == 416
    assert fetch(url, headers={"Range": "bytes=-5"})[2] == whole[-5:]
    assert fetch(url, headers={"Range": "bytes=7-30", "If-Range": '"other"'})[0] == 200
    assert fetch(url, headers={"Range": "bytes=7-30", "If-Range": headers["ETag"]})[0] == 206
    expires = int(urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["Expires"][0])
    monkeypatch.setattr(hub, "clock", lambda: expires + 1.0)
    assert fetch(url)[0] == 403
    monkeypatch.undo()
    hub.expire_signed_urls()
    assert fetch(url)[0] == 403


def test_gzip_takes_away_length_strong_etag_and_ranges(hub: StandInHub, fetch: Fetch) -> None:
    """Text asked for with gzip comes chunked, without Content-Length, weakly tagged, and ignores Range."""
    where = fetch(f"{hub.url}/acme/tiny-bert/resolve/main/vocab.txt", "HEAD")[1]["Location"]
    status, headers, body = fetch(hub.url + where, headers={"Accept-Encoding": "gzip", "Range": "bytes=0-3"})
    assert status == 200
    assert headers["Content-Length"] is None
    assert headers["Transfer-Encoding"] == "chunked"
    assert headers["ETag"].startswith('W/"')
    assert "accept-encoding" in headers["Vary"]
    plain = fetch(hub.url + where, headers={"Accept-Encoding": "identity", "Range": "bytes=0-3"})
    assert (plain[0], plain[2]) == (206, gzip.decompress(body)[:4])


def test_xet_answers_in_every_place(hub: StandInHub, fetch: Fetch) -> None:
    """Tree and paths-info have xetHash, the token comes in headers and body, and Accept can ask for Xet JSON."""
    base, commit = f"{hub.url}/api/models/acme/tiny-bert", hub.repo("acme/tiny-bert").head
    rows = json.loads(fetch(f"{base}/tree/main?recursive=true")[2])
    assert {row["path"] for row in rows if "xetHash" in row} == {"model.safetensors", "pytorch_model.bin"}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    rows = json.loads(
        fetch(f"{base}/paths-info/main", "POST", form, b"paths=model.safetensors&paths=nope&expand=true")[2]
    )
    assert [row["path"] for row in rows] == ["model.safetensors"]
    assert rows[0]["xetHash"]
    assert rows[0]["lastCommit"]
    body = json.dumps({"paths": ["config.json"]}).encode()
    rows = json.loads(fetch(f"{base}/paths-info/main", "POST", {"Content-Type": "application/json"}, body)[2])
    assert rows[0]["oid"] == hub.repo("acme/tiny-bert").commits[commit].files["config.json"].oid
    _, headers, answer = fetch(f"{base}/xet-read-token/{commit}")
    assert json.loads(answer)["casUrl"] == headers["X-Xet-Cas-Url"] == hub.cas_url
    accept = {"Accept": "application/vnd.xet-fileinfo+json, */*"}
    status, headers, answer = fetch(f"{hub.url}/acme/tiny-bert/resolve/main/model.safetensors", headers=accept)
    assert status == 200
    assert json.loads(answer)["refreshUrl"].endswith(f"/xet-read-token/{commit}")
    assert headers["Vary"] == "Origin, Accept"


def test_pages_link_absolutely_to_the_hubs_own_host(hub: StandInHub, fetch: Fetch) -> None:
    """A tree has 1,000 rows a page (50 with expand) and commits carry X-Total-Count; next links are absolute."""
    _, headers, body = fetch(f"{hub.url}/api/models/acme/many-files/tree/main?recursive=true")
    assert len(json.loads(body)) == 1000
    link = headers["Link"]
    assert link.startswith(f"<{hub.url}/api/models/acme/many-files/tree/main?recursive=true&limit=1000&cursor=")
    rest = json.loads(fetch(link[1 : link.index(">")])[2])
    assert not {row["path"] for row in rest} & {row["path"] for row in json.loads(body)}
    assert len(json.loads(fetch(f"{hub.url}/api/models/acme/many-files/tree/main?recursive=1&expand=true")[2])) == 50
    _, headers, _ = fetch(f"{hub.url}/api/models/acme/tiny-bert/commits/main?limit=1")
    assert headers["X-Total-Count"] == "2"
    assert "p=1" in headers["Link"]


def test_error_answers_are_exact(hub: StandInHub, fetch: Fetch) -> None:
    """Missing: 401 without a code for nobody, 404 RepoNotFound with a token; a missing file is 15 bytes of text."""
    status, headers, body = fetch(f"{hub.url}/api/models/acme/never-was")
    assert (status, headers["X-Error-Code"], headers["X-Error-Message"]) == (401, None, "Invalid username or password.")
    assert headers["WWW-Authenticate"].startswith('Bearer realm="Authentication required"')
    assert json.loads(body) == {"error": "Invalid username or password."}
    status, headers, _ = fetch(f"{hub.url}/api/models/acme/never-was", headers={"Authorization": f"Bearer {BOB}"})
    assert (status, headers["X-Error-Code"]) == (404, "RepoNotFound")
    status, headers, body = fetch(f"{hub.url}/acme/tiny-bert/resolve/main/nope")
    assert (status, headers["X-Error-Code"], body) == (404, "EntryNotFound", b"Entry not found")
    assert headers["X-Repo-Commit"] == hub.repo("acme/tiny-bert").head
    status, headers, _ = fetch(f"{hub.url}/api/models/acme/tiny-bert/revision/nope")
    assert (status, headers["X-Error-Code"], headers["X-Error-Message"]) == (
        404,
        "RevisionNotFound",
        "Invalid rev id: nope",
    )
    assert fetch(f"{hub.url}/api/models/acme/tiny-bert", headers={"Authorization": "Bearer hf_x"})[0] == 401


def test_revisions_of_every_spelling(hub: StandInHub, fetch: Fetch) -> None:
    """Branches with slashes, tags, pull requests and short hashes are revisions; the API redirects old names with query."""
    repo = hub.repo("acme/tiny-bert")
    for revision in ("feature%2Fx", "v1.0", "refs%2Fpr%2F1", repo.head[:7], repo.head, "refs%2Fheads%2Fmain"):
        status, headers, _ = fetch(f"{hub.url}/acme/tiny-bert/resolve/{revision}/config.json", "HEAD")
        assert (status, headers["X-Repo-Commit"]) == (307, repo.resolve(urllib.parse.unquote(revision)).id)
    status, headers, _ = fetch(f"{hub.url}/api/models/acme/old-name/tree/main?recursive=true")
    assert (status, headers["Location"]) == (307, "/api/models/acme/new-name/tree/main?recursive=true")
    status, headers, _ = fetch(f"{hub.url}/acme/old-name.git/info/refs?service=git-upload-pack")
    assert (status, headers["Location"]) == (307, "/acme/new-name.git/info/refs?service=git-upload-pack")


def test_lfs_batch_and_raw_pointer(hub: StandInHub, fetch: Fetch) -> None:
    """The raw route gives the pointer of a large file, and the LFS batch a signed CDN URL with the same bytes."""
    pointer = fetch(f"{hub.url}/acme/tiny-bert/raw/main/model.safetensors")[2].decode()
    oid, size = pointer.split("sha256:")[1].split("\nsize ")
    asked = {"operation": "download", "objects": [{"oid": oid, "size": int(size)}, {"oid": "0" * 64, "size": 1}]}
    _, headers, body = fetch(
        f"{hub.url}/acme/tiny-bert.git/info/lfs/objects/batch", "POST", AUTH, json.dumps(asked).encode()
    )
    found, missing = json.loads(body)["objects"]
    assert headers["Content-Type"] == "application/vnd.git-lfs+json"
    assert hashlib.sha256(fetch(found["actions"]["download"]["href"])[2]).hexdigest() == oid
    assert missing["error"]["code"] == 404
    assert not hub.writes


def test_manifest_depends_on_the_user_agent(hub: StandInHub, fetch: Fetch) -> None:
    """`ggufFile` is only in the manifest that llama.cpp gets; an unknown quantisation is 400."""
    url = f"{hub.url}/v2/quantbarn/solid-7b-merge-GGUF/manifests/Q4_K_M"
    assert "ggufFile" not in json.loads(fetch(url)[2])
    found = json.loads(fetch(url, headers={"User-Agent": "llama-cpp"})[2])["ggufFile"]
    assert found["rfilename"] == "solid-7b-merge-Q4_K_M.gguf"
    assert fetch(url.replace("Q4_K_M", "Q1"))[0] == 400


def test_dataset_parquet_is_absolute(hub: StandInHub, fetch: Fetch) -> None:
    """The parquet listing holds absolute URLs that redirect to refs/convert/parquet."""
    table = json.loads(fetch(f"{hub.url}/api/datasets/acme/reviews/parquet")[2])
    url = table["default"]["train"][0]
    assert url.startswith(hub.url)
    assert "/datasets/acme/reviews/resolve/refs%2Fconvert%2Fparquet/" in fetch(url)[1]["Location"]


async def test_content_is_the_same_for_the_same_seed_and_names_can_change_hands() -> None:
    """The same seed gives the same ids; `take_over` puts another `_id` under an old name."""
    one, two = populate(StandInHub(7)), populate(StandInHub(7))
    assert {k: (r.hub_id, r.head) for k, r in one.world.repos.items()} == {
        k: (r.hub_id, r.head) for k, r in two.world.repos.items()
    }
    before = one.repo("umbrella/handed-on").hub_id
    take_over(one)
    assert one.repo("umbrella/handed-on").hub_id != before


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (f"{SIMPLE_JSON}, application/vnd.pypi.simple.v1+html;q=0.1, text/html;q=0.01", SIMPLE_JSON),
        (f"{SIMPLE_JSON}, */*;q=0.1", SIMPLE_JSON),
        ("*/*", "text/html; charset=UTF-8"),
        ("image/png", "text/html; charset=UTF-8"),
        ("application/vnd.pypi.simple.v1+html", "application/vnd.pypi.simple.v1+html"),
        (f"text/html, {SIMPLE_JSON}", "text/html; charset=UTF-8"),
    ],
)
def test_simple_pages_are_negotiated(index: StandInIndex, fetch: Fetch, accept: str, kind: str) -> None:
    """Accept decides; ties and misses give text/html, never 406. ETag is the MD5 of the body, and it gives 304."""
    status, headers, body = fetch(f"{index.simple_url}acme-lib/", headers={"Accept": accept})
    assert (status, headers["Content-Type"]) == (200, kind)
    assert headers["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert headers["Cache-Control"] == "max-age=600, public"
    assert int(headers["X-PyPI-Last-Serial"]) > 0
    again = fetch(f"{index.simple_url}acme-lib/", headers={"Accept": accept, "If-None-Match": headers["ETag"]})
    assert (again[0], again[2]) == (304, b"")


def test_simple_json_has_every_key(index: StandInIndex, fetch: Fetch) -> None:
    """The JSON page is api-version 1.4 with status, versions, sizes, times, yanks, metadata and provenance."""
    page = json.loads(fetch(f"{index.simple_url}acme-lib/", headers={"Accept": SIMPLE_JSON})[2])
    assert page["meta"]["api-version"] == "1.4"
    assert page["project-status"] == {"status": "active"}
    assert page["versions"] == ["1.0", "1.1", "2.0", "2.1", "2.2rc1"]
    rows = {row["filename"]: row for row in page["files"]}
    wheel = rows["acme_lib-2.0-py3-none-any.whl"]
    assert wheel["yanked"] == "breaks on Tuesdays"
    assert wheel["core-metadata"] == wheel["data-dist-info-metadata"]
    assert wheel["upload-time"] == "2024-06-01T00:00:00.000000Z"
    assert wheel["url"].startswith(f"{index.files_url}/packages/")
    data = fetch(wheel["url"])[2]
    path = hashlib.blake2b(data, digest_size=32).hexdigest()
    assert f"/packages/{path[:2]}/{path[2:4]}/{path[4:]}/" in wheel["url"]
    assert (len(data), hashlib.sha256(data).hexdigest()) == (wheel["size"], wheel["hashes"]["sha256"])
    metadata = fetch(f"{wheel['url']}.metadata")[2]
    assert hashlib.sha256(metadata).hexdigest() == wheel["core-metadata"]["sha256"]
    part = fetch(wheel["url"], headers={"Range": "bytes=5-9"})
    assert (part[0], part[2]) == (206, data[5:10])
    assert "immutable" in part[1]["Cache-Control"]
    url = json.loads(fetch(f"{index.simple_url}acme-attested/", headers={"Accept": SIMPLE_JSON})[2])["files"][0][
        "provenance"
    ]
    _, headers, body = fetch(url)
    assert headers["Content-Type"] == "application/vnd.pypi.integrity.v1+json"
    assert json.loads(body)["attestation_bundles"][0]["publisher"]["repository"] == "acme-labs/attested"


def test_names_statuses_and_legacy_json(index: StandInIndex, fetch: Fetch) -> None:
    """Other spellings are 301, quarantined is an empty page and no legacy JSON, archived keeps its files."""
    for spelling in ("Foo.Bar_baz/", "foo--bar.baz/", "foo-bar-baz"):
        status, headers, _ = fetch(index.simple_url + spelling)
        assert (status, headers["Location"]) == (301, "/simple/foo-bar-baz/")
    page = json.loads(fetch(f"{index.simple_url}acme-quarantined/", headers={"Accept": SIMPLE_JSON})[2])
    assert (page["files"], page["project-status"]) == ([], {"status": "quarantined"})
    assert fetch(f"{index.url}/pypi/acme-quarantined/json")[0] == 404
    page = json.loads(fetch(f"{index.simple_url}acme-archived/", headers={"Accept": SIMPLE_JSON})[2])
    assert (len(page["files"]), page["project-status"]) == (1, {"status": "archived"})
    whole = json.loads(fetch(f"{index.url}/pypi/acme-lib/json")[2])
    assert (whole["info"]["version"], sorted(whole["releases"])) == ("2.1", ["1.0", "1.1", "2.0", "2.1", "2.2rc1"])
    one = json.loads(fetch(f"{index.url}/pypi/acme-lib/2.0/json")[2])
    assert (one["info"]["yanked_reason"], "releases" in one) == ("breaks on Tuesdays", False)
    owner = json.loads(fetch(f"{index.url}/pypi/acme-attested/json")[2])["ownership"]
    assert owner == {"organization": "acme-labs", "roles": [{"role": "Owner", "user": "acme-dev"}]}
    huge = fetch(f"{index.simple_url}acme-huge/", headers={"Accept": SIMPLE_JSON, "Accept-Encoding": "gzip"})
    assert len(json.loads(gzip.decompress(huge[2]))["files"]) == 3000
    direct = fetch(f"{index.files_url}/packages/source/a/acme-sdist/acme_sdist-1.0.tar.gz")
    assert direct[0] == 302
    assert fetch(index.files_url + direct[1]["Location"])[0] == 200


async def test_a_deleted_release_still_answers_at_its_own_url(fetch: Fetch) -> None:
    """A release taken off its page is gone from there, while its file can still be fetched directly."""
    index = populate_index(StandInIndex())
    file = index.add_release("acme-gone", "1.0", contents={"acme_gone/canary.txt": CANARY})[0]
    index.shelf.delete_release("acme-gone", "1.0")
    assert index.project("acme-gone").files == []
    assert index.shelf.by_path[file.path] is file


def test_as_a_process_it_can_be_asked_changed_and_killed(fetch: Fetch) -> None:
    """The process prints its URLs, shows its log, takes faults and changes over HTTP, and dies when killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.standin", "both", "--json"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        urls = json.loads(process.stdout.readline())
        assert fetch(f"{urls['hub']}/api/models/tinybert")[0] == 200
        change = {
            "faults": [{"kind": "status", "path": "/api/*", "status": 502, "times": 1}],
            "repos": [{"name": "tinybert", "set": {"gated": "auto"}, "push": {"new.txt": "new"}}],
        }
        answer = fetch(f"{urls['hub']}/__standin__/behaviour", "POST", body=json.dumps(change).encode())
        assert (answer[0], json.loads(answer[2])) == (200, {"faults": [1]})
        assert fetch(f"{urls['hub']}/api/models/tinybert")[0] == 502
        assert json.loads(fetch(f"{urls['hub']}/api/models/tinybert")[2])["gated"] == "auto"
        log = json.loads(fetch(f"{urls['hub']}/__standin__/requests")[2])
        assert [(row["path"], row["status"]) for row in log] == [("/api/models/tinybert", s) for s in (200, 502, 200)]
        wrong = fetch(f"{urls['index']}/__standin__/behaviour", "POST", body=b'{"fault": []}')
        assert wrong[0] == 400
        assert b"unknown keys" in wrong[2]
        os.kill(urls["pid"], signal.SIGKILL)
        process.wait(10)
        with pytest.raises(ConnectionRefusedError):
            fetch(urls["hub"])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_half_and_hostile_paths_never_break_the_stand_in(hub: StandInHub, fetch: Fetch, method: str) -> None:
    """Truncated and malformed paths, cursors and bodies get a proper answer below 500."""
    for path in (
        *("/", "//", "/api", "/api/", "/datasets", "/datasets/", "/%00", "/%ff", "/../../etc/passwd", "/v2", "/v2/a"),
        *(
            "/api/models/",
            "/api/models/acme",
            "/api/models/acme/",
            "/api/models/acme/tiny-bert/tree",
            "/acme/tiny-bert/resolve",
        ),
        *("/api/models?cursor=zz", "/api/models?limit=x", "/api/resolve-cache/", "/api/resolve-cache/models/acme"),
        *("/acme/tiny-bert/resolve/main", "/acme/tiny-bert/resolve/main/", "/acme/tiny-bert/resolve/main/%ff"),
        *(
            "/api/datasets/acme/reviews/parquet/a/b/c",
            "/acme/tiny-bert.git/info/refs",
            "/api/models/tinybert/paths-info/main",
        ),
    ):
        assert 200 <= fetch(hub.url + path, method, body=b"[]" if method == "POST" else None)[0] < 500
