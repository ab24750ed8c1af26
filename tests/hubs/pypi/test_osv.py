"""The operator's own OSV database: what it says, what is wrong with it, and how pages and files are judged by it."""

import asyncio
import hashlib
import json
import os
import sys
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version

from mirror.core.errors import InputError
from mirror.hubs.pypi.osv import Collected
from mirror.hubs.pypi.osv_files import OsvBook, load
from tests.support.standin.index import StandInIndex, running_index

from .conftest import mirror_of
from .test_clients import installed, pip, run, uv


def entry(name="PYSEC-2026-1", package="acme-holed", versions=(), events=(), **members):
    """An OSV entry with one package, one list of versions and one range."""
    affected = {"package": {"ecosystem": "PyPI", "name": package}}
    if versions:
        affected["versions"] = list(versions)
    if events:
        affected["ranges"] = [{"type": "ECOSYSTEM", "events": [dict([event]) for event in events]}]
    return {"id": name, "modified": "2026-01-01T00:00:00Z", "affected": [affected], **members}


def edition(*entries):
    found = Collected()
    for one in entries:
        found.take(one, "x.json")
    assert found.problems == []
    return found.edition()


# --- what an entry says -------------------------------------------------------------------------------------------

VERSIONS = ["0", "0.dev1", "0.1a1", "0.9", "1.0.dev3", "1.0a1", "1.0rc1", "1.0", "1.0.0", "1.0.post1", "1.1", "1!0.5", "2.0rc1", "2.0", "10.0"]
versions = st.sampled_from(VERSIONS)
events = st.lists(st.tuples(st.sampled_from(["introduced", "fixed", "last_affected"]), versions), max_size=6)
limits = st.lists(st.tuples(st.just("limit"), st.sampled_from([*VERSIONS, "*"])), max_size=2)


def spec_says(version, listed, ranges):
    """The evaluation algorithm of the OSV schema, transcribed from its pseudocode."""
    v = Version(version)
    if any(v == Version(one) for one in listed):
        return True
    for one in ranges:
        limited = [at for kind, at in one if kind == "limit"]
        before = not limited or any(at == "*" or v < Version(at) for at in limited)
        if not before:
            continue
        vulnerable = False
        lowest = {("introduced", "0")}
        ordered = [event for event in one if event in lowest]
        ordered += sorted((event for event in one if event not in lowest and event[0] != "limit"), key=lambda event: Version(event[1]))
        for event in ordered:
            kind, at = event
            if kind == "introduced" and (event in lowest or v >= Version(at)):
                vulnerable = True
            if kind == "fixed" and v >= Version(at):
                vulnerable = False
            if kind == "last_affected" and v > Version(at):
                vulnerable = False
        if vulnerable:
            return True
    return False


@settings(max_examples=400, deadline=None)
@given(st.lists(versions, max_size=3), st.lists(st.tuples(events, limits), max_size=2), versions)
def test_a_version_is_affected_where_the_specification_says_so(listed, pairs, version):
    """Any list of versions, any ranges with any events in any order: the schema's own algorithm, read plainly, gives the same."""
    ranges = [[*some, *ends] for some, ends in pairs]
    raw = entry(versions=listed)
    raw["affected"][0]["ranges"] = [{"type": "ECOSYSTEM", "events": [dict([event]) for event in one]} for one in ranges]
    known = edition(raw).known("acme-holed", version)
    assert (known == ("PYSEC-2026-1",)) is spec_says(version, listed, ranges)


@pytest.mark.parametrize(
    ("events", "inside", "outside"),
    [
        ([("introduced", "0")], ["0.dev1", "1.0", "99"], []),
        ([("introduced", "0"), ("fixed", "0.dev2")], ["0.dev1"], ["0.dev2", "0", "1.0"]),
        ([("introduced", "0"), ("fixed", "1.2")], ["0.dev1", "1.1", "1.2rc1", "1.2.dev1"], ["1.2", "1.2.0", "1.2.post1", "1!0.1"]),
        ([("fixed", "1.2"), ("introduced", "1.0")], ["1.0", "1.0.post1", "1.1"], ["1.0rc1", "0.9", "1.2"]),
        ([("introduced", "1.0"), ("last_affected", "1.0")], ["1.0", "1.0.0"], ["1.0.post1", "1.1", "0.9"]),
        ([("introduced", "1"), ("fixed", "2"), ("introduced", "2"), ("fixed", "3")], ["1", "2", "2.5"], ["0.9", "3"]),
        ([("introduced", "0"), ("limit", "2")], ["1.9"], ["2", "3"]),
        ([("introduced", "1.0"), ("fixed", "1.1")], ["1.0+cpu", "1.0.1+cu121"], ["1.1+cpu"]),
    ],
)
def test_ranges_as_people_write_them(events, inside, outside):
    """Releases before, on and after each event; a local build shares the fate of what it was built from."""
    found = edition(entry(events=events))
    assert [one for one in (*inside, *outside) if found.known("acme-holed", one)] == inside


def test_what_matches_and_what_never_does():
    """Names are normalised, ids come before aliases; withdrawn entries, other ecosystems and ranges of commits count for nothing."""
    git = entry("GHSA-git", "Acme.Holed")
    git["affected"][0]["ranges"] = [{"type": "GIT", "repo": "https://x.example/r", "events": [{"introduced": "0"}]}]
    other = entry("GHSA-npm", versions=["1.0"])
    other["affected"][0]["package"]["ecosystem"] = "npm"
    found = edition(
        entry("GHSA-aaaa", "Acme_Holed", ["1.0.0"], aliases=["CVE-2026-1", "PYSEC-2026-1"], severity=[{"type": "CVSS_V3", "score": "x"}]),
        entry("PYSEC-gone", versions=["1.0"], withdrawn="2026-02-02T00:00:00Z"), git, other,
        {"id": "GHSA-commits", "affected": [{"ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}]}]}, {"id": "GHSA-none"},
    )  # fmt: skip
    assert found.known("acme-holed", "1.0") == ("GHSA-aaaa", "CVE-2026-1", "PYSEC-2026-1")
    assert found.known("acme-holed", "1.1") == ()
    assert (found.entries, len(found)) == (6, 1)


def test_what_cannot_be_put_in_order_clears_nothing():
    """A range with an event that is no PEP 440 version: the versions spelt out decide; where there are none, all are affected."""
    found = Collected()
    found.take([entry("A-1", "acme-one", ["1.0"], [("introduced", "0"), ("fixed", "2004d")]),
                entry("A-2", "acme-two", events=[("introduced", "2004d")])], "x.json")  # fmt: skip
    assert [(one.place, one.message) for one in found.doubts] == [
        ("[0].affected[0].ranges[0].events[1]", "A-1: not a PEP 440 version"),
        ("[1].affected[0].ranges[0].events[0]", "A-2: not a PEP 440 version"),
    ]
    known = found.edition().known
    assert [known("acme-one", "1.0"), known("acme-one", "1.1"), known("acme-two", "7")] == [("A-1",), (), ("A-2",)]


def test_an_edition_is_named_by_what_it_says():
    """The order of entries and what judgement does not need change no digest; another version does, and the extract shows it."""
    first, second = entry("A-1", versions=["1.0"]), entry("A-2", "acme-two", versions=["1.0"])
    one = edition(first, second)
    assert one.digest == edition(second, first | {"summary": "x"}).digest == hashlib.sha256(one.manifest).hexdigest()
    other = edition(entry("A-1", versions=["1.0", "1.1"]), second)
    assert other.digest != one.digest
    digest, body = other.extract("acme-holed")
    assert json.loads(other.manifest)["projects"]["acme-holed"] == digest == hashlib.sha256(body).hexdigest()
    assert json.loads(body) == [{"names": ["A-1"], "versions": ["1", "1.1"], "ranges": []}]
    assert other.extract("acme-none") is None


# --- files --------------------------------------------------------------------------------------------------------


def zipped(path, *entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in entries:
            archive.writestr(f"{one['id']}.json", json.dumps(one))
        archive.writestr("README.txt", "not an entry")
    return path


def test_files_folders_and_archives_are_one_edition(tmp_path):
    """A single entry, a list of them, a folder with folders, a ZIP: all that they say stands together."""
    (tmp_path / "house" / "deep").mkdir(parents=True)
    (tmp_path / "house" / "deep" / "one.json").write_text(json.dumps(entry("H-1", versions=["1.0"])))
    (tmp_path / "house" / "note.txt").write_text("x")
    (tmp_path / "list.json").write_text(json.dumps([entry("L-1", versions=["1.0"]), entry("L-2", versions=["2.0"])]))
    archive = zipped(tmp_path / "all.zip", entry("Z-1", versions=["1.0"]))
    found = load([tmp_path / "house", tmp_path / "list.json", archive]).edition
    assert sorted(found.known("acme-holed", "1.0")) == ["H-1", "L-1", "Z-1"]
    assert found.entries == 4


BAD = {
    "not-json.json": ("{\n  nope", "line 2", "not JSON"),
    "text.json": ('"text"', "", "expected an object"),
    "no-id.json": ("{}", "id", "expected a text"),
    "affected.json": ('{"id": "A", "affected": {}}', "affected", "expected a list"),
    "name.json": ('[{"id": "A", "affected": [{"package": {"ecosystem": "PyPI"}}]}]', "[0].affected[0].package.name", "found nothing"),
    "type.json": (
        json.dumps(entry()).replace('{"ecosystem"', '{"x": 1, "ecosystem"').replace("}}]", '}, "ranges": [{"type": "CALENDAR"}]}]'),
        "affected[0].ranges[0].type", "expected ECOSYSTEM, SEMVER or GIT",
    ),
    "event.json": (json.dumps(entry(events=[("discovered", "1")])), "affected[0].ranges[0].events[0]", "none of introduced"),
    "versions.json": (json.dumps(entry(versions=[1])), "affected[0].versions[0]", "expected a text"),
    "bad.zip": ("PK no archive", "", "not a readable ZIP archive"),
    "none.json": ("[]", "", "holds no OSV entry"),
}  # fmt: skip


def test_bad_files_are_told_with_their_places(tmp_path):
    """Every file's fault in one go, each with the file and the place in it; nothing is loaded."""
    for name, (text, _, _) in BAD.items():
        (tmp_path / name).write_text(text)
    paths = [tmp_path / name for name in BAD]
    with pytest.raises(InputError) as caught:
        load([*paths, tmp_path / "absent"])
    told = {problem.source.rpartition("/")[2]: problem for problem in caught.value.problems}
    assert told.pop("absent").message == "there is no such file or folder"
    # A file without entries is a fault of its own, told where nothing else is wrong.
    assert set(told) == set(BAD) - {"none.json"}
    for name, problem in told.items():
        assert problem.place == BAD[name][1], problem
        assert BAD[name][2] in problem.message, problem
    with pytest.raises(InputError, match="holds no OSV entry"):
        load([tmp_path / "none.json"])


def test_a_member_of_an_archive_is_named(tmp_path):
    """The place of a fault in a ZIP is archive, member and place in it; a hundred faults are told as twenty and a number."""
    with pytest.raises(InputError) as caught:
        load([zipped(tmp_path / "all.zip", *({"id": f"A-{n}", "affected": 1} for n in range(100)))])
    problems = caught.value.problems
    assert str(problems[0]) == f"{tmp_path}/all.zip!A-0.json: affected: expected a list, found int '1'"
    assert (len(problems), problems[-1].message) == (21, "80 more problems")


def test_a_whole_database_fits(tmp_path):
    """2,000 entries with 40 versions each: less than 6 MiB stay in memory once they are read, so that ten times as many do."""
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(2_000):
            listed = [f"{number % 7}.{minor}.{number % 5}" for minor in range(40)]
            one = entry(f"PYSEC-2026-{number}", f"acme-{number // 4}", listed, [("introduced", "0"), ("fixed", listed[-1])],
                        aliases=[f"CVE-2026-{number}", f"GHSA-{number}"], details="text " * 40)  # fmt: skip
            archive.writestr(f"{number}.json", json.dumps(one))
    tracemalloc.start()
    found = load([tmp_path / "all.zip"]).edition
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found.entries, len(found)) == (2_000, 500)
    assert kept < 6 * 1024 * 1024, kept
    assert found.known("acme-0", "0.0.0")[:3] == ("PYSEC-2026-0", "CVE-2026-0", "GHSA-0")


def test_a_broken_database_leaves_the_last_good_one(tmp_path):
    """On change the new edition comes into force once it was archived; a broken one is told once, and the old one stays."""
    path = tmp_path / "house.json"
    path.write_text(json.dumps(entry("A-1", versions=["1.0"])))
    book = OsvBook([path])
    changed, failed, full = [], [], [False]

    async def keep(loaded):
        if full[0]:
            raise OSError("disk full")
        changed.append(loaded.edition.digest)

    async def told(error):
        failed.append(str(error))

    def look(text=None):
        if text is not None:
            path.write_text(text)
            os.utime(path, ns=(time.time_ns(), time.time_ns() + len(changed) + len(failed)))
        asyncio.run(book.refresh(keep, told))
        return book.current.known("acme-holed", "1.0")

    assert (look(), changed, failed) == (("A-1",), [], [])
    assert look("{broken") == ("A-1",)
    assert look() == ("A-1",)
    assert len(failed) == 1
    assert book.problems[0].place == "line 1"
    full[0] = True
    assert look(json.dumps(entry("A-2", versions=["1.0"]))) == ("A-1",)
    full[0] = False
    assert look() == ("A-2",)
    assert (len(changed), book.problems) == (1, ())
    path.unlink()
    assert look() == ("A-2",)
    assert "no such file" in failed[-1]


# --- served -------------------------------------------------------------------------------------------------------

RULE = {"id": "holes", "when": {"vulnerability": ["PYSEC-*", "CVE-2026-*"]}, "effect": "deny"}
ALSO = {"id": "PYSEC-2026-7", "aliases": ["CVE-2026-0007"], "withdrawn": None}


@pytest.fixture(scope="module")
def releases():
    """Two projects of three releases each; the index itself knows something of one."""
    own = StandInIndex()
    for version in ("1.0", "1.1", "1.2"):
        own.add_release("Acme.Holed", version)
        own.add_release("acme-sound", version)
    own.add_release("acme-told", "1.0")
    own.project("acme-told", vulnerabilities=[ALSO])
    with running_index(own) as running:
        yield running


def marked(mirror, project="acme-holed"):
    return {file["filename"].split("-")[1] for file in mirror.page(project)["files"] if file["yanked"]}


def until(happens):
    for _ in range(200):
        if happens():
            return True
        time.sleep(0.05)
    return False


def test_pages_and_files_are_judged_by_the_operators_database(releases, tmp_path):
    """The page marks what the database names without a request for each release; files are refused with it as evidence; what the index says counts too."""
    archive = zipped(tmp_path / "osv.zip", entry("GHSA-1", "acme_holed", events=[("introduced", "0"), ("fixed", "1.1")], aliases=["CVE-2026-5"]),
                     entry("GHSA-2", "acme-told", versions=["1.0"]))  # fmt: skip
    with mirror_of(releases, tmp_path, [RULE], osv=["osv.zip"]) as mirror:
        asked = len(releases.requests)
        assert marked(mirror) == {"1.0"}
        assert marked(mirror, "acme-sound") == set()
        assert [call.path for call in list(releases.requests)[asked:]] == ["/simple/acme-holed/", "/simple/acme-sound/"]
        files = {file["filename"].split("-")[1]: file["url"] for file in mirror.page("acme-holed")["files"]}
        refused = mirror.ask(files["1.0"])
        assert (refused.status, refused.json["rule"]) == (403, "holes")
        assert "CVE-2026-5" in refused.json["detail"]
        assert mirror.ask(files["1.1"]).status == 200
        told = mirror.ask(mirror.page("acme-told")["files"][0]["url"])
        assert told.status == 403
        digest = load([archive]).edition.digest
        events = mirror.events()
        decisions = {event["decision"]["artifact"]: event for event in events if event["kind"] in ("refused", "allowed", "steered")}
        for event in decisions.values():
            assert digest in json.dumps(event), event
        sources = [event["decision"]["facts"]["vulnerabilities"] for event in events if "acme-told" in json.dumps(event) and event["kind"] == "refused"]
        assert sources[0]["value"] == ["PYSEC-2026-7", "CVE-2026-0007", "GHSA-2"]
        assert sources[0]["source"] == "legacy JSON (PYSEC-2026-7, CVE-2026-0007); OSV database (GHSA-2)"
        held = mirror.folder / "var" / "evidence"
        cited = next(event for event in events if event["kind"] == "refused")["decision"]
        assert (held / digest[:2] / digest).is_file()
        extract = load([archive]).edition.extract("acme-holed")[0]
        assert extract in json.dumps(cited)
        assert (held / extract[:2] / extract).is_file()


@pytest.mark.parametrize("client", [pip, uv])
def test_installers_move_on_from_what_the_database_names(releases, tmp_path, client):
    """A range takes a release that is not named; a pin of one that is fails with the rule."""
    (tmp_path / "osv.json").write_text(json.dumps(entry("PYSEC-2026-9", "acme-holed", events=[("introduced", "1.1")])))
    with mirror_of(releases, tmp_path, [RULE], osv=["osv.json"]) as mirror:
        code, said = client(mirror, tmp_path, "acme-holed")
        assert code == 0, said
        assert installed(tmp_path) == {"acme_holed-1.0"} or installed(tmp_path) == {"Acme.Holed-1.0"}
        code, said = client(mirror, tmp_path, "acme-holed==1.1")
        assert code != 0
        assert "rule 'holes'" in said, said


def test_a_changed_database_is_in_force_without_a_restart(releases, tmp_path):
    """A new edition changes page and files; a broken one changes nothing and is on the record."""
    path = tmp_path / "osv.json"
    path.write_text(json.dumps(entry("PYSEC-2026-9", versions=["1.0"])))
    with mirror_of(releases, tmp_path, [RULE], osv=["osv.json"]) as mirror:
        assert marked(mirror) == {"1.0"}
        url = next(file["url"] for file in mirror.page("acme-holed")["files"] if "-1.2-" in file["filename"])
        assert mirror.ask(url).status == 200
        path.write_text(json.dumps([entry("PYSEC-2026-9", versions=["1.0"]), entry("PYSEC-2026-10", versions=["1.2"])]))
        assert until(lambda: marked(mirror) == {"1.0", "1.2"})
        assert mirror.ask(url).status == 403
        path.write_text('[{"id": "A", "affected": [{"package": 3}]}]')
        assert until(lambda: any(event["kind"] == "policy" and "rejected" in json.dumps(event) for event in mirror.events()))
        rejected = next(event for event in mirror.events() if event["kind"] == "policy" and "rejected" in json.dumps(event))
        assert "[0].affected[0].package: expected an object" in json.dumps(rejected)
        assert mirror.ask("/-/health/ready").json["policy"]["problems"] == 1
        assert marked(mirror) == {"1.0", "1.2"}


def test_the_configuration_is_checked_with_its_databases(tmp_path):
    """`mirror config check` reads them through: a broken one ends it with 2 and the place, a sound one is told by its size; only an index has any."""
    (tmp_path / "house").mkdir()
    (tmp_path / "house" / "a.json").write_text('{"id": 7}')

    def check(hubs):
        (tmp_path / "mirror.yaml").write_text(f"hubs: {hubs}\n")
        return run(sys.executable, "-m", "mirror.cli.main", "-c", str(tmp_path / "mirror.yaml"), "config", "check", cwd=tmp_path,
                   PYTHONPATH=str(Path(__file__).parents[3]))  # fmt: skip

    code, said = check("{pypi: {osv: [house, missing.json]}}")
    assert (code, "missing.json' cannot be read" in said) == (2, True)
    code, said = check("{pypi: {osv: [house]}}")
    assert code == 2
    assert "a.json: id: expected a text, found int '7'" in said
    (tmp_path / "house" / "a.json").write_text(json.dumps(entry("A-1", versions=["1.0"])))
    code, said = check("{pypi: {osv: [house]}}")
    assert code == 0
    assert "hubs.pypi.osv: 1 entries, 1 projects of PyPI" in said
    code, said = check("{huggingface: {osv: [house]}}")
    assert (code, "hubs.huggingface.osv: is read by the pypi dialect only" in said) == (2, True)
