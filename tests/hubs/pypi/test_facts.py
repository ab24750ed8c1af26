"""What a package index reveals."""

import pytest

from mirror.core.nouns import FileKind
from mirror.hubs.pypi.facts import (
    attestation,
    direct_urls,
    from_legacy,
    from_metadata,
    licenses,
    organisation,
    page_facts,
    with_declared,
)
from mirror.hubs.pypi.labels import meaning
from mirror.hubs.pypi.legacy import turned

from .pages_by_hand import FILES, NEWER, WHEEL, file, page

METADATA = b"""Metadata-Version: 2.4
Name: acme-tools
Version: 1.0
License-Expression: MIT OR Apache-2.0
Author: Acme Tools Team
Author-email: "Globex Research" <dev@globex.example>, someone@acme.example
Requires-Dist: globex>=1
Requires-Dist: evil @ https://files.example/evil-1.0.tar.gz ; python_version > "3"

text
"""


def test_the_page_gives_its_own_facts():
    """Kind, size, upload time, yank and status need no further request; the page is their evidence."""
    found = page(file(WHEEL, yanked=True))
    facts = page_facts(found, found.files[0], "e" * 64)
    assert (facts.file_kind.value, facts.size.value, facts.yanked.value, facts.status.value) == (FileKind.WHEEL, 100, True, "active")
    assert facts.published_at.value == found.files[0].published_at
    assert facts.evidence == ("e" * 64,)
    assert facts.license is None


def test_an_absent_upload_time_is_unknown():
    """A page without upload times gives no age, rather than a wrong one."""
    found = page(file(WHEEL, **{"upload-time": "yesterday"}))
    assert page_facts(found, found.files[0], "").published_at is None


def test_metadata_declares_licence_names_and_direct_urls():
    """The expression stays whole, display names count and addresses do not, a URL requirement is seen."""
    found = page(file(WHEEL))
    facts = with_declared(page_facts(found, found.files[0], "a"), from_metadata(METADATA), "b")
    assert facts.license.value == ("MIT OR Apache-2.0",)
    assert facts.names.value == ("Acme Tools Team", "Globex Research")
    assert facts.direct_urls.value == ("https://files.example/evil-1.0.tar.gz",)
    assert facts.evidence == ("a", "b")


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"classifiers": ["License :: OSI Approved :: MIT License"]}, ("MIT",)),
        ({"classifiers": ["License :: OSI Approved"], "license": "apache-2.0"}, ("Apache-2.0",)),
        ({"license": "see LICENSE"}, None),
        ({"license_expression": "GPL-3.0-only", "classifiers": ["License :: OSI Approved :: MIT License"]}, ("GPL-3.0-only",)),
        ({}, None),
        ({"classifiers": "x", "license": 3}, None),
    ],
)
def test_licences_come_from_the_best_field(info, expected):
    """PEP 639's expression, then unambiguous classifiers, then a field that is itself an id; a text is unknown."""
    fact = licenses(from_legacy({"info": info}))
    assert (fact.value if fact else None) == expected


@pytest.mark.parametrize(
    ("label", "meant"),
    [
        ("Source", "source"), ("Source Code", "source"), ("source_code", "source"), ("Repository", "source"), ("GitHub", "source"),
        ("Home-Page", "homepage"), ("homepage", "homepage"), ("What's New", "changelog"), ("Bug Tracker", "issues"), ("Docs", "documentation"),
        ("Mastodon", None), ("", None),
    ],
)  # fmt: skip
def test_labels_mean_what_pep_753_says(label, meant):
    """Punctuation, space and case do not matter, and each alias stands for its label."""
    assert meaning(label) == meant


def test_owners_of_source_and_home_page_are_screened_as_names():
    """Accounts on forges under labels of source and home page count as names; other labels, hosts and schemes do not."""
    urls = {
        "Source Code": "https://github.com/globex-labs/tools/issues", "Home-page": "https://www.gitlab.com/umbrella/x", "Docs": "https://github.com/docs/x",
        "Repository": "https://evil.example/initech/x", "GitHub": "git+ssh://github.com/hooli/x", "Bad": "https://[",
    }  # fmt: skip
    raw = b"Metadata-Version: 2.1\nName: x\nAuthor: Acme\n" + b"".join(f"Project-URL: {label}, {url}\n".encode() for label, url in urls.items())
    assert from_metadata(raw + b"Home-page: https://github.com/acme\n").names == ("Acme", "globex-labs", "umbrella", "acme")
    told = from_legacy({"info": {"author": "Acme", "project_urls": {**urls, "x": 3}, "home_page": "https://codeberg.org/acme/y"}})
    assert told.names == ("Acme", "globex-labs", "umbrella", "acme")
    assert from_legacy({"info": {"project_urls": ["x"], "home_page": 4}}).names == ()


@pytest.mark.parametrize("line", ["x@https://a.example/x.zip", "x @ git+https://a.example/x", "x[y @ https://a.example/x", "x @ file:///x"])
def test_every_direct_url_is_seen(line):
    """Also in a requirement that the strict parser refuses: installers differ in what they forgive."""
    assert direct_urls([line])
    assert direct_urls(["x>=1 ; python_version>'3'", "y[z]==2.*"]) == ()


def test_attestations_name_one_publisher():
    """Two bundles of one publisher are one identity; two publishers are unknown."""
    one = {"publisher": {"kind": "GitHub", "repository": "acme/tools"}}
    assert attestation({"attestation_bundles": [one, one]}) == "GitHub:acme/tools"
    assert attestation({"attestation_bundles": [one, {"publisher": {"kind": "Google", "email": "a@b.example"}}]}) is None
    assert attestation({"attestation_bundles": "x"}) is None


def test_the_organisation_is_read():
    """`ownership.organization` where it is set."""
    assert organisation({"ownership": {"organization": "acme"}}) == "acme"
    assert organisation({"ownership": None}) is None


def test_legacy_json_is_turned_and_marked():
    """Every file's URL is the mirror's, a refused file is yanked with our reason, other keys stay."""
    entry = {"filename": WHEEL, "url": f"{FILES}/packages/01/bb/{'c' * 60}/{WHEEL}", "yanked": False, "yanked_reason": None, "k": 1}
    raw = {"info": {"version": "1.0", "name": "acme-tools"}, "urls": [entry, {"filename": NEWER, "url": "javascript:x"}],
           "releases": {"1.0": [entry]}, "last_serial": 9}  # fmt: skip
    model = turned(raw, "acme-tools", {WHEEL: "blocked"}, "http://m/pypi", "https://pypi.org")
    shown = {**entry, "url": f"http://m/pypi/packages/01/bb/{'c' * 60}/{WHEEL}", "yanked": True, "yanked_reason": "blocked"}
    assert model["urls"] == [shown]
    assert model["releases"] == {"1.0": [shown]}
    assert model["info"]["yanked_reason"] == "blocked"
    assert model["last_serial"] == 9
    assert raw["urls"][0]["yanked"] is False
