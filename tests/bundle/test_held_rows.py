"""What no bundle may say and no list may lead to: rights of persons, digests that are none, files that lie elsewhere."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from mirror.bundle.bootstrap import _environment
from mirror.bundle.contents import (
    EvidenceRow,
    ListFile,
    ListRow,
    PinRow,
    PlaceRow,
    artifact_row,
    entry_row,
    grant_row,
    line,
    page_row,
    read,
)
from mirror.bundle.faults import BundleFault
from mirror.bundle.gather import _of_commits
from mirror.bundle.packages import Index
from mirror.bundle.receipt import ReceivedBook
from mirror.bundle.used import Used, gathered
from mirror.cli.bundle_incoming import _in_turn
from mirror.core.errors import InputError
from mirror.core.nouns import Artifact, Kind, Project
from mirror.core.ports import Grant
from tests.bundle.carried import CREATED
from tests.bundle.test_contents import NOW, TINY, entry, page
from tests.bundle.test_held_carrier import GOOD

GRANT = grant_row(Grant("service", "x", allowed=True, public=False, at=NOW), TINY)
LIST = ListRow("house", "csv", "1", 3, (ListFile("house.csv", "a" * 64, 3),), None)
PLACE = PlaceRow("/x", artifact_row(entry().artifact), None, None, "https://files.example/x", None)
FAULTS = {
    "a right of somebody": (replace(GRANT, credential="0123abcd"), "credential: is neither empty nor 'service'"),
    "a page under no digest": (replace(page_row(page(), "", "x"), sha256="../../etc/passwd"), "sha256: is no SHA-256"),
    "evidence under no digest": (EvidenceRow("policy", "A" * 64, 3), "sha256: is no SHA-256"),
    "a list of no digest": (replace(LIST, files=(ListFile("house.csv", "x", 3),)), "files: hold what is no SHA-256"),
    "a place of no digest": (replace(PLACE, digest="sha256:x"), "digest: is no digest"),
    "a file declared as nothing": (replace(entry_row(entry()), declared="md5"), "declared: is no digest"),
    "a status beyond bounds": (replace(page_row(page(), "", "x"), status=-1), "status: is out of range"),
    "a time beyond bounds": (line(GRANT).replace(b'"at":%d' % GRANT.at, b'"at":%d' % 2**60), "at: is out of range"),
    "a header of two lines": (replace(page_row(page(), "", "x"), headers=(("x y", "1"),)), "headers: hold what no header field can"),
}


@pytest.mark.parametrize("how", FAULTS)
def test_rows_by_which_a_bundle_would_reach_too_far_are_named(how):
    """A right of a person, digests that could be paths, numbers and headers that no index and no answer may hold are faults at their place."""
    row, said = FAULTS[how]
    with pytest.raises(InputError) as caught:
        read(row if isinstance(row, bytes) else line(row), "contents")
    assert f"line 1.{said}" in str(caught.value)
    assert read(line(GRANT) + line(LIST) + line(PLACE) + line(PinRow("x")), "contents") == (GRANT, LIST, PLACE, PinRow("x"))


def test_all_that_is_wrong_is_bounded(tmp_path):
    """Of contents in which every line is wrong the first faults are told, and no more are kept in memory."""
    with pytest.raises(InputError) as caught:
        read(b"{\n" * 5000, "contents")
    assert len(caught.value.problems) == 200


def test_a_bundle_comes_in_once_and_in_its_turn(tmp_path):
    """The number that is here already is an older state as well as a smaller one; a delta counts on what it says and on nothing later."""
    two = replace(GOOD, number=2, since=1, previous="a" * 64)
    with pytest.raises(BundleFault, match="import 1 first"):
        _in_turn(tmp_path, two, "d" * 64, allow_rollback=True)
    ReceivedBook(tmp_path, GOOD).put(1, b"{}", CREATED)
    _in_turn(tmp_path, two, "d" * 64, allow_rollback=False)
    with pytest.raises(BundleFault, match="--allow-rollback only"):
        _in_turn(tmp_path, GOOD, "d" * 64, allow_rollback=False)
    _in_turn(tmp_path, GOOD, "d" * 64, allow_rollback=True)
    _in_turn(tmp_path, replace(GOOD, sender="another.example"), "d" * 64, allow_rollback=False)


def test_a_page_of_a_branch_that_moved_on_stays_behind():
    """A page under a commit is that commit's; one under a branch goes along where the hub called it one of the carried commits."""
    commit = "c" * 40
    told = replace(page(target="/api/models/acme/tiny/revision/main"), headers=(("x-repo-commit", "d" * 40),))
    assert not _of_commits(told, {commit})
    assert _of_commits(told, {"d" * 40})
    assert _of_commits(replace(told, key=replace(told.key, target=f"/api/models/acme/tiny/revision/{'e' * 40}")), {commit})
    assert _of_commits(page(target="/api/models/acme/tiny/refs"), {commit})


def test_files_that_an_index_has_elsewhere_are_not_its_own():
    """Of a project's page the files at the mirror are taken; one at another address is not there for a lock, whatever its name."""
    index = Index(None, "http://m:1/pypi/simple/", ["http://m:1"])
    files = [{"filename": name, "url": url, "hashes": {}} for name, url in (("a", "../../files/a"), ("b", "https://umbrella.example/b"), ("c", "//m:2/c"), ("d", "http://m:1/d"))]
    assert sorted(dict(index._rows({"files": files}, "http://m:1/pypi/simple/x/"))) == ["a", "d"]


def test_wheels_come_from_the_index_that_was_named(monkeypatch):
    """Where an index is given the tools are told of no other: not by the environment, nor by anybody's configuration."""
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://umbrella.example/simple")
    monkeypatch.setenv("UV_INDEX", "https://umbrella.example/simple")
    told = _environment("http://m:1/simple/")
    assert "umbrella" not in json.dumps(told)
    assert (told["PIP_CONFIG_FILE"], told["UV_NO_CONFIG"], told["PIP_INDEX_URL"], told["UV_DEFAULT_INDEX"]) == (os.devnull, "1", "http://m:1/simple/", "http://m:1/simple/")
    assert "umbrella" in json.dumps(_environment(None))


def test_what_comes_with_a_wheel_is_not_asked_for_by_itself():
    """Of what was used a wheel is wanted again, and neither its metadata, which comes with it, nor a page, nor a file of no commit."""
    wheel, branch = Artifact(Project("pypi", Kind.PACKAGE, "acme-lib"), "1.0", "acme_lib-1.0-py3-none-any.whl"), replace(entry().artifact, revision="main")
    beside, about = replace(wheel, path=f"{wheel.path}.metadata"), replace(wheel, path="")
    assert gathered([about, beside, wheel, branch, beside]) == (Used(wheel.project, "1.0", (wheel.path,)),)
