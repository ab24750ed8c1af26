"""Wanted lists, requirements files, and what follows from them: parsing, patterns, pins."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from huggingface_hub.utils import filter_repo_objects
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.bundle.patient import Patient, PinsDown
from mirror.bundle.plan import (
    PinBook,
    State,
    Unplanned,
    WantedFile,
    hashed,
    locked_files,
    package_file,
    repository_plan,
)
from mirror.bundle.requirements import read_requirements
from mirror.bundle.resolve import find_uv
from mirror.bundle.wants import RepoWant, parse, selected
from mirror.core.errors import InputError
from mirror.core.nouns import Artifact, Blob, Digest, Kind, Project
from mirror.core.ports import Holding, Pin
from mirror.index.sql import SqlIndex
from mirror.policy.patterns import parse_pattern
from mirror.proxy.eviction import Pinned

NOW = datetime(2026, 11, 22, tzinfo=UTC)
COMMIT = "a" * 40
LIST = """
version: 1
name: lab
models:
  - {id: acme/tiny-bert, revision: refs/pr/1, allow: ["*.safetensors"], ignore: [onnx/]}
  - id: gpt2
datasets: [{id: acme/reviews}]
packages:
  - {requirements: requirements.txt, python: ["3.11", "3.12"], platforms: [linux, windows]}
  - {requirement: "acme-lib>=1"}
"""


def test_a_list_is_read():
    """Every key of the example arrives; what is left out has its default."""
    wants = parse(LIST, "wants.yaml")
    assert wants.models == (RepoWant("acme/tiny-bert", "refs/pr/1", ("*.safetensors",), ("onnx/",)), RepoWant("gpt2"))
    assert [kind for kind, _ in wants.repositories()] == [Kind.MODEL, Kind.MODEL, Kind.DATASET]
    assert wants.packages[0].python == ("3.11", "3.12")
    assert (wants.name, wants.packages[1].requirement) == ("lab", "acme-lib>=1")


def test_the_example_is_sound():
    """The commented list that is shipped can be read, with what stands in its comments too."""
    text = (Path(__file__).parents[2] / "config" / "wants.yaml").read_text(encoding="utf-8")
    assert [row.id for row in parse(text, "wants.yaml").models] == ["acme/tiny-bert"]
    whole = parse(re.sub(r"(?m)^# (?=name|datasets|spaces|packages| )", "", text), "wants.yaml")
    assert (whole.name, len(whole.datasets), len(whole.spaces), len(whole.packages)) == ("lab", 1, 1, 3)


HOSTILE = """
version: 2
name: "a;b"
models:
  - {id: ../../etc/passwd}
  - {id: acme/x, revision: "../main", allow: ["", "*"]}
  - {id: api/models}
packages:
  - {requirements: r.txt, requirement: acme-lib}
  - {requirement: "evil @ https://umbrella.example/evil-1.0.whl", python: [3.11.2, "--help"], platforms: ["-x;rm"]}
  - {}
"""


def test_every_mistake_is_told_at_once_with_its_place():
    """A list with many faults gives one problem for each, at the key where it stands."""
    with pytest.raises(InputError) as caught:
        parse(HOSTILE, "wants.yaml")
    assert [problem.place for problem in caught.value.problems] == [
        "version", "name", "models[0].id", "models[1].revision", "models[1].allow[0]", "models[2].id", "packages[0]",
        "packages[1].requirement", "packages[1].python[0]", "packages[1].python[1]", "packages[1].platforms[0]", "packages[2]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a mapping"),
        ("version: 1", "wants nothing"),
        ("version: 1\nmodels: [{id: a/b, alow: [x]}]\nmodel: []", "did you mean 'allow'"),
        ("version: 1\nmodels: [{id: a/b, allow: '*.bin'}]", "models[0].allow: expected a list"),
        ("version: 1\nmodels: [{}]", "models[0].id: is required"),
        ("models: [{id: a/b}]", "version: is required"),
        ("version: 1\nmodels: &a [*a]", "contains itself"),
        ("version: 1\npackages: [{requirement: acme-lib, platforms: [linux, foo]}]", "packages[0].platforms[1]: 'foo' is no platform that uv knows"),
    ],
)
def test_what_is_no_list(text, said):
    """What has another shape than a wanted list is told by its place, never taken for an empty one."""
    with pytest.raises(InputError, match="wants.yaml") as caught:
        parse(text, "wants.yaml")
    assert said in str(caught.value)


PATHS = st.text(alphabet="aAb.*?[]!-/\\_é", min_size=1, max_size=12)


@settings(max_examples=400, deadline=None)
@given(st.lists(PATHS, max_size=6), st.none() | st.lists(PATHS, max_size=3), st.none() | st.lists(PATHS, max_size=3))
def test_patterns_are_those_of_snapshot_download(paths, allow, ignore):
    """For any paths and patterns the same files are taken as by huggingface_hub's own filter."""
    theirs = list(filter_repo_objects(paths, allow_patterns=allow, ignore_patterns=ignore))
    assert [path for path in paths if selected(path, allow, ignore)] == theirs


def page(*paths: str, **more):
    return {"id": "acme/x", "sha": COMMIT, "siblings": [{"rfilename": path, "size": 5} for path in paths], **more}


def test_a_plan_names_files_and_pins():
    """Without patterns one pin keeps the commit; with patterns each file has its own, and a star in a name is a star."""
    whole = repository_plan(RepoWant("ACME/x"), Kind.DATASET, page("a", "b"))
    assert (len(whole.files), whole.patterns) == (2, (f"pkg:huggingface/acme/x@{COMMIT}?repo_type=dataset",))
    some = repository_plan(RepoWant("acme/x", allow=("a*", "gone.bin", "never.txt")), Kind.MODEL, page("a*#?", "b", leftOut=["gone.bin", "aside"]))
    assert [file.artifact.path for file in some.files] == ["a*#?"]
    assert [file.artifact.path for file in some.doubtful] == ["gone.bin", "aside", "never.txt"]
    assert parse_pattern(some.files[0].pin).path.exact == "a*#?"
    none = repository_plan(RepoWant("acme/x", allow=()), Kind.MODEL, page("a"))
    assert [one.state for one in none.problems] == [State.MISSING]
    with pytest.raises(Unplanned):
        repository_plan(RepoWant("acme/x"), Kind.MODEL, {"id": "acme/x", "sha": "main", "siblings": []})


def test_a_lock_that_leads_elsewhere_is_refused():
    """A file of a lock is fetched where it is the mirror's own; one at any other address ends the plan."""
    row = {"url": "http://m:1/pypi/packages/-/x/acme_lib-1.0-py3-none-any.whl", "size": 3, "hashes": {"sha256": "0" * 64}}
    lock = {"packages": [{"name": "Acme.Lib", "version": "1.0", "wheels": [row]}]}
    [file] = locked_files(lock, ["http://m:1"])
    assert (file.target, file.sha256, str(file.artifact.project)) == ("/pypi/packages/-/x/acme_lib-1.0-py3-none-any.whl", "0" * 64, "pkg:pypi/acme-lib")
    holding = Holding(Blob(Digest("sha256", "0" * 64), 3), NOW, (Artifact(file.artifact.project, "1.0", f"{file.artifact.path}.metadata"),))
    assert Pinned([Pin(file.pin, "", NOW)]).holds(holding)
    for origins in (["http://m:2"], ["http://m"], []):
        with pytest.raises(Unplanned):
            locked_files(lock, origins)
    with pytest.raises(Unplanned):
        locked_files({"packages": [{"name": "x", "vcs": {"url": "https://umbrella.example/x"}}]}, ["http://m:1"])


def test_what_has_another_hash_is_no_candidate():
    """Of a project whose hashes a requirements file states only such files are taken, and a release of which none is left is told."""
    files = [
        package_file(name, "1.0", f"/pypi/packages/{name}-1.0-{tag}.whl", 3, digest * 64)
        for name, tag, digest in (("acme", "cp311", "a"), ("acme", "cp312", "b"), ("globex", "py3", "c"), ("initech", "py3", "d"))
    ]
    kept, told = hashed(files, {"acme": {"b" * 64}, "globex": {"e" * 64}})
    assert [file.artifact.path for file in kept] == ["acme-1.0-cp312.whl", "initech-1.0-py3.whl"]
    assert [(one.name, one.state) for one in told] == [("pkg:pypi/globex@1.0", State.FAILED)]


async def test_a_busy_database_ends_no_sync(tmp_path):
    """While another process writes, a pin waits and is kept in the end; where that lasts, the error says so and that another run goes on."""
    index = await SqlIndex.open(None, tmp_path)
    other = sqlite3.connect(tmp_path / "index.sqlite", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        pin = Pin("pkg:huggingface/acme/x", "sync lab", NOW)
        with pytest.raises(PinsDown, match=r"pins cannot be kept: .*locked; what came stays"):
            await Patient(index, ()).put_pin(pin)
        other.execute("ROLLBACK")
        await Patient(index).put_pin(pin)  # it rests for three seconds after the failure
        assert list(await Patient(index).pins()) == [pin]
    finally:
        other.close()
        await index.close()


def test_pins_of_others_stay():
    """A pin that somebody else made keeps their reason beside ours, and loses only ours when we want it no more."""
    book = PinBook.of("lab", [Pin("a", "contract 12", NOW), Pin("b", "sync lab", NOW), Pin("c", "sync lab2", NOW)])
    assert book.keep("b", NOW) is None
    put = book.keep("a", NOW)
    assert put is not None
    assert put.reason == "contract 12; sync lab"
    assert book.keep("d", NOW) == Pin("d", "sync lab", NOW)
    changes = book.prune(["d"])
    assert (changes.put, changes.drop) == ((Pin("a", "contract 12", NOW),), ("b",))


def test_requirements_files():
    """Names, markers, includes, constraints, continuations, hashes and comments are read; the public index is no news."""
    files = {
        "r.txt": "-i https://pypi.org/simple/\nacme-lib==1.0 \\\n  --hash=sha256:00 \\\n  --hash=sha256:11\n# no\n-r sub/more.in\n-c=c.txt\n",
        "sub/more.in": 'foo[bar]>=2 ; python_version<"3.9"  # why\n-r more.in\n', "c.txt": "zed<3",
    }  # fmt: skip
    found = read_requirements(Path("r.txt"), lambda path: files[str(path)])
    assert found.wanted == ["acme-lib==1.0", 'foo[bar]>=2 ; python_version<"3.9"']
    assert found.constraints == ["zed<3"]
    assert found.hashes == {"acme-lib": {"00", "11"}}


def test_requirements_that_lead_past_the_mirror():
    """Other indexes, addresses, folders, editable installs and unreadable includes are named, all of them, by line."""
    text = "--extra-index-url https://umbrella.example\n-f ./wheels\nx @ https://umbrella.example/x.whl\n-e .\n./local\n-rnone.txt\n--pre\n-ihttps://umbrella.example\nx==1 --hash=sha512:00\n"

    def read(path: Path) -> str:
        if path.name == "r.txt":
            return text
        raise FileNotFoundError(2, "No such file or directory")

    with pytest.raises(InputError) as caught:
        read_requirements(Path("r.txt"), read)
    assert [problem.place for problem in caught.value.problems] == [f"line {number}" for number in range(1, 10)]
    with pytest.raises(InputError, match="requires nothing"):
        read_requirements(Path("empty.txt"), lambda _: "# nothing\n")


def test_without_uv_it_says_how_to_get_it(monkeypatch, tmp_path):
    """Where there is no uv, the error says what it is for and how to install it."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="pip install uv"):
        find_uv()


def test_every_platform_of_uvs_can_be_wanted():
    """What uv lists as its platforms is taken in a list, each of them."""
    said = subprocess.run([find_uv(), "pip", "compile", "--python-platform", "foo", "-"], capture_output=True, text=True, check=False).stderr
    names = re.search(r"possible values: ([^\]]+)\]", said)[1].replace(",", " ").split()
    assert len(names) > 20
    parse(f"version: 1\npackages: [{{requirement: acme-lib, platforms: [{', '.join(names)}]}}]", "wants.yaml")


def test_states_tell_whether_all_is_well():
    """Only what is here, came, or would come in a dry run is fine."""
    assert {state.value for state in State if state.fine} == {"here", "fetched", "absent"}
    assert WantedFile(Artifact(Project("huggingface", Kind.MODEL, "a/b"), COMMIT, "c"), "/x").pin == ""
