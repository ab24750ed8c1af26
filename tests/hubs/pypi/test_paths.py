"""Names and paths of the index: one reading for every spelling."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.core.nouns import FileKind
from mirror.hubs.pypi.paths import (
    Distribution,
    blake2_path,
    candidates,
    conventional_path,
    distribution,
    is_file_name,
    mapped_path,
    mirror_path,
    project_name,
    quoted,
    version_text,
)

DIGEST = "aa/bb/" + "c" * 60


@pytest.mark.parametrize("raw", ["Foo_Bar", "foo.bar", "FOO--bar", "foo%2Dbar", "f%6Fo_.-bar"])
def test_every_spelling_of_a_name_is_one_project(raw):
    """PEP 503: case, runs of separators and percent-escapes do not make another project."""
    assert project_name(raw) == "foo-bar"


@pytest.mark.parametrize("raw", ["", ".", "..", "-foo", "foo-", "foo%2Fbar", "foo%252Fbar", "f\u00f6", "foo%00", "foo bar", "%ff", "a" * 300])
def test_what_is_no_name_is_no_project(raw):
    """A segment that PEP 508 does not allow as a name is not looked up at all."""
    assert project_name(raw) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("acme_tools-1.0-py3-none-any.whl", Distribution("acme-tools", "1.0", FileKind.WHEEL)),
        ("Acme.Tools-1.0rc1-py3-none-any.whl", Distribution("acme-tools", "1.0rc1", FileKind.WHEEL)),
        ("acme_tools-1.0+cu118-cp311-cp311-linux_x86_64.whl", Distribution("acme-tools", "1.0+cu118", FileKind.WHEEL)),
        ("acme-tools-1.0.tar.gz", Distribution("acme-tools", "1.0", FileKind.SDIST)),
        ("acme-tools-1.0-1.zip", Distribution("acme-tools", "1.0.post1", FileKind.SDIST)),
        ("acme_tools-1.0-py2.7.egg", Distribution("acme-tools", "1.0", FileKind.OTHER)),
    ],
)
def test_a_file_name_says_project_and_version(name, expected):
    """Wheels, sdists with dashes in either part, and eggs are read for the project whose page lists them."""
    assert distribution(name, "acme-tools") == expected


def test_an_installer_is_read_with_the_versions_of_its_page():
    """The tail of a Windows installer is told from its version only by the versions that the page lists."""
    found = distribution("acme-tools-1.0.win32-py2.7.exe", "acme-tools", frozenset({"1"}))
    assert found == Distribution("acme-tools", "1.0", FileKind.OTHER)


@pytest.mark.parametrize(
    "name",
    ["globex-1.0-py3-none-any.whl", "acme_tools-latest-py3-none-any.whl", "acme-tools.tar.gz", "acme_tools-1.0.whl", "other.txt"],
)
def test_a_name_that_says_nothing_trustworthy_has_no_distribution(name):
    """A file of another project, or without a PEP 440 version, is nothing that a rule could judge."""
    assert distribution(name, "acme-tools") is None


def test_a_version_that_the_page_does_not_list_is_not_believed():
    """PEP 700: a file whose version is not among `versions` is not read as a release of the project."""
    assert distribution("acme_tools-9.9-py3-none-any.whl", "acme-tools", frozenset({"1"})) is None


def test_pypis_own_paths_are_kept():
    """A lock file made at PyPI needs only its host changed."""
    url = f"https://files.pythonhosted.org/packages/{DIGEST}/acme_tools-1.0.tar.gz"
    assert mirror_path(url, "acme_tools-1.0.tar.gz") == f"/packages/{DIGEST}/acme_tools-1.0.tar.gz"


def test_other_paths_are_mapped_without_their_query():
    """A signed URL that changes its query keeps its place on the mirror; another file gets another place."""
    one = mirror_path("https://cdn.example/whl/x-1.0.tar.gz?sig=1", "x-1.0.tar.gz")
    assert one == mirror_path("https://cdn.example/whl/x-1.0.tar.gz?sig=2", "x-1.0.tar.gz")
    assert one != mirror_path("https://cdn.example/other/x-1.0.tar.gz", "x-1.0.tar.gz")
    assert one.startswith("/packages/-/")


def test_a_path_whose_last_segment_is_another_name_is_mapped():
    """A page cannot put one file's name on another file's path."""
    url = f"https://files.pythonhosted.org/packages/{DIGEST}/evil-1.0.tar.gz"
    assert mirror_path(url, "good-1.0.tar.gz").startswith("/packages/-/")


def test_metadata_is_told_from_its_file():
    """PEP 658: the ending belongs to the request, never to the artifact's own path."""
    found = blake2_path(DIGEST, "x-1.0-py3-none-any.whl.metadata")
    assert found is not None
    assert (found.path, found.name, found.metadata) == (f"/packages/{DIGEST}/x-1.0-py3-none-any.whl", "x-1.0-py3-none-any.whl", True)
    assert blake2_path(DIGEST, "x.whl.metadata.metadata") is None
    assert blake2_path(DIGEST, ".metadata") is None


@pytest.mark.parametrize("raw", ["..%2fx.whl", "%2e%2e", "x%252fy.whl", "x%5cy.whl", "x%00.whl", "-x.whl", "%3Cb%3E.whl", "x y.whl"])
def test_hostile_file_names_have_no_path(raw):
    """Separators, escapes of escapes, markup and leading dots are no file names."""
    assert blake2_path(DIGEST, raw) is None
    assert mapped_path("d" * 40, raw) is None
    assert conventional_path("x", raw) is None


def test_escaped_and_plain_spellings_of_a_file_are_one_path():
    """`%2B` and `+` name the same local version."""
    assert blake2_path(DIGEST, "x-1.0%2Bcu1.tar.gz") == blake2_path(DIGEST, "x-1.0+cu1.tar.gz")


@pytest.mark.parametrize("raw", ["1.0%0d", "..", "", "1/0", "1.0%2f"])
def test_hostile_versions_are_none(raw):
    """A version segment cannot carry a path or a line end to upstream."""
    assert version_text(raw) is None


@settings(max_examples=200, derandomize=True)
@given(st.text(max_size=60))
def test_no_text_makes_a_path_with_a_separator(text):
    """Whatever the segment, a path that is accepted has one more segment than its prefix and no dot segment."""
    found = blake2_path(DIGEST, text)
    if found is not None:
        assert is_file_name(found.name)
        assert found.path == f"/packages/{DIGEST}/{found.name}"
        assert not {".", ".."} & set(found.path.split("/"))
        assert quoted(found.path).isascii()


@settings(max_examples=200, derandomize=True)
@given(st.text("abAB019.-_+!", max_size=80), st.sampled_from([".tar.gz", ".whl", ".egg", ".zip", ""]))
def test_reading_a_file_name_never_fails(stem, ending):
    """Any name is read or not read: no exception, and every reading has a normalised project and a PEP 440 version."""
    for found in candidates(stem + ending):
        assert project_name(found.project) == found.project
        assert version_text(found.version) == found.version
