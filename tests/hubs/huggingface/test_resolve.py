"""Files through the mirror: every kind, every spelling of a name, every answer a client reads from the headers."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

import pytest

from tests.support.standin.defaults import ALICE, ODD_NAMES
from tests.support.standin.hub import StandInHub

from .conftest import Mirror, mirror_of

SERVED_ODD = [name for name in ODD_NAMES if "\\" not in name] + ["large #1 100%.bin", "empty.bin"]


@pytest.mark.parametrize(
    ("kind", "repo", "path"),
    [
        ("models", "acme/tiny-bert", "config.json"), ("models", "acme/tiny-bert", "model.safetensors"), ("models", "tinybert", "vocab.txt"),
        ("datasets", "acme/reviews", "data/train.csv"), ("datasets", "acme/reviews", "extra/reviews.parquet"),
        ("spaces", "acme/demo", "app.py"), ("kernels", "acme/fast-kernel", "build/torch-universal/fast_kernel/__init__.py"),
    ],
)  # fmt: skip
async def test_head_and_get_agree_and_are_whole(standin: StandInHub, mirror: Mirror, kind: str, repo: str, path: str) -> None:
    """HEAD and GET answer 200 without a redirect, with commit, entity tag, length and no trace of Xet; the bytes are right."""
    source = standin.repo(repo, kind)
    file = source.commits[source.head].files[path]
    target = f"/{source.prefix}{repo}/resolve/main/{path}"
    head, got = await mirror.get(target, method="HEAD"), await mirror.get(target)
    assert (head.status, got.status) == (200, 200)
    assert got.body == file.data
    for answer in (head, got):
        assert answer.headers["X-Repo-Commit"] == source.head
        assert answer.headers["ETag"] == f'"{file.sha256 if file.lfs else file.oid}"'
        assert answer.headers["Content-Length"] == str(len(file.data))
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert ("X-Linked-ETag" in answer.headers) == file.lfs
        assert not [name for name in answer.headers if "xet" in name.lower()]
        assert "Link" not in answer.headers
        assert not {"Set-Cookie", "RateLimit", "RateLimit-Policy", "X-HF-Warning", "Via", "X-Cache"} & set(answer.headers)
    assert head.body == b""


async def test_head_starts_no_transfer(standin: StandInHub, mirror: Mirror) -> None:
    """HEAD on a large file asks the CDN for nothing (trap 8)."""
    await mirror.get("/acme/tiny-bert/resolve/main/model.safetensors", method="HEAD")
    assert not [call for call in standin.requests if call.origin == "cdn"]


async def test_a_warm_file_asks_nothing_upstream(standin: StandInHub, mirror: Mirror) -> None:
    """Within a minute, a second GET of a cached file opens no upstream connection."""
    target = "/acme/tiny-bert/resolve/main/model.safetensors"
    await mirror.get(target)
    before = len(standin.requests)
    again = await mirror.get(target)
    assert again.status == 200
    assert "hit" in again.headers["Cache-Status"]
    assert len(standin.requests) == before


@pytest.mark.parametrize("path", SERVED_ODD)
async def test_odd_names(standin: StandInHub, mirror: Mirror, path: str) -> None:
    """`#`, `%`, `?`, spaces, quotes and other scripts in file names arrive upstream as they were sent."""
    repo = standin.repo("acme/odd-names")
    got = await mirror.get(f"/acme/odd-names/resolve/main/{quote(path)}")
    assert (got.status, got.body) == (200, repo.commits[repo.head].files[path].data)


async def test_ranges(standin: StandInHub, mirror: Mirror) -> None:
    """A range of a file is 206 with the right bytes, cold and warm; one past the end is 416."""
    repo = standin.repo("acme/tiny-bert")
    data = repo.commits[repo.head].files["model.safetensors"].data
    target = "/acme/tiny-bert/resolve/main/model.safetensors"
    for _ in range(2):
        part = await mirror.get(target, Range="bytes=8-99")
        assert (part.status, part.body) == (206, data[8:100])
        assert part.headers["Content-Range"] == f"bytes 8-99/{len(data)}"
        await mirror.get(target)
    assert (await mirror.get(target, Range=f"bytes={len(data)}-")).status == 416


async def test_revisions(standin: StandInHub, mirror: Mirror) -> None:
    """Branch, tag, full reference, pull request, escaped branch, commit and short commit lead to their commit."""
    repo = standin.repo("acme/tiny-bert")
    for revision in ("v1.0", "refs%2Fpr%2F1", "refs%2Fheads%2Fmain", "feature%2Fx", repo.head, repo.head[:10]):
        found = repo.resolve(revision.replace("%2F", "/"))
        head = await mirror.get(f"/acme/tiny-bert/resolve/{revision}/config.json", method="HEAD")
        assert (head.status, head.headers["X-Repo-Commit"]) == (200, found.id), revision
    missing = await mirror.get("/acme/tiny-bert/resolve/nope/config.json")
    assert (missing.status, missing.headers["X-Error-Code"]) == (404, "RevisionNotFound")


@pytest.mark.parametrize(
    "name", ["ACME/Tiny-BERT", "%61cme/tiny-bert", "acme//tiny-bert", "/acme/tiny-bert"]
)
async def test_spellings_of_one_name(standin: StandInHub, mirror: Mirror, name: str) -> None:
    """Case, escapes and doubled slashes lead to the one repository under its canonical name."""
    head = await mirror.get(f"/{name}/resolve/main/config.json", method="HEAD")
    assert (head.status, head.headers["X-Repo-Commit"]) == (200, standin.repo("acme/tiny-bert").head)


async def test_renamed_repositories(standin: StandInHub, mirror: Mirror) -> None:
    """Old names, with and without an owner, give the file of the new name, and its page names the new one."""
    for old in ("acme/old-name", "oldcorp/old-name"):
        assert (await mirror.get(f"/{old}/resolve/main/config.json")).status == 200
        assert (await mirror.get(f"/api/models/{old}")).json()["id"] == "acme/new-name"
    assert (await mirror.get("/solid2/resolve/main/config.json")).status == 200


async def test_a_missing_file_is_the_hubs_own_answer_kept_for_ever(standin: StandInHub, mirror: Mirror) -> None:
    """EntryNotFound comes with the commit, is asked of the hub once for a commit, and is never made up (trap 24)."""
    target = "/acme/tiny-bert/resolve/main/no_such_file.py"
    for _ in range(3):
        answer = await mirror.get(target, method="HEAD")
        assert (answer.status, answer.headers["X-Error-Code"]) == (404, "EntryNotFound")
        assert answer.headers["X-Repo-Commit"] == standin.repo("acme/tiny-bert").head
        mirror.pass_time(minutes=30)
    head = standin.repo("acme/tiny-bert").head  # of the branch it is asked beside the very first page
    assert len([call for call in standin.requests if call.path.endswith(f"{head}/no_such_file.py")]) == 1


async def test_raw_gives_what_git_holds(standin: StandInHub, mirror: Mirror) -> None:
    """`/raw/` of a large file is its pointer, of a small file its bytes."""
    repo = standin.repo("acme/tiny-bert")
    files = repo.commits[repo.head].files
    for path in ("model.safetensors", "config.json"):
        got = await mirror.get(f"/acme/tiny-bert/raw/main/{path}")
        assert (got.status, got.body, got.headers["ETag"]) == (200, files[path].in_git, f'"{files[path].oid}"')


async def test_resolve_cache_takes_commits_only(standin: StandInHub, mirror: Mirror) -> None:
    """The hub's own redirect target is answered for a full commit, whatever its odd query; else 400."""
    head = standin.repo("acme/tiny-bert").head
    odd = "?%2Facme%2Ftiny-bert%2Fresolve%2Fmain%2Fconfig.json=&etag=%22x%22"
    assert (await mirror.get(f"/api/resolve-cache/models/acme/tiny-bert/{head}/config.json{odd}")).status == 200
    assert (await mirror.get("/api/resolve-cache/models/acme/tiny-bert/main/config.json")).status == 400


@pytest.mark.parametrize(
    "target",
    ["/acme/tiny-bert/resolve/main/%2e%2e/x", "/acme/tiny-bert/resolve/main/%ff", "/acme%2Ftiny-bert/resolve/main/config.json", "/acme/tiny-bert/resolve/%00/config.json", "/acme/tiny-bert/resolve/main/a%zz"],
)
async def test_hostile_targets(standin: StandInHub, mirror: Mirror, target: str) -> None:
    """A target without a meaning is a 4xx before anything is asked upstream."""
    assert (await mirror.get(target)).status == 400
    assert len(standin.requests) == 0


async def test_the_cdn_never_sees_a_token(standin: StandInHub, mirror: Mirror) -> None:
    """A gated file fetched with a token comes through the CDN without it (P5)."""
    from tests.support.standin.defaults import ALICE

    repo = standin.repo("acme/gated-auto")
    got = await mirror.get("/acme/gated-auto/resolve/main/model.safetensors", ALICE)
    assert hashlib.sha256(got.body).hexdigest() == repo.commits[repo.head].files["model.safetensors"].sha256
    assert [call for call in standin.requests if call.origin == "cdn"]
    assert not [call for call in standin.requests if call.origin == "cdn" and "Authorization" in call.headers]


async def test_offline_serves_what_is_cached(standin: StandInHub, tmp_path) -> None:
    """A restarted mirror without network serves by branch and by commit what it has, and says what it has not."""
    head = standin.repo("acme/tiny-bert").head
    async with mirror_of(standin, tmp_path / "m") as mirror:
        await mirror.get("/acme/tiny-bert/resolve/main/config.json")
    await standin.stop()
    async with mirror_of(standin, tmp_path / "m", offline=True) as mirror:
        for revision in ("main", head):
            assert (await mirror.get(f"/acme/tiny-bert/resolve/{revision}/config.json")).status == 200
        never = await mirror.get("/acme/tiny-bert/resolve/main/model.safetensors")
        assert never.status == 404
        assert never.headers["X-Error-Code"] != "EntryNotFound"
        assert "offline" in never.headers["X-Error-Message"]


async def test_a_client_that_uses_another_name_is_not_sent_abroad(standin, tmp_path):
    """HEAD by branch names the commit's URL only to who asked at the public name; another name's client would lose its token."""
    async with mirror_of(standin, tmp_path / "m", public_url="http://Mirror.example:80") as mirror:
        target = "/acme/gated-auto/resolve/main/config.json"
        by_alias = await mirror.get(target, ALICE, "HEAD")
        by_name = await mirror.get(target, ALICE, "HEAD", Host="mirror.example")
    assert by_alias.status == by_name.status == 200
    assert "Location" not in by_alias.headers
    assert by_name.headers["Location"].startswith("http://Mirror.example:80/acme/gated-auto/resolve/")
